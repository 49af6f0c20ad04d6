"""From the developer's link to the provider."""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.conf import settings
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables

from credentials.link import start_links
from credentials.link.errors import (
    ClientNotAccepted,
    OpenedByAnother,
    RedirectURINotRegistered,
    RequestRefused,
    StateNotAccepted,
)
from credentials.link.forms import START_PARAMETERS, Query, canonical_uuid
from credentials.link.redirects import with_params
from credentials.models import Authorization, End, StartLink, fingerprint, s256
from oauth_apps import health
from oauth_apps.models import OAuthApp, RedirectURI
from oauth_apps.registration import MAX_SCOPE, SCOPE_TOKEN
from providers import catalogue, identity, oauth1, oauth2, pushed_requests, wire
from providers.client import Client
from providers.errors import ProviderError, ProviderUnavailable
from providers.provider import Provider
from providers.variables import VariableNotAccepted
from sequin_auth.lib import measures
from sequin_auth.lib.encryption import digest
from sequin_auth.lib.measures import Name

CODE_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # of S256
LONGEST_STATE = 2048  # characters
LONGEST_STATE_OF_A_LINK = 5000  # which is JSON, of a backend
EXPIRED = "link_expired"


class Departure(msgspec.Struct, frozen=True):
    """The end user may leave. `nonce` goes into the cookie of this flow, whose name is `flow`'s."""

    url: str
    flow: str
    nonce: str


class VariablesWanted(msgspec.Struct, frozen=True):
    """The end user has to say first where his account is. `given`: what this page is asked again with.

    `problems`: the rule that each typed value has broken; `typed`: what that was. `cancel`: where it leads not to go
    on.
    """

    provider: Provider
    names: list[str]
    given: dict[str, str]
    problems: dict[str, str]
    typed: dict[str, str]
    cancel: str = ""


class ConsentWanted(msgspec.Struct, frozen=True):
    """A page of ours asks first: the OAuth app wants that. `cancel`: where it leads not to go on."""

    oauth_app: OAuthApp
    provider: Provider
    scopes: list[str]
    cancel: str


class Request(msgspec.Struct, frozen=True):
    """A start that was found sound. `redirect_uri`: where it leads for this provider; empty if it ends elsewhere."""

    query: Query
    oauth_app: OAuthApp
    link: StartLink | None
    registered: RedirectURI | None
    redirect_uri: str
    provider: Provider
    variables: dict[str, str]
    scopes: list[str]
    code_challenge: str

    @property
    def ends_at(self) -> str:
        return self.link.ends_at if self.link else End.REDIRECT_URI


def start_by_link(
    token: str, page: Query, *, visitor: int | None, agreed: bool = False
) -> Departure | VariablesWanted | ConsentWanted:
    """As `start`, with what whoever made it has put into the link; `page`: the variables that its user typed.

    `visitor`: who is signed in to the console in that browser. Raises StateNotAccepted for a link that is unknown, used
    or expired; OpenedByAnother, with the link as good as before, for one of the console that is another's.
    """
    link = StartLink.objects.by_token(token)
    if link is None:
        message, known = "This link is unknown, was used already, or has expired.", known_link(token)
        raise StateNotAccepted(message, error=EXPIRED, link=known, leads_back_to=led_back_to(known))
    if not link.is_for(visitor):
        raise OpenedByAnother("This link is for whoever made it in the console.")
    oauth_app = connectable(link.oauth_app)
    query = Query(link.query).completed_by(page, names={*askable(link, oauth_app), "hosted"})
    return begin(query, oauth_app, RedirectURI.objects.of(oauth_app.account_id), link=link, agreed=agreed)


def known_link(token: str) -> StartLink | None:
    """A link that is no good any more, as long as its row is there."""
    return StartLink.objects.select_related("oauth_app__account").filter(token_hash=digest(token)).first()


def led_back_to(link: StartLink | None) -> str:
    """Its redirect URI, if that is registered."""
    redirect_uri = Query(link.query).text("redirect_uri") if link else ""
    is_good = link and redirect_uri and start_links.is_registered(link.oauth_app, redirect_uri)
    return redirect_uri if is_good else ""


def askable(link: StartLink, oauth_app: OAuthApp) -> Iterable[str]:
    """The variables that whoever opens the link may say: none that it holds; of a reconnection what is needed alone."""
    definition: Provider = oauth_app.definition
    if link.credential_id is not None:
        missing = definition.missing_variables(fixed_by(link, oauth_app))
        return [name for name in missing if not definition.variables[name].default]
    return [name for name in definition.variables if name not in link.variables]


def fixed_by(link: StartLink | None, oauth_app: OAuthApp) -> dict[str, str]:
    return {**oauth_app.variables, **(link.variables if link else {})}


