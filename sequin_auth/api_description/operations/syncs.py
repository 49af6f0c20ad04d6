"""`/v1/syncs`: providers' collections as tables, and what of a provider can be synced."""

from collections.abc import Mapping

from sequin_auth.api_description.examples import CREDENTIAL_ID, DESTINATION_ID, MADE, SYNC_ID, WELL
from sequin_auth.api_description.operation import Answer, Operation, deleted, made, one, pages
from sequin_auth.api_description.operations.credentials import CREDENTIAL, NEW_CREDENTIAL
from sequin_auth.api_description.schemas import ref
from syncs.api.serializers import SyncChangesSerializer, SyncRefreshSerializer, SyncSerializer

SYNC = {
    "id": SYNC_ID,
    "org_id": "0d6e2f9a-31a1-4c1c-b8b1-6b5f0a2e8c77",
    "provider": "stripe",
    "name": "Arrakis, customers",
    "collection_ids": ["stripe:customer"],
    "credential": CREDENTIAL,
    "credential_id": CREDENTIAL_ID,
    "destination": {"id": DESTINATION_ID, "kind": "builtin", "schema": "sync_4f7c1e2a9b3d"},
    "destination_id": DESTINATION_ID,
    "rate_limit": {"allowed_requests": 20, "interval": 1, "max_concurrent_requests": 2},
    "max_age_days": None,
    "sync_frequency": "continuous",
    "metadata": {"customer": "arrakis"},
    "external_id": None,
    "stream_id": None,
    "status": "active",
    "health": {
        **WELL,
        "credential": WELL,
        "provider": WELL,
        "destination": WELL,
    },
    "collections": [
        {
            "id": "stripe:customer",
            "state": "fresh",
            "rows": 250,
            "last_synced_at": MADE,
            "next_at": MADE,
            "error": None,
        }
    ],
    "initial_backfill_completed_at": MADE,
    "created_at": MADE,
    "updated_at": MADE,
}
SYNC_RUN = {
    "id": "9c1f6a4e-07c1-4a52-8b7e-1d2a1c0e4f88",
    "started_at": MADE,
    "ended_at": MADE,
    "rows": {"stripe:customer": 250},
    "requests": 3,
    "waited_ms": 0,
    "stop": "done",
    "note": "",
}
COLLECTION = {
    "id": "stripe:customer",
    "name": "Customer",
    "primary_key": ["id"],
    "columns": {"created": "timestamp"},
    "sees": "updated",
    "deletes": "full_pass",
    "scopes": [],
    "docs": "https://docs.stripe.com/api/customers/list",
    "checked": "2026-11-22",
    "verified": None,
}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/v1/syncs"): Operation("listSyncs", "Syncs", "List syncs", pages("SyncPage", SYNC)),
    ("POST", "/v1/syncs"): Operation(
        "createSync",
        "Syncs",
        "Sync a provider's collections",
        made("Sync", SYNC),
        "Give one of `credential` and `credential_id`. `credential` is the token endpoint's object as it is: it is kept"
        " as by POST /v1/credentials. Without `destination_id` the rows go to the built-in sync database. `interval` is"
        " in seconds.",
        body=SyncSerializer,
        example={
            "provider": "stripe",
            "name": "Arrakis, customers",
            "collection_ids": ["stripe:customer"],
            "credential": NEW_CREDENTIAL,
            "rate_limit": {"allowed_requests": 20, "interval": 1, "max_concurrent_requests": 2},
        },
        errors=(404,),
        is_idempotent=True,
    ),
    ("GET", "/v1/syncs/{sync_id}"): Operation("getSync", "Syncs", "One sync", one("Sync", SYNC), errors=(404,)),
    ("PATCH", "/v1/syncs/{sync_id}"): Operation(
        "updateSync",
        "Syncs",
        "Change, disable or enable a sync",
        one("Sync", SYNC),
        "A collection that is taken away keeps its table; one that is added is filled from the beginning. Provider,"
        " credential and destination never change.",
        body=SyncChangesSerializer,
        example={"status": "disabled"},
        errors=(404,),
    ),
    ("DELETE", "/v1/syncs/{sync_id}"): Operation(
        "deleteSync",
        "Syncs",
        "Delete a sync",
        deleted(SYNC_ID),
        "Its schema is dropped a moment later, unless it is to stay.",
        errors=(404,),
    ),
    ("POST", "/v1/syncs/{sync_id}/refresh"): Operation(
        "refreshSync",
        "Syncs",
        "Look at once",
        one("Sync", SYNC),
        "At all collections, or at those that are named. `full` reads them from the first row on.",
        body=SyncRefreshSerializer,
        example={"collections": ["stripe:customer"], "full": True},
        is_body_optional=True,
        errors=(404, 409),
    ),
    ("GET", "/v1/syncs/{sync_id}/runs"): Operation(
        "listSyncRuns",
        "Syncs",
        "List what a sync did",
        pages("SyncRunPage", SYNC_RUN),
        "Of the last seven days.",
        errors=(404,),
    ),
    ("GET", "/v1/providers/{slug}/collections"): Operation(
        "listCollections",
        "Syncs",
        "List what of a provider can be synced",
        {200: Answer("One page, by id.", ref("CollectionPage"), {"data": [COLLECTION], "next_cursor": None})},
        "By its slug or an alias. Some collections are found with a credential alone.",
        errors=(404,),
    ),
}
