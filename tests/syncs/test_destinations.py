"""The sync database and its roles: who may do what is found out by really connecting."""

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from psycopg import sql
from pytest_django import Settings
from pytest_django.fixtures import DjangoCaptureOnCommitCallbacks

from oauth_apps.models import Account
from syncs import destinations
from syncs.destinations import DestinationUnavailable, NoReader, NoSyncDatabase, Target, builtin
from syncs.models import Destination, ErasedAccount, Sync, SyncDatabase
from tests.credentials import stored
from tests.syncs.conftest import remove
from tests.syncs.customer import PASSWORD, Customer

SCHEMA, OTHER_SCHEMA = "sync_0123456789ab", "sync_ba9876543210"
OTHER_KEYS = "other:5BFSZm0gH2qxjUH4uE8IzG8LfRgd6jBdmEQsKEnW0Tw="


@pytest.fixture
def own(account: Account, sync_database: str) -> Iterator[Destination]:
    """The account's place in the sync database, with a table."""
    yield from place_of(account, SCHEMA)


@pytest.fixture
def others(other_account: Account, sync_database: str) -> Iterator[Destination]:
    yield from place_of(other_account, OTHER_SCHEMA)


def place_of(account: Account, schema: str) -> Iterator[Destination]:
    destination = Destination.objects.builtin(account)
    destinations.prepare(destination, schema)
    write(destination, schema, "customer")
    yield destination
    destinations.drop(destination, schema)


def write(destination: Destination, schema: str, table: str) -> None:
    with destinations.connect(destinations.target_of(destination)) as there:
        there.execute(sql.SQL("CREATE TABLE {} AS SELECT 1 AS id").format(sql.Identifier(schema, table)))


def ids(there: "psycopg.Connection[Any]", schema: str, table: str = "customer") -> list[int]:
    rows = there.execute(sql.SQL("SELECT id FROM {}").format(sql.Identifier(schema, table))).fetchall()
    return [found for (found,) in rows]


def as_role(role: str, database: str) -> "psycopg.Connection[Any]":
    found = builtin.target()
    return psycopg.connect(host=found.host, port=found.port, user=role, dbname=database, autocommit=True)


def reading(destination: Destination) -> "psycopg.Connection[Any]":
    return psycopg.connect(destinations.reader(destination)["url"], autocommit=True)


def schemas() -> set[str]:
    with destinations.connect(builtin.target()) as there:
        return {name for (name,) in there.execute("SELECT nspname FROM pg_namespace").fetchall()}


def roles() -> set[str]:
    with builtin.administrator() as server:
        return {name for (name,) in server.execute("SELECT rolname FROM pg_roles").fetchall()}


# ---- apart from ours -------------------------------------------------------------------------------------------------


def test_who_writes_does_not_get_into_the_product(own: Destination) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        as_role(builtin.target().username, connection.settings_dict["NAME"])


def test_nor_does_who_reads(own: Destination) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        as_role(destinations.reader(own)["username"], connection.settings_dict["NAME"])


def test_nor_does_anybody_else_get_into_either(own: Destination) -> None:
    stranger = f"{builtin.target().database}_reader_stranger"  # removed with the readers
    with builtin.administrator() as server:
        server.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(stranger)))

    for database in (connection.settings_dict["NAME"], builtin.target().database):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            as_role(stranger, database)


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_nor_into_what_else_there_is_on_our_own_server(own: Destination, database: str) -> None:
    for role in (destinations.reader(own)["username"], builtin.target().username):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            as_role(role, database)


def test_who_writes_has_no_rights_on_the_server(own: Destination) -> None:
    with builtin.administrator() as server:
        row = server.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, left(rolpassword, 14)"
            " FROM pg_authid WHERE rolname = %s",
            [builtin.target().username],
        ).fetchone()

    assert row == (False, False, False, False, False, "SCRAM-SHA-256$")


