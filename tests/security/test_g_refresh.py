"""G01, G04, G05, G07, G09, G11, G12: one refresh for everybody, and nothing that comes too late does harm."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString

import psycopg
import pytest
import requests
from psycopg.sql import SQL

from tests.lib.servers import Visit
from tests.real.machine import until
from tests.security.gate import Gate, meanwhile
from tests.security.stand_in import Request, StandIn, answering_json
from tests.security.tenant import App, Tenant

LEASE = 35  # seconds: each of the two calls that a refresh may be ends within ten, and fifteen are left for the commit


@pytest.fixture(scope="module")
def app(arrakis: Tenant) -> App:
    return arrakis.app()


@pytest.fixture
def credential(app: App, provider: StandIn) -> str:
    """A new one, whose access token has ended; the provider has forgotten how it came to be."""
    provider.user_id = f"user-{uuid.uuid4()}"
    made = app.tenant.credential(app)
    change(app, made, "expires_at = now() - interval '1 second', due_at = NULL")
    provider.requests.clear()
    return made


def change(app: App, credential: str, assignment: LiteralString) -> None:
    statement = SQL("UPDATE credentials_token SET {} WHERE credential_id = %s").format(SQL(assignment))
    with psycopg.connect(app.tenant.gateway.database_uri, autocommit=True) as connection:
        connection.execute(statement, [credential])


def row(app: App, credential: str, columns: LiteralString) -> tuple[Any, ...]:
    statement = SQL("SELECT {} FROM credentials_token WHERE credential_id = %s").format(SQL(columns))
    with psycopg.connect(app.tenant.gateway.database_uri) as connection:
        found = connection.execute(statement, [credential]).fetchone()
    assert found
    return found


def read(app: App, credential: str, **query: str) -> requests.Response:
    return app.tenant.call("GET", f"/v1/credentials/{credential}/access-token", params=query)


def plain(app: App, credential: str) -> dict[str, Any]:
    """Its properties, in the clear, as they are exported."""
    lines = app.tenant.call("GET", "/v1/credentials/export").text.splitlines()
    return next(line["properties"] for line in map(json.loads, lines) if line["id"] == credential)


def detecting_reuse(provider: StandIn) -> Any:
    """Each refresh token is good once; one that comes again ends them all, as RFC 9700, 4.14.2 has it."""
    used: set[str] = set()

    def behaviour(visit: Visit, request: Request) -> None:
        shown = request.form["refresh_token"]
        if used & {shown, "all"}:
            used.add("all")
            answering_json(400, {"error": "invalid_grant"})(visit, request)
            return
        used.add(shown)
        provider.give_tokens(visit, request)

    return behaviour


def test_g01_a_crowd_is_one_refresh(app: App, credential: str, provider: StandIn) -> None:
    """Of two processes, and by both ways: reading, and the refresh grant of a stock client. The family lives on"""
    refresh_token = plain(app, credential)["refresh_token"]
    gate = Gate(detecting_reuse(provider))
    provider.behaves("/token", gate)

    with ThreadPoolExecutor(24) as threads:
        reads = [threads.submit(read, app, credential) for _ in range(20)]
        grants = [threads.submit(app.token, grant_type="refresh_token", refresh_token=refresh_token) for _ in range(4)]
        gate.until_somebody_waits()
        gate.open()
        answers = [doing.result() for doing in (*reads, *grants)]

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["access_token"] for answer in answers}) == 1
    assert len(provider.sent_to("/token")) == 1
    assert read(app, credential, force_refresh="true").status_code == 200


def test_g04_a_lease_outlasts_the_call(app: App, credential: str, provider: StandIn) -> None:
    """While a slow provider is asked nobody else asks; two callers have one answer"""
    gate = Gate(provider.give_tokens)
    provider.behaves("/token", gate)
    first = meanwhile(lambda: read(app, credential))
    gate.until_somebody_waits()
    second = meanwhile(lambda: read(app, credential))

    ((left),) = row(app, credential, "extract(epoch FROM lease_until - now())::float")
    gate.open()

    assert LEASE - 10 < left <= LEASE
    assert first.result().json()["access_token"] == second.result().json()["access_token"]
    assert len(provider.sent_to("/token")) == 1


def test_g05_a_loser_does_not_disable_the_winner(app: App, credential: str, provider: StandIn) -> None:
    """His lease ended while he was asking; another took over and won; then he is told `invalid_grant`"""
    gate = Gate(answering_json(400, {"error": "invalid_grant"}))
    provider.behaves("/token", gate)
    loser = meanwhile(lambda: read(app, credential))
    gate.until_somebody_waits()
    change(app, credential, "lease_until = now() - interval '1 second'")
    provider.behaves("/token", provider.give_tokens)

    winner = read(app, credential)
    gate.open()

    assert winner.status_code == 200
    assert (loser.result().status_code, loser.result().json()["access_token"]) == (200, winner.json()["access_token"])
    assert row(app, credential, "failure, version") == ("", 2)


def test_g05_a_winner_who_comes_too_late_is_dropped(app: App, credential: str, provider: StandIn) -> None:
    """The version of the row decides. What he brings is dropped, and not revoked: that would end the winner's too"""
    late = provider.tokens()
    gate = Gate(answering_json(200, late))
    provider.behaves("/token", gate)
    first = meanwhile(lambda: read(app, credential))
    gate.until_somebody_waits()
    change(app, credential, "lease_until = now() - interval '1 second'")
    provider.behaves("/token", provider.give_tokens)

    current = read(app, credential).json()["access_token"]
    gate.open()

    assert first.result().json()["access_token"] == current
    assert read(app, credential).json()["access_token"] == current
    assert provider.sent_to("/revoke") == []


