"""
A PostgreSQL that syncs write to, as libpq is told of it: it is left nothing to look up elsewhere.

* DestinationUnavailable    `reason` is for machines, the message for people: our sentences, nothing of the server's
  - NoSyncDatabase          there is no sync database of our own, and how to get one
  - CheckFailed             it answers, and something is missing there; the message has the statement that helps
"""

import re
import socket
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self

import psycopg

CONNECT_TIMEOUT: Final = 4  # seconds, for each address
STATEMENT_TIMEOUT: Final = 300  # seconds
LOCK_TIMEOUT: Final = 30  # seconds; whoever reads for longer keeps a slice from its end, and everybody behind it
LARGEST_ANSWER: Final = 4 * 2**20  # bytes, of all that a server says at once; what we ask takes a few hundred
LOOK_EVERY: Final = 0.05  # seconds
BYTES_RECEIVED: Final = slice(128, 136)
NO_FILE: Final = "/dev/null/none"  # where libpq finds nothing, and says nothing

# What libpq would take from its environment, a service file or a home directory. An empty word takes nothing.
NEUTRAL: Final[Mapping[str, str | int]] = {
    "passfile": NO_FILE,
    "application_name": "Sequin Auth",
    "client_encoding": "UTF8",
    "options": f"-c statement_timeout={STATEMENT_TIMEOUT}s -c lock_timeout={LOCK_TIMEOUT}s"
    f" -c idle_in_transaction_session_timeout={STATEMENT_TIMEOUT}s",
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
    "sslrootcert": NO_FILE,
    "sslcert": "",
    "sslkey": "",
    "sslcrl": "",
    "sslcrldir": "",
    "sslcertmode": "disable",
    "sslcompression": "0",
    "sslnegotiation": "postgres",
    "sslsni": "1",
    "ssl_min_protocol_version": "TLSv1.2",
    "ssl_max_protocol_version": "",
    "requirepeer": "",
    "require_auth": "!gss,!sspi",  # an empty word would admit none
    "channel_binding": "prefer",
    "gssencmode": "disable",
    "gssdelegation": "0",
    "krbsrvname": "",
    "target_session_attrs": "any",
    "load_balance_hosts": "disable",
}


class DestinationUnavailable(Exception):
    """`reason`: blocked, name, refused, timeout, tls, authentication, database, pooler, busy, password or server."""

    def __init__(self, words: str, *, reason: str) -> None:
        super().__init__(words)
        self.reason = reason


class NoSyncDatabase(DestinationUnavailable):
    def __init__(self, words: str) -> None:
        super().__init__(words, reason="no_sync_database")


class CheckFailed(DestinationUnavailable):
    def __init__(self, words: str) -> None:
        super().__init__(words, reason="check")


@dataclass(frozen=True, repr=False)
class Target:
    """Where rows go, and as whom. `hostaddr`: the addresses that were judged, separated by commas; empty for a host
    that is the operator's own, whose name may be a socket's directory. `more`: what differs from NEUTRAL.
    """

    host: str
    port: int
    database: str
    username: str
    password: str
    sslmode: str
    hostaddr: str = ""
    more: Mapping[str, str] = field(default_factory=dict)

    def parameters(self) -> dict[str, str | int]:
        """For `connect(**…)` of psycopg and of psycopg2."""
        return {
            **NEUTRAL,
            "host": ",".join([self.host] * (self.hostaddr.count(",") + 1)),  # a name for each address
            "hostaddr": self.hostaddr,
            "port": self.port,
            "dbname": self.database,
            "user": self.username,
            "password": self.password,
            "sslmode": self.sslmode,
            **self.more,
        }


Connection = psycopg.Connection[tuple[Any, ...]]


class Greeted(psycopg.Connection[tuple[Any, ...]]):
    """libpq itself keeps whatever a server says before it lets us in, however much that is."""

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> Generator[Any, Any, Self]:
        steps, is_ready = super()._connect_gen(conninfo), None
        while True:
            try:
                waits_for = steps.send(is_ready)  # type: ignore[arg-type]  # None, as a generator begins
            except StopIteration as done:
                greeted: Self = done.value
                return greeted
            is_ready = yield waits_for
            if received(waits_for[0]) > LARGEST_ANSWER:
                raise psycopg.OperationalError("The server says too much.")


def connect(target: Target) -> Connection:
    """In autocommit. Raises DestinationUnavailable."""
    parameters: dict[str, Any] = target.parameters()
    try:
        return Greeted.connect(**parameters, autocommit=True, prepare_threshold=None)
    except psycopg.Error as exc:  # not kept as the cause: it quotes the server
        raise fault_of(exc) from None


@contextmanager
def told_in_our_words() -> Iterator[None]:
    """What a server says to a statement is not passed on."""
    try:
        yield
    except psycopg.Error as exc:
        raise statement_fault_of(exc) from None


