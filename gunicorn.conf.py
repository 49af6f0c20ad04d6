"""How gunicorn serves us; it reads this file by itself. `manage.py run` and `manage.py serve` start it."""

import gc
from typing import Any

import structlog
from gunicorn.glogging import Logger
from gunicorn.http import message, parser

from sequin_auth import settings
from sequin_auth.lib.slow_clients import WHOLE, WHOLE_STREAM, PatientReader


class ErrorLog(Logger):  # type: ignore[misc]  # it has no types
    """Without the other one, whose every line gunicorn would put together before it found out that nobody reads it."""

    access_log_enabled = False


gc.disable()  # as in manage.py
wsgi_app = "sequin_auth.wsgi:application"
bind = [f"127.0.0.1:{settings.PORT}"] if settings.ON_LOOPBACK else [f"0.0.0.0:{settings.PORT}"]
if settings.BIND:
    bind = [f"[{settings.BIND}]:{settings.PORT}" if ":" in settings.BIND else f"{settings.BIND}:{settings.PORT}"]
elif settings.ON_LOOPBACK and "[::1]" in settings.PUBLIC_URL:
    bind.append(f"[::1]:{settings.PORT}")
worker_class = "gthread"
workers = settings.WEB_CONCURRENCY
threads = 16  # twice CALLS_AT_ONCE of lib/http: a provider that hangs takes half of them at most
preload_app = True  # read once, then forked; a setting that does not do ends the start, not each worker in turn
graceful_timeout = 15  # seconds; a call to a provider ends within ten
# A provider's code may have 8,192 characters, which gunicorn's own maximum of 8,190 for the whole line does not let
# through; every URL but a callback's is held to that by the middleware.
message.MAX_REQUEST_LINE = limit_request_line = 16_384
parser.SocketUnreader = PatientReader  # who sends by drips holds a thread for seconds, not for ever
# No statement of a request takes as long as that; those of commands and of the worker may
settings.DATABASES["default"]["SESSION"] = {
    "statement_timeout": "15s",
    "idle_in_transaction_session_timeout": "60s",
}
forwarded_allow_ips = ""  # what a proxy says of itself is judged by TRUSTED_PROXIES, in one place
control_socket_disable = True
accesslog = None  # the middleware logs requests, without their queries
logger_class = ErrorLog
logconfig_dict = settings.LOGGING


def when_ready(server: object) -> None:
    """The URLs, too, are read before the workers part; one that cannot be read ends the start."""
    from django.urls import get_resolver

    get_resolver().url_patterns  # noqa: B018
    refuse_missing_keys()
    gc.freeze()  # so that no collection writes to pages that the workers share
    gc.enable()


def refuse_missing_keys() -> None:
    """`serve` and `migrate` have looked; whoever starts gunicorn itself learns it now. A database that is away is no
    reason to end: `/readyz` tells of it, and of the keys. Raises RuntimeError, whose words are what gunicorn leaves.
    """
    from django.core.management.base import CommandError
    from django.db import DatabaseError

    from sequin_auth.management.commands import serve

    try:
        serve.refuse_missing_keys()
    except CommandError as exc:
        raise RuntimeError(str(exc)) from None
    except DatabaseError as exc:
        structlog.get_logger("sequin_auth").warning("keys_not_looked_at", reason=type(exc).__name__)
    finally:
        serve.leave_database()  # none of it goes along when the workers part


def pre_request(worker: object, request: Any) -> None:
    """The head is there; its body has its own time."""
    from sequin_auth.lib.api.errors import STREAMED

    is_stream = request.path.rstrip("/") == STREAMED
    request.unreader.begin(whole=WHOLE_STREAM if is_stream else WHOLE)


def post_request(worker: object, request: Any, environ: object, response: object) -> None:
    """So has the head after it."""
    request.unreader.begin()


def post_worker_init(worker: object) -> None:
    """What a process before this one could not commit is put into its rows."""
    import threading

    from credentials.refresh import spool

    threading.Thread(target=spool.replay_until_empty, daemon=True).start()
