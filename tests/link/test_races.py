"""Of twenty at once, one wins: decided by the database, not by luck."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection
from django.test import Client

from credentials.models import Authorization, Step
from tests.link.trip import CALLBACK, Trip

AT_ONCE = 20

pytestmark = pytest.mark.django_db(transaction=True)


def all_at_once(call: Callable[[], int]) -> list[int]:
    """The status codes of twenty calls that start together, sorted."""
    barrier = Barrier(AT_ONCE)

    def together(_: int) -> int:
        try:
            barrier.wait()
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sorted(pool.map(together, range(AT_ONCE)))


def test_of_twenty_callbacks_one_reaches_the_provider(trip: Trip, client: Client) -> None:
    """B02"""
    trip.provider_answers()
    state = trip.started()["state"]

    def callback() -> int:
        tab = Client()
        tab.cookies = client.cookies
        return tab.get(CALLBACK, {"state": state, "code": "ac_1"}).status_code

    statuses = all_at_once(callback)

    assert statuses == [302] + [400] * (AT_ONCE - 1)
    assert len(trip.responses.calls) == 1
    assert Authorization.objects.get().step == Step.GRANTED


def test_of_twenty_exchanges_one_gets_the_tokens(trip: Trip) -> None:
    """C01"""
    code = trip.code()

    statuses = all_at_once(lambda: trip.token(code=code).status_code)

    assert statuses == [200] + [400] * (AT_ONCE - 1)
    assert Authorization.objects.get().step == Step.EXCHANGED
