"""Who did what, when, from where. Written once and never changed; it holds names and ids, no secret."""

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import In
from django.utils import timezone

from oauth_apps.models.account import Account
from sequin_auth.lib.encryption import SealedBytesField


class AuditKey(models.Model):
    """The key of all seals of audit events: random, one row, sealed by ENCRYPTION_KEYS and so out of a dump's reach."""

    ONLY = uuid.UUID(int=1)

    id = models.UUIDField(primary_key=True, default=ONLY, editable=False)
    key = SealedBytesField()

    def __str__(self) -> str:
        return "the key of the audit log"


class AuditChain(models.Model):
    """One chain of audit events: what stands at both of its ends, so that neither can be cut off unseen.

    `name`: an account's id; for its refreshes, of which there are many at once, that and the first digit of the
    credential's; `platform` for what belongs to no account. `number`, `seal`: of the newest event.
    `forgotten`, `forgotten_seal`: of the newest that the retention has removed, 0 and nothing at first.
    """

    name = models.CharField(max_length=60, primary_key=True)
    number = models.BigIntegerField(default=0)
    seal = models.BinaryField(max_length=32, default=b"")
    forgotten = models.BigIntegerField(default=0)
    forgotten_seal = models.BinaryField(max_length=32, default=b"")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(forgotten__gte=0, number__gte=models.F("forgotten")), name="audit_chain_numbers"
            ),
            models.CheckConstraint(
                condition=models.Q(In(Length("seal"), [0, 32]), In(Length("forgotten_seal"), [0, 32])),
                name="audit_chain_seals",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}, up to {self.number}"


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def outdated(self) -> "AuditEventQuerySet":
        return self.filter(created_at__lt=timezone.now() - timedelta(days=settings.AUDIT_DAYS))


class AuditEvent(models.Model):
    """One deed. It outlives what it tells of: `actor` and `object_name` say what those were called then.

    `action`: a word for the thing and one for the deed, `oauth_app.created`. `detail`: what else there is to know.
    `api_token`: the id of the one that was shown, if it was done with one. `chain`, `number`: its place among those of
    its account. `seal`: HMAC-SHA256 over all that stands in the row and the seal of the one before. An event without a
    chain is older than chains are.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField("when", default=timezone.now)
    account = models.ForeignKey(Account, on_delete=models.SET_NULL, null=True, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    api_token = models.UUIDField(null=True)
    actor = models.CharField("who", max_length=200)
    action = models.CharField("did what", max_length=100)
    object_type = models.CharField(max_length=100, default="")
    object_id = models.CharField(max_length=100, default="")
    object_name = models.CharField("to what", max_length=300, default="")
    detail = models.CharField(max_length=500, default="")
    address = models.CharField("from where", max_length=45, default="")
    request_id = models.CharField(max_length=36, default="")
    chain = models.CharField(max_length=60, null=True)
    number = models.BigIntegerField(null=True)
    seal = models.BinaryField(max_length=32, null=True)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        verbose_name = "audit event"
        verbose_name_plural = "audit log"
        indexes = [
            models.Index(fields=["account", "-created_at", "-id"], name="audit_listed"),
            models.Index(fields=["-created_at", "-id"], name="audit_by_time"),
            models.Index(fields=["object_id", "-created_at"], name="audit_of_object"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["chain", "number"], name="one_event_a_number"),
            models.CheckConstraint(
                condition=models.Q(chain__isnull=True, number__isnull=True, seal__isnull=True)
                | models.Q(chain__isnull=False, number__isnull=False, seal__isnull=False),
                name="audit_place_and_seal",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.action}"
