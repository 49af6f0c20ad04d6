"""Answers that come together are committed together, and what is wrong with one is its own affair."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection, transaction
from django.utils import timezone
from responses import RequestsMock

from credentials.models import Credential, Expiry, Failure, Token, Tokens
from credentials.models.renewing import renewal
from credentials.models.token import TokenQuerySet
from credentials.refresh import leaseholder, spool, sweep, together
from oauth_apps import audit
from oauth_apps.audit_verification import Verification
from oauth_apps.models import Account, AuditEvent, OAuthApp
from tests.credentials.stored import NEW, OLD, TOKEN_ENDPOINT, again, linear_app, linear_credential
from tests.real.machine import until

pytestmark = pytest.mark.django_db(transaction=True)

NUMBER = 3


@pytest.fixture
def oauth_app(account: Account) -> OAuthApp:
    return linear_app(account)


@pytest.fixture
def leased(oauth_app: OAuthApp) -> list[tuple[Credential, Token]]:
    credentials = [
        linear_credential(oauth_app, linear_org_id=f"org-{number}", refresh_token=f"canary-refresh-of-{number}")
        for number in range(NUMBER)
    ]
    leases = [Token.objects.lease(credential.token, owner=uuid.uuid4()) for credential in credentials]
    return [(credential, token) for credential, token in zip(credentials, leases, strict=True) if token]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each batch, which is not closed before all have come."""
    sizes: list[int] = []
    close = together.close

    def close_when_all_are_there(batch: together.Batch) -> None:
        if together.gathering is batch:
            until(lambda: len(batch.answers) == NUMBER, what="all have come")
            sizes.append(len(batch.answers))
        close(batch)

    monkeypatch.setattr(together, "close", close_when_all_are_there)
    return sizes


def answer(number: int, **more: Any) -> Tokens:
    now = timezone.now()
    known: dict[str, Any] = {"access_token": f"canary-new-{number}", "refresh_token": f"canary-next-{number}"}
    known |= {"obtained_at": now, "expires_at": now + timedelta(hours=1), "expiry_source": Expiry.EXPIRES_IN}
    known |= {"refresh_expires_at": None, "due_at": now + timedelta(minutes=50)}
    return Tokens(**known | more)


def commit_all(leased: list[tuple[Credential, Token]], answers: list[Tokens]) -> list[Any]:
    """Each in a thread of its own, as in a sweep. Whether each was kept, or its exception."""

    def commit(credential: Credential, token: Token, tokens: Tokens) -> Any:
        together.is_wanted.set(True)
        try:
            return leaseholder.commit(credential, token, tokens)
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            return type(exc)
        finally:
            connection.close()

    with ThreadPoolExecutor(NUMBER) as pool:
        futures = [pool.submit(commit, *one, tokens) for one, tokens in zip(leased, answers, strict=True)]
        return [future.result() for future in futures]


def stored(leased: list[tuple[Credential, Token]]) -> list[tuple[int, str | None, str | None]]:
    rows = [again(credential).token for credential, _ in leased]
    return [(row.version, row.access_token, row.refresh_token) for row in rows]


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    found = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [line for line in found if line.get("event") == event]


