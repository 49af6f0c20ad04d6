"""What time has done with: unclaimed tokens, finished trips, kept answers; and what was left half done.

Idempotent; two at once do no harm.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from procrastinate.contrib.django import app

from credentials import keeping
from credentials.deleted_trips import count
from credentials.link.giving_back import give_back
from credentials.models import Authorization, DailyCount, ReadCount, StartLink
from oauth_apps import audit_chain
from oauth_apps.models import FailedAuthentication, IdempotencyRecord, RateCount
from oauth_apps.webhooks import delivery
from providers.sandbox.purge import purge as purge_sandbox
from sequin_auth.lib import measures
from sequin_auth.lib.measures import Name

log = structlog.get_logger("credentials")

BATCH = 500
ERASED_AT_ONCE = 2_000  # rows with nothing to be done for each


class NotPurged(Exception):
    """Some of it could not be erased; the log says what, and why. The rest was."""


def purge() -> dict[str, int]:
    """Erase what is over; how many of what. One part that fails holds up no other. Raises NotPurged in the end, or what
    the database says that is away.
    """
    done: dict[str, int] = {}
    failed: list[str] = []
    for name, part in parts().items():
        try:
            done[name] = part()
        except Exception as exc:  # whatever it is, it is this part's
            if isinstance(exc, DatabaseError | InterfaceError) and not connection.is_usable():
                raise
            log.exception("not_purged", reason=name)
            failed.append(name)
    if failed:
        raise NotPurged(f"Not purged: {', '.join(failed)}. The log says why.")
    return done


def parts() -> dict[str, Callable[[], int]]:
    now = timezone.now()
    return {
        "kept_trips": keep_forgotten,
        "unclaimed_tokens": erase_unclaimed,
        "authorizations": erase_outdated,
        "start_links": lambda: erase(StartLink.objects.outdated()),
        "idempotency_records": lambda: erase(IdempotencyRecord.objects.outdated()),
        "failed_authentications": lambda: erase(FailedAuthentication.objects.outdated()),
        "rate_counts": lambda: erase(RateCount.objects.outdated()),
        "daily_counts": lambda: erase(DailyCount.objects.outdated(datetime.now(UTC).date())),
        "webhook_deliveries": lambda: erase(delivery.outdated()),
        "audit_events": lambda: audit_chain.forget(now - timedelta(days=settings.AUDIT_DAYS)),
        "read_counts": lambda: erase(ReadCount.objects.outdated()),
        "sessions": lambda: erase(Session.objects.filter(expire_date__lt=now)),
        "sandbox": lambda: purge_sandbox() if settings.SANDBOX else 0,
    }


def erase(rows: QuerySet[Any]) -> int:
    """A batch at a time, each a transaction of its own: however much has piled up, nobody waits long for its locks."""
    erased = 0
    while True:
        with transaction.atomic():
            mine = rows.order_by().select_for_update(skip_locked=True)
            batch = list(mine.values_list("pk", flat=True)[:ERASED_AT_ONCE])
            rows.model._base_manager.filter(pk__in=batch).delete()
        erased += len(batch)
        if len(batch) < ERASED_AT_ONCE:
            return erased


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
        measures.count(Name.TRIPS, authorization.provider, "not_fetched")
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
