"""Sessions of the console: over after an idle hour, and twelve hours after the login in any case."""

import re
import time

from django.conf import settings
from django.contrib.sessions.backends import db

SIGNED_IN_AT = "signed_in_at"  # Unix seconds, in the session of whoever is signed in
LONGEST = 12 * 3600


class SessionStore(db.SessionStore):
    """The cookie and the row end together, so a session that is over is none, whichever page asks."""

    def _validate_session_key(self, key: str | None) -> bool:
        """Django's keys are 32 of these characters. Anything else names no session, and PostgreSQL need not read it."""
        return re.fullmatch(r"[a-z0-9]{8,40}", key or "", re.ASCII) is not None

    def get_session_cookie_age(self) -> int:
        idle = settings.SESSION_COOKIE_AGE
        since: int | None = self.get(SIGNED_IN_AT)
        return idle if since is None else max(0, min(idle, since + LONGEST - int(time.time())))
