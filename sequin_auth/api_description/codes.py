"""Why `/v1` says no: each `code` of an answer, by its status, and what `summary` says then."""

from collections.abc import Mapping
from typing import Any

Codes = Mapping[str, str]

CODES: Mapping[int, Codes] = {  # that may be told anywhere; the first is the rule
    400: {
        "bad_request": "The request could not be understood.",
        "invalid_json": "The body is not JSON in UTF-8.",
        "empty_body": "The body is empty: send a JSON object, and its length in Content-Length.",
        "length_required": "Send the length of the body in Content-Length.",
        "bad_idempotency_key": "An Idempotency-Key has 1 to 255 printable ASCII characters.",
    },
    401: {
        "unauthorized": "Send an API token: `Authorization: Bearer sqa_…`.",
        "invalid_token": "The API token is unknown, expired or revoked.",
    },
    403: {
        "insufficient_scope": "This needs an API token with the scope {scope}.",
        "forbidden": "This is not allowed.",
    },
    404: {"not_found": "There is nothing here."},
    405: {"method_not_allowed": "This method is not allowed here; the header Allow names those that are."},
    409: {
        "conflict": "Something that this belongs to was deleted or changed at the same time: look what there is now."
    },
    413: {"body_too_large": "A body has at most 1 MiB."},
    414: {"url_too_long": "A URL has at most 8,190 bytes."},
    415: {"unsupported_media_type": "Send JSON in UTF-8: `Content-Type: application/json`."},
    422: {
        "validation_failed": "Some fields were not accepted; validation_errors says which, and why.",
        "duplicate_name": "Some fields were not accepted; validation_errors says which, and why.",
        "idempotency_key_reused": "Some fields were not accepted; validation_errors says which, and why.",
    },
    429: {"too_many_requests": "Too many requests; wait for the seconds that Retry-After says."},
    500: {"internal_error": "Something went wrong here. The log has more under this request_id."},
    502: {"bad_gateway": "The provider does not answer as it should."},
    503: {"unavailable": "The database does not answer; try again in a moment."},
}
REASONS: Mapping[str, Mapping[str, list[str]]] = {
    "validation_failed": {"name": ["Must not be empty."]},
    "duplicate_name": {"body": ["The same name stands twice in one object."]},
    "idempotency_key_reused": {"Idempotency-Key": ["This key was used with another body."]},
}
IN_THE_WAY = {
    "authorizations_open": "End users are on their way with this OAuth app; try again when their links have expired.",
    "has_credentials": "Credentials were made with this OAuth app as it is; register another one for another place.",
}
OF_ONE_OPERATION: Mapping[tuple[str, int], Codes] = {
    ("updateOAuthApp", 409): IN_THE_WAY,
    ("deleteOAuthApp", 409): {
        "has_credentials": "Credentials were made with this OAuth app: delete them first, or with it by ?cascade=true."
    },
    ("createRedirectURI", 409): {"already_registered": "This redirect URI is registered already."},
    ("deleteCredential", 409): {
        "credential_in_use": "This credential is used by 1 sync: delete what uses it first, or with it by"
        " ?cascade=true."
    },
    ("reconnectCredential", 409): {
        "not_reconnectable": "A credential of the kind stripe_key comes from no authorization: import the new one, it"
        " keeps its id.",
        "oauth_app_disabled": "The OAuth app of this credential is disabled.",
        "provider_unknown": "The provider, or this kind of credential, is not in the catalogue any more.",
    },
    ("getAccessToken", 409): {
        "needs_reauthorization": "The account's owner has to connect it again.",
        "no_access_token": "A credential of the kind netsuite_tba has no access token: it signs or joins each call.",
        "provider_unknown": "The provider, or this kind of credential, is not in the catalogue any more.",
    },
    ("getAccessToken", 500): {
        "internal_error": "Something went wrong here. The log has more under this request_id.",
        "credential_unreadable": "What is stored of this credential does not open: it was changed in the database, or"
        " its key is missing from ENCRYPTION_KEYS.",
    },
    ("getAccessToken", 502): {"oauth_app_refused": "Stripe does not accept the OAuth app's client id or secret."},
    ("getAccessToken", 503): {
        "unavailable": "The database does not answer; try again in a moment.",
        "provider_unavailable": "Stripe does not answer, and the access token has ended.",
        "refresh_in_progress": "The token is being refreshed; ask again in a moment.",
    },
    ("importCredentials", 415): {
        "unsupported_media_type": "Send lines of JSON in UTF-8: `Content-Type: application/x-ndjson`."
    },
    ("listCollections", 503): {
        "unavailable": "The database does not answer; try again in a moment.",
        "provider_unavailable": "The provider does not tell what there is; try again in a moment.",
    },
    ("refreshSync", 409): {"sync_disabled": "The sync is disabled: enable it first, by PATCH with the status active."},
    ("updateDestination", 409): {
        "conflict": "Somebody else has just changed this destination: look at it, and try again."
    },
    ("deleteDestination", 409): {
        "has_syncs": "Syncs write to it: delete them first.",
        "builtin_destination": "This is our own sync database: it stays.",
        "schemas_left": "Schemas of deleted syncs are still to be dropped there: try again in a minute, or leave them"
        " by ?keep_data=true.",
    },
    ("revealDestinationConnection", 409): {
        "no_reader": "The database is your own: you know how to connect to it.",
        "no_sync_database": "There is no database for syncs here yet.",
    },
    ("createWebhookEndpoint", 409): {
        "too_many_webhook_endpoints": "An account has at most 20 webhooks: delete one that is not needed any more."
    },
    ("pingWebhookEndpoint", 409): {
        "webhook_endpoint_disabled": "The endpoint is disabled: enable it first.",
        "too_many_pings": "20 pings wait to be delivered already: see what became of them first.",
    },
}


def codes_of(status: int, operation_id: str = "") -> Codes:
    """A conflict may be one of nobody's making besides: something was deleted at that moment."""
    codes = OF_ONE_OPERATION.get((operation_id, status), CODES[status])
    return {**codes, **CODES[status]} if status == 409 and not operation_id.startswith("get") else codes


def error(code: str, summary: str, request_id: str) -> dict[str, Any]:
    """As it is answered."""
    body: dict[str, Any] = {"summary": summary, "code": code, "request_id": request_id}
    if code in REASONS:
        body["validation_errors"] = REASONS[code]
    return body
