"""The console as people use it: by what it offers, without documentation, with the keyboard alone, on a phone."""

import re

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from playwright.sync_api import Page, expect

from tests.browser.axe import cut_off, faults, widest
from tests.browser.console import card, newcomer, sign_in, tab_to
from tests.browser.demo import Demo
from tests.browser.window import Window

pytestmark = pytest.mark.real


def click(page: Page, name: str, *, role: str = "link") -> None:
    page.get_by_role(role, name=name, exact=True).click()  # type: ignore[arg-type]


def approve(page: Page) -> None:
    click(page, "Approve")


def back_to_the_dashboard(page: Page) -> None:
    click(page, "Dashboard")


def test_a_newcomer_connects_the_first_account_by_what_the_dashboard_offers(window: Window, demo: Demo) -> None:
    somebody = newcomer(demo)
    page = sign_in(window, demo, somebody.name, somebody.password)
    window.take("dashboard-empty")
    expect(page.get_by_text("0 of 4 done")).to_be_visible()

    click(page, "Register an OAuth app")
    click(page, "Just trying? Choose one for the sandbox")
    page.get_by_label("Search").fill("hubs")
    card(page, "HubSpot").click()
    window.take("oauth-app-add")
    click(page, "Save", role="button")
    expect(page.get_by_role("heading", name="HubSpot (sandbox)", level=2, exact=True)).to_be_visible()
    back_to_the_dashboard(page)
    click(page, "Add a redirect URI")
    page.get_by_role("textbox", name="Redirect URI").fill("https://app.example.com/callback/:provider")
    click(page, "Save", role="button")
    back_to_the_dashboard(page)
    expect(page.get_by_text("2 of 4 done")).to_be_visible()
    click(page, "Create an API token")
    page.get_by_label("Name").fill("My backend")
    click(page, "Save", role="button")
    token = page.locator("#api-token").inner_text()
    demo.canaries.add("API token", token)
    assert re.fullmatch(r"sqa_\w+", token)
    back_to_the_dashboard(page)
    expect(page.get_by_text("3 of 4 done")).to_be_visible()
    page.get_by_role("link", name=re.compile("^Connect an account")).click()
    if page.get_by_role("link", name=re.compile("^Continue")).count():
        page.get_by_role("link", name=re.compile("^Continue")).first.click()
    click(page, "Go to HubSpot", role="button")
    expect(page.get_by_text("Sandbox", exact=False).first).to_be_visible()
    approve(page)

    expect(page.get_by_role("heading", name="Refresh history")).to_be_visible()
    window.take("credential")
    back_to_the_dashboard(page)
    expect(page.get_by_role("heading", name="First steps")).to_have_count(0)
    expect(page.get_by_role("heading", name="Needs somebody")).to_be_visible()
    window.take("dashboard-first-account")


def test_a_failed_trip_is_found_and_mended_by_its_timeline(window: Window, demo: Demo) -> None:
    app = demo.create_app("linear", client_id="linear-1", client_secret="wrong-secret-of-linear", environment="sandbox")
    page = sign_in(window, demo)
    page.goto(app.start_url(state="a-state-to-be-found"))
    approve(page)
    page.wait_for_url(f"{app.redirect_uri}?*")
    assert "error=" in page.url

    page.goto(f"{demo.url}/admin/")
    click(page, "Authorizations")
    page.get_by_role("searchbox").or_(page.locator("#searchbar")).first.fill("a-state-to-be-found")
    page.keyboard.press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.locator("#result_list tbody tr th a, #result_list tbody tr td a").first.click()
    expect(page.get_by_text("ended here")).to_be_visible()
    expect(page.get_by_text("client id or the client secret", exact=False).first).to_be_visible()
    window.take("failed-trip")
    assert [*faults(page)] == []
    click(page, "Open the OAuth app")
    page.get_by_text("Replace the secret").click()
    page.get_by_label("Client secret").fill(demo.canaries.add("client_secret", "the-right-secret-of-linear"))
    click(page, "Save", role="button")
    window.take("oauth-app")
    with window.context.expect_page() as opened:
        page.get_by_role("button", name=re.compile("^Try it")).click()
    result = opened.value
    approve(result)
    expect(result.get_by_role("heading", name="Nobody keeps these tokens")).to_be_visible()
    window.take("tried", result)
    assert [*faults(result)] == []
    click(result, "Keep as a credential", role="button")

    expect(result.get_by_role("heading", name="Refresh history")).to_be_visible()


