"""What a newcomer sees: the example app, the consent page of the sandbox, and what goes wrong on the way."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.demo import Demo
from tests.browser.window import Window

pytestmark = pytest.mark.real


def click(window: Window, *names: str) -> None:
    """Links or buttons, one after the other, each on the page that the one before has led to."""
    for name in names:
        window.page.get_by_role("link", name=name, exact=True).click()


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_denial_is_told_in_plain_words(window: Window, demo: Demo) -> None:
    window.page.goto(demo.example_url)
    click(window, "Connect Stripe", "Deny")

    expect(window.page.get_by_role("heading", name="Not connected")).to_be_visible()
    expect(window.page.get_by_text("You, or the provider, said no.")).to_be_visible()
    expect(window.page.get_by_text("access_denied")).to_be_visible()
    assert window.page.url.startswith(f"{demo.redirect_uri}/stripe?")
    window.take("denied")
    click(window, "Back")
    expect(window.page.get_by_text("is connected")).to_have_count(0)


def test_another_browser_cannot_use_the_callback(window: Window, other_window: Window, demo: Demo) -> None:
    window.page.goto(demo.example_url)
    click(window, "Connect Stripe")
    approve = window.page.get_by_role("link", name="Approve", exact=True).get_attribute("href")
    assert approve
    callback_url = window.context.request.get(approve, max_redirects=0).headers["location"]
    assert callback_url.startswith(f"{demo.url}/link/oauth2/callback/stripe?")
    demo.canaries.add_url(callback_url)

    stolen = other_window.page.goto(callback_url)
    other_window.take("another-browser")
    burned = window.page.goto(callback_url)

    assert stolen
    assert burned
    assert (stolen.status, burned.status) == (400, 400)
    expect(other_window.page.get_by_role("heading")).to_have_text("This link was opened somewhere else")
    expect(other_window.page.get_by_text("session_mismatch")).to_be_visible()
    expect(window.page.get_by_role("heading")).to_have_text("This connection has ended already")
    window.page.goto(demo.example_url)
    expect(window.page.get_by_text("is connected")).to_have_count(0)


def test_a_callback_that_is_called_again_is_a_friendly_page(window: Window, demo: Demo) -> None:
    window.page.goto(demo.example_url)
    click(window, "Connect Stripe", "Approve")
    expect(window.page.get_by_role("heading", name="Stripe is connected")).to_be_visible()
    (callback,) = window.calls_to(f"{demo.url}/link/oauth2/callback/stripe")

    again = window.page.goto(callback.url)

    assert again
    assert again.status == 400
    expect(window.page.get_by_role("heading")).to_have_text("This connection is finished already")


def test_a_mistaken_start_link_is_diagnosed(window: Window, demo: Demo) -> None:
    answer = window.page.goto(demo.mistaken_start_url)

    assert answer
    assert answer.status == 400
    expect(window.page.get_by_role("heading", level=1)).to_have_text("The redirect_uri of this link is not registered.")
    row = window.page.get_by_role("row").filter(has=window.page.get_by_role("rowheader", name="redirect_uri"))
    expect(row).to_contain_text("https://app.example.com/callbakc")
    expect(row.get_by_role("cell").last).to_contain_text("problem")
    expect(window.page.get_by_text(f"{demo.url}/link/oauth2/callback/stripe", exact=True)).to_be_visible()
    assert demo.example_url not in window.page.content()  # the redirect URIs that are registered
    window.take("diagnostics")


def test_a_providers_refusal_is_diagnosed_too(window: Window, demo: Demo) -> None:
    wrong = demo.create_app("hubspot", client_id="hubspot-1", client_secret="wrong-one-for-sure", environment="sandbox")
    window.page.goto(wrong.start_url(debug="true", state="the-developers-state"))
    click(window, "Approve")

    expect(window.page.get_by_role("heading", level=1)).to_have_text(
        "The provider does not accept this OAuth app's client id or secret."
    )
    expect(window.page.get_by_text("Copy both again from the provider's console")).to_be_visible()
    back = window.page.get_by_role("link", name="Back to the app, with the error").get_attribute("href")
    assert back
    assert back.startswith(f"{demo.redirect_uri}/hubspot?error=server_error&")
    assert back.endswith("&state=the-developers-state")
    window.take("diagnostics-of-the-callback")


# ---- the trip --------------------------------------------------------------------------------------------------------


def test_connect_consent_done(window: Window, demo: Demo) -> None:
    window.page.goto(demo.example_url)
    window.take("example")
    click(window, "Connect Stripe")
    expect(window.page.get_by_role("heading", level=1)).to_have_text("Grant access to your Stripe account?")
    window.take("consent")
    click(window, "Approve")

    expect(window.page.get_by_role("heading", name="Stripe is connected")).to_be_visible()
    assert window.page.url == f"{demo.example_url}/"
    row = window.page.get_by_role("row").filter(has=window.page.get_by_text("access_token", exact=True))
    expect(row.get_by_role("cell")).to_have_text(re.compile(r"^\S{8}…$"))
    document = window.page.locator("pre")
    expect(document).to_be_visible()
    token = json.loads(document.inner_text())
    assert token["token_type"] == "Bearer"
    assert token["credential"]["properties"]["kind"] == "stripe_oauth2"
    shown = [token["access_token"], token["credential"]["properties"]["access_token"]]
    assert all(re.fullmatch(r"\S{8}…", value) for value in shown)
    window.take("connected")


def test_two_tabs_both_arrive(window: Window, demo: Demo) -> None:
    other_tab = window.new_tab()
    for tab, name in ((window.page, "Connect HubSpot"), (other_tab, "Connect Slack")):
        tab.goto(demo.example_url)
        tab.get_by_role("link", name=name, exact=True).click()

    for tab in (window.page, other_tab):
        tab.get_by_role("link", name="Approve", exact=True).click()
        tab.wait_for_url(f"{demo.example_url}/")

    expect(other_tab.get_by_role("heading", name="HubSpot is connected")).to_be_visible()
    expect(other_tab.get_by_role("heading", name="Slack is connected")).to_be_visible()
