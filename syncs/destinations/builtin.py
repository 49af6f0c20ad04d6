"""
Our own sync database: beside the product's on the same server, or where `SYNC_DATABASE_URL` says.

Beside ours, the product's role owns the database, a role of its own writes there, and neither that one nor PUBLIC may
connect to the product's. Where the operator names one, his role writes, and nothing but schemas is made, and readers
if that role may make roles.

To whom a schema belongs stands in its comment: it outlives the sync whose data somebody keeps. Whoever reads there sees
the comments and names of all schemas and roles, so they are made of a hash, and say no account's id. Nothing there is
locked by a number either, which a reader could hold too: that is done in the product's database.
"""

import secrets
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import quote

import psycopg
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.views.decorators.debug import sensitive_variables
from psycopg import sql

from sequin_auth.lib import redaction
from sequin_auth.lib.encryption import Unreadable, digest
from sequin_auth.lib.postgres.locks import locked
from sequin_auth.lib.postgres.pooling import is_pooled
from syncs.destinations import schemas
from syncs.destinations.target import (
    Connection,
    DestinationUnavailable,
    NoSyncDatabase,
    Target,
    connect,
    fault_of,
    told_in_our_words,
)
from syncs.models import Destination, SyncDatabase

MAKING: Final = 0x53594E4353  # an advisory lock's number: "SYNCS"
PATIENCE: Final = 30  # seconds, with others who make the same
MOST_READERS_AT_ONCE: Final = 5  # connections of one account: the server is the product's too
# Of a reader, unless it says otherwise itself: guards against what is forgotten, not against what is meant
READS_WITHIN: Final = {
    "statement_timeout": "10min",
    "idle_in_transaction_session_timeout": "2min",
    "idle_session_timeout": "1h",
}
MOST_TEMPORARY: Final = {"temp_file_limit": "1GB"}  # of a connection; none but a superuser sets or changes it
ON_EVERY_SERVER: Final = ("postgres", "template1")  # databases that let everybody in
# What everybody may call, and by which one keeps large objects, fills the locks' memory, or the write-ahead log
NOT_FOR_READERS: Final = "^(lo_.*|lo(read|write)|pg_(try_)?advisory_.*lock.*|pg_logical_emit_message)$"
# What the operator says of the way to his server, which holds for the sync database as well
OF_THE_WAY: Final = {
    "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "sslcertmode", "sslnegotiation",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "requirepeer", "require_auth", "channel_binding",
    "gssencmode", "krbsrvname", "target_session_attrs",
}  # fmt: skip

HOW = "Set SYNC_DATABASE_URL to a database of its own, or name another destination."
NOT_ALLOWED = f"There is no sync database: the product's role may not create roles and databases. {HOW}"
TAKEN = f"There is no sync database: a role of its name stands on the server and is not of this installation. {HOW}"
NOT_APART = (
    "There is no sync database: its role could connect to the product's database. As the owner of that one, revoke"
    f" CONNECT on it from PUBLIC. {HOW}"
)
BEHIND_A_POOLER = f"There is no sync database: DATABASE_URL leads to a pooler, which cannot make one. {HOW}"
OUR_OWN = "SYNC_DATABASE_URL names the product's own database. Name one that holds nothing else."
NO_ANSWER = "The product's database server does not answer."
OTHERS_AT_IT = "Others are at work on the sync database's roles and schemas."

made: set[tuple[str, int, str, bytes]] = set()  # what this process has seen to, and the password that it has set


class NoReader(Exception):
    """There can be no role that only reads; the message says why."""


def target() -> Target:
    """Of the role that writes; made if need be. Raises NoSyncDatabase, DestinationUnavailable."""
    found = of_the_operator() if settings.SYNC_DATABASE else beside_ours()
    seen = (found.host, found.port, found.database, digest(found.password))
    if seen in made:
        return found
    if settings.SYNC_DATABASE:
        demand_other_than_ours(found)
    else:
        make(found)
    made.add(seen)
    return found


def was_made() -> bool:
    """Whether anything of anybody may stand there."""
    return bool(settings.SYNC_DATABASE) or SyncDatabase.objects.exists()


@contextmanager
def connected() -> Iterator[Connection]:
    """As the role that writes. Where that one is not let in, all is seen to again the next time."""
    found = target()
    try:
        there = connect(found)
    except DestinationUnavailable:
        made.clear()
        raise
    with told_in_our_words(), there:
        yield there


