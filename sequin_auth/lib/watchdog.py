"""One thread that cuts short whatever is not over in time: a timer each would be a thread each."""

import heapq
import itertools
import os
import threading
import time
from typing import Protocol


class Cuttable(Protocol):
    """`cut` returns at once, and does no harm to what is over."""

    ends_at: float  # by time.monotonic()

    def cut(self) -> None: ...


class Watchdog:
    def __init__(self) -> None:
        self.begin()
        os.register_at_fork(after_in_child=self.begin)  # the thread stays behind, and may have held the lock

    def begin(self) -> None:
        self.news = threading.Condition()
        self.watched: list[tuple[float, int, Cuttable]] = []
        self.numbers = itertools.count()
        self.thread: threading.Thread | None = None

    def watch(self, what: Cuttable) -> None:
        """Have it cut when its time is over. Nobody has to say that it is over before."""
        with self.news:
            heapq.heappush(self.watched, (what.ends_at, next(self.numbers), what))
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self.look_after_them, name="watchdog", daemon=True)
                self.thread.start()
            elif self.watched[0][2] is what:
                self.news.notify()

    def look_after_them(self) -> None:
        while True:
            with self.news:
                while not self.watched or self.watched[0][0] > time.monotonic():
                    self.news.wait(self.watched[0][0] - time.monotonic() if self.watched else None)
                _, _, what = heapq.heappop(self.watched)
            what.cut()


watchdog = Watchdog()
