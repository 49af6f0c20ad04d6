"""/docs/: Swagger UI from our own files, under the strict policy."""

import re

from playwright.sync_api import Page, expect

from tests.browser.axe import widest
from tests.browser.demo import Demo
from tests.browser.window import Window


def test_it_shows_every_section_and_calls_nobody_else(window: Window, demo: Demo) -> None:
    window.page.goto(f"{demo.url}/docs/")

    expect(window.page.get_by_role("heading", name="Sequin Auth")).to_be_visible()
    window.page.get_by_role("button", name="POST /v1/oauth-apps Register an OAuth app").click()
    expect(window.page.get_by_text("the-client-secret-at-stripe").first).to_be_visible()
    window.take("documentation")
    window.page.set_viewport_size({"width": 390, "height": 800})
    assert widest(window.page) <= 390
    window.page.get_by_role("button", name="Authorize").first.click()
    expect(window.page.locator(".dialog-ux h4")).to_have_text(
        [re.compile(r"api_token\b"), re.compile("api_token_of_a_client"), re.compile("client_secret_basic")]
    )
    assert window.left_the_machine() == []
    assert window.broken_policies() == []


def enter_the_api_token(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.url}/docs/")
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".auth-container").filter(has_text=re.compile(r"api_token\b")).locator("input").first.fill(
        demo.api_token
    )
    page.get_by_role("button", name="Apply credentials").first.click()
    page.get_by_role("button", name="Close").first.click()


def test_the_examples_of_token_and_import_are_understood_as_they_are(window: Window, demo: Demo) -> None:
    """The API token is not sent beside the client secret of the example, and NDJSON is two lines."""
    page = window.page
    enter_the_api_token(page, demo)
    answered = {}

    for name, section, path in (
        ("token", "Link", "/link/oauth2/token"),
        ("importCredentials", "Credentials", "/v1/credentials/import"),
    ):
        operation = page.locator(f"#operations-{section}-{name}")
        operation.locator(".opblock-summary-control").click()
        operation.get_by_role("button", name="Try it out").click()
        with page.expect_response(f"{demo.url}{path}") as told:
            operation.get_by_role("button", name="Execute").click()
        answered[name] = told.value.json()

    assert answered["token"]["error"] == "invalid_client"  # the OAuth app of the example is not there
    assert (answered["importCredentials"]["lines"], answered["importCredentials"]["created"]) == (2, 1)


def test_an_endpoint_is_tried_out_with_a_pasted_token(window: Window, demo: Demo) -> None:
    """The page asks its own origin, with the token, and shows what came."""
    page = window.page
    enter_the_api_token(page, demo)
    page.get_by_role("button", name="GET /v1/redirect-uris List redirect URIs").click()
    listed = page.locator("#operations-Redirect_URIs-listRedirectURIs")

    listed.get_by_role("button", name="Try it out").click()
    listed.get_by_role("button", name="Execute").click()

    expect(listed.locator(".live-responses-table tbody .response-col_status")).to_have_text("200")
    expect(listed.locator(".live-responses-table")).to_contain_text("next_cursor")
    assert window.left_the_machine() == []
    assert window.broken_policies() == []
