"""`manage.py worker`: procrastinate's worker, which alone would end with its first lost connection to the database."""

import asyncio
import signal
from typing import Any, Final

import psycopg
import structlog
from django.core.management.base import BaseCommand
from procrastinate.contrib.django import app
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.exceptions import ConnectorException

from credentials.refresh import sweep

log = structlog.get_logger("worker")
PAUSE: Final = 1.0  # seconds, until it looks for the database again
JOBS_AT_ONCE: Final = 4  # so that a long sweep keeps nobody from purging
GRACE: Final = 12.0  # seconds for jobs that are under way; a call to a provider ends within ten


class Command(BaseCommand):
    help = "Works off the queue, on schedule and on demand, until SIGTERM or Ctrl-C; jobs under way come to their end."

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(work())


async def work() -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - asyncio.run made one
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, task)
    while True:
        try:
            try:
                await work_while_connected()
                log.warning("worker_lost_database")
            except (ConnectorException, psycopg.Error) as exc:
                log.warning("worker_lost_database", reason=type(exc.__cause__ or exc).__name__)
            await asyncio.sleep(PAUSE)
        except asyncio.CancelledError:
            return


def stop(task: "asyncio.Task[None]") -> None:
    """A sweep, which may have a minute's work before it, starts nothing more."""
    sweep.stopping.set()
    task.cancel()


async def work_while_connected() -> None:
    """Returns, or raises ConnectorException, when the connection is lost. Cancelled, it lets jobs come to their end."""
    assert isinstance(app.connector, DjangoConnector)  # noqa: S101 - outside of a worker
    with app.replace_connector(app.connector.get_worker_connector()):
        async with app.open_async():
            await app.run_worker_async(
                concurrency=JOBS_AT_ONCE,
                delete_jobs="successful",
                install_signal_handlers=False,
                shutdown_graceful_timeout=GRACE,
            )