def test_shopify_is_registered_with_its_variable(window: Window, demo: Demo) -> None:
    page = sign_in(window, demo)
    page.goto(f"{demo.url}/admin/oauth_apps/oauthapp/add/")
    page.get_by_label("Search").fill("shopify")
    card(page, "Shopify").click()
    expect(page.get_by_role("heading", name="Callback URL to register there")).to_be_visible()
    expect(page.locator("#callback-url")).to_contain_text("/link/oauth2/callback/shopify")
    page.get_by_label("Name", exact=True).fill("Shop of one customer")
    page.get_by_label("Client ID").fill("shopify-1")
    page.get_by_label("Client secret").fill(demo.canaries.add("client_secret", "secret-of-shopify-1"))
    page.get_by_role("textbox", name=re.compile("shop", re.IGNORECASE)).last.fill("not a shop!")
    click(page, "Save", role="button")
    expect(page.get_by_text(re.compile("must be|must look"))).not_to_have_count(0)
    expect(page.get_by_role("alert")).to_be_focused()
    window.take("shopify-refused")
    page.get_by_role("textbox", name=re.compile("shop", re.IGNORECASE)).last.fill("arrakis.myshopify.com")
    page.get_by_label("Client secret").fill("secret-of-shopify-1")
    click(page, "Save", role="button")

    expect(page.get_by_role("heading", name="Shop of one customer", level=2)).to_be_visible()
    assert "secret-of-shopify-1" not in page.content()


def test_slack_is_registered_with_user_scopes(window: Window, demo: Demo) -> None:
    page = sign_in(window, demo)
    page.goto(f"{demo.url}/admin/oauth_apps/oauthapp/add/?provider=slack&environment=sandbox")
    page.get_by_label("Name", exact=True).fill("Slack for users")
    page.get_by_label(re.compile("Scopes of the user token")).fill("users:read search:read")
    click(page, "Save", role="button")

    expect(page.get_by_role("heading", name="Slack for users", level=2)).to_be_visible()
    expect(page.get_by_label(re.compile("Scopes of the user token"))).to_have_value("users:read search:read")
    with window.context.expect_page() as opened:
        page.get_by_role("button", name=re.compile("^Try it")).click()
    opened.value.wait_for_url("**/sandbox/slack/**")
    assert "user_scope=users%3Aread" in opened.value.url


def test_a_sendgrid_key_is_connected_without_an_oauth_app(window: Window, demo: Demo) -> None:
    page = sign_in(window, demo)
    page.goto(f"{demo.url}/admin/oauth_apps/oauthapp/add/")
    page.get_by_label("Search").fill("sendgrid")
    card(page, "SendGrid").click()
    page.get_by_label(re.compile("key", re.IGNORECASE)).last.fill(demo.canaries.add("key", "SG.key-of-a-browser-test"))
    click(page, "Connect", role="button")

    expect(page.get_by_role("heading", name="Properties")).to_be_visible()  # nobody answers: it is kept, and said so
    expect(page.get_by_text("did not answer a check", exact=False).first).to_be_visible()
    assert "SG.key-of-a-browser-test" not in page.content()


def test_a_github_app_is_registered_and_its_installation_connected(window: Window, demo: Demo) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    page = sign_in(window, demo)
    page.goto(f"{demo.url}/admin/oauth_apps/oauthapp/add/?provider=github")
    page.get_by_label("Name", exact=True).fill("GitHub App")
    page.get_by_label("Client ID").fill("Iv1.of-a-browser-test")
    page.get_by_label("Client secret").fill(pem)
    page.get_by_label("GitHub host").fill("github.arrakis.invalid")  # nobody answers there (RFC 2606, 2)
    click(page, "Save", role="button")
    expect(page.get_by_role("heading", name="GitHub App", level=2)).to_be_visible()

    page.goto(f"{demo.url}/admin/credentials/credential/connect/?provider=github")
    page.get_by_role("listitem").filter(has_text=re.compile("GitHub App", re.IGNORECASE)).filter(
        has_text=re.compile("install", re.IGNORECASE)
    ).get_by_role("link").first.click()
    window.take("github-app")
    page.get_by_role("textbox", name=re.compile("installation", re.IGNORECASE)).fill("12345678")
    click(page, "Connect", role="button")

    expect(page.get_by_role("heading", name="Properties")).to_be_visible()
    expect(page.get_by_text("12345678").first).to_be_visible()
    assert "PRIVATE KEY" not in page.content()


