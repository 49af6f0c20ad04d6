"""A browser without a screen: it keeps cookies, follows redirects, sends forms and chooses among links."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qs, parse_qsl, urljoin, urlsplit

import requests

from tests.real.canaries import Canaries

MOST_STEPS = 20


@dataclass(frozen=True)
class Step:
    """One request of the trip; `cookies`: the names that were sent."""

    method: str
    url: str
    status: int
    cookies: list[str]


class Page(HTMLParser):
    """What there is to click on: links, and one form."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(attributes.get("href", ""))
        elif tag == "form" and attributes.get("method") == "post":
            self.action = attributes["action"]
        elif tag == "input":
            self.fields[attributes.get("name", "")] = attributes.get("value", "")

    def link(self, outcome: str) -> str:
        """The link that says what the end user wants; empty if there is none."""
        chosen = [link for link in self.links if parse_qs(urlsplit(link).query).get("outcome") == [outcome]]
        return chosen[0] if chosen else ""


@dataclass
class EndUser:
    canaries: Canaries
    browser: requests.Session = field(default_factory=requests.Session)
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.browser.trust_env = False

    def get(self, url: str) -> requests.Response:
        """The answer of this one URL."""
        return self._note(self.browser.get(url, allow_redirects=False, timeout=30))

    def post(self, page: str, action: str, fields: dict[str, str]) -> requests.Response:
        """Send a form of `page`. A browser sends no Lax cookie along where that is another site."""
        to_another_site = urlsplit(page).hostname != urlsplit(action).hostname
        session = requests.Session() if to_another_site else self.browser
        session.trust_env = False
        return self._note(session.post(action, fields, allow_redirects=False, timeout=30))

    def walk(self, url: str, *, to: str, outcome: str = "approve") -> str:
        """Go on from `url` until the browser is about to call a URL that begins with `to`: returns that one.

        On a page with links that name outcomes, the end user chooses `outcome`.
        """
        for _ in range(MOST_STEPS):
            if url.startswith(to):
                self.canaries.add_url(url)
                return url
            answer = self.get(url)
            while answer.status_code == 200:
                page = Page(answer.text)
                if not page.action:
                    break
                action = urljoin(url, page.action)
                answer = self.post(url, action, page.fields)
                url = action
            onward = answer.headers.get("Location") or Page(answer.text).link(outcome)
            assert onward, f"{answer.status_code} at {urlsplit(url)._replace(query='').geturl()}: nowhere to go"
            url = urljoin(url, onward)
        raise AssertionError("The trip does not end.")

    def _note(self, answer: requests.Response) -> requests.Response:
        request = answer.request
        assert request.url
        assert request.method
        sent = [pair.split("=")[0] for pair in request.headers.get("Cookie", "").split("; ") if pair]
        self.steps.append(Step(request.method, request.url, answer.status_code, sent))
        for url in (request.url, answer.headers.get("Location", "")):
            self.canaries.add_url(url)
        for cookie in answer.cookies:
            if cookie.name.startswith("link_") and cookie.value:
                self.canaries.add("cookie", cookie.value.partition(".")[2])
        return answer


def query_of(url: str) -> dict[str, str]:
    """The query of `url`; a repeated name fails the test."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(pairs) == len(dict(pairs)), "a parameter is repeated"
    return dict(pairs)
