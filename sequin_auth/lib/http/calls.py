"""One call on its way: how long it may take, how many others may be under way, and that no transaction waits for it."""

import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType
from typing import Any, Self

import structlog
from django.conf import settings
from django.db import connections

from sequin_auth.lib.http.destinations import Destination
from sequin_auth.lib.http.errors import Busy, InTransaction, Unreachable
from sequin_auth.lib.watchdog import watchdog

CALLS_AT_ONCE = 8  # per host and port, unless a context allows itself more
PATIENCE = 0.25  # seconds to wait for one of them; fifty that wait must not hold every thread for long
OURS = {"sequin_auth", "providers", "oauth_apps", "credentials", "syncs"}

log = structlog.get_logger("sequin_auth")

in_flight: Counter[str] = Counter()
turn = threading.Condition()
calls_at_once: ContextVar[int | None] = ContextVar("calls_at_once", default=None)


class Call:
    """One request on its way. When its time is over, a watchdog cuts the connection, wherever it stands."""

    def __init__(self, destination: Destination, deadline: float) -> None:
        self.destination = destination
        self.ends_at = time.monotonic() + deadline
        self.was_cut = False
        self.lock = threading.Lock()
        self.lifeline: socket.socket | None = None

    def __enter__(self) -> Self:
        watchdog.watch(self)
        return self

    def __exit__(self, *raised: object) -> None:
        if lifeline := self.let_go():
            lifeline.close()

    @property
    def is_over(self) -> bool:
        return self.was_cut or not self.time_left()

    def time_left(self) -> float:
        return max(0.0, self.ends_at - time.monotonic())

    def hold(self, connection: socket.socket) -> None:
        """A descriptor of our own: TLS and urllib3 hand the first one around, and close it when they like."""
        with self.lock:
            if self.was_cut:
                connection.close()
                raise Unreachable("No connection within the deadline.")
            self.lifeline = connection.dup()

    def let_go(self) -> socket.socket | None:
        """From now on nothing is cut; what could be, if there is a connection."""
        with self.lock:
            lifeline, self.lifeline = self.lifeline, None
        return lifeline

    def cut(self) -> None:
        """A timeout would not do: it bounds each read, and a byte in time renews it. Closing wakes no reader."""
        with self.lock, suppress(OSError):
            self.was_cut = True
            if self.lifeline:
                self.lifeline.shutdown(socket.SHUT_RDWR)


@contextmanager
def bulkhead(call: Call) -> Iterator[None]:
    """A place among the calls to one host and port, so that a provider that hangs takes no other with it."""
    authority, most = call.destination.authority, calls_at_once.get() or CALLS_AT_ONCE
    with turn:
        if not turn.wait_for(lambda: in_flight[authority] < most, min(PATIENCE, call.time_left())):
            raise Busy("Too many calls to this host are under way.")
        in_flight[authority] += 1
    try:
        yield
    finally:
        with turn:
            in_flight[authority] -= 1
            if not in_flight[authority]:
                del in_flight[authority]
            turn.notify_all()


# ---- no transaction --------------------------------------------------------------------------------------------------


def no_transaction_waits() -> None:
    """Django marks the transactions of its test cases, which stand around whatever is tested: those do not count."""
    opened = connections.all(initialized_only=True)
    blocks: list[Any] = [block for connection in opened for block in connection.atomic_blocks]
    if all(block._from_testcase for block in blocks):
        return
    if settings.OUTBOUND_IN_TRANSACTION_FAILS:
        raise InTransaction("A call would leave the machine while a database transaction is open.")
    place = callers()
    if place not in told_places and len(told_places) < 100:
        told_places.add(place)
        log.error("outbound_in_transaction", place=place)


told_places: set[str] = set()  # each is worth one line


def callers() -> str:
    """Which of our functions have led here, the nearest first."""
    frame: FrameType | None = sys._getframe(1)
    found = list[str]()
    while frame is not None and len(found) < 6:  # as many as it takes to leave what all calls have in common
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] in OURS and not name.startswith(str(__package__)):
            found.append(f"{name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(found)
