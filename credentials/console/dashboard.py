"""
The first page: what needs somebody, what happened lately, what comes next.

It takes as many statements for 100,000 credentials as for three. The totals are counted by the database, row by row.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Q, QuerySet, Value
from django.urls import reverse
from django.utils import timezone

from credentials import health
from credentials.console import chart
from credentials.console.chart import Chart
from credentials.console.checklist import Checklist, checklist, usable_api_tokens
from credentials.console.identity import called, identity_of
from credentials.console.seen import Seen
from credentials.console.words import in_the_console, relative
from credentials.models import Credential, Expiry, Failure
from credentials.models.token import TERMINAL
from oauth_apps.models import HealthStatus, OAuthApp, RedirectURI
from providers import catalogue, kinds

MOST = 10  # rows of each list
OAUTH_APP = "OAuth app"
NOTHING_TO_DO = "Nothing needs to be done"  # as notes of providers that did not answer say
SOON = timedelta(days=14)


@dataclass(frozen=True)
class Need:
    """An OAuth app or a credential that is not well. `whose`: at which provider, and whose account there.

    `check_url`: where it is asked again by a POST, of what only time mends; empty if something is to be done.
    """

    sort: str
    slug: str
    title: str
    whose: str
    account: str
    status: str
    note: str
    more_notes: int
    since: datetime
    url: str
    button: str
    check_url: str = ""

    @property
    def is_error(self) -> bool:
        return self.status == HealthStatus.ERROR

    @property
    def is_app(self) -> bool:
        return self.sort == OAUTH_APP

    @property
    def ago(self) -> str:
        return relative(self.since)


@dataclass(frozen=True)
class Others:
    """More of the same than a list has room for."""

    words: str
    url: str


@dataclass(frozen=True)
class Ending:
    """What ends soon, if nobody does anything."""

    sort: str
    slug: str
    title: str
    whose: str
    account: str
    ends_at: datetime
    url: str

    @property
    def left(self) -> str:
        return relative(self.ends_at)


@dataclass(frozen=True)
class Dashboard:
    """What the page shows."""

    has_accounts: bool
    first_steps: Checklist
    needs: list[Need]
    other_needs: list[Others]
    trips: Chart
    refreshes: Chart
    success_rate: int | None
    endings: list[Ending]
    has_more_endings: bool
    credentials: int
    oauth_apps: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell of yet, but the first steps."""
        return not (self.credentials or self.oauth_apps or self.trips.total or self.refreshes.total or self.endings)


def dashboard(seen: Seen) -> Dashboard:
    now = timezone.now()
    today = now.astimezone(UTC).date()
    there_are = totals(seen, now)
    found = chart.numbers(seen, today)
    trips = chart.chart(found, today, chart.TRIPS)
    needs = sorted([*needy_apps(seen), *needy_credentials(seen)], key=urgency)
    endings = sorted([*ending_credentials(seen, now), *ending_api_tokens(seen, now)], key=attrgetter("ends_at"))
    return Dashboard(
        has_accounts=seen.accounts != [],
        first_steps=checklist(there_are, None if there_are["credentials"] else first_app(seen)),
        needs=needs[:MOST],
        other_needs=list(others(there_are)) if len(needs) > MOST else [],
        trips=trips,
        refreshes=chart.chart(found, today, chart.REFRESHES),
        success_rate=chart.success_rate(trips),
        endings=endings[:MOST],
        has_more_endings=len(endings) > MOST,
        credentials=there_are["credentials"],
        oauth_apps=there_are["oauth_apps"],
    )


# ---- how many --------------------------------------------------------------------------------------------------------


