"""The role that writes the syncs' rows belongs to a database of the product by its name: a move may change that."""

import secrets

from django.conf import settings
from psycopg import sql

from syncs.destinations.builtin import comment_on_role, mark_of_writer

from .tables import Connection


def hand_over(here: Connection, there: Connection) -> str:
    """The statement that gives the role to the target, where that is on the same server; else nothing.

    Not run by us: from then on the old database has no syncs, so that is for whoever has seen the new one at work.
    """
    ours, theirs = here.info.dbname, there.info.dbname
    role = settings.SYNC_DATABASE_NAME
    if ours == theirs or comment_on_role(there, role) != mark_of_writer(ours) or not is_same_server(here, there):
        return ""
    statement = sql.SQL("COMMENT ON ROLE {} IS {};").format(sql.Identifier(role), sql.Literal(mark_of_writer(theirs)))
    return statement.as_string(there)


def is_same_server(here: Connection, there: Connection) -> bool:
    """Whether a name that we give ourselves in the one is seen in the other."""
    name = f"move_database {secrets.token_hex(16)}"
    here.execute("SELECT set_config('application_name', %s, true)", [name])
    row = there.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = %s", [name]).fetchone()
    return row is not None
