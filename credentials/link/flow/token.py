"""The developer's server fetches, refreshes and revokes tokens."""

import datetime
import json
from collections.abc import Mapping
from typing import Any

import structlog
from django.conf import settings
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials.link.errors import (
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    ProviderRefused,
    TooManyFailures,
    Unavailable,
    UnsupportedGrantType,
    UnsupportedTokenType,
)
from credentials.link.flow.callback import give_back
from credentials.link.forms import ClientAuthentication, canonical_uuid
from credentials.models import Authorization, Grant, Step
from oauth_apps import api_tokens, health
from oauth_apps.models import FailedAuthentication, OAuthApp
from providers import catalogue, oauth2
from providers.client import Client
from providers.errors import (
    AnswerNotUnderstood,
    ParameterMissing,
    ProviderError,
    ProviderUnavailable,
    TokenRequestRejected,
)
from providers.provider import Provider
from providers.variables import VariableNotAccepted

log = structlog.get_logger("link")


@sensitive_variables()
def token(caller: ClientAuthentication, request: Mapping[str, str], *, address: str) -> dict[str, Any]:
    """Hand over the tokens of one authorization, once; or refresh tokens. Source: RFC 6749, 4.1.3, 5 and 6.

    `address`: the caller's. Raises InvalidClient with the code untouched, TooManyFailures, InvalidRequest,
    UnsupportedGrantType; InvalidGrant, with the code used up if it was this app's; ProviderRefused, Unavailable.
    """
    oauth_app = authenticated(caller, address=address)
    match request.get("grant_type", "authorization_code"):
        case "authorization_code":
            return handed_over(oauth_app, caller, request, address=address)
        case "refresh_token":
            return refreshed(oauth_app, request)
        case _:
            raise UnsupportedGrantType("The grant_type must be authorization_code or refresh_token.")


@sensitive_variables()
def authenticated(caller: ClientAuthentication, *, address: str) -> OAuthApp:
    """The OAuth app that calls. Unknown ids and wrong secrets are told alike, and counted per client and address.

    Raises InvalidClient, TooManyFailures.
    """
    if wait := FailedAuthentication.objects.wait_for(client=caller.name, address=address):
        raise TooManyFailures(wait)
    app_ids = {app_id for text in caller.client_ids if (app_id := canonical_uuid(text))}
    oauth_app = OAuthApp.objects.enabled().filter(pk__in=app_ids).first() if app_ids else None
    if oauth_app is None or oauth_app.provider not in catalogue.load() or not proves(caller, oauth_app):
        FailedAuthentication.objects.count_one(client=caller.name, address=address)
        raise InvalidClient(scheme=caller.scheme)
    return oauth_app


@sensitive_variables()
def proves(caller: ClientAuthentication, oauth_app: OAuthApp) -> bool:
    """Whether `caller` is this app: any reading of its secret, or an API token of its account that may reveal."""
    if caller.api_token:
        api_token = api_tokens.find(caller.api_token)
        return api_token is not None and api_token.account_id == oauth_app.account_id and "reveal" in api_token.scopes
    matches = [oauth_app.has_secret(secret) for app_id, secret in caller.readings if app_id == str(oauth_app.pk)]
    return any(matches)


@sensitive_variables()
def handed_over(
    oauth_app: OAuthApp, caller: ClientAuthentication, request: Mapping[str, str], *, address: str
) -> dict[str, Any]:
    code = request.get("code")
    if not code:
        raise InvalidRequest("The parameter code is missing.")
    authorization = Authorization.objects.take(Step.GRANTED, leads_to=Step.EXCHANGED, oauth_app=oauth_app, code=code)
    if authorization is None or not authorization.accepts(
        redirect_uri=request.get("redirect_uri"), code_verifier=request.get("code_verifier")
    ):
        FailedAuthentication.objects.count_one(client=caller.name, address=address)
        log.warning("code_refused", oauth_app=str(oauth_app.pk), replayed=Authorization.objects.knows(code))
        if authorization is not None:
            give_back(authorization, oauth_app)
        raise InvalidGrant("The code is unknown, used, expired or bound to something else.")
    answer = token_answer(oauth_app, authorization.granted())
    if authorization.client_state_json is not None:
        answer["state"] = json.loads(authorization.client_state_json)
    elif authorization.client_state is not None:
        answer["state"] = authorization.client_state.decode("utf-8", "replace")
    return answer


