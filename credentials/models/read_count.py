"""
For the audit log: how often which API token read which credential's access token, minute by minute. The hot path writes
none of it; refresh/uses.py collects and adds.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
from django.conf import settings
from django.db import connection, models
from django.utils import timezone

from oauth_apps.models import Account

# What was collected goes in by one statement. In order: two processes that add to the same rows never wait for each
# other in a ring. An account that is gone by now has no reads.
ADD = """
    INSERT INTO credentials_readcount AS counted (account_id, api_token, credential, minute, number, address)
    SELECT account_id, api_token, credential, minute, number, address
    FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::integer[], %s::text[])
        AS told (account_id, api_token, credential, minute, number, address)
    JOIN oauth_apps_account AS account ON account.id = account_id
    ORDER BY account_id, minute, credential, api_token
    ON CONFLICT (account_id, minute, credential, api_token)
    DO UPDATE SET number = counted.number + excluded.number, address = excluded.address
"""


class Reads(msgspec.Struct, frozen=True):
    """What is counted together."""

    account: uuid.UUID
    api_token: uuid.UUID
    credential: uuid.UUID
    minute: datetime


class ReadCountQuerySet(models.QuerySet["ReadCount"]):
    def add(self, numbers: Mapping[Reads, tuple[int, str]]) -> None:
        """Add to each one's number; the second is the address of the last."""
        rows = [(one.account, one.api_token, one.credential, one.minute, *told) for one, told in numbers.items()]
        if rows:
            with connection.cursor() as cursor:
                cursor.execute(ADD, [list(column) for column in zip(*rows, strict=True)])

    def outdated(self) -> "ReadCountQuerySet":
        return self.filter(minute__lt=timezone.now() - timedelta(days=settings.AUDIT_READS_DAYS))


class ReadCount(models.Model):
    """So many reads of one credential with one API token within one minute. Ids only: it outlives both.

    `address`: the last one of the minute that they came from.
    """

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    api_token: "models.UUIDField[uuid.UUID, uuid.UUID]" = models.UUIDField()
    credential: "models.UUIDField[uuid.UUID, uuid.UUID]" = models.UUIDField()
    minute = models.DateTimeField()
    number = models.PositiveIntegerField()
    address = models.CharField(max_length=45, default="")

    objects = ReadCountQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "minute", "credential", "api_token"], name="one_number_a_minute")
        ]
        indexes = [
            models.Index(fields=["credential", "-minute"], name="reads_of_credential"),
            models.Index(fields=["minute"], name="reads_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.number} reads in {self.minute}"
