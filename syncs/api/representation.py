"""A sync, its runs and a provider's collections as `/v1` shows them."""

from datetime import datetime
from typing import Any

from credentials.api.representation import representation as of_credential
from oauth_apps.models import HealthStatus
from providers.collection import Collection
from providers.provider import Provider
from sequin_auth.lib.api.fields import timestamp
from syncs import collections
from syncs.models import Sync, SyncRun

PARTS = ("credential", "provider", "destination")


def representation(sync: Sync) -> dict[str, Any]:
    """The members of an answer, in their order. Asks neither the provider's file nor the destination."""
    return {
        "id": str(sync.pk),
        "org_id": str(sync.account_id),
        "provider": sync.provider,
        "name": sync.name,
        "collection_ids": sync.collection_ids,
        "credential": of_credential(sync.credential),
        "credential_id": str(sync.credential_id),
        "destination": {"id": str(sync.destination_id), "kind": sync.destination.kind, "schema": sync.schema},
        "destination_id": str(sync.destination_id),
        "rate_limit": sync.rate_limit,
        "max_age_days": sync.max_age_days,
        "sync_frequency": sync.sync_frequency,
        "metadata": sync.metadata,
        "external_id": sync.external_id or None,
        "stream_id": sync.stream_id or None,
        "status": sync.status,
        "health": health(sync),
        "collections": [progress(sync, name) for name in sync.collection_ids],
        "initial_backfill_completed_at": shown(sync.initial_backfill_completed_at),
        "created_at": timestamp(sync.created_at),
        "updated_at": timestamp(sync.updated_at),
    }


def health(sync: Sync) -> dict[str, Any]:
    """The worst of its parts, and the parts; one of which nothing is known is well."""
    whole = {"status": sync.health_status, "notes": sync.health_notes, "time": timestamp(sync.health_time)}
    parts = {name: sync.health_parts.get(name, {}) for name in PARTS}
    return whole | {
        name: {
            "status": part.get("status", HealthStatus.OK),
            "notes": part.get("notes", []),
            "time": moment(part.get("time")) or timestamp(sync.health_time),
        }
        for name, part in parts.items()
    }


def progress(sync: Sync, name: str) -> dict[str, Any]:
    """How far the collection `name` is."""
    told = sync.progress.get(name.partition(":")[2], {})
    return {
        "id": name,
        "state": told.get("state", "waiting"),
        "rows": told.get("rows", 0),
        "last_synced_at": moment(told.get("last_synced_at")),
        "next_at": moment(told.get("next_at")),
        "error": told.get("error") or None,
    }


def shown(time: datetime | None) -> str | None:
    return timestamp(time) if time else None


def moment(text: str | None) -> str | None:
    return timestamp(datetime.fromisoformat(text)) if text else None


def of_run(run: SyncRun, provider: str) -> dict[str, Any]:
    """`stop` is null while it goes on."""
    return {
        "id": str(run.pk),
        "started_at": timestamp(run.started_at),
        "ended_at": shown(run.ended_at),
        "rows": {f"{provider}:{name}": number for name, number in run.rows.items()},
        "requests": run.requests,
        "waited_ms": run.waited_ms,
        "stop": run.stop or None,
        "note": run.note,
    }


def of_collection(provider: Provider, collection: Collection) -> dict[str, Any]:
    return {
        "id": collections.name_of(provider, collection),
        "name": collection.title,
        "primary_key": collection.keys,
        "columns": collection.columns,
        "sees": collection.sees,
        "deletes": collection.deletes,
        "scopes": collection.scopes,
        "docs": collection.docs,
        "checked": collection.checked.isoformat(),
        "verified": collection.verified.isoformat() if collection.verified else None,
    }
