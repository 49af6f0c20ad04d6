"""What developers post: the properties of each kind as Sequin's documentation shows them, and our own for the rest."""

from typing import Any

TOKENS = {"access_token": "canary-access", "refresh_token": "canary-refresh"}
MASK = "*" * 11

# kind -> properties as they are posted. Secrets are canaries: no answer may hold one.
SHAPES: dict[str, dict[str, Any]] = {
    "airtable_oauth2": {"airtable_uid": "usrL2PNC5o3H", "refresh_token": "canary-refresh", "scope": "user.email:read"},
    "checkout_champ_password": {"login_id": "muaddib", "password": "canary pass word"},
    "github_app": {"account_type": "Organization", "account_login": "arrakis", "installation_id": 12345678},
    "github_oauth2": {"access_token": "canary-access", "scope": "repo,gist", "github_user_id": 583231, "login": "paul"},
    "hubspot_oauth2": {
        "hub_domain": "arrakis.example", "hub_id": 62515, "hubspot_user": "paul@arrakis.example",
        "refresh_token": "canary-refresh", "scopes": ["oauth", "crm.objects.contacts.read"],
    },
    "linear_oauth2": {
        "access_token": "canary-access", "scope": "read,write", "linear_org_id": "abc123",
        "linear_org_name": "Arrakis Inc.",
    },
    "marketo_client_credentials": {
        "munchkin_id": "123-abc-456", "client_id": "d5c0f0d2", "client_secret": "canary-secret",
        "identity_url": "https://123-abc-456.mktorest.com/identity",
        "endpoint_url": "https://123-abc-456.mktorest.com/rest",
    },
    "netsuite_oauth2": {**TOKENS, "account_id": "1234567_SB1", "role_id": "3", "entity_id": "7"},
    "netsuite_tba": {
        "account_id": "1234567_SB1", "consumer_key": "ck", "consumer_secret": "canary-consumer", "token_id": "ti",
        "token_secret": "canary-token",
    },
    "quickbooks_oauth2": {**TOKENS, "realm_id": "4620816365"},
    "salesforce_oauth2": {"instance_url": "https://arrakis.my.salesforce.com", "refresh_token": "canary-refresh"},
    "sendgrid_key": {"secret": "SG.canary"},
    "servicenow_oauth2": {**TOKENS, "instance": "arrakis.service-now.com", "user_id": "6816f79cc0a8016401c5a33be04be4"},
    "servicenow_password": {"instance": "arrakis.service-now.com", "username": "paul", "password": "canary-password"},
    "shopify_oauth2": {"access_token": "canary-access", "scope": "read_orders", "shop": "arrakis.myshopify.com"},
    "shopify_token": {"shop": "arrakis.myshopify.com", "secret": "shpat_canary"},
    "stripe_key": {"secret": "sk_live_canary", "test": False},
    "stripe_oauth2": {**TOKENS, "scope": "read_write", "stripe_user_id": "acct_1", "livemode": True},
    "workday_oauth2": {**TOKENS, "tenant": "arrakis"},
    "auth0_oauth2": {**TOKENS, "domain": "arrakis.eu.auth0.com", "sub": "auth0|5f7c8ec7c33c6c004bbafe82"},
    "auth0_client_credentials": {"domain": "arrakis.eu.auth0.com", "client_id": "c", "client_secret": "canary-secret"},
    "google_oauth2": {**TOKENS, "expires_at": "2026-01-01T00:00:00Z", "scope": "openid email", "sub": "1"},
    "slack_oauth2": {"access_token": "canary-access", "scope": "chat:write,channels:read", "team_id": "T1"},
}  # fmt: skip

# what an OAuth app of the provider has beside the usual
APPS: dict[str, dict[str, Any]] = {
    "auth0": {"variables": {"domain": "arrakis.eu.auth0.com"}, "own_callback": True},
    "servicenow": {"variables": {"instance": "arrakis.service-now.com"}, "own_callback": True},
    "vercel": {"variables": {"integration": "arrakis"}},
    "workday": {
        "variables": {
            "token_domain": "wd2-impl-services1.workday.com", "authorization_domain": "impl.workday.com",
            "tenant": "arrakis",
        },
        "own_callback": True,
    },
}  # fmt: skip
WITHOUT_APP = {
    "checkout_champ_password", "marketo_client_credentials", "netsuite_tba", "sendgrid_key", "servicenow_password",
    "shopify_token", "stripe_key", "auth0_client_credentials",
}  # fmt: skip
