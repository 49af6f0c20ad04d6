"""The console in a window: signing in, and going on by what the page offers."""

import re
import secrets
from dataclasses import dataclass

import psycopg
from playwright.sync_api import Locator, Page, expect

from tests.browser.demo import Demo
from tests.browser.window import Window

MOST_TABS = 120


@dataclass(frozen=True)
class Newcomer:
    """A member of an account that has nothing in it."""

    name: str
    password: str


def newcomer(demo: Demo) -> Newcomer:
    name = f"newcomer-{secrets.token_hex(4)}@example.com"
    made = demo.manage("create_account", name.partition("@")[0], "--user", name)
    demo.canaries.add("API token", made["api_token"])
    with psycopg.connect(demo.database_uri, autocommit=True) as connection:
        connection.execute("DELETE FROM oauth_apps_apitoken WHERE account_id = %s", [made["account_id"]])
    return Newcomer(name, demo.canaries.add("password", made["password"]))


def sign_in(window: Window, demo: Demo, name: str = "admin", password: str = "") -> Page:
    page = window.page
    page.goto(f"{demo.url}/admin/login/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password or demo.password)
    page.get_by_label("Password").press("Enter")
    expect(page.get_by_role("heading", name="Dashboard", level=1)).to_be_visible()
    return page


def card(page: Page, provider: str) -> Locator:
    """A provider among the many that are offered."""
    return page.locator(".sq-providers a").filter(has=page.get_by_text(re.compile(rf"^{re.escape(provider)}")))


def tab_to(page: Page, wanted: Locator) -> None:
    """Press the tab key until the element has the focus, as somebody does who has no mouse."""
    target = wanted.first.element_handle()
    for _ in range(MOST_TABS):
        if page.evaluate("element => element === document.activeElement", target):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"not reached by the tab key: {wanted}")
