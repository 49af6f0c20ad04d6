"""A request's id, its client's address, its line in the log, and what has to be put right before anybody reads it."""

import codecs
import functools
import ipaddress
import re
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import parse_header_parameters

from sequin_auth.lib.api.errors import CALLBACK, URLTooLong, error_json, wants_json

log = structlog.get_logger("sequin_auth.request")

CHARSETS = {"utf-8", "ascii", "iso8859-1", "cp1252"}  # what HTTP clients name; Java's Latin-1 for plain ASCII forms
LONGEST_URL = 8190  # bytes; the whole request line may have twice as many
START_TOKEN = re.compile(r"^(/link/oauth2/start/).+", re.DOTALL)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RequestLogMiddleware:
    """Names each request (`request.request_id`, `X-Request-Id`) and writes one line about it.

    The line has neither the query nor a header nor a body, and not the token of a start link: all of them hold secrets.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.encoding = "utf-8"  # whatever the charset of the Content-Type: the query and forms are percent-encoded
        request_id = str(uuid.uuid4())
        request.request_id = request_id  # type: ignore[attr-defined]
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = too_long(request) or self.get_response(request)
            log.info(
                "request",
                method=request.method,
                path=loggable_path(request.path),
                route=request.resolver_match.route if request.resolver_match else None,
                status=response.status_code,
                ms=round((time.perf_counter() - started) * 1000, 1),
                client=client_address(request),
            )
        response["X-Request-Id"] = request_id
        return response


def too_long(request: HttpRequest) -> HttpResponse | None:
    """414 for a URL of more than 8,190 bytes. A callback carries the provider's code, which may be that long alone."""
    length = len(request.META.get("PATH_INFO", "")) + len(request.META.get("QUERY_STRING", ""))
    if length <= LONGEST_URL or request.path.startswith(CALLBACK):
        return None
    if wants_json(request.path):
        return error_json(request, URLTooLong())
    return HttpResponse(URLTooLong.summary, status=414, content_type="text/plain")


def loggable_path(path: str) -> str:
    return START_TOKEN.sub(r"\1…", path)[:500]


def client_address(request: HttpRequest) -> str:
    """Who is at the other end: the nearest address that is none of TRUSTED_PROXIES.

    `X-Forwarded-For` is read from its end, and only as far as proxies that we trust have written it.
    """
    trusted = _networks(tuple(settings.TRUSTED_PROXIES))
    client = _address(request.META.get("REMOTE_ADDR", ""))
    hops = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    while client is not None and hops and any(client in network for network in trusted):
        hop = _address(hops.pop())
        if hop is None:
            break
        client = hop
    return str(client) if client is not None else ""


@functools.lru_cache(maxsize=4)
def _networks(texts: Iterable[str]) -> list[Network]:
    return [ipaddress.ip_network(text.strip(), strict=False) for text in texts]


def _address(text: str) -> Address | None:
    """Also with a port, as some proxies write it: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


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
