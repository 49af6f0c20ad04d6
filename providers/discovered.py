"""A collection that a customer makes, once it was found."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping

import msgspec

from providers.collection import Collection, Discovery, with_names

LONGEST_SLUG = 30


class Discovered(Collection, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`kept_as`: its table, whatever the customer calls it later."""

    kept_as: str

    @property
    def table(self) -> str:
        return self.kept_as


def made(discovery: Discovery, parts: Mapping[str, str], *, name: str, table: str = "") -> Discovered:
    """The collection of the items whose ids are `parts`. `table`: where it has one already."""
    declared = with_names(msgspec.to_builtins(discovery.collection), parts)
    told = {"name": name, "kept_as": table or table_of(name, declared["id"])}
    return msgspec.convert({**declared, **told}, Discovered)


def table_of(name: str, collection_id: str) -> str:
    """A table's name that tells what the customer calls it, and is its own: ids may differ in case alone, which the
    names of tables do not.
    """
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "_", letters)[:LONGEST_SLUG].strip("_")
    begins_well = slug if slug[:1].isalpha() else f"t_{slug}".rstrip("_")
    return f"{begins_well}_{hashlib.sha256(collection_id.encode()).hexdigest()[:6]}"
