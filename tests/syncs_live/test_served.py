"""`manage.py serve`: from the end user's trip to rows that SQL finds, and back to nothing."""

from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import requests

from sequin_auth.lib.embedded_postgres.server import server_in
from sequin_auth.management.commands.serve import SYNC_WORKER, WEB
from tests.real.canaries import dump
from tests.real.end_user import EndUser, query_of
from tests.real.gateway import Gateway
from tests.real.machine import until


def sync_of(gateway: Gateway, end_user: EndUser) -> dict[str, Any]:
    """A trip at the simulator, and a sync with the `credential` of its answer as it is."""
    app = gateway.create_app("stripe", client_id="ca_mine", client_secret="a secret of mine", environment="sandbox")
    code = query_of(end_user.walk(app.start_url(), to=app.redirect_uri))["code"]
    body = {"provider": "stripe", "name": "Arrakis", "collection_ids": ["stripe:customer", "stripe:invoice"]}
    return gateway.post("/v1/syncs", body | {"credential": app.token(code).json()["credential"]})


def connection_of(gateway: Gateway, sync: dict[str, Any]) -> str:
    headers = {"Authorization": f"Bearer {gateway.api_token_that_reveals}"}
    path = f"{gateway.url}/v1/destinations/{sync['destination']['id']}/connection"
    answer = requests.get(path, headers=headers, timeout=30).json()
    gateway.canaries.add("reader's password", answer["password"])
    return str(answer["url"])


def have_dlt(gateway: Gateway, name: str) -> list[bool]:
    """Of each process of the gateway's with this name. What dlt alone brings along is psycopg2,
    whose shared library the kernel knows of.
    """
    found = [
        process
        for process in psutil.Process().children(recursive=True)
        if process.name() == name and process.environ().get("VAR_DIR") == str(gateway.directory)
    ]
    return ["psycopg2" in Path(f"/proc/{process.pid}/maps").read_text() for process in found]


def fetched(runs: list[dict[str, Any]]) -> int:
    return sum(sum(run["rows"].values()) for run in runs)


def test_a_sync_from_the_trip_to_its_end(gateway: Gateway, end_user: EndUser) -> None:
    sync = sync_of(gateway, end_user)
    path = f"/v1/syncs/{sync['id']}"

    def look(more: str = "") -> dict[str, Any]:
        return gateway.call("GET", f"{path}{more}")

    until(lambda: look()["initial_backfill_completed_at"], what="the first rows have come", deadline=150)
    shown = look()
    schema, url = sync["destination"]["schema"], connection_of(gateway, sync)
    with psycopg.connect(url, autocommit=True) as reader:
        rows = {
            name: reader.execute(f"SELECT count(*) FROM {schema}.{name} WHERE _deleted_at IS NULL").fetchone()  # noqa: S608
            for name in ("customer", "invoice")
        }
        assert {one["id"]: (one["rows"],) for one in shown["collections"]} == {
            f"stripe:{name}": count for name, count in rows.items()
        }
        assert min(one["rows"] for one in shown["collections"]) >= 200
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(f"DELETE FROM {schema}.customer")  # noqa: S608
    assert shown["health"]["status"] == "ok", shown["health"]

    first = fetched(look("/runs")["data"])
    gateway.post(f"{path}/refresh", {"full": True})
    until(lambda: fetched(look("/runs")["data"]) >= 2 * first - 50, what="all has been walked again", deadline=150)
    assert {run["stop"] for run in look("/runs")["data"]} <= {"done", "time", None}

    assert gateway.call("PATCH", path, {"status": "disabled"})["status"] == "disabled"
    with pytest.raises(AssertionError, match=r"^409 "):
        gateway.post(f"{path}/refresh")
    assert have_dlt(gateway, WEB) == [False] * 3  # the server and its two workers
    assert have_dlt(gateway, SYNC_WORKER) == [True]

    dump(server_in(gateway.directory / "postgres").uri("sequin_syncs"), gateway.directory / "dump")
    assert gateway.canaries.found_in(gateway.log, gateway.directory / "dump") == set()

    gateway.call("DELETE", path)
    until(lambda: schema not in schemas(gateway), what="its schema is gone", deadline=60)


def schemas(gateway: Gateway) -> set[str]:
    with psycopg.connect(server_in(gateway.directory / "postgres").uri("sequin_syncs")) as superuser:
        return {row[0] for row in superuser.execute("SELECT nspname FROM pg_namespace")}
