"""
Where the rows go: a PostgreSQL that holds nothing, in which we may make tables.

The first thing that we make there is a mark, which goes with the commit of the rows. A target that bears it is one that
we left half-way, so what stands there is ours to clear away, unless somebody has begun to use it; any other one that is
not empty is left alone. Nobody is served from a target that bears the mark (lib/schema.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connections
from psycopg import sql

from oauth_apps.models import Account
from sequin_auth.lib.postgres.pooling import is_pooled, own_connection
from sequin_auth.lib.schema import MARK
from sequin_auth.settings import database_at
from syncs.destinations.target import fault_of

from .company import at_last, others_in, told
from .contents import Thing, drop_left_behind, is_marked, named, things_in
from .errors import TargetRefused
from .tables import Connection

ALIAS = "move_database_target"
NUMBER = 0x4D4F5645  # an advisory lock's: "MOVE"
OF_THE_URL = {
    "failed to resolve host": "There is no host of this name.",
    "invalid sslmode value": "Its sslmode is none that PostgreSQL knows.",
}


def settings_of(url: str) -> dict[str, Any]:
    """As settings.py reads DATABASE_URL. Raises TargetRefused, without a word of the URL."""
    try:
        return database_at(url, called="The target")
    except ImproperlyConfigured as exc:
        raise TargetRefused(str(exc)) from None


@contextmanager
def made_known(found: dict[str, Any]) -> Iterator[None]:
    """Django can connect to it meanwhile, by ALIAS."""
    connections.databases[ALIAS] = connections.configure_settings({"default": {}, ALIAS: found})[ALIAS]
    try:
        yield
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]


def connected() -> Connection:
    """Raises TargetRefused."""
    try:
        return own_connection(connections[ALIAS], autocommit=True)
    except psycopg.ProgrammingError:
        raise TargetRefused("The target's URL has an option that PostgreSQL does not know.") from None
    except psycopg.OperationalError as exc:
        raise TargetRefused(f"The target cannot be reached. {reason_of(exc)}") from None


def reason_of(problem: psycopg.OperationalError) -> str:
    """In our words: the server's may repeat parts of the URL."""
    said = str(problem)
    for beginning, words in OF_THE_URL.items():
        if beginning in said:
            return words
    return str(fault_of(problem))


def refuse_unfit(there: Connection) -> None:
    """Raises TargetRefused."""
    if is_pooled(there):
        raise TargetRefused("The target is a pooler. Name the server itself for this.")
    least, *_ = connections[ALIAS].features.minimum_database_version or (0,)
    if there.info.server_version < least * 10_000:
        raise TargetRefused(f"The target's PostgreSQL is older than {least}, which is needed.")
    ((recovering, encoding),) = there.execute("SELECT pg_is_in_recovery(), current_setting('server_encoding')")
    if recovering:
        raise TargetRefused("The target is a replica: nothing can be written there.")
    if encoding != "UTF8":
        raise TargetRefused(f"The target's encoding is {encoding}. Make the database with ENCODING 'UTF8'.")
    ((may_create,),) = there.execute(
        "SELECT coalesce(bool_and(has_schema_privilege(oid, 'CREATE')), false) FROM pg_namespace"
        " WHERE nspname = 'public'"
    )
    if not may_create:
        raise TargetRefused("The target's role may not make tables: it needs CREATE on the schema public.")


def refuse_the_same(there: Connection, ours: Connection) -> None:
    """A lock that we have in the one is seen in the other. Raises TargetRefused."""
    ours.execute("SELECT pg_advisory_xact_lock(%s)", [NUMBER])

    def is_taken() -> bool:
        ((is_free,),) = there.execute("SELECT pg_try_advisory_lock(%s)", [NUMBER])
        return not is_free

    if at_last(is_taken):
        raise TargetRefused("The target is the database that is in use now, or somebody moves one to it already.")


def refuse_what_is_others(there: Connection) -> None:
    """Raises TargetRefused."""
    found = things_in(there)
    if found and not is_marked(found):
        raise TargetRefused(f"The target is not empty: it has {named(found)}. Make a new database for this.")
    refuse_what_is_not_ours(found)


def refuse_what_is_not_ours(found: list[Thing]) -> None:
    """Raises TargetRefused."""
    if others := [thing for thing in found if not thing.is_ours]:
        raise TargetRefused(
            f"The target is one that we left half-way, and has got something since: {named(others)}. Make a new"
            " database for this."
        )


def refuse_company(there: Connection) -> None:
    """Whoever is at work on what we left half-way would lose it. Raises TargetRefused."""
    if is_marked(things_in(there)) and (others := others_in(there)):
        raise TargetRefused(
            f"The target is one that we left half-way, and has {told(others)}. End them, or make a new database."
        )


def clear(there: Connection) -> None:
    """Away with what we have made, and not finished. Raises TargetRefused, psycopg.Error."""
    found = things_in(there)
    if not is_marked(found):
        return
    refuse_what_is_not_ours(found)
    with there.transaction():
        refuse_accounts(there, found)
        drop_left_behind(there)


def refuse_accounts(there: Connection, found: list[Thing]) -> None:
    """Until the mark goes none has come from us: somebody has made it there. Raises TargetRefused."""
    table = sql.Identifier("public", Account._meta.db_table)
    if not any(thing.identity == f"public.{Account._meta.db_table}" for thing in found):
        return
    there.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table))
    ((has_accounts,),) = there.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(table)).fetchall()
    if has_accounts:
        raise TargetRefused(
            "The target is one that we left half-way, and somebody has made accounts there since. Make a new database."
        )


def prepare(there: Connection) -> None:
    """Clear away an earlier attempt, set the mark, and make the tables. Raises TargetRefused."""
    clear(there)
    there.execute(sql.SQL("CREATE TABLE public.{} ()").format(sql.Identifier(MARK)))
    call_command("migrate", database=ALIAS, interactive=False, verbosity=0)
    connections[ALIAS].close()
