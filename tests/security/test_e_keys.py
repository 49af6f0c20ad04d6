"""
E03, E07 to E10: what takes a gateway that is stopped and started, and a database that breaks.

One gateway lives through all of it once, on a PostgreSQL of one's own that writes down every statement with all values
(the hard case of E02: we configure only the embedded one); the tests look at what came of it.
"""

import base64
import json
import re
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
import requests

from sequin_auth.lib.embedded_postgres import server as embedded
from sequin_auth.lib.embedded_postgres.server import Server
from sequin_auth.processes import Processes
from tests.real.canaries import search
from tests.real.gateway import Gateway, answers
from tests.real.machine import BASE_DIR, free_ports, until
from tests.security.conftest import NewGateway
from tests.security.gate import meanwhile
from tests.security.passing_by import Happened, Passing, flip
from tests.security.stand_in import StandIn
from tests.security.tenant import Tenant, sql

NOISY = {
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "info",
    "log_min_error_statement": "info",
    "log_error_verbosity": "verbose",
    "log_statement": "all",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
}
BROKEN = "broken by a test"
MISSING = "nobody"  # the id of a key that has sealed nothing
TABLES = ("credentials_credential", "oauth_apps_oauthapp", "auth_user")


@dataclass
class OwnGateway(Gateway):
    """One with DATABASE_URL. `database`: the server, which logs all."""

    uri: str = ""

    @property
    def database_uri(self) -> str:
        return self.uri


@dataclass
class Life:
    gateway: OwnGateway
    database: Server
    happened: Happened
    tokens: dict[str, str] = field(default_factory=dict)  # by credential, before anything was replaced
    unforeseen: dict[str, requests.Response] = field(default_factory=dict)  # by what was broken
    away: dict[str, requests.Response] = field(default_factory=dict)  # while the database was stopped, by path
    with_both: dict[str, str] = field(default_factory=dict)  # tokens after a start with new,old and another SECRET_KEY
    status_half_way: str = ""
    beside: list[int] = field(default_factory=list)  # statuses of refreshes while keys were replaced
    left_by_the_killed: int = 0
    with_bad_row: "subprocess.CompletedProcess[str] | None" = None
    rotated: "subprocess.CompletedProcess[str] | None" = None
    status_at_the_end: str = ""
    refused: "subprocess.CompletedProcess[str] | None" = None
    without_old: dict[str, str] = field(default_factory=dict)


def new_key(name: str) -> str:
    return f"{name}:{base64.b64encode(secrets.token_bytes(32)).decode()}"


# ---- what a test needs in its hands ----------------------------------------------------------------------------------


def start_noisily(database: Server, port: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "SETTINGS", embedded.SETTINGS | NOISY | {"port": str(port)})
        database.start()


def stop(server: "subprocess.Popen[bytes]") -> None:
    server.send_signal(signal.SIGTERM)
    server.wait(30)


