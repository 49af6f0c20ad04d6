"""A provider's token answer (RFC 6749, 5.1), read into the RFC's own words."""

import datetime
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from providers.answers import (
    PRINTABLE,
    SCOPE_TOKEN,
    TOLD_SCOPE,
    at,
    claims_in,
    moment,
    number,
    read_document,
    refusal_of,
)
from providers.errors import AccessTokenMissing, AnswerNotUnderstood
from providers.provider import Kind, Provider
from sequin_auth.lib import http

TEN_YEARS = 315_360_000  # seconds; longer lifetimes are typing errors
POLICY_LIFETIME = 3600  # seconds; of an access token of which nobody says how long it lives


class TokenResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """`expires_in`: seconds, None if the provider does not say. `scope`: as granted, separated by spaces.

    `scope_as_told`: the same as the provider wrote it, if that was a string. `answer` is the whole document that the
    provider sent.
    """

    access_token: str
    token_type: str = "Bearer"
    expires_in: int | None = None
    expires_in_from: Literal["expires_in", "expires_at"] = "expires_in"  # the member that said so
    refresh_token: str | None = None
    scope: str | None = None
    scope_as_told: str | None = None
    answer: dict[str, Any] = {}
    dpop_key: str = ""  # the private key that the tokens are bound to (RFC 9449)

    def __repr__(self) -> str:
        return f"TokenResponse(token_type={self.token_type!r}, expires_in={self.expires_in}, scope={self.scope!r})"


def read_token_response(provider: Provider, answer: http.Response) -> TokenResponse:
    """Judge the answer of a token endpoint. Raises TokenRequestRejected, AnswerNotUnderstood, AccessTokenMissing."""
    if answer.status >= 300:
        raise refusal_of(provider, answer)
    document = read_document(answer)
    if not isinstance(document, dict):
        raise AnswerNotUnderstood("The provider's token answer is no object.")
    if not is_success(provider, document):
        raise refusal_of(provider, answer, document)

    def member(name: str) -> Any:
        return at(document, provider.token_response_names.get(name, name))

    access_token, refresh_token = member("access_token"), member("refresh_token")
    if not _is_token(access_token) and _is_token(refresh_token):
        raise AccessTokenMissing(
            "The provider's token answer holds a refresh token alone.", refresh_token=refresh_token
        )
    if not _is_token(access_token):
        raise AnswerNotUnderstood("The provider's token answer holds no usable access token.")
    expires_in, told_by = _expires_in(provider, member)
    return TokenResponse(
        access_token=access_token,
        token_type=token_type if _is_token(token_type := member("token_type")) and len(token_type) <= 50 else "Bearer",
        expires_in=expires_in,
        expires_in_from=told_by,
        refresh_token=refresh_token if _is_token(refresh_token) else None,
        scope=_scope(provider, scope := member("scope")),
        scope_as_told=scope if isinstance(scope, str) and TOLD_SCOPE.fullmatch(scope) else None,
        answer=document,
    )


def is_success(provider: Provider, document: dict[str, Any]) -> bool:
    wanted = provider.token_response_success
    if wanted:
        return bool(at(document, wanted.path) == wanted.equals)
    return at(document, provider.token_response_error.code) is None


def _is_token(value: Any) -> bool:
    return isinstance(value, str) and PRINTABLE.fullmatch(value) is not None


# ---- how long? -------------------------------------------------------------------------------------------------------


def _expires_in(provider: Provider, member: Any) -> tuple[int | None, Literal["expires_in", "expires_at"]]:
    """The access token's lifetime in seconds, and the member that tells it; nonsense counts as silence."""
    if provider.expiry.source == "fixed":
        return None, "expires_in"  # what the answer may say is not dependable, and what we assume is not its word
    if seconds := _lifetime(number(member("expires_in"))):
        return seconds, "expires_in"
    expires_at = _moment(member("expires_at"), provider.expiry.unit)
    return _until(expires_at), "expires_at"


def lifetime(tokens: TokenResponse) -> tuple[int | None, str]:
    """Seconds that the access token lives, and what says so: `expires_in`, `expires_at`, or the `token` itself.

    (None, "") if none of them does.
    """
    if tokens.expires_in is not None:
        return tokens.expires_in, tokens.expires_in_from
    seconds = _until(exp_of(tokens.access_token))
    return (None, "") if seconds is None else (seconds, "token")


