"""`GET /v1/credentials/export` and `manage.py export_credentials`: everything, secrets too, line by line."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from credentials.api import export
from credentials.models import Credential
from oauth_apps.models import Account, OAuthApp
from tests.credentials.answers import CREDENTIALS, NDJSON, errors, path, rows
from tests.credentials.shapes import SHAPES
from tests.credentials.stored import keep, linear_credential
from tests.oauth_apps.conftest import client_of

EXPORT = f"{CREDENTIALS}/export"


# ---- who may ---------------------------------------------------------------------------------------------------------


def test_it_needs_the_scope_reveal(account: Account, linear: Credential, caplog: pytest.LogCaptureFixture) -> None:
    """D16"""
    response = client_of(account, "read", "write", "proxy").get(EXPORT)

    assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
    assert "credentials_exported" not in caplog.text


def test_nothing_but_the_scope_reveal_shows_a_secret(
    account: Account, linear: Credential, stripe_key: Credential
) -> None:
    """D07, D16: not even to a token that may do everything else"""
    api = client_of(account, "read", "write", "proxy")

    answers = [
        api.get(CREDENTIALS),
        api.get(path(linear)),
        api.get(path(stripe_key)),
        api.patch(path(linear), {"name": "x"}, content_type="application/json"),
        api.get(EXPORT),
        api.get(path(linear, "/access-token")),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 403, 403]
    assert all(b"canary" not in answer.content for answer in answers)


def test_another_accounts_credentials_are_not_in_it(linear: Credential, other_account: Account) -> None:
    """D01"""
    api = client_of(other_account, "reveal")

    assert rows(api.get(EXPORT)) == []
    assert rows(api.get(EXPORT, {"oauth_app_id": str(linear.oauth_app_id)})) == []


@pytest.mark.parametrize("query", [{"limit": "1"}, {"health.status": "x"}, {"metadata": "["}, {"oauth_app_id": "x"}])
def test_it_names_the_parameter_that_is_wrong(reveal: Client, query: dict[str, str]) -> None:
    """D11"""
    assert list(errors(reveal.get(EXPORT, query))) == list(query)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE"])
def test_it_is_only_read(reveal: Client, linear: Credential, method: str, caplog: pytest.LogCaptureFixture) -> None:
    assert reveal.generic(method, EXPORT).status_code == 405
    assert "credentials_exported" not in caplog.text


# ---- what is in it ---------------------------------------------------------------------------------------------------


def test_a_line_holds_all_that_an_import_takes(
    reveal: Client, account: Account, linear: Credential, stripe_key: Credential
) -> None:
    Credential.objects.filter(pk=linear.pk).update(name="Ünter\u2028Arrakis", metadata={"tenant": 7})

    response = reveal.get(EXPORT)

    key, token = rows(response)
    assert (response["Content-Type"], response["Cache-Control"]) == (NDJSON, "no-store")
    assert token == {
        "id": str(linear.pk),
        "provider": "linear",
        "kind": "linear_oauth2",
        "name": "Ünter\u2028Arrakis",
        "oauth_app_id": str(linear.oauth_app_id),
        "metadata": {"tenant": 7},
        "properties": {
            "kind": "linear_oauth2",
            "access_token": "canary-access-1",
            "refresh_token": "canary-refresh-1",
            "expires_at": "2026-01-01T00:00:00Z",
            "scope": "read write",
            "token_type": "Bearer",
            "linear_org_id": "org-1",
            "linear_org_name": "Arrakis",
        },
        "created_at": linear.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    assert key == {
        "id": str(stripe_key.pk),
        "provider": "stripe",
        "kind": "stripe_key",
        "name": "",
        "oauth_app_id": None,
        "metadata": {},
        "properties": {"kind": "stripe_key", "secret": "sk_test_canary", "test": True},
        "created_at": stripe_key.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def test_it_stands_in_the_log_before_the_first_byte(
    reveal: Client, account: Account, linear: Credential, caplog: pytest.LogCaptureFixture
) -> None:
    """D14, D16"""
    reveal.get(EXPORT)  # nothing of it is read

    (line,) = [r.msg for r in caplog.records if isinstance(r.msg, dict) and r.msg["event"] == "credentials_exported"]
    assert (line["account"], line["client"]) == (str(account.pk), "127.0.0.1")
    assert line["api_token"] == str(account.api_tokens.get(scopes__contains="reveal").pk)


def test_filters_narrow_it(reveal: Client, linear: Credential, stripe_key: Credential) -> None:
    assert [row["id"] for row in rows(reveal.get(EXPORT, {"kind": "stripe_key"}))] == [str(stripe_key.pk)]


# ---- what does not open ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credentials_token SET access_token = refresh_token WHERE credential_id = %s",  # another column's
        "UPDATE credentials_token SET refresh_token = 'x' WHERE credential_id = %s",
        "UPDATE credentials_token SET access_token = (SELECT access_token FROM credentials_token AS other"
        " WHERE other.credential_id <> credentials_token.credential_id AND access_token IS NOT NULL LIMIT 1)"
        " WHERE credential_id = %s",  # another row's
    ],
)
def test_a_row_that_does_not_open_is_named_and_the_rest_goes_on(
    reveal: Client, linear_app: OAuthApp, linear: Credential, stripe_key: Credential, statement: str
) -> None:
    """E06, E07"""
    linear_credential(linear_app, linear_org_id="org-2", access_token="canary-of-another")
    with connection.cursor() as cursor:
        cursor.execute(statement, [linear.pk])

    other, key, broken = rows(reveal.get(EXPORT))

    assert broken == {"id": str(linear.pk), "error": "credential_unreadable"}
    assert (other["properties"]["linear_org_id"], key["id"]) == ("org-2", str(stripe_key.pk))


def test_a_token_that_was_minted_is_not_in_it(reveal: Client, account: Account) -> None:
    """Nor is it looked at: another can be minted."""
    keep(account, "marketo_client_credentials", None, **SHAPES["marketo_client_credentials"])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE credentials_token SET access_token = 'x'")

    (row,) = rows(reveal.get(EXPORT))

    shape = SHAPES["marketo_client_credentials"]
    assert row["properties"] == {"kind": "marketo_client_credentials", **shape}


def test_what_has_left_the_catalogue_is_in_it(reveal: Client, linear: Credential, stripe_key: Credential) -> None:
    Credential.objects.filter(pk=linear.pk).update(provider="gone", kind="gone_oauth2")
    Credential.objects.filter(pk=stripe_key.pk).update(provider="gone", kind="gone_key")

    key, token = rows(reveal.get(EXPORT))

    assert key["properties"] == {"kind": "gone_key", "secret": "sk_test_canary", "test": True}
    assert token["properties"]["refresh_token"] == "canary-refresh-1"


# ---- however many ----------------------------------------------------------------------------------------------------


def test_it_reads_batch_by_batch_and_leaves_out_none(
    reveal: Client, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "BATCH", 3)
    made = [keep(account, "sendgrid_key", None, secret=f"SG.canary-{number}") for number in range(9)]
    Credential.objects.filter(pk__in=[one.pk for one in made[:5]]).update(created_at=made[0].created_at)

    with CaptureQueriesContext(connection) as captured:
        exported = rows(reveal.get(EXPORT))

    tied = sorted((str(one.pk) for one in made[:5]), reverse=True)
    assert [row["id"] for row in exported] == [str(one.pk) for one in reversed(made[5:])] + tied
    reading = [query for query in captured if "credentials_credential" in query["sql"]]
    assert len(reading) == 5  # one counts them for the audit log, and the last is empty


@pytest.mark.usefixtures("collecting_as_a_server")
def test_its_memory_does_not_grow_with_the_number_of_rows(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BATCH", 5)
    for number in range(80):
        keep(account, "sendgrid_key", None, secret=f"SG.{number:08}-{'x' * 8000}")
    everything = Credential.objects.of(account)
    few = everything.filter(pk__in=everything.values_list("pk")[:20])
    for credentials in (few, everything):
        list(export.lines(credentials))  # what is loaded once is loaded

    peaks = [peak_of(export.lines(credentials)) for credentials in (few, everything)]

    assert peaks[1] < peaks[0] * 1.2


def peak_of(lines: Iterator[bytes]) -> int:
    """How much memory is in use at most while they are read, in bytes."""
    tracemalloc.start()
    try:
        for _ in lines:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_refuses_an_unknown_account(db: None) -> None:
    with pytest.raises(CommandError):
        call_command("export_credentials", "Nobody")


def test_the_command_prints_the_same_rows(
    reveal: Client,
    account: Account,
    other_account: Account,
    linear: Credential,
    stripe_key: Credential,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keep(other_account, "sendgrid_key", None, secret="SG.canary")
    out = io.StringIO()

    call_command("export_credentials", "Arrakis", stdout=out)

    printed: list[Any] = [json.loads(line) for line in out.getvalue().splitlines()]
    assert printed == rows(reveal.get(EXPORT))
    assert len(printed) == 2
    assert "credentials_exported" in caplog.text
