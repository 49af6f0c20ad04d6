"""Every page, by axe-core (WCAG 2, A and AA), light and dark; and none scrolls sideways on a phone.

That no page broke its policy or called another machine is asked after each test of this folder.
"""

import re
from collections.abc import Iterator

import pytest

from tests.browser.axe import faults
from tests.browser.console import sign_in
from tests.browser.demo import Demo
from tests.browser.window import Window
from tests.real.gateway import App

pytestmark = pytest.mark.real

CONSOLE = [
    "", "my-login/", "credentials/credential/connect/?q=linear", "credentials/credential/connect/?provider=github",
    "credentials/credential/connect/?provider=sendgrid", "password_change/",
    "oauth_apps/oauthapp/", "oauth_apps/oauthapp/add/?provider=slack",
    "oauth_apps/redirecturi/", "oauth_apps/redirecturi/add/", "oauth_apps/apitoken/", "oauth_apps/apitoken/add/",
    "oauth_apps/membership/", "oauth_apps/membership/add/", "oauth_apps/auditevent/", "oauth_apps/account/",
    "oauth_apps/account/add/", "auth/user/", "auth/user/add/", "procrastinate/procrastinatejob/",
    "credentials/credential/", "credentials/authorization/", "credentials/credential/export/", "axes/accessattempt/",
    "syncs/sync/", "syncs/sync/add/", "syncs/destination/", "syncs/destination/add/",
]  # fmt: skip
# Model: the pages of one row of it
OF_A_ROW = {
    "oauth_apps/oauthapp": ["change", "delete", "history"],
    "oauth_apps/redirecturi": ["change", "delete"],
    "oauth_apps/apitoken": ["change", "revoke"],
    "oauth_apps/membership": ["change", "delete"],
    "oauth_apps/account": ["change"],
    "oauth_apps/auditevent": ["change"],
    "auth/user": ["change", "password"],
    "credentials/credential": ["change", "delete", "export-one", "history"],
    "credentials/authorization": ["change"],
    "syncs/sync": ["change", "delete", "history"],
    "syncs/destination": ["change", "delete"],
}


def hosted_pages(demo: Demo, app: App) -> Iterator[str]:
    """One URL for each page that an end user may be shown."""
    start = f"{demo.url}/link/oauth2/start"
    yield app.start_url()  # leads to the sandbox's consent page
    yield demo.mistaken_start_url
    yield demo.mistaken_start_url.replace("&debug=true", "")
    yield f"{start}?client_id=none&redirect_uri=https%3A%2F%2Fapp.example.com%2F&debug=true"
    yield f"{start}/unknown"
    yield f"{demo.url}/link/oauth2/callback/stripe?state=unknown-and-long-enough&code=unknown-and-long-enough"
    yield f"{demo.url}/nowhere"


def test_no_hosted_page_keeps_anybody_out(window: Window, demo: Demo) -> None:
    app = demo.create_app("stripe", client_id="axe-1", client_secret="secret-of-axe-1", environment="sandbox")
    asking = demo.create_app("zendesk", client_id="axe-2", client_secret="secret-of-axe-2", environment="sandbox")
    found: list[str] = []

    for url in [*hosted_pages(demo, app), asking.start_url()]:
        window.page.goto(url)
        found += faults(window.page)

    assert found == []


def test_no_page_of_the_console_keeps_anybody_out(window: Window, demo: Demo) -> None:
    page = window.page
    page.goto(f"{demo.url}/admin/login/")
    found = [*faults(page)]
    sign_in(window, demo)

    demo.post(
        "/v1/credentials", {"properties": {"kind": "stripe_key", "secret": demo.canaries.add("key", "sk_test_of_axe")}}
    )
    other = demo.create_app("linear", client_id="axe-3", client_secret="secret-of-axe-3", environment="sandbox")
    page.goto(other.start_url())  # a trip
    for path in CONSOLE:
        page.goto(f"{demo.url}/admin/{path}")
        found += faults(page)
    for model, pages in OF_A_ROW.items():
        page.goto(f"{demo.url}/admin/{model}/")
        rows = page.locator("#result_list tbody a[href*='/change/']")
        assert rows.count(), model
        row = rows.first.get_attribute("href") or ""
        for name in pages:
            page.goto(demo.url + row.replace("/change/", f"/{name}/"))
            found += faults(page)

    assert found == []


def test_no_page_that_a_button_opens_keeps_anybody_out(window: Window, other_window: Window, demo: Demo) -> None:
    """What has no address of its own, or another for each who looks."""
    page = sign_in(window, demo)
    page.goto(f"{demo.url}/admin/oauth_apps/apitoken/add/")
    page.get_by_label("Name").fill("For the eyes")
    page.get_by_role("button", name="Save", exact=True).click()
    demo.canaries.add("API token", page.locator("#api-token").inner_text())
    found = [*faults(page)]
    page.goto(f"{demo.url}/admin/credentials/credential/connect/?provider=linear")
    if page.get_by_role("link", name=re.compile("^Continue")).count():
        page.get_by_role("link", name=re.compile("^Continue")).first.click()
    found += faults(page)
    page.get_by_role("button", name=re.compile("^Go to")).click()
    page.get_by_role("link", name="Approve", exact=True).click()
    page.get_by_role("button", name="Make a reconnect link").click()
    found += faults(page)
    owner = other_window.page
    owner.goto(page.locator("code", has_text="/link/oauth2/start/").first.inner_text())
    owner.get_by_role("link", name="Deny", exact=True).click()
    owner.wait_for_url("**/link/oauth2/ended/*")
    found += faults(owner)
    page.goto(f"{demo.url}/admin/my-login/second-factor/")
    found += faults(page)

    assert found == []
