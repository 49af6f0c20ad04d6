"""
Data that move: a pure function of size and clock. Nothing is stored, and every process sees the same.

Records are numbered. 0 … size-1 are there at the start: one was made in each hour before it, the last one an hour
before. From then on one is made each minute. Of the first, the even ones stay: every ten seconds one of them is
changed, in an order that jumps about, and comes round again once each had its turn. The odd ones go, one every five
minutes, in such an order too; when none of them is left, those go that were made since, the eldest first. So whatever
happens to record n, and when, is arithmetic; only the order of the records is a list of integers, kept as long as
nothing moves.
"""

import functools
import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

HOUR = 3600  # seconds between two records that are there at the start
CHANGES, MADE, GOES = 10, 60, 300  # seconds between two changes, two new records, two that go
Field = Literal["created", "updated"]
Operator = Literal["gte", "gt", "lte", "lt"]
Key = tuple[int, int]  # a record's time, and its number


class Bound(NamedTuple):
    """Only records whose `field` is `operator` `seconds`."""

    field: Field
    operator: Operator
    seconds: float


class Timeline(Protocol):
    """What is there to be said of numbered things: records, or events."""

    def has_been(self, number: int) -> bool: ...

    def is_gone(self, number: int) -> bool: ...

    def created(self, number: int) -> int: ...

    def updated(self, number: int) -> int: ...

    def version(self, number: int) -> int: ...

    def key(self, number: int, by: Field) -> Key: ...


