"""How the client says who it is, at the token endpoint and wherever else it is asked (RFC 6749, 2.3)."""

import base64
from collections.abc import Mapping
from urllib.parse import quote_plus

from django.views.decorators.debug import sensitive_variables

from providers import quirks
from providers.client import Client
from providers.errors import ProviderError
from providers.provider import Provider


@sensitive_variables()
def authenticated(
    provider: Provider, client: Client, params: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """`params` and headers with the client's authentication, as the provider takes it. Source: RFC 6749, 2.3.1."""
    client_secret = secret_to_send(provider, client)
    if not client_secret:
        return {**params, "client_id": client.client_id}, {}
    methods = [method for method in provider.token_endpoint_auth_methods_supported if method != "none"]
    if methods[:1] == ["client_secret_basic"]:
        return dict(params), {"Authorization": basic(provider, client.client_id, client_secret)}
    return {**params, "client_id": client.client_id, "client_secret": client_secret}, {}


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
    """Whether it is in PEM: it signs, and is sent to nobody."""
    return "-----BEGIN" in client_secret


def basic(provider: Provider, client_id: str, client_secret: str) -> str:
    encoded = quote_plus if provider.basic_credentials_encoded else str
    return "Basic " + base64.b64encode(f"{encoded(client_id)}:{encoded(client_secret)}".encode()).decode()
