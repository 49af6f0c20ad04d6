"""
Proves the chains of audit events (audit_seals.py) and says where they are broken: reads everything, writes nothing.

* Walk           along one chain; the retention takes it too, before it removes anything
* Verification   of all chains, or of one account's
"""

import hmac
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, Subquery

from oauth_apps import audit_seals
from oauth_apps.audit_seals import (
    FORGOTTEN,
    NAME,
    NEWEST,
    PLATFORM,
    SEAL_SIZE,
    SEALED,
    audit_key,
    can_be_ends,
    masked,
    seal_of,
    shown,
)
from oauth_apps.models import Account, AuditChain, AuditEvent, AuditKey
from sequin_auth.lib.encryption import Unreadable

BATCH = 1000  # rows that are read at once

EVENTS = AuditEvent._meta.db_table
# PostgreSQL tells of times for which Python has no word: NULL, whose seal is no event's
TIME = "CASE WHEN created_at BETWEEN '0001-01-02 00:00+00' AND '9999-12-30 00:00+00' THEN created_at END"
ROWS = f"""
    SELECT {", ".join(TIME if column == "created_at" else column for column in SEALED)}, seal, account_id FROM {EVENTS}
"""  # noqa: S608 (names of ours, no values)


# ---- one chain -------------------------------------------------------------------------------------------------------


class Walk:
    """Along one chain, from what the retention has left to its end."""

    def __init__(self, head: AuditChain, key: bytes) -> None:
        self.head, self.key, self.name = head, key, shown(head.name)
        self.number = head.forgotten
        ends = (head.number, bytes(head.seal), head.forgotten, bytes(head.forgotten_seal))
        self.has_ends = head.number > 0 and can_be_ends(*ends)  # a chain begins with its first event
        self.seal: bytes | None = None
        if self.has_ends:
            self.seal = masked(key, FORGOTTEN, head.name, head.forgotten, bytes(head.forgotten_seal))
        self.is_first = True

    def begins(self) -> Iterator[str]:
        if not NAME.fullmatch(self.head.name):
            yield f"{self.name}: is not the name of a chain."
        if not self.has_ends:
            yield f"{self.name}: the row of the chain was changed: its numbers and its seals cannot belong together."

    def meets(self, values: Sequence[Any], seal: bytes) -> Iterator[str]:
        """The next event. After a gap it cannot be told whether it was changed: its seal is taken as it is."""
        number = values[-1]
        if number is None:
            yield f"{self.name}: the event {values[0]} has no number."
            return
        if number <= self.head.forgotten:
            yield f"{self.name}, number {number}: is there, though the retention has removed it."
            return
        if number != self.number + 1:
            where = " at the beginning, which the retention has not removed" if self.is_first else ""
            yield f"{self.name}: {span(self.number + 1, number - 1)} missing{where}."
        elif not self.is_next(values, seal):
            yield f"{self.name}, number {number}: {self.what_is_wrong(values)}"
        self.number, self.seal, self.is_first = number, seal, False

    def is_next(self, values: Sequence[Any], seal: bytes) -> bool:
        if self.seal is None or values[1] is None:
            return False
        return hmac.compare_digest(seal_of(self.key, self.seal, values), seal)

    def what_is_wrong(self, values: Sequence[Any]) -> str:
        if self.is_first and self.head.forgotten:
            return "was changed, or what stands before it was not removed by the retention."
        return "was changed, or is not in its place."

    def at_the_end(self) -> Iterator[str]:
        newest = self.head.number
        if self.number < newest:
            yield f"{self.name}: {span(self.number + 1, newest)} missing: the end of the chain was cut off."
        elif self.number > newest:
            yield f"{self.name}: {span(newest + 1, self.number)} behind the end of the chain."
        elif self.has_ends and not self.is_the_newest():
            yield f"{self.name}, number {newest}: is not the event with which the chain ended."

    def is_the_newest(self) -> bool:
        if self.seal is None or len(self.seal) != SEAL_SIZE:
            return False
        return masked(self.key, NEWEST, self.head.name, self.head.number, self.seal) == bytes(self.head.seal)


def span(first: int, last: int) -> str:
    return f"number {first} is" if first == last else f"numbers {first} to {last} are"


# ---- all of them -----------------------------------------------------------------------------------------------------


