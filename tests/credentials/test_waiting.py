"""Those who wait for a refresh that another process makes. A lease that the test itself has taken stands for that."""

import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone
from requests import PreparedRequest
from responses import RequestsMock

from credentials.errors import CredentialGone
from credentials.models import Credential, Expiry, Token, Tokens
from credentials.models.token import REFRESHED
from credentials.refresh import lease, waiting
from oauth_apps.models import Account
from tests.credentials.stored import NEW, TOKEN_ENDPOINT, again, linear_app, linear_credential
from tests.oauth_apps.conftest import client_of
from tests.real.machine import until

pytestmark = pytest.mark.django_db(transaction=True)

CALLERS = 6


@pytest.fixture
def expired(account: Account) -> Credential:
    return linear_credential(linear_app(account))


@pytest.fixture
def leased(expired: Credential) -> Token:
    leased = Token.objects.lease(expired.token, owner=uuid.uuid4())
    assert leased is not None
    return leased


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CALLERS) as pool:
        yield pool
    until(lambda: not waiting.has_lookout, what="the lookout has gone")


def ask(credential: Credential) -> str:
    """The access token, or the name of an exception."""
    try:
        return lease.refreshed(again(credential), min_ttl=300).access_token or ""
    except Exception as exc:  # noqa: BLE001 - the test looks at it
        return type(exc).__name__
    finally:
        connection.close()


def all_wait(callers: ThreadPoolExecutor, credential: Credential) -> list[Future[str]]:
    futures = [callers.submit(ask, credential) for _ in range(CALLERS)]
    until(lambda: number_waiting() == CALLERS, what="all wait")
    return futures


def number_waiting() -> int:
    with waiting.news:
        return sum(line.number for line in waiting.lines.values())


def renew(leased: Token) -> None:
    now = timezone.now()
    ends = now + timedelta(hours=1)
    tokens = Tokens(
        access_token="canary-of-another-process",
        refresh_token="canary-next",
        obtained_at=now,
        expires_at=ends,
        expiry_source=Expiry.EXPIRES_IN,
        refresh_expires_at=None,
        due_at=ends,
    )
    assert Token.objects.renew(leased, tokens, REFRESHED)


def test_what_is_deleted_meanwhile_is_gone(expired: Credential, leased: Token, callers: ThreadPoolExecutor) -> None:
    answers = all_wait(callers, expired)

    expired.delete()

    assert [answer.result() for answer in answers] == [CredentialGone.__name__] * CALLERS


def test_where_nobody_can_look_each_goes_on_by_himself(
    expired: Credential, leased: Token, callers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr(waiting, "rows_of_ended", fail)
    answers = [callers.submit(ask, expired) for _ in range(CALLERS)]
    until(lambda: waiting.has_lookout, what="somebody waits")

    renew(leased)

    assert {answer.result() for answer in answers} == {"canary-of-another-process"}


def test_when_the_lease_ends_one_takes_over(
    expired: Credential, leased: Token, callers: ThreadPoolExecutor, responses: RequestsMock
) -> None:
    """G02: its owner has died"""
    responses.post(TOKEN_ENDPOINT, json=NEW)
    answers = all_wait(callers, expired)

    Token.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    assert {answer.result() for answer in answers} == {NEW["access_token"]}
    assert len(responses.calls) == 1


def test_when_the_lease_of_a_thread_of_this_process_ends_another_one_takes_over(
    expired: Credential, callers: ThreadPoolExecutor, responses: RequestsMock
) -> None:
    """G05: its provider hangs, and answers it when another has won"""
    is_asked, may_answer = threading.Event(), threading.Event()

    def answer(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        if len(responses.calls) == 0 and not is_asked.is_set():
            is_asked.set()
            assert may_answer.wait(20)
            return 400, {}, json.dumps({"error": "invalid_grant"})
        return 200, {}, json.dumps(NEW)

    responses.add_callback("POST", TOKEN_ENDPOINT, callback=answer, content_type="application/json")
    loser = callers.submit(ask, expired)
    assert is_asked.wait(20)
    Token.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    winners = [callers.submit(ask, expired) for _ in range(2)]

    assert {winner.result() for winner in winners} == {NEW["access_token"]}
    may_answer.set()
    assert loser.result() == NEW["access_token"]
    assert len(responses.calls) == 2
    assert waiting.made_here == {}


def test_one_looks_out_for_all(
    expired: Credential, leased: Token, callers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[tuple[str, int]] = []
    look = waiting.rows_of_ended

    def noted(waited: list[waiting.Refresh]) -> dict[waiting.Refresh, Token | None]:
        looks.append((threading.current_thread().name, len(waited)))
        return look(waited)

    monkeypatch.setattr(waiting, "rows_of_ended", noted)
    answers = all_wait(callers, expired)
    before = len(looks)
    until(lambda: len(looks) > before + 2, what="it has looked in vain")

    renew(leased)

    assert {answer.result() for answer in answers} == {"canary-of-another-process"}
    assert set(looks) == {("lookout", 1)}
    assert waiting.lines == {}


def test_who_comes_while_others_wait_asks_the_database_for_nothing_but_his_own(
    account: Account, expired: Credential, leased: Token, callers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for the credential once more, nor for the lease"""
    first = callers.submit(ask, expired)
    until(lambda: number_waiting() == 1, what="the first one waits")
    monkeypatch.setattr("credentials.api.access_token.whole", None)
    path = f"/v1/credentials/{expired.pk}/access-token"
    backend = client_of(account, "reveal")

    def get(backend: Client) -> Any:
        try:
            return backend.get(path).json()["access_token"]
        finally:
            connection.close()

    second = callers.submit(get, backend)
    until(lambda: number_waiting() == 2, what="the second one waits")
    renew(leased)

    assert (first.result(), second.result()) == ("canary-of-another-process",) * 2
