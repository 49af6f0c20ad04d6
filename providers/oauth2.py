"""
The client half of OAuth 2.0: what we say to a provider, and how its answers are read.

What is sent stands here; how an answer is judged, in answers.py, tokens.py and id_token.py, which send nothing. Where a
provider departs from the RFCs its catalogue file says how: nothing here knows one by name. All raise `ProviderError`s.
"""

import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from providers import quirks
from providers.answers import moment, read_document, refusal_of
from providers.client import Client
from providers.client_authentication import authenticated, basic, secret_to_send
from providers.errors import (
    AnswerNotUnderstood,
    AuthorizationDenied,
    CallbackNotAccepted,
    IssuerMismatch,
    ParameterMissing,
    ProviderError,
    ProviderUnavailable,
    TokenRequestRejected,
)
from providers.provider import PLACEHOLDER, FollowUp, Provider
from providers.tokens import TokenResponse, is_success, read_token_response
from sequin_auth.lib import http

DEADLINE = 10.0  # seconds for one request in all, its second try included

UNKNOWN_TOKEN = {"invalid_grant", "invalid_token"}  # what providers call it, against RFC 7009, 2.2

# RFC 6749, 4.1.2.1; whatever else a provider says becomes server_error
AUTHORIZATION_ERRORS = {
    "invalid_request",
    "unauthorized_client",
    "access_denied",
    "unsupported_response_type",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
}


# ---- authorization request (RFC 6749, 4.1.1) -------------------------------------------------------------------------


def authorization_url(
    provider: Provider,
    client: Client,
    *,
    redirect_uri: str,
    state: str,
    scopes: Iterable[str],
    code_challenge: str = "",
    nonce: str = "",
) -> str:
    """Where the end user's browser is sent. `code_challenge` is for `S256`; empty, no PKCE is sent."""
    params = {"client_id": client.client_id, "redirect_uri": redirect_uri, "response_type": "code", "state": state}
    scope = provider.scope_separator.join(scopes)
    if provider.scope_param and scope:
        params[provider.scope_param] = scope
    if code_challenge:
        params |= {"code_challenge": code_challenge, "code_challenge_method": "S256"}
    if nonce:
        params["nonce"] = nonce
    for name in provider.authorization_params_left_out:
        params.pop(name, None)
    params = {**provider.authorization_params, **params}  # a fixed parameter never replaces one of the protocol's
    joint = "&" if urlsplit(provider.authorization_endpoint).query else "?"
    return f"{provider.authorization_endpoint}{joint}{urlencode(params)}"


# ---- authorization response (RFC 6749, 4.1.2; RFC 9207) --------------------------------------------------------------


def read_callback(
    provider: Provider, client: Client, answer: Mapping[str, str], *, repeated: Iterable[str] = ()
) -> str:
    """The provider's code. `answer`: the callback's query; `repeated`: names that it had more than once.

    Raises AuthorizationDenied, CallbackNotAccepted, IssuerMismatch.
    """
    check_issuer(provider, answer)
    code, error = answer.get("code", ""), answer.get("error", "")
    if error and not code and not repeated:
        raise denial(provider, error)
    if not code or error or repeated:
        raise CallbackNotAccepted("The provider sent neither a code nor an error, or both.")
    if provider.callback_check:
        getattr(quirks, provider.callback_check)(client, answer)
    return code


def check_issuer(provider: Provider, answer: Mapping[str, str]) -> None:
    """Raises IssuerMismatch if the answer is another server's (a mix-up). Source: RFC 9207, 2.4."""
    issuer = answer.get("iss")
    if issuer is None and not provider.authorization_response_iss_parameter_supported:
        return
    if issuer is None or (provider.issuer and not provider.is_issuer(issuer)):
        raise IssuerMismatch("The answer does not come from the provider that was asked.")


def denial(provider: Provider, error: str) -> AuthorizationDenied:
    """The provider's word for what went wrong, as one that RFC 6749 knows."""
    known = provider.callback_errors.get(error, error)
    if known == "access_denied":
        return AuthorizationDenied("The end user or the provider denied access.", error=known)
    if known in AUTHORIZATION_ERRORS:
        return AuthorizationDenied("The provider refused the authorization request.", error=known)
    return AuthorizationDenied("The provider answered with an error of its own.", error="server_error")


# ---- token request (RFC 6749, 4.1.3 and 6) ---------------------------------------------------------------------------


