"""`/v1/webhook-endpoints`, and what developers are told there."""

from collections.abc import Mapping

from oauth_apps.api.webhooks import OverlapSerializer, WebhookEndpointSerializer
from oauth_apps.webhooks.events import CREDENTIAL_NEEDS_REAUTHORIZATION, EVENTS
from sequin_auth.api_description.examples import CREDENTIAL_ID, ENDPOINT_ID, MADE
from sequin_auth.api_description.operation import JSON, Answer, Operation, deleted, made, one, pages
from sequin_auth.api_description.schemas import STRING, Schema, ref

WEBHOOK_ENDPOINT = {
    "id": ENDPOINT_ID,
    "url": "https://app.example.com/webhooks",
    "description": "",
    "events": [CREDENTIAL_NEEDS_REAUTHORIZATION],
    "enabled": True,
    "disabled_because": "",
    "secret": "**********",
    "previous_secret_until": None,
    "health": {"status": "ok", "notes": [], "time": MADE},
    "created_at": MADE,
    "updated_at": MADE,
}
DELIVERY = {
    "id": "5b1f6a4e-07c1-4a52-8b7e-1d2a1c0e4f55",
    "event": CREDENTIAL_NEEDS_REAUTHORIZATION,
    "attempts": 1,
    "last_status": 204,
    "last_failure": "",
    "created_at": MADE,
    "due_at": None,
    "delivered_at": MADE,
}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/v1/webhook-endpoints"): Operation(
        "listWebhookEndpoints", "Webhooks", "List webhook endpoints", pages("WebhookEndpointPage", WEBHOOK_ENDPOINT)
    ),
    ("POST", "/v1/webhook-endpoints"): Operation(
        "createWebhookEndpoint",
        "Webhooks",
        "Register a webhook endpoint",
        made("WebhookEndpoint", WEBHOOK_ENDPOINT | {"secret": "whsec_shown-this-once"}),
        "A URL of yours that is told what happens: an https one with a public address. The `secret` that signs is shown"
        " once. An account has at most 20.",
        body=WebhookEndpointSerializer,
        example={"url": "https://app.example.com/webhooks", "events": [CREDENTIAL_NEEDS_REAUTHORIZATION]},
        errors=(409,),
        is_idempotent=True,
    ),
    ("GET", "/v1/webhook-endpoints/{endpoint_id}"): Operation(
        "getWebhookEndpoint",
        "Webhooks",
        "One webhook endpoint",
        one("WebhookEndpoint", WEBHOOK_ENDPOINT),
        errors=(404,),
    ),
    ("PATCH", "/v1/webhook-endpoints/{endpoint_id}"): Operation(
        "updateWebhookEndpoint",
        "Webhooks",
        "Change a webhook endpoint",
        one("WebhookEndpoint", WEBHOOK_ENDPOINT),
        body=WebhookEndpointSerializer,
        example={"enabled": True},
        errors=(404,),
    ),
    ("DELETE", "/v1/webhook-endpoints/{endpoint_id}"): Operation(
        "deleteWebhookEndpoint",
        "Webhooks",
        "Delete a webhook endpoint",
        deleted(ENDPOINT_ID),
        errors=(404,),
    ),
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/rotate-secret"): Operation(
        "rotateWebhookSecret",
        "Webhooks",
        "Get a new secret",
        one(
            "WebhookEndpoint",
            WEBHOOK_ENDPOINT | {"secret": "whsec_shown-this-once", "previous_secret_until": MADE},
            "The new secret, shown this once.",
        ),
        "The one before signs too, until the overlap is over.",
        body=OverlapSerializer,
        example={"overlap_seconds": 86400},
        is_body_optional=True,
        errors=(404,),
    ),
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/ping"): Operation(
        "pingWebhookEndpoint",
        "Webhooks",
        "Send a ping",
        {201: Answer("It is on its way.", ref("WebhookDelivery"), DELIVERY | {"event": "ping"})},
        errors=(404, 409),
    ),
    ("GET", "/v1/webhook-endpoints/{endpoint_id}/deliveries"): Operation(
        "listWebhookDeliveries",
        "Webhooks",
        "List what an endpoint was told",
        pages("WebhookDeliveryPage", DELIVERY),
        "Of the last seven days.",
        errors=(404,),
    ),
}

# ---- what developers are told ----------------------------------------------------------------------------------------

WEBHOOKS: Schema = {
    event: {
        "post": {
            "operationId": f"told {event}",
            "tags": ["Webhooks"],
            "summary": words,
            "parameters": [
                {"name": name, "in": "header", "required": True, "schema": STRING, "description": description}
                for name, description in (
                    ("webhook-id", "The same in each attempt: take each id once."),
                    (
                        "webhook-timestamp",
                        "Seconds since 1970, of this attempt: refuse one older than five minutes.",
                    ),
                    ("webhook-signature", "`v1,` and the HMAC-SHA256 of `id.timestamp.body`, in base64."),
                )
            ],
            "requestBody": {
                "content": {
                    JSON: {
                        "schema": ref("Event"),
                        "example": {"type": event, "timestamp": MADE, "data": {"id": CREDENTIAL_ID}},
                    }
                }
            },
            "responses": {"2XX": {"description": "Understood. Anything else is tried again, for about three days."}},
        }
    }
    for event, words in EVENTS.items()
}
