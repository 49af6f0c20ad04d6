"""After all trips of this folder, no secret that a browser carried stands in a log or table of the demo. (E01, E02)"""

import pytest
from playwright.sync_api import expect

from tests.browser.demo import Demo
from tests.browser.window import Window
from tests.real.canaries import dump, search
from tests.real.oidc import OidcProviders

pytestmark = pytest.mark.real


def test_the_demo_keeps_no_secret(window: Window, demo: Demo, oidc: OidcProviders) -> None:
    window.page.goto(demo.example_url)
    window.page.get_by_role("link", name="Connect Salesforce", exact=True).click()
    expect(window.page.get_by_role("heading", level=1)).to_have_text("Grant access to your Salesforce account?")
    window.note_cookies()
    window.page.get_by_role("link", name="Approve", exact=True).click()
    window.page.wait_for_url(f"{demo.example_url}/")
    for secret in oidc.secrets():
        demo.canaries.add("passed at the provider", secret)
    tables = demo.directory / "dump"
    dump(demo.database_uri, tables)
    assert search({b"demo-salesforce": ""}, tables)
    assert search({b"/link/oauth2/token": ""}, demo.log)
    assert {"cookie", "API token", "password", "key", "client_secret"} <= {*demo.canaries.kinds.values()}

    assert demo.canaries.found_in(tables, demo.log, demo.postgres_log) == set()
