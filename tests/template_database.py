"""The database of a test run is a copy of one that was migrated before: each process of each run saves some seconds."""

import psycopg
from django.core.management import call_command
from django.db import connection
from psycopg import sql

from tests.real.migrated import fingerprint

UNFINISHED = "template_unfinished"
KEPT = 3  # templates; a run that began before the migrations were changed may still want to copy its own
LOCK = 0x7E57


def template_database(superuser: psycopg.Connection) -> str:
    """The name of a database that has today's migrations. It is made if there is none."""
    name = f"template_{fingerprint()}"
    superuser.execute("SELECT pg_advisory_lock(%s)", [LOCK])
    try:
        if not superuser.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount:
            drop(superuser, UNFINISHED)
            migrate(UNFINISHED)
            superuser.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(UNFINISHED), sql.Identifier(name))
            )
            drop_all_but_the_newest(superuser)
    finally:
        superuser.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
    return name


def migrate(name: str) -> None:
    disconnect()
    named_before = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = name
    try:
        call_command("migrate", verbosity=0, interactive=False)
    finally:
        disconnect()  # whoever is connected to a database keeps it from being renamed and from being copied
        connection.settings_dict["NAME"] = named_before


def disconnect() -> None:
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]


def drop_all_but_the_newest(superuser: psycopg.Connection) -> None:
    statement = r"SELECT datname FROM pg_database WHERE datname ~ '^template_[0-9a-f]{16}$' ORDER BY oid DESC"
    for (outdated,) in superuser.execute(statement).fetchall()[KEPT:]:
        drop(superuser, outdated)


def drop(superuser: psycopg.Connection, name: str) -> None:
    superuser.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
