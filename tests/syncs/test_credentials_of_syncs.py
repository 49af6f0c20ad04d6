"""What happens to a credential, a sync and a destination while a slice is at work, and afterwards."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from psycopg import sql

from credentials import imports
from credentials.imported import Import
from credentials.models import Credential, Failure, Token
from oauth_apps.models import Account, OAuthApp
from providers import kinds
from syncs import creation, destinations, dropping, session, slices
from syncs.destinations import builtin, target
from syncs.models import Destination, DroppedSchema, Sync
from tests.lib.servers import Visit
from tests.security.stand_in import Request
from tests.syncs.api import Api, answering, answering_json, rows
from tests.syncs.machine import Machine

Meanwhile = Callable[[int, Callable[[], object]], None]


def imported(account: Account, **values: Any) -> Credential:
    app, _ = OAuthApp.objects.get_or_create(
        account=account, provider="pages", name="Pages", client_id="id", defaults={"client_secret": "canary-secret"}
    )
    in_an_hour = (timezone.now() + timedelta(hours=1)).isoformat()
    given = {"access_token": "at-0", "refresh_token": "rt-0", "user_id": "user-1", "expires_at": in_an_hour, **values}
    kind = kinds.get("pages_oauth2")
    accepted = kind.accept(given, fixed={})
    return imports.keep(account, Import(kind=kind, values=accepted, oauth_app=app))[0]


@pytest.fixture
def with_tokens(pages: Api, account: Account, sync_database: str) -> Machine:
    """With tokens that can be renewed."""
    return Machine(pages, account, imported(account))


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Something that happens before the request of that number."""
    todo: dict[int, Callable[[], object]] = {}
    plain, count = session.SyncSession._sent, iter(range(1, 1_000))

    def sent(self: session.SyncSession, request: Any) -> Any:
        todo.pop(next(count), lambda: None)()
        return plain(self, request)

    monkeypatch.setattr(session.SyncSession, "_sent", sent)
    return todo.__setitem__


# ---- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_that_is_never_accepted_is_renewed_once(with_tokens: Machine) -> None:
    with_tokens.api.always = answering(401, b"canary-row")
    sync = with_tokens.sync("by_cursor")

    run = with_tokens.slice(sync)

    assert (run.stop, run.requests, with_tokens.api.refreshes) == ("unauthorized", 2, 1)
    assert sync.status == "active"
    assert sync.health_status == sync.health_parts["credential"]["status"] == "error"
    assert f"POST /v1/credentials/{sync.credential_id}/reconnect" in sync.health_notes[0]
    assert "canary" not in str(sync.health_notes) + run.note
    assert sync.failure == "unauthorized"

    with_tokens.slice(sync)
    assert timedelta(minutes=1.9) < sync.next_at - timezone.now() < timedelta(minutes=2.3)


def test_tokens_that_end_within_a_pass_are_renewed(with_tokens: Machine) -> None:
    """Each is good for three requests"""
    api = with_tokens.api
    api.all_rows, api.tokens, used = rows(95), {"at-0"}, list[str]()

    def behave(visit: Visit, request: Request) -> None:
        token = request.headers["authorization"]
        used.append(token)
        (answering(401) if used.count(token) > 3 else api.serve)(visit, request)

    api.always = behave
    sync = with_tokens.sync("by_cursor")

    run = with_tokens.slice(sync)

    assert run.stop == "done"
    assert api.refreshes == 3
    assert run.requests == 10 + 3
    assert len(with_tokens.ids(sync, "by_cursor")) == 95


