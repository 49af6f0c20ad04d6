"""Whose slice comes next, that none is lost whatever breaks, and that nobody's lateness goes unsaid."""

import sys
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from oauth_apps.models import Account
from syncs import creation, engine, health, jobs, slices, turns
from syncs.models import Stop, Sync, SyncRun
from tests.credentials.answers import errors
from tests.oauth_apps.conftest import client_of
from tests.syncs.api import answering, rows
from tests.syncs.asking import SYNCS, again, app_at, asked, credential_at, patch, path, post, sync_with
from tests.syncs.machine import Machine

MINUTE = timedelta(minutes=1)


def job(sync: Sync) -> list[tuple[str, int, Any]]:
    with connection.cursor() as cursor:
        statement = "SELECT status::text, priority, scheduled_at FROM procrastinate_jobs WHERE lock = %s ORDER BY id"
        cursor.execute(statement, [f"sync:{sync.pk}"])
        return list(cursor.fetchall())


def is_due(sync: Sync) -> bool:
    ((status, _, at),) = job(sync)
    return bool(status == "todo" and (at is None or at <= timezone.now()))


def fetched() -> str:
    """The lock of the job that a worker takes next."""
    with connection.cursor() as cursor:
        worker = "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now()) RETURNING id"
        cursor.execute(worker)
        statement = "SELECT lock FROM procrastinate_fetch_job_v2(%s::varchar[], %s)"
        cursor.execute(statement, [["syncs"], cursor.fetchone()[0]])
        return str(cursor.fetchone()[0])


@pytest.fixture
def many(dunes_catalogue: None) -> Callable[[Account, int], list[Sync]]:
    def make(account: Account, number: int) -> list[Sync]:
        credential = credential_at(app_at(account, "dunes"))
        made = [sync_with(credential, name=f"s{n}") for n in range(number)]
        for sync in made:
            jobs.defer(sync.pk)
        return made

    return make


def under_way(syncs: list[Sync]) -> None:
    """A worker has begun a slice of each."""
    for sync in syncs:
        assert fetched() == f"sync:{sync.pk}"
        assert isinstance(turns.begin(sync), SyncRun)


# ---- whose turn it is ------------------------------------------------------------------------------------------------


