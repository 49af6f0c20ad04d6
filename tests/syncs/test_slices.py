"""The slice: every paginator, the checkpoint, watermarks, windows, deletions, and what is written down of it."""

import pytest
from django.utils import timezone

from syncs import engine
from syncs.models import Sync
from tests.syncs.api import PAGINATORS, rows
from tests.syncs.machine import Machine

ONE_PAGE = 1  # rows after which a slice ends: each is one page


@pytest.fixture
def one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every slice is one page."""
    monkeypatch.setattr(engine.Budget, "__init__", lambda self, **given: plain(self, **{**given, "rows": ONE_PAGE}))


plain = engine.Budget.__init__


@pytest.mark.parametrize("name", PAGINATORS)
def test_one_page_a_slice(machine: Machine, one_page: None, name: str) -> None:
    """No page is fetched twice, and nothing is lost, though each is fetched from a checkpoint"""
    machine.api.all_rows = rows(25)
    sync = machine.sync(name)

    runs = machine.slices(sync)

    assert machine.ids(sync, name) == [row["id"] for row in machine.api.all_rows]
    asked = [request.target + request.body.decode() for request in machine.api.requests]
    assert len(asked) == len(set(asked)) <= 4  # counting ones see one empty page more
    assert len(runs) <= 4
    assert sync.initial_backfill_completed_at is not None


def test_what_changed_arrives(machine: Machine) -> None:
    machine.api.all_rows = rows(25)
    sync = machine.sync("changing")
    machine.slices(sync)
    machine.api.requests.clear()
    machine.api.all_rows[3] |= {"name": "another", "updated_at": 1_800_000_000}
    machine.api.all_rows += rows(1, first=26, updated_at=1_800_000_000)

    run = machine.refresh(sync)

    assert len(machine.api.requests) == run.requests <= 3
    assert machine.query(sync, "SELECT name FROM {schema}.changing WHERE id = 'r000004'") == [("another",)]
    assert len(machine.ids(sync, "changing")) == 26


def test_a_watermark_moves_at_the_end_of_a_pass_alone(machine: Machine, one_page: None) -> None:
    machine.api.all_rows = rows(25)
    sync = machine.sync("changing")
    machine.slices(sync)
    machine.api.requests.clear()
    for row in machine.api.all_rows:
        row["updated_at"] += 1_000

    machine.refresh(sync)
    first = machine.api.requests[-1].target
    machine.slice(sync)

    since = f"since={1_700_000_025 - 60}"
    assert since in first
    assert since in machine.api.requests[-1].target


def test_a_window_is_walked_again_from_the_latest_time(machine: Machine) -> None:
    """The API answers 50 rows of a query, whatever it is"""
    machine.api.all_rows = rows(130)
    sync = machine.sync("windowed")

    machine.slices(sync)

    assert len(set(machine.ids(sync, "windowed"))) == len(machine.ids(sync, "windowed")) == 130
    assert len({request.target.partition("since=")[2][:10] for request in machine.api.requests}) == 3


def test_a_window_of_one_time_is_said(machine: Machine) -> None:
    machine.api.all_rows = [row | {"updated_at": 1_700_000_000} for row in rows(130)]
    sync = machine.sync("windowed")

    runs = [machine.slice(sync) for _ in range(2)]

    assert runs[-1].stop == "bad_data"
    assert "the same time" in runs[-1].note
    assert sync.health_status == "warn"


def test_rows_that_go_and_come_back(machine: Machine) -> None:
    machine.api.all_rows = rows(30)
    sync = machine.sync("by_cursor")
    machine.slices(sync)
    gone = machine.api.all_rows[5:15]
    del machine.api.all_rows[5:15]

    machine.refresh(sync, full=True)
    assert len(machine.ids(sync, "by_cursor")) == 20
    assert len(machine.ids(sync, "by_cursor", alive=False)) == 30

    machine.api.all_rows += gone[:5]
    machine.refresh(sync, full=True)
    assert len(machine.ids(sync, "by_cursor")) == 25


def test_half_of_a_table_does_not_go_at_once(machine: Machine) -> None:
    machine.api.all_rows = rows(30)
    sync = machine.sync("by_cursor")
    machine.slices(sync)
    machine.api.all_rows = machine.api.all_rows[:5]

    machine.refresh(sync, full=True)

    assert len(machine.ids(sync, "by_cursor")) == 30
    assert sync.health_status == "warn"
    assert "25 rows, more than half" in sync.health_notes[0]


def test_what_is_written_down(machine: Machine) -> None:
    machine.api.all_rows = rows(25)
    sync = machine.sync("by_cursor", "changing")

    run = machine.slice(sync)

    assert run.rows == {"by_cursor": 25, "changing": 25}
    assert run.requests == 6
    assert run.stop == "done"
    assert sync.progress["by_cursor"]["state"] == "fresh"
    assert sync.progress["by_cursor"]["rows"] == 25
    assert sync.next_at > timezone.now()
    assert sync.health_status == "ok"


def test_nothing_but_the_tables_is_believed(machine: Machine, one_page: None) -> None:
    """Progress that is lost, or invented, changes nothing; a schema that is dropped fills again"""
    machine.api.all_rows = rows(25)
    sync = machine.sync("by_cursor")
    machine.slice(sync)
    Sync.objects.filter(pk=sync.pk).update(progress={"by_cursor": {"backfilled": True, "rows": 9_999, "turn": 1}})

    machine.slices(sync)
    assert len(machine.ids(sync, "by_cursor")) == 25

    machine.query(sync, "DROP SCHEMA {schema} CASCADE")
    machine.slices(sync)
    assert len(machine.ids(sync, "by_cursor")) == 25