def test_the_keyboard_alone_registers_an_app_and_makes_a_trip(window: Window, demo: Demo) -> None:
    page = window.page
    page.goto(f"{demo.url}/admin/login/")
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type("admin")
    tab_to(page, page.get_by_label("Password"))
    page.keyboard.type(demo.password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Dashboard", level=1)).to_be_visible()

    def press(*wanted: object) -> None:
        for locator in wanted:
            tab_to(page, locator)  # type: ignore[arg-type]
            page.keyboard.press("Enter")
            page.wait_for_load_state()

    press(page.get_by_role("link", name="OAuth Apps", exact=True))
    press(page.get_by_role("link", name=re.compile("^Add")))
    page.keyboard.type("dropbox")  # the search has the focus
    press(card(page, "Dropbox"))
    press(page.get_by_role("link", name="Make it a sandbox app"))
    press(page.get_by_role("button", name="Save", exact=True))
    expect(page.get_by_role("heading", name="Dropbox (sandbox)", level=2, exact=True)).to_be_visible()
    press(page.get_by_role("button", name="Copy the start link"))
    expect(page.get_by_role("button", name="Copy the start link")).to_have_text("Copied")
    tab_to(page, page.get_by_role("button", name=re.compile("^Try it")))
    with window.context.expect_page() as opened:
        page.keyboard.press("Enter")
    tried = opened.value
    tab_to(tried, tried.get_by_role("link", name="Deny", exact=True))
    tried.keyboard.press("Enter")

    expect(tried.get_by_text("denied", exact=True)).to_be_visible()


def test_a_phone_shows_the_way_as_well(window: Window, demo: Demo) -> None:
    window.page.set_viewport_size({"width": 390, "height": 800})
    page = sign_in(window, demo)

    click(page, "Menu", role="button")
    click(page, "OAuth Apps")
    assert widest(page) <= 390
    assert cut_off(page) == []
    page.get_by_role("link", name=re.compile("Stripe")).first.click()
    expect(page.get_by_role("heading", name="In your application")).to_be_visible()
    window.take("phone-oauth-app")

    assert widest(page) <= 390


def test_a_page_of_ours_asks_first(window: Window, other_window: Window, demo: Demo) -> None:
    app = demo.create_app("salesforce", client_id="asks-1", client_secret="secret-of-asks-1", environment="sandbox")
    page = sign_in(window, demo)
    page.goto(f"{demo.url}/admin/oauth_apps/oauthapp/{app.id}/change/")
    page.get_by_role("checkbox", name=re.compile("Ask the end user on a page of ours first")).check()
    page.get_by_role("textbox", name=re.compile("What for")).fill("to show your pipeline beside your invoices")
    click(page, "Save", role="button")
    end_user = other_window.page
    end_user.goto(app.start_url(state="s-asked-first"))
    expect(end_user.get_by_role("heading", level=1)).to_have_text("Demo wants to connect your Salesforce account")
    expect(end_user.get_by_text("to show your pipeline beside your invoices")).to_be_visible()
    other_window.take("asked-first")
    assert [*faults(end_user)] == []

    end_user.get_by_text("Cancel", exact=True).click()
    end_user.wait_for_url(f"{app.redirect_uri}?error=access_denied&*")
    end_user.goto(app.start_url(state="s-asked-first"))
    click(end_user, "Continue to Salesforce", role="button")
    approve(end_user)

    end_user.wait_for_url(f"{app.redirect_uri}?code=*")
    assert end_user.url.endswith("&state=s-asked-first")


def test_a_signed_in_developer_sees_which_characters_differ(window: Window, other_window: Window, demo: Demo) -> None:
    app = demo.create_app("stripe", client_id="differs-1", client_secret="secret-of-differs-1", environment="sandbox")
    mistaken = app.start_url(debug="true").replace("callback%2F", "Callback%2F")
    assert mistaken != app.start_url(debug="true")
    stranger = other_window.page
    stranger.goto(mistaken)
    expect(stranger.get_by_text("Sign in to compare")).to_be_visible()
    assert "/callback/:provider" not in stranger.content()

    page = sign_in(window, demo)
    page.goto(mistaken)
    expect(page.locator("ins").first).to_have_text("C")
    expect(page.locator("del").first).to_have_text("c")
    window.take("diagnostics-signed-in")
    click(page, "Register this redirect URI")

    expect(page.get_by_role("textbox", name="Redirect URI")).to_have_value(re.compile("/Callback/"))
