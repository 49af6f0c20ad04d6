"""POST /link/oauth2/token with the refresh token of a stored credential: one refresh for everybody who asks."""

import json
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from unittest.mock import ANY
from urllib.parse import parse_qsl

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from requests import PreparedRequest
from responses import RequestsMock

from credentials.models import Credential, Failure, Token
from credentials.refresh import waiting
from credentials.refresh.waiting import Line
from oauth_apps import api_tokens
from oauth_apps.models import Account, OAuthApp
from sequin_auth.lib.api.fields import TimestampField
from tests.credentials.stored import NEW, OLD, TOKEN_ENDPOINT, again, linear_app, linear_credential
from tests.link.test_token import assert_refused
from tests.link.trip import TOKEN, post_form
from tests.oauth_apps.conftest import client_of

AT_ONCE = 24
DOWN = Failure.PROVIDER_UNAVAILABLE
THIRD = NEW | {"access_token": "canary-access-3", "refresh_token": "canary-refresh-3"}


@pytest.fixture
def oauth_app(account: Account) -> OAuthApp:
    return linear_app(account)


@pytest.fixture
def stored(oauth_app: OAuthApp) -> Credential:
    return linear_credential(oauth_app)


@pytest.fixture
def rotated(oauth_app: OAuthApp, responses: RequestsMock) -> Credential:
    """OLD was refreshed, and NEW is stored; whoever asks the provider now gets THIRD."""
    credential = linear_credential(oauth_app)
    responses.post(TOKEN_ENDPOINT, json=NEW)
    assert refresh(oauth_app, OLD["refresh_token"]).status_code == 200
    responses.replace("POST", TOKEN_ENDPOINT, json=THIRD)
    responses.calls.reset()
    return again(credential)


def refresh(oauth_app: OAuthApp, refresh_token: str, **body: str) -> Any:
    pair = {"client_id": str(oauth_app.pk), "client_secret": "canary-client-secret"}
    return post_form(pair | {"grant_type": "refresh_token", "refresh_token": refresh_token} | body)


def sent(responses: RequestsMock) -> list[dict[str, str]]:
    return [dict(parse_qsl(str(call.request.body))) for call in responses.calls]


# ---- whose? ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["the same account", "another account"])
def test_another_apps_refresh_token_opens_nothing(
    stored: Credential, account: Account, other_account: Account, responses: RequestsMock, whose: str
) -> None:
    """C03: it goes to the provider as a token that nobody knows, by the client that has sent it"""
    owner = account if whose == "the same account" else other_account
    other_app = linear_app(owner, client_id="lin_other")
    responses.post(TOKEN_ENDPOINT, json={"error": "invalid_grant"}, status=400)

    response = refresh(other_app, OLD["refresh_token"])

    assert_refused(response, 400, "invalid_grant")
    assert [body["client_id"] for body in sent(responses)] == ["lin_other"]
    assert (again(stored).token.version, again(stored).token.failure) == (1, "")


def test_a_refresh_token_of_long_ago_opens_nothing(
    rotated: Credential, oauth_app: OAuthApp, responses: RequestsMock
) -> None:
    """Nor does the provider see it, who would take it for stolen and end what came of it"""
    refresh(oauth_app, "canary-refresh-2")
    responses.calls.reset()

    response = refresh(oauth_app, OLD["refresh_token"])

    assert_refused(response, 400, "invalid_grant")
    assert len(responses.calls) == 0
    assert again(rotated).token.access_token == THIRD["access_token"]


def test_the_predecessor_of_a_revoked_one_opens_nothing(
    rotated: Credential, oauth_app: OAuthApp, responses: RequestsMock
) -> None:
    Token.objects.update(failure=Failure.REVOKED, failed_at=timezone.now())

    response = refresh(oauth_app, OLD["refresh_token"])

    assert_refused(response, 400, "invalid_grant")
    assert len(responses.calls) == 0


def test_what_does_not_open_is_an_error_without_tokens(rotated: Credential, oauth_app: OAuthApp) -> None:
    """E06: ciphertext of another row"""
    other = linear_credential(linear_app(oauth_app.account, client_id="lin_2"), access_token="canary-of-another")
    moved = Token.objects.filter(pk=other.pk).values_list("access_token", flat=True).get()
    Token.objects.filter(pk=rotated.pk).update(access_token=moved)
    pair = {"client_id": str(oauth_app.pk), "client_secret": "canary-client-secret"}
    body = pair | {"grant_type": "refresh_token", "refresh_token": OLD["refresh_token"]}

    response = Client(raise_request_exception=False).post(TOKEN, body, content_type="application/json")

    assert (response.status_code, response.json()["error"]) == (500, "server_error")
    assert b"canary" not in response.content


