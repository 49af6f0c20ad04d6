"""Below `/v1/`."""

from oauth_apps.api import events, providers, views, webhooks
from sequin_auth.lib.api.paths import with_and_without_slash as both

app_name = "oauth_apps"
ENDPOINT = "webhook-endpoints/<canonical_uuid:endpoint_id>"

urlpatterns = [
    *both("oauth-apps", views.OAuthAppList.as_view(), name="oauth-apps"),
    *both("oauth-apps/<canonical_uuid:oauth_app_id>", views.OAuthAppDetail.as_view(), name="oauth-app"),
    *both("oauth-apps/<canonical_uuid:oauth_app_id>/check", views.OAuthAppCheck.as_view(), name="oauth-app-check"),
    *both("redirect-uris", views.RedirectURIList.as_view(), name="redirect-uris"),
    *both("redirect-uris/<canonical_uuid:redirect_uri_id>", views.RedirectURIDetail.as_view(), name="redirect-uri"),
    *both("webhook-endpoints", webhooks.WebhookEndpointList.as_view(), name="webhook-endpoints"),
    *both(f"{ENDPOINT}", webhooks.WebhookEndpointDetail.as_view(), name="webhook-endpoint"),
    *both(f"{ENDPOINT}/rotate-secret", webhooks.WebhookEndpointRotateSecret.as_view(), name="webhook-rotate-secret"),
    *both(f"{ENDPOINT}/ping", webhooks.WebhookEndpointPing.as_view(), name="webhook-ping"),
    *both(f"{ENDPOINT}/deliveries", webhooks.WebhookDeliveryList.as_view(), name="webhook-deliveries"),
    *both("events", events.EventList.as_view(), name="events"),
    *both("providers", providers.ProviderList.as_view(), name="providers"),
    *both("providers/<str:slug>", providers.ProviderDetail.as_view(), name="provider"),
]
