"""What there is in the schema `public`, as PostgreSQL's catalogue has it, and how a row is compared."""

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

COLUMNS = """
    SELECT class.relname, attribute.attname, format_type(attribute.atttypid, attribute.atttypmod)
    FROM pg_class class JOIN pg_attribute attribute ON attribute.attrelid = class.oid
    WHERE class.relnamespace = 'public'::regnamespace AND class.relkind IN ('r', 'p') AND NOT class.relispartition
        AND attribute.attnum > 0 AND NOT attribute.attisdropped AND attribute.attgenerated = ''
    ORDER BY class.relname, attribute.attnum
"""
REFERENCES = """
    SELECT referring.relname, referred.relname FROM pg_constraint found
    JOIN pg_class referring ON referring.oid = found.conrelid JOIN pg_class referred ON referred.oid = found.confrelid
    WHERE found.contype = 'f' AND found.conrelid <> found.confrelid AND found.connamespace = 'public'::regnamespace
        AND (NOT found.condeferrable OR %s)
"""
SEQUENCES = """
    SELECT relname FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace ORDER BY relname
"""
TRIGGERS = """
    SELECT class.relname, trigger.tgname, trigger.tgenabled::text
    FROM pg_trigger trigger JOIN pg_class class ON class.oid = trigger.tgrelid
    WHERE NOT trigger.tgisinternal AND class.relnamespace = 'public'::regnamespace
"""
# Independent of the order of the rows, and of the two servers' collations
DIGEST = """
    SELECT count(*), coalesce(sum(
        ('x' || encode(substring(sha256(convert_to(ROW({columns})::text, 'UTF8')) FOR 8), 'hex'))::bit(64)::bigint
    ), 0)::text FROM {table}
"""
SPELLINGS = {"TimeZone": "UTC", "DateStyle": "ISO", "IntervalStyle": "iso_8601", "bytea_output": "hex"}
SPELLINGS |= {"extra_float_digits": "1", "search_path": "public"}


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[tuple[str, str], ...]  # names and types

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier("public", self.name)

    @property
    def names(self) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(name) for name, _ in self.columns)


@dataclass(frozen=True)
class Content:
    rows: int
    digest: str


def tables_of(there: Connection) -> dict[str, Table]:
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in there.execute(COLUMNS):
        found.setdefault(table, []).append((column, kind))
    return {name: Table(name, tuple(columns)) for name, columns in found.items()}


def in_order(there: Connection, tables: dict[str, Table]) -> list[Table]:
    """Each behind those that it refers to. Constraints that can be deferred give way where that is a circle."""
    for deferrable_too in (True, False):
        order: TopologicalSorter[str] = TopologicalSorter({name: set() for name in sorted(tables)})
        for referring, referred in there.execute(REFERENCES, [deferrable_too]):
            order.add(referring, referred)
        try:
            return [tables[name] for name in order.static_order() if name in tables]
        except CycleError:
            continue
    return [tables[name] for name in sorted(tables)]  # a reference that has to wait for the other says so


def content_of(there: Connection, table: Table) -> Content:
    row = there.execute(sql.SQL(DIGEST).format(columns=table.names, table=table.identifier)).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has one
    return Content(*row)


def sequences_of(there: Connection) -> list[sql.Identifier]:
    return [sql.Identifier("public", name) for (name,) in there.execute(SEQUENCES)]


def spell_alike(there: Connection) -> None:
    """Have values written as the other side writes them, for the rest of the transaction."""
    for name, value in SPELLINGS.items():
        there.execute("SELECT set_config(%s, %s, true)", [name, value])
