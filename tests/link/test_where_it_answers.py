"""Where only the callback says in which of a provider's data centres the account is."""

from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from django.test import Client
from responses import RequestsMock

from credentials.models import Authorization, Step
from oauth_apps.models import Account, OAuthApp, RedirectURI
from tests.link.trip import post_form
from tests.oauth_apps.conftest import client_of

EU = "https://accounts.zoho.eu"
REDIRECT_URI = "https://app.example.com/callback"
TOKENS = {
    "access_token": "canary-access-1",
    "refresh_token": "canary-refresh-1",
    "api_domain": "https://www.zohoapis.eu",
    "expires_in": 3600,
}


@pytest.fixture
def zoho_app(account: Account) -> OAuthApp:
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    return OAuthApp.objects.create(
        account=account, provider="zoho", name="Zoho", client_id="1000.A", client_secret="canary-client-secret"
    )


def back(client: Client, app: OAuthApp, **answer: str) -> Any:
    """The end user is back from the provider with `answer`."""
    started = client.get("/link/oauth2/start", {"client_id": str(app.pk), "redirect_uri": REDIRECT_URI})
    assert started["Location"].startswith("https://accounts.zoho.com/oauth/v2/auth?")
    state = parse_qs(urlsplit(started["Location"]).query)["state"][0]
    return client.get("/link/oauth2/callback/zoho", {"state": state, "code": "c1", **answer})


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example", "https://accounts.zoho.eu.evil.example", "https://accounts.zoho.eu@evil.example",
        "https://accounts.zoho.eu/x", "http://accounts.zoho.eu", "//accounts.zoho.eu", "x" * 5000,
    ],
)  # fmt: skip
def test_a_code_goes_nowhere_but_to_the_providers_own(
    client: Client, zoho_app: OAuthApp, responses: RequestsMock, elsewhere: str
) -> None:
    arrived = back(client, zoho_app, **{"accounts-server": elsewhere})

    assert arrived["Location"].startswith(f"{REDIRECT_URI}?error=server_error")
    assert len(responses.calls) == 0
    assert Authorization.objects.get().step == Step.FAILED


def test_a_data_centre_that_is_named_twice_is_none(client: Client, zoho_app: OAuthApp, responses: RequestsMock) -> None:
    started = client.get("/link/oauth2/start", {"client_id": str(zoho_app.pk), "redirect_uri": REDIRECT_URI})
    state = parse_qs(urlsplit(started["Location"]).query)["state"][0]
    twice = f"state={state}&code=c1&accounts-server={EU}&accounts-server=https://accounts.zoho.com"

    arrived = client.get(f"/link/oauth2/callback/zoho?{twice}")

    assert arrived["Location"].startswith(f"{REDIRECT_URI}?error=server_error")
    assert len(responses.calls) == 0


def test_a_code_that_comes_twice_is_none_whatever_its_name(
    client: Client, account: Account, responses: RequestsMock
) -> None:
    """B09"""
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    app = OAuthApp.objects.create(
        account=account, provider="dingtalk", name="DingTalk", client_id="d1", client_secret="canary-client-secret"
    )
    started = client.get("/link/oauth2/start", {"client_id": str(app.pk), "redirect_uri": REDIRECT_URI})
    state = parse_qs(urlsplit(started["Location"]).query)["state"][0]

    arrived = client.get(f"/link/oauth2/callback/dingtalk?state={state}&authCode=c1&authCode=c2")

    assert arrived["Location"].startswith(f"{REDIRECT_URI}?error=server_error")
    assert len(responses.calls) == 0


def test_the_code_and_every_later_refresh_go_where_the_account_is(
    client: Client, account: Account, zoho_app: OAuthApp, responses: RequestsMock
) -> None:
    responses.post(f"{EU}/oauth/v2/token", json=TOKENS)
    responses.get(f"{EU}/oauth/user/info", json={"ZUID": 7, "Email": "paul@arrakis.example"})
    arrived = back(client, zoho_app, **{"accounts-server": EU, "location": "eu"})
    code = dict(parse_qsl(urlsplit(arrived["Location"]).query))["code"]
    pair = {"client_id": str(zoho_app.pk), "client_secret": "canary-client-secret"}
    body = post_form({**pair, "code": code}).json()
    api = client_of(account, "write", "reveal")
    kept = api.post("/v1/credentials", body["credential"], content_type="application/json").json()

    token = api.get(f"/v1/credentials/{kept['id']}/access-token", {"force_refresh": "true"}).json()

    assert kept["properties"]["accounts_server"] == "accounts.zoho.eu"
    assert token["api"]["base_url"] == "https://www.zohoapis.eu"
    assert [call.request.url for call in responses.calls] == [
        f"{EU}/oauth/v2/token",
        f"{EU}/oauth/user/info",
        f"{EU}/oauth/v2/token",
    ]


def test_without_a_word_of_it_the_trip_stays_where_it_began(
    client: Client, zoho_app: OAuthApp, responses: RequestsMock
) -> None:
    responses.post(
        "https://accounts.zoho.com/oauth/v2/token", json={**TOKENS, "api_domain": "https://www.zohoapis.com"}
    )
    responses.get("https://accounts.zoho.com/oauth/user/info", json={"ZUID": 7})

    assert "code=" in back(client, zoho_app)["Location"]
