"""`manage.py create_account` and `create_api_token`."""

import json
import uuid
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory

from oauth_apps.models import Account, ApiToken, Membership

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> dict[str, Any]:
    """The one JSON object that the command prints."""
    out = StringIO()
    call_command(*arguments, stdout=out)
    printed = json.loads(out.getvalue())
    assert isinstance(printed, dict)
    return printed


def status(token: str, method: str = "GET", path: str = "/v1/redirect-uris") -> int:
    client = Client(headers={"Authorization": f"Bearer {token}"})
    return client.generic(method, path, "{}", content_type="application/json").status_code


@pytest.mark.parametrize(
    "arguments", [[""], ["x" * 201], ["Arrakis", "--user", "nobody"], ["Arrakis", "--user", "a@b@c"]]
)
def test_it_refuses_what_it_cannot_make(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run("create_account", *arguments)

    assert not Account.objects.exists()
    assert not get_user_model().objects.exists()


@pytest.mark.parametrize("account", ["Nobody", "arrakis", "00000000-0000-4000-8000-000000000000", "Twice", "Arrak", ""])
def test_it_finds_one_account_or_none(account: str) -> None:
    for name in ("Arrakis", "Twice", "Twice"):
        Account.objects.create(name=name)

    with pytest.raises(CommandError):
        run("create_api_token", account)

    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("scopes", ["", "read,", "admin", "read write", "Read"])
def test_it_refuses_unknown_scopes(scopes: str) -> None:
    Account.objects.create(name="Arrakis")

    with pytest.raises(CommandError, match="There are: read, write, reveal, proxy"):
        run("create_api_token", "Arrakis", "--scopes", scopes)


def test_it_makes_an_account() -> None:
    printed = run("create_account", "House Atreides")

    account = Account.objects.get()
    assert printed.keys() == {"account_id", "api_token"}
    assert (account.name, str(account.id)) == ("House Atreides", printed["account_id"])
    assert ApiToken.objects.get().scopes == ["read", "write"]
    assert status(printed["api_token"]) == 200
    assert not get_user_model().objects.exists()


def test_it_makes_a_user_who_gets_into_the_console() -> None:
    printed = run("create_account", "Arrakis", "--user", "chani@example.com")

    user = get_user_model().objects.get()
    assert len(printed["password"]) >= 24
    assert (user.username, user.email, user.is_staff, user.is_superuser) == (
        "chani@example.com",
        "chani@example.com",
        True,
        False,
    )
    assert authenticate(RequestFactory().post("/"), username="chani@example.com", password=printed["password"]) == user
    assert Membership.objects.get().account == Account.objects.get()


def test_it_adds_a_user_who_is_there() -> None:
    first = run("create_account", "Arrakis", "--user", "chani@example.com")
    second = run("create_account", "Caladan", "--user", "chani@example.com")

    user = get_user_model().objects.get()
    assert "password" not in second
    assert user.check_password(first["password"])
    assert {membership.account.name for membership in Membership.objects.filter(user=user)} == {"Arrakis", "Caladan"}


def test_it_makes_a_token_by_name_or_id() -> None:
    account = Account.objects.create(name="Arrakis")

    printed = [run("create_api_token", one, "--scopes", "reveal, read,read") for one in ("Arrakis", str(account.id))]

    assert [one.keys() for one in printed] == [{"api_token"}] * 2
    assert [row.scopes for row in ApiToken.objects.all()] == [["reveal", "read"]] * 2
    assert [status(one["api_token"]) for one in printed] == [200, 200]
    assert status(printed[0]["api_token"], "POST") == 403


def test_a_name_that_looks_like_an_id_is_a_name() -> None:
    name = str(uuid.uuid4())
    account = Account.objects.create(name=name)

    run("create_api_token", name)

    assert ApiToken.objects.get().account == account
