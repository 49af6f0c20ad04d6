"""`manage.py create_api_token ACCOUNT [--scopes a,b]`"""

import json
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import Q

from oauth_apps import api_tokens, audit
from oauth_apps.models import Account


class Command(BaseCommand):
    help = "Makes an API token for an account, given by its id or its exact name, and prints it this once, as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account")
        parser.add_argument("--scopes", default=",".join(api_tokens.DEFAULT_SCOPES), help=", ".join(api_tokens.SCOPES))

    def handle(self, *args: Any, account: str, scopes: str, **options: Any) -> None:
        wanted = [scope.strip() for scope in scopes.split(",")]
        if unknown := [scope for scope in wanted if scope not in api_tokens.SCOPES]:
            raise CommandError(
                f"Unknown scopes: {', '.join(unknown) or 'none'}. There are: {', '.join(api_tokens.SCOPES)}."
            )
        owner, by = one_account(account), audit.Actor.command("create_api_token")
        with transaction.atomic():
            row, token = api_tokens.issue(owner, scopes=list(dict.fromkeys(wanted)))
            audit.record("api_token.created", by=by, account=owner, to=row, detail=", ".join(row.scopes))
        self.stdout.write(json.dumps({"api_token": token}))


def one_account(text: str) -> Account:
    """Raises CommandError unless exactly one account has `text` as its id or its name."""
    by_name = Q(name=text)
    try:
        found = list(Account.objects.filter(by_name | Q(pk=UUID(text)))[:2])
    except ValueError:
        found = list(Account.objects.filter(by_name)[:2])
    if not found:
        raise CommandError("There is no such account.")
    if len(found) > 1:
        raise CommandError("Several accounts have this name: give the id.")
    return found[0]
