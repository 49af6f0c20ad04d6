"""GET /link/oauth2/start: what it refuses, and what it sends the end user away with."""

import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client, override_settings
from pytest_django import DjangoAssertNumQueries

from credentials.models import Authorization
from oauth_apps.models import Account, OAuthApp, RedirectURI
from tests.link.trip import REDIRECT_URI, START, Trip, assert_page, query_of

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def without_what_was_sent(page: bytes) -> bytes:
    """A page, less what tells requests apart: the request's id, and what it sent, in the table and the link back."""
    return re.sub(rb'Request id <code>[^<]*</code>|<td.*?</td>|href="/admin/login/[^"]*"', b"", page)


# ---- pages, never redirects ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("debug", [None, "true"])
def test_it_answers_alike_for_an_unknown_a_malformed_and_a_disabled_client(trip: Trip, debug: str | None) -> None:
    """A01"""
    OAuthApp.objects.update(enabled=False)

    disabled = trip.start(debug=debug)
    pages = [disabled, *(trip.start(client_id=sent, debug=debug) for sent in (UNKNOWN, "ca_1", "x' OR 1=1"))]

    for page in pages:
        assert_page(page)
    assert len({without_what_was_sent(page.content) for page in pages}) == 1


@pytest.mark.parametrize("spelling", ["upper", "urn", "braces", "hex", "client_id"])
def test_it_knows_an_app_by_its_canonical_id_alone(trip: Trip, spelling: str) -> None:
    """A25"""
    app_id = str(trip.oauth_app.pk)
    spelt = {
        "upper": app_id.upper(),
        "urn": f"urn:uuid:{app_id}",
        "braces": f"{{{app_id}}}",
        "hex": app_id.replace("-", ""),
        "client_id": "ca_1",
    }

    response = trip.start(client_id=spelt[spelling])

    assert_page(response)


@pytest.mark.parametrize("response_type", ["code", "token"])
@pytest.mark.parametrize(
    "redirect_uri",
    [
        None,
        "",
        "https://evil.example.com/callback/stripe",
        "https://app.example.com/callback/salesforce",
        "https://app.example.com/callback/stripe/",
        "https://app.example.com/callback/stripe?x=1",
        "https://app.example.com/callback/stripe#x",
        "https://APP.example.com/callback/stripe",
        "HTTPS://app.example.com/callback/stripe",
        "https://app.example.com:443/callback/stripe",
        "https://app.example.com./callback/stripe",
        "https://app.example.com/./callback/stripe",
        "https://app.example.com/x/../callback/stripe",
        "https://app.example.com/callback/%73tripe",
        "https://app.example.com/callback/strip\u0435",
        " https://app.example.com/callback/stripe",
        "https://app.example.com/callback/stripe\n",
        "https://user@app.example.com/callback/stripe",
        "https://app.example.com\\@evil.example.com/callback/stripe",
        "//app.example.com/callback/stripe",
    ],
)
def test_it_never_redirects_to_what_is_not_registered(trip: Trip, redirect_uri: str | None, response_type: str) -> None:
    """A02, A03, A04: whatever else is wrong."""
    response = trip.start(redirect_uri=redirect_uri, response_type=response_type, state="canary-state")

    assert_page(response, holds="redirect_uri")
    assert Authorization.objects.count() == 0


def test_it_refuses_another_accounts_redirect_uri(trip: Trip, other_account: Account) -> None:
    RedirectURI.objects.create(account=other_account, redirect_uri="https://other.example.com/callback")

    response = trip.start(redirect_uri="https://other.example.com/callback")

    assert_page(response)


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a_repeated_client_id_or_redirect_uri_is_a_page(trip: Trip, client: Client, name: str) -> None:
    """A08"""
    link = f"client_id={trip.oauth_app.pk}&redirect_uri={REDIRECT_URI}"
    value = str(trip.oauth_app.pk) if name == "client_id" else REDIRECT_URI

    response = client.get(f"{START}?{link}&{name}={value}")

    assert_page(response)