# ---- when it does not work -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status", "error", "failure"),
    [
        ({"status": 400, "json": {"error": "invalid_grant"}}, 400, "invalid_grant", Failure.REFRESH_TOKEN_REFUSED),
        ({"status": 401, "json": {"error": "invalid_client"}}, 400, "invalid_request", Failure.CLIENT_REFUSED),
        ({"status": 503}, 503, "temporarily_unavailable", DOWN),
        ({"status": 429, "headers": {"Retry-After": "9999"}}, 503, "temporarily_unavailable", DOWN),
        ({"status": 200, "body": "<html>"}, 503, "temporarily_unavailable", Failure.NOT_UNDERSTOOD),
    ],
)  # fmt: skip
def test_a_refresh_in_vain_is_told_and_noted(
    oauth_app: OAuthApp,
    stored: Credential,
    responses: RequestsMock,
    answer: dict[str, Any],
    status: int,
    error: str,
    failure: Failure,
) -> None:
    responses.post(TOKEN_ENDPOINT, **answer)

    response = refresh(oauth_app, OLD["refresh_token"])

    assert_refused(response, status, error)
    assert len(responses.calls) == 1
    assert again(stored).token.failure == failure
    if status == 503:
        assert 0 < int(response["Retry-After"]) <= 3600


def test_somebody_elses_refresh_that_takes_its_time_is_worth_another_try(
    oauth_app: OAuthApp, stored: Credential, responses: RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("credentials.refresh.lease.PATIENCE", 0.2)
    Token.objects.update(lease_owner=stored.pk, lease_until=timezone.now() + timedelta(seconds=30))

    response = refresh(oauth_app, OLD["refresh_token"])

    assert_refused(response, 503, "temporarily_unavailable")
    assert int(response["Retry-After"]) > 0
    assert len(responses.calls) == 0


def test_the_sandbox_may_be_switched_off(
    oauth_app: OAuthApp, stored: Credential, responses: RequestsMock, settings: Any
) -> None:
    settings.SANDBOX = False
    OAuthApp.objects.update(environment="sandbox")

    assert_refused(refresh(oauth_app, OLD["refresh_token"]), 400, "invalid_request")
    assert len(responses.calls) == 0


# ---- one refresh for everybody ---------------------------------------------------------------------------------------


def test_it_refreshes_the_stored_credential(oauth_app: OAuthApp, stored: Credential, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, json=NEW)

    response = refresh(oauth_app, OLD["refresh_token"])

    token = again(stored).token
    assert response.status_code == 200
    assert token.expires_at is not None
    assert response.json() == {
        "access_token": "canary-access-2",
        "token_type": "Bearer",
        "expires_in": pytest.approx(3600, abs=2),
        "refresh_token": "canary-refresh-2",
        "scope": "read write",
        "credential": {
            "oauth_app_id": str(stored.oauth_app_id),
            "properties": {
                "kind": "linear_oauth2",
                "access_token": "canary-access-2",
                "token_type": "Bearer",
                "expires_at": TimestampField().to_representation(token.expires_at),
                "refresh_token": "canary-refresh-2",
                "scope": "read,write",
                "linear_org_id": "org-1",
                "linear_org_name": "Arrakis",
            },
        },
    }
    assert [body["refresh_token"] for body in sent(responses)] == [OLD["refresh_token"]]
    assert (token.version, token.access_token, token.refresh_token) == (2, "canary-access-2", "canary-refresh-2")


def test_the_predecessor_gets_the_current_tokens_and_asks_nobody(
    rotated: Credential, oauth_app: OAuthApp, responses: RequestsMock
) -> None:
    """G11: always a pair of one row"""
    response = refresh(oauth_app, OLD["refresh_token"])

    body = response.json()
    assert (body["access_token"], body["refresh_token"]) == (NEW["access_token"], NEW["refresh_token"])
    assert len(responses.calls) == 0
    assert again(rotated).token.version == rotated.token.version


def test_the_predecessor_of_what_has_ended_refreshes_with_the_present_one(
    rotated: Credential, oauth_app: OAuthApp, responses: RequestsMock
) -> None:
    Token.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    response = refresh(oauth_app, OLD["refresh_token"])

    assert response.json()["access_token"] == THIRD["access_token"]
    assert [body["refresh_token"] for body in sent(responses)] == [NEW["refresh_token"]]


def test_an_assumed_lifetime_is_not_told(oauth_app: OAuthApp, stored: Credential, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, json={name: value for name, value in NEW.items() if name != "expires_in"})

    body = refresh(oauth_app, OLD["refresh_token"]).json()

    assert again(stored).token.expires_at is not None
    assert "expires_in" not in body
    assert "expires_at" not in body["credential"]["properties"]


def test_the_answer_can_be_posted_as_it_is(rotated: Credential, oauth_app: OAuthApp) -> None:
    api, answer = client_of(oauth_app.account), refresh(oauth_app, OLD["refresh_token"]).json()

    posted = api.post("/v1/credentials", answer["credential"], content_type="application/json")

    assert (posted.status_code, posted.json()["id"]) == (200, str(rotated.pk))
    assert Credential.objects.count() == 1
    assert again(rotated).token.version == rotated.token.version


def test_what_nobody_keeps_here_tells_whose_it_is_if_the_answer_does(
    stripe_app: OAuthApp, responses: RequestsMock
) -> None:
    answer = {"access_token": "t2", "stripe_user_id": "acct_1", "livemode": False, "scope": "read_write"}
    responses.post("https://connect.stripe.com/oauth/token", json=answer)

    body = refresh(stripe_app, "r1").json()

    assert body["credential"]["properties"] == {
        "kind": "stripe_oauth2", "access_token": "t2", "token_type": "Bearer", "refresh_token": "r1",
        "scope": "read_write", "stripe_user_id": "acct_1", "livemode": False,
    }  # fmt: skip


def test_a_predecessor_takes_four_statements(
    rotated: Credential, oauth_app: OAuthApp, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(4):  # the OAuth app, the tokens, two for the event
        assert refresh(oauth_app, OLD["refresh_token"]).status_code == 200


def test_a_refresh_takes_seven_statements_two_for_each_event_and_two_for_the_health_it_earns(
    rotated: Credential, oauth_app: OAuthApp, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(11):
        assert refresh(oauth_app, "canary-refresh-2").status_code == 200


# ---- at once ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_twenty_four_at_once_one_calls_and_all_get_the_same(
    oauth_app: OAuthApp, stored: Credential, responses: RequestsMock
) -> None:
    """G01: half of them by the refresh token, half as readers of the access token"""
    _, api_token = api_tokens.issue(stored.account, scopes=["reveal"])
    all_are_here = threading.Barrier(AT_ONCE)

    def answer(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        return 200, {}, '{"access_token": "t2", "refresh_token": "r2", "expires_in": 3600, "scope": "read"}'

    def ask(number: int) -> tuple[str, str, str]:
        try:
            all_are_here.wait()
            if number % 2:
                header = {"Authorization": f"Bearer {api_token}"}
                body = Client().get(f"/v1/credentials/{stored.pk}/access-token", headers=header).json()
                return "read", body["access_token"], ""
            body = refresh(oauth_app, OLD["refresh_token"]).json()
            return body["scope"], body["access_token"], body["refresh_token"]
        finally:
            connection.close()

    responses.add_callback("POST", TOKEN_ENDPOINT, callback=answer, content_type="application/json")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, range(AT_ONCE)))

    assert len(responses.calls) == 1
    assert set(answers) == {("read", "t2", ""), ("read", "t2", "r2")}


@pytest.mark.django_db(transaction=True)
def test_who_comes_second_waits_and_is_told_what_came_of_it(
    oauth_app: OAuthApp, stored: Credential, responses: RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G11: nothing that he read before the refresh is in his answer beside what came after it"""
    is_waiting, second = threading.Event(), ThreadPoolExecutor(1)

    def wait_for_change(token: Token, *, until: float) -> Line | None:
        is_waiting.set()
        return waiting.wait_for_change(token, until=until)

    def ask() -> Any:
        try:
            return refresh(oauth_app, OLD["refresh_token"])
        finally:
            connection.close()

    def answer(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        others.append(second.submit(ask))
        assert is_waiting.wait(10)
        return 200, {}, json.dumps(NEW | {"scope": "read"})

    others: list[Future[Any]] = []
    monkeypatch.setattr("credentials.refresh.lease.wait_for_change", wait_for_change)
    responses.add_callback("POST", TOKEN_ENDPOINT, callback=answer, content_type="application/json")

    with second:
        first = refresh(oauth_app, OLD["refresh_token"]).json()

    assert others[0].result().json() == first | {"expires_in": ANY}
    assert (first["scope"], first["refresh_token"]) == ("read", "canary-refresh-2")
    assert len(responses.calls) == 1
