"""The page of ours that asks first, where the OAuth app wants it: before it is agreed to, nothing has begun."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from responses import RequestsMock

from credentials.link import start_links
from credentials.models import Authorization, End, StartLink
from oauth_apps.models import Account, OAuthApp, RedirectURI
from tests.link.reconnection import Reconnection, salesforce_app, salesforce_credential
from tests.link.trip import REDIRECT_URI, START, Trip, assert_page, query_of

CONTINUE = "/link/oauth2/continue"
HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')


@pytest.fixture(autouse=True)
def asking(trip: Trip) -> None:
    OAuthApp.objects.update(asks_first=True, purpose="To show your payouts in <Arrakis>.")


def browser() -> Client:
    """One that is asked for the CSRF token, as real ones are."""
    return Client(enforce_csrf_checks=True)


def asked(client: Client, path: str, params: dict[str, str] | None = None) -> str:
    response = client.get(path, params or {})
    assert response.status_code == 200, response
    return response.content.decode()


def form_of(page: str) -> dict[str, str]:
    """What the form of the page would send."""
    fields = {name: value.replace("&amp;", "&") for name, value in HIDDEN.findall(page)}
    assert fields.keys() == {"csrfmiddlewaretoken", "query", "link"}
    return fields


def link(trip: Trip, **params: str) -> dict[str, str]:
    return {"client_id": str(trip.oauth_app.pk), "redirect_uri": REDIRECT_URI, "state": "s1", **params}


def provider_of(onward: Any) -> str:
    """Where the page that moves on by itself leads."""
    assert onward.status_code == 200, onward
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', onward.content.decode())
    assert found
    return found[1].replace("&amp;", "&")


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_the_page_begins_nothing(trip: Trip) -> None:
    """B24"""
    page = asked(trip.client, START, link(trip))

    assert Authorization.objects.count() == 0
    assert not [name for name in trip.client.cookies if name.startswith("link_")]
    assert "connect.stripe.com" not in page


def test_going_on_takes_a_post(trip: Trip) -> None:
    """B24"""
    assert trip.client.get(CONTINUE, {"query": "x"}).status_code == 405
    assert trip.client.head(CONTINUE).status_code == 405


def test_going_on_takes_the_pages_own_csrf_token(trip: Trip) -> None:
    """B24"""
    client = browser()
    form = form_of(asked(client, START, link(trip)))

    without = client.post(CONTINUE, {"query": form["query"], "link": ""})
    forged = client.post(CONTINUE, form | {"csrfmiddlewaretoken": "x" * 64})
    elsewhere = browser().post(CONTINUE, form)

    assert [answer.status_code for answer in (without, forged, elsewhere)] == [403, 403, 403]
    assert "This form cannot be sent from here" in forged.content.decode()
    assert Authorization.objects.count() == 0


@pytest.mark.parametrize("how", ["HEAD", "prefetch"])
def test_looking_at_it_does_nothing(trip: Trip, how: str) -> None:
    """A24"""
    if how == "HEAD":
        response = trip.client.head(START, link(trip))
    else:
        response = trip.client.get(START, link(trip), headers={"Sec-Purpose": "prefetch"})

    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"client_id": "00000000-0000-4000-8000-000000000000"}, "invalid_client"),
        ({"redirect_uri": "https://evil.example.com/"}, "invalid_redirect_uri"),
    ],
)
def test_what_the_form_brings_back_is_judged_again(trip: Trip, changed: dict[str, str], code: str) -> None:
    """A02: it is as untrusted as a link"""
    form = form_of(asked(trip.client, START, link(trip)))
    query = "&".join(f"{name}={value}" for name, value in (link(trip) | changed).items())

    assert_page(trip.client.post(CONTINUE, form | {"query": query}), holds=code)
    assert Authorization.objects.count() == 0


def test_a_redirect_uri_that_is_removed_meanwhile_leads_nowhere(trip: Trip) -> None:
    """A07"""
    form = form_of(asked(trip.client, START, link(trip)))
    RedirectURI.objects.all().delete()

    assert_page(trip.client.post(CONTINUE, form), holds="invalid_redirect_uri")


def test_a_fault_is_told_before_anybody_is_asked(trip: Trip) -> None:
    response = trip.client.get(START, link(trip, response_type="token"))

    assert response.status_code == 302
    assert query_of(response["Location"])["error"] == "unsupported_response_type"


def test_a_fault_that_the_form_brings_goes_back_by_a_page(trip: Trip) -> None:
    """A redirect to another origin would be blocked by `form-action`."""
    form = form_of(asked(trip.client, START, link(trip)))

    answer = trip.client.post(CONTINUE, form | {"query": f"{form['query']}&response_type=token"})

    back = provider_of(answer)
    assert back.startswith(REDIRECT_URI)
    assert (query_of(back)["error"], query_of(back)["state"]) == ("unsupported_response_type", "s1")


@pytest.mark.parametrize("token", ["A" * 43, "../../admin", "\x00" * 43, "A" * 5000])
def test_a_start_link_that_is_none_is_a_page(trip: Trip, token: str) -> None:
    form = form_of(asked(trip.client, START, link(trip)))

    assert_page(trip.client.post(CONTINUE, form | {"link": token}), holds="link_expired")


def test_an_empty_form_is_a_page(trip: Trip) -> None:
    assert_page(trip.client.post(CONTINUE), holds="invalid_client")


# ---- the page --------------------------------------------------------------------------------------------------------


def test_it_says_who_asks_for_what_and_why(trip: Trip) -> None:
    page = asked(trip.client, START, link(trip, scope="read_only canary_scope"))

    assert "Arrakis wants to connect your Stripe account" in page
    assert "by its app “Stripe”" in page
    assert "To show your payouts in &lt;Arrakis&gt;." in page
    assert "See all of the account&#x27;s data." in page
    assert "<code>canary_scope</code>" in page
    assert "This gateway at 127.0.0.1:8000 stores the access encrypted on its behalf" in page
    assert "Continue to Stripe" in page


def test_what_the_link_says_is_escaped(trip: Trip) -> None:
    """A16"""
    attack = '"><script>alert(1)</script>'
    Account.objects.update(name=attack)

    page = asked(trip.client, START, link(trip, state=attack, surprise=attack))

    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; wants to connect" in page


def test_its_form_may_be_posted_here_with_an_origin(trip: Trip) -> None:
    """With `no-referrer` a browser says `Origin: null`, which Django refuses. No other site is told anything."""
    response = trip.client.get(START, link(trip))

    assert '<meta name="referrer" content="same-origin">' in response.content.decode()
    assert (response["Referrer-Policy"], response["Cache-Control"]) == ("no-referrer", "no-store")


def test_cancel_goes_back_with_a_refusal(trip: Trip) -> None:
    page = asked(trip.client, START, link(trip))

    found = re.search(r'<a class="button quiet" href="([^"]+)"', page)
    assert found
    back = found[1].replace("&amp;", "&")
    assert back.startswith(f"{REDIRECT_URI}?")
    assert (query_of(back)["error"], query_of(back)["state"]) == ("access_denied", "s1")


# ---- going on --------------------------------------------------------------------------------------------------------


def test_who_goes_on_makes_the_whole_trip(trip: Trip) -> None:
    client = browser()
    trip.client = client
    trip.provider_answers()
    form = form_of(asked(client, START, link(trip, scope="read_write")))

    sent = query_of(provider_of(client.post(CONTINUE, form)))
    arrived = query_of(trip.callback(state=sent["state"], code="ac_1")["Location"])

    assert sent["scope"] == "read_write"
    assert arrived["state"] == "s1"
    assert trip.token(code=arrived["code"]).status_code == 200


def test_an_app_that_does_not_want_it_has_no_such_page(trip: Trip) -> None:
    OAuthApp.objects.update(asks_first=False)

    assert trip.start().status_code == 302


def test_a_start_link_is_used_up_by_going_on_alone(trip: Trip) -> None:
    link = start_links.make(trip.oauth_app, redirect_uri=REDIRECT_URI, variables={}, state="s1")
    path = urlsplit(link.url).path
    asked(trip.client, path)
    form = form_of(asked(trip.client, path))
    assert StartLink.objects.get().used_at is None

    onward = trip.client.post(CONTINUE, form)
    again = trip.client.post(CONTINUE, form)

    assert provider_of(onward).startswith("https://connect.stripe.com/oauth/authorize?")
    assert_page(again, holds="link_expired")
    assert Authorization.objects.count() == 1


def test_it_asks_after_the_page_for_variables(client: Client, account: Account, trip: Trip) -> None:
    zendesk = OAuthApp.objects.create(
        account=account, provider="zendesk", name="Zendesk", client_id="z1", client_secret="x", asks_first=True
    )
    params = {"client_id": str(zendesk.pk), "redirect_uri": "https://app.example.com/callback/zendesk"}

    assert "Where is your Zendesk account?" in asked(client, START, params)
    page = asked(client, START, params | {"hosted": "1", "subdomain": "acme"})
    onward = client.post(CONTINUE, form_of(page))

    assert "wants to connect your Zendesk account" in page
    assert provider_of(onward).startswith("https://acme.zendesk.com/oauth/authorizations/new?")


def test_no_provider_is_asked_before(client: Client, account: Account, trip: Trip, responses: RequestsMock) -> None:
    """OAuth 1.0a: the provider would be asked for a temporary credential."""
    tumblr = OAuthApp.objects.create(
        account=account, provider="tumblr-oauth1", name="T", client_id="t1", client_secret="x", asks_first=True
    )

    asked(
        client, START, {"client_id": str(tumblr.pk), "redirect_uri": "https://app.example.com/callback/tumblr-oauth1"}
    )

    assert len(responses.calls) == 0
    assert Authorization.objects.count() == 0


def test_a_link_that_leads_to_no_redirect_uri_is_cancelled_on_a_page(
    client: Client, account: Account, responses: RequestsMock
) -> None:
    reconnection = Reconnection(client, responses, salesforce_credential(salesforce_app(account, asks_first=True)))

    page = asked(client, reconnection.link(redirect_url=None))

    link = StartLink.objects.get()
    assert f'href="http://127.0.0.1:8000/link/oauth2/ended?link={link.pk}"' in page
    cancelled = asked(client, "/link/oauth2/ended", {"link": str(link.pk)})
    assert "Nothing was connected" in cancelled
    assert '<span class="sign neutral" ' in cancelled
    assert f"the link works until {link.expires_at:%-d %B %Y, %H:%M} UTC." in cancelled
    assert "✓" not in cancelled
    assert link.used_at is None


def test_a_link_that_has_ended_since_is_not_said_to_work(
    client: Client, account: Account, responses: RequestsMock
) -> None:
    reconnection = Reconnection(client, responses, salesforce_credential(salesforce_app(account, asks_first=True)))
    reconnection.link(redirect_url=None)
    StartLink.objects.update(used_at=timezone.now())

    page = asked(client, "/link/oauth2/ended", {"link": str(StartLink.objects.get().pk)})

    assert "The link works no more: ask Arrakis for a new one" in page


@pytest.mark.parametrize("wanted", ["", "x", "another", "of the console"])
def test_of_no_other_link_the_page_tells_anything(trip: Trip, wanted: str) -> None:
    user = User.objects.create_user("paul", is_staff=True)
    start_links.make(trip.oauth_app, variables={}, ends_at=End.TRIAL, started_by=user)
    ids = {"another": "00000000-0000-4000-8000-000000000000", "of the console": str(StartLink.objects.get().pk)}

    page = asked(trip.client, "/link/oauth2/ended", {"link": ids.get(wanted, wanted)})

    assert "You may close this page.</p>" in page
    assert "Arrakis" not in page


def test_a_link_of_the_console_is_cancelled_there(trip: Trip) -> None:
    user = User.objects.create_user("paul", is_staff=True)
    trip.client.force_login(user)
    link = start_links.make(trip.oauth_app, variables={}, ends_at=End.TRIAL, started_by=user)

    page = asked(trip.client, urlsplit(link.url).path)

    assert f'href="http://127.0.0.1:8000/admin/oauth_apps/oauthapp/{trip.oauth_app.pk}/change/"' in page
