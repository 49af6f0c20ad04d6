"""
Keep-alive connections that ask one request after the other, as a backend with a connection pool does.

    python -m bench.load HOST:PORT CONNECTIONS < requests

One request a line: the path, then the headers, separated by tabs. Printed is one JSON object: `statuses`, how many of
each; `seconds`, of the whole; `waits`, in milliseconds, sorted.
"""

import json
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any


class Connection:
    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.asked_at = 0.0

    def ask(self, request: bytes) -> None:
        self.received, self.asked_at = b"", time.perf_counter()
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        piece = self.socket.recv(65_536)
        if not piece:
            raise ConnectionError("The server has closed the connection.")
        self.received += piece
        head, blank, body = self.received.partition(b"\r\n\r\n")
        return bool(blank) and len(body) >= length_of(head)


def length_of(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0])


def run(authority: str, connections: int, lines: Iterable[str]) -> dict[str, Any]:
    host, _, port = authority.partition(":")
    waiting = iter([spelt(line.rstrip("\n"), authority) for line in lines])
    selector = selectors.DefaultSelector()
    statuses: Counter[str] = Counter()
    waits: list[float] = []
    open_ones = [Connection(host, int(port)) for _ in range(connections)]
    started = time.perf_counter()
    for connection in open_ones:
        if request := next(waiting, None):
            connection.ask(request)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
    while selector.get_map():
        for key, _ in selector.select():
            connection = key.data
            if not connection.is_answered():
                continue
            waits.append((time.perf_counter() - connection.asked_at) * 1000)
            statuses[connection.received[9:12].decode()] += 1
            if request := next(waiting, None):
                connection.ask(request)
            else:
                selector.unregister(connection.socket)
    return {"statuses": statuses, "seconds": time.perf_counter() - started, "waits": sorted(waits)}


def spelt(line: str, authority: str) -> bytes:
    path, *headers = line.split("\t")
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {authority}", *headers, "", ""]).encode()


def asked(url: str, requests: Iterable[str], *, connections: int = 16) -> dict[str, Any]:
    """What `run` returns, from a process of its own, whose processor time is nobody's."""
    command = [sys.executable, "-m", "bench.load", url.partition("://")[2], str(connections)]
    lines = "\n".join(requests)
    document: dict[str, Any] = json.loads(
        subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603
    )
    return document


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]), sys.stdin)))
