"""
What a fresh token costs: gunicorn, two processes, sixteen connections that are kept, 10,000 different credentials.

Beside it, round by round, a bare Django view with one query on pooled PostgreSQL (bench/floor.py). `x` is how many
times its processor time is spent; it may be 1.5.

    python -m bench.reads
"""

import random
import socket
import statistics
import sys
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

from bench.served import Served, Spent, serving, spent_by  # first: it configures Django

# isort: split

from django.db import connection
from django.utils import timezone

from bench import floor
from bench.load import asked
from credentials.models import Credential, Token
from credentials.models.fingerprint import fingerprint
from oauth_apps import api_tokens
from oauth_apps.models import Account, OAuthApp
from tests.real.machine import free_ports

STORED = 10_000
ROUNDS = 5
READS = 2_000  # in each round
BAR = 1.5


class Cost(NamedTuple):
    """Milliseconds of processor time for one request."""

    web: float
    postgres: float
    p50: float  # milliseconds on the clock

    @property
    def both(self) -> float:
        return self.web + self.postgres


def main() -> None:
    with serving(WEB_CONCURRENCY="2") as gateway:
        pks, header = store(STORED)
        bare = BareView(gateway, pks)
        tokens = [f"/v1/credentials/{pk}/access-token\t{header}" for pk in pks]
        costs = []
        for _ in range(1 + ROUNDS):
            floors = bare.one_round(READS)
            costs.append((floors, one_round(gateway.url, random.sample(tokens, READS), gateway.spent)))
        report(costs[1:])  # the first one warms up


class BareView:
    """The floor, under a gunicorn of its own beside the gateway's, on the same PostgreSQL."""

    def __init__(self, gateway: Served, pks: Sequence[uuid.UUID]) -> None:
        port = free_ports()
        self.gateway, self.url = gateway, f"http://127.0.0.1:{port}"
        self.requests = [f"/rows/{pk}" for pk in pks]
        command = [*floor.COMMAND, "--bind", f"127.0.0.1:{port}", "--workers", "2"]
        self.process = gateway.start("floor", command, FLOOR_DATABASE=gateway.database_url)
        gateway.demand(lambda: is_listening(port), "the floor serves")

    def spent(self) -> Spent:
        return self.gateway.spent()._replace(web=spent_by(self.process.pid))

    def one_round(self, views: int) -> Cost:
        return one_round(self.url, random.sample(self.requests, views), self.spent)


def is_listening(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def one_round(url: str, requests: list[str], spent: Callable[[], Spent]) -> Cost:
    before = spent()
    answers = asked(url, requests)
    cost = spent() - before
    if answers["statuses"] != {"200": len(requests)}:
        sys.exit(f"The benchmark did not do what it measures: {answers['statuses']}.")
    each = 1000 / len(requests)
    return Cost(cost.web * each, cost.postgres * each, statistics.median(answers["waits"]))


def report(costs: list[tuple[Cost, Cost]]) -> None:
    bare, read = (
        Cost(*(statistics.median(numbers) for numbers in zip(*side, strict=True))) for side in zip(*costs, strict=True)
    )
    for what, floor_of, cost_of in (
        ("web processes", bare.web, read.web),
        ("PostgreSQL", bare.postgres, read.postgres),
        ("both", bare.both, read.both),
    ):
        says = f"{cost_of:.3f} ms of processor, a bare view {floor_of:.3f} ms"
        print(f"a fresh read, {what:26} {cost_of / floor_of:6.2f} x   {says}; may be {BAR} x", flush=True)
    says = f"p50 {read.p50:.1f} ms, bare {bare.p50:.1f} ms"
    print(f"{'a fresh read, on the clock':40} {read.p50 / bare.p50:6.2f} x   {says}", flush=True)


def store(count: int) -> tuple[list[uuid.UUID], str]:
    """So many credentials: their ids, and the header that opens them."""
    account = Account.objects.create(name="Benchmark")
    oauth_app = OAuthApp.objects.create(
        account=account, provider="linear", name="Linear", client_id="l", client_secret="only for the benchmark"
    )
    now = timezone.now()
    ends = now + timedelta(days=1)
    rows = [
        Credential(
            account=account, oauth_app=oauth_app, provider="linear", kind="linear_oauth2", scopes_granted=["read"],
            identity_hash=fingerprint(str(number)), properties={"linear_org_id": str(number)},
        )
        for number in range(count)
    ]  # fmt: skip
    Credential.objects.bulk_create(rows, batch_size=1_000)
    tokens = [
        Token(
            credential=row, access_token=f"access-token-of-usual-length-{row.pk}", refresh_token=f"refresh-{row.pk}",
            obtained_at=now, granted_at=now, expires_at=ends, expiry_source="expires_in", due_at=ends,
            refresh_fingerprint=fingerprint(f"refresh-{row.pk}"),
        )
        for row in rows
    ]  # fmt: skip
    Token.objects.bulk_create(tokens, batch_size=1_000)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    _, text = api_tokens.issue(account, scopes=["reveal"])
    return [row.pk for row in rows], f"Authorization: Bearer {text}"


if __name__ == "__main__":
    main()