def test_one_account_has_two_slices_at_once_while_another_waits(
    many: Callable[..., list[Sync]], account: Account, other_account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third is put off before anything is imported for it, and all that waits of its account with it"""
    first, second, third, fourth = many(account, 4)
    under_way([first, second])
    (theirs,) = many(other_account, 1)
    monkeypatch.setitem(sys.modules, "syncs.engine", None)
    assert fetched() == f"sync:{third.pk}"

    next_at, was_done = slices.run_slice_in_turn(third.pk)

    assert not was_done
    assert next_at is not None
    assert timezone.now() < next_at <= timezone.now() + turns.LATER
    assert not third.runs.exists()
    assert not is_due(fourth)
    assert fetched() == f"sync:{theirs.pk}"


def test_an_account_that_is_alone_has_all_places(many: Callable[..., list[Sync]], account: Account) -> None:
    under_way(many(account, 4))


def test_who_waits_with_his_own_places_taken_keeps_nobody_waiting(
    many: Callable[..., list[Sync]], account: Account, other_account: Account
) -> None:
    mine = many(account, 2)
    under_way(mine)
    theirs = many(other_account, 3)
    under_way(theirs[:2])

    assert isinstance(turns.begin(sync_with(mine[0].credential)), SyncRun)


@pytest.mark.parametrize("others_wait", [False, True])
def test_a_place_is_handed_on_unless_another_waits(
    many: Callable[..., list[Sync]], account: Account, other_account: Account, others_wait: bool
) -> None:
    first, second, third, fourth = many(account, 4)
    under_way([first, second])
    (theirs,) = many(other_account, 1)
    assert not isinstance(turns.begin(third), SyncRun)
    if not others_wait:
        Sync.objects.filter(pk=theirs.pk).delete()

    turns.hand_on(first)

    assert [is_due(one) for one in (third, fourth)] == [not others_wait, False]


def test_a_job_that_is_put_off_keeps_its_precedence(
    many: Callable[..., list[Sync]], account: Account, other_account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = many(account, 3)
    under_way([first, second])
    many(other_account, 1)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs WHERE lock = %s", [f"sync:{third.pk}"])
    monkeypatch.setattr(connection, "close", lambda: None)
    context: Any = SimpleNamespace(job=SimpleNamespace(priority=jobs.ASKED_FOR))

    jobs.run_slice.func(context, str(third.pk))

    assert [(status, priority) for status, priority, _ in job(third)] == [("todo", jobs.ASKED_FOR)]


@pytest.mark.parametrize("in_minutes", [None, 60])
def test_a_refresh_goes_before_what_waits(
    many: Callable[..., list[Sync]],
    account: Account,
    other_account: Account,
    in_minutes: int | None,
    django_capture_on_commit_callbacks: Any,
) -> None:
    many(account, 20)
    (theirs,) = many(other_account, 1)
    if in_minutes:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE procrastinate_jobs SET scheduled_at = now() + interval '1 hour' WHERE lock = %s",
                [f"sync:{theirs.pk}"],
            )

    with django_capture_on_commit_callbacks(execute=True):
        assert post(client_of(other_account), path(theirs, "/refresh")).status_code == 200

    assert is_due(theirs)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL")  # a transaction's clock stands still
    assert fetched() == f"sync:{theirs.pk}"


def test_an_account_has_so_many_active_syncs_and_no_more(
    api: Client, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creation, "MOST_ACTIVE", 2)
    body = asked(credential_id=str(sync.credential_id))
    off = post(api, SYNCS, **body).json()

    refused = post(api, SYNCS, **body)
    assert refused.status_code == 422
    assert list(errors(refused)) == ["status"]
    assert patch(api, off, status="disabled").status_code == 200
    assert post(api, SYNCS, **body).status_code == 201
    assert patch(api, off, name="Other").status_code == 200
    again_on = patch(api, off, status="active")
    assert again_on.status_code == 422
    assert "at most 2 active syncs" in again_on.content.decode()


# ---- nothing is lost -------------------------------------------------------------------------------------------------


@pytest.fixture
def quiet(many: Callable[..., list[Sync]], account: Account) -> Sync:
    (sync,) = many(account, 1)
    return sync


@pytest.mark.parametrize("raised", [SystemExit(3), GeneratorExit(), RecursionError(), ValueError("canary-row")])
def test_whatever_is_raised_is_noted_and_tried_again(
    quiet: Sync, raised: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worked(*args: Any) -> Any:
        raise raised

    monkeypatch.setattr(slices, "worked", worked)
    for failures in (1, 2):
        now = timezone.now()
        Sync.objects.filter(pk=quiet.pk).update(next_at=now)

        next_at = slices.run_slice(quiet.pk)

        sync = again(quiet)
        assert next_at == sync.next_at
        assert failures * MINUTE <= sync.next_at - now < failures * MINUTE * 1.2
        assert (sync.failures, sync.failure, sync.health_status) == (failures, "failed", "warn")
        run = sync.runs.order_by("-started_at")[0]
        assert (run.stop, run.note) == ("failed", f"An error of our own broke it off ({type(raised).__name__}).")
        assert run.ended_at is not None
    assert "canary" not in " ".join(sync.health_notes)


def test_what_cannot_be_written_down_is_noted_as_well(quiet: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome: Any = SimpleNamespace(told={"harvester": None}, stop="done", note="")
    monkeypatch.setattr(slices, "worked", lambda *args: (outcome, None))

    assert slices.run_slice(quiet.pk) is not None

    assert quiet.runs.get().stop == "failed"


def test_a_run_is_shown_while_it_goes_on(api: Client, quiet: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []

    def worked(*args: Any) -> Any:
        shown.extend(api.get(path(quiet, "/runs")).json()["data"])
        raise ValueError

    monkeypatch.setattr(slices, "worked", worked)
    slices.run_slice(quiet.pk)

    assert [(run["ended_at"], run["stop"]) for run in shown] == [(None, None)]
    assert [run["id"] for run in api.get(path(quiet, "/runs")).json()["data"]] == [shown[0]["id"]]


@pytest.mark.parametrize(("minutes", "is_taken", "expected"), [(6, False, "failed"), (6, True, None), (1, False, None)])
def test_a_run_whose_process_died_says_so(
    api: Client, quiet: Sync, minutes: int, is_taken: bool, expected: str | None
) -> None:
    SyncRun.objects.create(sync=quiet, started_at=timezone.now() - minutes * MINUTE)
    if is_taken:
        fetched()

    jobs.sweep()

    (run,) = api.get(path(quiet, "/runs")).json()["data"]
    assert run["stop"] == expected
    assert (run["note"], run["ended_at"] is None) == ((turns.PROCESS_ENDED, False) if expected else ("", True))


def test_the_next_slice_ends_the_run_of_a_process_that_died(quiet: Sync) -> None:
    dead = SyncRun.objects.create(sync=quiet, started_at=timezone.now() - MINUTE)

    turns.begin(quiet)

    dead.refresh_from_db()
    assert (dead.stop, dead.note) == ("failed", turns.PROCESS_ENDED)
    assert quiet.runs.filter(ended_at=None).count() == 1


def test_who_refuses_again_and_again_is_asked_less_often(machine: Machine) -> None:
    """429 with `Retry-After: 0`"""
    machine.api.all_rows = rows(25)
    machine.api.always = answering(429, b"{}", "Retry-After: 0")
    sync = machine.sync("by_cursor")
    now = timezone.now()
    run = SyncRun(sync=sync, requests=3)

    pauses = []
    for _ in range(9):
        refusals = slices.refusals_in_a_row(sync, run)
        outcome = engine.Outcome({}, Stop.RATE_LIMITED, retry_after=0.0)
        pauses.append((slices.next_after(sync, outcome, {}, 0, now, refusals) - now).total_seconds())
        SyncRun.objects.create(sync=sync, requests=3, stop="rate_limited", ended_at=now)
    for seconds, pause in zip((5, 10, 20, 40, 80, 160, 320, 320, 320), pauses, strict=True):
        assert seconds <= pause <= seconds * 1.1 + 0.001

    machine.slice(sync)
    assert sync.next_at > timezone.now() + 4 * MINUTE


# ---- lateness --------------------------------------------------------------------------------------------------------


def late(sync: Sync, *, ended: timedelta, next_in: timedelta, told: timedelta = MINUTE * 4) -> Sync:
    now = timezone.now()
    ended_at = (now - ended).strftime("%Y-%m-%dT%H:%M:%SZ")
    progress = {"harvester": {"state": "fresh", "backfilled": True, "last_synced_at": ended_at}}
    Sync.objects.filter(pk=sync.pk).update(progress=progress, next_at=now + next_in, health_time=now - told)
    jobs.sweep()
    return again(sync)


@pytest.mark.parametrize("ended", [MINUTE, timedelta(seconds=170)])
def test_who_is_in_time_is_well(quiet: Sync, ended: timedelta) -> None:
    sync = late(quiet, ended=ended, next_in=MINUTE)
    assert (sync.health_status, sync.health_notes) == ("ok", [])


def test_a_pass_that_ended_long_ago_is_said_though_no_slice_is_due(quiet: Sync) -> None:
    sync = late(quiet, ended=MINUTE * 4, next_in=timedelta(hours=1))
    assert sync.health_status == "warn"
    assert "The last pass of harvester ended at" in sync.health_notes[0]


def test_a_slice_that_does_not_end_is_said(quiet: Sync) -> None:
    """Its destination keeps silent, or others are before it"""
    fetched()
    sync = late(quiet, ended=MINUTE, next_in=-MINUTE * 3.5)
    assert sync.health_status == "warn"
    assert sync.health_notes[0].startswith("A slice is due since")
    sync = late(quiet, ended=MINUTE, next_in=-MINUTE * 3.5)
    assert len(sync.health_notes) == 1


def test_a_sync_of_four_hours_is_late_after_twelve(quiet: Sync) -> None:
    Sync.objects.filter(pk=quiet.pk).update(sync_frequency="4h")
    hour = timedelta(hours=1)
    assert late(quiet, ended=11 * hour, next_in=hour, told=13 * hour).health_status == "ok"
    assert late(quiet, ended=13 * hour, next_in=hour, told=13 * hour).health_status == "warn"


def test_a_slice_tells_of_a_collection_that_is_late(quiet: Sync) -> None:
    now = timezone.now()
    ended_at = (now - MINUTE * 5).strftime("%Y-%m-%dT%H:%M:%SZ")
    outcome = engine.Outcome({}, Stop.TIME, is_open=True)
    told = health.changes_after(quiet, outcome, 0, now, {"harvester": {"last_synced_at": ended_at}})
    assert told["health_status"] == "warn"
    assert any("The last pass of harvester" in note for note in told["health_notes"])
