"""POST /v1/credentials/{id}/reconnect, and the trip that it begins: the same credential and account, new tokens."""

import json
import uuid
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.test import Client
from django.utils import timezone
from requests import PreparedRequest
from responses import RequestsMock

from credentials import reconnect
from credentials.models import Authorization, Credential, End, Failure, StartLink, Step, Token
from credentials.refresh import lease
from oauth_apps.models import Account, HealthStatus, OAuthApp, RedirectURI
from tests.credentials.stored import again, keep
from tests.link.reconnection import (
    OF_ANOTHER_ORGANIZATION,
    REDIRECT_URI,
    SOMEBODY_ELSE,
    STORED,
    TOKEN_ENDPOINT,
    Reconnection,
    answer_of,
    salesforce_app,
    salesforce_credential,
)
from tests.link.test_token import assert_refused
from tests.link.trip import assert_page
from tests.oauth_apps.conftest import client_of


@pytest.fixture
def oauth_app(account: Account, redirect_uri: RedirectURI) -> OAuthApp:
    return salesforce_app(account)


@pytest.fixture
def reconnection(client: Client, responses: RequestsMock, oauth_app: OAuthApp) -> Reconnection:
    return Reconnection(client, responses, salesforce_credential(oauth_app))


def path(credential_id: object) -> str:
    return f"/v1/credentials/{credential_id}/reconnect"


def columns(credential: Credential) -> tuple[dict[str, Any], dict[str, Any]]:
    """Everything that is stored of it, sealed as it is."""
    mine, tokens = Credential.objects.filter(pk=credential.pk), Token.objects.filter(pk=credential.pk)
    return dict(mine.values().get()), dict(tokens.values().get())


# ---- the link: refusals ----------------------------------------------------------------------------------------------


def test_another_accounts_credential_is_not_there(reconnection: Reconnection, other_account: Account) -> None:
    """D01"""
    api, body = client_of(other_account), {"redirect_url": REDIRECT_URI}

    theirs = api.post(path(reconnection.credential.pk), body, content_type="application/json")
    nobodys = api.post(path(uuid.uuid4()), body, content_type="application/json")

    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert theirs.json() | {"request_id": ""} == nobodys.json() | {"request_id": ""}
    assert StartLink.objects.count() == 0


def test_it_needs_the_scope_write(reconnection: Reconnection, account: Account) -> None:
    response = client_of(account, "read", "reveal").post(
        path(reconnection.credential.pk), {"redirect_url": REDIRECT_URI}, content_type="application/json"
    )

    assert response.status_code == 403


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"redirect_url": None, "identity": "any"}, "redirect_url"),
        ({"redirect_url": "https://evil.example.com/"}, "redirect_url"),
        ({"redirect_uri": REDIRECT_URI}, "redirect_url"),
        ({"identity": "another_account"}, "identity"),
        ({"identity": True}, "identity"),
        ({"scope": 'api"'}, "scope"),
        ({"state": "s" * 5001}, "state"),
        ({"variables": {"domain": "other.my.salesforce.com"}}, "variables"),
        ({"oauth_app_id": "00000000-0000-4000-8000-000000000000"}, "oauth_app_id"),
        ({"credential_kind": "salesforce_oauth2"}, "credential_kind"),
    ],
)
def test_it_names_the_field_that_is_wrong(reconnection: Reconnection, body: dict[str, Any], field: str) -> None:
    response = reconnection.ask(**body)

    assert response.status_code == 422
    assert list(response.json()["validation_errors"]) == [field]
    assert StartLink.objects.count() == 0


def test_a_key_was_never_connected(account: Account, redirect_uri: RedirectURI) -> None:
    key = keep(account, "stripe_key", None, secret="sk_test_canary")

    response = client_of(account).post(path(key.pk), {"redirect_url": REDIRECT_URI}, content_type="application/json")

    assert (response.status_code, response.json()["code"]) == (409, "not_reconnectable")
    assert reconnect.reconnect_url(key) is None


