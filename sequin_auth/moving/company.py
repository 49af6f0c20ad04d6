"""Who else is connected to a database; whoever is just about to leave is given the time for it."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from .tables import Connection

T = TypeVar("T")

PATIENCE: Final = 2.0  # seconds: connections of a process that has ended, maybe this command's before
EVERY: Final = 0.1
# Whose kind is hidden from us, since the role is another one, counts as well; PostgreSQL's own processes have no role
OTHERS: Final = """
    SELECT coalesce(nullif(application_name, ''), 'without a name') || ' as ' || usename
        || coalesce(' from ' || host(client_addr), '')
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename IS NOT NULL
        AND coalesce(backend_type, 'client backend') = 'client backend'
    ORDER BY 1
"""
MOST_NAMED: Final = 5


def at_last(look: Callable[[], T]) -> T:
    """What it returns: nothing, as soon as it does, or what it is still after PATIENCE."""
    end = time.monotonic() + PATIENCE
    while (seen := look()) and time.monotonic() < end:
        time.sleep(EVERY)
    return seen


def others_in(there: Connection) -> list[str]:
    """Who they are: the name that the application gives itself, the role, and the address."""

    def look() -> list[str]:
        there.execute("SELECT pg_stat_clear_snapshot()")  # within a transaction nothing new would be seen
        return [str(who) for (who,) in there.execute(OTHERS)]

    return at_last(look)


def told(others: list[str]) -> str:
    """`2 other connections (psql as admin from 10.0.0.1, …)`"""
    named = ", ".join(others[:MOST_NAMED]) + (", …" if len(others) > MOST_NAMED else "")
    return f"{len(others)} other connection{'' if len(others) == 1 else 's'} ({named})"
