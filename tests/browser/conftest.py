"""The demo that `manage.py run` starts, with the foreign providers beside it, and windows of headless Chromium."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from sequin_auth.processes import Processes
from tests.browser.demo import Demo, new_demo, start_example
from tests.browser.window import Window
from tests.real.gateway import directory_of_this_run, processes_in
from tests.real.machine import program
from tests.real.oidc import OidcProviders, start_oidc_providers

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """For this folder alone: while Playwright runs, Django takes the thread for an asynchronous one."""
    # Debian's headless shell takes a fifth of the processor time, since a whole browser draws its window for each test
    installed = program("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    with directory_of_this_run("browser", request.session) as directory:
        yield directory


@pytest.fixture(scope="package")
def processes(directory: Path) -> Iterator[Processes]:
    with processes_in(directory) as processes:
        yield processes


@pytest.fixture(scope="package")
def oidc(processes: Processes, directory: Path) -> OidcProviders:
    return start_oidc_providers(processes, directory)


@pytest.fixture(scope="package")
def demo(chromium: Browser, processes: Processes, directory: Path, oidc: OidcProviders) -> Demo:
    demo = new_demo(directory, oidc)
    demo.start(processes)
    return demo


@pytest.fixture(scope="package")
def posting_example(processes: Processes, demo: Demo, oidc: OidcProviders) -> str:
    """The URL of an example app whose provider answers by form_post, from another site."""
    app = oidc.create_app(
        demo, "oidc-form-post", habit="form_post", method="client_secret_post", response_modes=["form_post"]
    )
    return start_example(processes, demo, app)


@pytest.fixture
def open_window(chromium: Browser, demo: Demo) -> Iterator[Callable[[], Window]]:
    """Opens browsers that know nothing of each other. Afterwards: none called another machine or broke a policy."""
    windows: list[Window] = []

    def open_one() -> Window:
        windows.append(Window(chromium.new_context(), demo.canaries))
        return windows[-1]

    yield open_one
    for window in windows:
        window.note_cookies()
        window.context.close()
    assert [window.left_the_machine() for window in windows] == [[]] * len(windows)
    assert [window.broken_policies() for window in windows] == [[]] * len(windows)


@pytest.fixture
def window(open_window: Callable[[], Window]) -> Window:
    return open_window()


@pytest.fixture
def other_window(open_window: Callable[[], Window]) -> Window:
    return open_window()
