"""Accounts › OAuth Apps."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db import IntegrityError, transaction
from django.db.models import QuerySet, RestrictedError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from oauth_apps import health
from oauth_apps.console import oauth_app_ids
from oauth_apps.console.base import OfMyAccounts
from oauth_apps.console.filters import EnabledFilter, EnvironmentFilter, HealthFilter, ProviderFilter
from oauth_apps.console.health_badge import badge, is_unchecked
from oauth_apps.console.oauth_app_form import NewOAuthAppForm, OAuthAppForm, can_be_simulated
from oauth_apps.console.oauth_app_page import page_of
from oauth_apps.console.provider_picker import Lead, category_of, name_of, picker_of, slugs_named
from oauth_apps.models import HealthStatus, OAuthApp
from providers import catalogue, kinds
from providers.provider import Provider
from sequin_auth.lib.api.paths import canonical_uuid

# How the card at the top of an app's page looks
ATTENTION = {HealthStatus.WARN: "attention warn", HealthStatus.ERROR: "attention"}
TAKEN_OUT = "Its provider is no longer in this server's catalogue, so it cannot be asked."


@admin.register(OAuthApp)
class OAuthAppAdmin(OfMyAccounts):
    list_display = ("named", "at", "where", "enabled", "is_well", "account", "created_at")
    list_display_links = ("named",)
    list_select_related = ("account",)
    list_filter = (ProviderFilter, EnvironmentFilter, EnabledFilter, HealthFilter)
    search_fields = ("name", "client_id", "provider")
    search_help_text = "Name, client id or provider"
    ordering = ("-created_at", "-id")
    actions = None
    readonly_fields = ()
    change_list_template = "console/oauth_app/list.html"
    add_form_template = "console/oauth_app/add.html"
    change_form_template = "console/oauth_app/change.html"
    delete_confirmation_template = "console/oauth_app/delete.html"

    def get_urls(self) -> list[URLPattern]:
        check = self.admin_site.admin_view(require_POST(self.check_view))
        return [path("<path:object_id>/check/", check, name="oauth_apps_oauthapp_check"), *super().get_urls()]

    # ---- the list ----------------------------------------------------------------------------------------------------

    @admin.display(description="name", ordering="name")
    def named(self, oauth_app: OAuthApp) -> SafeString:
        image = '<img class="sq-logo" src="{}" alt="" width="24" height="24" loading="lazy"> {}'
        return format_html(image, reverse("logo", args=[oauth_app.provider]), oauth_app.name)

    @admin.display(description="provider", ordering="provider")
    def at(self, oauth_app: OAuthApp) -> str:
        return name_of(oauth_app.provider)

    @admin.display(description="environment", ordering="environment")
    def where(self, oauth_app: OAuthApp) -> SafeString:
        is_sandbox = oauth_app.environment == OAuthApp.Environment.SANDBOX
        return format_html('<span class="sq-badge {}">{}</span>', "info" if is_sandbox else "", oauth_app.environment)

    @admin.display(description="health", ordering="health_status")
    def is_well(self, oauth_app: OAuthApp) -> SafeString:
        note = next(iter(oauth_app.health_notes), "")
        if not note:
            return badge(oauth_app, unchecked=is_unchecked(oauth_app))
        told = badge(oauth_app, unchecked=False)
        return format_html('{} <span class="sq-soft sq-small sq-first-note">{}</span>', told, note)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Nobody sifts the rows by what is sealed in them."""
        return not lookup.startswith("client_secret") and super().lookup_allowed(lookup, value, request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found, may_have_duplicates = super().get_search_results(request, queryset, search_term)
        if slugs := slugs_named(search_term):
            found |= queryset.filter(provider__in=slugs)
        return found, may_have_duplicates

    # ---- a new one ---------------------------------------------------------------------------------------------------

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Without a provider the page to choose one from; with one, its form."""
        provider = catalogue.find(request.GET.get("provider", ""))
        if provider is None:
            return self.picker(request)
        if not provider.has_code_flow:
            return HttpResponseRedirect(url_to_connect(provider))
        if request.method == "POST" and (saved := self._saved_before(request)):
            return self._lead_to(request, saved)
        context = {
            "provider": provider,
            "category": category_of(provider),
            "can_be_simulated": can_be_simulated(provider),
        }
        try:
            return super().add_view(request, form_url, {**(extra_context or {}), **context})
        except IntegrityError:
            if saved := self._saved_before(request):  # the same form, twice at once
                return self._lead_to(request, saved)
            raise

    def picker(self, request: HttpRequest) -> HttpResponse:
        for_sandbox = request.GET.get("environment") == OAuthApp.Environment.SANDBOX
        kept = {"environment": str(OAuthApp.Environment.SANDBOX)} if for_sandbox else {}
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Register an OAuth app",
            "picker": picker_of(request, lambda provider: lead_to(provider, kept), kept=kept),
            "unknown": request.GET.get("provider", "")[:100],
            "for_sandbox": for_sandbox,
        }
        return TemplateResponse(request, "console/oauth_app/picker.html", context)

    def _saved_before(self, request: HttpRequest) -> OAuthApp | None:
        """The app that this very page has made already."""
        try:
            made = oauth_app_ids.promised(request.user.pk, request.POST.get("promised", ""))
        except oauth_app_ids.NotOurs:
            return None
        found: OAuthApp | None = self.get_queryset(request).filter(pk=made).first()
        return found

    def _lead_to(self, request: HttpRequest, oauth_app: OAuthApp) -> HttpResponse:
        messages.info(request, f"{oauth_app.name} is registered already: the form was sent twice.")
        return HttpResponseRedirect(self._page(oauth_app))

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        messages.success(request, f"{obj.name} is registered. Press “Try it” to see whether it works.")
        return HttpResponseRedirect(self._page(obj))

    # ---- one of them -------------------------------------------------------------------------------------------------

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Held while it is changed or deleted, so that what a check or a trip writes meanwhile is not overwritten."""
        found = self._find(request, object_id)
        if found is None or request.method != "POST" or not transaction.get_connection().in_atomic_block:
            return found
        return self.get_queryset(request).select_for_update(of=("self",)).filter(pk=found.pk).first()

    def _find(self, request: HttpRequest, object_id: str) -> OAuthApp | None:
        pk = canonical_uuid(object_id)
        if pk is None:
            return None
        found: OAuthApp | None = self.get_queryset(request).select_related("account").filter(pk=pk).first()
        return found

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        oauth_app = self._find(request, object_id)
        context = {**(extra_context or {})}
        if oauth_app is not None:
            context["page"] = page_of(oauth_app)
            context["unchecked"] = is_unchecked(oauth_app)
            context["attention"] = ATTENTION.get(HealthStatus(oauth_app.health_status), "")
        return super().change_view(request, object_id, form_url, context)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[OAuthAppForm]:
        provider = catalogue.find(obj.provider if obj else request.GET.get("provider", ""))
        base = OAuthAppForm if obj else NewOAuthAppForm
        return type(base.__name__, (base,), {"provider": provider, "request": request, "__module__": base.__module__})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The page lays the fields out itself."""
        return [(None, {"fields": []})]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        is_sandbox = request.GET.get("environment") == OAuthApp.Environment.SANDBOX
        return {"environment": OAuthApp.Environment.SANDBOX} if is_sandbox else {}

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        messages.success(request, f"{obj.name} is saved.")
        return HttpResponseRedirect(self._page(obj))

    def check_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks the provider whether it knows this client; needs no end user."""
        oauth_app = self._find(request, object_id)
        if oauth_app is None:
            raise Http404
        try:
            health.check(oauth_app)
        except catalogue.UnknownProvider:
            messages.error(request, TAKEN_OUT)
            return HttpResponseRedirect(self._page(oauth_app))
        self.record(request, "checked", oauth_app, detail=oauth_app.health_status)
        self._tell(request, oauth_app)
        return HttpResponseRedirect(self._page(oauth_app))

    def _tell(self, request: HttpRequest, oauth_app: OAuthApp) -> None:
        said = " ".join(oauth_app.health_notes)
        if oauth_app.health_status == HealthStatus.ERROR:
            messages.error(request, said)
        elif oauth_app.health_status == HealthStatus.WARN:
            messages.warning(request, said)
        elif said:  # nothing is wrong, and not everything could be asked
            messages.info(request, said)
        else:
            messages.success(request, "The provider accepts the client id and the client secret.")

    def _page(self, oauth_app: OAuthApp) -> str:
        return reverse("admin:oauth_apps_oauthapp_change", args=[oauth_app.pk])

    # ---- and away with it --------------------------------------------------------------------------------------------

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        oauth_app = self._find(request, object_id)
        context = {**(extra_context or {})}
        if oauth_app is not None:
            context["page"] = page_of(oauth_app)
        try:
            with transaction.atomic():
                return super().delete_view(request, object_id, context)
        except RestrictedError:  # a credential that came while somebody confirmed
            return HttpResponseRedirect(request.path)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Of the credentials only whether there are some: the page says in words what goes and what keeps it."""
        names: Sequence[OAuthApp] = list(objs)
        kept = [str(oauth_app) for oauth_app in names if oauth_app.credentials.exists()]
        return [str(oauth_app) for oauth_app in names], {}, set(), kept


def lead_to(provider: Provider, kept: Mapping[str, str]) -> Lead:
    """To the form; where no OAuth app is needed, to what is done instead. `kept`: of the query of the page."""
    if provider.has_code_flow:
        return Lead(f"?{urlencode({'provider': provider.slug, **kept})}")
    ways = ", ".join(kind.label for kind in kinds.of(provider))
    return Lead(url_to_connect(provider), f"{ways}, no OAuth app needed: connect it")


def url_to_connect(provider: Provider) -> str:
    return f"{reverse('admin:connect')}?{urlencode({'provider': provider.slug})}"
