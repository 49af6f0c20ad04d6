"""A host that is not the provider's own is the developer's word, and nobody is asked for what he may not say."""

from typing import Any

import pytest
from django.test import Client
from responses import RequestsMock

from oauth_apps.models import Account, OAuthApp, RedirectURI
from providers import catalogue, kinds
from providers.showing import facts
from tests.oauth_apps.conftest import client_of

REDIRECT_URI = "https://app.example.com/callback"


@pytest.fixture
def keycloak_app(account: Account) -> OAuthApp:
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    return OAuthApp.objects.create(
        account=account,
        provider="keycloak",
        name="Keycloak",
        client_id="c1",
        client_secret="canary-client-secret",
        own_callback=True,
    )


def test_the_end_user_is_not_asked_for_a_host_that_would_be_refused(
    client: Client, keycloak_app: OAuthApp, responses: RequestsMock
) -> None:
    link = {"client_id": str(keycloak_app.pk), "redirect_uri": REDIRECT_URI, "realm": "main"}

    missing = client.get("/link/oauth2/start", link)
    said = client.get("/link/oauth2/start", {**link, "domain": "sso.evil.example"})

    assert missing["Location"].startswith(f"{REDIRECT_URI}?error=server_error")
    assert said["Location"].startswith(f"{REDIRECT_URI}?error=invalid_request")
    assert len(responses.calls) == 0


def test_what_an_oauth_app_needs_says_so() -> None:
    needs = facts.needs_of(kinds.get("keycloak_oauth2"))

    assert {entry.name: entry.required for entry in needs.oauth_app}["domain"]
    assert "domain" not in {entry.name for entry in needs.end_user}


@pytest.mark.parametrize(
    "zoho_domain", ["evil.example", "evil.com/x#", "a@evil.com", "zoho.com.evil.example", "zoho.com:99"]
)
def test_a_property_that_stands_in_an_address_is_one_of_the_providers_own(account: Account, zoho_domain: str) -> None:
    """F01"""
    app = OAuthApp.objects.create(
        account=account, provider="zoho-desk", name="Desk", client_id="1000.A", client_secret="canary-client-secret"
    )
    properties = {
        "kind": "zoho_desk_oauth2",
        "refresh_token": "canary",
        "zuid": "7",
        "api_domain": "https://www.zohoapis.eu",
    }

    answer = client_of(account).post(
        "/v1/credentials",
        {"oauth_app_id": str(app.pk), "properties": {**properties, "zoho_domain": zoho_domain}},
        content_type="application/json",
    )

    assert answer.status_code == 422, answer.content
    assert list(answer.json()["validation_errors"]) == ["properties.zoho_domain"]


@pytest.mark.parametrize(
    ("method", "client_secret"),
    [
        ("private_key_jwt", "a plain secret"),
        ("client_secret_jwt", "-----BEGIN PRIVATE KEY-----"),
        ("client_secret_basic", "-----BEGIN PRIVATE KEY-----"),
    ],
)
def test_a_secret_by_which_the_client_cannot_authenticate_is_refused_at_once(
    account: Account, method: str, client_secret: str
) -> None:
    variables = {"domain": "sso.example.com", "realm": "main", "token_endpoint_auth_method": method}
    body: dict[str, Any] = {"provider": "keycloak", "name": "K", "client_id": "c1", "variables": variables}

    answer = client_of(account).post(
        "/v1/oauth-apps", body | {"client_secret": client_secret}, content_type="application/json"
    )

    assert answer.status_code == 422, answer.content
    assert list(answer.json()["validation_errors"]) == ["client_secret"]
    assert client_secret not in answer.content.decode()


def test_every_property_in_a_host_is_held_to_something() -> None:
    for provider in catalogue.load().values():
        for name, prop in provider.credential.items():
            if provider.api and f".{{{name}}}" in provider.api.base_url.partition("://")[2].partition("/")[0]:
                assert prop.values or name in provider.variables, (provider.slug, name)
