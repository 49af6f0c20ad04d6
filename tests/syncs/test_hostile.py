"""
A provider that does what no API should. Whatever it sends, a slice ends in our words, rows that were there stay, and
the sync goes on by itself as soon as the provider does.
"""

import email.utils
import gzip
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from syncs import engine, session, walk
from syncs.models import Sync, SyncRun
from tests.lib.servers import Visit
from tests.security.stand_in import Request
from tests.syncs.api import Behaviour, answering, answering_json, rows
from tests.syncs.machine import Machine

HTML = "Content-Type: text/html"
JSON = "Content-Type: application/json"
MIB = 1024 * 1024


def nothing_of(run: SyncRun, sync: Sync, *words: str) -> bool:
    told = json.dumps([run.note, sync.progress, sync.health_notes, sync.health_parts])
    return not any(word in told for word in words)


def minutes_until(sync: Sync) -> float:
    return (sync.next_at - timezone.now()).total_seconds() / 60


def drip(visit: Visit, request: Request) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    visit.drip(b" ")


# ---- answers that are no page ----------------------------------------------------------------------------------------

ROW = {"id": "r000001", "name": "canary-row"}
NO_PAGES: dict[str, Behaviour] = {
    "a body of nothing": answering(200, b"", JSON),
    "null": answering_json(200, None),
    "null where the list should be": answering_json(200, {"data": None}),
    "a list of scalars": answering_json(200, {"data": [1, "canary-row", None]}),
    "rows among scalars": answering_json(200, {"data": [ROW, 1]}),
    "a number": answering_json(200, 7),
    "JSON that breaks off": answering(200, b'{"data": [{"id": "canary-row', JSON),
    "a number that is none": answering(200, b'{"data": [{"id": "canary-row", "n": NaN}]}', JSON),
    "two documents": answering(200, b'{"data": []}{"data": []}', JSON),
    "HTML": answering(200, b"<html><p>canary-row</p>", HTML),
    "an error with 200": answering_json(200, {"error": {"message": "canary-row"}}),
    "an error where the list should be": answering_json(200, {"data": {"error": "canary-row"}}),
    "a selector that has gone": answering_json(200, {"rows": [ROW]}),
    "bytes that are no characters": answering(200, b'{"data": "\xff\xfe\xed\xa0\x80"', JSON),
    "an abyss": answering(200, b'{"data": [' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"]}", JSON),
    "a redirect": answering(302, b"", "Location: https://evil.example.com/canary-row"),
    "a redirect to itself": answering(307, b"", "Location: /v1/by_cursor"),
    "not modified": answering(304),
    "a refusal": answering_json(400, {"error": "canary-row"}),
    "it is gone": answering_json(410, {"error": "canary-row"}),
    "more pages and no row, at once again": answering_json(200, {"data": [], "next": "5"}),
    "17 MiB": answering(200, b'{"data": ["' + b" " * 17 * MIB + b'"]}', JSON),
    "a bomb": answering(200, gzip.compress(b'{"data": ["' + b" " * 40 * MIB + b'"]}'), JSON, "Content-Encoding: gzip"),
}


def test_what_is_no_page_touches_no_row(machine: Machine) -> None:
    machine.api.all_rows = rows(25)
    sync = machine.sync("by_cursor")
    machine.slices(sync)

    for name, behaviour in NO_PAGES.items():
        machine.api.always = behaviour
        run = machine.refresh(sync, full=True)
        assert run.stop == "bad_data", name
        assert run.note.startswith("by_cursor: "), name
        assert sync.progress["by_cursor"]["state"] == "error", name
        assert nothing_of(run, sync, "canary"), name
        assert not run.rows, name
    assert len(machine.ids(sync, "by_cursor")) == 25
    assert sync.health_status == "error"
    assert f"It has failed {len(NO_PAGES)} times in a row." in sync.health_notes[0]
    assert 59 < minutes_until(sync) < 67

    machine.api.always = None
    assert machine.slice(sync).stop == "done"
    assert sync.health_parts["provider"]["status"] == "ok"
    assert (sync.failures, sync.failing_since) == (0, None)


