"""Answers that are given again to whoever asks again."""

from datetime import timedelta

from django.db import models
from django.utils import timezone

from oauth_apps.models.account import Account


class IdempotencyRecordQuerySet(models.QuerySet["IdempotencyRecord"]):
    def claim(self, account: "Account", *, key_hash: bytes, body_hash: bytes) -> "IdempotencyRecord":
        """The row of a key, locked until the transaction ends. Of two that make it at once, one waits for the other."""
        record, _ = self.select_for_update().get_or_create(
            account=account, key_hash=key_hash, defaults={"body_hash": body_hash}
        )
        return record

    def outdated(self) -> "IdempotencyRecordQuerySet":
        return self.filter(created_at__lt=timezone.now() - IdempotencyRecord.KEPT)


class IdempotencyRecord(models.Model):
    """The masked answer to a create that named an `Idempotency-Key`."""

    KEPT = timedelta(hours=24)

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    key_hash = models.BinaryField(max_length=32)
    body_hash = models.BinaryField(max_length=32)
    status_code = models.PositiveSmallIntegerField(null=True)  # None: the first request is still being answered
    answer = models.TextField(default="")  # JSON as it was sent; JSONB would sort its members
    created_at = models.DateTimeField(default=timezone.now)

    objects = IdempotencyRecordQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "key_hash"], name="idempotency_key_once_an_account")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_by_time")]

    def __str__(self) -> str:
        return f"answered {self.status_code}" if self.status_code else "being answered"