def exp_of(access_token: str) -> int | None:
    """When a JWT ends, in seconds since 1970 (RFC 7519, 4.1.4); None if it is none, or does not say.

    Not verified: it is the provider's to judge its tokens, and a wrong one costs a refresh too early or too late.
    """
    return moment(claims_in(access_token).get("exp"))


def assumed_lifetime(documented: Provider | Kind) -> tuple[int | None, Literal["catalogue", "policy", "never"]]:
    """Seconds to count on where the provider says nothing, and what they come from. None: it does not end."""
    if documented.expiry.source == "never":
        return None, "never"
    if documented.expiry.seconds is not None:
        return documented.expiry.seconds, "catalogue"
    return POLICY_LIFETIME, "policy"


def refresh_token_expires_in(provider: Provider, tokens: TokenResponse) -> int | None:
    """Seconds that the refresh token lives, as the answer tells it where the catalogue says that it does."""
    documented = provider.refresh_token_lifetime
    if documented is None or not documented.source:
        return None
    return _lifetime(number(at(tokens.answer, documented.source)))


def _lifetime(seconds: int | None) -> int | None:
    return min(seconds, TEN_YEARS) if seconds is not None and seconds > 0 else None


def _until(expires_at: int | None) -> int | None:
    return None if expires_at is None else _lifetime(expires_at - int(time.time()))


def _moment(value: Any, unit: str) -> int | None:
    if unit != "iso8601":
        seconds = number(value)
        return moment(seconds // 1000 if unit == "ms" and seconds is not None else seconds)
    try:
        told = datetime.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment((told if told.tzinfo else told.replace(tzinfo=datetime.UTC)).timestamp())


# ---- scopes ----------------------------------------------------------------------------------------------------------


def _scope(provider: Provider, value: Any) -> str | None:
    """The granted scopes, separated by spaces, whatever the provider's own separator."""
    if isinstance(value, list):
        value = " ".join(str(item) for item in value)
    if not isinstance(value, str):
        return None
    for separator in {",", provider.scope_separator}:
        value = value.replace(separator, " ")
    return " ".join(scope for scope in value.split() if SCOPE_TOKEN.fullmatch(scope)) or None


def scopes_of(provider: Provider, value: Any) -> list[str]:
    """The scopes in `value`, a list or a string with the provider's own separators."""
    return (_scope(provider, value) or "").split()


def scope_as_theirs(provider: Provider, scope: str | None, scope_as_told: str | None) -> str | None:
    """The granted scopes in the provider's own form: as it told them, else joined with its separator."""
    return scope_as_told or (scope and provider.scope_separator.join(scope.split()))


def missing_scopes(provider: Provider, requested: Iterable[str], granted: Iterable[str]) -> list[str]:
    """Those of `requested` which `granted` neither names nor, by the catalogue's `scopes_answered_as`, includes."""
    held = {scope.casefold() for scope in granted}
    return [
        scope
        for scope in dict.fromkeys(requested)
        if not _is_held(scope, held, answered_as=provider.scopes_answered_as)
    ]


def _is_held(scope: str, held: set[str], *, answered_as: Mapping[str, str]) -> bool:
    """Whether `scope` is among `held`, under its own name or under one that it is answered as, one after the other.

    Case counts for nothing: some providers answer in another than they were asked in.
    """
    for _ in range(len(answered_as) + 1):
        if scope.casefold() in held:
            return True
        answered = _answered(scope, answered_as)
        if answered is None:
            return False
        if not answered:
            return True  # granted without being named
        scope = answered
    return False


def _answered(scope: str, answered_as: Mapping[str, str]) -> str | None:
    """What `scope` is answered as, by its name, else by the first pattern; a `*` is the same text on both sides."""
    if scope in answered_as:
        return answered_as[scope]
    for asked, answered in answered_as.items():
        before, star, after = asked.partition("*")
        if star and len(scope) >= len(before + after) and scope.startswith(before) and scope.endswith(after):
            return answered.replace("*", scope[len(before) : len(scope) - len(after)])
    return None
