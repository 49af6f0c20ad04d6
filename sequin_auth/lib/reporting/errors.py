"""
Errors to Sentry: each line of the log at ERROR or above, as an event. It is made of the very line that the log gets, so
what is cut there is cut here; of an exception there are its type and the lines of source that it came through, without
its message, local variables or the source itself.
"""

import atexit
import gzip
import json
import logging
import os
import queue
import threading
from types import TracebackType
from typing import Any, Final

import sentry_sdk
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport
from sentry_sdk.utils import BadDsn, Dsn

from sequin_auth import __version__
from sequin_auth.lib.logs import LONGEST_CHAIN, ExcInfo
from sequin_auth.lib.reporting.sending import Sender, origin_of

# Of an event, whatever the library would add to it
KEPT: Final = frozenset(
    {"event_id", "timestamp", "level", "logger", "logentry", "exception", "tags", "transaction", "platform", "release"}
)
# Of a log line: words and ids of ours. `client` is an end user's address, `path` may hold what somebody has typed
TOLD: Final = (
    "request_id", "method", "route", "status", "reason", "attempt", "place", "provider", "task",
    "account", "api_token", "authorization", "credential", "oauth_app", "webhook", "endpoint", "sync",
)  # fmt: skip
MOST_WAITING: Final = 100  # envelopes; what comes on top is dropped
PATIENCE: Final = 2.0  # seconds that the end of a process waits for what is to be sent

log = logging.getLogger("sequin_auth.reporting")


def begin(dsn: str) -> None:
    """Raises ImproperlyConfigured, which does not repeat the DSN."""
    try:
        Dsn(dsn)
    except (BadDsn, ValueError):
        raise ImproperlyConfigured("SENTRY_DSN is not what a project of Sentry gives as its DSN.") from None
    origin_of(dsn.replace(str(Dsn(dsn).public_key) + "@", ""), "SENTRY_DSN")
    sentry_sdk.init(
        dsn=dsn,
        transport=Outbox,
        default_integrations=False,  # none of them: no requests, breadcrumbs, arguments, modules, hooks
        auto_enabling_integrations=False,
        integrations=[],
        before_send=without_the_rest,
        send_default_pii=False,
        include_local_variables=False,
        include_source_context=False,
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
        propagate_traces=False,
        server_name="",
        environment="production",  # this and the following: else the environment has a say
        release=__version__,
        debug=False,
        spotlight=False,
    )


def without_the_rest(event: Any, hint: Any) -> Any:
    return {name: value for name, value in event.items() if name in KEPT}


def report(line: str, record: logging.LogRecord) -> None:
    """`line`: what the log says of the record."""
    if record.name.startswith(("sentry_sdk", "sequin_auth.reporting")):
        return
    try:
        sentry_sdk.get_client().capture_event(event_of(json.loads(line), record.exc_info))
    except Exception as exc:  # noqa: BLE001 - a report that fails must not fail what it reports of
        log.warning("not_reported: %s", type(exc).__name__)


def event_of(line: dict[str, Any], exc_info: Any) -> dict[str, Any]:
    """`line`: as it stands in the log."""
    event: dict[str, Any] = {
        "level": "fatal" if line.get("level") == "critical" else "error",
        "logger": line.get("logger", ""),
        "logentry": {"message": line.get("event", "")},
        "tags": {name: str(line[name]) for name in TOLD if line.get(name) is not None},
        "platform": "python",
    }
    if isinstance(exc_info, tuple) and exc_info[1] is not None:
        event["exception"] = {"values": exceptions(exc_info)}
    return event


def exceptions(exc_info: ExcInfo) -> list[dict[str, Any]]:
    """The exception and what it came from, the oldest first."""
    exception: BaseException | None = exc_info[1]
    found: list[dict[str, Any]] = []
    while exception is not None and len(found) < LONGEST_CHAIN:
        kind = type(exception)
        frames = list(frames_of(exception.__traceback__))
        found.append({"type": kind.__qualname__, "module": kind.__module__, "stacktrace": {"frames": frames}})
        exception = exception.__cause__ or (None if exception.__suppress_context__ else exception.__context__)
    return found[::-1]


def frames_of(traceback: TracebackType | None) -> list[dict[str, Any]]:
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        name = str(traceback.tb_frame.f_globals.get("__name__", ""))
        frames.append(
            {
                "module": name,
                "function": code.co_name,
                "filename": file_of(code.co_filename),
                "lineno": traceback.tb_lineno,
                "in_app": not code.co_filename.partition("site-packages")[1],
            }
        )
        traceback = traceback.tb_next
    return frames


def file_of(path: str) -> str:
    """Without where on this machine it lies."""
    of_a_library = path.rpartition("site-packages/")
    if of_a_library[1]:
        return of_a_library[2]
    own = f"{settings.BASE_DIR}/"
    return path.removeprefix(own) if path.startswith(own) else path.rpartition("/")[2]


# ---- sending ---------------------------------------------------------------------------------------------------------


class Outbox(Transport):
    """Sends in a thread of its own, so that nobody waits for it. What there is no room for is dropped."""

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        assert self.parsed_dsn is not None  # noqa: S101 - begin() gave one
        auth = self.parsed_dsn.to_auth(f"sequin-auth/{__version__}")
        self.url = auth.get_api_url()
        self.headers = {
            "X-Sentry-Auth": auth.to_header(),
            "Content-Type": "application/x-sentry-envelope",
            "Content-Encoding": "gzip",
        }
        self.sender = Sender(origin_of(self.url, "SENTRY_DSN"))
        self.clear()
        atexit.register(self.flush, PATIENCE)
        os.register_at_fork(after_in_child=self.clear)

    def clear(self) -> None:
        """Also of a process that was forked off: its parent has the thread, and sends what waits."""
        self.waiting: queue.Queue[bytes] = queue.Queue(MOST_WAITING)
        self.thread: threading.Thread | None = None
        self.starting = threading.Lock()

    def capture_envelope(self, envelope: Envelope) -> None:
        if envelope.get_event() is None:  # sessions, reports of the library's own
            return
        with self.starting:
            if self.thread is None:
                self.thread = threading.Thread(target=self.send_all, name="reports", daemon=True)
                self.thread.start()
        try:
            self.waiting.put_nowait(gzip.compress(envelope.serialize()))
        except queue.Full:
            return

    def send_all(self) -> None:
        was_told = False
        while True:
            body = self.waiting.get()
            try:
                status = self.sender.post(self.url, data=body, headers=self.headers).status_code
                problem = "" if status < 400 else str(status)
            except Exception as exc:  # noqa: BLE001 - the thread goes on, whatever it is
                problem = type(exc).__name__
            finally:
                self.waiting.task_done()
            if problem and not was_told:  # once, until it works again
                log.warning("not_reported: %s", problem)
            was_told = bool(problem)

    def flush(self, timeout: float, callback: Any = None) -> None:
        with self.waiting.all_tasks_done:
            self.waiting.all_tasks_done.wait_for(lambda: not self.waiting.unfinished_tasks, timeout)
