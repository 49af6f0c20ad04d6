"""`manage.py remove_authenticator USER`"""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from oauth_apps import audit
from oauth_apps.models import Authenticator
from sequin_auth.lib import sessions


class Command(BaseCommand):
    help = "Removes the authenticator app of a console user who has lost it. The password alone is enough from then on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user")

    def handle(self, *args: Any, user: str, **options: Any) -> None:
        found = get_user_model().objects.filter(username=user).first()
        if found is None:
            raise CommandError("There is no such user.")
        with transaction.atomic():
            removed, _ = Authenticator.objects.filter(user=found).delete()
            if not removed:
                raise CommandError("This user has no authenticator app.")
            by = audit.Actor.command("remove_authenticator")
            audit.record("second_factor.removed", by=by, account=None, to=found)
            sessions.end_all_of(found.pk)
        self.stdout.write("Removed.")