@pytest.mark.parametrize(
    "second",
    [answering_json(200, {"message": "canary-row"}), answering_json(200, [{"message": "canary-row"}])],
    ids=["as a document", "as a list"],
)
def test_an_error_in_the_middle_of_a_full_pass_deletes_nothing(machine: Machine, second: Behaviour) -> None:
    machine.api.all_rows = rows(18)
    sync = machine.sync("by_link")
    machine.slices(sync)

    machine.api.behaviours = [machine.api.serve, second]
    machine.refresh(sync, full=True)

    assert len(machine.ids(sync, "by_link")) == 18
    assert sync.health_status == "warn"

    machine.refresh(sync, full=True)
    machine.slices(sync)
    assert sync.health_parts["provider"]["status"] == "ok"
    assert len(machine.ids(sync, "by_link")) == 18


def test_a_provider_that_is_slow_is_left(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "DEADLINE", 0.05)
    monkeypatch.setattr(session, "ALL_ATTEMPTS", 0.0)
    machine.api.always = drip
    sync = machine.sync("by_cursor")

    run = machine.slice(sync)

    assert run.stop == "provider_error"
    assert 0.9 < minutes_until(sync) < 1.2


def test_a_page_of_ten_megabytes_is_taken(machine: Machine) -> None:
    machine.api.all_rows = [row | {"text": "x" * 1_000_000} for row in rows(10)]
    sync = machine.sync("by_cursor")

    assert machine.slice(sync).stop == "done"
    assert machine.query(sync, "SELECT sum(length(text)) FROM {schema}.by_cursor") == [(10_000_000,)]


# ---- where the next page is ------------------------------------------------------------------------------------------


def link(url: str) -> Behaviour:
    return answering_json(200, [{"id": "1"}], f'Link: <{url}>; rel="next"')


def url_in_body(url: Any) -> Behaviour:
    return answering_json(200, {"data": [{"id": "1"}], "next_url": url})


ELSEWHERE: dict[str, Callable[[str], str]] = {
    "another host": lambda url: "https://evil.example.com/v1/by_link",
    "a host that begins alike": lambda url: f"{url}.evil.example.com/v1/by_link",
    "a host behind an at sign": lambda url: f"{url}@evil.example.com/v1/by_link",
    "another port": lambda url: f"{url[:-1]}/v1/by_link",
    "another scheme": lambda url: f"{url.replace('http:', 'https:')}/v1/by_link",
    "another path": lambda url: f"{url}/admin",
    "a path that goes up": lambda url: f"{url}/v1/../admin",
    "a file": lambda url: "file:///etc/passwd",
    "no scheme": lambda url: "//evil.example.com/v1/by_link",
}


def test_it_goes_nowhere_else(machine: Machine) -> None:
    sync = machine.sync("by_link", "by_url")
    asked = 0

    for name, place in ELSEWHERE.items():
        url = place(machine.api.url)
        machine.api.behaviours = [link(url), url_in_body(url)]
        run = machine.slice(sync)
        asked += 2
        assert run.stop == "bad_data", name
        assert "An address that may not be called" in run.note, name
        assert nothing_of(run, sync, "evil", "passwd"), name
        assert len(machine.api.requests) == asked, name
    assert {request.path for request in machine.api.requests} == {"/v1/by_link", "/v1/by_url"}

    machine.api.all_rows = rows(25)
    machine.slices(sync)
    assert len(machine.ids(sync, "by_url")) == len(machine.ids(sync, "by_link")) == 25


@pytest.mark.parametrize("following", [7, [], {"a": 1}, True, "\x00", "http://[", "http://a:b:c/"])
def test_a_next_page_that_is_no_address(machine: Machine, following: Any) -> None:
    machine.api.always = url_in_body(following)
    sync = machine.sync("by_url")

    assert machine.slice(sync).stop in {"bad_data", "done"}
    assert len(machine.api.requests) <= 2


def test_a_token_in_the_next_link_is_not_kept(machine: Machine) -> None:
    """Nor sent to where a URL stands in logs"""
    url = f"{machine.api.url}/v1/by_url?after=10&token=canary-key&limit=10"
    machine.api.behaviours = [url_in_body(url), answering(500), answering(500), answering(500)]
    sync = machine.sync("by_url")

    assert machine.slice(sync).stop == "provider_error"

    assert {request.target for request in machine.api.requests[1:]} == {"/v1/by_url?after=10&limit=10"}


