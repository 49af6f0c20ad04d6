"""
What a million credentials change: reads, lists, purges and rotations beside those of a thousand.

Everything is asked of two web processes. To make them, and a million trips that are over, takes some minutes.

    make bench
"""

import http.client
import random
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from bench.served import Served, serving  # first: it configures Django

# isort: split

from django.conf import settings
from django.db import connection
from django.utils import timezone

from bench.load import asked
from bench.million import RARE, fill
from credentials.models import Authorization, Credential, Token
from credentials.purge import purge
from credentials.refresh.sweep import LOOK_AHEAD
from oauth_apps import api_tokens
from oauth_apps.models import Account
from sequin_auth.lib.api.pagination import make_cursor
from sequin_auth.lib.encryption import KeyIdOf
from tests.real.gateway import new_keys

FEW, MANY = 1_000, 1_000_000
READS, ROUNDS, DIFFERENT = 2_000, 5, 10_000
SLOWER, LONGEST_PAGE = 1.2, 50.0  # times, and milliseconds
PAGES = 9  # of each list at each depth
TRIPS = 1_000_000
ROTATED_FOR = 60.0  # seconds
missed: list[str] = []  # bars


@dataclass
class Tenant:
    account: Account
    header: str  # that shows its API token
    pks: list[uuid.UUID]  # of some of its credentials

    @classmethod
    def of(cls, name: str, count: int) -> "Tenant":
        account = Account.objects.create(name=name)
        fill(account, count)
        _, text = api_tokens.issue(account, scopes=["read", "reveal"])
        rows = Credential.objects.of(account).order_by("identity_hash")
        return cls(account, f"Authorization: Bearer {text}", list(rows.values_list("pk", flat=True)[:DIFFERENT]))

    def path(self) -> str:
        return f"/v1/credentials/{random.choice(self.pks)}/access-token"  # noqa: S311


def main() -> None:
    kept, other = settings.ENCRYPTION_KEYS, f"next:{new_keys()['ENCRYPTION_KEYS'].partition(':')[2]}"
    with serving(WEB_CONCURRENCY="2", ENCRYPTION_KEYS=f"{kept},{other}") as gateway:
        few, many = Tenant.of("Arrakis", FEW), Tenant.of("Harkonnen", MANY)
        fresh_reads(gateway, few, many)
        lists(gateway, many)
        due()
        with reading(gateway, many) as quiet:
            time.sleep(5)
        compare("nothing else", quiet, quiet)
        purges(gateway, many, quiet)
        rotates(gateway, many, quiet, keys=f"{other},{kept}")
    if missed:
        sys.exit(f"Beyond the bar: {', '.join(missed)}.")


def fresh_reads(gateway: Served, few: Tenant, many: Tenant) -> None:
    """In turns, so that both meet the same machine."""
    waits: dict[str, list[float]] = {"few": [], "many": []}
    for number in range(1 + ROUNDS):
        for name, tenant in (("few", few), ("many", many)):
            requests = [f"{tenant.path()}\t{tenant.header}" for _ in range(READS)]
            answers = asked(gateway.url, requests, connections=2)
            demand(answers["statuses"] == {"200": READS})
            if number:  # the first round warms up
                waits[name].append(statistics.median(answers["waits"]))
    p50, of_few = statistics.median(waits["many"]), statistics.median(waits["few"])
    report("a fresh read", p50 / of_few, f"p50 {p50:.2f} ms, among {FEW:,} {of_few:.2f} ms; may be {SLOWER} x")
    hold("a fresh read", p50 / of_few <= SLOWER)