def test_who_writes_makes_nothing_in_the_public_schema(own: Destination) -> None:
    with (
        destinations.connect(builtin.target()) as there,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        there.execute("CREATE TABLE public.stray (id int)")


# ---- it is made ------------------------------------------------------------------------------------------------------


@pytest.fixture
def another(db: None, settings: Settings) -> Iterator[str]:
    """The name of a sync database that is not there yet."""
    name = f"{settings.SYNC_DATABASE_NAME}_b"
    settings.SYNC_DATABASE_NAME = name
    builtin.made.clear()
    yield name
    remove(name)


def test_the_command_makes_it_and_leaves_what_is_there(another: str, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("sync_database")
    with destinations.connect(builtin.target()) as there:
        there.execute("CREATE SCHEMA kept")
    builtin.made.clear()
    call_command("sync_database")

    assert "kept" in schemas()
    assert capsys.readouterr().out == f"Syncs write to the database {another} as {another}.\n" * 2


def test_of_many_at_once_all_find_it(another: str) -> None:
    target, problems = builtin.beside_ours(), list[Exception]()

    def make() -> None:
        try:
            builtin.make(target)
        except Exception as exc:  # noqa: BLE001 - told by the test
            problems.append(exc)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    destinations.connect(target).close()


def test_a_role_of_somebody_else_is_left_alone(another: str) -> None:
    with builtin.administrator() as server:
        server.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(another)))

    with pytest.raises(NoSyncDatabase, match="a role of its name stands on the server"):
        builtin.target()

    with builtin.administrator() as server:
        found = server.execute("SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = %s", [another])
        assert found.fetchone() == (False, None)


def test_a_password_that_does_not_open_is_replaced(own: Destination, settings: Settings) -> None:
    before = builtin.target().password
    settings.ENCRYPTION_KEYS = OTHER_KEYS

    target = builtin.target()

    assert target.password != before
    assert SyncDatabase.objects.get().password == target.password
    destinations.connect(target).close()


LesserRole = Callable[..., str]


@pytest.fixture
def as_lesser_role(another: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LesserRole]:
    """Has the product use a role with some rights, and a database that this one owns."""
    role = f"lesser_{os.getpid()}"
    said = connection.get_connection_params()

    def use(*rights: str, owner: str = role) -> str:
        with builtin.administrator() as server:
            server.execute(sql.SQL(f"CREATE ROLE {{}} LOGIN {' '.join(rights)}").format(sql.Identifier(role)))
            names = sql.Identifier(role), sql.Identifier(owner)
            server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
        lesser = said | {"user": role, "dbname": role}
        monkeypatch.setattr(connection, "get_connection_params", lambda: dict(lesser))
        return role

    yield use
    monkeypatch.undo()
    remove(another)
    with builtin.administrator() as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(role)))
        server.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.mark.parametrize("rights", [["NOCREATEDB"], ["CREATEDB"], ["CREATEROLE"]])
def test_a_role_that_may_not_make_it_is_told_what_to_do(
    as_lesser_role: LesserRole, rights: list[str], settings: Settings
) -> None:
    as_lesser_role(*rights)

    with pytest.raises(NoSyncDatabase, match=r"may not create roles and databases\. Set SYNC_DATABASE_URL"):
        builtin.target()
    with pytest.raises(CommandError, match=r"may not create roles and databases\. Set SYNC_DATABASE_URL"):
        call_command("sync_database")


def test_what_cannot_be_kept_apart_is_refused(as_lesser_role: LesserRole) -> None:
    as_lesser_role("CREATEDB", "CREATEROLE", owner="postgres")  # who alone could keep PUBLIC out

    with pytest.raises(NoSyncDatabase, match="could connect to the product's database"):
        builtin.target()


def test_a_role_that_may_make_both_needs_be_no_superuser(as_lesser_role: LesserRole, account: Account) -> None:
    product = as_lesser_role("CREATEDB", "CREATEROLE")
    own = Destination.objects.builtin(account)

    destinations.prepare(own, SCHEMA)
    write(own, SCHEMA, "customer")
    with reading(own) as there:
        assert ids(there, SCHEMA) == [1]
    reader = destinations.reader(own)["username"]
    for role in (reader, builtin.target().username):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            as_role(role, product)
    holder = reading(own)
    holder.execute("SELECT lo_from_bytea(0, 'abc')")
    holder.execute(sql.SQL("BEGIN; LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.Identifier(SCHEMA, "customer")))
    builtin.erase(account.pk, [])
    holder.close()

    assert SCHEMA not in schemas()
    assert reader not in roles()


# ---- the account's reader --------------------------------------------------------------------------------------------


def test_it_reads_what_stands_there_and_what_comes(own: Destination) -> None:
    with reading(own) as there:
        assert ids(there, SCHEMA) == [1]

        write(own, SCHEMA, "invoice")
        assert ids(there, SCHEMA, "invoice") == [1]

        destinations.prepare(own, "sync_aaaaaaaaaaaa")
        write(own, "sync_aaaaaaaaaaaa", "invoice")
        assert ids(there, "sync_aaaaaaaaaaaa", "invoice") == [1]
    destinations.drop(own, "sync_aaaaaaaaaaaa")


def test_it_reads_nothing_of_another_account(own: Destination, others: Destination) -> None:
    with reading(own) as there, pytest.raises(psycopg.errors.InsufficientPrivilege):
        ids(there, OTHER_SCHEMA)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {schema}.customer VALUES (2)",
        "UPDATE {schema}.customer SET id = 2",
        "DELETE FROM {schema}.customer",
        "TRUNCATE {schema}.customer",
        "DROP TABLE {schema}.customer",
        "CREATE TABLE {schema}.mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "SELECT * FROM {schema}_staging.customer",
        "SET ROLE postgres",
        "SET temp_file_limit = -1",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'abc')",
        "SELECT lo_open(1, 1)",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_xact_lock_shared(1, 2)",
        "SELECT pg_logical_emit_message(false, 'mine', 'mine')",
        "CREATE ROLE mine",
    ],
)
def test_it_does_nothing_else(own: Destination, statement: str) -> None:
    with reading(own) as there, pytest.raises(psycopg.errors.InsufficientPrivilege):
        there.execute(statement.replace("{schema}", SCHEMA))


