"""
The departures that no data can say: one small function each, named by a catalogue file.

`callback_check(client, answer)` raises CallbackNotAccepted; `client_secret_from(client, provider)` returns the secret.
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from providers.client import Client
from providers.errors import CallbackNotAccepted, ProviderError, SignatureMismatch
from providers.provider import Provider


def shopify_hmac(client: Client, answer: Mapping[str, str]) -> None:
    """The callback is signed with the client secret, and comes from the shop that was asked.

    Source: https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/authorization-code-grant
    """
    signed = sorted((name, value) for name, value in answer.items() if name != "hmac")
    expected = hmac.new(client.client_secret.encode(), urlencode(signed).encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), answer.get("hmac", "").encode()):
        raise SignatureMismatch("The callback is not signed with this OAuth app's client secret.")
    if answer.get("shop") != f"{client.variables['shop']}.myshopify.com":
        raise CallbackNotAccepted("The callback comes from another shop than the one that was asked.")


def apple_client_secret(client: Client, provider: Provider) -> str:
    """Apple's client secret is a JWT, good for five minutes, that the developer's private key (PEM) signs.

    Source: https://developer.apple.com/documentation/accountorganizationaldatasharing/creating-a-client-secret
    """
    issued = int(time.time())
    claims = {
        "iss": client.variables["team_id"],
        "iat": issued,
        "exp": issued + 300,
        "aud": provider.issuer,
        "sub": client.client_id,
    }
    header = {"alg": "ES256", "kid": client.variables["key_id"]}
    try:
        return jwt.encode(header, claims, ECKey.import_key(client.client_secret), algorithms=["ES256"])
    except (JoseError, ValueError, KeyError) as exc:
        raise ProviderError(
            "The client secret must be the private key (PEM, EC P-256) that signs Apple's client secret."
        ) from exc
