"""What the provider answered while the database was away."""

import time
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, DataError, OperationalError
from responses import RequestsMock

from credentials.models import Credential, Failure, Token
from credentials.models.token import TokenQuerySet
from credentials.refresh import lease, leaseholder, spool, sweep
from oauth_apps.models import Account
from sequin_auth.lib.encryption import key_ring
from tests.credentials.stored import NEW, OLD, TOKEN_ENDPOINT, again, linear_app, linear_credential


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(spool, "folder", lambda: tmp_path / "spool")
    monkeypatch.setattr(spool, "replay_until_empty", lambda: None)  # a test replays when it wants to
    monkeypatch.setattr(spool, "unwritten", {})
    return tmp_path / "spool"


@pytest.fixture
def expired(account: Account) -> Credential:
    return linear_credential(linear_app(account))


@pytest.fixture
def spooled(expired: Credential, responses: RequestsMock, monkeypatch: pytest.MonkeyPatch) -> Credential:
    """Its refresh has succeeded, and could not be committed."""
    responses.post(TOKEN_ENDPOINT, json=NEW)

    def gone(*args: Any) -> None:
        raise OperationalError("the connection is closed")

    with monkeypatch.context() as patch:
        patch.setattr(TokenQuerySet, "renew", gone)
        patch.setattr(leaseholder, "connection", type("Connection", (), {"close": staticmethod(lambda: None)}))
        token = lease.refreshed(expired)
    assert token.access_token == NEW["access_token"]  # whoever asked has it, in any case
    return again(expired)


