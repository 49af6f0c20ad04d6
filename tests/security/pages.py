"""What a page of ours may not hold, whatever the policy of its header would stop."""

from html.parser import HTMLParser
from urllib.parse import urlsplit

LINKS = {"href", "src", "action", "formaction", "data", "poster"}
LOADS = {"script", "img", "iframe", "object", "embed", "source", "video", "audio", "link"}
SCHEMES = {"", "http", "https", "mailto"}


class Reader(HTMLParser):
    def __init__(self, *, is_console: bool) -> None:
        super().__init__()
        self.is_console = is_console
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "script" and "src" not in attributes and attributes.get("type") != "application/json":
            self.problems.append("a script in the page")
        if tag == "style" and not self.is_console:
            self.problems.append("a style in the page")
        if tag == "base":
            self.problems.append("a <base>")
        for name, value in attributes.items():
            if name.startswith("on"):
                self.problems.append(f"{name} of <{tag}>")
            if name == "style" and not self.is_console:
                self.problems.append(f"a style of <{tag}>")
            if name in LINKS:
                self.judge(tag, name, value)

    def judge(self, tag: str, name: str, value: str) -> None:
        parts = urlsplit(value.strip())
        if tag == "img" and value.startswith("data:image/"):
            return
        if parts.scheme not in SCHEMES:
            self.problems.append(f"{name} of <{tag}> leads to {parts.scheme}:")
        if tag in LOADS and parts.netloc:
            self.problems.append(f"<{tag}> loads from {parts.netloc}")


def problems_of(page: str, *, is_console: bool = False) -> list[str]:
    """Scripts and handlers in the page, what is loaded from elsewhere, links that run something.

    `is_console`: styles may stand in the page.
    """
    reader = Reader(is_console=is_console)
    reader.feed(page)
    reader.close()
    return reader.problems