# ---- where the operator says -----------------------------------------------------------------------------------------


def of_the_operator() -> Target:
    said: Mapping[str, Any] = settings.SYNC_DATABASE or {}
    options: Mapping[str, Any] = said.get("OPTIONS", {})
    redaction.learn(str(said.get("PASSWORD") or ""))
    return Target(
        host=str(said.get("HOST") or options.get("host", "")),
        port=int(said.get("PORT") or 5432),
        database=str(said["NAME"]),
        username=str(said.get("USER") or ""),
        password=str(said.get("PASSWORD") or ""),
        sslmode=str(options.get("sslmode", "prefer")),
        hostaddr=str(options.get("hostaddr", "")),
        more=way(options),
    )


def way(options: Mapping[str, Any]) -> dict[str, str]:
    said = {name: str(value) for name, value in options.items() if name in OF_THE_WAY}
    return {"sslrootcert": "", "sslcertmode": "allow"} | said  # his files are looked for where they usually are


def demand_other_than_ours(found: Target) -> None:
    """Raises NoSyncDatabase for a database that holds the product's tables."""
    with told_in_our_words(), connect(found) as there:
        if there.execute("SELECT 1 FROM pg_tables WHERE tablename = 'syncs_syncrun'").fetchone():
            raise NoSyncDatabase(OUR_OWN)


# ---- beside ours -----------------------------------------------------------------------------------------------------


def beside_ours() -> Target:
    """On the server that this thread's connection of Django's has reached, and reached as that one is."""
    secret = password()  # this first: from then on there is a connection, and it is sound
    reached = connection.connection.info
    said = connection.get_connection_params()
    return Target(
        host=reached.host,
        port=reached.port,
        database=settings.SYNC_DATABASE_NAME,
        username=settings.SYNC_DATABASE_NAME,
        password=secret,
        sslmode=reached.get_parameters().get("sslmode", "prefer"),
        hostaddr=str(said.get("hostaddr", "")),
        more=way(reached.get_parameters()),
    )


@sensitive_variables()
def password() -> str:
    """The writer's. One that does not open any more is replaced: the role is ours."""
    row, _ = SyncDatabase.objects.get_or_create(pk=SyncDatabase.ONLY, defaults={"password": new_password()})
    try:
        return row.password
    except Unreadable:
        with transaction.atomic():
            row = SyncDatabase.objects.select_for_update().get(pk=SyncDatabase.ONLY)
            try:
                return row.password
            except Unreadable:
                row.password = anew = new_password()
                row.save(update_fields=["password"])
                return anew


def new_password() -> str:
    return secrets.token_urlsafe(32)


@contextmanager
def administrator(database: str = "") -> Iterator[Connection]:
    """The product's role, on a connection of its own: a database is not made within a transaction."""
    said = connection.get_connection_params()
    said = {name: value for name, value in said.items() if name not in {"cursor_factory", "context"}}
    said |= {"dbname": database} if database else {}
    try:
        server = psycopg.connect(**said, autocommit=True)
    except psycopg.Error:
        raise DestinationUnavailable(NO_ANSWER, reason="server") from None
    with server:
        server.execute("SELECT set_config('lock_timeout', %s, false)", [f"{PATIENCE}s"])
        yield server


@contextmanager
def alone(number: int) -> Iterator[None]:
    """No other process has this number meanwhile: locked in the product's database, where no reader comes.
    Raises DestinationUnavailable.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(connection, number, patience=PATIENCE))
        except OperationalError as exc:
            if isinstance(exc.__cause__, psycopg.errors.LockNotAvailable):
                raise DestinationUnavailable(OTHERS_AT_IT, reason="busy") from None
            raise DestinationUnavailable(NO_ANSWER, reason="server") from None
        yield


def make(found: Target) -> None:
    """Role and database, and what keeps them apart from ours; what is there is left. Raises NoSyncDatabase."""
    try:
        with alone(MAKING), administrator() as server:
            if is_pooled(server):
                raise NoSyncDatabase(BEHIND_A_POOLER)
            make_writer(server, found)
            make_database(server, found)
            keep_apart(server, found)
            with administrator(found.database) as there:
                there.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
                take_from_everybody(there)
    except psycopg.errors.InsufficientPrivilege:
        raise NoSyncDatabase(NOT_ALLOWED) from None
    except psycopg.Error as exc:
        raise fault_of(exc) from None


def mark_of_writer(database: str) -> str:
    """By the database, which a copy of it on the same server has not in common: two may not write there."""
    return f"Writes the syncs of Sequin Auth in {database}"


@sensitive_variables()
def make_writer(server: Connection, found: Target) -> None:
    """With the password that we know. Raises NoSyncDatabase if the role is somebody else's, maybe our own."""
    mark = mark_of_writer(server.info.dbname)
    verifier = server.pgconn.encrypt_password(found.password.encode(), found.username.encode(), b"scram-sha-256")
    password_is = sql.SQL("PASSWORD {}").format(sql.Literal(verifier.decode()))
    with server.transaction():
        stands = comment_on_role(server, found.username)
        if stands is None:
            create_role(server, found.username, password_is, comment=mark)
        elif stands != mark:
            raise NoSyncDatabase(TAKEN)
        else:
            server.execute(sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(found.username), password_is))


