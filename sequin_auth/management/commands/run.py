"""`manage.py run`: all that a newcomer needs, in one terminal. `make run` calls it."""

import contextlib
import fcntl
import gc
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import NotSupportedError, OperationalError, connection

from credentials.trial import TrialFailed
from sequin_auth import demo
from sequin_auth.lib import schema
from sequin_auth.management.commands.serve import (
    SYNC_WORKER,
    WEB,
    WORKER,
    leave_database,
    make_sync_database,
    refuse_missing_keys,
    web,
    worker,
)
from sequin_auth.processes import AlreadyRunning, ProcessEnded, Processes, interrupt_on_signals
from syncs import starting
from syncs.destinations import DestinationUnavailable

PYTHON: Final = ".venv/bin/python"
SELECT: Final = "SELECT name, email FROM customer LIMIT 5"
LOUD: Final = {"warning", "error", "critical"}
LONGEST_LOG: Final = 5_000_000  # bytes; a longer one is put aside at the next start
LAST_LINES: Final = 12
ROOM: Final = 1_048_576  # bytes; the most that Linux gives a pipe of one who is not root
NAMED: Final = {"event", "level", "logger", "timestamp", "exception", "request_id"}


class Command(BaseCommand):
    help = (
        "Starts PostgreSQL, the web server, a worker and the example app, with demo data on first use. For development."
    )
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        interrupt_on_signals()
        speak_plainly()
        self.notes = Notes()
        try:
            with Processes(settings.VAR_DIR / "run.lock") as processes:
                self.run(processes)
        except AlreadyRunning as exc:
            raise CommandError(f"It runs already, {exc}. Stop that one first (Ctrl-C in its terminal).") from exc
        except ProcessEnded as exc:
            self.notes.take()
            raise CommandError(f"{exc}\n{last_lines(log_of(exc.name))}") from exc
        except (schema.HalfMoved, NotSupportedError) as exc:
            raise CommandError(str(exc)) from None
        except OperationalError as exc:
            raise CommandError("The database does not answer; DATABASE_URL says where it is looked for.") from exc
        except KeyboardInterrupt:
            self.notes.take()
            self.stdout.write("\nStopped.")

    def run(self, processes: Processes) -> None:
        port, example_port = settings.PORT, settings.PORT + 1
        refuse_taken(port)
        refuse_taken(example_port)
        processes.say(f"at {settings.PUBLIC_URL}")
        example_url = f"http://127.0.0.1:{example_port}"
        settings.STATIC_ROOT.mkdir(mode=0o700, exist_ok=True)

        shown = prepare_data(example_url)
        gc.freeze()  # as in `manage.py serve`
        self.fork(processes, "web", web(), title=WEB)
        if settings.SANDBOX:
            example = [sys.executable, "examples/developer_app.py", str(settings.VAR_DIR / "example.json")]
            output = self.notes.place_for("example")
            processes.start("example", example, cwd=settings.BASE_DIR, stdout=output, stderr=subprocess.STDOUT)
        self.wait(processes, until=lambda: answers(port, "/healthz"))
        self.fork(processes, "worker", worker(), title=WORKER, again=True)  # nobody waits for it
        if starting.is_installed():
            self.fork(processes, "sync worker", worker("--queues", "syncs"), title=SYNC_WORKER, again=True)
        if settings.SANDBOX:
            self.wait(processes, until=lambda: answers(example_port, "/"))
        self.greet(shown, example_url)
        self.wait(processes)

    def fork(
        self, processes: Processes, name: str, work: Callable[[], None], *, title: str, again: bool = False
    ) -> None:
        processes.fork(name, work, title=title, again=again, output=self.notes.place_for(name))

    def wait(self, processes: Processes, until: Callable[[], bool] = lambda: False) -> None:
        def look() -> bool:
            self.notes.take()
            return until()

        processes.wait(look)

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
        self.stdout.write(f'  curl -H "Authorization: Bearer {token}" {base}/v1/oauth-apps')
        if settings.SANDBOX and starting.is_installed():
            self.stdout.write(f"  {PYTHON} manage.py sync_shell -c '{SELECT}'")
        self.stdout.write("")
        self.stdout.write(f"What is only worth knowing goes to {log_of('*')}.")
        self.stdout.flush()


# ---- data ------------------------------------------------------------------------------------------------------------


def prepare_data(example_url: str) -> demo.Shown | None:
    """The database, migrated, with the demo's data in it; and the example's configuration."""
    with connection.wrap_database_errors:
        schema.refuse_half_moved()
    if schema.is_behind():
        call_command("migrate", interactive=False, verbosity=0)
    refuse_missing_keys()
    shown = demo.create()
    if settings.SANDBOX:
        demo.move_sandbox()
        demo.configure_example(settings.VAR_DIR / "example.json", url=example_url)
    make_sync_database()
    if settings.SANDBOX:
        add_sync()
    leave_database()
    return shown


def add_sync() -> None:
    """One that the newcomer sees filling; without it the rest runs as well."""
    try:
        demo.add_sync()
    except (TrialFailed, DestinationUnavailable) as exc:
        sys.stderr.write(f"There is no sync to look at: {exc}\n")


# ---- processes and what they say -------------------------------------------------------------------------------------


class Notes:
    """What our processes print: each has its log file, and what is a warning or worse is said in the terminal too.

    It is read while they are waited for, and by no thread: whoever is forked later would get half of one.
    """

    def __init__(self) -> None:
        self._pipes: dict[str, tuple[int, int]] = {}
        self._begun: dict[str, bytes] = {}

    def place_for(self, name: str) -> int:
        """Where to write. It stays open for one that is started again."""
        self._pipes[name] = ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux alone has it
            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, ROOM)
        path = log_of(name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if path.exists() and path.stat().st_size > LONGEST_LOG:
            path.replace(path.with_suffix(".log.1"))
        path.touch(mode=0o600)
        return theirs

    def take(self) -> None:
        """What has been printed since the last time."""
        for name, (ours, _) in self._pipes.items():
            with contextlib.suppress(BlockingIOError):
                while found := os.read(ours, ROOM):
                    self._note(name, found)

    def _note(self, name: str, found: bytes) -> None:
        with log_of(name).open("ab") as log:
            log.write(found)
        *lines, self._begun[name] = (self._begun.get(name, b"") + found).split(b"\n")
        for line in lines:
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
    with socket.socket() as probe:  # nosemgrep: outbound-outside-http - it binds, and calls nobody
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
        # nosemgrep: outbound-outside-http - this machine's own loopback, where our server listens
        with socket.create_connection(("127.0.0.1", port), timeout=2) as there:
            there.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            return b" 200 " in there.recv(13)
    except OSError:
        return False
