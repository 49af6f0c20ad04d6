"""
What is synced, where to, and how it went.

Of progress only the state that dlt keeps beside the rows is the truth, since it is committed with them. What stands
here of it (`Sync.progress`) is to look at, and for decisions that cost work if they are wrong, and never rows.
"""

import secrets
import uuid
from datetime import timedelta
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from credentials.models import Credential
from oauth_apps.models import Account, HealthStatus
from providers.collection import Collection
from sequin_auth.lib.encryption import SealedTextField

Progress = dict[str, dict[str, Any]]


def new_schema() -> str:
    return f"sync_{secrets.token_hex(6)}"


class DestinationQuerySet(models.QuerySet["Destination"]):
    def of(self, account: "Account | uuid.UUID") -> "DestinationQuerySet":
        return self.filter(account=account)

    def builtin(self, account: Account) -> "Destination":
        """The account's place in our own sync database; made when it is first asked for."""
        kind = Destination.Kind.BUILTIN
        return self.get_or_create(account=account, kind=kind, defaults={"name": "Sync database"})[0]


class Destination(models.Model):
    """A PostgreSQL database that syncs write to: ours, or a customer's.

    `host`, `port`, `database`, `username`, `sslmode` and `password` are a customer's. `reader_password` is of the role
    that may only read, in ours: made when somebody first asks for it.
    """

    class Kind(models.TextChoices):
        BUILTIN = "builtin", "Sync database"
        POSTGRES = "postgres", "PostgreSQL"

    class SSLMode(models.TextChoices):
        REQUIRE = "require"
        VERIFY_FULL = "verify-full"
        DISABLE = "disable"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="destinations")
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.POSTGRES)
    name = models.CharField(max_length=200, default="", blank=True)
    host = models.CharField(max_length=253, default="", blank=True)
    port = models.PositiveIntegerField(default=5432)
    database = models.CharField(max_length=63, default="", blank=True)
    username = models.CharField(max_length=63, default="", blank=True)
    password = SealedTextField(null=True)
    sslmode = models.CharField("SSL mode", max_length=12, choices=SSLMode, default=SSLMode.REQUIRE)
    reader_password = SealedTextField(null=True)
    metadata = models.JSONField(default=dict, blank=True)

    health_status = models.CharField(max_length=5, choices=HealthStatus, default=HealthStatus.OK, editable=False)
    health_notes = models.JSONField(default=list, editable=False)
    health_time = models.DateTimeField(default=timezone.now, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = DestinationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account"], condition=Q(kind="builtin"), name="one_builtin_destination_an_account"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["account", "-created_at", "-id"], name="destinations_listed")]

    def __str__(self) -> str:
        return self.name or f"{self.get_kind_display()} {self.id}"

    @property
    def is_builtin(self) -> bool:
        return self.kind == Destination.Kind.BUILTIN

    def observe(self, status: HealthStatus, notes: list[str]) -> None:
        """Write down what was just learnt. Touches no other field."""
        self.health_status, self.health_notes, self.health_time = status, notes, timezone.now()
        type(self).objects.filter(pk=self.pk).update(
            health_status=self.health_status, health_notes=self.health_notes, health_time=self.health_time
        )


class SyncQuerySet(models.QuerySet["Sync"]):
    def of(self, account: "Account | uuid.UUID") -> "SyncQuerySet":
        return self.filter(account=account)

    def whole(self) -> "SyncQuerySet":
        """With all that is needed to show one."""
        return self.select_related("destination", "credential__token", "credential__oauth_app")

    def active(self) -> "SyncQuerySet":
        return self.filter(status=Sync.Status.ACTIVE)


class Sync(models.Model):
    """A credential's collections, kept fresh in the schema `schema` of a destination.

    `next_at`: when its next slice is due. `failures`: slices in a row that got no further, and `failure` why.

    `progress`: by collection id, what the last slices told. If it is lost, work is done twice or in another order;
    where a pass stands is kept beside the rows. To look at alone: `state`, `pass` (its number). The rest decides:

    * order: `turn`, when it was walked last (seconds since 1970); `backfilled`, whether a full pass has ended, which
      also says when the first backfill is complete; `error`, why it does not go on, empty if it does
    * deletions: `marked`, the full pass after which they were looked at; lost, they are looked at again, and the same
      rows are marked
    * intervals: `rows`, those alive, say how often a full pass comes, and that a table which is gone is missed;
      `next_at`, when its next pass is worth a slice; `last_synced_at`, when its last pass ended, by which an earlier
      refresh is still to be done, and health calls it late
    * health: `failures` of it in a row; `skipped`, rows without a key; `too_many_gone`, rows that were left alone since
      more than half would have been marked
    """

    class Status(models.TextChoices):
        ACTIVE = "active"
        DISABLED = "disabled"

    class Frequency(models.TextChoices):
        CONTINUOUS = "continuous", "continuously"
        FOUR_HOURS = "4h", "every four hours"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="syncs")
    provider = models.CharField(max_length=100)
    name = models.CharField(max_length=200)
    credential = models.ForeignKey(Credential, on_delete=models.RESTRICT, related_name="syncs")
    collection_ids = models.JSONField()
    discovered = models.JSONField(default=dict, editable=False)  # by bare id, what the catalogue does not tell of it
    destination = models.ForeignKey(Destination, on_delete=models.RESTRICT, related_name="syncs")
    schema = models.CharField(max_length=63, unique=True, default=new_schema, editable=False)
    status = models.CharField(max_length=8, choices=Status, default=Status.ACTIVE)
    sync_frequency = models.CharField(max_length=10, choices=Frequency, default=Frequency.CONTINUOUS)
    max_age_days = models.PositiveIntegerField(null=True, blank=True)
    rate_limit = models.JSONField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    external_id = models.CharField(max_length=200, default="", blank=True)
    stream_id = models.CharField(max_length=200, default="", blank=True)

    progress = models.JSONField(default=dict, editable=False)
    initial_backfill_completed_at = models.DateTimeField(null=True, editable=False)
    refresh_asked_at = models.DateTimeField(null=True, editable=False)  # passes that ended before are due again
    full_refresh_asked_at = models.DateTimeField(null=True, editable=False)  # and full ones
    refresh_collections = models.JSONField(default=list, editable=False)  # those that were asked for; none: all
    next_at = models.DateTimeField(default=timezone.now)
    failures = models.PositiveIntegerField(default=0, editable=False)
    failure = models.CharField(max_length=20, default="", editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    health_status = models.CharField(max_length=5, choices=HealthStatus, default=HealthStatus.OK, editable=False)
    health_parts = models.JSONField(default=dict, editable=False)  # credential, provider, destination
    health_notes = models.JSONField(default=list, editable=False)
    health_time = models.DateTimeField(default=timezone.now, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = SyncQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["account", "-created_at", "-id"], name="syncs_listed"),
            models.Index(fields=["account", "external_id"], name="syncs_by_external_id", condition=~Q(external_id="")),
            models.Index(fields=["next_at"], name="syncs_due", condition=Q(status="active")),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_active(self) -> bool:
        return self.status == Sync.Status.ACTIVE

    @property
    def interval(self) -> timedelta:
        """Between the end of a collection's pass and its next one."""
        return timedelta(hours=4) if self.sync_frequency == Sync.Frequency.FOUR_HOURS else timedelta(seconds=60)

    def bare_ids(self) -> list[str]:
        """Its collections' ids as the catalogue has them, without the provider."""
        return [name.partition(":")[2] for name in self.collection_ids]

    def every(self, collection: Collection) -> timedelta:
        """What `interval` is for one collection, whose vendor may ask for more patience."""
        return max(self.interval, timedelta(seconds=collection.every or 0))


class Stop(models.TextChoices):
    """Why a slice ended."""

    DONE = "done", "nothing more to do"
    TIME = "time", "time or rows used up"
    RATE_LIMITED = "rate_limited", "rate limit"
    UNAUTHORIZED = "unauthorized", "credential not accepted"
    FORBIDDEN = "forbidden", "not allowed"
    PROVIDER_ERROR = "provider_error", "provider failed"
    BAD_DATA = "bad_data", "answer not understood"
    DESTINATION = "destination", "destination failed"
    DISABLED = "disabled", "sync disabled"
    FAILED = "failed", "broken off"


class SyncRun(models.Model):
    """One slice, saved as it begins. `ended_at` is null and `stop` empty while it goes on. `rows`: by collection.
    `note`: in our words, nothing that the provider wrote.
    """

    KEPT = timedelta(days=7)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="runs")
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)
    rows = models.JSONField(default=dict)
    requests = models.PositiveIntegerField(default=0)
    waited_ms = models.PositiveIntegerField(default=0)
    stop = models.CharField(max_length=20, choices=Stop, default="")
    note = models.CharField(max_length=300, default="")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["sync", "-started_at", "-id"], name="sync_runs_listed"),
            models.Index(fields=["started_at"], name="sync_runs_by_time"),
            models.Index(fields=["started_at"], name="sync_runs_open", condition=Q(ended_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.sync_id} {self.started_at:%Y-%m-%d %H:%M:%S}"


class DroppedSchema(models.Model):
    """A schema of a deleted sync that the sweep has to drop, however long the destination is away.

    It is dropped more than once: a slice that was at work when its sync was deleted makes its schema anew.
    """

    KEPT = timedelta(minutes=10)

    destination = models.ForeignKey(Destination, on_delete=models.CASCADE, related_name="dropped_schemas")
    schema = models.CharField(max_length=63, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    dropped_at = models.DateTimeField(null=True)  # the first time

    def __str__(self) -> str:
        return self.schema


class SyncMeasure(models.Model):
    """A number that only grows, of all processes together: a line of `/metrics`, without whose sync it is.

    `label`: a collection's id, or the status of an answer. Who adds to it: syncs/measures.py.
    """

    class Name(models.TextChoices):
        ROWS = "rows"
        REQUESTS = "requests"
        WAIT_SECONDS = "wait_seconds"
        SLICE_SECONDS = "slice_seconds"
        SLICES = "slices"

    name = models.CharField(max_length=20, choices=Name)
    provider = models.CharField(max_length=100, default="")
    label = models.CharField(max_length=200, default="")
    value = models.FloatField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "provider", "label"], name="one_measure_of_a_name")]

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, self.provider, self.label)))


class SyncDatabase(models.Model):
    """The password of the role that writes to our own sync database: random, one row, known to every process."""

    ONLY = uuid.UUID(int=1)

    id = models.UUIDField(primary_key=True, default=ONLY, editable=False)
    password = SealedTextField()

    def __str__(self) -> str:
        return "the sync database"


class ErasedAccount(models.Model):
    """An account that is gone, whose schemas and reader may still stand in the sync database.

    `schemas`: those of its syncs; one that was at work then may make them anew for a while.
    """

    KEPT = timedelta(minutes=15)

    id = models.UUIDField(primary_key=True, editable=False)  # the account's
    schemas = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return str(self.id)
