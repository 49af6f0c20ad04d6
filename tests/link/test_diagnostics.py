"""debug=true: what the developer is told, and what nobody is told."""

import re
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client

from credentials.link.redirect_uri_marks import differences
from credentials.models import Authorization
from oauth_apps.models import Account, Membership, OAuthApp, RedirectURI
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
        assert page.content.count(b"<img") <= 2  # the provider's logo, and our mark
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


# ---- for whoever is signed in to the console -------------------------------------------------------------------------


def signed_in(*accounts: Account, is_staff: bool = True, is_active: bool = True, is_superuser: bool = False) -> Client:
    """A developer who is a member of those accounts."""
    user = User.objects.create_user(
        "paul", password="x", is_staff=is_staff, is_active=is_active, is_superuser=is_superuser
    )
    for account in accounts:
        Membership.objects.create(account=account, user=user)
    client = Client()
    client.force_login(user)
    return client


def refused(client: Client, trip: Trip, **params: str) -> str:
    link = {"client_id": str(trip.oauth_app.pk), "redirect_uri": REDIRECT_URI, "debug": "true", **params}
    response = client.get("/link/oauth2/start", link)
    assert_page(response)
    return response.content.decode()


@pytest.mark.parametrize("who", ["nobody", "of another account", "no member of the staff", "disabled"])
def test_nobody_else_sees_what_is_registered(trip: Trip, other_account: Account, who: str) -> None:
    """A17"""
    clients: dict[str, Callable[[], Client]] = {
        "nobody": Client,
        "of another account": lambda: signed_in(other_account),
        "no member of the staff": lambda: signed_in(trip.oauth_app.account, is_staff=False),
        "disabled": lambda: signed_in(trip.oauth_app.account, is_active=False),
    }
    RedirectURI.objects.create(account=trip.oauth_app.account, redirect_uri="https://hidden.example.com/callback")

    page = refused(clients[who](), trip, redirect_uri="https://hidden.example.com/callbac")

    assert "hidden.example.com/callback<" not in page
    assert "<del>" not in page
    assert "<ins>" not in page
    assert "Arrakis" not in page
    assert "/admin/oauth_apps/redirecturi/add/" not in page


def test_a_member_sees_the_difference_character_by_character(trip: Trip) -> None:
    client = signed_in(trip.oauth_app.account)
    RedirectURI.objects.create(account=trip.oauth_app.account, redirect_uri="https://other.example.com/x")

    page = refused(client, trip, redirect_uri=f"{REDIRECT_URI}/")

    assert "https://app.example.com/callback/stripe<ins>/</ins></code>" in page
    assert "There is a slash at the end that is not registered." in page
    assert "https://other.example.com/x" not in page
    add = f"/admin/oauth_apps/redirecturi/add/?{urlencode({'redirect_uri': REDIRECT_URI + '/'})}"
    assert f'<a class="button" href="{add}">Register this redirect URI</a>' in page
    assert "/admin/login/" not in page


def test_a_superuser_sees_it_too(trip: Trip) -> None:
    client = signed_in(is_superuser=True)

    assert "stripe<ins>/</ins>" in refused(client, trip, redirect_uri=f"{REDIRECT_URI}/")


def test_without_any_registered_one_it_says_so(trip: Trip) -> None:
    RedirectURI.objects.all().delete()

    page = refused(signed_in(trip.oauth_app.account), trip)

    assert "Your account has not registered any redirect URI yet." in page
    assert "Register this redirect URI" in page


def test_whoever_is_not_signed_in_may_sign_in_and_come_back(trip: Trip) -> None:
    page = refused(Client(), trip, redirect_uri="https://app.example.com/", client_secret="canary-secret")

    found = re.search(r'href="(/admin/login/\?[^"]+)"', page)
    assert found
    back = query_of(query_of(found[1].replace("&amp;", "&"))["next"])
    assert back["redirect_uri"] == "https://app.example.com/"
    assert "canary" not in found[1]