class Verification:
    """A walk along all chains, or along those of one account, in bounded memory. `faults()` says what is wrong.

    Rows may say whatever somebody has written into the database: each is a line, and hides no other.
    """

    def __init__(self, account_id: UUID | None = None) -> None:
        self.account_id = account_id
        self.chains = self.events = self.forgotten = self.without_chain = 0

    def faults(self) -> Iterator[str]:
        """One line for each fault, in the order of the chains. Events that are written meanwhile are not looked at."""
        is_alone = not connection.in_atomic_block
        with transaction.atomic():
            if is_alone:  # one moment of the database for all that is read
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            if fault := fault_of_the_key():
                yield fault
                return
            mine = AuditChain.objects.all()
            if self.account_id is not None:
                mine = mine.filter(name__startswith=str(self.account_id))
            heads = mine.order_by("name").iterator(chunk_size=BATCH)
            batch: list[AuditChain] = []
            for head in heads:
                batch.append(head)
                if len(batch) == BATCH:
                    yield from self.faults_of(batch)
                    batch = []
            yield from self.faults_of(batch)
            yield from self.headless()
            yield from self.chainless()

    def of_account(self) -> Any:
        events = AuditEvent.objects.all()
        return events if self.account_id is None else events.filter(account=self.account_id)

    def headless(self) -> Iterator[str]:
        rows = AuditEvent.objects.filter(chain__isnull=False)
        if self.account_id is not None:
            own = str(self.account_id)
            foreign = self.of_account().filter(chain__isnull=False).exclude(chain__startswith=own).order_by("pk")
            for pk in foreign.values_list("pk", flat=True).iterator(chunk_size=BATCH):
                yield f"{own}: the event {pk} shows in the account, and belongs to another chain."
            rows = rows.filter(chain__startswith=own)
        known = AuditChain.objects.values("name")
        for name in rows.exclude(chain__in=known).order_by("chain").values_list("chain", flat=True).distinct():
            count = AuditEvent.objects.filter(chain=name).count()
            yield f"{shown(str(name))}: the row of the chain was removed, though it has {count} events."

    def chainless(self) -> Iterator[str]:
        """Only what is older than every chain may be without one. The retention removes it before it begins with any
        chain, so that there is none left when it has.
        """
        without = self.of_account().filter(chain__isnull=True)
        chained = AuditEvent.objects.filter(chain__isnull=False)
        is_forged = Q(created_at__gte=Subquery(chained.order_by("created_at").values("created_at")[:1]))
        if AuditChain.objects.filter(forgotten__gt=0).exists():
            is_forged = Q()
        forged = without.filter(is_forged).order_by("pk").values_list("pk", flat=True)
        number = 0
        for pk in forged.iterator(chunk_size=BATCH):
            number += 1
            yield f"The event {pk} is in no chain, and is not older than the chains are."
        self.without_chain = without.count() - number

    def faults_of(self, heads: Sequence[AuditChain]) -> Iterator[str]:
        walks = {head.name: Walk(head, audit_key()) for head in heads}
        accounts = {name.partition("/")[0] for name in walks if NAME.fullmatch(name)} - {PLATFORM}
        alive = {str(pk) for pk in Account.objects.filter(pk__in=accounts).values_list("pk", flat=True)}
        for walk in walks.values():
            yield from walk.begins()
        with connection.chunked_cursor() as cursor:
            cursor.execute(f"{ROWS} WHERE chain = ANY(%s) ORDER BY chain, number", [list(walks)])
            under_way: Walk | None = None
            for row in rows_of(cursor):
                *values, seal, account_id = row
                walk = walks[values[-2]]
                if walk is not under_way:
                    if under_way is not None:
                        yield from under_way.at_the_end()
                        walks.pop(under_way.head.name)
                    under_way = walk
                yield from walk.meets(values, bytes(seal or b""))
                owner = walk.name.partition("/")[0]
                if (account_id is None and owner in alive) or (account_id is not None and str(account_id) != owner):
                    yield f"{walk.name}, number {values[-1]}: was taken away from its account."
                self.events += 1
        for walk in walks.values():
            yield from walk.at_the_end()
        self.chains += len(heads)
        self.forgotten += sum(head.forgotten for head in heads)


def fault_of_the_key() -> str:
    """Why nothing can be proved, if so: without the key there is no seal. None is made here."""
    try:
        if AuditKey.objects.exists():
            audit_key()
            return ""
    except Unreadable:
        return "The key of the audit log does not open. Nothing can be proved."
    if audit_seals.keys or not (AuditChain.objects.exists() or AuditEvent.objects.filter(chain__isnull=False).exists()):
        return ""
    return "The key of the audit log was removed. Nothing can be proved."


def rows_of(cursor: Any) -> Iterator[Any]:
    while rows := cursor.fetchmany(BATCH):
        yield from rows
