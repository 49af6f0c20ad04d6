"""`manage.py run`: all that a newcomer needs, in one terminal. `make run` calls it."""

import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from sequin_auth import demo
from sequin_auth.management.commands.serve import GUNICORN, WORKER, leave_database, refuse_missing_keys
from sequin_auth.processes import AlreadyRunning, ProcessEnded, Processes, interrupt_on_signals

PYTHON: Final = ".venv/bin/python"
LOUD: Final = {"warning", "error", "critical"}
LONGEST_LOG: Final = 5_000_000  # bytes; a longer one is put aside at the next start
LAST_LINES: Final = 12
NAMED: Final = {"event", "level", "logger", "timestamp", "exception", "request_id"}


class Command(BaseCommand):
    help = (
        "Starts PostgreSQL, the web server, a worker and the example app, with demo data on first use. For development."
    )
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        interrupt_on_signals()
        speak_plainly()
        try:
            with Processes(settings.VAR_DIR / "run.lock") as processes:
                self.run(processes)
        except AlreadyRunning as exc:
            raise CommandError(f"It runs already, {exc}. Stop that one first (Ctrl-C in its terminal).") from exc
        except ProcessEnded as exc:
            raise CommandError(f"{exc}\n{last_lines(log_of(exc.name))}") from exc
        except OperationalError as exc:
            raise CommandError("The database does not answer; DATABASE_URL says where it is looked for.") from exc
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")

    def run(self, processes: Processes) -> None:
        port, example_port = settings.PORT, settings.PORT + 1
        refuse_taken(port)
        refuse_taken(example_port)
        processes.say(f"at {settings.PUBLIC_URL}")
        example_url = f"http://127.0.0.1:{example_port}"
        settings.STATIC_ROOT.mkdir(mode=0o700, exist_ok=True)

        start(processes, "web", GUNICORN)  # it takes its time, which the database takes too
        shown = prepare_data(example_url)
        if settings.SANDBOX:
            example = [sys.executable, "examples/developer_app.py", str(settings.VAR_DIR / "example.json")]
            start(processes, "example", example)
        processes.wait(until=lambda: answers(port, "/healthz"))
        start(processes, "worker", WORKER)  # nobody waits for it
        if settings.SANDBOX:
            processes.wait(until=lambda: answers(example_port, "/"))
        self.greet(shown, example_url)
        processes.wait()

    def greet(self, shown: demo.Shown | None, example_url: str) -> None:
        base = settings.PUBLIC_URL
        addresses = [("Console", f"{base}/admin/"), ("For clients", f"{base}/.well-known/oauth-authorization-server")]
        if settings.SANDBOX:
            addresses.insert(0, ("Example app", f"{example_url}/"))
            addresses.append(("A mistake, explained", demo.mistaken_start_url()))
        self.stdout.write("\nSequin Auth is running. Ctrl-C stops everything.\n")
        for name, url in addresses:
            self.stdout.write(f"  {name:21} {url}")
        if shown:
            self.stdout.write("\nShown this once:")
            self.stdout.write(f"  {'Console user':21} {shown.user}")
            self.stdout.write(f"  {'Password':21} {shown.password or '(as before)'}")
            self.stdout.write(f"  {'API token':21} {shown.api_token}")
        self.stdout.write("\nTry:")
        if not shown:
            self.stdout.write(f"  export API_TOKEN=…   # a new one: {PYTHON} manage.py create_api_token {demo.ACCOUNT}")
        token = shown.api_token if shown else "$API_TOKEN"
        self.stdout.write(f'  curl -H "Authorization: Bearer {token}" {base}/v1/oauth-apps\n')
        self.stdout.write(f"What is only worth knowing goes to {log_of('*')}.")
        self.stdout.flush()


# ---- data ------------------------------------------------------------------------------------------------------------


def prepare_data(example_url: str) -> demo.Shown | None:
    """The database, migrated, with the demo's data in it; and the example's configuration."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", interactive=False, verbosity=0)
    refuse_missing_keys()
    shown = demo.create()
    if settings.SANDBOX:
        demo.move_sandbox()
        demo.configure_example(settings.VAR_DIR / "example.json", url=example_url)
    leave_database()
    return shown


# ---- processes and what they say -------------------------------------------------------------------------------------


def start(processes: Processes, name: str, command: Sequence[str]) -> None:
    """Start it with its output in a log file, and what is a warning or worse in the terminal too."""
    process = processes.start(name, command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None  # noqa: S101 - it was asked for
    threading.Thread(target=note, args=(name, process.stdout), daemon=True).start()


def note(name: str, lines: IO[bytes]) -> None:
    path = log_of(name)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.exists() and path.stat().st_size > LONGEST_LOG:
        path.replace(path.with_suffix(".log.1"))
    path.touch(mode=0o600)
    with path.open("ab", buffering=0) as log:
        for line in lines:
            log.write(line)
            if notice := worth_saying(line):
                sys.stderr.write(f"{name}: {notice}\n")


def worth_saying(line: bytes) -> str:
    """A log line as a sentence for the terminal; empty if it is not a warning or worse."""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    if not isinstance(entry, dict) or entry.get("level") not in LOUD:
        return ""
    exception = str(entry.get("exception", "")).rpartition("\n")[2]
    facts = [f"{field}={value}" for field, value in entry.items() if field not in NAMED]
    event = str(entry.get("event")).partition("\n")[0]
    return " ".join(filter(None, [entry["level"], event, exception, *facts]))


def log_of(name: str) -> Path:
    return settings.VAR_DIR / "log" / f"{name}.log"


def last_lines(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()[-LAST_LINES:] if path.exists() else []
    return "\n".join([f"The end of {path}:", *lines])


def speak_plainly() -> None:
    """This process writes to a terminal: its own log lines are for people, and only if something is wrong."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter("%(message)s"))
        handler.setLevel(logging.WARNING)


# ---- ports -----------------------------------------------------------------------------------------------------------


def refuse_taken(port: int) -> None:
    """Raises CommandError if somebody else listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as exc:
            why = getattr(exc, "strerror", None) or "there is no such port"
            raise CommandError(
                f"Port {port} cannot be used ({why}). Choose others: `make run PORT=9000` takes 9000 and 9001."
            ) from exc


def answers(port: int, path: str) -> bool:
    """Whether a server of ours on this port says 200."""
    host = settings.PUBLIC_URL.partition("://")[2] if port == settings.PORT else f"127.0.0.1:{port}"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as there:
            there.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            return b" 200 " in there.recv(13)
    except OSError:
        return False
