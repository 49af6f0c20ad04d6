"""
Whose turn it is: of one account no more than PLACES slices are under way at once, in all workers together, while
another account waits that has fewer. Who finds the places taken waits a moment with all jobs of his account, so that
the others' come next.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from syncs.models import Stop, Sync, SyncRun

QUEUE = "syncs"
PLACES = 2
LATER = timedelta(seconds=5)  # until an account whose places are taken looks again
LONGEST = timedelta(minutes=15)  # that a slice may last, by far
PROCESS_ENDED = "Its process ended."

# The account of each slice that is under way, and how many there are of it
UNDER_WAY = """
    SELECT sync.account_id, count(*) AS slices
    FROM procrastinate_jobs job JOIN syncs_sync sync ON sync.id = substr(job.lock, 6)::uuid
    WHERE job.queue_name = %(queue)s AND job.status = 'doing' AND EXISTS (
        SELECT FROM syncs_syncrun run
        WHERE run.sync_id = sync.id AND run.ended_at IS NULL AND run.started_at > clock_timestamp() - %(longest)s
    )
    GROUP BY sync.account_id
"""
OTHERS_WAIT = f"""
    WITH under_way AS ({UNDER_WAY})
    SELECT EXISTS (
        SELECT FROM procrastinate_jobs job JOIN syncs_sync sync ON sync.id = substr(job.lock, 6)::uuid
        WHERE job.queue_name = %(queue)s AND job.status = 'todo'
            AND (job.scheduled_at IS NULL OR job.scheduled_at <= clock_timestamp())
            AND sync.account_id NOT IN (SELECT account_id FROM under_way WHERE slices >= %(places)s)
            AND sync.account_id <> %(account)s
    )
"""  # noqa: S608 - no value in it
COUNT = f"SELECT coalesce((SELECT slices FROM ({UNDER_WAY}) u WHERE account_id = %(account)s), 0)"  # noqa: S608
POSTPONE = """
    UPDATE procrastinate_jobs SET scheduled_at = %(later)s
    WHERE queue_name = %(queue)s AND status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= clock_timestamp())
        AND lock IN (SELECT 'sync:' || id FROM syncs_sync WHERE account_id = %(account)s)
"""
TAKE_OVER = """
    UPDATE procrastinate_jobs SET scheduled_at = clock_timestamp() WHERE id = (
        SELECT job.id FROM procrastinate_jobs job JOIN syncs_sync sync ON sync.id = substr(job.lock, 6)::uuid
        WHERE job.queue_name = %(queue)s AND job.status = 'todo' AND sync.account_id = %(account)s
            AND job.scheduled_at > clock_timestamp() AND job.scheduled_at <= clock_timestamp() + %(pause)s
            AND sync.next_at <= clock_timestamp()
        ORDER BY job.priority DESC, job.id LIMIT 1 FOR UPDATE OF job SKIP LOCKED
    )
"""


def begin(sync: Sync) -> "SyncRun | datetime":
    """The run of a slice that begins now, saved; or when to look again, while others have their turn."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"syncs of {sync.account_id}"])
        values = values_of(sync)
        cursor.execute(COUNT, values)
        if cursor.fetchone()[0] >= PLACES and others_wait(sync):
            later = timezone.now() + LATER
            cursor.execute(POSTPONE, {**values, "later": later})
            return later
        now = timezone.now()
        # Two slices of a sync never run at once: whoever has begun one before is dead
        left = SyncRun.objects.filter(sync=sync, ended_at__isnull=True, started_at__gt=now - SyncRun.KEPT)
        left.update(ended_at=now, stop=Stop.FAILED, note=PROCESS_ENDED)
        return SyncRun.objects.create(sync=sync, started_at=now)


def others_wait(sync: Sync) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(OTHERS_WAIT, values_of(sync))
        return bool(cursor.fetchone()[0])


def hand_on(sync: Sync) -> None:
    """A slice has ended: the next one that its account has postponed need not wait any longer, if nobody else waits."""
    if others_wait(sync):
        return
    with connection.cursor() as cursor:
        cursor.execute(TAKE_OVER, values_of(sync))


def values_of(sync: Sync) -> dict[str, Any]:
    return {"queue": QUEUE, "account": sync.account_id, "places": PLACES, "longest": LONGEST, "pause": LATER}


def end_runs_of_the_dead() -> None:
    """Runs that nobody will end any more."""
    values: dict[str, Any] = {"stop": Stop.FAILED.value, "note": PROCESS_ENDED, "old": timedelta(minutes=5)}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE syncs_syncrun run SET ended_at = clock_timestamp(), stop = %(stop)s, note = %(note)s
            WHERE run.ended_at IS NULL AND run.started_at < clock_timestamp() - %(old)s AND NOT EXISTS (
                SELECT FROM procrastinate_jobs job WHERE job.lock = 'sync:' || run.sync_id AND job.status = 'doing'
            )
            """,
            values,
        )