def comment_on_role(server: Connection, role: str) -> str | None:
    """Empty if it has none; None if there is no such role."""
    row = server.execute(
        "SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = %s", [role]
    ).fetchone()
    return str(row[0]) if row else None


def create_role(server: Connection, role: str, password_is: sql.Composable, *, comment: str, limit: int = -1) -> None:
    rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT CONNECTION LIMIT {}"
    server.execute(
        sql.SQL(f"CREATE ROLE {{}} {rights} {{}}").format(sql.Identifier(role), sql.Literal(limit), password_is)
    )
    server.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), sql.Literal(comment)))


def make_database(server: Connection, found: Target) -> None:
    if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [found.database]).fetchone():
        statement = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'"
        server.execute(sql.SQL(statement).format(sql.Identifier(found.database)))


def keep_apart(server: Connection, found: Target) -> None:
    """Raises NoSyncDatabase if the writer could still get into ours."""
    ours = server.info.dbname
    for name in (ours, found.database):
        if is_public(server, name):
            server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    server.execute(
        sql.SQL("GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {} TO {}").format(
            sql.Identifier(found.database), sql.Identifier(found.username)
        )
    )
    if ours == found.database or may_connect(server, found.username, ours):
        raise NoSyncDatabase(NOT_APART)
    if owns_server(server):
        close_the_rest(server)


def owns_server(server: Connection) -> bool:
    """Whether nobody but the product lives there, and nobody else's rights are touched."""
    return "DATA_DIR" in connection.settings_dict and is_superuser(server)


def is_superuser(server: Connection) -> bool:
    row = server.execute("SELECT current_setting('is_superuser') = 'on'").fetchone()
    return bool(row and row[0])


def close_the_rest(server: Connection) -> None:
    """Of a server that is ours. Our own role is a superuser there, whom no missing right keeps out."""
    if not any(is_public(server, name) for name in ON_EVERY_SERVER):
        return
    with server.transaction():
        server.execute("LOCK TABLE pg_database IN SHARE ROW EXCLUSIVE MODE")  # two products may have one server
        for name in ON_EVERY_SERVER:
            if is_public(server, name):
                server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))


def take_from_everybody(there: Connection) -> None:
    """NOT_FOR_READERS, in the sync database alone. They are the superuser's to take."""
    if not is_superuser(there):
        return
    rows = there.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS a"
        " WHERE pronamespace = 'pg_catalog'::regnamespace AND a.grantee = 0 AND proname ~ %s",
        [NOT_FOR_READERS],
    ).fetchall()
    if rows:
        functions = sql.SQL(", ").join(sql.SQL(signature) for (signature,) in rows)
        there.execute(sql.SQL("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC").format(functions))


def is_public(server: Connection, database: str) -> bool:
    return bool(
        server.execute(
            "SELECT 1 FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS entry"
            " WHERE datname = %s AND entry.grantee = 0",
            [database],
        ).fetchone()
    )


def may_connect(server: Connection, role: str, database: str) -> bool:
    row = server.execute("SELECT has_database_privilege(%s, %s, 'CONNECT')", [role, database]).fetchone()
    return bool(row and row[0])


# ---- schemas ---------------------------------------------------------------------------------------------------------


def prepare(destination: Destination, schema: str) -> None:
    """Have both schemas, and let the account's reader, if there is one, read the first."""
    names, account_id = schemas.both(schema), destination.account_id
    with connected() as there:
        if stands(there, names, belongs_to(account_id)):
            return
    with alone(number_of(account_id)), connected() as there, there.transaction():
        for name in names:
            there.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))
        rows, whose = sql.Identifier(schema), sql.Literal(belongs_to(account_id))
        there.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(rows, whose))
        role = role_of(account_id, there.info.dbname)
        if comment_on_role(there, role) == belongs_to(account_id):
            let_read(there, role, schema)