@pytest.mark.parametrize("path", [START, f"{START}/"])
def test_a_foreign_host_gets_nothing(trip: Trip, client: Client, path: str) -> None:
    """A20"""
    response = client.get(path, {"client_id": str(trip.oauth_app.pk)}, headers={"host": "evil.example.com"})

    assert response.status_code == 400
    assert b"evil.example.com" not in response.content


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch", "options", "trace"])
def test_only_get_starts_a_trip(trip: Trip, method: str) -> None:
    """A24"""
    browser = Client(enforce_csrf_checks=True)

    response = getattr(browser, method)(f"{START}?client_id={trip.oauth_app.pk}&redirect_uri={REDIRECT_URI}")

    assert response.status_code == 405
    assert response["Cache-Control"] == "no-store"
    assert response["Referrer-Policy"] == "no-referrer"
    assert Authorization.objects.count() == 0


@pytest.mark.parametrize("header", ["Sec-Purpose", "Purpose"])
def test_looking_at_a_link_begins_no_trip(trip: Trip, client: Client, header: str) -> None:
    """A24"""
    link = {"client_id": str(trip.oauth_app.pk), "redirect_uri": REDIRECT_URI}

    head = client.head(START, link)
    prefetched = client.get(START, link, headers={header: "prefetch;prerender"})

    assert (head.status_code, prefetched.status_code) == (204, 204)
    assert Authorization.objects.count() == 0
    assert not prefetched.cookies


# ---- faults that the developer is told -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"request_uri": "https://evil.example.com/r"}, "request_uri_not_supported"),
        ({"code_challenge": "a" * 43}, "invalid_request"),
        ({"code_challenge": "a" * 43, "code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "a" * 42, "code_challenge_method": "S256"}, "invalid_request"),
        ({"code_challenge_method": "S256"}, "invalid_request"),
        ({"scope": 'read"write'}, "invalid_scope"),
        ({"scope": "read\nSet-Cookie: x=1"}, "invalid_scope"),
        ({"scope": "r\u00e9ad"}, "invalid_scope"),
        ({"scope": "a" * 4097}, "invalid_scope"),
    ],
)
def test_it_tells_the_developer_what_is_wrong(trip: Trip, params: dict[str, str], error: str) -> None:
    """A12, A14, A15, C06"""
    response = trip.start(state="s1", **params)

    assert response.status_code == 302
    assert response["Location"].startswith(f"{REDIRECT_URI}?")
    answer = query_of(response["Location"])
    assert (answer["error"], answer["state"]) == (error, "s1")
    assert answer.keys() == {"error", "error_description", "state"}
    assert Authorization.objects.count() == 0


def test_a_state_that_is_too_long_is_refused_at_once_and_not_echoed(trip: Trip) -> None:
    """A09"""
    response = trip.start(state="s" * 2049)

    answer = query_of(response["Location"])
    assert answer.keys() == {"error", "error_description"}
    assert answer["error"] == "invalid_request"


@pytest.mark.parametrize("name", ["state", "scope", "response_type", "code_challenge", "debug"])
def test_a_repeated_parameter_is_told(trip: Trip, client: Client, name: str) -> None:
    """A08"""
    link = f"client_id={trip.oauth_app.pk}&redirect_uri={REDIRECT_URI}&{name}=code&{name}=code"

    response = client.get(f"{START}?{link}")

    assert response.status_code == 302
    assert query_of(response["Location"])["error"] == "invalid_request"


def test_a_disabled_sandbox_starts_no_sandbox_trip(trip: Trip) -> None:
    OAuthApp.objects.update(environment="sandbox")

    with override_settings(SANDBOX=False):
        response = trip.start()

    assert query_of(response["Location"])["error"] == "server_error"


# ---- the trip begins -------------------------------------------------------------------------------------------------


