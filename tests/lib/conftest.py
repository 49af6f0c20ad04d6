import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from tests.lib.servers import Authority, Server

Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server; calls to its host and port are allowed, as long as the test runs."""
    servers: list[Server] = []
    with override_settings(EGRESS_ALLOW=[]):

        def start(*args: Any, **kwargs: Any) -> Server:
            servers.append(Server(*args, **kwargs))
            settings.EGRESS_ALLOW.append(servers[-1].authority)
            return servers[-1]

        yield start
        for server in servers:
            server.stop()


class Names:
    """The name server: addresses by host, and what it was asked for."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.really = socket.getaddrinfo

    def getaddrinfo(self, host: str, port: int, **kwargs: Any) -> list[Any]:
        self.asked.append(host)
        return [
            found
            for address in self.addresses.get(host, [])
            for found in self.really(address, port, type=socket.SOCK_STREAM)
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    return names


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Addresses that somebody tried to connect to; nobody gets through."""
    tried: list[Any] = []

    def connect(_: socket.socket, address: Any) -> None:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """A certificate authority that is trusted, in place of all others."""
    authority = Authority(tmp_path)
    monkeypatch.setattr("sequin_auth.lib.http.connections.DEFAULT_CA_BUNDLE_PATH", str(authority.certificate))
    monkeypatch.setattr("sequin_auth.lib.http.connections.this_thread", threading.local())
    return authority
