"""`manage.py delete_account ID --yes`"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import RestrictedError

from credentials.models import Credential
from oauth_apps import audit
from oauth_apps.deletion import dependants_gone
from oauth_apps.models import Account
from sequin_auth.lib.postgres.faults import is_of_row_deleted_meanwhile

MOST_TRIES = 30
PAUSE = 0.5  # seconds between two
PATIENCE = 300  # milliseconds; PostgreSQL looks for deadlocks after a second, and might choose the other one


class Command(BaseCommand):
    help = (
        "Erases an account with all that it holds: OAuth apps, API tokens, credentials, trips, webhooks. Credentials "
        "are revoked at their providers, best effort. There is no way back but a backup."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account", type=UUID, metavar="ID", help="The console lists accounts with their ids.")
        parser.add_argument("--yes", action="store_true", help="Do it; without this it only tells what would go.")

    def handle(self, *args: Any, account: UUID, yes: bool, **options: Any) -> None:
        found = Account.objects.filter(pk=account).first()
        if found is None:
            raise CommandError("There is no account of that id.")
        told = {"id": str(account), "name": found.name, "credentials": found.credentials.count(), "deleted": yes}
        if yes:
            with audit.acting_as(audit.Actor.command("delete_account")):
                erase_in_the_end(account)
        self.stdout.write(json.dumps(told))


def erase_in_the_end(account_id: UUID) -> None:
    """While others are at work with the account. What was erased stays so: another try goes on from there."""
    for left in reversed(range(MOST_TRIES)):
        try:
            erase(account_id)
        except (OperationalError, IntegrityError) as exc:
            if not (is_held_by_others(exc) and left):
                raise
            time.sleep(PAUSE)
        else:
            return


def is_held_by_others(exc: Exception) -> bool:
    """Or has just got something that belongs to it."""
    if isinstance(exc, RestrictedError):
        return True
    locked = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
    return isinstance(exc.__cause__, locked) or is_of_row_deleted_meanwhile(exc)


@contextmanager
def impatient_transaction() -> Iterator[None]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{PATIENCE}ms"])
        yield


def erase(account_id: UUID) -> None:
    """Each credential by itself, so that a provider is called after its commit, and each of them is."""
    account = Account.objects.filter(pk=account_id).first()
    if account is None:
        return  # somebody else was faster
    with impatient_transaction():
        dependants_gone(account)
    for pk in list(account.credentials.values_list("pk", flat=True)):
        with impatient_transaction():
            if credential := Credential.objects.whole().select_for_update(of=("self",)).filter(pk=pk).first():
                dependants_gone(credential)
                credential.delete()
    with impatient_transaction():
        erase_the_rest(account)


def erase_the_rest(account: Account) -> None:
    """Whoever adds to the account meanwhile waits at his commit, and is told then that it is gone. He may hold a row
    that is deleted here: so this is the one that gives up, before the two are a deadlock.
    """
    if Account.objects.select_for_update().filter(pk=account.pk).first() is None:
        return  # somebody else was faster
    event = audit.event("account.deleted", account=None, to=account)
    account.delete()
    audit.write([event])
