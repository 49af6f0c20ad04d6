"""Connecting an account of one's own from the console: which provider, by which way, and what that needs.

A trip ends in the console with a credential; what is typed is shown to the provider first, and kept if it is not
refused. One address, whose query says how far somebody has come.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials import checks, health, imports
from credentials.checks import NOT_CALLED, NOT_CHECKABLE, NOT_UNDERSTOOD, UNREACHED, Finding
from credentials.console.connect_forms import TripForm, TypedForm
from credentials.imported import Import
from credentials.link import start_links
from credentials.link.forms import canonical_uuid
from credentials.link.start_links import Link
from credentials.models import Credential, End
from oauth_apps import audit
from oauth_apps.console.base import actor_of
from oauth_apps.console.choice import choice_of, my_accounts
from oauth_apps.console.own_password import user_of
from oauth_apps.console.provider_picker import Lead, picker_of
from oauth_apps.models import Account, OAuthApp
from providers import access, catalogue, kinds
from providers.client_authentication import is_private_key
from providers.errors import AnswerNotUnderstood, ProviderError, ProviderUnavailable, TokenRequestRejected
from providers.kinds import CredentialKind, PropertiesNotAccepted
from providers.provider import Provider
from providers.variables import VariableNotAccepted
from sequin_auth.lib.encryption import Unreadable

SENT_ALONG = timedelta(days=3)  # how long a link lives that is sent to somebody
MOST_APPS = 50
REFUSING = {"invalid_token", "invalid_grant", "invalid_client", "unauthorized_client"}

REFUSED = "{provider} does not accept this. Nothing was kept. Look whether it was copied whole and is still valid."
APP_REFUSED = "{provider} does not accept the OAuth app {app}. Nothing was kept. Look at its client ID and private key."
APP_UNREADABLE = "The secret of the OAuth app does not open. Enter it again, then come back."


class Refused(Exception):
    """The provider says no; `str()` says to what."""


@dataclass(frozen=True)
class Way:
    """How an account can be connected. `needs`: what has to be done first, if something has."""

    title: str
    words: str
    url: str
    is_open: bool = True


def connect(console: Any, request: HttpRequest) -> HttpResponse:
    """`console`: the ModelAdmin. Raises Http404: the query names something that is not there, or not one's own."""
    if "provider" not in request.GET:
        return choose_provider(console, request)
    provider = catalogue.load().get(request.GET["provider"])
    if provider is None:
        raise Http404
    if "kind" not in request.GET:
        return choose_way(console, request, provider)
    kind = next((kind for kind in kinds.of(provider) if kind.name == request.GET["kind"]), None)
    if kind is None:
        raise Http404
    oauth_app = wanted_app(request, kind)
    if kind.declared is None:
        return by_trip(console, request, kind, oauth_app)
    return by_typing(console, request, kind, oauth_app)


def url_of(**query: str) -> str:
    return f"{reverse('admin:connect')}?{urlencode(query)}"


# ---- which provider, which way ---------------------------------------------------------------------------------------


def choose_provider(console: Any, request: HttpRequest) -> HttpResponse:
    context = {
        **console.admin_site.each_context(request),
        "opts": console.opts,
        "title": "Connect an account",
        "picker": picker_of(request, lead_to),
    }
    return TemplateResponse(request, "console/connect/provider.html", context)


def lead_to(provider: Provider) -> Lead:
    declared = ", ".join(kind.label for kind in kinds.of(provider) if kind.declared)
    return Lead(url_of(provider=provider.slug), declared)


def choose_way(console: Any, request: HttpRequest, provider: Provider) -> HttpResponse:
    ways = [way for kind in kinds.of(provider) for way in ways_of(request, kind)]
    if len(ways) == 1 and ways[0].is_open:
        return HttpResponseRedirect(ways[0].url)
    context = {
        **console.admin_site.each_context(request),
        "opts": console.opts,
        "title": f"Connect {provider.name}",
        "provider": provider,
        "ways": ways,
    }
    return TemplateResponse(request, "console/connect/way.html", context)


