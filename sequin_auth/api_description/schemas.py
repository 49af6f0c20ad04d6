"""What answers look like, and the few parts of requests that several endpoints share."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
STRING_OR_NULL: Schema = {"type": ["string", "null"]}
STRINGS: Schema = {"type": "array", "items": STRING}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
ID: Schema = {"type": "string", "format": "uuid", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
ID_OR_NULL: Schema = ID | {"type": ["string", "null"]}
URL: Schema = {"type": "string", "format": "uri"}
TIME: Schema = {"type": "string", "format": "date-time", "pattern": "^[0-9T:-]{19}Z$"}
TIME_OR_NULL: Schema = TIME | {"type": ["string", "null"]}
ANY_OBJECT: Schema = {"type": "object", "additionalProperties": True}
TEXTS: Schema = {"type": "object", "additionalProperties": STRING}
HTML: Schema = {"type": "string", "description": "A page for people."}
NOTHING: Schema = {"type": "object", "maxProperties": 0}

SCOPE_TOKEN = r"^[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]+$"
SCOPES = r"^[\x20\x21\x23-\x5b\x5d-\x7e]*$"
NAME_IN_THE_CATALOGUE = "^[a-z0-9_-]{1,120}$"
CONTROL = r"\x00-\x1f\x7f"
SINGLE_LINE = rf"^[^{CONTROL}]*[^{CONTROL}\s][^{CONTROL}]*$"
SINGLE_LINE_OR_BLANK = rf"^[^{CONTROL}]*$"
NOT_BLANK = r"\S"


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def an_object(properties: Mapping[str, Schema], *, optional: tuple[str, ...] = (), **more: Any) -> Schema:
    """All properties are there, but for those that are `optional`."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), **({"required": required} if required else {}), **more}


def one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def page_of(item: str) -> Schema:
    cursor = STRING_OR_NULL | {"description": "Where the next page begins; null on the last one."}
    return an_object({"data": {"type": "array", "items": ref(item)}, "next_cursor": cursor})


def list_of(item: str) -> Schema:
    return {"type": "array", "items": ref(item)}


ERROR = {
    "summary": STRING | {"description": "What happened and what to do, for people."},
    "code": STRING | {"description": "Stable, for machines."},
    "request_id": STRING | {"description": "The log has more under it."},
}
REASONS = {"type": "object", "additionalProperties": STRINGS, "description": "For each field the reasons."}

HEALTH = {"status": one_of("ok", "warn", "error"), "notes": STRINGS, "time": TIME}