def test_g07_no_storm_after_a_terminal_error(app: App, credential: str, provider: StandIn) -> None:
    provider.behaves("/token", answering_json(400, {"error": "invalid_grant"}))

    first = read(app, credential)
    calls_of_the_first = len(provider.sent_to("/token"))
    later = [read(app, credential) for _ in range(5)]
    calls_of_reads = len(provider.sent_to("/token")) - calls_of_the_first
    forced = [read(app, credential, force_refresh="true") for _ in range(3)]
    calls_of_forced = len(provider.sent_to("/token")) - calls_of_the_first - calls_of_reads

    for answer in (first, *later, *forced):
        assert (answer.status_code, answer.json()["code"]) == (409, "needs_reauthorization")
        assert "reconnect_url" in answer.json()
    assert (calls_of_the_first, calls_of_reads) == (1, 0)
    assert calls_of_forced <= 3
    assert row(app, credential, "due_at IS NULL") == (True,)  # no schedule takes it up


def test_g11_no_reader_sees_a_torn_pair(app: App, credential: str, provider: StandIn) -> None:
    """What is exported while it is refreshed is one access token with its own refresh token, never an older one"""
    count = iter(range(1000))

    def numbered(visit: Visit, request: Request) -> None:
        number = f"{next(count):03}-{'x' * 12}"
        tokens = provider.tokens(access_token=f"at-{number}", refresh_token=f"rt-{number}")
        answering_json(200, tokens)(visit, request)

    provider.behaves("/token", numbered)
    read(app, credential)
    seen: list[dict[str, Any]] = []
    versions: list[int] = []

    with ThreadPoolExecutor(2) as threads:
        refreshing = threads.submit(lambda: [read(app, credential, force_refresh="true") for _ in range(8)])
        while not refreshing.done():
            seen.append(plain(app, credential))
            versions.append(row(app, credential, "version")[0])

    assert {answer.status_code for answer in refreshing.result()} == {200}
    assert [one for one in seen if one["access_token"][3:] != one["refresh_token"][3:]] == []
    assert versions == sorted(versions)


def test_g12_what_is_deleted_stays_deleted(app: App, credential: str, provider: StandIn) -> None:
    """A refresh that was under way brings it back to nobody, and its tokens are given back"""
    new = provider.tokens()
    gate = Gate(answering_json(200, new))
    provider.behaves("/token", gate)
    reading = meanwhile(lambda: read(app, credential))
    gate.until_somebody_waits()

    assert app.tenant.call("DELETE", f"/v1/credentials/{credential}").status_code == 200
    gate.open()

    assert reading.result().status_code == 404
    assert app.tenant.call("GET", f"/v1/credentials/{credential}").status_code == 404
    until(
        lambda: new["refresh_token"] in str([request.form for request in provider.sent_to("/revoke")]),
        what="the new tokens are given back",
    )


