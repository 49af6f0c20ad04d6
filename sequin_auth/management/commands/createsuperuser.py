"""Django's `createsuperuser`, written down."""

from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.db import transaction

from oauth_apps import audit
from sequin_auth.management.saved_users import saved_users


class Command(createsuperuser.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic(), saved_users() as users:  # around its questions too: until then it has only read
            super().handle(*args, **options)
            for user in users:
                by = audit.Actor.command("createsuperuser")
                audit.record("user.created", by=by, account=None, to=user, detail="superuser")
