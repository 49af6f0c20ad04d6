from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import models, transaction
from django.db.models.functions import Cast

from sequin_auth.lib.encryption import KeyIdOf, Sealed, SealedField, Unreadable, key_ring, sealed_fields

BATCH_SIZE = 200  # rows in a transaction, which holds their locks


class Command(BaseCommand):
    help = (
        "Seals every stored secret anew with the first of ENCRYPTION_KEYS. The product may run meanwhile; a run that "
        "was cut off is taken up by the next. Then `keys status` tells which keys can be retired."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        unreadable = 0
        for field in sealed_fields():
            rotation = Rotation(field)
            rotation.run()
            self.stdout.write(f"{field}: {rotation.sealed_anew} sealed anew, {len(rotation.unreadable)} unreadable")
            for problem in rotation.unreadable.values():
                self.stderr.write(problem)
            unreadable += len(rotation.unreadable)
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
            pass

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
        """How many rows were not the same any more."""
        changed = 0
        with transaction.atomic():
            for pk, sealed in batch:
                try:
                    anew = self.field.seal(self.field.open(sealed, pk=pk), pk=pk)
                except Unreadable as exc:
                    self.unreadable[pk] = str(exc)
                    continue
                self.unreadable.pop(pk, None)
                replaced = self.replace(pk, sealed, anew)
                self.sealed_anew += replaced
                changed += not replaced
        return changed

    def replace(self, pk: Any, sealed: Sealed, anew: Sealed) -> int:
        """Compare and swap: one row, or none if its value is another by now."""
        stored = Cast(models.F(self.field.name), models.BinaryField())
        rows = self.field.model._base_manager.annotate(stored=stored).filter(pk=pk, stored=sealed.envelope)
        return rows.update(**{self.field.name: anew})