def test_g12_what_was_reconnected_meanwhile_keeps_its_new_tokens(app: App, credential: str, provider: StandIn) -> None:
    gate = Gate(provider.give_tokens)
    provider.behaves("/token", gate)
    reading = meanwhile(lambda: read(app, credential))
    gate.until_somebody_waits()
    imported = {
        "oauth_app_id": app.id,
        "properties": {
            "kind": "standin_oauth2",
            "access_token": "at-of-the-reconnection",
            "refresh_token": "rt-of-the-reconnection",
            "expires_at": "2099-01-01T00:00:00Z",
            "user_id": provider.user_id,
        },
    }
    assert app.tenant.made("/v1/credentials", imported)["id"] == credential
    gate.open()

    assert reading.result().json()["access_token"] == "at-of-the-reconnection"
    assert plain(app, credential)["refresh_token"] == "rt-of-the-reconnection"


def test_g09_what_is_due_at_once_is_done_a_few_at_a_time(app: App, provider: StandIn) -> None:
    """Sixty here, by the worker of the gateway. Neither the bound nor the jitter depends on how many there are; how
    many thousand a minute is enough for is measured by the benchmark of the sweep
    """
    at_once, most = 0, 0

    def counted(visit: Visit, request: Request) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            answering_json(200, provider.tokens(user_id=...))(visit, request)  # whose they are it says once
        finally:
            at_once -= 1

    lines = [
        {
            "oauth_app_id": app.id,
            "provider": "standin",
            "kind": "standin_oauth2",
            "properties": {
                "kind": "standin_oauth2",
                "access_token": f"at-herd-{number:08}",
                "refresh_token": f"rt-herd-{number:08}",
                "expires_at": "2099-01-01T00:00:00Z",
                "user_id": f"herd-{number}",
            },
        }
        for number in range(60)
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    headers = {"Content-Type": "application/x-ndjson"}
    assert app.tenant.call("POST", "/v1/credentials/import", headers=headers, data=body).status_code == 200
    provider.behaves("/token", counted)
    with psycopg.connect(app.tenant.gateway.database_uri, autocommit=True) as connection:
        herd = SQL(
            "credential_id IN (SELECT id FROM credentials_credential"
            " WHERE oauth_app_id = %s AND properties->>'user_id' LIKE 'herd-%%')"
        )
        due = SQL("UPDATE credentials_token SET due_at = now() WHERE {}").format(herd)
        assert connection.execute(due, [app.id]).rowcount == 60
        sweep_now(connection)

        until(
            lambda: (
                connection.execute(
                    SQL("SELECT count(*) FROM credentials_token WHERE version = 2 AND {}").format(herd), [app.id]
                ).fetchone()
                == (60,)
            ),
            what="all are refreshed",
        )
        found = connection.execute(
            SQL("SELECT extract(epoch FROM due_at)::int FROM credentials_token WHERE {}").format(herd), [app.id]
        ).fetchall()
        next_times = {seconds for (seconds,) in found}

    asked = [request.form["refresh_token"] for request in provider.sent_to("/token")]
    assert len([token for token in asked if token.startswith("rt-herd-")]) == 60  # others of the gateway may be due
    assert most <= 48  # of one provider; others have their turn
    assert len(next_times) > 25  # seconds in which one falls due again
    assert max(next_times) - min(next_times) > 60  # one twentieth of the hour that a token lives is the jitter


def sweep_now(connection: "psycopg.Connection[Any]") -> None:
    """As the schedule does each minute: a job for the worker that runs beside the web server."""
    connection.execute(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args, status)"
        """ VALUES ('refresh', 'credentials.refresh.sweep.refresh_due_job', '{"timestamp": 0}', 'todo')"""
    )
