"""
The only way out of the process, and the only importer of requests.

A call goes to a public address over https on port 443, by the name and certificate it was meant for, or not at all;
`EGRESS_ALLOW` names the exceptions. It has a total deadline and a largest answer, follows no redirect, is never
repeated, and takes nothing from the environment: no proxy, no .netrc, no cookie.

* EgressError
  - EgressBlocked     refused here; nothing left the machine, and never will
  - Busy              too many calls to this host and port are under way; nothing left the machine
  - Unreachable       no name, no connection or no TLS; no byte of the request was sent, another try is safe
  - NoAnswer          the request may have arrived, but no whole answer came back; another try may be a second one
  - AnswerTooLarge    the request arrived, its answer is larger than anyone may send us
"""

import hashlib
import logging
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPException
from math import ceil
from types import MappingProxyType
from typing import Any, NamedTuple, Self, cast
from urllib.parse import unquote, urlsplit

import requests
from django.conf import settings
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util import create_urllib3_context, parse_url

from sequin_auth import __version__
from sequin_auth.lib.addresses import is_public, resolve

CONNECT_TIMEOUT = 5.0  # seconds, for the name and the connection together
LARGEST_ANSWER = 256 * 1024  # bytes, decoded
CALLS_AT_ONCE = 8  # per host and port, unless a context allows itself more
PATIENCE = 0.25  # seconds to wait for one of them; fifty that wait must not hold every thread for long
LATE = "No whole answer within the deadline."
HEADERS = {"User-Agent": f"SequinAuth/{__version__}", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}

logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # it logs URLs, and a URL may hold a secret


class EgressError(Exception):
    """Messages are sentences of our own; they repeat nothing of the request or the answer."""


class EgressBlocked(EgressError): ...


class Busy(EgressError): ...


class Unreachable(EgressError): ...


class NoAnswer(EgressError): ...


class AnswerTooLarge(EgressError): ...


@dataclass(frozen=True, slots=True, repr=False)
class Response:
    """An answer, whatever its status. A redirect is one like any other: its target was not called."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    content: bytes  # decoded

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.content)} bytes, {hashlib.sha256(self.content).hexdigest()[:12]}>"

    @property
    def media_type(self) -> str:
        """Lower case, without parameters; empty if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def retry_after(self) -> int | None:
        """Seconds, from either form of the header. Source: RFC 9110, 10.2.3."""
        value = self.headers.get("retry-after", "").strip()
        if re.fullmatch("[0-9]{1,9}", value):
            return int(value)
        try:
            return max(0, ceil(parsedate_to_datetime(value).timestamp() - time.time()))
        except (ValueError, TypeError, OverflowError):
            return None


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
    form: Mapping[str, str] | None = None,
    json: object = None,
    params: Mapping[str, str] | None = None,
    deadline: float = 10.0,
    within: str | None = None,
) -> Response:
    """Make one call and return its answer, whatever the status; or raise an EgressError.

    `deadline`: seconds in all, from here to the last byte of the answer.
    `within`: a prefix under PUBLIC_URL; the URL must lie under it. Without it, our own origin is out of bounds.
    """
    call = Call(permitted(url, within), deadline)
    all_headers = CaseInsensitiveDict({**HEADERS, **headers})
    prepared = prepare(requests.Request(method.upper(), url, all_headers, data=form, json=json, params=params))
    if (deliver := delivery.get()) is not None:
        return delivered(prepared, deliver, within)
    with bulkhead(call), call, closing(GuardedAdapter(call)) as adapter:
        try:
            answer = adapter.send(prepared, stream=True, timeout=(CONNECT_TIMEOUT, deadline))
            with closing(answer):
                content = read(answer)
        except (OSError, HTTPError, HTTPException, ValueError):  # not kept as the cause: they quote URL and answer
            raise NoAnswer(LATE if call.is_over else "The connection broke, or the answer is malformed.") from None
        if call.is_over:  # an answer without a length would seem to have ended
            raise NoAnswer(LATE)
    return Response(
        status=answer.status_code,
        headers=MappingProxyType({name.lower(): value for name, value in answer.headers.items()}),
        content=content,
    )


# A method, a URL, headers and a body
Deliver = Callable[[str, str, Mapping[str, str], bytes], Response]
delivery: ContextVar[Deliver | None] = ContextVar("delivery", default=None)


