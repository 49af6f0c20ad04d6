"""The pace of a credential, and what becomes of jobs: never two of a sync, never none."""

import threading
import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from credentials.models import pace
from providers.vocabulary import RateLimit
from syncs import engine, jobs, session, slices
from syncs.models import Sync, SyncRun
from tests.lib.servers import Visit
from tests.security.stand_in import Request
from tests.syncs.api import rows
from tests.syncs.machine import Machine

FAST = RateLimit(allowed_requests=100, interval=1)

# ---- pace ------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_four_threads_keep_one_pace(machine: Machine) -> None:
    """By the clock of whoever is called: never more than the limit and the burst within a second"""
    called: list[float] = []

    def call() -> None:
        for _ in range(35):
            time.sleep(pace.reserve(machine.credential.pk, FAST))
            called.append(time.monotonic())
        connection.close()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    called.sort()
    assert len(called) == 140
    assert called[-1] - called[0] > 140 / 100 - 0.2  # less the burst
    busiest = max(sum(1 for other in called if first <= other < first + 1) for first in called)
    assert busiest <= 100 + pace.BURST


def test_two_syncs_of_a_credential_keep_one_pace(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(session.stopping, "wait", waited.append)  # the clock does not go on meanwhile
    machine.api.all_rows = rows(45)
    limit = {"allowed_requests": 1, "interval": 60}
    syncs = [machine.sync(name, rate_limit=limit) for name in ("by_cursor", "by_page")]

    runs = [machine.slice(sync) for sync in syncs]

    assert [run.stop for run in runs] == ["rate_limited"] * 2
    assert [run.requests for run in runs] == [1, 0]  # nobody waits for a minute
    assert sum(waited) == 0
    assert all(sync.next_at > timezone.now() for sync in syncs)


def test_who_is_too_far_ahead_reserves_nothing(machine: Machine) -> None:
    slow = RateLimit(allowed_requests=1, interval=10)
    assert pace.reserve(machine.credential.pk, slow) == 0
    before = list(pace.Pace.objects.values_list("next_at"))

    for _ in range(3):
        with pytest.raises(pace.TooFarAhead) as refused:
            pace.reserve(machine.credential.pk, slow)
        assert 8 < refused.value.seconds <= 10
    assert list(pace.Pace.objects.values_list("next_at")) == before


def test_buckets_and_credentials_do_not_wait_for_each_other(machine: Machine) -> None:
    slow = RateLimit(allowed_requests=1, interval=4)
    assert pace.reserve(machine.credential.pk, slow) == 0
    assert pace.reserve(machine.credential.pk, slow, bucket="search") == 0
    assert 3 < pace.reserve(machine.credential.pk, slow) <= 4


def test_a_burst_is_no_more_than_the_limit_allows(machine: Machine) -> None:
    limit = RateLimit(allowed_requests=5, interval=5)
    waits = [pace.reserve(machine.credential.pk, limit) for _ in range(6)]
    assert waits[0] == 0
    assert waits[5] > 3


@pytest.mark.django_db(transaction=True)
def test_a_slice_more_than_may_call_at_once_comes_back(machine: Machine) -> None:
    """While the first one's page is under way, another slice of the same credential begins"""
    limit = {"max_concurrent_requests": 1}
    first, second = (machine.sync(name, rate_limit=limit) for name in ("by_cursor", "by_page"))
    machine.api.all_rows = rows(5)

    def behave(visit: Visit, request: Request) -> None:
        slices.run_slice(second.pk)
        connection.close()
        machine.api.serve(visit, request)

    machine.api.behaviours = [behave]
    assert machine.slice(first).stop == "done"

    run = second.runs.get()
    assert (run.stop, run.requests) == ("rate_limited", 0)
    second.refresh_from_db()
    assert timezone.now() - timedelta(seconds=60) < second.next_at < timezone.now() + timedelta(seconds=10)
    assert second.health_status == "ok"
    assert machine.slice(second).stop == "done"


# ---- jobs ------------------------------------------------------------------------------------------------------------


def found(sync: Sync) -> list[tuple[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT status::text, scheduled_at FROM procrastinate_jobs WHERE lock = %s ORDER BY id", [f"sync:{sync.pk}"]
        )
        rows_found: list[tuple[str, Any]] = cursor.fetchall()
        return rows_found


def begin(sync: Sync, *, heartbeat: str | None) -> None:
    """A worker has taken the job; `heartbeat`: how long ago it was alive, None if nothing is known of it any more."""
    with connection.cursor() as cursor:
        worker = None
        if heartbeat is not None:
            statement = "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - %s::interval) RETURNING id"
            cursor.execute(statement, [heartbeat])
            (worker,) = cursor.fetchone()
        cursor.execute(
            "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s WHERE lock = %s",
            [worker, f"sync:{sync.pk}"],
        )


def test_there_is_one_job_and_the_earlier_time_wins(machine: Machine) -> None:
    sync, now = machine.sync("by_cursor"), timezone.now()
    for minutes, expected in ((10, 10), (20, 10), (5, 5), (10, 5)):
        jobs.defer(sync.pk, at=now + timedelta(minutes=minutes))
        assert found(sync) == [("todo", now + timedelta(minutes=expected))]
    jobs.defer(sync.pk)
    ((_, at),) = found(sync)
    assert at <= timezone.now()


def test_a_job_that_is_under_way_does_not_keep_the_next_from_being_deferred(machine: Machine) -> None:
    sync = machine.sync("by_cursor")
    jobs.defer(sync.pk)
    begin(sync, heartbeat="1 second")
    jobs.defer(sync.pk)
    assert [status for status, _ in found(sync)] == ["doing", "todo"]


@pytest.mark.parametrize(("heartbeat", "expected"), [("5 seconds", "doing"), ("31 seconds", "todo"), (None, "todo")])
def test_what_a_dead_worker_left_is_taken_up(machine: Machine, heartbeat: str | None, expected: str) -> None:
    sync = machine.sync("by_cursor")
    jobs.defer(sync.pk)
    begin(sync, heartbeat=heartbeat)

    jobs.sweep()

    assert [status for status, _ in found(sync)] == [expected]


def test_what_a_dead_worker_left_does_not_block_what_waits(machine: Machine) -> None:
    """Somebody asked for a refresh while the slice was under way; then the worker died: its lock is given up"""
    sync = machine.sync("by_cursor")
    jobs.defer(sync.pk)
    begin(sync, heartbeat="1 hour")
    jobs.defer(sync.pk)

    jobs.sweep()

    assert [status for status, _ in found(sync)] == ["failed", "todo"]


def test_the_sweep_finds_active_syncs_without_a_job(machine: Machine) -> None:
    late = timezone.now() - timedelta(minutes=2.5)
    due = machine.sync("by_cursor", next_at=late)
    others = [
        machine.sync("by_cursor", next_at=late, status="disabled"),
        machine.sync("by_cursor", next_at=timezone.now() + timedelta(minutes=1)),
    ]

    jobs.sweep()
    jobs.sweep()

    assert [status for status, _ in found(due)] == ["todo"]
    assert [found(other) for other in others] == [[], []]
    due.refresh_from_db()
    assert due.health_status == "ok"


def test_without_a_worker_health_says_how_to_start_one(machine: Machine) -> None:
    sync = machine.sync("by_cursor", next_at=timezone.now() - timedelta(minutes=11))

    jobs.sweep()

    sync.refresh_from_db()
    assert sync.health_status == "warn"
    assert "manage.py worker --queues syncs" in sync.health_notes[0]
    machine.api.all_rows = rows(5)
    machine.slice(sync)
    assert sync.health_status == "ok"


def test_a_job_of_a_sync_that_is_gone_does_nothing(db: None) -> None:
    assert slices.run_slice(uuid.uuid4()) is None


def test_a_job_that_comes_too_early_does_nothing(machine: Machine) -> None:
    at = timezone.now() + timedelta(hours=1)
    sync = machine.sync("by_cursor", next_at=at)
    assert slices.run_slice(sync.pk) == at
    assert not sync.runs.exists()


# ---- what is pruned --------------------------------------------------------------------------------------------------


def test_pruning_between_slices_loses_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.Budget, "is_spent", property(lambda budget: budget.rows < engine.ROWS))  # one page
    machine.api.all_rows = rows(45)
    sync = machine.sync("by_cursor")

    for _ in range(5):
        machine.slice(sync)
        jobs.prune()
        jobs.prune()
        counts = "SELECT (SELECT count(*) FROM {schema}._dlt_loads), count(*) FROM {schema}._dlt_pipeline_state"
        assert machine.query(sync, counts) == [(1, 1)]

    assert len(machine.api.requests) == 5
    assert len(machine.ids(sync, "by_cursor")) == 45


def test_a_slice_after_which_the_state_was_the_same_is_pruned_as_well(machine: Machine) -> None:
    machine.api.all_rows = rows(5)
    sync = machine.sync("by_cursor")
    for _ in range(3):
        machine.refresh(sync)
    SyncRun.objects.filter(pk=sync.runs.order_by("started_at")[0].pk).update(
        started_at=timezone.now() - timedelta(days=8)
    )

    jobs.prune()

    assert sync.runs.count() == 2
    machine.refresh(sync)
    assert len(machine.ids(sync, "by_cursor")) == 5
    assert machine.query(sync, "SELECT max(_pass) FROM {schema}.by_cursor") == [(4,)]
