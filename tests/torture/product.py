"""The product in processes of its own, with a PostgreSQL of its own, and the simulator as its provider."""

import base64
import contextlib
import json
import secrets
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil
import psycopg
import requests

from sequin_auth.lib.embedded_postgres.server import server_in
from sequin_auth.processes import Processes
from tests.real.gateway import answers, clean_environment, new_keys
from tests.real.machine import BASE_DIR, free_ports, until

NEW, OLD = (f"{name}:{base64.b64encode(secrets.token_bytes(32)).decode()}" for name in ("new", "old"))


class Child:
    """One process, for as long as the context lasts. `task(…)` calls that function of tasks.py there."""

    def __init__(self, path: Path) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(60)
        self.connection.connect(str(path))
        self.lines = self.connection.makefile("rw")
        self.process = psutil.Process(int(self.lines.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.kill()  # it may stand still
        self.lines.close()
        self.connection.close()

    def __call__(self, task: str, **arguments: Any) -> Any:
        """What the task returns; an exception of it is one of the test."""
        self.start(task, **arguments)
        answer = self.answer()
        assert "value" in answer, answer
        return answer["value"]

    def start(self, task: str, **arguments: Any) -> None:
        self.lines.write(json.dumps([task, arguments]) + "\n")
        self.lines.flush()

    def answer(self) -> dict[str, Any]:
        """`{"value": …}` or `{"raised": …, "message": …}`."""
        document: dict[str, Any] = json.loads(self.lines.readline())
        return document

    def until_it_stands(self) -> None:
        until(lambda: self.process.status() == psutil.STATUS_STOPPED, what="the process has come to that step")

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.lines.readline() == ""


class Product:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.postgres = server_in(directory / "postgres")
        self.log = directory / "log"
        settings = new_keys() | {"ENCRYPTION_KEYS": f"{NEW},{OLD}", "SANDBOX": "on", "LOG_LEVEL": "INFO"}
        self.environment = clean_environment(directory, free_ports(), **settings)

    @property
    def url(self) -> str:
        return self.environment["PUBLIC_URL"]

    def start(self, processes: Processes) -> None:
        self.postgres.start()
        self.postgres.create_database("sequin_auth")
        host = self.postgres.socket_directory
        self.environment["DATABASE_URL"] = f"postgresql://postgres@/sequin_auth?host={host}"
        self.environment["DJANGO_SETTINGS_MODULE"] = "sequin_auth.settings"
        with self.log.open("ab") as log:
            how: dict[str, Any] = {"cwd": BASE_DIR, "env": self.environment, "stdout": log, "stderr": subprocess.STDOUT}
            processes.start("children", [sys.executable, "-m", "tests.torture.children", str(self.socket)], **how)
            until(self.socket.exists, what="there are children")
            with self.child() as child:
                child("migrate")
            processes.start("web server", [sys.executable, "-m", "gunicorn"], **how)
        until(lambda: answers(f"{self.url}/healthz"), what="the gateway serves")

    @property
    def socket(self) -> Path:
        return self.directory / "children"

    def child(self) -> Child:
        return Child(self.socket)

    def do(self, task: str, **arguments: Any) -> Any:
        """One task in a process of its own."""
        with self.child() as child:
            return child(task, **arguments)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres.uri("sequin_auth"), autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def store(self, provider: str, *, by: Child | None = None) -> "Stored":
        made = (by or self.do)("store", provider=provider)
        return Stored(self, made["id"], made["api_token"])

    def manage(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=BASE_DIR,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    # ---- what came to the provider -----------------------------------------------------------------------------------

    @cached_property
    def unread(self) -> IO[bytes]:
        return self.log.open("rb")

    def calls(self) -> list[int]:
        """How the provider has answered since the last time: the status of each token request."""
        lines = [json.loads(line) for line in self.unread.readlines() if line.startswith(b"{")]
        return [
            line["status"]
            for line in lines
            if line["event"] == "request" and line["method"] == "POST" and line["path"].startswith("/sandbox/")
        ]


@dataclass(frozen=True)
class Stored:
    """A credential there, whose access token has ended."""

    product: Product
    id: str
    api_token: str

    def now(self) -> dict[str, Any]:
        document: dict[str, Any] = self.product.do("stored", credential=self.id)
        return document

    def expire(self) -> None:
        self.change("expires_at = now() - interval '1 second'")

    def let_the_lease_end(self) -> None:
        self.change("lease_until = now() - interval '1 second'")

    def change(self, columns: str) -> None:
        """By SQL, behind the product's back."""
        statement = f"UPDATE credentials_token SET {columns} WHERE credential_id = %s"  # noqa: S608 - a test's own
        self.product.sql(statement, self.id)

    def get(self, query: str = "") -> requests.Response:
        """`GET /v1/credentials/{id}/access-token`"""
        headers = {"Authorization": f"Bearer {self.api_token}"}
        url = f"{self.product.url}/v1/credentials/{self.id}/access-token{query}"
        return requests.get(url, headers=headers, timeout=60)
