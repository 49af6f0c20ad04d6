"""What axe-core finds wrong with a page for people who see, hear or move otherwise: WCAG 2, levels A and AA."""

from collections.abc import Iterator, Mapping
from typing import Literal

from playwright.sync_api import Page

from tests.real.machine import BASE_DIR

LEVELS = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
COLOURS = {"type": "rule", "values": ["color-contrast"]}  # the one thing that is another in the dark
RUN = """async (runOnly) => {
    const found = await axe.run(document, { runOnly, resultTypes: ["violations"] });
    if (!found.passes.length) throw new Error("axe saw nothing");
    return found.violations.flatMap((violation) =>
        violation.nodes.map((node) => `${violation.id}: ${node.html.slice(0, 200)} ${node.any[0]?.message ?? ""}`));
}"""

# Cells of a list that have more in them than they show
CUT_OFF = """() => [...document.querySelectorAll("#result_list tbody :is(th, td)")]
    .filter((cell) => cell.scrollHeight > cell.clientHeight + 1 || cell.scrollWidth > cell.clientWidth + 1)
    .map((cell) => `${cell.dataset.label}: ${cell.innerText}`)"""

# The console looks at the system's colours when a page opens, and puts them down as a class
IN_COLOURS = """(colours) => {
    if (document.documentElement.hasAttribute("x-data"))
        document.documentElement.classList.toggle("dark", colours === "dark");
}"""


def violations(page: Page, rules: Mapping[str, object]) -> list[str]:
    """One line for each; axe is brought by the test, the page's policy lets nothing in."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate((BASE_DIR / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found: list[str] = page.evaluate(RUN, rules)
    return found


def faults(page: Page) -> Iterator[str]:
    """Of the page that is open, in both colours; it is left light and wide."""
    page.wait_for_function("!document.documentElement.hasAttribute('x-cloak')")  # the console's script has run
    colours: Literal["light", "dark"]
    for colours, rules in (("light", LEVELS), ("dark", COLOURS)):
        page.emulate_media(color_scheme=colours, reduced_motion="reduce")
        page.evaluate(IN_COLOURS, colours)
        for violation in violations(page, rules):
            yield f"{page.url} {colours}: {violation}"
    page.set_viewport_size({"width": 390, "height": 800})
    if (width := widest(page)) > 390:
        yield f"{page.url} is {width} px wide on a phone"
    for words in cut_off(page):
        yield f"{page.url} cuts off on a phone: {words}"
    page.emulate_media(color_scheme="light")
    page.evaluate(IN_COLOURS, "light")
    page.set_viewport_size({"width": 1280, "height": 800})


def widest(page: Page) -> int:
    """How wide the page is, in pixels of CSS: more than the window scrolls sideways."""
    page.wait_for_load_state()
    width: int = page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
    return width


def cut_off(page: Page) -> list[str]:
    """What the open list does not show whole in the window as wide as it is."""
    found: list[str] = page.evaluate(CUT_OFF)
    return found
