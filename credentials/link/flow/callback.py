"""From the provider back to the developer's redirect URI."""

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.views.decorators.debug import sensitive_variables

from credentials import reconnect
from credentials.link.errors import StateNotAccepted
from credentials.link.flow.start import id_token_nonce
from credentials.link.forms import Query
from credentials.link.redirects import with_params
from credentials.models import Authorization, Credential, Grant, Step
from credentials.reconnect import ReconnectionRefused
from credentials.revocation import give_back_unused
from oauth_apps import health
from oauth_apps.models import OAuthApp
from providers import catalogue, identity, oauth1, oauth2
from providers.client import Client
from providers.errors import CallbackNotAccepted, IssuerMismatch, ProviderError
from providers.provider import Provider
from providers.tokens import TokenResponse
from providers.variables import VariableNotAccepted
from sequin_auth.lib.encryption import Unreadable

log = structlog.get_logger("link")

MOST_GIVEN_BACK = 20  # of one OAuth app or credential, while somebody waits for its deletion
BINDINGS = {
    "context_mismatch": "This answer belongs to another provider or OAuth app.",
    "session_mismatch": "This connection was begun in another browser.",
}


class Arrival(msgspec.Struct, frozen=True):
    """The end of the browser's trip: where it goes, and what went wrong, if anything did."""

    location: str
    authorization: Authorization
    problem: ProviderError | None = None


@sensitive_variables()
def callback(*, callback_url: str, browser: str, query: Query) -> Arrival:
    """Exchange the provider's code, and send the end user back. Source: RFC 6749, 4.1.2; RFC 9700, 4.4, 4.7; RFC 9207.

    `callback_url`: the one that was called; `browser`: the nonce of this flow's cookie. Raises StateNotAccepted, before
    anything leaves the machine or after everything that came was dropped; any other fault is told to the redirect URI.
    """
    state = query.text("state")
    authorization = state and Authorization.objects.take(Step.STARTED, leads_to=Step.RETURNED, state=state)
    if not authorization or query.repeated("state"):
        raise StateNotAccepted("The state of this answer is unknown, used or expired.")
    if broken := authorization.was_started_with(callback_url=callback_url, browser=browser):
        authorization.fail(broken, BINDINGS[broken])
        log.warning(broken, authorization=str(authorization.pk), provider=authorization.provider)
        raise StateNotAccepted(BINDINGS[broken], error=broken, title="This link was opened somewhere else")
    oauth_app = still_connectable(authorization)

    try:
        provider, client = as_at_the_start(authorization, oauth_app)
        grant = exchanged(provider, client, authorization, oauth_app, query)
    except IssuerMismatch as exc:
        authorization.fail("issuer_mismatch", str(exc))
        raise StateNotAccepted(str(exc), error="issuer_mismatch") from exc
    except ProviderError as exc:
        health.observe(oauth_app, exc)
        authorization.fail(exc.reason if isinstance(exc, ReconnectionRefused) else exc.error, str(exc))
        return Arrival(way_back(authorization, error=exc.error, error_description=str(exc)), authorization, problem=exc)

    try:
        code = authorization.grant(grant)
    except DatabaseError:
        give_back_tokens(*as_at_the_start(authorization, oauth_app), grant, grant.properties)
        raise
    if code is None:
        give_back_tokens(*as_at_the_start(authorization, oauth_app), grant, grant.properties)
        raise withdrawn(authorization)
    health.observe(oauth_app, None)
    return Arrival(way_back(authorization, code=code), authorization)


def still_connectable(authorization: Authorization) -> OAuthApp:
    oauth_app = OAuthApp.objects.enabled().filter(pk=authorization.oauth_app_id).first()
    if (
        not oauth_app
        or authorization.registered_redirect_uri_id is None
        or authorization.provider not in catalogue.load()
    ):
        raise withdrawn(authorization)
    return oauth_app


def withdrawn(authorization: Authorization) -> StateNotAccepted:
    message = "The OAuth app or the redirect URI of this link was removed meanwhile."
    authorization.fail("link_withdrawn", message)
    return StateNotAccepted(message, error="link_withdrawn")


def as_at_the_start(authorization: Authorization, oauth_app: OAuthApp) -> tuple[Provider, Client]:
    """The provider, at the address and as the client of the start.

    How it is spoken to is today's catalogue; the secret is today's too, since an old one would not work.
    """
    snapshot = authorization.snapshot
    sandbox_url = f"{settings.PUBLIC_URL}/sandbox/{authorization.provider}" if snapshot["sandbox"] else ""
    provider = catalogue.get(authorization.provider).bound(snapshot["variables"], sandbox_url=sandbox_url)
    client = Client(
        client_id=snapshot["client_id"],
        client_secret=oauth_app.client_secret or "",
        variables=snapshot["variables"],
        sandbox=snapshot["sandbox"],
    )
    endpoints = {"token_endpoint": snapshot["token_endpoint"], "issuer": snapshot["issuer"]}
    return msgspec.structs.replace(provider, **endpoints), client


