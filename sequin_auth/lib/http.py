"""
The only way out of the process, but for reports to a host of the operator's own (reporting/sending.py).

A call goes to a public address over https on port 443, by the name and certificate it was meant for, or not at all;
`EGRESS_ALLOW` names the exceptions. It has a total deadline and a largest answer, follows no redirect, is never
repeated, and takes nothing from the environment: no proxy, no .netrc, no cookie.

* EgressError
  - EgressBlocked     refused here; nothing left the machine, and never will
  - Busy              too many calls to this host and port are under way; nothing left the machine
  - Unreachable       no name, no connection or no TLS; no byte of the request was sent, another try is safe
  - NoAnswer          the request may have arrived, but no whole answer came back; another try may be a second one
  - AnswerTooLarge    the request arrived, its answer is larger than anyone may send us

Whoever calls has no database transaction open: it would hold its locks for as long as the other side pleases.
"""

import hashlib
import logging
import re
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from http.client import HTTPException
from math import ceil
from types import FrameType, MappingProxyType
from typing import Any, NamedTuple, Self, cast
from urllib.parse import unquote, urlencode, urlsplit

import requests
import structlog
from django.conf import settings
from django.db import connections
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util import create_urllib3_context, parse_url
from urllib3.util.wait import wait_for_read

from sequin_auth import __version__
from sequin_auth.lib import measures, redaction
from sequin_auth.lib.addresses import is_public, resolve
from sequin_auth.lib.measures import Name
from sequin_auth.lib.watchdog import watchdog

CONNECT_TIMEOUT = 5.0  # seconds, for the name and the connection together
LARGEST_ANSWER = 256 * 1024  # bytes, decoded
CALLS_AT_ONCE = 8  # per host and port, unless a context allows itself more
PATIENCE = 0.25  # seconds to wait for one of them; fifty that wait must not hold every thread for long
OURS = {"sequin_auth", "providers", "oauth_apps", "credentials", "syncs"}
LATE = "No whole answer within the deadline."
FORM = "application/x-www-form-urlencoded"
HEADERS = {"User-Agent": f"SequinAuth/{__version__}", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}

log = structlog.get_logger("sequin_auth")
logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # it logs URLs, and a URL may hold a secret


class EgressError(Exception):
    """Messages are sentences of our own; they repeat nothing of the request or the answer. `reason`: for metrics."""

    reason = "failed"

    def __init__(self, *message: str, reason: str = "") -> None:
        super().__init__(*message)
        measures.count(Name.EGRESS_FAILURES, reason or self.reason)


class EgressBlocked(EgressError):
    reason = "malformed"


class Busy(EgressError):
    reason = "busy"


class Unreachable(EgressError):
    reason = "unreachable"


class NoAnswer(EgressError):
    reason = "no_answer"


class AnswerTooLarge(EgressError):
    reason = "too_large"


class InTransaction(RuntimeError):
    """A mistake of the program, which no caller handles."""


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
        return retry_after(self.headers.get("retry-after", ""))


