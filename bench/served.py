"""
The product as it is deployed, for benchmarks: under gunicorn, with a database of its own, in processes of its own.

    from bench.served import Served, serving     # before Django's models are imported

    with serving() as gateway:                   # PostgreSQL and gunicorn run until the block ends
        spent = gateway.spent()
        …                                        # requests to gateway.url, or work of this process with its database
        print(gateway.spent() - spent)           # seconds of processor time, by who has spent them

Importing it configures Django for this process, with the gateway's database and keys. So rows can be made with models.
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil

from tests.real.gateway import answers, clean_environment, new_keys
from tests.real.machine import BASE_DIR, free_ports
from tests.real.migrated import put_migrated_database

DIRECTORY = Path(tempfile.mkdtemp(prefix="served-"))
DIRECTORY.chmod(0o711)
atexit.register(shutil.rmtree, DIRECTORY, ignore_errors=True)
ENVIRONMENT = clean_environment(DIRECTORY, free_ports(), **new_keys(), LOG_LEVEL="INFO", SANDBOX="on")
os.environ |= {**ENVIRONMENT, "DJANGO_SETTINGS_MODULE": "sequin_auth.settings", "NO_PROXY": "*", "no_proxy": "*"}

import django

django.setup()

from django.db import connection

from sequin_auth.lib.embedded_postgres.server import Server, server_in
from sequin_auth.processes import Processes

READY_WITHIN = 90.0  # seconds


class Spent(NamedTuple):
    """Seconds of processor time, in the process and in the kernel."""

    web: float
    postgres: float
    workers: float

    @property
    def all(self) -> float:
        return self.web + self.postgres + self.workers

    def __sub__(self, before: Self) -> "Spent":
        return Spent(*(now - then for now, then in zip(self, before, strict=True)))


@dataclass
class Served:
    environment: Mapping[str, str] = field(repr=False)
    processes: Processes = field(repr=False)
    postgres: Server = field(repr=False)
    log: Path
    web: "list[subprocess.Popen[bytes]]" = field(default_factory=list)
    workers: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.environment["PUBLIC_URL"]

    @property
    def database_url(self) -> str:
        return self.postgres.uri("sequin_auth")

    def spent(self) -> Spent:
        """Until now, since each was started; also by their children that have ended."""
        return Spent(
            sum(spent_by(process.pid) for process in self.web),
            spent_by(self._postmaster()),
            sum(spent_by(process.pid) for process in self.workers),
        )

    def memory(self) -> float:
        """MiB of the web processes, what they share counted once."""
        return float(sum(one.memory_full_info().pss for process in self.web for one in family(process.pid))) / 2**20

    def start(self, name: str, command: list[str], **environment: str) -> "subprocess.Popen[bytes]":
        """Another process beside ours, until the block of `serving` ends."""
        with self.log.open("ab") as log:
            how: dict[str, Any] = {"cwd": BASE_DIR, "stdout": log, "stderr": subprocess.STDOUT}
            return self.processes.start(name, command, env={**self.environment, **environment}, **how)

    def start_web(self) -> None:
        self.web.append(self.start(f"web server {len(self.web)}", [sys.executable, "-m", "gunicorn"]))
        self.demand(lambda: answers(f"{self.url}/healthz"), "the gateway serves")

    def start_worker(self) -> None:
        name = f"worker {len(self.workers)}"
        self.workers.append(self.start(name, [sys.executable, "manage.py", "worker"]))

    def demand(self, condition: Callable[[], object], what: str) -> None:
        """Wait until it holds; ends the benchmark if it does not."""
        ends_at = time.monotonic() + READY_WITHIN
        while not condition():
            if time.monotonic() > ends_at:
                sys.exit(f"Not within {READY_WITHIN:.0f} seconds: {what}. {self.log.read_text()[-3000:]}")
            time.sleep(0.02)

    def _postmaster(self) -> int:
        return int((self.postgres.data / "postmaster.pid").read_text().split("\n", 1)[0])


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def spent_by(pid: int) -> float:
    """By the process, its children, and those of its children that have ended."""
    total = 0.0
    for process in family(pid):
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


@contextmanager
def serving(*, workers: int = 0, **settings: str) -> Iterator[Served]:
    """A gateway on a fresh database; `settings`: such as WEB_CONCURRENCY="2". Once in a process."""
    environment = {**ENVIRONMENT, **settings}
    put_migrated_database(DIRECTORY / "postgres", clean_environment(DIRECTORY, 1, **new_keys()))
    (DIRECTORY / "static").mkdir(exist_ok=True)
    postgres = server_in(DIRECTORY / "postgres")
    try:
        postgres.start()
        with Processes(DIRECTORY / "processes.lock") as processes:
            gateway = Served(environment, processes, postgres, DIRECTORY / "log")
            gateway.start_web()
            for _ in range(workers):
                gateway.start_worker()
            yield gateway
    finally:
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # of this process
        postgres.stop()