def test_its_connections_are_few_and_what_it_forgets_ends(own: Destination) -> None:
    with builtin.administrator() as server:  # as one was made before
        role = sql.Identifier(destinations.reader(own)["username"])
        server.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(role))
        server.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 20").format(role))
    url = destinations.reader(own)["url"]
    connections = [psycopg.connect(url) for _ in range(5)]

    with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
        psycopg.connect(url)

    limits = "statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout", "temp_file_limit"
    shown = [connections[0].execute(f"SHOW {name}").fetchone() for name in limits]
    assert shown == [("10min",), ("2min",), ("1h",), ("1GB",)]
    for one in connections:
        one.close()


def test_no_accounts_id_is_to_be_read_there(own: Destination, others: Destination) -> None:
    destinations.reader(others)

    with reading(own) as there:
        rows = there.execute(
            "SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_roles"
            " UNION ALL SELECT nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace"
            " UNION ALL SELECT usename, application_name FROM pg_stat_activity"
        ).fetchall()

    told = str(rows)
    assert builtin.belongs_to(others.account_id) in told
    for account_id in (own.account_id, others.account_id):
        assert account_id.hex[:8] not in told


# ---- who locks what --------------------------------------------------------------------------------------------------


def test_no_lock_in_the_sync_database_stops_anybody(own: Destination) -> None:
    """By whatever number: ours of now, and those of an account's id."""
    whose = [f"Sequin Auth, account {own.account_id}", builtin.belongs_to(own.account_id)]
    with builtin.administrator(builtin.target().database) as holder:
        holder.execute("SELECT pg_advisory_lock(hashtextextended(t, 0)) FROM unnest(%s::text[]) AS t", [whose])
        numbers = [builtin.MAKING, builtin.number_of(own.account_id)]
        holder.execute("SELECT pg_advisory_lock(n) FROM unnest(%s::bigint[]) AS n", [numbers])

        destinations.prepare(own, "sync_aaaaaaaaaaaa")
        assert destinations.reader(own)["schemas"] == [SCHEMA, "sync_aaaaaaaaaaaa"]

    destinations.drop(own, "sync_aaaaaaaaaaaa")


def test_nor_does_one_in_the_operators(account: Account, customer: Customer, settings: Settings) -> None:
    settings.SYNC_DATABASE, own = operators(customer), Destination.objects.builtin(account)
    url = f"postgresql://onlooker:{PASSWORD}@127.0.0.1:{customer.plain_port}/warehouse"
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [builtin.MAKING])

        with pytest.raises(NoReader, match="may not create roles"):
            destinations.reader(own)


def test_who_makes_the_same_waits_for_each_other(own: Destination, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "PATIENCE", 0.01)
    with builtin.administrator() as other:
        other.execute("SELECT pg_advisory_lock(%s)", [builtin.number_of(own.account_id)])
        destinations.prepare(own, SCHEMA)  # stands
        for make in (lambda: destinations.prepare(own, "sync_aaaaaaaaaaaa"), lambda: destinations.reader(own)):
            with pytest.raises(DestinationUnavailable, match="Others are at work"):
                make()

    destinations.reader(own)


def test_it_stays_the_same_and_its_password_is_sealed(own: Destination) -> None:
    first, second = destinations.reader(own), destinations.reader(own)

    assert first == second
    assert first["schemas"] == [SCHEMA]
    with connection.cursor() as cursor:
        cursor.execute("SELECT reader_password FROM syncs_destination WHERE id = %s", [own.pk])
        assert first["password"].encode() not in bytes(cursor.fetchone()[0])


