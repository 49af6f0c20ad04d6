"""Trips that somebody begins in the console, and which end there: “Try it”, and what is kept without a backend."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials import keeping, reconnect
from credentials.console.timeline import ERASED_AFTER
from credentials.imported import end_of
from credentials.link import start_links
from credentials.link.answers import token_answer
from credentials.models import Authorization, Credential, End, Expiry, Grant, Step
from oauth_apps import audit
from oauth_apps.console.base import actor_of
from oauth_apps.console.choice import my_accounts
from oauth_apps.models import OAuthApp
from providers import catalogue, kinds
from providers.errors import AnswerNotUnderstood
from providers.provider import Provider
from providers.tokens import missing_scopes
from sequin_auth.lib.api import PROPERTY_MASK
from sequin_auth.lib.encryption import Unreadable

SAYS = {
    Expiry.EXPIRES_IN: "as the provider says",
    Expiry.EXPIRES_AT: "as the provider says",
    Expiry.TOKEN: "as the token itself says",
    Expiry.INTROSPECTION: "as the provider says",
    Expiry.CATALOGUE: "by the provider's documentation",
    Expiry.POLICY: "assumed: the provider does not say",
}


def try_out(request: HttpRequest, oauth_app_id: UUID) -> HttpResponse:
    """Begin a trip that ends on a result page. It is an ordinary one, from an ordinary start link.

    Answers a page that moves on by itself: a browser holds the redirects of a form's answer to `form-action`.
    """
    oauth_app = OAuthApp.objects.filter(pk=oauth_app_id, account__in=my_accounts(request)).first()
    if oauth_app is None:
        raise Http404
    if reason := why_not(oauth_app):
        messages.error(request, reason)
        return HttpResponseRedirect(reverse("admin:oauth_apps_oauthapp_change", args=[oauth_app.pk]))
    link = start_links.make(oauth_app, variables={}, ends_at=End.TRIAL, started_by=cast(User, request.user))
    audit.record("oauth_app.tried", by=actor_of(request), account=oauth_app.account_id, to=oauth_app)
    return render(request, "link/onward.html", {"url": link.url})


def why_not(oauth_app: OAuthApp) -> str:
    """Why no trip can be begun; empty if one can."""
    provider = catalogue.load().get(oauth_app.provider)
    if provider is None or not provider.has_code_flow:
        return f"This cannot be tried: the provider {oauth_app.provider} is not in the catalogue any more."
    if not oauth_app.enabled:
        return "This cannot be tried while the OAuth app is disabled. Enable it, save, and try again."
    if oauth_app.sandbox_url and not settings.SANDBOX:
        return "This cannot be tried: the OAuth app is one of the sandbox, which is switched off on this gateway."
    return ""


# ---- where such a trip ends ------------------------------------------------------------------------------------------


def keep(request: HttpRequest, trip: Authorization) -> HttpResponse | None:
    """Keep what came, once, and show the credential; None if there is none, which the user is told."""
    try:
        with audit.acting_as(actor_of(request)):
            credential = keeping.keep(trip)
    except keeping.NotKept as exc:
        return kept_by_another(request, trip, exc)
    messages.success(request, "Reconnected." if trip.credential_id else "Connected.")
    return to_credential(credential)


def kept_by_another(request: HttpRequest, trip: Authorization, exc: keeping.NotKept) -> HttpResponse | None:
    """It was taken between the look at the row and the attempt to keep it: by a second press, another tab, the purge.

    Whoever takes it has put the credential in place when the row says so, and what was waited for is that row.
    """
    row = Authorization.objects.filter(pk=trip.pk).first()
    if row is None or row.step != Step.EXCHANGED:
        messages.error(request, f"Nothing was kept. {row.error_description if row and row.error else exc}")
        return None
    if found := credential_of(row):
        messages.info(request, "It is kept already. This is the credential.")
        return to_credential(found)
    messages.info(request, "It was kept already. The credential was renewed or deleted since.")
    return None


def to_credential(credential: Credential) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:credentials_credential_change", args=[credential.pk]))


def credential_of(trip: Authorization) -> Credential | None:
    """The one whose account's owner agreed on this very trip; None if there is none, or it was renewed since."""
    if trip.step != Step.EXCHANGED or trip.granted_at is None:
        return None
    return Credential.objects.filter(oauth_app=trip.oauth_app_id, token__granted_at=trip.granted_at).first()


# ---- what it brought -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Brought:
    """What the provider gave on one trip, without a secret."""

    identity: list[tuple[str, str]]
    properties: list[tuple[str, str]]
    asked: list[str]
    granted: list[str]
    missing: list[str]
    ends: str
    has_refresh_token: bool
    answer: str  # what the developer's backend would get, as JSON
    problem: str  # why it could not be kept
    minutes: int  # until it is erased, at least


@sensitive_variables()
def brought(trip: Authorization) -> Brought | None:
    """None if it does not open, or the provider has left the catalogue. Opens the seal, and lets out no secret."""
    provider, oauth_app = catalogue.load().get(trip.provider), trip.oauth_app
    try:
        grant = trip.granted()
    except (Unreadable, ValueError):
        return None
    if provider is None:
        return None
    answer = masked(token_answer(oauth_app, grant), provider, grant)
    properties: dict[str, Any] = answer["credential"]["properties"]
    identity = provider.identity_properties()
    granted = (grant.scope or "").split()
    ends, problem = end(trip, oauth_app, grant)
    return Brought(
        identity=[(name, shown(properties[name])) for name in identity if name in properties],
        properties=[(name, shown(value)) for name, value in properties.items() if name not in identity],
        asked=trip.scopes,
        granted=granted,
        missing=missing_scopes(provider, trip.scopes, granted) if granted else [],
        ends=ends,
        has_refresh_token=bool(grant.refresh_token),
        answer=json.dumps(answer, indent=2, ensure_ascii=False),
        problem=problem,
        minutes=max(1, int((trip.expires_at + ERASED_AFTER - timezone.now()).total_seconds() // 60)),
    )


def end(trip: Authorization, oauth_app: OAuthApp, grant: Grant) -> tuple[str, str]:
    """When the access token ends, in words; and why it could not be kept, or nothing."""
    try:
        given = reconnect.as_import(oauth_app, grant)
    except AnswerNotUnderstood as exc:
        return "", str(exc)
    moment, source = end_of(given, trip, trip.granted_at or timezone.now())
    if moment is None:
        return "never" if source == Expiry.NEVER else "The provider does not say.", ""
    return f"in {duration(moment)}, at {moment:%Y-%m-%d %H:%M:%S} UTC ({SAYS[Expiry(source)]})", ""


def duration(moment: datetime) -> str:
    seconds = max(0, int((moment - timezone.now()).total_seconds()))
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}s"
    return f"{seconds} seconds"


@sensitive_variables()
def masked(answer: dict[str, Any], provider: Provider, grant: Grant) -> dict[str, Any]:
    """A token answer with a mask for each secret: what is declared as one, and whatever holds one of the tokens."""
    declared = kinds.get(provider.kind).properties
    tokens = [token for token in (grant.access_token, grant.refresh_token) if token]

    def veiled(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {inner: veiled(inner, within) for inner, within in value.items()}
        is_secret = name in declared and declared[name].secret
        return PROPERTY_MASK if is_secret or any(token in str(value) for token in tokens) else value

    veiled_answer: dict[str, Any] = veiled("", answer)
    return veiled_answer


def shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
