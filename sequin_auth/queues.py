"""What waits in the queues, of procrastinate's own tables, and who works them off, in numbers."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from django.db import connection
from prometheus_client.core import GaugeMetricFamily, Metric

from oauth_apps.models import Process

QUEUES: Final = ("refresh", "webhooks", "housekeeping", "syncs")
HEARD_WITHIN: Final = 60.0  # seconds; a worker says every ten that it is there
STATES: Final = {"todo": "waiting", "doing": "running", "failed": "failed"}


class Queue(NamedTuple):
    waiting: int = 0  # that could be begun now
    running: int = 0
    failed: int = 0
    age: float = 0.0  # seconds that the oldest of those which wait has waited


class Workers(NamedTuple):
    """Of one queue. `number`: of those that were heard of lately; `silence`: seconds since anybody was, None if nobody
    was within the last hour.
    """

    number: int = 0
    silence: float | None = None


def queues() -> dict[str, Queue]:
    """One statement. A worker deletes what it has done, so there are few rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT queue_name, status, number, (
                SELECT extract(epoch FROM statement_timestamp() - coalesce(job.scheduled_at, min(event.at)))::float
                FROM procrastinate_jobs job LEFT JOIN procrastinate_events event ON event.job_id = job.id
                WHERE job.id = oldest GROUP BY job.scheduled_at
            )
            FROM (
                SELECT queue_name, status::text, count(*) AS number, min(id) AS oldest FROM procrastinate_jobs
                WHERE status IN ('doing', 'failed')
                    OR status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= statement_timestamp())
                GROUP BY queue_name, status
            ) found
            """
        )
        rows = cursor.fetchall()
    found = dict.fromkeys(QUEUES, Queue())
    for name, status, number, age in rows:
        name = name if name in QUEUES else "other"
        queue = found.get(name, Queue())
        state = STATES[status]
        changes = {state: getattr(queue, state) + number}
        older = max(queue.age, age or 0.0) if state == "waiting" else queue.age
        found[name] = queue._replace(**changes, age=older)
    return found


def workers() -> dict[str, Workers]:
    """By queue. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT queue, count(*) FILTER (WHERE seen_at > statement_timestamp() - make_interval(secs => %s)),
                extract(epoch FROM statement_timestamp() - max(seen_at))::float
            FROM {Process._meta.db_table}, unnest(string_to_array(queues, ',')) queue
            GROUP BY queue
            """,  # noqa: S608 (a name of ours)
            [HEARD_WITHIN],
        )
        found = {name: Workers(number, silence) for name, number, silence in cursor.fetchall()}
    return {name: found.get(name, Workers()) for name in QUEUES}


def families() -> Iterator[Metric]:
    """Two statements."""
    jobs = GaugeMetricFamily("jobs", "Jobs of a queue: waiting, running, or failed.", labels=["queue", "state"])
    age = GaugeMetricFamily("job_wait_seconds", "How long the oldest job of a queue has waited.", labels=["queue"])
    for name, queue in queues().items():
        for state in STATES.values():
            jobs.add_metric([name, state], getattr(queue, state))
        age.add_metric([name], round(queue.age, 3))
    yield jobs
    yield age
    there = GaugeMetricFamily("workers", "Workers of a queue that were heard of in the last minute.", labels=["queue"])
    for name, those in workers().items():
        there.add_metric([name], those.number)
    yield there
