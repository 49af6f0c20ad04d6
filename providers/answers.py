"""How a provider's answer is read, whatever it looks like: JSON, a form, or neither."""

import binascii
import re
from base64 import urlsafe_b64decode
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from providers.errors import AnswerNotUnderstood, ProviderError, TokenRequestRejected
from providers.provider import Provider
from sequin_auth.lib import http, redaction

# RFC 6749, 5.2 and RFC 7009, 2.2.1
TOKEN_ERRORS = {
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_token",
    "unsupported_token_type",
}


def read_document(answer: http.Response) -> Any:
    """The answer's body: JSON, or the pairs of a form as an object, by its content type. Raises AnswerNotUnderstood."""
    if answer.media_type == "application/x-www-form-urlencoded":
        return read_form(answer.content)
    try:
        document = msgspec.json.decode(answer.content.decode("utf-8-sig"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        if answer.media_type == "text/plain" and (document := read_form(answer.content)):
            return document
        raise AnswerNotUnderstood("The provider's answer is neither JSON nor a form.") from exc
    redaction.learn_from(document, more_names=frozenset())
    return document


def read_form(content: bytes) -> dict[str, str]:
    """The pairs of a form, whatever its content type. Raises AnswerNotUnderstood."""
    try:
        pairs = dict(parse_qsl(content.decode("utf-8"), max_num_fields=100, strict_parsing=True, errors="strict"))
    except ValueError as exc:
        raise AnswerNotUnderstood("The provider's answer is neither JSON nor a form.") from exc
    redaction.learn_from(pairs, more_names=frozenset())
    return pairs


def at(document: Any, path: str) -> Any:
    """What stands at `path` (`a.b` into objects, `0` into a list, `*` through all of it); None if nothing does."""
    head, _, rest = path.partition(".")
    if head == "*":
        found = [at(item, rest) if rest else item for item in document] if isinstance(document, list) else []
        return [item for item in found if item is not None] or None
    if isinstance(document, list):
        document = document[int(head)] if head.isdigit() and int(head) < len(document) else None
    elif isinstance(document, dict):
        document = document.get(head)
    else:
        return None
    return at(document, rest) if rest else document


def refusal_of(provider: Provider, answer: http.Response, document: Any = None) -> ProviderError:
    """The error that a refusal stands for. Nothing that the provider wrote is repeated, only known codes."""
    if 300 <= answer.status < 400:
        return AnswerNotUnderstood("The provider redirects a request that must be answered.")
    if document is None:
        try:
            document = read_document(answer)
        except AnswerNotUnderstood:
            document = {}
    said = str(at(document, provider.token_response_error.code) or "")
    reason = provider.token_response_error.codes.get(said, said)
    if reason not in TOKEN_ERRORS:
        reason = "invalid_client" if answer.status == 401 else "server_error"
    return TokenRequestRejected(REFUSALS.get(reason, "The provider refused the request."), reason=reason)


REFUSALS = {
    "invalid_client": "The provider does not accept this OAuth app's client id or secret.",
    "invalid_grant": "The provider does not accept the code or refresh token: used, expired, revoked or not ours.",
    "unauthorized_client": "The provider does not allow this OAuth app to do that.",
    "invalid_scope": "The provider does not accept the scope.",
    "invalid_request": "The provider finds the request incomplete or malformed.",
}


def claims_in(token: object) -> dict[str, Any]:
    """The claims of a JWT (RFC 7519), unverified: whoever uses them knows where it comes from. {} if it is none."""
    if not isinstance(token, str) or not JWT.fullmatch(token):
        return {}
    header, payload = (_json_object(part) for part in token.split(".")[:2])
    return payload if "alg" in header else {}


def _json_object(part: str) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def number(value: object) -> int | None:
    """`value` as a whole number, be it written as a text; None if it is none, whatever else it is."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(float(value))
    except (ValueError, OverflowError):
        return None


def moment(value: object) -> int | None:
    """Seconds since 1970 (RFC 7519, NumericDate), if the calendar has such a day."""
    seconds = number(value)
    return seconds if seconds is not None and 0 < seconds < YEAR_10000 else None


YEAR_10000 = 253_402_300_800  # seconds since 1970
JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", re.ASCII)
SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+", re.ASCII)  # RFC 6749, 3.3
TOLD_SCOPE = re.compile(r"[\x20-\x7e]*[\x21-\x7e][\x20-\x7e]*", re.ASCII)
PRINTABLE = re.compile(r"[\x21-\x7e]{1,65536}", re.ASCII)  # RFC 6749, A.12: VSCHAR, without the space
