"""Clients that say who they are by a JWT: what a simulated provider takes of it. Sources: RFC 7523, 3; OIDC Core, 9."""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from django.conf import settings
from django.core.cache import cache
from django.views.decorators.debug import sensitive_variables
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, RSAKey

from providers.sandbox.models import Registration
from providers.sandbox.script import PLACEHOLDER, AuthMethod, Script, Simulated

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DRIFT = 15  # seconds that two clocks may differ
ALGORITHMS: dict[AuthMethod, list[str]] = {
    "private_key_jwt": ["RS256", "PS256", "ES256"],
    "client_secret_jwt": ["HS256"],
}


def methods_of(known: Iterable[Registration], script: Script, methods: Sequence[AuthMethod]) -> Sequence[AuthMethod]:
    """How the client has to say who it is: as it is set there, by `token_endpoint_auth_method` (RFC 7591, 2).

    A client that is set to nothing and has registered a key uses that. `methods`: what other clients use.
    """
    for registration in known:
        chosen = registration.variables.get("token_endpoint_auth_method")
        if chosen is None and _is_key_pair(registration.client_secret or ""):
            chosen = "private_key_jwt"
        offered = [*script.client_authentication, *script.client_authentication_settings]
        if of_client := [method for method in offered if method == chosen]:
            return of_client
    return methods


@sensitive_variables()
def credentials(params: Mapping[str, str]) -> tuple[AuthMethod, str, str]:
    """The method, the client that the assertion names, and the assertion."""
    assertion = params["client_assertion"]
    header, claims = _unverified(assertion)
    is_by_secret = header.get("alg") in ALGORITHMS["client_secret_jwt"]
    method: AuthMethod = "client_secret_jwt" if is_by_secret else "private_key_jwt"
    named = claims.get("sub")
    return method, named if isinstance(named, str) and "\x00" not in named else "", assertion


@sensitive_variables()
def _unverified(assertion: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The header and the claims, whoever has signed them; empty if it is no JWT."""
    try:
        token = jws.extract_compact(assertion.encode())
        claims = msgspec.json.decode(token.payload, type=dict[str, Any])
    except (JoseError, msgspec.DecodeError, ValueError, RecursionError):
        return {}, {}
    return token.headers(), claims


def _is_key_pair(registered: str) -> bool:
    """Whether the client has registered a key, in PEM or as a JWK, and no secret."""
    return registered.lstrip().startswith(("-----BEGIN", "{"))


@sensitive_variables()
def is_authentic(
    registration: Registration, method: AuthMethod, params: Mapping[str, str], player: Simulated, path: str
) -> bool:
    """Whether the client has signed the assertion, for this provider, just now. `path`: where the request came."""
    script, now = player.script, time.time()
    key = _key_of(registration, method)
    try:
        token = jwt.decode(params["client_assertion"], key, algorithms=ALGORITHMS[method]) if key else None
    except (JoseError, ValueError, TypeError, KeyError):
        return False
    if token is None or params.get("client_assertion_type") != JWT_BEARER:
        return False
    claims = token.claims
    client_id, audience, expires = registration.client_id, claims.get("aud"), claims.get("exp")
    ends_in_time = isinstance(expires, int) and now - DRIFT < expires <= now + script.client_assertion_lifetime + DRIFT
    return (
        token.header["alg"] in script.client_assertion_algorithms
        and claims.get("iss") == claims.get("sub") == client_id == params.get("client_id", client_id)
        and isinstance(audience, str)
        and audience in audiences(player, path)
        and ends_in_time
        and bool(claims.get("jti"))
        and _is_first(player, client_id, str(claims["jti"]))
    )


def _is_first(player: Simulated, client_id: str, jti: str) -> bool:
    """Whether no assertion of the client has had this `jti`, as far as this process knows. Source: RFC 7523, 3."""
    said = json.dumps([player.slug, client_id, jti])
    lives = player.script.client_assertion_lifetime + 2 * DRIFT
    return cache.add(f"sandbox.assertion.{hashlib.sha256(said.encode()).hexdigest()}", True, lives)


@sensitive_variables()
def _key_of(registration: Registration, method: AuthMethod) -> RSAKey | ECKey | OctKey | None:
    """What is registered: the secret, or the public half of the key pair."""
    registered = registration.client_secret or ""
    if method == "client_secret_jwt":
        return None if _is_key_pair(registered) else OctKey.import_key(registered)
    document: Any = registered
    if registered.lstrip().startswith("{"):
        document = msgspec.json.decode(registered, type=dict[str, Any])
    readers: tuple[type[RSAKey | ECKey], ...] = (RSAKey, ECKey)
    for reader in readers:
        try:
            return reader.import_key(reader.import_key(document).as_dict(private=False))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return None


def audiences(player: Simulated, path: str) -> set[str]:
    """Whom an assertion may be for: as the documentation says, or as that address is here."""
    prefix = f"/sandbox/{player.slug}/"
    parts = next((parts for _, parts in player.at(path.removeprefix(prefix))), {})
    return {spelled for url in _documented(player.script) for spelled in _spelled(url, parts, prefix)}


def _documented(script: Script) -> list[str]:
    endpoint = script.token_endpoint
    return script.client_assertion_audiences or ([endpoint] if isinstance(endpoint, str) else endpoint)


def _spelled(url: str, parts: Mapping[str, str], prefix: str) -> Iterator[str]:
    filled = PLACEHOLDER.sub(lambda match: parts.get(match[1], ""), url)
    yield filled
    yield f"{settings.PUBLIC_URL}{prefix}{filled.removeprefix('https://')}"
