"""One request to a provider: how long it may take, alone and among others, and when there is a second try."""

from typing import Any

import pytest

from providers import wire
from providers.client import Client
from providers.errors import ProviderUnavailable
from sequin_auth.lib import http

CLIENT = Client("c1", "s1", {})
URL = "https://acme.example/token"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(wire, "time", clock)
    return clock


@pytest.fixture
def deadlines(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that each request was given; each takes four seconds."""
    given: list[float] = []

    def request(*_: Any, deadline: float, **__: Any) -> http.Response:
        given.append(deadline)
        clock.now += min(deadline, 4.0)
        return http.Response(200, {}, b"{}")

    monkeypatch.setattr(http, "request", request)
    return given


def test_each_request_has_ten_seconds(deadlines: list[float]) -> None:
    for _ in range(3):
        wire.send(CLIENT, "GET", URL)

    assert deadlines == [10.0] * 3


def test_f05_requests_that_somebody_waits_for_share_them(deadlines: list[float]) -> None:
    with wire.one_deadline():
        for _ in range(4):
            wire.send(CLIENT, "GET", URL)
    wire.send(CLIENT, "GET", URL, deadline=7.0)

    assert deadlines == [10.0, 6.0, 2.0, 0.0, 7.0]


def test_what_must_not_be_left_out_has_a_moment_in_any_case(deadlines: list[float]) -> None:
    with wire.one_deadline():
        with wire.last_moment():
            wire.send(CLIENT, "GET", URL)
        wire.send(CLIENT, "GET", URL)
        wire.send(CLIENT, "GET", URL)
        with wire.last_moment():
            wire.send(CLIENT, "GET", URL)
    with wire.last_moment():
        wire.send(CLIENT, "GET", URL)

    assert deadlines == [10.0, 6.0, 2.0, wire.LAST_MOMENT, 10.0]


@pytest.fixture
def attempts(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each try takes, in vain."""
    takes: list[float] = []

    def request(*_: Any, **__: Any) -> http.Response:
        clock.now += takes.pop(0)
        raise http.Unreachable("nobody there")

    monkeypatch.setattr(http, "request", request)
    return takes


@pytest.mark.parametrize(("takes", "left"), [([0.1, 0.1, 9.0], 1), ([5.0, 9.0], 1)])
def test_f06_f13_there_is_a_second_try_where_the_first_has_not_hung(
    attempts: list[float], takes: list[float], left: int
) -> None:
    attempts.extend(takes)

    with pytest.raises(ProviderUnavailable):
        wire.send(CLIENT, "GET", URL)

    assert len(attempts) == left
