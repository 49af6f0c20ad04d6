"""Two processes, thirty-two callers, and npm's oidc-provider, which revokes the whole grant when a token comes back."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psycopg
import pytest

from tests.real.end_user import EndUser, query_of
from tests.real.gateway import App, Gateway
from tests.real.oidc import OidcProviders

pytestmark = pytest.mark.real

CALLERS = 32  # as many as the gateway has threads
ROUNDS = 10


@pytest.fixture
def kept(pkce_app: App, gateway: Gateway, end_user: EndUser) -> dict[str, Any]:
    """The answer of the token endpoint, whose credential was posted, and has its `id` beside it."""
    code = query_of(end_user.walk(pkce_app.start_url(), to=pkce_app.redirect_uri))["code"]
    answer: dict[str, Any] = pkce_app.token(code).json()
    return answer | {"id": gateway.post("/v1/credentials", answer["credential"])["id"]}


def expire(gateway: Gateway, credential_id: str) -> None:
    with psycopg.connect(gateway.database_uri) as connection:
        past = "expires_at = now() - interval '1 second'"
        connection.execute(f"UPDATE credentials_token SET {past} WHERE credential_id = %s", [credential_id])  # noqa: S608


def refreshes(oidc: OidcProviders) -> list[dict[str, Any]]:
    """What the provider answered to each refresh, so far."""
    return [one["answer"] for one in oidc.exchanges("pkce") if one["request"]["grant_type"] == "refresh_token"]


def test_a_round_of_callers_is_one_refresh(
    pkce_app: App, gateway: Gateway, oidc: OidcProviders, kept: dict[str, Any]
) -> None:
    """G01: half of them ask for the access token, half bring the refresh token to the token endpoint"""
    together = Barrier(CALLERS)

    def call(number: int) -> dict[str, Any]:
        together.wait()
        answer = gateway.access_token(kept["id"]) if number % 2 else pkce_app.refresh(newest)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    used = [kept["refresh_token"]]
    with ThreadPoolExecutor(CALLERS) as pool:
        for _ in range(ROUNDS):
            newest = used[-1]
            expire(gateway, kept["id"])
            before = refreshes(oidc)
            answers = list(pool.map(call, range(CALLERS)))

            (answered,) = refreshes(oidc)[len(before) :]
            assert {answer["access_token"] for answer in answers} == {answered["access_token"]}
            assert {answer["refresh_token"] for answer in answers[::2]} == {answered["refresh_token"]}
            used.append(answered["refresh_token"])

    assert oidc.userinfo("pkce", answers[0]["access_token"]).status_code == 200
    assert len(set(used)) == ROUNDS + 1
    assert pkce_app.refresh(used[0]).json()["error"] == "invalid_grant"  # the provider never sees it
    assert gateway.access_token(kept["id"], "?force_refresh=true").status_code == 200
