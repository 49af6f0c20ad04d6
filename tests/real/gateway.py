"""The product as it is deployed: `manage.py serve`, in processes of its own, and what a developer does with it."""

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest
import requests

from sequin_auth.lib.embedded_postgres.server import server_in
from sequin_auth.processes import Processes
from tests.real.canaries import Canaries
from tests.real.machine import BASE_DIR, free_ports, until
from tests.real.migrated import put_migrated_database

REDIRECT_URI = "https://developer.example.com/back"  # nobody calls it: there the end user's trip is over


@contextmanager
def directory_of_this_run(name: str, session: pytest.Session) -> Iterator[Path]:
    """A folder below var/test. It stays if a test failed; what stays of other runs is removed by the next.

    Meanwhile no proxy that this machine may name stands between the tests and itself.
    """
    parent = BASE_DIR / "var" / "test"
    for left_over in parent.glob(f"{name}-*"):
        if not psutil.pid_exists(int(left_over.name.rpartition("-")[2])):
            shutil.rmtree(left_over, ignore_errors=True)
    directory = parent / f"{name}-{os.getpid()}"
    directory.mkdir(mode=0o711, parents=True)
    failed_before = session.testsfailed
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "*")
        patch.setenv("no_proxy", "*")
        yield directory
    if session.testsfailed == failed_before:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def processes_in(directory: Path) -> Iterator[Processes]:
    """Whatever is started there ends with this run, be it killed."""
    with Processes(directory / "processes.lock") as processes:
        yield processes


