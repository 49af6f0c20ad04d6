"""A provider that keeps whoever asks it waiting, until the test lets it answer."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tests.lib.servers import Visit
from tests.real.machine import until
from tests.security.stand_in import Behaviour, Request

Answer = TypeVar("Answer")


class Gate:
    """`Gate(behaviour)` is a behaviour of its own: it answers as `behaviour` once `open()` was called."""

    PATIENCE = 20.0  # seconds; no call of the product waits that long

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.is_open = threading.Event()
        self.waiting = 0

    def __call__(self, visit: Visit, request: Request) -> None:
        self.waiting += 1
        self.is_open.wait(self.PATIENCE)
        self.behaviour(visit, request)

    def open(self) -> None:
        self.is_open.set()

    def until_somebody_waits(self, number: int = 1) -> None:
        until(lambda: self.waiting >= number, what=f"{number} call(s) are at the provider")


def meanwhile(do: Callable[[], Answer]) -> "Future[Answer]":
    """`do`, in a thread of its own."""
    threads = ThreadPoolExecutor(1)
    doing = threads.submit(do)
    threads.shutdown(wait=False)
    return doing
