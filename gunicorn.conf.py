"""How gunicorn serves us; it reads this file by itself. `manage.py run` and `manage.py serve` start it."""

from gunicorn.http import message

from sequin_auth import settings

wsgi_app = "sequin_auth.wsgi:application"
bind = [f"127.0.0.1:{settings.PORT}"] if settings.ON_LOOPBACK else [f"0.0.0.0:{settings.PORT}"]
if settings.ON_LOOPBACK and "[::1]" in settings.PUBLIC_URL:
    bind.append(f"[::1]:{settings.PORT}")
worker_class = "gthread"
workers = settings.WEB_CONCURRENCY
threads = 16  # twice CALLS_AT_ONCE of lib/http.py: a provider that hangs takes half of them at most
preload_app = True  # read once, then forked; a setting that does not do ends the start, not each worker in turn
graceful_timeout = 15  # seconds; a call to a provider ends within ten
# A provider's code may have 8,192 characters, which gunicorn's own maximum of 8,190 for the whole line does not let
# through; every URL but a callback's is held to that by the middleware.
message.MAX_REQUEST_LINE = limit_request_line = 16_384
forwarded_allow_ips = ""  # what a proxy says of itself is judged by TRUSTED_PROXIES, in one place
control_socket_disable = True
accesslog = None  # the middleware logs requests, without their queries
logconfig_dict = settings.LOGGING


def when_ready(server: object) -> None:
    """The URLs, too, are read before the workers part; one that cannot be read ends the start."""
    from django.urls import get_resolver

    get_resolver().url_patterns  # noqa: B018


def post_worker_init(worker: object) -> None:
    """What a process before this one could not commit is put into its rows."""
    import threading

    from credentials.refresh import spool

    threading.Thread(target=spool.replay_until_empty, daemon=True).start()
