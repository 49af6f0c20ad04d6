"""What time has done with: unclaimed tokens, finished trips, kept answers; and what was left half done.

Idempotent; two at once do no harm.
"""

from datetime import UTC, datetime

import structlog
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import DatabaseError, transaction
from django.utils import timezone
from procrastinate.contrib.django import app

from credentials import keeping
from credentials.counting import count
from credentials.link.giving_back import give_back
from credentials.models import Authorization, DailyCount, StartLink
from oauth_apps.models import AuditEvent, FailedAuthentication, IdempotencyRecord
from providers.sandbox.purge import purge as purge_sandbox

log = structlog.get_logger("credentials")

BATCH = 500


def purge() -> dict[str, int]:
    """Erase what is over; how many of what."""
    return {
        "kept_trips": keep_forgotten(),
        "unclaimed_tokens": erase_unclaimed(),
        "authorizations": erase_outdated(),
        "start_links": StartLink.objects.outdated().delete()[0],
        "idempotency_records": IdempotencyRecord.objects.outdated().delete()[0],
        "failed_authentications": FailedAuthentication.objects.outdated().delete()[0],
        "daily_counts": DailyCount.objects.outdated(datetime.now(UTC).date()).delete()[0],
        "audit_events": AuditEvent.objects.outdated().delete()[0],
        "sessions": Session.objects.filter(expire_date__lt=timezone.now()).delete()[0],
        "sandbox": purge_sandbox() if settings.SANDBOX else 0,
    }


def keep_forgotten() -> int:
    """Trips that end on a page of ours, and whose tokens were not put into place when they came: now they are."""
    kept = 0
    for authorization in list(Authorization.objects.forgotten()[:BATCH]):
        try:
            keeping.keep(authorization)
        except keeping.NotKept:
            continue  # the row says why, or another was faster
        except DatabaseError as exc:  # the next minute comes; one trip does not hold up the others
            log.warning("not_reconnected_yet", authorization=str(authorization.pk), reason=type(exc).__name__)
            continue
        kept += 1
    return kept


def erase_unclaimed() -> int:
    """Tokens that the developer never fetched: erased first, then given back to the provider, best effort."""
    erased = 0
    for pk in list(Authorization.objects.unclaimed().values_list("pk", flat=True)[:BATCH]):
        authorization = Authorization.objects.abandon(pk)
        if authorization is None:
            continue  # another purge was faster
        erased += 1
        give_back(authorization, authorization.oauth_app)
    return erased


def erase_outdated() -> int:
    """Trips that are over, each of which stays as one in the numbers of its day."""
    erased = 0
    while batch := erase_some_outdated():
        erased += batch
    return erased


@transaction.atomic
def erase_some_outdated() -> int:
    """Its own locks make a trip this purge's: another one passes it over, so nothing is counted twice."""
    mine = Authorization.objects.outdated().select_for_update(of=("self",), skip_locked=True).order_by("expires_at")
    trips = count(mine[:BATCH])
    Authorization.objects.filter(pk__in=trips).delete()
    return len(trips)


@app.periodic(cron="* * * * *")
@app.task(queue="housekeeping", queueing_lock="purge")
def purge_job(timestamp: int) -> None:
    purge()