def start(query: Query, *, agreed: bool = False) -> Departure | VariablesWanted | ConsentWanted:
    """Judge a start link and write down the trip that it begins. Source: RFC 6749, 4.1.1; RFC 9700, 2.1.

    `agreed`: whether the end user went on from our own page. Raises ClientNotAccepted, RedirectURINotRegistered:
    nothing may be redirected. Raises RequestRefused with the `location` that tells the developer.
    """
    oauth_app, registered = requested_app(query)
    return begin(query, oauth_app, registered, link=None, agreed=agreed)


def begin(
    query: Query, oauth_app: OAuthApp, candidates: Iterable[RedirectURI], *, link: StartLink | None, agreed: bool
) -> Departure | VariablesWanted | ConsentWanted:
    """Where the trip ends says the link's row alone, never what whoever opens it has added. `candidates`: for that."""
    registered, redirect_uri = None, ""
    if link is None or link.ends_at == End.REDIRECT_URI:
        registered, redirect_uri = requested_redirect_uri(query, oauth_app, candidates)
    try:
        request = sound(query, oauth_app, registered, redirect_uri, link)
        if isinstance(request, VariablesWanted):
            return msgspec.structs.replace(request, cancel=cancelled(query, redirect_uri, link))
        if oauth_app.asks_first and not agreed:
            cancel = cancelled(query, redirect_uri, link)
            return ConsentWanted(oauth_app=oauth_app, provider=request.provider, scopes=request.scopes, cancel=cancel)
        return depart(request)
    except RequestRefused as exc:
        if redirect_uri:
            state = query.raw("state")
            echoed = state if state and len(state) <= LONGEST_STATE and not query.repeated("state") else None
            exc.location = with_params(redirect_uri, error=exc.error, error_description=str(exc), state=echoed)
        elif link:
            exc.back = made_at(link)
            if isinstance(exc.__cause__, ProviderUnavailable):  # nobody has left by it
                exc.can_try_again = link.reopen()
        raise


def cancelled(query: Query, redirect_uri: str, link: StartLink | None) -> str:
    """Where it leads not to go on. Source: RFC 6749, 4.1.2.1."""
    if link is None or link.ends_at == End.REDIRECT_URI:
        denial = {"error": "access_denied", "error_description": "The end user did not want to connect the account."}
        return with_params(redirect_uri, **denial, state=query.raw("state"))
    return made_at(link) or f"{settings.PUBLIC_URL}{reverse('cancelled')}?{urlencode({'link': link.pk})}"


def made_at(link: StartLink) -> str:
    """The page of the console from which somebody sets out; empty for a link that ends on a page for everybody."""
    if link.ends_at == End.PAGE:
        return ""
    return f"{settings.PUBLIC_URL}{reverse('admin:oauth_apps_oauthapp_change', args=[link.oauth_app_id])}"


def requested_app(query: Query) -> tuple[OAuthApp, list[RedirectURI]]:
    """The app, and those of its redirect URIs that may be the one of the link."""
    app_id = canonical_uuid(query.text("client_id")) if not query.repeated("client_id") else None
    if app_id is None:
        raise ClientNotAccepted
    oauth_app, candidates = OAuthApp.objects.with_redirect_uris(app_id, like=query.text("redirect_uri"))
    return connectable(oauth_app), candidates


def connectable(oauth_app: OAuthApp | None) -> OAuthApp:
    if oauth_app is None or not oauth_app.enabled or oauth_app.provider not in catalogue.load():
        raise ClientNotAccepted
    return oauth_app


def requested_redirect_uri(
    query: Query, oauth_app: OAuthApp, candidates: Iterable[RedirectURI]
) -> tuple[RedirectURI, str]:
    """The registered URI that admits the one of the link, and where that leads for this provider."""
    is_repeated = bool(query.repeated("redirect_uri"))
    sent = query.text("redirect_uri") if not is_repeated else ""
    for registered in candidates:
        if sent and registered.admits(sent, slug=oauth_app.provider):
            return registered, registered.for_provider(oauth_app.provider)
    raise RedirectURINotRegistered(is_missing=not sent and not is_repeated, is_repeated=is_repeated)


def sound(
    query: Query, oauth_app: OAuthApp, registered: RedirectURI | None, redirect_uri: str, link: StartLink | None
) -> Request | VariablesWanted:
    """Judge what is asked. Raises RequestRefused."""
    refuse_what_is_not_ours(query, longest_state=LONGEST_STATE if link is None else LONGEST_STATE_OF_A_LINK)
    if oauth_app.sandbox_url and not settings.SANDBOX:
        raise RequestRefused("The sandbox is switched off on this gateway.", error="server_error")
    code_challenge = requested_code_challenge(query)
    definition = oauth_app.definition
    variables = requested_variables(query, oauth_app, definition, fixed_by(link, oauth_app))
    if isinstance(variables, VariablesWanted):
        return variables
    return Request(
        query=query,
        oauth_app=oauth_app,
        link=link,
        registered=registered,
        redirect_uri=redirect_uri,
        provider=at_its_hosts(definition, variables, oauth_app),
        variables=variables,
        scopes=requested_scopes(query, oauth_app, definition),
        code_challenge=code_challenge,
    )


