"""debug=true: what the developer is told, and what nobody is told."""

import pytest
from django.test import Client

from credentials.models import Authorization
from oauth_apps.models import OAuthApp, RedirectURI
from tests.link.trip import REDIRECT_URI, TOKEN_ENDPOINT, Trip, assert_page, query_of

CALLBACK_URL = "http://127.0.0.1:8000/link/oauth2/callback/stripe"


@pytest.mark.parametrize("debug", ["yes", "TRUE", "0", "false", ""])
def test_nothing_else_is_debug(trip: Trip, debug: str) -> None:
    """A17"""
    response = trip.start(debug=debug, response_type="token")

    assert response.status_code == 302


def test_it_names_no_registered_uri_no_account_and_no_secret(trip: Trip) -> None:
    """A17"""
    RedirectURI.objects.create(account=trip.oauth_app.account, redirect_uri="https://hidden.example.com/callback")

    response = trip.start(redirect_uri="https://app.example.com/other", debug="true")

    page = response.content.decode()
    assert_page(response, holds="https://app.example.com/other")
    for hidden in ("hidden.example.com", "callback/:provider", "Arrakis", "canary-client-secret"):
        assert hidden not in page
    assert Authorization.objects.count() == 0


@pytest.mark.parametrize("name", ["client_secret", "code", "access_token", "api_key", "password"])
def test_a_secret_that_has_no_place_in_a_link_is_not_repeated(trip: Trip, name: str) -> None:
    """A17"""
    page = trip.start(response_type="token", debug="true", **{name: "canary-of-a-secret"})

    assert_page(page, holds=f"<code>{name}</code>")
    assert b"canary-of-a-secret" not in page.content


@pytest.mark.parametrize("debug", ["true", "1"])
def test_it_explains_an_unregistered_redirect_uri(trip: Trip, debug: str) -> None:
    response = trip.start(redirect_uri="https://app.example.com/callback/stripe/", debug=debug, state="s1")

    assert_page(response, holds="byte by byte")
    page = response.content.decode()
    assert CALLBACK_URL in page
    assert "https://connect.stripe.com/oauth/authorize?" in page
    assert "state=not-a-state" in page
    assert "problem" in page


def test_it_explains_a_fault_that_would_have_travelled(trip: Trip) -> None:
    response = trip.start(debug="true", state="s1", code_challenge="a" * 43)

    assert_page(response, holds="code_challenge_method=S256")
    assert f"{REDIRECT_URI}?error=invalid_request" in response.content.decode().replace("&amp;", "&")


def test_what_is_reflected_is_escaped(trip: Trip) -> None:
    """A16"""
    attack = '"><script>alert(1)</script><img src=x onerror=alert(1)>'

    pages = [
        trip.start(redirect_uri=attack, state=attack, scope=attack, debug="true", **{attack: attack}),
        trip.start(client_id=attack, debug="true"),
    ]

    for page in pages:
        assert_page(page)
        assert b"<script" not in page.content
        assert b"<img src=x" not in page.content
        assert page.content.count(b"<img") <= 1  # the provider's logo
        policy = page["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert page["X-Frame-Options"] == "DENY"


def test_a_sound_request_is_not_changed_by_it(trip: Trip) -> None:
    response = trip.start(debug="true", state="s1")

    assert response.status_code == 302
    assert "debug" not in query_of(response["Location"])


def test_the_providers_refusal_is_explained_in_the_browser(trip: Trip) -> None:
    trip.responses.post(
        TOKEN_ENDPOINT, status=401, json={"error": "invalid_client", "error_description": "canary of the provider"}
    )
    state = trip.started(debug="true", state="s1")["state"]

    response = trip.callback(state=state, code="ac_1")

    assert_page(response, holds="client secret")
    page = response.content.decode()
    assert "canary of the provider" not in page
    assert CALLBACK_URL in page
    assert f"{REDIRECT_URI}?error=server_error" in page.replace("&amp;", "&")


def test_without_debug_the_browser_goes_back(trip: Trip) -> None:
    response = trip.callback(state=trip.started(state="s1")["state"], error="access_denied")

    assert response.status_code == 302


def test_the_pages_fetch_nothing_from_elsewhere(trip: Trip, client: Client) -> None:
    """A22"""
    OAuthApp.objects.update(enabled=False)

    page = trip.start().content.decode()

    assert "http://" not in page
    assert "https://" not in page
