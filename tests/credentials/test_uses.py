"""What reads leave behind: no row of them stops the others on their way to the audit log. (D14)"""

import uuid
from collections.abc import Iterator

import pytest
from django.db import OperationalError
from django.test import Client
from pytest_django import Settings

from credentials.models import ReadCount
from credentials.refresh import uses
from oauth_apps import api_tokens
from oauth_apps.models import Account
from tests.credentials.stored import linear_app, linear_credential

pytestmark = pytest.mark.django_db(transaction=True)

LONG = "fe80::1%" + "x" * 60


@pytest.fixture(autouse=True)
def nothing_collected() -> Iterator[None]:
    uses.write()
    uses.reads.clear()
    yield
    uses.reads.clear()


def note(account: Account, address: str) -> uuid.UUID:
    credential = uuid.uuid4()
    uses.note(credential, uuid.uuid4(), account_id=account.pk, address=address)
    return credential


def kept() -> set[tuple[uuid.UUID, int, str]]:
    return set(ReadCount.objects.values_list("credential", "number", "address"))


def test_a_row_that_no_column_takes_is_dropped_and_no_other(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    first, _, last = note(account, "192.0.2.1"), note(account, LONG), note(account, "192.0.2.2")

    uses.write_reads()

    assert kept() == {(first, 1, "192.0.2.1"), (last, 1, "192.0.2.2")}
    assert uses.reads == {}
    (line,) = [record.msg for record in caplog.records if "rows_dropped" in str(record.msg)]
    assert (line["count"], line["reason"]) == (1, "DataError")  # type: ignore[index]
    assert "fe80" not in str(line)


def test_while_the_database_is_away_reads_stay(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    credential = note(account, "192.0.2.1")

    def gone(*_: object) -> None:
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(type(ReadCount.objects), "add", gone)
        with pytest.raises(OperationalError):
            uses.write_reads()
    (one,) = uses.reads
    uses.reads[one] = (uses.reads[one][0] + 1, "192.0.2.2")

    assert uses.write_reads() == 2
    assert kept() == {(credential, 2, "192.0.2.2")}


@pytest.mark.parametrize("forwarded", [LONG, f"[{LONG}]:4711"])
def test_no_address_that_a_stranger_makes_up_ends_the_log_of_reads(
    account: Account, settings: Settings, forwarded: str
) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    credential = linear_credential(linear_app(account), expires_at="2099-01-01T00:00:00Z")
    _, text = api_tokens.issue(account, scopes=["reveal"])
    api = Client(headers={"Authorization": f"Bearer {text}", "X-Forwarded-For": forwarded})

    answer = api.get(f"/v1/credentials/{credential.pk}/access-token")
    uses.write_reads()

    assert answer.status_code == 200
    assert kept() == {(credential.pk, 1, "fe80::1")}
