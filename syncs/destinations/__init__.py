"""
Where rows go: our own sync database, or a customer's PostgreSQL.

* `target_of(destination)`, `connect(target)`: how to get there. An address is judged each time
* `prepare(destination, schema)`, `drop(destination, schema)`: the schemas of one sync
* `check(target)`: whether we may do there what we have to
* `reader(destination)`: a role that may read the account's schemas and nothing else, in our own database
* `erase_later(account_id)`, `erase_what_is_left()`: what an account leaves there when it is gone
"""

from typing import Any
from uuid import UUID

import structlog
from django.utils import timezone

from syncs.destinations import builtin, customers, schemas
from syncs.destinations.builtin import NoReader
from syncs.destinations.customers import check
from syncs.destinations.target import (
    CheckFailed,
    DestinationUnavailable,
    NoSyncDatabase,
    Target,
    connect,
    cut_off_after,
)
from syncs.models import Destination, ErasedAccount

__all__ = [
    "CheckFailed",
    "DestinationUnavailable",
    "NoReader",
    "NoSyncDatabase",
    "Target",
    "check",
    "connect",
    "cut_off_after",
    "drop",
    "erase_later",
    "erase_what_is_left",
    "prepare",
    "reader",
    "target_of",
]

log = structlog.get_logger("syncs")


def target_of(destination: Destination) -> Target:
    """Raises DestinationUnavailable, NoSyncDatabase."""
    return builtin.target() if destination.is_builtin else customers.target(destination)


def prepare(destination: Destination, schema: str) -> None:
    """What has to stand before rows are written. Raises DestinationUnavailable, CheckFailed."""
    if destination.is_builtin:
        builtin.prepare(destination, schema)
    else:
        customers.prepare(destination, schema)


def drop(destination: Destination, schema: str) -> None:
    """The schema and its staging; gone already is as good. Raises DestinationUnavailable."""
    schemas.drop(target_of(destination), schema)


def reader(destination: Destination) -> dict[str, Any]:
    """Raises NoReader, for a customer's database too; DestinationUnavailable."""
    if not destination.is_builtin:
        raise NoReader("The database is your own: you know how to connect to it.")
    return builtin.reader(destination)


def erase_later(account_id: UUID) -> None:
    """In the transaction in which the account goes: note what is to go from the sync database, if it has been there.

    What stands in customers' own databases stays theirs.
    """
    own = Destination.objects.of(account_id).filter(kind=Destination.Kind.BUILTIN).first()
    if own is None or not builtin.was_made():
        return
    known = {*own.syncs.values_list("schema", flat=True), *own.dropped_schemas.values_list("schema", flat=True)}
    noted, _ = ErasedAccount.objects.get_or_create(pk=account_id)  # before its syncs were deleted, maybe
    noted.schemas, noted.created_at = sorted(known.union(noted.schemas)), timezone.now()
    noted.save()


def erase_what_is_left(account_id: UUID | None = None) -> None:
    """Of all accounts that are gone, or of one; what is away is tried the next time.

    It is done again and again for a while: a slice that was at work makes its schema anew.
    """
    gone = ErasedAccount.objects.all()
    for erased in gone if account_id is None else gone.filter(pk=account_id):
        try:
            builtin.erase(erased.pk, erased.schemas)
        except DestinationUnavailable as exc:
            log.warning("account_not_erased", account=str(erased.pk), reason=exc.reason)
            continue
        if erased.created_at < timezone.now() - ErasedAccount.KEPT:
            erased.delete()
