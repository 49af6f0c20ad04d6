"""
What processes have noted in memory (sequin_auth/lib/measures.py), in the database and back from there as metrics: every
process answers the same.
"""

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from django.db import connection
from django.db.models import Count, Sum
from django.db.models.functions import Now
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from oauth_apps.models import Measure, Process
from sequin_auth.lib import measures, writer
from sequin_auth.lib.measures import BUCKETS, SUM, Name

Kept = Mapping[tuple[str, str, str], float]

COUNTERS: dict[Name, tuple[str, str, list[str]]] = {
    Name.TRIPS: ("trips", "What became of trips of end users.", ["provider", "outcome"]),
    Name.PROVIDER_CALLS: (
        "provider_calls",
        "Calls to token endpoints, by what was asked and what came of it.",
        ["call", "provider", "outcome"],
    ),
    Name.EGRESS_FAILURES: ("egress_failures", "Outbound calls without an answer, by the reason.", ["reason"]),
    Name.LIMIT_REFUSALS: ("limit_refusals", "Requests that a limit refused.", ["limit"]),
    Name.WEBHOOK_DELIVERIES: ("webhook_deliveries", "Attempts to deliver a webhook.", ["outcome"]),
    Name.POOL_WAIT_SECONDS: (
        "database_pool_wait_seconds",
        "Time that threads waited for a connection of the pool.",
        [],
    ),
    Name.POOL_TIMEOUTS: ("database_pool_timeouts", "How often a thread waited for a connection in vain.", []),
}
HISTOGRAMS: dict[Name, tuple[str, str, list[str]]] = {
    Name.REQUESTS: ("http_request_seconds", "How long requests took, until their answer began.", ["route", "status"]),
    Name.PROVIDER_SECONDS: ("provider_call_seconds", "How long token endpoints took.", ["call", "provider"]),
}

process: dict[str, Any] = {}  # its number, and the one that the system gives it


# ---- writing ---------------------------------------------------------------------------------------------------------


def write() -> int:
    """Add what was noted to the database; of how many numbers. While it is away they stay."""
    used, idle, waiting = of_the_pool()
    numbers = measures.taken()
    writer.add(numbers, Measure.objects.add, put_back=measures.put_back)
    Process.objects.note(own_id(), used=used, idle=idle, waiting=waiting)
    return len(numbers)


def note_worker(queues: Sequence[str]) -> None:
    """That this process works them off; none when it ends. One statement."""
    Process.objects.note_worker(own_id(), queues)


def own_id() -> uuid.UUID:
    """Of this process; one that was forked off has another."""
    if process.get("pid") != os.getpid():
        process.update(pid=os.getpid(), id=uuid.uuid4())
    found: uuid.UUID = process["id"]
    return found


def of_the_pool() -> tuple[int, int, int]:
    """Connections used and idle, and threads that wait for one; notes how long they had to."""
    pool = getattr(connection, "pool", None)
    if pool is None:
        return 0, 0, 0
    stats = pool.pop_stats()
    if waited := stats.get("requests_wait_ms", 0):
        measures.count(Name.POOL_WAIT_SECONDS, number=waited / 1000)
    if failed := stats.get("requests_errors", 0):
        measures.count(Name.POOL_TIMEOUTS, number=failed)
    idle = stats.get("pool_available", 0)
    return max(0, stats.get("pool_size", 0) - idle), idle, stats.get("requests_waiting", 0)


# ---- telling ---------------------------------------------------------------------------------------------------------


def families() -> Iterator[Metric]:
    """What is asked for now. Two statements, which read some rows for each provider that was ever called."""
    kept = {(row.name, row.labels, row.part): row.value for row in Measure.objects.order_by("name", "labels")}
    for name, (called, told, labels) in COUNTERS.items():
        yield counter(kept, name, called, told, labels)
    for name, (called, told, labels) in HISTOGRAMS.items():
        yield histogram(kept, name, called, told, labels)
    yield from of_processes()


def counter(kept: Kept, wanted: Name, called: str, told: str, labels: list[str]) -> CounterMetricFamily:
    """Without labels, there is a zero before anything has happened."""
    family = CounterMetricFamily(called, told, labels=labels)
    found = {values: number for (name, values, _), number in kept.items() if name == wanted}
    for values, number in (found if labels else {"": found.get("", 0.0)}).items():
        family.add_metric(values.split(",") if labels else [], number)
    return family


def histogram(kept: Kept, wanted: Name, called: str, told: str, labels: list[str]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(called, told, labels=labels)
    ends = [*map(str, BUCKETS[wanted]), "+Inf"]
    for values in dict.fromkeys(values for name, values, _ in kept if name == wanted):
        in_each = (kept.get((wanted, values, str(place)), 0.0) for place in range(len(ends)))
        buckets = list(zip(ends, accumulate(in_each), strict=True))
        family.add_metric(values.split(","), buckets, sum_value=kept.get((wanted, values, SUM), 0.0))
    return family


def of_processes() -> Iterable[Metric]:
    alive = Process.objects.filter(seen_at__gt=Now() - Process.ALIVE)
    numbers = alive.aggregate(number=Count("pk"), used=Sum("used"), idle=Sum("idle"), waiting=Sum("waiting"))
    yield GaugeMetricFamily(
        "processes", "Processes that said in the last half minute that they are there.", value=numbers["number"]
    )
    connections = GaugeMetricFamily(
        "database_pool_connections", "Connections in the pools of all processes.", labels=["state"]
    )
    for state in ("used", "idle"):
        connections.add_metric([state], numbers[state] or 0)
    yield connections
    yield GaugeMetricFamily(
        "database_pool_waiting", "Threads that wait for a connection of their process.", value=numbers["waiting"] or 0
    )
