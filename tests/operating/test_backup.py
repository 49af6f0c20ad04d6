"""A backup is made by pg_dump, everything is lost, and put back by pg_restore: what docs/operating.md tells to do."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from psycopg import sql

from sequin_auth.lib.embedded_postgres.server import BINARIES
from sequin_auth.moving.copying import set_sequences
from tests.documentation.blocks import blocks_of
from tests.operating.house import House
from tests.real.end_user import EndUser, query_of
from tests.real.gateway import App, Gateway, answers, new_keys
from tests.real.machine import until

OF_THE_PROVIDER = "sandbox_%"  # tables of the simulator: a provider's memory, which no backup of ours brings back


@dataclass(frozen=True)
class Restored:
    database: str
    before: dict[str, list[str]]  # all rows at the time of the backup
    after: dict[str, list[str]]  # and at that of the restore
    stale: dict[str, str]  # a credential whose refresh token was used since
    end_user: EndUser  # whose trip was under way
    callback: str


@contextmanager
def serving(house: House, database: str) -> Iterator[Gateway]:
    """A web server, whose simulator is the provider."""
    static = house.directory / "static"
    static.mkdir(exist_ok=True)
    web = house.run(f"web of {database}", "-m", "gunicorn", DATABASE_URL=house.url(database), WEB_CONCURRENCY="1")
    gateway = Gateway(house.directory, house.environment)
    until(lambda: answers(f"{gateway.url}/readyz"), what="it serves")
    yield gateway
    os.killpg(web.pid, signal.SIGKILL)
    web.wait()


def do_as_shown(command: str, directory: Path, url: str) -> None:
    """What docs/operating.md shows for it, with the server's own programs."""
    (shown,) = [block.text for block in blocks_of("docs/operating.md") if block.text.startswith(command)]
    environment = {"PATH": f"{BINARIES}:{os.environ['PATH']}", "DATABASE_URL": url}
    subprocess.run(["sh", "-ec", shown], cwd=directory, env=environment, check=True, capture_output=True, timeout=60)


def read(gateway: Gateway, stored: dict[str, str], query: str = "") -> requests.Response:
    headers = {"Authorization": f"Bearer {stored['api_token']}"}
    return requests.get(f"{gateway.url}/v1/credentials/{stored['id']}/access-token{query}", headers=headers, timeout=30)


@pytest.fixture(scope="module")
def app(house: House) -> dict[str, Any]:
    return {"provider": "stripe", "client_id": "ca_1", "client_secret": "sk_1_canary"}


@pytest.fixture(scope="module")
def restored(house: House, app: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Restored:
    lost, fresh = house.database(like="sequin_auth"), house.database()
    backups = tmp_path_factory.mktemp("backup")
    stale = house.do("store", lost, provider="airtable")
    with serving(house, lost) as gateway:
        made = house.do("say", lost, command=["create_account", "Ix"])
        gateway.api_token = json.loads(made["out"])["api_token"]
        gateway.post("/v1/redirect-uris", {"redirect_uri": f"{gateway.redirect_uri}/:provider"})
        registered = gateway.create_app(**app, environment="sandbox")
        app |= {"id": registered.id, "callback_url": registered.callback_url}
        end_user = EndUser(gateway.canaries)
        callback = end_user.walk(registered.start_url(state="state-of-mine"), to=registered.callback_url)

        do_as_shown("pg_dump", backups, house.url(lost))
        before = house.content(lost)
        assert read(gateway, stale, "?force_refresh=true").status_code == 200
    do_as_shown("pg_restore", backups, house.url(fresh))
    after = house.content(fresh)
    bring_the_provider_back(house, lost, fresh)
    house.sql("postgres", f"DROP DATABASE {lost}")
    return Restored(fresh, before, after, stale, end_user, callback)


def bring_the_provider_back(house: House, lost: str, fresh: str) -> None:
    """It remembers whatever has happened."""
    tables = "SELECT tablename FROM pg_tables WHERE tablename LIKE %s"
    with psycopg.connect(house.postgres.uri(lost)) as here, psycopg.connect(house.postgres.uri(fresh)) as there:
        there.execute("SET session_replication_role = replica")
        for (name,) in here.execute(tables, [OF_THE_PROVIDER]).fetchall():
            table = sql.Identifier(name)
            there.execute(sql.SQL("DELETE FROM {}").format(table))
            with (
                here.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(table)) as rows,
                there.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(table)) as taken,
            ):
                for block in rows:
                    taken.write(block)
        set_sequences(here, there)


