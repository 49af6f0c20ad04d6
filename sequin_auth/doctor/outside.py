"""
The gateway as a browser meets it, at PUBLIC_URL: its name, its certificate, and what a proxy in between does. The look
is taken from this machine, so that a name or a firewall may still be different for the rest of the world.
"""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings

from sequin_auth.doctor import Finding, Level, duration, error, ok, warning
from sequin_auth.lib import http

DEADLINE: Final = 8.0  # seconds
SOON: Final = 14 * 86_400.0  # seconds that a certificate should be good for at least
VERY_SOON: Final = 3 * 86_400.0
OURS: Final = "x-request-id"  # in each of our answers
START: Final = "/link/oauth2/start"  # which, with nothing to start, is a page that says so
NOT_THERE: Final = "Start the gateway, and see that the name of PUBLIC_URL leads here, from this machine too."
PASS_ON: Final = "Have the proxy pass everything on to the gateway's port as it came: path, query, and the header Host."
BELIEVED: Final = (
    "Have the proxy set X-Forwarded-Proto to https, and name the address from which it comes in TRUSTED_PROXIES."
)
RENEW: Final = "Renew the certificate, and see why that did not happen by itself."
CHAIN: Final = "Have the proxy send a certificate for this name, from a public authority, with those in between."


def look() -> Iterator[Finding]:
    """What cannot be reached is said once, by the first look that finds it."""
    if not settings.ON_LOOPBACK:
        told = of_certificate()
        yield told
        if told.level == Level.ERROR:
            return
    health = asked("/healthz")
    told = health if isinstance(health, Finding) else of_health(health)
    yield told
    if told.level == Level.ERROR:
        return
    page = asked(START)
    yield page if isinstance(page, Finding) else of_page(page)


def asked(path: str) -> http.Response | Finding:
    """The guard lets nobody call our own origin but who says so."""
    try:
        return http.request("GET", f"{settings.PUBLIC_URL}{path}", within=f"{settings.PUBLIC_URL}/", deadline=DEADLINE)
    except http.EgressError as exc:
        return error(f"PUBLIC_URL does not answer: {exc}", NOT_THERE)


def of_health(answer: http.Response) -> Finding:
    if answer.status in {502, 503, 504}:
        return error(f"A proxy answers at PUBLIC_URL, and does not reach the gateway ({answer.status}).", NOT_THERE)
    if 300 <= answer.status < 400:
        return error(f"{redirected(answer)} instead of an answer to /healthz.", PASS_ON)
    if answer.status == 400 and OURS in answer.headers:
        return error(
            "The gateway does not know the name by which it is asked at PUBLIC_URL.",
            "Have the proxy pass on the header Host, or add the name that it sends to ALLOWED_HOSTS.",
        )
    if answer.status != 200 or OURS not in answer.headers or not is_alive(answer.content):
        return error(f"Somebody else answers at PUBLIC_URL ({answer.status}).", PASS_ON)
    return ok("PUBLIC_URL leads to the gateway.")


def of_page(answer: http.Response) -> Finding:
    """A page is never served over plain http; whoever asks so is sent to https, if nobody says that he did ask so."""
    if 300 <= answer.status < 400 and host_of(answer.headers.get("location", "")) in {"", host_of(settings.PUBLIC_URL)}:
        return error(
            "The gateway sends browsers from https to https, without end: it does not believe the proxy.", BELIEVED
        )
    if 300 <= answer.status < 400:
        return error(f"{redirected(answer)} instead of a page under /link.", PASS_ON)
    if OURS not in answer.headers:
        return error(f"What is under /link is not answered by the gateway ({answer.status}).", PASS_ON)
    if answer.status == 429:
        return warning("A limit refuses this address, so nothing could be seen.", "Ask again in ten seconds.")
    if answer.status >= 500:
        return error(f"The pages under /link fail ({answer.status}).", "The log has the reason, at the same time.")
    return ok("Callbacks reach the gateway, and it believes how they came.")


def redirected(answer: http.Response) -> str:
    return f"PUBLIC_URL redirects ({answer.status}) to {host_of(answer.headers.get('location', '')) or 'itself'}"


def host_of(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower().rpartition("@")[2][:200]
    except ValueError:
        return "an address that is none"


def is_alive(content: bytes) -> bool:
    try:
        return bool(json.loads(content) == {"status": "ok"})
    except ValueError:
        return False


# ---- the certificate -------------------------------------------------------------------------------------------------


def of_certificate() -> Finding:
    try:
        left = seconds_left()
    except ssl.SSLCertVerificationError as exc:
        is_over = exc.verify_code == EXPIRED
        said = "has expired" if is_over else "is not trusted, or not for this name"
        return error(f"The certificate at PUBLIC_URL {said}.", RENEW if is_over else CHAIN)
    except (OSError, ValueError) as exc:
        return error(f"PUBLIC_URL is not reached over TLS ({type(exc).__name__}).", NOT_THERE)
    said = f"The certificate at PUBLIC_URL is good for {duration(left)}"
    if left > SOON:
        return ok(f"{said}.")
    return (error if left < VERY_SOON else warning)(f"{said} only.", RENEW)


EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED


def seconds_left() -> float:
    """Of the certificate that our own origin shows. Raises OSError, ValueError."""
    where = urlsplit(settings.PUBLIC_URL)
    context = ssl.create_default_context(cafile=http.authorities())
    address = (where.hostname or "", where.port or 443)
    with (
        # nosemgrep: outbound-outside-http - our own origin, whose certificate is looked at
        socket.create_connection(address, timeout=DEADLINE) as plain,
        context.wrap_socket(plain, server_hostname=where.hostname) as connection,
    ):
        certificate = connection.getpeercert() or {}
    return ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()
