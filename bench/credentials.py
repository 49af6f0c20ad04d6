"""
What keeping credentials alive costs: a crowd on a token that has ended, the sweep of what is due, an import.

The provider is a process of its own, on the loopback, and answers after 200 ms. The crowd comes to two web processes
under gunicorn; the sweep runs here, as in a worker. `x` is how much of its bar each has used.

    python -m bench.credentials [crowd] [sweep] [import]
"""

import io
import json
import logging
import os
import resource
import statistics
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from bench import provider
from tests.real.machine import free_ports

PROVIDER_PORT = free_ports()
SETTINGS: dict[str, Any] = provider.put_into_catalogue(Path(tempfile.mkdtemp(prefix="providers-")), port=PROVIDER_PORT)
os.environ |= SETTINGS

from bench.served import Served, serving  # it configures Django

# isort: split

import requests
from django.db import connection
from django.utils import timezone

from bench.load import asked
from credentials.models import Credential, Token
from credentials.models.fingerprint import fingerprint
from credentials.refresh import sweep
from oauth_apps import api_tokens
from oauth_apps.models import Account, OAuthApp
from sequin_auth.lib import writer
from sequin_auth.lib.http import close_idle_lines

CALLERS, ROUNDS = 50, 10
CROWD_BAR = 0.350  # seconds, the provider's 200 ms included
STORED, DUE, WARM_UP = 20_000, 4_000, 400
SWEEP_BAR = 300  # a second
IMPORTED = 2_000
IMPORT_BEFORE = 9.0  # ms of processor for one row, when each had a transaction of its own
BATCH = 5_000


def main() -> None:
    for handler in logging.getLogger().handlers:  # lines are made, which belongs to the cost, and thrown away
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(io.StringIO())
    parts = sys.argv[1:] or ["crowd", "sweep", "import"]
    with serving(WEB_CONCURRENCY="2", **SETTINGS) as gateway:
        gateway.start("provider", [sys.executable, "-m", "bench.provider", str(PROVIDER_PORT)])
        gateway.demand(is_there, "the provider answers")
        account = Account.objects.create(name="Benchmark")
        oauth_app = OAuthApp.objects.create(
            account=account, provider=provider.SLUG, name="App", client_id="l", client_secret="only for the benchmark"
        )
        _, api_token = api_tokens.issue(account, scopes=["read", "write", "reveal"])
        store(oauth_app, STORED)
        if "crowd" in parts:
            crowd(gateway, api_token)
        if "sweep" in parts:
            due_sweep(gateway)
        if "import" in parts:
            imports(gateway, api_token, oauth_app)


def calls() -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{PROVIDER_PORT}/calls") as answer:
        return int(answer.read())


def is_there() -> bool:
    try:
        return calls() == 0
    except OSError:
        return False


def store(oauth_app: OAuthApp, count: int) -> None:
    """Credentials as an import leaves them, written in bulk; none is due."""
    now = timezone.now()
    ends = now + timedelta(days=1)
    for start in range(0, count, BATCH):
        rows = [
            Credential(
                account=oauth_app.account, oauth_app=oauth_app, provider=provider.SLUG, kind=provider.KIND,
                identity_hash=fingerprint(str(number)), properties={"sub": str(number)},
                scopes_requested=["read"], scopes_granted=["read"], health_time=now - timedelta(hours=1, minutes=1),
            )
            for number in range(start, min(start + BATCH, count))
        ]  # fmt: skip
        Credential.objects.bulk_create(rows)
        Token.objects.bulk_create(
            Token(
                credential=row, access_token=f"access-{row.pk}", refresh_token=f"refresh-{row.pk}", obtained_at=now,
                granted_at=now, expires_at=ends, expiry_source="expires_in", due_at=ends,
                refresh_fingerprint=fingerprint(f"refresh-{row.pk}"),
            )
            for row in rows
        )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def ids(count: int) -> list[uuid.UUID]:
    return list(Token.objects.order_by("pk").values_list("pk", flat=True)[:count])


# ---- a crowd ---------------------------------------------------------------------------------------------------------