def lists(gateway: Served, tenant: Tenant) -> None:
    app_id = Credential.objects.of(tenant.account).filter(provider="stripe").values_list("oauth_app", flat=True)[0]
    filters: dict[str, dict[str, str]] = {
        "all": {},
        "a provider": {"provider": "stripe"},
        "a provider that few have": {"provider": RARE},
        "a kind": {"kind": "stripe_oauth2"},
        "an OAuth app": {"oauth_app_id": str(app_id)},
        "what is unwell": {"health.status": "error"},
        "what is well": {"health.status": "ok"},
        "metadata that one has": {"metadata": '{"user_id": 777777}'},
        "metadata that every 20th has": {"metadata": '{"plan": "large"}'},
        "metadata that most have": {"metadata": '{"plan": "small"}'},
        "a provider, unwell, metadata": {"provider": "asana", "health.status": "error", "metadata": '{"plan":"large"}'},
    }
    rows = Credential.objects.of(tenant.account).order_by("-created_at", "-id").values_list("created_at", "pk")
    cursors = [make_cursor(*rows[place]) for place in (0, MANY // 2, MANY - 2_000)]
    for name, query in filters.items():
        p50s = []
        for cursor in cursors:
            path = f"/v1/credentials?{urlencode(query | {'cursor': cursor})}\t{tenant.header}"
            answers = asked(gateway.url, [path] * PAGES, connections=1)
            demand(answers["statuses"] == {"200": PAGES})
            p50s.append(statistics.median(answers["waits"]))
        told = " / ".join(f"{p50:.0f}" for p50 in p50s)
        report(f"a page of 100: {name}", None, f"{told} ms at the top, in the middle, near the end; {LONGEST_PAGE:.0f}")
        hold(f"a list of {name}", max(p50s) <= LONGEST_PAGE)


def due() -> None:
    """One look of the sweep at what is to be done next, when all of it is due at once."""
    Token.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE credentials_token")
    started = time.perf_counter()
    found = Token.objects.due(limit=LOOK_AHEAD)
    took = time.perf_counter() - started
    demand(len(found) == LOOK_AHEAD)
    report("a look at what is due", None, f"{took * 1000:.0f} ms for the next {LOOK_AHEAD:,} of {MANY + FEW:,}")
    Token.objects.update(due_at=timezone.now() + timedelta(hours=20))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE credentials_token")


def purges(gateway: Served, tenant: Tenant, quiet: list[float]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(OVER, [tenant.account.oauth_apps.all()[0].pk, TRIPS])
        cursor.execute("VACUUM ANALYZE credentials_authorization")
    started = time.perf_counter()
    with reading(gateway, tenant) as waits:
        demand(purge()["authorizations"] == TRIPS)
    report(f"purging {TRIPS:,} trips", None, f"{TRIPS / (time.perf_counter() - started):,.0f} a second")
    demand(not Authorization.objects.exists())
    compare("reads meanwhile", waits, quiet)


def rotates(gateway: Served, tenant: Tenant, quiet: list[float], *, keys: str) -> None:
    """A minute of it, then cut off, as may happen. The whole key ring is in all processes; only that which seals is
    another in the command's.
    """
    command = [sys.executable, "manage.py", "rotate_keys"]
    with reading(gateway, tenant) as waits:
        rotation = gateway.start("rotation", command, ENCRYPTION_KEYS=keys)
        time.sleep(ROTATED_FOR)
        demand(rotation.poll() is None)
        rotation.kill()
    by = keys.partition(":")[0].encode()
    sealed = Token.objects.annotate(sealed_by=KeyIdOf("access_token")).filter(sealed_by=by).count()
    report("sealing secrets anew", None, f"{sealed / ROTATED_FOR:,.0f} a second, of {2 * (MANY + FEW):,}")
    compare("reads meanwhile", waits, quiet)


@contextmanager
def reading(gateway: Served, tenant: Tenant) -> Iterator[list[float]]:
    """Fresh reads, one after the other, until the block ends: how long each took, in milliseconds."""
    waits: list[float] = []
    is_over = threading.Event()
    name, header = tenant.header.split(": ")

    def read() -> None:
        caller = http.client.HTTPConnection(gateway.url.partition("://")[2])
        while not is_over.wait(0.005):
            started = time.perf_counter()
            caller.request("GET", tenant.path(), headers={name: header})
            answer = caller.getresponse()
            answer.read()
            demand(answer.status == 200)
            waits.append((time.perf_counter() - started) * 1000)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield waits
    finally:
        is_over.set()
        reader.join()


def compare(what: str, waits: list[float], quiet: list[float]) -> None:
    p50, p99 = percentile(waits, 50), percentile(waits, 99)
    says = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, the longest {max(waits):.0f} ms of {len(waits):,}"
    report(what, p50 / percentile(quiet, 50), says)


def percentile(values: list[float], which: int) -> float:
    return statistics.quantiles(values, n=100)[which - 1]


def report(what: str, ratio: float | None, says: str) -> None:
    times = f"{ratio:6.2f} x" if ratio is not None else " " * 8
    print(f"{what:46} {times}   {says}", flush=True)


def hold(what: str, is_held: bool) -> None:
    if not is_held:
        missed.append(what)


def demand(holds: bool) -> None:
    if not holds:
        sys.exit("The benchmark did not do what it measures.")


# Trips that ended two days ago, one in ten of them by a refusal
OVER = """
    INSERT INTO credentials_authorization (
        id, oauth_app_id, provider, step, state_hash, browser_hash, callback_url, redirect_uri, ends_at, code_challenge,
        scopes, snapshot, debug, any_identity, error, error_description, created_at, state_taken_at, expires_at)
    SELECT gen_random_uuid(), %s, 'stripe', CASE WHEN number %% 10 = 0 THEN 'failed' ELSE 'exchanged' END,
        sha256(number::text::bytea), sha256('b'::bytea), 'https://auth.example.com/link/oauth2/callback/stripe',
        'https://app.example.com/callback', 'redirect_uri', '', '["read"]', '{}', false, false,
        CASE WHEN number %% 10 = 0 THEN 'access_denied' ELSE '' END, '', now() - interval '2 days',
        now() - interval '2 days', now() - interval '2 days'
    FROM generate_series(1, %s) AS number
"""

if __name__ == "__main__":
    main()