def stands(there: Connection, names: tuple[str, str], whose: str) -> bool:
    """Both, and the first says whose it is: since that was written, each reader has been let in."""
    rows = there.execute(
        "SELECT nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = ANY(%s)", [list(names)]
    ).fetchall()
    comments: dict[str, str | None] = dict(rows)
    return len(comments) == len(names) and comments[names[0]] == whose


def mark_of(account_id: uuid.UUID) -> str:
    """What stands for an account where others read. Its id is the key: random, and kept from those who have not got it,
    and it is the same for as long as there is the account, whatever becomes of the product's own keys.
    """
    return blake2b(b"whose", digest_size=16, key=account_id.bytes).hexdigest()


def belongs_to(account_id: uuid.UUID) -> str:
    return f"Sequin Auth, {mark_of(account_id)}"


def number_of(account_id: uuid.UUID) -> int:
    """To be alone with: who makes a schema of the account and who makes its reader see each other."""
    return int.from_bytes(blake2b(b"alone", digest_size=8, key=account_id.bytes).digest(), signed=True)


def schemas_of(there: Connection, whose: str) -> list[str]:
    rows = there.execute(
        "SELECT nspname FROM pg_namespace WHERE obj_description(oid, 'pg_namespace') = %s ORDER BY nspname", [whose]
    ).fetchall()
    return [str(name) for (name,) in rows if schemas.SCHEMA.fullmatch(name)]


# ---- the account's reader --------------------------------------------------------------------------------------------


def role_of(account_id: uuid.UUID, database: str) -> str:
    return f"{database[:40]}_reader_{mark_of(account_id)[:12]}"


def let_read(there: Connection, role: str, schema: str) -> None:
    """All that stands there, and all that the writer will put there."""
    for statement in (
        "GRANT USAGE ON SCHEMA {schema} TO {role}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {role}",
    ):
        there.execute(sql.SQL(statement).format(schema=sql.Identifier(schema), role=sql.Identifier(role)))


@sensitive_variables()
def reader(destination: Destination) -> dict[str, Any]:
    """How to connect as the role that may only read the account's schemas; made when it is first asked for.

    Raises NoReader, NoSyncDatabase, DestinationUnavailable.
    """
    found, whose = target(), belongs_to(destination.account_id)
    role, secret = role_of(destination.account_id, found.database), reader_password(destination)
    make_reader(found, role, secret, whose=whose)
    with alone(number_of(destination.account_id)), connected() as there, there.transaction():
        readable = schemas_of(there, whose)
        for schema in readable:
            let_read(there, role, schema)
    return {
        "host": found.host,
        "port": found.port,
        "database": found.database,
        "username": role,
        "password": secret,
        "sslmode": found.sslmode,
        "schemas": readable,
        "url": url(found, role, secret),
    }


@sensitive_variables()
def reader_password(destination: Destination) -> str:
    """Of two who ask first, both get the same. One that does not open is replaced."""
    with transaction.atomic():
        row = Destination.objects.select_for_update().get(pk=destination.pk)
        try:
            kept = row.reader_password
        except Unreadable:
            kept = None
        if kept is None:
            row.reader_password = kept = new_password()
            row.save(update_fields=["reader_password"])
        return kept


@sensitive_variables()
def make_reader(found: Target, role: str, secret: str, *, whose: str) -> None:
    with managing_roles(found) as server:
        verifier = server.pgconn.encrypt_password(secret.encode(), role.encode(), b"scram-sha-256").decode()
        password_is = sql.SQL("PASSWORD {}").format(sql.Literal(verifier))
        with server.transaction():
            stands = comment_on_role(server, role)
            if stands is None:
                create_role(server, role, password_is, comment=whose, limit=MOST_READERS_AT_ONCE)
            elif stands != whose:
                raise NoReader("A role of the reader's name stands on the server and is not this account's.")
            else:
                server.execute(
                    sql.SQL("ALTER ROLE {} LOGIN CONNECTION LIMIT {} {}").format(
                        sql.Identifier(role), sql.Literal(MOST_READERS_AT_ONCE), password_is
                    )
                )
            set_limits(server, role)
        if not may_connect(server, role, found.database):
            names = sql.Identifier(found.database), sql.Identifier(role)
            server.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*names))
        if not may_connect(server, role, found.database):
            raise NoReader("The role of SYNC_DATABASE_URL does not own its database, and cannot let a reader in.")


