"""An OAuth app that is in use: changes under open flows, a delete under credentials, a check."""

import secrets
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from responses import RequestsMock

from credentials.models import Authorization, Credential, Step
from oauth_apps.models import OAuthApp
from tests.credentials.stored import keep
from tests.oauth_apps.conftest import NewApp

TOKEN_ENDPOINT = "https://acme.example/token"


@pytest.fixture
def shop_app(new_app: NewApp) -> OAuthApp:
    return new_app(provider="acme-shops", variables={"shop": "mine"})


def start(oauth_app: OAuthApp, step: Step = Step.STARTED, *, expires_in: int = 600) -> Authorization:
    return Authorization.objects.create(
        oauth_app=oauth_app,
        provider=oauth_app.provider,
        step=step,
        state_hash=secrets.token_bytes(32),
        browser_hash=bytes(32),
        snapshot={},
        expires_at=timezone.now() + timedelta(seconds=expires_in),
    )


def patched(api: Client, oauth_app: OAuthApp, **fields: Any) -> Any:
    return api.patch(f"/v1/oauth-apps/{oauth_app.id}", fields, content_type="application/json")


# ---- change -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [Step.STARTED, Step.RETURNED])
@pytest.mark.parametrize("fields", [{"variables": {"shop": "other"}}, {"variables": {}}, {"environment": "sandbox"}])
def test_a_host_does_not_change_under_an_open_flow(
    api: Client, shop_app: OAuthApp, step: Step, fields: dict[str, Any]
) -> None:
    """D18"""
    start(shop_app, step)

    response = patched(api, shop_app, name="Water", **fields)

    assert (response.status_code, response.json()["code"]) == (409, "authorizations_open")
    shop_app.refresh_from_db()
    assert (shop_app.name, shop_app.variables, shop_app.environment) == ("Spice", {"shop": "mine"}, "live")


def test_a_host_does_not_change_under_credentials(api: Client, shop_app: OAuthApp) -> None:
    """D18: their secrets would be sent to another place than they came from"""
    Credential.objects.create(
        account=shop_app.account, oauth_app=shop_app, provider="shop", kind="shop_oauth2", identity_hash=bytes(32)
    )

    response = patched(api, shop_app, variables={"shop": "other"})
    secret = patched(api, shop_app, client_secret="new")

    assert (response.status_code, response.json()["code"]) == (409, "has_credentials")
    assert secret.status_code == 200
    shop_app.refresh_from_db()
    assert (shop_app.variables, shop_app.client_secret) == ({"shop": "mine"}, "new")


def test_what_is_not_the_host_may_change_under_an_open_flow(api: Client, shop_app: OAuthApp) -> None:
    start(shop_app)

    same = patched(api, shop_app, variables={"shop": "MINE.acme.example"}, environment="live")
    other = patched(api, shop_app, name="Water", client_secret="new")

    assert [same.status_code, other.status_code] == [200, 200]


def test_a_host_changes_when_all_have_come_back(api: Client, shop_app: OAuthApp, acme_app: OAuthApp) -> None:
    start(shop_app, expires_in=-1)
    start(shop_app, Step.EXCHANGED)
    start(acme_app)  # another app's

    assert patched(api, shop_app, variables={"shop": "other"}).json()["variables"] == {"shop": "other"}


# ---- delete -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?cascade=false"])
def test_it_refuses_to_delete_under_credentials(api: Client, acme_app: OAuthApp, query: str) -> None:
    keep(acme_app.account, "acme_oauth2", acme_app, access_token="canary", user_id="1")

    response = api.delete(f"/v1/oauth-apps/{acme_app.id}{query}")

    assert (response.status_code, response.json()["code"]) == (409, "has_credentials")
    assert Credential.objects.count() == OAuthApp.objects.count() == 1


@pytest.mark.parametrize("query", ["?cascade=1", "?cascade=", "?cascade=true&cascade=true"])
def test_a_cascade_is_asked_for_in_one_way(api: Client, acme_app: OAuthApp, query: str) -> None:
    keep(acme_app.account, "acme_oauth2", acme_app, access_token="canary", user_id="1")

    assert api.delete(f"/v1/oauth-apps/{acme_app.id}{query}").status_code == 422
    assert Credential.objects.exists()


def test_a_cascade_takes_this_apps_credentials_and_no_others(api: Client, new_app: NewApp) -> None:
    mine, other = new_app(), new_app(client_id="acme-2")
    keep(mine.account, "acme_oauth2", mine, access_token="canary", user_id="1")
    stays = keep(mine.account, "acme_oauth2", other, access_token="canary", user_id="1")

    response = api.delete(f"/v1/oauth-apps/{mine.id}?cascade=true")

    assert (response.status_code, response.json()) == (200, {"id": str(mine.id), "deleted": True})
    assert [OAuthApp.objects.get().pk, Credential.objects.get().pk] == [other.pk, stays.pk]


def test_another_account_cascades_nothing(other_api: Client, acme_app: OAuthApp) -> None:
    """D01"""
    keep(acme_app.account, "acme_oauth2", acme_app, access_token="canary", user_id="1")

    assert other_api.delete(f"/v1/oauth-apps/{acme_app.id}?cascade=true").status_code == 404
    assert Credential.objects.exists()


def test_flows_go_with_their_app(api: Client, acme_app: OAuthApp) -> None:
    start(acme_app)

    assert api.delete(f"/v1/oauth-apps/{acme_app.id}?cascade=true").status_code == 200
    assert not Authorization.objects.exists()


# ---- check --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "answer", "health"),
    [
        (401, {"error": "invalid_client"}, "error"),
        (400, {"error": "invalid_client", "error_description": "canary"}, "error"),
        (400, {"error": "invalid_grant"}, "ok"),
        (503, {}, "warn"),
    ],
)
def test_a_check_tells_a_wrong_client_from_a_sound_one(
    api: Client, acme_app: OAuthApp, responses: RequestsMock, status: int, answer: dict[str, str], health: str
) -> None:
    before = timezone.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    responses.post(TOKEN_ENDPOINT, status=status, json=answer)

    response = api.post(f"/v1/oauth-apps/{acme_app.id}/check")

    assert response.status_code == 200
    assert response.json()["health"]["status"] == health
    assert bool(response.json()["health"]["notes"]) is (health != "ok")
    assert response.json()["health"]["time"] >= before
    assert response.json() == api.get(f"/v1/oauth-apps/{acme_app.id}").json()
    assert len(responses.calls) == 1
    assert "canary" not in response.content.decode()


def test_a_check_of_a_shared_registration_ends_the_warning(
    api: Client, other_api: Client, acme_app: OAuthApp, responses: RequestsMock
) -> None:
    """D20: until its own secret succeeded once."""
    content = {"provider": "acme", "name": "x", "client_id": acme_app.client_id, "client_secret": "mine"}
    second = other_api.post("/v1/oauth-apps", content, content_type="application/json").json()
    responses.post(TOKEN_ENDPOINT, status=400, json={"error": "invalid_grant"})

    checked = other_api.post(f"/v1/oauth-apps/{second['id']}/check/")

    assert (second["health"]["status"], checked.json()["health"]["status"]) == ("warn", "ok")