@sensitive_variables()
def refreshed(oauth_app: OAuthApp, request: Mapping[str, str]) -> dict[str, Any]:
    """Speak the provider's dialect of a refresh for a token that the developer keeps himself."""
    refresh_token = request.get("refresh_token")
    if not refresh_token:
        raise InvalidRequest("The parameter refresh_token is missing.")
    provider, client = addressed(oauth_app, request)
    try:
        tokens = oauth2.refresh(provider, client, refresh_token)
    except TokenRequestRejected as exc:
        health.observe(oauth_app, exc)
        error = (
            exc.reason
            if exc.reason in {"invalid_grant", "invalid_scope", "unsupported_grant_type"}
            else "invalid_request"
        )
        raise ProviderRefused(str(exc), error=error) from exc
    except (ProviderUnavailable, AnswerNotUnderstood) as exc:
        health.observe(oauth_app, exc)
        raise unavailable(exc) from exc
    except ProviderError as exc:  # a refusal of our own, which another try will not change
        health.observe(oauth_app, exc)
        raise ProviderRefused(str(exc), error="invalid_request") from exc
    return token_answer(oauth_app, Grant.of(tokens, {}))


def addressed(oauth_app: OAuthApp, request: Mapping[str, str]) -> tuple[Provider, Client]:
    """The provider at the hosts of one customer: the variables that the app fixes, else the request names."""
    if oauth_app.sandbox_url and not settings.SANDBOX:
        raise InvalidRequest("The sandbox is switched off on this gateway.")
    definition = oauth_app.definition
    try:
        variables = definition.accept_variables(request, fixed=oauth_app.variables)
    except VariableNotAccepted as exc:
        raise InvalidRequest(f"The parameter {exc.name} {exc.rule}.") from exc
    if missing := definition.missing_variables(variables):
        raise InvalidRequest(f"The parameter {missing[0]} is missing: this provider's address depends on it.")
    return definition.bound(variables, sandbox_url=oauth_app.sandbox_url), oauth_app.client(variables)


@sensitive_variables()
def token_answer(oauth_app: OAuthApp, grant: Grant) -> dict[str, Any]:
    """RFC 6749's members, and `credential`, which `/v1/credentials` takes as it is. What is unknown is absent."""
    now = int(timezone.now().timestamp())
    answer: dict[str, Any] = {"access_token": grant.access_token, "token_type": "Bearer"}
    properties: dict[str, Any] = {
        "kind": oauth_app.definition.kind,
        "access_token": grant.access_token,
        "token_type": grant.token_type,
    }
    if grant.expires_at is not None:
        answer["expires_in"] = max(0, grant.expires_at - now)
        properties["expires_at"] = timestamp(grant.expires_at)
    if grant.refresh_token:
        answer["refresh_token"] = properties["refresh_token"] = grant.refresh_token
    if grant.scope:
        answer["scope"] = properties["scope"] = grant.scope
    answer["credential"] = {"oauth_app_id": str(oauth_app.pk), "properties": properties | grant.properties}
    return answer


def timestamp(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@sensitive_variables()
def revoke(caller: ClientAuthentication, request: Mapping[str, str], *, address: str) -> None:
    """Revoke a token at the provider. A token that is unknown there is no error. Source: RFC 7009, 2.

    Raises what `token` raises, and UnsupportedTokenType where the provider has no revocation.
    """
    oauth_app = authenticated(caller, address=address)
    token = request.get("token")
    if not token:
        raise InvalidRequest("The parameter token is missing.")
    provider, client = addressed(oauth_app, request)
    if not provider.revokes:
        raise UnsupportedTokenType("This provider has no way to revoke a token.")
    hint = request.get("token_type_hint")
    by_access_token = "access_token" in {provider.revocation.token, hint} or provider.revocation.auth == "bearer"
    if by_access_token and hint == "refresh_token":
        raise UnsupportedTokenType("This provider revokes by the access token.")
    try:
        oauth2.revoke(
            provider,
            client,
            access_token=token if by_access_token else "",
            refresh_token="" if by_access_token else token,
            properties=request,
        )
    except ParameterMissing as exc:
        raise InvalidRequest(str(exc)) from exc
    except ProviderError as exc:
        health.observe(oauth_app, exc)
        raise unavailable(exc) from exc  # the client must assume that the token still exists (RFC 7009, 2.2.1)


def unavailable(exc: ProviderError) -> Unavailable:
    """`Retry-After` is the provider's, within an hour."""
    retry_after = exc.retry_after if isinstance(exc, ProviderUnavailable) else None
    return Unavailable(str(exc), retry_after=min(max(retry_after or 5, 1), 3600))
