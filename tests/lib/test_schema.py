"""Whether the database is behind the code."""

import os
from base64 import b64encode
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from credentials.models import FingerprintKey
from sequin_auth import probes
from sequin_auth.lib import schema

pytestmark = pytest.mark.django_db

NOT_READY = {"status": "error", "reason": "migrations"}


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_it_is_behind_while_one_migration_has_not_run(client: Client) -> None:
    execute("DELETE FROM django_migrations WHERE app = 'credentials' AND name = '0001_initial'")

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()) == (503, NOT_READY)


def test_it_is_behind_where_nothing_has_ever_been_migrated(client: Client) -> None:
    execute("ALTER TABLE django_migrations RENAME TO elsewhere")

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()) == (503, NOT_READY)


def test_a_database_that_answers_with_another_error_is_not_behind() -> None:
    execute("ALTER TABLE django_migrations RENAME COLUMN name TO title")

    with pytest.raises(DatabaseError, match='column "name" does not exist'):
        schema.is_behind()


def test_what_somebody_newer_has_migrated_does_not_make_it_behind() -> None:
    """While versions change, the old one goes on beside the new one."""
    execute("INSERT INTO django_migrations (app, name, applied) VALUES ('credentials', '9999_later', now())")

    assert not schema.is_behind()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has just started."""
    monkeypatch.setattr(probes, "keys", probes.Keys())


@pytest.mark.parametrize("other", ["test", "another"])
@pytest.mark.usefixtures("keys")
def test_it_is_not_ready_with_other_keys_than_those_of_its_database(
    client: Client, settings: Settings, other: str
) -> None:
    """Under another name, or under the same"""
    FingerprintKey.objects.get_or_create(defaults={"key": bytes(32)})
    settings.ENCRYPTION_KEYS = f"{other}:{b64encode(os.urandom(32)).decode()}"

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()) == (503, {"status": "error", "reason": "keys"})


@pytest.mark.usefixtures("keys")
def test_migrated_it_is_ready_by_one_statement_once_it_has_looked_at_the_keys(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(3):
        first: Any = client.get("/readyz")
    with django_assert_num_queries(1):
        second: Any = client.get("/readyz")

    for answer in (first, second):
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_the_migrations_are_those_that_django_finds() -> None:
    loader = MigrationLoader(None, ignore_no_migrations=True)

    assert loader.disk_migrations is not None
    assert schema.migrations_of_the_code() == set(loader.disk_migrations)
