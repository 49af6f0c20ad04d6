"""What of the processes' logs reaches the terminal of `make run`."""

import json

import pytest

from sequin_auth.management.commands.run import worth_saying


@pytest.mark.parametrize(
    ("line", "notice"),
    [
        ({"level": "info", "event": "request"}, ""),
        (
            {"level": "warning", "event": "code_refused", "logger": "link", "timestamp": "…", "oauth_app": "8ff5"},
            "warning code_refused oauth_app=8ff5",
        ),
        (
            {"level": "error", "event": "failed\nat length", "exception": '  File "x.py", line 1\nValueError'},
            "error failed ValueError",
        ),
        (["level"], ""),
    ],
)
def test_warnings_and_worse_are_said_in_one_line(line: object, notice: str) -> None:
    assert worth_saying(json.dumps(line).encode()) == notice


def test_what_is_no_log_line_stays_in_the_file() -> None:
    assert worth_saying(b"Traceback (most recent call last):\n") == ""
    assert worth_saying(b"\xff\n") == ""