def by_cursor(*cursors: str) -> Behaviour:
    """Pages that follow each other in a circle: each has one row, which is called as its cursor."""

    def behave(visit: Visit, request: Request) -> None:
        now = request.target.partition("after=")[2].partition("&")[0]
        after = cursors[(cursors.index(now) + 1) % len(cursors) if now else 0]
        answering_json(200, {"data": [{"id": now or "first"}], "next": after})(visit, request)

    return behave


@pytest.mark.parametrize(
    "circle", [("10",), ("10", "20", "30"), ("30", "20", "10", "20")], ids=["at once", "three", "back"]
)
def test_pages_that_go_in_a_circle_are_left(machine: Machine, circle: tuple[str, ...]) -> None:
    machine.api.always = by_cursor(*circle)
    sync = machine.sync("by_cursor")

    runs = [machine.slice(sync) for _ in range(2)]

    assert runs[1].stop == "bad_data"
    assert "is one that came before" in runs[1].note
    assert len(machine.api.requests) <= len(circle) + 3
    machine.api.always = None
    assert machine.slice(sync).stop == "done"


def test_empty_pages_for_ever_are_left(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "EMPTY", 5)

    def behave(visit: Visit, request: Request) -> None:
        after = int(request.target.partition("after=")[2].partition("&")[0] or 0)
        answering_json(200, {"data": [], "next": str(after + 1)})(visit, request)

    machine.api.always = behave
    sync = machine.sync("by_cursor")

    run = machine.slice(sync)

    assert (run.stop, run.requests) == ("bad_data", 5)
    assert "empty pages" in run.note


def test_more_rows_that_are_not_there(machine: Machine) -> None:
    """`has_more` is true, and the last row, whose id would be the cursor, is none"""
    machine.api.always = answering_json(200, {"data": [], "has_more": True})
    sync = machine.sync("by_last_id")

    run = machine.slice(sync)

    assert (run.stop, run.requests) == ("bad_data", 1)


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_cursor_that_has_expired_begins_the_pass_again_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(engine.Budget, "is_spent", property(lambda budget: budget.rows < engine.ROWS))  # one page
    machine.api.all_rows = rows(15)
    sync = machine.sync("by_cursor")
    machine.slice(sync)

    machine.api.behaviours = [answering(status)]
    assert machine.slice(sync).stop == "time"
    assert [("after" in request.target) for request in machine.api.requests] == [False, True, False]
    machine.slices(sync)
    assert len(machine.ids(sync, "by_cursor")) == 15


def test_a_cursor_that_always_expires_is_a_failure(machine: Machine) -> None:
    """Fetching the first page again and again is no progress"""

    def behave(visit: Visit, request: Request) -> None:
        (answering(410) if "after" in request.target else machine.api.serve)(visit, request)

    machine.api.all_rows = rows(25)
    machine.api.always = behave
    sync = machine.sync("by_cursor")

    runs = [machine.slice(sync) for _ in range(6)]

    assert {run.stop for run in runs} == {"bad_data"}
    assert sync.failures >= 5
    assert sync.health_status == "error"
    assert len(machine.ids(sync, "by_cursor")) == 10


# ---- one collection of several ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [answering(403), answering(200, b"<html>")], ids=["forbidden", "no page"])
def test_one_collection_that_does_not_go_keeps_no_other(machine: Machine, behaviour: Behaviour) -> None:
    def behave(visit: Visit, request: Request) -> None:
        (behaviour if request.path.endswith("forbidden") else machine.api.serve)(visit, request)

    machine.api.always = behave
    machine.api.all_rows = rows(25)
    sync = machine.sync("forbidden", "by_cursor")

    for count in (25, 26, 27):
        machine.refresh(sync)
        assert len(machine.ids(sync, "by_cursor")) == count
        machine.api.all_rows += rows(1, first=count + 1)

    assert sync.health_status == "warn"
    assert sync.health_notes[0].startswith("forbidden: ")
    assert sync.progress["forbidden"]["state"] == "error"
    assert sync.progress["by_cursor"]["state"] == "fresh"
    assert sync.initial_backfill_completed_at is None
    assert minutes_until(sync) > 0.9
    assert len(machine.api.asked("forbidden")) == 3


def test_a_credential_that_may_read_nothing_looks_again_later(machine: Machine) -> None:
    machine.api.always = answering(403)
    sync = machine.sync("by_cursor", "by_page")

    runs = [machine.slice(sync) for _ in range(3)]

    assert [(run.stop, run.requests) for run in runs] == [("forbidden", 2)] * 3
    assert 3.9 < minutes_until(sync) < 4.5
    assert sync.health_status == "warn"


