"""
Brings events to their endpoints: at least once, for about three days, and so that no endpoint waits for another.

A delivery is claimed by moving the time at which it is due beyond the call's own deadline; whoever dies on the way is
followed by the next who finds it due again. No transaction is open over a call, and only this module's main thread
speaks to the database: the others call, and return what came of it.
"""

import random
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from django.db import connection
from django.db.models import F
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from procrastinate.contrib.django import app
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import JobDeferrer
from procrastinate.manager import JobManager

from oauth_apps.models import WebhookDelivery, WebhookEndpoint
from oauth_apps.webhooks import endpoints, signing
from sequin_auth.lib import http, measures
from sequin_auth.lib.encryption import Unreadable
from sequin_auth.lib.measures import Name

log = structlog.get_logger("webhooks")

DEADLINE = 10.0  # seconds for one call
LEASE = timedelta(seconds=60)  # within which a call that was made has been noted
RETRIES = tuple(  # how long after each attempt the next one is made; about three days in all
    timedelta(seconds=seconds) for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
JITTER = 0.2  # of a pause, that it may be shorter or longer
LONGEST_PAUSE = timedelta(days=1)  # that an endpoint may ask for
ENOUGH_FAILURES = timedelta(days=5)  # without a success; then the endpoint is disabled
CROWDED = timedelta(seconds=2)  # until the next try, where too many calls to the same host are under way

CALLS_OF_A_WORKER = 32  # under way at once, as all of these
CALLS_OF_AN_ACCOUNT = 4  # half of a host's: nobody delays the others at a receiver that they share
CALLS_OF_AN_ENDPOINT = 2  # one, while it fails
CALLS_OF_FAILING = 16  # so that those which hang leave room, however many they are
LOOK_AHEAD = 1_000  # deliveries that are put in order at a time
LINGER = timedelta(seconds=8)  # a run waits for what falls due so soon: the first retry
PAUSE = 0.5  # seconds between two looks while calls are under way

GONE = "The endpoint answered 410 Gone, so it is called no more."
FAILED_TOO_LONG = "No delivery has succeeded for five days."
REDIRECTED = "The endpoint answered {status}. Redirects are not followed: register the address that they lead to."
ANSWERED = "The endpoint answered {status} instead of 2xx."
SEALED = "The endpoint's secret does not open, so nothing can be signed: rotate it."

stopping = threading.Event()
running = threading.Lock()
more = threading.Event()  # there may be something that a run under way has not seen


@app.periodic(cron="* * * * *")
@app.task(queue="webhooks", queueing_lock="deliver_webhooks")
def deliver_due_job(timestamp: int) -> None:
    """One run in a process is enough; one that is under way looks again."""
    more.set()
    while more.is_set() and not stopping.is_set():
        if not running.acquire(blocking=False):
            return
        try:
            deliver_due()
        finally:
            running.release()


def wake() -> None:
    """Have a worker look at once. If that fails, the next minute's look finds what is due."""
    if is_awake():
        return
    manager = JobManager(DjangoConnector())  # a worker's own connector belongs to its event loop
    try:
        JobDeferrer(manager, deliver_due_job.configure().job).defer(timestamp=0)
    except AlreadyEnqueued:
        return
    except ConnectorException as exc:
        log.warning("webhooks_not_woken", reason=type(exc.__cause__ or exc).__name__)


def is_awake() -> bool:
    """Whether a job waits to be begun already: PostgreSQL would log each refusal of a second one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE queueing_lock = %s AND status = 'todo')",
            [deliver_due_job.queueing_lock],
        )
        return bool(cursor.fetchone()[0])


def deliver_due() -> int:
    """Deliver all that is due, and what falls due meanwhile; how many calls were tried."""
    return Run().go()


class Waiting(NamedTuple):
    """A delivery that is due now, or soon."""

    id: UUID
    endpoint_id: UUID
    account_id: UUID
    url: str
    fails: bool  # whether its endpoint does
    due_in: float  # seconds


class Outcome(NamedTuple):
    """What came of one call. `status`: None if there was no answer; `was_made`: whether anything could be sent."""

    status: int | None = None
    failure: str = ""
    retry_after: int | None = None
    was_made: bool = True

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def word(self) -> str:
        """For the metrics."""
        if not self.was_made:
            return "put_off"
        if self.status is None:
            return "no_answer"
        return "delivered" if self.is_success else "refused"


class Run:
    """Calls go out as fast as there are threads for them, within what one endpoint, account and host may have."""

    def __init__(self) -> None:
        self.calls: dict[Future[Outcome], tuple[WebhookDelivery, Waiting]] = {}
        self.tried = 0

    def go(self) -> int:
        with ThreadPoolExecutor(CALLS_OF_A_WORKER, thread_name_prefix="webhook") as pool:
            while not stopping.is_set():
                more.clear()
                waiting = soon_due()
                self.begin(pool, waiting)
                if self.calls:
                    self.finish(wait(self.calls, PAUSE, return_when=FIRST_COMPLETED).done)
                elif waiting:
                    more.wait(min(PAUSE, max(0.05, waiting[0].due_in)))
                else:
                    break
            self.finish(wait(self.calls).done)
        return self.tried

    def begin(self, pool: ThreadPoolExecutor, waiting: list[Waiting]) -> None:
        chosen = {one.id: one for one in self.chosen(waiting)}
        for delivery in claimed(chosen):
            self.tried += 1
            now = timezone.now()
            try:
                keys = signing.secrets_of(delivery.endpoint, now)
            except Unreadable:
                write_down(delivery, Outcome(failure=SEALED))
                continue
            headers = signing.headers(delivery.pk, delivery.body, keys, now)
            call = pool.submit(called, delivery.endpoint.url, headers, delivery.body)
            self.calls[call] = delivery, chosen[delivery.pk]

    def chosen(self, waiting: Iterable[Waiting]) -> Iterator[Waiting]:
        """Those for which there is room, beside the calls that are under way."""
        under_way = Counter(key for _, one in self.calls.values() for key in shares_of(one))
        free = CALLS_OF_A_WORKER - len(self.calls)
        for one in waiting:
            shares = shares_of(one)
            if one.due_in > 0 or any(under_way[key] >= most for key, most in shares.items()):
                continue
            if not free:
                return
            free -= 1
            under_way.update(shares.keys())
            yield one

    def finish(self, done: Iterable[Future[Outcome]]) -> None:
        for call in done:
            delivery, _ = self.calls.pop(call)
            write_down(delivery, call.result())


def shares_of(one: Waiting) -> dict[object, int]:
    """Under what a call is counted, and how many of each may be under way: endpoint, account, host, those that fail."""
    failing: dict[object, int] = {"failing": CALLS_OF_FAILING} if one.fails else {}
    return {
        one.endpoint_id: 1 if one.fails else CALLS_OF_AN_ENDPOINT,
        one.account_id: CALLS_OF_AN_ACCOUNT,
        urlsplit(one.url).netloc.lower(): http.CALLS_AT_ONCE,
        **failing,
    }


# ---- what is due -----------------------------------------------------------------------------------------------------


def soon_due() -> list[Waiting]:
    """The next deliveries of each endpoint that is enabled, those that wait the longest first."""
    limits: list[Any] = [LINGER, CALLS_OF_AN_ENDPOINT, LOOK_AHEAD]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT due.id, endpoint.id, endpoint.account_id, endpoint.url, endpoint.failing_since IS NOT NULL,
                extract(epoch FROM due.due_at - statement_timestamp())::float
            FROM oauth_apps_webhookendpoint endpoint
            CROSS JOIN LATERAL (
                SELECT id, due_at FROM oauth_apps_webhookdelivery
                WHERE endpoint_id = endpoint.id AND due_at <= statement_timestamp() + %s
                ORDER BY due_at LIMIT %s
            ) due
            WHERE endpoint.enabled
            ORDER BY due.due_at LIMIT %s
            """,
            limits,
        )
        return [Waiting(*row) for row in cursor.fetchall()]


