"""The hosted pages: each refusal in words of its own, a way back only where it is known and safe, and little weight."""

import re
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client, override_settings
from django.utils import timezone
from responses import RequestsMock

from credentials.link import pages, start_links
from credentials.models import Authorization, End, StartLink, Step
from oauth_apps.models import Account, OAuthApp, RedirectURI
from providers.errors import ProviderUnavailable
from providers.sandbox.models import Outcome
from tests.link.reconnection import Reconnection, salesforce_app, salesforce_credential
from tests.link.trip import REDIRECT_URI, START, Trip, assert_page, query_of
from tests.providers.sandbox_developer import Developer

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

MOST = 30 * 1024  # bytes of a page with its stylesheets


def has_way_back(response: "Response") -> bool:
    """Whether the page leads to the app's host, with nothing behind it."""
    links = re.findall(r'<a class="button" href="([^"]*)"', response.content.decode())
    assert set(links) <= {"https://app.example.com/"}, links
    return bool(links)


# ---- where there is no way back --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["", "x", "A" * 43, "%00"])
def test_an_unknown_state_leads_nowhere(trip: Trip, state: str) -> None:
    """B01"""
    response = trip.callback(state=state, code="ac_1", redirect_uri="https://evil.example.com/")

    assert_page(response, holds="We do not know this connection")
    assert not has_way_back(response)
    assert b"evil" not in response.content


def test_a_start_that_is_refused_leads_nowhere(trip: Trip) -> None:
    """A02: nobody has proven anything about that address"""
    response = trip.start(redirect_uri="https://evil.example.com/")

    assert_page(response, holds="leads back to an unknown address")
    assert not has_way_back(response)
    assert b"evil" not in response.content


@pytest.mark.parametrize("gone", ["app", "redirect_uri"])
def test_what_was_removed_is_led_to_no_more(trip: Trip, gone: str) -> None:
    """A07"""
    state = trip.started()["state"]
    if gone == "app":
        OAuthApp.objects.update(enabled=False)
    else:
        RedirectURI.objects.all().delete()

    response = trip.callback(state=state, code="ac_1")

    assert_page(response, holds="The app was changed meanwhile")
    assert not has_way_back(response)


def test_a_used_trip_whose_redirect_uri_was_removed_is_led_nowhere(trip: Trip) -> None:
    """A07"""
    state = trip.started()["state"]
    trip.callback(state=state, error="access_denied")
    RedirectURI.objects.all().delete()

    assert not has_way_back(trip.callback(state=state, error="access_denied"))


@pytest.mark.parametrize(
    "redirect_uri", ["myapp:/callback", "javascript://app.example.com/", "", "https://[", "mailto:a@b"]
)
def test_what_is_no_web_address_is_no_link(redirect_uri: str) -> None:
    assert pages.origin(redirect_uri) == ("", "")


# ---- and where there is ----------------------------------------------------------------------------------------------


def test_a_finished_trip_is_told_so(trip: Trip) -> None:
    """B03"""
    trip.provider_answers()
    state = trip.started(state="s1")["state"]
    trip.callback(state=state, code="ac_1")

    response = trip.callback(state=state, code="ac_1")

    assert_page(response, holds="This connection is finished already")
    assert has_way_back(response)
    assert "invalid_state" in response.content.decode()


def test_one_that_failed_is_told_so(trip: Trip) -> None:
    state = trip.started()["state"]
    trip.callback(state=state, error="access_denied")

    response = trip.callback(state=state, error="access_denied")

    assert_page(response, holds="This connection has ended already")
    assert has_way_back(response)


def test_one_that_took_too_long_is_told_so(trip: Trip) -> None:
    state = trip.started()["state"]
    Authorization.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    response = trip.callback(state=state, code="ac_1")

    assert_page(response, holds="This connection has expired")
    assert has_way_back(response)
    assert Authorization.objects.get().step == Step.STARTED


def test_another_browser_is_told_so(trip: Trip) -> None:
    """B04"""
    state = trip.started()["state"]

    response = Client().get("/link/oauth2/callback/stripe", {"state": state, "code": "ac_1"})

    assert_page(response, holds="This link was opened somewhere else")
    assert has_way_back(response)