def test_a_disabled_app_connects_nobody(reconnection: Reconnection) -> None:
    OAuthApp.objects.update(enabled=False)

    response = reconnection.ask()

    assert (response.status_code, response.json()["code"]) == (409, "oauth_app_disabled")
    assert reconnect.reconnect_url(reconnection.credential) is None


def test_a_provider_that_is_gone_connects_nobody(reconnection: Reconnection) -> None:
    Credential.objects.update(kind="gone_oauth2", provider="gone")

    response = reconnection.ask()

    assert (response.status_code, response.json()["code"]) == (409, "provider_unknown")
    assert reconnect.reconnect_url(reconnection.credential) is None


# ---- the link: what it holds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_link_works_once_and_five_minutes(reconnection: Reconnection, account: Account, slash: str) -> None:
    url = path(reconnection.credential.pk) + slash
    response = client_of(account).post(url, {"redirect_uri": REDIRECT_URI}, content_type="application/json")
    body = response.json()

    first, second = Client().get(body["start_url"]), Client().get(body["start_url"])

    assert (response.status_code, body.keys()) == (201, {"start_url", "expires_at"})
    assert body["expires_at"] > timezone.now().isoformat()
    assert first["Location"].startswith("https://acme.my.salesforce.com/services/oauth2/authorize?")
    assert_page(second, holds="link_expired")
    link = StartLink.objects.get()
    assert (link.credential_id, link.any_identity) == (reconnection.credential.pk, False)
    assert link.expires_at - link.created_at <= StartLink.LIFETIME + timedelta(seconds=1)


def test_nothing_in_a_link_can_be_changed(reconnection: Reconnection, client: Client) -> None:
    added = {
        "domain": "other.my.salesforce.com", "scope": "full", "state": "evil", "identity": "any", "hosted": "1",
        "redirect_uri": "https://evil.example.com/",
    }  # fmt: skip

    page = client.get(reconnection.link(scope="api"), added).content.decode()

    trip = reconnection.trip
    assert "https://acme.my.salesforce.com/services/oauth2/authorize?" in page
    assert (trip.scopes, trip.redirect_uri, trip.client_state) == (["api"], REDIRECT_URI, None)
    assert (trip.credential_id, trip.any_identity) == (reconnection.credential.pk, False)


def test_whoever_opens_a_link_says_nothing_that_goes_without_saying(reconnection: Reconnection, client: Client) -> None:
    Credential.objects.update(variables={})

    response = client.get(reconnection.link(), {"domain": "other.my.salesforce.com"})

    assert response["Location"].startswith("https://login.salesforce.com/services/oauth2/authorize?")


@pytest.mark.parametrize(
    ("requested", "granted", "body", "asked"),
    [
        (["api", "refresh_token", "web"], ["api", "id"], {}, "api refresh_token web id"),
        (["api", "refresh_token", "web"], ["api", "id"], {"scope": "api,web"}, "api web"),
        ([], [], {}, "api refresh_token"),
    ],
    ids=["what was asked for and what was granted", "what the link says", "what is usual"],
)
def test_it_asks_again_for_what_is_missing(
    reconnection: Reconnection, requested: list[str], granted: list[str], body: dict[str, str], asked: str
) -> None:
    Credential.objects.update(scopes_requested=requested, scopes_granted=granted)

    assert reconnection.started(**body)["scope"] == asked


def test_a_variable_that_the_provider_has_got_since_is_asked_for(
    reconnection: Reconnection, client: Client, account: Account
) -> None:
    zendesk = OAuthApp.objects.create(
        account=account, provider="zendesk", name="Zendesk", client_id="z1", client_secret="canary-client-secret"
    )
    reconnection.credential = keep(
        account, "zendesk_oauth2", zendesk, subdomain="acme", user_id="7", access_token="canary", refresh_token="canary"
    )
    Credential.objects.filter(pk=reconnection.credential.pk).update(variables={})
    link = reconnection.link(redirect_url="https://app.example.com/callback/zendesk")

    page = client.get(link).content.decode()
    onward = client.get(link, {"hosted": "1", "subdomain": "acme"}).content.decode()

    assert f'action="{link}"' in page
    assert "https://acme.zendesk.com/oauth/authorizations/new" in onward