def crowd(gateway: Served, api_token: str) -> None:
    """How long each of many callers waits, who come at once for the same token that has ended."""
    pk = ids(1)[0]
    request = f"/v1/credentials/{pk}/access-token\tAuthorization: Bearer {api_token}"
    for _ in range(3):  # both processes warm up
        one_round(gateway, pk, request)
    before = gateway.spent()
    rounds = [one_round(gateway, pk, request) for _ in range(ROUNDS)]
    spent = gateway.spent() - before
    p50, p99 = percentile(list(chain(*rounds)), 50), percentile(list(chain(*rounds)), 99)
    says = f"1 call, p50 {p50:.0f} ms, p99 {p99:.0f} ms; may be {CROWD_BAR * 1000:.0f} ms"
    costs = f"{spent.all / ROUNDS * 1000:.0f} ms of processor in all"
    report(f"{CALLERS} callers on an expired token", f"{says}; {costs}", p99 / 1000 / CROWD_BAR)


def one_round(gateway: Served, pk: uuid.UUID, request: str) -> list[float]:
    Token.objects.filter(pk=pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    before = calls()
    answers = asked(gateway.url, [request] * CALLERS, connections=CALLERS)
    demand(answers["statuses"] == {"200": CALLERS} and calls() == before + 1)
    waits: list[float] = answers["waits"]
    return waits


def percentile(values: list[float], which: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[which - 1]


# ---- the sweep -------------------------------------------------------------------------------------------------------


def due_sweep(gateway: Served) -> None:
    """Once the connections are open and the threads are there, as a worker has them that is at work."""
    become_due(ids(WARM_UP))
    demand(sweep.refresh_due(longest=60) == WARM_UP)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    become_due(ids(STORED)[-DUE:])
    before, processor, started = gateway.spent(), time.process_time(), time.perf_counter()
    tried = sweep.refresh_due(longest=120)
    took, processor = time.perf_counter() - started, time.process_time() - processor
    postgres = (gateway.spent() - before).postgres
    demand(tried == DUE and Token.objects.filter(version=2).count() >= DUE)
    each = 1000 / DUE
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    costs = f"{processor * each:.2f} ms of processor each and {postgres * each:.2f} of PostgreSQL"
    says = f"{DUE / took:.0f} a second, {costs}; must be {SWEEP_BAR}; {grown:.0f} MiB more memory than for {WARM_UP}"
    report(f"the sweep of {DUE:,} due among {STORED:,}", says, SWEEP_BAR * took / DUE)
    close_idle_lines()
    writer.stop()


def become_due(pks: list[uuid.UUID]) -> None:
    Token.objects.filter(pk__in=pks).update(due_at=timezone.now() - timedelta(seconds=1))


# ---- an import -------------------------------------------------------------------------------------------------------


def imports(gateway: Served, api_token: str, oauth_app: OAuthApp) -> None:
    rows = "\n".join(json.dumps(row) for row in exported(oauth_app))
    headers = {"Authorization": f"Bearer {api_token}", "Content-Type": "application/x-ndjson"}
    before, started = gateway.spent(), time.perf_counter()
    answer = requests.post(f"{gateway.url}/v1/credentials/import", rows, headers=headers, timeout=300)
    took, spent = time.perf_counter() - started, gateway.spent() - before
    demand(answer.status_code == 200 and answer.json()["created"] == IMPORTED)
    each = 1000 / IMPORTED
    says = (
        f"{IMPORTED / took:.0f} a second, {spent.web * each:.2f} ms of processor each and {spent.postgres * each:.2f}"
    )
    report(f"an import of {IMPORTED:,}", f"{says} of PostgreSQL", spent.web * each / IMPORT_BEFORE)


def exported(oauth_app: OAuthApp) -> Iterator[dict[str, Any]]:
    for number in range(IMPORTED):
        tokens = {"access_token": f"a-{number}", "refresh_token": f"r-{number}", "expires_at": "2099-01-01T00:00:00Z"}
        properties = {"kind": provider.KIND, "sub": f"import-{number}", **tokens}
        yield {"id": str(uuid.uuid4()), "oauth_app_id": str(oauth_app.pk), "properties": properties}


def report(what: str, says: str, ratio: float) -> None:
    print(f"{what:40} {ratio:6.2f} x   {says}", flush=True)


def demand(holds: bool) -> None:
    if not holds:
        sys.exit("The benchmark did not do what it measures.")


if __name__ == "__main__":
    main()
