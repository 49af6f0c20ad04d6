"""docs/syncs.md, “Odd rows”: what becomes of them."""

from typing import Any

import pytest

from syncs.models import Sync
from tests.syncs.api import answering_json
from tests.syncs.machine import Machine


def kept(machine: Machine, *odd: dict[str, Any]) -> Sync:
    """A sync of a page that holds these rows."""
    machine.api.behaviours = [answering_json(200, {"data": odd, "next": None})]
    sync = machine.sync("by_cursor")
    run = machine.slice(sync)
    assert run.stop == "done", run.note
    return sync


def first(machine: Machine, sync: Sync, columns: str) -> tuple[Any, ...]:
    statement = f"SELECT {columns} FROM {{schema}}.by_cursor ORDER BY id"  # noqa: S608 - no value in it
    found: tuple[Any, ...] = machine.query(sync, statement)[0]
    return found


def test_members_that_are_called_like_ours(machine: Machine) -> None:
    sync = kept(machine, {"id": "1", "_pass": 99, "_dlt_id": "theirs", "ID": "other"})

    assert first(machine, sync, "id, _pass, provider__pass, provider__dlt_id, provider_id") == (
        "1", 1, 99, "theirs", "other",
    )  # fmt: skip


def test_of_two_members_of_one_column_the_last_wins(machine: Machine) -> None:
    sync = kept(machine, {"id": "1", "Weird": "first", "weird": "last"})

    assert first(machine, sync, "weird") == ("last",)


def test_a_member_of_another_type_has_a_second_column(machine: Machine) -> None:
    sync = kept(machine, {"id": "1", "n": 1}, {"id": "0", "n": "text"})

    assert first(machine, sync, "n, n__v_text") == (None, "text")


@pytest.mark.parametrize("levels", [99, 400])
def test_nesting_of_a_hundred_levels_is_kept(machine: Machine, levels: int) -> None:
    nested: Any = "bottom"
    for _ in range(levels):
        nested = {"a": nested}

    sync = kept(machine, {"id": "1", "nested": nested})

    (text,) = first(machine, sync, "nested::text")
    assert text.count('"a"') >= 99
    assert ("bottom" in text) is (levels == 99)
