"""How often a credential's API is called, by whoever calls it: all syncs, threads and machines keep one pace."""

import uuid
from typing import Any, ClassVar

from django.db import connection, models

from credentials.models.credential import Credential
from providers.vocabulary import RateLimit

PATIENCE = 5.0  # seconds that a request waits for its turn; who would wait longer comes back later
BURST = 10  # requests at most that may follow each other without a pause

STATEMENT = """
    INSERT INTO credentials_pace AS pace (credential_id, bucket, next_at)
    VALUES (%(credential)s, %(bucket)s, clock_timestamp() + %(gap)s * interval '1 second')
    ON CONFLICT (credential_id, bucket) DO UPDATE
        SET next_at = greatest(pace.next_at, clock_timestamp() - %(burst)s * interval '1 second')
            + %(gap)s * interval '1 second'
        WHERE pace.next_at < clock_timestamp() + %(patience)s * interval '1 second'
    RETURNING greatest(0, extract(epoch FROM next_at - clock_timestamp())::float - %(gap)s)
"""
AHEAD = """
    SELECT extract(epoch FROM next_at - clock_timestamp())::float FROM credentials_pace
    WHERE credential_id = %(credential)s AND bucket = %(bucket)s
"""


class Pace(models.Model):
    """When a credential's next request may go out. `bucket`: which of the provider's limits it is counted under."""

    credential = models.ForeignKey(Credential, on_delete=models.CASCADE, related_name="+")
    bucket = models.CharField(max_length=60, default="")
    next_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["credential", "bucket"], name="one_pace_a_credential_and_bucket")
        ]

    def __str__(self) -> str:
        return f"{self.credential_id} {self.bucket}"


class TooFarAhead(Exception):
    """The next turn is further away than anyone waits for. Nothing was reserved. `seconds`: until it is worth a try."""

    def __init__(self, seconds: float) -> None:
        super().__init__("The rate limit is used up for now.")
        self.seconds = seconds


def reserve(credential_id: uuid.UUID, limit: RateLimit, *, bucket: str = "") -> float:
    """Take the next turn: the seconds to wait for it, at most PATIENCE and one gap. Raises TooFarAhead."""
    gap = limit.interval / limit.allowed_requests
    burst = max(0.0, (min(limit.allowed_requests, BURST) - 1) * gap)
    values: dict[str, Any] = {
        "credential": credential_id,
        "bucket": bucket,
        "gap": gap,
        "burst": burst,
        "patience": PATIENCE,
    }
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT, values)
        if row := cursor.fetchone():
            return float(row[0])
        cursor.execute(AHEAD, values)
        row = cursor.fetchone()
    raise TooFarAhead(max(1.0, float(row[0]) if row else 1.0))


def put_off(credential_id: uuid.UUID, seconds: float, *, bucket: str = "") -> None:
    """Nobody calls before that: the provider said so to one of us."""
    values: dict[str, Any] = {"credential": credential_id, "bucket": bucket, "seconds": seconds}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO credentials_pace AS pace (credential_id, bucket, next_at)
            VALUES (%(credential)s, %(bucket)s, clock_timestamp() + %(seconds)s * interval '1 second')
            ON CONFLICT (credential_id, bucket) DO UPDATE
                SET next_at = greatest(pace.next_at, clock_timestamp() + %(seconds)s * interval '1 second')
            """,
            values,
        )
