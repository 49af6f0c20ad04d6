"""`/v1/oauth-apps`: a developer's registrations at providers."""

from collections.abc import Mapping

from oauth_apps.api.serializers import OAuthAppSerializer
from sequin_auth.api_description.examples import APP_ID, MADE
from sequin_auth.api_description.operation import Operation, deleted, made, one, pages

NEW_APP = {
    "provider": "stripe",
    "name": "Stripe",
    "client_id": "ca_FkyHCg7X8mlvCUdMDao4mMxagUfhIwXb",
    "client_secret": "the-client-secret-at-stripe",
    "metadata": {"team": "payments"},
}
APP = {
    "id": APP_ID,
    "provider": "stripe",
    "name": "Stripe",
    "client_id": "ca_FkyHCg7X8mlvCUdMDao4mMxagUfhIwXb",
    "client_secret": "**********",
    "metadata": {"team": "payments"},
    "health": {"status": "ok", "notes": [], "time": MADE},
    "created_at": MADE,
    "updated_at": MADE,
    "callback_url": "https://auth.example.com/link/oauth2/callback/stripe",
    "own_callback": False,
    "enabled": True,
    "default_scopes": [],
    "variables": {},
    "environment": "live",
}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/v1/oauth-apps"): Operation("listOAuthApps", "OAuth apps", "List OAuth apps", pages("OAuthAppPage", APP)),
    ("POST", "/v1/oauth-apps"): Operation(
        "createOAuthApp",
        "OAuth apps",
        "Register an OAuth app",
        made("OAuthApp", APP),
        "The registration that you have at one provider. `client_secret` is required unless the provider takes public"
        " clients; it is write-only.",
        body=OAuthAppSerializer,
        example=NEW_APP,
        is_idempotent=True,
    ),
    ("GET", "/v1/oauth-apps/{oauth_app_id}"): Operation(
        "getOAuthApp", "OAuth apps", "One OAuth app", one("OAuthApp", APP), errors=(404,)
    ),
    ("PATCH", "/v1/oauth-apps/{oauth_app_id}"): Operation(
        "updateOAuthApp",
        "OAuth apps",
        "Change an OAuth app",
        one("OAuthApp", APP),
        "`provider` and `client_id` never change. `variables` and `environment` stay while there are credentials or"
        " open trips (409).",
        body=OAuthAppSerializer,
        example={"name": "Stripe, production", "enabled": True},
        errors=(404, 409),
    ),
    ("DELETE", "/v1/oauth-apps/{oauth_app_id}"): Operation(
        "deleteOAuthApp",
        "OAuth apps",
        "Delete an OAuth app",
        deleted(APP_ID),
        "With credentials it is refused (409), unless they go too.",
        errors=(404, 409),
    ),
    ("POST", "/v1/oauth-apps/{oauth_app_id}/check"): Operation(
        "checkOAuthApp",
        "OAuth apps",
        "Ask the provider whether it knows this client",
        one("OAuthApp", APP, "What the provider says is in `health`."),
        errors=(404,),
    ),
}
