"""What one bad row, collection or server must not spoil for the others."""

import base64
import json
import zlib
from typing import Any

import pytest
from psycopg import sql

from syncs import destinations, engine
from syncs.models import Sync
from tests.syncs.api import answering_json, rows
from tests.syncs.machine import Machine

LATER = 4_000_000_000  # seconds since 1970


def spoiled(machine: Machine, *more: dict[str, Any]) -> Sync:
    """A sync of two collections, one of which holds rows that no table can."""
    machine.api.rows = {"by_cursor": [*rows(3), *more], "by_page": rows(3)}
    return machine.sync("by_cursor", "by_page")


@pytest.mark.parametrize(
    "more",
    [
        {f"member_{number}": number for number in range(2_000)},
        {"Weird": 1, "weird": {"a": 1}, "WEIRD": [2]},
        {"": 1, " ": 2, "x" * 5_000: 3},
        {"_PASS": "theirs", "_Deleted_At": "theirs", "ID": 4},
    ],
    ids=["too many members", "members that fold", "members without a name", "members of ours"],
)
def test_a_row_that_no_table_takes_is_its_collections_trouble_alone(machine: Machine, more: dict[str, Any]) -> None:
    sync = spoiled(machine, {"id": "r000009", "name": "Odd", "updated_at": 1, **more})

    for _ in range(3):
        run = machine.slice(sync)

    assert machine.ids(sync, "by_page") == ["r000001", "r000002", "r000003"]
    assert sync.destination.health_status == "ok"
    told = sync.progress["by_cursor"]
    arrived = told.get("rows") == 4 and told["state"] == "fresh"
    refused = told["state"] == "error" and run.stop == "bad_data" and not told.get("backfilled")
    assert arrived or refused
    assert (sync.initial_backfill_completed_at is None) == refused


def test_a_time_beyond_all_calendars(machine: Machine) -> None:
    """In a column that holds times it has a column of its own"""
    odd = [1e300, -(10**18), "9999-12-31T23:59:59-23:59", "99999-01-01", True]
    machine.api.all_rows = [row | {"at": at} for row, at in zip(rows(6), ["2026-01-01T00:00:00Z", *odd], strict=True)]
    sync = machine.sync("timed")

    machine.slices(sync)

    assert len(machine.ids(sync, "timed")) == 6


def test_children_of_a_parent_that_has_none(machine: Machine) -> None:
    """It has gone meanwhile, or it is empty and the provider calls that a conflict: the others' children arrive"""
    machine.api.rows = {"by_page": rows(5), **{f"by_page/r00000{number}/child": rows(2) for number in range(1, 6)}}
    refusals = {"/v1/by_page/r000002/child": 404, "/v1/by_page/r000004/child": 409}

    def refuse(visit: Any, request: Any) -> None:
        if status := refusals.get(request.path):
            answering_json(status, {"message": "Nothing here."})(visit, request)
        else:
            machine.api.serve(visit, request)

    machine.api.always = refuse
    sync = machine.sync("child")

    runs = machine.slices(sync)

    assert runs[-1].stop == "done"
    parents = machine.query(sync, "SELECT DISTINCT parent FROM {schema}.child ORDER BY 1")
    assert parents == [("r000001",), ("r000003",), ("r000005",)]


def test_rows_that_come_again_by_ever_new_links(machine: Machine) -> None:
    count = iter(range(10_000))

    def again(visit: Any, request: Any) -> None:
        answering_json(200, {"data": rows(10), "next": str(next(count))})(visit, request)

    machine.api.always = again
    sync = machine.sync("by_cursor")

    run = machine.slice(sync)

    assert (run.stop, run.requests) == ("bad_data", 2)


def test_what_is_too_old_is_left_alone(machine: Machine) -> None:
    """A full pass that does not ask for old rows says nothing about them, whatever type the column has"""
    machine.api.all_rows = [row | {"updated_at": 1_700_000_000 + n} for n, row in enumerate(rows(4))]
    machine.api.all_rows += [row | {"updated_at": LATER} for row in rows(2, first=5)]
    sync = machine.sync("stamped")
    machine.slices(sync)
    Sync.objects.filter(pk=sync.pk).update(max_age_days=5)
    del machine.api.all_rows[-1]

    run = machine.refresh(sync, full=True)

    assert run.stop == "done"
    assert machine.ids(sync, "stamped") == ["r000001", "r000002", "r000003", "r000004", "r000005"]


# ---- what a customer's database says ---------------------------------------------------------------------------------


def tell(sync: Sync, statement: str, *values: Any) -> None:
    with destinations.connect(destinations.target_of(sync.destination)) as connection:
        connection.execute(sql.SQL(statement).format(schema=sql.Identifier(sync.schema)), values)


def test_a_schema_that_names_a_module_of_its_own(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.api.all_rows = rows(3)
    sync = machine.sync("by_cursor")
    machine.slices(sync)
    with destinations.connect(destinations.target_of(sync.destination)) as connection:
        statement = sql.SQL("SELECT schema FROM {}._dlt_version").format(sql.Identifier(sync.schema))
        (text,) = connection.execute(statement).fetchone() or ("",)
    schema = json.loads(text)
    schema["normalizers"]["names"] = "this"  # which prints the Zen of Python
    tell(sync, "UPDATE {schema}._dlt_version SET schema = %s", json.dumps(schema))

    run = machine.refresh(sync)

    assert run.stop in {"destination", "bad_data"}
    assert "Beautiful is better" not in capsys.readouterr().out


def test_a_state_that_unpacks_to_more_than_fits(machine: Machine, collecting_as_a_server: None) -> None:
    machine.api.all_rows = rows(3)
    sync = machine.sync("by_cursor")
    machine.slices(sync)
    bomb = base64.b64encode(zlib.compress(b'{"a": "' + b"A" * 64_000_000 + b'"}')).decode()
    tell(sync, "UPDATE {schema}._dlt_pipeline_state SET state = %s", bomb)

    run = machine.refresh(sync)

    assert run.stop == "destination"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice has no time at all at its destination."""
    monkeypatch.setattr(engine, "LONGEST", 0.0)


def test_all_work_at_a_destination_has_one_deadline(machine: Machine, hurried: None) -> None:
    machine.api.all_rows = rows(3)
    sync = machine.sync("by_cursor")

    run = machine.slice(sync)

    assert run.stop == "destination"
    assert sync.progress == {}
