"""Numbers for `GET /metrics`, added up over all processes. They say neither whose they are nor of which machine."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import connections, models


class MeasureQuerySet(models.QuerySet["Measure"]):
    def add(self, numbers: Mapping[tuple[str, str, str], float]) -> None:
        """Add to what is kept: one statement. Two that lock the same rows do so in the same order."""
        if not numbers:
            return
        keys = sorted(numbers)
        names, labels, parts = zip(*keys, strict=True)
        table = self.model._meta.db_table
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                f"""
                INSERT INTO {table} AS kept (name, labels, part, value)
                SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::double precision[])
                ON CONFLICT (name, labels, part) DO UPDATE SET value = kept.value + excluded.value
                """,  # noqa: S608 (names of ours, no values)
                [list(names), list(labels), list(parts), [float(numbers[key]) for key in keys]],
            )


class Measure(models.Model):
    """A counter, one part of a histogram, or, where somebody counts rows now and then, how many he has found."""

    name = models.CharField(max_length=40)
    labels = models.CharField(max_length=300, default="")  # their values, with commas between them
    part = models.CharField(max_length=10, default="")
    value = models.FloatField()

    objects = MeasureQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "labels", "part"], name="one_number_a_measure")]

    def __str__(self) -> str:
        return f"{self.name} {self.labels} {self.part}: {self.value}"


class ProcessQuerySet(models.QuerySet["Process"]):
    def note(self, process: uuid.UUID, *, used: int, idle: int, waiting: int) -> None:
        """What the process has open now; who has not been heard of for an hour is forgotten. One statement."""
        table = self.model._meta.db_table
        values: list[Any] = [Process.KEPT, process, used, idle, waiting]
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                f"""
                WITH gone AS (
                    DELETE FROM {table} WHERE id IN (
                        SELECT id FROM {table} WHERE seen_at < statement_timestamp() - %s FOR UPDATE SKIP LOCKED
                    )
                )
                INSERT INTO {table} (id, seen_at, used, idle, waiting) VALUES (%s, statement_timestamp(), %s, %s, %s)
                ON CONFLICT (id) DO UPDATE SET
                    seen_at = excluded.seen_at, used = excluded.used, idle = excluded.idle, waiting = excluded.waiting
                """,  # noqa: S608 (names of ours, no values)
                values,
            )

    def note_worker(self, process: uuid.UUID, queues: Sequence[str]) -> None:
        """Which queues it works off. One statement."""
        table = self.model._meta.db_table
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                f"""
                INSERT INTO {table} (id, seen_at, used, idle, waiting, queues)
                VALUES (%s, statement_timestamp(), 0, 0, 0, %s)
                ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, queues = excluded.queues
                """,  # noqa: S608 (names of ours, no values)
                [process, ",".join(queues)],
            )


class Process(models.Model):
    """One process, its pool of connections and the queues it works off, as it said itself some seconds ago."""

    KEPT = timedelta(hours=1)
    ALIVE = timedelta(seconds=30)  # since it was last heard of

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    seen_at = models.DateTimeField()
    used = models.PositiveIntegerField()
    idle = models.PositiveIntegerField()
    waiting = models.PositiveIntegerField()
    queues = models.CharField(max_length=200, default="", db_default="")  # of a worker, with commas between them

    objects = ProcessQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.id}: {self.used} used, {self.idle} idle, {self.waiting} waiting"
