"""Syncs › Syncs: the list, and the address of everything that can be done with one."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from credentials import health
from credentials.console.identity import called
from credentials.console.words import relative
from oauth_apps import audit
from oauth_apps.console.base import OfMyAccounts, actor_of
from oauth_apps.console.health_badge import badge, is_unchecked
from sequin_auth.lib.api.paths import canonical_uuid
from syncs import creation
from syncs.collections import NotAccepted
from syncs.console import adding, asking, detail, listing, words
from syncs.console.forms import SyncForm
from syncs.models import Sync, SyncRun

ASKED = "It looks at once. Load this page again in a moment to see what came of it."
ASKED_IN_FULL = "It reads everything anew, at once. Load this page again in a moment to see how far it is."
NOT_WHILE_DISABLED = "The sync is disabled. Enable it first."
ENABLED, DISABLED = "The sync is enabled, and looks at once.", "The sync is disabled. Its tables stay as they are."


@admin.register(Sync)
class SyncAdmin(OfMyAccounts):
    list_display = ("who", "where_to", "well", "how_far", "last_run", "account")
    list_filter = listing.FILTERS
    list_filter_sheet = False
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER  # each number would be counted among all rows
    search_fields = ("name", "external_id")
    search_help_text = "Part of the name or of the external id"
    ordering = ("-created_at", "-id")
    sortable_by = ()
    actions = None
    change_list_template = "console/syncs/list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if not self.is_list(request):
            return rows.select_related("account", "destination", "credential__token", "credential__oauth_app")
        latest = SyncRun.objects.filter(sync=OuterRef("pk")).order_by("-started_at", "-id")
        return (
            rows.select_related("account", "destination", "credential")
            .defer(*listing.NOT_SHOWN)
            .annotate(last_at=Subquery(latest.values("started_at")[:1]), last_stop=Subquery(latest.values("stop")[:1]))
        )

    # ---- the list ----------------------------------------------------------------------------------------------------

    @admin.display(description="sync")
    def who(self, sync: Sync) -> SafeString:
        return format_html(
            '<span class="sq-who"><img class="sq-logo" src="{}" alt="" width="28" height="28" loading="lazy">'
            "<span>{}<small>{}</small></span></span>",
            reverse("logo", args=[sync.provider]),
            sync.name,
            " · ".join(dict.fromkeys([health.provider_name(sync.provider), called(sync.credential)])),
        )

    @admin.display(description="destination")
    def where_to(self, sync: Sync) -> SafeString:
        return format_html('<span>{}<small class="sq-below-it">{}</small></span>', sync.destination, sync.schema)

    @admin.display(description="health")
    def well(self, sync: Sync) -> SafeString:
        if not sync.is_active:
            return format_html('<span class="sq-badge">{}</span>', sync.status)
        note = next(iter(sync.health_notes), "")
        told = badge(sync, unchecked=not note and is_unchecked(sync, detail.NEVER_SINCE))
        if not note:
            return told
        shown = words.in_the_console(note)
        return format_html('{} <span class="sq-soft sq-small sq-first-note">{}</span>', told, shown)

    @admin.display(description="progress")
    def how_far(self, sync: Sync) -> str:
        return words.progress(sync)

    @admin.display(description="last run")
    def last_run(self, sync: Any) -> SafeString:
        last = "none yet"
        if sync.last_at is not None:
            why = SyncRun(stop=sync.last_stop).get_stop_display() if sync.last_stop else "under way"
            last = f"{relative(sync.last_at)}: {why}"
        return format_html('<span>{}<small class="sq-below-it">next: {}</small></span>', last, words.due(sync))

    # ---- the addresses -----------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        deeds = {"refresh": self.refresh, "full": self.full, "enable": self.enable, "disable": self.disable}
        own = [
            path(f"<uuid:sync_id>/{name}/", self.admin_site.admin_view(require_POST(view)), name=f"syncs_sync_{name}")
            for name, view in {**deeds, "settings": self.settings}.items()
        ]
        return [*own, *super().get_urls()]

    def mine(self, request: HttpRequest, sync_id: UUID | str, *, locked: bool = False) -> Sync:
        """Raises Http404, the same for one that is not there and for another account's."""
        found_id = canonical_uuid(str(sync_id))
        rows = self.get_queryset(request)
        if locked:
            rows = rows.select_for_update(of=("self",))
        found: Sync | None = rows.filter(pk=found_id).first() if found_id else None
        if found is None:
            raise Http404
        return found

    def back(self, request: HttpRequest, sync: Sync, level: int, told: str) -> HttpResponse:
        messages.add_message(request, level, told)
        return HttpResponseRedirect(url_of(sync))

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if request.method not in {"GET", "HEAD", "POST"}:
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        return adding.add(self, request)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Nothing is changed here: what can be done with a sync has addresses of its own."""
        sync = self.mine(request, object_id)
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        return detail.page(self, request, sync)

    # ---- what can be done with one -----------------------------------------------------------------------------------

    def refresh(self, request: HttpRequest, sync_id: UUID) -> HttpResponse:
        return self.look(request, sync_id, full=False)

    def full(self, request: HttpRequest, sync_id: UUID) -> HttpResponse:
        return self.look(request, sync_id, full=True)

    def look(self, request: HttpRequest, sync_id: UUID, *, full: bool) -> HttpResponse:
        with transaction.atomic():
            sync = self.mine(request, sync_id, locked=True)
            try:
                creation.refresh(sync, full=full, by=actor_of(request))
            except creation.Disabled:
                return self.back(request, sync, messages.WARNING, NOT_WHILE_DISABLED)
        return self.back(request, sync, messages.SUCCESS, ASKED_IN_FULL if full else ASKED)

    def enable(self, request: HttpRequest, sync_id: UUID) -> HttpResponse:
        return self.switch(request, sync_id, Sync.Status.ACTIVE, ENABLED)

    def disable(self, request: HttpRequest, sync_id: UUID) -> HttpResponse:
        return self.switch(request, sync_id, Sync.Status.DISABLED, DISABLED)

    def switch(self, request: HttpRequest, sync_id: UUID, status: Sync.Status, told: str) -> HttpResponse:
        with transaction.atomic():
            sync = self.mine(request, sync_id, locked=True)
            try:
                creation.change(sync, {"status": status}, by=actor_of(request))
            except NotAccepted as exc:
                return self.back(request, sync, messages.ERROR, " ".join(exc.errors["status"]))
        return self.back(request, sync, messages.SUCCESS, told)

    def settings(self, request: HttpRequest, sync_id: UUID) -> HttpResponse:
        told = asking.of_form(self.mine(request, sync_id).credential, request.POST.get("told", ""))
        with transaction.atomic():
            sync = self.mine(request, sync_id, locked=True)
            form = detail.form_of(sync, request.POST, told=told)
            if form.is_valid():
                try:
                    creation.change(sync, changes_of(sync, form), by=actor_of(request), discovered=told.found)
                except NotAccepted as exc:
                    form.refuse(exc)
        if form.errors:
            return detail.page(self, request, self.mine(request, sync_id), form)
        return self.back(request, sync, messages.SUCCESS, "Saved.")

    # ---- deletion ----------------------------------------------------------------------------------------------------

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Asks first, and says what is dropped."""
        sync = self.mine(request, object_id)
        if request.method == "POST":
            keep_data = request.POST.get("keep_data") == "yes"
            with transaction.atomic():
                mine = Sync.objects.filter(pk=self.mine(request, object_id).pk)
                audit.write(creation.delete(mine, keep_data=keep_data, by=actor_of(request)))
            told = "Its tables stay." if keep_data else "Its tables are dropped."
            messages.success(request, f"{sync.name} is deleted. {told}")
            return HttpResponseRedirect(reverse("admin:syncs_sync_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": "Delete this sync?",
            "opts": self.opts,
            "original": sync,
            "sync": sync,
            "rows": words.counted(words.rows_of(sync), "row"),
        }
        return TemplateResponse(request, "console/syncs/delete.html", context)


def url_of(sync: Sync) -> str:
    return reverse("admin:syncs_sync_change", args=[sync.pk])


def changes_of(sync: Sync, form: SyncForm) -> dict[str, Any]:
    """Collections that are the same are not asked for again: one may have gone from the catalogue."""
    values = form.values
    if values["collection_ids"] == sync.collection_ids:
        del values["collection_ids"]
    return values