def depart(request: Request) -> Departure:
    """Write the trip down, and say where it begins. Raises RequestRefused, StateNotAccepted."""
    oauth_app, link, provider, variables = request.oauth_app, request.link, request.provider, request.variables
    if link and not link.use():
        raise StateNotAccepted("This link was used already.", error=EXPIRED, link=link)
    client_state, client_state_json = request.query.raw("state"), link.client_state_json if link else None
    state, nonce = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    code_verifier = secrets.token_urlsafe(48) if provider.code_challenge_methods_supported else None
    authorization = Authorization.objects.begin(
        oauth_app=oauth_app,
        provider=provider.slug,
        state_hash=digest(state),
        browser_hash=digest(nonce),
        callback_url=oauth_app.callback_url,
        registered_redirect_uri=request.registered,
        redirect_uri=request.redirect_uri,
        ends_at=request.ends_at,
        started_by_id=link.started_by_id if link else None,
        client_state=client_state,
        client_state_fingerprint=state_fingerprint(client_state, client_state_json),
        client_state_json=client_state_json,
        code_challenge=request.code_challenge,
        code_verifier=code_verifier,
        scopes=request.scopes,
        snapshot=snapshot_of(provider, oauth_app, variables),
        debug=request.query.wants_debug,
        credential_id=link.credential_id if link else None,
        any_identity=link.any_identity if link else False,
        good_for=timedelta(seconds=settings.STATE_TTL),
    )
    measures.count(Name.TRIPS, provider.slug, "started")
    if provider.auth == "oauth1":
        url = with_temporary_credentials(authorization, provider, oauth_app, state=state)
        return Departure(url=url, flow=flow_of(state), nonce=nonce)
    client = oauth_app.client(variables)
    url = oauth2.authorization_url(
        provider,
        client,
        redirect_uri=oauth_app.callback_url,
        state=state,
        scopes=request.scopes,
        code_challenge=s256(code_verifier) if code_verifier else "",
        nonce=id_token_nonce(state) if identity.reads_id_token(provider) else "",
    )
    return Departure(url=pushed(authorization, provider, oauth_app, client, url), flow=flow_of(state), nonce=nonce)


@sensitive_variables()
def with_temporary_credentials(
    authorization: Authorization, provider: Provider, oauth_app: OAuthApp, *, state: str
) -> str:
    """Where the browser is sent in OAuth 1.0a: the provider is asked first, and what it answers is kept until the
    callback, in the place of a code verifier. Raises RequestRefused. Source: RFC 5849, 2.1.
    """
    client = oauth_app.client(authorization.snapshot["variables"])
    callback_url = wire.with_query(authorization.callback_url, {"state": state})
    try:
        temporary = oauth1.request_token(provider, client, callback_url=callback_url)
    except ProviderError as exc:
        health.observe(oauth_app, exc)
        authorization.fail(exc.error, str(exc))
        raise RequestRefused(str(exc), error=exc.error, reference=str(authorization.pk)) from exc
    authorization.code_verifier = temporary.text
    authorization.save(update_fields=["code_verifier"])
    return oauth1.authorization_url(provider, temporary, scopes=authorization.scopes)


@sensitive_variables()
def pushed(authorization: Authorization, provider: Provider, oauth_app: OAuthApp, client: Client, url: str) -> str:
    """`url`, or the one that stands for it where requests are pushed (RFC 9126). Raises RequestRefused."""
    try:
        return pushed_requests.pushed(provider, client, url)
    except ProviderError as exc:
        health.observe(oauth_app, exc)
        authorization.fail(exc.error, str(exc))
        raise RequestRefused(str(exc), error=exc.error, reference=str(authorization.pk)) from exc


def at_its_hosts(definition: Provider, variables: dict[str, str], oauth_app: OAuthApp) -> Provider:
    try:
        return definition.bound(variables, sandbox_url=oauth_app.sandbox_url)
    except VariableNotAccepted as exc:
        raise RequestRefused(f"The parameter {exc.name} {exc.rule}.", parameter=exc.name) from exc


def refuse_what_is_not_ours(query: Query, *, longest_state: int) -> None:
    """The faults of a request that the developer is told, in the order of the RFCs."""
    if repeated := query.repeated(*START_PARAMETERS):
        raise RequestRefused(f"The parameter {repeated[0]} is repeated.", parameter=repeated[0])
    state = query.raw("state") or b""
    if len(state) > longest_state and len(state.decode("utf-8", "replace")) > longest_state:
        raise RequestRefused(f"The state is longer than {longest_state} characters.", parameter="state")
    if query.text("response_type") not in {"", "code"}:
        raise RequestRefused(
            "The response_type must be code.", error="unsupported_response_type", parameter="response_type"
        )
    for name in ("request", "request_uri"):
        if query.raw(name):
            raise RequestRefused(
                f"The parameter {name} is not supported.", error=f"{name}_not_supported", parameter=name
            )