def set_limits(server: Connection, role: str) -> None:
    for name, value in (READS_WITHIN | (MOST_TEMPORARY if is_superuser(server) else {})).items():
        if server.execute("SELECT 1 FROM pg_settings WHERE name = %s", [name]).fetchone():  # one is of PostgreSQL 14
            statement = sql.SQL("ALTER ROLE {} SET {} = {}")
            server.execute(statement.format(sql.Identifier(role), sql.Identifier(name), sql.Literal(value)))


@contextmanager
def managing_roles(found: Target) -> Iterator[Connection]:
    """Whoever may make roles, one process at a time. Raises NoReader, DestinationUnavailable."""
    try:
        with alone(MAKING), managing(found) as server:
            yield server
    except psycopg.errors.InsufficientPrivilege:
        raise NoReader(
            "No role can be made that only reads: the role of SYNC_DATABASE_URL may not create roles."
        ) from None
    except psycopg.Error as exc:
        raise fault_of(exc) from None


@contextmanager
def managing(found: Target, database: str = "") -> Iterator[Connection]:
    """As the role that makes roles, in its own database or another one. Raises DestinationUnavailable."""
    if settings.SYNC_DATABASE:
        with connect(replace(found, database=database or found.database)) as server:
            yield server
    else:
        with administrator(database) as server:
            yield server


def url(found: Target, username: str, secret: str) -> str:
    who = f"{quote(username, safe='')}:{quote(secret, safe='')}"
    database = quote(found.database, safe="")
    if found.host.startswith("/"):
        return f"postgresql://{who}@:{found.port}/{database}?host={quote(found.host, safe='')}"
    host = f"[{found.host}]" if ":" in found.host else found.host
    return f"postgresql://{who}@{host}:{found.port}/{database}?sslmode={found.sslmode}"


# ---- an account that is gone -----------------------------------------------------------------------------------------


def erase(account_id: uuid.UUID, known: list[str]) -> None:
    """Drop the schemas `known`, all others of the account, and its reader. Raises DestinationUnavailable."""
    found, whose = target(), belongs_to(account_id)
    role = role_of(account_id, found.database)
    shut_out(found, role, whose=whose)
    with told_in_our_words(), connect(found) as there:
        stand = schemas_of(there, whose)
    for schema in {*stand, *known}:
        schemas.drop(found, schema)
    drop_reader(found, role, whose=whose)


def shut_out(found: Target, role: str, *, whose: str) -> None:
    """Whoever is just reading would hold what is to be dropped."""
    try:
        with managing_roles(found) as server:
            if comment_on_role(server, role) == whose:
                server.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role)))
                join(server, role)
                server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [role])
    except NoReader:  # an operator's role that may not see to it, or has never made one
        return


def drop_reader(found: Target, role: str, *, whose: str) -> None:
    try:
        with managing_roles(found) as server:
            if comment_on_role(server, role) == whose:
                join(server, role)
                name = sql.Identifier(role)
                for database in {server.info.dbname, *where_it_has_something(server, role)}:
                    with managing(found, database) as there:
                        there.execute(sql.SQL("DROP OWNED BY {}").format(name))
                server.execute(sql.SQL("DROP ROLE {}").format(name))
    except NoReader:
        return


def join(server: Connection, role: str) -> None:
    """To end a role's sessions and drop what it owns takes its rights, which are not ours for having made it."""
    row = server.execute("SELECT pg_has_role(current_user, %s, 'USAGE')", [role]).fetchone()
    if row and not row[0]:
        inheriting = sql.SQL(" WITH INHERIT TRUE" if server.info.server_version >= 160_000 else "")
        server.execute(sql.SQL("GRANT {} TO CURRENT_USER{}").format(sql.Identifier(role), inheriting))


def where_it_has_something(server: Connection, role: str) -> list[str]:
    """Databases in which the role owns something, a large object say, or was granted a right."""
    rows = server.execute(
        "SELECT DISTINCT datname FROM pg_shdepend JOIN pg_database d ON d.oid = dbid"
        " WHERE refclassid = 'pg_authid'::regclass AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = %s)",
        [role],
    ).fetchall()
    return [str(name) for (name,) in rows]
