"""`manage.py move_database URL`"""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.views.decorators.debug import sensitive_variables

from sequin_auth.lib import redaction
from sequin_auth.moving import copying, source, syncs, target
from sequin_auth.moving.errors import CannotMove, SourceInUse, TargetRefused
from sequin_auth.processes import interrupt_on_signals

OF_STARTS = ("serve.lock", "run.lock")
NEXT = """
Now, on every machine, with the same ENCRYPTION_KEYS and SECRET_KEY as before:
  1. set DATABASE_URL to that address;
  2. start, and look at PUBLIC_URL/readyz;
  3. keep the old database until you have seen the new one at work, and never start with it again: what either takes
     from then on, the other does not know.
"""
SYNCS_STAY = "The rows of syncs stay where SYNC_DATABASE_URL says."
SYNCS_HAND_OVER = (
    "The rows of syncs stay where they are, on this same server, and belong to the old database until you say"
    " otherwise. Syncs do not run before that. As a superuser, or the role that made it:\n  {}"
)
SYNCS_FILL_AGAIN = (
    "The rows of syncs are in a database of their own, which was not moved: the next start makes it beside the new one,"
    " and the syncs fill it again. To keep it, move it by pg_dump, and name it in SYNC_DATABASE_URL."
)


class Command(BaseCommand):
    help = (
        "Copies the product's database, embedded or not, into another PostgreSQL, which has to be empty, and compares"
        " what has arrived. Everything has to be stopped. Cut off anywhere, it leaves the old database as it was; it is"
        " simply run again."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "url",
            metavar="URL",
            help="postgres://user:password@host:port/name. `-`: it is read from standard input, so that the password"
            " stands in no list of processes and in no history.",
        )

    @sensitive_variables()
    def handle(self, *args: Any, url: str, **options: Any) -> None:
        interrupt_on_signals()
        url = sys.stdin.readline().strip() if url == "-" else url
        try:
            moved, hand_over = move(target.settings_of(url))
        except CannotMove as exc:
            raise CommandError(str(exc)) from None
        except (psycopg.Error, Error) as exc:
            raise CommandError(f"It was broken off ({type(exc).__name__}). Run the command again.") from None
        except KeyboardInterrupt:
            raise CommandError("It was broken off. The old database is as it was.") from None
        self.stdout.write(f"{moved.tables} tables with {moved.rows} rows were copied, and are the same there.")
        self.stdout.write(NEXT + about_syncs(hand_over))


def about_syncs(hand_over: str) -> str:
    if settings.SYNC_DATABASE:
        return SYNCS_STAY
    return SYNCS_HAND_OVER.format(hand_over) if hand_over else SYNCS_FILL_AGAIN


@sensitive_variables()
def move(found: dict[str, Any]) -> tuple[copying.Moved, str]:
    """And the statement that hands the syncs' role over, if that is needed. Raises CannotMove, psycopg.Error."""
    redaction.learn(str(found.get("PASSWORD") or ""))
    with nobody_starts(), target.made_known(found):
        refuse_waiting_migrations()
        with source.at_rest() as here, target.connected() as there:
            target.refuse_unfit(there)
            target.refuse_the_same(there, here)
            target.refuse_what_is_others(there)
            target.refuse_company(there)
            hand_over = syncs.hand_over(here, there)
            try:
                target.prepare(there)
                return copying.copy(here, there), hand_over
            except BaseException:
                if not there.broken:
                    with suppress(TargetRefused, psycopg.Error):  # why it was broken off says more
                        target.clear(there)
                raise


@contextmanager
def nobody_starts() -> Iterator[None]:
    """`make serve` and `make run` refuse to begin on this machine meanwhile. Raises SourceInUse."""
    settings.VAR_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = [os.open(settings.VAR_DIR / name, os.O_RDWR | os.O_CREAT, 0o600) for name in OF_STARTS]
    try:
        for descriptor in held:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise SourceInUse("It is being served from VAR_DIR. Stop `make serve` or `make run` first.") from None
    finally:
        for descriptor in held:
            os.close(descriptor)


def refuse_waiting_migrations() -> None:
    """Raises CannotMove."""
    try:
        executor = MigrationExecutor(connection)
    except OperationalError:
        raise CannotMove("The database does not answer; DATABASE_URL says where it is looked for.") from None
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CannotMove("The database is not migrated. Run `manage.py migrate` first.")
