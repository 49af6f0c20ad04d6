"""POST /link/oauth2/revoke (RFC 7009)."""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.test import Client
from requests import PreparedRequest
from responses import RequestsMock

from credentials.errors import NeedsReauthorization
from credentials.models import Credential, Failure, Token
from credentials.refresh import refreshed
from oauth_apps.models import Account, OAuthApp
from tests.credentials.stored import NEW, OLD, TOKEN_ENDPOINT, again, keep, linear_app, linear_credential
from tests.link.trip import post_form

REVOKE = "/link/oauth2/revoke"
LINEAR = "https://api.linear.app/oauth/revoke"
SALESFORCE = "https://login.salesforce.com/services/oauth2/revoke"


@pytest.fixture
def salesforce_app(account: Account) -> OAuthApp:
    return OAuthApp.objects.create(
        account=account, provider="salesforce", name="Salesforce", client_id="s1", client_secret="canary-client-secret"
    )


def revoke(oauth_app: OAuthApp, path: str = REVOKE, **body: str) -> Any:
    pair = {"client_id": str(oauth_app.pk), "client_secret": "canary-client-secret"}
    return post_form(pair | body, path)


def test_a_stranger_revokes_nothing(salesforce_app: OAuthApp, responses: RequestsMock) -> None:
    response = revoke(salesforce_app, token="r1", client_secret="wrong")

    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert len(responses.calls) == 0


def test_a_token_is_needed(salesforce_app: OAuthApp) -> None:
    response = revoke(salesforce_app)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


def test_a_provider_without_revocation_says_so(salesforce_app: OAuthApp) -> None:
    OAuthApp.objects.update(provider="airtable")

    response = revoke(salesforce_app, token="r1")

    assert (response.status_code, response.json()["error"]) == (400, "unsupported_token_type")


def test_a_provider_that_is_down_is_worth_another_try(salesforce_app: OAuthApp, responses: RequestsMock) -> None:
    responses.post(SALESFORCE, status=503, headers={"Retry-After": "9"})

    response = revoke(salesforce_app, token="r1")

    assert (response.status_code, response["Retry-After"]) == (503, "9")


@pytest.mark.parametrize("path", [REVOKE, f"{REVOKE}/"])
def test_it_revokes_at_the_provider(salesforce_app: OAuthApp, responses: RequestsMock, path: str) -> None:
    responses.post(SALESFORCE, status=200)

    response = revoke(salesforce_app, path, token="canary-refresh-token", token_type_hint="refresh_token")

    assert (response.status_code, json.loads(response.content)) == (200, {})
    sent = dict(parse_qsl(str(responses.calls[0].request.body)))
    assert sent["token"] == "canary-refresh-token"


def test_a_token_that_is_unknown_there_is_no_error(salesforce_app: OAuthApp, responses: RequestsMock) -> None:
    responses.post(SALESFORCE, status=400, json={"error": "invalid_grant"})

    assert revoke(salesforce_app, token="r1").status_code == 200


@pytest.mark.parametrize(
    ("answer", "health_status"),
    [
        ({"status": 400, "json": {"error": "invalid_client"}}, "error"),
        ({"status": 302, "headers": {"Location": "https://evil.example.com/"}}, "warn"),
        ({"status": 400, "json": {"error": "what_is_this"}}, "warn"),
    ],
)
def test_a_token_that_was_not_revoked_is_not_called_so(
    salesforce_app: OAuthApp, responses: RequestsMock, answer: dict[str, Any], health_status: str
) -> None:
    """RFC 7009, 2.2.1"""
    responses.post(SALESFORCE, **answer)

    response = revoke(salesforce_app, token="r1")

    assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
    assert int(response["Retry-After"]) > 0
    salesforce_app.refresh_from_db()
    assert salesforce_app.health_status == health_status


def test_what_the_provider_asks_for_besides_is_named(stripe_app: OAuthApp, responses: RequestsMock) -> None:
    responses.post("https://connect.stripe.com/oauth/deauthorize", json={"stripe_user_id": "acct_1"})

    without = revoke(stripe_app, token="r1")
    with_it = revoke(stripe_app, token="r1", stripe_user_id="acct_1")

    assert (without.status_code, without.json()["error"]) == (400, "invalid_request")
    assert "stripe_user_id" in without.json()["error_description"]
    assert with_it.status_code == 200
    assert len(responses.calls) == 1


