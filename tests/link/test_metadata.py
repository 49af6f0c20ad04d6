"""GET /.well-known/oauth-authorization-server: what stock clients configure themselves from."""

import pytest
from django.test import Client
from pytest_django import Settings


def test_it_names_our_endpoints(client: Client) -> None:
    response = client.get("/.well-known/oauth-authorization-server")

    assert response.status_code == 200
    assert response.json() == {
        "issuer": "http://127.0.0.1:8000",
        "authorization_endpoint": "http://127.0.0.1:8000/link/oauth2/start",
        "token_endpoint": "http://127.0.0.1:8000/link/oauth2/token",
        "revocation_endpoint": "http://127.0.0.1:8000/link/oauth2/revoke",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
    }


@pytest.mark.parametrize("path", ["/link/oauth2/token", "/link/oauth2/token/", "/link/oauth2/revoke", "/v1/oauth-apps"])
def test_a_program_is_never_redirected_to_https(client: Client, db: None, settings: Settings, path: str) -> None:
    """C11"""
    settings.SECURE_SSL_REDIRECT = True

    program = client.post(path, {}, content_type="application/json")
    browser = client.get("/link/oauth2/start")

    assert program.status_code in {400, 401}
    assert program["Content-Type"] == "application/json"
    assert (browser.status_code, browser["Location"]) == (301, "https://testserver/link/oauth2/start")