def test_one_that_does_not_open_is_replaced(own: Destination, settings: Settings) -> None:
    before = destinations.reader(own)
    settings.ENCRYPTION_KEYS = OTHER_KEYS

    assert destinations.reader(own)["password"] != before["password"]


def test_a_role_of_its_name_that_is_not_the_accounts_is_left_alone(own: Destination) -> None:
    role = builtin.role_of(own.account_id, builtin.target().database)
    with builtin.administrator() as server:
        server.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))

    with pytest.raises(NoReader, match="is not this account's"):
        destinations.reader(own)


@pytest.mark.parametrize("schema", ["public", "pg_catalog", "sync_", "sync_0123456789ab; DROP", "SYNC_0123456789AB"])
def test_only_schemas_of_syncs_are_made_or_dropped(own: Destination, schema: str) -> None:
    with pytest.raises(ValueError, match="not a schema of a sync"):
        destinations.drop(own, schema)
    with pytest.raises(ValueError, match="not a schema of a sync"):
        destinations.prepare(own, schema)


# ---- an account that is gone -----------------------------------------------------------------------------------------


def test_its_schemas_and_its_reader_go_with_it(
    own: Destination,
    others: Destination,
    account: Account,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """Those of syncs that are long gone too, whose data somebody kept."""
    mine, theirs = destinations.reader(own), destinations.reader(others)
    holder = psycopg.connect(mine["url"])  # whose transaction stays open
    ids(holder, SCHEMA)

    with django_capture_on_commit_callbacks(execute=True):
        call_command("delete_account", str(account.pk), "--yes")
    holder.close()

    assert {SCHEMA, f"{SCHEMA}_staging"}.isdisjoint(schemas())
    assert OTHER_SCHEMA in schemas()
    assert mine["username"] not in roles()
    assert theirs["username"] in roles()


def test_what_a_reader_owns_keeps_nothing_from_going(own: Destination, account: Account) -> None:
    """Wherever: one may have been let into a database that was open to everybody."""
    role = destinations.reader(own)["username"]
    for database in (builtin.target().database, "postgres"):
        with builtin.administrator(database) as there:
            row = there.execute("SELECT lo_from_bytea(0, 'abc')").fetchone()
            names = sql.Literal(row and row[0]), sql.Identifier(role)
            there.execute(sql.SQL("ALTER LARGE OBJECT {} OWNER TO {}").format(*names))

    builtin.erase(account.pk, [SCHEMA])

    assert role not in roles()


def test_what_is_away_is_erased_when_it_is_back(own: Destination, account: Account, settings: Settings) -> None:
    destinations.erase_later(account.pk)
    settings.SYNC_DATABASE = {"NAME": "away", "HOST": "/nowhere", "USER": "nobody"}
    destinations.erase_what_is_left()
    settings.SYNC_DATABASE = None
    assert SCHEMA in schemas()

    destinations.erase_what_is_left()

    assert SCHEMA not in schemas()
    assert ErasedAccount.objects.count() == 1  # for a while: a slice may have been at work


def test_what_was_noted_before_its_syncs_were_deleted_stays_noted(own: Destination, account: Account) -> None:
    credential = stored.keep(account, "stripe_key", None, secret="canary-of-a-key")
    fields = {"provider": "stripe", "name": "Stripe", "collection_ids": ["stripe:customer"], "schema": SCHEMA}
    sync = Sync.objects.create(account=account, credential=credential, destination=own, **fields)

    destinations.erase_later(account.pk)
    sync.delete()
    destinations.erase_later(account.pk)

    assert ErasedAccount.objects.get().schemas == [SCHEMA]


def test_it_is_forgotten_in_the_end(own: Destination, account: Account) -> None:
    destinations.erase_later(account.pk)
    ErasedAccount.objects.update(created_at=own.created_at - ErasedAccount.KEPT)

    destinations.erase_what_is_left()

    assert not ErasedAccount.objects.exists()


def test_an_account_without_syncs_leaves_nothing_to_do(account: Account) -> None:
    destinations.erase_later(account.pk)

    assert not ErasedAccount.objects.exists()


def test_one_that_somebody_has_dropped_is_made_again(another: str, account: Account) -> None:
    own = Destination.objects.builtin(account)
    destinations.prepare(own, SCHEMA)
    with builtin.administrator() as server:
        server.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(another)))

    with pytest.raises(DestinationUnavailable, match="no database of this name"):
        destinations.prepare(own, SCHEMA)
    destinations.prepare(own, SCHEMA)

    assert SCHEMA in schemas()


