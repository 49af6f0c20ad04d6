"""What a page of the documentation shows as code, in its order, and what its end users do between."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.real.machine import BASE_DIR

FENCE = re.compile(r"^ {0,3}(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
TRIP = re.compile(
    r'^<!-- the end user opens (?P<url>\S+), chooses (?P<outcome>[a-z_]+) and reads "(?P<text>[^"]+)" -->$'
)
PAGES = sorted(
    path.relative_to(BASE_DIR).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md")
    for path in BASE_DIR.glob(pattern)
)


@dataclass(frozen=True)
class Block:
    """`marks`: what stands behind the language, as in ```` ```sh run-by=tests/run/test_run.py ````."""

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language})"


@dataclass(frozen=True)
class Trip:
    """What an end user does in a browser: told in a comment, since the page tells it in words."""

    url: str
    outcome: str
    text: str


def parts_of(page: str) -> Iterator[Block | Trip]:
    opened: tuple[str, str, int] | None = None
    inside: list[str] = []
    for number, line in enumerate((BASE_DIR / page).read_text().splitlines(), 1):
        found = FENCE.match(line)
        if opened is None:
            if found:
                opened, inside = (found["fence"], found["info"].strip(), number), []
            elif trip := TRIP.match(line.strip()):
                yield Trip(**trip.groupdict())
        elif found and found["fence"].startswith(opened[0]) and not found["info"].strip():
            yield block(page, opened[2], opened[1], inside)
            opened = None
        else:
            inside.append(line)
    assert opened is None, f"{page}:{opened[2] if opened else 0}: this block has no end"


def block(page: str, line: int, info: str, inside: list[str]) -> Block:
    language, *rest = shlex.split(info) or [""]
    marks = dict(one.partition("=")[::2] for one in rest)
    indentation = min((len(text) - len(text.lstrip()) for text in inside if text.strip()), default=0)
    return Block(page, line, language, "".join(f"{text[indentation:]}\n" for text in inside), marks)


def blocks_of(page: str) -> list[Block]:
    return [part for part in parts_of(page) if isinstance(part, Block)]
