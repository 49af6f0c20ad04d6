"""Where a call may go: to a public address over https on port 443, to what EGRESS_ALLOW names, or below a prefix."""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from django.conf import settings
from urllib3.util import parse_url

from sequin_auth.lib.http.errors import EgressBlocked


class Destination(NamedTuple):
    scheme: str
    host: str
    port: int
    may_be_private: bool = False

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def permitted(url: str, within: str | None) -> Destination:
    destination = destination_of(url)
    if within is not None and not lies_within(url, within):
        raise EgressBlocked("The URL lies outside of the prefix that it is confined to.")
    is_own = destination.authority == our_origin(settings.PUBLIC_URL).authority
    if is_own and within is None:
        raise EgressBlocked("The URL is on our own origin.", reason="own_origin")
    is_allowed = is_own or destination.authority in {authority.strip().lower() for authority in settings.EGRESS_ALLOW}
    if not is_allowed and (destination.scheme, destination.port) != ("https", 443):
        raise EgressBlocked("Only https on port 443 is permitted.", reason="not_https")
    return destination._replace(may_be_private=is_allowed)


def destination_of(url: str) -> Destination:
    """What the URL says in every reading: urlsplit's, and that of urllib3, which will make the connection."""
    if not re.fullmatch("[!-~]+", url):
        raise EgressBlocked("The URL holds a character that has no place in one.")
    try:
        one, other = urlsplit(url), parse_url(url)
        same = (one.scheme, one.hostname, one.port) == (other.scheme, (other.host or "").strip("[]"), other.port)
    except ValueError:
        raise EgressBlocked("The URL is malformed.") from None
    if not same or not one.hostname or one.hostname.endswith(".") or "@" in one.netloc:
        raise EgressBlocked("The URL is malformed.")
    if one.scheme not in {"http", "https"}:
        raise EgressBlocked("Only https on port 443 is permitted.")
    return Destination(one.scheme, one.hostname, one.port or (443 if one.scheme == "https" else 80))


our_origin = lru_cache(maxsize=2)(destination_of)


def lies_within(url: str, prefix: str) -> bool:
    path, start = urlsplit(url).path, urlsplit(prefix).path.rstrip("/") + "/"
    if ".." in unquote(path) or "\\" in unquote(path):
        return False
    return destination_of(url) == destination_of(prefix) and path.startswith(start)
