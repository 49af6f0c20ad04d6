"""What every benchmark stands on: a database of its own, a stopwatch, a silent log, and a bare view to compare with."""

import io
import logging
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django
from django.conf import settings

settings.ROOT_URLCONF = "bench.urls"
django.setup()  # before models are imported

from django.db import connection
from django.test.utils import CaptureQueriesContext, setup_test_environment


class Stopwatch:
    """Processor time of this process, and time on the clock, by name; both in seconds."""

    def __init__(self) -> None:
        self.processor: dict[str, list[float]] = {}
        self.clock: dict[str, list[float]] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        processor, clock = time.process_time(), time.perf_counter()
        yield
        self.processor.setdefault(name, []).append(time.process_time() - processor)
        self.clock.setdefault(name, []).append(time.perf_counter() - clock)

    def median(self, name: str, *, warm_up: int = 0) -> float:
        """Of the processor time."""
        return statistics.median(self.processor[name][warm_up:])


@contextmanager
def database() -> Iterator[None]:
    connection.creation.create_test_db(verbosity=0)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(settings.DATABASES["default"]["NAME"], verbosity=0)


def prepare() -> None:
    """Log lines are made, which belongs to the cost, and thrown away."""
    setup_test_environment()
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(io.StringIO())


@contextmanager
def counting() -> Iterator[list[int]]:
    """One number: how many statements went to the database in the block."""
    count: list[int] = []
    with CaptureQueriesContext(connection) as queries:
        yield count
    count.append(len(queries))
