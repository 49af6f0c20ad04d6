"""Some providers of the catalogue in depth, from the start link to a refresh, against the simulator of each.

Which, and why these, says in_depth.py; every provider makes its trip in test_every_trip.py. What the simulator does is
written from the provider's documentation, so a wrong entry of the catalogue fails here.
"""

from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.test import Client
from django.utils import timezone
from responses import RequestsMock

from credentials.models import Authorization
from oauth_apps import health
from oauth_apps.models import Account, HealthStatus, OAuthApp, RedirectURI
from providers import catalogue, identity, oauth2
from providers.errors import TokenRequestRejected
from providers.provider import Provider
from providers.sandbox import script
from providers.tokens import lifetime, missing_scopes, refresh_token_expires_in
from tests.providers.in_depth import IN_DEPTH
from tests.providers.trip import REDIRECT_URI, Browser, sandbox_app

SLUGS = IN_DEPTH
REFRESHING = [slug for slug in SLUGS if script.load()[slug].script.refresh.policy != "none"]
ANSWERING_SCOPES = [slug for slug in SLUGS if "{scope" in str(script.load()[slug].script.answer)]
# Those whose answer to a refresh holds who it is; what is missing here was asked at the trip alone
TELLING_TWICE = ["apple", "google", "hubspot", "microsoft", "notion", "salesforce", "stripe", "xero"]
TELLING_THE_END = ["airtable", "github", "quickbooks", "shopify", "zendesk"]
QUICKBOOKS_SAYS = 101 * 86_400  # where its documentation says 100 days
SCOPES = {"stripe": "read_only read_write"}
WITH_PLAIN_SECRET = [slug for slug in SLUGS if not catalogue.get(slug).client_secret_from]


@pytest.fixture(params=SLUGS)
def provider(request: pytest.FixtureRequest) -> Provider:
    return catalogue.get(request.param)


@pytest.fixture
def oauth_app(account: Account, provider: Provider) -> OAuthApp:
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    return sandbox_app(account, provider)


@pytest.fixture
def browser(client: Client, oauth_app: OAuthApp, network: RequestsMock) -> Browser:
    return Browser(client, oauth_app)


def test_the_whole_trip(browser: Browser, provider: Provider) -> None:
    arrived = browser.chooses("approve")
    assert arrived.keys() == {"code", "state"}, arrived

    answer = browser.token(code=arrived["code"])
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert body["state"] == "s1"
    assert body["token_type"] == "Bearer"
    assert None not in body.values()
    properties = body["credential"]["properties"]
    assert properties["kind"] == provider.kind
    required = {name for name, prop in provider.credential.items() if prop.required}
    assert required <= properties.keys()

    if provider.slug not in REFRESHING:
        assert "refresh_token" not in body
        return
    refreshed = browser.token(grant_type="refresh_token", refresh_token=body["refresh_token"])
    assert refreshed.status_code == 200, refreshed.content
    rotated = refreshed.json()["refresh_token"] != body["refresh_token"]
    assert rotated or provider.refresh_token_rotates != "always"
    if provider.refresh_token_rotates == "never":  # the old one stays good, also where a new one comes
        again = browser.token(grant_type="refresh_token", refresh_token=body["refresh_token"])
        assert again.status_code == 200, again.content


@pytest.mark.parametrize("provider", ANSWERING_SCOPES, indirect=True)
def test_nothing_is_missing_of_what_was_approved_and_something_of_fewer(browser: Browser, provider: Provider) -> None:
    scopes = " ".join([*provider.required_scopes, SCOPES.get(provider.slug, "alpha beta")])

    all_of_it = browser.token(code=browser.chooses("approve", scope=scopes)["code"]).json()["scope"]
    fewer = browser.token(code=browser.chooses("approve_fewer", scope=scopes)["code"]).json()["scope"]

    requested = Authorization.objects.latest("created_at").scopes
    assert requested == scopes.split()
    assert missing_scopes(provider, requested, all_of_it.split()) == []
    assert missing_scopes(provider, requested, fewer.split()) == [requested[-1]]


@pytest.mark.parametrize("provider", SLUGS, indirect=True)
def test_nothing_is_missing_of_the_default_scopes(browser: Browser, provider: Provider) -> None:
    granted = browser.token(code=browser.chooses("approve")["code"]).json().get("scope", "")

    requested = Authorization.objects.get().scopes
    assert missing_scopes(provider, requested, granted.split()) == []


