"""GET /.well-known/oauth-authorization-server: what stock clients configure themselves from."""

from django.test import Client


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