@contextmanager
def cut_off_after(seconds: float, connection: Connection, *, largest: int = LARGEST_ANSWER) -> Iterator[None]:
    """A server that does not answer is left, and one that says more than `largest` bytes meanwhile: libpq itself would
    wait for as long as it keeps the connection, and keep whatever comes.
    """
    is_over, descriptor = threading.Event(), connection.fileno()
    limits = time.monotonic() + seconds, received(descriptor) + largest
    watchdog = threading.Thread(target=watch, args=[descriptor, *limits, is_over], daemon=True)
    watchdog.start()
    try:
        yield
    finally:
        is_over.set()
        watchdog.join()  # else it might meet whatever comes after this connection by the same number


def watch(descriptor: int, ends_at: float, most: int, is_over: threading.Event) -> None:
    """`ends_at`: of `time.monotonic()`; `most`: bytes received since the connection began."""
    while not is_over.wait(max(0.0, min(LOOK_EVERY, ends_at - time.monotonic()))):
        if time.monotonic() >= ends_at or received(descriptor) > most:
            cut(descriptor)
            return


def received(descriptor: int) -> int:
    """Bytes that have come by this connection, read or not; 0 for what is no TCP, our own server's socket.

    Source: `struct tcp_info` of Linux, whose `tcpi_bytes_received` stands behind 8 bytes, 24 numbers of 4, and 3 of 8.
    """
    try:
        with socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM) as line:
            told = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_RECEIVED.stop)
    except OSError:
        return 0
    return int.from_bytes(told[BYTES_RECEIVED], sys.byteorder)


def cut(descriptor: int) -> None:
    with suppress(OSError), socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM) as lifeline:
        lifeline.shutdown(socket.SHUT_RDWR)


# ---- what went wrong -------------------------------------------------------------------------------------------------

REFUSED = "Nobody accepts connections at this host and port, or a firewall keeps us out."
LATE = "The server did not answer in time."
NO_TLS = "No TLS: the server does not offer it, or its certificate is not trusted, has ended or is of another host."
NOT_LET_IN = "The server did not accept the user name and the password, or its pg_hba.conf does not let this user in."
NO_DATABASE = "The server has no database of this name, or this user may not connect to it."
NEITHER = "The server did not accept the user name, the password or the database."
POOLER = "A connection pooler answers, which takes no settings from us: name the server itself."
BUSY = "The server takes no connections now: it is starting, stopping, or has as many as it may have."
BROKEN = "The server broke the connection off, or does not speak as PostgreSQL does."

# The server's words may be in another language, and only libpq's own are certain: what none of these fits is told
# less exactly.
FAULTS: Final = (
    ("unsupported startup parameter", "pooler", POOLER),
    ("no pg_hba.conf entry|pg_hba.conf rejects", "authentication", NOT_LET_IN),
    ("authentication failed|no password supplied|not permitted to log in", "authentication", NOT_LET_IN),
    ('role "[^"]*" does not exist|requirement .* failed', "authentication", NOT_LET_IN),
    ('database "[^"]*" does not exist|permission denied for database', "database", NO_DATABASE),
    ("too many (clients|connections)|remaining connection slots", "busy", BUSY),
    ("is starting up|is shutting down|in recovery mode", "busy", BUSY),
    ("ssl|certificate", "tls", NO_TLS),
    ("timeout", "timeout", LATE),
    ("refused|no route|unreachable|host is down|no such file", "refused", REFUSED),
)


def fault_of(problem: psycopg.Error) -> DestinationUnavailable:
    """Of a connection that did not come about."""
    if isinstance(problem, psycopg.errors.ConnectionTimeout):
        return DestinationUnavailable(LATE, reason="timeout")
    said = str(problem)
    for pattern, reason, words in FAULTS:
        if re.search(pattern, said, re.IGNORECASE):
            return DestinationUnavailable(words, reason=reason)
    if problem.pgconn is not None and (problem.pgconn.used_password or problem.pgconn.needs_password):
        return DestinationUnavailable(NEITHER, reason="authentication")
    return DestinationUnavailable(BROKEN, reason="server")


def statement_fault_of(problem: psycopg.Error) -> DestinationUnavailable:
    match problem:
        case psycopg.errors.InsufficientPrivilege():
            return CheckFailed("This user lacks a right on the database.")
        case psycopg.errors.LockNotAvailable() | psycopg.errors.QueryCanceled():
            return DestinationUnavailable("Somebody else holds the tables for too long.", reason="busy")
        case psycopg.errors.ReadOnlySqlTransaction():
            return CheckFailed("The server takes no writes now: it is a replica, or set to read only.")
        case psycopg.errors.DiskFull():
            return DestinationUnavailable("The server's disk is full.", reason="server")
        case _:
            return DestinationUnavailable(BROKEN, reason="server")