OAUTH_APP = {
    "id": ID | {"description": "What the link endpoints and libraries call the client_id."},
    "provider": STRING,
    "name": STRING,
    "client_id": STRING | {"description": "The one that the provider has given out."},
    "client_secret": STRING_OR_NULL | {"description": "`**********`, or null for an app without one."},
    "metadata": ANY_OBJECT,
    "health": ref("Health"),
    "created_at": TIME,
    "updated_at": TIME,
    "callback_url": URL | {"description": "To be registered at the provider."},
    "own_callback": FLAG,
    "enabled": FLAG,
    "default_scopes": STRINGS,
    "variables": TEXTS,
    "environment": one_of("live", "sandbox"),
}
CREDENTIAL = {
    "id": ID,
    "provider": STRING,
    "kind": STRING,
    "name": STRING,
    "oauth_app_id": ID_OR_NULL,
    "oauth_app": {"anyOf": [ref("OAuthApp"), {"type": "null"}]},
    "properties": ref("MaskedProperties"),
    "scopes": an_object({"requested": STRINGS, "granted": STRINGS, "missing": STRINGS}),
    "expires_at": TIME_OR_NULL | {"description": "When the access token ends."},
    "expires_at_source": STRING_OR_NULL | {"description": "Who says when it ends: the provider, or what is assumed."},
    "health": ref("Health"),
    "metadata": ANY_OBJECT,
    "created_at": TIME,
    "updated_at": TIME,
}
ENTRY = {
    "name": STRING,
    "label": STRING,
    "required": FLAG,
    "secret": FLAG,
    "example": STRING,
    "pattern": STRING,
    "values": STRINGS,
}
KIND = {
    "kind": STRING,
    "label": STRING,
    "auth": STRING,
    "needs_oauth_app": FLAG,
    "needs": an_object(
        {"oauth_app": list_of("Entry"), "end_user": list_of("Entry"), "credential": list_of("Entry")},
        description="What has to be entered: for an OAuth app, by an end user, for an import.",
    ),
    "schema": ANY_OBJECT | {"description": "JSON Schema of the properties of an import."},
}
VARIABLE = {
    "label": STRING,
    "kind": STRING,
    "required": FLAG,
    "default": STRING,
    "example": STRING,
    "pattern": STRING,
    "values": STRINGS,
    "from": STRINGS | {"description": "Who may say it: the OAuth app, the start link, the end user."},
}
PROVIDER = {
    "slug": STRING,
    "name": STRING,
    "aliases": STRINGS,
    "category": STRING,
    "logo": URL,
    "docs": URL,
    "checked": {"type": "string", "format": "date"},
    "extends": STRING_OR_NULL,
    "kinds": list_of("Kind"),
    "variables": {"type": "object", "additionalProperties": ref("Variable")},
    "deployments": STRINGS,
    "takes_oauth_apps": FLAG,
    "scopes": TEXTS | {"description": "Known scopes, and what each is for."},
    "default_scopes": STRINGS,
    "required_scopes": STRINGS,
    "pkce": one_of("required", "supported", "none"),
    "public_clients": FLAG,
    "refreshes": FLAG,
    "rotates": FLAG,
    "revokes": FLAG,
    "many_accounts": FLAG,
    "setup": STRINGS,
    "callback_url": STRING_OR_NULL,
}
ACCESS_TOKEN = {
    "access_token": STRING_OR_NULL,
    "token_type": STRING,
    "expires_at": TIME_OR_NULL,
    "scope": STRING_OR_NULL,
    "api": ANY_OBJECT | {"description": "How it is sent: `base_url`, `header`, `scheme`, and what else there is."},
    "dpop_key": {"description": "The private key that proofs are signed with, where the token is bound to one."},
}
EXPORTED = {
    "id": ID,
    "provider": STRING,
    "kind": STRING,
    "name": STRING,
    "oauth_app_id": ID_OR_NULL,
    "metadata": ANY_OBJECT,
    "properties": ANY_OBJECT | {"description": "With their secrets."},
    "created_at": TIME,
}
REFUSED_LINE = {"line": COUNT, "id": ID, "code": STRING, "summary": STRING, "validation_errors": REASONS}
IMPORT_REPORT = {
    "lines": COUNT,
    "created": COUNT,
    "updated": COUNT,
    "refused": COUNT,
    "errors": {"type": "array", "maxItems": 1000, "items": ref("RefusedLine")},
    "errors_left_out": COUNT,
}
TOKENS = {
    "access_token": STRING,
    "token_type": one_of("Bearer", "DPoP", "OAuth"),
    "expires_in": COUNT | {"description": "Seconds; absent where the provider has not said."},
    "refresh_token": STRING,
    "scope": STRING | {"description": "As granted, separated by spaces."},
    "credential": an_object(
        {"oauth_app_id": ID, "properties": ANY_OBJECT}, description="`POST /v1/credentials` takes it as it is."
    ),
    "state": {"description": "What the start was given, of whatever type it was."},
}
WEBHOOK_ENDPOINT = {
    "id": ID,
    "url": STRING,
    "description": STRING,
    "events": STRINGS | {"description": "Those that it is told; none named: all."},
    "enabled": FLAG,
    "disabled_because": STRING,
    "secret": STRING | {"description": "Shown once, when it is made; `**********` ever after."},
    "previous_secret_until": TIME_OR_NULL | {"description": "Until then the secret before signs too."},
    "health": ref("Health"),
    "created_at": TIME,
    "updated_at": TIME,
}
WEBHOOK_DELIVERY = {
    "id": ID | {"description": "The `webhook-id`: the same in each attempt."},
    "event": STRING,
    "attempts": COUNT,
    "last_status": {"type": ["integer", "null"]},
    "last_failure": STRING,
    "created_at": TIME,
    "due_at": TIME_OR_NULL | {"description": "When it is tried next; null once that is over."},
    "delivered_at": TIME_OR_NULL,
}
AUDIT_EVENT = {
    "id": ID,
    "created_at": TIME,
    "action": STRING | {"description": "A word for the thing and one for the deed: `oauth_app.created`."},
    "actor": an_object({"kind": one_of("api_token", "user", "other"), "name": STRING, "id": STRING_OR_NULL}),
    "object": an_object(
        {
            "type": STRING | {"description": "What kind of thing it was done to: `oauth_app`; empty without one."},
            "id": STRING,
            "name": STRING,
        }
    ),
    "detail": STRING,
    "address": STRING,
    "request_id": STRING,
    "chain": STRING_OR_NULL,
    "number": {"type": ["integer", "null"], "description": "Its place in the chain."},
    "seal": STRING_OR_NULL | {"description": "Hexadecimal; null if it is older than chains are, and not proved."},
}
READ_COUNT = {
    "minute": TIME | {"description": "When the minute began."},
    "api_token": ID,
    "credential": ID,
    "number": COUNT,
    "address": STRING | {"description": "Where the last of these reads came from."},
}

