"""Whether the database has what the code asks of it, for those who ask often: a start, `/readyz`."""

import pkgutil
from functools import cache
from importlib.util import find_spec
from typing import Final

from django.apps import apps
from django.db import DatabaseError, ProgrammingError, connection
from django.db.migrations.loader import MigrationLoader
from psycopg.errors import UndefinedTable

from .postgres.pooling import own_connection

MARK: Final = "sequin_auth_move_under_way"  # a table, of a target of `move_database` that has not got its rows yet
IS_MARKED: Final = f"to_regclass('public.{MARK}') IS NOT NULL"
MIGRATED: Final = f"SELECT app, name FROM django_migrations UNION ALL SELECT '', '{MARK}' WHERE {IS_MARKED}"  # noqa: S608


class HalfMoved(DatabaseError):
    def __init__(self) -> None:
        super().__init__(
            "The database is one that `manage.py move_database` has not finished. Run that again, with DATABASE_URL"
            " naming the old one; until then that is the one to start with."
        )


def is_behind() -> bool:
    """Whether a migration is yet to run. One statement; raises DatabaseError if the database does not answer, and
    HalfMoved.

    Django's MigrationExecutor would read every migration to find the plan, which takes a quarter of a second; that
    there is one to run, their names tell. `migrate` records each of them, those that others have replaced as well.
    """
    with connection.cursor() as cursor:
        try:
            cursor.execute(MIGRATED)
        except ProgrammingError as exc:
            if isinstance(exc.__cause__, UndefinedTable):
                return True  # nothing has ever been migrated
            raise
        found = set(cursor.fetchall())
    if ("", MARK) in found:
        raise HalfMoved
    return not migrations_of_the_code() <= found


def refuse_half_moved() -> None:
    """Before a start, which would migrate it. Raises HalfMoved, psycopg.Error."""
    with own_connection(connection, autocommit=True) as there:
        ((is_marked,),) = there.execute(f"SELECT {IS_MARKED}").fetchall()
    if is_marked:
        raise HalfMoved


@cache
def migrations_of_the_code() -> frozenset[tuple[str, str]]:
    """By app and name, as they lie on the disk; they do not change while a process lives."""
    return frozenset((app.label, name) for app in apps.get_app_configs() for name in migrations_of(app.label))


def migrations_of(label: str) -> list[str]:
    module, _ = MigrationLoader.migrations_module(label)
    spec = find_spec(module) if module else None
    if spec is None or not spec.submodule_search_locations:
        return []
    found = pkgutil.iter_modules(spec.submodule_search_locations)
    return [name for _, name, is_package in found if not is_package and name[0] not in "_~"]
