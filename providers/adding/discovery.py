"""What an authorization server publishes about itself. Source: RFC 8414; OpenID Connect Discovery 1.0, 4."""

import json
from typing import Any
from urllib.parse import urlsplit

from sequin_auth.lib import http

WELL_KNOWN = "/.well-known/"
OPENID = f"{WELL_KNOWN}openid-configuration"
OAUTH = f"{WELL_KNOWN}oauth-authorization-server"


class NotDiscovered(Exception):
    """There is no document to be had, or it is not one. The message repeats nothing of it."""


def discover(issuer_or_url: str) -> dict[str, Any]:
    """The metadata of an issuer, or at the URL of a document. Asks through the egress guard. Raises NotDiscovered."""
    if WELL_KNOWN in issuer_or_url:
        return _of(_issuer_of(issuer_or_url), issuer_or_url, _document(issuer_or_url))
    try:
        addresses = _addresses(issuer_or_url)
    except ValueError as exc:
        raise NotDiscovered("Is no URL.") from exc
    reasons = []
    for url in addresses:
        try:
            found = _document(url)
        except NotDiscovered as exc:
            reasons.append(f"{url}: {exc}")
            continue
        return _of(issuer_or_url, url, found)
    raise NotDiscovered("\n".join(reasons))


def _of(issuer: str, url: str, found: dict[str, Any]) -> dict[str, Any]:
    """`found`, if it is this issuer's. Raises NotDiscovered."""
    if str(found.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
        raise NotDiscovered(f"{url} speaks of another issuer (RFC 8414, 3.3).")
    return found


def _issuer_of(url: str) -> str:
    """Whose document is at `url`, by either way of making it."""
    origin, _, rest = url.partition("?")[0].partition(WELL_KNOWN)
    _, slash, path = rest.partition("/")
    return f"{origin}{slash}{path}"


def _addresses(issuer: str) -> list[str]:
    """OpenID Connect appends to the path, RFC 8414 puts in front of it."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}"
    return [f"{origin}{path}{OPENID}", f"{origin}{OAUTH}{path}"]


def _document(url: str) -> dict[str, Any]:
    try:
        answer = http.request("GET", url, headers={"Accept": "application/json"})
    except http.EgressError as exc:
        raise NotDiscovered(str(exc)) from exc
    if answer.status != 200:
        raise NotDiscovered(f"Answered with status {answer.status}.")
    try:
        document = json.loads(answer.content)
    except (ValueError, RecursionError) as exc:
        raise NotDiscovered("Is no JSON document.") from exc
    if not isinstance(document, dict) or not isinstance(document.get("token_endpoint"), str):
        raise NotDiscovered("Is no metadata of an authorization server.")
    return document
