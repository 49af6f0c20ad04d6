"""All rows in one transaction of the target: either everything has arrived and is the same, or nothing is there."""

from dataclasses import dataclass

from psycopg import sql

from sequin_auth.lib.schema import MARK

from .errors import CannotMove, NotTheSame
from .tables import TRIGGERS, Connection, Table, content_of, in_order, sequences_of, spell_alike, tables_of

ENABLE = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


@dataclass
class Moved:
    tables: int = 0
    rows: int = 0


def copy(source: Connection, target: Connection) -> Moved:
    """`source`: in a transaction that sees one moment. Raises CannotMove, NotTheSame."""
    tables = tables_of(source)
    refuse_other_columns(tables, tables_of(target))
    moved = Moved()
    with target.transaction():
        spell_alike(target)
        target.execute("SET CONSTRAINTS ALL DEFERRED")
        triggers = target.execute(TRIGGERS).fetchall()
        everything = sql.SQL(", ").join(table.identifier for table in tables.values())
        for name, _, _ in triggers:
            target.execute(sql.SQL("ALTER TABLE public.{} DISABLE TRIGGER USER").format(sql.Identifier(name)))
        target.execute(sql.SQL("TRUNCATE {}").format(everything))  # migrations have put rows there
        for table in in_order(target, tables):
            send(source, target, table)
            moved.rows += compare(source, target, table)
            moved.tables += 1
        target.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for name, trigger, enabled in triggers:
            enable(target, name, trigger, enabled)
        set_sequences(source, target)
        target.execute(sql.SQL("DROP TABLE public.{}").format(sql.Identifier(MARK)))
    for table in tables.values():
        target.execute(sql.SQL("ANALYZE {}").format(table.identifier))
    return moved


def refuse_other_columns(here: dict[str, Table], there: dict[str, Table]) -> None:
    """Raises CannotMove."""
    there = {name: table for name, table in there.items() if name != MARK}
    if unknown := sorted(here.keys() - there.keys()):
        raise CannotMove(
            f"These tables are not of the product: {', '.join(unknown)}. Put them elsewhere, or drop them."
        )
    if missing := sorted(there.keys() - here.keys()):
        raise CannotMove(f"These tables of the product are missing here: {', '.join(missing)}.")
    for name, table in here.items():
        if set(table.columns) != set(there[name].columns):
            raise CannotMove(f"The columns of {name} are not those that the migrations make.")


def send(source: Connection, target: Connection, table: Table) -> None:
    names = {"table": table.identifier, "columns": table.names}
    with (
        source.cursor().copy(sql.SQL("COPY {table} ({columns}) TO STDOUT").format(**names)) as rows,
        target.cursor().copy(sql.SQL("COPY {table} ({columns}) FROM STDIN").format(**names)) as taken,
    ):
        for block in rows:
            taken.write(block)


def compare(source: Connection, target: Connection, table: Table) -> int:
    """How many rows have arrived. Raises NotTheSame."""
    sent, arrived = content_of(source, table), content_of(target, table)
    if sent != arrived:
        raise NotTheSame(f"Of {table.name}, {sent.rows} rows were sent, and what arrived is not the same.")
    return arrived.rows


def enable(target: Connection, name: str, trigger: str, enabled: str) -> None:
    if enabled in ENABLE:
        statement = sql.SQL("ALTER TABLE public.{} {} TRIGGER {}")
        how = sql.SQL(ENABLE[enabled])
        target.execute(statement.format(sql.Identifier(name), how, sql.Identifier(trigger)))


def set_sequences(source: Connection, target: Connection) -> None:
    """The next number there is the next one here."""
    for sequence in sequences_of(source):
        row = source.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(sequence)).fetchone()
        assert row is not None  # noqa: S101 - a sequence is one row
        target.execute("SELECT setval(%s::regclass, %s, %s)", [sequence.as_string(target), *row])
