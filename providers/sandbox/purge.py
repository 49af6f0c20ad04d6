"""What the simulator may forget."""

from datetime import timedelta

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from providers.sandbox.models import Grant, Token

KEPT = timedelta(days=30)
UNUSED_CODES_KEPT = timedelta(hours=1)  # longer than a consent page is good for, so that it stays good for one consent


def purge() -> int:
    """Delete tokens after 30 days, with grants that have none left, and codes that were never used. May run twice.

    A refresh token that stays good is kept as long as it is used. Returns how many rows are gone.
    """
    now = timezone.now()
    newer = Token.objects.filter(grant=OuterRef("grant"), created_at__gte=now - KEPT)
    is_in_use = Q(refresh_hash__isnull=False, refresh_used_at=None, revoked_at=None) & Exists(newer)
    tokens, _ = Token.objects.filter(created_at__lt=now - KEPT).exclude(is_in_use).delete()
    old, _ = Grant.objects.filter(created_at__lt=now - KEPT, tokens=None).delete()
    unused, _ = Grant.objects.filter(used_at=None, code_expires_at__lt=now - UNUSED_CODES_KEPT).delete()
    return tokens + old + unused
