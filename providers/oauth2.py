"""
The client half of OAuth 2.0: what we say to a provider, and how its answers are read.

What is sent stands here; how an answer is judged, in answers.py, tokens.py and id_token.py, which send nothing. Where a
provider departs from the RFCs its catalogue file says how: nothing here knows one by name. All raise `ProviderError`s.
"""

import secrets
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from django.views.decorators.debug import sensitive_variables

from providers import dpop, quirks
from providers.answers import moment, read_document, refusal_of
from providers.client import Client
from providers.client_authentication import authenticated, basic, secret_to_send
from providers.errors import (
    AnswerNotUnderstood,
    AuthorizationDenied,
    CallbackNotAccepted,
    IssuerMismatch,
    ParameterMissing,
    TokenRequestRejected,
)
from providers.measured import measured
from providers.placeholders import filled, named, names_in
from providers.provider import FollowUp, Provider
from providers.tokens import TokenResponse, is_success, read_token_response
from providers.wire import DEADLINE, send, with_query
from sequin_auth.lib import http

NOTHING: Mapping[str, str] = MappingProxyType({})
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
    return with_query(provider.authorization_endpoint, authorization_params(provider, params))


def authorization_params(provider: Provider, params: Mapping[str, str]) -> dict[str, str]:
    """The authorization request as this provider takes it: without what it does not know, under its own names.

    A fixed parameter never replaces one of the protocol's.
    """
    if not provider.state_returned:
        params = {**params, "redirect_uri": redirect_uri_with(provider, params["redirect_uri"], params["state"])}
    left_out = {*provider.authorization_params_left_out, *([] if provider.state_returned else ["state"])}
    names = provider.authorization_param_names
    return {
        **provider.authorization_params,
        **{names.get(name, name): value for name, value in params.items() if name not in left_out},
    }


def redirect_uri_with(provider: Provider, callback_url: str, state: str) -> str:
    """The redirect URI that this provider is told: with the state, where it would not send that back."""
    return callback_url if provider.state_returned else with_query(callback_url, {"state": state})


# ---- authorization response (RFC 6749, 4.1.2; RFC 9207) --------------------------------------------------------------


def read_callback(
    provider: Provider, client: Client, answer: Mapping[str, str], *, repeated: Iterable[str] = ()
) -> str:
    """The provider's code. `answer`: the callback's query; `repeated`: names that it had more than once.

    Raises AuthorizationDenied, CallbackNotAccepted, IssuerMismatch.
    """
    check_issuer(provider, answer)
    code, error = answer.get(provider.callback_code_param, ""), answer.get("error", "")
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


@measured("exchange")
@sensitive_variables()
def exchange_code(
    provider: Provider,
    client: Client,
    code: str,
    *,
    redirect_uri: str,
    code_verifier: str = "",
    callback: Mapping[str, str] = NOTHING,
    scopes: Iterable[str] = (),
) -> TokenResponse:
    """Exchange the provider's code for tokens. `redirect_uri`: as at the authorization request.

    `callback`: the answer that the code came with; the properties that are read there may be sent on, and `scopes`,
    those that were asked for, said again.
    """
    grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
    if code_verifier:
        grant["code_verifier"] = code_verifier
    told = {name: callback.get(prop.callback, "") for name, prop in provider.credential.items() if prop.callback}
    grant |= named(provider.token_params, told | {"scope": provider.scope_separator.join(scopes)})
    dpop_key = dpop.key_for_exchange(provider, client)
    answer = _token_request(provider, client, grant, dpop_key=dpop_key)
    tokens = dpop.bound(read_token_response(provider, answer), dpop_key)
    return _lasting(provider, client, tokens) if provider.second_step else tokens


@sensitive_variables()
def _lasting(provider: Provider, client: Client, tokens: TokenResponse) -> TokenResponse:
    """The tokens of the second step. What the first answer said beside its token is said still."""
    step = provider.second_step
    if step is None:
        return tokens
    values = {"access_token": tokens.access_token, "client_id": client.client_id}
    params = named(step.params, values | {"client_secret": secret_to_send(provider, client)})
    answer = _sent(provider, client, step.endpoint, params, method=step.method, sent_as=_in_query_if_get(step.method))
    lasting = read_token_response(provider, answer)
    return msgspec.structs.replace(
        lasting,
        scope=lasting.scope or tokens.scope,
        scope_as_told=lasting.scope_as_told or tokens.scope_as_told,
        answer={**tokens.answer, **lasting.answer},
    )


