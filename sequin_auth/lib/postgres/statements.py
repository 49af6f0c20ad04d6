"""
Statements that are written out, for the few journeys on which many come: Django's ORM would put together anew for each
request what is the same for all of them. There are two ways to send one:

* run         by Django's connection, within its transaction, with its errors: a statement among others
* fetch_one   by a connection of the pool, past Django: the only statement of a path that is hot

By both the server binds the values, and so can keep the plan: `run` leaves it to the connection when a statement is
prepared (`prepare_threshold`), `fetch_one` has it prepared at once. Behind a pooler (pooling.py) neither prepares.
"""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, NotSupportedError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model
from psycopg.pq import Format, TransactionStatus
from psycopg.rows import tuple_row

from .base import is_sound

M = TypeVar("M", bound=Model)

PATIENCE = 0.5  # seconds that a connection is waited for: whoever gets none asks Django, which waits longer


# ---- by Django's connection ------------------------------------------------------------------------------------------


def run(statement: str, values: Sequence[Any]) -> list[Sequence[Any]]:
    """The rows that it returns; none of one that returns nothing. Raises what Django's cursors do."""
    try:
        return rows_of(statement, values)
    except NotSupportedError as exc:
        if not is_outlived(exc.__cause__) or not forgot_statements(connection.connection):
            raise
    return rows_of(statement, values)


def rows_of(statement: str, values: Sequence[Any]) -> list[Sequence[Any]]:
    """By a cursor that leaves the values to the server and has binary ones back, which psycopg reads in C; without
    Django's wrapper around it if nobody looks on.

    With `queries_logged` the answer comes as text: a statement casts what would then be of another Python type, as
    `columns_of` does.
    """
    database = connections[DEFAULT_DB_ALIAS]
    if database.queries_logged:  # whoever looks at the statements wants to see them with their values
        with database.cursor() as running:
            running.execute(statement, values)
            return rows_in(running)
    database.ensure_connection()
    database.validate_thread_sharing()
    with database.wrap_database_errors:
        plain = psycopg.Cursor(database.connection)
        plain.format = Format.BINARY
        if database.execute_wrappers:
            running = database._prepare_cursor(plain)  # type: ignore[attr-defined]  # the stubs do not know it
            running.execute(statement, values)
        else:
            database.validate_no_broken_transaction()
            plain.execute(statement, values)
        return rows_in(plain)


def rows_in(running: Any) -> list[Sequence[Any]]:
    returns_rows = running.rownumber is not None  # `description` would tell of each column first
    return running.fetchall() if returns_rows else []


# ---- past Django -----------------------------------------------------------------------------------------------------


def fetch_one(database: BaseDatabaseWrapper, statement: str, parameters: Sequence[Any]) -> tuple[Any, ...] | None:
    """The first row, if there is one. By a connection of the pool; by this thread's own, if it holds one.

    Raises psycopg.Error, also if there is no connection, or no pool is open yet.
    """
    if database.connection is not None:
        return fetched(database.connection, statement, parameters)
    pool = getattr(database, "pool", None)
    if pool is None:
        raise psycopg.OperationalError("There is no pool.")
    lent = pool.getconn(PATIENCE)
    try:
        if not is_sound(lent):
            raise psycopg.OperationalError("The server has left.")
        if not lent.autocommit:
            lent.autocommit = True
        return fetched(lent, statement, parameters)
    finally:
        pool.putconn(lent)


def fetched(by: psycopg.Connection[Any], statement: str, parameters: Sequence[Any]) -> tuple[Any, ...] | None:
    cursor = psycopg.Cursor(by, row_factory=tuple_row)  # Django's own writes the parameters into the text
    try:
        cursor.execute(statement, parameters, prepare=True, binary=True)
    except psycopg.errors.FeatureNotSupported as exc:
        if not is_outlived(exc) or not forgot_statements(by):
            raise
        cursor.execute(statement, parameters, prepare=True, binary=True)
    return cursor.fetchone()


# ---- plans that are refused ------------------------------------------------------------------------------------------


def is_outlived(exc: BaseException | None) -> bool:
    """A column is of another type since the statement was prepared, and PostgreSQL refuses it from then on, before it
    does anything. The message, `cached plan must not change result type`, may be translated; who says it is not.
    """
    if not isinstance(exc, psycopg.errors.FeatureNotSupported):
        return False
    return exc.diag.source_function == "RevalidateCachedQuery"