def run(gateway: Gateway, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A command of manage.py. What is empty in `environment` is not set, but for ENV_FILE."""
    whole = gateway.environment | environment
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=BASE_DIR,
        env={name: value for name, value in whole.items() if value or name == "ENV_FILE"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def tokens_of(tenant: Tenant) -> dict[str, str]:
    """What every credential of the account is read as."""
    exported = tenant.call("GET", "/v1/credentials/export").text.splitlines()
    rows = {row["id"]: row for row in map(json.loads, exported)}
    listed = {row["id"] for row in tenant.call("GET", "/v1/credentials").json()["data"]}
    assert rows.keys() == listed
    secret = {"access_token", "refresh_token", "secret"}
    return {
        credential: json.dumps({name: row["properties"].get(name) for name in sorted(secret)})
        if "properties" in row
        else row["error"]
        for credential, row in rows.items()
    }


def sealed_by(gateway: Gateway, name: str) -> int:
    statement = "SELECT count(*) FROM credentials_token WHERE substring(access_token FROM 3 FOR %s) = %s::bytea"
    ((count,),) = sql(gateway, statement, len(name), name.encode())
    return int(count)


# ---- one life --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def life(gateway_with: NewGateway, processes: Processes, the_provider: StandIn) -> Iterator[Life]:
    plain = gateway_with("keys", WEB_CONCURRENCY="1")
    port = free_ports()
    database = Server(plain.directory / "postgres")  # migrated, as it was laid down for whoever has no DATABASE_URL
    start_noisily(database, port)
    password = plain.canaries.add("password of the database", f"of/the+database-{secrets.token_hex(8)}")
    in_url = password.replace("/", "%2F").replace("+", "%2B")
    uri = f"postgresql://postgres:{in_url}@127.0.0.1:{port}/sequin_auth"
    gateway = OwnGateway(plain.directory, plain.environment | {"DATABASE_URL": uri}, plain.canaries, uri=uri)
    the_provider.forget()
    try:
        yield lived(gateway, database, port, processes, the_provider)
    finally:
        database.stop()


def lived(gateway: OwnGateway, database: Server, port: int, processes: Processes, provider: StandIn) -> Life:
    old = gateway.environment["ENCRYPTION_KEYS"]
    server = gateway.serve(processes)
    passing = Passing(gateway, provider)
    life = Life(gateway, database, passing.everything())
    provider.user_id = "user-of-a-bad-row"
    bad = passing.credential(life.happened.app)
    provider.user_id = "user-1"
    flip(gateway, "credentials_token", "refresh_token", "credential_id", bad)
    life.tokens = tokens_of(life.happened.tenant)
    break_tables(life)
    take_database_away(life, port)
    stop(server)

    new = new_key("new")
    gateway.canaries.add("ENCRYPTION_KEYS", new.partition(":")[2])
    changed = {"ENCRYPTION_KEYS": f"{new},{old}", "SECRET_KEY": secrets.token_urlsafe(48)}
    gateway.environment |= changed
    gateway.canaries.add("SECRET_KEY", changed["SECRET_KEY"])
    server = gateway.serve(processes)
    life.with_both = tokens_of(life.happened.tenant)
    replace_key(life, bad, provider)
    stop(server)

    life.refused = run(gateway, "serve", ENCRYPTION_KEYS=new_key(MISSING))
    gateway.environment["ENCRYPTION_KEYS"] = new
    server = gateway.serve(processes)
    life.without_old = tokens_of(life.happened.tenant)
    stop(server)
    return life


def break_tables(life: Life) -> None:
    """Statements that fail: because a table is gone, and because a rule of the database is broken."""
    tenant, app, url = life.happened.tenant, life.happened.app, life.gateway.url
    for table in TABLES:
        sql(life.gateway, f"ALTER TABLE {table} RENAME TO broken")
        try:
            life.unforeseen[f"GET /v1 {table}"] = tenant.call("GET", "/v1/credentials")
            life.unforeseen[f"POST /v1 {table}"] = tenant.call("POST", "/v1/oauth-apps", body_of_an_app(life, "x"))
            life.unforeseen[f"token {table}"] = app.exchanged(life.gateway.canaries.add("code", secrets.token_hex(8)))
            life.unforeseen[f"page {table}"] = requests.get(app.start_url(), allow_redirects=False, timeout=30)
            life.unforeseen[f"admin {table}"] = requests.get(f"{url}/admin/login/", timeout=30)
        finally:
            sql(life.gateway, f"ALTER TABLE broken RENAME TO {table}")
    rule = "ALTER TABLE oauth_apps_oauthapp {} CONSTRAINT no_such_name"
    sql(life.gateway, rule.format("ADD") + f" CHECK (name <> '{BROKEN}') NOT VALID")
    life.unforeseen["POST /v1 a rule"] = tenant.call("POST", "/v1/oauth-apps", body_of_an_app(life, BROKEN))
    sql(life.gateway, rule.format("DROP"))


def body_of_an_app(life: Life, name: str) -> dict[str, str]:
    secret = life.gateway.canaries.add("client secret", f"secret-{secrets.token_hex(8)}")
    return {"provider": "standin", "name": name, "client_id": secrets.token_hex(6), "client_secret": secret}


def take_database_away(life: Life, port: int) -> None:
    life.database.stop()
    tenant, app, url = life.happened.tenant, life.happened.app, life.gateway.url
    code = life.gateway.canaries.add("code", secrets.token_hex(8))
    asked = {  # side by side: each waits for a connection for a while
        "/v1": meanwhile(lambda: tenant.call("GET", "/v1/credentials")),
        "token": meanwhile(lambda: app.exchanged(code)),
        "page": meanwhile(lambda: requests.get(app.start_url(), allow_redirects=False, timeout=30)),
        "readyz": meanwhile(lambda: requests.get(f"{url}/readyz", timeout=30)),
    }
    life.away = {path: answer.result() for path, answer in asked.items()}
    start_noisily(life.database, port)
    until(lambda: answers(f"{url}/readyz"), what="the database is back")


def replace_key(life: Life, bad: str, provider: StandIn) -> None:
    """`rotate_keys` cannot end, since one row is in somebody's hands; it is killed, and begun anew."""
    gateway, tenant = life.gateway, life.happened.tenant
    rotate = [sys.executable, "manage.py", "rotate_keys"]
    ((count,),) = sql(gateway, "SELECT count(*) FROM credentials_token WHERE access_token IS NOT NULL")
    with psycopg.connect(gateway.database_uri) as holding, gateway.log.open("ab") as log:
        held = "SELECT 1 FROM credentials_token WHERE credential_id = %s FOR UPDATE"
        holding.execute(held, [bad])
        killed = subprocess.Popen(rotate, cwd=BASE_DIR, env=gateway.environment, stdout=log, stderr=log)
        try:
            until(lambda: sealed_by(gateway, "new") >= count - 1, what="all others are sealed anew")
            for _ in range(2):
                path = f"/v1/credentials/{life.happened.credential}/access-token?force_refresh=true"
                life.beside.append(tenant.call("GET", path).status_code)
            assert killed.poll() is None
        finally:
            killed.kill()
            killed.wait()
    life.left_by_the_killed = sealed_by(gateway, "real")
    life.status_half_way = run(gateway, "keys", "status").stdout
    life.with_bad_row = run(gateway, "rotate_keys")
    assert tenant.call("DELETE", f"/v1/credentials/{bad}").status_code == 200
    life.rotated = run(gateway, "rotate_keys")
    life.status_at_the_end = run(gateway, "keys", "status").stdout


# ---- and what came of it ---------------------------------------------------------------------------------------------


def without_request_id(answer: requests.Response) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "…", answer.text)