# ---- too often, and out of order -------------------------------------------------------------------------------------


def in_a_while(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("status", "headers", "least", "most"),
    [
        (429, ["Retry-After: 900"], 890, 905),
        (429, ["Retry-After: {date}"], 3_900, 4_010),
        (503, ["Retry-After: 120"], 110, 125),
        (429, ["Retry-After: 99999999"], 86_000, 86_405),
        (429, [], 55, 65),
        (429, ["Retry-After: -1"], 55, 65),
        (429, ["Retry-After: soon"], 55, 65),
        (429, ["X-RateLimit-Reset: nan", "Retry-After: \xff"], 4, 6),
        (429, ["X-RateLimit-Reset: 300"], 290, 305),
        (429, ["X-RateLimit-Reset: {seconds}"], 3_900, 4_010),
        (429, ["X-RateLimit-Reset: {seconds}000"], 3_900, 4_010),
        (429, ["X-RateLimit-Reset: inf"], 86_000, 86_405),
        (403, ["X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 600"], 590, 605),
        (403, ["X-RateLimit-Remaining: 0"], 55, 65),
    ],
)
def test_it_comes_back_when_it_is_told_to(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, status: int, headers: list[str], least: int, most: int
) -> None:
    """What was fetched is kept, nobody waits for it, and other syncs of the credential know"""
    monkeypatch.setattr(session.stopping, "wait", lambda seconds: False)
    machine.api.all_rows = rows(25)
    then = {"date": in_a_while(4_000), "seconds": int(time.time()) + 4_000}
    refusal = answering(status, b"canary", *(header.format(**then) for header in headers))
    machine.api.behaviours = [machine.api.serve, *[refusal] * 3]
    sync = machine.sync("by_cursor")

    run = machine.slice(sync)

    assert run.stop == "rate_limited"
    assert run.rows == {"by_cursor": 10}
    assert least < minutes_until(sync) * 60 < most
    assert (sync.failures, sync.health_parts["provider"]["status"]) != (1, "error")
    if least > 60:
        other = machine.sync("by_page")
        assert (machine.slice(other).stop, machine.api.asked("by_page")) == ("rate_limited", [])
        assert minutes_until(other) * 60 > least - 30


def test_a_short_wait_is_waited_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(session.stopping, "wait", waited.append)
    machine.api.all_rows = rows(5)
    machine.api.behaviours = [answering(429, b"", "Retry-After: 2")]
    sync = machine.sync("by_cursor")

    run = machine.slice(sync)

    assert (run.stop, run.requests, run.rows) == ("done", 2, {"by_cursor": 5})
    assert 1 < sum(waited) <= 2.1
    assert run.waited_ms > 1_000


def test_a_failure_of_the_provider_is_tried_again_within_the_slice(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.stopping, "wait", lambda seconds: False)
    machine.api.all_rows = rows(15)
    machine.api.behaviours = [answering(500), lambda visit, request: visit.reset(), machine.api.serve, answering(502)]
    sync = machine.sync("by_cursor")

    run = machine.slice(sync)

    assert (run.stop, run.requests) == ("done", 5)


def test_failures_for_ever_are_tried_less_and_less_often(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "ATTEMPTS", 1)
    machine.api.all_rows = rows(25)
    machine.api.behaviours = [machine.api.serve]
    sync = machine.sync("by_cursor")
    machine.api.always = answering(500, b"canary-row")

    pauses = []
    for _ in range(8):
        run = machine.slice(sync)
        pauses.append(minutes_until(sync))
        assert (run.stop, nothing_of(run, sync, "canary")) == ("provider_error", True)

    for pause, expected in zip(pauses, [1, 2, 4, 8, 16, 32, 60, 60], strict=True):
        assert expected - 0.1 < pause <= expected * 1.1
    assert sync.health_status == "error"
    assert sync.status == "active"
    assert len(machine.ids(sync, "by_cursor")) == 10

    machine.api.behaviours = [machine.api.serve]
    machine.slice(sync)
    assert 0.9 < minutes_until(sync) < 1.2


# ---- rows ------------------------------------------------------------------------------------------------------------

SURROGATE = b'"\\ud800canary"'
LONG = "a" * 80


