"""What the simulator may forget."""

from datetime import timedelta

from django.utils import timezone

from providers.sandbox.models import Grant, Token

KEPT = timedelta(days=30)
UNUSED_CODES_KEPT = timedelta(hours=1)  # longer than a consent page is good for, so that it stays good for one consent


def purge() -> int:
    """Delete tokens after 30 days, with grants that have none left, and codes that were never used. May run twice.

    Returns how many rows are gone.
    """
    now = timezone.now()
    tokens, _ = Token.objects.filter(created_at__lt=now - KEPT).delete()
    old, _ = Grant.objects.filter(created_at__lt=now - KEPT, tokens=None).delete()
    unused, _ = Grant.objects.filter(used_at=None, code_expires_at__lt=now - UNUSED_CODES_KEPT).delete()
    return tokens + old + unused
