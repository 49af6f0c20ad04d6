"""Connections that are used for another call: with the promises of those that are not."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from django.test import override_settings

from sequin_auth.lib import http
from sequin_auth.lib.http import connections
from tests.lib.conftest import Serve
from tests.lib.servers import PATIENCE, Authority, Visit

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%b\r\nok"


@pytest.fixture(autouse=True)
def keeping(serve: Serve) -> Iterator[None]:
    token = http.keeps_connections.set(True)
    yield
    http.keeps_connections.reset(token)
    http.close_idle_lines()


def answering_all(header: bytes = b"") -> Callable[[Visit], None]:
    """Answers until the client hangs up."""

    def behave(visit: Visit) -> None:
        while visit.read_request():
            visit.send(ANSWER % header)

    return behave


def leaves_after_one(visit: Visit) -> None:
    visit.read_request()
    visit.send(ANSWER % b"")


def answers_one_and_hangs(visit: Visit) -> None:
    visit.read_request()
    visit.send(ANSWER % b"")
    visit.read_request()
    visit.hang()


@pytest.mark.parametrize(
    "behave",
    [
        leaves_after_one,
        answering_all(b"Connection: close\r\n"),
    ],
    ids=["hung up", "is about to hang up"],
)
def test_a_connection_that_cannot_be_trusted_is_not_used_again(behave: Callable[[Visit], None], serve: Serve) -> None:
    server = serve(behave)

    first = http.request("POST", server.url, form={"n": "1"})
    if behave is leaves_after_one:
        assert server.left.acquire(timeout=PATIENCE)
    second = http.request("POST", server.url, form={"n": "2"})

    assert (first.content, second.content, server.visits) == (b"ok", b"ok", 2)


def test_an_answer_that_nobody_asked_for_is_nobodys(serve: Serve) -> None:
    """It came before the next request was sent"""
    is_over, is_sent = threading.Event(), threading.Event()

    def goes_on(visit: Visit) -> None:
        visit.read_request()
        visit.send(ANSWER % b"")
        assert is_over.wait(PATIENCE)
        if not is_sent.is_set():
            visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
            is_sent.set()
            visit.connection.recv(1)

    server = serve(goes_on)
    http.request("GET", server.url)
    is_over.set()
    assert is_sent.wait(PATIENCE)

    answer = http.request("GET", server.url)

    assert (answer.content, server.visits) == (b"ok", 2)


def test_nor_is_one_that_has_waited_for_long(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(answering_all())
    http.request("GET", server.url)
    monkeypatch.setattr(connections, "IDLE", 0.0)

    http.request("GET", server.url)

    assert server.visits == 2


def test_nor_one_to_an_address_that_was_looked_up_long_ago(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "OLDEST", 0.0)
    server = serve(answering_all())

    for _ in range(2):
        http.request("GET", server.url)

    assert server.visits == 2


def test_an_exception_that_was_taken_back_closes_it_to_calls(serve: Serve) -> None:
    server = serve(answering_all())
    http.request("GET", server.url)

    with override_settings(EGRESS_ALLOW=[]), pytest.raises(http.EgressBlocked):
        http.request("GET", server.url)

    assert len(server.requests) == 1


def test_the_deadline_is_that_of_the_call(serve: Serve) -> None:
    server = serve(answers_one_and_hangs)
    http.request("GET", server.url, deadline=PATIENCE)

    begun = time.monotonic()
    with pytest.raises(http.NoAnswer, match="deadline"):
        http.request("GET", server.url, deadline=0.3)

    assert (server.visits, time.monotonic() - begun < PATIENCE / 2) == (1, True)
    assert connections.idle == {}  # what was cut is no use


def test_a_call_that_is_over_does_not_cut_the_next(serve: Serve) -> None:
    """The first one's time ends while the second is under way"""

    def dawdles(visit: Visit) -> None:
        visit.read_request()
        visit.send(ANSWER % b"")
        visit.read_request()
        assert not visit.server.stopped.wait(0.6)
        visit.send(ANSWER % b"")

    server = serve(dawdles)
    http.request("GET", server.url, deadline=0.3)

    answer = http.request("GET", server.url, deadline=PATIENCE)

    assert (answer.status, server.visits) == (200, 1)


def test_no_cookie_goes_with_the_next_call(serve: Serve) -> None:
    server = serve(answering_all(b"Set-Cookie: session=1\r\n"))

    for _ in range(2):
        http.request("GET", server.url)

    assert server.visits == 1
    assert b"cookie" not in server.requests[1].lower()


def test_over_tls_too(serve: Serve, authority: Authority) -> None:
    server = serve(answering_all(), tls=authority.context_for("localhost"))

    with override_settings(EGRESS_ALLOW=[f"localhost:{server.port}"]):
        answers = [http.request("GET", f"https://localhost:{server.port}/").content for _ in range(3)]

    assert (answers, server.visits) == ([b"ok"] * 3, 1)


def test_only_who_asks_for_it_has_it(serve: Serve) -> None:
    http.keeps_connections.set(False)
    server = serve(answering_all())

    for _ in range(2):
        http.request("GET", server.url)

    assert server.visits == 2
