"""The id_token, where a provider tells nothing else about its user (OpenID Connect Core, 3.1.3.7)."""

import hmac
import time
from typing import Any

from django.views.decorators.debug import sensitive_variables
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from providers.answers import read_document
from providers.client import Client
from providers.errors import AnswerNotUnderstood
from providers.provider import PLACEHOLDER, Provider
from providers.tokens import TokenResponse
from providers.wire import send

ALGORITHMS = ["RS256", "ES256", "PS256"]
LEEWAY = 120  # seconds that two clocks may differ


@sensitive_variables()
def claims_of(provider: Provider, client: Client, tokens: TokenResponse, *, nonce: str) -> dict[str, Any]:
    """The claims of the answer's id_token, after its signature, issuer, audience, expiry and nonce were checked.

    Raises AnswerNotUnderstood.
    """
    id_token = tokens.answer.get("id_token")
    if not isinstance(id_token, str):
        raise AnswerNotUnderstood("The provider sent no id_token.")
    document = read_document(send(client, "GET", provider.jwks_uri, headers={"Accept": "application/json"}))
    try:
        claims = jwt.decode(id_token, KeySet.import_key_set(document), algorithms=ALGORITHMS).claims
    except (JoseError, ValueError, KeyError, TypeError) as exc:
        raise AnswerNotUnderstood("The signature of the provider's id_token does not verify.") from exc
    if problem := _problem(provider, client, claims, nonce):
        raise AnswerNotUnderstood(f"The provider's id_token is not for us: {problem}.")
    return claims


def _problem(provider: Provider, client: Client, claims: dict[str, Any], nonce: str) -> str:
    """Which of its claims is wrong; nothing if all are right."""
    issuer = PLACEHOLDER.sub(lambda match: str(claims.get(match[1], "")), provider.issuer)
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    expiry = claims.get("exp")
    if claims.get("iss") != issuer:
        return "iss"
    if client.client_id not in audiences or (len(audiences) > 1 and claims.get("azp") != client.client_id):
        return "aud"
    if not isinstance(expiry, int | float) or expiry < time.time() - LEEWAY:
        return "exp"
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        return "nonce"
    return ""
