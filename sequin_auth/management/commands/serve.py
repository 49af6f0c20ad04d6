"""`manage.py serve [--bind ADDRESS:PORT]`"""

import gc
import os
import sys
from collections.abc import Callable
from typing import Any, Final, cast

from django.conf import settings
from django.core.checks import ERROR, CheckMessage, Tags, run_checks
from django.core.management import call_command, execute_from_command_line
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import NotSupportedError, OperationalError, connection

from sequin_auth.lib import schema
from sequin_auth.lib.postgres.base import DatabaseWrapper
from sequin_auth.lib.postgres.locks import locked
from sequin_auth.processes import AlreadyRunning, ProcessEnded, Processes, interrupt_on_signals
from syncs import starting

WEB, WORKER, SYNC_WORKER = "sequin-web", "sequin-worker", "sequin-syncs"  # as `ps -e` and `top` name them
MIGRATING: Final = 0x53455155494E  # an advisory lock's number: "SEQUIN"


class Command(BaseCommand):
    help = (
        "Migrates the database, then runs the web server, a worker and a worker of syncs, with the environment's "
        "configuration alone; one of them that dies is started again."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--bind",
            metavar="ADDRESS:PORT",
            help="Default: PORT on every address, or on 127.0.0.1 alone if PUBLIC_URL is there.",
        )

    def handle(self, *args: Any, bind: str | None, verbosity: int, **options: Any) -> None:
        interrupt_on_signals()
        self.look_at_settings()
        settings.VAR_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.STATIC_ROOT.mkdir(mode=0o700, exist_ok=True)
        try:
            with Processes(settings.VAR_DIR / "serve.lock") as processes:
                migrate(verbosity=verbosity)
                gc.freeze()  # what has been read for migrating, too, stays shared with those who part from us now
                processes.fork("web server", web(bind), again=True, title=WEB)
                processes.fork("worker", worker(), again=True, title=WORKER)
                if starting.is_installed():
                    processes.fork("sync worker", worker("--queues", "syncs"), again=True, title=SYNC_WORKER)
                processes.wait()
        except AlreadyRunning as exc:
            raise CommandError(f"It is being served from {settings.VAR_DIR} already.") from exc
        except ProcessEnded as exc:
            raise CommandError(str(exc)) from exc
        except KeyboardInterrupt:
            return

    def look_at_settings(self) -> None:
        """What is wrong ends the start, what is doubtful is said. Raises CommandError."""
        said = [
            problem for problem in run_checks(tags=[Tags.security], include_deployment_checks=True) if is_ours(problem)
        ]
        for problem in said:
            if problem.level >= ERROR:
                raise CommandError(f"{problem.msg} {problem.hint}")
        for problem in said if not settings.ON_LOOPBACK else []:
            self.stderr.write(f"{problem.msg} {problem.hint}")


def is_ours(problem: CheckMessage) -> bool:
    """Django's own ask about settings that follow from ours."""
    return str(problem.id).startswith("sequin_auth.")


def web(bind: str | None = None) -> Callable[[], None]:
    """`python -m gunicorn`, in a process that has Django already."""

    def serve() -> None:
        from gunicorn import __main__
        from gunicorn.app.wsgiapp import run

        os.chdir(settings.BASE_DIR)  # there lies gunicorn.conf.py
        sys.argv = [str(__main__.__file__), *(["--bind", bind] if bind else [])]
        run(prog="gunicorn")

    return serve


def worker(*options: str) -> Callable[[], None]:
    return lambda: execute_from_command_line([sys.argv[0], "worker", *options])


def migrate(*, verbosity: int) -> None:
    """Of several machines that start at once, one migrates and the others wait for it. Raises CommandError."""
    try:
        with locked(connection, MIGRATING):
            with connection.wrap_database_errors:
                schema.refuse_half_moved()
            if schema.is_behind():  # else it would go through all models for nothing
                call_command("migrate", interactive=False, verbosity=verbosity - 1)
            refuse_missing_keys()
        make_sync_database()
    except (schema.HalfMoved, NotSupportedError) as exc:  # the latter: a PostgreSQL that is too old
        raise CommandError(str(exc)) from None
    except OperationalError as exc:
        raise CommandError("The database does not answer; DATABASE_URL says where it is looked for.") from exc
    leave_database()


def make_sync_database() -> None:
    """Where it cannot be, that is said, and all but syncs works."""
    try:
        call_command("sync_database", verbosity=0)
    except CommandError as exc:
        sys.stderr.write(f"{exc}\n")


def refuse_missing_keys() -> None:
    """A key that is gone is found now, not by the first end user whose secret it has sealed. Raises CommandError."""
    for problem in run_checks(tags=[Tags.database], databases=["default"]):
        raise CommandError(f"{problem.msg} {problem.hint}")


def leave_database() -> None:
    """This process only waits from here on: it keeps no connection."""
    connection.close()
    cast(DatabaseWrapper, connection).close_pool()
