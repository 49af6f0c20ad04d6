"""Rows D14, D16 and C02: who got secrets, or tried to, is written down before he gets them."""

import json
import subprocess
import sys
import uuid
from typing import Any

import psycopg
import pytest
import requests

from sequin_auth.processes import Processes
from tests.real.gateway import Gateway
from tests.real.machine import BASE_DIR, until
from tests.security.conftest import NewGateway
from tests.security.gate import meanwhile
from tests.security.member import PASSWORD, csrf_token, signed_in
from tests.security.stand_in import StandIn
from tests.security.tenant import App, Tenant, new_tenant, sql


@pytest.fixture(scope="module")
def strict(gateway_with: NewGateway, processes: Processes) -> Gateway:
    """One where a replayed code ends its credential, and where members may look at a secret."""
    gateway = gateway_with("audited", REVOKE_ON_REPLAY="on", CONSOLE_REVEAL="on", WEB_CONCURRENCY="1")
    gateway.serve(processes)
    return gateway


def events(tenant: Tenant, **query: str) -> list[dict[str, Any]]:
    """As `/v1/events` tells them, the newest first."""
    answer = tenant.call("GET", "/v1/events", params=query)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


def told(event: dict[str, Any]) -> tuple[str, str, str, str]:
    """The deed, its object, the kind of actor, the address."""
    return event["action"], event["object"]["id"], event["actor"]["kind"], event["address"]


def token_id(tenant: Tenant, text: str) -> str:
    [(pk,)] = sql(tenant.gateway, "SELECT id FROM oauth_apps_apitoken WHERE prefix = %s", text[:12])
    return str(pk)


def verify(tenant: Tenant) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "manage.py", "audit", "verify", "--account", tenant.id]
    environment = tenant.gateway.environment
    return subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=False)


def logged(gateway: Gateway, event: str) -> list[dict[str, Any]]:
    lines = [line for line in gateway.log.read_text().splitlines() if f'"{event}"' in line]
    return [json.loads(line) for line in lines]


