"""Where slices are done and killed: a PostgreSQL, an API on loopback, workers, and processes by fork."""

import select
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import psycopg
from psycopg import sql

from sequin_auth.lib.embedded_postgres.server import server_in
from sequin_auth.processes import Processes
from tests.lib.servers import PATIENCE, Visit
from tests.real.gateway import clean_environment, new_keys
from tests.real.machine import BASE_DIR, free_ports, until
from tests.real.migrated import put_migrated_database
from tests.security.stand_in import Request
from tests.syncs.api import Api
from tests.torture.product import Child


class Workshop:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.api = Api()
        self.api.write_file(directory / "providers")
        settings = {"PROVIDERS_DIR": str(directory / "providers"), "EGRESS_ALLOW": self.api.server.authority}
        self.environment = clean_environment(directory, free_ports(), **new_keys(), **settings)
        put_migrated_database(directory / "postgres", self.environment)
        self.postgres = server_in(directory / "postgres")
        self.workers = 0

    def start(self, processes: Processes) -> None:
        self.processes = processes
        self.postgres.start()
        self.environment["DATABASE_URL"] = f"postgresql://postgres@/sequin_auth?host={self.postgres.socket_directory}"
        self.environment["DJANGO_SETTINGS_MODULE"] = "sequin_auth.settings"
        self._start("children", "-m", "tests.torture.children", str(self.socket), "tests.syncs_live.tasks")
        until(self.socket.exists, what="there are children")
        self.do("prepare")

    def stop(self) -> None:
        self.api.server.stop()
        self.postgres.stop()

    def worker(self) -> "subprocess.Popen[bytes]":
        self.workers += 1
        return self._start(f"worker {self.workers}", "manage.py", "worker", "--queues", "syncs")

    def _start(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        with (self.directory / "log").open("ab") as log:
            how: dict[str, Any] = {"cwd": BASE_DIR, "env": self.environment, "stdout": log, "stderr": subprocess.STDOUT}
            return self.processes.start(name, [sys.executable, *command], **how)

    @property
    def socket(self) -> Path:
        return self.directory / "children"

    def child(self) -> Child:
        return Child(self.socket)

    def do(self, task: str, **arguments: Any) -> Any:
        """One task in a process of its own."""
        with self.child() as child:
            return child(task, **arguments)

    def make(self, collection: str) -> "Watched":
        made = self.do("make", collection=collection)
        return Watched(self, collection, made["id"], made["schema"])

    def sql(self, statement: str, *values: Any, database: str = "sequin_auth") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres.uri(database), autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


@dataclass
class Watched:
    """A sync of one collection, and what has happened to it."""

    workshop: Workshop
    collection: str
    id: str
    schema: str
    killed: list[str] = field(default_factory=list)  # where

    # ---- slices in processes by fork ---------------------------------------------------------------------------------

    def slice(self, rows: int) -> str:
        """How it has stopped."""
        return str(self.workshop.do("slice_", sync=self.id, rows=rows))

    def kill_at(self, step: str, rows: int, *, times: int = 1) -> None:
        """Begin a slice, and kill its process when it comes to `step`."""
        with self.workshop.child() as child:
            child.start("slice_", sync=self.id, rows=rows, stands=step, times=times)
            child.until_it_stands()
            child.kill()
        self.killed.append(step)

    def kill_within(self, seconds: float, rows: int) -> None:
        """Begin a slice, and kill its process after so many seconds, or as soon as it is done."""
        with self.workshop.child() as child:
            child.start("slice_", sync=self.id, rows=rows)
            select.select([child.connection], [], [], seconds)
            child.process.kill()
        self.killed.append("some time")

    # ---- what there is -----------------------------------------------------------------------------------------------

    @property
    def asked(self) -> int:
        """How many pages the API was asked for."""
        return len(self.workshop.api.asked(self.collection))

    def steps_back(self, *, pages: int) -> list[int]:
        """By how many of its pages a request went back behind the one before it; 0 is the same page again. A pass that
        follows another one is no step back.
        """
        rows_of_a_page = self.workshop.api.page_size
        queries = [parse_qs(request.target.partition("?")[2]) for request in self.workshop.api.asked(self.collection)]
        places = [int(query.get("after", ["0"])[0]) // rows_of_a_page for query in queries]
        return [before - after for before, after in pairwise(places) if after != (before + 1) % pages]

    def is_due(self) -> bool:
        return bool(self.workshop.sql("SELECT next_at <= now() FROM syncs_sync WHERE id = %s", self.id)[0][0])

    def ids(self) -> list[str]:
        """The keys that stand in the table, with repetitions, in order."""
        table = sql.Identifier(self.schema, self.collection)
        with psycopg.connect(self.workshop.postgres.uri("sequin_syncs")) as connection:
            found = connection.execute(sql.SQL("SELECT id FROM {} WHERE _deleted_at IS NULL ORDER BY id").format(table))
            return [row[0] for row in found]

    def passes(self) -> int:
        """How many passes the engine has begun."""
        found = self.workshop.sql("SELECT progress FROM syncs_sync WHERE id = %s", self.id)
        return int(found[0][0][self.collection]["pass"])

    def is_filled(self) -> bool:
        statement = "SELECT initial_backfill_completed_at IS NOT NULL FROM syncs_sync WHERE id = %s"
        return bool(self.workshop.sql(statement, self.id)[0][0])

    def jobs(self) -> list[str]:
        """The states of its jobs that are not over."""
        statement = (
            "SELECT status::text FROM procrastinate_jobs WHERE lock = %s AND status IN ('todo', 'doing') ORDER BY 1"
        )
        return [row[0] for row in self.workshop.sql(statement, f"sync:{self.id}")]


class Gate:
    """In front of an API: the request of a certain number waits there, while the worker that has sent it is killed."""

    def __init__(self, api: Api, number: int) -> None:
        self.api = api
        self.left = number
        self.reached = threading.Event()
        self.opened = threading.Event()
        api.always = self

    def __call__(self, visit: Visit, request: Request) -> None:
        with self.api.lock:
            self.left -= 1
            is_the_one = self.left == 0
        if is_the_one:
            self.reached.set()
            self.opened.wait(PATIENCE)
        self.api.serve(visit, request)

    def open(self) -> None:
        self.opened.set()
        self.api.always = None