def claimed(pks: Iterable[UUID]) -> list[WebhookDelivery]:
    """Those of `pks` that nobody else has taken meanwhile; they are ours for a LEASE. An attempt counts when it begins,
    so that one which kills its process is not made for ever.
    """
    values: list[Any] = [list(pks), LEASE]
    if not values[0]:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH free AS (
                SELECT id FROM oauth_apps_webhookdelivery
                WHERE id = ANY(%s) AND due_at <= statement_timestamp()
                FOR UPDATE SKIP LOCKED
            )
            UPDATE oauth_apps_webhookdelivery delivery
            SET due_at = statement_timestamp() + %s, attempts = delivery.attempts + 1
            FROM free WHERE delivery.id = free.id
            RETURNING delivery.id
            """,
            values,
        )
        mine = [pk for (pk,) in cursor.fetchall()]
    return list(WebhookDelivery.objects.select_related("endpoint").filter(pk__in=mine, endpoint__enabled=True))


# ---- one call --------------------------------------------------------------------------------------------------------


@sensitive_variables()
def called(url: str, headers: Mapping[str, str], body: str) -> Outcome:
    """Nothing of the answer is read but its head. The address is looked up, and judged, each time anew."""
    try:
        answer = http.request(
            "POST",
            url,
            headers={**headers, "Content-Type": "application/json"},
            content=body.encode(),
            deadline=DEADLINE,
            reads_content=False,
        )
    except http.Busy as exc:
        return Outcome(failure=str(exc), was_made=False)
    except http.EgressError as exc:
        return Outcome(failure=str(exc))
    return Outcome(answer.status, in_words(answer.status), answer.retry_after)


def in_words(status: int) -> str:
    """What was wrong with the answer; empty if nothing was."""
    if 200 <= status < 300:
        return ""
    return (REDIRECTED if 300 <= status < 400 else GONE if status == 410 else ANSWERED).format(status=status)


def write_down(delivery: WebhookDelivery, outcome: Outcome) -> None:
    """Write down what came of an attempt, unless it took so long that another one has been begun."""
    now = timezone.now()
    changes: dict[str, Any] = {"last_status": outcome.status, "last_failure": outcome.failure}
    if not outcome.was_made:
        changes |= {"due_at": now + CROWDED, "attempts": F("attempts") - 1}
    elif outcome.is_success:
        changes |= {"due_at": None, "delivered_at": now}
    else:
        pause = None if outcome.status == 410 else pause_after(delivery.attempts, outcome.retry_after)
        changes["due_at"] = None if pause is None else now + pause
    WebhookDelivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts).update(**changes)
    measures.count(Name.WEBHOOK_DELIVERIES, outcome.word)
    if outcome.was_made:
        note(delivery.endpoint, outcome)
    log.info(
        "webhook_delivered" if outcome.is_success else "webhook_not_delivered",
        webhook=str(delivery.pk),
        endpoint=str(delivery.endpoint_id),
        status=outcome.status,
        attempt=delivery.attempts,
    )


def note(endpoint: WebhookEndpoint, outcome: Outcome) -> None:
    """What an attempt says of its endpoint, if that is still where it was called."""
    now = timezone.now()
    same = WebhookEndpoint.objects.filter(pk=endpoint.pk, url=endpoint.url)
    if outcome.is_success:
        same.filter(failing_since__isnull=False).update(failing_since=None)
        return
    same.filter(failing_since__isnull=True).update(failing_since=now)
    if outcome.status == 410:
        endpoints.disable(endpoint, GONE)
    elif same.filter(failing_since__lt=now - ENOUGH_FAILURES).exists():
        endpoints.disable(endpoint, FAILED_TOO_LONG)


def pause_after(attempts: int, retry_after: int | None = None) -> timedelta | None:
    """How long until the next attempt, after so many; None if that was the last. `retry_after`: seconds that the
    endpoint asks for.
    """
    if attempts > len(RETRIES):
        return None
    # nosemgrep: guessable-random - it spreads the load
    pause = RETRIES[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - nothing secret
    return max(pause, min(timedelta(seconds=retry_after or 0), LONGEST_PAUSE))


def outdated() -> Any:
    """The deliveries that nobody looks at any more."""
    return WebhookDelivery.objects.filter(created_at__lt=timezone.now() - WebhookDelivery.KEPT)
