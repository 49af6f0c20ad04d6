"""What a log line holds, and what it never does (E02)."""

import ast
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from sequin_auth.lib import logs

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("sequin_auth", "providers", "oauth_apps", "credentials")

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What has been logged since the last look."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    logging.getLogger().addHandler(handler)

    def look() -> list[dict[str, Any]]:
        written = [json.loads(line) for line in stream.getvalue().splitlines()]
        stream.truncate(0)
        stream.seek(0)
        return written

    yield look
    logging.getLogger().removeHandler(handler)


def test_a_field_that_is_not_known_is_left_out_and_missed(lines: Lines) -> None:
    structlog.get_logger("link").info("arrived", provider="stripe", code="canary", access_token="canary")

    (line,) = lines()
    assert (line["event"], line["provider"], line["logger"], line["level"]) == ("arrived", "stripe", "link", "info")
    assert line["left_out"] == ["access_token", "code"]
    assert "canary" not in json.dumps(line)


def test_every_field_that_we_log_is_known() -> None:
    logged: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("log.", "self.log.")):
                    logged |= {keyword.arg for keyword in node.keywords if keyword.arg}

    assert "oauth_app" in logged
    assert logged <= logs.FIELDS


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("GET /link/oauth2/callback/stripe?code=canary&state=canary", "GET /link/oauth2/callback/stripe?…"),
        ("Not Found: /link/oauth2/start/canary", "Not Found: /link/oauth2/start/…"),
        ("Not Found: /link/oauth2/start/canary?x=canary", "Not Found: /link/oauth2/start/…?…"),
        ("bad token sqa_canary0123", "bad token sqa_…"),
        ("{'Authorization': 'Bearer canary'}", "{'Authorization': 'Bearer …'}"),
        ("authorization: basic canary", "authorization: basic …"),
        ("Invalid request from ip=192.0.2.1: canary\r\ncanary", "Invalid request from ip=192.0.2.1"),
        ("Listening at: http://127.0.0.1:8000 (17)", "Listening at: http://127.0.0.1:8000 (17)"),
    ],
)
def test_the_text_of_a_library_is_cut(text: str, written: str, lines: Lines) -> None:
    logging.getLogger("library").warning("%s", text)

    assert [line["event"] for line in lines()] == [written]


def test_an_exception_is_told_without_its_message(lines: Lines) -> None:
    def fail() -> None:
        try:
            int("canary-1")
        except ValueError as exc:
            raise KeyError("canary-2") from exc

    for log in (logging.getLogger("library").exception, structlog.get_logger("ours").exception):
        try:
            fail()
        except KeyError:
            log("failed")

    first, second = lines()
    for line in (first, second):
        assert line["exception"].endswith("\nKeyError")
        assert "\nValueError\n\nand from it\n" in line["exception"]
        assert 'int("canary-1")' in line["exception"]  # a line of the source, not the message
        assert "invalid literal" not in line["exception"]


def test_an_exception_that_suppresses_its_context_does_so_here_too(lines: Lines) -> None:
    try:
        try:
            int("canary")
        except ValueError:
            raise LookupError from None
    except LookupError:
        logging.getLogger("library").exception("failed")

    (line,) = lines()
    assert "ValueError\n" not in line["exception"]


def test_what_a_record_carries_beside_its_text_stays_out(lines: Lines) -> None:
    """Django hands the request along, procrastinate the job."""
    logging.getLogger("django.request").error("failed", extra={"request": "canary", "job": {"args": "canary"}})

    assert "canary" not in json.dumps(lines())


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "django.db.backends", "psycopg.pool", "asyncio"])
def test_some_libraries_never_tell_details(name: str) -> None:
    """Their DEBUG and INFO lines are URLs, statements and parameters."""
    assert not logging.getLogger(name).isEnabledFor(logging.INFO)


def test_a_line_that_cannot_be_written_is_not_told_of(capsys: pytest.CaptureFixture[str], lines: Lines) -> None:
    logging.getLogger("library").warning("%d", "canary")

    assert "canary" not in capsys.readouterr().err
