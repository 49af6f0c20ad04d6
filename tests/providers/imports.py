"""A sound import of every kind that is asked in depth, each as its developer might write it."""

from typing import Any

from providers import kinds
from providers.kinds import CredentialKind
from tests.providers.in_depth import IN_DEPTH

TOKENS = {"access_token": "canary-access", "refresh_token": "canary-refresh"}
TYPES: dict[str, Any] = {"string": "x1", "integer": 7, "boolean": False, "array": ["x1"]}


def of_the_flow(kind: CredentialKind) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, prop in kind.provider.credential.items():
        variable = kind.provider.variables.get(prop.variable or name)
        values[name] = (variable.default or variable.example) if variable else TYPES[prop.type]
    if kind.auth == "oauth1":
        signing = {"access_token": "canary-access", "token_secret": "canary-token-secret"}
        return signing | {"scope": "read write", "token_type": "OAuth"} | values
    return TOKENS | {"expires_at": "2026-11-22T10:00:00Z", "scope": "read write", "token_type": "Bearer"} | values


def is_in_depth(kind: CredentialKind) -> bool:
    return kind.declared is None and kind.provider.slug in IN_DEPTH


# What the OAuth app fixes, where a credential needs it
APPS: dict[str, dict[str, str]] = {
    "apple_oauth2": {"team_id": "ABCDE12345", "key_id": "FGHIJ67890"},
    "vercel_oauth2": {"integration": "acme-deploys"},
}
IMPORTS: dict[str, dict[str, Any]] = {
    **{kind.name: of_the_flow(kind) for kind in kinds.load().values() if is_in_depth(kind)},
    "auth0_client_credentials": {"domain": "acme.eu.auth0.com", "client_id": "c1", "client_secret": "canary-secret"},
    "checkout_champ_password": {"login_id": "api", "password": "canary password"},
    "github_app": {"account_type": "Organization", "account_login": "arrakis", "installation_id": 4},
    "klaviyo_key": {"secret": "pk_canary"},
    "marketo_client_credentials": {
        "munchkin_id": "123-ABC-456",
        "client_id": "c1",
        "client_secret": "canary-secret",
        "identity_url": "https://123-ABC-456.mktorest.com/identity",
        "endpoint_url": "https://123-ABC-456.mktorest.com/rest",
    },
    "netsuite_tba": {
        "account_id": "1234567_SB1",
        "consumer_key": "canary-consumer-key",
        "consumer_secret": "canary-consumer-secret",
        "token_id": "canary-token-id",
        "token_secret": "canary-token-secret",
    },
    "sendgrid_key": {"secret": "SG.canary"},
    "servicenow_password": {"instance": "acme", "username": "paul", "password": "canary pässword"},
    "shopify_token": {"shop": "acme", "secret": "canary-token"},
    "stripe_key": {"secret": "sk_test_canary"},
}
IMPORTS["salesforce_oauth2"]["instance_url"] = "https://arrakis.my.salesforce.com"