def test_another_providers_callback_is_told_so(trip: Trip) -> None:
    """B05"""
    state = trip.started()["state"]

    response = trip.client.get("/link/oauth2/callback/zendesk", {"state": state, "code": "ac_1"})

    assert_page(response, holds="This answer does not belong here")


def test_a_used_start_link_leads_to_its_app(trip: Trip) -> None:
    link = start_links.make(trip.oauth_app, redirect_uri=REDIRECT_URI, variables={}).url
    trip.client.get(link)

    response = trip.client.get(link)

    assert_page(response, holds="expired or was already used")
    assert has_way_back(response)
    RedirectURI.objects.all().delete()
    assert not has_way_back(trip.client.get(link))


def test_a_page_of_no_trip_names_its_request(trip: Trip) -> None:
    response = trip.start(client_id="x")

    page = response.content.decode()
    assert f"Request id <code>{response['X-Request-Id']}</code>" in page
    assert "with the request id below" in page
    assert "Reference" not in page
    assert "debug=true" in page


@pytest.mark.parametrize("how", ["another browser", "another provider", "used", "expired", "withdrawn", "debug"])
def test_a_page_of_a_trip_names_the_trip(trip: Trip, how: str) -> None:
    """By which the console finds it."""
    state = trip.started(debug="true" if how == "debug" else None)["state"]
    client, there = trip.client, "/link/oauth2/callback/stripe"
    match how:
        case "another browser":
            client = Client()
        case "another provider":
            there = "/link/oauth2/callback/zendesk"
        case "used":
            trip.client.get(there, {"state": state, "error": "access_denied"})
        case "expired":
            Authorization.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        case "withdrawn":
            OAuthApp.objects.update(enabled=False)

    response = client.get(there, {"state": state, "error": "access_denied"})

    page = response.content.decode()
    assert_page(response, holds=f"Reference <code>{Authorization.objects.get().pk}</code>")
    assert "Request id" not in page
    assert ("with the reference below" in page) == (how == "withdrawn")


def test_so_does_one_of_a_provider_that_refuses_before_anybody_leaves(
    trip: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty(monkeypatch, "providers.pushed_requests.pushed", ProviderUnavailable("It did not answer."))

    response = trip.start(debug="true")

    assert_page(response, holds=f"Reference <code>{Authorization.objects.get().pk}</code>")


def test_whom_another_browser_has_ended_is_told_so(trip: Trip) -> None:
    """B04: it was no Back button"""
    state = trip.started()["state"]
    Client().get("/link/oauth2/callback/stripe", {"state": state, "code": "ac_1"})

    response = trip.callback(state=state, code="ac_1")

    assert_page(response, holds="came back in another browser than the one in which it was begun")
    assert "Back button" not in response.content.decode()
    assert has_way_back(response)


def test_whom_another_login_has_ended_is_told_so(trip: Trip) -> None:
    """B15"""
    user = superuser()
    trip.client.force_login(user)
    link = start_links.make(trip.oauth_app, variables={}, ends_at=End.TRIAL, started_by=user)
    state = query_of(trip.client.get(link.url)["Location"])["state"]
    cookies = {name: cookie for name, cookie in trip.client.cookies.items() if name.startswith("link_")}
    signed_out = Client()
    signed_out.cookies.update(cookies)
    trip_again = Client()
    trip_again.cookies.update(cookies)

    pages = [client.get("/link/oauth2/callback/stripe", {"state": state}) for client in (signed_out, trip_again)]

    assert "Start again from the console" in pages[1].content.decode()
    assert "Back button" not in pages[1].content.decode()


@pytest.mark.parametrize("how", ["used", "expired"])
@pytest.mark.parametrize("redirect_url", [None, "https://app.example.com/callback/salesforce"])
def test_a_reconnect_link_that_is_over_says_whom_to_ask(
    trip: Trip, responses: RequestsMock, account: Account, how: str, redirect_url: str | None
) -> None:
    reconnection = Reconnection(Client(), responses, salesforce_credential(salesforce_app(account)))
    path = reconnection.link(redirect_url=redirect_url)
    if how == "used":
        reconnection.client.get(path)
    else:
        StartLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    response = Client().get(path)

    assert_page(response, holds="Ask Arrakis for a new link if your Salesforce account is not connected yet.")
    assert has_way_back(response) == bool(redirect_url)


def test_of_a_link_that_is_no_reconnection_nobody_is_named(trip: Trip, account: Account) -> None:
    user = superuser()
    credential = salesforce_credential(salesforce_app(account))
    assert credential.oauth_app
    links = [
        start_links.make(trip.oauth_app, redirect_uri=REDIRECT_URI, variables={}).url,
        start_links.make(
            credential.oauth_app, variables={}, credential=credential, ends_at=End.CONSOLE, started_by=user
        ).url,
    ]
    StartLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    for link in [*links, f"/link/oauth2/start/{'A' * 43}"]:
        page = Client().get(link).content.decode()
        assert "expired or was already used" in page
        assert "Arrakis" not in page


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/link/oauth2/nowhere", 404, "There is nothing here"),
        ("/admin/?q=%00", 400, "This request cannot be answered"),
    ],
)
def test_what_is_not_there_has_a_page_too(client: Client, db: None, path: str, status: int, words: str) -> None:
    client.force_login(superuser())

    response = client.get(path)

    assert response.status_code == status
    assert words in response.content.decode()
    assert response["X-Request-Id"] in response.content.decode()


