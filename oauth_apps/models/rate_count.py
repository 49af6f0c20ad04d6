"""How often something was done in a stretch of time: what limits are measured by, shared by all processes."""

from collections.abc import Mapping
from datetime import timedelta

from django.db import connection, models
from django.utils import timezone

ADD = """
    INSERT INTO oauth_apps_ratecount AS counted (key_hash, since, number)
    SELECT key_hash, to_timestamp(%s), number
    FROM unnest(%s::bytea[], %s::integer[]) AS told (key_hash, number)
    ON CONFLICT (key_hash, since) DO UPDATE SET number = counted.number + excluded.number
    RETURNING key_hash, number
"""


class RateCountQuerySet(models.QuerySet["RateCount"]):
    def add(self, since: float, numbers: Mapping[bytes, int]) -> dict[bytes, int]:
        """Add to each key's number in the window that began at `since`, in seconds of Unix; what they are then."""
        with connection.cursor() as cursor:
            cursor.execute(ADD, [since, list(numbers), list(numbers.values())])
            return {bytes(key): number for key, number in cursor.fetchall()}

    def outdated(self) -> "RateCountQuerySet":
        return self.filter(since__lt=timezone.now() - RateCount.KEPT)


class RateCount(models.Model):
    """So many of one kind, by one API token, account, client or address, since `since`.

    The table is UNLOGGED: it is written often, and after a crash of the server everybody may start anew.
    """

    KEPT = timedelta(minutes=1)  # a window is ten seconds, and the clocks of two machines may differ

    pk = models.CompositePrimaryKey("key_hash", "since")
    key_hash = models.BinaryField(max_length=32)
    since = models.DateTimeField(db_index=True)
    number = models.PositiveIntegerField(default=0)

    objects = RateCountQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.number} since {self.since}"
