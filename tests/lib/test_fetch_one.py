"""One statement for a path that is hot, by a connection of the pool."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import connection

from sequin_auth.lib.postgres.statements import fetch_one

STATEMENT = "SELECT %s::integer + 1, pg_backend_pid()"
COUNTED = "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1::integer + 1, pg_backend_pid()'"

Elsewhere = Callable[[Callable[[], Any]], Any]

pytestmark = pytest.mark.django_db


@pytest.fixture
def elsewhere() -> Elsewhere:
    """Calls a function in a thread that holds no connection, as a thread of the web server between two requests."""

    def call(function: Callable[[], Any]) -> Any:
        connection.pool.open()  # type: ignore[attr-defined]
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(function).result()

    return call


def test_a_connection_of_the_pool_is_lent_and_given_back(elsewhere: Elsewhere) -> None:
    def twice() -> Any:
        first, second = (fetch_one(connection, STATEMENT, [number]) for number in (1, 2))
        return first, second, connection.connection

    first, second, held = elsewhere(twice)

    assert (first[0], second[0], held) == (2, 3, None)


def test_it_is_prepared_once_for_each_connection(elsewhere: Elsewhere) -> None:
    def called_often() -> Any:
        pids = [fetch_one(connection, STATEMENT, [1])[1] for _ in range(50)]  # type: ignore[index]
        return pids, fetch_one(connection, COUNTED, [])

    pids, counted = elsewhere(called_often)

    assert len(set(pids)) < len(pids)
    assert counted == (1,)


def test_the_connection_that_a_thread_holds_is_used() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()

    assert fetch_one(connection, STATEMENT, [1]) == (2, pid)


def test_behind_a_pooler_nothing_is_prepared() -> None:
    connection.ensure_connection()
    before = connection.connection.prepare_threshold
    connection.connection.prepare_threshold = None  # as for every connection there
    try:
        fetch_one(connection, "SELECT 'behind a pooler', %s", ["x"])
        found = fetch_one(
            connection, "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%behind a pooler%%'", []
        )
    finally:
        connection.connection.prepare_threshold = before

    assert found == (0,)


def test_no_row(elsewhere: Elsewhere) -> None:
    assert elsewhere(lambda: fetch_one(connection, "SELECT 1 WHERE %s", [False])) is None


def test_a_server_that_has_left_is_not_asked(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sequin_auth.lib.postgres.statements.is_sound", lambda _: False)

    with pytest.raises(psycopg.OperationalError):
        elsewhere(lambda: fetch_one(connection, STATEMENT, [1]))
