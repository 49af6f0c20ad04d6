"""Which URLs may be called. What is known of an address before it is called is judged here; the rest at each call."""

import ipaddress
import re

from django.core.exceptions import ValidationError

from oauth_apps.redirect_uris import HOST_NAME, LOOPBACK_HOSTS, URI_CHARACTERS
from sequin_auth.lib import http
from sequin_auth.lib.addresses import is_public

MAX_LENGTH = 2048
NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.IGNORECASE | re.ASCII)


def validate_url(text: str) -> None:
    """Raises ValidationError, one sentence for the first rule that `text` breaks."""
    if len(text) > MAX_LENGTH:
        raise ValidationError(f"A webhook URL has at most {MAX_LENGTH} characters.", code="too_long")
    if not URI_CHARACTERS.fullmatch(text):
        raise ValidationError(
            "A webhook URL has no spaces, no control characters, and only the characters of RFC 3986: write others"
            " percent-encoded, and hosts in Punycode.",
            code="character",
        )
    if "#" in text:
        raise ValidationError("A webhook URL has no fragment.", code="fragment")
    if not text.startswith(("https://", "http://")):
        raise ValidationError("A webhook URL is absolute: it begins with https:// in lower case.", code="scheme")
    if "@" in text.split("/")[2].partition("?")[0]:
        raise ValidationError("A webhook URL has no user name and no password.", code="userinfo")
    _validate_destination(text)


def _validate_destination(text: str) -> None:
    try:
        destination = http.permitted(text, None)
    except http.EgressBlocked as exc:
        raise ValidationError(f"A webhook URL must be one that may be called. {exc}", code="destination") from None
    host = destination.host
    if ":" not in host and not HOST_NAME.fullmatch(host):  # a colon: an IPv6 address
        raise ValidationError("The host of a webhook URL must be a name or an address.", code="host")
    is_loopback = host in {name.strip("[]") for name in LOOPBACK_HOSTS}
    if destination.scheme == "http" and not is_loopback:
        raise ValidationError(
            "A webhook URL must be https; plain http is for loopback alone, where EGRESS_ALLOW names it.",
            code="insecure",
        )
    if destination.may_be_private:
        return
    if host == "localhost" or host.endswith(".localhost") or not _may_be_public(host):
        raise ValidationError("The host of a webhook URL must have a public address.", code="private")


def _may_be_public(host: str) -> bool:
    """False for an address that is not public, and for a number that is no address in its one proper spelling."""
    try:
        return is_public(str(ipaddress.ip_address(host)))
    except ValueError:
        return not NUMBER.fullmatch(host.rpartition(".")[2])
