"""`/v1/providers`: the catalogue, as developers see it."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from oauth_apps.api.providers import representations
from oauth_apps.models import OAuthApp
from providers import catalogue

ANY_TEXT = "[A-Za-z0-9._~-]{1,253}"


def entry(name: str, label: str, **rest: Any) -> dict[str, Any]:
    plain = {"required": True, "secret": False, "example": "", "pattern": "", "values": []}
    return {"name": name, "label": label, **plain, **rest}


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
        "aliases": ["acme-inc", "roadrunner"],
        "category": "commerce",
        "logo": "http://127.0.0.1:8000/providers/acme/logo.svg",
        "docs": "https://acme.example/oauth",
        "checked": "2026-11-22",
        "extends": None,
        "kinds": [
            {
                "kind": "acme_oauth2",
                "label": "OAuth 2.0",
                "auth": "oauth2",
                "needs_oauth_app": True,
                "needs": {
                    "oauth_app": [
                        entry("client_id", "Client ID"),
                        entry("client_secret", "Client secret", secret=True),
                        entry("deployment", "Deployment", required=False, pattern=ANY_TEXT, values=["test"]),
                    ],
                    "end_user": [],
                    "credential": [],
                },
                "schema": {
                    "type": "object",
                    "required": ["user_id"],
                    "allOf": [{"anyOf": [{"required": ["access_token"]}, {"required": ["refresh_token"]}]}],
                    "properties": {
                        "access_token": {"type": "string", "writeOnly": True},
                        "refresh_token": {"type": "string", "writeOnly": True},
                        "expires_at": {"type": "string"},
                        "refresh_token_expires_at": {"type": "string"},
                        "scope": {"type": "string"},
                        "token_type": {"type": "string"},
                        "user_id": {"type": "string", "x-identity": True},
                    },
                },
            }
        ],
        "variables": {
            "deployment": {
                "label": "Deployment",
                "kind": "choice",
                "required": False,
                "default": "",
                "example": "",
                "pattern": ANY_TEXT,
                "values": ["test"],
                "from": ["app"],
            }
        },
        "deployments": ["test"],
        "takes_oauth_apps": True,
        "scopes": {"read": "Read what is there.", "write": "Change it."},
        "default_scopes": ["read"],
        "required_scopes": [],
        "pkce": "supported",
        "public_clients": False,
        "refreshes": True,
        "rotates": True,
        "revokes": False,
        "many_accounts": False,
        "setup": ["Create an app.", "Paste the callback URL (http://127.0.0.1:8000/link/oauth2/callback/acme)."],
        "callback_url": "http://127.0.0.1:8000/link/oauth2/callback/acme",
    }


def test_it_shows_a_provider_that_has_no_code_flow(api: Client) -> None:
    assert api.get("/v1/providers/acme-vault").json() == {
        "slug": "acme-vault",
        "name": "Acme Vault, which has keys alone",
        "aliases": [],
        "category": "other",
        "logo": "http://127.0.0.1:8000/providers/acme-vault/logo.svg",
        "docs": "https://acme.example/vault",
        "checked": "2026-11-22",
        "extends": None,
        "kinds": [
            {
                "kind": "acme_vault_key",
                "label": "API key",
                "auth": "key",
                "needs_oauth_app": False,
                "needs": {
                    "oauth_app": [],
                    "end_user": [],
                    "credential": [
                        entry("secret", "Secret", secret=True),
                        entry("tags", "Tags", required=False),
                    ],
                },
                "schema": {
                    "type": "object",
                    "required": ["secret"],
                    "properties": {
                        "secret": {"type": "string", "writeOnly": True, "x-identity": True},
                        "tags": {"type": "array", "items": {"type": "string"}},
                    },
                },
            }
        ],
        "variables": {},
        "deployments": [],
        "takes_oauth_apps": False,
        "scopes": {},
        "default_scopes": [],
        "required_scopes": [],
        "pkce": "none",
        "public_clients": False,
        "refreshes": False,
        "rotates": False,
        "revokes": False,
        "many_accounts": False,
        "setup": [],
        "callback_url": None,
    }


def test_an_alias_leads_to_the_provider(api: Client) -> None:
    assert api.get("/v1/providers/roadrunner").json()["slug"] == "acme"
    assert [row["slug"] for row in api.get("/v1/providers").json()["data"]].count("acme") == 1


def test_an_oauth_app_of_an_alias_is_the_providers(api: Client) -> None:
    made = registered(api, provider="roadrunner").json()
    changed = api.patch(f"/v1/oauth-apps/{made['id']}", {"provider": "acme-inc"}, content_type="application/json")

    assert made["provider"] == "acme"
    assert made["callback_url"].endswith("/callback/acme")
    assert OAuthApp.objects.get().provider == "acme"
    assert changed.status_code == 200


def test_the_list_is_made_once(api: Client) -> None:
    first = api.get("/v1/providers").json()
    made = representations.cache_info().misses
    second = api.get("/v1/providers").json()

    assert first == second
    assert representations.cache_info().misses == made


def test_it_shows_what_may_stand_in_for_an_identity(api: Client) -> None:
    kinds = api.get("/v1/providers/acme-robots").json()["kinds"]

    assert [(kind["kind"], kind["auth"], kind["needs_oauth_app"]) for kind in kinds] == [
        ("acme_robots_oauth2", "oauth2", True),
        ("acme_robots_app", "app_jwt", True),
    ]
    assert kinds[0]["schema"]["required"] == []
    assert kinds[0]["schema"]["allOf"] == [
        {"anyOf": [{"required": ["team_id"]}, {"required": ["host"]}]},
        {"anyOf": [{"required": ["access_token"]}, {"required": ["refresh_token"]}]},
    ]
    assert kinds[1]["schema"]["properties"]["id"] == {"type": "integer", "x-identity": True}


def test_it_shows_variables(api: Client) -> None:
    answer = api.get("/v1/providers/acme-shops/").json()

    assert answer["variables"]["shop"] == {
        "label": "Shop",
        "kind": "label",
        "required": True,
        "default": "",
        "example": "my-shop",
        "pattern": "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "values": [],
        "from": ["start", "app", "page"],
    }
    assert [asked["name"] for asked in answer["kinds"][0]["needs"]["end_user"]] == ["shop"]
    assert answer["variables"]["region"]["values"] == ["eu", "us"]
    assert (answer["revokes"], answer["pkce"]) == (True, "none")


@pytest.mark.parametrize(
    ("provider", "labels"),
    [
        ("acme-robots", ["Client ID", "Client secret or private key (PEM)"]),
        ("apple", ["Client ID", "Private key (PEM)"]),
        ("acme-public", ["Client ID", "Client secret"]),
        ("twitter-oauth1", ["Consumer key", "Consumer secret"]),
    ],
)
def test_it_says_what_an_oauth_app_is_made_of(api: Client, provider: str, labels: list[str]) -> None:
    needs = api.get(f"/v1/providers/{provider}").json()["kinds"][0]["needs"]["oauth_app"]

    assert [entry["label"] for entry in needs][:2] == labels
    assert needs[1]["required"] is (provider != "acme-public")


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


# ---- who takes OAuth apps, and with what secret ----------------------------------------------------------------------


def registered(api: Client, **fields: Any) -> Any:
    body = {"provider": "acme", "name": "Spice", "client_id": "acme-1", "client_secret": "s3"} | fields
    return api.post("/v1/oauth-apps", body, content_type="application/json")


def test_a_provider_without_a_code_flow_takes_no_oauth_apps(api: Client) -> None:
    response = registered(api, provider="acme-vault")

    assert response.status_code == 422
    assert response.json()["validation_errors"] == {
        "provider": ["Takes no OAuth apps. Its credentials need none: acme_vault_key."]
    }
    assert not OAuthApp.objects.exists()


PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nnot a real one\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("provider", "client_secret"),
    [
        ("acme", PRIVATE_KEY),  # has no use for one
        ("acme-robots", "two\nlines"),
        ("acme-robots", PRIVATE_KEY + "\x7f"),
        ("acme-robots", PRIVATE_KEY.replace("not", "\t")),
    ],
)
def test_a_client_secret_has_no_lines_unless_it_is_a_private_key(
    api: Client, provider: str, client_secret: str
) -> None:
    """F16"""
    response = registered(api, provider=provider, client_secret=client_secret)

    assert response.status_code == 422
    assert response.json()["validation_errors"] == {
        "client_secret": ["Must not hold line breaks or other control characters."]
    }


@pytest.mark.parametrize("client_secret", [PRIVATE_KEY, PRIVATE_KEY.replace("\n", "\r\n"), "s3"])
def test_an_app_that_signs_has_a_private_key_or_a_secret(api: Client, client_secret: str) -> None:
    response = registered(api, provider="acme-robots", client_secret=client_secret)

    assert (response.status_code, response.json()["client_secret"]) == (201, "*" * 10)
    assert OAuthApp.objects.get().client_secret == client_secret