TOLD = {
    "id": ID | {"description": "Of the credential or the OAuth app."},
    "account_id": ID | {"description": "The account that it belongs to."},
    "oauth_app_id": ID_OR_NULL,
    "provider": STRING,
    "kind": STRING | {"description": "Of the credential."},
    "environment": one_of("live", "sandbox") | {"description": "Of the OAuth app."},
    "status": one_of("ok", "needs_reauthorization", "deleted") | {"description": "Of the credential."},
    "health": an_object({"status": HEALTH["status"] | {"description": "The worst that is known."}}),
    "webhook_endpoint_id": ID | {"description": "Of a ping."},
}
EVENT_DATA = an_object(TOLD, optional=(*TOLD,), description="Ids and states, no secrets.")
PROGRESS = {
    "id": STRING,
    "state": one_of("waiting", "backfilling", "fresh", "error"),
    "rows": COUNT,
    "last_synced_at": TIME_OR_NULL | {"description": "When the last pass ended."},
    "next_at": TIME_OR_NULL,
    "error": STRING_OR_NULL,
}
SYNC = {
    "id": ID,
    "org_id": ID | {"description": "The account's."},
    "provider": STRING,
    "name": STRING,
    "collection_ids": STRINGS,
    "credential": ref("Credential"),
    "credential_id": ID,
    "destination": an_object(
        {"id": ID, "kind": one_of("builtin", "postgres"), "schema": STRING},
        description="In `schema` each collection is a table.",
    ),
    "destination_id": ID,
    "rate_limit": {"anyOf": [ref("RateLimit"), {"type": "null"}]},
    "max_age_days": {"type": ["integer", "null"]},
    "sync_frequency": one_of("continuous", "4h"),
    "metadata": ANY_OBJECT,
    "external_id": STRING_OR_NULL,
    "stream_id": STRING_OR_NULL,
    "status": one_of("active", "disabled"),
    "health": an_object(
        {**HEALTH, **{part: ref("Health") for part in ("credential", "provider", "destination")}},
        description="The worst of its parts.",
    ),
    "collections": list_of("Progress"),
    "initial_backfill_completed_at": TIME_OR_NULL,
    "created_at": TIME,
    "updated_at": TIME,
}
SYNC_RUN = {
    "id": ID,
    "started_at": TIME,
    "ended_at": TIME_OR_NULL,
    "rows": {"type": "object", "additionalProperties": COUNT, "description": "By collection."},
    "requests": COUNT,
    "waited_ms": COUNT | {"description": "For the pace."},
    "stop": STRING_OR_NULL | {"description": "Why it ended; null while it goes on."},
    "note": STRING,
}
COLLECTION = {
    "id": STRING,
    "name": STRING,
    "primary_key": STRINGS,
    "columns": TEXTS | {"description": "Those whose type is declared."},
    "sees": one_of("updated", "created", "nothing") | {"description": "What is found between two full passes."},
    "deletes": STRING | {"description": "`full_pass`, `none`, or `flag:` and the member that says it."},
    "scopes": STRINGS,
    "docs": STRING,
    "checked": {"type": "string", "format": "date"},
    "verified": {"type": ["string", "null"], "format": "date", "description": "When somebody saw a live pass."},
}
PLACE = {
    "host": STRING,
    "port": COUNT,
    "database": STRING,
    "username": STRING,
    "password": STRING | {"description": "`***********`."},
    "sslmode": one_of("require", "verify-full", "disable"),
}
DESTINATION = {
    "id": ID,
    "kind": one_of("builtin", "postgres"),
    "name": STRING,
    "connection": {"anyOf": [an_object(PLACE), {"type": "null"}], "description": "Null for our own database."},
    "metadata": ANY_OBJECT,
    "health": ref("Health"),
    "created_at": TIME,
    "updated_at": TIME,
}
READER = {
    **PLACE,
    "password": STRING | {"description": "In the clear."},
    "sslmode": STRING,
    "schemas": STRINGS | {"description": "Those that it may read."},
    "url": STRING | {"description": "All of it as one connection string."},
}

