"""What of a table does not fit a struct: one complaint after the other, each with the keys that lead to it."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

LARGEST_TOLD = 20  # complaints about one table
MISSING = re.compile(r"Object missing required field `(.+?)`")
UNKNOWN = re.compile(r"Object contains (unknown field `(.+?)`)")
STEP = re.compile(r"\.([^.\[`]+)|\[(\d+|\.\.\.)\]")

Keys = list[str | int]


def misfits(table: Any, struct: type[msgspec.Struct]) -> Iterator[tuple[Keys, str]]:
    """Each value of `table` that `struct` does not take: where it is, and why. A key that is missing: its table.

    What is wrong is taken out, until the rest will do; msgspec tells the first thing alone.
    """
    taken_out: set[tuple[str | int, ...]] = set()
    for _ in range(LARGEST_TOLD):
        try:
            msgspec.convert(table, struct)
        except msgspec.ValidationError as exc:
            path = _place(table, struct, str(exc))
            missing = MISSING.match(str(exc))
            if missing is None or (*path, missing[1]) not in taken_out:
                yield path, _in_words(str(exc), path)
            if not path:
                return  # a key is missing from the whole
            table = _without(table, path)
            taken_out.add(tuple(path))
        else:
            return


def _place(table: Any, struct: type[msgspec.Struct], message: str) -> Keys:
    """The keys that lead to what msgspec complains of, which says `[...]` for the key of a table."""
    where = message.partition(" - at `")[2]
    steps: Keys = []
    for name, index in STEP.findall(where):
        if index == "...":
            steps.append(_guilty(table, struct, steps, message))
        else:
            steps.append(int(index) if index else name)
    if unknown := UNKNOWN.match(message):
        steps.append(unknown[2])
    return steps


def _guilty(table: Any, struct: type[msgspec.Struct], above: Keys, message: str) -> str:
    """Which key of the table at `above` makes msgspec say `message`: the one that does so alone."""
    entries = _at(table, above)
    for key, value in entries.items():
        try:
            msgspec.convert(_with(table, above, {key: value}), struct)
        except msgspec.ValidationError as exc:
            if str(exc) == message:
                return str(key)
    return str(next(iter(entries)))


def _in_words(message: str, path: Keys) -> str:
    """msgspec's sentence behind the keys as a file writes them: variables.shop.label: expected `str`, got `int`."""
    said = message.partition(" - at `")[0]
    if unknown := UNKNOWN.match(said):
        said, path = unknown[1], path[:-1]
    said = said.removeprefix("Object ")
    where = ".".join(str(step) for step in path if isinstance(step, str))
    return f"{where}: {said[0].lower()}{said[1:]}" if where else said


def _at(table: Any, path: Keys) -> Any:
    for step in path:
        table = table[step]
    return table


def _with(table: Any, path: Keys, value: Any) -> Any:
    """A copy of `table` in which `value` stands at `path`."""
    if not path:
        return value
    copy: Any = list(table) if isinstance(table, list) else dict(table)
    copy[path[0]] = _with(table[path[0]], path[1:], value)
    return copy


def _without(table: Any, path: Keys) -> Any:
    above = _at(table, path[:-1])
    if isinstance(above, list):
        return _with(table, path[:-1], [item for index, item in enumerate(above) if index != path[-1]])
    return _with(table, path[:-1], {key: value for key, value in above.items() if key != path[-1]})
