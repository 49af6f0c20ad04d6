"""
The feed of what happened to the records of a provider's collections, the latest first.

Nobody keeps it. An event has a number, which says what happened, in which collection, and as which one
of its kind; so a page is read off from wherever it begins.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import NamedTuple

from providers.sandbox.api.asking import Asked, Query
from providers.sandbox.api.moving import Bound, Data, Field, Key
from providers.sandbox.api.records import Source
from providers.sandbox.api.vocabulary import EventNames, Feed

DAY = 86_400
OF_A_KIND = 10**8  # more events than there ever are of one kind


class Kind(NamedTuple):
    """One kind of event of one collection: its name, how many there are, and of the n-th the time and the record."""

    name: str
    source: Source
    many: int
    time: Callable[[int], int]
    record: Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Events:
    """What has happened, by kinds; the records of the feed."""

    kinds: Mapping[int, Kind]

    @classmethod
    def of(cls, collections: Mapping[str, tuple[EventNames, Source, Data]]) -> "Events":
        found = [kind for names, source, data in collections.values() for kind in _kinds(names, source, data)]
        return cls({code: kind for code, kind in enumerate(found) if kind.name})

    def named(self, is_wanted: Callable[[str], bool]) -> "Events":
        return Events({code: kind for code, kind in self.kinds.items() if is_wanted(kind.name)})

    def has_been(self, number: int) -> bool:
        code, of_its_kind = divmod(number, OF_A_KIND)
        return code in self.kinds and of_its_kind < self.kinds[code].many

    def created(self, number: int) -> int:
        code, of_its_kind = divmod(number, OF_A_KIND)
        return self.kinds[code].time(of_its_kind)

    def updated(self, number: int) -> int:
        return self.created(number)

    def key(self, number: int, by: Field) -> Key:
        return self.created(number), number

    def version(self, number: int) -> int:
        return 0

    def is_gone(self, number: int) -> bool:
        return False

    def event(self, number: int) -> tuple[str, Source, int]:
        """Its name, and the record that it is about: as it was then, and its number."""
        code, of_its_kind = divmod(number, OF_A_KIND)
        kind = self.kinds[code]
        return kind.name, kind.source, kind.record(of_its_kind)

    def back_from(self, before: Key) -> Iterator[Key]:
        """Those before, the latest first."""
        return merge(*(_back_from(before, code, kind) for code, kind in self.kinds.items()), reverse=True)


def _kinds(names: EventNames, source: Source, data: Data) -> list[Kind]:
    return [
        Kind(names.created, source, data.count, data.created, lambda number: number),
        Kind(names.updated, source, data.changed, _from_one(data.changed_at), _from_one(data.changed_by)),
        Kind(names.deleted, source, data.gone, _from_one(data.gone_at), _from_one(data.gone_with)),
    ]


def _from_one(counted: Callable[[int], int]) -> Callable[[int], int]:
    return lambda number: counted(number + 1)


def _back_from(before: Key, code: int, kind: Kind) -> Iterator[Key]:
    place = bisect_right(range(kind.many), before[0], key=kind.time)
    for of_its_kind in range(place - 1, -1, -1):
        key = kind.time(of_its_kind), code * OF_A_KIND + of_its_kind
        if key < before:
            yield key


def is_wanted(feed: Feed, asked: Asked) -> Callable[[str], bool]:
    """Which events the request asks for, by their names."""
    one = asked.text(feed.type_param)
    several = {
        value
        for name, values in asked.request.GET.lists()
        if feed.types_param and re.fullmatch(rf"{re.escape(feed.types_param)}\[\d*\]", name, re.ASCII)
        for value in values
    }
    if one and several:
        raise asked.refuse(f"{feed.type_param} and {feed.types_param} are not taken together.")
    pattern = re.compile(re.escape(one).replace(r"\*", ".*"))
    return lambda name: bool(not one or pattern.fullmatch(name)) and (not several or name in several)


def page(feed: Feed, query: Query, events: Events, now: float) -> tuple[list[int], bool]:
    """The numbers of a page's events, and whether others follow."""
    latest = int(now)
    earliest = now - feed.days * DAY
    for bound in query.bounds:
        latest, earliest = _narrowed(bound, latest, earliest)
    before = (latest + 1, 0)
    if query.behind:
        before = min(before, query.behind)
    found = [number for time, number in islice(events.back_from(before), query.size + 1) if time >= earliest]
    return found[: query.size], len(found) > query.size


def _narrowed(bound: Bound, latest: int, earliest: float) -> tuple[int, float]:
    """The last and the first second that are left. Times are whole seconds."""
    match bound.operator:
        case "gte":
            return latest, max(earliest, bound.seconds)
        case "gt":
            return latest, max(earliest, int(bound.seconds) + 1)
        case "lte":
            return min(latest, int(bound.seconds)), earliest
        case "lt":
            return min(latest, math.ceil(bound.seconds) - 1), earliest
