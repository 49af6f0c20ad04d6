"""`/v1/providers`: what the catalogue says. What of a provider can be synced is in syncs.py."""

from collections.abc import Mapping

from sequin_auth.api_description.operation import Answer, Operation, one
from sequin_auth.api_description.schemas import ref

PROVIDER = {
    "slug": "acme",
    "name": "Acme",
    "aliases": [],
    "category": "crm",
    "logo": "https://auth.example.com/providers/acme/logo.svg",
    "docs": "https://docs.acme.example/oauth",
    "checked": "2026-11-22",
    "extends": None,
    "kinds": [
        {
            "kind": "acme_oauth2",
            "label": "OAuth 2.0",
            "auth": "oauth2",
            "needs_oauth_app": True,
            "needs": {"oauth_app": [], "end_user": [], "credential": []},
            "schema": {"type": "object", "required": [], "properties": {"access_token": {"type": "string"}}},
        }
    ],
    "variables": {},
    "deployments": [],
    "takes_oauth_apps": True,
    "scopes": {"read": "Reads everything"},
    "default_scopes": ["read"],
    "required_scopes": [],
    "pkce": "supported",
    "public_clients": False,
    "refreshes": True,
    "rotates": True,
    "revokes": True,
    "many_accounts": False,
    "setup": ["Create an OAuth app at Acme and enter the callback URL."],
    "callback_url": "https://auth.example.com/link/oauth2/callback/acme",
}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/v1/providers"): Operation(
        "listProviders",
        "Providers",
        "List the catalogue",
        {200: Answer("One page, by slug.", ref("ProviderPage"), {"data": [PROVIDER], "next_cursor": None})},
    ),
    ("GET", "/v1/providers/{slug}"): Operation(
        "getProvider",
        "Providers",
        "One provider",
        one("Provider", PROVIDER, "What the catalogue says."),
        "By its slug or an alias.",
        errors=(404,),
    ),
}
