"""What the token endpoint answers as `credential` is posted as it is, for every provider of the catalogue."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from responses import RequestsMock

from credentials.models import Authorization, Credential
from oauth_apps.models import Account, OAuthApp, RedirectURI
from providers import catalogue
from providers.provider import Provider
from tests.link.trip import Trip, query_of
from tests.oauth_apps.conftest import client_of
from tests.providers.test_trips import SLUGS
from tests.providers.trip import REDIRECT_URI, Browser, sandbox_app

CREDENTIALS = "/v1/credentials"


@pytest.fixture(params=SLUGS)
def provider(request: pytest.FixtureRequest) -> Provider:
    return catalogue.get(request.param)


@pytest.fixture
def oauth_app(account: Account, provider: Provider) -> OAuthApp:
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    return sandbox_app(account, provider)


@pytest.fixture
def api(account: Account) -> Client:
    return client_of(account)


class Reconnecting(Browser):
    """An end user who has got a link of the developer's backend."""

    def __init__(self, client: Client, oauth_app: OAuthApp, start_url: str) -> None:
        super().__init__(client, oauth_app)
        self.start_url = start_url

    def start(self, **params: str) -> Any:
        return self.client.get(urlsplit(self.start_url).path)


@pytest.fixture
def browser(client: Client, oauth_app: OAuthApp, network: RequestsMock) -> Browser:
    return Browser(client, oauth_app)


def exchanged(browser: Browser) -> dict[str, Any]:
    answer = browser.token(code=browser.chooses("approve")["code"])
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = answer.json()
    return body


def post(api: Client, credential: dict[str, Any]) -> Any:
    return api.post(CREDENTIALS, credential, content_type="application/json")


def test_it_becomes_one_credential_however_often_it_is_posted(
    browser: Browser, api: Client, provider: Provider
) -> None:
    body = exchanged(browser)

    first, second = post(api, body["credential"]), post(api, body["credential"])

    assert (first.status_code, second.status_code) == (201, 200), first.content
    assert first.json()["id"] == second.json()["id"]
    assert Credential.objects.count() == 1
    shown = api.get(f"{CREDENTIALS}/{first.json()['id']}").json()
    sent, trip = body["credential"]["properties"], Authorization.objects.get()
    masked = dict.fromkeys({"access_token", "refresh_token"} & sent.keys(), "*" * 11)
    if "refresh_token_expires_at" not in sent:  # then it is the documentation's, if anybody's
        shown["properties"].pop("refresh_token_expires_at", None)
    assert shown["properties"] == sent | masked
    assert (shown["kind"], shown["oauth_app_id"]) == (provider.kind, body["credential"]["oauth_app_id"])
    assert shown["scopes"] == {"requested": trip.scopes, "granted": body.get("scope", "").split(), "missing": []}
    assert shown["health"]["status"] in {"ok", "warn"}


def test_a_reconnection_keeps_it(browser: Browser, api: Client, oauth_app: OAuthApp, network: RequestsMock) -> None:
    credential_id = post(api, exchanged(browser)["credential"]).json()["id"]
    before = api.get(f"{CREDENTIALS}/{credential_id}").json()
    body = {"redirect_url": REDIRECT_URI}
    link = api.post(f"{CREDENTIALS}/{credential_id}/reconnect", body, content_type="application/json")
    assert link.status_code == 201, link.content

    answer = exchanged(Reconnecting(browser.client, oauth_app, link.json()["start_url"]))

    posted = post(api, answer["credential"])
    assert (posted.status_code, posted.json()["id"]) == (200, credential_id)
    assert Credential.objects.count() == 1
    now = api.get(f"{CREDENTIALS}/{credential_id}").json()
    kept = ("id", "provider", "kind", "name", "oauth_app_id", "metadata", "created_at")
    assert [now[name] for name in kept] == [before[name] for name in kept]
    assert (now["scopes"]["granted"], now["scopes"]["missing"]) == (before["scopes"]["granted"], [])
    stored = Credential.objects.whole().get().token
    assert (stored.version, stored.access_token) == (2, answer["access_token"])


# ---- in the provider's own form --------------------------------------------------------------------------------------


def properties_at(slug: str, trip: Trip, endpoint: str, answer: dict[str, Any], **callback: str) -> dict[str, Any]:
    """The credential's properties, after a trip on which the provider has answered so."""
    OAuthApp.objects.update(provider=slug)
    trip.responses.post(endpoint, json={"access_token": "canary-access-token", "refresh_token": "canary"} | answer)
    state = trip.started(redirect_uri=f"https://app.example.com/callback/{slug}")["state"]
    back = trip.client.get(f"/link/oauth2/callback/{slug}", {"state": state, "code": "ac_1", **callback})
    body = trip.token(code=query_of(back["Location"])["code"]).json()
    properties: dict[str, Any] = body["credential"]["properties"]
    return properties | {"top level": body.get("scope")}


@pytest.mark.parametrize(
    ("scope", "told", "top_level"),
    [
        ("read,write", "read,write", "read write"),
        ("read write", "read write", "read write"),
        (["read", "write"], "read,write", "read write"),
        (None, "read", "read"),  # absent is as requested (RFC 6749, 5.1)
    ],
    ids=["as it was told", "told otherwise than documented", "a list", "not told"],
)
def test_the_scope_is_the_providers_own_word(trip: Trip, scope: Any, told: str, top_level: str) -> None:
    trip.responses.post(
        "https://api.linear.app/graphql",
        json={"data": {"organization": {"id": "o1", "name": "A"}, "viewer": {"id": "v1"}}},
    )

    properties = properties_at("linear", trip, "https://api.linear.app/oauth/token", {"scope": scope})

    assert (properties["scope"], properties["top level"]) == (told, top_level)


def test_a_list_of_scopes_is_told_once(trip: Trip) -> None:
    endpoint, who = (
        "https://api.hubapi.com/oauth/2026-03/token",
        {"hub_domain": "acme.example", "user": "paul@acme.example"},
    )
    trip.responses.post(f"{endpoint}/introspect", json=who)

    properties = properties_at("hubspot", trip, endpoint, {"scopes": ["oauth", "tickets"], "hub_id": 7})

    assert properties["scopes"] == ["oauth", "tickets"]
    assert "scope" not in properties
    assert properties["top level"] == "oauth tickets"


@pytest.mark.parametrize("refresh_token", ["canary", None])
def test_the_end_of_the_refresh_token_is_told(trip: Trip, refresh_token: str | None) -> None:
    endpoint = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"
    answer = {"x_refresh_token_expires_in": 8640000, "refresh_token": refresh_token}

    properties = properties_at("quickbooks", trip, endpoint, answer, realmId="4620")

    if refresh_token is None:
        assert "refresh_token_expires_at" not in properties
    else:
        left = datetime.fromisoformat(properties["refresh_token_expires_at"]) - datetime.now(tz=UTC)
        assert timedelta(days=100) - timedelta(seconds=5) < left <= timedelta(days=100)
