"""Syncs › Destinations: where rows go, how that is doing, and how one gets at what is there."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Count, ProtectedError, QuerySet, RestrictedError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from oauth_apps import audit
from oauth_apps.console import filters
from oauth_apps.console.account_field import account_field
from oauth_apps.console.base import OfMyAccounts
from oauth_apps.console.health_badge import badge, is_unchecked
from oauth_apps.console.own_password import OwnPasswordForm
from oauth_apps.models import HealthStatus
from sequin_auth.lib.api.errors import Invalid, TooManyRequests
from sequin_auth.lib.api.paths import canonical_uuid
from syncs import destinations
from syncs.api import destinations as journeys
from syncs.api.destinations import LONGEST_PASSWORD, DestinationSerializer
from syncs.destinations import DestinationUnavailable, NoReader, customers
from syncs.models import Destination

LATEST = 20  # syncs that the page of a destination shows
PARTS = ("host", "port", "database", "username", "password", "sslmode")
MADE = "The destination is saved: it was reached, and we may write there."
IN_USE = "Syncs write to it: delete them first."
STAYS = "This is the sync database of this server: it stays."
SCHEMAS_LEFT = "Tables of deleted syncs are still to be dropped there. Try again in a minute, or leave them there."
CHANGED_MEANWHILE = "Somebody else has just changed this destination. Look at it, and try again."
sensitive = method_decorator(sensitive_post_parameters())
TYPED = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}


class DestinationForm(forms.Form):
    """Its parts, and no connection string; judged as the API judges them."""

    name = forms.CharField(max_length=200, help_text="For you alone.")
    host = forms.CharField(
        max_length=253,
        widget=forms.TextInput(attrs=TYPED | {"placeholder": "db.example.com"}),
        help_text="A name or an IP address. It has to be public, unless whoever runs this server allows it.",
    )
    port = forms.IntegerField(min_value=customers.LOWEST_PORT, max_value=65_535, initial=5432)
    database = forms.CharField(max_length=63, widget=forms.TextInput(attrs=TYPED))
    username = forms.CharField(
        label="User",
        max_length=63,
        widget=forms.TextInput(attrs=TYPED),
        help_text="It needs CREATE and TEMPORARY on this database, and no more: each sync makes its schemas.",
    )
    password = forms.CharField(
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Kept sealed. Nobody can read it here.",
    )
    sslmode = forms.ChoiceField(
        label="SSL mode",
        choices=[(value, value) for value in Destination.SSLMode.values],
        initial=Destination.SSLMode.REQUIRE,
        help_text="verify-full also looks whose certificate it is; disable is for hosts that this server allows.",
    )

    def __init__(self, *args: Any, request: HttpRequest, instance: Destination | None = None, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.instance, self.label_suffix = instance, ""
        self.values: dict[str, Any] = {}
        if instance is None:
            self.fields["account"] = account_field(request)
            self.order_fields(["account"])
            return
        for name in ("host", "port", "database", *(PARTS if instance.is_builtin else ())):
            self.fields.pop(name, None)
        if "password" in self.fields:
            self.fields["password"].required = False
            self.fields["password"].help_text = "Leave it empty to keep the present one."

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if self.errors:
            return data
        given = {name: data[name] for name in PARTS if data.get(name) not in (None, "")}
        sent = {"name": data["name"], **({"connection": given} if given else {})}
        serializer = DestinationSerializer(self.instance, data=sent, partial=self.instance is not None)
        if serializer.is_valid():
            self.values = serializer.validated_data
        else:
            self.refuse(Invalid(flat(serializer.errors)))
        return data

    def refuse(self, problem: Invalid | TooManyRequests) -> None:
        """Tell at its field what the API would answer."""
        errors = problem.errors if isinstance(problem, Invalid) else {"": [problem.reason]}
        for name, reasons in errors.items():
            field = name.rpartition(".")[2]
            for reason in reasons:
                self.add_error(field if field in self.fields else None, reason)


def flat(errors: Any) -> dict[str, list[str]]:
    """A serializer's errors, without the object that a field stands in."""
    found: dict[str, list[str]] = {}
    for name, told in errors.items():
        found |= flat(told) if isinstance(told, dict) else {name: [str(reason) for reason in told]}
    return found