def totals(seen: Seen, now: datetime) -> Counter[str]:
    """How many of what there are, in one statement."""
    apps, credentials = seen(OAuthApp.objects.all()), seen(Credential.objects.all())
    counted: dict[str, QuerySet[Any]] = {
        "oauth_apps": apps,
        "redirect_uris": seen(RedirectURI.objects.all()),
        "api_tokens": seen(usable_api_tokens(now)),
        "credentials": credentials,
    }
    for status in (HealthStatus.ERROR, HealthStatus.WARN):
        counted[f"oauth_apps {status}"] = apps.filter(health_status=status)
        counted[f"credentials {status}"] = unwell(credentials).filter(health_status=status)
    parts = [
        rows.annotate(sort=Value(name)).values("sort").annotate(number=Count("pk")).values_list("sort", "number")
        for name, rows in counted.items()
    ]
    return Counter(dict(parts[0].union(*parts[1:], all=True)))


def first_app(seen: Seen) -> OAuthApp | None:
    """The one to connect a first account with; None if there is none that can be used."""
    known = [provider.slug for provider in catalogue.load().values() if provider.has_code_flow]
    rows = seen(OAuthApp.objects.enabled().filter(provider__in=known))
    rows = rows if settings.SANDBOX else rows.exclude(environment=OAuthApp.Environment.SANDBOX)
    return rows.only("provider", "name").order_by("created_at", "pk").first()


def unwell(credentials: "QuerySet[Credential]") -> "QuerySet[Credential]":
    """Spelt as the index of those few has it."""
    return credentials.filter(~Q(health_status=HealthStatus.OK))


# ---- what needs somebody ---------------------------------------------------------------------------------------------


def needy_apps(seen: Seen) -> Iterator[Need]:
    """Errors first (so the alphabet has it), then what has been so the longest."""
    rows = seen(OAuthApp.objects.exclude(health_status=HealthStatus.OK)).select_related("account")
    shown = rows.only("account__name", "provider", "name", "health_status", "health_notes", "health_time")
    for app in shown.order_by("health_status", "health_time")[:MOST]:
        yield Need(
            sort=OAUTH_APP,
            slug=app.provider,
            title=app.name,
            whose=health.provider_name(app.provider),
            account="" if seen.is_of_one else app.account.name,
            status=app.health_status,
            note=next(iter(app.health_notes), ""),
            more_notes=max(len(app.health_notes) - 1, 0),
            since=app.health_time,
            url=reverse("admin:oauth_apps_oauthapp_change", args=[app.pk]),
            button="Open the app",
            check_url=reverse("admin:oauth_apps_oauthapp_check", args=[app.pk]) if is_waiting(app.health_notes) else "",
        )


def needy_credentials(seen: Seen) -> Iterator[Need]:
    rows = seen(unwell(Credential.objects.select_related("account", "token")))
    shown = rows.only(
        "account__name", "oauth_app_id", "provider", "kind", "name", "properties", "health_status", "health_notes",
        "health_time", "token__failure", "token__failed_at",
    )  # fmt: skip
    for credential in shown.order_by("health_status", "health_time")[:MOST]:
        url, is_owners_turn = page_of(credential), needs_owner(credential)
        is_outage = credential.token.failure == Failure.PROVIDER_UNAVAILABLE  # tried again by itself
        check = reverse("admin:credentials_credential_check", args=[credential.pk])
        yield Need(
            sort="Credential",
            slug=credential.provider,
            title=called(credential),
            whose=whose(credential),
            account="" if seen.is_of_one else credential.account.name,
            status=credential.health_status,
            note=in_the_console(next(iter(credential.health_notes), "")),
            more_notes=max(len(credential.health_notes) - 1, 0),
            since=credential.token.failed_at or credential.health_time,
            url=f"{url}#reconnect" if is_owners_turn else url,
            button="Reconnect" if is_owners_turn else "Look at it",
            check_url=check if is_outage or is_waiting(credential.health_notes) else "",
        )


def is_waiting(notes: list[str]) -> bool:
    """Whether there is nothing to do but to ask again."""
    return bool(notes) and all(NOTHING_TO_DO in note for note in notes)


