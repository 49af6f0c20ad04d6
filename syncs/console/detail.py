"""A sync's page: how it is doing, how far it is, and what can be done with it."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse

from credentials import health
from credentials.console.identity import called
from oauth_apps.console.health_badge import is_unchecked
from oauth_apps.models import HealthStatus
from providers import catalogue
from syncs.console import asking, words
from syncs.console.asking import NOT_ASKED, Told
from syncs.console.forms import SyncForm, initial_of
from syncs.models import Stop, Sync, SyncRun

LATEST = 20  # runs
NEVER_SINCE = timedelta()  # its health begins at the moment of its making
# Of a run, by why it ended; of all others `error`
BADGES = {"": "", Stop.DISABLED: "", Stop.DONE: "ok", Stop.TIME: "ok", Stop.RATE_LIMITED: "warn"}


@dataclass(frozen=True)
class Part:
    """`leads_to`: whose page helps, `credential` or `destination`; empty if none does."""

    title: str
    status: str
    notes: list[str]
    leads_to: str = ""


@dataclass(frozen=True)
class Of:
    """One collection."""

    name: str
    title: str
    badge: str
    state: str
    rows: str
    last_synced_at: datetime | None
    next_at: datetime | None
    error: str


@dataclass(frozen=True)
class Run:
    row: SyncRun
    badge: str
    word: str
    rows: str
    seconds: str


@dataclass(frozen=True)
class Shown:
    """What the page says of one sync. No seal is opened for it."""

    sync: Sync
    form: SyncForm

    @property
    def provider_name(self) -> str:
        return health.provider_name(self.sync.provider)

    @property
    def credential_called(self) -> str:
        return called(self.sync.credential)

    @property
    def progress(self) -> str:
        return words.progress(self.sync)

    @property
    def due(self) -> str:
        return words.due(self.sync)

    @property
    def is_unchecked(self) -> bool:
        return is_unchecked(self.sync, NEVER_SINCE)

    @property
    def parts(self) -> list[Part]:
        """Of its health."""
        return [part_of(self.sync, name, title) for name, title in self.titles.items()]

    @property
    def own_notes(self) -> list[str]:
        """Those of no part: of its rows, and of the worker."""
        of_parts = {note for part in self.sync.health_parts.values() for note in part.get("notes", [])}
        return [words.in_the_console(note) for note in self.sync.health_notes if note not in of_parts]

    @property
    def titles(self) -> dict[str, str]:
        return {"credential": "Credential", "provider": self.provider_name, "destination": "Destination"}

    @property
    def collections(self) -> list[Of]:
        return [collection_of(self.sync, name) for name in self.sync.bare_ids()]

    @property
    def runs(self) -> list[Run]:
        return [run_of(row) for row in self.sync.runs.order_by("-started_at", "-id")[:LATEST]]

    @property
    def metadata(self) -> str:
        return json.dumps(self.sync.metadata, indent=2, ensure_ascii=False) if self.sync.metadata else ""

    @property
    def refresh(self) -> str:
        """The curl for “Sync now”, with the API token left to the shell's environment."""
        url = f"{settings.PUBLIC_URL}/v1/syncs/{self.sync.pk}/refresh"
        return f'curl -X POST {url} \\\n  -H "Authorization: Bearer $API_TOKEN"'


def part_of(sync: Sync, name: str, title: str) -> Part:
    told = sync.health_parts.get(name, {})
    status = told.get("status", HealthStatus.OK)
    return Part(
        title=title,
        status=status,
        notes=[words.in_the_console(note) for note in told.get("notes", [])],
        leads_to=name if status != HealthStatus.OK else "",
    )


def collection_of(sync: Sync, name: str) -> Of:
    told = sync.progress.get(name, {})
    badge, state = words.state(told.get("state", "waiting"))
    return Of(
        name=name,
        title=words.title_of(sync, name),
        badge=badge,
        state=state,
        rows=f"{told.get('rows') or 0:,}",
        last_synced_at=words.moment(told.get("last_synced_at")),
        next_at=words.moment(told.get("next_at")) if sync.is_active else None,
        error=told.get("error") or "",
    )


def run_of(row: SyncRun) -> Run:
    word = row.get_stop_display() if row.stop else "under way"
    seconds = f"{(row.ended_at - row.started_at).total_seconds():.1f}" if row.ended_at else ""
    return Run(row, BADGES.get(row.stop, "error"), word, f"{sum(row.rows.values()):,}", seconds)


def form_of(sync: Sync, data: QueryDict | None = None, *, told: Told) -> SyncForm:
    """`told`: what the provider says that there is."""
    return SyncForm(
        data,
        initial=initial_of(sync),
        credential=sync.credential,
        kept=sync.collection_ids,
        remembered=asking.remembered_by(sync),
        told=told,
    )


def ask_url(sync: Sync) -> str:
    """Where the provider is asked which collections there are; empty if the catalogue names them all."""
    provider = catalogue.load().get(sync.provider)
    if provider is None or not provider.discover:
        return ""
    return f"{reverse('admin:syncs_sync_change', args=[sync.pk])}?ask=collections#settings"


def page(console: Any, request: HttpRequest, sync: Sync, form: SyncForm | None = None) -> HttpResponse:
    form = form or form_of(sync, told=asking.ask(sync.credential) if "ask" in request.GET else NOT_ASKED)
    context = {
        **console.admin_site.each_context(request),
        "opts": console.opts,
        "original": sync,
        "title": f"Sync of {health.provider_name(sync.provider)}",
        "sync": sync,
        "shown": Shown(sync, form),
        "form": form,
        "ask_url": ask_url(sync),
    }
    return TemplateResponse(request, "console/syncs/detail.html", context)
