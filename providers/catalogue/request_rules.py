"""What a catalogue file may change about the requests of the code flow; part of `rules.lint`.

A change that RFC 6749, 7636 or 9126 leaves no room for, or that would come to nothing, is refused.
"""

import datetime
import re
from collections.abc import Collection, Iterator, Mapping

from providers.placeholders import names_in
from providers.provider import Provider
from providers.vocabulary import FollowUp

AUTHORIZATION = {
    "client_id", "redirect_uri", "response_type", "state", "scope", "code_challenge", "code_challenge_method", "nonce",
    "request_uri",
}  # fmt: skip
TOKEN = {
    "grant_type", "code", "redirect_uri", "client_id", "client_secret", "code_verifier", "client_assertion",
    "client_assertion_type", "refresh_token", "scope",
}  # fmt: skip
# What there are other fields for, or what nothing is safe without, is not left out
MAY_BE_LEFT_OUT = {"client_id", "redirect_uri", "response_type", "scope", "code_challenge_method"}
SETTABLE_IF_LEFT_OUT = {"redirect_uri", "response_type"}
SETTABLE_IN_TOKEN_REQUESTS = {"redirect_uri", "scope"}
OF_A_CALLBACK = {"", "state", "error", "iss"}
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, 3.3
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
ALMOST_A_DAY_AHEAD = datetime.timedelta(days=1)  # it is tomorrow somewhere


def of_requests(provider: Provider) -> Iterator[str]:
    yield from _of_what_is_left_out(provider)
    yield from _of_names("authorization_param_names", provider.authorization_param_names, AUTHORIZATION)
    yield from _of_names("token_param_names", provider.token_param_names, TOKEN)
    yield from _of_authorization_params(provider)
    yield from _of_token_params(provider)
    if provider.callback_code_param in OF_A_CALLBACK:
        yield "callback_code_param must be a parameter that carries nothing else"
    yield from _of_scopes(provider)
    yield from _of_methods(provider)
    if provider.authorization_response_iss_parameter_supported and not provider.issuer:
        yield "authorization_response_iss_parameter_supported needs issuer (RFC 9207, 2.4)"


def of_headers(provider: Provider) -> Iterator[str]:
    """That none of them is more than a header."""
    for where, headers in _headers(provider):
        for name, value in headers.items():
            if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
                yield f"{where} must be headers of printable ASCII characters"


def is_of_the_future(checked: datetime.date) -> bool:
    return checked > datetime.datetime.now(tz=datetime.UTC).date() + ALMOST_A_DAY_AHEAD


def _headers(provider: Provider) -> Iterator[tuple[str, Mapping[str, str]]]:
    yield "token_headers", provider.token_headers
    for name, call in (("follow_up", provider.follow_up), ("check", provider.check)):
        if isinstance(call, FollowUp):
            yield f"{name}.headers", call.headers
    apis = {"api": provider.api} | {f"kinds.{name}.api": kind.api for name, kind in provider.kinds.items()}
    for name, api in apis.items():
        if api:
            yield name, {api.header or "Authorization": api.scheme}
    for name, kind in provider.kinds.items():
        yield f"kinds.{name}.token_headers", kind.token_headers
        if isinstance(kind.check, FollowUp):
            yield f"kinds.{name}.check.headers", kind.check.headers


def _of_what_is_left_out(provider: Provider) -> Iterator[str]:
    for name in provider.authorization_params_left_out:
        if name not in MAY_BE_LEFT_OUT:
            yield f"authorization_params_left_out has {name}, which is no parameter that may be left out"
    if "client_id" in provider.authorization_params_left_out and not _names_the_client_otherwise(provider):
        yield "authorization_params_left_out has client_id, and no variable of the app names the client otherwise"
    for field in ("token_params_left_out", "refresh_params_left_out"):
        for name in getattr(provider, field):
            if name not in TOKEN:
                yield f"{field} has {name}, which is no parameter of a token request"


def _names_the_client_otherwise(provider: Provider) -> bool:
    """By what the OAuth app alone says, in the address or in a parameter."""
    templates = [provider.authorization_endpoint, *provider.authorization_params.values()]
    used = {name for template in templates for name in names_in(template)} & provider.variables.keys()
    return any(provider.variables[name].sources == ["app"] for name in used)


def _of_names(field: str, names: Mapping[str, str], standard: Collection[str]) -> Iterator[str]:
    for name in names:
        if name not in standard:
            yield f"{field}.{name} is no parameter of such a request"
    theirs = list(names.values())
    if len({*theirs}) < len(theirs) or not all(theirs):
        yield f"{field} must give each parameter a name of its own"
    for name, value in names.items():
        if value in standard and value != name:
            yield f"{field}.{name} is {value}, which is another parameter's name"


def _of_authorization_params(provider: Provider) -> Iterator[str]:
    left_out = SETTABLE_IF_LEFT_OUT & {*provider.authorization_params_left_out}
    sent = (AUTHORIZATION | {provider.scope_param}) - {"scope"} - left_out
    sent |= {provider.authorization_param_names.get(name, name) for name in sent}
    if provider.scope_param == "scope":
        sent.add("scope")
    for name in provider.authorization_params:
        if name in sent:
            yield f"authorization_params.{name} is said by the request itself"


def _of_token_params(provider: Provider) -> Iterator[str]:
    """Those of the grant and of the client are sent as they are, but where an access token stands in for the grant."""
    sent = TOKEN - SETTABLE_IN_TOKEN_REQUESTS
    sent |= {*provider.token_param_names.values()}
    by_access_token = {"grant_type", "refresh_token"} if provider.refresh_with == "access_token" else set()
    for field, params, settable in (
        ("token_params", provider.token_params, set[str]()),
        ("refresh_params", provider.refresh_params, by_access_token),
    ):
        for name in params:
            if name in sent - settable:
                yield f"{field}.{name} is said by the request itself"
    redirect_uri = provider.token_params.get("redirect_uri")
    if redirect_uri is not None and redirect_uri != provider.authorization_params.get("redirect_uri"):
        yield "token_params.redirect_uri must be that of authorization_params (RFC 6749, 4.1.3)"


def _of_scopes(provider: Provider) -> Iterator[str]:
    separator = provider.scope_separator
    if not separator:
        yield "scope_separator must not be empty"
        return
    for field in ("default_scopes", "required_scopes", "scopes"):
        for scope in getattr(provider, field):
            if separator in scope or not SCOPE.fullmatch(scope):
                yield f"{field} must be scopes of RFC 6749, 3.3, one each, without the scope_separator"
                break


def _of_methods(provider: Provider) -> Iterator[str]:
    if provider.auth == "oauth2":
        if provider.token_request_method == "GET" and provider.token_request_format != "query":
            yield "token_request_method is GET, so token_request_format must be query"
        elif _of_a_refresh(provider) == "GET" and provider.refresh_request_format not in _query(provider):
            yield "refresh_request_method is GET, so refresh_request_format must be query"
    if provider.revocation.method == "GET" and provider.revocation.format not in {"query", "none"}:
        yield "revocation.method is GET, so revocation.format must be query or none"


def _of_a_refresh(provider: Provider) -> str:
    return provider.refresh_request_method or provider.token_request_method


def _query(provider: Provider) -> set[str]:
    """The values of refresh_request_format by which a refresh goes in the query."""
    return {"query", ""} if provider.token_request_format == "query" else {"query"}
