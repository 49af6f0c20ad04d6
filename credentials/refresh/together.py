"""
Answers that come in at about the same moment are committed by one transaction, which costs little more than one alone.

Whoever comes first commits at once. Who comes while that goes on waits for its end and for others who come until then,
and one of them commits for all; nobody goes on before that is done. It is a shortcut for what went well: whose row has
not taken its tokens by it, for whatever reason, commits alone, as if there were no others, and meets his own error. So
no row can spoil another one's.
"""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Final

import msgspec
import structlog
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials import announcing, health
from credentials.models import Credential, Token, Tokens
from credentials.models.renewing import Renewal, renew_all, renewal
from credentials.models.token import REFRESHED
from oauth_apps import audit
from oauth_apps.models import AuditEvent

log = structlog.get_logger("credentials")

LONGEST_TURN: Final = 5.0  # seconds that the first of a batch waits for the end of the commit before
PATIENCE: Final = 10.0  # seconds that the others of a batch wait for its first one; then each commits alone

is_wanted: ContextVar[bool] = ContextVar("is_wanted", default=False)  # by a sweep; a caller does not wait for others
lock = threading.Lock()  # guards what is gathering
turn = threading.Lock()  # held by whoever commits for others


class Answer(msgspec.Struct, eq=False):
    """Of a provider, for one credential, not committed yet."""

    credential: Credential
    lease: Token
    renewal: Renewal
    event: AuditEvent


class Batch:
    """Those who are committed by one of them."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.kept: set[uuid.UUID] = set()
        self.is_over = threading.Event()

    def lead(self) -> None:
        """Commit for all of them as soon as the batch before is through."""
        try:
            with my_turn() as is_mine:
                close(self)
                if is_mine:
                    self.commit()
        except Exception as exc:  # noqa: BLE001 - each commits alone now, and whose fault it was meets it there
            log.warning("not_committed_together", reason=type(exc).__name__, count=len(self.answers))
            if not connection.in_atomic_block:
                connection.close()  # it may be what is broken
        finally:
            close(self)
            self.is_over.set()

    def commit(self) -> None:
        with transaction.atomic():
            kept = renew_all([one.renewal for one in self.answers], REFRESHED)
            those = [one for one in self.answers if one.lease.pk in kept]
            for one in those:
                announcing.recovered(one.lease.pk, before=one.lease)
            audit.write([one.event for one in those])
        self.kept = kept
        freshen([one.credential for one in those])

    def follow(self, answer: Answer) -> None:
        """Wait until somebody has committed for all of them, but not for ever.

        Whoever has lost his patience commits alone. If the batch is committed after all, it is the same answer, and the
        second of the two finds that the row has moved on.
        """
        if not self.is_over.wait(PATIENCE):
            with lock:
                if gathering is self:
                    self.answers.remove(answer)


gathering: Batch | None = None


def freshen(credentials: list[Credential]) -> None:
    """Note that they were looked at just now, for all at once; what has changed of their health each writes himself.

    After the commit, and past rows that somebody holds: an import locks a credential first and its tokens then.
    """
    now = timezone.now()
    stale = [one for one in credentials if one.health_time < now - health.FRESH]
    if not stale:
        return
    with suppress(DatabaseError), transaction.atomic():
        free = Credential.objects.filter(pk__in=[one.pk for one in stale]).select_for_update(skip_locked=True)
        Credential.objects.filter(pk__in=free.values("pk")).update(health_time=now)
    for one in stale:
        one.health_time = now


@sensitive_variables()
def is_kept(credential: Credential, lease: Token, tokens: Tokens) -> bool:
    """Commit `tokens`, with the event of it, together with others. False: alone, then."""
    event = audit.event("credential.refreshed", account=credential.account_id, to=credential, is_refresh=True)
    answer = Answer(credential, lease, renewal(lease, tokens), event)
    batch, is_first = gathered(answer)
    if is_first:
        batch.lead()
    else:
        batch.follow(answer)
    return lease.pk in batch.kept


def gathered(answer: Answer) -> tuple[Batch, bool]:
    """The batch that it goes with, and whether it is the first there."""
    global gathering
    with lock:
        batch = gathering or Batch()
        batch.answers.append(answer)
        is_first, gathering = gathering is None, batch
        return batch, is_first


def close(batch: Batch) -> None:
    """Whoever comes now is the first of the next."""
    global gathering  # noqa: PLW0603 - there is one at a time
    with lock:
        if gathering is batch:
            gathering = None


@contextmanager
def my_turn() -> Iterator[bool]:
    """One batch is committed at a time. False: the one before takes too long."""
    is_mine = turn.acquire(timeout=LONGEST_TURN)
    try:
        yield is_mine
    finally:
        if is_mine:
            turn.release()
