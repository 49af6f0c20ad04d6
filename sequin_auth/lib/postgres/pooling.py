"""
A pooler that hands a server's connection from one transaction of ours to another's, such as PgBouncer in transaction
mode. Nothing that belongs to a session may be relied on behind it: no prepared statement, no cursor outside of a
transaction, no LISTEN, no setting and no lock that outlives its transaction.

It is not configured but found out: it answers with a number of its own where the server would name its process.
"""

from typing import Any, TypeAlias

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]


def is_pooled(there: psycopg.Connection[Any]) -> bool:
    """Costs one round trip."""
    row = there.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and row[0] != there.info.backend_pid


def own_connection(database: BaseDatabaseWrapper, **more: Any) -> Connection:
    """One beside those of Django's pool, to the same place. Raises psycopg.OperationalError."""
    said: dict[str, Any] = database.get_connection_params()
    said = {name: value for name, value in said.items() if name not in {"cursor_factory", "context"}}
    return psycopg.connect(**said | {"prepare_threshold": None} | more)


def leads_to_pooler(database: BaseDatabaseWrapper) -> bool:
    """Raises psycopg.OperationalError."""
    with own_connection(database, autocommit=True) as there:
        return is_pooled(there)
