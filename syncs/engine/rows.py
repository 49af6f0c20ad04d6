"""What a provider's rows become before they are handed on: only what a table can hold."""

import re
from functools import lru_cache
from typing import Any

from dlt.common.json import json as as_dlt_writes
from dlt.common.normalizers.naming.snake_case import NamingConvention

from providers.collection import Collection, Row

AWKWARD = re.compile(rb"\x00|\\u0000|\d{19}")  # what PostgreSQL does not take, and dlt would not notice
BIGGEST = 2**63
DEEPEST = 100  # levels of nesting that are kept
OWN = {"_pass", "_synced_at", "_deleted_at"}  # columns


def named(name: str) -> str:
    """The identifier that dlt makes of a name."""
    return NamingConvention(63).normalize_identifier(name)


def cleaned(page: Any, content: bytes, collection: Collection) -> list[Any]:
    """The rows, without what no column takes; most pages hold nothing of it, which is cheap to see."""
    rows = [clean(row) for row in page] if AWKWARD.search(content) or not is_plain(page) else list(page)
    keep = collection.parent.keep if collection.parent else ""
    keys = frozenset(filter(None, [*collection.keys, keep]))
    return [row if all(is_free(name, keys) for name in row) else renamed(row, keys) for row in rows]


def is_plain(page: Any) -> bool:
    """Whether dlt can write it down: no half characters, no integers of more than 64 bits, no abyss."""
    try:
        as_dlt_writes.typed_dumpb(list(page))
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def renamed(row: Row, keys: frozenset[str]) -> Row:
    return {name if is_free(name, keys) else f"provider_{name}": value for name, value in row.items()}


@lru_cache(maxsize=10_000)
def is_free(name: str, keys: frozenset[str]) -> bool:
    """Whether a row's member may have the column that its name asks for: not one of ours, of dlt's, or of the key."""
    if name in keys:
        return True
    column = named(name) if name.strip() else ""
    return bool(column) and column not in OWN | set(map(named, keys)) and not column.startswith("_dlt_")


def clean(value: Any, depth: int = 0) -> Any:
    if depth > DEEPEST:
        return None
    if isinstance(value, str):
        return (
            value.replace("\x00", "").encode("utf-8", "replace").decode()
            if not value.isascii() or "\x00" in value
            else value
        )
    if isinstance(value, dict):
        return {clean(name): clean(member, depth + 1) for name, member in value.items()}
    if isinstance(value, list):
        return [clean(item, depth + 1) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -BIGGEST <= value < BIGGEST:
        return str(value)
    return value
