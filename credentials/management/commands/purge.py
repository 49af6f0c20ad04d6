import json
from typing import Any

from django.core.management.base import BaseCommand

from credentials.purge import purge


class Command(BaseCommand):
    help = "Erase expired trips, unclaimed tokens and kept answers. Also runs by itself, every minute, in the worker."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(json.dumps(purge()))