@contextmanager
def answered_here(deliver: Deliver) -> Iterator[None]:
    """In this block nothing leaves the process: `deliver` answers what is confined to our own origin, the rest is
    refused. So a trip through the simulator is made without a server.
    """
    before = delivery.set(deliver)
    try:
        yield
    finally:
        delivery.reset(before)


def delivered(prepared: requests.PreparedRequest, deliver: Deliver, within: str | None) -> Response:
    if within is None:
        raise EgressBlocked("Nothing leaves the process here.")
    body = prepared.body.encode() if isinstance(prepared.body, str) else bytes(prepared.body or b"")
    headers = {name: str(value) for name, value in prepared.headers.items()}
    return deliver(str(prepared.method), str(prepared.url), headers, body)


def prepare(unprepared: requests.Request) -> requests.PreparedRequest:
    if not re.fullmatch("[A-Z]+", unprepared.method or ""):
        raise EgressBlocked("The method is malformed.")
    for name, value in unprepared.headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or name.lower() == "host":
            raise EgressBlocked("The name of a header is malformed, or not the caller's to set.")
        if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value) or value != value.strip():
            raise EgressBlocked("The value of a header is malformed.")
    try:
        return unprepared.prepare()
    except (requests.RequestException, ValueError):  # not kept as the cause: they hold what was to be sent
        raise EgressBlocked("The request is malformed.") from None


def read(answer: requests.Response) -> bytes:
    content = bytearray()
    for chunk in answer.iter_content(16 * 1024):
        content += chunk
        if len(content) > LARGEST_ANSWER:
            raise AnswerTooLarge("The answer is too large.")
    return bytes(content)


# Where to


class Destination(NamedTuple):
    scheme: str
    host: str
    port: int
    may_be_private: bool = False

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def permitted(url: str, within: str | None) -> Destination:
    destination = destination_of(url)
    if within is not None and not lies_within(url, within):
        raise EgressBlocked("The URL lies outside of the prefix that it is confined to.")
    is_own = destination.authority == destination_of(settings.PUBLIC_URL).authority
    if is_own and within is None:
        raise EgressBlocked("The URL is on our own origin.")
    is_allowed = is_own or destination.authority in {authority.strip().lower() for authority in settings.EGRESS_ALLOW}
    if not is_allowed and (destination.scheme, destination.port) != ("https", 443):
        raise EgressBlocked("Only https on port 443 is permitted.")
    return destination._replace(may_be_private=is_allowed)


def destination_of(url: str) -> Destination:
    """What the URL says in every reading: urlsplit's, and that of urllib3, which will make the connection."""
    if not re.fullmatch("[!-~]+", url):
        raise EgressBlocked("The URL holds a character that has no place in one.")
    try:
        one, other = urlsplit(url), parse_url(url)
        same = (one.scheme, one.hostname, one.port) == (other.scheme, (other.host or "").strip("[]"), other.port)
    except ValueError:
        raise EgressBlocked("The URL is malformed.") from None
    if not same or not one.hostname or one.hostname.endswith(".") or "@" in one.netloc:
        raise EgressBlocked("The URL is malformed.")
    if one.scheme not in {"http", "https"}:
        raise EgressBlocked("Only https on port 443 is permitted.")
    return Destination(one.scheme, one.hostname, one.port or (443 if one.scheme == "https" else 80))


def lies_within(url: str, prefix: str) -> bool:
    path, start = urlsplit(url).path, urlsplit(prefix).path.rstrip("/") + "/"
    if ".." in unquote(path) or "\\" in unquote(path):
        return False
    return destination_of(url) == destination_of(prefix) and path.startswith(start)


# How many at once, and how long

in_flight: Counter[str] = Counter()
turn = threading.Condition()
calls_at_once: ContextVar[int | None] = ContextVar("calls_at_once", default=None)