@measured("refresh")
@sensitive_variables()
def refresh(
    provider: Provider,
    client: Client,
    refresh_token: str,
    *,
    access_token: str = "",
    properties: Mapping[str, Any] = NOTHING,
    redirect_uri: str = "",
    scopes: Iterable[str] = (),
) -> TokenResponse:
    """Use a refresh token. The answer's `refresh_token` is the one to keep, be it the same or a new one.

    Where there are none, the access token itself is used (`refresh_with`). `properties`: the credential's, which some
    providers want to see again, as others do the redirect URI or the scopes. Raises AccessTokenMissing, whose
    `refresh_token` is to be kept all the same.
    """
    if provider.refresh_with == "none":
        raise TokenRequestRejected("This provider's tokens are not refreshed.", reason="unsupported_grant_type")
    by_access_token = provider.refresh_with == "access_token"
    if by_access_token and not access_token:
        raise TokenRequestRejected("This provider issues no refresh tokens.", reason="unsupported_grant_type")
    values = {name: str(value) for name, value in properties.items()}
    values |= {"access_token": access_token, "redirect_uri": redirect_uri}
    values["scope"] = provider.scope_separator.join(scopes)
    grant = {} if by_access_token else {"grant_type": "refresh_token", "refresh_token": refresh_token}
    grant |= named(provider.refresh_params, values)
    dpop_key = dpop.key_of(provider, client, properties)
    answer = _token_request(provider.as_at_a_refresh(), client, grant, dpop_key=dpop_key)
    tokens = dpop.bound(read_token_response(provider, answer), dpop_key)
    keeps = not tokens.refresh_token and not by_access_token
    return msgspec.structs.replace(tokens, refresh_token=refresh_token) if keeps else tokens


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
def _token_request(
    provider: Provider,
    client: Client,
    grant: Mapping[str, str],
    *,
    dpop_key: str,
) -> http.Response:
    """A grant with the client's authentication, under the provider's own names."""
    names, unwanted = provider.token_param_names, {*provider.token_params_left_out}
    endpoint, method = provider.token_endpoint, provider.token_request_method

    def attempt(proof: Mapping[str, str], seconds: float) -> http.Response:
        params, headers = authenticated(provider, client, grant)
        params = {names.get(name, name): value for name, value in params.items() if name not in unwanted}
        how = {"method": method, "sent_as": provider.token_request_format}
        return _sent(provider, client, endpoint, params, **how, headers={**headers, **proof}, deadline=seconds)

    return dpop.proven(attempt, key=dpop_key, method=method, url=endpoint, deadline=DEADLINE)


@sensitive_variables()
def _sent(
    provider: Provider,
    client: Client,
    endpoint: str,
    params: Mapping[str, str],
    *,
    method: str,
    sent_as: str,
    headers: Mapping[str, str] = NOTHING,
    deadline: float = DEADLINE,
) -> http.Response:
    """One request to a token endpoint."""
    headers = {"Accept": "application/json", **_headers(provider.token_headers, client), **headers}
    return send(
        client,
        method,
        endpoint,
        headers=headers,
        form=dict(params) if sent_as == "form" else None,
        json=dict(params) if sent_as == "json" else None,
        params=dict(params) if sent_as == "query" else None,
        deadline=deadline,
    )


def _in_query_if_get(method: str) -> str:
    return "query" if method == "GET" else "form"


def _headers(templates: Mapping[str, str], client: Client) -> dict[str, str]:
    return {name: filled(text, {"client_id": client.client_id}) for name, text in templates.items()}


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
    headers = {"Accept": "application/json", **_headers(call.headers, client)}
    in_query: dict[str, str] = {}
    dpop_key = tokens.dpop_key if call.auth == "bearer" else ""
    if call.auth == "bearer":
        header, in_query = api_authorization(provider, tokens.access_token)
        headers |= dpop.authorization(header, dpop_key, tokens.access_token)
    url = with_query(call.url, in_query)
    form = call.form and {name: filled(value, values) for name, value in call.form.items()}

    def attempt(proof: Mapping[str, str], seconds: float) -> http.Response:
        signed = {**headers, **proof}
        return send(client, call.method, url, headers=signed, json=call.json, form=form, deadline=seconds)

    proves = {"key": dpop_key, "access_token": tokens.access_token}
    answer = dpop.proven(attempt, **proves, method=call.method, url=url, deadline=DEADLINE)
    if answer.status != 200:
        raise AnswerNotUnderstood("The provider did not say whose tokens these are.")
    return read_document(answer)


def api_authorization(provider: Provider, access_token: str) -> tuple[dict[str, str], dict[str, str]]:
    """The header, or else the parameter, that carries an access token to the provider's API.

    Source: RFC 6750, 2.1 and 2.3, or the catalogue.
    """
    api = provider.api
    if api and api.query:
        return {}, {api.query: access_token}
    if api and api.header:
        return {api.header: access_token}, {}
    return {"Authorization": f"{api.scheme if api else 'Bearer'} {access_token}"}, {}


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
    headers = {"Accept": "application/json", **_headers(provider.token_headers, client), **authentication}
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
    headers = {"Accept": "application/json", **_headers(provider.token_headers, client)}
    url, in_query = _whole(provider.revocation_endpoint, values), dict[str, str]()
    if how.auth == "client":
        params, authentication = authenticated(provider, client, params)
        headers |= authentication
    elif how.auth == "client_secret_basic":
        headers["Authorization"] = basic(provider, client.client_id, secret_to_send(provider, client))
    elif how.auth == "client_secret_post":
        params |= {"client_id": client.client_id, "client_secret": secret_to_send(provider, client)}
    elif how.auth == "bearer":
        header, in_query = api_authorization(provider, access_token or token)
        headers |= header
    answer = send(
        client,
        how.method,
        with_query(url, in_query),
        headers=headers,
        form=params if how.format == "form" else None,
        json=params if how.format == "json" else None,
        params=params if how.format == "query" else None,
    )
    if answer.status == how.unknown_status:
        return
    if how.auth == "bearer" and answer.status in {401, 403}:
        if not refresh_token:
            return  # the one token that there was is worth nothing any more
        raise TokenRequestRejected("The provider does not accept the access token any more.", reason="invalid_token")
    if answer.status >= 300:
        refusal = refusal_of(provider, answer)
        if isinstance(refusal, TokenRequestRejected) and refusal.reason in UNKNOWN_TOKEN:
            return
        raise refusal
    if provider.token_response_success and answer.status == 200:
        document = read_document(answer)
        if not isinstance(document, dict) or not is_success(provider, document):
            raise refusal_of(provider, answer, document)


def _whole(template: str, values: Mapping[str, str]) -> str:
    """As `filled`; raises ParameterMissing for a name that `values` does not have."""
    if missing := [name for name in names_in(template) if not values.get(name)]:
        raise ParameterMissing(missing[0])
    return filled(template, values)
