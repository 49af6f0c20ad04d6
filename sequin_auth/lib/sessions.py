"""
Sessions of the console: over after an idle hour, and twelve hours after the login in any case.

A row is stored under the hash of its key, so that whoever reads the table or a backup is nobody's guest.
"""

import re
import time
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.utils import timezone

from sequin_auth.lib.key_ring import digest

SIGNED_IN_AT = "signed_in_at"  # Unix seconds, in the session of whoever is signed in
LONGEST = 12 * 3600


def stored(key: str) -> str:
    """Under which the session of the cookie `key` is stored: 160 bits of SHA-256, as many as the column takes."""
    return digest(key).hex()[:40]


class SessionStore(db.SessionStore):
    """The cookie and the row end together, so a session that is over is none, whichever page asks."""

    def _validate_session_key(self, key: str | None) -> bool:
        """Django's keys are 32 of these characters. Anything else names no session, and PostgreSQL need not read it."""
        return re.fullmatch(r"[a-z0-9]{8,40}", key or "", re.ASCII) is not None

    def _get_session_from_db(self) -> AbstractBaseSession | None:
        """The row, if it lives. What is not there is logged nowhere: a cookie that has ended is no attack."""
        row = self.model.objects.filter(
            session_key=stored(self.session_key or ""), expire_date__gt=timezone.now()
        ).first()
        if row is None:
            self._session_key = None
        return row

    def exists(self, session_key: str) -> bool:
        return super().exists(stored(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        row = super().create_model_instance(data)
        row.session_key = stored(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            super().delete(stored(key))

    def get_session_cookie_age(self) -> int:
        idle = settings.SESSION_COOKIE_AGE
        since: int | None = self.get(SIGNED_IN_AT)
        return idle if since is None else max(0, min(idle, since + LONGEST - int(time.time())))


def end_all_of(user_id: int, *, but: str | None = None) -> None:
    """Sign the user out wherever he is signed in, `but` in the session of this key.

    A row says whose it is only when it is read; there are no more of them than people in an hour.
    """
    alive = (
        SessionStore.get_model_class()
        .objects.filter(expire_date__gt=timezone.now())
        .exclude(pk=stored(but) if but else "")
    )
    theirs = [row.pk for row in alive.iterator() if row.get_decoded().get(SESSION_KEY) == str(user_id)]
    SessionStore.get_model_class().objects.filter(pk__in=theirs).delete()
