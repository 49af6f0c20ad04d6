"""A migration lets columns take more, while connections hold statements that they have prepared: nobody notices.

Whoever changes a column has a connection of his own: the one that prepared the statements is not told.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import NotSupportedError, connection, transaction
from django.utils import timezone

from credentials.api.fast_lane import Environ
from credentials.models import Token
from oauth_apps import api_tokens
from oauth_apps.models import Account
from sequin_auth.lib.postgres import statements
from sequin_auth.lib.postgres.base import PREPARE_THRESHOLD
from sequin_auth.lib.postgres.pooling import own_connection
from sequin_auth.lib.postgres.statements import fetch_one
from tests.credentials.lanes import Lanes, environ_of
from tests.credentials.stored import linear_app, linear_credential
from tests.link.trip import Trip

OFTEN = PREPARE_THRESHOLD + 2
VARYING = """
    SELECT attrelid::regclass::text, attname, format_type(atttypid, NULL), atttypmod - 4
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attnum > 0
        AND relname ~ '^(credentials|oauth_apps)_' AND atttypmod > 0
        AND format_type(atttypid, NULL) ~ '^character varying'
"""

Change = Callable[[], object]

pytestmark = pytest.mark.django_db(transaction=True)


def change(statement: str) -> list[tuple[Any, ...]]:
    with own_connection(connection, autocommit=True) as there:
        cursor = there.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def widen() -> Iterator[Change]:
    """Lets every column of limited text take ten characters more."""
    columns = change(VARYING)

    def alter(more: int) -> None:
        for table in {table for table, *_ in columns}:
            changes = [
                f"ALTER {name} TYPE {kind.replace('varying', f'varying({length + more})')}"
                for of, name, kind, length in columns
                if of == table
            ]
            change(f"ALTER TABLE {table} {', '.join(changes)}")

    yield lambda: alter(10)
    alter(0)


@pytest.fixture
def numbers() -> Iterator[str]:
    """A table with a number, which `bigint` makes a larger one."""
    change("CREATE TABLE changed_numbers (number integer); INSERT INTO changed_numbers VALUES (1)")
    yield "SELECT number FROM changed_numbers WHERE number = %s"
    change("DROP TABLE changed_numbers")


def test_a_transaction_that_meets_it_fails_once(numbers: str) -> None:
    def within() -> list[Any]:
        with transaction.atomic():
            return statements.run(numbers, [1])

    for _ in range(OFTEN):
        within()
    change("ALTER TABLE changed_numbers ALTER number TYPE bigint")

    with pytest.raises(NotSupportedError):
        within()

    assert within() == [(1,)]


def test_what_the_server_does_not_take_at_all_fails_all_the_same() -> None:
    refused = "SELECT DISTINCT relname FROM pg_class WHERE relpages = %s FOR UPDATE"

    with pytest.raises(NotSupportedError):
        statements.run(refused, [1])
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        fetch_one(connection, refused, [1])

    assert statements.run("SELECT 1", []) == [(1,)]


def test_outside_of_a_transaction_it_is_asked_again(numbers: str) -> None:
    for _ in range(OFTEN):
        assert (statements.run(numbers, [1]), fetch_one(connection, numbers, [1])) == ([(1,)], (1,))
    change("ALTER TABLE changed_numbers ALTER number TYPE bigint")

    for _ in range(OFTEN):
        assert (statements.run(numbers, [1]), fetch_one(connection, numbers, [1])) == ([(1,)], (1,))


@pytest.fixture
def nothing_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "forgot_statements", lambda _: pytest.fail("A plan was refused."))


@pytest.mark.usefixtures("nothing_is_asked_again")
def test_trips_go_on_where_text_may_be_longer(trip: Trip, widen: Change) -> None:
    """Their statements return nothing that depends on a length, since in a transaction there is no other try"""
    for _ in range(OFTEN):
        assert trip.token(code=trip.code()).status_code == 200
    code, state = trip.code(), trip.started()["state"]

    widen()

    assert trip.start().status_code == 302
    assert trip.callback(state=state, code="canary-provider-code").status_code == 302
    assert trip.token(code=code).status_code == 200


@pytest.fixture
def environ(account: Account) -> Environ:
    """Of a read of a fresh token."""
    tomorrow = (timezone.now() + timedelta(days=1)).isoformat()
    credential = linear_credential(linear_app(account), expires_at=tomorrow)
    _, api_token = api_tokens.issue(account, scopes=["reveal"])
    return environ_of(f"/v1/credentials/{credential.pk}/access-token", api_token)


@pytest.fixture
def lanes(environ: Environ) -> Lanes:
    """With their statements prepared."""
    lanes = Lanes()
    lanes.warm_up(environ)
    for _ in range(OFTEN):
        assert lanes.fast(environ).status == lanes.django(environ).status == "200 OK"
    return lanes


@pytest.mark.usefixtures("nothing_is_asked_again")
def test_reads_go_on_where_text_may_be_longer(lanes: Lanes, environ: Environ, widen: Change) -> None:
    widen()

    assert [lanes.fast(environ).status, lanes.django(environ).status] == ["200 OK"] * 2
    assert lanes.fell_through == 0


@pytest.fixture
def larger_numbers() -> Iterator[Change]:
    table = Token._meta.db_table
    yield lambda: change(f"ALTER TABLE {table} ALTER version TYPE bigint")
    change(f"ALTER TABLE {table} ALTER version TYPE integer")


@pytest.mark.parametrize("lane", ["fast", "django"])
def test_reads_go_on_where_a_number_may_be_larger(
    lanes: Lanes, environ: Environ, larger_numbers: Change, lane: str
) -> None:
    larger_numbers()

    assert [getattr(lanes, lane)(environ).status for _ in range(OFTEN)] == ["200 OK"] * OFTEN
    assert lanes.fell_through == 0
