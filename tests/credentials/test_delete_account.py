"""`manage.py delete_account`. What it leaves in a dump: E14."""

import json
import uuid

import pytest
from django.core.management import CommandError, call_command

from credentials.models import Credential
from oauth_apps import audit
from oauth_apps.models import Account, AuditEvent
from tests.credentials.stored import keep


def test_it_asks_first(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    keep(account, "stripe_key", None, secret="canary-of-a-key")

    call_command("delete_account", str(account.pk))

    told = {"id": str(account.pk), "name": "Arrakis", "credentials": 1, "deleted": False}
    assert json.loads(capsys.readouterr().out) == told
    assert Credential.objects.of(account).count() == 1


def test_an_account_that_there_is_not_is_named(db: None) -> None:
    with pytest.raises(CommandError, match="There is no account of that id"):
        call_command("delete_account", str(uuid.uuid4()), "--yes")


def test_it_leaves_the_accounts_of_others(account: Account, other_account: Account) -> None:
    keep(account, "stripe_key", None, secret="canary-of-a-key")
    theirs = keep(other_account, "stripe_key", None, secret="canary-of-theirs")

    call_command("delete_account", str(account.pk), "--yes")

    assert list(Account.objects.all()) == [other_account]
    assert [credential.pk for credential in Credential.objects.all()] == [theirs.pk]
    event = AuditEvent.objects.get(action="account.deleted")
    by = f"manage.py delete_account ({audit.whoever_runs_this()})"
    assert (event.actor, event.object_id, event.object_name) == (by, str(account.pk), "Arrakis")
