"""Tokens that are of use to the holder of a key alone, and the proofs that are signed with it. Source: RFC 9449.

A grant has a key of its own, made when its code is exchanged, and kept with it as the property `dpop_key`.
"""

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
from django.views.decorators.debug import sensitive_variables
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from providers.answers import read_document
from providers.client import Client
from providers.errors import AccessTokenMissing, AnswerNotUnderstood, ParameterMissing
from providers.provider import Provider
from providers.tokens import TokenResponse
from sequin_auth.lib import http

PROPERTY = "dpop_key"
SCHEME = "DPoP"
NONCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}", re.ASCII)  # RFC 9449, 8.1: NQCHAR

Headers = dict[str, str]
Attempt = Callable[[Headers, float], http.Response]


def is_wanted(provider: Provider, client: Client) -> bool:
    """Whether the OAuth app's tokens are bound to a key: `dpop_bound_access_tokens` (RFC 9449, 5.2)."""
    is_said = client.variables.get("dpop_bound_access_tokens") == "true"
    return is_said and bool(provider.dpop_signing_alg_values_supported)


# ---- the key ---------------------------------------------------------------------------------------------------------


@sensitive_variables()
def new_key() -> str:
    """A private JWK (ES256), as JSON."""
    return _written(ECKey.generate_key("P-256"))


@sensitive_variables()
def canonical(key: str) -> str | None:
    """The private JWK `key` in the one spelling in which it is kept; None if it is none of EC P-256."""
    try:
        found = ECKey.import_key(msgspec.json.decode(key, type=dict[str, Any]))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, JoseError, ValueError, TypeError, KeyError):
        return None
    return _written(found) if found.is_private and found.curve_name == "P-256" else None


@sensitive_variables()
def _written(key: ECKey) -> str:
    document = key.as_dict(private=True)
    return msgspec.json.encode({name: document[name] for name in ("kty", "crv", "x", "y", "d")}).decode()


@sensitive_variables()
def key_for_exchange(provider: Provider, client: Client) -> str:
    """A new one; empty if the grant is to have none."""
    return new_key() if is_wanted(provider, client) else ""


@sensitive_variables()
def key_of(provider: Provider, client: Client, properties: Mapping[str, Any]) -> str:
    """That of a grant, empty if it has none. Raises ParameterMissing: one is needed, and what is there is none."""
    key = str(properties.get(PROPERTY) or "")
    if not key and is_wanted(provider, client):
        raise ParameterMissing(PROPERTY)
    if key and canonical(key) is None:
        raise ParameterMissing(PROPERTY)
    return key


def kept(tokens: TokenResponse) -> dict[str, str]:
    """The property that is kept beside the tokens."""
    return {PROPERTY: tokens.dpop_key} if tokens.dpop_key else {}


# ---- the proof -------------------------------------------------------------------------------------------------------


@sensitive_variables()
def proof(key: str, method: str, url: str, *, access_token: str = "", nonce: str = "") -> str:
    """A proof for one request to `url`, which carries `access_token`, if any. Source: RFC 9449, 4.2."""
    signs = ECKey.import_key(msgspec.json.decode(key, type=dict[str, Any]))
    public = signs.as_dict(private=False)
    jwk = {name: public[name] for name in ("kty", "crv", "x", "y")}
    claims = {"jti": secrets.token_urlsafe(24), "htm": method, "htu": htu(url), "iat": int(time.time())}
    if access_token:
        claims["ath"] = ath(access_token)
    if nonce:
        claims["nonce"] = nonce
    return jwt.encode({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}, claims, signs, algorithms=["ES256"])


def htu(url: str) -> str:
    """`url` without query and fragment."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def ath(access_token: str) -> str:
    """The hash by which a proof names an access token."""
    return base64.urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()).rstrip(b"=").decode()


@sensitive_variables()
def proven(
    attempt: Attempt, *, key: str, method: str, url: str, access_token: str = "", deadline: float
) -> http.Response:
    """The answer to `attempt(headers, seconds)`, with a proof among the headers; empty ones without a key.

    It is called once more, with the nonce that the server wants, in what is left of the `deadline` (seconds): a whole
    new request, since what else is good for one use has to be made anew. Source: RFC 9449, 8 and 9.
    """
    if not key:
        return attempt({}, deadline)
    ends_at = time.monotonic() + deadline
    answer = attempt({"DPoP": proof(key, method, url, access_token=access_token)}, deadline)
    if nonce := _wanted_nonce(answer):
        left = max(0.0, ends_at - time.monotonic())
        return attempt({"DPoP": proof(key, method, url, access_token=access_token, nonce=nonce)}, left)
    return answer


@sensitive_variables()
def authorization(header: Headers, key: str, access_token: str) -> Headers:
    """The header that carries an access token which is bound to `key`; `header`, if it is bound to none."""
    return {"Authorization": f"{SCHEME} {access_token}"} if key else header


def _wanted_nonce(answer: http.Response) -> str:
    nonce = answer.headers.get("dpop-nonce", "")
    if not NONCE.fullmatch(nonce) or answer.status not in {400, 401}:
        return ""
    if answer.status == 401 and "use_dpop_nonce" in answer.headers.get("www-authenticate", ""):
        return nonce
    try:
        document = read_document(answer)
    except AnswerNotUnderstood:
        return ""
    return nonce if isinstance(document, dict) and document.get("error") == "use_dpop_nonce" else ""


@sensitive_variables()
def bound(tokens: TokenResponse, key: str) -> TokenResponse:
    """`tokens` with the key that they are bound to. Source: RFC 9449, 5.

    Raises AnswerNotUnderstood if they are not: whoever steals them could use them. AccessTokenMissing if a refresh
    token has come with them, since the one before it may be dead.
    """
    if not key:
        return tokens
    if tokens.token_type.lower() == SCHEME.lower():
        return msgspec.structs.replace(tokens, dpop_key=key)
    said = "The provider's token is not bound to the key that was shown to it."
    if tokens.refresh_token:
        raise AccessTokenMissing(said, refresh_token=tokens.refresh_token)
    raise AnswerNotUnderstood(said)