def somebody_waits_for(connection: psycopg.Connection[Any]) -> bool:
    """Whether another connection waits for what this one has locked."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid))"
    row = connection.execute(waiting, [connection.info.backend_pid]).fetchone()
    return row is not None and row[0] > 0


# ---- D14 -------------------------------------------------------------------------------------------------------------


def test_d14_exchange_is_written_down(arrakis: Tenant, provider: StandIn) -> None:
    app = arrakis.app()
    code = app.code()
    before = len(events(arrakis, action="authorization.exchanged"))

    assert app.exchanged(code).status_code == 200

    first, *rest = events(arrakis, action="authorization.exchanged")
    assert len(rest) == before
    assert first["actor"] == {"kind": "other", "name": "standin app (client)", "id": None}
    assert (first["address"], first["object"]["type"], first["detail"]) == (
        "127.0.0.1", "authorization", f"OAuth app {app.id}",
    )  # fmt: skip


def test_d14_an_api_token_that_exchanges_is_named(arrakis: Tenant, provider: StandIn) -> None:
    app, text = arrakis.app(), arrakis.another_token("reveal")

    answer = requests.post(
        f"{arrakis.gateway.url}/link/oauth2/token",
        {"client_id": app.id, "code": app.code()},
        headers={"Authorization": f"Bearer {text}"},
        timeout=30,
    )

    assert answer.status_code == 200
    (event,) = events(arrakis, api_token=token_id(arrakis, text))
    assert (event["action"], event["actor"]["id"]) == ("authorization.exchanged", token_id(arrakis, text))
    assert event["request_id"] == answer.headers["X-Request-Id"]


def test_d14_an_exchange_that_cannot_be_written_down_hands_nothing_over(arrakis: Tenant, provider: StandIn) -> None:
    """The event stands or falls with it: while the end of the chain is held, there is no answer either."""
    app = arrakis.app()
    code = app.code()
    with psycopg.connect(arrakis.gateway.database_uri) as connection:
        connection.execute("SELECT 1 FROM oauth_apps_auditchain WHERE name = %s FOR UPDATE", [arrakis.id])
        exchanging = meanwhile(lambda: app.exchanged(code))
        until(lambda: somebody_waits_for(connection), what="the exchange waits for the end of the chain")
        assert not exchanging.done()
        (step,) = connection.execute("SELECT step FROM credentials_authorization WHERE oauth_app_id = %s", [app.id])
        assert step == ("granted",)
    assert exchanging.result().status_code == 200


def test_d14_a_read_is_a_log_line_and_a_number_and_no_event(arrakis: Tenant, provider: StandIn) -> None:
    credential = arrakis.credential()
    text = arrakis.another_token("reveal")
    before = len(events(arrakis))

    for _ in range(3):
        read = requests.get(
            f"{arrakis.gateway.url}/v1/credentials/{credential}/access-token",
            headers={"Authorization": f"Bearer {text}"},
            timeout=30,
        )
        assert read.status_code == 200

    assert len(events(arrakis)) == before
    lines = [line for line in logged(arrakis.gateway, "access_token_read") if line["credential"] == credential]
    assert [(line["api_token"], line["client"]) for line in lines] == [(token_id(arrakis, text), "127.0.0.1")] * 3

    def counted() -> int:
        rows = arrakis.call("GET", "/v1/events/reads", params={"credential": credential}).json()["data"]
        assert {(row["api_token"], row["address"]) for row in rows} <= {(token_id(arrakis, text), "127.0.0.1")}
        return sum(row["number"] for row in rows)

    until(lambda: counted() == 3, what="the reads are counted")


def test_d14_a_read_that_refreshed_is_an_event(arrakis: Tenant, provider: StandIn) -> None:
    credential, text = arrakis.credential(), arrakis.another_token("reveal")

    read = requests.get(
        f"{arrakis.gateway.url}/v1/credentials/{credential}/access-token?force_refresh=true",
        headers={"Authorization": f"Bearer {text}"},
        timeout=30,
    )

    assert read.status_code == 200
    (event,) = events(arrakis, object_id=credential, action="credential.refreshed")
    assert told(event) == ("credential.refreshed", credential, "api_token", "127.0.0.1")
    assert event["actor"]["id"] == token_id(arrakis, text)


def test_d14_a_look_at_a_secret_in_the_console(strict: Gateway, provider: StandIn) -> None:
    tenant = new_tenant(strict, "Ix")
    credential = tenant.credential()
    browser = signed_in(tenant)
    page = f"/admin/credentials/credential/{credential}/reveal/"
    form = {"csrfmiddlewaretoken": csrf_token(browser.get(page).text), "value": "access_token"}

    refused = browser.post(page, form | {"password": "wrong"})
    assert not events(tenant, action="credential.revealed")
    shown = browser.post(page, form | {"password": PASSWORD})

    assert (refused.status_code, shown.status_code) == (200, 200)
    (event,) = events(tenant, action="credential.revealed")
    assert told(event) == ("credential.revealed", credential, "user", "127.0.0.1")
    assert event["detail"] == "access_token"


def test_d14_nobody_changes_what_is_written_down(arrakis: Tenant, provider: StandIn) -> None:
    """Not by way of the API, nor by the database as the product uses it."""
    arrakis.app()
    (newest, *_) = events(arrakis)

    for method in ("PATCH", "PUT", "POST", "DELETE"):
        assert arrakis.call(method, "/v1/events", {}).status_code == 405
        assert arrakis.call(method, f"/v1/events/{newest['id']}", {}).status_code == 404
    for statement in ("UPDATE oauth_apps_auditevent SET actor = 'x'", "DELETE FROM oauth_apps_auditevent"):
        with pytest.raises(psycopg.errors.RaiseException):
            sql(arrakis.gateway, statement + " WHERE id = %s", newest["id"])
    for statement in ("TRUNCATE oauth_apps_auditevent", "TRUNCATE oauth_apps_account CASCADE"):
        with pytest.raises(psycopg.errors.RaiseException):
            sql(arrakis.gateway, statement)
    assert events(arrakis)[0] == newest


def test_d14_an_event_that_is_hidden_from_its_account_is_found(arrakis: Tenant, provider: StandIn) -> None:
    """The one UPDATE that passes: what an event forgets when its account is deleted."""
    arrakis.app()
    (newest, *_) = events(arrakis)
    forget = "UPDATE oauth_apps_auditevent SET account_id = %s WHERE id = %s"

    with psycopg.connect(arrakis.gateway.database_uri) as connection:
        connection.execute(forget.encode(), [None, newest["id"]])
        connection.commit()
        hidden = verify(arrakis)
        with pytest.raises(psycopg.errors.RaiseException):
            connection.execute(forget.encode(), [arrakis.id, newest["id"]])
        connection.rollback()
        connection.execute("SET session_replication_role = replica")  # as it was, for the tests that follow
        connection.execute(forget.encode(), [arrakis.id, newest["id"]])

    assert hidden.returncode == 1
    assert f"{arrakis.id}, number {newest['number']}: was taken away from its account." in hidden.stderr
    assert verify(arrakis).returncode == 0


def test_d14_what_is_written_down_can_be_proved(arrakis: Tenant, provider: StandIn) -> None:
    """And what was changed behind our back, by whoever gets past the trigger, is found."""
    arrakis.credential()

    whole = verify(arrakis)
    with psycopg.connect(arrakis.gateway.database_uri) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE oauth_apps_auditevent SET actor = 'nobody' WHERE chain = %s AND number = 1", [arrakis.id]
        )
        connection.commit()
        changed = verify(arrakis)

    assert (whole.returncode, changed.returncode) == (0, 1), whole.stderr
    assert whole.stdout.endswith(" are whole.\n")
    assert f"{arrakis.id}, number 1: was changed, or is not in its place." in changed.stderr


def test_d14_another_account_reads_nothing_of_it(arrakis: Tenant, harkonnen: Tenant, provider: StandIn) -> None:
    app = arrakis.app()

    assert events(harkonnen, object_id=app.id) == []
    assert not {event["chain"].partition("/")[0] for event in events(harkonnen)} - {harkonnen.id}


# ---- D16 -------------------------------------------------------------------------------------------------------------


def test_d16_an_export_needs_reveal_and_is_an_event_before_its_first_byte(arrakis: Tenant, provider: StandIn) -> None:
    arrakis.credential()
    refused = arrakis.call(
        "GET",
        "/v1/credentials/export",
        headers={"Authorization": f"Bearer {arrakis.another_token('read', 'write', 'proxy')}"},
    )
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert events(arrakis, action="credential.exported") == []

    with psycopg.connect(arrakis.gateway.database_uri) as connection:
        connection.execute("SELECT 1 FROM oauth_apps_auditchain WHERE name = %s FOR UPDATE", [arrakis.id])
        headers = {"Authorization": f"Bearer {arrakis.api_token}"}
        url = f"{arrakis.gateway.url}/v1/credentials/export"
        exporting = meanwhile(lambda: requests.get(url, headers=headers, timeout=30, stream=True))
        until(lambda: somebody_waits_for(connection), what="the export waits for the end of the chain")
        assert not exporting.done()  # not even its head has come
    exporting.result().close()
    assert len(events(arrakis, action="credential.exported")) == 1
    exported = arrakis.call("GET", "/v1/credentials/export")

    assert exported.status_code == 200
    assert exported.headers["Cache-Control"] == "no-store"
    assert exported.headers["Content-Type"].startswith("application/x-ndjson")
    event, *_ = events(arrakis, action="credential.exported")
    assert told(event) == ("credential.exported", "", "api_token", "127.0.0.1")
    assert event["actor"]["id"] == token_id(arrakis, arrakis.api_token)
    count = len(exported.text.splitlines())
    assert event["object"]["name"] == f"{count} credential{'' if count == 1 else 's'}"


def test_d16_nothing_else_yields_a_secret_without_it(arrakis: Tenant, provider: StandIn) -> None:
    """With an API token that has every other scope."""
    app = arrakis.app()
    posted = app.exchanged(app.code()).json()["credential"]
    credential = arrakis.made("/v1/credentials", posted)["id"]
    headers = {"Authorization": f"Bearer {arrakis.another_token('read', 'write', 'proxy')}"}
    properties = posted["properties"]
    secrets = [properties["access_token"], properties["refresh_token"], str(app.client_secret)]

    calls = [
        ("GET", "/v1/credentials", None),
        ("GET", f"/v1/credentials/{credential}", None),
        ("PATCH", f"/v1/credentials/{credential}", {"name": "x"}),
        ("POST", f"/v1/credentials/{credential}/check", None),
        ("GET", "/v1/credentials/export", None),
        ("GET", f"/v1/credentials/{credential}/access-token", None),
        ("GET", "/v1/oauth-apps", None),
        ("GET", f"/v1/oauth-apps/{app.id}", None),
        ("GET", "/v1/events", None),
        ("GET", "/v1/events/reads", None),
        ("POST", "/v1/credentials", posted),
    ]
    for method, path, body in calls:
        answer = arrakis.call(method, path, body, headers=headers)
        assert answer.headers["Cache-Control"] == "no-store", path
        assert (answer.status_code == 403) == path.endswith(("export", "access-token")), path
        assert not [secret for secret in secrets if secret in answer.text], path


# ---- C02 -------------------------------------------------------------------------------------------------------------


def replayed(app: App) -> tuple[str, str]:
    """A credential that is kept, whose code is then shown twice more; and what the last answer said."""
    code = app.code()
    credential = app.tenant.made("/v1/credentials", app.exchanged(code).json()["credential"])["id"]
    answers = [app.exchanged(code) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [400, 400]
    return str(credential), str(answers[-1].json()["error"])


def test_c02_a_replay_is_one_event_and_revokes_nothing(arrakis: Tenant, provider: StandIn) -> None:
    app = arrakis.app()

    credential, error = replayed(app)

    assert error == "invalid_grant"
    found = [event for event in events(arrakis, action="authorization.code_replayed") if app.id in event["detail"]]
    assert len(found) == 1
    assert found[0]["actor"]["name"] == "standin app (client)"
    assert provider.sent_to("/revoke") == []
    assert arrakis.call("GET", f"/v1/credentials/{credential}/access-token").status_code == 200


def test_c02_a_code_that_never_was_is_no_replay(arrakis: Tenant, provider: StandIn) -> None:
    app = arrakis.app()

    assert app.exchanged(uuid.uuid4().hex + "abc").status_code == 400

    assert not [event for event in events(arrakis, action="authorization.") if app.id in event["detail"]]


def test_c02_another_app_that_shows_it_is_no_replay(arrakis: Tenant, harkonnen: Tenant, provider: StandIn) -> None:
    mine, theirs = arrakis.app(), harkonnen.app()
    code = mine.code()
    assert mine.exchanged(code).status_code == 200

    assert theirs.exchanged(code).status_code == 400

    assert events(harkonnen, action="authorization.code_replayed") == []
    shown = events(arrakis, action="authorization.code_replayed")
    assert not [event for event in shown if mine.id in event["detail"]]


def test_c02_where_it_is_switched_on_a_replay_ends_the_credential(strict: Gateway, provider: StandIn) -> None:
    tenant = new_tenant(strict, "Caladan")

    credential, _ = replayed(tenant.app())

    assert len(provider.sent_to("/revoke")) > 0
    answer = tenant.call("GET", f"/v1/credentials/{credential}/access-token")
    assert (answer.status_code, answer.json()["code"]) == (409, "needs_reauthorization")
    revoked = events(tenant, action="credential.revoked")
    assert [event["object"]["id"] for event in revoked] == [credential]
    assert len(events(tenant, action="authorization.code_replayed")) == 1
