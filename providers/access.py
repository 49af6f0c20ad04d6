"""
What opens a provider's API, beside the code flow: keys, passwords, signatures, and access tokens that are minted.

`values` are a credential's properties, secrets included. Every call goes out by `wire.send`.
"""

import base64
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from providers import dpop, oauth1, wire
from providers.answers import at, read_document
from providers.app_jwt import app_jwt
from providers.client import Client
from providers.client_authentication import secret_to_send
from providers.errors import AnswerNotUnderstood, ProviderError, ProviderUnavailable, TokenRequestRejected
from providers.kinds import CredentialKind
from providers.measured import measured
from providers.placeholders import PLACEHOLDER, fill, filled, in_sandbox, names_in
from providers.properties import ValueNotAccepted, origin
from providers.provider import Provider
from providers.tokens import TokenResponse, read_token_response
from providers.variables import VariableNotAccepted
from providers.vocabulary import Api, FollowUp, Kind
from sequin_auth.lib import http

# ---- how a credential is sent ----------------------------------------------------------------------------------------


@sensitive_variables()
def standing_token(kind: CredentialKind, values: Mapping[str, Any]) -> str | None:
    """What a key or a password is to the API: itself, or the pair as HTTP Basic sends it (RFC 7617, 2).

    None for kinds whose token is minted or refreshed, and for those that send none.
    """
    if kind.auth == "key":
        return str(values[_secret_of(kind)])
    if kind.auth == "password" and not _api_params(kind, kind.provider):
        return base64.b64encode(f"{values[_user_of(kind)]}:{values[_secret_of(kind)]}".encode()).decode()
    return None


@sensitive_variables()
def signed_with(provider: Provider, client_id: str, values: Mapping[str, Any]) -> dict[str, str]:
    """What signs the calls of an OAuth 1.0a token, beside the token and the consumer secret (RFC 5849, 3.4)."""
    return {
        "method": provider.signature_method,
        "consumer_key": client_id,
        "token_secret": str(values["token_secret"]),
    }


@sensitive_variables()
def sent_with(
    kind: CredentialKind, provider: Provider, values: Mapping[str, Any], *, sandbox_url: str = ""
) -> dict[str, Any]:
    """How an access token is sent to the API: `base_url` (None if it is not known), `header` and `scheme`.

    An empty scheme: the header holds the bare token. `params`, where there is no token: the parameters of every call,
    each with the property that it carries. `provider`: at the credential's hosts; `sandbox_url`: the simulator that
    stands in for them, also where a property says which host it is.
    """
    api = _api(kind, provider)
    base_url = _address("/", api, _names(values)) if api else None
    base_url = base_url and in_sandbox(base_url, sandbox_url)
    told: dict[str, Any] = {
        "base_url": base_url and base_url.removesuffix("/"),
        "header": (api and api.header) or "Authorization",
        "scheme": "" if api and api.header else _scheme(kind, api),
    }
    if api and api.query:
        return told | {"header": None, "scheme": None, "query": api.query}
    if api and api.params:
        return told | {"header": None, "scheme": None, "params": {n: v.strip("{}") for n, v in api.params.items()}}
    return told


def depends_on_properties(kind: CredentialKind) -> bool:
    """Whether `sent_with` may answer otherwise for one credential of the kind than for another with its variables."""
    api, provider = _api(kind, kind.provider), kind.provider
    return bool((api and names_in(api.base_url)) or provider.deployments or provider.own_host)


def _scheme(kind: CredentialKind, api: Api | None) -> str:
    """Source: RFC 7617, 2; RFC 5849, 3.5.1; RFC 6750, 2.1, or the catalogue."""
    return {"password": "Basic", "oauth1": "OAuth"}.get(kind.auth) or (api.scheme if api else "Bearer")


def _api(kind: CredentialKind, provider: Provider) -> Api | None:
    declared = provider.kinds.get(kind.name)
    return (declared and declared.api) or provider.api


def _api_params(kind: CredentialKind, provider: Provider) -> dict[str, str]:
    api = _api(kind, provider)
    return api.params if api else {}