@sensitive_variables()
def exchange_code(
    provider: Provider, client: Client, code: str, *, redirect_uri: str, code_verifier: str = ""
) -> TokenResponse:
    """Exchange the provider's code for tokens. `redirect_uri`: the callback URL, as at the authorization request."""
    grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, **provider.token_params}
    if code_verifier:
        grant["code_verifier"] = code_verifier
    return read_token_response(provider, _token_request(provider, client, provider.token_endpoint, grant))


@sensitive_variables()
def refresh(provider: Provider, client: Client, refresh_token: str) -> TokenResponse:
    """Use a refresh token. The answer's `refresh_token` is the one to keep, be it the same or a new one.

    Raises AccessTokenMissing, whose `refresh_token` is to be kept all the same.
    """
    if provider.refresh_with == "none":
        raise TokenRequestRejected("This provider's tokens are not refreshed.", reason="unsupported_grant_type")
    grant = {"grant_type": "refresh_token", "refresh_token": refresh_token, **provider.refresh_params}
    answer = _token_request(provider, client, provider.refresh_endpoint or provider.token_endpoint, grant)
    tokens = read_token_response(provider, answer)
    return tokens if tokens.refresh_token else msgspec.structs.replace(tokens, refresh_token=refresh_token)


def probe(provider: Provider, client: Client, *, redirect_uri: str) -> None:
    """Find out whether client id and secret are sound, without any end user.

    A token request with a code that cannot exist is refused for the code if the client is right, and for the client if
    it is not. Returns if the client is right; raises TokenRequestRejected with its `reason`, or ProviderUnavailable.
    """
    try:
        exchange_code(
            provider,
            client,
            secrets.token_urlsafe(24),
            redirect_uri=redirect_uri,
            code_verifier=secrets.token_urlsafe(48),
        )
    except TokenRequestRejected as exc:
        if exc.reason != "invalid_grant":
            raise


@sensitive_variables()
def _token_request(provider: Provider, client: Client, endpoint: str, grant: dict[str, str]) -> http.Response:
    params, headers = authenticated(provider, client, grant)
    for name in provider.token_params_left_out:
        params.pop(name, None)
    as_json = provider.token_request_format == "json"
    return send(
        client,
        "POST",
        endpoint,
        headers={"Accept": "application/json", **provider.token_headers, **headers},
        form=None if as_json else params,
        json=params if as_json else None,
    )


# ---- whose tokens are these? -----------------------------------------------------------------------------------------


@sensitive_variables()
def follow_up(provider: Provider, client: Client, tokens: TokenResponse) -> Any:
    """The answer of the one further call that names the upstream account; None if the provider needs none."""
    if not provider.follow_up:
        return None
    call = provider.follow_up if isinstance(provider.follow_up, FollowUp) else FollowUp(url=provider.follow_up)
    values = {"token": tokens.access_token, "client_id": client.client_id}
    if any("{client_secret}" in text for text in (call.form or {}).values()):
        values["client_secret"] = secret_to_send(provider, client)
    headers = {"Accept": "application/json", **call.headers}
    if call.auth == "bearer":
        headers |= api_authorization(provider, tokens.access_token)
    answer = send(
        client,
        call.method,
        call.url,
        headers=headers,
        json=call.json,
        form=call.form and {name: _with(value, values) for name, value in call.form.items()},
    )
    if answer.status != 200:
        raise AnswerNotUnderstood("The provider did not say whose tokens these are.")
    return read_document(answer)


def api_authorization(provider: Provider, access_token: str) -> dict[str, str]:
    """The header that carries an access token to the provider's API. Source: RFC 6750, 2.1, or the catalogue."""
    if provider.api and provider.api.header:
        return {provider.api.header: access_token}
    return {"Authorization": f"{provider.api.scheme if provider.api else 'Bearer'} {access_token}"}


# ---- introspection (RFC 7662) ----------------------------------------------------------------------------------------


