"""Connections › Authorizations: every trip, found by what a developer or an end user remembers of it."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET, require_POST

from credentials.console import trips
from credentials.console.advice import advice_for
from credentials.console.timeline import host_of, name_of, started_words, timeline
from credentials.link.forms import canonical_uuid, is_prefetch
from credentials.models import Authorization, End, Outcome, Step, fingerprint
from oauth_apps.console.base import LookedAt
from oauth_apps.console.filters import Choices, EnvironmentFilter, OAuthAppFilter, ProviderFilter
from providers import catalogue
from providers.provider import Provider
from sequin_auth.lib.encryption import digest


class OutcomeFilter(admin.SimpleListFilter):
    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(outcome.value, outcome.label) for outcome in Outcome]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        return queryset.alias(outcome=Outcome.in_sql(timezone.now())).filter(outcome=self.value())


class EnvironmentOfTheApp(EnvironmentFilter):
    column = "oauth_app__environment"


@admin.register(Authorization)
class AuthorizationAdmin(LookedAt):
    """Trips, to be looked at. They hold secrets for some minutes; no page here opens one of a developer's trip."""

    account_path = "oauth_app__account"
    list_display = ("started", "how", "at_provider", "app_name", "back_at", "what", "account")
    list_select_related = ("oauth_app__account",)
    list_filter = (OutcomeFilter, ProviderFilter, OAuthAppFilter, EnvironmentOfTheApp)
    list_before_template = "console/authorization/above_list.html"
    list_per_page = 50
    search_fields = ("redirect_uri",)  # and what get_search_results looks for
    search_help_text = "State, redirect URI, provider or id"
    ordering = ("-created_at", "-pk")
    actions = None
    show_facets = admin.ShowFacets.NEVER
    nothing_yet = "Nobody has been on a trip in the last day. “Try it” on an OAuth app's page makes one."
    first_step = ("Open the OAuth apps", "admin:oauth_apps_oauthapp_changelist")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """With all that its page tells of it at hand."""
        rows = self.get_queryset(request).select_related("oauth_app", "started_by")
        return rows.filter(pk=canonical_uuid(object_id)).first()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By a state, the developer's or the one that we sent on; an id; a part of the redirect URI; the provider."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(redirect_uri__icontains=term) | Q(provider__in=providers_called(term))
        for state in {term, search_term}:
            found |= Q(client_state_fingerprint=fingerprint(state)) | Q(state_hash=digest(state))
        if wanted := canonical_uuid(term):
            found |= Q(pk=wanted) | Q(oauth_app=wanted)
        return queryset.filter(found), False

    # ---- the list's columns --------------------------------------------------------------------------------------

    @admin.display(description="Started (UTC)", ordering="created_at")
    def started(self, trip: Authorization) -> str:
        return f"{trip.created_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Provider", ordering="provider")
    def at_provider(self, trip: Authorization) -> SafeString:
        image = '<img class="sq-logo" src="{}" alt="" width="20" height="20" loading="lazy"> {}'
        return format_html(image, reverse("logo", args=[trip.provider]), name_of(trip.provider))

    @admin.display(description="OAuth app", ordering="oauth_app__name")
    def app_name(self, trip: Authorization) -> str:
        return trip.oauth_app.name

    @admin.display(description="Outcome")
    def how(self, trip: Authorization) -> SafeString:
        outcome = trip.outcome
        return format_html('<span class="sq-badge {}">{}</span>', outcome.badge, outcome.label)

    @admin.display(description="Ends at")
    def back_at(self, trip: Authorization) -> str:
        return where_it_ends(trip)

    @admin.display(description="Error", empty_value="")
    def what(self, trip: Authorization) -> str:
        return trip.error

    @admin.display(description="Account", ordering="oauth_app__account__name")
    def account(self, trip: Authorization) -> str:
        return trip.oauth_app.account.name

    # ---- what may be done ----------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        arrived, keep = require_GET(self.arrived_view), require_POST(self.keep_view)
        return [
            path("try/<uuid:oauth_app_id>/", view(require_POST(trips.try_out)), name="try_out"),
            path("<uuid:authorization_id>/arrived/", view(arrived), name="credentials_authorization_arrived"),
            path("<uuid:authorization_id>/keep/", view(keep), name="credentials_authorization_keep"),
            *super().get_urls(),
        ]

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """By nobody: with a trip go tokens that the provider must be given back. Its OAuth app's deletion does that."""
        raise PermissionDenied

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        trip = self.get_object(request, unquote(object_id))
        if trip is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        return self.trip_page(request, trip)

    def trip_page(self, request: HttpRequest, trip: Any) -> HttpResponse:
        now = timezone.now()
        outcome = Outcome.of(trip, now)
        mine = trip.started_by_id is not None and trip.started_by_id == request.user.pk
        context = {
            **self.admin_site.each_context(request),
            "title": f"Authorization at {name_of(trip.provider)}",
            "opts": self.opts,
            "original": trip,  # with opts: the way here, at the top
            "trip": trip,
            "oauth_app": trip.oauth_app,
            "provider": catalogue.load().get(trip.provider),
            "provider_name": name_of(trip.provider),
            "outcome": outcome,
            "moments": timeline(trip, now=now),
            "advice": advice_for(trip, outcome),
            "started_words": started_words(trip),
            "where_it_ends": where_it_ends(trip),
            "credential": trips.credential_of(trip),
            "can_be_tried_again": mine and trip.ends_at == End.TRIAL and not trips.why_not(trip.oauth_app),
            "has_result": mine and trip.ends_at == End.TRIAL and trip.step == Step.GRANTED,
        }
        return TemplateResponse(request, "console/authorization/trip.html", context)

    # ---- where the trips end that were begun in the console ----------------------------------------------------------

    def begun_by(self, request: HttpRequest, authorization_id: UUID) -> Any:
        """A trip of whoever asks, in an account that is his still. Not even a superuser ends another's."""
        rows = self.get_queryset(request).select_related("oauth_app", "started_by")
        trip = rows.filter(
            pk=authorization_id, started_by=request.user.pk, ends_at__in=[End.CONSOLE, End.TRIAL]
        ).first()
        if trip is None:
            raise Http404
        return trip

    def arrived_view(self, request: HttpRequest, authorization_id: UUID) -> HttpResponse:
        """The browser comes from the callback. It may come again, by a reload or the back button.

        Alone among all that is got it changes something: what came is kept, since the callback has shown that it is the
        answer of whoever began it. So looking ahead is not coming.
        """
        if is_prefetch(request):
            return HttpResponse(status=HTTPStatus.NO_CONTENT)
        trip = self.begun_by(request, authorization_id)
        if trip.ends_at == End.CONSOLE and trip.step in {Step.GRANTED, Step.EXCHANGED}:
            return trips.keep(request, trip) or self.to_trip(trip)
        if trip.ends_at == End.TRIAL and trip.step == Step.GRANTED and (brought := trips.brought(trip)):
            context = {
                **self.admin_site.each_context(request),
                "title": f"It works: {name_of(trip.provider)}",
                "opts": self.opts,
                "original": trip,
                "trip": trip,
                "oauth_app": trip.oauth_app,
                "provider_name": name_of(trip.provider),
                "brought": brought,
            }
            return TemplateResponse(request, "console/authorization/result.html", context)
        return self.trip_page(request, trip)

    def keep_view(self, request: HttpRequest, authorization_id: UUID) -> HttpResponse:
        trip = self.begun_by(request, authorization_id)
        if trip.step == Step.GRANTED or trip.step == Step.EXCHANGED:
            return trips.keep(request, trip) or self.to_trip(trip)
        messages.error(request, "Nothing was kept. The tokens of this trip have been erased: try it again.")
        return self.to_trip(trip)

    def to_trip(self, trip: Authorization) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:credentials_authorization_change", args=[trip.pk]))


def where_it_ends(trip: Authorization) -> str:
    places = {End.PAGE: "a page of ours", End.CONSOLE: "the console", End.TRIAL: "the console (a trial)"}
    return places.get(End(trip.ends_at)) or host_of(trip.redirect_uri)


def providers_called(term: str) -> list[str]:
    """The slugs of the providers whose slug, name or alias `term` is a part of, and `term`, of one that has left."""
    words = term.casefold()
    known = (p.slug for p in catalogue.load().values() if any(words in name.casefold() for name in names(p)))
    return [*known, words]


def names(provider: Provider) -> list[str]:
    return [provider.slug, provider.name, *provider.aliases]