# ---- reconnect_url ---------------------------------------------------------------------------------------------------


def test_there_is_no_url_without_a_redirect_uri_if_nobody_knows_whose_it_is(reconnection: Reconnection) -> None:
    RedirectURI.objects.all().delete()
    Credential.objects.update(properties={})

    assert reconnect.reconnect_url(reconnection.credential) is None


def test_without_a_redirect_uri_it_ends_on_a_page_of_ours(reconnection: Reconnection) -> None:
    RedirectURI.objects.all().delete()

    assert reconnect.reconnect_url(reconnection.credential)
    assert StartLink.objects.get().ends_at == End.PAGE


def test_there_is_no_url_for_what_was_deleted(reconnection: Reconnection) -> None:
    credential = again(reconnection.credential)
    Credential.objects.all().delete()

    assert reconnect.reconnect_url(credential) is None


@pytest.mark.parametrize(
    ("last", "leads_to"),
    [
        ("https://later.example.com/in/salesforce", "https://later.example.com/in/salesforce"),
        ("https://removed.example.com/", "https://app.example.com/callback/salesforce"),
        ("", "https://app.example.com/callback/salesforce"),
    ],
    ids=["of the last trip", "not registered any more", "never connected here"],
)
def test_the_url_leads_back_to_where_the_last_trip_led(
    reconnection: Reconnection, account: Account, last: str, leads_to: str
) -> None:
    RedirectURI.objects.create(account=account, redirect_uri="https://later.example.com/in/:provider")
    Credential.objects.update(redirect_uri=last)

    url = reconnect.reconnect_url(reconnection.credential)

    assert url is not None
    assert Client().get(url)["Location"].startswith("https://acme.my.salesforce.com/services/oauth2/authorize?")
    assert (reconnection.trip.redirect_uri, reconnection.trip.credential_id) == (leads_to, reconnection.credential.pk)


# ---- whose account comes back? ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("identity", [SOMEBODY_ELSE, OF_ANOTHER_ORGANIZATION])
def test_another_account_is_sent_back_and_its_tokens_too(reconnection: Reconnection, identity: str) -> None:
    """B15"""
    before = columns(reconnection.credential)

    arrived = reconnection.arrived(identity, state="s1")

    assert arrived == {
        "error": "access_denied",
        "error_description": "Another account was connected than the one that this link is for.",
        "state": "s1",
    }
    assert reconnection.given_back == ["canary-new-refresh"]
    assert columns(reconnection.credential) == before
    assert (reconnection.trip.step, reconnection.trip.error) == (Step.FAILED, "another_account")
    assert reconnection.trip.tokens is None
    assert OAuthApp.objects.get().health_status == HealthStatus.OK


def test_what_is_known_of_an_account_without_identity_counts(reconnection: Reconnection) -> None:
    unidentified(reconnection)

    arrived = reconnection.arrived(OF_ANOTHER_ORGANIZATION)

    assert arrived["error"] == "access_denied"
    assert reconnection.trip.error == "another_account"


def test_an_account_that_is_connected_already_is_sent_back(reconnection: Reconnection, oauth_app: OAuthApp) -> None:
    other = salesforce_credential(oauth_app, user_id="005000000000002AAA", refresh_token="canary-other")
    before = columns(reconnection.credential), columns(other)

    arrived = reconnection.arrived(SOMEBODY_ELSE, identity="any")

    assert arrived["error"] == "access_denied"
    assert "already" in arrived["error_description"]
    assert reconnection.trip.error == "already_connected"
    assert reconnection.given_back == ["canary-new-refresh"]
    assert (columns(reconnection.credential), columns(other)) == before


def test_an_answer_that_cannot_be_posted_changes_nothing(reconnection: Reconnection) -> None:
    before = columns(reconnection.credential)

    arrived = reconnection.arrived(members={"instance_url": "http://acme.my.salesforce.com/path"})

    assert arrived["error"] == "server_error"
    assert reconnection.given_back == ["canary-new-refresh"]
    assert columns(reconnection.credential) == before