@dataclass(frozen=True, slots=True)
class Data:
    """The records at one moment: `size` of them at `start` (seconds since 1970), and what has happened since.

    `pace`: how many times slower than usual they move. `fixed`: they are made, and nothing else happens. `lists_gone`:
    those that have gone are still listed.
    """

    size: int
    start: int
    pace: int
    changed: int
    made: int
    gone: int
    lists_gone: bool = False

    @classmethod
    def at(
        cls, now: float, *, size: int, start: int, pace: int = 1, fixed: bool = False, lists_gone: bool = False
    ) -> "Data":
        elapsed = max(0, int(now) - start) // pace
        moved = 0 if fixed else elapsed
        return cls(size, start, pace, moved // CHANGES, elapsed // MADE, moved // GOES, lists_gone)

    def as_of(self, time: int) -> "Data":
        """The records at an earlier moment."""
        then = Data.at(time, size=self.size, start=self.start, pace=self.pace, lists_gone=self.lists_gone)
        changed, gone = min(then.changed, self.changed), min(then.gone, self.gone)  # none, of those that are fixed
        return replace(then, changed=changed, gone=gone)

    @property
    def count(self) -> int:
        """How many there have ever been."""
        return self.size + self.made

    # ---- one record ------------------------------------------------------------------------------------------------

    def has_been(self, number: int) -> bool:
        return 0 <= number < self.count

    def is_there(self, number: int) -> bool:
        return self.has_been(number) and (self.lists_gone or not self.is_gone(number))

    def is_gone(self, number: int) -> bool:
        loss = self._loss(number)
        return loss is not None and loss <= self.gone

    def created(self, number: int) -> int:
        if number < self.size:
            return self.start - (self.size - number) * HOUR
        return self.start + (number - self.size + 1) * MADE * self.pace

    def updated(self, number: int) -> int:
        loss = self._loss(number)
        if loss is not None and loss <= self.gone:
            return self.gone_at(loss)
        version = self.version(number)
        return self.changed_at(self._turn(number) + (version - 1) * self.stayers) if version else self.created(number)

    def version(self, number: int) -> int:
        """How many times it was changed."""
        if number >= self.size or number % 2 or self.changed < self._turn(number):
            return 0
        return 1 + (self.changed - self._turn(number)) // self.stayers

    def key(self, number: int, by: Field) -> Key:
        return (self.created(number) if by == "created" else self.updated(number)), number

    # ---- what happened ---------------------------------------------------------------------------------------------

    def changed_at(self, change: int) -> int:
        return self.start + change * CHANGES * self.pace

    def gone_at(self, loss: int) -> int:
        return self.start + loss * GOES * self.pace

    def changed_by(self, change: int) -> int:
        """The record that the n-th change changed; the first is 1."""
        return 2 * (change * stride(self.stayers) % self.stayers)

    def gone_with(self, loss: int) -> int:
        """The record that was the n-th to go; the first is 1."""
        if loss > self.goers:
            return self.size + loss - self.goers - 1
        return 2 * (loss * stride(self.goers) % self.goers) + 1

    def _turn(self, number: int) -> int:
        """The first change that changes an even record of the first."""
        return number // 2 * back(self.stayers) % self.stayers or self.stayers

    def _loss(self, number: int) -> int | None:
        """The loss with which it goes; None: it stays."""
        if number >= self.size:
            return self.goers + number - self.size + 1
        return (number // 2 * back(self.goers) % self.goers or self.goers) if number % 2 else None

    @property
    def stayers(self) -> int:
        return (self.size + 1) // 2

    @property
    def goers(self) -> int:
        return self.size // 2


@functools.cache
def stride(length: int) -> int:
    """By which steps one comes to each of `length` places once, without going along."""
    return next((step for step in range(int(length * 0.618), length) if step and math.gcd(step, length) == 1), 1)


@functools.cache
def back(length: int) -> int:
    return pow(stride(length), -1, length) if length > 1 else 0


# ---- in order --------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)
def ordered(data: Data, by: Field) -> list[int]:
    """The numbers of the records that are listed, the earliest first."""
    if by == "created":
        gone = set() if data.lists_gone else {data.gone_with(loss) for loss in range(1, data.gone + 1)}
        return [number for number in range(data.count) if number not in gone]
    since = range(max(1, data.changed - data.stayers + 1), data.changed + 1)
    moved = {data.changed_by(change) for change in since}
    gone = {data.gone_with(loss) for loss in range(1, data.gone + 1)}
    moved |= {*range(data.size, data.count)} - gone
    if data.lists_gone:
        moved |= gone
    resting = [number for number in range(data.size) if number not in moved and number not in gone]
    return resting + sorted(moved, key=lambda number: data.key(number, "updated"))


@functools.lru_cache(maxsize=4)
def found(data: Data, by: Field, bounds: tuple[Bound, ...]) -> list[int]:
    """Those of them that keep within `bounds`."""
    numbers = ordered(data, by)
    for bound in bounds:
        if bound.field == by:
            numbers = numbers[slice(*_within(data, numbers, bound))]
    for bound in bounds:
        if bound.field != by:
            others = ordered(data, bound.field)
            kept = {*others[slice(*_within(data, others, bound))]}
            numbers = [number for number in numbers if number in kept]
    return numbers


def _within(data: Data, numbers: list[int], bound: Bound) -> tuple[int, int]:
    def time(number: int) -> int:
        return data.key(number, bound.field)[0]

    cut = bisect_left if bound.operator in {"gte", "lt"} else bisect_right
    place = cut(numbers, bound.seconds, key=time)
    return (place, len(numbers)) if bound.operator in {"gte", "gt"} else (0, place)


@dataclass(frozen=True, slots=True)
class Selection:
    """The records that a query finds, in the order that it asks for."""

    data: Data
    by: Field
    bounds: tuple[Bound, ...]
    descending: bool

    def __len__(self) -> int:
        return len(self._numbers)

    def page(self, offset: int, size: int) -> list[int]:
        if not self.descending:
            return self._numbers[offset : offset + size]
        end = max(0, len(self) - offset)
        return self._numbers[max(0, end - size) : end][::-1]

    def behind(self, key: Key) -> int:
        """The offset of the first record behind `key`, be that one still there or not."""

        def of(number: int) -> Key:
            return self.data.key(number, self.by)

        if self.descending:
            return len(self) - bisect_left(self._numbers, key, key=of)
        return bisect_right(self._numbers, key, key=of)

    @property
    def _numbers(self) -> list[int]:
        return found(self.data, self.by, self.bounds)
