"""Where the rows come from: nobody else may be at work there, and nobody writes until they have arrived."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import psycopg
from django.db import connection
from psycopg import sql

from sequin_auth.lib.postgres.base import DatabaseWrapper
from sequin_auth.lib.postgres.pooling import own_connection

from .company import others_in, told
from .errors import SourceInUse
from .tables import Connection, spell_alike, tables_of

WORKERS = "SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - interval '30 seconds'"


@contextmanager
def at_rest() -> Iterator[Connection]:
    """A transaction that sees one moment of the product's database, while nobody can change it. Raises SourceInUse."""
    connection.close()
    cast(DatabaseWrapper, connection).close_pool()  # its connections would count as others
    with own_connection(connection) as there:
        there.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        refuse_company(there)
        lock_tables(there)
        spell_alike(there)
        yield there
        there.rollback()


def refuse_company(there: Connection) -> None:
    """Behind a pooler the other processes show by their heartbeats alone. Raises SourceInUse."""
    if others := others_in(there):
        raise SourceInUse(f"The database has {told(others)}. Stop the web servers and workers of every machine first.")
    ((workers,),) = there.execute(WORKERS).fetchall()
    if workers:
        raise SourceInUse(
            f"{workers} workers were alive within the last half minute. Stop them on every machine; one that was killed"
            " is forgotten after that time."
        )
    there.rollback()  # the moment that counts is after the locks


def lock_tables(there: Connection) -> None:
    """Against writers alone: whoever begins meanwhile waits, and fails. Raises SourceInUse."""
    names = sorted(tables_of(there))
    there.rollback()
    there.execute("SET LOCAL lock_timeout = '5s'")
    everything = sql.SQL(", ").join(sql.Identifier("public", name) for name in names)
    try:
        there.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(everything))
    except psycopg.errors.LockNotAvailable:
        raise SourceInUse("Somebody is writing to the database. Stop the web servers and workers first.") from None
