"""`manage.py run` and `manage.py serve` as processes of their own, as a terminal has them."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from tests.real.machine import until

ROOT = Path(__file__).resolve().parent.parent.parent
START_TIMEOUT = 120.0  # seconds; a first start makes a database, and the machine may be busy
READY = "What is only worth knowing goes to"


class Running:
    """A command that has been started, and all that it has printed so far."""

    def __init__(self, command: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._grown:
                self._lines.append(line)
                self._grown.notify_all()
        with self._grown:
            self._lines.append("")
            self._grown.notify_all()

    @property
    def output(self) -> str:
        return "".join(self._lines)

    def wait_for(self, text: str) -> str:
        """Until it has printed `text`. Returns the line that holds it."""
        deadline = time.monotonic() + START_TIMEOUT
        with self._grown:
            while text not in self.output:
                has_ended = self._lines[-1:] == [""]
                if has_ended or not self._grown.wait(deadline - time.monotonic()):
                    raise AssertionError(f"it never said {text!r}, but:\n{self.output}")
        return next(line for line in self.output.splitlines() if text in line)

    def shown(self, name: str) -> str:
        """What stands behind `name` in the greeting."""
        return self.wait_for(f"  {name}").split(name, 1)[1].strip()

    def children(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def child(self, name: str) -> psutil.Process:
        """Its own child (no grandchild) that is called so, once it has its name."""

        def found() -> psutil.Process | None:
            children = psutil.Process(self.process.pid).children()
            return next((child for child in children if child.name() == name), None)

        child = until(found, what=f"a child is called {name}", deadline=START_TIMEOUT)
        assert child is not None
        return child

    def wait(self) -> int:
        status = self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        return status

    def stop(self, number: int = signal.SIGINT) -> int:
        """Its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()


class Checkout:
    """A place to start from: its own var/, its own two ports, and nothing in the environment but that."""

    def __init__(self, var: Path) -> None:
        self.var = var
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.example_url = f"http://127.0.0.1:{self.port + 1}"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return kept | {"VAR_DIR": str(self.var), "PORT": str(self.port)} | more

    def start(self, command: str = "run", **more: str) -> Running:
        return Running(command, self.environment(**more))

    def start_ready(self) -> Running:
        running = self.start()
        running.wait_for(READY)
        return running

    def read(self, *names: str) -> str:
        return self.var.joinpath(*names).read_text()

    def postgres(self) -> psutil.Process | None:
        """The embedded server, if it runs."""
        try:
            return psutil.Process(int(self.read("postgres", "data", "postmaster.pid").split()[0]))
        except (OSError, psutil.NoSuchProcess):
            return None


def free_port() -> int:
    """One that is free, and so is the next."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        try:
            for candidate in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", candidate))
        except OSError:
            continue
        return port
