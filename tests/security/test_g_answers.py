"""G06, G08, G10, G15, G16: what a provider's answer to a refresh does to what is stored."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
import requests
from psycopg.sql import SQL

from tests.security.stand_in import Behaviour, StandIn, answering, answering_json
from tests.security.tenant import App, Tenant, assert_back, query_of


@pytest.fixture
def app(arrakis: Tenant, provider: StandIn) -> App:
    return arrakis.app()


@pytest.fixture
def credential(app: App, provider: StandIn) -> Iterator[str]:
    """One of user-1, whose access token lasts an hour; the provider has forgotten how it came to be."""
    made = app.tenant.credential(app)
    provider.requests.clear()
    yield made
    app.tenant.call("DELETE", f"/v1/credentials/{made}")


def read(app: App, credential: str, **query: str) -> requests.Response:
    return app.tenant.call("GET", f"/v1/credentials/{credential}/access-token", params=query)


def renewed(app: App, credential: str) -> requests.Response:
    return read(app, credential, force_refresh="true")


def health(app: App, credential: str) -> str:
    return str(app.tenant.call("GET", f"/v1/credentials/{credential}").json()["health"]["status"])


def row(app: App, credential: str, columns: LiteralString) -> tuple[Any, ...]:
    """Of the token."""
    statement = SQL("SELECT {} FROM credentials_token WHERE credential_id = %s").format(SQL(columns))
    with psycopg.connect(app.tenant.gateway.database_uri) as connection:
        found = connection.execute(statement, [credential]).fetchone()
    assert found
    return found


def change(app: App, credential: str, assignment: LiteralString) -> None:
    statement = SQL("UPDATE credentials_token SET {} WHERE credential_id = %s").format(SQL(assignment))
    with psycopg.connect(app.tenant.gateway.database_uri, autocommit=True) as connection:
        connection.execute(statement, [credential])


def refresh_tokens_sent(provider: StandIn) -> list[str]:
    return [request.form["refresh_token"] for request in provider.sent_to("/token")]


def in_seconds(column: LiteralString) -> LiteralString:
    return f"extract(epoch FROM {column} - now())::float"


def since_1970(column: LiteralString) -> LiteralString:
    return f"extract(epoch FROM {column})::float"


# ---- G06: no new refresh token ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("refresh_token", [..., None, "", 7, "a\nb"])
def test_g06_the_refresh_token_that_there_is_stays(
    app: App, credential: str, provider: StandIn, refresh_token: Any
) -> None:
    provider.behaves("/token", answering_json(200, provider.tokens(refresh_token=refresh_token)))

    answers = [renewed(app, credential) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    first, second = refresh_tokens_sent(provider)
    assert first == second
    told = app.token(grant_type="refresh_token", refresh_token=first).json()
    assert told["refresh_token"] == first


# ---- G08: outages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behaviour",
    [answering("500 Oops"), answering("503 Later"), lambda visit, _: visit.reset()],
    ids=["500", "503", "no answer"],
)
def test_g08_an_outage(app: App, credential: str, provider: StandIn, behaviour: Behaviour) -> None:
    """The token that is still good is served, the provider left alone for longer each time, and nobody disconnected"""
    good = read(app, credential).json()
    provider.behaves("/token", behaviour)
    jitter = set()

    for n, least in enumerate([5, 10, 20, 40], start=1):
        begun_at = time.time()
        answers = [read(app, credential, min_ttl="7200")]
        retry_at, due_at, failures = row(app, credential, f"{since_1970('retry_at')}, {since_1970('due_at')}, failures")
        change(app, credential, "retry_at = now() + interval '1 minute'")  # the first seconds are soon over
        answers += [read(app, credential, min_ttl="7200") for _ in range(2)]
        assert [(answer.status_code, answer.json()) for answer in answers] == [(200, good)] * 3
        assert (len(provider.sent_to("/token")), failures) == (n, n)
        assert begun_at + least <= retry_at < time.time() + least * 1.2
        assert abs(retry_at - due_at) < 1
        jitter.add((retry_at - begun_at) / least)
        change(app, credential, "retry_at = now() - interval '1 second'")  # so much later

    assert max(jitter) - min(jitter) > 0.001
    assert health(app, credential) == "warn"

    provider.forget()
    assert read(app, credential, min_ttl="7200").json()["access_token"] != good["access_token"]
    assert health(app, credential) == "ok"


def test_g08_an_outage_when_the_token_has_ended(app: App, credential: str, provider: StandIn) -> None:
    """There is nothing to serve, and still nobody has to come again"""
    change(app, credential, "expires_at = now() - interval '1 minute'")
    provider.behaves("/token", answering("502 Oops"))

    answer = read(app, credential)

    assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
    assert int(answer.headers["Retry-After"]) in range(1, 8)
    assert "reconnect_url" not in answer.json()
    provider.forget()
    change(app, credential, "retry_at = now() - interval '1 second'")
    assert read(app, credential).status_code == 200


# ---- G10: clocks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("expires_in", "margin"), [(3600, 360), (86_400, 8640), (300, 60)])
def test_g10_the_schedule_renews_ahead_of_the_end(
    app: App, credential: str, provider: StandIn, expires_in: int, margin: int
) -> None:
    """A minute or a tenth before, whichever is more, and up to a twentieth earlier so that not all come at once"""
    provider.behaves("/token", answering_json(200, provider.tokens(expires_in=expires_in)))

    assert renewed(app, credential).status_code == 200

    (ahead,) = row(app, credential, "extract(epoch FROM expires_at - due_at)::float")
    assert margin - 1 <= ahead <= margin + expires_in * 0.05 + 1


@pytest.mark.parametrize("expires_in", [1, 10, 299])
def test_g10_a_lifetime_shorter_than_min_ttl(app: App, credential: str, provider: StandIn, expires_in: int) -> None:
    """One refresh for each read, and by schedule none for half a minute"""
    provider.behaves("/token", answering_json(200, provider.tokens(expires_in=expires_in)))
    assert renewed(app, credential).status_code == 200

    for n in range(2, 5):
        assert read(app, credential, min_ttl="300").status_code == 200
        assert len(provider.sent_to("/token")) == n

    (due,) = row(app, credential, in_seconds("due_at"))
    assert due > 25


@pytest.mark.parametrize("skew", [-300, 300])
def test_g10_the_providers_clock_goes_wrong(app: App, credential: str, provider: StandIn, skew: int) -> None:
    """A token of five minutes that says by itself when it ends, by a clock that is as much off: no loop"""
    claims = [{"alg": "none"}, {"exp": int(time.time()) + 300 + skew}]
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in claims]
    token = ".".join([*parts, "x"])
    provider.behaves("/token", answering_json(200, provider.tokens(expires_in=..., access_token=token)))
    assert renewed(app, credential).status_code == 200

    answers = [read(app, credential, min_ttl="60") for _ in range(3)]

    assert [answer.json()["access_token"] for answer in answers] == [token] * 3
    assert len(provider.sent_to("/token")) <= 4
    (due,) = row(app, credential, in_seconds("due_at"))
    assert due > 25


# ---- G15: another account --------------------------------------------------------------------------------------------


def test_g15_a_refresh_that_brings_another_account(app: App, credential: str, provider: StandIn) -> None:
    """Nothing of it is kept or served, it is given back, and the owner has to come again"""
    foreign = provider.tokens(user_id="user-2")
    provider.behaves("/token", answering_json(200, foreign))

    answers = [renewed(app, credential), read(app, credential)]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "needs_reauthorization")] * 2
    assert len(provider.sent_to("/token")) == 1
    assert [request.form["token"] for request in provider.sent_to("/revoke")] == [foreign["refresh_token"]]
    shown = app.tenant.call("GET", f"/v1/credentials/{credential}").json()
    assert (shown["properties"]["user_id"], shown["health"]["status"]) == ("user-1", "error")
    assert foreign["access_token"] not in "".join(answer.text for answer in answers)


@pytest.mark.parametrize("user_id", ["user-1", ..., None])
def test_g15_a_refresh_that_names_the_same_account_or_none(
    app: App, credential: str, provider: StandIn, user_id: Any
) -> None:
    provider.behaves("/token", answering_json(200, provider.tokens(user_id=user_id)))

    assert renewed(app, credential).status_code == 200

    assert provider.sent_to("/revoke") == []


# ---- G16: half an answer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("access_token", [..., None, "", 7, "a\nb"])
def test_g16_a_new_refresh_token_alone(app: App, credential: str, provider: StandIn, access_token: Any) -> None:
    """It is kept, since the old one may be dead; and the call has failed"""
    good = read(app, credential).json()
    half = provider.tokens(access_token=access_token)
    provider.behaves("/token", answering_json(200, half))

    refused = renewed(app, credential)

    assert (refused.status_code, refused.json()["code"]) == (503, "provider_unavailable")
    assert read(app, credential).json() == good
    provider.behaviours.clear()
    assert renewed(app, credential).status_code == 200
    assert refresh_tokens_sent(provider)[1] == half["refresh_token"]


def test_g16_a_code_that_brings_a_refresh_token_alone(app: App, provider: StandIn) -> None:
    provider.behaves("/token", answering_json(200, provider.tokens(access_token=...)))

    back = app.started(state="s1").approved()

    assert_back(back, app, "server_error", "s1")
    provider.behaviours.clear()
    assert "code" in query_of(app.started().approved().headers["Location"])
