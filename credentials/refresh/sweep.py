"""
Refreshes what falls due, ahead of time: the recently used first, many at once, but never so many of one provider that
the others have to wait for it.
"""

import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import structlog
from django.db import DatabaseError, connection
from procrastinate.contrib.django import app

from credentials.errors import CredentialGone, NoAccessToken
from credentials.models import Credential, Token
from credentials.refresh import lease, spool
from sequin_auth.lib import http
from sequin_auth.lib.encryption import Unreadable

log = structlog.get_logger("credentials")

AT_ONCE = 64  # refreshes in a worker
AT_ONCE_OF_ONE_PROVIDER = 48  # so that others have their turn while one of them hangs
BATCH = 16  # leases taken in one statement
LOOK_AHEAD = 2_000  # due tokens that are put in order at a time
LONGEST_RUN = 50.0  # seconds; the next run goes on

stopping = threading.Event()


@app.periodic(cron="* * * * *")
@app.task(queue="refresh", queueing_lock="refresh_due")
def refresh_due_job(timestamp: int) -> None:
    try:
        spool.replay()
    except DatabaseError as exc:
        log.warning("spool_not_replayed", reason=type(exc).__name__)
    refresh_due()


def refresh_due(*, longest: float = LONGEST_RUN) -> int:
    """Refresh what is due, for `longest` seconds at most; how many were tried."""
    return Sweep(ends_at=time.monotonic() + longest).run()


class Sweep:
    """One run. Leases are taken when a thread is free for them, since a lease is as long as one call."""

    def __init__(self, *, ends_at: float) -> None:
        self.ends_at = ends_at
        self.under_way: Counter[str] = Counter()  # by provider
        self.met: set[uuid.UUID] = set()

    def run(self) -> int:
        futures: dict[Future[None], str] = {}
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="refresh") as pool:
            while waiting := deque(Token.objects.due(limit=LOOK_AHEAD)):
                before = len(self.met)
                while (waiting or futures) and not self.is_over:
                    batch = list(self.leased(waiting))
                    for credential, leased in batch:
                        futures[pool.submit(work, credential, leased)] = credential.provider
                    timeout = 0 if batch and waiting and self.under_way.total() < AT_ONCE else 1
                    self.forget(futures, done=wait(futures, timeout, return_when=FIRST_COMPLETED).done)
                if self.is_over or len(self.met) == before:
                    break
        return len(self.met)

    @property
    def is_over(self) -> bool:
        return stopping.is_set() or time.monotonic() > self.ends_at

    def leased(self, waiting: "deque[tuple[uuid.UUID, str]]") -> Iterator[tuple[Credential, Token]]:
        """Leases on the next that may go, as many as there are threads for."""
        pks = list(self.next_of(waiting))
        if not pks:
            return
        leases = {token.pk: token for token in Token.objects.lease_due(pks, owner=uuid.uuid4())}
        for credential in Credential.objects.select_related("oauth_app").filter(pk__in=leases):
            self.under_way[credential.provider] += 1
            self.met.add(credential.pk)
            yield credential, leases[credential.pk]

    def next_of(self, waiting: "deque[tuple[uuid.UUID, str]]") -> Iterator[uuid.UUID]:
        free = min(BATCH, AT_ONCE - self.under_way.total())
        planned = self.under_way.copy()
        passed_over = []
        while waiting and free > 0:
            pk, provider = waiting.popleft()
            if pk in self.met:
                continue  # once a run is enough, whatever came of it
            if planned[provider] >= AT_ONCE_OF_ONE_PROVIDER:
                passed_over.append((pk, provider))
                continue
            planned[provider] += 1
            free -= 1
            yield pk
        waiting.extendleft(reversed(passed_over))

    def forget(self, futures: dict[Future[None], str], done: set[Future[None]]) -> None:
        for future in done:
            self.under_way[futures.pop(future)] -= 1
            if crash := future.exception():
                log.error("refresh_crashed", exc_info=crash)


def work(credential: Credential, leased: Token) -> None:
    """One refresh, in a thread of its own. Its outcome stands in the row."""
    http.calls_at_once.set(AT_ONCE_OF_ONE_PROVIDER)
    try:
        lease.renewed(credential, leased)
    except (NoAccessToken, Unreadable, CredentialGone):
        pass
    except DatabaseError as exc:
        log.warning("refresh_not_noted", credential=str(credential.pk), reason=type(exc).__name__)
    finally:
        connection.close()
