"""`manage.py create_account NAME [--user EMAIL]`"""

import json
import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction

from oauth_apps import api_tokens, audit
from oauth_apps.models import Account, Membership


class Command(BaseCommand):
    help = (
        "Makes an account and an API token for it, and prints both as one JSON object: the token is shown this once. "
        "--user adds a console user, and prints the password of one that is new."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--user", metavar="EMAIL", default="")

    @transaction.atomic
    def handle(self, *args: Any, name: str, user: str, **options: Any) -> None:
        account, by = Account(name=name), audit.Actor.command("create_account")
        try:
            account.full_clean()
            account.save()
            password = add_member(account, user) if user else ""
        except ValidationError as exc:
            raise CommandError(" ".join(exc.messages)) from exc
        row, token = api_tokens.issue(account)
        events = [
            audit.event("account.created", by=by, account=account, to=account),
            audit.event("api_token.created", by=by, account=account, to=row, detail=", ".join(row.scopes)),
        ]
        if membership := Membership.objects.filter(account=account).select_related("user").first():
            events.append(audit.event("member.created", by=by, account=account, to=membership))
            if password:
                events.append(audit.event("user.created", by=by, account=None, to=membership.user))
        audit.write(events)
        answer = {"account_id": str(account.id), "api_token": token}
        self.stdout.write(json.dumps(answer | ({"password": password} if password else {})))


def add_member(account: Account, email: str) -> str:
    """Lets the user `email` into the console and into `account`; the password of one that is new, else nothing.

    Raises ValidationError.
    """
    validate_email(email)
    users = get_user_model()
    user = users.objects.filter(username=email).first() or users(username=email, email=email)
    password = secrets.token_urlsafe(18) if user.pk is None else ""
    if password:
        user.set_password(password)
    user.is_staff = True
    user.full_clean()
    user.save()
    Membership.objects.get_or_create(account=account, user=user)
    return password
