"""What time alone changes: what comes to its end, and cannot be renewed, is in its credential's health before that."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone
from procrastinate.contrib.django import app

from credentials import health
from credentials.models import Credential

BATCH = 500


@app.periodic(cron="17 * * * *")
@app.task(queue="housekeeping", queueing_lock="warn_of_ends")
def warn_of_ends_job(timestamp: int) -> None:
    warn_of_ends()


def warn_of_ends() -> None:
    """Assess anew what ends within the days of the first warning."""
    for credential in ending():
        health.note(credential, credential.token)


def ending() -> Iterator[Credential]:
    now = timezone.now()
    soon = (now - timedelta(days=1), now + timedelta(days=health.WARNED_BEFORE[0]))
    refresh_token_ends = Q(token__refresh_expires_at__range=soon)
    access_token_ends = Q(token__expires_at__range=soon, token__refresh_token__isnull=True)
    rows = Credential.objects.whole().filter(refresh_token_ends | access_token_ends)
    batch = list(rows.order_by("pk")[:BATCH])
    while batch:
        yield from batch
        batch = list(rows.order_by("pk").filter(pk__gt=batch[-1].pk)[:BATCH])
