"""A private key that somebody has registered as client secret is sent to nobody."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from responses import RequestsMock

from providers import catalogue, oauth2
from providers.client import Client
from providers.errors import ProviderError
from providers.provider import Provider
from providers.tokens import TokenResponse
from tests.providers.acme import CLIENT, TOKEN, form, provider_with, sent

KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
TRADITIONAL = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
ENCRYPTED = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()
PRIVATE_KEYS = {
    "plain": PEM,
    "traditional": TRADITIONAL,
    "encrypted": ENCRYPTED,
    "indented": f"\ufeff \n{PEM}",
    "on one line": PEM.replace("\n", "\\n"),
}
ASKS_WITH_SECRET = {
    "url": "https://acme.example/me", "method": "POST", "auth": "none", "form": {"secret": "is {client_secret}"},
}  # fmt: skip

ACTIONS: dict[str, Callable[[Provider, Client], Any]] = {
    "exchange": lambda provider, client: oauth2.exchange_code(
        provider, client, "c1", redirect_uri="https://us.example"
    ),
    "probe": lambda provider, client: oauth2.probe(provider, client, redirect_uri="https://us.example"),
    "refresh": lambda provider, client: oauth2.refresh(provider, client, "r1"),
    "introspect": lambda provider, client: oauth2.introspect(provider, client, "t1"),
    "follow_up": lambda provider, client: oauth2.follow_up(provider, client, TokenResponse("t1")),
    "revoke": lambda provider, client: oauth2.revoke(provider, client, access_token="t1", properties={}),
}
AFTERWARDS = {
    "introspection_endpoint": "https://acme.example/introspect",
    "revocation_endpoint": "https://acme.example/revoke",
    "follow_up": ASKS_WITH_SECRET,
}


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("revocation_auth", ["client", "client_secret_basic"])
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("spelling", ["plain", "traditional", "encrypted", "indented", "on one line"])
def test_a_private_key_leaves_by_no_way(
    responses: RequestsMock, spelling: str, action: str, method: str, revocation_auth: str
) -> None:
    provider = provider_with(
        **AFTERWARDS, token_endpoint_auth_methods_supported=[method], revocation={"auth": revocation_auth}
    )

    with pytest.raises(ProviderError) as caught:
        ACTIONS[action](provider, Client("c1", PRIVATE_KEYS[spelling], {}))

    assert type(caught.value) is ProviderError
    assert "Enter the provider's client secret" in str(caught.value)
    assert "BEGIN" not in str(caught.value)
    assert len(responses.calls) == 0


def test_a_private_key_that_signs_the_secret_is_not_sent_itself(responses: RequestsMock) -> None:
    responses.post("https://appleid.apple.com/auth/token", json={"access_token": "t1"})
    client = Client("c1", PEM, {"team_id": "ABCDE12345", "key_id": "FGHIJ67890"})

    oauth2.refresh(catalogue.get("apple"), client, "r1")

    assert form(sent(responses))["client_secret"].count(".") == 2
    assert "BEGIN" not in str(sent(responses).body)


def test_what_sends_no_secret_minds_no_private_key(responses: RequestsMock) -> None:
    """A key of the OAuth app's own is of use for other things: whose tokens they are can be asked all the same."""
    responses.get("https://acme.example/me", json={"id": "u1"})
    responses.post("https://acme.example/revoke")
    client = Client("c1", PEM, {})
    provider = provider_with(
        follow_up="https://acme.example/me",
        revocation_endpoint="https://acme.example/revoke",
        revocation={"auth": "none"},
    )

    assert oauth2.follow_up(provider, client, TokenResponse("t1")) == {"id": "u1"}
    oauth2.revoke(provider, client, access_token="t1", properties={})

    assert form(sent(responses, 1)) == {"token": "t1"}


def test_a_plain_secret_goes_where_it_is_asked_for(responses: RequestsMock) -> None:
    responses.post(TOKEN, json={"access_token": "t1"})
    responses.post("https://acme.example/me", json={"id": "u1"})
    provider = provider_with(follow_up=ASKS_WITH_SECRET)

    oauth2.follow_up(provider, CLIENT, oauth2.refresh(provider, CLIENT, "r1"))

    assert form(sent(responses, 1)) == {"secret": "is canary s+c%"}