@sensitive_variables()
def introspect(provider: Provider, client: Client, token: str) -> int | None:
    """When an access token ends, in seconds since 1970; None if the provider cannot be asked, or does not say.

    Raises ProviderError; TokenRequestRejected with the reason `invalid_token` if the token is not active, or not one
    that this client may ask about: the provider says no more than that (RFC 7662, 2.2).
    """
    if not provider.introspection_endpoint:
        return None
    params, authentication = authenticated(provider, client, {"token": token, "token_type_hint": "access_token"})
    headers = {"Accept": "application/json", **provider.token_headers, **authentication}
    answer = send(client, "POST", provider.introspection_endpoint, headers=headers, form=params)
    if answer.status >= 300:
        raise refusal_of(provider, answer)
    document = read_document(answer)
    is_active = document.get("active") if isinstance(document, dict) else None
    if is_active is False:
        raise TokenRequestRejected("The provider says that the token is not active.", reason="invalid_token")
    if is_active is not True:
        raise AnswerNotUnderstood("The provider does not say whether the token is active.")
    return moment(document.get("exp"))


# ---- revocation (RFC 7009) -------------------------------------------------------------------------------------------


@sensitive_variables()
def revoke(
    provider: Provider, client: Client, *, access_token: str, refresh_token: str = "", properties: Mapping[str, Any]
) -> None:
    """Ask the provider to revoke tokens. Does nothing where the provider has no such endpoint.

    A token that is unknown there is no error (RFC 7009, 2.2). Raises ProviderUnavailable, AnswerNotUnderstood;
    TokenRequestRejected; ParameterMissing where the provider asks for a property that is not among `properties`.
    """
    if not provider.revokes:
        return
    how = provider.revocation
    token = refresh_token or access_token if how.token == "refresh_token" else access_token or refresh_token
    values = {"token": token, "client_id": client.client_id} | {k: str(v) for k, v in properties.items()}
    params = {"token": token} if how.params is None else {k: _whole(v, values) for k, v in how.params.items()}
    headers = {"Accept": "application/json", **provider.token_headers}
    if how.auth == "client":
        params, authentication = authenticated(provider, client, params)
        headers |= authentication
    elif how.auth == "client_secret_basic":
        headers["Authorization"] = basic(provider, client.client_id, secret_to_send(provider, client))
    elif how.auth == "bearer":
        headers |= api_authorization(provider, access_token or token)
    answer = send(
        client,
        how.method,
        _whole(provider.revocation_endpoint, values),
        headers=headers,
        form=params if how.format == "form" else None,
        json=params if how.format == "json" else None,
        params=params if how.format == "query" else None,
    )
    if answer.status == 404 or (how.auth == "bearer" and answer.status in {401, 403}):
        return  # no such grant, or no such token
    if answer.status >= 300:
        refusal = refusal_of(provider, answer)
        if isinstance(refusal, TokenRequestRejected) and refusal.reason in UNKNOWN_TOKEN:
            return
        raise refusal
    if provider.token_response_success and answer.status == 200:
        document = read_document(answer)
        if not isinstance(document, dict) or not is_success(provider, document):
            raise refusal_of(provider, answer, document)


# ---- the wire --------------------------------------------------------------------------------------------------------


@sensitive_variables()
def send(client: Client, method: str, url: str, **content: Any) -> http.Response:
    """One request through the egress guard, once; twice only if nothing of the first had left the machine.

    A client of the sandbox reaches the simulator and nothing else. Raises ProviderUnavailable for 429 and 5xx too.
    """
    within = f"{settings.PUBLIC_URL}/sandbox/" if client.sandbox else None
    ends_at = time.monotonic() + DEADLINE
    try:
        try:
            answer = http.request(method, url, within=within, deadline=DEADLINE, **content)
        except http.Unreachable:
            left = max(0.0, ends_at - time.monotonic())
            answer = http.request(method, url, within=within, deadline=left, **content)
    except http.EgressBlocked as exc:
        raise ProviderError("The provider's address is not one that this gateway may call.") from exc
    except http.AnswerTooLarge as exc:
        raise AnswerNotUnderstood("The provider's answer is too large.") from exc
    except http.EgressError as exc:
        is_uncertain = isinstance(exc, http.NoAnswer)
        raise ProviderUnavailable(
            "The provider could not be reached, or did not answer in time.", is_uncertain=is_uncertain
        ) from exc
    if answer.status == 429 or answer.status >= 500:
        raise ProviderUnavailable(
            "The provider is not available just now.",
            retry_after=answer.retry_after,
            is_uncertain=answer.status != 429,
        )
    return answer


def _whole(template: str, values: Mapping[str, str]) -> str:
    """As `_with`; raises ParameterMissing for a name that `values` does not have."""
    if missing := [name for name in PLACEHOLDER.findall(template) if not values.get(name)]:
        raise ParameterMissing(missing[0])
    return _with(template, values)


def _with(template: str, values: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)
