"""`manage.py serve [--bind ADDRESS:PORT]`"""

import sys
from typing import Any, Final, cast

from django.conf import settings
from django.core.checks import Tags, run_checks
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, connection

from sequin_auth.lib.postgres.base import DatabaseWrapper
from sequin_auth.processes import AlreadyRunning, ProcessEnded, Processes, interrupt_on_signals

GUNICORN: Final = [sys.executable, "-m", "gunicorn"]
WORKER: Final = [sys.executable, "manage.py", "worker"]
MIGRATING: Final = 0x53455155494E  # an advisory lock's number: "SEQUIN"


class Command(BaseCommand):
    help = "Migrates the database, then runs the web server and a worker, with the environment's configuration alone."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--bind",
            metavar="ADDRESS:PORT",
            help="Default: PORT on every address, or on 127.0.0.1 alone if PUBLIC_URL is there.",
        )

    def handle(self, *args: Any, bind: str | None, verbosity: int, **options: Any) -> None:
        interrupt_on_signals()
        settings.VAR_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.STATIC_ROOT.mkdir(mode=0o700, exist_ok=True)
        try:
            with Processes(settings.VAR_DIR / "serve.lock") as processes:
                migrate(verbosity=verbosity)
                web = [*GUNICORN, *(["--bind", bind] if bind else [])]
                processes.start("web server", web, cwd=settings.BASE_DIR)
                processes.start("worker", WORKER, cwd=settings.BASE_DIR)
                processes.wait()
        except AlreadyRunning as exc:
            raise CommandError(f"It is being served from {settings.VAR_DIR} already.") from exc
        except ProcessEnded as exc:
            raise CommandError(str(exc)) from exc
        except KeyboardInterrupt:
            return


def migrate(*, verbosity: int) -> None:
    """Of several machines that start at once, one migrates and the others wait for it. Raises CommandError."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATING])
            try:
                call_command("migrate", interactive=False, verbosity=verbosity - 1)
                refuse_missing_keys()
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATING])
    except OperationalError as exc:
        raise CommandError("The database does not answer; DATABASE_URL says where it is looked for.") from exc
    leave_database()


def refuse_missing_keys() -> None:
    """A key that is gone is found now, not by the first end user whose secret it has sealed. Raises CommandError."""
    for problem in run_checks(tags=[Tags.database], databases=["default"]):
        raise CommandError(f"{problem.msg} {problem.hint}")


def leave_database() -> None:
    """This process only waits from here on: it keeps no connection."""
    connection.close()
    cast(DatabaseWrapper, connection).close_pool()
