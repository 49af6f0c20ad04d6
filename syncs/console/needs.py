"""What the dashboard says of syncs: those that are not well, in one statement."""

from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from credentials import health
from credentials.console.identity import called
from credentials.console.seen import Seen
from credentials.console.words import relative
from oauth_apps.models import HealthStatus
from syncs.console import listing, words
from syncs.models import Sync

MOST = 10


@dataclass(frozen=True)
class Need:
    """`account`: empty where it is that of all."""

    slug: str
    title: str
    whose: str
    account: str
    status: str
    note: str
    since: datetime
    url: str

    @property
    def is_error(self) -> bool:
        return self.status == HealthStatus.ERROR

    @property
    def ago(self) -> str:
        return relative(self.since)


def needs(seen: Seen) -> list[Need]:
    """Errors before warnings, the latest first; at most MOST."""
    not_well = seen(Sync.objects.active().exclude(health_status=HealthStatus.OK))
    rows = not_well.select_related("account", "credential", "destination").defer(*listing.NOT_SHOWN)
    return [need_of(sync, seen) for sync in rows.order_by("health_status", "-health_time", "-pk")[:MOST]]


def need_of(sync: Sync, seen: Seen) -> Need:
    return Need(
        slug=sync.provider,
        title=sync.name,
        whose=" · ".join(dict.fromkeys([health.provider_name(sync.provider), called(sync.credential)])),
        account="" if seen.is_of_one else sync.account.name,
        status=sync.health_status,
        note=words.in_the_console(next(iter(sync.health_notes), "")),
        since=sync.health_time,
        url=reverse("admin:syncs_sync_change", args=[sync.pk]),
    )
