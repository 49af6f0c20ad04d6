"""`manage.py move_database`: from one PostgreSQL to another, whole or not at all."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from sequin_auth.lib.schema import MARK
from sequin_auth.moving import target
from sequin_auth.moving.errors import TargetRefused
from sequin_auth.moving.tables import Connection
from tests.operating.house import House
from tests.real.machine import until
from tests.torture.product import Child

LAST = "oauth_apps_webhookdelivery"


@pytest.fixture(scope="module")
def full(house: House) -> str:
    """A database that holds something, for refusals: they leave it as it is."""
    return house.database(like="sequin_auth")


def move(house: House, source: str, url: str) -> str:
    """Why it was refused."""
    said = house.do("say", source, command=["move_database", "-"], stdin=f"{url}\n")
    assert "canary" not in str(said)
    assert said["out"] == ""
    return str(said["refusal"])


@pytest.mark.parametrize(
    "url",
    ["", "mysql://sequin:canary@127.0.0.1/name", "postgres://sequin:canary@127.0.0.1:canary/name", "postgres://h:5432"],
)
def test_it_refuses_what_is_no_postgresql(house: House, full: str, url: str) -> None:
    refusal = move(house, full, url)

    assert refusal == "The target must be of PostgreSQL: postgres://user:password@host:port/name."


def test_it_refuses_a_server_that_does_not_answer(house: House, full: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]

    refusal = move(house, full, f"postgres://sequin:canary-password@127.0.0.1:{port}/sequin")

    expected = "Nobody accepts connections at this host and port, or a firewall keeps us out."
    assert refusal == f"The target cannot be reached. {expected}"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("&canary=1", "The target's URL has an option that PostgreSQL does not know."),
        ("&sslmode=canary", "The target cannot be reached. Its sslmode is none that PostgreSQL knows."),
    ],
)
def test_it_says_what_is_wrong_with_the_url(house: House, full: str, more: str, reason: str) -> None:
    refusal = move(house, full, house.url("postgres") + more)

    assert refusal == reason


def test_it_refuses_a_host_that_nobody_knows(house: House, full: str) -> None:
    refusal = move(house, full, "postgres://sequin:canary-password@canary.invalid/sequin")

    assert refusal == "The target cannot be reached. There is no host of this name."


@pytest.mark.parametrize(
    ("database", "user", "reason"),
    [
        ("canary", "postgres", "The server has no database of this name, or this user may not connect to it."),
        (
            "postgres",
            "canary",
            "The server did not accept the user name and the password, or its pg_hba.conf does not let this user in.",
        ),
    ],
)
def test_it_says_what_the_server_has_refused(house: House, full: str, database: str, user: str, reason: str) -> None:
    refusal = move(house, full, house.url(database, user))

    assert refusal == f"The target cannot be reached. {reason}"


def test_it_refuses_the_database_that_is_in_use(house: House, full: str) -> None:
    refusal = move(house, full, house.url(full))

    assert refusal == "The target is the database that is in use now, or somebody moves one to it already."
    assert house.do("open_token", full, credential=house.credentials[0])["access_token"]


def test_it_refuses_a_target_that_holds_something(house: House, full: str) -> None:
    taken = house.database()
    house.sql(taken, "CREATE TABLE ours (id int); INSERT INTO ours VALUES (1)")

    refusal = move(house, full, house.url(taken))

    assert refusal == "The target is not empty: it has table public.ours. Make a new database for this."
    assert house.content(taken) == {"ours": ["(1)"]}


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function public.mine()"),
        ("CREATE TYPE mood AS ENUM ('sad')", "type public.mood"),
        ("CREATE TYPE pair AS (one int, two int)", "composite type public.pair"),
        ("CREATE SCHEMA elsewhere", "schema elsewhere"),
        ("CREATE SCHEMA apart; CREATE FUNCTION apart.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function apart.f()"),
    ],
)
def test_it_refuses_a_target_that_holds_no_tables_but_something(
    house: House, full: str, statement: str, what: str
) -> None:
    taken = house.database()
    house.sql(taken, statement)

    refusal = move(house, full, house.url(taken))

    named = f"{what}, schema apart" if "apart" in what else what
    assert refusal == f"The target is not empty: it has {named}. Make a new database for this."
    assert house.tables(taken) == []


@pytest.fixture(scope="module")
def half(house: House) -> str:
    """What a move leaves that was killed after it had made the tables."""
    left = house.database(like="sequin_auth")
    tables = ", ".join(name for name in house.tables(left) if name != "django_migrations")
    house.sql(left, f"SET session_replication_role = replica; TRUNCATE {tables}; CREATE TABLE {MARK} ()")
    return left


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        (
            "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "The target is one that we left half-way, and has got something since: function public.mine(). Make a new"
            " database for this.",
        ),
        (
            "INSERT INTO oauth_apps_account SELECT (jsonb_populate_record(NULL::oauth_apps_account, row)).* FROM row",
            "The target is one that we left half-way, and somebody has made accounts there since. Make a new database.",
        ),
    ],
    ids=["something", "an account"],
)
def test_what_is_half_moved_is_not_cleared_when_somebody_uses_it(
    house: House, full: str, half: str, statement: str, refusal: str
) -> None:
    used = house.database(like=half)
    ((account,),) = house.sql(full, "SELECT to_jsonb(account)::text FROM oauth_apps_account account LIMIT 1")
    house.sql(used, f"WITH row AS (SELECT '{account}'::jsonb AS row) {statement}" if "row" in statement else statement)
    before = house.content(used)

    assert move(house, full, house.url(used)) == refusal
    assert house.content(used) == before


def test_what_is_half_moved_is_not_cleared_under_a_gateway(house: House, full: str, half: str) -> None:
    """Nor is one seen whose role is not ours."""
    used = house.database(like=half)
    house.sql("postgres", "CREATE ROLE gateway LOGIN; CREATE ROLE mover LOGIN")
    house.sql(used, "GRANT CREATE ON SCHEMA public TO mover")
    before = house.content(used)
    with closing(psycopg.connect(house.url(used, "gateway"), application_name="a gateway")):
        refusal = move(house, full, house.url(used, "mover"))

    expected = "1 other connection (a gateway as gateway). End them, or make a new database."
    assert refusal == f"The target is one that we left half-way, and has {expected}"
    assert house.content(used) == before


def test_nobody_starts_with_what_is_half_moved(house: House, half: str) -> None:
    expected = (
        "The database is one that `manage.py move_database` has not finished. Run that again, with DATABASE_URL naming"
        " the old one; until then that is the one to start with."
    )
    before = house.content(half)

    for command in (["serve"], ["worker"], ["worker", "--queues", "syncs"]):
        assert house.do("say", half, command=command)["refusal"] == expected
    assert house.content(half) == before


def test_it_is_told_not_to_be_ready(house: House, half: str) -> None:
    ready = house.do("ready", half)

    assert ready == [503, {"status": "error", "reason": "move"}]


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_nobody_starts_with_a_postgresql_that_is_too_old(house: House, full: str, command: str) -> None:
    """Before 15 it takes a constraint of ours for none."""
    assert (
        house.do("say_to_an_old_server", full, command=[command]) == "PostgreSQL 15 or later is required (found 14.9)."
    )


def test_it_refuses_another_encoding(house: House, full: str) -> None:
    old = house.database(ENCODING="SQL_ASCII", LOCALE_PROVIDER="libc", LOCALE="'C'")

    refusal = move(house, full, house.url(old))

    assert refusal == "The target's encoding is SQL_ASCII. Make the database with ENCODING 'UTF8'."
    assert house.tables(old) == []


def test_it_refuses_where_it_may_make_nothing(house: House, full: str) -> None:
    house.sql("postgres", "CREATE ROLE reader LOGIN")
    empty = house.database()

    refusal = move(house, full, house.url(empty, user="reader"))

    assert refusal == "The target's role may not make tables: it needs CREATE on the schema public."
    assert house.tables(empty) == []


@pytest.fixture
def known(house: House) -> Iterator[None]:
    with target.made_known(target.settings_of(house.url("postgres"))):
        yield


class Server:
    """What another server would answer."""

    def __init__(self, *, version: int, is_replica: bool) -> None:
        self.info = SimpleNamespace(server_version=version, backend_pid=7)
        self.is_replica = is_replica

    def execute(self, statement: str) -> Any:
        row = (7,) if "pg_backend_pid" in statement else (self.is_replica, "UTF8")
        return SimpleNamespace(fetchone=lambda: row, __iter__=None) if "pid" in statement else [row]


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (Server(version=140_022, is_replica=False), "The target's PostgreSQL is older than 15, which is needed."),
        (Server(version=180_000, is_replica=True), "The target is a replica: nothing can be written there."),
    ],
    ids=["old", "replica"],
)
@pytest.mark.usefixtures("known")
def test_it_refuses_a_server_that_will_not_do(server: Server, reason: str) -> None:
    with pytest.raises(TargetRefused) as refusal:
        target.refuse_unfit(cast(Connection, server))

    assert str(refusal.value) == reason


def test_it_refuses_while_others_are_connected(house: House, full: str) -> None:
    empty = house.database()
    with closing(psycopg.connect(house.postgres.uri(full), application_name="psql")):
        refusal = move(house, full, house.url(empty))

    until(lambda: not connections(house, full), what="nobody is connected")
    others = "1 other connection (psql as postgres)"
    assert refusal == f"The database has {others}. Stop the web servers and workers of every machine first."
    assert house.tables(empty) == []


def test_it_waits_for_those_who_are_about_to_leave(house: House) -> None:
    """Such as its own connection, of a run that has just been refused. Who stays, it names."""
    source, taken = house.database(like="sequin_auth"), house.database()
    house.sql(taken, "CREATE TABLE ours (id int)")
    looked = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND state LIKE 'idle%%' AND query LIKE %s"
    with house.child(source) as child:
        with closing(psycopg.connect(house.postgres.uri(source))):
            child.start("say", command=["move_database", house.url(taken)])
            until(lambda: house.sql("postgres", looked, source, "%nullif(application_name%"), what="it has looked")
        answer = child.answer()

    assert answer["value"]["refusal"].startswith("The target is not empty")


def connections(house: House, database: str) -> list[Any]:
    return house.sql("postgres", "SELECT pid FROM pg_stat_activity WHERE datname = %s", database)


def test_it_refuses_while_a_worker_is_alive(house: House) -> None:
    """Behind a pooler that is all that is seen of it."""
    source, empty = house.database(like="sequin_auth"), house.database()
    house.sql(source, "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now())")

    refusal = move(house, source, house.url(empty))

    assert refusal.startswith("1 workers were alive within the last half minute.")
    assert house.tables(empty) == []


def test_it_refuses_while_this_machine_serves(house: House, full: str) -> None:
    empty = house.database()
    serving = os.open(house.directory / "serve.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(serving, fcntl.LOCK_EX)

    refusal = move(house, full, house.url(empty))
    os.close(serving)

    assert refusal == "It is being served from VAR_DIR. Stop `make serve` or `make run` first."
    assert house.tables(empty) == []


def test_it_refuses_a_database_that_waits_for_a_migration(house: House) -> None:
    source, empty = house.database(like="sequin_auth"), house.database()
    house.sql(source, "DELETE FROM django_migrations WHERE app = 'syncs'")

    refusal = move(house, source, house.url(empty))

    assert refusal == "The database is not migrated. Run `manage.py migrate` first."


def test_it_refuses_to_leave_a_strangers_table_behind(house: House) -> None:
    source, empty = house.database(like="sequin_auth"), house.database()
    house.sql(source, "CREATE TABLE somebody_s (id int)")

    refusal = move(house, source, house.url(empty))

    assert refusal == "These tables are not of the product: somebody_s. Put them elsewhere, or drop them."
    assert house.tables(empty) == []


def test_what_arrives_otherwise_is_not_kept(house: House, full: str) -> None:
    empty = house.database()

    said = house.do("move_badly", full, url=house.url(empty))

    assert said["refusal"] == "Of oauth_apps_account, 3 rows were sent, and what arrived is not the same."
    assert house.tables(empty) == []


# ---- moved -----------------------------------------------------------------------------------------------------------

TRIGGERS = (
    "SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"
)
CONSTRAINTS = (
    "SELECT conrelid::regclass::text, conname, convalidated FROM pg_constraint WHERE contype = 'f' ORDER BY 1, 2"
)


def test_everything_is_there_and_opens(house: House, full: str) -> None:
    other = house.database()

    said = house.do("say", full, command=["move_database", house.url(other)])

    assert (said["refusal"], said["err"]) == ("", "")
    content = house.content(full)
    rows = sum(map(len, content.values()))
    assert said["out"].startswith(f"{len(content)} tables with {rows} rows were copied, and are the same there.\n")
    assert house.content(other) == content
    assert rows > 100
    assert all(content[name] for name in ("credentials_token", "oauth_apps_auditevent", "procrastinate_jobs"))
    for what in (TRIGGERS, CONSTRAINTS):
        assert house.sql(other, what) == house.sql(full, what)
    for credential in house.credentials:
        opened = house.do("open_token", other, credential=credential)
        assert opened == house.do("open_token", full, credential=credential)
        assert opened["access_token"]
    verified = house.do("say", other, command=["audit", "verify"])
    assert (verified["refusal"], verified["out"].partition(" ")[0]) == ("", str(len(content["oauth_apps_auditevent"])))


def test_on_the_same_server_it_says_how_syncs_go_on(house: House, full: str) -> None:
    """Their role belongs to the old name; what is said gives it to the new one, and the old one has it no more."""
    other = house.database()
    assert house.do("say", full, command=["sync_database"])["refusal"] == ""

    said = house.do("say", full, command=["move_database", house.url(other)])["out"]
    refused = house.do("say", other, command=["sync_database"])["refusal"]
    statement = said.strip().splitlines()[-1].strip()
    house.sql("postgres", statement)

    assert statement == f"COMMENT ON ROLE \"sequin_syncs\" IS 'Writes the syncs of Sequin Auth in {other}';"
    assert "a role of its name stands on the server" in refused
    assert house.do("say", other, command=["sync_database"])["refusal"] == ""
    assert "a role of its name stands on the server" in house.do("say", full, command=["sync_database"])["refusal"]


def test_it_goes_on_there_where_it_has_ended_here(house: House, full: str) -> None:
    """A new row gets a number that no other has."""
    other = house.database()
    assert house.do("say", full, command=["move_database", house.url(other)])["refusal"] == ""

    made = house.do("store", other, provider="airtable")
    house.do("say", other, command=["create_account", "Giedi Prime"])
    verified = house.do("say", other, command=["audit", "verify"])

    assert house.do("open_token", other, credential=made["id"])["access_token"]
    assert verified["refusal"] == ""
    assert len(house.content(other)["oauth_apps_auditevent"]) > len(house.content(full)["oauth_apps_auditevent"])


def standing(house: House, source: str, empty: str, child: Child) -> psycopg.Connection[Any]:
    """The move stands still before its rows, since somebody holds one of the tables that it has made."""
    child.start("say", command=["move_database", house.url(empty)])
    holder = psycopg.connect(house.postgres.uri(empty))
    until(lambda: LAST in house.tables(empty), what="the target has its tables")
    holder.execute(f"LOCK TABLE {LAST} IN ACCESS EXCLUSIVE MODE")
    waiting = "SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database WHERE d.datname = %s AND NOT granted"
    until(lambda: house.sql("postgres", waiting, empty), what="the move waits for it")
    return holder


def test_killed_in_the_middle_it_is_run_again(house: House) -> None:
    source, other = house.database(like="sequin_auth"), house.database()
    before = house.content(source)
    with house.child(source) as child:
        with closing(standing(house, source, other, child)):
            child.kill()
        until(lambda: not connections(house, other), what="the server has noticed")
        left = house.content(other)
    until(lambda: not connections(house, source), what="nobody is connected")

    said = house.do("say", source, command=["move_database", house.url(other)])

    assert MARK in left
    assert left["credentials_token"] == []
    assert said["refusal"] == ""
    assert house.content(source) == before
    assert house.content(other) == before


def test_broken_off_it_leaves_nothing(house: House) -> None:
    source, other = house.database(like="sequin_auth"), house.database()
    before = house.content(source)
    with house.child(source) as child:
        with closing(standing(house, source, other, child)):
            child.process.terminate()
        answer = child.answer()

    assert answer["value"]["refusal"] == "It was broken off. The old database is as it was."
    assert house.tables(other) == []
    assert house.content(source) == before


def test_whoever_writes_meanwhile_waits(house: House) -> None:
    """What the old database took after its rows were read would be lost."""
    source, other = house.database(like="sequin_auth"), house.database()
    with house.child(source) as child, closing(standing(house, source, other, child)) as holder:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            house.sql(source, "SET lock_timeout = '50ms'; DELETE FROM oauth_apps_account")
        holder.rollback()
        answer = child.answer()

    assert answer["value"]["refusal"] == ""
    assert house.content(other) == house.content(source)
