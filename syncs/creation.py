"""
The life of a sync but for its work: it is made, changed, disabled, asked to look again, deleted.

Each function works in the caller's transaction, and on rows that the caller has locked; what it writes into the audit
log comes last.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials import imports
from credentials.imported import Import
from credentials.models import Credential
from oauth_apps import audit
from oauth_apps.audit import Actor
from oauth_apps.models import Account, AuditEvent
from providers import catalogue
from providers.discovered import Discovered
from providers.provider import Provider
from syncs import collections, jobs
from syncs.collections import Accepted, NotAccepted, NotLookedUp
from syncs.destinations import DestinationUnavailable, NoSyncDatabase, builtin
from syncs.models import Destination, DroppedSchema, Stop, Sync, SyncQuerySet

# What makes a sync look at once: a change of anything else can wait for its next turn
DUE_AFTER = ("status", "collection_ids", "sync_frequency")
REFUSED = (Stop.UNAUTHORIZED, Stop.FORBIDDEN)
MOST_ACTIVE = 500  # syncs of an account


KEEP_FIRST = (
    "Names what only the provider knows, which a stored credential is needed for: keep it by POST /v1/credentials,"
    " and say its credential_id."
)


class NotThere(Exception):
    """The account has nothing of that id. `field`: which one."""

    def __init__(self, field: str) -> None:
        super().__init__(f"There is nothing with this {field}.")
        self.field = field


class Disabled(Exception):
    """The sync does nothing."""

    def __init__(self) -> None:
        super().__init__("The sync is disabled: enable it first, by PATCH with the status active.")


# ---- it is made ------------------------------------------------------------------------------------------------------


def demand_sync_database(account: Account) -> None:
    """The built-in destination can be had. To be called in no transaction: that is where it is made, if need be.

    One that does not answer is no reason to refuse a sync, which waits for it. Raises NotAccepted.
    """
    try:
        builtin.target()
    except NoSyncDatabase as exc:
        raise NotAccepted({"destination_id": [str(exc)]}) from exc
    except DestinationUnavailable:
        return


@sensitive_variables()
def create(
    account: Account,
    *,
    provider: Provider,
    credential: Import | UUID,
    collection_ids: Sequence[str],
    destination_id: UUID | None,
    by: Actor | None = None,
    discovered: Sequence[Discovered] | None = None,
    **fields: Any,
) -> Sync:
    """A sync that begins at once. `credential`: one to be kept before, or the id of one that is. `discovered`: what the
    provider told, if it was asked. `fields`: of the row.

    Raises NotThere, NotAccepted, NotLookedUp; PropertiesNotAccepted, as imports.keep().
    """
    destination = destination_of(account, destination_id)
    events: list[AuditEvent] = []
    if isinstance(credential, Import):
        refuse_another_provider(provider, credential.kind.provider.slug, field="credential")
        found, is_new = imports.keep(account, credential)
        deed = "credential.created" if is_new else "credential.replaced"
        events.append(audit.event(deed, by=by, account=account, to=found, detail=found.kind))
    else:
        found = credential_of(account, credential)
        refuse_another_provider(provider, found.provider, field="credential_id")
    try:
        accepted = collections.accept(provider, found, collection_ids, found=discovered)
    except NotLookedUp as exc:
        if isinstance(credential, Import):
            raise NotAccepted({"collection_ids": [KEEP_FIRST]}) from exc
        raise
    refuse_one_more(account.pk)
    now = timezone.now()
    sync = Sync(
        account=account,
        provider=provider.slug,
        credential=found,
        collection_ids=accepted.names,
        discovered=accepted.discovered,
        destination=destination,
        next_at=now,
        health_time=now,
        created_at=now,
        updated_at=now,
        **fields,
    )
    sync.save(force_insert=True)
    jobs.wake(sync.pk)
    names = ", ".join(sync.collection_ids)
    audit.write([*events, audit.event("sync.created", by=by, account=account, to=sync, detail=names)])
    return sync


def credential_of(account: Account, credential_id: UUID) -> Credential:
    """Its row is kept from being deleted meanwhile. Raises NotThere."""
    rows = Credential.objects.of(account).whole().select_for_update(of=("self",), no_key=True)
    if (found := rows.filter(pk=credential_id).first()) is None:
        raise NotThere("credential_id")
    return found


def destination_of(account: Account, destination_id: UUID | None) -> Destination:
    """The built-in one, unless another is asked for. Raises NotThere."""
    if destination_id is None:
        return Destination.objects.builtin(account)
    rows = Destination.objects.of(account).select_for_update(no_key=True)
    if (found := rows.filter(pk=destination_id).first()) is None:
        raise NotThere("destination_id")
    return found


def refuse_another_provider(provider: Provider, slug: str, *, field: str) -> None:
    """Raises NotAccepted."""
    if slug != provider.slug:
        raise NotAccepted({field: [f"Is a credential of {slug}: a sync of {provider.slug} needs one of its own."]})


def refuse_one_more(account_id: UUID) -> None:
    """Raises NotAccepted if the account has as many active syncs as it may have."""
    if Sync.objects.of(account_id).active().count() >= MOST_ACTIVE:
        raise NotAccepted({"status": [f"An account has at most {MOST_ACTIVE} active syncs: disable or delete one."]})


# ---- it is changed ---------------------------------------------------------------------------------------------------


def change(
    sync: Sync,
    values: Mapping[str, Any],
    *,
    by: Actor | None = None,
    discovered: Sequence[Discovered] | None = None,
) -> None:
    """Write down `values`, by the names of the row. What begins to be due is looked at at once. `discovered`: what the
    provider told, if it was asked. Raises NotAccepted, NotLookedUp.
    """
    if "collection_ids" in values:
        accepted = accepted_again(sync, values["collection_ids"], discovered)
        values = {**values, "collection_ids": accepted.names, "discovered": accepted.discovered}
    changes = {name: value for name, value in values.items() if value != getattr(sync, name)}
    if not changes:
        return
    if changes.get("status") == Sync.Status.ACTIVE:
        refuse_one_more(sync.account_id)
    now = timezone.now()
    for name, value in changes.items():
        setattr(sync, name, value)
    is_due = sync.is_active and any(name in changes for name in DUE_AFTER)
    if is_due:
        sync.next_at = now
    sync.updated_at = now
    sync.save(update_fields=[*changes, "next_at", "updated_at"])
    if is_due:
        jobs.wake(sync.pk)
    audit.write(list(events_of(sync, changes, by)))


def accepted_again(sync: Sync, names: Sequence[str], found: Sequence[Discovered] | None) -> Accepted:
    """Raises NotAccepted, NotLookedUp."""
    provider = catalogue.find(sync.provider)
    if provider is None:
        raise NotAccepted({"collection_ids": ["Cannot be changed: the provider is not in the catalogue any more."]})
    return collections.accept(provider, sync.credential, names, found=found, discovered=sync.discovered)


def events_of(sync: Sync, changes: Mapping[str, Any], by: Actor | None) -> list[AuditEvent]:
    deeds = {"sync.enabled" if sync.is_active else "sync.disabled": ""} if "status" in changes else {}
    if others := [name for name in changes if name not in {"status", "discovered"}]:
        deeds["sync.changed"] = ", ".join(others)
    return [audit.event(deed, by=by, account=sync.account_id, to=sync, detail=told) for deed, told in deeds.items()]


# ---- it is asked to look again ---------------------------------------------------------------------------------------


def refresh(sync: Sync, names: Sequence[str] = (), *, full: bool = False, by: Actor | None = None) -> None:
    """Have it begin a new pass over the collections `names`, or all; `full`: from the first row on.

    What was asked for before and has not been done yet is still to be done. Raises Disabled.
    """
    if not sync.is_active:
        raise Disabled
    every = sync.bare_ids()
    asked = {name.partition(":")[2] for name in names} or set(every)
    asked |= still_to_be_done(sync, every)
    now = timezone.now()
    sync.refresh_collections = [] if asked.issuperset(every) else [name for name in every if name in asked]
    sync.refresh_asked_at = sync.next_at = now
    if full:
        sync.full_refresh_asked_at = now
    sync.save(update_fields=["refresh_collections", "refresh_asked_at", "full_refresh_asked_at", "next_at"])
    jobs.wake(sync.pk, priority=jobs.ASKED_FOR)
    detail = ", ".join([*(["in full"] if full else []), *names])
    audit.record("sync.refreshed", by=by, account=sync.account_id, to=sync, detail=detail)


def still_to_be_done(sync: Sync, every: Sequence[str]) -> set[str]:
    """The collections whose last pass ended before a new one was asked for, the time before this."""
    asked_at = sync.refresh_asked_at
    if asked_at is None:
        return set()
    ended = {name: sync.progress.get(name, {}).get("last_synced_at") for name in sync.refresh_collections or every}
    return {name for name, time in ended.items() if time is None or datetime.fromisoformat(time) < asked_at}


def go_on(credential_id: UUID, *, needed_owner: bool) -> None:
    """Have the syncs of a credential that has new tokens look at once; unless it `needed_owner`, those alone that were
    refused with the tokens before.
    """
    waiting = Sync.objects.active().filter(credential=credential_id)
    if not needed_owner:
        waiting = waiting.filter(failure__in=REFUSED)
    with transaction.atomic():
        found = list(waiting.values_list("pk", flat=True))
        Sync.objects.filter(pk__in=found).update(next_at=timezone.now())
        for sync_id in found:
            jobs.wake(sync_id)


# ---- it is deleted ---------------------------------------------------------------------------------------------------


def delete(syncs: SyncQuerySet, *, keep_data: bool = False, by: Actor | None = None) -> list[AuditEvent]:
    """Delete them, and unless `keep_data` have their schemas dropped. The events are still to be written, last."""
    gone = list(syncs.order_by("pk").select_for_update(of=("self",)))
    detail = "its tables were kept" if keep_data else ""
    events = [audit.event("sync.deleted", by=by, account=sync.account_id, to=sync, detail=detail) for sync in gone]
    if gone and not keep_data:
        DroppedSchema.objects.bulk_create(
            DroppedSchema(destination_id=sync.destination_id, schema=sync.schema) for sync in gone
        )
        jobs.drop_soon()
    Sync.objects.filter(pk__in=[sync.pk for sync in gone]).delete()
    return events
