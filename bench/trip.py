"""
What a whole connect flow costs: the processor time of start, callback and token in all processes of the gateway.

The gateway runs as it is deployed, under gunicorn and with PostgreSQL; this process is the browsers, the developer's
backend and the provider, and what it spends is not counted. Measured on an empty table and behind 1,000,000 earlier
trips; round by round beside it, as a measure of the machine's speed at that time, a bare Django view (bench/floor.py).

    python -m bench.trip [EARLIER TRIPS]
"""

import asyncio
import json
import secrets
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from bench.served import DIRECTORY, Served, Spent, serving  # first: it configures Django

# isort: split

from django.db import connection

from bench.earlier_trips import put_earlier_trips
from bench.reads import BareView, store
from oauth_apps.models import Account, OAuthApp, RedirectURI
from tests.real.machine import free_ports

ROUNDS = 5
TRIPS = 200  # in each round
VIEWS = 600
WARMING_UP = 400  # until every connection has prepared its statements, and the worker has long started
AT_ONCE = 8
EARLIER = 1_000_000
BAR = 12.0  # ms
SLUG = "loopback"
REDIRECT_URI = "https://app.example.com/callback"
SECRET = secrets.token_urlsafe(24)
CATALOGUE = """
slug = "{slug}"
name = "Loopback"
docs = "https://example.com/"
checked = 2026-11-22

authorization_endpoint = "http://127.0.0.1:{port}/authorize"
token_endpoint = "http://127.0.0.1:{port}/token"
token_endpoint_auth_methods_supported = ["client_secret_post"]
code_challenge_methods_supported = ["S256"]
default_scopes = ["read", "write"]

[credential]
sub = {{ token_response = "sub", identity = true }}
"""


# ---- the world around the gateway ------------------------------------------------------------------------------------


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Caller:
    """A connection that is kept alive: a browser's, or that of a backend."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str

    @classmethod
    async def to(cls, url: str) -> "Caller":
        host, port = urlsplit(url).hostname, urlsplit(url).port
        reader, writer = await asyncio.open_connection(host, port)
        return cls(reader, writer, f"{host}:{port}")

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        head = (
            {"Host": self.host, "Content-Length": str(len(body)), **headers} if body else {"Host": self.host, **headers}
        )
        lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in head.items())]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        status, headers = await head_of(self.reader)
        return Answer(int(status.split()[1]), headers, await self.reader.readexactly(length(headers)))


async def head_of(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def length(headers: Mapping[str, str]) -> int:
    return int(headers.get("content-length", "0"))


async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers token requests at once, and keeps connections open as long as whoever calls does."""
    try:
        while True:
            _, headers = await head_of(reader)
            await reader.readexactly(length(headers))
            tokens = {"access_token": secrets.token_urlsafe(32), "refresh_token": secrets.token_urlsafe(32)}
            told = tokens | {"token_type": "Bearer", "expires_in": 3600, "scope": "read write", "sub": "user-1"}
            body = json.dumps(told).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            if headers.get("connection", "").lower() == "close":
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


@dataclass
class Trip:
    """Of an end user with a browser of his own; each step goes on from the one before."""

    oauth_app_id: str
    state: str = ""
    cookie: str = ""
    code: str = ""

    async def start(self, browser: Caller) -> None:
        sent = {"client_id": self.oauth_app_id, "redirect_uri": REDIRECT_URI, "state": "a-state-of-the-developer"}
        answer = demanded(302, await browser.ask("GET", f"/link/oauth2/start?{urlencode(sent)}"))
        self.state = parameter(answer, "state")
        self.cookie = answer.headers["set-cookie"].partition(";")[0]

    async def callback(self, browser: Caller) -> None:
        sent = {"code": secrets.token_urlsafe(32), "state": self.state}
        path = f"/link/oauth2/callback/{SLUG}?{urlencode(sent)}"
        self.code = parameter(demanded(302, await browser.ask("GET", path, Cookie=self.cookie)), "code")

    async def token(self, backend: Caller) -> None:
        sent = {"client_id": self.oauth_app_id, "client_secret": SECRET, "code": self.code}
        body = urlencode(sent | {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI}).encode()
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        demanded(200, await backend.ask("POST", "/link/oauth2/token", body, **form))