class Call:
    """One request on its way. When its time is over, a watchdog cuts the connection, wherever it stands."""

    def __init__(self, destination: Destination, deadline: float) -> None:
        self.destination = destination
        self.ends_at = time.monotonic() + deadline
        self.was_cut = False
        self.lock = threading.Lock()
        self.lifeline: socket.socket | None = None

    def __enter__(self) -> Self:
        self.watchdog = threading.Timer(self.time_left(), self.cut)
        self.watchdog.daemon = True
        self.watchdog.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.watchdog.cancel()
        with self.lock:
            if self.lifeline:
                self.lifeline.close()

    @property
    def is_over(self) -> bool:
        return self.was_cut or not self.time_left()

    def time_left(self) -> float:
        return max(0.0, self.ends_at - time.monotonic())

    def hold(self, connection: socket.socket) -> None:
        """A descriptor of our own: TLS and urllib3 hand the first one around, and close it when they like."""
        with self.lock:
            if self.was_cut:
                connection.close()
                raise Unreachable("No connection within the deadline.")
            self.lifeline = connection.dup()

    def cut(self) -> None:
        """A timeout would not do: it bounds each read, and a byte in time renews it. Closing wakes no reader."""
        with self.lock, suppress(OSError):
            self.was_cut = True
            if self.lifeline:
                self.lifeline.shutdown(socket.SHUT_RDWR)


@contextmanager
def bulkhead(call: Call) -> Iterator[None]:
    """A place among the calls to one host and port, so that a provider that hangs takes no other with it."""
    authority, most = call.destination.authority, calls_at_once.get() or CALLS_AT_ONCE
    with turn:
        if not turn.wait_for(lambda: in_flight[authority] < most, min(PATIENCE, call.time_left())):
            raise Busy("Too many calls to this host are under way.")
        in_flight[authority] += 1
    try:
        yield
    finally:
        with turn:
            in_flight[authority] -= 1
            if not in_flight[authority]:
                del in_flight[authority]
            turn.notify_all()


# The connection

this_thread = threading.local()


class GuardedAdapter(HTTPAdapter):
    """requests' adapter over guarded connections. It is called by itself: a session reads a redirect's whole body."""

    def __init__(self, call: Call) -> None:
        super().__init__(max_retries=0)
        self.call = call

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> ConnectionPool:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if pool.scheme == "https":
            pool.ConnectionCls = partial(GuardedHTTPSConnection, call=self.call, ssl_context=tls_context())
        else:
            pool.ConnectionCls = partial(GuardedHTTPConnection, call=self.call)
        return cast(ConnectionPool, pool)

    def cert_verify(self, conn: Any, *args: Any) -> None:
        """Nothing is left to do: the context demands a certificate, and knows the authorities."""


class GuardedHTTPConnection(HTTPConnection):
    """Goes where the call was permitted to go, and nowhere else. What fails until it stands is Unreachable."""

    def __init__(self, *args: Any, call: Call, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.call = call

    def connect(self) -> None:
        try:
            super().connect()
        except (OSError, HTTPError, ValueError):
            raise Unreachable("TLS failed: the certificate is not trusted, or not for this host.") from None

    def _new_conn(self) -> socket.socket:
        if (self.host, self.port) != (self.call.destination.host, self.call.destination.port):
            raise EgressBlocked("The URL is ambiguous.")
        return connect(self.call)


class GuardedHTTPSConnection(GuardedHTTPConnection, HTTPSConnection):
    """The certificate is checked against the name, whatever address the connection goes to."""


def tls_context() -> ssl.SSLContext:
    """This thread's own: reading the authorities takes 20 ms, and urllib3 alters a context that it is given."""
    if not hasattr(this_thread, "tls_context"):
        this_thread.tls_context = create_urllib3_context()
        this_thread.tls_context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return cast(ssl.SSLContext, this_thread.tls_context)


def connect(call: Call) -> socket.socket:
    destination, until = call.destination, min(call.ends_at, time.monotonic() + CONNECT_TIMEOUT)
    addresses = resolve(destination.host, destination.port, timeout=until - time.monotonic())
    if not destination.may_be_private and not all(is_public(address.ip) for address in addresses):
        raise EgressBlocked("The host has an address that is not public.")
    for tried, address in enumerate(addresses):
        time_left = max(0.0, until - time.monotonic())
        with suppress(OSError):
            connection = address.connect(timeout=time_left / (len(addresses) - tried))
            connection.settimeout(CONNECT_TIMEOUT)  # for each read of the TLS handshake
            call.hold(connection)
            return connection
    raise Unreachable("The name does not resolve, or nobody accepts the connection.")