def ways_of(request: HttpRequest, kind: CredentialKind) -> list[Way]:
    provider = kind.provider
    if not kind.needs_oauth_app:
        return [Way(kind.label, "You enter it here.", url_of(provider=provider.slug, kind=kind.name))]
    rows = list(apps_of(request, kind)[:MOST_APPS])
    if not rows:
        return [registration_of(kind)]
    is_told_apart = choice_of(request).chosen is None
    verb = f"You sign in at {provider.name}." if kind.declared is None else "You enter where it is installed."
    return [
        Way(
            f"{kind.label} with {oauth_app.name}",
            f"{verb} It is a {'sandbox' if oauth_app.sandbox_url else 'live'} OAuth app"
            f"{f' of {oauth_app.account}' if is_told_apart else ''}.",
            url_of(provider=provider.slug, kind=kind.name, oauth_app=str(oauth_app.pk)),
        )
        for oauth_app in rows
    ]


def registration_of(kind: CredentialKind) -> Way:
    """What is missing before there is a way."""
    what = "whose client secret is its private key" if kind.auth == "app_jwt" else "of yours"
    return Way(
        f"{kind.label}: register an OAuth app first",
        f"This way needs an OAuth app at {kind.provider.name} {what}. None is registered and enabled.",
        f"{reverse('admin:oauth_apps_oauthapp_add')}?{urlencode({'provider': kind.provider.slug})}",
        is_open=False,
    )


def apps_of(request: HttpRequest, kind: CredentialKind) -> Any:
    """The user's own that may be used for it: enabled, and not in a sandbox that is switched off."""
    here = choice_of(request).chosen
    rows = OAuthApp.objects.enabled().select_related("account").filter(provider=kind.provider.slug)
    rows = rows.filter(account=here) if here else rows.filter(account__in=my_accounts(request))
    rows = rows if settings.SANDBOX else rows.exclude(environment=OAuthApp.Environment.SANDBOX)
    if kind.auth != "app_jwt":
        return rows.order_by("name", "pk")
    keyed = [oauth_app.pk for oauth_app in rows[:MOST_APPS] if has_private_key(oauth_app)]
    return rows.filter(pk__in=keyed).order_by("name", "pk")


@sensitive_variables()
def has_private_key(oauth_app: OAuthApp) -> bool:
    try:
        return is_private_key(oauth_app.client_secret or "")
    except Unreadable:
        return False


def wanted_app(request: HttpRequest, kind: CredentialKind) -> OAuthApp | None:
    """Raises Http404."""
    if not kind.needs_oauth_app:
        return None
    oauth_app_id = canonical_uuid(request.GET.get("oauth_app", ""))
    mine = OAuthApp.objects.enabled().filter(account__in=my_accounts(request), provider=kind.provider.slug)
    mine = mine if settings.SANDBOX else mine.exclude(environment=OAuthApp.Environment.SANDBOX)
    found = mine.select_related("account").filter(pk=oauth_app_id).first() if oauth_app_id else None
    if found is None:
        raise Http404
    return found


# ---- by an OAuth trip ------------------------------------------------------------------------------------------------


def by_trip(console: Any, request: HttpRequest, kind: CredentialKind, oauth_app: OAuthApp | None) -> HttpResponse:
    assert oauth_app is not None  # noqa: S101 - every code flow needs one
    form = TripForm(request.POST if request.method == "POST" else None, oauth_app=oauth_app)
    if request.method == "POST" and not form.cannot_start and form.is_valid():
        link = start_links.make(
            oauth_app,
            variables=form.cleaned_data["variables"],
            scope=form.cleaned_data["scope"],
            ends_at=End.CONSOLE,
            started_by=user_of(request),
        )
        audit.record(
            "authorization.started",
            by=actor_of(request),
            account=oauth_app.account,
            to=oauth_app,
            detail=f"connect {kind.provider.slug} in the console",
        )
        return onward(request, link)
    return form_page(console, request, kind, oauth_app, form)


def onward(request: HttpRequest, link: Link) -> HttpResponse:
    """A page that leads on: Chromium follows no redirect from a form to another origin (CSP, form-action)."""
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return TemplateResponse(request, "link/onward.html", {"url": link.url}, headers=headers)