# ---- where the operator says -----------------------------------------------------------------------------------------


def operators(customer: Customer, **other: Any) -> dict[str, Any]:
    return {
        "NAME": "warehouse",
        "HOST": "127.0.0.1",
        "PORT": customer.port,
        "USER": "loader",
        "PASSWORD": PASSWORD,
        "OPTIONS": {"sslmode": "require"},
    } | other


def test_the_operators_database_takes_the_rows(account: Account, customer: Customer, settings: Settings) -> None:
    settings.SYNC_DATABASE, own = operators(customer), Destination.objects.builtin(account)

    destinations.prepare(own, SCHEMA)
    write(own, SCHEMA, "customer")

    with customer.superuser("warehouse") as there:
        assert ids(there, SCHEMA) == [1]
    destinations.drop(own, SCHEMA)


def test_it_has_a_reader_if_its_role_may_make_one(account: Account, customer: Customer, settings: Settings) -> None:
    settings.SYNC_DATABASE, own = operators(customer), Destination.objects.builtin(account)
    with pytest.raises(NoReader, match="may not create roles"):
        destinations.reader(own)

    with customer.superuser() as server:
        server.execute("ALTER ROLE loader CREATEROLE")
    destinations.prepare(own, SCHEMA)
    write(own, SCHEMA, "customer")
    try:
        with reading(own) as there:  # by its password
            assert ids(there, SCHEMA) == [1]
        builtin.erase(account.pk, [SCHEMA])
    finally:
        with customer.superuser() as server:
            server.execute("ALTER ROLE loader NOCREATEROLE")
            left = server.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE '%reader%'").fetchall()
    assert left == []


def test_it_is_not_the_products_own(db: None, customer: Customer, settings: Settings) -> None:
    settings.SYNC_DATABASE = operators(customer)
    with customer.superuser("warehouse") as there:
        there.execute("CREATE TABLE syncs_syncrun ()")
    builtin.made.clear()

    try:
        with pytest.raises(NoSyncDatabase, match="names the product's own database"):
            builtin.target()
    finally:
        with customer.superuser("warehouse") as there:
            there.execute("DROP TABLE syncs_syncrun")


# ---- how libpq is told -----------------------------------------------------------------------------------------------


def test_the_environment_has_no_say(own: Destination, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    poison = {
        "HOST": "nowhere.example.com", "HOSTADDR": "203.0.113.1", "PORT": "1", "DATABASE": "postgres",
        "USER": "postgres", "PASSWORD": "poison", "OPTIONS": "-c search_path=poison",
        "APPNAME": "poison", "SSLMODE": "verify-full", "SSLROOTCERT": "/poison", "SSLNEGOTIATION": "direct",
        "GSSENCMODE": "require", "CHANNELBINDING": "require", "REQUIREAUTH": "gss", "REQUIREPEER": "nobody",
        "TARGETSESSIONATTRS": "standby", "CLIENTENCODING": "LATIN1", "CONNECT_TIMEOUT": "2", "SERVICE": "poison",
        "SERVICEFILE": str(tmp_path / "services"), "PASSFILE": str(tmp_path / "pass"),
    }  # fmt: skip
    (tmp_path / "services").write_text("[poison]\nhost=nowhere.example.com\nport=1\nuser=postgres\n")
    target = builtin.target()
    for name, value in poison.items():
        monkeypatch.setenv(f"PG{name}", value)

    question = "SELECT current_user, current_database(), current_setting('search_path')"
    expected = (target.username, target.database, '"$user", public')
    with destinations.connect(target) as there:
        assert there.execute(question).fetchone() == expected
        assert there.info.encoding == "utf-8"
    other = psycopg2.connect(**target.parameters())
    with other.cursor() as cursor:
        cursor.execute(question)
        assert cursor.fetchone() == expected
    other.close()


def test_a_target_shows_nothing() -> None:
    target = Target("db.example.com", 5432, "warehouse", "loader", PASSWORD, "require")

    assert PASSWORD not in repr(target)
    assert PASSWORD not in f"{target}"


def test_ids_of_accounts_make_readers_of_their_own() -> None:
    one, other = (builtin.role_of(uuid.UUID(int=number << 104), "d" * 63) for number in (1, 2))

    assert one != other
    assert len(one) <= 63
