"""POST /link/oauth2/token: who may fetch what, once, and in which shape."""

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest
from django.test import Client, override_settings
from pytest_django import DjangoAssertNumQueries

from credentials.models import Authorization, Step, s256
from oauth_apps import api_tokens
from oauth_apps.models import Account, FailedAuthentication, OAuthApp
from tests.link.trip import REDIRECT_URI, STRIPE_ANSWER, TOKEN, TOKEN_ENDPOINT, Trip, post_form, sent_to_provider

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

AWKWARD = ":/+% =é"
VERIFIER = "v" * 43


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def assert_refused(response: "Response", status: int, error: str) -> None:
    """RFC 6749, 5.2, and `summary`."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    body = json.loads(response.content)
    assert body.keys() == {"error", "error_description", "summary"}
    assert body["error"] == error


# ---- who calls? ------------------------------------------------------------------------------------------------------


def test_unknown_client_and_wrong_secret_are_told_alike_and_burn_nothing(trip: Trip) -> None:
    """C07, C17"""
    code = trip.code()

    refusals = [
        trip.token(code=code, client_secret="wrong"),
        trip.token(code=code, client_id="00000000-0000-4000-8000-000000000000"),
        trip.token(code=code, client_id="ca_1"),
        trip.token(code=code, client_secret="canary-client-secreT"),
        trip.token(code=code, client_secret=None),
        trip.token(code=code, client_id=None),
    ]

    for refusal in refusals:
        assert_refused(refusal, 401, "invalid_client")
        assert refusal.content == refusals[0].content
    assert trip.token(code=code).status_code == 200


def test_a_disabled_app_gets_nothing(trip: Trip) -> None:
    """C16"""
    code = trip.code()
    OAuthApp.objects.update(enabled=False)

    assert_refused(trip.token(code=code), 401, "invalid_client")


def test_a_replaced_secret_is_the_one_that_counts(trip: Trip) -> None:
    """C16"""
    code = trip.code()
    trip.oauth_app.client_secret = "another"
    trip.oauth_app.save()

    assert_refused(trip.token(code=code), 401, "invalid_client")
    assert trip.token(code=code, client_secret="another").status_code == 200


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda text: text, id="raw"),
        pytest.param(quote_plus, id="as RFC 6749 asks"),
        pytest.param(lambda text: quote(text, safe=""), id="encodeURIComponent"),
        pytest.param(lambda text: text.replace(":", "%3A"), id="only the colon"),
    ],
)
def test_basic_is_read_as_clients_write_it(trip: Trip, encode: Callable[[str], str]) -> None:
    """C09"""
    code = trip.code()
    trip.oauth_app.client_secret = AWKWARD
    trip.oauth_app.save()
    header = basic(encode(str(trip.oauth_app.pk)), encode(AWKWARD))

    response = post_form({"code": code}, headers={"Authorization": header})

    assert response.status_code == 200, response.content


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Digest x", "Basic " + "A" * 5000])
def test_an_unreadable_header_names_the_scheme(trip: Trip, header: str) -> None:
    response = post_form({"code": "x"}, headers={"Authorization": header})

    assert_refused(response, 401, "invalid_client")
    assert response["WWW-Authenticate"].startswith("Basic")


def test_two_methods_at_once_are_refused(trip: Trip) -> None:
    """C08"""
    code = trip.code()
    app_id = str(trip.oauth_app.pk)
    header = {"Authorization": basic(app_id, "canary-client-secret")}

    both = post_form({"code": code, "client_secret": "canary-client-secret"}, headers=header)
    other_id = post_form({"code": code, "client_id": "another"}, headers=header)
    same_id = post_form({"code": code, "client_id": app_id}, headers=header)

    assert_refused(both, 400, "invalid_request")
    assert_refused(other_id, 400, "invalid_request")
    assert same_id.status_code == 200


@pytest.mark.parametrize("scopes", [["read", "write"], ["reveal"]])
def test_an_api_token_needs_the_scope_reveal(trip: Trip, account: Account, scopes: list[str]) -> None:
    """C07, D07"""
    code = trip.code()
    _, api_token = api_tokens.issue(account, scopes=scopes)

    response = post_form(
        {"code": code, "client_id": str(trip.oauth_app.pk)}, headers={"Authorization": f"Bearer {api_token}"}
    )

    if "reveal" in scopes:
        assert response.status_code == 200
    else:
        assert_refused(response, 401, "invalid_client")
        assert response["WWW-Authenticate"].startswith("Bearer")


def test_another_accounts_api_token_is_no_authentication(trip: Trip, other_account: Account) -> None:
    """C03, D01"""
    code = trip.code()
    _, api_token = api_tokens.issue(other_account, scopes=["reveal"])

    response = post_form(
        {"code": code, "client_id": str(trip.oauth_app.pk)}, headers={"Authorization": f"Bearer {api_token}"}
    )

    assert_refused(response, 401, "invalid_client")


def test_an_app_without_a_secret_takes_an_api_token_alone(trip: Trip, account: Account) -> None:
    """C07"""
    code = trip.code()
    trip.oauth_app.client_secret = None
    trip.oauth_app.save()
    _, api_token = api_tokens.issue(account, scopes=["reveal"])
    app_id = str(trip.oauth_app.pk)

    empty = post_form({"code": code}, headers={"Authorization": basic(app_id, "")})
    bearer = post_form({"code": code, "client_id": app_id}, headers={"Authorization": f"Bearer {api_token}"})

    assert_refused(empty, 401, "invalid_client")
    assert bearer.status_code == 200


# ---- what do they ask? -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"code": None}, "invalid_request"),
        ({"code": ""}, "invalid_request"),
        ({"code": "unknown"}, "invalid_grant"),
        ({"code": "\x00"}, "invalid_grant"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"redirect_uri": "https://app.example.com/callback/other"}, "invalid_grant"),
        ({"code_verifier": VERIFIER}, "invalid_grant"),
    ],
)
def test_it_refuses(trip: Trip, body: dict[str, Any], error: str) -> None:
    """C04, C06, C10"""
    code = trip.code()

    response = trip.token(**({"code": code} | body))

    assert_refused(response, 400, error)


def test_a_code_works_once(trip: Trip) -> None:
    """C01"""
    code = trip.code()

    first, second = trip.token(code=code), trip.token(code=code)

    assert first.status_code == 200
    assert_refused(second, 400, "invalid_grant")


def test_a_code_expires(trip: Trip) -> None:
    """C05"""
    with override_settings(CODE_TTL=-1):
        code = trip.code()

    assert_refused(trip.token(code=code), 400, "invalid_grant")


def test_a_code_is_good_for_its_own_app_alone(trip: Trip, account: Account, other_account: Account) -> None:
    """C03: and whoever tries does not burn it"""
    code = trip.code()
    for owner in (account, other_account):
        other = OAuthApp.objects.create(
            account=owner, provider="stripe", name="x", client_id="ca_1", client_secret="canary-client-secret"
        )

        assert_refused(trip.token(code=code, client_id=str(other.pk)), 400, "invalid_grant")

    assert trip.token(code=code).status_code == 200


def test_the_redirect_uri_may_be_named_as_it_was_at_the_start(trip: Trip) -> None:
    """C04: with the literal `:provider`, or as that was expanded"""
    literal = "https://app.example.com/callback/:provider"
    first, second = trip.code(redirect_uri=literal), trip.code(redirect_uri=literal)

    assert trip.token(code=first, redirect_uri=literal).status_code == 200
    assert trip.token(code=second, redirect_uri=REDIRECT_URI).status_code == 200


@pytest.mark.parametrize("status", [200, 503])
def test_a_code_that_is_used_up_for_nothing_gives_its_tokens_back(trip: Trip, account: Account, status: int) -> None:
    """C19"""
    trip.responses.post("https://acme.zendesk.com/oauth/tokens", json={"access_token": "t1", "refresh_token": "r1"})
    trip.responses.get("https://acme.zendesk.com/api/v2/users/me.json", json={"user": {"id": 7}})
    trip.responses.delete("https://acme.zendesk.com/api/v2/oauth/tokens/current.json", status=status)
    OAuthApp.objects.update(provider="zendesk", variables={"subdomain": "acme"})
    started = trip.started(redirect_uri="https://app.example.com/callback/zendesk")
    arrived = trip.client.get("/link/oauth2/callback/zendesk", {"state": started["state"], "code": "c1"})
    code = arrived["Location"].partition("code=")[2]

    assert_refused(trip.token(code=code, code_verifier="v" * 43), 400, "invalid_grant")

    last = sent_to_provider(trip.responses)[-1]
    assert (last.method, last.headers["Authorization"]) == ("DELETE", "Bearer t1")


@pytest.mark.parametrize("code_verifier", [None, "", "w" * 43, s256(VERIFIER)])
def test_the_developers_own_pkce_is_demanded(trip: Trip, code_verifier: str | None) -> None:
    """B15, C06: and a wrong verifier uses the code up"""
    code = trip.code(code_challenge=s256(VERIFIER), code_challenge_method="S256")

    wrong = trip.token(code=code, code_verifier=code_verifier)
    right = trip.token(code=code, code_verifier=VERIFIER)

    assert_refused(wrong, 400, "invalid_grant")
    assert_refused(right, 400, "invalid_grant")


def test_the_right_verifier_opens(trip: Trip) -> None:
    code = trip.code(code_challenge=s256(VERIFIER), code_challenge_method="S256")

    assert trip.token(code=code, code_verifier=VERIFIER, redirect_uri=REDIRECT_URI).status_code == 200


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch", "head", "options"])
def test_only_post(client: Client, db: None, method: str) -> None:
    """C11, C18"""
    response = getattr(client, method)(TOKEN)

    assert response.status_code == 405
    assert response["Allow"] == "POST"
    assert response["Content-Type"] == "application/json"


def test_nothing_is_read_from_the_url(trip: Trip) -> None:
    """C11"""
    code = trip.code()

    response = Client().post(f"{TOKEN}?code={code}&client_id={trip.oauth_app.pk}&client_secret=canary-client-secret")

    assert_refused(response, 400, "invalid_request")
    assert trip.token(code=code).status_code == 200


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"code=a&code=b", "application/x-www-form-urlencoded", 400),
        (b'{"code": "a", "code": "b"}', "application/json", 400),
        (b'{"code": 1}', "application/json", 400),
        (b"[]", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[" * 5000, "application/json", 400),
        (b'{"code": "\\ud800"}', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"<x/>", "application/xml", 415),
        (b"code=a", "text/plain", 415),
        (b"code=a", "multipart/form-data; boundary=x", 415),
        (b"a" * 2_000_000, "application/x-www-form-urlencoded", 413),
        (b'{"a": "' + b"a" * 2_000_000 + b'"}', "application/json", 413),
    ],
)
def test_an_odd_body_is_refused_in_json(client: Client, db: None, body: bytes, content_type: str, status: int) -> None:
    """C13, C18, I02, I03"""
    response = client.generic("POST", TOKEN, body, content_type=content_type)

    assert_refused(response, status, "invalid_request")


def test_whoever_guesses_must_wait_at_his_address_and_nobody_else(trip: Trip, other_account: Account) -> None:
    """C15"""
    other = OAuthApp.objects.create(
        account=other_account, provider="stripe", name="x", client_id="ca_2", client_secret="canary-client-secret"
    )
    code = trip.code()

    guesses = [trip.token(code=code, client_secret=f"guess-{n}").status_code for n in range(51)]

    assert guesses == [401] * 50 + [429]
    refused = trip.token(code=code, client_secret="guess")
    assert_refused(refused, 429, "slow_down")
    assert 0 < int(refused["Retry-After"]) <= 300
    respelt = basic(str(trip.oauth_app.pk).replace("-", "%2D", 1), "guess")
    assert post_form({"code": code}, headers={"Authorization": respelt}).status_code == 429
    from_elsewhere = {"client_id": str(trip.oauth_app.pk), "client_secret": "guess", "code": code}
    assert_refused(post_form(from_elsewhere, REMOTE_ADDR="192.0.2.7"), 401, "invalid_client")
    assert_refused(trip.token(code="x", client_id=str(other.pk)), 400, "invalid_grant")
    assert trip.token(code=code).status_code == 200  # whoever has the right secret is let in


def test_one_network_of_ipv6_guesses_no_more_than_one_address(trip: Trip) -> None:
    """C15"""
    pair = {"client_id": str(trip.oauth_app.pk), "client_secret": "guess", "code": "x"}

    guesses = [post_form(pair, REMOTE_ADDR=f"2001:db8:1:2::{n:x}").status_code for n in range(52)]

    assert guesses == [401] * 50 + [429] * 2
    assert post_form(pair, REMOTE_ADDR="2001:db8:1:3::1").status_code == 401
    assert FailedAuthentication.objects.count() == 2


def test_what_its_visitors_bring_is_not_held_against_a_client(trip: Trip) -> None:
    """C15"""
    code = trip.code()

    refused = [trip.token(code=f"junk-{n}").status_code for n in range(60)]

    assert refused == [400] * 60
    assert not FailedAuthentication.objects.exists()
    assert trip.token(code=code).status_code == 200


# ---- what do they get? -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [TOKEN, f"{TOKEN}/"])
@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_the_answer_is_flat_and_whole(trip: Trip, path: str, content_type: str) -> None:
    """C18: RFC 6749, flat, with `credential` and `state` beside it"""
    code = trip.code(state="s1", scope="read_write")
    body = {"client_id": str(trip.oauth_app.pk), "client_secret": "canary-client-secret", "code": code}
    sent: Any = (
        body if content_type == "application/json" else "&".join(f"{name}={value}" for name, value in body.items())
    )

    response = Client().post(path, sent, content_type=content_type)

    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert not response.has_header("Access-Control-Allow-Origin")
    assert response.json() == {
        "access_token": "canary-access-token",
        "token_type": "Bearer",
        "refresh_token": "canary-refresh-token",
        "scope": "read_write",
        "state": "s1",
        "credential": {
            "oauth_app_id": str(trip.oauth_app.pk),
            "properties": {
                "kind": "stripe_oauth2",
                "access_token": "canary-access-token",
                "refresh_token": "canary-refresh-token",
                "token_type": "bearer",
                "scope": "read_write",
                "stripe_user_id": "acct_1",
                "livemode": True,
                "stripe_publishable_key": "pk_live_1",
            },
        },
    }


def test_what_the_provider_did_not_say_is_absent(trip: Trip) -> None:
    answer = {"access_token": "t1", "stripe_user_id": "acct_1", "livemode": False, "refresh_token": None, "scope": None}
    trip.provider_answers(json=answer | {"expires_in": None, "id_token": "x.y.z", "iss": "https://x"})
    code = trip.callback(state=trip.started(scope="read_only")["state"], code="ac_1")["Location"].partition("code=")[2]

    body = trip.token(code=code).json()

    del body["credential"]
    assert body == {"access_token": "t1", "token_type": "Bearer", "scope": "read_only"}  # absent is as requested


def test_a_lifetime_is_a_number(trip: Trip) -> None:
    trip.provider_answers(json=STRIPE_ANSWER | {"expires_in": "3600"})
    code = trip.callback(state=trip.started()["state"], code="ac_1")["Location"].partition("code=")[2]

    body = trip.token(code=code).json()

    assert 3590 <= body["expires_in"] <= 3600
    assert body["credential"]["properties"]["expires_at"].endswith("Z")


def test_after_the_exchange_nothing_is_left(trip: Trip) -> None:
    """C20, E01"""
    trip.token(code=trip.code())

    authorization = Authorization.objects.get()
    assert authorization.step == Step.EXCHANGED
    assert authorization.tokens is None
    assert authorization.code_verifier is None
    assert authorization.code_taken_at is not None


@pytest.mark.parametrize("scheme", ["", "Basic", "Bearer"])
def test_it_takes_at_most_seven_statements(
    trip: Trip, account: Account, scheme: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    """Two of them write the event, and two stand for the beginning and the end of a transaction."""
    app_id, code = str(trip.oauth_app.pk), trip.code()
    _, api_token = api_tokens.issue(account, scopes=["reveal"])
    body, header = {
        "": ({"client_id": app_id, "client_secret": "canary-client-secret"}, {}),
        "Basic": ({}, {"Authorization": basic(app_id, "canary-client-secret")}),
        "Bearer": ({"client_id": app_id}, {"Authorization": f"Bearer {api_token}"}),
    }[scheme]

    with django_assert_max_num_queries(7):
        assert post_form({"code": code} | body, headers=header).status_code == 200


# ---- refresh ---------------------------------------------------------------------------------------------------------


def test_a_refresh_speaks_the_providers_dialect(trip: Trip) -> None:
    trip.responses.post(TOKEN_ENDPOINT, json={"access_token": "t2", "token_type": "bearer", "scope": "read_only"})

    response = trip.token(grant_type="refresh_token", refresh_token="r1")

    body = response.json()
    assert body["credential"]["properties"]["kind"] == "stripe_oauth2"
    del body["credential"]
    assert body == {"access_token": "t2", "token_type": "Bearer", "refresh_token": "r1", "scope": "read_only"}


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        ({"status": 400, "json": {"error": "invalid_grant"}}, 400, "invalid_grant"),
        ({"status": 401, "json": {"error": "invalid_client"}}, 400, "invalid_request"),
        ({"status": 503, "headers": {"Retry-After": "7"}}, 503, "temporarily_unavailable"),
        ({"status": 200, "body": b"<html>"}, 503, "temporarily_unavailable"),
        ({"status": 503, "headers": {"Retry-After": "2300910748"}}, 503, "temporarily_unavailable"),
    ],
)
def test_a_refused_refresh_is_told(trip: Trip, answer: dict[str, Any], status: int, error: str) -> None:
    trip.responses.post(TOKEN_ENDPOINT, **answer)

    response = trip.token(grant_type="refresh_token", refresh_token="r1")

    assert_refused(response, status, error)
    if status == 503:
        assert 0 < int(response["Retry-After"]) <= 3600