def test_a_reconnection_is_bound_to_its_browser_as_any_trip_is(reconnection: Reconnection) -> None:
    """B04"""
    reconnection.provider_answers()
    state = reconnection.started()["state"]
    reconnection.client.cookies.clear()

    assert_page(reconnection.callback(state), holds="session_mismatch")
    assert len(reconnection.responses.calls) == 0


def test_a_redirect_uri_that_was_removed_meanwhile_ends_the_trip(reconnection: Reconnection) -> None:
    """A07, B16"""
    state = reconnection.started()["state"]
    RedirectURI.objects.all().delete()

    assert_page(reconnection.callback(state), holds="link_withdrawn")
    assert len(reconnection.responses.calls) == 0


def test_the_link_and_the_trip_go_with_the_credential(reconnection: Reconnection, client: Client) -> None:
    """B20"""
    link, state = reconnection.link(), reconnection.started()["state"]
    Credential.objects.all().delete()

    assert_page(client.get(link), holds="link_expired")
    assert_page(reconnection.callback(state))
    assert Authorization.objects.count() == 0


def test_tokens_of_a_credential_that_is_deleted_during_the_exchange_go_back(reconnection: Reconnection) -> None:
    """B20"""
    reconnection.provider_answers()
    state = reconnection.started()["state"]

    def delete_and_answer(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        Credential.objects.all().delete()
        return 200, {}, json.dumps(answer_of())

    reconnection.responses.remove("POST", TOKEN_ENDPOINT)
    reconnection.responses.add_callback("POST", TOKEN_ENDPOINT, delete_and_answer, content_type="application/json")

    assert_page(reconnection.callback(state))
    assert "canary-new-refresh" in reconnection.given_back


# ---- the exchange: refusals ------------------------------------------------------------------------------------------


def test_until_the_exchange_nothing_has_changed(reconnection: Reconnection, account: Account) -> None:
    """B15: never at the callback"""
    before, listed = columns(reconnection.credential), client_of(account).get("/v1/credentials").json()

    arrived = reconnection.arrived()

    assert arrived.keys() == {"code"}
    assert columns(reconnection.credential) == before
    assert client_of(account).get("/v1/credentials").json() == listed


def test_a_code_of_a_deleted_credential_is_worth_nothing_and_its_tokens_go_back(
    reconnection: Reconnection, django_capture_on_commit_callbacks: Any
) -> None:
    code = reconnection.arrived()["code"]
    with django_capture_on_commit_callbacks(execute=True):
        Credential.objects.get().delete()

    assert_refused(reconnection.token(code), 400, "invalid_grant")
    assert sorted(reconnection.given_back) == ["canary-new-refresh", "canary-stored-refresh"]


def test_a_credential_that_is_another_accounts_by_now_stays_so(reconnection: Reconnection) -> None:
    first = reconnection.arrived()["code"]
    second = reconnection.arrived(
        SOMEBODY_ELSE, identity="any", members={"access_token": "canary-second", "refresh_token": "canary-second"}
    )["code"]
    assert reconnection.token(second).status_code == 200
    before = columns(reconnection.credential)

    assert_refused(reconnection.token(first), 400, "invalid_grant")

    assert reconnection.given_back == ["canary-new-refresh"]
    assert columns(reconnection.credential) == before
    assert Authorization.objects.get(error="another_account").step == Step.FAILED


def test_an_account_that_was_imported_meanwhile_stays_its_own(reconnection: Reconnection, oauth_app: OAuthApp) -> None:
    code = reconnection.arrived(SOMEBODY_ELSE, identity="any")["code"]
    other = salesforce_credential(oauth_app, user_id="005000000000002AAA", refresh_token="canary-other")
    before = columns(reconnection.credential), columns(other)

    assert_refused(reconnection.token(code), 400, "invalid_grant")

    assert reconnection.given_back == ["canary-new-refresh"]
    assert (columns(reconnection.credential), columns(other)) == before


def test_an_account_that_is_imported_at_the_same_moment_stays_its_own(
    reconnection: Reconnection, oauth_app: OAuthApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody has seen yet, the database refuses."""
    code = reconnection.arrived(SOMEBODY_ELSE, identity="any")["code"]
    other = salesforce_credential(oauth_app, user_id="005000000000002AAA", refresh_token="canary-other")
    before = columns(reconnection.credential), columns(other)
    monkeypatch.setattr(reconnect, "compare", lambda *_: None)

    assert_refused(reconnection.token(code), 400, "invalid_grant")

    assert reconnection.trip.error == "already_connected"
    assert (columns(reconnection.credential), columns(other)) == before


def test_a_wrong_verifier_changes_nothing(reconnection: Reconnection) -> None:
    before, code = columns(reconnection.credential), reconnection.arrived()["code"]
    pair = {"client_id": str(reconnection.oauth_app.pk), "client_secret": "canary-client-secret"}

    response = Client().post(
        "/link/oauth2/token", pair | {"code": code, "code_verifier": "v" * 43}, content_type="application/json"
    )

    assert_refused(response, 400, "invalid_grant")
    assert columns(reconnection.credential) == before
    assert_refused(reconnection.token(code), 400, "invalid_grant")


# ---- the exchange: what comes of it ----------------------------------------------------------------------------------


def test_the_credential_stays_and_its_tokens_are_new(reconnection: Reconnection) -> None:
    Token.objects.update(
        failure=Failure.REFRESH_TOKEN_REFUSED, failed_at=timezone.now(), failures=3, interrupted_at=timezone.now(),
        lease_owner=uuid.uuid4(), lease_until=timezone.now() + timedelta(minutes=1),
    )  # fmt: skip
    Credential.objects.update(
        scopes_requested=["api", "refresh_token", "web"], health_status="error", health_notes=["refused"]
    )
    before = reconnection.stored

    reconnection.whole(scope="api refresh_token id", members={"scope": "api refresh_token id"})

    now = reconnection.stored
    assert (now.pk, now.name, now.metadata, now.created_at) == (before.pk, "Paul's", {"user": 7}, before.created_at)
    assert (now.token.access_token, now.token.refresh_token) == ("canary-new-access", "canary-new-refresh")
    assert (now.token.version, now.token.failure, now.token.failures) == (before.token.version + 1, "", 0)
    assert (now.token.lease_owner, now.token.lease_until, now.token.interrupted_at) == (None, None, None)
    assert (now.identity_hash, now.variables) == (before.identity_hash, before.variables)
    assert (now.scopes_requested, now.scopes_granted) == (
        ["api", "refresh_token", "id"],
        ["api", "refresh_token", "id"],
    )
    assert (now.health_status, now.health_notes) == (HealthStatus.OK, [])
    assert now.health_time > before.health_time
    assert now.redirect_uri == REDIRECT_URI


@pytest.mark.parametrize("body", [{}, {"scope": "api"}], ids=["asked for all", "asked for less"])
def test_what_was_held_and_not_granted_again_is_missing(reconnection: Reconnection, body: dict[str, str]) -> None:
    reconnection.whole(members={"scope": "api"}, **body)

    stored = reconnection.stored
    assert (stored.scopes_requested, stored.scopes_granted) == (["api", "refresh_token"], ["api"])
    assert stored.health_status == HealthStatus.WARN
    assert "refresh_token" in stored.health_notes[0]


def test_the_answer_can_be_posted_as_it_is(reconnection: Reconnection, account: Account) -> None:
    answer = reconnection.whole(scope="api", state={"user": 7})
    stored = columns(reconnection.credential)

    posts = [
        client_of(account).post("/v1/credentials", answer["credential"], content_type="application/json") for _ in "ab"
    ]

    assert answer["state"] == {"user": 7}
    assert [(post.status_code, post.json()["id"]) for post in posts] == [(200, str(reconnection.credential.pk))] * 2
    assert Credential.objects.count() == 1
    now = columns(reconnection.credential)
    assert now[1] == stored[1]
    assert {**now[0], "updated_at": None, "health_time": None} == {**stored[0], "updated_at": None, "health_time": None}


def test_a_refresh_that_is_under_way_is_discarded_and_given_back(reconnection: Reconnection) -> None:
    """G12"""
    code = reconnection.arrived()["code"]

    def answer_late(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        assert dict(parse_qsl(str(request.body)))["refresh_token"] == "canary-stored-refresh"
        assert reconnection.token(code).status_code == 200
        return 200, {}, '{"access_token": "canary-late", "refresh_token": "canary-late"}'

    reconnection.responses.remove("POST", TOKEN_ENDPOINT)
    reconnection.responses.add_callback("POST", TOKEN_ENDPOINT, answer_late, content_type="application/json")

    token = lease.refreshed(reconnection.stored, force=True)

    assert token.access_token == reconnection.stored.token.access_token == "canary-new-access"
    assert reconnection.given_back == ["canary-late"]


def test_the_refresh_token_of_before_still_finds_the_same_account(reconnection: Reconnection) -> None:
    reconnection.whole()
    Token.objects.update(expires_at=timezone.now() + timedelta(hours=1), expiry_source="expires_in")

    body = refreshed_with(reconnection, "canary-stored-refresh").json()

    assert (body["access_token"], body["refresh_token"]) == ("canary-new-access", "canary-new-refresh")


def test_another_account_may_be_welcome(reconnection: Reconnection, account: Account) -> None:
    Credential.objects.update(properties=reconnection.credential.properties | {"leftover": "of the first"})
    before = reconnection.stored

    answer = reconnection.whole(SOMEBODY_ELSE, identity="any", members={"scope": "api"}, scope="api")

    now = reconnection.stored
    assert now.pk == before.pk
    assert now.properties == {
        "instance_url": "https://acme.my.salesforce.com",
        "organization_id": "00D000000000001EAA",
        "user_id": "005000000000002AAA",
        "domain": "acme.my.salesforce.com",
    }
    assert now.identity_hash != before.identity_hash
    assert now.scopes_requested == ["api"]
    posted = client_of(account).post("/v1/credentials", answer["credential"], content_type="application/json")
    assert (posted.status_code, posted.json()["id"]) == (200, str(before.pk))


def test_the_refresh_token_of_before_never_finds_another_account(reconnection: Reconnection) -> None:
    reconnection.whole(SOMEBODY_ELSE, identity="any")
    reconnection.responses.upsert(
        "POST", "https://login.salesforce.com/services/oauth2/token", json={"error": "invalid_grant"}, status=400
    )

    assert_refused(refreshed_with(reconnection, "canary-stored-refresh"), 400, "invalid_grant")


def test_whose_account_was_not_known_takes_the_identity_of_who_comes(
    reconnection: Reconnection, account: Account
) -> None:
    unidentified(reconnection)

    answer = reconnection.whole()

    stored = reconnection.stored
    assert (stored.is_identified, stored.properties["user_id"]) == (True, "005000000000001AAA")
    posted = client_of(account).post("/v1/credentials", answer["credential"], content_type="application/json")
    assert (posted.status_code, posted.json()["id"]) == (200, str(stored.pk))
    assert Credential.objects.count() == 1


def test_an_unreadable_credential_is_healed(reconnection: Reconnection, oauth_app: OAuthApp) -> None:
    other = salesforce_credential(oauth_app, user_id="005000000000009AAA", refresh_token="canary-other")
    Token.objects.filter(pk=reconnection.credential.pk).update(
        access_token=Token.objects.filter(pk=other.pk).values_list("access_token", flat=True).get(),
        failure=Failure.UNREADABLE,
    )

    reconnection.whole()

    assert reconnection.stored.token.access_token == "canary-new-access"
    assert reconnection.stored.health_status == HealthStatus.OK


def unidentified(reconnection: Reconnection) -> None:
    """The same credential, imported in Sequin's own form, which does not say whose it is."""
    reconnection.credential.delete()
    without = dict.fromkeys(STORED.keys() - {"instance_url", "refresh_token", "domain"})
    reconnection.credential = salesforce_credential(reconnection.oauth_app, **without)
    assert reconnection.credential.is_identified is False


def refreshed_with(reconnection: Reconnection, refresh_token: str) -> Any:
    pair = {"client_id": str(reconnection.oauth_app.pk), "client_secret": "canary-client-secret"}
    body = pair | {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return Client().post("/link/oauth2/token", body, content_type="application/json")
