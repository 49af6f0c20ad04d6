"""By what a receiver tells our calls from anybody's. Source: Standard Webhooks, "Signature scheme"."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from django.views.decorators.debug import sensitive_variables

from oauth_apps.models import WebhookEndpoint

PREFIX = "whsec_"
KEY_LENGTH = 32  # bytes
MOST_PREVIOUS = 2  # secrets that still sign beside the present one: a rotation whose answer was lost is made again


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(KEY_LENGTH)).decode()


@sensitive_variables()
def secrets_of(endpoint: WebhookEndpoint, now: datetime) -> list[str]:
    """The present one first, then those before it while they still sign. Raises Unreadable."""
    return [endpoint.secret, *previous_secrets(endpoint, now)]


@sensitive_variables()
def previous_secrets(endpoint: WebhookEndpoint, now: datetime) -> list[str]:
    """The newest first. Raises Unreadable."""
    if endpoint.previous_secret_until is None or endpoint.previous_secret_until <= now:
        return []
    return (endpoint.previous_secret or "").split()


@sensitive_variables()
def headers(webhook_id: UUID, body: str, keys: Iterable[str], now: datetime) -> Mapping[str, str]:
    """Of one attempt: the id is the delivery's, the time is this attempt's, and each secret has signed."""
    timestamp = str(int(now.timestamp()))
    return {
        "webhook-id": str(webhook_id),
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signature(key, str(webhook_id), timestamp, body) for key in keys),
    }


@sensitive_variables()
def signature(secret: str, webhook_id: str, timestamp: str, body: str) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = hmac.digest(key, f"{webhook_id}.{timestamp}.{body}".encode(), hashlib.sha256)
    return "v1," + base64.b64encode(signed).decode()