def _secret_of(kind: CredentialKind) -> str:
    return next(name for name, prop in kind.properties.items() if prop.secret)


def _user_of(kind: CredentialKind) -> str:
    """The property beside the password that is no part of the address."""
    variables = kind.provider.variables
    plain = (n for n, p in kind.properties.items() if not p.secret and not p.variable and n not in variables)
    return next(plain)


# ---- access tokens that are minted -----------------------------------------------------------------------------------


@measured("mint")
@sensitive_variables()
def mint(kind: CredentialKind, client: Client, values: Mapping[str, Any]) -> TokenResponse:
    """A new access token: for the credential's own client id and secret, or for a JWT that the OAuth app signs.

    `client`: the OAuth app's, or one without id and secret, with the credential's variables. Raises ProviderError;
    TokenRequestRejected with `invalid_grant` if the app is no longer installed, `invalid_client` if client id, secret
    or key is wrong. Source: RFC 6749, 4.4.
    """
    sandbox_url = f"{settings.PUBLIC_URL}/sandbox/{kind.provider.slug}" if client.sandbox else ""
    provider = kind.provider.bound(client.variables, sandbox_url=sandbox_url)
    declared, names = provider.kinds[kind.name], _names(values)
    endpoint = _address(declared.token_endpoint, _api(kind, provider), names)
    if endpoint is None:
        raise ProviderError("The credential does not say where its access tokens are minted.")
    params = {name: filled(text, names) for name, text in declared.token_params.items() if _is_whole(text, names)}
    headers = {"Accept": "application/json", **declared.token_headers}
    if kind.auth == "app_jwt":
        headers["Authorization"] = f"Bearer {app_jwt(client)}"
        answer = wire.send(client, "POST", endpoint, headers=headers, json=params or None)
    else:
        params = {"grant_type": "client_credentials", **params}
        answer = wire.send(client, "POST", endpoint, headers=headers, form=params)
    if kind.auth == "app_jwt" and answer.status in {403, 404}:
        raise _no_longer_installed(answer)
    return read_token_response(_answering_as(provider, declared), answer)


