"""
How often something may be done in ten seconds, for all processes together; settings.LIMITS has the numbers.

A request costs no statement. Each process counts in memory; a thread adds to PostgreSQL what it has counted of a key,
as soon as that is a twentieth of the limit, and learns from the same statement what all processes have counted. So a
limit may be passed by a twentieth for each process, and by what is let in while such a statement is under way. While
the database does not answer, each process goes on by its own count. docs/limits.md says what that means outside.
"""

import hashlib
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import NamedTuple

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from oauth_apps.models import RateCount
from sequin_auth.lib import measures
from sequin_auth.lib.measures import Name

log = structlog.get_logger("limits")

SECONDS = 10  # that a window has; all processes begin one at the same time
# A limit divided by them is the part of which the others are told
DIVISOR_AT_ONCE = 20  # at once: a twentieth
DIVISOR_EVERY_SECOND = 200  # every second; what is less is nobody's business
MOST_KEYS = 20_000  # that a process counts at a time, a few megabytes; of more it forgets the oldest
KEYS_IN_A_STATEMENT = 1_000


class Refusal(NamedTuple):
    """`seconds`: to wait; `is_first`: of this key and window in this process, and so worth a line in the log."""

    kind: str
    seconds: int
    is_first: bool


@dataclass(slots=True)
class Count:
    """`own`: what this process has counted and nobody else knows of; `known`: what all had told, when last asked."""

    limit: int
    own: int = 0
    known: int = 0
    is_shut: bool = False  # for the rest of the window, whatever is counted
    is_told: bool = False  # in the log

    @property
    def is_over(self) -> bool:
        return self.is_shut or self.own + self.known >= self.limit

    def refusal(self, kind: str, now: float) -> Refusal:
        is_first, self.is_told = not self.is_told, True
        return Refusal(kind, max(1, ceil(SECONDS - now % SECONDS)), is_first)


class Counter:
    """The counts of one process in the window of now."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reporting = threading.Lock()  # one statement at a time
        self.window = 0
        self.counts: OrderedDict[bytes, Count] = OrderedDict()
        self.worth_telling = threading.Event()
        self.thread: threading.Thread | None = None

    def count(self, kind: str, subject: str) -> Refusal | None:
        """Count one more of `kind` by `subject`; unless there were too many."""
        limit = limit_of(kind)
        if not limit:
            return None
        now = time.time()
        with self.lock:
            count = self._count(key_of(kind, subject), limit, now)
            if count.is_over:
                measures.count(Name.LIMIT_REFUSALS, kind)
                return count.refusal(kind, now)
            count.own += 1
            is_worth_telling = count.own >= limit / DIVISOR_AT_ONCE
        self._have_told(at_once=is_worth_telling)
        return None

    def refusal(self, kind: str, subject: str) -> Refusal | None:
        """What `count` would return, with nothing counted."""
        limit, now = limit_of(kind), time.time()
        if not limit:
            return None
        with self.lock:
            count = self.counts.get(key_of(kind, subject)) if self.window == int(now // SECONDS) else None
            return count.refusal(kind, now) if count is not None and count.is_over else None

    def is_over(self, kind: str, subject: str) -> bool:
        """Whether `count` would refuse; nothing is counted, and nobody told."""
        if not limit_of(kind):
            return False
        with self.lock:
            count = self.counts.get(key_of(kind, subject)) if self.window == int(time.time() // SECONDS) else None
            return count is not None and count.is_over

    def count_each(self, *subjects: tuple[str, str]) -> bool:
        """Count one more of each kind by its subject; False, with nothing counted, if there were too many of one."""
        keys = [(key_of(kind, subject), limit) for kind, subject in subjects if (limit := limit_of(kind))]
        with self.lock:
            now = time.time()
            counts = [self._count(key, limit, now) for key, limit in keys]
            if any(count.is_over for count in counts):
                return False
            for count in counts:
                count.own += 1
            is_worth_telling = any(count.own >= count.limit / DIVISOR_AT_ONCE for count in counts)
        if counts:
            self._have_told(at_once=is_worth_telling)
        return True

    def shut(self, kind: str, subject: str) -> None:
        """Let nothing more of this in until the window ends, in this process: something behind it is over."""
        if limit := limit_of(kind):
            with self.lock:
                count = self._count(key_of(kind, subject), limit, time.time())
                count.is_shut = count.is_told = True

    def report(self, *, divisor: int = DIVISOR_EVERY_SECOND) -> int:
        """Tell the others of every count that is at least its limit divided by this, and learn theirs; of how many.

        Raises DatabaseError with nothing forgotten.
        """
        with self.reporting:
            with self.lock:
                window = self.window
                own = {
                    key: count.own for key, count in self.counts.items() if count.own >= max(1, count.limit / divisor)
                }
            keys = sorted(own)  # in the same order everywhere, or two statements might wait for each other
            for start in range(0, len(keys), KEYS_IN_A_STATEMENT):
                some = {key: own[key] for key in keys[start : start + KEYS_IN_A_STATEMENT]}
                sums = RateCount.objects.add(window * SECONDS, some)
                with self.lock:
                    self._learn(window, some, sums)
            return len(keys)

    def _learn(self, window: int, told: Mapping[bytes, int], sums: Mapping[bytes, int]) -> None:
        if self.window != window:
            return
        for key, number in sums.items():
            if count := self.counts.get(key):
                count.own, count.known = max(0, count.own - told[key]), number

    def _count(self, key: bytes, limit: int, now: float) -> Count:
        window = int(now // SECONDS)
        if window != self.window:
            self.window = window
            self.counts.clear()
        count = self.counts.get(key)
        if count is None:
            if len(self.counts) >= MOST_KEYS:
                self.counts.popitem(last=False)
            count = self.counts[key] = Count(limit)
        return count

    def _have_told(self, *, at_once: bool) -> None:
        if not settings.LIMITS_SHARED_EVERY:
            return
        if self.thread is None or not self.thread.is_alive():  # nor is it after a fork
            with self.lock:
                if self.thread is None or not self.thread.is_alive():
                    self.thread = threading.Thread(target=self._keep_telling, name="limits", daemon=True)
                    self.thread.start()
        if at_once:
            self.worth_telling.set()

    def _keep_telling(self) -> None:
        while True:
            is_urgent = self.worth_telling.wait(settings.LIMITS_SHARED_EVERY)
            self.worth_telling.clear()
            try:
                self.report(divisor=DIVISOR_AT_ONCE if is_urgent else DIVISOR_EVERY_SECOND)
            except (DatabaseError, InterfaceError):
                time.sleep(settings.LIMITS_SHARED_EVERY)  # each process goes on by its own count
            finally:
                connection.close()


counter = Counter()


def limit_of(kind: str) -> int:
    """0: none."""
    limit: int = settings.LIMITS[kind]
    return limit


def tell(refusal: Refusal, client: str) -> None:
    """One line for each key, window and process: whoever storms fills no log. `client`: an address."""
    if refusal.is_first:
        log.warning("limit_reached", reason=refusal.kind, client=client)


def key_of(kind: str, subject: str) -> bytes:
    """What a count is kept under: neither a token nor an address can be read from it, or guessed without our key."""
    return hashlib.blake2b(f"{kind} {subject}".encode(), digest_size=32, key=secret(settings.SECRET_KEY)).digest()


@lru_cache(maxsize=2)
def secret(secret_key: str) -> bytes:
    return hashlib.sha256(f"limits {secret_key}".encode()).digest()


def network_of(address: str) -> str:
    """What counts as one address: an IPv6 network of 64 bits is one customer's, who has them all."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