SCHEMAS: dict[str, Schema] = {
    "Error": an_object(ERROR),
    "ValidationError": an_object({**ERROR, "validation_errors": REASONS}),
    "NeedsReauthorization": an_object({**ERROR, "reconnect_url": URL}, optional=("reconnect_url",)),
    "OAuthError": an_object(
        {"error": STRING, "error_description": STRING, "summary": STRING, "code": STRING, "request_id": STRING},
        optional=("code", "request_id"),
        description="RFC 6749, 5.2, with the same sentence as `summary`.",
    ),
    "Deleted": an_object({"id": ID, "deleted": {"const": True}}),
    "Health": an_object(HEALTH),
    "OAuthApp": an_object(OAUTH_APP),
    "OAuthAppPage": page_of("OAuthApp"),
    "RedirectURI": an_object({"id": ID, "redirect_uri": STRING, "created_at": TIME}),
    "RedirectURIPage": page_of("RedirectURI"),
    "AuditEvent": an_object(AUDIT_EVENT),
    "AuditEventPage": page_of("AuditEvent"),
    "ReadCount": an_object(READ_COUNT),
    "ReadCountPage": page_of("ReadCount"),
    "Entry": an_object(ENTRY),
    "Kind": an_object(KIND),
    "Variable": an_object(VARIABLE),
    "Provider": an_object(PROVIDER),
    "ProviderPage": page_of("Provider"),
    "Credential": an_object(CREDENTIAL),
    "CredentialPage": page_of("Credential"),
    "MaskedProperties": an_object(
        {"kind": STRING}, additionalProperties=True, description="Each secret among them reads as `***********`."
    ),
    "AccessToken": an_object(ACCESS_TOKEN, optional=("dpop_key",)),
    "StartLink": an_object({"start_url": URL, "expires_at": TIME}),
    "ExportedCredential": an_object(EXPORTED),
    "RefusedLine": an_object(REFUSED_LINE, optional=("id", "validation_errors")),
    "ImportReport": an_object(IMPORT_REPORT),
    "Sync": an_object(SYNC),
    "SyncPage": page_of("Sync"),
    "RateLimit": an_object({"allowed_requests": COUNT, "interval": COUNT, "max_concurrent_requests": COUNT}),
    "Progress": an_object(PROGRESS),
    "SyncRun": an_object(SYNC_RUN),
    "SyncRunPage": page_of("SyncRun"),
    "Collection": an_object(COLLECTION),
    "CollectionPage": page_of("Collection"),
    "Destination": an_object(DESTINATION),
    "DestinationPage": page_of("Destination"),
    "DestinationConnection": an_object(READER),
    "WebhookEndpoint": an_object(WEBHOOK_ENDPOINT),
    "WebhookEndpointPage": page_of("WebhookEndpoint"),
    "Event": an_object({"type": STRING, "timestamp": TIME, "data": EVENT_DATA}),
    "WebhookDelivery": an_object(WEBHOOK_DELIVERY),
    "WebhookDeliveryPage": page_of("WebhookDelivery"),
    "Tokens": an_object(TOKENS, optional=("expires_in", "refresh_token", "scope", "state")),
    "Metadata": an_object(
        {
            "issuer": URL,
            "authorization_endpoint": URL,
            "token_endpoint": URL,
            "revocation_endpoint": URL,
            "response_types_supported": STRINGS,
            "response_modes_supported": STRINGS,
            "grant_types_supported": STRINGS,
            "token_endpoint_auth_methods_supported": STRINGS,
            "revocation_endpoint_auth_methods_supported": STRINGS,
            "code_challenge_methods_supported": STRINGS,
        },
        description="RFC 8414.",
    ),
    "Probe": an_object({"status": one_of("ok", "error"), "reason": STRING}, optional=("reason",)),
}