def _no_longer_installed(answer: http.Response) -> ProviderError:
    """An app that was taken away is not found, one that was suspended is forbidden; so is one that asked too often.

    Source: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    if answer.retry_after is not None or answer.headers.get("x-ratelimit-remaining") == "0":
        return ProviderUnavailable("The provider asks for fewer requests.", retry_after=answer.retry_after)
    return TokenRequestRejected("The app is no longer installed there, or is suspended.", reason="invalid_grant")


def _answering_as(provider: Provider, declared: Kind) -> Provider:
    return msgspec.structs.replace(provider, token_response_names=declared.token_response_names, expiry=declared.expiry)


# ---- is it still good? -----------------------------------------------------------------------------------------------


@sensitive_variables()
def check(
    kind: CredentialKind, provider: Provider, client: Client, values: Mapping[str, Any], access_token: str
) -> Any:
    """Make the cheapest authenticated call and return its document; None if no such call is known.

    `provider`: at the credential's hosts; `access_token`: empty where there is none. Raises TokenRequestRejected with
    the reason `invalid_token`; ProviderUnavailable, AnswerNotUnderstood. Whoever is known and may not do just this
    (403) is well: the document is then empty.
    """
    call = _check_of(kind, provider)
    api, names = _api(kind, provider), _names({**client.variables, **values})
    url = _address(call.url, api, names) if call else None
    if call is None or url is None:
        return None
    url = in_sandbox(url, f"{settings.PUBLIC_URL}/sandbox/{provider.slug}") if client.sandbox else url
    form = _form(call, api, names, provider, client, access_token)
    headers = {
        "Accept": "application/json",
        **{n: filled(text, {"client_id": client.client_id}) for n, text in call.headers.items()},
    }
    if call.auth == "bearer" and kind.auth == "oauth2" and api and api.query:
        url = wire.with_query(url, {api.query: access_token})
    elif call.auth == "bearer":
        headers |= authorization(kind, provider, client, values, access_token, method=call.method, url=url, form=form)
    dpop_key = dpop.key_of(provider, client, values) if call.auth == "bearer" and kind.auth == "oauth2" else ""
    headers |= dpop.authorization({}, dpop_key, access_token)

    def attempt(proof: Mapping[str, str], seconds: float) -> http.Response:
        proven = {**headers, **proof}
        return wire.send(client, call.method, url, headers=proven, json=call.json, form=form, deadline=seconds)

    proves = {"key": dpop_key, "access_token": access_token}
    return _judged(call, dpop.proven(attempt, **proves, method=call.method, url=url, deadline=wire.DEADLINE))


def _check_of(kind: CredentialKind, provider: Provider) -> FollowUp | None:
    found = provider.kinds[kind.name].check if kind.declared else provider.check or provider.follow_up
    return FollowUp(url=found) if isinstance(found, str) and found else found or None


@sensitive_variables()
def _form(
    call: FollowUp, api: Api | None, names: Mapping[str, str], provider: Provider, client: Client, access_token: str
) -> dict[str, str] | None:
    """The body's parameters: the call's own, and those that the API wants with every call."""
    named = {**names, "token": access_token, "client_id": client.client_id}
    if any("{client_secret}" in text for text in (call.form or {}).values()):
        named["client_secret"] = secret_to_send(provider, client)
    params = {**(api.params if api else {}), **(call.form or {})}
    return {name: filled(text, named) for name, text in params.items()} or None


@sensitive_variables()
def authorization(
    kind: CredentialKind,
    provider: Provider,
    client: Client,
    values: Mapping[str, Any],
    access_token: str,
    *,
    method: Literal["GET", "POST"],
    url: str,
    form: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The headers that open one call of the API; none where its parameters do. `form`: its body, where it is signed."""
    api = _api(kind, provider)
    if kind.declared and kind.auth == "oauth1":
        realm = filled(kind.declared.realm, _account_ids(kind, values))
        return {"Authorization": oauth1.authorization(method, url, keys=_names(values), realm=realm, form=form)}
    if kind.declared is None and provider.signs_calls:
        token_pair = oauth1.Token(access_token, str(values["token_secret"]))
        return oauth1.api_authorization(provider, client, method, url, token=token_pair, form=form)
    if api and api.params:
        return {}
    token = standing_token(kind, values) or access_token
    if api and api.header:
        return {api.header: token}
    return {"Authorization": f"{_scheme(kind, api)} {token}"}


def _account_ids(kind: CredentialKind, values: Mapping[str, Any]) -> dict[str, str]:
    """The values in the spelling that they have outside of hosts."""
    variables = kind.provider.variables
    return {
        name: variables[name].as_account_id(value) if name in variables else value
        for name, value in _names(values).items()
    }


def _judged(call: FollowUp, answer: http.Response) -> Any:
    if answer.status == 401:
        raise TokenRequestRejected("The provider does not accept the credential any more.", reason="invalid_token")
    if answer.status == 403:
        return {}
    if not 200 <= answer.status < 300:
        raise AnswerNotUnderstood("The provider answered a check with neither yes nor no.")
    document = read_document(answer)
    if call.success and at(document, call.success.path) != call.success.equals:
        raise TokenRequestRejected("The provider does not accept the credential.", reason="invalid_token")
    return document


# ---- addresses -------------------------------------------------------------------------------------------------------


def _names(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def _is_whole(template: str, names: Mapping[str, str]) -> bool:
    return all(names.get(name) for name in names_in(template))


def _address(template: str, api: Api | None, names: Mapping[str, str]) -> str | None:
    """`template`, below the API's base URL if it begins with `/`; None if a name in it has no value, or one that would
    lead elsewhere: what the base URL begins with has to be an origin, whoever wrote it into the row.
    """
    if template.startswith("/") and api:
        template = f"{api.base_url.removesuffix('/')}{template}"
    if not _is_whole(template, names):
        return None
    try:
        if leading := PLACEHOLDER.match(template):
            template = template.replace(leading[0], origin(names[leading[1]]), 1)
        return fill(template, names)
    except (ValueNotAccepted, VariableNotAccepted):
        return None