def test_an_answer_that_cannot_be_committed_is_sealed_on_disk(spooled: Credential, folder: Path) -> None:
    """G03"""
    (path,) = spool.entries()
    content = path.read_bytes()

    assert b"canary" not in content
    assert (path.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    assert spooled.token.refresh_token == OLD["refresh_token"]


def test_it_is_put_into_its_row_once(spooled: Credential) -> None:
    assert (spool.replay(), spool.replay()) == (1, 0)

    token = again(spooled).token
    assert (token.access_token, token.refresh_token) == (NEW["access_token"], NEW["refresh_token"])
    assert (token.version, token.lease_owner) == (2, None)
    assert spool.entries() == []


def test_the_next_refresh_finds_it_before_it_asks_the_provider(spooled: Credential, responses: RequestsMock) -> None:
    token = lease.refreshed(spooled)

    assert token.access_token == NEW["access_token"]
    assert len(responses.calls) == 1


def test_a_row_that_has_moved_on_is_left_alone(spooled: Credential) -> None:
    Token.objects.filter(pk=spooled.pk).update(version=7)

    assert spool.replay() == 0

    assert again(spooled).token.refresh_token == OLD["refresh_token"]
    assert spool.entries() == []


def test_a_credential_that_was_deleted_stays_so(spooled: Credential) -> None:
    spooled.delete()

    assert spool.replay() == 0

    assert spool.entries() == []


def test_while_the_database_is_away_it_waits(spooled: Credential, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any) -> None:
        raise OperationalError("the connection is closed")

    with monkeypatch.context() as patch:
        patch.setattr(TokenQuerySet, "renew", gone)
        with pytest.raises(DatabaseError):
            spool.replay()

    assert len(spool.entries()) == 1


def test_what_the_database_refuses_for_good_stops_nobody(
    spooled: Credential, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: Any) -> None:
        raise DataError("a value that no column takes")

    monkeypatch.setattr(TokenQuerySet, "renew", refuse)

    assert spool.replay() == 0

    assert len(spool.entries()) == 1
    assert "spool_unreadable" in caplog.text


def test_the_sweep_goes_on_while_the_spool_cannot(spooled: Credential, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = []

    def gone() -> int:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr(spool, "replay", gone)
    monkeypatch.setattr(sweep, "refresh_due", lambda: swept.append(True))

    sweep.refresh_due_job(timestamp=0)

    assert swept == [True]


def test_what_is_replayed_ends_the_note_of_what_went_wrong_before(spooled: Credential) -> None:
    Token.objects.update(failure=Failure.PROVIDER_UNAVAILABLE)
    Credential.objects.update(health_status="warn", health_notes=["Linear has not answered."])

    spool.replay()

    assert (again(spooled).health_status, again(spooled).health_notes) == ("ok", [])


def test_a_stray_file_is_no_answer(spooled: Credential, folder: Path) -> None:
    (folder / "a.txt").write_text("x")

    assert spool.replay() == 1


def test_a_refresh_token_without_an_access_token_is_kept_too(
    expired: Credential, responses: RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G16, G03: and what is replayed then holds no token that could be given"""
    responses.post(TOKEN_ENDPOINT, json={"refresh_token": "canary-refresh-2"})

    def gone(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("the connection is closed")

    with monkeypatch.context() as patch:
        patch.setattr(TokenQuerySet, "renew_refresh_token", gone)
        patch.setattr(leaseholder, "connection", type("Connection", (), {"close": staticmethod(lambda: None)}))
        with pytest.raises(DatabaseError):
            lease.refreshed(expired)
    responses.replace("POST", TOKEN_ENDPOINT, json=NEW)
    Token.objects.update(lease_owner=None, lease_until=None)

    token = lease.refreshed(again(expired))

    assert token.access_token == NEW["access_token"]
    assert "canary-refresh-2" in str(responses.calls[-1].request.body)


@pytest.mark.parametrize("has_room", [False, True])
def test_whoever_asked_has_his_token_though_the_disk_is_full_too(
    expired: Credential, responses: RequestsMock, monkeypatch: pytest.MonkeyPatch, has_room: bool
) -> None:
    """And it comes into its row from the memory of the process, or from the disk if that has room again"""
    responses.post(TOKEN_ENDPOINT, json=NEW)
    write_durably, room = spool.write_durably, [False]

    def gone(*args: Any) -> None:
        raise OperationalError("the connection is closed")

    def write_if_there_is_room(path: Path, content: bytes) -> None:
        if not room[0]:
            raise OSError("no space left on device")
        write_durably(path, content)

    monkeypatch.setattr(spool, "write_durably", write_if_there_is_room)
    with monkeypatch.context() as patch:
        patch.setattr(TokenQuerySet, "renew", gone)
        patch.setattr(leaseholder, "connection", type("Connection", (), {"close": staticmethod(lambda: None)}))
        assert lease.refreshed(expired).access_token == NEW["access_token"]
    assert (len(spool.entries()), len(spool.unwritten)) == (0, 1)
    room[0] = has_room
    spool.write_what_was_not()
    assert (len(spool.entries()), len(spool.unwritten)) == ((1, 0) if has_room else (0, 1))

    assert spool.replay() == 1

    assert (spool.entries(), spool.unwritten) == ([], {})
    assert again(expired).token.access_token == NEW["access_token"]


@pytest.mark.parametrize("harm", ["cut", "moved", "garbage"])
def test_what_does_not_open_stays_and_stops_nothing(
    spooled: Credential, folder: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = spool.entries()
    content = path.read_bytes()
    if harm == "cut":
        path.write_bytes(content[:-20])
    elif harm == "moved":  # another version's answer: sealed for another place
        path.write_bytes(content.replace(b'"version":1', b'"version":2'))
    else:
        path.write_bytes(b"\xff\xfe")

    assert spool.replay() == 0

    assert len(spool.entries()) == 1
    assert "spool_unreadable" in caplog.text
    assert again(spooled).token.version == 1


def test_a_half_written_file_is_no_answer(spooled: Credential, folder: Path) -> None:
    (path,) = spool.entries()
    path.rename(path.with_name(f".{path.name}"))

    assert spool.replay() == 0
    assert again(spooled).token.version == 1


def test_keys_status_knows_of_it(spooled: Credential) -> None:
    assert spool.keys_in_use() == {key_ring().sealing_key_id: 1}


@pytest.mark.django_db(transaction=True)
def test_a_thread_goes_on_trying(spooled: Credential, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    outcomes = iter([DatabaseError(), None])
    tried = []

    def replay() -> int:
        tried.append(time.monotonic())
        if outcome := next(outcomes):
            raise outcome
        return 0

    monkeypatch.setattr(spool, "PAUSE", 0.0)
    monkeypatch.setattr(spool, "entries", lambda: ["one"])
    monkeypatch.setattr(spool, "replay", replay)

    spool.replay_until_empty()

    assert len(tried) == 2
