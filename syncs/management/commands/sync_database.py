"""`manage.py sync_database`"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from syncs.destinations import DestinationUnavailable, builtin


class Command(BaseCommand):
    help = (
        "Makes the database and the role that syncs write to, and keeps both apart from the product's; what is there is"
        " left. With SYNC_DATABASE_URL it makes nothing, and looks whether that one answers."
    )

    def handle(self, *args: Any, verbosity: int, **options: Any) -> None:
        try:
            found = builtin.target()
        except DestinationUnavailable as exc:
            raise CommandError(str(exc)) from exc
        if verbosity:
            self.stdout.write(f"Syncs write to the database {found.database} as {found.username}.")