def test_it_sends_the_end_user_to_the_provider(trip: Trip) -> None:
    response = trip.start(state="developer-state", scope="read_only", shop="ignored", prompt="none")

    assert response.status_code == 302
    assert response["Location"].startswith("https://connect.stripe.com/oauth/authorize?")
    sent = query_of(response["Location"])
    state = sent.pop("state")
    assert sent == {
        "client_id": "ca_1",
        "redirect_uri": f"{settings.PUBLIC_URL}/link/oauth2/callback/stripe",
        "response_type": "code",
        "scope": "read_only",
    }
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", state)
    assert response["Cache-Control"] == "no-store"
    assert response["Referrer-Policy"] == "no-referrer"


def test_no_two_trips_share_a_state(trip: Trip) -> None:
    """A19"""
    states = {trip.started(state="developer-state")["state"] for _ in range(20)}

    assert len(states) == 20
    assert not any("developer-state" in state for state in states)


def test_the_literal_token_may_be_sent(trip: Trip) -> None:
    response = trip.start(redirect_uri="https://app.example.com/callback/:provider")

    assert response.status_code == 302
    assert Authorization.objects.get().redirect_uri == REDIRECT_URI


def test_no_header_of_the_request_changes_a_url(trip: Trip, client: Client) -> None:
    """A20"""
    response = client.get(
        START,
        {"client_id": str(trip.oauth_app.pk), "redirect_uri": REDIRECT_URI},
        headers={
            "X-Forwarded-Host": "evil.example.com",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Port": "1",
            "Forwarded": "host=evil.example.com",
            "Origin": "https://evil.example.com",
        },
    )

    assert query_of(response["Location"])["redirect_uri"] == "http://127.0.0.1:8000/link/oauth2/callback/stripe"


def test_it_asks_for_the_apps_own_scopes_unless_the_link_names_some(trip: Trip) -> None:
    OAuthApp.objects.update(default_scopes=["read_only"])

    assert trip.started()["scope"] == "read_only"
    assert trip.started(scope="read_write,read_only")["scope"] == "read_write read_only"


def test_each_trip_has_a_cookie_of_its_own(trip: Trip, client: Client) -> None:
    """B23, H03"""
    trip.start()
    trip.start()

    cookies = [morsel for name, morsel in client.cookies.items() if name.startswith("link_")]
    assert len(cookies) == 2
    for cookie in cookies:
        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"
        assert cookie["max-age"] == settings.STATE_TTL
        assert cookie["path"] == "/"
        assert not cookie["secure"]  # plain http on loopback


def test_the_oldest_of_many_cookies_gives_way(trip: Trip, client: Client) -> None:
    for _ in range(25):
        trip.start()

    assert len([name for name, morsel in client.cookies.items() if name.startswith("link_") and morsel.value]) <= 20


def test_nothing_that_is_kept_opens_the_trip(trip: Trip, client: Client) -> None:
    """C14, E01: state, cookie and developer's state are hashed or sealed."""
    sent = trip.started(state="canary-developer-state")

    row = str(list(Authorization.objects.values()))
    nonce = next(morsel.value for name, morsel in client.cookies.items() if name.startswith("link_")).partition(".")[2]
    assert sent["state"] not in row
    assert nonce not in row
    assert "canary-developer-state" not in row


def test_it_takes_two_statements(trip: Trip, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(2):
        trip.start(state="s1")


def test_the_state_expires(trip: Trip) -> None:
    trip.start()

    authorization = Authorization.objects.get()
    assert authorization.expires_at - authorization.created_at <= timedelta(
        seconds=settings.STATE_TTL, milliseconds=100
    )


def test_a_url_has_an_end(trip: Trip, client: Client) -> None:
    """I02: a scope of 4,096 characters fits in; what is longer than 8 KiB does not"""
    fits = trip.start(scope="a" * 4096)
    too_long = client.get(START, {"client_id": str(trip.oauth_app.pk), "state": "s" * 9000})

    assert fits.status_code == 302
    assert too_long.status_code == 414