def test_a_refresh_token_is_never_shown_as_a_bearer(account: Account, responses: RequestsMock) -> None:
    oauth_app = OAuthApp.objects.create(
        account=account, provider="zendesk", name="Z", client_id="z", client_secret="canary-client-secret",
        variables={"subdomain": "acme"},
    )  # fmt: skip
    responses.delete("https://acme.zendesk.com/api/v2/oauth/tokens/current.json", status=401)

    refused = revoke(oauth_app, token="r1", token_type_hint="refresh_token")
    unknown = revoke(oauth_app, token="t1")

    assert (refused.status_code, refused.json()["error"]) == (400, "unsupported_token_type")
    assert unknown.status_code == 200  # RFC 7009, 2.2
    assert len(responses.calls) == 1


# ---- a stored credential ---------------------------------------------------------------------------------------------


@pytest.fixture
def stored(account: Account) -> Credential:
    return linear_credential(linear_app(account))


def test_a_credential_that_was_not_revoked_is_not_called_so(stored: Credential, responses: RequestsMock) -> None:
    responses.post(LINEAR, status=503)

    assert revoke(app_of(stored), token=OLD["refresh_token"]).status_code == 503
    assert again(stored).token.failure == Failure.NONE


@pytest.mark.parametrize("whose", ["the same account", "another account"])
def test_another_app_revokes_no_stored_credential(
    stored: Credential, account: Account, other_account: Account, responses: RequestsMock, whose: str
) -> None:
    """C03: to the provider it is a token that this client has"""
    other = linear_app(account if whose == "the same account" else other_account, client_id="lin_other")
    responses.post(LINEAR, status=400, json={"error": "invalid_grant"})

    assert revoke(other, token=OLD["refresh_token"]).status_code == 200
    assert again(stored).token.failure == Failure.NONE


def test_tokens_that_have_come_meanwhile_are_not_called_revoked(stored: Credential, responses: RequestsMock) -> None:
    def renew_and_answer(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        Token.objects.update(version=2)
        return 200, {}, ""

    responses.add_callback("POST", LINEAR, renew_and_answer)

    assert revoke(app_of(stored), token=OLD["refresh_token"]).status_code == 200
    assert again(stored).token.failure == Failure.NONE


def test_a_stored_credential_says_that_it_was_revoked(stored: Credential, responses: RequestsMock) -> None:
    responses.post(LINEAR)

    response = revoke(app_of(stored), token=OLD["refresh_token"], token_type_hint="refresh_token")

    now = again(stored)
    assert (response.status_code, response.json()) == (200, {})
    assert (now.token.failure, now.token.due_at, now.token.retry_at) == (Failure.REVOKED, None, None)
    assert now.health_status == "error"
    assert "revoked" in now.health_notes[0]
    with pytest.raises(NeedsReauthorization):
        refreshed(now)
    assert len(responses.calls) == 1


def test_what_was_rotated_since_revokes_what_came_of_it(stored: Credential, responses: RequestsMock) -> None:
    """The developer holds the token of before: ours was refreshed ahead of time."""
    responses.post(TOKEN_ENDPOINT, json=NEW)
    refreshed(stored)
    responses.post(LINEAR)

    response = revoke(app_of(stored), token=OLD["refresh_token"])

    assert response.status_code == 200
    assert dict(parse_qsl(str(responses.calls[-1].request.body)))["token"] == NEW["refresh_token"]
    assert again(stored).token.failure == Failure.REVOKED


def test_a_credential_knows_what_its_provider_asks_for_besides(stripe_app: OAuthApp, responses: RequestsMock) -> None:
    credential = keep(
        stripe_app.account, "stripe_oauth2", stripe_app,
        access_token="t1", refresh_token="r1", stripe_user_id="acct_1", livemode=True,
    )  # fmt: skip
    responses.post("https://connect.stripe.com/oauth/deauthorize", json={"stripe_user_id": "acct_1"})

    assert revoke(stripe_app, token="r1").status_code == 200
    assert again(credential).token.failure == Failure.REVOKED


def app_of(credential: Credential) -> OAuthApp:
    assert credential.oauth_app is not None
    return credential.oauth_app


def test_only_post(client: Client, db: None) -> None:
    assert client.get(REVOKE).status_code == 405
