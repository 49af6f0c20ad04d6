"""POST /v1/credentials/start-auth, and the link that it makes: single use, five minutes, nothing can be changed."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from credentials.models import Authorization, StartLink, fingerprint
from oauth_apps import api_tokens
from oauth_apps.models import Account, OAuthApp
from tests.link.trip import REDIRECT_URI, Trip, assert_page, query_of

START_AUTH = "/v1/credentials/start-auth"


def bearer(account: Account, scope: str) -> dict[str, str]:
    _, api_token = api_tokens.issue(account, scopes=[scope])
    return {"Authorization": f"Bearer {api_token}"}


def start_auth(account: Account, **body: Any) -> Any:
    return Client().post(START_AUTH, body, content_type="application/json", headers=bearer(account, "write"))


def start_path(trip: Trip, **body: Any) -> str:
    body = {"oauth_app_id": str(trip.oauth_app.pk), "redirect_url": REDIRECT_URI, **body}
    response = start_auth(trip.oauth_app.account, **body)
    assert response.status_code == 201, response.content
    return str(urlsplit(response.json()["start_url"]).path)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"oauth_app_id": None}, "oauth_app_id"),
        ({"oauth_app_id": "ca_1"}, "oauth_app_id"),
        ({"oauth_app_id": "00000000-0000-4000-8000-000000000000"}, "oauth_app_id"),
        ({"redirect_url": None}, "redirect_url"),
        ({"redirect_url": "https://evil.example.com/"}, "redirect_url"),
        ({"redirect_uri": REDIRECT_URI}, "redirect_url"),
        ({"credential_kind": "salesforce_oauth2"}, "credential_kind"),
        ({"variables": {"shop": "x"}}, "variables"),
        ({"state": "s" * 5001}, "state"),
        ({"scope": 'read"write'}, "scope"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_it_names_the_field_that_is_wrong(trip: Trip, body: dict[str, Any], field: str) -> None:
    sound = {"oauth_app_id": str(trip.oauth_app.pk), "redirect_url": REDIRECT_URI}
    wanted = {name: value for name, value in (sound | body).items() if value is not None}

    response = start_auth(trip.oauth_app.account, **wanted)

    assert response.status_code == 422
    assert list(response.json()["validation_errors"]) == [field]
    assert StartLink.objects.count() == 0


def test_what_the_oauth_app_alone_decides_no_link_says(account: Account, trip: Trip) -> None:
    """Later calls go by the OAuth app: a trip on a test system would yield a credential of the real one."""
    clover = OAuthApp.objects.create(
        account=account, provider="clover", name="Clover", client_id="c1", client_secret="canary-client-secret"
    )
    variables = {"deployment": "sandbox"}

    response = start_auth(
        account, oauth_app_id=str(clover.pk), redirect_url=REDIRECT_URI.replace("stripe", "clover"), variables=variables
    )

    assert response.json()["validation_errors"] == {"variables": ["deployment can be set on the OAuth app alone."]}
    assert StartLink.objects.count() == 0


def test_another_accounts_app_is_not_there(trip: Trip, other_account: Account) -> None:
    """D01"""
    response = start_auth(other_account, oauth_app_id=str(trip.oauth_app.pk), redirect_url=REDIRECT_URI)

    assert response.status_code == 422
    assert "oauth_app_id" in response.json()["validation_errors"]


def test_it_needs_the_scope_write(trip: Trip) -> None:
    body = {"oauth_app_id": str(trip.oauth_app.pk), "redirect_url": REDIRECT_URI}

    response = Client().post(
        START_AUTH, body, content_type="application/json", headers=bearer(trip.oauth_app.account, "read")
    )

    assert response.status_code == 403


def test_a_link_works_once(trip: Trip, client: Client) -> None:
    path = start_path(trip)

    first, second = client.get(path), client.get(path)

    assert first.status_code == 302
    assert_page(second, holds="link_expired")
    assert Authorization.objects.count() == 1


def test_it_takes_four_statements(
    trip: Trip, client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    path = start_path(trip, state={"user": 7})
    fingerprint("")  # each process reads its key once

    with django_assert_num_queries(4):
        client.get(path)


def test_a_link_expires(trip: Trip, client: Client) -> None:
    path = start_path(trip)
    StartLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    assert_page(client.get(path), holds="link_expired")


@pytest.mark.parametrize("token", ["A" * 43, "%00" * 43])
def test_an_unknown_link_is_a_page(client: Client, db: None, token: str) -> None:
    response = client.get(f"/link/oauth2/start/{token}")

    assert response.status_code in {400, 404}
    assert not response.has_header("Location")


def test_looking_at_a_link_does_not_use_it_up(trip: Trip, client: Client) -> None:
    path = start_path(trip)

    client.head(path)
    client.get(path, headers={"Sec-Purpose": "prefetch"})

    assert client.get(path).status_code == 302


def test_nothing_in_a_link_can_be_changed(trip: Trip, client: Client) -> None:
    path = start_path(trip, scope="read_only", state="s1")

    response = client.get(path, {"scope": "read_write", "state": "evil", "redirect_uri": "https://evil.example.com"})

    assert query_of(response["Location"])["scope"] == "read_only"
    authorization = Authorization.objects.get()
    assert (authorization.redirect_uri, authorization.client_state) == (REDIRECT_URI, b"s1")


@pytest.mark.parametrize(
    "added",
    [
        {"state": "evil"},
        {"code_challenge": "a" * 43, "code_challenge_method": "S256"},
        {"response_type": "token"},
        {"request": "x"},
        {"debug": "true"},
    ],
)
def test_nothing_can_be_added_to_a_link(trip: Trip, client: Client, added: dict[str, str]) -> None:
    """B15"""
    trip.provider_answers()
    sent = query_of(client.get(start_path(trip, state={"user": 7}), added)["Location"])

    arrived = trip.callback(state=sent["state"], code="ac_1")

    assert query_of(arrived["Location"]).keys() == {"code"}
    body = trip.token(code=query_of(arrived["Location"])["code"])
    assert (body.status_code, body.json()["state"]) == (200, {"user": 7})


def test_a_links_state_may_be_as_long_as_its_json(trip: Trip, client: Client) -> None:
    response = client.get(start_path(trip, state="s" * 4000))

    assert response["Location"].startswith("https://connect.stripe.com/")


def test_a_disabled_app_starts_nothing(trip: Trip, client: Client) -> None:
    path = start_path(trip)
    OAuthApp.objects.update(enabled=False)

    assert_page(client.get(path))


@pytest.mark.parametrize("state", ["s1", {"user": 7, "tags": ["a", None]}, [1], 7, None, True])
def test_any_json_comes_back_from_the_token_endpoint(trip: Trip, client: Client, state: Any) -> None:
    trip.provider_answers()
    sent = query_of(client.get(start_path(trip, state=state))["Location"])

    arrived = query_of(trip.callback(state=sent["state"], code="ac_1")["Location"])

    assert arrived.get("state") == (state if isinstance(state, str) else None)  # only a string travels
    assert trip.token(code=arrived["code"]).json()["state"] == state


def test_the_developers_own_word_may_name_any_host(client: Client, account: Account, trip: Trip) -> None:
    oauth_app = OAuthApp.objects.create(
        account=account, provider="auth0", name="Auth0", client_id="a1", client_secret="x", own_callback=True
    )
    body = {"oauth_app_id": str(oauth_app.pk), "redirect_url": "https://app.example.com/callback/auth0"}

    path = urlsplit(start_auth(account, variables={"domain": "login.acme.com"}, **body).json()["start_url"]).path
    response = client.get(path, {"domain": "evil.example.com"})

    assert response["Location"].startswith("https://login.acme.com/authorize?")


def test_the_end_user_is_asked_on_the_links_own_page(client: Client, account: Account, trip: Trip) -> None:
    oauth_app = OAuthApp.objects.create(
        account=account, provider="zendesk", name="Zendesk", client_id="z1", client_secret="x"
    )
    body = {"oauth_app_id": str(oauth_app.pk), "redirect_url": "https://app.example.com/callback/zendesk"}
    path = urlsplit(start_auth(account, **body).json()["start_url"]).path

    page = client.get(path).content.decode()
    onward = client.get(path, {"hosted": "1", "subdomain": "acme"})

    assert f'action="{path}"' in page
    assert re.search(r"https://acme\.zendesk\.com/oauth/authorizations/new", onward.content.decode())


def test_the_token_of_a_link_is_in_no_row(trip: Trip) -> None:
    path = start_path(trip, state={"canary": "canary-of-the-state"})

    rows = str(list(StartLink.objects.values()))
    assert path.rpartition("/")[2] not in rows
    assert "canary-of-the-state" not in rows
