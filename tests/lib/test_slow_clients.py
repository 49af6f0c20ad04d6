"""Who sends by drips, over a socket as gunicorn reads it."""

import runpy
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from gunicorn.http import message, parser

from sequin_auth import settings
from sequin_auth.lib import slow_clients
from sequin_auth.lib.slow_clients import PatientReader


@pytest.fixture
def both() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_silence_ends(both: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "PATIENCE", 0.1)
    reader = PatientReader(both[0])

    with pytest.raises(ConnectionResetError):
        reader.chunk()

    assert both[0].gettimeout() is None


def reads_until(reader: PatientReader, end: float) -> None:
    while time.monotonic() < end:
        reader.chunk()


def test_drips_end_however_regular(both: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "PATIENCE", 0.3)
    reader, is_over = PatientReader(both[0]), threading.Event()

    def drip() -> None:
        while not is_over.wait(0.02):
            both[1].send(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    started = time.monotonic()
    try:
        with pytest.raises(ConnectionResetError):
            reads_until(reader, started + 10)
    finally:
        is_over.set()
        dripping.join()

    assert time.monotonic() - started < 5


def test_whoever_sends_enough_may_go_on(
    both: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_clients, "ENOUGH", 10)
    reader = PatientReader(both[0])
    reader.waited = 5.0

    both[1].send(9 * b"x")
    assert reader.chunk() == 9 * b"x"
    assert reader.waited >= 5.0
    both[1].send(b"x")
    assert reader.chunk() == b"x"

    assert reader.waited == 0.0


def test_the_head_and_the_body_have_each_their_time(both: tuple[socket.socket, socket.socket]) -> None:
    reader = PatientReader(both[0])
    reader.waited = 9.0

    reader.begin()

    assert reader.waited == 0.0


@pytest.mark.parametrize(("whole", "left"), [(None, slow_clients.WHOLE), (77.0, 77.0)])
def test_a_body_has_a_time_for_all_of_it(
    both: tuple[socket.socket, socket.socket], whole: float | None, left: float
) -> None:
    reader = PatientReader(both[0])

    if whole is None:
        reader.begin()
    else:
        reader.begin(whole=whole)

    assert reader.left == left


def test_whoever_sends_just_enough_all_the_time_is_given_up_in_the_end(
    both: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_clients, "ENOUGH", 1)
    reader = PatientReader(both[0])
    reader.begin(whole=0.2)
    is_over = threading.Event()

    def drip() -> None:
        while not is_over.wait(0.02):
            both[1].send(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    started = time.monotonic()
    try:
        with pytest.raises(ConnectionResetError):
            reads_until(reader, started + 5)
    finally:
        is_over.set()
        dripping.join()

    assert reader.left <= 0
    assert both[0].gettimeout() is None


@pytest.mark.parametrize(
    ("path", "whole"),
    [
        ("/v1/credentials/import", slow_clients.WHOLE_STREAM),
        ("/v1/credentials/import/", slow_clients.WHOLE_STREAM),
        ("/v1/credentials", slow_clients.WHOLE),
        ("/link/oauth2/token", slow_clients.WHOLE),
    ],
)
def test_gunicorn_gives_an_import_more_time_and_the_next_head_its_own(
    both: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, path: str, whole: float
) -> None:
    monkeypatch.setattr(message, "MAX_REQUEST_LINE", message.MAX_REQUEST_LINE)  # which the file changes
    monkeypatch.setattr(parser, "SocketUnreader", parser.SocketUnreader)
    monkeypatch.setitem(settings.DATABASES["default"], "SESSION", {})
    configuration = runpy.run_path(str(Path(__file__).resolve().parent.parent.parent / "gunicorn.conf.py"))
    request = SimpleNamespace(path=path, unreader=PatientReader(both[0]))

    configuration["pre_request"](None, request)
    assert request.unreader.left == whole
    request.unreader.left, request.unreader.waited = 0.1, 9.0
    configuration["post_request"](None, request, {}, None)

    assert (request.unreader.left, request.unreader.waited) == (slow_clients.WHOLE, 0.0)


def test_time_that_nobody_waits_is_not_counted(both: tuple[socket.socket, socket.socket]) -> None:
    """An import's lines are written between two reads."""
    reader = PatientReader(both[0])
    reader.begin(whole=0.5)
    both[1].send(b"x")
    time.sleep(0.01)

    reader.chunk()

    assert reader.left > 0.49


def test_a_shorter_time_of_gunicorns_own_is_its_own_affair(both: tuple[socket.socket, socket.socket]) -> None:
    both[0].settimeout(0.05)

    with pytest.raises(TimeoutError):
        PatientReader(both[0]).chunk()

    assert both[0].gettimeout() == 0.05


def test_whoever_does_not_read_is_waited_for_no_longer(both: tuple[socket.socket, socket.socket]) -> None:
    PatientReader(both[0])

    seconds, _ = struct.unpack("ll", both[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16))

    assert seconds == slow_clients.PATIENCE
