"""What there is in a database, of whatever kind, and what of it a move has left behind."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.apps import apps

from sequin_auth.lib.schema import MARK

from .tables import Connection

THINGS = """
    SELECT found.type, found.identity FROM (
        SELECT 'pg_class'::regclass AS catalogue, oid, relnamespace AS space FROM pg_class
        WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
        UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
        UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type WHERE typtype IN ('e', 'd', 'r')
        UNION ALL SELECT 'pg_namespace'::regclass, oid, oid FROM pg_namespace
        WHERE nspname <> 'public' AND oid NOT IN (SELECT extnamespace FROM pg_extension)
    ) AS thing
    JOIN pg_namespace space ON space.oid = thing.space,
    pg_identify_object(thing.catalogue, thing.oid, 0) AS found
    WHERE space.nspname <> 'information_schema' AND space.nspname NOT LIKE 'pg\\_%'
        AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = thing.catalogue AND objid = thing.oid AND deptype = 'e'
        )
    ORDER BY 1, 2
"""
LEFT_BEHIND = """
    SELECT format('DROP TABLE IF EXISTS %I.%I CASCADE', schemaname, tablename) FROM pg_tables
    WHERE schemaname = 'public'
    UNION ALL
    SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', oid::regprocedure) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
    UNION ALL
    SELECT format('DROP TYPE IF EXISTS %s CASCADE', oid::regtype) FROM pg_type
    WHERE typnamespace = 'public'::regnamespace
        AND (typtype IN ('e', 'd') OR EXISTS (SELECT FROM pg_class WHERE oid = typrelid AND relkind = 'c'))
"""
MOST_NAMED = 3
OF_MIGRATIONS = ("django_", "audit_events_")  # made there without the name of an app


@dataclass(frozen=True)
class Thing:
    kind: str
    identity: str  # public.mine(integer)

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"

    @property
    def is_ours(self) -> bool:
        """By its name, since an older version's migrations may have been under way."""
        schema, _, name = self.identity.partition(".")
        labels = tuple(f"{app.label}_" for app in apps.get_app_configs())
        return schema == "public" and (name == MARK or name.startswith((*labels, *OF_MIGRATIONS)))


def things_in(there: Connection) -> list[Thing]:
    """All but what PostgreSQL and its extensions have brought along."""
    return [Thing(kind, identity) for kind, identity in there.execute(THINGS)]


def is_marked(found: Iterable[Thing]) -> bool:
    return any(thing.identity == f"public.{MARK}" for thing in found)


def named(found: list[Thing]) -> str:
    return ", ".join(str(thing) for thing in found[:MOST_NAMED]) + (", …" if len(found) > MOST_NAMED else "")


def drop_left_behind(there: Connection) -> None:
    for (statement,) in there.execute(LEFT_BEHIND).fetchall():
        there.execute(statement)