def superuser() -> User:
    return User.objects.create_superuser("root", password="x")


@pytest.mark.parametrize(("error", "status"), [(RuntimeError("canary"), 500), (OperationalError("canary"), 503)])
def test_a_fault_of_ours_may_be_tried_again(
    trip: Trip, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr("credentials.link.flow.start", fail)
    client = Client(raise_request_exception=False)

    response = client.get(START)

    assert response.status_code == status
    page = response.content.decode()
    assert '<a class="button" href="">Try again</a>' in page
    assert response["X-Request-Id"] in page
    assert "canary" not in page


def faulty(monkeypatch: pytest.MonkeyPatch, where: str, error: Exception) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(where, fail)


FAULTS = [(RuntimeError("canary"), 500), (OperationalError("canary"), 503)]


@pytest.mark.parametrize(("error", "status"), FAULTS)
def test_an_answer_of_the_provider_is_not_to_be_reloaded(
    trip: Trip, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    """B03: its state is used"""
    trip.provider_answers()
    state = trip.started()["state"]
    faulty(monkeypatch, "credentials.models.Authorization.grant", error)
    monkeypatch.setattr(import_module("credentials.link.flow.callback"), "connection", Mock())  # not the test's own
    trip.client.raise_request_exception = False

    response = trip.callback(state=state, code="ac_1")

    page = response.content.decode()
    assert response.status_code == status
    assert "Reloading this page does not help" in page
    assert "Nothing was lost" not in page
    assert 'href=""' not in page
    assert has_way_back(response)
    assert ">Back to app.example.com</a>" in page
    assert "canary" not in page


@pytest.mark.parametrize("gone", ["database", "redirect_uri", "state"])
def test_where_nobody_knows_a_way_back_there_is_none(trip: Trip, monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    """A07, G13"""
    state = trip.started()["state"] if gone != "state" else "x"
    faulty(monkeypatch, "credentials.models.authorization.AuthorizationQuerySet.take", OperationalError("canary"))
    if gone == "database":
        faulty(monkeypatch, "credentials.models.authorization.AuthorizationQuerySet.of_state", OperationalError("no"))
    if gone == "redirect_uri":
        RedirectURI.objects.all().delete()
    trip.client.raise_request_exception = False

    response = trip.callback(state=state, code="ac_1")

    assert response.status_code == 503
    assert "Reloading this page does not help" in response.content.decode()
    assert not has_way_back(response)


def test_a_trip_that_ends_with_us_leads_to_where_it_says_how_it_ended(
    client: Client, responses: RequestsMock, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconnection = Reconnection(client, responses, salesforce_credential(salesforce_app(account)))
    reconnection.provider_answers()
    state = reconnection.started(redirect_url=None)["state"]
    faulty(monkeypatch, "credentials.models.Authorization.grant", RuntimeError("canary"))
    client.raise_request_exception = False

    page = reconnection.callback(state).content.decode()

    there = f"http://127.0.0.1:8000/link/oauth2/ended/{reconnection.trip.pk}"
    assert f'<a class="button" href="{there}" rel="noreferrer">See how it ended</a>' in page


def test_a_form_whose_answer_fails_is_sent_again_from_its_page(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty(monkeypatch, "credentials.link.flow.start", OperationalError("canary"))
    trip.client.raise_request_exception = False

    page = trip.client.post("/link/oauth2/continue", {"query": "x=1"}).content.decode()

    assert "go back to the page before this one" in page
    assert 'href=""' not in page


@override_settings(LANGUAGES=[("en", "English"), ("de", "Deutsch")])
def test_a_language_is_spoken_to_whoever_asks_for_it(client: Client, db: None) -> None:
    pages = [client.get("/link/oauth2/start", headers={"Accept-Language": wanted}) for wanted in ("de-AT", "fr")]

    assert ['<html lang="de">' in page.content.decode() for page in pages] == [True, False]


# ---- weight, and what they may load ----------------------------------------------------------------------------------


def consent(trip: Trip, reconnection: Reconnection) -> "Response":
    OAuthApp.objects.update(asks_first=True, purpose="p" * 300)
    return trip.start(scope=" ".join(f"scope_{number}" for number in range(100)))


def variables(trip: Trip, reconnection: Reconnection) -> "Response":
    zendesk = OAuthApp.objects.create(account=trip.oauth_app.account, provider="zendesk", name="Z", client_id="z")
    redirect_uri = "https://app.example.com/callback/zendesk"
    return trip.client.get(START, {"client_id": str(zendesk.pk), "redirect_uri": redirect_uri, "state": "s" * 2000})


def diagnosis(trip: Trip, reconnection: Reconnection) -> "Response":
    return trip.start(redirect_uri=f"{REDIRECT_URI}/{'x' * 500}", scope="a " * 500, state="s" * 2000, debug="true")


def refusal(trip: Trip, reconnection: Reconnection) -> "Response":
    return trip.start(client_id="x")


def onward(trip: Trip, reconnection: Reconnection) -> "Response":
    return trip.start(hosted="1")


def ending(trip: Trip, reconnection: Reconnection) -> "Response":
    state = reconnection.started(redirect_url=None)["state"]
    reconnection.client.get("/link/oauth2/callback/salesforce", {"state": state, "error": "access_denied"})
    return Client().get(f"/link/oauth2/ended/{Authorization.objects.get().pk}")


def nothing(trip: Trip, reconnection: Reconnection) -> "Response":
    return trip.client.get("/link/oauth2/nowhere")


def cancelled(trip: Trip, reconnection: Reconnection) -> "Response":
    return trip.client.get("/link/oauth2/ended")


def sandbox(trip: Trip, reconnection: Reconnection) -> "Response":
    response: Response = Developer("google").ask("text/html")
    return response


@pytest.mark.parametrize("page", [consent, variables, diagnosis, refusal, onward, ending, nothing, cancelled, sandbox])
def test_a_page_is_light_and_loads_nothing_from_elsewhere(
    trip: Trip, responses: RequestsMock, account: Account, page: Callable[[Trip, Reconnection], "Response"]
) -> None:
    """A22"""
    reconnection = Reconnection(trip.client, responses, salesforce_credential(salesforce_app(account)))

    response = page(trip, reconnection)

    html = response.content.decode()
    sheets = re.findall(r'<link rel="stylesheet" href="/static/([\w.-]+)"', html)
    assert sheets
    weight = sum((Path(settings.BASE_DIR) / "static" / sheet).stat().st_size for sheet in sheets)
    assert len(response.content) + weight <= MOST
    assert "<script" not in html
    assert "style=" not in html
    assert not re.search(r'(src|<link[^>]+href)="(?!/)', html)
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert "script-src" not in response["Content-Security-Policy"]
    assert "unsafe" not in response["Content-Security-Policy"]
    assert (response["Cache-Control"], response["Referrer-Policy"]) == ("no-store", "no-referrer")


def test_the_outcomes_of_the_sandbox_are_all_there(db: None) -> None:
    html = Developer("google").ask("text/html").content.decode()

    assert "See the user&#x27;s name and picture." not in html  # of a scope that is not asked for
    assert html.index("Approve fewer") < html.index("Deny") < html.index("What can go wrong")
    of_the_api = {Outcome.RATE_LIMITED, Outcome.API_FAILS}  # offered where the simulator has lists to fail with
    assert {outcome for outcome in Outcome if outcome.value in html} == set(Outcome) - of_the_api
    assert "/providers/google/logo.svg" in html
    listing = Developer("github").ask("text/html").content.decode()
    assert all(outcome.value in listing for outcome in of_the_api)
