import time
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from oauth_apps import audit
from sequin_auth.lib.encryption import KeyIdOf, Sealed, SealedField, Unreadable, key_ring, sealed_fields

BATCH_SIZE = 200  # rows in a statement, which holds their locks
PAUSE = 0.05  # seconds between two passes


class Command(BaseCommand):
    help = (
        "Seals every stored secret anew with the first of ENCRYPTION_KEYS. The product may run meanwhile; a run that "
        "was cut off is taken up by the next. Then `keys status` tells which keys can be retired."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        unreadable = sealed_anew = 0
        by, key = audit.Actor.command("rotate_keys"), f"to the key {key_ring().sealing_key_id}"
        audit.record("keys.rotation_began", by=by, account=None, named=key)
        for field in sealed_fields():
            rotation = Rotation(field)
            rotation.run()
            self.stdout.write(f"{field}: {rotation.sealed_anew} sealed anew, {len(rotation.unreadable)} unreadable")
            for problem in rotation.unreadable.values():
                self.stderr.write(problem)
            unreadable += len(rotation.unreadable)
            sealed_anew += rotation.sealed_anew
        detail = f"{sealed_anew} sealed anew, {unreadable} unreadable"
        audit.record("keys.rotated", by=by, account=None, named=key, detail=detail)
        if unreadable:
            raise CommandError(f"{unreadable} values do not open. They were left as they are.")


class Rotation:
    """One field, all rows. What a writer changes meanwhile is left to him, and met again if it needs to be."""

    def __init__(self, field: SealedField[Any, Any]) -> None:
        self.field = field
        self.sealed_anew = 0
        self.unreadable: dict[Any, str] = {}  # by primary key

    def run(self) -> None:
        """Pass over the table until no row was changed under our hands."""
        while sum(self.reseal(batch) for batch in self.batches()):
            time.sleep(PAUSE)

    def batches(self) -> Iterator[list[tuple[Any, Sealed]]]:
        """What another key has sealed, by primary key."""
        name = self.field.name
        rows = self.field.model._base_manager.filter(**{f"{name}__isnull": False}).order_by("pk")
        rows = rows.annotate(sealed_by=KeyIdOf(name)).exclude(sealed_by=key_ring().sealing_key_id.encode())
        batch = list(rows.values_list("pk", name)[:BATCH_SIZE])
        while batch:
            yield batch
            batch = list(rows.filter(pk__gt=batch[-1][0]).values_list("pk", name)[:BATCH_SIZE])

    def reseal(self, batch: list[tuple[Any, Sealed]]) -> int:
        """How many rows were not the same any more, or in somebody else's hands."""
        anew: dict[Any, tuple[Sealed, Sealed]] = {}
        for pk, sealed in batch:
            try:
                anew[pk] = sealed, self.field.seal(self.field.open(sealed, pk=pk), pk=pk)
            except Unreadable as exc:
                self.unreadable[pk] = str(exc)
            else:
                self.unreadable.pop(pk, None)
        replaced = self.replace(anew)
        self.sealed_anew += replaced
        return len(anew) - replaced

    def replace(self, anew: dict[Any, tuple[Sealed, Sealed]]) -> int:
        """Compare and swap, a batch in one statement; how many rows still had the value that it knew.

        It waits for no row: with many in its own hands, it could be the one that another such statement waits for.
        """
        meta = self.field.model._meta
        table, pk, column = meta.db_table, meta.pk.column, self.field.column
        id_type = meta.pk.db_type(connection)
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                WITH free AS (
                    SELECT stored.{pk} AS id, given.anew
                    FROM {table} AS stored
                    JOIN unnest(%s::{id_type}[], %s::bytea[], %s::bytea[]) AS given (id, before, anew)
                        ON stored.{pk} = given.id AND stored.{column} = given.before
                    FOR UPDATE OF stored SKIP LOCKED
                )
                UPDATE {table} SET {column} = free.anew FROM free WHERE {table}.{pk} = free.id
                """,  # noqa: S608 (names of ours, no values)
                [
                    list(anew),
                    [before.envelope for before, _ in anew.values()],
                    [new.envelope for _, new in anew.values()],
                ],
            )
            return int(cursor.rowcount)
