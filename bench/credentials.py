"""
What stored credentials cost: a fresh read, a crowd on an expired token, the sweep of what is due, an import.

Each is put beside a bare view of this project that asks the database as often: `x` is how many times as much it takes.
The provider answers after 200 ms. Ratios are comparable between machines, the rest is not.

    make bench
"""

import json
import statistics
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import responses
from django.db import connection
from django.test import Client
from django.utils import timezone

from bench.ground import Stopwatch, counting, database, prepare
from credentials.models import Credential, Token
from credentials.models.fingerprint import fingerprint
from credentials.refresh import refreshed, sweep
from oauth_apps import api_tokens
from oauth_apps.models import Account, OAuthApp

READS, WARM_UP = 1_000, 100
CALLERS, ROUNDS = 50, 5
STORED, DUE = 100_000, 2_000
IMPORTED = 10_000
PROVIDER_TAKES = 0.2  # seconds
TOKEN_ENDPOINT = "https://api.linear.app/oauth/token"
BATCH = 5_000


def main() -> None:
    prepare()
    with database(), responses.RequestsMock(assert_all_requests_are_fired=False) as provider:
        provider.add_callback("POST", TOKEN_ENDPOINT, callback=answered, content_type="application/json")
        account = Account.objects.create(name="Benchmark")
        oauth_app = OAuthApp.objects.create(
            account=account, provider="linear", name="Linear", client_id="l", client_secret="only for the benchmark"
        )
        _, text = api_tokens.issue(account, scopes=["read", "write", "reveal"])
        backend = Client(headers={"Authorization": f"Bearer {text}"})
        store(oauth_app, STORED)
        fresh_reads(backend)
        crowd(text)
        due_sweep()
        imports(backend, oauth_app)


def answered(request: Any) -> tuple[int, dict[str, str], str]:
    time.sleep(PROVIDER_TAKES)
    tokens = {"access_token": uuid.uuid4().hex, "refresh_token": uuid.uuid4().hex, "expires_in": 3600}
    return 200, {}, json.dumps(tokens)


def store(oauth_app: OAuthApp, count: int) -> None:
    """Credentials as an import leaves them, written in bulk; none is due."""
    now = timezone.now()
    ends = now + timedelta(days=1)
    for start in range(0, count, BATCH):
        rows = [
            Credential(
                account=oauth_app.account, oauth_app=oauth_app, provider="linear", kind="linear_oauth2",
                identity_hash=fingerprint(str(number)), properties={"linear_org_id": str(number)},
            )
            for number in range(start, min(start + BATCH, count))
        ]  # fmt: skip
        Credential.objects.bulk_create(rows)
        Token.objects.bulk_create(
            Token(
                credential=row, access_token="access", refresh_token=f"refresh-{row.pk}", obtained_at=now,
                granted_at=now, expires_at=ends, expiry_source="expires_in", due_at=ends,
                refresh_fingerprint=fingerprint(f"refresh-{row.pk}"),
            )
            for row in rows
        )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def path_of(pk: uuid.UUID) -> str:
    return f"/v1/credentials/{pk}/access-token"


def ids(count: int) -> list[uuid.UUID]:
    return list(Credential.objects.order_by("identity_hash").values_list("pk", flat=True)[:count])


def fresh_reads(backend: Client) -> None:
    paths = [path_of(pk) for pk in ids(READS + WARM_UP)]
    with counting() as statements:
        demand(backend.get(paths[0]).status_code == 200)
    measure = Stopwatch()
    for path in paths:
        with measure.measure("bare"):
            backend.get(f"/bare/{statements[0]}")
        with measure.measure("read"):
            backend.get(path)
    bare, read = measure.median("bare", warm_up=WARM_UP), measure.median("read", warm_up=WARM_UP)
    report(
        f"a fresh read among {STORED:,}", f"{statements[0]} statement, {read * 1000:.2f} ms of processor", read / bare
    )


