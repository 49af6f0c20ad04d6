"""On which line of a TOML text something stands. It reads the text as TOML that is sound, or nearly so."""

import re
from collections.abc import Iterator, Sequence

# What may hide a bracket, a line break or a number sign comes first
TOKEN = re.compile(
    r"""
      \"{3}(?:\\.|[^\\])*?(?:\"{3,5}|\Z) | '{3}.*?(?:'{3,5}|\Z)  # strings of several lines
    | \"(?:\\.|[^\\"\n])*\"? | '[^'\n]*'?
    | \#[^\n]* | \n | .
    """,
    re.DOTALL | re.VERBOSE,
)
KEY = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
DOTTED = rf"{KEY}(?:[ \t]*\.[ \t]*{KEY})*"
HEADER = re.compile(rf"[ \t]*\[(\[?)[ \t]*({DOTTED})[ \t]*\]")
ASSIGNMENT = re.compile(rf"[ \t]*({DOTTED})[ \t]*=")
WITHIN = re.compile(rf"(?:[{{,])[ \t\n]*({DOTTED})[ \t]*=")  # of an inline table

Path = tuple[str | int, ...]


def line_of(text: str, path: Sequence[str | int]) -> int:
    """The line, counted from 1, on which the value at `path` begins; else its table's; else the first."""
    return find(text, path)[1]


def find(text: str, path: Sequence[str | int]) -> tuple[int, int]:
    """How much of `path` the text has, in steps, and the line where that stands.

    A number in `path` says which table of an array of tables it is; within a value it counts for nothing.
    """
    best, line = 0, 1
    for number, written in _written(text):
        shared = _shared(written, path)
        if shared > best:  # of those that have equally much, the first: the table itself, not what stands in it
            best, line = shared, number
        if best == len(path):
            break
    return best, line


def _shared(written: Path, path: Sequence[str | int]) -> int:
    shared = 0
    for ours, theirs in zip(written, path, strict=False):
        if ours != theirs:
            break
        shared += 1
    return shared


def _written(text: str) -> Iterator[tuple[int, Path]]:
    """Every header and every key with its whole path, in the order of the text."""
    table: Path = ()
    count: dict[Path, int] = {}
    for number, line in _logical_lines(text):
        if header := HEADER.match(line):
            table = _numbered(_keys(header[2]), count)
            if header[1]:
                count[table] = count.get(table, -1) + 1
                table = (*table, count[table])
            yield number, table
        elif assignment := ASSIGNMENT.match(line):
            path = (*table, *_keys(assignment[1]))
            yield number, path
            yield from _inline(number, path, line[assignment.end() :])


def _numbered(keys: Path, count: dict[Path, int]) -> Path:
    """`[a.b]` below `[[a]]` belongs to the last of them."""
    path: Path = ()
    for key in keys[:-1]:
        path = (*path, key)
        path = (*path, count[path]) if path in count else path
    return (*path, keys[-1])


def _inline(number: int, path: Path, value: str) -> Iterator[tuple[int, Path]]:
    """The keys of inline tables that stand in `value`, of the first level, each on its own line."""
    if not value.lstrip().startswith("{"):
        return
    for found in WITHIN.finditer(value):
        yield number + value.count("\n", 0, found.start(1)), (*path, *_keys(found[1]))


def _keys(dotted: str) -> Path:
    return tuple(key.strip("\"'") for key in re.findall(KEY, dotted))


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its number; one that goes on in brackets or in a long string is one."""
    depth, number, begun = 0, 1, 1
    pieces: list[str] = []
    for token in TOKEN.findall(text):
        number += token.count("\n")
        if token == "\n" and depth <= 0:
            yield begun, "".join(pieces)
            depth, begun, pieces = 0, number, []
            continue
        pieces.append("" if token.startswith("#") else token)
        depth += (token in "[{") - (token in "]}")
    yield begun, "".join(pieces)
