"""Providers that are slow, broken, too large or somebody else."""

import gzip
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from sequin_auth.lib import http
from sequin_auth.lib.http import calls, connections
from tests.lib.conftest import Names, Serve
from tests.lib.servers import PATIENCE, Authority, Visit, answering

DEADLINE = 0.2
OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def taking(*, at_least: float = 0.0, at_most: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert at_least <= time.monotonic() - start <= at_most


# Slow


def reads_and_hangs(visit: Visit) -> None:
    visit.read_request()
    visit.hang()


def drips_the_status(visit: Visit) -> None:
    visit.read_request()
    visit.send(b"HTTP/1.1 200 ")
    visit.drip(b"O")


def drips_continues(visit: Visit) -> None:
    visit.read_request()
    visit.drip(b"HTTP/1.1 100 Continue\r\n\r\n")


def drips_a_header(visit: Visit) -> None:
    visit.read_request()
    visit.send(OK, b"X: ")
    visit.drip(b"x")


def drips_headers(visit: Visit) -> None:
    visit.read_request()
    visit.send(OK)
    visit.drip(b"X: x\r\n")


def drips_the_body(visit: Visit) -> None:
    visit.read_request()
    visit.send(OK, b"Content-Length: 1000000\r\n\r\n")
    visit.drip(b"x")


def drips_a_body_without_length(visit: Visit) -> None:
    visit.read_request()
    visit.send(OK, b"\r\n")
    visit.drip(b"x")


def drips_chunks(visit: Visit) -> None:
    visit.read_request()
    visit.send(OK, b"Transfer-Encoding: chunked\r\n\r\n")
    visit.drip(b"1\r\nx\r\n")


def drips_nothing_compressed(visit: Visit) -> None:
    visit.read_request()
    visit.send(OK, b"Content-Encoding: gzip\r\n\r\n")
    visit.drip(gzip.compress(b""))


def drips_a_redirect(visit: Visit) -> None:
    visit.read_request()
    visit.send(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n")
    visit.drip(b"x")


def hangs_after_a_whole_head_without_length(visit: Visit) -> None:
    visit.read_request()
    visit.send(OK, b"\r\n")
    visit.hang()


SLOW = [
    Visit.hang,
    reads_and_hangs,
    drips_the_status,
    drips_continues,
    drips_a_header,
    drips_headers,
    drips_the_body,
    drips_a_body_without_length,
    drips_chunks,
    drips_nothing_compressed,
    drips_a_redirect,
    hangs_after_a_whole_head_without_length,
]


@pytest.mark.parametrize("behave", SLOW)
def test_f05_it_is_over_at_the_deadline(behave: Callable[[Visit], None], serve: Serve) -> None:
    server = serve(behave)

    with taking(at_least=DEADLINE, at_most=DEADLINE + 1), pytest.raises(http.NoAnswer, match="deadline"):
        http.request("POST", server.url, form={"code": "1"}, deadline=DEADLINE)

    assert server.visits == 1


def test_f05_the_server_notices_that_we_hung_up(serve: Serve) -> None:
    def waits_for_the_end(visit: Visit) -> None:
        visit.read_request()
        assert visit.connection.recv(1) == b""
        hung_up.set()

    hung_up = threading.Event()
    server = serve(waits_for_the_end)

    with pytest.raises(http.NoAnswer):
        http.request("GET", server.url, deadline=DEADLINE)

    assert hung_up.wait(PATIENCE)


@pytest.mark.parametrize("behave", [Visit.hang, reads_and_hangs, drips_headers, drips_a_body_without_length])
def test_f05_it_is_over_at_the_deadline_over_tls_too(
    behave: Callable[[Visit], None], serve: Serve, authority: Authority
) -> None:
    server = serve(behave, tls=authority.context_for("localhost"))

    with (
        override_settings(EGRESS_ALLOW=[f"localhost:{server.port}"]),
        taking(at_least=0.5, at_most=1.5),
        pytest.raises(http.NoAnswer, match="deadline"),
    ):
        http.request("GET", f"https://localhost:{server.port}/", deadline=0.5)


@pytest.mark.parametrize("first_byte", [b"", b"\x16\x03\x03\x40\x00"])
def test_f06_a_handshake_without_end_is_over_at_the_deadline(first_byte: bytes, serve: Serve) -> None:
    def drips_a_handshake(visit: Visit) -> None:
        visit.send(first_byte)
        visit.drip(first_byte and b"\x00")

    server = serve(drips_a_handshake)

    with taking(at_least=DEADLINE, at_most=DEADLINE + 1), pytest.raises(http.Unreachable):
        http.request("GET", f"https://{server.authority}/", deadline=DEADLINE)


@pytest.mark.parametrize(("connect_timeout", "deadline"), [(DEADLINE, 10.0), (10.0, DEADLINE)])
def test_f06_a_connection_that_hangs_is_given_up(
    connect_timeout: float, deadline: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT", connect_timeout)

    with (
        full_backlog() as port,
        override_settings(EGRESS_ALLOW=[f"127.0.0.1:{port}"]),
        taking(at_least=DEADLINE, at_most=DEADLINE + 1),
        pytest.raises(http.Unreachable),
    ):
        http.request("GET", f"http://127.0.0.1:{port}/", deadline=deadline)


@contextmanager
def full_backlog() -> Iterator[int]:
    """A port that is listened to, and where no further connection gets an answer."""
    waiting: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        for _ in range(16):
            waiting.append(socket.socket())
            waiting[-1].settimeout(0.05)
            try:
                waiting[-1].connect(listener.getsockname())
            except TimeoutError:
                break
        yield listener.getsockname()[1]
        for connection in waiting:
            connection.close()


def test_f06_an_address_that_hangs_leaves_time_for_the_next(
    serve: Serve, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(connection: socket.socket, address: Any) -> None:
        if address[0] == "::1":
            timeouts.append(connection.gettimeout())
            raise TimeoutError
        really(connection, address)

    timeouts: list[float | None] = []
    server, really = serve(answering()), socket.socket.connect
    names.addresses["api.example.com"] = ["::1", "127.0.0.1"]
    monkeypatch.setattr(socket.socket, "connect", connect)

    with override_settings(EGRESS_ALLOW=[f"api.example.com:{server.port}"]):
        answer = http.request("GET", f"http://api.example.com:{server.port}/")

    assert answer.status == 200
    assert timeouts == [pytest.approx(connections.CONNECT_TIMEOUT / 2, abs=0.5)]


@pytest.mark.parametrize(("connect_timeout", "deadline"), [(DEADLINE, 10.0), (10.0, DEADLINE)])
def test_f05_a_name_server_that_hangs_is_given_up(
    connect_timeout: float, deadline: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT", connect_timeout)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [] * let_go.wait(PATIENCE))

    with taking(at_least=DEADLINE, at_most=DEADLINE + 1), pytest.raises(http.Unreachable):
        http.request("GET", "https://api.example.com/", deadline=deadline)

    let_go.set()


def test_f05_a_connection_that_comes_too_late_is_not_kept() -> None:
    call = http.Call(http.permitted("https://api.example.com/", None), 0)
    call.cut()

    with socket.socket() as connection, pytest.raises(http.Unreachable):
        call.hold(connection)


def test_an_answer_in_time_is_an_answer(serve: Serve) -> None:
    def dawdles(visit: Visit) -> None:
        visit.read_request()
        for byte in OK + b"Content-Length: 2\r\n\r\nok":
            visit.send(bytes([byte]))

    server = serve(dawdles)

    answer = http.request("GET", server.url)

    assert (answer.status, answer.content) == (200, b"ok")


# Broken


def test_f13_a_refused_connection_sent_nothing(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with override_settings(EGRESS_ALLOW=[f"127.0.0.1:{port}"]), pytest.raises(http.Unreachable):
        http.request("POST", f"http://127.0.0.1:{port}/", form={"code": "1"})


def test_f13_a_name_that_nobody_knows_sent_nothing(names: Names) -> None:
    with pytest.raises(http.Unreachable):
        http.request("POST", "https://api.example.com/", form={"code": "1"})

    assert names.asked == ["api.example.com"]


def cuts(*parts: bytes, reset: bool) -> Callable[[Visit], None]:
    def behave(visit: Visit) -> None:
        visit.read_request()
        visit.send(*parts)
        if reset:
            visit.reset()

    return behave


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"HTTP/1.1"],
        [OK, b"Content-Length: 10\r\n\r\n"],
        [OK, b"Content-Length: 10\r\n\r\n", b"123456789"],
        [OK, b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\n12345\r\n"],
        [OK, b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\n1234"],
        [OK, b"Transfer-Encoding: chunked\r\n\r\n", b"x\r\n1234\r\n0\r\n\r\n"],
        [OK, b"Content-Length: 5, 6\r\n\r\n", b"12345"],
        [OK, b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n", b"12345"],
        [b"\x00\x01\x02\r\n\r\n"],
        [b"HTTP/1.1 abc OK\r\n\r\n"],
        [b"HTTP/1.1 99999 OK\r\n\r\n"],
        [OK, b"X: " + b"x" * 70_000 + b"\r\n\r\n"],
        [OK, b"X: x\r\n" * 200 + b"\r\n"],
    ],
)
def test_f13_what_breaks_after_the_request_may_have_arrived(parts: list[bytes], reset: bool, serve: Serve) -> None:
    server = serve(cuts(*parts, reset=reset))

    with pytest.raises(http.NoAnswer):
        http.request("POST", server.url, form={"code": "1"})

    assert len(server.requests) == 1


# Too large


def sends(head: bytes, *parts: bytes) -> Callable[[Visit], None]:
    def behave(visit: Visit) -> None:
        visit.read_request()
        visit.send(OK, head, b"\r\n", *parts)

    return behave


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def without_end(visit: Visit) -> None:
    visit.read_request()
    visit.send(OK, b"\r\n")
    while True:
        visit.send(b"x" * 65536)


def redirects_without_end(visit: Visit) -> None:
    visit.read_request()
    visit.send(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n")
    while True:
        visit.send(b"x" * 65536)


ZEROS = bytes(64 * 1024 * 1024)
BOMB = gzip.compress(ZEROS, 1)  # of a ratio that is bad enough, and each process of a run makes one
DEFLATED = zlib.compress(ZEROS, 1)
TWICE = gzip.compress(BOMB)
del ZEROS


@pytest.mark.parametrize(
    "behave",
    [
        without_end,
        redirects_without_end,
        sends(b"Content-Length: 99999999999\r\n", bytes(2 * http.LARGEST_ANSWER)),
        sends(b"Content-Encoding: gzip\r\n", BOMB),
        sends(b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(BOMB), BOMB),
        sends(b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", chunked(BOMB)),
        sends(b"Content-Encoding: deflate\r\n", DEFLATED),
        sends(b"Content-Encoding: gzip, gzip\r\n", TWICE),
    ],
)
def test_f07_it_stops_reading_at_the_cap(behave: Callable[[Visit], None], serve: Serve) -> None:
    server = serve(behave)

    tracemalloc.start()
    try:
        with pytest.raises(http.AnswerTooLarge):
            http.request("GET", server.url)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 3 * 1024 * 1024


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_f07_it_reads_up_to_the_cap(compress: Callable[[bytes], bytes], serve: Serve) -> None:
    encoding = "identity" if compress is bytes else "gzip"
    content = b"x" * http.LARGEST_ANSWER
    exact = serve(answering("200 OK", f"Content-Encoding: {encoding}", body=compress(content)))
    one_more = serve(answering("200 OK", f"Content-Encoding: {encoding}", body=compress(content + b"x")))

    assert http.request("GET", exact.url).content == content
    with pytest.raises(http.AnswerTooLarge):
        http.request("GET", one_more.url)


# Somebody else


def test_f03_f14_name_and_certificate_are_checked_at_the_address(
    serve: Serve, authority: Authority, names: Names
) -> None:
    asked_for: list[str | None] = []
    tls = authority.context_for("api.example.com")
    tls.sni_callback = lambda _, name, __: asked_for.append(name)
    server = serve(answering(body=b"ok"), tls=tls)
    names.addresses["api.example.com"] = ["127.0.0.1"]

    with override_settings(EGRESS_ALLOW=[f"api.example.com:{server.port}"]):
        answer = http.request("GET", f"https://api.example.com:{server.port}/")

    assert (answer.status, answer.content) == (200, b"ok")
    assert asked_for == ["api.example.com"]
    assert f"\r\nHost: api.example.com:{server.port}\r\n" in server.requests[0].decode()


@pytest.mark.parametrize(
    ("host", "days"), [("other.example.com", 1), ("*.api.example.com", 1), ("api.example.com", -1)]
)
def test_f14_it_refuses_a_certificate_for_another_name_or_time(
    host: str, days: int, serve: Serve, authority: Authority, names: Names
) -> None:
    server = serve(answering(), tls=authority.context_for(host, days=days))
    names.addresses["api.example.com"] = ["127.0.0.1"]

    with (
        override_settings(EGRESS_ALLOW=[f"api.example.com:{server.port}"]),
        pytest.raises(http.Unreachable, match="TLS"),
    ):
        http.request("POST", f"https://api.example.com:{server.port}/", form={"code": "1"})

    assert (server.visits, server.requests) == (1, [])


def test_f14_it_refuses_a_certificate_of_an_authority_that_nobody_knows(
    serve: Serve, tmp_path: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    server = serve(answering(), tls=authority.context_for("api.example.com"))
    names.addresses["api.example.com"] = ["127.0.0.1"]
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(authority.certificate))

    with (
        override_settings(EGRESS_ALLOW=[f"api.example.com:{server.port}"]),
        pytest.raises(http.Unreachable, match="TLS"),
    ):
        http.request("POST", f"https://api.example.com:{server.port}/", form={"code": "1"})

    assert (server.visits, server.requests) == (1, [])


def test_f14_it_does_not_speak_plainly_to_a_server_that_does(serve: Serve) -> None:
    server = serve(answering())

    with pytest.raises(http.Unreachable, match="TLS"):
        http.request("POST", f"https://{server.authority}/", form={"code": "canary"}, deadline=DEADLINE)

    assert all(b"canary" not in received for received in server.requests)


# Many at once


def answers_when(go: threading.Event) -> Callable[[Visit], None]:
    def behave(visit: Visit) -> None:
        visit.read_request()
        go.wait(PATIENCE)
        visit.send(OK, b"Content-Length: 0\r\n\r\n")

    return behave


def test_f18_a_host_that_hangs_holds_eight_calls_and_no_more(serve: Serve) -> None:
    go = threading.Event()
    slow, other = serve(answers_when(go)), serve(answering())

    with ThreadPoolExecutor(calls.CALLS_AT_ONCE) as threads:
        under_way = [threads.submit(http.request, "GET", slow.url) for _ in range(calls.CALLS_AT_ONCE)]
        assert all(slow.visited.acquire(timeout=PATIENCE) for _ in under_way)

        with taking(at_least=calls.PATIENCE, at_most=calls.PATIENCE + 1), pytest.raises(http.Busy):
            http.request("GET", slow.url)
        assert http.request("GET", other.url).status == 200
        go.set()
        assert [call.result().status for call in under_way] == [200] * calls.CALLS_AT_ONCE

    assert slow.visits == calls.CALLS_AT_ONCE
    assert http.request("GET", slow.url).status == 200
    assert not http.in_flight


def test_f18_a_call_that_waited_gets_the_place_of_one_that_ended(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    slow = serve(answers_when(go))
    monkeypatch.setattr(calls, "CALLS_AT_ONCE", 1)
    monkeypatch.setattr(calls, "PATIENCE", PATIENCE)

    with ThreadPoolExecutor(2) as threads:
        under_way = [threads.submit(http.request, "GET", slow.url) for _ in range(2)]
        assert slow.visited.acquire(timeout=PATIENCE)
        assert not slow.visited.acquire(timeout=0.1)
        go.set()

        assert [call.result().status for call in under_way] == [200, 200]


def test_f18_fifty_calls_to_a_host_that_hangs_do_not_hold_up_another(serve: Serve) -> None:
    go = threading.Event()
    slow, other = serve(answers_when(go)), serve(answering())

    with ThreadPoolExecutor(2 * calls.CALLS_AT_ONCE) as threads:
        fifty = [threads.submit(http.request, "GET", slow.url) for _ in range(50)]
        with taking(at_most=2):
            assert threads.submit(http.request, "GET", other.url).result().status == 200
        go.set()
        failures = [call.exception() for call in fifty]

    assert {type(failure) for failure in failures} == {type(None), http.Busy}
    assert failures.count(None) < 50 / 2


@pytest.mark.parametrize("behave", [cuts(reset=True), reads_and_hangs, without_end])
def test_f18_every_failure_gives_its_place_back(
    behave: Callable[[Visit], None], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(behave)
    monkeypatch.setattr(calls, "CALLS_AT_ONCE", 1)

    for _ in range(3):
        with pytest.raises((http.NoAnswer, http.AnswerTooLarge)):
            http.request("GET", server.url, deadline=DEADLINE)

    assert server.visits == 3
    assert not http.in_flight
