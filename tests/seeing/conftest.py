"""One gateway that reports to a receiver of ours, and what it has done: a trip, and a failure of its own."""

import gzip
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sequin_auth.lib.embedded_postgres.server import server_in
from sequin_auth.processes import Processes
from tests.real.end_user import EndUser
from tests.real.gateway import Gateway, directory_of_this_run, new_gateway, processes_in
from tests.real.machine import free_ports, until


@dataclass
class Receiver:
    """Sentry and a collector, as far as they are sent to."""

    port: int
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)  # path, headers, body

    def bodies(self, path: str) -> list[bytes]:
        return [body for where, _, body in self.received if where == path]

    def events(self) -> list[dict[str, Any]]:
        """The last line of each envelope. Source: https://develop.sentry.dev/sdk/data-model/envelopes/"""
        return [json.loads(body.strip().split(b"\n")[-1]) for body in self.bodies("/api/42/envelope/")]

    def requests(self) -> set[str]:
        """The ids of those that events tell of."""
        return {one["tags"]["request_id"] for one in self.events() if "request_id" in one.get("tags", {})}

    def spans(self) -> list[Any]:
        found = [ExportTraceServiceRequest.FromString(body) for body in self.bodies("/v1/traces")]
        scopes = [scope for one in found for resource in one.resource_spans for scope in resource.scope_spans]
        return [span for scope in scopes for span in scope.spans]


@pytest.fixture(scope="package")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver(free_ports())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            receiver.received.append((self.path, dict(self.headers), plain))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", receiver.port), Handler)
    Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    yield receiver
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="package")
def directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    with directory_of_this_run("seeing", request.session) as directory:
        yield directory


@pytest.fixture(scope="package")
def processes(directory: Path) -> Iterator[Processes]:
    with processes_in(directory) as processes:
        yield processes


@pytest.fixture(scope="package")
def gateway(processes: Processes, directory: Path, receiver: Receiver) -> Iterator[Gateway]:
    """The environment names a proxy and another collector, where nobody listens: reports go by neither."""
    gateway = new_gateway(
        directory,
        SENTRY_DSN=f"http://publickey@127.0.0.1:{receiver.port}/42",
        OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.port}",
        HTTP_PROXY="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://127.0.0.1:9/v1/traces",
        WEB_CONCURRENCY="1",
    )
    gateway.start(processes)
    yield gateway
    server_in(directory / "postgres").stop()


@pytest.fixture(scope="package")
def tripped(gateway: Gateway) -> EndUser:
    """An end user has connected his account, and the developer has his token."""
    secret = gateway.canaries.add("client secret", "canary-client-secret-0001")
    app = gateway.create_app("linear", client_id="lin_1", client_secret=secret, environment="sandbox")
    user = EndUser(gateway.canaries)
    state = gateway.canaries.add("client state", "canary-state-00001")
    back = user.walk(app.start_url(state=state), to=app.redirect_uri)
    answer = app.token(parse_qs(urlsplit(back).query)["code"][0])
    assert answer.status_code == 200, answer.text
    return user


@pytest.fixture(scope="package")
def failed(gateway: Gateway, receiver: Receiver, tripped: EndUser) -> str:
    """The request id of a request that failed: a table was away for a moment."""
    uri = server_in(gateway.directory / "postgres").uri("sequin_auth")
    body = {"redirect_uri": gateway.canaries.add("body", "https://canary-body.example.com/:provider")}
    header = gateway.canaries.add("header", "canary-header-1")
    headers = {"Authorization": f"Bearer {gateway.api_token}", "X-Canary": header}
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("ALTER TABLE oauth_apps_redirecturi RENAME TO away")
        answer = requests.post(f"{gateway.url}/v1/redirect-uris", json=body, headers=headers, timeout=30)
        connection.execute("ALTER TABLE away RENAME TO oauth_apps_redirecturi")
    assert answer.status_code == 500
    until(receiver.events, what="an event arrives")
    return answer.headers["X-Request-Id"]


@pytest.fixture(scope="package")
def failed_with_secrets(gateway: Gateway, receiver: Receiver, failed: str) -> list[str]:
    """The request ids of some that failed with secrets in their query, headers, cookies and body, in the variables of
    whoever was at it, in the values of the statement, and in the message of the exception: the first one repeats a row.
    """
    canary = gateway.canaries.add
    pair = {"client_id": str(uuid.uuid4()), "client_secret": canary("client secret", "canary-client-secret-0002")}
    basic = requests.auth.HTTPBasicAuth(pair["client_id"], canary("client secret", "canary-client-secret-0003"))
    query = {"state": canary("state", "canary-state-00002"), "code": canary("code", "canary-code-00001")}
    code = {"grant_type": "authorization_code", "code": canary("code", "canary-code-00002")}
    cookies = {"link_canary": canary("cookie", "canary-cookie-0001"), "sessionid": canary("cookie", "canary-cookie-02")}
    api = {"Authorization": f"Bearer {gateway.api_token}"}
    uri = {"redirect_uri": canary("body", "https://canary-row.example.com/:provider")}
    sent: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/redirect-uris", {"json": uri, "headers": api}),
        ("GET", "/link/oauth2/start", {"params": {"client_id": pair["client_id"], **query}}),
        ("GET", "/link/oauth2/callback/linear", {"params": query}),
        ("POST", "/link/oauth2/token", {"data": code, "auth": basic}),
        ("POST", "/link/oauth2/token", {"data": code | pair}),
    ]
    with psycopg.connect(server_in(gateway.directory / "postgres").uri("sequin_auth"), autocommit=True) as connection:
        connection.execute("ALTER TABLE oauth_apps_redirecturi ADD CONSTRAINT full_up CHECK (false) NOT VALID")
        for table in ("credentials_authorization", "oauth_apps_oauthapp"):
            connection.execute(f"ALTER TABLE {table} RENAME TO {table}_away".encode())
        try:
            answers = [
                requests.request(method, f"{gateway.url}{path}", cookies=cookies, timeout=30, **more)
                for method, path, more in sent
            ]
        finally:
            connection.execute("ALTER TABLE oauth_apps_redirecturi DROP CONSTRAINT full_up")
            for table in ("credentials_authorization", "oauth_apps_oauthapp"):
                connection.execute(f"ALTER TABLE {table}_away RENAME TO {table}".encode())
    assert [answer.status_code for answer in answers] == [500] * len(sent), [answer.text for answer in answers]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    until(lambda: {*ids} <= receiver.requests(), what="an event of each arrives")
    return ids