def test_e02_a_database_that_logs_every_statement_is_told_no_secret(life: Life) -> None:
    """Values stand in the statements, and in the row that an error quotes: sealed, hashed or not at all"""
    log = life.database.log
    told = {b"INSERT INTO ": "", b"UPDATE ": "", b"Failing row contains": "", BROKEN.encode(): "", b"LOG:  ": ""}
    assert search(told, log) == told.keys()

    assert life.gateway.canaries.found_in(log) == set()


def test_e02_no_line_of_a_gateway_in_trouble_holds_a_secret(life: Life) -> None:
    """Its database fails, goes away and comes back; its keys are replaced by commands, whose lines are here too"""
    told = {b'"event": "Service Unavailable': "", b"ProgrammingError": "", b"IntegrityError": ""}
    assert search(told, life.gateway.log) == told.keys()

    assert life.gateway.canaries.found_in(life.gateway.log) == set()


def test_e01_a_backup_of_one_s_own_database_holds_no_secret(life: Life) -> None:
    assert search({b"oauth_apps_oauthapp": ""}, life.database.data)

    assert life.gateway.canaries.found_in(life.database.data) == set()


def test_e03_what_nobody_foresaw_is_answered_alike(life: Life) -> None:
    """Whatever has failed: the same words, with no statement, name of a table, path or setting in them"""
    failed = {name: answer for name, answer in life.unforeseen.items() if answer.status_code >= 500}
    assert len(failed) >= 6
    bodies = {name.partition(" /v1")[1] or name.split()[0]: set[str]() for name in failed}
    for name, answer in failed.items():
        assert answer.status_code == 500
        bodies[name.partition(" /v1")[1] or name.split()[0]].add(without_request_id(answer))
    assert {kind: len(texts) for kind, texts in bodies.items()} == dict.fromkeys(bodies, 1)
    assert {" /v1", "token", "page"} <= bodies.keys()
    assert json.loads(bodies[" /v1"].pop()) == {
        "summary": "Something went wrong here. The log has more under this request_id.",
        "code": "internal_error",
        "request_id": "…",
    }
    for answer in failed.values():
        assert_tells_nothing(answer, life)


def test_e03_a_database_that_is_away_is_not_named(life: Life) -> None:
    assert {name: answer.status_code for name, answer in life.away.items()} == dict.fromkeys(life.away, 503)
    for answer in life.away.values():
        assert_tells_nothing(answer, life)


