"""A console user's authenticator app: the second thing that is asked for at login."""

import re
import secrets
import time
import uuid
from base64 import b32encode
from datetime import datetime
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone
from django_otp.models import Device, ThrottlingMixin
from django_otp.oath import TOTP

from sequin_auth.lib.encryption import SealedBytesField

STEP, DIGITS, TOLERANCE = 30, 6, 1  # seconds; steps of clock difference that are forgiven
KEY_LENGTH = 20  # bytes: RFC 4226, 4 asks for 160 bits
CODE = re.compile(rf"[0-9]{{{DIGITS}}}", re.ASCII)
ISSUER = "Sequin Auth"


class Authenticator(ThrottlingMixin, Device):
    """An authenticator app that has a key of ours. Source: RFC 6238.

    django-otp's own device keeps its key in the clear; this one is sealed. It counts once it is `confirmed`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key = SealedBytesField()
    last_step = models.BigIntegerField(default=-1)  # the step of the last accepted code: none is taken twice
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta(Device.Meta):
        verbose_name = "authenticator"

    @classmethod
    def confirmed_of(cls, user_id: int) -> "Authenticator | None":
        """The one whose code is asked for at login."""
        found: Authenticator | None = cls.objects.filter(user=user_id, confirmed=True).order_by("created_at").first()
        return found

    @classmethod
    def unconfirmed_of(cls, user_id: int) -> "Authenticator | None":
        """The one that is being set up."""
        found: Authenticator | None = cls.objects.filter(user=user_id, confirmed=False).order_by("-created_at").first()
        return found

    @classmethod
    @transaction.atomic
    def begin(cls, user_id: int) -> "Authenticator":
        """A new key for an app of the user's, instead of one that was never confirmed."""
        cls.objects.filter(user=user_id, confirmed=False).delete()
        begun: Authenticator = cls.objects.create(
            user_id=user_id, name="Authenticator app", key=secrets.token_bytes(KEY_LENGTH), confirmed=False
        )
        return begun

    def confirm(self) -> bool:
        """Ask for it from the next login on; False if it is gone, or another one is asked for already."""
        others = type(self).objects.filter(user=self.user_id, confirmed=True)
        if others.exists():
            return False
        return bool(type(self).objects.filter(pk=self.pk, confirmed=False).update(confirmed=True))

    @property
    def key_as_text(self) -> str:
        """As it is typed into an app: base32, in groups of four."""
        text = b32encode(self.key).decode()
        return " ".join(text[start : start + 4] for start in range(0, len(text), 4))

    def setup_uri(self, username: str) -> str:
        """What the QR code says: key, and the name under which the app lists it."""
        query = {"secret": b32encode(self.key).decode(), "issuer": ISSUER}
        host = settings.PUBLIC_URL.partition("://")[2].replace(":", "_")  # a colon ends the issuer
        return f"otpauth://totp/{quote(ISSUER)}:{quote(f'{username} ({host})')}?{urlencode(query, quote_via=quote)}"

    def get_throttle_factor(self) -> int:
        return 1

    def blocked_until(self) -> datetime | None:
        """When the next code is looked at, after wrong ones; None for now."""
        allowed, why = self.verify_is_allowed()
        return None if allowed else why["locked_until"]

    @transaction.atomic
    def verify_token(self, token: str) -> bool:
        """Whether `token` is the code of now. Wrong ones in a row are answered more and more slowly.

        Two at once are judged one after the other: neither does the same code pass twice, nor do many guesses that
        arrive together count as one.
        """
        now = type(self).objects.select_for_update().filter(pk=self.pk).first()
        if now is None:
            return False
        self.last_step = now.last_step
        self.throttling_failure_count = now.throttling_failure_count
        self.throttling_failure_timestamp = now.throttling_failure_timestamp
        if self.blocked_until() is not None:
            return False
        totp = TOTP(self.key, STEP, 0, DIGITS)
        totp.time = time.time()
        is_right = CODE.fullmatch(token) and totp.verify(int(token), tolerance=TOLERANCE, min_t=self.last_step + 1)
        if is_right:
            self.last_step = totp.t()  # of the code that matched, which may be a step off
            self.throttle_reset(commit=False)
        else:
            self.throttle_increment(commit=False)
        self.save(update_fields=["last_step", "throttling_failure_count", "throttling_failure_timestamp"])
        return bool(is_right)
