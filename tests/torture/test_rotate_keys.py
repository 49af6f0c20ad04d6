"""A key is replaced while the product is at work, and the process that does it is killed half-way."""

import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Event

from tests.real.machine import until
from tests.torture.product import NEW, OLD, Product, Stored

CREDENTIALS = 10_000


@dataclass
class Work:
    """Two threads that read access tokens, and one that refreshes others, over HTTP, until the context ends."""

    read: list[Stored]
    refreshed: list[Stored]
    reads: int = 0
    last: dict[str, str] = field(default_factory=dict)  # the last access token that was handed out, by credential
    is_over: Event = field(default_factory=Event)

    def go_on_reading(self, _: int) -> None:
        while not self.is_over.is_set():
            credential = random.choice(self.read)  # noqa: S311 - any will do
            answer = credential.get()
            assert (answer.status_code, answer.json().get("access_token")) == (200, token_of(credential.id))
            self.reads += 1

    def go_on_refreshing(self) -> None:
        while not self.is_over.is_set():
            for credential in self.refreshed:
                answer = credential.get("?force_refresh=true")
                assert answer.status_code == 200, answer.text
                self.last[credential.id] = answer.json()["access_token"]

    @contextmanager
    def going_on(self) -> Iterator[None]:
        with ThreadPoolExecutor() as pool:
            futures: list[Future[None]] = [pool.submit(self.go_on_reading, number) for number in range(2)]
            futures.append(pool.submit(self.go_on_refreshing))
            try:
                yield
            finally:
                self.is_over.set()
        for future in futures:
            future.result()


def token_of(credential: str) -> str:
    return f"the access token of {credential}"


def sealed_by_old(product: Product) -> int:
    """How many access tokens are. (An envelope: a byte of version, one of length, the key's name.)"""
    counted = "SELECT count(*) FROM credentials_token WHERE substring(access_token FROM 3 FOR 3) = 'old'"
    ((count,),) = product.sql(counted)
    return int(count)


def test_a_key_is_replaced_under_load(product: Product) -> None:
    """E08"""
    with product.child() as child:
        child("use_keys", keys=f"{OLD},{NEW}")
        refreshed = [product.store("airtable", by=child) for _ in range(8)]
        ids = child("multiply", credential=refreshed[0].id, count=CREDENTIALS)
    work = Work([replace(refreshed[0], id=credential) for credential in ids], refreshed)

    with work.going_on():
        with product.child() as killed:
            killed.start("say", command=["rotate_keys"])
            until(lambda: sealed_by_old(product) < CREDENTIALS * 0.75, what="a quarter is sealed anew")
            killed.kill()
        left = sealed_by_old(product)
        product.do("say", command=["rotate_keys"])
    status = product.do("say", command=["keys", "status"])
    without_old = product.manage("keys", "status", ENCRYPTION_KEYS=NEW)
    with product.child() as child:
        child("use_keys", keys=NEW)
        opened = child("open_all")

    assert 0 < left < CREDENTIALS
    assert status.endswith("old opens\n  is not in use: it can be retired\n")
    assert (without_old.returncode, without_old.stderr) == (0, "")
    assert (work.reads > 0, set(work.last)) == (True, {credential.id for credential in refreshed})
    assert {**opened, **work.last, **{credential: token_of(credential) for credential in ids}} == opened


def test_the_schedule_passes_by_what_does_not_open(product: Product, airtable: Stored) -> None:
    """E06: what another row's refresh token was put into is never sent, and named; the other is refreshed"""
    moved = product.store("airtable")
    stolen = "(SELECT refresh_token FROM credentials_token WHERE credential_id = '{}')"
    moved.change(f"refresh_token = {stolen.format(airtable.id)}")
    for credential in (moved, airtable):
        credential.change("due_at = now()")

    assert product.do("refresh_what_is_due") == 2

    assert product.calls() == [200]
    assert (moved.now()["failure"], moved.now()["health"]) == ("unreadable", "error")
    assert (airtable.now()["version"], airtable.now()["health"]) == (2, "ok")