def requested_code_challenge(query: Query) -> str:
    """The developer's own PKCE challenge, empty if there is none. Source: RFC 7636, 4.3."""
    code_challenge, method = query.text("code_challenge"), query.text("code_challenge_method")
    if not code_challenge and not method:
        return ""
    if method != "S256":
        raise RequestRefused("The code_challenge_method must be S256.", parameter="code_challenge_method")
    if not CODE_CHALLENGE.fullmatch(code_challenge):
        raise RequestRefused("The code_challenge must be 43 characters of base64url.", parameter="code_challenge")
    return code_challenge


def requested_scopes(query: Query, oauth_app: OAuthApp, provider: Provider) -> list[str]:
    """What to ask the provider for: the link's scope, else the app's, else the provider's default."""
    text = query.text("scope")
    scopes = text.replace(",", " ").split(" ") if text else oauth_app.default_scopes or provider.default_scopes
    scopes = [scope for scope in scopes if scope]
    if len(text) > MAX_SCOPE or not all(SCOPE_TOKEN.fullmatch(scope) for scope in scopes):
        raise RequestRefused(
            f"The scope has a character that RFC 6749 does not allow, or more than {MAX_SCOPE} characters.",
            error="invalid_scope",
            parameter="scope",
        )
    return list(dict.fromkeys([*scopes, *provider.required_scopes]))


def requested_variables(
    query: Query, oauth_app: OAuthApp, provider: Provider, fixed: dict[str, str]
) -> dict[str, str] | VariablesWanted:
    """The provider's variables: those that the app fixes, then the link's; what is missing, the end user is asked.

    A value of the link that breaks its rule is the developer's fault; one that the end user typed is asked for again.
    """
    given = {name: query.text(name) for name in provider.variables if query.raw(name)}
    if repeated := query.repeated(*provider.variables):
        raise RequestRefused(f"The parameter {repeated[0]} is repeated.", parameter=repeated[0])
    is_from_page = query.raw("hosted") == b"1"
    try:
        values = provider.accept_variables(given, fixed=fixed)
        if provider.needs_own_callback(values, has_secret=True) and not oauth_app.own_callback:
            raise VariableNotAccepted("host", "is a customer's own, which needs the OAuth app's own callback URL")
    except VariableNotAccepted as exc:
        if is_from_page and exc.name in given:
            return wanted(query, provider, [exc.name], problems={exc.name: exc.rule})
        raise RequestRefused(f"The parameter {exc.name} {exc.rule}.", parameter=exc.name) from exc
    missing = provider.missing_variables(values)
    if not missing:
        return values
    if unaskable := [name for name in missing if not provider.variables[name].is_askable]:
        raise RequestRefused(
            f"{unaskable[0]} must be fixed on the OAuth app.", error="server_error", parameter=unaskable[0]
        )
    return wanted(query, provider, missing, problems={})


def wanted(query: Query, provider: Provider, names: list[str], *, problems: dict[str, str]) -> VariablesWanted:
    given = {name: value for name, value in query.as_dict().items() if name in START_PARAMETERS}
    given |= {name: query.text(name) for name in provider.variables if query.raw(name) and name not in names}
    typed = {name: query.text(name) for name in problems}
    return VariablesWanted(provider=provider, names=names, given=given, problems=problems, typed=typed)


def snapshot_of(provider: Provider, oauth_app: OAuthApp, variables: dict[str, str]) -> dict[str, Any]:
    """Who is asked, where and as whom: what the callback holds to, whatever the catalogue and the app say by then."""
    return {
        "client_id": oauth_app.client_id,
        "variables": variables,
        "sandbox": bool(oauth_app.sandbox_url),
        "token_endpoint": provider.token_endpoint,
        "issuer": provider.issuer,
    }


def state_fingerprint(state: bytes | None, state_json: str | None) -> bytes | None:
    """By it the console finds the trip of a developer's state: its text, or the JSON that it is."""
    if state is not None:
        return fingerprint(state.decode("utf-8", "replace"))
    return fingerprint(state_json) if state_json is not None else None


def flow_of(state: str) -> str:
    """Eight characters that name the cookie of one flow, and tell nothing of its state."""
    return hashlib.sha256(f"flow {state}".encode()).hexdigest()[:8]


def id_token_nonce(state: str) -> str:
    """The nonce of the id_token, bound to the state, so that it need not be kept."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"nonce {state}".encode()).digest()).rstrip(b"=").decode()