def demanded(status: int, answer: Answer) -> Answer:
    if answer.status != status:
        sys.exit(f"The trip did not arrive: {answer.status}")
    return answer


def parameter(answer: Answer, name: str) -> str:
    return parse_qs(urlsplit(answer.headers["location"]).query)[name][0]


# ---- measuring -------------------------------------------------------------------------------------------------------


async def travel(gateway: Served, oauth_app_id: str, *, trips: int) -> dict[str, Spent]:
    """Seconds for each step of one trip."""
    travellers = [Trip(oauth_app_id) for _ in range(trips)]
    callers = [await Caller.to(gateway.url) for _ in range(AT_ONCE)]
    spent = {}
    steps: Sequence[Callable[[Trip, Caller], Awaitable[None]]] = [Trip.start, Trip.callback, Trip.token]
    for step in steps:
        waiting = iter(travellers)

        async def work(caller: Caller, step: Callable[[Trip, Caller], Awaitable[None]] = step) -> None:
            for trip in waiting:  # noqa: B023 - all of them take from the same
                await step(trip, caller)

        before = gateway.spent()
        await asyncio.gather(*(work(caller) for caller in callers))
        spent[step.__name__] = Spent(*(seconds / trips for seconds in gateway.spent() - before))
    for caller in callers:
        caller.writer.close()
    return spent


async def travelled(gateway: Served, oauth_app_id: str, *, port: int, trips: int) -> dict[str, Spent]:
    async with await asyncio.start_server(provider, "127.0.0.1", port):
        return await travel(gateway, oauth_app_id, trips=trips)


def measured(gateway: Served, bare: BareView, oauth_app_id: str, *, port: int) -> float:
    """Prints what a trip costs, and returns it in bare views: what both are worth on this machine just now."""
    asyncio.run(travelled(gateway, oauth_app_id, port=port, trips=WARMING_UP))
    bare.one_round(VIEWS)
    trips, views = [], []
    for _ in range(ROUNDS):
        trips.append(asyncio.run(travelled(gateway, oauth_app_id, port=port, trips=TRIPS)))
        views.append(bare.one_round(VIEWS).both)
    for step in trips[0]:
        line(step, Spent(*(statistics.median(spent) for spent in zip(*(one[step] for one in trips), strict=True))))
    each = [sum(spent.all * 1e3 for spent in one.values()) for one in trips]
    typical, view = statistics.median(each), statistics.median(views)
    print(f"{'a trip':24} {typical:35.2f} ms in the middle of {ROUNDS} rounds of {min(each):.1f} to {max(each):.1f} ms")
    print(f"{'':24} {typical / BAR:35.2f} of the bar of {BAR:.0f} ms; {typical / view:.1f} bare views of {view:.2f} ms")
    return statistics.median(trip / beside for trip, beside in zip(each, views, strict=True))


def line(what: str, spent: Spent) -> None:
    figures = f"{spent.web * 1e3:8.2f} {spent.postgres * 1e3:9.2f} {spent.workers * 1e3:8.2f} {spent.all * 1e3:8.2f}"
    print(f"{what:24} {figures} ms")


def loopback_app() -> OAuthApp:
    account = Account.objects.create(name="Benchmark")
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    return OAuthApp.objects.create(
        account=account, provider=SLUG, name="Loopback", client_id="ca_1", client_secret=SECRET
    )


def main(earlier: int) -> None:
    port, catalogue = free_ports(), Path(DIRECTORY / "providers")
    catalogue.mkdir()
    (catalogue / f"{SLUG}.toml").write_text(CATALOGUE.format(slug=SLUG, port=port))
    with serving(workers=1, PROVIDERS_DIR=str(catalogue), EGRESS_ALLOW=f"127.0.0.1:{port}") as gateway:
        oauth_app, (pks, _) = loopback_app(), store(VIEWS)
        bare = BareView(gateway, pks)
        print(f"{f'behind {WARMING_UP} trips':24} {'web':>8} {'postgres':>9} {'workers':>8} {'all':>8}")
        few = measured(gateway, bare, str(oauth_app.pk), port=port)
        if not earlier:
            return
        put_earlier_trips(connection, oauth_app, earlier)
        print(f"behind {earlier:,}")
        many = measured(gateway, bare, str(oauth_app.pk), port=port)
        print(f"{'':24} {many / few:.2f} x as much as behind few")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else EARLIER)
