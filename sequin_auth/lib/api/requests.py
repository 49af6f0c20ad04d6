"""A request's id, its client's address, its line in the log, and what has to be put right before anybody reads it."""

import codecs
import functools
import ipaddress
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote_plus

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.utils.http import parse_header_parameters

from sequin_auth.lib import measures, redaction
from sequin_auth.lib.api.errors import CALLBACK, STREAMED, LengthRequired, URLTooLong, error_json, wants_json
from sequin_auth.lib.logs import is_plain_path, tell

log = structlog.get_logger("sequin_auth.request")
log_of_plain_lines = logging.getLogger("sequin_auth.request")

CHARSETS = {"utf-8", "ascii", "iso8859-1", "cp1252"}  # what HTTP clients name; Java's Latin-1 for plain ASCII forms
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
LONGEST_QUERY = 16_384  # characters; gunicorn lets no longer line through
LONGEST_URL = 8190  # bytes; the whole request line may have twice as many
# No page of ours needs any of them, nor does anything that a page could be made to load
NOTHING_PERMITTED = ", ".join(
    f"{feature}=()"
    for feature in ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "serial", "usb")
)
START_TOKEN = re.compile(r"^(/link/oauth2/start/).+", re.DOTALL)
API_TOKEN = re.compile(r"(sqa_)[0-9A-Za-z]+")
SHOWN_SEGMENTS = 2  # of a path that leads nowhere
LONGEST_SEGMENT = 40  # characters, there; whatever we issue is longer

LONGEST_ADDRESS = 80  # characters, with brackets, scope and port

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RequestLogMiddleware:
    """Names each request (`request.request_id`, `X-Request-Id`) and writes one line about it.

    The line has neither the query nor a header nor a body, and not the token of a start link: all of them hold secrets.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Whatever the charset of the Content-Type: the query and forms are percent-encoded. Not by `encoding`, which
        # would read the query, to forget it; nobody has read anything yet
        request._encoding = "utf-8"  # type: ignore[attr-defined]
        request_id = str(uuid.uuid4())
        request.request_id = request_id  # type: ignore[attr-defined]
        started = time.perf_counter()
        redaction.begin()
        learn_from_request(request.META)
        forget_what_strangers_forward(request)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
            if not getattr(request, "told_elsewhere", False):
                write_line(request, response.status_code, request_id, started)
        measures.request(request.path, response.status_code, time.perf_counter() - started)
        response["X-Request-Id"] = request_id
        response["Permissions-Policy"] = NOTHING_PERMITTED
        response._resource_closers.append(redaction.forget)  # type: ignore[attr-defined]  # also of one that streams
        return response


def write_line(request: HttpRequest, status: int, request_id: str, started: float) -> None:
    match = request.resolver_match
    path = loggable_path(request.path, leads_somewhere=match is not None)
    told = {
        "method": str(request.method),
        "path": path,
        "route": match.route if match else None,
        "status": status,
        "ms": round((time.perf_counter() - started) * 1000, 1),
        "client": client_address(request),
    }
    if match and is_plain_path(path):
        tell(log_of_plain_lines, "request", request_id=request_id, **told)
    else:
        log.info("request", **told)


def leave_out_of_log(request: HttpRequest) -> None:
    """Have no line of its own written: one of many that were refused by a limit, which has its line."""
    request.told_elsewhere = True  # type: ignore[attr-defined]


def learn_from_request(environ: Mapping[str, Any]) -> None:
    """What a stranger shows in his headers and his query; no line may repeat it. Bodies are learnt by who reads them"""
    if authorization := environ.get("HTTP_AUTHORIZATION"):
        redaction.learn(authorization.strip().rpartition(" ")[2])
    if query := environ.get("QUERY_STRING"):
        pairs = (pair.partition("=") for pair in query[:LONGEST_QUERY].split("&"))
        for name, _, value in pairs:
            if redaction.is_named_secret(name):
                redaction.learn(value)
                redaction.learn(unquote_plus(value))


def refuse_at_the_door(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """A middleware; it stands behind those that give each answer its headers."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        return no_method(request) or too_long(request) or no_length(request) or get_response(request)

    return middleware


def no_method(request: HttpRequest) -> HttpResponse | None:
    """405 for what no page knows: TRACE, WebDAV's, made-up ones. What answers in JSON says so itself."""
    is_known = request.META.get("REQUEST_METHOD") in METHODS or wants_json(request.path)
    return None if is_known else HttpResponseNotAllowed(METHODS)


