"""
What `manage.py doctor` looks at, one module a subject. A finding says what is so and, unless that is well, how to mend
it; it repeats no secret and no address of a database.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(NamedTuple):
    level: Level
    what: str
    fix: str = ""


Look = Callable[[], Iterator[Finding]]
AT_FAULT: Final = "This look itself failed ({name}). Please report it."


def ok(what: str) -> Finding:
    return Finding(Level.OK, what)


def warning(what: str, fix: str) -> Finding:
    return Finding(Level.WARNING, what, fix)


def error(what: str, fix: str) -> Finding:
    return Finding(Level.ERROR, what, fix)


def duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