def assert_tells_nothing(answer: requests.Response, life: Life) -> None:
    telling = [
        "SELECT", "INSERT", "psycopg", "Error at", "Traceback", "site-packages", "/work", ".py", "relation",
        "127.0.0.1:", "postgres", "SECRET_KEY", "ENCRYPTION", "DATABASE", "Exception", BROKEN,
        str(life.gateway.directory), *TABLES,
    ]  # fmt: skip
    text = answer.text.replace(life.gateway.url, "")
    assert [word for word in telling if word in text] == []


def test_e07_one_bad_row_keeps_no_other_from_a_new_key(life: Life) -> None:
    assert life.with_bad_row is not None
    assert life.with_bad_row.returncode != 0
    assert "1 values do not open. They were left as they are." in life.with_bad_row.stderr
    assert re.search(r"refresh_token: \d+ sealed anew, 1 unreadable", life.with_bad_row.stdout)
    assert len(re.findall(r" 0 unreadable", life.with_bad_row.stdout)) >= 8


def test_e08_keys_are_replaced_while_all_goes_on(life: Life) -> None:
    """With new,old all reads work; what a killed run has done stays, refreshes go on beside it, the next ends"""
    assert life.with_both == life.tokens
    assert life.beside == [200, 200]
    assert life.left_by_the_killed == 1
    assert "new seals and opens" in life.status_half_way
    assert re.search(r"real opens\n(  .*\n)*  credentials\.Token\.access_token: 1\n", life.status_half_way)
    assert life.rotated is not None
    assert life.rotated.returncode == 0, life.rotated.stderr
    assert "do not open" not in life.rotated.stderr


def test_e08_the_old_key_can_go(life: Life) -> None:
    """`keys status` says when; then all reads work without it, but for the row that was bad before"""
    assert "real opens\n  is not in use: it can be retired" in life.status_at_the_end
    kept = {name: value for name, value in life.tokens.items() if name in life.without_old}
    assert len(kept) == len(life.tokens) - 1
    assert life.without_old.keys() == kept.keys()
    changed = {name for name, value in kept.items() if life.without_old[name] != value}
    assert changed == {life.happened.credential}  # refreshed twice since
    assert "unreadable" not in "".join(life.without_old.values())


def test_e08_a_key_that_is_gone_is_found_at_the_start(life: Life) -> None:
    assert life.refused is not None
    assert life.refused.returncode != 0
    assert "Stored secrets are sealed with the key new, which ENCRYPTION_KEYS does not hold." in life.refused.stderr


def test_e10_another_secret_key_breaks_no_credential(life: Life) -> None:
    """It signs sessions and cookies; nothing that is stored depends on it, and it opens nothing"""
    assert life.with_both == life.tokens
    assert len(life.with_both) >= 3


WRONG_KEYS = {
    "no key": ("", "ENCRYPTION_KEYS is not set"),
    "31 bytes": (f"a:{base64.b64encode(secrets.token_bytes(31)).decode()}", "not 32 bytes long"),
    "an example": (f"a:{base64.b64encode(bytes(range(32))).decode()}", "everybody knows"),
}


@pytest.mark.parametrize("what", WRONG_KEYS)
def test_e09_without_a_good_key_nothing_starts(life: Life, tmp_path: Path, what: str) -> None:
    """SECRET_KEY does not stand in for one, and none is made up"""
    keys, rule = WRONG_KEYS[what]
    environment = {"ENCRYPTION_KEYS": keys, "VAR_DIR": str(tmp_path), "PORT": str(free_ports())}

    started = run(life.gateway, "serve", **environment)

    assert started.returncode != 0
    assert rule in started.stderr
    assert not keys or keys.partition(":")[2] not in started.stdout + started.stderr
    assert life.gateway.environment["SECRET_KEY"] not in started.stdout + started.stderr
    assert [path.name for path in tmp_path.iterdir() if "env" in path.name] == []


def test_e09_a_start_for_development_makes_a_key_and_says_so(life: Life, tmp_path: Path) -> None:
    nothing = {"SECRET_KEY": "", "ENCRYPTION_KEYS": "", "VAR_DIR": str(tmp_path)}
    env_file = tmp_path / "development.env"

    made = run(life.gateway, "run", "--help", **nothing, ENV_FILE=str(env_file))

    assert made.returncode == 0, made.stderr
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert str(env_file) in made.stdout + made.stderr
    key = re.search(r"^ENCRYPTION_KEYS=dev-[0-9a-f]{8}:(\S{44})$", env_file.read_text(), re.MULTILINE)
    assert key
    assert key[1] not in made.stdout + made.stderr
