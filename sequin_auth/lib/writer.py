"""
A thread that writes, every few seconds, what others collect in memory, so that nobody has to wait for it: uses,
numbers, the reads of the audit log. A process that ends in good order, as on SIGTERM, writes one last time; one that is
killed forgets what it had not written yet.
"""

import atexit
import threading
import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final, TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError, connection

log = structlog.get_logger("sequin_auth.writer")

Write = Callable[[], object]
Key = TypeVar("Key")
Value = TypeVar("Value")

LONGEST = 5.0  # seconds that the end of a process waits for the last time
SAID_EVERY: Final = 60.0  # seconds; how often a `write` that goes on failing has a line in the log
AWAY: Final = (OperationalError, InterfaceError, InternalError)  # the last: a server that has become a read-only one

writes: dict[Write, None] = {}  # in the order in which they were asked for
said_at: dict[Write, float] = {}
lock = threading.Lock()
thread: threading.Thread | None = None
stopping = threading.Event()


def keep_calling(write: Write) -> None:
    """Have `write` called from now on, every few seconds, and once more as the process ends."""
    global thread  # noqa: PLW0603 - one thread in a process
    if not settings.WRITTEN_EVERY:
        return
    if write in writes and thread is not None and thread.is_alive():  # as nearly always
        return
    with lock:
        writes[write] = None
        if thread is not None and thread.is_alive():
            return
        thread = threading.Thread(target=write_now_and_then, name="writer", daemon=True)
        thread.start()
    atexit.unregister(stop)  # of a thread before this one
    atexit.register(stop)


def stop() -> None:
    """Returns when what was collected until now is written, or when that takes too long."""
    stopping.set()
    if thread is not None:
        thread.join(LONGEST)


def write_now_and_then() -> None:
    is_last = False
    while not is_last:
        is_last = stopping.wait(settings.WRITTEN_EVERY)
        write_all()


def write_all() -> None:
    """Each of them, whatever becomes of the one before."""
    for write in list(writes):
        try:
            write()
        except Exception as exc:  # noqa: BLE001 - the others' turn comes all the same, and its own again
            say(write, exc)
        finally:
            connection.close()


def say(write: Write, exc: Exception) -> None:
    """While the database is away all of them fail every few seconds, which is worth one line a minute."""
    now = time.monotonic()
    if now - said_at.get(write, -SAID_EVERY) < SAID_EVERY:
        return
    said_at[write] = now
    log.error("not_written", task=f"{write.__module__}.{write.__qualname__}", reason=type(exc).__name__)


def add(
    numbers: dict[Key, Value],
    to: Callable[[Mapping[Key, Value]], object],
    *,
    put_back: Callable[[Mapping[Key, Value]], object],
) -> None:
    """Have `numbers` added by `to`, in one statement.

    `put_back` gets what could not be written because the database is away; then its error is raised. A row that the
    database does not take, it would never take: the others are written without it, and the log says so.
    """
    parts, dropped, reason = [numbers], 0, ""
    while parts:
        part = parts.pop()
        try:
            to(part)
        except AWAY:
            for one in (part, *parts):
                put_back(one)
            raise
        except DatabaseError as exc:
            dropped, reason = dropped + (len(part) == 1), type(exc).__name__
            parts += halves(part) if len(part) > 1 else []
    if dropped:
        log.error("rows_dropped", task=f"{to.__module__}.{to.__qualname__}", reason=reason, count=dropped)


def halves(numbers: dict[Key, Value]) -> list[dict[Key, Value]]:
    middle, items = len(numbers) // 2, iter(numbers.items())
    return [dict(islice(items, middle)), dict(items)]