def clean_environment(directory: Path, port: int, **more: str) -> dict[str, str]:
    """What a process of the product is given: nothing of the test run's own, and the noisiest log."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    own = {
        "VAR_DIR": str(directory),
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "LOG_LEVEL": "DEBUG",
        "PYTHONUNBUFFERED": "1",
    }
    return kept | own | more


@dataclass
class Gateway:
    directory: Path
    environment: dict[str, str] = field(repr=False)
    canaries: Canaries = field(default_factory=Canaries)
    redirect_uri: str = REDIRECT_URI  # and the provider's slug
    api_token: str = ""
    api_token_that_reveals: str = ""

    @property
    def url(self) -> str:
        return self.environment["PUBLIC_URL"]

    @property
    def address(self) -> str:
        """Where it listens: PUBLIC_URL, unless a proxy is to stand before it."""
        return f"http://127.0.0.1:{self.environment['PORT']}"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def log_of_commands(self) -> Path:
        return self.log

    def serve(self, processes: Processes) -> "subprocess.Popen[bytes]":
        """Returns when it is ready."""
        with self.log.open("ab") as log:
            serve = [sys.executable, "manage.py", "serve"]
            how: dict[str, Any] = {"cwd": BASE_DIR, "env": self.environment, "stdout": log, "stderr": subprocess.STDOUT}
            server = processes.start(f"gateway {self.url}", serve, **how)
        until(
            lambda: server.poll() is not None or answers(f"{self.address}/readyz"),
            what="the gateway serves",
            deadline=90.0,
        )
        assert server.poll() is None, self.log.read_text()[-5000:]
        return server

    def start(self, processes: Processes) -> None:
        """With an account, two API tokens and a redirect URI."""
        self.serve(processes)
        made = self.manage("create_account", "Arrakis")
        self.api_token = self.canaries.add("API token", made["api_token"])
        made = self.manage("create_api_token", "Arrakis", "--scopes", "reveal")
        self.api_token_that_reveals = self.canaries.add("API token", made["api_token"])
        self.post("/v1/redirect-uris", {"redirect_uri": f"{self.redirect_uri}/:provider"})

    def manage(self, *command: str) -> dict[str, Any]:
        """The JSON that a command of manage.py prints."""
        with self.log_of_commands.open("ab") as log:
            printed = subprocess.run(
                [sys.executable, "manage.py", *command],
                cwd=BASE_DIR,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                check=True,
            ).stdout
        document: dict[str, Any] = json.loads(printed)
        return document

    # ---- /v1 ---------------------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.api_token}"}
        answer = requests.request(method, f"{self.url}{path}", headers=headers, json=body, timeout=30)
        assert answer.ok, f"{answer.status_code} {answer.text}"
        document: dict[str, Any] = answer.json()
        return document

    def post(self, path: str, body: object = None) -> dict[str, Any]:
        return self.call("POST", path, body)

    def access_token(self, credential_id: str, query: str = "") -> requests.Response:
        headers = {"Authorization": f"Bearer {self.api_token_that_reveals}"}
        url = f"{self.url}/v1/credentials/{credential_id}/access-token{query}"
        answer = requests.get(url, headers=headers, timeout=30)
        self.canaries.add_document(answer.json())
        return answer

    def create_app(self, provider: str, *, client_id: str, client_secret: str | None = None, **more: Any) -> "App":
        if client_secret:
            self.canaries.add("client secret", client_secret)
        names = {"provider": provider, "name": f"{provider} app", "client_id": client_id}
        made = self.post("/v1/oauth-apps", names | {"client_secret": client_secret, **more})
        return App(self, made["id"], provider, client_secret, made["callback_url"])

    def metadata(self) -> dict[str, Any]:
        """Source: RFC 8414."""
        document: dict[str, Any] = requests.get(f"{self.url}/.well-known/oauth-authorization-server", timeout=30).json()
        return document

    # ---- where secrets could be --------------------------------------------------------------------------------------

    @property
    def postgres_log(self) -> Path:
        return self.directory / "postgres" / "log"

    @property
    def postgres_data(self) -> Path:
        return self.directory / "postgres" / "data"

    @property
    def database_uri(self) -> str:
        return server_in(self.directory / "postgres").uri("sequin_auth")


@dataclass(frozen=True)
class App:
    """An OAuth app at the gateway, as its developer sees it."""

    gateway: Gateway
    id: str
    provider: str
    client_secret: str | None
    callback_url: str

    @property
    def redirect_uri(self) -> str:
        return f"{self.gateway.redirect_uri}/{self.provider}"

    def start_url(self, **params: str) -> str:
        query = {"client_id": self.id, "redirect_uri": self.redirect_uri, **params}
        return f"{self.gateway.url}/link/oauth2/start?{urlencode(query)}"

    def post(self, endpoint: str, body: Mapping[str, str], *, api_token: str = "") -> requests.Response:
        """A form, with the app's own pair, or, if there is one, with an API token."""
        headers = {"Authorization": f"Bearer {api_token}"} if api_token else {}
        pair = {"client_id": self.id} | ({} if api_token else {"client_secret": self.client_secret or ""})
        answer = requests.post(
            f"{self.gateway.url}/link/oauth2/{endpoint}",
            {**pair, **body},
            headers=headers,
            allow_redirects=False,
            timeout=30,
        )
        self.gateway.canaries.add_document(answer.json())
        return answer

    def token(self, code: str, **body: str) -> requests.Response:
        return self.post("token", {"grant_type": "authorization_code", "code": code, **body})

    def refresh(self, refresh_token: str) -> requests.Response:
        return self.post("token", {"grant_type": "refresh_token", "refresh_token": refresh_token})

    def health(self) -> str:
        return str(self.gateway.call("GET", f"/v1/oauth-apps/{self.id}")["health"]["status"])

    def check(self) -> str:
        return str(self.gateway.post(f"/v1/oauth-apps/{self.id}/check")["health"]["status"])


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


def new_keys() -> dict[str, str]:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return {"ENV_FILE": "", "SECRET_KEY": secrets.token_urlsafe(48), "ENCRYPTION_KEYS": f"real:{key}"}


def new_gateway(directory: Path, **settings: str) -> Gateway:
    keys = new_keys()
    gateway = Gateway(directory, clean_environment(directory, free_ports(), **keys, **settings))
    gateway.canaries.add("SECRET_KEY", keys["SECRET_KEY"])
    gateway.canaries.add("ENCRYPTION_KEYS", keys["ENCRYPTION_KEYS"].partition(":")[2])
    put_migrated_database(directory / "postgres", clean_environment(directory, 1, **keys))
    return gateway
