"""
A thread that writes, every few seconds, what others collect in memory, so that nobody has to wait for it. A process
that ends in good order, as on SIGTERM, writes one last time; one that is killed forgets what it had not written yet.
"""

import atexit
import threading
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, connection

Write = Callable[[], object]

LONGEST = 5.0  # seconds that the end of a process waits for the last time

writes: dict[Write, None] = {}  # in the order in which they were asked for
lock = threading.Lock()
thread: threading.Thread | None = None
stopping = threading.Event()


def have_written(write: Write) -> None:
    """Have `write` called from now on, every few seconds, and once more as the process ends."""
    global thread  # noqa: PLW0603 - one thread in a process
    if not settings.USES_WRITTEN_EVERY:
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
        is_last = stopping.wait(settings.USES_WRITTEN_EVERY)
        write_all()


def write_all() -> None:
    for write in list(writes):
        try:
            write()
        except DatabaseError:
            pass  # neither the order of refreshes nor their number is worth noise
        finally:
            connection.close()
