"""A PostgreSQL with as many databases as the tests want, and processes of the product by fork that use one of them."""

import json
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from sequin_auth.lib.embedded_postgres.server import server_in
from sequin_auth.processes import Processes
from tests.real.gateway import clean_environment, new_keys
from tests.real.machine import BASE_DIR, free_ports, until
from tests.real.migrated import put_migrated_database
from tests.torture.product import Child

EMPTY, FILLED = "empty", "filled"


class House:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = clean_environment(directory, free_ports(3), SANDBOX="on", **new_keys())
        put_migrated_database(directory / "postgres", self.environment)
        self.postgres = server_in(directory / "postgres")
        self.credentials: list[str] = []
        self.made = 0

    def start(self, processes: Processes) -> None:
        self.processes = processes
        self.postgres.start()
        self.environment["DATABASE_URL"] = self.url("sequin_auth")
        self.environment["DJANGO_SETTINGS_MODULE"] = "sequin_auth.settings"
        self.run("children", "-m", "tests.torture.children", str(self.socket), "tests.operating.tasks")
        until(self.socket.exists, what="there are children")
        self.credentials = self.do("fill")

    def run(self, name: str, *command: str, **more: str) -> "subprocess.Popen[bytes]":
        """In the background, with `more` in its environment."""
        with (self.directory / "log").open("ab") as log:
            how: dict[str, Any] = {"cwd": BASE_DIR, "stdout": log, "stderr": subprocess.STDOUT}
            return self.processes.start(name, [sys.executable, *command], env=self.environment | more, **how)

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={quote(str(self.postgres.socket_directory), safe='')}"

    def database(self, *, like: str = "", **options: str) -> str:
        """The name of a new one: a copy of `like`, or empty."""
        self.made += 1
        name = f"made_{self.made}"
        given = {"TEMPLATE": like or "template0"} | options
        said = " ".join(f"{option} {value}" for option, value in given.items())
        until(lambda: self.is_made(f"CREATE DATABASE {name} {said}", like), what="nobody is at what is copied")
        return name

    def is_made(self, statement: str, like: str) -> bool:
        """False while somebody is on his way out of what is copied. What a pooler keeps open there is closed."""
        try:
            self.sql("postgres", statement)
        except psycopg.errors.ObjectInUse:
            kept = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND state = 'idle'"
            self.sql("postgres", kept, like)
            return False
        return True

    def sql(self, database: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres.uri(database), autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    @property
    def socket(self) -> Path:
        return self.directory / "children"

    def child(self, database: str = "sequin_auth") -> Child:
        child = Child(self.socket)
        child("use", database=database if "://" in database else self.url(database))
        return child

    def do(self, task: str, database: str = "sequin_auth", **arguments: Any) -> Any:
        """One task in a process of its own."""
        with self.child(database) as child:
            return child(task, **arguments)

    @cached_property
    def unread(self) -> IO[bytes]:
        return (self.directory / "log").open("rb")

    def calls(self) -> list[int]:
        """How the provider has answered since the last time: the status of each token request."""
        lines = [json.loads(line) for line in self.unread.readlines() if line.startswith(b"{")]
        return [
            line["status"]
            for line in lines
            if line["event"] == "request" and line["method"] == "POST" and line["path"].startswith("/sandbox/")
        ]

    def tables(self, database: str) -> list[str]:
        statement = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        return [name for (name,) in self.sql(database, statement)]

    def content(self, database: str) -> dict[str, list[str]]:
        """All rows of all tables, as text."""
        rows: dict[str, list[str]] = {}
        with psycopg.connect(self.postgres.uri(database)) as there:
            for name in self.tables(database):
                one = sql.Identifier(name)
                found = there.execute(sql.SQL("SELECT {}::text FROM {}").format(one, one))
                rows[name] = sorted(text for (text,) in found)
        return rows
