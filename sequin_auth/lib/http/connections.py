"""The connection of a call: to an address that was judged, by the name and the certificate it was meant for."""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, cast

import requests
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util import create_urllib3_context
from urllib3.util.wait import wait_for_read

from sequin_auth.lib.addresses import is_public, resolve
from sequin_auth.lib.http.calls import Call
from sequin_auth.lib.http.destinations import Destination, destination_of
from sequin_auth.lib.http.errors import EgressBlocked, Unreachable

CONNECT_TIMEOUT = 5.0  # seconds, for the name and the connection together

logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # it logs URLs, and a URL may hold a secret

this_thread = threading.local()


class GuardedAdapter(HTTPAdapter):
    """requests' adapter over guarded connections. It is called by itself: a session reads a redirect's whole body.

    `ends_here`: whether its connection is of no use to another call.
    """

    def __init__(self, call: Call) -> None:
        super().__init__(max_retries=0)
        self.call = call
        self.ends_here = True
        self.since = time.monotonic()
        self.pool: HTTPConnectionPool | None = None

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """There is nothing to manage: an adapter has one pool, with one connection in it."""

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> HTTPConnectionPool:
        """To where the call was permitted to go, and nowhere else, whatever requests has made of the URL."""
        if destination_of(str(request.url)) != self.call.destination._replace(may_be_private=False):
            raise EgressBlocked("The URL is ambiguous.")
        if self.pool is None:
            self.pool = self.pool_to(self.call.destination)
        return self.pool

    def pool_to(self, destination: Destination) -> HTTPConnectionPool:
        pool: Any
        if destination.scheme == "https":
            pool = HTTPSConnectionPool(destination.host, destination.port, cert_reqs="CERT_REQUIRED")
            pool.ConnectionCls = partial(GuardedHTTPSConnection, adapter=self, ssl_context=tls_context())
        else:
            pool = HTTPConnectionPool(destination.host, destination.port)
            pool.ConnectionCls = partial(GuardedHTTPConnection, adapter=self)
        return cast(HTTPConnectionPool, pool)

    def cert_verify(self, conn: Any, *args: Any) -> None:
        """Nothing is left to do: the context demands a certificate, and knows the authorities."""

    def close(self) -> None:
        pool, self.pool = self.pool, None  # they know each other: neither would go before the collector comes
        if pool is not None:
            pool.close()


class GuardedHTTPConnection(HTTPConnection):
    """A connection to where its call was permitted to go. What fails until it stands is Unreachable."""

    def __init__(self, *args: Any, adapter: GuardedAdapter, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.adapter = adapter

    def connect(self) -> None:
        try:
            super().connect()
        except (OSError, HTTPError, ValueError):
            raise Unreachable("TLS failed: the certificate is not trusted, or not for this host.") from None

    def _new_conn(self) -> socket.socket:
        return connect(self.adapter.call)


class GuardedHTTPSConnection(GuardedHTTPConnection, HTTPSConnection):
    """The certificate is checked against the name, whatever address the connection goes to."""


def authorities() -> str:
    """The file with the certificates of those that we trust."""
    return DEFAULT_CA_BUNDLE_PATH


def tls_context() -> ssl.SSLContext:
    """This thread's own: reading the authorities takes 20 ms, and urllib3 alters a context that it is given."""
    if not hasattr(this_thread, "tls_context"):
        this_thread.tls_context = create_urllib3_context()
        this_thread.tls_context.load_verify_locations(authorities())
    return cast(ssl.SSLContext, this_thread.tls_context)


def connect(call: Call) -> socket.socket:
    destination, until = call.destination, min(call.ends_at, time.monotonic() + CONNECT_TIMEOUT)
    addresses = resolve(destination.host, destination.port, timeout=until - time.monotonic())
    if not destination.may_be_private and not all(is_public(address.ip) for address in addresses):
        raise EgressBlocked("The host has an address that is not public.", reason="private_address")
    for tried, address in enumerate(addresses):
        time_left = max(0.0, until - time.monotonic())
        with suppress(OSError):
            connection = address.connect(timeout=time_left / (len(addresses) - tried))
            connection.settimeout(CONNECT_TIMEOUT)  # for each read of the TLS handshake
            call.hold(connection)
            return connection
    raise Unreachable("The name does not resolve, or nobody accepts the connection.")


# ---- connections that are used again ---------------------------------------------------------------------------------

keeps_connections: ContextVar[bool] = ContextVar("keeps_connections", default=False)
IDLE = 1.0  # seconds; hardly any server hangs up sooner, and whoever writes as it does cannot know what arrived
OLDEST = 30.0  # seconds; then the name is asked for again
MOST_KEPT = 128  # in all
idle: dict[Destination, list[tuple[float, GuardedAdapter, socket.socket]]] = {}
idle_lock = threading.Lock()


@contextmanager
def line(call: Call) -> Iterator[GuardedAdapter]:
    """An adapter for one call; in a context that keeps connections, one whose connection is still open, if there is.

    It goes to an address that was checked for the same destination, under the same permission.
    """
    adapter = open_line(call) if keeps_connections.get() else None
    adapter = adapter or GuardedAdapter(call)
    adapter.call, adapter.ends_here = call, True
    try:
        yield adapter
    except BaseException:
        adapter.close()
        raise
    if adapter.ends_here or call.is_over or not keeps_connections.get() or not keep_open(adapter):
        adapter.close()


def ends_connection(answer: requests.Response) -> bool:
    """Whether the server hangs up behind this answer. Source: RFC 9112, 9.3."""
    return getattr(answer.raw, "version", 0) != 11 or "close" in answer.headers.get("connection", "").lower()


def keep_open(adapter: GuardedAdapter) -> bool:
    """Put the line aside for another call; False if there is no connection, or no place."""
    lifeline = adapter.call.let_go()
    if lifeline is None:
        return False
    now = time.monotonic()
    with idle_lock:
        if now < adapter.since + OLDEST and sum(map(len, idle.values())) < MOST_KEPT:
            idle.setdefault(adapter.call.destination, []).append((now, adapter, lifeline))
            return True
    lifeline.close()
    return False


def open_line(call: Call) -> GuardedAdapter | None:
    """The line that was used last, if nothing has come over it since: neither a farewell nor what nobody asked for."""
    while True:
        with idle_lock:
            if not (lines := idle.get(call.destination)):
                return None
            used_at, adapter, lifeline = lines.pop()
            if not lines:
                del idle[call.destination]
        is_silent = not wait_for_read(lifeline, timeout=0.0)
        if is_silent and time.monotonic() < min(used_at + IDLE, adapter.since + OLDEST):
            call.lifeline = lifeline
            return adapter
        adapter.close()
        lifeline.close()


def close_idle_lines() -> None:
    """Nobody is going to use them soon."""
    with idle_lock:
        kept = [one for lines in idle.values() for one in lines]
        idle.clear()
    for _, adapter, lifeline in kept:
        adapter.close()
        lifeline.close()
