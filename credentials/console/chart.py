"""What happened in the last days: how many of what, in columns that are drawn with CSS and told in words."""

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Count, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from credentials.console.seen import Seen
from credentials.models import Authorization, Counted, DailyCount
from credentials.models.daily_count import UNDER_WAY, counted_in_sql

DAYS = 14

Numbers = Mapping[tuple[datetime.date, str], int]

# What is counted, its name and the class of its colour, from the bottom of a column to its top
TRIPS = (
    (Counted.CONNECTED, "connected", "ok"),
    (Counted.DENIED, "denied", "warn"),
    (Counted.FAILED, "failed", "error"),
    (Counted.UNFINISHED, "not finished", "muted"),
)
REFRESHES = ((Counted.REFRESHED, "refreshed", "ok"), (Counted.NOT_REFRESHED, "failed", "error"))


@dataclass(frozen=True)
class Part:
    """One outcome in a column, or of all days together. `percent`: of the highest column."""

    name: str
    colour: str
    number: int
    percent: str = "0"


@dataclass(frozen=True)
class Column:
    day: datetime.date
    parts: list[Part]

    @property
    def total(self) -> int:
        return sum(part.number for part in self.parts)

    @property
    def words(self) -> str:
        told = ", ".join(f"{part.number} {part.name}" for part in self.parts if part.number)
        return f"{self.day:%A}, {self.day.day} {self.day:%B}: {told or 'nothing'}"


@dataclass(frozen=True)
class Chart:
    columns: list[Column]
    totals: list[Part]
    under_way: int = 0

    @property
    def total(self) -> int:
        return sum(part.number for part in self.totals)


def numbers(seen: Seen, today: datetime.date) -> Numbers:
    """How many of what on each of the last days, in one statement: what a purge moves meanwhile is in it once."""
    first = today - datetime.timedelta(days=DAYS - 1)
    midnight = datetime.datetime.combine(first, datetime.time(), tzinfo=datetime.UTC)
    day = TruncDate("created_at", tzinfo=datetime.UTC)
    trips = seen(Authorization.objects.filter(created_at__gte=midnight), "oauth_app__account")
    live = trips.annotate(day=day, what=counted_in_sql(timezone.now())).values("day", "what").annotate(sum=Count("pk"))
    kept = seen(DailyCount.objects.filter(day__gte=first)).values("day", "what").annotate(sum=Sum("number"))
    rows = kept.values_list("day", "what", "sum").union(live.values_list("day", "what", "sum"), all=True)
    found: Counter[tuple[datetime.date, str]] = Counter()
    for date, what, number in rows:
        found[date, what] += number
    return found


def chart(found: Numbers, today: datetime.date, counted: Sequence[tuple[Counted, str, str]]) -> Chart:
    days = [today - datetime.timedelta(days=ago) for ago in reversed(range(DAYS))]
    highest = max(sum(found.get((day, what), 0) for what, *_ in counted) for day in days) or 1

    def part(name: str, colour: str, number: int) -> Part:
        return Part(name, colour, number, f"{100 * number / highest:.2f}")

    return Chart(
        columns=[
            Column(day, [part(name, colour, found.get((day, what), 0)) for what, name, colour in counted])
            for day in days
        ],
        totals=[Part(name, colour, sum_of(found, what, days)) for what, name, colour in counted],
        under_way=sum_of(found, UNDER_WAY, days) if counted is TRIPS else 0,
    )


def sum_of(found: Numbers, what: str, days: Sequence[datetime.date]) -> int:
    return sum(found.get((day, what), 0) for day in days)


def success_rate(trips: Chart, *, days: int = 7) -> int | None:
    """Of 100 trips that came to an end, how many have connected an account; None if there was none."""
    lately = trips.columns[-days:]
    ended = sum(column.total for column in lately)
    connected = sum(column.parts[0].number for column in lately)
    return round(100 * connected / ended) if ended else None
