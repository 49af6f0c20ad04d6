"""What a property of a credential may say when it is imported, and the one spelling in which it is kept."""

import datetime
import re
from collections.abc import Callable
from typing import Any

from django.conf import settings

from providers import dpop
from providers.answers import PRINTABLE
from providers.variables import HOST, Variable, VariableNotAccepted
from providers.vocabulary import Property

MAX_TEXT = 8 * 1024  # characters
MAX_TOKEN = 64 * 1024
MAX_ITEMS = 1000  # of a list
MAX_NUMBER = 10**19
NOT_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # could end a header, and PostgreSQL stores not all of it
ORIGIN = re.compile(r"(https?)://([^/?#@\\\s]{1,253})/?")
LAST_MOMENT = 253_402_300_799  # seconds since 1970: the end of the year 9999


class ValueNotAccepted(ValueError):
    """`str()` says in our words which rule the value breaks, without the value."""


ALL_SCOPES = "*"  # what some providers call it; a mask is longer


def is_mask(value: Any) -> bool:
    return isinstance(value, str) and value != "" and set(value) == {"*"}


def text(value: Any, *, longest: int = MAX_TEXT) -> str:
    """Any printable text, as it was sent."""
    if not isinstance(value, str):
        raise ValueNotAccepted("Must be a string.")
    if not value:
        raise ValueNotAccepted("Must not be empty.")
    if is_mask(value):
        raise ValueNotAccepted("Is the mask that stands for the value, not a value.")
    if len(value) > longest:
        raise ValueNotAccepted(f"Has at most {longest} characters.")
    if NOT_TEXT.search(value):
        raise ValueNotAccepted("Must not hold line breaks or other control characters.")
    return value


def secret(value: Any, *, longest: int = MAX_TEXT) -> str:
    """What can stand in a header as it is: visible ASCII."""
    said = text(value, longest=longest)
    if not PRINTABLE.fullmatch(said):
        raise ValueNotAccepted("Must hold only visible ASCII characters, and no spaces.")
    return said


def token(value: Any) -> str:
    """An access or refresh token. Source: RFC 6749, A.12 and A.17."""
    return secret(value, longest=MAX_TOKEN)


def scope(value: Any) -> str:
    """In the provider's own form. Empty: the provider granted none."""
    return value if value in ("", ALL_SCOPES) else text(value)


def moment(value: Any) -> str:
    """ISO 8601 with a zone, or whole seconds since 1970; returned in UTC, seconds, `Z`."""
    seconds = value if isinstance(value, int) and not isinstance(value, bool) else _seconds(value)
    if not 0 <= seconds <= LAST_MOMENT:
        raise ValueNotAccepted("Must lie between the years 1970 and 9999.")
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueNotAccepted("Must be a time: ISO 8601 with its zone, or whole seconds since 1970.")
    try:
        read = datetime.datetime.fromisoformat(text(value))
    except ValueNotAccepted:
        raise
    except ValueError as exc:
        raise ValueNotAccepted("Must be a time: ISO 8601 with its zone, or whole seconds since 1970.") from exc
    if read.tzinfo is None:
        raise ValueNotAccepted("Must name its time zone: Z, or an offset.")
    return int(read.timestamp())


def private_jwk(value: Any) -> str:
    """The key that tokens are bound to, as JSON. Source: RFC 7517; RFC 9449."""
    if key := dpop.canonical(text(value)):
        return key
    raise ValueNotAccepted("Must be a private JWK of EC P-256, as JSON in a string.")


# how the properties are read that every credential of the code flow has
TOKEN_PROPERTIES: dict[str, Callable[[Any], str]] = {
    "access_token": token,
    "refresh_token": token,
    "expires_at": moment,
    "refresh_token_expires_at": moment,
    "scope": scope,
    "token_type": text,
    "dpop_key": private_jwk,
}


def origin(value: Any) -> str:
    """`https://` and a host, in lower case and without a last slash."""
    said = ORIGIN.fullmatch(text(value).lower())
    if said is None or not (said[2] in settings.EGRESS_ALLOW or (said[1] == "https" and _is_host(said[2]))):
        raise ValueNotAccepted("Must be an https URL of a host, without a path.")
    return f"{said[1]}://{said[2]}"


def _is_host(value: str) -> bool:
    return re.fullmatch(HOST, value, re.ASCII) is not None


def as_variable(prop: Property, name: str, variable: Variable, value: Any) -> str:
    """A value that is a variable's too, and keeps to its rule.

    If the property only bears the variable's name, it is kept with the variable's suffix, as the provider writes it.
    """
    try:
        accepted = variable.accept(name, text(_the_other_way_round(prop, value)))
    except VariableNotAccepted as exc:
        raise ValueNotAccepted(f"It {exc.rule}.") from exc
    return accepted if prop.variable or variable.kind == "host" else accepted + variable.suffix


def typed(prop: Property, value: Any, *, printable: Callable[[Any], str], pattern: str = "") -> Any:
    """`value` as the type that the file declares; `printable` reads a string, which `pattern` must match as a whole.

    An identity that is a number may be written as a string of digits, and the other way round.
    """
    if is_mask(value):
        return text(value)
    value = _the_other_way_round(prop, value)
    match prop.type:
        case "boolean":
            return _boolean(value)
        case "integer":
            return _whole_number(value)
        case "array":
            return _list(value, printable)
    said = printable(value)
    if pattern and not re.fullmatch(pattern, said, re.ASCII):
        raise ValueNotAccepted(f"Must match {pattern} as a whole.")
    if prop.values and said not in prop.values:
        raise ValueNotAccepted(f"Must be one of {', '.join(prop.values)}.")
    return said


def _the_other_way_round(prop: Property, value: Any) -> Any:
    """An identity of the declared type, if it was written as the other one."""
    if not (prop.identity or prop.fallback_identity):
        return value
    if prop.type == "integer" and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if prop.type == "string" and is_number and 0 <= value < MAX_NUMBER else value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueNotAccepted("Must be true or false.")
    return value


def _whole_number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_NUMBER:
        raise ValueNotAccepted("Must be a whole number.")
    return value


def _list(value: Any, printable: Callable[[Any], str]) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueNotAccepted("Must be a list of strings.")
    if len(value) > MAX_ITEMS:
        raise ValueNotAccepted(f"Has at most {MAX_ITEMS} items.")
    return [printable(item) for item in value]
