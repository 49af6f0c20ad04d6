"""What is done in the tables once a slice is in them: an index on the key, deletions marked, rows counted."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from providers.collection import Collection
from syncs.engine.rows import named

if TYPE_CHECKING:
    from syncs.engine import Told, Work

LEAVE_ALONE = 0.5  # of a table's rows: if more seem to have gone at once, something else is wrong


def tidy(connection: psycopg.Connection[Any], work: "Work", collection: Collection, told: "Told") -> bool:
    """An index on the key, deletions marked, rows counted. False if there were rows, and the table is gone."""
    table = sql.Identifier(work.schema, named(collection.table))
    if not exists(connection, work.schema, named(collection.table)):
        told.rows = 0
        return not work.terms[collection.id].rows
    if told.state.get("number") == 1 and told.fetched:
        index_on_key(connection, work.schema, collection)
    full = told.state.get("full")
    if full is not None and collection.deletes == "full_pass" and work.marked.get(collection.id) != full:
        mark(connection, table, work, collection, told, full)
    if told.fetched or told.gone:
        count = sql.SQL("SELECT count(*) FROM {} WHERE _deleted_at IS NULL").format(table)
        told.rows = fetch_number(connection, count)
    return True


def index_on_key(connection: psycopg.Connection[Any], schema: str, collection: Collection) -> None:
    """Merging looks rows up by their key, and dlt makes no index on it."""
    keys = sql.SQL(", ").join(sql.Identifier(named(name)) for name in collection.keys)
    connection.execute(
        sql.SQL("CREATE UNIQUE INDEX IF NOT EXISTS {} ON {} ({})").format(
            sql.Identifier(f"key_{hashlib.sha256(collection.table.encode()).hexdigest()[:12]}"),
            sql.Identifier(schema, named(collection.table)),
            keys,
        )
    )


def mark(
    connection: psycopg.Connection[Any],
    table: sql.Identifier,
    work: "Work",
    collection: Collection,
    told: "Told",
    full: int,
) -> None:
    """Rows that a full pass did not see have gone; but never half of a table at once. It may be done twice."""
    told.marked = full
    if told.state.get("skipped"):  # those without a key may well be those that seem to be gone
        return
    unseen, values = unseen_by(connection, work, collection, full)
    where = sql.SQL("_deleted_at IS NULL AND ") + unseen
    counts = sql.SQL("SELECT count(*) FILTER (WHERE {}), count(*) FROM {} WHERE _deleted_at IS NULL")
    gone, alive = fetch_numbers(connection, counts.format(where, table), values)
    if gone > alive * LEAVE_ALONE:
        told.too_many_gone = gone
        return
    if gone:
        update = sql.SQL("UPDATE {} SET _deleted_at = now() WHERE {}").format(table, where)
        connection.execute(update, values)
    told.gone = gone


def unseen_by(
    connection: psycopg.Connection[Any], work: "Work", collection: Collection, full: int
) -> tuple[sql.SQL | sql.Composed, dict[str, Any]]:
    unseen: sql.SQL | sql.Composed = sql.SQL("_pass < %(full)s")
    values: dict[str, Any] = {"full": full}
    inc, max_age = collection.incremental, work.terms[collection.id].max_age
    if max_age is not None and inc is not None and "." not in inc.cursor_path:
        # The pass did not ask for older rows, so it says nothing about them
        values["oldest"] = work.terms[collection.id].now - max_age
        kept_as = type_of(connection, work.schema, named(collection.table), named(inc.cursor_path))
        seconds = as_seconds(named(inc.cursor_path), kept_as, inc.format)
        unseen = sql.SQL("_pass < %(full)s AND {} > %(oldest)s").format(seconds)
    return unseen, values


def as_seconds(column: str, kept_as: str, how: str) -> sql.SQL | sql.Composed:
    """A column's time, in seconds since 1970. `kept_as`: its type; `how`: the provider's format."""
    if kept_as.startswith(("timestamp", "date")):
        return sql.SQL("extract(epoch FROM {})").format(sql.Identifier(column))
    if how in {"unix", "unix_ms"} and kept_as in {"bigint", "numeric", "double precision"}:
        return sql.SQL("{} / {}").format(sql.Identifier(column), sql.Literal(1000.0 if how == "unix_ms" else 1.0))
    return sql.SQL("extract(epoch FROM _synced_at)")  # what it says is not known: when it was last seen does


def type_of(connection: psycopg.Connection[Any], schema: str, table: str, column: str) -> str:
    """PostgreSQL's name of it; empty if there is no such column."""
    row = connection.execute(
        "SELECT data_type FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s AND column_name = %s",
        [schema, table, column],
    ).fetchone()
    return str(row[0]) if row else ""


def exists(connection: psycopg.Connection[Any], schema: str, table: str) -> bool:
    statement = (
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = %(schema)s AND table_name = %(table)s"
    )
    return bool(fetch_numbers(connection, sql.SQL(statement), {"schema": schema, "table": table})[0])


def fetch_number(connection: psycopg.Connection[Any], statement: sql.SQL | sql.Composed) -> int:
    return fetch_numbers(connection, statement, {})[0]


def fetch_numbers(
    connection: psycopg.Connection[Any], statement: sql.SQL | sql.Composed, values: Mapping[str, Any]
) -> tuple[int, ...]:
    row = connection.execute(statement, values or None).fetchone()
    assert row is not None  # noqa: S101 - an aggregate
    return tuple(int(number) for number in row)
