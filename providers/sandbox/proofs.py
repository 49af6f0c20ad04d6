"""Tokens that are bound to a key: the proofs that a simulated provider wants to see. Source: RFC 9449.

A grant is bound to the key whose holder exchanges its code: the key's thumbprint becomes one of the grant's `parts`,
and the one of a request's proof one of the request's, so that what belongs to another key is as foreign as what belongs
to another customer.
"""

import base64
import hashlib
import time
from typing import Any

from django.conf import settings
from django.core import signing
from django.core.cache import cache
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from providers.sandbox.models import Grant, Registration
from providers.sandbox.reading import Refuse
from providers.sandbox.script import Proofs, Refusal, Simulated

JKT = "dpop_jkt"
RECENT = 60  # seconds
NONCE_LIFETIME = 300  # seconds


class WrongProof(Refuse):
    """`nonce`: the one that the next proof has to hold."""

    def __init__(self, why: str, *, error: str = "invalid_dpop_proof", status: int = 400, nonce: str = "") -> None:
        super().__init__("bad_request", why, refusal=Refusal(error, why, status))
        if nonce:
            self.headers["DPoP-Nonce"] = nonce
        if status == 401:
            self.headers["WWW-Authenticate"] = f'DPoP error="{error}", algs="ES256"'


def of_token_request(
    request: HttpRequest, player: Simulated, registration: Registration, parts: dict[str, str]
) -> dict[str, str]:
    """`parts`, with the key that the token request proves; empty if it proves none. Raises Refuse.

    A client that is set to `dpop_bound_access_tokens` (RFC 9449, 5.2) has to prove one.
    """
    wanted = player.script.dpop
    if wanted is None:
        return parts
    if "DPoP" not in request.headers:
        if registration.variables.get("dpop_bound_access_tokens") == "true":
            raise WrongProof("The DPoP proof is missing.")
        return {**parts, JKT: ""}
    return {**parts, JKT: _proven(request, wanted)}


@sensitive_variables()
def of_call(request: HttpRequest, player: Simulated, where: str, parts: dict[str, str]) -> tuple[dict[str, str], str]:
    """`parts`, with the key that an API call proves; and the token, if it comes with a proof. Raises Refuse.

    `where`: the place of the token, as a Call says it.
    """
    wanted = player.script.dpop
    if wanted is None or where != "bearer":
        return parts, ""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "dpop":
        return {**parts, JKT: ""}, ""
    if "DPoP" not in request.headers:
        raise WrongProof("The DPoP proof is missing.", status=401)
    return {**parts, JKT: _proven(request, wanted, access_token=token)}, token


def bind(grant: Grant, parts: dict[str, str]) -> None:
    """From now on, the grant's tokens are of use to the holder of this key alone."""
    if parts.get(JKT):
        grant.parts = {**grant.parts, JKT: parts[JKT]}
        grant.save(update_fields=["parts"])


def token_type(grant: Grant) -> str:
    return "DPoP" if grant.parts.get(JKT) else "Bearer"


@sensitive_variables()
def _proven(request: HttpRequest, wanted: Proofs, *, access_token: str = "") -> str:
    """The thumbprint of the key that signed the proof. Source: RFC 9449, 4.3. Raises WrongProof."""
    status = 401 if access_token else 400
    try:
        jwk, claims = _read(request.headers["DPoP"])
    except (JoseError, ValueError, TypeError, KeyError) as exc:
        raise WrongProof("The DPoP proof is no signed JWT that holds its public key.", status=status) from exc
    expected = {"htm": request.method, "htu": f"{settings.PUBLIC_URL}{request.path}"}
    if access_token:
        hashed = hashlib.sha256(access_token.encode()).digest()
        expected["ath"] = base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
    if wrong := [name for name, value in expected.items() if claims.get(name) != value]:
        raise WrongProof(f"The DPoP proof is for another request: see {wrong[0]}.", status=status)
    issued = claims.get("iat")
    if not isinstance(issued, int) or abs(time.time() - issued) > RECENT or not claims.get("jti"):
        raise WrongProof("The DPoP proof is too old, or has no jti.", status=status)
    if wanted.nonce and not _is_ours(claims.get("nonce")):
        nonce = signing.dumps("dpop", salt="sandbox.dpop")
        raise WrongProof("The DPoP proof needs a nonce.", error="use_dpop_nonce", status=status, nonce=nonce)
    thumbprint = ECKey.import_key(jwk).thumbprint()
    if not _is_first(thumbprint, str(claims["jti"])):
        raise WrongProof("The DPoP proof was used before.", status=status)
    return thumbprint


def _is_first(thumbprint: str, jti: str) -> bool:
    """Whether no proof by this key has had this `jti`, as far as this process knows. Source: RFC 9449, 11.1."""
    hashed = hashlib.sha256(f"{thumbprint} {jti}".encode()).hexdigest()
    return cache.add(f"sandbox.proof.{hashed}", True, 2 * RECENT)


def _read(proof: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The public key and the claims. Raises JoseError, ValueError, TypeError, KeyError."""
    header = jws.extract_compact(proof.encode()).headers()
    jwk = header["jwk"]
    key = ECKey.import_key(jwk)
    if header.get("typ") != "dpop+jwt" or key.is_private or key.curve_name != "P-256":
        raise ValueError
    return jwk, jwt.decode(proof, key, algorithms=["ES256"]).claims


def _is_ours(nonce: Any) -> bool:
    try:
        return bool(signing.loads(str(nonce), salt="sandbox.dpop", max_age=NONCE_LIFETIME) == "dpop")
    except signing.BadSignature:
        return False