def crowd(text: str) -> None:
    """How long each of many callers waits, who come at once for the same token that has ended."""
    pk = ids(1)[0]
    token = Token.objects.filter(pk=pk)
    waits: list[float] = []
    version = token.get().version
    for _ in range(ROUNDS):
        token.update(expires_at=timezone.now() - timedelta(seconds=1))
        waits += at_once(text, path_of(pk))
    demand(token.get().version == version + ROUNDS)
    bare = [wait for _ in range(ROUNDS) for wait in at_once(text, f"/bare/{statements_of_a_refresh(pk)}")]
    says = f"1 call, p50 {percentile(waits, 50) * 1000:.0f} ms, p99 {percentile(waits, 99) * 1000:.0f} ms"
    ratio = (percentile(waits, 99) - PROVIDER_TAKES) / percentile(bare, 99)
    report(f"{CALLERS} callers on an expired token", f"{says}; without the provider's part", ratio)


def at_once(text: str, path: str) -> list[float]:
    barrier = Barrier(CALLERS)

    def call() -> float:
        caller = Client(headers={"Authorization": f"Bearer {text}"})
        barrier.wait()
        started = time.perf_counter()
        demand(caller.get(path).status_code == 200)
        waited = time.perf_counter() - started
        connection.close()
        return waited

    with ThreadPoolExecutor(CALLERS) as callers:
        return [future.result() for future in [callers.submit(call) for _ in range(CALLERS)]]


def percentile(values: list[float], which: int) -> float:
    return statistics.quantiles(values, n=100)[which - 1]


def due_sweep() -> None:
    Token.objects.filter(pk__in=ids(DUE)).update(due_at=timezone.now() - timedelta(seconds=1))
    measure = Stopwatch()
    with measure.measure("sweep"):
        tried = sweep.refresh_due(longest=120)
    demand(tried == DUE)
    bare = bare_cost(statements=statements_of_a_refresh(ids(1)[0]))
    took, processor = measure.clock["sweep"][0], measure.processor["sweep"][0]
    says = f"{DUE / took:.0f} a second, {processor / DUE * 1000:.2f} ms of processor each"
    report(f"the sweep of {DUE:,} due among {STORED:,}", says, processor / DUE / bare)


def statements_of_a_refresh(pk: uuid.UUID) -> int:
    """As many as one caller needs who does the whole of it himself."""
    credential = Credential.objects.whole().get(pk=pk)
    with counting() as statements:
        refreshed(credential, force=True)
    return statements[0]


def imports(backend: Client, oauth_app: OAuthApp) -> None:
    rows = "\n".join(json.dumps(row) for row in exported(oauth_app))
    measure = Stopwatch()
    with measure.measure("import"):
        answer = backend.post("/v1/credentials/import", rows, content_type="application/x-ndjson")
    demand(answer.status_code == 200 and answer.json()["created"] == IMPORTED)
    one = {"oauth_app_id": str(oauth_app.pk), "properties": next(exported(oauth_app))["properties"]}
    one["properties"]["linear_org_id"] = "one more"
    with counting() as statements:
        backend.post("/v1/credentials", json.dumps(one), content_type="application/json")
    took, processor = measure.clock["import"][0], measure.processor["import"][0]
    bare = bare_cost(statements=statements[0])
    says = f"{IMPORTED / took:.0f} a second, {processor / IMPORTED * 1000:.2f} ms of processor each"
    report(f"an import of {IMPORTED:,}", says, processor / IMPORTED / bare)


def exported(oauth_app: OAuthApp) -> Iterator[dict[str, Any]]:
    for number in range(IMPORTED):
        tokens = {"access_token": f"a-{number}", "refresh_token": f"r-{number}", "expires_at": "2099-01-01T00:00:00Z"}
        properties = {"kind": "linear_oauth2", "linear_org_id": f"import-{number}", **tokens}
        yield {"id": str(uuid.uuid4()), "oauth_app_id": str(oauth_app.pk), "properties": properties}


def bare_cost(*, statements: int) -> float:
    measure, backend = Stopwatch(), Client()
    for _ in range(300):
        with measure.measure("bare"):
            backend.get(f"/bare/{statements}")
    return measure.median("bare", warm_up=50)


def report(what: str, says: str, ratio: float) -> None:
    print(f"{what:40} {ratio:6.1f} x   {says}", flush=True)


def demand(holds: bool) -> None:
    if not holds:
        sys.exit("The benchmark did not do what it measures.")


if __name__ == "__main__":
    main()
