"""Where secrets leave the console: the export, and the one value that may be looked at. The password comes first."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from credentials.models import Credential
from oauth_apps.models import Account, AuditEvent, Membership
from tests.credentials.stored import keep, linear_app, linear_credential

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

EXPORT = "/admin/credentials/credential/export/"


@pytest.fixture
def credential(account: Account) -> Credential:
    return linear_credential(linear_app(account))


@pytest.fixture
def theirs(other_account: Account) -> Credential:
    return keep(other_account, "sendgrid_key", None, secret="SG.of-somebody-else")


@pytest.fixture
def revealing(settings: Any) -> None:
    settings.CONSOLE_REVEAL = True


def url(deed: str, credential: Credential) -> str:
    return reverse(f"admin:credentials_credential_{deed}", args=[credential.pk])


def lines(response: "Response") -> list[dict[str, Any]]:
    assert response.status_code == 200
    assert response["Content-Type"] == "application/x-ndjson"
    assert "no-store" in response["Cache-Control"]
    assert response["Content-Disposition"].startswith('attachment; filename="credential')
    body = b"".join(response.streaming_content)  # type: ignore[attr-defined]
    return [json.loads(line) for line in body.splitlines()]


def refused(response: "Response", *, words: str) -> None:
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/html")
    assert words in response.content.decode()
    assert "canary" not in response.content.decode()


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", [None, "", "wrong", " of-paul", "of-paul\0", "x" * 5000])
def test_nothing_leaves_without_the_password(
    member: Client, credential: Credential, revealing: None, password: str | None
) -> None:
    """D16"""
    body = {} if password is None else {"password": password}

    for path in (EXPORT, url("export_one", credential), url("reveal", credential)):
        response = member.post(path, body | {"value": "access_token"})
        assert response.status_code == 200
        assert response.context["form"].errors["password"]
        assert "canary" not in response.content.decode()
        assert password not in response.content.decode() if password and len(password) > 5 else True
    assert {event.action for event in AuditEvent.objects.all()} <= {"password.refused"}


def test_a_query_holds_no_password(member: Client, credential: Credential) -> None:
    assert "canary" not in member.get(url("export_one", credential), {"password": "of-paul"}).content.decode()
    assert not AuditEvent.objects.exists()


def test_five_wrong_passwords_are_enough_for_every_session_of_the_user(
    member: Client, paul: User, credential: Credential, revealing: None
) -> None:
    for _ in range(5):
        refused(member.post(url("export_one", credential), {"password": "wrong"}), words="not your password")
    another = Client()
    another.force_login(paul)

    for path in (EXPORT, url("export_one", credential), url("reveal", credential)):
        response = another.post(path, {"password": "of-paul", "value": "access_token"})
        refused(response, words="Wait 15 minutes")

    events = AuditEvent.objects.filter(action="password.refused")
    assert events.count() == 5  # what is refused without being looked at is not counted, and ends
    assert {(event.user, event.account_id) for event in events} == {(paul, credential.account_id)}
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # past the trigger that keeps events as they are
        cursor.execute("UPDATE oauth_apps_auditevent SET created_at = created_at - interval '15 minutes'")
        cursor.execute("SET LOCAL session_replication_role = origin")
    assert len(lines(another.post(url("export_one", credential), {"password": "of-paul"}))) == 1


def test_somebody_elses_wrong_passwords_are_not_counted(
    member: Client, account: Account, credential: Credential
) -> None:
    jessica = User.objects.create_user("jessica", password="of-jessica", is_staff=True)
    Membership.objects.create(account=account, user=jessica)
    another = Client()
    another.force_login(jessica)
    for _ in range(5):
        another.post(EXPORT, {"password": "wrong"})

    assert len(lines(member.post(EXPORT, {"password": "of-paul"}))) == 1


def test_there_is_no_reveal_unless_it_is_switched_on(member: Client, credential: Credential) -> None:
    response = member.post(url("reveal", credential), {"password": "of-paul", "value": "access_token"})

    assert response.status_code == 404
    assert member.get(url("reveal", credential)).status_code == 404
    shown = member.get(url("change", credential)).content.decode()
    assert "Reveal" not in shown
    assert url("reveal", credential) not in shown
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("value", ["", "linear_org_id", "secrets", "__class__", "access_token,refresh_token"])
def test_only_a_secret_of_the_credential_is_revealed(
    member: Client, credential: Credential, revealing: None, value: str
) -> None:
    response = member.post(url("reveal", credential), {"password": "of-paul", "value": value})

    assert response.context["form"].errors.keys() == {"value"}
    assert not AuditEvent.objects.filter(action="credential.revealed").exists()


# ---- export ----------------------------------------------------------------------------------------------------------


def test_the_export_holds_the_list_and_is_written_down(
    member: Client, paul: User, credential: Credential, account: Account, theirs: Credential
) -> None:
    """D16, E04"""
    key = keep(account, "sendgrid_key", None, secret="SG.canary")
    asked = member.get(EXPORT).content.decode()
    assert "2 credentials" in asked
    assert "canary" not in asked

    rows = lines(member.post(EXPORT, {"password": "of-paul"}))

    assert [(row["id"], row["properties"].get("secret")) for row in rows] == [
        (str(key.pk), "SG.canary"),
        (str(credential.pk), None),
    ]
    assert rows[1]["properties"]["refresh_token"] == "canary-refresh-1"
    event = AuditEvent.objects.get()
    assert (event.action, event.object_name, event.user, event.account) == (
        "credential.exported", "2 credentials", paul, account,
    )  # fmt: skip


def test_it_is_written_down_before_the_first_byte(member: Client, credential: Credential) -> None:
    response = member.post(EXPORT, {"password": "of-paul"})

    assert AuditEvent.objects.get().action == "credential.exported"
    assert response.streaming


def test_the_export_obeys_the_filters_of_the_list(member: Client, credential: Credential, account: Account) -> None:
    key = keep(account, "sendgrid_key", None, secret="SG.canary")
    query = "?provider=sendgrid&q=sendgrid"

    page = member.get(EXPORT + query)
    rows = lines(member.post(EXPORT + query, {"password": "of-paul"}))

    assert "1 credential," in page.content.decode()
    assert 'action="?provider=sendgrid&amp;q=sendgrid"' in page.content.decode()
    assert [row["id"] for row in rows] == [str(key.pk)]
    assert AuditEvent.objects.get().detail == "provider=sendgrid, q=sendgrid"


def test_each_account_finds_its_part_in_its_log(
    member: Client, paul: User, credential: Credential, theirs: Credential, other_account: Account
) -> None:
    Membership.objects.create(account=other_account, user=paul)

    assert len(lines(member.post(EXPORT, {"password": "of-paul"}))) == 2

    events = AuditEvent.objects.values_list("account", "object_name")
    assert set(events) == {(credential.account_id, "1 credential"), (other_account.pk, "1 credential")}


def test_an_odd_filter_is_a_bad_request(member: Client) -> None:
    assert member.get(EXPORT + "?nonsense__x=1").status_code == 400


def test_one_credential_is_exported_alone(member: Client, credential: Credential, account: Account) -> None:
    keep(account, "sendgrid_key", None, secret="SG.canary")

    rows = lines(member.post(url("export_one", credential), {"password": "of-paul"}))

    assert [row["id"] for row in rows] == [str(credential.pk)]
    event = AuditEvent.objects.get()
    assert (event.action, event.object_id) == ("credential.exported", str(credential.pk))


def test_a_row_that_does_not_open_is_a_line_that_says_so(
    member: Client, credential: Credential, account: Account
) -> None:
    """E07"""
    spoil(credential)
    keep(account, "sendgrid_key", None, secret="SG.canary")

    rows = lines(member.post(EXPORT, {"password": "of-paul"}))

    assert rows[0]["properties"]["secret"] == "SG.canary"
    assert rows[1] == {"id": str(credential.pk), "error": "credential_unreadable"}


def spoil(credential: Credential) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE credentials_token SET access_token = overlay(access_token placing 'x'::bytea from 40 for 1)"
            " WHERE credential_id = %s",
            [credential.pk],
        )


# ---- reveal ----------------------------------------------------------------------------------------------------------


def test_one_value_is_revealed(member: Client, paul: User, credential: Credential, revealing: None) -> None:
    assert url("reveal", credential) in member.get(url("change", credential)).content.decode()
    assert "canary" not in member.get(url("reveal", credential)).content.decode()

    response = member.post(url("reveal", credential), {"password": "of-paul", "value": "refresh_token"})

    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    assert "canary-refresh-1" in response.content.decode()
    assert "stands in the audit log" in response.content.decode()
    assert "shown this once" not in response.content.decode()
    assert "canary-access-1" not in response.content.decode()
    event = AuditEvent.objects.get()
    assert (event.action, event.object_id, event.detail, event.user) == (
        "credential.revealed", str(credential.pk), "refresh_token", paul,
    )  # fmt: skip
    assert "canary" not in member.get(url("change", credential)).content.decode()


def test_a_value_that_does_not_open_is_said(member: Client, credential: Credential, revealing: None) -> None:
    """E07"""
    spoil(credential)

    response = member.post(url("reveal", credential), {"password": "of-paul", "value": "access_token"})

    refused(response, words="does not open")
    assert not AuditEvent.objects.filter(action="credential.revealed").exists()
