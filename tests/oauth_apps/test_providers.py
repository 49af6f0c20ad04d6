"""`/v1/providers`: the catalogue, as developers see it."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from providers import catalogue


@pytest.mark.parametrize("slug", ["nobody", "ACME", "acme%00", "..%2f..", "acme.toml", "%ff"])
def test_an_unknown_provider_is_not_there(api: Client, slug: str) -> None:
    response = api.get(f"/v1/providers/{slug}")

    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


@pytest.mark.parametrize("query", [{"limit": "0"}, {"cursor": "acme"}, {"cursor": ""}, {"slug": "acme"}])
def test_it_refuses_an_unclear_query(api: Client, query: dict[str, str]) -> None:
    """D11"""
    assert api.get("/v1/providers", query).status_code == 422


def test_it_shows_a_provider(api: Client) -> None:
    assert api.get("/v1/providers/acme").json() == {
        "slug": "acme",
        "name": "Acme",
        "docs": "https://acme.example/oauth",
        "kinds": [
            {
                "kind": "acme_oauth2",
                "schema": {
                    "type": "object",
                    "required": ["access_token", "user_id"],
                    "properties": {
                        "access_token": {"type": "string", "writeOnly": True},
                        "refresh_token": {"type": "string", "writeOnly": True},
                        "expires_at": {"type": "string"},
                        "scope": {"type": "string"},
                        "token_type": {"type": "string"},
                        "user_id": {"type": "string", "x-identity": True},
                    },
                },
            }
        ],
        "variables": {},
        "default_scopes": ["read"],
        "pkce": "supported",
        "public_clients": False,
        "refreshes": True,
        "rotates": True,
        "revokes": False,
        "setup": ["Create an app.", "Paste the callback URL."],
        "callback_url": "http://127.0.0.1:8000/link/oauth2/callback/acme",
    }


def test_it_shows_variables(api: Client) -> None:
    answer = api.get("/v1/providers/acme-shops/").json()

    assert answer["variables"]["shop"] == {
        "label": "Shop",
        "required": True,
        "example": "my-shop",
        "pattern": "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "values": [],
    }
    assert answer["variables"]["region"]["values"] == ["eu", "us"]
    assert (answer["revokes"], answer["pkce"]) == (True, "none")


def test_a_callback_on_a_customers_host_names_the_app(api: Client) -> None:
    answer = api.get("/v1/providers/acme-hosted").json()

    assert answer["callback_url"] == "http://127.0.0.1:8000/link/oauth2/callback/acme-hosted/:oauth_app_id"


def test_the_whole_catalogue_comes_in_pages(api: Client) -> None:
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}

    with CaptureQueriesContext(connection) as statements:
        while True:
            page = api.get("/v1/providers", query).json()
            seen += [row["slug"] for row in page["data"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]

    assert seen == sorted(catalogue.load())
    assert len(statements) == len(seen) // 2 + len(seen) % 2 + 1  # the token, each time, and once its use
    assert api.get("/v1/providers", {"limit": len(seen)}).json()["next_cursor"] is None
