"""Where a problem stands in the text of a catalogue file."""

import pytest

from providers.catalogue.lines import find, line_of

TEXT = '''slug = "acme"  # [a table in a comment]
setup = [
  "One = 1 ]",
  "Two",
]
api = { base_url = "https://acme.com", params = { a = "b" } }
long = """
[credential]
name = "not this one"
"""

[credential]
name = { callback = "name", identity = true }
"quoted key" = { callback = "b" }

[variables.shop]
label = "Shop"

[kinds.acme_key]
properties.secret = { secret = true }

[[sandbox.calls]]
url = "https://acme.com/1"

[[sandbox.calls]]
url = "https://acme.com/2"
[sandbox.calls.answer]
id = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (["slug"], 1),
        (["setup"], 2),
        (["setup", 1], 2),
        (["api"], 6),
        (["api", "params"], 6),
        (["credential"], 12),
        (["credential", "name"], 13),
        (["credential", "name", "identity"], 13),
        (["credential", "quoted key"], 14),
        (["variables", "shop", "label"], 17),
        (["variables", "shop", "pattern"], 16),  # is missing: its table
        (["kinds", "acme_key", "properties", "secret", "secret"], 20),
        (["kinds", "acme_key", "auth"], 19),
        (["sandbox", "calls", 0, "url"], 23),
        (["sandbox", "calls", 1, "url"], 26),
        (["sandbox", "calls", 1, "answer", "id"], 28),
        (["name"], 1),  # is nowhere
        ([], 1),
    ],
)
def test_it_finds_the_line(path: list[str | int], line: int) -> None:
    assert line_of(TEXT, path) == line


def test_a_table_within_brackets_has_lines_of_its_own() -> None:
    text = "a = [\n  { b = 1 },\n]\n[c]\nd = {\n  e = 1,\n  f = 2 }\n"

    assert line_of(text, ["c", "d", "f"]) == 7


def test_it_says_how_much_of_the_path_is_there() -> None:
    assert find(TEXT, ["credential", "name", "pattern"]) == (2, 13)
    assert find(TEXT, ["nothing"]) == (0, 1)


@pytest.mark.parametrize(
    "text", ["", 'a = """', "a = '''\nb", 'a = "\n[b', "[", "= 1", "a = [[[[\n" * 50, "]\n}\na = 1"]
)
def test_a_text_that_is_broken_breaks_nothing(text: str) -> None:
    assert line_of(text, ["a"]) >= 1
