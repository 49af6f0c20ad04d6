"""
When syncs work: a slice at a time, each a job of its own, and a sweep that finds what was left lying.

Slices run in the queue `syncs`, whose worker has dlt; a long sync delays no refresh of a token. The sweep runs in the
general worker, which so can tell that nobody serves that queue.
"""

import uuid
from datetime import datetime, timedelta

import structlog
from django.db import connection, transaction
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.job_context import JobContext
from procrastinate.jobs import JobDeferrer
from procrastinate.manager import JobManager

from sequin_auth.lib import redaction
from syncs import dropping, health, slices, turns
from syncs.models import Sync, SyncRun

log = structlog.get_logger("syncs")

QUEUE = turns.QUEUE
ASKED_FOR = 1  # a job's priority, where somebody waits for it; of all others 0
ALIVE_WITHIN = timedelta(seconds=30)  # a worker that has not said so for that long is dead
OVERDUE = timedelta(minutes=2)  # after which the sweep asks whether there is a job at all


@app.task(queue=QUEUE, pass_context=True)
def run_slice(context: JobContext, sync_id: str) -> None:
    """One slice; then the next is deferred to when it is due."""
    try:
        next_at, was_done = slices.run_slice_in_turn(uuid.UUID(sync_id))
        if next_at is not None:
            defer(uuid.UUID(sync_id), at=next_at, priority=0 if was_done else context.job.priority)
    finally:
        redaction.forget()
        connection.close()


def wake(sync_id: uuid.UUID, *, priority: int = 0) -> None:
    """Have a worker look at the sync at once, when the transaction that calls for it is committed."""
    transaction.on_commit(lambda: defer(sync_id, priority=priority), robust=True)


def defer(sync_id: uuid.UUID, *, at: datetime | None = None, priority: int = 0) -> None:
    """A job for its next slice, unless one waits that is as early. Two slices of a sync never run at once."""
    lock = f"sync:{sync_id}"
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE procrastinate_jobs SET priority = greatest(priority, %(priority)s),"
            " scheduled_at = CASE WHEN scheduled_at > %(at)s THEN %(at)s ELSE scheduled_at END"
            " WHERE queueing_lock = %(lock)s AND status = 'todo'"
            " AND (scheduled_at > %(at)s OR priority < %(priority)s)",
            {"lock": lock, "at": at or timezone.now(), "priority": priority},
        )
        if cursor.rowcount or waits(lock):
            return
    configured = run_slice.configure(lock=lock, queueing_lock=lock, schedule_at=at, priority=priority)
    manager = JobManager(DjangoConnector())  # a worker's own connector belongs to its event loop
    try:
        with transaction.atomic():  # a refused second one would else end the caller's transaction
            JobDeferrer(manager, configured.job).defer(sync_id=str(sync_id))
    except AlreadyEnqueued:
        return
    except ConnectorException as exc:  # the sweep finds it
        log.warning("sync_not_deferred", sync=str(sync_id), reason=type(exc.__cause__ or exc).__name__)


def waits(lock: str) -> bool:
    with connection.cursor() as cursor:
        statement = "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE queueing_lock = %s AND status = 'todo')"
        cursor.execute(statement, [lock])
        return bool(cursor.fetchone()[0])


def drop_soon() -> None:
    """Have a worker drop the schemas of deleted syncs, when the transaction that calls for it is committed."""
    transaction.on_commit(lambda: later(drop_schemas, "drop_schemas"), robust=True)


def later(task: "object", queueing_lock: str) -> None:
    configured = task.configure(queueing_lock=queueing_lock)  # type: ignore[attr-defined]
    try:
        with transaction.atomic():
            JobDeferrer(JobManager(DjangoConnector()), configured.job).defer()
    except AlreadyEnqueued:
        return
    except ConnectorException as exc:
        log.warning("job_not_deferred", task=queueing_lock, reason=type(exc.__cause__ or exc).__name__)


@app.task(queue="housekeeping", queueing_lock="drop_schemas")
def drop_schemas() -> None:
    try:
        dropping.drop_all()
    finally:
        connection.close()


@app.periodic(cron="* * * * *")
@app.task(queue="housekeeping", queueing_lock="sweep_syncs")
def sweep_job(timestamp: int) -> None:
    try:
        sweep()
    finally:
        connection.close()


def sweep() -> None:
    """Take up what a dead worker left, defer what has no job, note what is late, drop what is to be dropped."""
    take_up_stalled()
    turns.end_runs_of_the_dead()
    now = timezone.now()
    for sync in Sync.objects.active().filter(next_at__lt=now - OVERDUE).order_by("next_at")[:1000]:
        defer(sync.pk)
        if sync.next_at < now - health.NO_WORKER and not is_under_way(sync):
            health.note_without_worker(sync)
        elif health.is_overdue(sync, now):
            health.note_late(sync, now)
    for sync in health.unheard_of(now)[:1000]:
        health.note_late(sync, now)
    dropping.drop_all()


def take_up_stalled() -> None:
    """Jobs of workers that are dead: back into the queue; ended, if another one waits already for their lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE procrastinate_jobs job SET worker_id = NULL, scheduled_at = NULL, status = CASE WHEN EXISTS (
                    SELECT FROM procrastinate_jobs other
                    WHERE other.queueing_lock = job.queueing_lock AND other.status = 'todo'
                ) THEN 'failed'::procrastinate_job_status ELSE 'todo' END
            WHERE job.queue_name = %(queue)s AND job.status = 'doing'
                AND NOT EXISTS (
                    SELECT FROM procrastinate_workers worker
                    WHERE worker.id = job.worker_id AND worker.last_heartbeat > now() - %(alive)s * interval '1 second'
                )
            RETURNING job.id
            """,
            {"queue": QUEUE, "alive": ALIVE_WITHIN.total_seconds()},
        )
        if stalled := cursor.rowcount:
            log.warning("sync_jobs_taken_up", jobs=stalled)


def is_under_way(sync: Sync) -> bool:
    with connection.cursor() as cursor:
        statement = "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE lock = %s AND status = 'doing')"
        cursor.execute(statement, [f"sync:{sync.pk}"])
        return bool(cursor.fetchone()[0])


@app.periodic(cron="23 3 * * *")
@app.task(queue=QUEUE, queueing_lock="prune_syncs")
def prune_job(timestamp: int) -> None:
    try:
        prune()
    finally:
        connection.close()


def prune() -> None:
    """Runs that are old, and what dlt has piled up beside the rows of each sync."""
    SyncRun.objects.filter(started_at__lt=timezone.now() - SyncRun.KEPT).delete()
    for sync in Sync.objects.select_related("destination").iterator(chunk_size=200):
        dropping.prune(sync)
