"""
What happens in this process, in numbers. To note something costs a microsecond and no statement: it is added up in
memory, and a thread adds that to the database every few seconds (oauth_apps/measures.py). A process that ends in good
order writes one last time; one that is killed takes the numbers of its last seconds along.

Labels are words of ours and slugs of the catalogue: there are few of them, and none says whose anything is.
"""

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Final


class Name(StrEnum):
    """What is counted, each by the labels that LABELS names."""

    REQUESTS = "requests"
    TRIPS = "trips"
    PROVIDER_CALLS = "provider_calls"
    PROVIDER_SECONDS = "provider_seconds"
    EGRESS_FAILURES = "egress_failures"
    LIMIT_REFUSALS = "limit_refusals"
    WEBHOOK_DELIVERIES = "webhook_deliveries"
    POOL_WAIT_SECONDS = "pool_wait_seconds"
    POOL_TIMEOUTS = "pool_timeouts"


# Seconds, the upper ends; what took longer falls into one more
BUCKETS: Final[Mapping[Name, tuple[float, ...]]] = {
    Name.REQUESTS: (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    Name.PROVIDER_SECONDS: (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
}
SUM: Final = "sum"  # the part of a histogram that is no bucket
Key = tuple[str, str, str]  # what, the values of its labels with commas between them, and of a histogram the part

numbers: dict[Key, float] = {}
lock = threading.Lock()
begin_writing: Callable[[], object] | None = None
is_written = False  # by a thread of this process


def count(name: Name, *labels: str, number: float = 1) -> None:
    """One more of it, or `number`."""
    key = (name, ",".join(labels), "")
    with lock:
        numbers[key] = numbers.get(key, 0) + number
    if not is_written:
        call_the_writer()


def observe(name: Name, seconds: float, *labels: str) -> None:
    """It took so long, this time."""
    told, bounds = ",".join(labels), BUCKETS[name]
    bucket, total = (name, told, str(bisect_left(bounds, seconds))), (name, told, SUM)
    with lock:
        numbers[bucket] = numbers.get(bucket, 0) + 1
        numbers[total] = numbers.get(total, 0) + seconds
    if not is_written:
        call_the_writer()


@contextmanager
def timed(name: Name, *labels: str) -> Iterator[None]:
    """Observe how long the block takes, however it ends."""
    started = time.perf_counter()
    try:
        yield
    finally:
        observe(name, time.perf_counter() - started, *labels)


def request(path: str, status: int, seconds: float) -> None:
    """A request has been answered."""
    observe(Name.REQUESTS, seconds, sort_of(path), f"{status // 100}xx")


LINKS: Final = {"start": "start", "callback": "callback", "token": "token", "revoke": "revoke"}
SORTS: Final = {"v1": "api", "admin": "console", "link": "pages", "sandbox": "sandbox"}


def sort_of(path: str) -> str:
    """What a path is for, in one of eleven words, whatever somebody asks for."""
    _, first, *rest = path.split("/", 4) if path.startswith("/") else ("", "")
    if first == "v1":
        return "access_token" if path.rstrip("/").endswith("/access-token") else "api"
    if first == "link" and len(rest) > 1 and rest[0] == "oauth2":
        return LINKS.get(rest[1], "pages")
    return SORTS.get(first, "other")


# ---- for whoever writes them -----------------------------------------------------------------------------------------


def taken() -> dict[Key, float]:
    """What was noted since the last time; it is the caller's now."""
    global numbers
    with lock:
        mine, numbers = numbers, {}
    return mine


def put_back(mine: Mapping[Key, float]) -> None:
    """What could not be written; it is added to what has been noted meanwhile."""
    with lock:
        for key, number in mine.items():
            numbers[key] = numbers.get(key, 0) + number


def written_by(begin: Callable[[], object]) -> None:
    """`begin` is called when there is something to write, once in each process."""
    global begin_writing  # noqa: PLW0603 - set at the start
    begin_writing = begin


def call_the_writer() -> None:
    global is_written  # noqa: PLW0603 - of this process
    if begin_writing is not None:
        is_written = True
        begin_writing()


def forget() -> None:
    """After a fork: the numbers are the parent's to write, and its thread has stayed there."""
    global is_written, numbers, lock
    is_written, numbers, lock = False, {}, threading.Lock()


os.register_at_fork(after_in_child=forget)
