"""The WSGI application as gunicorn calls it, both with the fast lane in front and without."""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from credentials.api.fast_lane import Environ, FastLane, StartResponse
from sequin_auth.lib.api.requests import with_readable_content_type
from sequin_auth.wsgi import django_application

Application = Callable[[Environ, StartResponse], Iterable[bytes]]

PRODUCT = with_readable_content_type(django_application)


@dataclass(frozen=True)
class Answer:
    status: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body) if self.body else None

    def compared(self) -> tuple[str, list[tuple[str, str]], Any]:
        """Without what differs from one request to the next."""
        headers = [(name, "…" if name == "X-Request-Id" else value) for name, value in self.headers]
        document = self.document
        if isinstance(document, dict) and "request_id" in document:
            document["request_id"] = "…"
        return self.status, headers, document


def environ_of(path: str, api_token: str, *, method: str = "GET", query: str = "", **more: str) -> Environ:
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": query,
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:8000",
        "HTTP_USER_AGENT": "backend/1.0",
        "HTTP_ACCEPT": "*/*",
        "HTTP_ACCEPT_ENCODING": "gzip, deflate",
        "HTTP_CONNECTION": "keep-alive",
        "HTTP_AUTHORIZATION": f"Bearer {api_token}",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **more,
    }


def called(application: Application, environ: Environ) -> Answer:
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], *rest: Any) -> None:
        started.append((status, headers))

    with keeping_the_connection():
        parts = application(dict(environ), start_response)
        body = b"".join(parts)
        if close := getattr(parts, "close", None):
            close()
    ((status, headers),) = started
    return Answer(status, [(name, str(value)) for name, value in headers], body)


@contextmanager
def keeping_the_connection() -> Iterator[None]:
    """As Django's test client does: the test's rows are in the transaction of this connection."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in signals:
            signal.connect(close_old_connections)


@dataclass
class Lanes:
    """`fast`: with the lane; `django`: the same without. `fell_through`: how many requests the lane has left to it."""

    application: Application = PRODUCT
    fell_through: int = 0
    lane: FastLane = field(init=False)

    def __post_init__(self) -> None:
        self.lane = FastLane(self._counted)

    def warm_up(self, environ: Environ) -> None:
        """Have the lane learn the headers of answers to such requests."""
        assert self.fast(environ).status == "200 OK"
        self.fell_through = 0

    def fast(self, environ: Environ) -> Answer:
        return called(self.lane, environ)

    def django(self, environ: Environ) -> Answer:
        return called(self.application, environ)

    def _counted(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self.fell_through += 1
        return self.application(environ, start_response)
