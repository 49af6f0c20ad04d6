"""What a process of the product does when a test tells it to: those of the torture tests, and these."""

import secrets
import sys
import uuid
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from typing import Any
from unittest import mock

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import NotSupportedError, connection
from django.test import Client
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.exceptions import AlreadyEnqueued
from psycopg import sql

from credentials.models import Credential, Token
from credentials.refresh import sweep
from oauth_apps import audit
from oauth_apps.models import Account
from sequin_auth.lib.postgres.locks import locked, one_of
from sequin_auth.moving import copying
from sequin_auth.moving.tables import Connection, Table
from sequin_auth.moving.target import settings_of
from tests.credentials.stored import again
from tests.real.machine import stand_still
from tests.torture.tasks import refresh as refresh
from tests.torture.tasks import store as store
from tests.torture.tasks import stored as stored


def use(database: str) -> None:
    """As if this process had been started with this DATABASE_URL."""
    connection.settings_dict.update(settings_of(database))


def fill() -> list[str]:
    """A bit of everything that a move could lose. Returns the ids of the credentials."""
    made = [store("airtable"), store("linear")]
    say(["create_account", "Caladan ☂ 'quoted' \\N \t tab"])
    for number in range(3):
        audit.record("account.created", by=audit.Actor.command("test"), account=None, named=f"number {number}")
    app.configure_task("purge", queue="housekeeping", lock="ours").defer(number=1)
    return [one["id"] for one in made]


def open_token(credential: str) -> dict[str, Any]:
    return {name: value for name, value in stored(credential).items() if name in {"access_token", "version"}}


def say(command: list[str], stdin: str = "") -> dict[str, str]:
    """What a command of manage.py says, to whom, and why it has ended."""
    out, err, refusal = StringIO(), StringIO(), ""
    with redirect_stdout(out), redirect_stderr(err), mock.patch.object(sys, "stdin", StringIO(stdin)):
        try:
            call_command(*command, stdout=out, stderr=err)
        except CommandError as exc:
            refusal = str(exc)
    return {"out": out.getvalue(), "err": err.getvalue(), "refusal": refusal}


def move_badly(url: str) -> dict[str, str]:
    """One row of one table does not arrive as it was sent."""
    send = copying.send

    def sent(source: Connection, target: Connection, table: Table) -> None:
        send(source, target, table)
        if table.name == Account._meta.db_table:
            statement = "UPDATE {} SET name = 'Harkonnen' WHERE id = (SELECT id FROM {} LIMIT 1)"
            target.execute(sql.SQL(statement).format(table.identifier, table.identifier))

    with mock.patch.object(copying, "send", sent):
        return say(["move_database", url])


def ready() -> list[Any]:
    """What `/readyz` says."""
    answer = Client(headers={"Host": "127.0.0.1"}).get("/readyz")
    return [answer.status_code, answer.json()]


def say_to_an_old_server(command: list[str]) -> str:
    """Why a command has ended that met PostgreSQL 14."""
    with mock.patch.object(connection, "get_database_version", return_value=(14, 9)):
        try:
            return say(command)["refusal"]
        except NotSupportedError as exc:
            return str(exc)


def multiply_due(credential: str, count: int) -> list[str]:
    """So many like it, each due for a refresh now."""
    one, now = again(Credential(pk=credential)), timezone.now()
    of_credential = {field.attname: getattr(one, field.attname) for field in Credential._meta.concrete_fields}
    of_token = {field.attname: getattr(one.token, field.attname) for field in Token._meta.concrete_fields}
    made = [uuid.uuid4() for _ in range(count)]
    for pk in made:
        Credential.objects.create(**of_credential | {"id": pk, "identity_hash": secrets.token_bytes(32)})
        Token.objects.create(**of_token | {"credential_id": pk, "due_at": now, "expires_at": now})
    return [str(pk) for pk in made]


def sweep_soon() -> None:
    with suppress(AlreadyEnqueued):  # by the schedule, or by a worker that calls another: one is as good as the other
        sweep.refresh_due_job.configure().defer(timestamp=0)


# ---- locks -----------------------------------------------------------------------------------------------------------


def hold_and_stand(number: int) -> str:
    with locked(connection, number, patience=0.2):
        stand_still()
    return "held"


def hold_one_and_stand(numbers: list[int]) -> int | None:
    with one_of(connection, numbers) as found:
        stand_still()
    return found


def hold(number: int) -> str:
    with locked(connection, number, patience=0.2):
        return "held"


def hold_one(numbers: list[int]) -> int | None:
    with one_of(connection, numbers) as found:
        return found


# ---- sessions --------------------------------------------------------------------------------------------------------


def walk_through(count: int) -> int:
    """A cursor outside of a transaction, and other statements in between."""
    seen = 0
    for _ in Token.objects.order_by("pk").iterator(chunk_size=2):
        seen += Credential.objects.filter(pk__isnull=False).exists()
    assert seen == count
    return seen


def use_keys(keys: str) -> None:
    settings.ENCRYPTION_KEYS = keys


def sweep_seeing(count: int) -> int:
    """Refresh what is due, looking ahead so far."""
    with mock.patch.object(sweep, "LOOK_AHEAD", count):
        return sweep.refresh_due()
