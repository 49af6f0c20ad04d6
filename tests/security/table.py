"""Which test proves which row. `python -m tests.security.table` writes the table of docs/security.md."""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOCUMENT = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- the table begins -->\n", "<!-- the table ends -->\n"
CHAPTERS = {
    "A": "Start and redirect URIs",
    "B": "Callback and context binding",
    "C": "Our code and the token endpoint",
    "D": "Management API and accounts",
    "E": "Secrets at rest, logs, keys",
    "F": "Egress and misbehaving providers",
    "G": "Refresh, crashes, time",
    "H": "Console, browser, platform",
    "I": "Load and input",
    "J": "Webhooks",
}
TEST = re.compile(rf"test_([{''.join(CHAPTERS).lower()}]\d\d)_\w+")

Row = Mapping[str, Any]


def rows() -> dict[str, Row]:
    """By id. Of each: `threat`, `where`, `required`, `source`, and perhaps `decisive` and `nearest`."""
    return tomllib.loads((HERE / "rows.toml").read_text())


def tests() -> dict[str, list[str]]:
    """By id of the row, the tests that carry it in their names: `test_a_redirect_uris.py::test_a02_…`."""
    found = defaultdict(list)
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (match := TEST.fullmatch(node.name)):
                found[match[1].upper()].append(f"{path.name}::{node.name}")
    return dict(found)


def nearest(row: Row) -> tuple[str, str]:
    """Why no test attacks a running server for it, and which test stands in: `tests/lib/test_http.py::test_…`."""
    return row["nearest"]["why"], row["nearest"]["test"]


def exists(test: str) -> bool:
    """Whether `tests/lib/test_http.py::test_…` is a test."""
    name, _, function = test.partition("::")
    path = ROOT / name
    nodes = ast.walk(ast.parse(path.read_text())) if path.is_file() else ()
    return any(isinstance(node, ast.FunctionDef) and node.name == function for node in nodes)


def table() -> str:
    """Chapter for chapter, as Markdown. Raises KeyError: a row is of a chapter that there is not."""
    proofs, lines = tests(), list[str]()
    for letter, named in groupby(rows().items(), key=lambda row: row[0][0]):
        lines += ["", f"### {letter}. {CHAPTERS[letter]}", ""]
        lines += ["| | threat | where | required | source | proven by |", "|---|---|---|---|---|---|"]
        for name, row in named:
            star = "★" if row.get("decisive") else ""
            proof = [f"`{test.partition('::')[2]}`" for test in proofs.get(name, [])]
            if "nearest" in row:
                why, test = nearest(row)
                proof.append(f"`{test}`: {why}")
            cells = [f"{name}{star}", row["threat"], row["where"], row["required"], row["source"], "<br>".join(proof)]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines).strip() + "\n"


def written() -> str:
    """docs/security.md with the table as it is now."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(written())
