from collections import defaultdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from credentials.refresh import spool
from sequin_auth.lib.encryption import key_ring, keys_in_use, sealed_fields


class Command(BaseCommand):
    help = "Tells which of ENCRYPTION_KEYS are in use, and by what."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["status"])

    def handle(self, *args: Any, **options: Any) -> None:
        used: dict[str | None, list[str]] = defaultdict(list)
        for field in sealed_fields():
            for key_id, count in keys_in_use(field).items():
                used[key_id].append(f"  {field}: {count}")
        for key_id, count in spool.keys_in_use().items():
            used[key_id].append(f"  answers that wait for the database ({spool.folder()}): {count}")

        ring = key_ring()
        for key_id in ring.key_ids:
            seals = key_id == ring.sealing_key_id
            unused = "is not in use yet" if seals else "is not in use: it can be retired"
            self.stdout.write(f"{key_id} {'seals and opens' if seals else 'opens'}")
            self.stdout.write("\n".join(used.pop(key_id, [f"  {unused}"])))

        broken = used.pop(None, [])
        missing = sorted(key_id for key_id in used if key_id)
        for key_id in missing:
            self.stderr.write("\n".join([f"{key_id} is missing from ENCRYPTION_KEYS", *used[key_id]]))
        if broken:
            self.stderr.write("\n".join(["no envelope, so never to be opened", *broken]))
        if missing or broken:
            raise CommandError("Stored secrets cannot be opened.")
