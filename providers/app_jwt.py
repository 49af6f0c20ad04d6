"""The JWT by which an app says who it is: its private key signs it, and never leaves. Source: RFC 7519.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
"""

import time

from django.views.decorators.debug import sensitive_variables
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from providers.client import Client
from providers.errors import TokenRequestRejected

DRIFT = 60  # seconds that the provider's clock may be behind ours
LIFETIME = 540  # seconds; more than ten minutes ahead is refused, and their clock may be behind


@sensitive_variables()
def app_jwt(client: Client) -> str:
    """Signed with RS256 by the private key (PEM) that stands where others have a client secret.

    Raises TokenRequestRejected, without asking the provider: it could not be signed.
    """
    now = int(time.time())
    claims = {"iss": client.client_id, "iat": now - DRIFT, "exp": now + LIFETIME}
    try:
        key = RSAKey.import_key(client.client_secret)
        return jwt.encode({"alg": "RS256"}, claims, key, algorithms=["RS256"])
    except (JoseError, ValueError, TypeError) as exc:
        raise TokenRequestRejected(
            "The OAuth app's client secret must be the app's private key (PEM, RSA), which signs its requests.",
            reason="invalid_client",
        ) from exc
