"""What the pages of a sync say of its collections, its progress and its health, in words."""

import re
from datetime import datetime

from django.utils import timezone

from credentials.console import words
from providers.collection import Collection
from syncs import collections
from syncs.models import Sync

# What a note says to do by the API, and what is done here instead
BY_THE_API = (
    (re.compile(r"Send the end user to the link that POST /v1/\S+ answers;"), "Reconnect the credential;"),
    (re.compile(r"Post the credential anew,"), "Connect the account again,"),
)
SEEN = {
    "updated": "New and changed rows come with each pass.",
    "created": "New rows come with each pass, changed ones with a full pass.",
    "nothing": "Each pass reads every row.",
}
GONE = {
    "full_pass": "Rows that are gone are marked by a full pass.",
    "none": "Rows that are gone stay.",
}
FLAGGED = "Rows that are gone say so themselves."
STATES = {
    "waiting": ("", "waiting"),
    "backfilling": ("info", "backfilling"),
    "fresh": ("ok", "fresh"),
    "error": ("error", "error"),
}


def in_the_console(note: str) -> str:
    """A note of a sync's health, without the address in the API of what a button here does."""
    for by_the_api, here in BY_THE_API:
        note = by_the_api.sub(here, note)
    return words.in_the_console(note)


def sees(collection: Collection) -> str:
    """What a sync finds of the collection, and when."""
    return f"{SEEN[collection.sees]} {GONE.get(collection.deletes, FLAGGED)}"


def title_of(sync: Sync, bare: str) -> str:
    found = collections.of_name(sync, bare)
    return found.title if found else bare


def state(told: str) -> tuple[str, str]:
    """The badge's colour and word."""
    return STATES.get(told, ("", told))


def rows_of(sync: Sync) -> int:
    return sum(sync.progress.get(name, {}).get("rows") or 0 for name in sync.bare_ids())


def counted(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def progress(sync: Sync) -> str:
    """How far the first walk over everything is; once that is done, how many rows there are."""
    rows, names = counted(rows_of(sync), "row"), sync.bare_ids()
    if sync.initial_backfill_completed_at is not None:
        return rows
    complete = sum(bool(sync.progress.get(name, {}).get("backfilled")) for name in names)
    return f"{rows} · {complete} of {counted(len(names), 'collection')}"


def due(sync: Sync) -> str:
    """When it goes on."""
    if not sync.is_active:
        return "none while it is disabled"
    return "now" if sync.next_at <= timezone.now() else words.relative(sync.next_at)


def moment(text: str | None) -> datetime | None:
    """A time of the progress, as it is kept there."""
    return datetime.fromisoformat(text) if text else None
