"""
For the dashboard: how many trips and refreshes an account had on a day, and how they ended, long after the rows
themselves are gone. deleted_trips.py adds the trips, refresh/daily_outcomes.py the refreshes.
"""

import datetime
import uuid
from collections.abc import Mapping

from django.db import connections, models
from django.db.models import Case

from credentials.models.outcome import Outcome
from oauth_apps.models import Account


class Counted(models.TextChoices):
    """What is counted: how trips ended, and what became of refreshes."""

    CONNECTED = "connected", "connected"
    DENIED = "denied", "denied"
    FAILED = "failed", "failed"
    UNFINISHED = "unfinished", "not finished"
    REFRESHED = "refreshed", "refreshed"
    NOT_REFRESHED = "not_refreshed", "refresh failed"


UNDER_WAY = "under_way"  # is no outcome yet, and is not counted

# A trial that the provider has granted is connected: it shows, as any trip does, that the OAuth app connects accounts.
# Tokens that nobody fetched are a failure: the end user has done his part, and has nothing of it.
COUNTED_AS = {
    Outcome.CONNECTED: str(Counted.CONNECTED),
    Outcome.DENIED: str(Counted.DENIED),
    Outcome.FAILED: str(Counted.FAILED),
    Outcome.NOT_FETCHED: str(Counted.FAILED),
    Outcome.NOT_FINISHED: str(Counted.UNFINISHED),
    Outcome.WAITING: UNDER_WAY,
}


def counted_in_sql(now: datetime.datetime) -> Case:
    """Of an Authorization, for a query: what it counts as, or UNDER_WAY."""
    return Outcome.in_sql(now, COUNTED_AS.__getitem__)


class DailyCountQuerySet(models.QuerySet["DailyCount"]):
    def add(self, counts: Mapping[tuple[uuid.UUID, datetime.date, str], int]) -> None:
        """Add numbers to those of an account, a (UTC) day and what was counted: one statement, whatever there is.

        Two that lock the same rows do so in the same order. Numbers of an account that is gone are dropped.
        """
        if not counts:
            return
        keys = list(counts)
        accounts, days, whats = zip(*keys, strict=True)
        table = self.model._meta.db_table
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                f"""
                INSERT INTO {table} (account_id, day, what, number)
                SELECT new.account_id, new.day, new.what, new.number
                FROM unnest(%s::uuid[], %s::date[], %s::text[], %s::int[]) AS new (account_id, day, what, number)
                WHERE EXISTS (SELECT FROM {Account._meta.db_table} account WHERE account.id = new.account_id)
                ORDER BY new.account_id, new.day, new.what
                ON CONFLICT (account_id, day, what) DO UPDATE SET number = {table}.number + excluded.number
                """,  # noqa: S608 (names of ours, no values)
                [list(accounts), list(days), list(whats), [counts[key] for key in keys]],
            )

    def outdated(self, today: datetime.date) -> "DailyCountQuerySet":
        return self.filter(day__lt=today - DailyCount.KEPT)


class DailyCount(models.Model):
    """One number of one day. Of trips, those that are purged by now; of refreshes, all."""

    KEPT = datetime.timedelta(days=90)

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    what = models.CharField(max_length=20, choices=Counted)
    number = models.PositiveIntegerField()

    objects = DailyCountQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "day", "what"], name="one_number_a_day")]

    def __str__(self) -> str:
        return f"{self.number} {self.what} on {self.day}"
