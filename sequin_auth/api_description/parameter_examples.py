"""
What each parameter looks like. It stands in the schema, as JSON Schema's `examples`: Swagger UI would fill its form
with a parameter's own `example`, so that each list that is tried out would be filtered by all of them at once.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sequin_auth.api_description.examples import (
    APP_ID,
    CREDENTIAL_ID,
    DESTINATION_ID,
    ENDPOINT_ID,
    REDIRECT_URI_ID,
    START_LINK,
    SYNC_ID,
)
from sequin_auth.api_description.operations.audit_log import AUDIT_EVENT
from sequin_auth.api_description.operations.syncs import SYNC
from sequin_auth.api_description.operations.webhooks import DELIVERY
from sequin_auth.api_description.schemas import Schema

EXAMPLES: Mapping[str, Any] = {
    "oauth_app_id": APP_ID,
    "redirect_uri_id": REDIRECT_URI_ID,
    "credential_id": CREDENTIAL_ID,
    "sync_id": SYNC_ID,
    "destination_id": DESTINATION_ID,
    "endpoint_id": ENDPOINT_ID,
    "slug": "stripe",
    "Idempotency-Key": "customer-42-stripe",
    # lists
    "limit": 20,
    "cursor": "AAZKx3mFwoCP-FjwbUtOi56aLx9qfA0RmQ8kE1bV0dHn4cQe5zXWYg",
    "provider": "stripe",
    "kind": "stripe_oauth2",
    "action": "credential.",
    "object_id": REDIRECT_URI_ID,
    "api_token": AUDIT_EVENT["actor"]["id"],  # type: ignore[index]
    "credential": CREDENTIAL_ID,
    "since": "2026-11-22T00:00:00Z",
    "until": "2026-11-23T00:00:00Z",
    "health.status": "error",
    "environment": "live",
    "metadata": '{"customer": "arrakis"}',
    "name": SYNC["name"],
    "external_id": "arrakis-42",
    "status": "active",
    # deeds
    "cascade": True,
    "keep_data": True,
    "min_ttl": 1800,
    "force_refresh": True,
    # the hosted trip
    "client_id": APP_ID,
    "redirect_uri": "https://app.example.com/oauth/callback/stripe",
    "state": "ZTA5N2UxYjQ",
    "scope": "read_only",
    "debug": "true",
    "response_type": "code",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "code_challenge_method": "S256",
    "token": START_LINK["start_url"].rpartition("/")[2],
    "code": "the-code-of-the-provider",
    "error": "access_denied",
    "error_description": "The user denied access.",
    "iss": "https://login.example.com",
    # webhooks
    "webhook-id": DELIVERY["id"],
    "webhook-timestamp": "1795338000",
    "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
}


def put_examples(document: Schema) -> None:
    """Raises LookupError for a parameter without an example, and for an example that no parameter needs."""
    used: set[str] = set()
    for parameter in parameters(document):
        name = parameter["name"]
        if name not in EXAMPLES:
            raise LookupError(f"{name} has no example: sequin_auth/api_description/parameter_examples.py")
        used.add(name)
        parameter["schema"] = {**parameter["schema"], "examples": [EXAMPLES[name]]}
    if unused := EXAMPLES.keys() - used:
        raise LookupError(f"{sorted(unused)} stand in parameter_examples.py, and no parameter is called so.")


def parameters(document: Schema) -> Iterator[Schema]:
    for methods in (*document["paths"].values(), *document["webhooks"].values()):
        for operation in methods.values():
            yield from operation.get("parameters", ())