@pytest.mark.parametrize(
    ("sent", "marked", "words"),
    [
        ("https://App.example.com/in", "https://<mark>A</mark>pp.example.com/in", "capital letters"),
        ("http://app.example.com/in", "<mark>http</mark>://app.example.com/in", "not with https"),
        ("https://app.example.com/in/", "https://app.example.com/in<mark>/</mark>", "slash at the end"),
        ("https://app.example.com./in", "https://app.example.com<mark>.</mark>/in", "dot behind the host"),
        ("https://app.example.com/in%2Fhere", "in<mark>%2F</mark>here", "percent-encoded"),
        ("https://app.example.com/in#x", "in<mark>#x</mark>", "fragment"),
        ("https://app.example.com/caf\u00e9", "caf<mark>\u00e9</mark>", "not ASCII"),
        ("https://app.example.com/in ", "in<mark> </mark>", "space"),
        ("https://app.example.com:443/in", "com<mark>:443</mark>/in", "goes without saying"),
        ("https://me@app.example.com/in", "<mark>me@app.example.com</mark>", "user name"),
        ("https://app.example.com/a//b/../c", "a<mark>//</mark>b<mark>/..</mark>/c", "empty step"),
        ("https://app.example.com\\in", "com<mark>\\</mark>in", "backslash"),
        ("app.example.com/in", "<mark>app.example.com/in</mark>", "no absolute address"),
    ],
)
def test_what_is_odd_in_itself_is_marked_for_everybody(trip: Trip, sent: str, marked: str, words: str) -> None:
    page = refused(Client(), trip, redirect_uri=sent)

    assert marked in page
    assert words in page


@pytest.mark.parametrize(
    ("sent", "registered", "words"),
    [
        ("https://a.example.com/IN", "https://a.example.com/in", ["Only upper and lower case differ."]),
        (" https://a.example.com/in", "https://a.example.com/in",
         ["There is a space or a line break around the one that was sent."]),
        ("http://a.example.com/in", "https://a.example.com/in", ["It begins with http; https is registered."]),
        ("https://a.example.com/in", "https://a.example.com/in/", ["The slash at the end is missing."]),
        ("http://localhost:3000/in", "http://127.0.0.1:3000/in",
         ["localhost and 127.0.0.1 are two different hosts here."]),
        ("http://localhost:3001/in", "http://localhost:3000/in",
         ["The port differs: 3001 was sent, 3000 is registered."]),
        ("https://b.example.com/out?x=1#y", "https://a.example.com/in",
         ["The host differs.", "The path differs.", "What stands behind the question mark differs.",
          "The one that was sent has a fragment (#\u2026)."]),
        ("https://A.example.com/out/", "https://a.example.com/in",
         ["In the host, upper and lower case differ.", "The path differs, and there is a slash at the end."]),
        ("https://[", "https://a.example.com/in", ["The one that was sent is no address."]),
    ],
)  # fmt: skip
def test_differences_are_said_in_words(sent: str, registered: str, words: list[str]) -> None:
    found = differences(sent, registered)

    assert found.words == words
    assert "".join(piece.text for piece in found.pieces if piece.kind != "removed") == sent
    assert "".join(piece.text for piece in found.pieces if piece.kind != "added") == registered


@pytest.mark.parametrize("added", ["/", " "])
def test_what_differs_is_told_once(trip: Trip, added: str) -> None:
    page = refused(signed_in(trip.oauth_app.account), trip, redirect_uri=f"{REDIRECT_URI}{added}")

    words = re.findall(r"There is a (?:slash|space)[^<]*", page)
    assert len(words) == 1, words
    assert "<mark>" in page


def test_what_is_odd_beside_the_difference_is_told_still(trip: Trip) -> None:
    page = refused(signed_in(trip.oauth_app.account), trip, redirect_uri=f"{REDIRECT_URI}%2F/")

    assert "A part of it is percent-encoded" in page
    assert "There is a slash at the end of the path." not in page


