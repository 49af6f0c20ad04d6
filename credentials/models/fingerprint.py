"""By what a secret is found that cannot be looked up: equal secrets have equal fingerprints, and nobody can make one.

The HMAC key is random and lies sealed in the database: it survives a rotation of ENCRYPTION_KEYS, which seals it anew.
"""

import hmac
import secrets
import uuid
from functools import cache

from django.db import models
from django.views.decorators.debug import sensitive_variables

from sequin_auth.lib import redaction
from sequin_auth.lib.encryption import SealedBytesField

ONLY = uuid.UUID(int=1)


class FingerprintKey(models.Model):
    """The one row."""

    id = models.UUIDField(primary_key=True, default=ONLY, editable=False)
    key = SealedBytesField()

    def __str__(self) -> str:
        return "the key of all fingerprints"


@sensitive_variables()
def fingerprint(secret: str) -> bytes:
    """HMAC-SHA256 of `secret`, 32 bytes."""
    redaction.learn(secret)
    return hmac.digest(fingerprint_key(), secret.encode(errors="surrogatepass"), "sha256")


@cache
@sensitive_variables()
def fingerprint_key() -> bytes:
    """Read once per process; made by the first who needs it. Raises Unreadable."""
    row, _ = FingerprintKey.objects.get_or_create(pk=ONLY, defaults={"key": secrets.token_bytes(32)})
    return row.key
