"""
Advisory locks that are held for as long as a piece of work lasts, be it minutes.

Each is the transaction's lock of a connection of its own, which does nothing else meanwhile: behind a pooler in
transaction mode the lock of a session would be left with whoever gets the server's connection next. An idle transaction
without a snapshot holds up neither vacuum nor an index that is made concurrently.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper

from .pooling import Connection, own_connection


@contextmanager
def locked(database: BaseDatabaseWrapper, number: int, *, patience: float = 0) -> Iterator[None]:
    """Nobody else has this number meanwhile. `patience`: seconds that it waits for it; 0: for ever.

    Raises django.db.OperationalError, also when the others took too long.
    """
    with in_transaction(database) as there:
        with database.wrap_database_errors:
            there.execute("SELECT set_config('lock_timeout', %s, true)", [f"{int(patience * 1000)}ms"])
            there.execute("SELECT pg_advisory_xact_lock(%s)", [number])
            keep_no_snapshot(there)
        yield


@contextmanager
def one_of(database: BaseDatabaseWrapper, numbers: Iterable[int]) -> Iterator[int | None]:
    """The first of the numbers that nobody has, and nobody else has it meanwhile; None if there is none.

    Raises django.db.OperationalError.
    """
    with in_transaction(database) as there:
        with database.wrap_database_errors:
            found = next((number for number in numbers if is_free(there, number)), None)
            keep_no_snapshot(there)
        yield found


def keep_no_snapshot(there: Connection) -> None:
    """The portal of a statement with parameters keeps its own, for which CREATE INDEX CONCURRENTLY would wait for ever,
    until there is another statement; this one takes none.
    """
    there.execute("SAVEPOINT held")


def is_free(there: Connection, number: int) -> bool:
    row = there.execute("SELECT pg_try_advisory_xact_lock(%s)", [number]).fetchone()
    return bool(row and row[0])


@contextmanager
def in_transaction(database: BaseDatabaseWrapper) -> Iterator[Connection]:
    """On a connection of its own, which no timeout ends."""
    with database.wrap_database_errors:
        there = own_connection(database)
    with closing(there):
        with database.wrap_database_errors:
            for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
                there.execute("SELECT set_config(%s, '0', true)", [name])
        yield there