def test_rows_as_nobody_should_write_them(machine: Machine) -> None:
    odd: list[dict[str, Any]] = [
        {"id": 1, "n": 1},
        {"id": "1", "n": 2},  # the same key
        {"id": 2**70, "n": 2**70, "nested": {"n": -(2**70)}},
        {"id": 2**63, "n": 2**63},
        {"id": True, "n": "drifts"},
        {"id": "NUL\x00", "text": "a\x00b", "nested": {"k\x00": ["\x00"]}, "key\x00": 1},
        {"id": "names", "weird Key-ñ": 1, LONG: 2, f"{LONG}b": 3, "select": 4, "": 5, " ": 6, '"; DROP TABLE x': 7},
        {
            "id": "ours",
            "_pass": 99,
            "_deleted_at": "2020-01-01",
            "_synced_at": "x",
            "_dlt_id": None,
            "_dlt_load_id": {"a": 1},
            "-pass": 98,
            "_Deleted_At": "2020-01-01T00:00:00Z",
            "ID": None,
        },
        {"id": "wide"} | {f"c{n}": n for n in range(500)},
        {"id": "deep", "nested": json.loads('{"a":' * 400 + "1" + "}" * 400)},
        {"id": "numbers", "float": 1.5, "huge": "HUGE", "tiny": 1e-320},
        {"id": "types", "text": {"a": 1}, "nested": "text", "float": "text", "when": "0000-00-00", "n": None},
        {"id": "times", "when": "2026-11-22T10:00:00Z"},
        {"id": "more times", "when": "99999-99-99T10:00:00Z"},
        {"id": "x" * 3_000},  # no index takes it
        {"id": None},
        {"id": ""},
        {"id": {"a": 1}},
        {"id": []},
        {},
        {"ID": "another"},
    ]
    body = json.dumps({"data": odd, "next": "1"}).replace('"HUGE"', "1e999").encode()
    half = b'{"data": [{"id": ' + SURROGATE + b', "t": ' + SURROGATE + b', "n": {"a": ' + SURROGATE + b"}, "
    half += SURROGATE + b': 1}, {"id": "twice", "a": 1, "a": 2, "a": {"a": 3}}]}'
    machine.api.behaviours = [answering(200, body, JSON), answering(200, half, JSON)]
    sync = machine.sync("by_cursor")

    run = machine.slice(sync)

    assert run.stop == "done", run.note
    names = "deep more_times names numbers ours times twice types wide".replace("_", "|").split()
    expected = {"1", str(2**70), str(2**63), "true", "NUL", "?canary", *(name.replace("|", " ") for name in names)}
    assert set(machine.ids(sync, "by_cursor")) == expected
    assert machine.query(sync, "SELECT count(*), count(DISTINCT id) FROM {schema}.by_cursor") == [(15, 15)]
    assert sync.progress["by_cursor"]["skipped"] == 7
    assert "7 rows had no key" in sync.health_notes[-1]
    one = dict(machine.query(sync, "SELECT id, nested::text FROM {schema}.by_cursor WHERE nested IS NOT NULL"))
    assert str(2**70) in one[str(2**70)]
    own = machine.query(
        sync,
        "SELECT _pass, _deleted_at, provider_pass, _synced_at > now() - interval '1 hour' FROM {schema}.by_cursor"
        " WHERE id = 'ours'",
    )
    assert own[0][:2] == (1, None)
    assert own[0][3] is True


def test_a_row_of_the_far_future_moves_no_watermark(machine: Machine) -> None:
    machine.api.all_rows = rows(25)
    machine.api.all_rows[5]["updated_at"] = 32_000_000_000
    sync = machine.sync("changing", "windowed")
    machine.slices(sync)
    machine.api.requests.clear()

    machine.refresh(sync)

    for name in ("changing", "windowed"):
        since = int(machine.api.asked(name)[0].target.partition("since=")[2].partition("&")[0])
        assert time.time() - 300 < since < time.time()


def test_types_that_drift_between_passes_lose_nothing(machine: Machine) -> None:
    sync = machine.sync("by_cursor")
    for value in (1, "text", {"a": 1}, 1.5, None, True, [1], 2**65):
        machine.api.all_rows = [{"id": "1", "value": value, "updated_at": value}]
        run = machine.refresh(sync)
        assert run.stop == "done", (value, run.note)
    assert machine.ids(sync, "by_cursor") == ["1"]
    assert timezone.now() - sync.health_time < timedelta(minutes=1)
