"""Signed calls to a provider's API (OAuth 1.0a): there is no token that could be handed over. Source: RFC 5849, 3."""

from collections.abc import Mapping
from typing import Literal

from django.views.decorators.debug import sensitive_variables
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA256, Client

FORM = "application/x-www-form-urlencoded"


@sensitive_variables()
def authorization(
    method: Literal["GET", "POST"],
    url: str,
    *,
    keys: Mapping[str, str],
    realm: str = "",
    form: Mapping[str, str] | None = None,
) -> str:
    """The `Authorization` header of one call, with a nonce and a time of its own; signed with HMAC-SHA256.

    `keys`: `consumer_key`, `consumer_secret`, `token_id` and `token_secret`.
    """
    client = Client(
        keys["consumer_key"],
        client_secret=keys["consumer_secret"],
        resource_owner_key=keys["token_id"],
        resource_owner_secret=keys["token_secret"],
        signature_method=SIGNATURE_HMAC_SHA256,
        realm=realm or None,
    )
    headers = {"Content-Type": FORM} if form else {}
    _, signed, _ = client.sign(url, http_method=method, body=dict(form) if form else None, headers=headers)
    return str(signed["Authorization"])
