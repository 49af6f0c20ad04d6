"""How often each API token read which credential: counted in memory, written all at once, told by /v1/events/reads."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from credentials.models import Credential, ReadCount
from credentials.purge import purge
from credentials.refresh import leaseholder, uses
from oauth_apps import api_tokens
from oauth_apps.models import Account, ApiToken, AuditEvent, OAuthApp
from tests.credentials import stored
from tests.oauth_apps.conftest import client_of

READS = "/v1/events/reads"


@pytest.fixture(autouse=True)
def nothing_collected() -> None:
    uses.reads.clear()


@pytest.fixture
def fresh(linear: Credential) -> Credential:
    linear.token.expires_at = timezone.now() + timedelta(hours=2)
    linear.token.save()
    return linear


def reader(account: Account) -> tuple[ApiToken, Client]:
    token, text = api_tokens.issue(account, scopes=["read", "reveal"])
    return token, Client(headers={"Authorization": f"Bearer {text}"})


def read(client: Client, credential: Credential, **query: str) -> int:
    return client.get(f"/v1/credentials/{credential.pk}/access-token", query).status_code


def test_a_read_writes_nothing_by_itself(fresh: Credential, account: Account) -> None:
    _, client = reader(account)

    with CaptureQueriesContext(connection) as statements:
        assert read(client, fresh) == 200

    assert [query["sql"].strip()[:6] for query in statements] == ["SELECT"]
    assert not ReadCount.objects.exists()
    assert not AuditEvent.objects.exists()


def test_reads_are_counted_by_api_token_credential_and_minute(fresh: Credential, account: Account) -> None:
    one, first = reader(account)
    other, second = reader(account)
    for client in (first, first, second):
        read(client, fresh)

    with CaptureQueriesContext(connection) as statements:
        assert uses.write_reads() == 3
    assert len(statements) == 1
    read(first, fresh)
    assert (uses.write_reads(), uses.write_reads()) == (1, 0)

    rows = ReadCount.objects.values_list("account", "api_token", "credential", "address")
    assert set(rows) == {(account.pk, token.pk, fresh.pk, "127.0.0.1") for token in (one, other)}
    numbers = dict.fromkeys([one.pk, other.pk], 0)
    for row in ReadCount.objects.all():
        assert row.minute.second == row.minute.microsecond == 0
        numbers[row.api_token] += row.number
    assert numbers == {one.pk: 3, other.pk: 1}


def test_what_is_refused_is_not_counted(fresh: Credential, account: Account, other_account: Account) -> None:
    _, theirs = reader(other_account)

    assert read(theirs, fresh) == 404
    assert read(client_of(account, "read"), fresh) == 403
    assert read(client_of(account, "reveal"), fresh, min_ttl="x") == 422
    assert uses.write_reads() == 0


def test_what_could_not_be_written_while_the_database_was_away_is_written_later(
    fresh: Credential, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = reader(account)
    read(client, fresh)

    def fail(*args: Any) -> None:
        raise OperationalError

    with monkeypatch.context() as away:
        away.setattr("credentials.models.read_count.ReadCountQuerySet.add", fail)
        with pytest.raises(OperationalError):
            uses.write_reads()
    read(client, fresh)

    assert uses.write_reads() == 2
    assert sum(ReadCount.objects.values_list("number", flat=True)) == 2


def test_reads_of_an_account_that_is_gone_are_forgotten(fresh: Credential, account: Account) -> None:
    _, client = reader(account)
    read(client, fresh)
    Credential.objects.all().delete()
    account.delete()

    uses.write_reads()

    assert not ReadCount.objects.exists()


def test_a_read_that_had_to_refresh_is_an_event_of_that_api_token(
    linear: Credential, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, client = reader(account)
    monkeypatch.setattr(leaseholder, "ask", lambda *_: stored_answer())

    assert read(client, linear) == 200

    event = AuditEvent.objects.get()
    assert (event.action, event.object_id, event.api_token, event.actor) == (
        "credential.refreshed", str(linear.pk), token.pk, str(token),
    )  # fmt: skip
    assert event.chain == f"{account.pk}/{str(linear.pk)[0]}"


def stored_answer() -> Any:
    from providers.tokens import TokenResponse

    return TokenResponse(access_token="canary-new", token_type="Bearer", expires_in=3600, refresh_token="canary-r2")


# ---- GET /v1/events/reads --------------------------------------------------------------------------------------------


@pytest.fixture
def counts(account: Account, linear_app: OAuthApp) -> list[ReadCount]:
    credential, begin = stored.linear_credential(linear_app), datetime(2026, 11, 22, 12, tzinfo=UTC)
    token = api_tokens.issue(account)[0]
    return [
        ReadCount.objects.create(
            account=account,
            api_token=token.pk,
            credential=credential.pk,
            minute=begin + timedelta(minutes=minute),
            number=minute + 1,
            address="192.0.2.1",
        )
        for minute in range(5)
    ]


def test_it_lists_the_account_s_own_the_newest_first(api: Client, other_api: Client, counts: list[ReadCount]) -> None:
    answer = api.get(READS).json()

    assert answer["next_cursor"] is None
    assert [row["number"] for row in answer["data"]] == [5, 4, 3, 2, 1]
    assert answer["data"][0] == {
        "minute": "2026-11-22T12:04:00Z",
        "api_token": str(counts[0].api_token),
        "credential": str(counts[0].credential),
        "number": 5,
        "address": "192.0.2.1",
    }
    assert other_api.get(READS).json() == {"data": [], "next_cursor": None}


def test_it_gives_pages_and_sifts(api: Client, counts: list[ReadCount]) -> None:
    first = api.get(READS, {"limit": "3"}).json()
    second = api.get(READS, {"limit": "3", "cursor": first["next_cursor"]}).json()

    assert [row["number"] for row in first["data"] + second["data"]] == [5, 4, 3, 2, 1]
    assert second["next_cursor"] is None
    query = {"since": "2026-11-22T12:01:00Z", "until": "2026-11-22T12:03:00Z", "credential": str(counts[0].credential)}
    assert [row["number"] for row in api.get(READS, query).json()["data"]] == [3, 2]
    assert api.get(READS, {"api_token": str(counts[0].credential)}).json()["data"] == []


@pytest.mark.parametrize("name", ["credential", "api_token", "since", "until", "limit", "cursor", "action"])
def test_it_refuses_by_name(api: Client, name: str) -> None:
    response = api.get(READS, {name: "x"})

    assert (response.status_code, list(response.json()["validation_errors"])) == (422, [name])


def test_it_needs_the_scope_read(client: Client, account: Account) -> None:
    assert client.get(READS).status_code == 401
    assert client_of(account, "reveal").get(READS).status_code == 403


def test_the_purge_removes_them_by_the_setting(counts: list[ReadCount], settings: Settings) -> None:
    for row in counts:
        days = 8 if row.number < 3 else 6
        ReadCount.objects.filter(pk=row.pk).update(minute=timezone.now() - timedelta(days=days, minutes=row.number))
    settings.AUDIT_READS_DAYS = 7

    assert purge()["read_counts"] == 2
    assert ReadCount.objects.count() == 3
