"""What the database refuses, told apart."""

import psycopg
import structlog
from django.db import IntegrityError

log = structlog.get_logger("sequin_auth")


def is_of_row_deleted_meanwhile(exc: BaseException | None) -> bool:
    """Whether what `exc` was raised for belongs to a row that somebody else deleted at the same time, or the row that
    was to be deleted has got something that belongs to it. Foreign keys are looked at by the commit.

    The log has a line of it, with the name of the key: were it a mistake of ours, it would come again and again.
    """
    cause = exc.__cause__ if isinstance(exc, IntegrityError) else None
    if not isinstance(cause, psycopg.errors.ForeignKeyViolation):
        return False
    log.warning("deleted_meanwhile", place=cause.diag.constraint_name)
    return True