@pytest.mark.parametrize("provider", ["salesforce"], indirect=True)
def test_a_provider_that_keeps_the_lifetime_to_itself_can_be_asked(
    browser: Browser, provider: Provider, oauth_app: OAuthApp
) -> None:
    bound = provider.bound(oauth_app.variables, sandbox_url=oauth_app.sandbox_url)
    client = oauth_app.client(oauth_app.variables)
    access_token = browser.token(code=browser.chooses("short_lived")["code"]).json()["access_token"]

    expires_at = oauth2.introspect(bound, client, access_token)
    with time_machine.travel(timezone.now() + timedelta(seconds=61)), pytest.raises(TokenRequestRejected) as caught:
        oauth2.introspect(bound, client, access_token)

    assert expires_at is not None
    assert 50 < expires_at - timezone.now().timestamp() <= 60
    assert caught.value.reason == "invalid_token"


@pytest.mark.parametrize("provider", TELLING_TWICE, indirect=True)
def test_a_refresh_tells_the_same_identity_again(browser: Browser, provider: Provider, oauth_app: OAuthApp) -> None:
    body = browser.token(code=browser.chooses("approve")["code"]).json()
    bound = provider.bound(oauth_app.variables, sandbox_url=oauth_app.sandbox_url)
    client = oauth_app.client(oauth_app.variables)

    told = identity.told_again(provider, oauth2.refresh(bound, client, body["refresh_token"]))

    assert told
    assert told.items() <= body["credential"]["properties"].items()


@pytest.mark.parametrize("provider", TELLING_THE_END, indirect=True)
def test_the_end_of_a_refresh_token_is_read_where_it_is_told(
    browser: Browser, provider: Provider, oauth_app: OAuthApp
) -> None:
    body = browser.token(code=browser.chooses("rotating")["code"]).json()
    bound = provider.bound(oauth_app.variables, sandbox_url=oauth_app.sandbox_url)
    tokens = oauth2.refresh(bound, oauth_app.client(oauth_app.variables), body["refresh_token"])

    documented = provider.refresh_token_lifetime
    assert documented is not None
    assert refresh_token_expires_in(provider, tokens) in {documented.idle, QUICKBOOKS_SAYS}
    assert lifetime(tokens)[1] == "expires_in"


def test_denial_is_told_in_rfc_6749s_words(browser: Browser) -> None:
    arrived = browser.chooses("deny")

    assert (arrived["error"], arrived["state"]) == ("access_denied", "s1")


def test_a_provider_that_fails_is_told(browser: Browser) -> None:
    arrived = browser.chooses("provider_error")

    assert arrived["error"] in {"server_error", "temporarily_unavailable"}
    assert not Authorization.objects.filter(tokens__isnull=False).exists()


@pytest.mark.parametrize("provider", REFRESHING, indirect=True)
def test_a_refresh_that_fails_is_invalid_grant(browser: Browser) -> None:
    arrived = browser.chooses("refresh_fails")
    body = browser.token(code=arrived["code"]).json()

    refused = browser.token(grant_type="refresh_token", refresh_token=body["refresh_token"])

    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


def test_a_check_tells_a_sound_client_from_a_wrong_one(
    account: Account, provider: Provider, network: RequestsMock
) -> None:
    sound = sandbox_app(account, provider)
    unknown = sandbox_app(account, provider, client_id="unknown-1")

    health.check(sound)
    health.check(unknown)

    assert (sound.health_status, sound.health_notes) == (HealthStatus.OK, [])
    assert unknown.health_status == HealthStatus.ERROR


@pytest.mark.parametrize("provider", WITH_PLAIN_SECRET, indirect=True)
def test_a_wrong_secret_is_found_at_the_exchange(browser: Browser, oauth_app: OAuthApp) -> None:
    oauth_app.client_secret = "wrong-secret"
    oauth_app.save()

    arrived = browser.chooses("approve")

    assert arrived["error"] == "server_error"
    oauth_app.refresh_from_db()
    assert oauth_app.health_status != HealthStatus.OK
    assert "secret" in oauth_app.health_notes[0]


@pytest.mark.parametrize("provider", ["zendesk", "shopify"], indirect=True)
def test_a_refresh_token_is_no_bearer(browser: Browser, provider: Provider, oauth_app: OAuthApp) -> None:
    """Where a revocation is authorized by the token itself, the simulator takes the access token alone."""
    body = browser.token(code=browser.chooses("approve")["code"]).json()
    bound = provider.bound(oauth_app.variables, sandbox_url=oauth_app.sandbox_url)
    path = bound.revocation_endpoint.removeprefix(settings.PUBLIC_URL)

    statuses = [
        Client().delete(path, headers=oauth2.api_authorization(provider, body[token])[0]).status_code
        for token in ("refresh_token", "access_token")
    ]

    assert statuses[0] == 401
    assert statuses[1] in {200, 204}
