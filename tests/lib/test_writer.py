"""What was collected in memory is written by a thread, and what it cannot write is neither lost nor in the way."""

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.db import DataError, IntegrityError, InterfaceError, InternalError, OperationalError
from pytest_django import Settings

from sequin_auth.lib import writer


@pytest.fixture(autouse=True)
def writing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The writer as it is in a process of its own, seldom; what is written there."""
    settings.WRITTEN_EVERY = 3600
    for name, value in (("writes", {}), ("said_at", {}), ("thread", None), ("stopping", threading.Event())):
        monkeypatch.setattr(writer, name, value)
    yield []
    writer.stop()


def fails() -> None:
    raise OperationalError("the connection is closed: canary")


def lines(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record.msg for record in caplog.records]


# ---- what cannot be written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, InternalError])
def test_while_the_database_is_away_all_comes_back(error: type[Exception]) -> None:
    """Also those whose turn has not come, of rows that are written without one that the database does not take"""
    asked, back = list[dict[str, int]](), dict[str, int]()

    def to(numbers: Mapping[str, int]) -> None:
        asked.append(dict(numbers))
        raise DataError if len(asked) == 1 else error

    with pytest.raises(error):
        writer.add({"a": 1, "b": 2, "c": 3}, to, put_back=back.update)

    assert back == {"a": 1, "b": 2, "c": 3}
    assert len(asked) == 2


@pytest.mark.parametrize("error", [DataError, IntegrityError])
@pytest.mark.parametrize("bad", [{"a"}, {"d"}, {"b", "g"}])
def test_a_row_that_the_database_does_not_take_is_dropped_alone(
    error: type[Exception], bad: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    kept, back = dict[str, int](), dict[str, int]()
    numbers = dict(zip("abcdefg", range(7), strict=True))

    def to(part: Mapping[str, int]) -> None:
        if part.keys() & bad:
            raise error("canary")
        assert not part.keys() & kept.keys()
        kept.update(part)

    writer.add(numbers, to, put_back=back.update)

    assert kept == {name: number for name, number in numbers.items() if name not in bad}
    assert back == {}
    (line,) = lines(caplog)
    assert (line["event"], line["level"], line["reason"]) == ("rows_dropped", "error", error.__name__)
    assert line["count"] == len(bad)
    assert "canary" not in str(line)


def test_a_write_that_goes_on_failing_says_so_once_a_minute(
    writing: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    writer.writes.update({fails: None, lambda: writing.append("written"): None})

    said = []
    for seconds in (0, 5, 54, 1, 5):
        now += seconds
        caplog.clear()
        writer.write_all()
        said.append([(line["event"], line["task"], line["reason"]) for line in lines(caplog)])

    line = ("not_written", f"{__name__}.fails", "OperationalError")
    assert said == [[line], [], [], [line], []]
    assert writing == ["written"] * 5


def test_whatever_a_write_fails_with_the_thread_goes_on(writing: list[str], caplog: pytest.LogCaptureFixture) -> None:
    def breaks() -> None:
        raise ValueError("canary")

    writer.keep_calling(breaks)
    writer.keep_calling(lambda: writing.append("written"))

    writer.stop()

    assert writing == ["written"]
    assert [line["reason"] for line in lines(caplog)] == ["ValueError"]
    assert "canary" not in str(lines(caplog))


# ---- when a process ends ---------------------------------------------------------------------------------------------


def test_the_end_of_a_process_waits_for_no_database_that_is_gone(
    writing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LONGEST", 0.05)
    is_back = threading.Event()

    def hangs() -> None:
        is_back.wait(10)
        writing.append("written")

    writer.keep_calling(hangs)
    writer.stop()

    assert writing == []
    is_back.set()


def test_a_process_that_ends_in_good_order_writes_what_it_had_collected(writing: list[str]) -> None:
    writer.keep_calling(fails)
    writer.keep_calling(lambda: writing.append("written"))
    assert writing == []

    writer.stop()

    assert writing == ["written"]
    assert writer.thread is not None
    assert not writer.thread.is_alive()
