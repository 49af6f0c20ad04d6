import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from credentials.purge import NotPurged, purge


class Command(BaseCommand):
    help = "Erase expired trips, unclaimed tokens and kept answers. Also runs by itself, every minute, in the worker."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.stdout.write(json.dumps(purge()))
        except NotPurged as exc:
            raise CommandError(str(exc)) from exc
