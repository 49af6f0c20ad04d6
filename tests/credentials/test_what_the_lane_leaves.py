"""What the fast lane leaves to Django is not asked twice; and that it had to is told, if it is nobody's fault."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from credentials.api import access_token, fast_lane
from credentials.api.fast_lane import Environ
from credentials.models import Credential, Token
from credentials.models.reading import STATEMENT
from oauth_apps import api_tokens
from oauth_apps.models import Account, ApiToken
from sequin_auth.lib.encryption import digest
from sequin_auth.lib.postgres.pooling import own_connection
from tests.credentials.lanes import Lanes, environ_of
from tests.credentials.stored import linear_app, linear_credential

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of none was there anything in the log yet."""
    monkeypatch.setattr(fast_lane, "faults", fast_lane.Faults())


@pytest.fixture
def fresh(account: Account) -> Credential:
    tomorrow = (timezone.now() + timedelta(days=1)).isoformat()
    return linear_credential(linear_app(account), expires_at=tomorrow)


@pytest.fixture
def environ(fresh: Credential) -> Environ:
    _, api_token = api_tokens.issue(fresh.account, scopes=["reveal"])
    return environ_of(f"/v1/credentials/{fresh.pk}/access-token", api_token)


@pytest.fixture
def lanes(environ: Environ) -> Lanes:
    lanes = Lanes()
    lanes.warm_up(environ)
    return lanes


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement, whoever sends it."""
    statements: list[str] = []
    execute = psycopg.Cursor.execute

    def noted(cursor: Any, query: Any, *rest: Any, **how: Any) -> Any:
        statements.append(" ".join(str(query).split()))
        return execute(cursor, query, *rest, **how)

    monkeypatch.setattr(psycopg.Cursor, "execute", noted)
    return statements


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of the lane's own, the reasons."""
    found = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [line["reason"] for line in found if line["event"] == "fast_lane_left"]


# ---- one statement ---------------------------------------------------------------------------------------------------


def of_nobody(environ: Environ) -> None:
    environ["PATH_INFO"] = f"/v1/credentials/{uuid.uuid4()}/access-token"


def by_nobody(environ: Environ) -> None:
    ApiToken.objects.all().delete()


def by_one_revoked(environ: Environ) -> None:
    ApiToken.objects.update(revoked_at=timezone.now())


def by_one_ended(environ: Environ) -> None:
    ApiToken.objects.update(expires_at=timezone.now())


def without_the_scope(environ: Environ) -> None:
    ApiToken.objects.update(scopes=["read", "write"])


def of_a_kind_that_is_gone(environ: Environ) -> None:
    Credential.objects.update(kind="gone")


def with_a_value_that_is_taken_no_more(environ: Environ) -> None:
    Credential.objects.update(kind="shopify_oauth2", provider="shopify", variables={"shop": "x/.."})


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (by_nobody, 401),
        (by_one_revoked, 401),
        (by_one_ended, 401),
        (without_the_scope, 403),
        (of_nobody, 404),
        (of_a_kind_that_is_gone, 409),
        (with_a_value_that_is_taken_no_more, 409),
    ],
)
def test_a_refusal_is_one_statement(
    lanes: Lanes, environ: Environ, sent: list[str], change: Callable[[Environ], None], status: int
) -> None:
    change(environ)
    sent.clear()

    answer = lanes.fast(environ)

    assert (answer.status[:3], lanes.fell_through, len(sent)) == (str(status), 1, 1)
    assert answer.compared() == lanes.django(environ).compared()
    assert len(sent) == 2


def test_a_token_that_has_to_be_renewed_takes_no_more_than_without_the_lane(
    lanes: Lanes, environ: Environ, fresh: Credential, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("credentials.api.access_token.refreshed", lambda *_, **__: fresh.token)
    Token.objects.update(expires_at=timezone.now())

    numbers = []
    for lane in (lanes.fast, lanes.django):
        sent.clear()
        assert lane(environ).status == "200 OK"
        numbers.append(len(sent))

    assert numbers == [2, 2]  # what was read, and then the whole row


@pytest.mark.parametrize("differs", ["token_hash", "credential_id"])
def test_what_was_read_for_another_request_counts_for_nothing(
    lanes: Lanes, environ: Environ, fresh: Credential, differs: str
) -> None:
    api_token = environ["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    own = {"token_hash": digest(api_token), "credential_id": fresh.pk, "reading": None}
    others = own | {differs: b"x" * 32 if differs == "token_hash" else uuid.uuid4()}

    statuses = [
        lanes.django(environ | {access_token.KNOWN: access_token.Known(**known)}).status[:3]  # type: ignore[arg-type]
        for known in (own, others)
    ]

    assert statuses == ["401", "200"]


def test_what_was_read_shows_nothing_of_itself() -> None:
    assert repr(access_token.Known(b"canary", uuid.uuid4(), None)) == "Known(…)"


# ---- faults ----------------------------------------------------------------------------------------------------------


@contextmanager
def impatient(milliseconds: int) -> Iterator[None]:
    """This thread's connection; and somebody has locked what it wants to read."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        (before,) = cursor.fetchone()
        cursor.execute(f"SET statement_timeout = {milliseconds}")
    try:
        with own_connection(connection) as there:
            there.execute(f"LOCK TABLE {Token._meta.db_table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = '{before}'")


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_hangs_is_waited_for_once(
    lanes: Lanes, environ: Environ, sent: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """docs/limits.md says for how long"""
    with impatient(50):
        sent.clear()
        answer = lanes.fast(environ)
        asked = list(sent)
        without = lanes.django(environ)

    assert (answer.status, answer.document["code"]) == ("503 Service Unavailable", "unavailable")
    assert answer.compared() == without.compared()
    assert [statement for statement in asked if "oauth_apps_apitoken" in statement] == [" ".join(STATEMENT.split())]
    assert lines(caplog) == ["QueryCanceled"]
    assert lanes.fast(environ).status == "200 OK"


@pytest.mark.parametrize("fault", [psycopg.OperationalError, psycopg.errors.UndefinedColumn, TypeError])
def test_another_fault_leaves_it_to_django_and_one_line(
    lanes: Lanes,
    environ: Environ,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: type[Exception],
) -> None:
    def fail(*_: object) -> None:
        raise fault("canary")

    monkeypatch.setattr(fast_lane, "fetch_one", fail)

    statuses = [lanes.fast(environ).status for _ in range(3)]

    assert (statuses, lanes.fell_through) == (["200 OK"] * 3, 3)
    assert lines(caplog) == [fault.__name__]
    assert "canary" not in str(lines(caplog))


def test_a_minute_later_there_is_another_line(
    lanes: Lanes, environ: Environ, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise psycopg.OperationalError

    monkeypatch.setattr(fast_lane, "fetch_one", fail)
    lanes.fast(environ)
    fast_lane.faults.told_at -= fast_lane.FAULTS_TOLD_EVERY
    lanes.fast(environ)

    assert lines(caplog) == ["OperationalError"] * 2


def test_what_is_explained_is_no_fault(lanes: Lanes, environ: Environ, caplog: pytest.LogCaptureFixture) -> None:
    with_a_value_that_is_taken_no_more(environ)

    lanes.fast(environ)

    assert lines(caplog) == []
