"""
A network for one gateway, in which names and addresses lead where a test says: what an attacker's name server would do.

Its processes import `sitecustomize` (https://docs.python.org/3/library/site.html) from a folder that PYTHONPATH names,
and so ask us for addresses, and knock where we listen. Whatever lies above those two calls is the product as it is.
"""

import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SITE = """\
import json
import socket
import time
from pathlib import Path

import certifi

HERE = Path({folder!r})
really_resolve, really_connect = socket.getaddrinfo, socket.socket.connect
certifi.where = lambda: str(HERE / "authorities.pem")


def note(what, *about):
    with (HERE / "log").open("a") as log:
        log.write(json.dumps([what, *about]) + "\\n")


def noted():
    return [json.loads(line) for line in (HERE / "log").read_text().splitlines()]


def resolve(host, port, *args, **kwargs):
    note("asked", host)
    answers = json.loads((HERE / "names.json").read_text()).get(host)
    if answers is None and host != "localhost":
        kwargs["flags"] = socket.AI_NUMERICHOST  # no name server of this machine is asked
    if answers is None:
        return really_resolve(host, port, *args, **kwargs)
    answer = answers[min(noted().count(["asked", host]), len(answers)) - 1]
    if answer == ["hangs"]:
        time.sleep(30)
    return [found for address in answer for found in really_resolve(address, port, type=socket.SOCK_STREAM)]


def connect(connection, address):
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return really_connect(connection, address)
    note("called", address[0], address[1])
    hosts = json.loads((HERE / "hosts.json").read_text())
    there = hosts.get(f"{{address[0]}}:{{address[1]}}")
    if there is None and address[0] != "127.0.0.1":
        raise ConnectionRefusedError
    return really_connect(connection, ("127.0.0.1", there) if there else address)


socket.getaddrinfo, socket.socket.connect = resolve, connect
"""


@dataclass(frozen=True)
class Network:
    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o711)
        (self.folder / "sitecustomize.py").write_text(SITE.format(folder=str(self.folder)))
        self.is_new()

    def trusts(self, certificate: Path) -> None:
        """The one certificate authority that is known there."""
        shutil.copy(certificate, self.folder / "authorities.pem")

    def is_new(self) -> None:
        """No names, no hosts, nothing asked."""
        self.write("names", {})
        self.write("hosts", {})
        (self.folder / "log").write_text("")

    def name(self, host: str, *answers: list[str]) -> None:
        """What the host resolves to, the first time it is asked for, the second, and so on; ["hangs"]: for long."""
        self.write("names", self.read("names") | {host: list(answers)})

    def host(self, authority: str, port: int) -> None:
        """Who calls that address and port is talking to a port of ours."""
        self.write("hosts", self.read("hosts") | {authority: port})

    def read(self, what: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / f"{what}.json").read_text())
        return content

    def write(self, what: str, content: object) -> None:
        new = self.folder / f"{what}.new"
        new.write_text(json.dumps(content))
        new.replace(self.folder / f"{what}.json")

    def noted(self, what: str) -> list[tuple[str, ...]]:
        lines = [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]
        return [tuple(about) for noted, *about in lines if noted == what]

    @property
    def asked(self) -> list[str]:
        return [host for (host,) in self.noted("asked")]

    @property
    def called(self) -> list[str]:
        return [f"{address}:{port}" for address, port in self.noted("called")]


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
