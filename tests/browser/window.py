"""A window of Chromium: one browser with its own cookies, and everything that it called and complained about."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request

from tests.real.canaries import Canaries
from tests.real.machine import BASE_DIR

SCREENSHOTS = BASE_DIR / "var" / "screenshots"
LOOPBACK = {"127.0.0.1", "localhost"}


@dataclass
class Window:
    context: BrowserContext
    canaries: Canaries
    requests: list[Request] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.set_default_timeout(15_000)  # milliseconds
        self.context.on("request", self._note)
        self.context.on("console", self._listen)
        self.page = self.context.new_page()

    def new_tab(self) -> Page:
        return self.context.new_page()

    def take(self, name: str, page: Page | None = None) -> Path:
        """A screenshot of the whole page, of this window's first tab unless another is named."""
        path = SCREENSHOTS / f"{name}.png"
        (page or self.page).screenshot(path=path, full_page=True)
        return path

    def calls_to(self, prefix: str) -> list[Request]:
        return [request for request in self.requests if request.url.startswith(prefix)]

    def left_the_machine(self) -> list[str]:
        """Requests to hosts that are not this one."""
        schemes = {"http", "https", "ws", "wss"}
        urls = [urlsplit(request.url) for request in self.requests]
        return [url.netloc for url in urls if url.scheme in schemes and url.hostname not in LOOPBACK]

    def broken_policies(self) -> list[str]:
        return [text for text in self.console if "Content Security Policy" in text]

    def note_cookies(self) -> None:
        """Those of open trips; the end of a trip takes its cookie away."""
        for cookie in self.context.cookies():
            if cookie["name"].startswith("link_"):
                self.canaries.add("cookie", cookie["value"].partition(".")[2])

    def _note(self, request: Request) -> None:
        self.requests.append(request)
        self.canaries.add_url(request.url)

    def _listen(self, message: ConsoleMessage) -> None:
        self.console.append(message.text)