@admin.register(Destination)
class DestinationAdmin(OfMyAccounts):
    list_display = ("called", "kind", "place", "well", "number_of_syncs", "account")
    list_filter = (filters.HealthFilter,)
    list_filter_sheet = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("name", "host", "database")
    search_help_text = "Part of the name, the host or the database"
    ordering = ("-created_at", "-id")
    sortable_by = ()
    actions = None
    change_list_template = "console/destinations/list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request).select_related("account").defer("password", "reader_password")
        return rows.annotate(count_of_syncs=Count("syncs")) if self.is_list(request) else rows

    # ---- the list ----------------------------------------------------------------------------------------------------

    @admin.display(description="destination")
    def called(self, destination: Destination) -> str:
        return str(destination)

    @admin.display(description="where")
    def place(self, destination: Destination) -> SafeString | str:
        return "on this server" if destination.is_builtin else format_html("<code>{}</code>", place_of(destination))

    @admin.display(description="health")
    def well(self, destination: Destination) -> SafeString:
        note = next(iter(destination.health_notes), "")
        told = badge(destination, unchecked=is_new(destination))
        if not note:
            return told
        return format_html('{} <span class="sq-soft sq-small sq-first-note">{}</span>', told, note)

    @admin.display(description="syncs")
    def number_of_syncs(self, destination: Any) -> int:
        return int(destination.count_of_syncs)

    # ---- the addresses -----------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        deeds = {"check": require_POST(self.check_now), "reveal": self.reveal}
        own = [
            path(f"<uuid:destination_id>/{name}/", self.page(view), name=f"syncs_destination_{name}")
            for name, view in deeds.items()
        ]
        return [*own, *super().get_urls()]

    def page(self, view: Any) -> Any:
        """`view` for whoever is signed in; what is typed there may be a password, and is in no report of an error."""
        return self.admin_site.admin_view(
            sensitive_post_parameters()(require_http_methods(["GET", "HEAD", "POST"])(view))
        )

    def mine(self, request: HttpRequest, destination_id: UUID | str, *, locked: bool = False) -> Destination:
        """Raises Http404, the same for one that is not there and for another account's."""
        found_id = canonical_uuid(str(destination_id))
        rows = self.get_queryset(request)
        if locked:
            rows = rows.select_for_update(of=("self",))
        found: Destination | None = rows.filter(pk=found_id).first() if found_id else None
        if found is None:
            raise Http404
        return found

    def back(self, request: HttpRequest, destination: Destination, level: int, told: str) -> HttpResponse:
        messages.add_message(request, level, told)
        return HttpResponseRedirect(url_of(destination))

    def shown(self, request: HttpRequest, name: str, title: str, **more: Any) -> TemplateResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, **more}
        return TemplateResponse(request, f"console/destinations/{name}.html", context)

    # ---- to make and to change ---------------------------------------------------------------------------------------

    @sensitive
    @sensitive_variables()
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Goes there before anything is kept."""
        form = DestinationForm(request.POST or None, request=request)
        if request.method == "POST" and form.is_valid():
            destination = Destination(account=form.cleaned_data["account"], **form.values)
            try:
                journeys.check(destination)
            except (Invalid, TooManyRequests) as exc:
                form.refuse(exc)
            else:
                with transaction.atomic():
                    destination.save(force_insert=True)
                    self.record(request, "created", destination)
                return self.back(request, destination, messages.SUCCESS, MADE)
        return self.shown(request, "add", "Add a destination", form=form)

    @sensitive
    @sensitive_variables()
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        destination = self.mine(request, object_id)
        initial = {name: getattr(destination, name) for name in ("name", "username", "sslmode")}
        posted = request.POST if request.method == "POST" else None
        form = DestinationForm(posted, request=request, instance=destination, initial=initial)
        if request.method == "POST" and form.is_valid() and (told := self.changed(request, destination, form)):
            return self.back(request, destination, messages.SUCCESS, told)
        syncs = destination.syncs.order_by("-created_at", "-pk").only("name", "provider", "status", "health_status")
        return self.shown(
            request,
            "change",
            str(destination),
            original=destination,
            form=form,
            place=place_of(destination),
            syncs=list(syncs[:LATEST]),
            number_of_syncs=destination.syncs.count(),
            unchecked=is_new(destination),
            can_reveal=settings.CONSOLE_REVEAL and destination.is_builtin,
        )

    @sensitive_variables()
    def changed(self, request: HttpRequest, known: Destination, form: DestinationForm) -> str:
        """What was done, in words; empty if it was refused, and the form says why."""
        changes = journeys.changed(known, form.values)
        way = {name: value for name, value in changes.items() if name in journeys.WAY}
        if way:
            try:
                journeys.check(known, **way)
            except (Invalid, TooManyRequests) as exc:
                form.refuse(exc)
                return ""
        with transaction.atomic():
            destination = self.mine(request, known.pk, locked=True)
            if way and destination.updated_at != known.updated_at:
                form.add_error(None, CHANGED_MEANWHILE)
                return ""
            if changes:
                journeys.apply(destination, changes)
                self.record(request, "changed", destination, detail=", ".join(changes))
        if way:
            destination.observe(HealthStatus.OK, [])
            journeys.have_syncs_look(destination)
        return "Saved."

    # ---- to do -------------------------------------------------------------------------------------------------------

    def check_now(self, request: HttpRequest, destination_id: UUID) -> HttpResponse:
        destination = self.mine(request, destination_id)
        try:
            if destination.is_builtin:
                destinations.connect(destinations.target_of(destination)).close()
            else:
                with journeys.turn_of(destination.account_id):
                    destinations.check(destinations.target_of(destination))
        except TooManyRequests as exc:
            return self.back(request, destination, messages.WARNING, exc.reason)
        except DestinationUnavailable as exc:
            status, notes = HealthStatus.ERROR, [str(exc)]
        else:
            status, notes = HealthStatus.OK, []
        destination.observe(status, notes)
        self.record(request, "checked", destination)
        if notes:
            return self.back(request, destination, messages.ERROR, notes[0])
        journeys.have_syncs_look(destination)
        return self.back(request, destination, messages.SUCCESS, "It answers, and we may write there.")

    @sensitive_variables()
    def reveal(self, request: HttpRequest, destination_id: UUID) -> HttpResponse:
        """How to connect as the role that may read the account's schemas and nothing else. Raises Http404 where it is
        not allowed, and where the database is the customer's own.
        """
        destination = self.mine(request, destination_id)
        if not settings.CONSOLE_REVEAL or not destination.is_builtin:
            raise Http404
        form = OwnPasswordForm(request.POST or None, request=request, account=destination.account)
        reader: Reader | None = None
        if request.method == "POST" and form.is_valid():
            try:
                told = destinations.reader(destination)
            except (NoReader, DestinationUnavailable) as exc:
                form.add_error(None, str(exc))
            else:
                self.record(request, "revealed", destination)
                reader = Reader(url=told["url"], parts={name: told[name] for name in PARTS}, schemas=told["schemas"])
        page = self.shown(
            request, "reveal", "Reading role", original=destination, destination=destination, form=form, reader=reader
        )
        page["Cache-Control"] = "no-store"
        return page

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        destination = self.mine(request, object_id)
        if request.method == "POST":
            why_not = self.why_not_deleted(request, destination)
            if why_not:
                return self.back(request, destination, messages.WARNING, why_not)
            messages.success(request, f"{destination} is deleted.")
            return HttpResponseRedirect(reverse("admin:syncs_destination_changelist"))
        return self.shown(
            request,
            "delete",
            "Delete this destination?",
            original=destination,
            destination=destination,
            number_of_syncs=destination.syncs.count(),
            has_schemas_left=destination.dropped_schemas.filter(dropped_at=None).exists(),
        )

    def why_not_deleted(self, request: HttpRequest, destination: Destination) -> str:
        """Delete it; empty if that is done."""
        if destination.is_builtin:
            return STAYS
        try:
            with transaction.atomic():
                locked = self.mine(request, destination.pk, locked=True)
                if locked.dropped_schemas.filter(dropped_at=None).exists() and request.POST.get("keep_data") != "yes":
                    return SCHEMAS_LEFT
                gone = self.event(request, "deleted", locked)  # while it has a primary key
                locked.delete()
                audit.write([gone])
        except (ProtectedError, RestrictedError):
            return IN_USE
        return ""


@dataclass(frozen=True, repr=False)
class Reader:
    """What the page shows of the reading role."""

    url: str
    parts: dict[str, Any]
    schemas: list[str]


def url_of(destination: Destination) -> str:
    return reverse("admin:syncs_destination_change", args=[destination.pk])


def is_new(destination: Destination) -> bool:
    """Whether nobody has gone there yet; to a customer's somebody has, before it was kept."""
    return destination.is_builtin and not destination.health_notes and is_unchecked(destination)


def place_of(destination: Destination) -> str:
    """`host:port/database` of a customer's."""
    host = f"[{destination.host}]" if ":" in destination.host else destination.host
    return f"{host}:{destination.port}/{destination.database}"
