"""The two schemas of a sync: one for its rows, and one in which dlt keeps what it is about to merge."""

import re
from typing import Final

from psycopg import sql

from syncs.destinations.target import Target, connect, cut_off_after, told_in_our_words

SCHEMA: Final = re.compile(r"sync_[0-9a-f]{12}")
DROPPED_WITHIN: Final = 60.0  # seconds


def both(schema: str) -> tuple[str, str]:
    """Raises ValueError for what is no schema of a sync."""
    if not SCHEMA.fullmatch(schema):
        raise ValueError("That is not a schema of a sync.")
    return schema, f"{schema}_staging"


def drop(found: Target, schema: str) -> None:
    """Raises DestinationUnavailable."""
    names = both(schema)
    with told_in_our_words(), connect(found) as there, cut_off_after(DROPPED_WITHIN, there):
        for name in names:
            there.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
