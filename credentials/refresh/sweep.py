"""
Refreshes what falls due, ahead of time: the recently used first, many at once, but never so many of one provider that
the others have to wait for it.
"""

import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue

import structlog
from django.db import DatabaseError, connection
from procrastinate.contrib.django import app
from procrastinate.exceptions import AlreadyEnqueued

from credentials.errors import CredentialGone, NoAccessToken
from credentials.models import Credential, Token
from credentials.refresh import leaseholder, spool, together
from sequin_auth.lib import http, redaction
from sequin_auth.lib.encryption import Unreadable

log = structlog.get_logger("credentials")

AT_ONCE = 128  # refreshes in a worker
AT_ONCE_OF_ONE_PROVIDER = 96  # so that others have their turn while one of them hangs
BATCH = 32  # leases taken in one statement
GATHERED = 0.1  # seconds that the first free thread waits for others, whose leases are taken with its own
LOOK_AHEAD = 2_000  # due tokens that are put in order at a time
LONGEST_RUN = 50.0  # seconds; the next run goes on

stopping = threading.Event()
at_it = threading.Lock()  # held by this process's sweep; a second one would only share its processor


@app.periodic(cron="* * * * *")
@app.task(queue="refresh", queueing_lock="refresh_due")
def refresh_due_job(timestamp: int) -> None:
    try:
        spool.replay()
    except DatabaseError as exc:
        log.warning("spool_not_replayed", reason=type(exc).__name__)
    if at_it.acquire(blocking=False):
        try:
            refresh_due()
        finally:
            at_it.release()


def refresh_due(*, longest: float = LONGEST_RUN) -> int:
    """Refresh what is due, for `longest` seconds at most; how many were tried."""
    return Sweep(ends_at=time.monotonic() + longest).run()


def call_another_worker() -> None:
    """There is more to do than one of them does soon. Whoever is free takes his share, and may call the next."""
    with suppress(AlreadyEnqueued):
        refresh_due_job.configure().defer(timestamp=int(time.time()))


class Sweep:
    """One run. Leases are taken when threads are free for them, since a lease is as long as one call."""

    def __init__(self, *, ends_at: float) -> None:
        self.ends_at = ends_at
        self.under_way: Counter[str] = Counter()  # by provider
        self.met: set[uuid.UUID] = set()
        self.finished: SimpleQueue[str] = SimpleQueue()  # the provider of each that has come to its end

    def run(self) -> int:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="refresh") as pool:
            while due := Token.objects.due(limit=LOOK_AHEAD):
                if len(due) == LOOK_AHEAD:
                    call_another_worker()
                waiting, before = Waiting(due, but=self.met), len(self.met)
                while (waiting or self.under_way.total()) and not self.is_over:
                    for credential, leased in self.leased(waiting):
                        pool.submit(self.work, credential, leased)
                    self.wait_for_room(waiting)
                if self.is_over or len(self.met) == before:
                    break
        http.close_idle_lines()
        return len(self.met)

    @property
    def is_over(self) -> bool:
        return stopping.is_set() or time.monotonic() > self.ends_at

    def leased(self, waiting: "Waiting") -> Iterator[tuple[Credential, Token]]:
        """Leases on the next that may go, as many as there are threads for."""
        pks = waiting.take(self.under_way, min(BATCH, AT_ONCE - self.under_way.total()))
        self.met.update(pks)  # once a run is enough, whatever comes of it
        if not pks:
            return
        leases = {token.pk: token for token in Token.objects.lease_due(pks, owner=uuid.uuid4())}
        # An OAuth app is read once for all of its credentials here, not joined to each
        for credential in Credential.objects.prefetch_related("oauth_app").filter(pk__in=leases):
            self.under_way[credential.provider] += 1
            yield credential, leases[credential.pk]

    def work(self, credential: Credential, leased: Token) -> None:
        try:
            work(credential, leased)
        except Exception:
            log.exception("refresh_crashed")
        finally:
            self.finished.put(credential.provider)

    def wait_for_room(self, waiting: "Waiting") -> None:
        """Until so many may go that their leases are worth a statement, or one may, and no other soon."""
        latest = time.monotonic() + 1
        while self.under_way.total():
            room = min(waiting.count(self.under_way), AT_ONCE - self.under_way.total())
            if room >= BATCH:
                return
            latest = min(latest, time.monotonic() + GATHERED) if room else latest
            try:
                self.under_way[self.finished.get(timeout=max(0.0, latest - time.monotonic()))] -= 1
            except Empty:
                return


class Waiting:
    """What is due, a line for each provider, in the order in which it is to go."""

    def __init__(self, due: Sequence[tuple[uuid.UUID, str]], *, but: Set[uuid.UUID]) -> None:
        self.lines: dict[str, deque[tuple[int, uuid.UUID]]] = {}
        for place, (pk, provider) in enumerate(due):
            if pk not in but:
                self.lines.setdefault(provider, deque()).append((place, pk))

    def __bool__(self) -> bool:
        return bool(self.lines)

    def count(self, under_way: Counter[str]) -> int:
        """How many may go, for all that is under way."""
        return sum(min(len(line), room_of(provider, under_way)) for provider, line in self.lines.items())

    def take(self, under_way: Counter[str], most: int) -> list[uuid.UUID]:
        """The next; providers that have no room are passed over."""
        planned, taken = under_way.copy(), list[uuid.UUID]()
        while len(taken) < most:
            firsts = [(line[0], name) for name, line in self.lines.items() if room_of(name, planned)]
            if not firsts:
                break
            (_, pk), provider = min(firsts)
            self.lines[provider].popleft()
            if not self.lines[provider]:
                del self.lines[provider]
            planned[provider] += 1
            taken.append(pk)
        return taken


def room_of(provider: str, under_way: Counter[str]) -> int:
    return max(0, AT_ONCE_OF_ONE_PROVIDER - under_way[provider])


def work(credential: Credential, leased: Token) -> None:
    """One refresh, in a thread of its own. Its outcome stands in the row."""
    http.calls_at_once.set(AT_ONCE_OF_ONE_PROVIDER)
    http.keeps_connections.set(True)
    together.is_wanted.set(True)
    try:
        leaseholder.renewed(credential, leased)
    except (NoAccessToken, Unreadable, CredentialGone):
        pass
    except DatabaseError as exc:
        log.warning("refresh_not_noted", credential=str(credential.pk), reason=type(exc).__name__)
    finally:
        redaction.forget()
        connection.close()