def too_long(request: HttpRequest) -> HttpResponse | None:
    """414 for a URL of more than 8,190 bytes. A callback carries the provider's code, which may be that long alone."""
    length = len(request.META.get("PATH_INFO", "")) + len(request.META.get("QUERY_STRING", ""))
    if length <= LONGEST_URL or request.path.startswith(CALLBACK):
        return None
    if wants_json(request.path):
        return error_json(request, URLTooLong())
    return HttpResponse(URLTooLong.summary, status=414, content_type="text/plain")


def no_length(request: HttpRequest) -> HttpResponse | None:
    """400 for a body in chunks, which Django takes for an empty one; the import's view reads it by itself."""
    is_chunked = "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH")
    is_read = request.method in {"POST", "PUT", "PATCH"} and wants_json(request.path)
    if not is_chunked or not is_read or request.path.rstrip("/") == STREAMED:
        return None
    return error_json(request, LengthRequired())


def loggable_path(path: str, *, leads_somewhere: bool = True) -> str:
    """Without the tokens of ours. A path without a route is a URL that somebody has put together wrongly, and what it
    holds, nobody has used: of that there is the beginning alone.
    """
    path = path if leads_somewhere else beginning_of(path)
    return API_TOKEN.sub(r"\1…", START_TOKEN.sub(r"\1…", path))[:500]


def beginning_of(path: str) -> str:
    segments = [segment for segment in path.split("/") if segment]
    shown = []
    for segment in segments[:SHOWN_SEGMENTS]:
        name = re.split("[?&;=]", segment)[0]
        shown.append(f"{name if len(name) <= LONGEST_SEGMENT else ''}{'' if name == segment else '…'}" or "…")
    if len(segments) > SHOWN_SEGMENTS:
        shown.append("…")
    return "/" + "/".join(shown)


def client_address(request: HttpRequest) -> str:
    """Who is at the other end: the nearest address that is none of TRUSTED_PROXIES.

    `X-Forwarded-For` is read from its end, and only as far as proxies that we trust have written it.
    """
    return address_in(request.META)


def address_in(environ: Mapping[str, Any]) -> str:
    client = _address(environ.get("REMOTE_ADDR", ""))
    hops = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
    while client is not None and hops and is_trusted(client):
        hop = _address(hops.pop())
        if hop is None:
            break
        client = hop
    return str(client) if client is not None else ""


def forget_what_strangers_forward(request: HttpRequest) -> None:
    """Django believes anybody who says that TLS was spoken; we believe TRUSTED_PROXIES, and who comes by a socket."""
    if not is_forwarded_by_friend(request.META):
        request.META.pop("HTTP_X_FORWARDED_PROTO", None)


def is_forwarded_by_friend(environ: Mapping[str, Any]) -> bool:
    peer = _address(environ.get("REMOTE_ADDR", ""))
    return peer is None or is_trusted(peer)


def is_trusted(address: Address) -> bool:
    return any(address in network for network in _networks(tuple(settings.TRUSTED_PROXIES)))


@functools.lru_cache(maxsize=4)
def _networks(texts: Iterable[str]) -> list[Network]:
    return [ipaddress.ip_network(text.strip(), strict=False) for text in texts]


def _address(text: str) -> Address | None:
    text = text.strip()
    return _address_of(text) if len(text) <= LONGEST_ADDRESS else None


@functools.lru_cache(maxsize=1_024)
def _address_of(text: str) -> Address | None:
    """Also with a port, as some proxies write it: `192.0.2.1:4711`, `[2001:db8::1]:4711`.

    Without a scope id (`fe80::1%eth0`): any text may be one, and it names a line of the machine that wrote it.
    Remembered, for each request has its peer's read several times.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version == 4:
        return address
    return address.ipv4_mapped or ipaddress.IPv6Address(int(address))


def with_readable_content_type(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """A WSGI application that a Content-Type cannot break: one that asks for an odd charset is no type that we know.

    Django reads it while it makes the request, before any middleware, and decodes the query with whatever codec of
    Python's it names: "rot13" and "undefined" raise there, as do unknown ones in the form of RFC 2231.
    """

    @functools.wraps(application)
    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not _is_readable(environ.get("CONTENT_TYPE", "")):
            environ["CONTENT_TYPE"] = "application/octet-stream"
        return application(environ, start_response)

    return wrapped


def _is_readable(content_type: str) -> bool:
    try:
        _, parameters = parse_header_parameters(content_type)
        return codecs.lookup(parameters.get("charset", "utf-8")).name in CHARSETS
    except (ValueError, LookupError):
        return False