def retry_after(value: str) -> int | None:
    """Seconds, from either form of the header `Retry-After`. Source: RFC 9110, 10.2.3."""
    value = value.strip()
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
    content: bytes | None = None,
    params: Mapping[str, str] | None = None,
    deadline: float = 10.0,
    within: str | None = None,
    reads_content: bool = True,
) -> Response:
    """Make one call and return its answer, whatever the status; or raise an EgressError.

    `deadline`: seconds in all, from here to the last byte of the answer.
    `within`: a prefix under PUBLIC_URL; the URL must lie under it. Without it, our own origin is out of bounds.
    `content`: the body as it is, instead of `form` or `json`. `reads_content`: whether the answer's matters; if not,
    the call is over with the answer's head, however much would follow. Raises InTransaction where
    OUTBOUND_IN_TRANSACTION_FAILS, if the caller has a transaction open.
    """
    redaction.learn_from((headers, form, json, params))
    call = Call(permitted(url, within), deadline)
    method, headers = method.upper(), {**HEADERS, **headers}
    prepared = prepare(method, url, headers, params=params, content=content, form=form, json=json)
    if (deliver := delivery.get()) is not None:
        return delivered(prepared, deliver, within)
    no_transaction_waits()
    with bulkhead(call), call, line(call) as adapter:
        try:
            answer = adapter.send(prepared, stream=True, timeout=(CONNECT_TIMEOUT, deadline))
            with closing(answer):
                answered = read(answer) if reads_content else b""
            adapter.ends_here = not reads_content or ends_connection(answer)
        except (OSError, HTTPError, HTTPException, ValueError):  # not kept as the cause: they quote URL and answer
            raise NoAnswer(LATE if call.is_over else "The connection broke, or the answer is malformed.") from None
        if call.is_over:  # an answer without a length would seem to have ended
            raise NoAnswer(LATE)
    return Response(
        status=answer.status_code,
        headers=MappingProxyType({name.lower(): value for name, value in answer.headers.items()}),
        content=answered,
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


class ConfinedSession(requests.Session):
    """For a library that wants a session of requests: each of its calls goes out as `request()` would make it, to URLs
    below `prefix` alone, and nothing of the environment, no cookie and no redirect has a say in it.

    `deadline`: seconds for one call. `largest`: bytes of an answer, decoded. `send` raises EgressError.
    """

    def __init__(self, prefix: str, *, deadline: float = 30.0, largest: int = LARGEST_ANSWER) -> None:
        super().__init__()
        self.trust_env = False
        self.headers = CaseInsensitiveDict(HEADERS)
        self.prefix, self.deadline, self.largest = prefix, deadline, largest

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        call = Call(permitted(str(request.url), self.prefix), self.deadline)
        if (deliver := delivery.get()) is not None:
            return as_answer(request, delivered(request, deliver, self.prefix))
        no_transaction_waits()
        with bulkhead(call), call, line(call) as adapter:
            try:
                answer = adapter.send(request, stream=True, timeout=(CONNECT_TIMEOUT, self.deadline))
                with closing(answer):
                    content = read(answer, largest=self.largest)
            except (OSError, HTTPError, HTTPException, ValueError):  # not kept as the cause: they quote URL and answer
                raise NoAnswer(LATE if call.is_over else "The connection broke, or the answer is malformed.") from None
            if call.is_over:
                raise NoAnswer(LATE)
        answer._content = content
        return answer


def as_answer(request: requests.PreparedRequest, answered: Response) -> requests.Response:
    answer = requests.Response()
    answer.status_code, answer._content = answered.status, answered.content
    answer.headers, answer.url, answer.request = CaseInsensitiveDict(answered.headers), str(request.url), request
    return answer


def delivered(prepared: requests.PreparedRequest, deliver: Deliver, within: str | None) -> Response:
    if within is None:
        raise EgressBlocked("Nothing leaves the process here.")
    body = prepared.body.encode() if isinstance(prepared.body, str) else bytes(prepared.body or b"")
    headers = {name: str(value) for name, value in prepared.headers.items()}
    return deliver(str(prepared.method), str(prepared.url), headers, body)


def no_transaction_waits() -> None:
    """Django marks the transactions of its test cases, which stand around whatever is tested: those do not count."""
    opened = connections.all(initialized_only=True)
    blocks: list[Any] = [block for connection in opened for block in connection.atomic_blocks]
    if all(block._from_testcase for block in blocks):
        return
    if settings.OUTBOUND_IN_TRANSACTION_FAILS:
        raise InTransaction("A call would leave the machine while a database transaction is open.")
    place = callers()
    if place not in told_places and len(told_places) < 100:
        told_places.add(place)
        log.error("outbound_in_transaction", place=place)


told_places: set[str] = set()  # each is worth one line


def callers() -> str:
    """Which of our functions have led here, the nearest first."""
    frame: FrameType | None = sys._getframe(1)
    found = list[str]()
    while frame is not None and len(found) < 6:  # as many as it takes to leave what all calls have in common
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] in OURS and name != __name__:
            found.append(f"{name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(found)


def prepare(
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    params: Mapping[str, str] | None = None,
    content: bytes | None = None,
    form: Mapping[str, str] | None = None,
    json: Any = None,
) -> requests.PreparedRequest:
    """Without what requests would look for besides: cookies, hooks, files, a name and a password in the URL. A form is
    encoded as requests would, which finds out with much ado whether it is one.
    """
    if not re.fullmatch("[A-Z]+", method):
        raise EgressBlocked("The method is malformed.")
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or name.lower() == "host":
            raise EgressBlocked("The name of a header is malformed, or not the caller's to set.")
        if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value) or value != value.strip():
            raise EgressBlocked("The value of a header is malformed.")
    prepared, fields = requests.PreparedRequest(), [pair for pair in (form or {}).items() if pair[1] is not None]
    try:
        prepared.prepare_method(method)
        prepared.prepare_url(url, params)
        prepared.prepare_headers(CaseInsensitiveDict(headers))
        prepared.prepare_body(content or urlencode(fields, doseq=True), None, json)
        if form and not content:
            prepared.headers.setdefault("Content-Type", FORM)
    except (requests.RequestException, ValueError):  # not kept as the cause: they hold what was to be sent
        raise EgressBlocked("The request is malformed.") from None
    return prepared


def read(answer: requests.Response, *, largest: int | None = None) -> bytes:
    content, largest = bytearray(), LARGEST_ANSWER if largest is None else largest
    for chunk in answer.iter_content(16 * 1024):
        content += chunk
        if len(content) > largest:
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
    is_own = destination.authority == our_origin(settings.PUBLIC_URL).authority
    if is_own and within is None:
        raise EgressBlocked("The URL is on our own origin.", reason="own_origin")
    is_allowed = is_own or destination.authority in {authority.strip().lower() for authority in settings.EGRESS_ALLOW}
    if not is_allowed and (destination.scheme, destination.port) != ("https", 443):
        raise EgressBlocked("Only https on port 443 is permitted.", reason="not_https")
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


our_origin = lru_cache(maxsize=2)(destination_of)


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
        watchdog.watch(self)
        return self

    def __exit__(self, *raised: object) -> None:
        if lifeline := self.let_go():
            lifeline.close()

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

    def let_go(self) -> socket.socket | None:
        """From now on nothing is cut; what could be, if there is a connection."""
        with self.lock:
            lifeline, self.lifeline = self.lifeline, None
        return lifeline

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


# Connections that are used again

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
