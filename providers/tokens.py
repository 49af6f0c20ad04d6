"""A provider's token answer (RFC 6749, 5.1), read into the RFC's own words."""

import datetime
import time
from typing import Any

import msgspec

from providers.answers import PRINTABLE, SCOPE_TOKEN, at, read_document, refusal_of
from providers.errors import AnswerNotUnderstood
from providers.provider import Provider
from sequin_auth.lib import http

TEN_YEARS = 315_360_000  # seconds; longer lifetimes are typing errors


class TokenResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """`expires_in`: seconds, None if the provider does not say. `scope`: as granted, separated by spaces.

    `answer` is the whole document that the provider sent.
    """

    access_token: str
    token_type: str = "Bearer"
    expires_in: int | None = None
    refresh_token: str | None = None
    scope: str | None = None
    answer: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"TokenResponse(token_type={self.token_type!r}, expires_in={self.expires_in}, scope={self.scope!r})"


def read_token_response(provider: Provider, answer: http.Response) -> TokenResponse:
    """Judge the answer of a token endpoint. Raises TokenRequestRejected, AnswerNotUnderstood."""
    if answer.status >= 300:
        raise refusal_of(provider, answer)
    document = read_document(answer, expected=provider.token_response_format)
    if not isinstance(document, dict):
        raise AnswerNotUnderstood("The provider's token answer is no object.")
    if not is_success(provider, document):
        raise refusal_of(provider, answer, document)

    def member(name: str) -> Any:
        return at(document, provider.token_response_names.get(name, name))

    access_token, refresh_token = member("access_token"), member("refresh_token")
    if not _is_token(access_token):
        raise AnswerNotUnderstood("The provider's token answer holds no usable access token.")
    return TokenResponse(
        access_token=access_token,
        token_type=token_type if isinstance(token_type := member("token_type"), str) else "Bearer",
        expires_in=_expires_in(provider, member),
        refresh_token=refresh_token if _is_token(refresh_token) else None,
        scope=_scope(provider, member("scope")),
        answer=document,
    )


def is_success(provider: Provider, document: dict[str, Any]) -> bool:
    wanted = provider.token_response_success
    if wanted:
        return bool(at(document, wanted.path) == wanted.equals)
    return at(document, provider.token_response_error.code) is None


def _is_token(value: Any) -> bool:
    return isinstance(value, str) and PRINTABLE.fullmatch(value) is not None


def _expires_in(provider: Provider, member: Any) -> int | None:
    """The lifetime in seconds, from where the catalogue says it stands; nonsense counts as silence."""
    expiry = provider.expiry
    if expiry.source == "fixed":
        return None  # what the answer may say is not dependable, and what we assume is not the provider's word
    seconds = _number(member("expires_in"))
    if expiry.source == "expires_at":
        moment = _moment(member("expires_at"), expiry.unit)
        seconds = moment - int(time.time()) if moment else None
    return min(seconds, TEN_YEARS) if seconds and seconds > 0 else None


def _number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(float(value))
    except (ValueError, OverflowError):
        return None


def _moment(value: Any, unit: str) -> int | None:
    if unit != "iso8601":
        number = _number(value)
        return number and (number // 1000 if unit == "ms" else number)
    try:
        return int(datetime.datetime.fromisoformat(str(value)).timestamp())
    except ValueError:
        return None


def _scope(provider: Provider, value: Any) -> str | None:
    """The granted scopes, separated by spaces, whatever the provider's own separator."""
    if isinstance(value, list):
        value = " ".join(str(item) for item in value)
    if not isinstance(value, str):
        return None
    for separator in {",", provider.scope_separator}:
        value = value.replace(separator, " ")
    return " ".join(scope for scope in value.split() if SCOPE_TOKEN.fullmatch(scope)) or None
