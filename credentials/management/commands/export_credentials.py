"""`manage.py export_credentials ACCOUNT`"""

from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandParser

from credentials.api import export
from credentials.models import Credential
from oauth_apps import audit
from oauth_apps.management.commands.create_api_token import one_account

log = structlog.get_logger("credentials")


class Command(BaseCommand):
    help = "Prints an account's credentials with their secrets, as NDJSON. The account: its id or its exact name."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account")

    def handle(self, *args: Any, account: str, **options: Any) -> None:
        owner = one_account(account)
        log.info("credentials_exported", account=str(owner.pk))
        credentials = Credential.objects.of(owner)
        by, named = audit.Actor.command("export_credentials"), export.number_of(credentials)
        audit.record("credential.exported", by=by, account=owner, named=named)  # before the first line
        for lines in export.lines(credentials):
            self.stdout.write(lines.decode(), ending="")
