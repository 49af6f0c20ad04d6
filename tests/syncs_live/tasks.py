"""What a process does with syncs when a test tells it to; see tests.torture.children. Arguments, results are JSON."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from unittest import mock

from django.core.management import call_command
from django.utils import timezone
from dlt.destinations.impl.postgres.postgres import PostgresClient
from dlt.pipeline.pipeline import Pipeline

from oauth_apps.models import Account
from syncs import engine, jobs, slices, starting
from syncs.engine import tables
from syncs.models import Destination, Sync
from tests.credentials.stored import keep
from tests.real.machine import stand_still
from tests.syncs.api import SLUG

# Where a slice can be made to stand still: before one of these.
STEPS: dict[str, tuple[Any, str]] = {
    "the slice": (engine, "run"),
    "a page": (engine, "fetched"),
    "the rows are made ready": (Pipeline, "normalize"),
    "the load": (Pipeline, "load"),
    "the load is noted": (PostgresClient, "complete_load"),  # merged, and nobody will believe it
    "the tables are tidied": (tables, "tidy"),  # merged, and noted
    "it is written down": (slices, "noted"),
}


def prepare() -> None:
    call_command("sync_database", verbosity=0)


def make(collection: str) -> dict[str, str]:
    """A sync of it, with a key that does not end, in an account of its own."""
    account = Account.objects.create(name=collection)
    sync = Sync.objects.create(
        account=account,
        provider=SLUG,
        name=collection,
        credential=keep(account, f"{SLUG}_key", None, secret="canary-key"),
        collection_ids=[f"{SLUG}:{collection}"],
        destination=Destination.objects.builtin(account),
    )
    return {"id": str(sync.pk), "schema": sync.schema}


# ---- slices ----------------------------------------------------------------------------------------------------------


def slice_(sync: str, rows: int, stands: str = "", times: int = 1) -> str:
    """How one slice of so many rows has stopped. `stands`: a step before which the process stands still until SIGCONT,
    when it comes there the time that `times` counts.
    """
    smaller = mock.patch.object(engine, "Budget", partial(engine.Budget, rows=rows))
    with smaller, standing_still(stands, times) if stands else nullcontext():
        slices.run_slice(uuid.UUID(sync))
    run = Sync.objects.get(pk=sync).runs.order_by("started_at").last()
    return run.stop or "" if run else ""


@contextmanager
def standing_still(step: str, times: int) -> Iterator[None]:
    owner, name = STEPS[step]
    function = getattr(owner, name)
    left = times

    def stopped(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            stand_still()
        return function(*args, **kwargs)

    with mock.patch.object(owner, name, stopped):
        yield


def ask_for_all(sync: str) -> None:
    """Have the whole collection walked once more."""
    now = timezone.now()
    Sync.objects.filter(pk=sync).update(next_at=now, refresh_asked_at=now, full_refresh_asked_at=now)


def left_behind() -> list[str]:
    """Folders of slices."""
    return [folder.name for folder in starting.home().glob("slice-*")]


def sweep_folders() -> None:
    starting.sweep()


# ---- jobs ------------------------------------------------------------------------------------------------------------


def defer(sync: str) -> None:
    jobs.defer(uuid.UUID(sync))


def sweep() -> None:
    jobs.sweep()
