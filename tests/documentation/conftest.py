"""One gateway for all pages, as a self-hoster has it, and in it what the pages say that there is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from sequin_auth.demo import ACCOUNT
from sequin_auth.processes import Processes
from tests.real.end_user import EndUser, query_of
from tests.real.gateway import App, Gateway, directory_of_this_run, new_gateway, processes_in
from tests.real.machine import free_ports

SECRET = "the-secret-of-the-client"


@dataclass(frozen=True)
class Place:
    """`port`: where the reader's own applications listen, one after the other."""

    gateway: Gateway
    directory: Path
    port: int
    api_token: str
    app: App
    credential_id: str

    @property
    def application(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def code(self) -> str:
        """Of a new trip, good for a minute."""
        arrived = EndUser(self.gateway.canaries).walk(self.app.start_url(), to=self.app.redirect_uri)
        return query_of(arrived)["code"]


@pytest.fixture(scope="package")
def directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    with directory_of_this_run("documentation", request.session) as directory:
        yield directory


@pytest.fixture(scope="package")
def processes(directory: Path) -> Iterator[Processes]:
    with processes_in(directory) as processes:
        yield processes


@pytest.fixture(scope="package")
def place(processes: Processes, directory: Path) -> Place:
    port = free_ports()
    gateway = new_gateway(directory, EGRESS_ALLOW=f"127.0.0.1:{port}")
    gateway.serve(processes)
    gateway.manage("create_account", ACCOUNT)
    made = gateway.manage("create_api_token", ACCOUNT, "--scopes", "read,write,reveal")
    gateway.api_token = gateway.api_token_that_reveals = made["api_token"]
    gateway.post("/v1/redirect-uris", {"redirect_uri": f"{gateway.redirect_uri}/:provider"})  # for the credential below
    app = gateway.create_app("stripe", client_id="ca_docs", client_secret=SECRET, environment="sandbox")
    with psycopg.connect(gateway.database_uri, autocommit=True) as database:
        database.execute("CREATE DATABASE warehouse")
    here = Place(gateway, directory, port, made["api_token"], app, "")
    kept = gateway.post("/v1/credentials", app.token(here.code()).json()["credential"])
    return Place(gateway, directory, port, made["api_token"], app, kept["id"])