def where_it_answers(
    authorization: Authorization, provider: Provider, client: Client, answer: Mapping[str, str]
) -> tuple[Provider, Client]:
    """The same, where the callback says that the account is: at another of the provider's own addresses.

    From there on the trip is bound to that address. Raises CallbackNotAccepted.
    """
    try:
        variables = provider.variables_told(answer, client.variables)
    except VariableNotAccepted as exc:
        raise CallbackNotAccepted(f"The provider's answer names an address that is not known: {exc}.") from exc
    if variables == client.variables:
        return provider, client
    sandbox_url = f"{settings.PUBLIC_URL}/sandbox/{provider.slug}" if client.sandbox else ""
    there = catalogue.get(provider.slug).bound(variables, sandbox_url=sandbox_url)
    authorization.snapshot |= {
        "variables": variables,
        "token_endpoint": there.token_endpoint,
        "issuer": there.issuer,
    }
    return there, msgspec.structs.replace(client, variables=variables)


@sensitive_variables()
def exchanged(
    provider: Provider, client: Client, authorization: Authorization, oauth_app: OAuthApp, query: Query
) -> Grant:
    """The tokens for the provider's code, and whose they are.

    Raises ProviderError; ReconnectionRefused if they are not those that a reconnection is for.
    """
    answer = query.as_dict()
    if provider.auth == "oauth1":
        repeated = query.repeated("oauth_token", "oauth_verifier")
        kept = authorization.code_verifier or ""
        tokens = oauth1.exchange(provider, client, answer, kept=kept, repeated=repeated)
    else:
        repeated = query.repeated(*provider.read_at_the_callback())
        code = oauth2.read_callback(provider, client, answer, repeated=repeated)
        provider, client = where_it_answers(authorization, provider, client, answer)
        tokens = oauth2.exchange_code(
            provider,
            client,
            code,
            redirect_uri=oauth2.redirect_uri_with(provider, authorization.callback_url, query.text("state")),
            code_verifier=authorization.code_verifier or "",
            callback=answer,
            scopes=authorization.scopes,
        )
    if tokens.scope is None and authorization.scopes:  # absent is as requested (RFC 6749, 5.1)
        tokens = msgspec.structs.replace(tokens, scope=" ".join(authorization.scopes))
    properties: dict[str, Any] = {}
    try:
        nonce = id_token_nonce(query.text("state"))
        properties = identity.properties(provider, client, tokens, callback=answer, nonce=nonce)
        grant = Grant.of(provider, tokens, properties)
        if authorization.credential_id is not None:
            reconnect.refuse_others(authorization, oauth_app, grant)
    except (ProviderError, DatabaseError):
        give_back_tokens(provider, client, tokens, properties)
        raise
    return grant


def give_back(authorization: Authorization, oauth_app: OAuthApp) -> None:
    """Give the tokens of a trip that ends here back to the provider, best effort. They are erased already."""
    try:
        grant = authorization.granted()
        provider, client = as_at_the_start(authorization, oauth_app)
    except (Unreadable, LookupError, ValueError, ProviderError) as exc:
        log.warning("tokens_not_given_back", authorization=str(authorization.pk), reason=type(exc).__name__)
        return
    give_back_tokens(provider, client, grant, grant.properties)


def give_back_pending(instance: OAuthApp | Credential, **_: Any) -> None:
    """An OAuth app or a credential is deleted, maybe with its account: what nobody has fetched yet goes back after the
    commit.
    """
    rows = Authorization.objects.filter(step=Step.GRANTED).select_related("oauth_app")
    mine = rows.filter(oauth_app=instance) if isinstance(instance, OAuthApp) else rows.filter(credential=instance)
    pending = list(mine[:MOST_GIVEN_BACK])

    def give_them_back() -> None:
        for authorization in pending:
            give_back(authorization, authorization.oauth_app)

    if pending:
        transaction.on_commit(give_them_back, robust=True)


def way_back(authorization: Authorization, **params: str) -> str:
    """The redirect URI of the start, with the developer's state as it came."""
    return with_params(authorization.redirect_uri, **params, state=authorization.client_state)


@sensitive_variables()
def give_back_tokens(
    provider: Provider, client: Client, tokens: TokenResponse | Grant, properties: Mapping[str, Any]
) -> None:
    give_back_unused(
        provider,
        client,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        properties=properties,
    )