def needs_owner(credential: Credential) -> bool:
    """Whether its owner can mend it, by another trip: it has ended or ends soon, or lacks a scope."""
    kind = kinds.load().get(credential.kind)
    if kind is None or kind.declared is not None or credential.oauth_app_id is None:
        return False
    return credential.token.failure in (*TERMINAL, Failure.NONE)


def urgency(need: Need) -> tuple[bool, bool, datetime]:
    """Errors first, and OAuth apps before credentials, since one that is mended mends many; then what lasts longest."""
    return not need.is_error, not need.is_app, need.since


def others(there_are: Counter[str]) -> Iterator[Others]:
    """All that is not well, by sort."""
    sorts = {
        "oauth_apps": ("OAuth app", reverse("admin:oauth_apps_oauthapp_changelist")),
        "credentials": ("credential", reverse("admin:credentials_credential_changelist")),
    }
    for status, words in ((HealthStatus.ERROR, "in error"), (HealthStatus.WARN, "with a warning")):
        for name, (sort, url) in sorts.items():
            if number := there_are[f"{name} {status}"]:
                yield Others(f"{number:,} {sort}{'' if number == 1 else 's'} {words}", f"{url}?health={status}")


# ---- what ends soon --------------------------------------------------------------------------------------------------


def ending_credentials(seen: Seen, now: datetime) -> Iterator[Ending]:
    """Refresh tokens in the last half of their life, since a younger one may well be replaced in time; access tokens
    that nothing renews: they have their warning already, and are found by it.
    """
    rows = seen(Credential.objects.select_related("account", "token")).exclude(token__failure__in=TERMINAL)
    rows = rows.only(
        "account__name", "provider", "kind", "name", "properties", "token__refresh_expires_at", "token__expires_at"
    )
    soon = (now, now + SOON)
    aging = rows.alias(left=F("token__refresh_expires_at") - Value(now), age=Value(now) - F("token__obtained_at"))
    refresh_tokens = aging.filter(
        token__refresh_expires_at__range=soon, token__refresh_token__isnull=False, left__lte=F("age")
    )
    for aged in refresh_tokens.order_by("token__refresh_expires_at")[: MOST + 1]:
        yield ending_of(aged, "Refresh token", aged.token.refresh_expires_at or now, seen)

    renewed_otherwise = [kind.name for kind in kinds.load().values() if kind.declared is not None]
    access_tokens = unwell(rows).filter(token__expires_at__range=soon, token__refresh_token__isnull=True)
    access_tokens = access_tokens.exclude(token__expiry_source=Expiry.POLICY).exclude(kind__in=renewed_otherwise)
    for credential in access_tokens.order_by("token__expires_at")[: MOST + 1]:
        yield ending_of(credential, "Access token", credential.token.expires_at or now, seen)


def ending_of(credential: Credential, sort: str, ends_at: datetime, seen: Seen) -> Ending:
    return Ending(
        sort=sort,
        slug=credential.provider,
        title=called(credential),
        whose=whose(credential),
        account="" if seen.is_of_one else credential.account.name,
        ends_at=ends_at,
        url=f"{page_of(credential)}#reconnect",
    )


def ending_api_tokens(seen: Seen, now: datetime) -> Iterator[Ending]:
    rows = seen(usable_api_tokens(now).filter(expires_at__lte=now + SOON)).select_related("account")
    for api_token in rows.order_by("expires_at")[: MOST + 1]:
        yield Ending(
            sort="API token",
            slug="",
            title=api_token.name,
            whose=f"{api_token.prefix}…",
            account="" if seen.is_of_one else api_token.account.name,
            ends_at=api_token.expires_at or now,
            url=reverse("admin:oauth_apps_apitoken_changelist"),
        )


# ---- words -----------------------------------------------------------------------------------------------------------


def whose(credential: Credential) -> str:
    """Where, and whose there, as far as the title does not say it."""
    name, identity = health.provider_name(credential.provider), identity_of(credential)
    return f"{name} · {identity}" if identity and credential.name else name


def page_of(credential: Credential) -> str:
    return reverse("admin:credentials_credential_change", args=[credential.pk])
