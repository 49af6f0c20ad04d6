"""Writes chains of audit events (audit_seals.py): adds at the one end, and at the other removes for the retention."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from oauth_apps.audit_seals import (
    FORGOTTEN,
    NEWEST,
    PLATFORM,
    SEALED,
    Broken,
    audit_key,
    can_be_ends,
    masked,
    seal_of,
    stop,
)
from oauth_apps.audit_verification import ROWS, Walk
from oauth_apps.models import AuditChain, AuditEvent
from sequin_auth.lib.postgres import statements

EVENTS, CHAINS = AuditEvent._meta.db_table, AuditChain._meta.db_table
COLUMNS = (*SEALED, "account_id", "user_id", "seal")
BATCH = 1000  # events that are removed at once


# ---- adding ----------------------------------------------------------------------------------------------------------


def append(events: Sequence[AuditEvent]) -> None:
    """Two statements, for however many chains. The first locks their rows until the transaction ends: accounts go
    first, in order.

    Raises Broken.
    """
    by_chain: dict[str, list[AuditEvent]] = defaultdict(list)
    for event in events:
        by_chain[event.chain or PLATFORM].append(event)
    if not by_chain:
        return
    names = sorted(by_chain)  # of hexadecimal digits, or "platform", which so is the last
    with transaction.atomic(savepoint=False):
        key, ends = audit_key(), dict[str, bytes]()
        for name, newest, end in ends_of({name: len(by_chain[name]) for name in names}):
            ends[name] = chain_up(key, name, newest, end, by_chain[name])
        insert([event for name in names for event in by_chain[name]], ends)


def ends_of(counts: Mapping[str, int]) -> Iterator[tuple[str, int, bytes]]:
    """Make room at the end of each chain for so many, in this order: its name, the newest number, the masked seal of
    the one before that room. Raises Broken.
    """
    rows = statements.run(
        f"""
        INSERT INTO {CHAINS} AS chain (name, number, seal, forgotten, forgotten_seal)
        SELECT name, count, '', 0, ''
        FROM unnest(%s::text[], %s::bigint[]) WITH ORDINALITY AS more (name, count, place) ORDER BY place
        ON CONFLICT (name) DO UPDATE SET number = chain.number + excluded.number
        RETURNING name::text, number, seal, forgotten, forgotten_seal
        """,  # noqa: S608 (names of ours, no values)
        [list(counts), list(counts.values())],
    )
    for name, newest, end, forgotten, forgotten_end in rows:
        if not can_be_ends(newest - counts[name], bytes(end), forgotten, bytes(forgotten_end)):
            raise Broken(stop(name))
        yield name, newest, bytes(end)


def chain_up(key: bytes, name: str, newest: int, end: bytes, events: Sequence[AuditEvent]) -> bytes:
    """Number and seal `events`, which are to be the newest of the chain. The new end, masked."""
    number = newest - len(events)
    seal, now = masked(key, NEWEST, name, number, end), timezone.now()
    for place, event in enumerate(events):
        number += 1
        event.number = number
        event.created_at = now + timedelta(microseconds=place)  # lists are in this order, and ties in any
        event.seal = seal = seal_of(key, seal, [getattr(event, column) for column in SEALED])
    return masked(key, NEWEST, name, number, seal)


def insert(events: Sequence[AuditEvent], ends: Mapping[str, bytes]) -> None:
    row = f"({', '.join(['%s'] * len(COLUMNS))})"
    statements.run(
        f"""
        WITH ended AS (
            UPDATE {CHAINS} AS chain SET seal = made.seal FROM unnest(%s::text[], %s::bytea[]) AS made (name, seal)
            WHERE chain.name = made.name
        )
        INSERT INTO {EVENTS} ({", ".join(COLUMNS)}) VALUES {", ".join([row] * len(events))}
        """,  # noqa: S608 (names of ours, no values)
        [list(ends), list(ends.values()), *(getattr(event, column) for event in events for column in COLUMNS)],
    )


# ---- forgetting ------------------------------------------------------------------------------------------------------


def forget(until: datetime) -> int:
    """Remove the events from before `until`, the oldest first; how many. What is left can be proved as before.

    Two at once do no harm: a chain that somebody has in his hands is passed over, until next time. So are all as long
    as there is one older than chains are: whatever is without a chain behind what the retention has removed is forged.
    """
    forgotten = forget_older_than_chains(until)
    if AuditEvent.objects.filter(created_at__lt=until, chain__isnull=True).exists():
        return forgotten
    outdated = AuditEvent.objects.filter(created_at__lt=until, chain__isnull=False)
    for name in list(outdated.order_by("chain").values_list("chain", flat=True).distinct()):
        while batch := forget_some(str(name), until):
            forgotten += batch
            if batch < BATCH:
                break
    return forgotten


@transaction.atomic
def forget_some(name: str, until: datetime) -> int:
    """Only what is whole is removed: else whoever sets back the time of an event has the retention remove it for him,
    and prove that it was the retention.
    """
    head = AuditChain.objects.select_for_update(skip_locked=True).filter(name=name).first()
    if head is None:
        if not AuditChain.objects.filter(name=name).exists():
            stop(name)
        return 0
    walk = Walk(head, audit_key())
    faults = list(walk.begins())
    with connection.cursor() as cursor:
        cursor.execute(f"{ROWS} WHERE chain = %s ORDER BY number LIMIT {BATCH}", [name])
        for *values, seal, _ in cursor.fetchall():
            if faults or (values[1] is not None and values[1] >= until):
                break
            faults.extend(walk.meets(values, bytes(seal or b"")))
    if faults or walk.number > head.number:
        stop(name)
        return 0
    if walk.number == head.forgotten:
        return 0
    removed = remove("chain = %s AND number <= %s", [name, walk.number])
    end = masked(walk.key, FORGOTTEN, name, walk.number, walk.seal or b"")
    AuditChain.objects.filter(name=name).update(forgotten=walk.number, forgotten_seal=end)
    return removed


def forget_older_than_chains(until: datetime) -> int:
    total = 0
    condition = f"""id IN (
        SELECT id FROM {EVENTS} WHERE chain IS NULL AND created_at < %s LIMIT {BATCH} FOR UPDATE SKIP LOCKED
    )"""  # noqa: S608 (names of ours, no values)
    while True:
        with transaction.atomic():
            removed = remove(condition, [until])
        total += removed
        if removed < BATCH:
            return total


def remove(condition: str, values: list[Any]) -> int:
    """The database lets nobody remove an event who does not say that it is the retention."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL sequin_auth.forgets = 'on'")
        cursor.execute(f"DELETE FROM {EVENTS} WHERE {condition}", values)  # noqa: S608 (words of ours)
        removed: int = cursor.rowcount
        cursor.execute("SET LOCAL sequin_auth.forgets = 'off'")
    return removed