def forgot_statements(by: psycopg.Connection[Any]) -> bool:
    """What the connection has prepared, the server forgets, and psycopg, which sees the command. True if all may be
    tried again: not within a transaction, which is over. There psycopg forgets it by itself, at the rollback.
    """
    if by.info.transaction_status != TransactionStatus.IDLE:
        return False
    by.execute("DEALLOCATE ALL", prepare=False)
    return True


# ---- rows of a model -------------------------------------------------------------------------------------------------


@functools.cache
def columns_of(model: type[Model], *names: str, called: str = "") -> str:
    """What a statement has to return, in this order, for an instance. `names`: of columns, if not all are wanted;
    `called`: the table, by another name.
    """
    table = called or model._meta.db_table
    return ", ".join(f"{table}.{field.column}{_cast(field)}" for field in _fields(model, names))


def names_of(model: type[Model], *names: str) -> list[str]:
    """The columns of `columns_of`, in its order."""
    return [str(field.column) for field in _fields(model, names)]


def instance_of(model: type[M], row: Sequence[Any], *names: str) -> M:
    """`row`: of `columns_of`, with the same names; the other columns are deferred, as by `only()`."""
    attributes, converters = _in_order(model, names)
    values = list(row)
    for place, convert in converters:
        values[place] = convert(values[place], None, connection)
    return model.from_db(DEFAULT_DB_ALIAS, attributes, values)


@functools.cache
def _in_order(model: type[Model], names: tuple[str, ...]) -> tuple[list[str], list[tuple[int, Callable[..., Any]]]]:
    fields = _fields(model, names)
    converting = [(place, field) for place, field in enumerate(fields) if hasattr(field, "from_db_value")]
    return [field.attname for field in fields], [(place, field.from_db_value) for place, field in converting]


def _fields(model: type[Model], names: tuple[str, ...]) -> list["Field[Any, Any]"]:
    """In the order of the model, in which `from_db` wants their values."""
    return [field for field in model._meta.concrete_fields if not names or field.column in names]


def _cast(field: "Field[Any, Any]") -> str:
    """Text of any length: a statement that is prepared outlives a migration which allows a column more of it. And what
    Django decodes by itself, which psycopg would, of a binary answer.
    """
    kind = field.db_type(connection) or ""
    if kind.startswith("varchar("):
        return "::text[]" if kind.endswith("[]") else "::text"
    return "::text" if kind == "jsonb" else ""


@functools.cache
def insertion_of(model: type[Model], *, rows: int = 1, **expressions: str) -> str:
    """The INSERT of so many rows, for `values_of` each. `expressions`: SQL around the value of a column, by the field's
    name.
    """
    fields = model._meta.concrete_fields
    columns = ", ".join(str(field.column) for field in fields)
    row = f"({', '.join(expressions.get(field.name, '%s') for field in fields)})"
    return f"INSERT INTO {model._meta.db_table} ({columns}) VALUES {', '.join([row] * rows)}"  # noqa: S608


@functools.cache
def update_of(model: type[Model], *, rows: int) -> str:
    """The UPDATE of so many whole rows, by their primary keys, for `values_of` each."""
    fields = model._meta.concrete_fields
    table, columns = model._meta.db_table, [str(field.column) for field in fields]
    changes = ", ".join(f"{field.column} = made.{field.column}" for field in fields if not field.primary_key)
    typed = f"({', '.join(f'%s::{_type(field)}' for field in fields)})"
    others = f", ({', '.join(['%s'] * len(fields))})" * (rows - 1)
    pk = model._meta.pk.column
    return f"""
        UPDATE {table} SET {changes} FROM (VALUES {typed}{others}) AS made ({", ".join(columns)})
        WHERE {table}.{pk} = made.{pk}
    """  # noqa: S608 (names of ours, no values)


def _type(field: "Field[Any, Any]") -> str:
    """Without its length, by which a cast would cut off in silence what is too long."""
    return re.sub(r"\(\d+\)", "", field.db_type(connection) or "")


def values_of(instance: Model, *, is_new: bool = True, **instead: Any) -> list[Any]:
    """As `save()` would write them: what is sealed is sealed by this, for the instance's primary key.

    `instead`: what a statement takes in the place of a field's value, by its name.
    """
    database = connections[connection.alias]  # `connection` would look for it at each field
    return [
        instead[field.name]
        if field.name in instead
        else field.get_db_prep_save(field.pre_save(instance, is_new), connection=database)
        for field in instance._meta.concrete_fields
    ]
