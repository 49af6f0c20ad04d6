"""`GET /metrics`, for Prometheus: what each floor counts. Open to everybody, so nothing in it says whose it is."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import structlog
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from credentials import stock
from credentials.refresh import overdue
from oauth_apps import measures as noted
from sequin_auth import queues
from syncs import measures as of_syncs

log = structlog.get_logger("sequin_auth.metrics")

LONGEST_STATEMENT: Final = "3s"
LONGEST_KEPT: Final = 60.0  # seconds that an old answer is told beyond its time, to whoever comes while others ask

FLOORS: list[Callable[[], Iterable[Metric]]] = [
    noted.families,
    queues.families,
    stock.families,
    overdue.families,
    of_syncs.families,
]


class Floors(Collector):
    """In the place of the library's registry, which would tell the version of Python and what a process uses."""

    def collect(self) -> Iterator[Metric]:
        for families in FLOORS:
            yield from families()


class Kept:
    """The last answer of this process, also that there was none. However many ask, one of them asks the database, and
    not every time; the others do not wait for him: they are open to strangers, and each would hold a thread.
    """

    def __init__(self) -> None:
        self.asking = threading.Lock()
        self.text: bytes | None = None
        self.until = 0.0

    def current(self) -> bytes | None:
        """None: the database did not answer, or has not yet."""
        if time.monotonic() >= self.until and self.asking.acquire(blocking=False):
            try:
                self.text = found()
            finally:
                self.until = time.monotonic() + settings.METRICS_KEPT
                self.asking.release()
        return self.text if time.monotonic() < self.until + LONGEST_KEPT else None


def found() -> bytes | None:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [LONGEST_STATEMENT])
            return generate_latest(Floors())
    except DatabaseError as exc:
        log.warning("metrics_not_read", reason=type(exc).__name__)
        return None


kept = Kept()


@csrf_exempt
@require_safe
@cache_control(no_store=True)
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format. 503 while the database does not answer, where the numbers are."""
    text = kept.current()
    if text is None:
        return HttpResponse("database\n", status=503, content_type="text/plain; charset=utf-8")
    return HttpResponse(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)
