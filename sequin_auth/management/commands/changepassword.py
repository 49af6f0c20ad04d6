"""Django's `changepassword`, written down."""

from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.db import transaction

from oauth_apps import audit
from sequin_auth.management.saved_users import saved_users


class Command(changepassword.Command):
    def handle(self, *args: Any, **options: Any) -> str | None:
        with transaction.atomic(), saved_users() as users:  # around its questions too: until then it has only read
            said = super().handle(*args, **options)
            for user in users:
                audit.record("user.password_set", by=audit.Actor.command("changepassword"), account=None, to=user)
        return said
