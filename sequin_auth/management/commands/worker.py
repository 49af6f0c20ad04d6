"""
`manage.py worker [--queues …]`: procrastinate's worker, which alone would end with its first lost connection to the
database.

Without names it serves all queues but that of syncs: a slice of a sync takes its time and a library of its own, and
delays no refresh of a token in a worker that is only for them (`--queues syncs`).
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from typing import Any, Final

import psycopg
import structlog
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, Error, connection
from procrastinate.contrib.django import app
from procrastinate.contrib.django.utils import connector_params
from procrastinate.exceptions import ConnectorException
from procrastinate.psycopg_connector import PsycopgConnector

from credentials.refresh import sweep
from oauth_apps import measures
from oauth_apps.webhooks import delivery
from sequin_auth.lib import schema
from sequin_auth.lib.postgres.pooling import leads_to_pooler
from sequin_auth.management.commands.serve import refuse_missing_keys
from syncs import session, starting

log = structlog.get_logger("worker")
QUEUES: Final = ("refresh", "webhooks", "housekeeping")
SYNCS: Final = "syncs"
POLLING_EVERY: Final = 1.0  # seconds, behind a pooler
BEAT: Final = 10.0  # seconds after which it says again that it is there
PAUSE: Final = 1.0  # seconds, until it looks for the database again
JOBS_AT_ONCE: Final = 4  # so that a long sweep keeps nobody from purging
GRACE: Final = 12.0  # seconds for jobs that are under way; a call to a provider ends within ten
GRACE_OF_SYNCS: Final = 60.0  # the page in flight, and the merge of what was fetched


class Command(BaseCommand):
    help = "Works off the queue, on schedule and on demand, until SIGTERM or Ctrl-C; jobs under way come to their end."
    requires_system_checks = []  # of URLs, forms and templates, none of which it needs

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--queues",
            default=",".join(QUEUES),
            metavar="A,B",
            help=f"Of {', '.join([*QUEUES, SYNCS])}. Default: all but {SYNCS}.",
        )

    def handle(self, *args: Any, queues: str, **options: Any) -> None:
        names = [name.strip() for name in queues.split(",") if name.strip()]
        if unknown := [name for name in names if name not in (*QUEUES, SYNCS)]:
            raise CommandError(f"There is no queue {unknown[0]}. There are {', '.join([*QUEUES, SYNCS])}.")
        if SYNCS in names:
            if not starting.is_installed():
                raise CommandError(starting.HINT)
            os.umask(0o077)  # the library leaves files below VAR_DIR
            starting.sweep()
            make_sync_database()
        try:
            asyncio.run(work(names))
        except schema.HalfMoved as exc:
            raise CommandError(str(exc)) from None


def make_sync_database() -> None:
    """Each slice does so too: this tells of it early."""
    try:
        schema.refuse_half_moved()
        call_command("sync_database", verbosity=0)
    except CommandError as exc:
        log.warning("no_sync_database", reason=str(exc))
    except (Error, psycopg.Error) as exc:  # it is looked for again
        log.warning("worker_lost_database", reason=type(exc).__name__)
    finally:
        connection.close()


async def work(queues: list[str]) -> None:
    """Raises CommandError if the keys do not open what the database holds, as soon as it answers."""
    """Raises HalfMoved."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - asyncio.run made one
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, task)
    have_keys_been_looked_at = False
    while True:
        try:
            try:
                schema.refuse_half_moved()
                if not have_keys_been_looked_at:
                    await asyncio.to_thread(look_at_keys)
                    have_keys_been_looked_at = True
                await work_while_connected(queues)
                log.warning("worker_lost_database")
            except schema.HalfMoved:
                raise
            except (ConnectorException, DatabaseError, psycopg.Error) as exc:
                log.warning("worker_lost_database", reason=type(exc.__cause__ or exc).__name__)
            await asyncio.sleep(PAUSE)
        except asyncio.CancelledError:
            return


def look_at_keys() -> None:
    """Raises CommandError, DatabaseError."""
    try:
        refuse_missing_keys()
    finally:
        connection.close()


def stop(task: "asyncio.Task[None]") -> None:
    """A sweep, which may have a minute's work before it, starts nothing more."""
    sweep.stopping.set()
    delivery.stopping.set()
    session.stopping.set()
    task.cancel()


async def work_while_connected(queues: list[str]) -> None:
    """Returns, or raises ConnectorException, when the connection is lost. Cancelled, it lets jobs come to their end."""
    found = connector_params() | {"prepare_threshold": None}  # behind a pooler a statement would be another's
    with app.replace_connector(PsycopgConnector(kwargs=found)):
        async with app.open_async(), beating(queues):
            await app.run_worker_async(
                queues=queues,
                concurrency=JOBS_AT_ONCE,
                delete_jobs="successful",
                install_signal_handlers=False,
                shutdown_graceful_timeout=GRACE_OF_SYNCS if SYNCS in queues else GRACE,
                **ways_to_look_for_jobs(),
            )


@contextlib.asynccontextmanager
async def beating(queues: list[str]) -> AsyncIterator[None]:
    """Says which queues somebody serves, which procrastinate's own table of workers does not."""
    beat = asyncio.create_task(beat_for_ever(queues))
    try:
        yield
    finally:
        beat.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beat
        await asyncio.to_thread(say, [])


async def beat_for_ever(queues: list[str]) -> None:
    while True:
        await asyncio.to_thread(say, queues)
        await asyncio.sleep(BEAT)


def say(queues: list[str]) -> None:
    try:
        measures.note_worker(queues)
    except DatabaseError as exc:
        log.warning("worker_not_noted", reason=type(exc).__name__)
    finally:
        connection.close()


def ways_to_look_for_jobs() -> dict[str, Any]:
    """PostgreSQL tells of a new job; what it tells does not come through a pooler, so there it is asked every second.

    Raises psycopg.OperationalError.
    """
    if leads_to_pooler(connection):
        return {"listen_notify": False, "fetch_job_polling_interval": POLLING_EVERY}
    return {}
