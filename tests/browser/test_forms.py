"""The trips that go through a form: the gateway's page for variables, and a provider that answers by form_post.

Chromium applies `form-action` to whatever a form's answer redirects to, and sends no Lax cookie with a form of another
site. The foreign provider is at `localhost`, which is another site than the gateway's `127.0.0.1`.
"""

import pytest
from playwright.sync_api import expect

from tests.browser.demo import Demo
from tests.browser.window import Window
from tests.real.end_user import query_of
from tests.real.oidc import OidcProviders

pytestmark = pytest.mark.real


def test_a_variable_is_typed_in_and_corrected(window: Window, demo: Demo) -> None:
    app = demo.create_app("zendesk", client_id="zendesk-1", client_secret="zendesk-secret", environment="sandbox")
    window.page.goto(app.start_url(state="the-developers-state"))
    expect(window.page.get_by_role("heading")).to_have_text("Where is your Zendesk account?")
    window.take("variables")

    field = window.page.get_by_label("Zendesk subdomain")
    field.fill("not a subdomain")
    field.press("Enter")
    expect(window.page.get_by_text("This must be a word of letters, digits and dashes.")).to_be_visible()
    window.take("variables-corrected")
    window.page.get_by_label("Zendesk subdomain").fill("https://Arrakis.zendesk.com/")
    window.page.get_by_role("button", name="Continue to Zendesk").click()

    expect(window.page.get_by_role("heading", level=1)).to_have_text("Grant access to your Zendesk account?")
    assert "/sandbox/zendesk/arrakis.zendesk.com/oauth/authorizations/new?" in window.page.url
    window.page.get_by_role("link", name="Approve", exact=True).click()
    window.page.wait_for_url(f"{app.redirect_uri}?*")
    token = app.token(query_of(window.page.url)["code"]).json()
    assert token["credential"]["properties"]["subdomain"] == "arrakis"
    assert token["state"] == "the-developers-state"


def test_the_variables_page_leads_to_another_origin(window: Window, demo: Demo, oidc: OidcProviders) -> None:
    app = oidc.create_app(demo, "oidc-asking", habit="pkce", method="client_secret_post")
    answer = window.page.goto(app.start_url())
    assert answer
    assert "form-action 'self'" in answer.headers["content-security-policy"]

    window.page.get_by_label("Language").fill("fr")
    window.page.get_by_role("button", name="Continue to OIDC (asking)").click()

    window.page.wait_for_url(f"{oidc.origins['pkce']}/interaction/*")
    (asked,) = window.calls_to(f"{oidc.origins['pkce']}/auth?")
    assert query_of(asked.url)["ui_locales"] == "fr"
    window.page.get_by_role("link", name="approve", exact=True).click()
    window.page.wait_for_url(f"{app.redirect_uri}?*")
    properties = app.token(query_of(window.page.url)["code"]).json()["credential"]["properties"]
    assert (properties["sub"], properties["language"]) == ("paul-atreides", "fr")


def test_form_post_from_another_site(window: Window, demo: Demo, oidc: OidcProviders, posting_example: str) -> None:
    window.page.goto(posting_example)
    window.page.get_by_role("link", name="Connect Oidc-Form-Post", exact=True).click()
    window.page.wait_for_url(f"{oidc.origins['form_post']}/interaction/*")
    window.page.get_by_role("link", name="approve", exact=True).click()

    expect(window.page.get_by_role("heading", name="Oidc-Form-Post is connected")).to_be_visible()
    expect(window.page.get_by_role("table")).to_contain_text("paul-atreides@arrakis.example")
    posted, got = window.calls_to(f"{demo.url}/link/oauth2/callback/oidc-form-post")
    assert (posted.method, got.method) == ("POST", "GET")
    assert "link_" not in posted.all_headers().get("cookie", "")
    assert "link_" in got.all_headers()["cookie"]
    window.take("form-post")