def form_page(
    console: Any,
    request: HttpRequest,
    kind: CredentialKind,
    oauth_app: OAuthApp | None,
    form: TripForm | TypedForm,
) -> HttpResponse:
    provider = kind.provider
    context = {
        **console.admin_site.each_context(request),
        "opts": console.opts,
        "title": f"Connect {provider.name}",
        "provider": provider,
        "kind": kind,
        "oauth_app": oauth_app,
        "form": form,
        "is_trip": kind.declared is None,
        "scopes": provider.scopes if kind.declared is None else {},
        "fixed": [(provider.variables[name].label, value) for name, value in fixed_of(provider, oauth_app)],
    }
    return TemplateResponse(request, "console/connect/form.html", context, headers={"Cache-Control": "no-store"})


def fixed_of(provider: Provider, oauth_app: OAuthApp | None) -> list[tuple[str, str]]:
    variables = oauth_app.variables if oauth_app else {}
    return [(name, value) for name, value in variables.items() if name in provider.variables]


# ---- by what somebody types ------------------------------------------------------------------------------------------


@sensitive_variables()
def by_typing(console: Any, request: HttpRequest, kind: CredentialKind, oauth_app: OAuthApp | None) -> HttpResponse:
    here = choice_of(request)
    accounts = [here.chosen] if here.chosen else here.offered
    data = request.POST if request.method == "POST" else None
    form = TypedForm(data, kind=kind, oauth_app=oauth_app, accounts=accounts)
    if request.method == "POST" and form.is_valid() and form.given:
        credential = connected(request, form, form.given)
        if credential is not None:
            return HttpResponseRedirect(reverse("admin:credentials_credential_change", args=[credential.pk]))
    return form_page(console, request, kind, oauth_app, form)


@sensitive_variables()
def connected(request: HttpRequest, form: TypedForm, given: Import) -> Credential | None:
    """What was typed, kept; None if the form says why it was not."""
    name = given.kind.provider.name
    try:
        findings = findings_of(form.account, given)
        with transaction.atomic():
            credential, is_new = imports.keep(form.account, given)
            audit.record(
                "credential.connected",
                by=actor_of(request),
                account=form.account,
                to=credential,
                detail=f"{given.kind.name}, {'new' if is_new else 'in the place of what was kept of it'}",
            )
    except Refused as exc:
        form.add_error(None, str(exc))
        return None
    except PropertiesNotAccepted as exc:
        form.refuse(exc.errors)
        return None
    except Unreadable:
        form.add_error(None, APP_UNREADABLE)
        return None
    checks.write_down(credential, findings)
    if findings:
        now = health.moment(timezone.now())
        messages.warning(request, " ".join(["Kept.", *(note.format(provider=name, now=now) for _, note in findings)]))
    else:
        messages.success(request, f"Connected: {name} accepts it.")
    return credential


@sensitive_variables()
def findings_of(account: Account, given: Import) -> list[Finding]:
    """What the provider says of a credential before it is kept: one that is refused must not take the place of a good
    one. Empty if all is well. Raises Refused, PropertiesNotAccepted, Unreadable.
    """
    try:
        return [] if is_accepted(account, given) else [NOT_CHECKABLE]
    except TokenRequestRejected as exc:
        if exc.reason not in REFUSING:
            return [NOT_CALLED]
        words = REFUSED
        if given.oauth_app is not None and exc.reason in {"invalid_client", "unauthorized_client"}:
            words = APP_REFUSED
        name = given.oauth_app.name if given.oauth_app else ""
        raise Refused(words.format(provider=given.kind.provider.name, app=name)) from exc
    except ProviderUnavailable:
        return [UNREACHED]
    except AnswerNotUnderstood:
        return [NOT_UNDERSTOOD]
    except (ProviderError, VariableNotAccepted, LookupError):
        return [NOT_CALLED]


@sensitive_variables()
def is_accepted(account: Account, given: Import) -> bool:
    """False if no call is known by which that could be found out."""
    kind = given.kind
    row = Credential(  # it is not saved
        account=account,
        oauth_app=given.oauth_app,
        provider=kind.provider.slug,
        kind=kind.name,
        variables=given.variables,
    )
    provider, client = row.speaking()
    if not kind.mints:
        return access.check(kind, provider, client, given.values, "") is not None
    access_token = access.mint(kind, client, given.values).access_token
    access.check(kind, provider, client, given.values, access_token)
    return True