def test_a_bad_row_spoils_no_other(
    leased: list[tuple[Credential, Token]], sizes: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """No column takes its scope"""
    answers = [answer(0), answer(1, scope="read\x00write"), answer(2)]

    outcomes = commit_all(leased, answers)

    assert outcomes == [True, DataError, True]
    assert stored(leased) == [
        (2, "canary-new-0", "canary-next-0"),
        (1, OLD["access_token"], "canary-refresh-of-1"),
        (2, "canary-new-2", "canary-next-2"),
    ]
    assert sizes == [NUMBER]
    (line,) = lines(caplog, "not_committed_together")
    assert (line["reason"], line["count"]) == ("DataError", NUMBER)


def test_one_that_has_moved_on_keeps_what_it_has(leased: list[tuple[Credential, Token]], sizes: list[int]) -> None:
    Token.objects.filter(pk=leased[1][0].pk).update(version=7)

    outcomes = commit_all(leased, [answer(number) for number in range(NUMBER)])

    assert outcomes == [True, False, True]
    assert [version for version, _, _ in stored(leased)] == [2, 7, 2]
    assert AuditEvent.objects.filter(action="credential.refreshed").count() == 2
    assert sizes == [NUMBER]


def test_a_row_that_somebody_holds_holds_up_no_other(leased: list[tuple[Credential, Token]], sizes: list[int]) -> None:
    held, (first, last) = leased[1][0], (leased[0][0], leased[2][0])
    committing = ThreadPoolExecutor(1)
    with transaction.atomic():
        Token.objects.select_for_update().get(pk=held.pk)
        outcomes = committing.submit(commit_all, leased, [answer(number) for number in range(NUMBER)])

        until(lambda: [again(one).token.version for one in (first, last)] == [2, 2], what="the others are committed")
        assert again(held).token.version == 1

    assert outcomes.result() == [True] * NUMBER
    assert again(held).token.version == 2
    committing.shutdown()


def test_nobody_waits_without_end_for_the_first_one(
    leased: list[tuple[Credential, Token]], sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, stands = threading.Event(), threading.Event()
    commit = together.Batch.commit

    def stand_still(batch: together.Batch) -> None:
        stands.set()
        assert goes_on.wait(10)
        commit(batch)

    monkeypatch.setattr(together.Batch, "commit", stand_still)
    monkeypatch.setattr(together, "PATIENCE", 0.05)
    with ThreadPoolExecutor(1) as pool:
        outcomes = pool.submit(commit_all, leased, [answer(number) for number in range(NUMBER)])
        until(lambda: sorted(version for version, _, _ in stored(leased)) == [1, 2, 2], what="the others are committed")
        assert stands.is_set()
        goes_on.set()

    assert outcomes.result() == [True] * NUMBER
    assert [version for version, _, _ in stored(leased)] == [2] * NUMBER
    assert AuditEvent.objects.filter(action="credential.refreshed").count() == NUMBER


def test_whoever_has_gone_is_not_committed_for(leased: list[tuple[Credential, Token]]) -> None:
    (credential, token), *_ = leased
    event = audit.event("credential.refreshed", account=credential.account_id, to=credential, is_refresh=True)
    mine = together.Answer(credential, token, renewal(token, answer(0)), event)
    batch, is_first = together.gathered(mine)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(together, "PATIENCE", 0.0)
        batch.follow(mine)
    batch.lead()

    assert (is_first, batch.answers, batch.kept) == (True, [], set())
    assert together.gathering is None


@pytest.mark.parametrize("step", ["close", "my_turn"])
def test_a_first_one_that_fails_holds_up_nobody(
    leased: list[tuple[Credential, Token]], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whatever it fails with, and wherever"""
    original, is_broken = getattr(together, step), iter([True])

    def fails(*args: Any) -> Any:
        if next(is_broken, False):
            until(lambda: len(getattr(together.gathering, "answers", [])) == NUMBER, what="all have come")
            raise RuntimeError
        return original(*args)

    monkeypatch.setattr(together, step, fails)

    outcomes = commit_all(leased, [answer(number) for number in range(NUMBER)])

    assert outcomes == [True] * NUMBER
    assert [version for version, _, _ in stored(leased)] == [2] * NUMBER
    assert together.gathering is None


def test_a_batch_does_not_wait_without_end_for_the_one_before(
    leased: list[tuple[Credential, Token]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "LONGEST_TURN", 0.05)
    with together.turn:
        outcomes = commit_all(leased, [answer(number) for number in range(NUMBER)])

    assert outcomes == [True] * NUMBER
    assert [version for version, _, _ in stored(leased)] == [2] * NUMBER
    assert together.gathering is None


def test_one_alone_waits_for_nobody(leased: list[tuple[Credential, Token]], monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)

    outcomes = commit_all(leased[:1], [answer(0)])

    assert (outcomes, slept) == ([True], [])


def test_who_comes_during_a_commit_is_committed_by_the_next(
    leased: list[tuple[Credential, Token]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    commit = together.Batch.commit

    def slow_commit(batch: together.Batch) -> None:
        sizes.append(len(batch.answers))
        if len(sizes) == 1:
            others = NUMBER - len(batch.answers)
            until(lambda: len(getattr(together.gathering, "answers", [])) == others, what="the others have come")
        commit(batch)

    monkeypatch.setattr(together.Batch, "commit", slow_commit)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(commit_all, leased[:1], [answer(0)])
        until(lambda: sizes == [1], what="the first one commits")
        others = commit_all(leased[1:], [answer(number) for number in range(1, NUMBER)])

    assert [*first.result(), *others] == [True] * NUMBER
    assert sizes == [1, NUMBER - 1]


def test_together_they_are_what_each_is_alone(leased: list[tuple[Credential, Token]], sizes: list[int]) -> None:
    Token.objects.filter(pk=leased[0][0].pk).update(failure=Failure.REFUSED, failures=3, retry_at=timezone.now())

    outcomes = commit_all(leased, [answer(number) for number in range(NUMBER)])

    assert (outcomes, sizes) == ([True] * NUMBER, [NUMBER])
    for number, (credential, before) in enumerate(leased):
        row = again(credential).token
        assert (row.access_token, row.refresh_token) == (f"canary-new-{number}", f"canary-next-{number}")
        assert (row.lease_owner, row.failure, row.failures, row.retry_at) == (None, "", 0, None)
        assert (row.version, row.attempts) == (before.version + 1, before.attempts + 1)
        assert row.is_predecessor(f"canary-refresh-of-{number}")
        assert [event.split()[1] for event in row.history] == ["refreshed"]
    assert list(Verification(None).faults()) == []
    assert AuditEvent.objects.filter(action="credential.refreshed").count() == NUMBER


def test_a_refresh_token_that_stays_has_no_predecessor(
    leased: list[tuple[Credential, Token]], sizes: list[int]
) -> None:
    answers = [answer(number, refresh_token=f"canary-refresh-of-{number}") for number in range(NUMBER)]

    commit_all(leased, answers)

    assert [again(credential).token.previous_fingerprint for credential, _ in leased] == [None] * NUMBER


# ---- in a sweep ------------------------------------------------------------------------------------------------------


def test_while_the_database_is_away_each_answer_is_on_the_disk(
    oauth_app: OAuthApp, responses: RequestsMock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*args: Any) -> None:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr(spool, "folder", lambda: tmp_path / "spool")
    monkeypatch.setattr(spool, "replay_until_empty", lambda: None)
    responses.post(TOKEN_ENDPOINT, json=NEW)
    due = [linear_credential(oauth_app, linear_org_id=f"org-{n}", refresh_token=f"canary-{n}") for n in range(NUMBER)]
    Token.objects.update(due_at=timezone.now() - timedelta(minutes=1))

    with monkeypatch.context() as patch:
        patch.setattr(together, "renew_all", gone)
        patch.setattr(TokenQuerySet, "renew", gone)
        assert sweep.refresh_due() == NUMBER

    assert [again(one).token.version for one in due] == [1] * NUMBER
    assert spool.replay() == NUMBER
    assert {again(one).token.access_token for one in due} == {NEW["access_token"]}
    assert len(responses.calls) == NUMBER


def test_a_sweep_commits_together(oauth_app: OAuthApp, responses: RequestsMock, sizes: list[int]) -> None:
    responses.post(TOKEN_ENDPOINT, json=NEW)
    due = [linear_credential(oauth_app, linear_org_id=f"org-{n}", refresh_token=f"canary-{n}") for n in range(NUMBER)]
    Token.objects.update(due_at=timezone.now() - timedelta(minutes=1))

    long_ago = timezone.now() - timedelta(hours=2)
    Credential.objects.update(health_time=long_ago, updated_at=long_ago)

    assert sweep.refresh_due() == NUMBER

    assert sizes == [NUMBER]
    rows = [again(one) for one in due]
    assert [row.token.version for row in rows] == [2] * NUMBER
    assert [row.health_status for row in rows] == ["ok"] * NUMBER
    assert all(row.health_time > long_ago + timedelta(hours=1) for row in rows)