@pytest.mark.parametrize(
    ("sent", "heading"),
    [
        (None, "The redirect_uri of this link is missing."),
        ("", "The redirect_uri of this link is missing."),
        ([REDIRECT_URI, REDIRECT_URI], "The redirect_uri of this link is repeated."),
        ("https://app.example.com/", "The redirect_uri of this link is not registered."),
    ],
)
def test_it_tells_a_missing_redirect_uri_from_an_unknown_one(trip: Trip, sent: object, heading: str) -> None:
    page, without = trip.start(redirect_uri=sent, debug="true"), trip.start(redirect_uri=sent)

    assert_page(page, holds=f"<h1>{heading}</h1>")
    assert ("it has no redirect_uri, or an empty one" in page.content.decode()) == ("missing" in heading)
    assert ("Sign in to" in page.content.decode()) == ("missing" not in heading)
    assert_page(without, holds="This link leads back to an unknown address")
    assert "missing" not in without.content.decode()


@pytest.mark.parametrize("error", ["server_error", "temporarily_unavailable"])
def test_a_provider_that_says_itself_that_it_is_down_is_no_fault_of_the_settings(trip: Trip, error: str) -> None:
    response = trip.callback(state=trip.started(debug="true")["state"], error=error)

    assert_page(response, holds="Start again in a few minutes.")


def test_our_own_callback_url_is_taken_for_the_redirect_uri(trip: Trip) -> None:
    assert "That is the callback URL of this gateway" in refused(Client(), trip, redirect_uri=CALLBACK_URL)


def test_what_became_of_an_app_only_its_account_is_told(trip: Trip, other_account: Account) -> None:
    """A01"""
    OAuthApp.objects.update(enabled=False)
    mine = signed_in(trip.oauth_app.account)
    user = User.objects.create_user("vladimir", is_staff=True)
    Membership.objects.create(account=other_account, user=user)
    theirs = Client()
    theirs.force_login(user)
    unknown = "00000000-0000-4000-8000-000000000000"

    assert "Your OAuth app “Stripe” is disabled." in refused(mine, trip)
    assert "No OAuth app of your accounts has this id." in refused(mine, trip, client_id=unknown)
    assert "No OAuth app of your accounts has this id." in refused(theirs, trip)
    assert "is disabled" not in refused(theirs, trip)
    assert "of your accounts" not in refused(Client(), trip)


# ---- what the catalogue knows ----------------------------------------------------------------------------------------


def test_the_cause_differs_by_provider(trip: Trip, account: Account) -> None:
    linear = OAuthApp.objects.create(account=account, provider="linear", name="L", client_id="l", client_secret="x")

    stripe = refused(Client(), trip, scope='a"b')
    theirs = {"client_id": str(linear.pk), "redirect_uri": REDIRECT_URI.replace("stripe", "linear")}
    other = refused(Client(), trip, scope='a"b', **theirs)

    assert "Scopes of Stripe, for example: read_only, read_write." in stripe
    assert "Linear separates scopes by “,”. That is done for you: send spaces." in other
    assert "separates scopes by" not in stripe


def test_a_wrong_secret_shows_the_providers_steps(trip: Trip) -> None:
    trip.responses.post(TOKEN_ENDPOINT, status=401, json={"error": "invalid_client"})

    page = trip.callback(state=trip.started(debug="true")["state"], code="ac_1").content.decode()

    assert "Its setup says: “Take the secret API key of the same mode as the client secret.”" in page
    assert f"callback URL ({CALLBACK_URL})" in page


def test_each_parameter_has_its_verdict_and_why(trip: Trip) -> None:
    page = refused(Client(), trip, response_type="token", surprise="1")

    assert '<span class="verdict problem">✗ problem</span> The response_type must be code.' in page
    assert '<span class="verdict ignored">ignored</span> Not known here, and not sent on.' in page
    assert '<span class="verdict ok">✓ ok</span>' in page
