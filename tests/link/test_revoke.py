"""POST /link/oauth2/revoke (RFC 7009)."""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.test import Client
from responses import RequestsMock

from oauth_apps.models import Account, OAuthApp
from tests.link.trip import post_form

REVOKE = "/link/oauth2/revoke"
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


def test_only_post(client: Client, db: None) -> None:
    assert client.get(REVOKE).status_code == 405
