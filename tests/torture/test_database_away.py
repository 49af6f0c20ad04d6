"""PostgreSQL is stopped at each step of a refresh, and started again."""

from collections.abc import Iterator

import pytest

from tests.real.machine import until
from tests.torture.product import Product, Stored


@pytest.fixture(autouse=True)
def database_afterwards(product: Product) -> Iterator[None]:
    yield
    product.postgres.start()


def test_stopped_before_the_lease(product: Product, airtable: Stored) -> None:
    """Nobody may call without having written down that he does"""
    with product.child() as child:
        child.start("refresh", credential=airtable.id, stops="before the lease")
        child.until_it_stands()
        product.postgres.stop()
        child.go_on()

        answer = child.answer()

    over_http = airtable.get()
    product.postgres.start()
    assert answer["raised"] == "OperationalError"
    assert (over_http.status_code, over_http.headers["Content-Type"]) == (503, "application/json")
    assert over_http.json()["code"] == "unavailable"
    assert product.calls() == []
    assert airtable.get().status_code == 200
    assert product.calls() == [200]


def test_stopped_before_the_commit(product: Product, airtable: Stored) -> None:
    """G03: whoever asked has the token, and the row has it as soon as there is one"""
    with product.child() as child:
        child.start("refresh", credential=airtable.id, stops="after the call")
        child.until_it_stands()
        product.postgres.stop()
        child.go_on()
        token = child.answer()["value"]
        (file,) = product.do("spooled")

        product.postgres.start()
        until(lambda: not product.do("spooled"), what="the answer is put into its row")

    after = airtable.now()
    assert (after["version"], after["access_token"], after["failure"]) == (2, token, "")
    assert token not in file
    assert airtable.get().json()["access_token"] == token
    assert product.calls() == [200]


@pytest.mark.parametrize("stands", ["before the lease", "before the call", "after the call", "after the commit"])
def test_stopped_and_started_again_meanwhile(product: Product, airtable: Stored, stands: str) -> None:
    """The connection is dead, and the next one is good"""
    with product.child() as child:
        child.start("refresh", credential=airtable.id, stops=stands)
        child.until_it_stands()
        product.postgres.stop()
        product.postgres.start()
        child.go_on()
        child.answer()
        until(lambda: not product.do("spooled"), what="the answer is put into its row")

    token = airtable.get().json()["access_token"]

    after = airtable.now()
    assert (after["version"], after["access_token"], after["health"]) == (2, token, "ok")
    assert product.calls() == [200]


def test_stopped_before_the_commit_and_killed_while_it_waits(product: Product, airtable: Stored) -> None:
    """G03: the file outlives the process"""
    with product.child() as child:
        child.start("refresh", credential=airtable.id, stops="after the call")
        child.until_it_stands()
        product.postgres.stop()
        child.go_on()
        token = child.answer()["value"]
        child.kill()
    product.postgres.start()

    assert airtable.get().json()["access_token"] == token

    assert product.do("spooled") == []
    assert airtable.now()["version"] == 2
    assert product.calls() == [200]


def test_stopped_after_the_commit(product: Product, airtable: Stored) -> None:
    with product.child() as child:
        child.start("refresh", credential=airtable.id, stops="after the commit")
        child.until_it_stands()
        product.postgres.stop()
        child.go_on()

        token = child.answer()["value"]

    assert product.do("spooled") == []
    product.postgres.start()
    assert airtable.get().json()["access_token"] == token
    assert product.calls() == [200]
