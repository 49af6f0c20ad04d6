"""GET /link/oauth2/callback: whose answer it takes, and how the trip ends."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from requests import ConnectionError as RequestsConnectionError
from requests import PreparedRequest

from credentials.models import Authorization, Step, fingerprint
from oauth_apps.models import Account, OAuthApp, RedirectURI
from tests.link.trip import (
    CALLBACK,
    REDIRECT_URI,
    STRIPE_ANSWER,
    TOKEN_ENDPOINT,
    Trip,
    assert_page,
    query_of,
    sent_to_provider,
)

CANARIES = ("canary-client-secret", "canary-access-token", "canary-refresh-token", "canary-provider-code")


# ---- pages, with no call to anybody ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["", "unknown", "s" * 3000, "\x00", "\u00e9"])
def test_it_refuses_an_unknown_state(trip: Trip, state: str) -> None:
    """B01"""
    trip.started()

    response = trip.callback(state=state, code="ac_1")

    assert_page(response)
    assert len(trip.responses.calls) == 0
    assert Authorization.objects.get().step == Step.STARTED


def test_it_refuses_a_state_with_one_bit_flipped(trip: Trip) -> None:
    state = trip.started()["state"]
    flipped = state[:-1] + chr(ord(state[-1]) ^ 1)

    response = trip.callback(state=flipped, code="ac_1")

    assert_page(response)
    assert len(trip.responses.calls) == 0


def test_it_refuses_an_expired_state(trip: Trip) -> None:
    with override_settings(STATE_TTL=-1):
        state = trip.started()["state"]

    response = trip.callback(state=state, code="ac_1")

    assert_page(response)
    assert len(trip.responses.calls) == 0


def test_it_refuses_a_state_that_was_used(trip: Trip) -> None:
    """B02, B03: the back button, or a reload"""
    trip.provider_answers()
    state = trip.started()["state"]
    trip.callback(state=state, code="ac_1")

    again = trip.callback(state=state, code="ac_1")

    assert_page(again, holds="This connection is finished already")
    assert len(trip.responses.calls) == 1


def test_it_refuses_a_state_from_another_browser_and_burns_it(
    trip: Trip, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """B04, B14: and says so in the log"""
    trip.provider_answers()
    state = trip.started()["state"]

    elsewhere = Client().get(CALLBACK, {"state": state, "code": "ac_1"})
    here = trip.callback(state=state, code="ac_1")

    assert_page(elsewhere, holds="session_mismatch")
    assert_page(here)
    assert "session_mismatch" in caplog.text
    assert len(trip.responses.calls) == 0


def test_it_refuses_the_cookie_of_another_trip(trip: Trip, client: Client) -> None:
    """B04"""
    first, second = trip.started()["state"], trip.started()["state"]
    names = [name for name in client.cookies if name.startswith("link_")]
    values = [client.cookies[name].value for name in names]
    for name, value in zip(names, reversed(values), strict=True):
        client.cookies[name] = value

    assert_page(trip.callback(state=first, code="ac_1"), holds="session_mismatch")
    assert_page(trip.callback(state=second, code="ac_1"), holds="session_mismatch")
    assert len(trip.responses.calls) == 0


def test_it_refuses_the_state_of_another_provider_and_burns_it(
    trip: Trip, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """B05: and says so in the log"""
    state = trip.started()["state"]

    other = client.get("/link/oauth2/callback/salesforce", {"state": state, "code": "ac_1"})
    own = trip.callback(state=state, code="ac_1")

    assert_page(other, holds="context_mismatch")
    assert_page(own)
    assert "context_mismatch" in caplog.text
    assert len(trip.responses.calls) == 0


def test_an_app_with_its_own_callback_is_not_served_by_the_shared_one(trip: Trip, client: Client) -> None:
    """B06"""
    OAuthApp.objects.update(own_callback=True)
    first, second = trip.started(), trip.started()

    shared = trip.callback(state=first["state"], code="ac_1")
    foreign = client.get(f"{CALLBACK}/00000000-0000-4000-8000-000000000000", {"state": second["state"], "code": "ac_1"})

    assert first["redirect_uri"] == f"{settings.PUBLIC_URL}{CALLBACK}/{trip.oauth_app.pk}"
    assert_page(shared, holds="context_mismatch")
    assert_page(foreign, holds="context_mismatch")
    assert len(trip.responses.calls) == 0


def test_the_shared_callback_is_not_served_by_an_apps_own(trip: Trip, client: Client) -> None:
    state = trip.started()["state"]

    response = client.get(f"{CALLBACK}/{trip.oauth_app.pk}", {"state": state, "code": "ac_1"})

    assert_page(response, holds="context_mismatch")


def test_a_repeated_state_is_a_page(trip: Trip, client: Client) -> None:
    """A08"""
    state = trip.started()["state"]

    response = client.get(f"{CALLBACK}?state={state}&state={state}&code=ac_1")

    assert_page(response)
    assert len(trip.responses.calls) == 0


def test_an_error_with_an_unknown_state_is_a_page(trip: Trip) -> None:
    """B11"""
    assert_page(trip.callback(state="unknown", error="access_denied"))


@pytest.mark.parametrize(
    "path", ["/link/oauth2/callback/nobody", "/link/oauth2/callback/%3Cscript%3E", "/link/oauth2/callback/"]
)
def test_an_unknown_provider_is_no_server_error(client: Client, db: None, path: str) -> None:
    """B12"""
    response = client.get(path, {"state": "x", "code": "<script>alert(1)</script>"})

    assert response.status_code in {400, 404}
    assert b"<script>" not in response.content


@pytest.mark.parametrize("iss", ["https://evil.example.com", "https://accounts.google.com/"])
def test_the_answer_of_another_issuer_is_a_page(trip: Trip, client: Client, iss: str) -> None:
    """B07"""
    OAuthApp.objects.update(provider="google")
    state = trip.started(redirect_uri="https://app.example.com/callback/google")["state"]

    response = client.get("/link/oauth2/callback/google", {"state": state, "code": "c1", "iss": iss})

    assert_page(response, holds="issuer_mismatch")
    assert len(trip.responses.calls) == 0
    assert Authorization.objects.get().error == "issuer_mismatch"


def test_a_sandbox_app_reaches_no_real_host(trip: Trip) -> None:
    """Whatever a row says, nothing of the simulator leaves for a provider."""
    trip.provider_answers()
    OAuthApp.objects.update(environment="sandbox")
    state = trip.started()["state"]
    authorization = Authorization.objects.get()
    Authorization.objects.update(snapshot=authorization.snapshot | {"token_endpoint": TOKEN_ENDPOINT})

    response = trip.callback(state=state, code="ac_1")

    assert query_of(response["Location"])["error"] == "server_error"
    assert len(trip.responses.calls) == 0


def test_only_some_providers_call_back_by_post(trip: Trip, client: Client) -> None:
    """B13"""
    state = trip.started()["state"]

    response = client.post(CALLBACK, {"state": state, "code": "ac_1"})

    assert response.status_code == 405
    assert Authorization.objects.get().step == Step.STARTED


def withdraw_app(trip: Trip) -> None:
    OAuthApp.objects.update(enabled=False)


def withdraw_redirect_uri(trip: Trip) -> None:
    RedirectURI.objects.all().delete()


def delete_app(trip: Trip) -> None:
    trip.oauth_app.delete()


def delete_account(trip: Trip) -> None:
    Account.objects.all().delete()


@pytest.mark.parametrize("withdraw", [withdraw_app, withdraw_redirect_uri, delete_app, delete_account])
def test_what_was_withdrawn_before_the_answer_came_ends_in_a_page(trip: Trip, withdraw: Any) -> None:
    """A07, B20"""
    state = trip.started()["state"]
    withdraw(trip)

    response = trip.callback(state=state, code="ac_1")

    assert_page(response)
    assert len(trip.responses.calls) == 0
    ended = Authorization.objects.values_list("step", "error")
    assert [*ended] in ([], [(Step.FAILED, "link_withdrawn")])  # gone with its app, or it says why


@pytest.mark.parametrize("withdraw", [withdraw_app, withdraw_redirect_uri, delete_app])
def test_tokens_that_arrive_too_late_are_dropped(trip: Trip, withdraw: Any) -> None:
    """A07, B20: withdrawn while the provider was asked"""

    def exchange(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        withdraw(trip)
        return (
            200,
            {"Content-Type": "application/json"},
            '{"access_token": "t1", "stripe_user_id": "acct_1", "livemode": true}',
        )

    trip.responses.add_callback("POST", TOKEN_ENDPOINT, exchange)

    response = trip.callback(state=trip.started()["state"], code="ac_1")

    assert_page(response, holds="link_withdrawn")
    assert not Authorization.objects.filter(tokens__isnull=False).exists()


# ---- faults that the developer is told -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "code=ac_1&error=access_denied",
        "",
        "code=",
        "code=ac_1&code=ac_2",
        "error=a&error=b",
        "code=ac_1&iss=https://a&iss=b",
    ],
)
def test_an_ambiguous_answer_is_no_answer(trip: Trip, client: Client, query: str) -> None:
    """B09"""
    state = trip.started(state="s1")["state"]

    response = client.get(f"{CALLBACK}?state={state}&{query}")

    answer = query_of(response["Location"])
    assert (answer["error"], answer["state"]) == ("server_error", "s1")
    assert len(trip.responses.calls) == 0


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("access_denied", "access_denied"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("invalid_scope", "invalid_scope"),
        ("<script>alert(1)</script>", "server_error"),
        ("interaction_required", "server_error"),
    ],
)
def test_the_providers_refusal_is_passed_on_in_our_words(trip: Trip, theirs: str, ours: str) -> None:
    """B10, F19"""
    state = trip.started(state="s1")["state"]

    response = trip.callback(state=state, error=theirs, error_description="provider's own text")

    assert response["Location"].startswith(f"{REDIRECT_URI}?")
    answer = query_of(response["Location"])
    assert (answer["error"], answer["state"]) == (ours, "s1")
    assert "provider's own text" not in answer["error_description"]
    assert len(answer["error_description"]) <= 256


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 400, "json": {"error": "invalid_grant"}}, "server_error"),
        ({"status": 401, "json": {"error": "invalid_client"}}, "server_error"),
        ({"status": 200, "json": {"error": "invalid_grant"}}, "server_error"),
        ({"status": 503, "json": {}}, "temporarily_unavailable"),
        ({"status": 429, "json": {}}, "temporarily_unavailable"),
        ({"status": 302, "headers": {"Location": "https://evil.example.com/"}}, "server_error"),
        ({"status": 307, "headers": {"Location": "https://evil.example.com/"}}, "server_error"),
        ({"body": b"<html>sign in</html>", "content_type": "text/html"}, "server_error"),
        ({"body": b""}, "server_error"),
        ({"body": b"null"}, "server_error"),
        ({"body": b"[]"}, "server_error"),
        ({"body": b'"x"'}, "server_error"),
        ({"body": b'{"access_token": NaN}'}, "server_error"),
        ({"body": b"\xff\xfe\x00"}, "server_error"),
        ({"body": b"[" * 100_000}, "server_error"),
        ({"body": b'{"a":' * 5_000}, "server_error"),
        ({"json": {"access_token": ""}}, "server_error"),
        ({"json": {"access_token": None}}, "server_error"),
        ({"json": {"access_token": 7}}, "server_error"),
        ({"json": {"access_token": "a\r\nb"}}, "server_error"),
        ({"json": {"access_token": "a" * 70_000}}, "server_error"),
        ({"json": {"token_type": "bearer"}}, "server_error"),
        ({"json": {"access_token": "t1"}}, "server_error"),  # whose?
        ({"json": {"access_token": "t1", "stripe_user_id": {"x": 1}, "livemode": True}}, "server_error"),
        ({"body": RequestsConnectionError("refused")}, "temporarily_unavailable"),
    ],
)
def test_a_bad_token_answer_is_told_and_nothing_is_kept(trip: Trip, answer: dict[str, Any], error: str) -> None:
    """F04, F08, F09, F11"""
    trip.responses.post(TOKEN_ENDPOINT, **answer)

    response = trip.callback(state=trip.started(state="s1")["state"], code="ac_1")

    assert response.status_code == 302
    told = query_of(response["Location"])
    assert (told["error"], told["state"]) == (error, "s1")
    authorization = Authorization.objects.get()
    assert (authorization.step, authorization.code_hash, authorization.tokens) == (Step.FAILED, None, None)


@pytest.mark.parametrize("expires_in", ["3600", 3600.0, 0, -1, 1e18, None, "never", True, {}, "1e400"])
def test_an_odd_lifetime_harms_nobody(trip: Trip, expires_in: object) -> None:
    """F12"""
    trip.provider_answers(json=STRIPE_ANSWER | {"expires_in": expires_in})

    response = trip.callback(state=trip.started()["state"], code="ac_1")

    assert query_of(response["Location"]).keys() == {"code"}


def test_a_wrong_secret_shows_in_the_apps_health_and_a_success_heals_it(trip: Trip) -> None:
    trip.responses.post(
        TOKEN_ENDPOINT, status=401, json={"error": "invalid_client", "error_description": "No such key"}
    )
    trip.callback(state=trip.started()["state"], code="ac_1")
    broken = OAuthApp.objects.get()
    trip.responses.reset()

    trip.code()

    healed = OAuthApp.objects.get()
    assert (broken.health_status, healed.health_status) == ("error", "ok")
    assert "client secret" in broken.health_notes[0]
    assert "No such key" not in broken.health_notes[0]
    assert healed.health_notes == []


# ---- the trip ends well ----------------------------------------------------------------------------------------------


def test_it_exchanges_the_code_and_goes_back(trip: Trip) -> None:
    trip.provider_answers()
    started = trip.started(state="s1")

    response = trip.callback(
        state=started["state"], code="canary-provider-code", client_id="x", redirect_uri="https://evil.example.com"
    )

    assert response.status_code == 302
    assert response["Location"].startswith(f"{REDIRECT_URI}?code=")
    answer = query_of(response["Location"])
    assert answer.keys() == {"code", "state"}
    assert len(answer["code"]) == 35
    assert answer["code"].isalnum()
    assert answer["state"] == "s1"
    assert response["Cache-Control"] == "no-store"


def test_it_asks_the_provider_as_the_catalogue_says(trip: Trip) -> None:
    trip.code()

    (request,) = sent_to_provider(trip.responses)
    assert request.url == TOKEN_ENDPOINT
    assert dict(parse_qsl(str(request.body))) == {
        "grant_type": "authorization_code",
        "code": "canary-provider-code",
        "redirect_uri": f"{settings.PUBLIC_URL}{CALLBACK}",
        "client_secret": "canary-client-secret",
        "client_id": "ca_1",
    }
    assert "Authorization" not in request.headers
    assert "Cookie" not in request.headers


@pytest.mark.parametrize(
    "state",
    [
        "plain",
        "a b+c",
        "a%20b",
        "%2B%25",
        "\u00e9\u4e2d\U0001f600",
        '{"a":"b&c=d"}',
        "\r\nSet-Cookie: x=1",
        "\x00",
        "&code=x",
        "s" * 2048,
    ],
)
def test_the_state_comes_back_as_it_was_sent(trip: Trip, state: str) -> None:
    """A09, A10"""
    trip.provider_answers()

    response = trip.callback(state=trip.started(state=state)["state"], code="ac_1")

    assert query_of(response["Location"])["state"] == state
    assert "\r" not in response["Location"]
    assert not response.has_header("X-Injected")


def test_a_state_that_is_no_text_comes_back_too(trip: Trip, client: Client) -> None:
    trip.provider_answers()
    started = client.get(
        f"/link/oauth2/start?client_id={trip.oauth_app.pk}&redirect_uri={REDIRECT_URI}&state=%ff%fe%00a"
    )

    response = trip.callback(state=query_of(started["Location"])["state"], code="ac_1")

    assert response["Location"].endswith("&state=%FF%FE%00a")


def test_no_state_in_no_state_out(trip: Trip) -> None:
    """A11"""
    trip.provider_answers()

    response = trip.callback(state=trip.started(state="")["state"], code="ac_1")

    assert query_of(response["Location"]).keys() == {"code"}


def test_the_query_of_the_redirect_uri_is_kept(trip: Trip, account: Account) -> None:
    RedirectURI.objects.create(account=account, redirect_uri="https://app.example.com/in?tenant=7&x=a%20b")
    trip.provider_answers()
    started = trip.started(redirect_uri="https://app.example.com/in?tenant=7&x=a%20b")

    response = trip.callback(state=started["state"], code="ac_1")

    assert response["Location"].startswith("https://app.example.com/in?tenant=7&x=a%20b&code=")


def test_two_tabs_both_arrive(trip: Trip) -> None:
    """B23"""
    trip.provider_answers()
    first, second = trip.started()["state"], trip.started()["state"]

    answers = [trip.callback(state=state, code="ac_1") for state in (first, second)]

    assert ["code" in query_of(answer["Location"]) for answer in answers] == [True, True]


def test_a_long_code_is_no_problem(trip: Trip) -> None:
    """B19"""
    trip.provider_answers()

    response = trip.callback(state=trip.started()["state"], code="c" * 8192)

    assert "code" in query_of(response["Location"])


def test_what_changed_meanwhile_changes_nothing(trip: Trip) -> None:
    """B17: the registration and the endpoints of the start are used"""
    trip.provider_answers()
    state = trip.started()["state"]
    OAuthApp.objects.update(client_id="ca_2", default_scopes=["x"])

    trip.callback(state=state, code="ac_1")

    (request,) = sent_to_provider(trip.responses)
    assert "ca_2" not in str(request.body)


def test_an_endpoint_that_was_moved_meanwhile_gets_nothing(trip: Trip, settings: Settings, tmp_path: Path) -> None:
    """B17"""
    trip.provider_answers()
    state = trip.started()["state"]
    moved = 'slug = "stripe"\ntoken_endpoint = "https://evil.example.com/token"\n'
    tmp_path.joinpath("stripe.toml").write_text(moved)
    settings.PROVIDERS_DIR = str(tmp_path)

    trip.callback(state=state, code="ac_1")

    assert [request.url for request in sent_to_provider(trip.responses)] == [TOKEN_ENDPOINT]


def test_no_secret_reaches_the_browser_or_a_row(trip: Trip, client: Client) -> None:
    """B21, E01"""
    code = trip.code(state="s1")

    rows = str(list(Authorization.objects.values())) + str(list(OAuthApp.objects.values()))
    cookies = client.cookies.output()
    for secret in (*CANARIES, code):
        assert secret not in rows
        assert secret not in cookies


def test_the_cookie_of_a_trip_goes_with_it(trip: Trip, client: Client) -> None:
    trip.provider_answers()
    first, second = trip.started()["state"], trip.started()["state"]

    trip.callback(state=first, code="ac_1")
    client.get("/link/oauth2/callback/salesforce", {"state": second, "code": "ac_1"})

    assert [morsel.value for name, morsel in client.cookies.items() if name.startswith("link_")] == ["", ""]


def test_it_takes_at_most_three_statements(trip: Trip, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    """With the app's health to be written, which is older than a minute."""
    OAuthApp.objects.update(health_time=timezone.now() - timedelta(hours=1))
    trip.provider_answers()
    state = trip.started()["state"]
    fingerprint("")  # each process reads its key once

    with django_assert_max_num_queries(3):
        trip.callback(state=state, code="ac_1")