def test_tokens_that_cannot_be_renewed_just_now_are_nobodys_fault(
    with_tokens: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(with_tokens.api, "give_tokens", answering(503))
    with_tokens.api.always = answering(401)
    sync = with_tokens.sync("by_cursor")

    run = with_tokens.slice(sync)

    assert run.stop == "provider_error"
    assert sync.health_parts["credential"]["status"] == "ok"
    assert sync.health_status == "warn"


def test_a_credential_that_needs_its_owner_waits_for_him(
    with_tokens: Machine, account: Account, django_capture_on_commit_callbacks: Any
) -> None:
    """Nothing is asked meanwhile; when he has connected again, the sync goes on at once"""
    Token.objects.filter(pk=with_tokens.credential.pk).update(failure=Failure.REVOKED)
    with_tokens.api.all_rows = rows(5)
    sync = with_tokens.sync("by_cursor")

    run = with_tokens.slice(sync)

    assert (run.stop, with_tokens.api.requests) == ("unauthorized", [])
    assert sync.next_at > timezone.now()
    with django_capture_on_commit_callbacks(execute=True):
        again = imported(account, access_token="at-1", refresh_token="rt-1")
    assert again == with_tokens.credential
    sync.refresh_from_db()
    assert sync.next_at <= timezone.now()
    assert with_tokens.slice(sync).stop == "done"
    assert sync.health_parts["credential"]["status"] == "ok"


# ---- in the middle of a slice ----------------------------------------------------------------------------------------


def test_a_sync_that_is_disabled_ends_after_the_page_in_flight(machine: Machine, meanwhile: Meanwhile) -> None:
    machine.api.all_rows = rows(45)
    sync = machine.sync("by_cursor")
    meanwhile(2, lambda: Sync.objects.update(status="disabled"))

    run = machine.slice(sync)

    assert (run.stop, run.rows) == ("disabled", {"by_cursor": 20})
    assert slices.run_slice(sync.pk) is None
    Sync.objects.update(status="active")
    assert machine.slice(sync).rows == {"by_cursor": 25}


@pytest.mark.django_db(transaction=True)
def test_a_sync_that_is_deleted_leaves_nothing(machine: Machine, meanwhile: Meanwhile) -> None:
    """Its schema is dropped before the slice merges; and once more, since that makes it anew"""
    machine.api.all_rows = rows(25)
    sync = machine.sync("by_cursor")

    def delete() -> None:
        with transaction.atomic():
            creation.delete(Sync.objects.filter(pk=sync.pk))
        dropping.drop_all()

    meanwhile(2, delete)
    slices.run_slice(sync.pk)

    dropping.drop_all()
    with destinations.connect(builtin.target()) as there:
        assert there.execute("SELECT 1 FROM pg_namespace WHERE starts_with(nspname, %s)", [sync.schema]).rowcount == 0
    DroppedSchema.objects.update(created_at=timezone.now() - timedelta(days=1))
    dropping.drop_all()
    assert not DroppedSchema.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_credential_that_is_deleted_harms_no_destination(machine: Machine, meanwhile: Meanwhile) -> None:
    machine.api.all_rows = rows(25)
    sync = machine.sync("by_cursor")

    def delete() -> None:
        with transaction.atomic():
            creation.delete(Sync.objects.filter(pk=sync.pk))
        Credential.objects.get(pk=sync.credential_id).delete()

    meanwhile(2, delete)
    slices.run_slice(sync.pk)

    assert Destination.objects.get().health_status == "ok"
    dropping.drop_all()


# ---- destinations ----------------------------------------------------------------------------------------------------


def alter(statement: str, *, cut_off: bool = False) -> None:
    """The sync database."""
    name = settings.SYNC_DATABASE_NAME
    with builtin.administrator() as server:
        server.execute(sql.SQL(statement).format(sql.Identifier(name)))
        if cut_off:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


def test_a_destination_that_is_away_loses_nothing(machine: Machine, meanwhile: Meanwhile) -> None:
    machine.api.all_rows = rows(25)
    sync = machine.sync("by_cursor")
    meanwhile(2, lambda: alter("ALTER DATABASE {} ALLOW_CONNECTIONS false", cut_off=True))
    try:
        runs = [machine.slice(sync) for _ in range(2)]
        assert [run.stop for run in runs] == ["destination"] * 2
        assert sync.health_parts["destination"]["status"] == sync.destination.health_status == "error"
        assert machine.api.asked("by_cursor")[3:] == []  # nothing is fetched that nobody takes
    finally:
        alter("ALTER DATABASE {} ALLOW_CONNECTIONS true")

    machine.slices(sync)

    assert len(machine.ids(sync, "by_cursor")) == 25
    assert sync.health_parts["destination"]["status"] == "ok"
    assert not Destination.objects.exclude(health_status="ok").exists()


def test_a_destination_that_takes_no_writes(machine: Machine) -> None:
    machine.api.all_rows = rows(5)
    sync = machine.sync("by_cursor")
    machine.slice(sync)
    alter("ALTER DATABASE {} SET default_transaction_read_only = on")
    try:
        run = machine.refresh(sync)
        assert run.stop == "destination"
    finally:
        alter("ALTER DATABASE {} RESET default_transaction_read_only")
    assert machine.refresh(sync).stop == "done"


def test_a_table_that_somebody_holds(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(target.NEUTRAL, "options", "-c lock_timeout=100ms -c statement_timeout=5s")
    machine.api.all_rows = rows(5)
    sync = machine.sync("by_cursor")
    machine.slice(sync)

    with destinations.connect(builtin.target()) as reader, reader.transaction():
        table = sql.Identifier(sync.schema, "by_cursor")
        reader.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table))
        run = machine.refresh(sync)

    assert run.stop == "destination"
    assert machine.refresh(sync).stop == "done"
    assert len(machine.ids(sync, "by_cursor")) == 5


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE {schema}.by_cursor",
        "ALTER TABLE {schema}.by_cursor DROP COLUMN name",
        "ALTER TABLE {schema}.by_cursor DROP COLUMN _pass, DROP COLUMN _deleted_at",
        "DROP TABLE {schema}._dlt_loads",
        "DROP TABLE {schema}._dlt_version, {schema}._dlt_pipeline_state, {schema}._dlt_loads",
        "TRUNCATE {schema}.by_cursor",
        "DROP SCHEMA {schema} CASCADE",
    ],
)
def test_what_somebody_takes_away_is_made_anew(machine: Machine, statement: str) -> None:
    machine.api.all_rows = rows(5)
    sync = machine.sync("by_cursor")
    machine.slice(sync)
    machine.query(sync, statement)

    runs = [machine.refresh(sync) for _ in range(3)]

    assert runs[-1].stop == "done", [(run.stop, run.note) for run in runs]
    assert machine.query(sync, "SELECT id, name FROM {schema}.by_cursor WHERE _deleted_at IS NULL ORDER BY id") == [
        (row["id"], row["name"]) for row in machine.api.all_rows
    ]
    assert sync.health_status in {"ok", "warn"}


def test_a_table_that_is_gone_is_missed_though_nothing_changes(machine: Machine) -> None:
    machine.api.all_rows = rows(5, updated_at=1_600_000_000)
    machine.api.behaviours = [machine.api.serve, *[answering_json(200, {"data": []})]]
    sync = machine.sync("changing")
    machine.slice(sync)
    machine.query(sync, "DROP TABLE {schema}.changing")

    machine.refresh(sync)
    machine.refresh(sync)

    assert len(machine.ids(sync, "changing")) == 5


def test_our_own_database_is_not_the_destination(machine: Machine, meanwhile: Meanwhile) -> None:
    """If it fails in the middle of a slice, that is noted as a failure of our own, and the slice is tried again"""

    def fail() -> None:
        from django.db import OperationalError

        raise OperationalError("the connection is lost") from psycopg.OperationalError("the connection is lost")

    machine.api.all_rows = rows(25)
    sync = machine.sync("by_cursor")
    meanwhile(2, fail)

    assert machine.slice(sync).stop == "failed"

    assert sync.failures == 1
    assert Destination.objects.get().health_status == "ok"
    machine.slices(sync)
    assert len(machine.ids(sync, "by_cursor")) == 25
