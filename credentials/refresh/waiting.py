"""
Those who wait for a refresh that somebody else makes, in this process or in another.

However many wait in a process, one of its threads looks out for all of them: one small statement every 20 ms while
anybody waits, which brings the rows that have changed. So nobody is woken for nothing, nobody reads for himself what
the others have read, and it works through a pooler that keeps no session (LISTEN would not).
"""

import contextlib
import copy
import threading
import time
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import structlog
from django.db import connection
from django.views.decorators.debug import sensitive_variables

from credentials.models import Token
from sequin_auth.lib.postgres.statements import columns_of, instance_of

log = structlog.get_logger("credentials")

LOOKS_EVERY = 0.02  # seconds
LONG = 2.0  # seconds of a refresh after which its provider seems to hang
LOOKS_LATER_EVERY = 0.1  # seconds, from then on
MOST_WAITING = 4  # in a process, for refreshes that take so long; with CALLS_AT_ONCE of lib/http it leaves threads
waiting_long = threading.BoundedSemaphore(MOST_WAITING)

TABLE = Token._meta.db_table
STATEMENT = f"""
    SELECT waited.id, waited.version, waited.attempts, {columns_of(Token)}
    FROM unnest(%s::uuid[], %s::integer[], %s::bigint[]) AS waited (id, version, attempts)
    LEFT JOIN {TABLE} ON {TABLE}.credential_id = waited.id
    WHERE NOT coalesce(
        {TABLE}.version = waited.version AND {TABLE}.attempts = waited.attempts
        AND {TABLE}.lease_until > statement_timestamp(), false
    )
"""  # noqa: S608 (names of ours, no values)


class Refresh(NamedTuple):
    """One that is under way: it has come to its end when any of these is another."""

    credential: uuid.UUID
    version: int
    attempts: int


class Making:
    """By a thread of this process, for as long as its lease is good. `has_lease`: it is not just about to take it."""

    has_lease = False


class Line:
    """Those in this process who wait for one refresh."""

    def __init__(self) -> None:
        self.number, self.since = 0, time.monotonic()
        self.is_over = threading.Event()
        self.row: Token | None = None  # as it was then; None if it is gone, or could not be read


news = threading.Condition()  # guards what follows; told when a refresh of this process has come to its end
lines: dict[Refresh, Line] = {}
made_here: dict[Refresh, Making] = {}
has_lookout = False


def of(token: Token) -> Refresh:
    return Refresh(token.pk, token.version, token.attempts)


# ---- for the one who makes it ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def made(token: Token) -> Iterator[bool]:
    """While the block tries to refresh `token`, others of this process wait for it. False if another one does so."""
    refresh, mine = of(token), Making()
    with news:
        is_first = made_here.setdefault(refresh, mine) is mine
    try:
        yield is_first
    finally:
        if is_first:
            with news:
                if made_here.get(refresh) is mine:  # else its lease has ended, and another one may be at it
                    del made_here[refresh]
                news.notify_all()


def has_lease(token: Token) -> None:
    """From now on the row says how it goes."""
    with news:
        if making := made_here.get(of(token)):
            making.has_lease = True


# ---- for those who wait ----------------------------------------------------------------------------------------------


@sensitive_variables()
def wait_for_change(token: Token, *, until: float) -> Line | None:
    """Wait until somebody's refresh has come to an end, or its lease has, or the time is up.

    Everybody may wait for a while; where a provider hangs, few go on, whoever comes later included. None for those who
    may not: each that waits holds a thread, and other providers' callers need some.
    """
    with in_line(of(token)) as line:
        if line.is_over.wait(max(0.0, min(line.since + LONG, until) - time.monotonic())):
            return line
        if not waiting_long.acquire(blocking=False):
            return None
        try:
            line.is_over.wait(max(0.0, until - time.monotonic()))
        finally:
            waiting_long.release()
    return line


@sensitive_variables()
def joined(token: Token, *, until: float) -> Token | None:
    """If `token` is just being refreshed for others in this process: the row after that. None if not, or in vain.

    It needs no more of `token` than what names the refresh, and no statement.
    """
    with news:
        is_under_way = of(token) in made_here or of(token) in lines
    line = wait_for_change(token, until=until) if is_under_way else None
    return copy.copy(line.row) if line and line.row and line.row.version != token.version else None


@contextlib.contextmanager
def in_line(refresh: Refresh) -> Iterator[Line]:
    global has_lookout  # noqa: PLW0603 - one in a process
    with news:
        line = lines.setdefault(refresh, Line())
        line.number += 1
        if not has_lookout:
            has_lookout = True
            threading.Thread(target=look_out, name="lookout", daemon=True).start()
    try:
        yield line
    finally:
        with news:
            line.number -= 1
            if not line.number and lines.get(refresh) is line:
                del lines[refresh]


# ---- the lookout -----------------------------------------------------------------------------------------------------


def look_out() -> None:
    """Until nobody waits any more."""
    try:
        while waited := next_look():
            wake(ended_of(waited))
    finally:
        connection.close()


def next_look() -> list[Refresh]:
    """For whose end to look now; none if nobody waits."""
    global has_lookout  # noqa: PLW0603 - one in a process
    with news:
        if lines:
            is_young = any(time.monotonic() < line.since + LONG for line in lines.values())
            news.wait(LOOKS_EVERY if is_young else LOOKS_LATER_EVERY)
        has_lookout = bool(lines)
        return list(lines)


@sensitive_variables()
def ended_of(waited: list[Refresh]) -> dict[Refresh, Token | None]:
    """Those that have come to their end, each with its row. One that is about to take its lease has not."""
    with news:
        looked_for = [refresh for refresh in waited if refresh not in made_here or made_here[refresh].has_lease]
    try:
        return rows_of_ended(looked_for) if looked_for else {}
    except Exception as exc:  # noqa: BLE001 - whoever waits meets it for himself, instead of waiting in vain
        log.warning("lookout_failed", reason=type(exc).__name__)
        connection.close()
        return dict.fromkeys(looked_for)


@sensitive_variables()
def rows_of_ended(waited: list[Refresh]) -> dict[Refresh, Token | None]:
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT, [list(numbers) for numbers in zip(*waited, strict=True)])
        rows = [(Refresh(*row[:3]), row[3:]) for row in cursor.fetchall()]
    there = [(refresh, row) for refresh, row in rows if row[0] is not None]
    of_refresh = {refresh: instance_of(Token, row) for refresh, row in there}
    return {refresh: of_refresh.get(refresh) for refresh, _ in rows}


@sensitive_variables()
def wake(ended: dict[Refresh, Token | None]) -> None:
    with news:
        for refresh, row in ended.items():
            if refresh in made_here and made_here[refresh].has_lease:
                del made_here[refresh]  # a lease that has ended holds up nobody, though its thread still asks
            if line := lines.pop(refresh, None):
                line.row = row
                line.is_over.set()
