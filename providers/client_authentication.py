"""How the client says who it is, at the token endpoint and wherever else it is asked (RFC 6749, 2.3; OIDC Core, 9)."""

import base64
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import quote_plus

import msgspec
from django.views.decorators.debug import sensitive_variables
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, RSAKey

from providers import quirks
from providers.client import Client
from providers.errors import ProviderError
from providers.placeholders import names_in
from providers.provider import AuthMethod, Provider

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523, 2.2
LIFETIME = 60  # seconds of a client assertion; some servers take none that lives longer
SMALLEST_RSA = 2048  # bits; RFC 7518, 3.3 and 3.5
PEM = re.compile(r"(-----BEGIN [A-Z ]+-----)(.+)(-----END [A-Z ]+-----)", re.DOTALL)
NO_BASE64 = re.compile(r"\\n|\s")
ALGORITHMS = {"RSA": ["RS256", "PS256"], "EC": ["ES256"], "oct": ["HS256"]}
Jwk = dict[str, str | list[str]]


class KeyNotAccepted(ProviderError):
    """The private key cannot sign here. `str()` says why in our words, and nothing of the key."""


@sensitive_variables()
def authenticated(
    provider: Provider, client: Client, params: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """`params` and headers with the client's authentication, as the provider takes it. Source: RFC 6749, 2.3.1.

    A client assertion is good for one request: a request that is sent again is to be authenticated again.
    """
    match method_of(provider, client):
        case "none":
            return {**params, "client_id": client.client_id}, {}
        case "private_key_jwt" | "client_secret_jwt" as method:
            assertion = client_assertion(provider, client, method)
            named = {"client_id": client.client_id, "client_assertion_type": JWT_BEARER, "client_assertion": assertion}
            return {**params, **named}, {}
        case "client_secret_basic":
            client_secret = secret_to_send(provider, client)
            return dict(params), {"Authorization": basic(provider, client.client_id, client_secret)}
        case _:
            client_secret = secret_to_send(provider, client)
            return {**params, "client_id": client.client_id, "client_secret": client_secret}, {}


@sensitive_variables()
def method_of(provider: Provider, client: Client) -> AuthMethod:
    """The OAuth app's `token_endpoint_auth_method` (RFC 7591, 2), else the provider's first that fits its secret.

    Raises ProviderError if none does.
    """
    supported = provider.token_endpoint_auth_methods_supported
    chosen = client.variables.get("token_endpoint_auth_method", "")
    for method in supported:
        if method == chosen:
            return method
    if not client.client_secret and not provider.client_secret_from:
        return "none"
    if is_private_key(client.client_secret) and not provider.client_secret_from and "private_key_jwt" in supported:
        return "private_key_jwt"
    for method in supported:
        if method not in {"none", "private_key_jwt"}:
            return method
    if "private_key_jwt" in supported:
        raise ProviderError("This provider takes a private key alone, and the OAuth app's client secret is none.")
    return "client_secret_post"


@sensitive_variables()
def secret_to_send(provider: Provider, client: Client) -> str:
    """The client secret as the provider takes it. Raises ProviderError for a private key, which stays here."""
    if provider.client_secret_from:
        secret: str = getattr(quirks, provider.client_secret_from)(client, provider)
        return secret
    if is_private_key(client.client_secret):
        raise ProviderError(
            "This OAuth app's client secret is a private key, which is sent to nobody. Enter the provider's client"
            " secret, in an OAuth app of its own if the private key is needed too."
        )
    return client.client_secret


def is_private_key(client_secret: str) -> bool:
    """Whether it is in PEM, or a private JWK (RFC 7517): it signs, and is sent to nobody."""
    return "-----BEGIN" in client_secret or "d" in _jwk(client_secret)


def basic(provider: Provider, client_id: str, client_secret: str) -> str:
    encoded = quote_plus if provider.basic_credentials_encoded else str
    return "Basic " + base64.b64encode(f"{encoded(client_id)}:{encoded(client_secret)}".encode()).decode()


# ---- client assertions (RFC 7523, 3; OIDC Core, 9) -------------------------------------------------------------------


@sensitive_variables()
def client_assertion(provider: Provider, client: Client, method: AuthMethod) -> str:
    """A JWT by which the client authenticates itself, once. Raises KeyNotAccepted: it cannot be signed.

    It has one audience, wherever it is sent, and no other server takes it: the issuer, or the token endpoint where the
    issuer is not known.
    """
    now = int(time.time())
    claims = {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": audience(provider),
        "jti": secrets.token_urlsafe(24),
        "iat": now,
        "exp": now + LIFETIME,
    }
    key: RSAKey | ECKey | OctKey
    if method == "private_key_jwt":
        key = signing_key(client.client_secret)
    elif is_private_key(client.client_secret):
        raise KeyNotAccepted("This OAuth app's client secret is a private key, and no secret that both sides know.")
    else:
        key = _imported_secret(client.client_secret)
    algorithm = algorithm_of(provider, key)
    header = {"alg": algorithm}
    if method == "private_key_jwt" and (key_id := client.variables.get("key_id") or key.kid):
        header["kid"] = key_id
    return jwt.encode(header, claims, key, algorithms=[algorithm])


def audience(provider: Provider) -> str:
    """Whom a client assertion is for. Source: OpenID Connect Core, 9; RFC 9126, 2."""
    is_known = provider.issuer and not names_in(provider.issuer)
    return provider.issuer if is_known else provider.token_endpoint


@sensitive_variables()
def accept_private_key(provider: Provider, client_secret: str) -> None:
    """Raises KeyNotAccepted for a private key by which no client of this provider can authenticate itself."""
    algorithm_of(provider, signing_key(client_secret))


@sensitive_variables()
def signing_key(client_secret: str) -> RSAKey | ECKey:
    """The private key (PEM or JWK) that stands where others have a client secret. Raises KeyNotAccepted."""
    key = _read(_jwk(client_secret) or _in_lines(client_secret))
    if key is None:
        raise KeyNotAccepted("The client secret must be a private key: RSA or EC P-256, PEM or JWK, not encrypted.")
    if not key.is_private:
        raise KeyNotAccepted("The client secret must be the private key, not its public half.")
    if isinstance(key, RSAKey) and key.raw_value.key_size < SMALLEST_RSA:
        raise KeyNotAccepted(f"An RSA key must have {SMALLEST_RSA} bits at least.")
    if isinstance(key, ECKey) and key.curve_name != "P-256":
        raise KeyNotAccepted("An EC key must be of the curve P-256.")
    return key


@sensitive_variables()
def _in_lines(pem: str) -> str:
    """A key file whose line breaks were lost on the way: a field of a form drops them, a shell writes them as `\\n`."""
    found = PEM.search(pem)
    return f"{found[1]}\n{re.sub(NO_BASE64, '', found[2])}\n{found[3]}\n" if found else pem


@sensitive_variables()
def _read(key: str | Jwk) -> RSAKey | ECKey | None:
    readers: tuple[type[RSAKey | ECKey], ...] = (RSAKey, ECKey)
    for reader in readers:
        with suppress(JoseError, ValueError, TypeError, KeyError):
            return reader.import_key(key)
    return None


@sensitive_variables()
def _imported_secret(client_secret: str) -> OctKey:
    try:
        return OctKey.import_key(client_secret)
    except (JoseError, ValueError, TypeError) as exc:
        raise KeyNotAccepted("The client secret cannot sign.") from exc


def algorithm_of(provider: Provider, key: RSAKey | ECKey | OctKey) -> str:
    """The algorithm (RFC 7518, 3) that the provider's list and the key have in common. Raises KeyNotAccepted."""
    mine = ALGORITHMS[key.key_type]
    theirs = provider.token_endpoint_auth_signing_alg_values_supported or [mine[0]]
    if common := [algorithm for algorithm in theirs if algorithm in mine]:
        return common[0]
    raise KeyNotAccepted(f"The provider takes no signatures by such a key. It takes {', '.join(theirs)}.")


def _jwk(client_secret: str) -> Jwk:
    """The members of a JWK that is a pair of keys; {} if it is none."""
    if not client_secret.lstrip("\ufeff \t\r\n").startswith("{"):
        return {}
    try:
        document = msgspec.json.decode(client_secret.lstrip("\ufeff \t\r\n"))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    return document if isinstance(document, dict) and "kty" in document else {}
