"""The cookie that binds a trip to the browser that began it: one per trip, so that two tabs both arrive."""

import re
import time

from django.conf import settings
from django.http import HttpRequest, HttpResponse

PREFIX = "link_" if settings.ON_LOOPBACK else "__Host-link_"
NAME = re.compile(re.escape(PREFIX) + r"[0-9a-f]{8}")
MOST = 20  # trips that one browser has open; the oldest gives way


def bind(request: HttpRequest, response: HttpResponse, *, flow: str, nonce: str) -> None:
    open_trips = sorted((value, name) for name, value in request.COOKIES.items() if NAME.fullmatch(name))
    for _, name in open_trips[: max(0, len(open_trips) - MOST + 1)]:
        forget(response, name)
    response.set_cookie(
        f"{PREFIX}{flow}",
        f"{int(time.time())}.{nonce}",  # the time first, so that the oldest sorts first
        max_age=settings.STATE_TTL,
        secure=not settings.ON_LOOPBACK,
        httponly=True,
        samesite="Lax",
        path="/",
    )


def nonce_of(request: HttpRequest, *, flow: str) -> str:
    """What the start put into this browser; empty if this is another one."""
    return request.COOKIES.get(f"{PREFIX}{flow}", "").partition(".")[2]


def release(response: HttpResponse, *, flow: str) -> None:
    forget(response, f"{PREFIX}{flow}")


def forget(response: HttpResponse, name: str) -> None:
    response.delete_cookie(name, path="/", samesite="Lax")
    response.cookies[name]["secure"] = not settings.ON_LOOPBACK
    response.cookies[name]["httponly"] = True
