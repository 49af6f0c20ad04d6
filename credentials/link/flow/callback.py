"""From the provider back to the developer's redirect URI, or to where else the trip ends."""

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection
from django.views.decorators.debug import sensitive_variables

from credentials import keeping, reconnect
from credentials.link.errors import OpenedByAnother, StateNotAccepted
from credentials.link.flow.start import id_token_nonce
from credentials.link.forms import Query
from credentials.link.giving_back import as_at_the_start, give_back_tokens
from credentials.link.redirects import end_of_ours, with_params
from credentials.models import Authorization, End, Grant, Step
from credentials.models.authorization import new_code
from credentials.reconnect import ReconnectionRefused
from oauth_apps import audit, health
from oauth_apps.models import OAuthApp
from providers import catalogue, identity, oauth1, oauth2, wire
from providers.client import Client
from providers.errors import CallbackNotAccepted, IssuerMismatch, ProviderError, TokenRequestRejected
from providers.provider import Provider
from providers.variables import VariableNotAccepted
from sequin_auth.lib import measures
from sequin_auth.lib.measures import Name

log = structlog.get_logger("link")

BINDINGS = {
    "context_mismatch": "This answer belongs to another provider or OAuth app.",
    "session_mismatch": "This connection was begun in another browser.",
}
COME_BY_ANOTHER = "Whoever began this connection in the console was not signed in when the browser came back."


class Arrival(msgspec.Struct, frozen=True):
    """The end of the browser's trip: where it goes, and what went wrong, if anything did."""

    location: str
    authorization: Authorization
    problem: ProviderError | None = None


@sensitive_variables()
def callback(*, callback_url: str, browser: str, visitor: int | None, query: Query) -> Arrival:
    """Exchange the provider's code, and send the end user back. Source: RFC 6749, 4.1.2; RFC 9700, 4.4, 4.7; RFC 9207.

    `callback_url`: the one that was called; `browser`: the nonce of this flow's cookie; `visitor`: who is signed in to
    the console in it. Raises StateNotAccepted, before anything leaves the machine or after everything that came was
    dropped; any other fault is told where the trip ends: the redirect URI, or a page of ours, which is told every fault
    of an answer that was bound to its trip.
    """
    state = query.text("state")
    authorization = state and Authorization.objects.take(Step.STARTED, leads_to=Step.RETURNED, state=state)
    if not authorization or query.repeated("state"):
        known = Authorization.objects.of_state(state) if state and not query.repeated("state") else None
        raise StateNotAccepted("The state of this answer is unknown, used or expired.", authorization=known)
    if broken := authorization.was_started_with(callback_url=callback_url, browser=browser):
        authorization.fail(broken, BINDINGS[broken])
        log.warning(broken, authorization=str(authorization.pk), provider=authorization.provider)
        note_event(broken, authorization)
        raise StateNotAccepted(BINDINGS[broken], error=broken, authorization=authorization)
    if not authorization.is_for(visitor):
        authorization.fail("session_mismatch", COME_BY_ANOTHER)
        log.warning("session_mismatch", authorization=str(authorization.pk), provider=authorization.provider)
        note_event("session_mismatch", authorization)
        raise OpenedByAnother(COME_BY_ANOTHER, authorization=authorization)
    try:
        with wire.one_deadline():
            return arrived(authorization, query)
    except StateNotAccepted:
        if authorization.ends_at == End.REDIRECT_URI:
            raise
        return Arrival(way_back(authorization), authorization)  # which is ours, and says what the row says


def note_event(broken: str, authorization: Authorization) -> None:
    oauth_app = authorization.oauth_app
    audit.record_of_strangers(
        f"authorization.{broken}", account=oauth_app.account_id, to=authorization, detail=f"OAuth app {oauth_app.pk}"
    )


@sensitive_variables()
def arrived(authorization: Authorization, query: Query) -> Arrival:
    """The answer is this trip's. Raises StateNotAccepted where it must not end as it was to."""
    oauth_app = still_connectable(authorization)
    try:
        provider, client = as_at_the_start(authorization, oauth_app)
        grant = exchanged(provider, client, authorization, oauth_app, query)
    except IssuerMismatch as exc:
        authorization.fail("issuer_mismatch", str(exc))
        raise StateNotAccepted(str(exc), error="issuer_mismatch", authorization=authorization) from exc
    except ProviderError as exc:
        health.observe(oauth_app, exc)
        authorization.fail(noted(exc), str(exc))
        return Arrival(way_back(authorization, error=exc.error, error_description=str(exc)), authorization, problem=exc)

    try:
        code = granted(authorization, grant)
    except DatabaseError:
        give_back_tokens(*as_at_the_start(authorization, oauth_app), grant, grant.properties)
        raise
    if code is None:
        give_back_tokens(*as_at_the_start(authorization, oauth_app), grant, grant.properties)
        raise withdrawn(authorization)
    health.observe(oauth_app, None)
    if authorization.ends_at == End.PAGE:
        keep(authorization)
    elif authorization.ends_at == End.TRIAL:
        measures.count(Name.TRIPS, authorization.provider, "connected")
    return Arrival(way_back(authorization, code=code), authorization)


@sensitive_variables()
def granted(authorization: Authorization, grant: Grant) -> str | None:
    """Our code for what the provider gave; None if nobody may have one any more. Raises DatabaseError.

    The database may have been started anew while the provider was asked: the connection is dead then, and the next
    one is good. The end user has agreed and cannot be asked to do it again for that.
    """
    code = new_code()
    try:
        return code if authorization.grant(grant, code=code) else None
    except OperationalError:
        connection.close()
    return code if authorization.grant(grant, code=code) else None


def noted(exc: ProviderError) -> str:
    """What the row says of it: nearer the cause than what the developer is told, where that is known."""
    if isinstance(exc, ReconnectionRefused | TokenRequestRejected):
        return exc.reason
    return exc.error


def keep(authorization: Authorization) -> None:
    """No developer fetches these tokens. What went wrong, the row says; what the database could not do now, the purge
    does soon: the state is used, so here nothing can be tried again.
    """
    try:
        keeping.keep(authorization)
    except keeping.NotKept as exc:
        log.warning("not_reconnected", authorization=str(authorization.pk), reason=str(exc))
    except DatabaseError as exc:
        log.warning("not_reconnected_yet", authorization=str(authorization.pk), reason=type(exc).__name__)


def still_connectable(authorization: Authorization) -> OAuthApp:
    oauth_app = authorization.oauth_app  # as it stood when the state was taken
    if not oauth_app.enabled or authorization.leads_nowhere or authorization.provider not in catalogue.load():
        raise withdrawn(authorization)
    return oauth_app


def withdrawn(authorization: Authorization) -> StateNotAccepted:
    message = "The OAuth app or the redirect URI of this link was removed meanwhile."
    authorization.fail("link_withdrawn", message)
    refusal = StateNotAccepted(message, error="link_withdrawn")  # with no way back: that may be what was removed
    refusal.reference = str(authorization.pk)
    return refusal


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


def way_back(authorization: Authorization, **params: str) -> str:
    """The redirect URI of the start, with `params` and the developer's state as it came; else a page of ours."""
    if authorization.ends_at == End.REDIRECT_URI:
        return with_params(authorization.redirect_uri, **params, state=authorization.client_state)
    return end_of_ours(authorization)
