"""Which patterns of a catalogue file are refused, before they are tried on anything."""

import time
from pathlib import Path

import pytest
from pytest_django import Settings

from providers.catalogue.pattern_rules import problem_of
from tests.providers.acme_file import ACME, NEXT, told_at_the_start

FOR_EVER = "repeats a group that holds a repetition or an alternation, and could take for ever"
FLAGS = "must do without flags, comments and conditions"


@pytest.mark.parametrize(
    "pattern",
    [
        "(a|a)*b", "(a|b)+", "(a+)+b", "(a*)*", "(?:a?)+", "(a+)*?", "(a+)++", "(?P<x>a+){3,}", "(a+){,}", "(a?a){2,9}",
        "(a{1,3}){4}", "([a-z]+-?)*", "((a+)?)*", "((a+)b)+", "(-*)+", "(-?a+)+", "(-a+a+)+", "([^-]a+)+", "(.a+)+",
        r"(\x41a+)+", r"(\w+_)+", "([]a]+)+", r"([\]a]+)+", r"\\(a+)+", "(?=(a+)+)b", "(?<=x)(a+)+",
    ],
)  # fmt: skip
def test_a_repetition_within_a_repetition_is_refused(pattern: str) -> None:
    assert problem_of(pattern) == FOR_EVER


@pytest.mark.parametrize("pattern", ["(?i)a", "(?x)(a|a) *", "a(?#b)", "(a)?(?(1)b|c)"])
def test_what_cannot_be_judged_is_refused(pattern: str) -> None:
    assert problem_of(pattern) == FLAGS


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "(" * 3000 + ")" * 3000])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    assert problem_of(pattern) == "is no regular expression"


@pytest.mark.parametrize(
    "pattern",
    [
        "", "a+|b+", "(a|b)", "(?:a|b)?", "(a|b){1}", "(abc)+", "(a{3})+", "[(a+)+]+", r"\(a+\)+", r"\(a|b\)*",
        "[]+*(]+", "[^]+(]*", r"[\](+]+", "x{}", "(?<=x)(a)+", "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "[0-9a-f]+(-[0-9a-f]+)+", r"(\d{1,3}\.){3}\d{1,3}", r"([\]a]+-)*",
    ],
)  # fmt: skip
def test_what_ends_in_time_is_accepted(pattern: str) -> None:
    assert problem_of(pattern) == ""


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (
            f"[credential]\nh = {{ variable = 'h', identity = true }}\n"
            f"[variables.h]\nlabel = 'H'\nkind = 'text'\nexample = '{'a' * 60}'\npattern = '(a|aa)*b'\n",
            NEXT + 2,
            "variable h: its pattern",
        ),
        (
            "[credential]\np = { callback = 'p', identity = true, pattern = '(a|aa)*b' }\n",
            NEXT + 1,
            "credential.p: its pattern",
        ),
        (
            "[kinds.acme_key]\nlabel = 'K'\nauth = 'key'\n"
            "properties.p = { secret = true, identity = true, pattern = '(a|aa)*b' }\n",
            NEXT + 3,
            "kinds.acme_key.p has a pattern that",
        ),
    ],
)
def test_a_pattern_that_would_take_for_ever_is_told_at_once(
    tmp_path: Path, settings: Settings, text: str, line: int, says: str
) -> None:
    settings.PROVIDERS_DIR = str(tmp_path)
    started = time.process_time()

    told = told_at_the_start(tmp_path, ACME + text)

    assert told == [(line, f"{says} {FOR_EVER}")]
    assert time.process_time() - started < 5