@pytest.mark.parametrize("command", [["manage.py", "serve"], ["-m", "gunicorn"], ["manage.py", "worker"]], ids=" ".join)
def test_without_the_keys_nothing_starts(house: House, restored: Restored, command: list[str]) -> None:
    others = new_keys()["ENCRYPTION_KEYS"].replace("real:", "another:")
    log = Path(house.directory / "log").stat().st_size

    started = house.run(
        f"{command[-1]} without keys", *command, DATABASE_URL=house.url(restored.database), ENCRYPTION_KEYS=others
    )

    until(lambda: started.poll() is not None, what="it ends")
    assert started.wait() == 1
    said = (house.directory / "log").read_bytes()[log:].decode()
    assert "Stored secrets are sealed with the key real, which ENCRYPTION_KEYS does not hold." in said


@pytest.mark.parametrize("command", [["-m", "gunicorn"], ["manage.py", "worker"]], ids=" ".join)
def test_a_database_that_is_away_ends_no_start(house: House, command: list[str]) -> None:
    log = Path(house.directory / "log").stat().st_size
    said = {"gunicorn": "keys_not_looked_at", "worker": "worker_lost_database"}[command[-1]]

    started = house.run(f"{command[-1]} without a database", *command, DATABASE_URL=house.url("nowhere"))

    until(lambda: said in (house.directory / "log").read_bytes()[log:].decode(), what="it says so")
    assert started.poll() is None
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()


def test_every_row_is_back(house: House, restored: Restored) -> None:
    assert restored.after == restored.before
    assert all(restored.after[name] for name in ("credentials_token", "oauth_apps_auditevent", "procrastinate_jobs"))


def test_the_audit_log_is_whole_and_what_is_sealed_opens(house: House, restored: Restored) -> None:
    verified = house.do("say", restored.database, command=["audit", "verify"])
    opened = [house.do("open_token", restored.database, credential=one) for one in house.credentials]

    events = len(restored.after["oauth_apps_auditevent"])
    assert (verified["refusal"], verified["out"].partition(" ")[0]) == ("", str(events))
    assert [bool(one["access_token"]) for one in opened] == [True, True]


def test_a_refresh_token_that_was_used_since_is_refused_once(house: House, restored: Restored) -> None:
    """E11. The other credentials are as they were"""
    house.sql(
        restored.database,
        "UPDATE credentials_token SET expires_at = now() - interval '1 minute' WHERE credential_id = %s",
        restored.stale["id"],
    )

    with serving(house, restored.database) as gateway:
        house.calls()
        answered = [read(gateway, restored.stale) for _ in range(3)]
        ((others,),) = house.sql(
            restored.database,
            "SELECT count(*) FROM credentials_token WHERE failure <> '' AND credential_id <> %s",
            restored.stale["id"],
        )

    assert [(answer.status_code, answer.json()["code"]) for answer in answered] == [(409, "needs_reauthorization")] * 3
    assert ([status // 100 for status in house.calls()], others) == ([4], 0)


def test_a_trip_that_was_under_way_comes_to_its_end(house: House, restored: Restored, app: dict[str, Any]) -> None:
    with serving(house, restored.database) as gateway:
        mine = App(gateway, app["id"], "stripe", app["client_secret"], app["callback_url"])
        back = restored.end_user.walk(restored.callback, to=mine.redirect_uri)
        answer = mine.token(query_of(back)["code"])

    assert (answer.status_code, answer.json()["state"]) == (200, "state-of-mine")
