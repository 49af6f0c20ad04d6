"""Which redirect URIs may be registered, and what `:provider` in them stands for."""

import re
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ValidationError

MAX_LENGTH = 2048
PROVIDER_SEGMENT = ":provider"
LOOPBACK_HOSTS = {"127.0.0.1", "[::1]", "localhost"}  # RFC 8252, 7.3 and 8.3: these three spellings alone

URI_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*", re.ASCII)  # RFC 3986, 2
LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
HOST_NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*", re.IGNORECASE | re.ASCII)
IPV6_ADDRESS = re.compile(r"\[[0-9a-f:.]+\]", re.IGNORECASE | re.ASCII)
PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)


def validate_redirect_uri(text: str) -> None:
    """Raises ValidationError, one sentence for the first rule that `text` breaks. Source: RFC 6749, 3.1.2; RFC 8252.

    It is stored and compared byte by byte, so nothing is normalised here: what is odd is refused.
    """
    if len(text) > MAX_LENGTH:
        raise ValidationError(f"A redirect URI has at most {MAX_LENGTH} characters.", code="too_long")
    _validate_characters(text)
    try:
        parts = urlsplit(text)
    except ValueError as exc:
        raise ValidationError("The host of a redirect URI must be a name or an address.", code="host") from exc
    _validate_scheme(text, parts)
    _validate_authority(parts)
    _validate_provider_segment(text, parts)


def expand(registered: str, slug: str) -> str:
    """The registered URI as it counts for one provider: its segment `:provider`, if it has one, is the slug."""
    path, question_mark, query = registered.partition("?")
    segments = [slug if segment == PROVIDER_SEGMENT else segment for segment in path.split("/")]
    return "/".join(segments) + question_mark + query


def _validate_characters(text: str) -> None:
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValidationError("A redirect URI has no spaces and no control characters.", code="control_character")
    if "\\" in text:
        raise ValidationError("A redirect URI has no backslash.", code="backslash")
    if "*" in text:
        raise ValidationError("A redirect URI has no wildcard: register each one.", code="wildcard")
    if "#" in text:
        raise ValidationError("A redirect URI has no fragment.", code="fragment")
    if not URI_CHARACTERS.fullmatch(text):
        raise ValidationError(
            "A redirect URI has only the characters of RFC 3986: write others percent-encoded, and hosts in Punycode.",
            code="character",
        )


def _validate_scheme(text: str, parts: SplitResult) -> None:
    if not parts.scheme:
        raise ValidationError("A redirect URI is absolute: it begins with https://.", code="relative")
    if parts.scheme not in {"https", "http"}:
        raise ValidationError(
            "The scheme of a redirect URI must be https; a custom one would fail at the end of the flow.", code="scheme"
        )
    if not text.startswith(f"{parts.scheme}://"):
        raise ValidationError("A redirect URI begins with https:// in lower case, and then names a host.", code="form")


def _validate_authority(parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise ValidationError("A redirect URI has no user name and no password.", code="userinfo")
    host, colon, port = parts.netloc, "", ""
    if not parts.netloc.endswith("]"):
        host, colon, port = parts.netloc.rpartition(":") if ":" in parts.netloc else (parts.netloc, "", "")
    if not host:
        raise ValidationError("A redirect URI names a host.", code="empty_host")
    if not (HOST_NAME.fullmatch(host) or IPV6_ADDRESS.fullmatch(host)):
        raise ValidationError("The host of a redirect URI must be a name or an address.", code="host")
    if colon and not (PORT.fullmatch(port) and int(port) <= 65_535):
        raise ValidationError("The port of a redirect URI must be a number from 1 to 65535.", code="port")
    if parts.scheme == "http" and host not in LOOPBACK_HOSTS:
        raise ValidationError(
            "A redirect URI must be https; plain http is for 127.0.0.1, [::1] and localhost alone.", code="insecure"
        )


def _validate_provider_segment(text: str, parts: SplitResult) -> None:
    found = text.count(PROVIDER_SEGMENT)
    if found > 1:
        raise ValidationError("A redirect URI names :provider once.", code="provider_twice")
    if found and PROVIDER_SEGMENT not in parts.path.split("/"):
        raise ValidationError("In a redirect URI, :provider must be one whole segment of the path.", code="provider")
