"""`manage.py delete_account` while others are at work with the account: it gets through, and nobody is told a 5xx."""

import threading
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection, transaction
from django.test import Client
from pytest_django import Settings

from credentials.link import giving_back
from credentials.management.commands import delete_account
from credentials.models import Authorization, DailyCount, ReadCount
from credentials.refresh import daily_outcomes, uses
from oauth_apps import audit
from oauth_apps.models import Account, AuditEvent, RedirectURI
from tests.link.trip import CALLBACK, Trip, assert_page, post_form
from tests.oauth_apps.conftest import client_of
from tests.real.machine import until
from tests.syncs import asking

ENOUGH = 60.0  # seconds; only a test that fails waits that long

pytestmark = pytest.mark.django_db(transaction=True)


def in_a_thread(do: Callable[[], Any]) -> "Future[Any]":
    """With a connection of its own."""

    def closing() -> Any:
        try:
            return do()
        finally:
            connection.close()

    threads = ThreadPoolExecutor(1)
    doing = threads.submit(closing)
    threads.shutdown(wait=False)
    return doing


def waiting() -> int:
    """How many connections to this database wait for another one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # of what this transaction has seen before
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])


@contextmanager
def just_before(statement: str, *deeds: Callable[[], Any], with_: str = "") -> "Iterator[list[Future[Any]]]":
    """Before this connection executes what begins so, with `with_` in it, each of `deeds` is done, to its end or until
    it waits.
    """
    doing: list[Future[Any]] = []

    def look(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if str(sql).startswith(statement) and with_ in str(sql) and not doing:
            for deed in deeds:
                doing.append(in_a_thread(deed))
                until(lambda: sum(not one.done() for one in doing) == waiting(), what="each is done or waits")
        return execute(sql, *rest)

    with connection.execute_wrapper(look):
        yield doing
    assert len(doing) == len(deeds)


LAST = 'DELETE FROM "oauth_apps_account"'  # whatever belonged to it is gone by then


def delete(account: Account) -> None:
    call_command("delete_account", str(account.pk), "--yes")


def assert_gone(account: Account) -> None:
    assert not Account.objects.filter(pk=account.pk).exists()
    assert AuditEvent.objects.filter(action="account.deleted", object_id=str(account.pk)).count() == 1
    assert not AuditEvent.objects.filter(account=account.pk).exists()


def test_numbers_that_are_written_meanwhile(account: Account, other_account: Account) -> None:
    """Of refreshes and reads, which were collected in memory: those of others stay"""
    daily_outcomes.write()  # what other tests of this process have left in memory
    uses.write_reads()
    for one in (account, other_account):
        daily_outcomes.note(one.pk, is_renewed=True)
        uses.note(uuid.uuid4(), uuid.uuid4(), account_id=one.pk, address="192.0.2.1")

    with just_before(LAST, daily_outcomes.write, uses.write_reads) as doing:
        delete(account)

    assert [one.result() for one in doing] == [2, 2]
    assert_gone(account)
    assert [row.account_id for row in DailyCount.objects.all()] == [other_account.pk]
    assert [row.account_id for row in ReadCount.objects.all()] == [other_account.pk]


def test_an_event_that_is_written_meanwhile(account: Account) -> None:
    """Its deed fails: nothing is done of which it is not written down"""
    with just_before(LAST, lambda: audit.record("account.looked_at", account=account.pk)) as doing:
        delete(account)

    with pytest.raises(IntegrityError):
        doing[0].result()
    assert_gone(account)


@pytest.mark.parametrize("statement", ['DELETE FROM "oauth_apps_oauthapp"', LAST], ids=["app", "account"])
def test_trips_that_begin_meanwhile_end_on_a_page(
    account: Account, trip: Trip, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the next one does. However many begin, one try of the deletion is enough"""
    monkeypatch.setattr(delete_account, "MOST_TRIES", 1)

    with just_before(statement, trip.start, trip.start) as doing:
        delete(account)

    for answer in doing:
        assert_page(answer.result(), holds="invalid_client")
    assert_gone(account)
    assert not Authorization.objects.exists()


def test_a_code_that_is_used_meanwhile(account: Account, trip: Trip) -> None:
    code = trip.code()

    with just_before(LAST, lambda: trip.token(code=code)) as doing:
        delete(account)

    assert doing[0].result().status_code in {400, 401}
    assert doing[0].result().json()["error"] in {"invalid_grant", "invalid_client"}
    assert_gone(account)


def test_a_refresh_that_ends_meanwhile(account: Account, trip: Trip) -> None:
    """Nobody gets tokens of whom it is not written down; he is told what the next one is told"""
    trip.provider_answers()

    with just_before(LAST, lambda: trip.token(grant_type="refresh_token", refresh_token="canary-of-theirs")) as doing:
        delete(account)

    answer = doing[0].result()
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert_gone(account)


def test_whoever_authenticates_by_basic_is_told_so(account: Account, trip: Trip) -> None:
    """RFC 6749, 5.2"""
    pair = b64encode(f"{trip.oauth_app.pk}:canary-client-secret".encode()).decode()
    trip.provider_answers()

    def refresh() -> Any:
        body = {"grant_type": "refresh_token", "refresh_token": "canary-of-theirs"}
        return post_form(body, headers={"authorization": f"Basic {pair}"})

    with just_before(LAST, refresh) as doing:
        delete(account)

    answer = doing[0].result()
    assert (answer.status_code, answer.headers.get("WWW-Authenticate")) == (401, 'Basic realm="link"')


def test_an_answer_of_a_provider_that_is_refused_meanwhile(
    account: Account, trip: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another browser; the account is gone before that is written down"""
    state = trip.started()["state"]
    fail = Authorization.fail

    def fail_late(authorization: Authorization, *told: str) -> Any:
        delete(account)
        return fail(authorization, *told)

    monkeypatch.setattr(Authorization, "fail", fail_late)

    answer = Client().get(CALLBACK, {"state": state, "code": "canary-provider-code"})

    assert_page(answer)
    assert [cookie.value for name, cookie in answer.cookies.items() if name.startswith("link_")] == [""]  # released
    assert_gone(account)


def test_what_the_console_makes_meanwhile(account: Account) -> None:
    """A page, which says that nothing was done"""
    root = Client(raise_request_exception=False)
    root.force_login(User.objects.create_superuser("root", password="x"))
    form = {"account": str(account.pk), "redirect_uri": "https://app.example.com/callback"}

    with just_before(LAST, lambda: root.post("/admin/oauth_apps/redirecturi/add/", form)) as doing:
        delete(account)

    answer = doing[0].result()
    assert (answer.status_code, answer["Cache-Control"]) == (409, "no-store")
    assert "This was changed at the same time" in answer.text
    assert "Nothing was done." in answer.text
    assert not RedirectURI.objects.exists()
    assert_gone(account)


def test_what_the_api_makes_meanwhile(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    """A conflict, which says so; the log names the key"""
    api, body = client_of(account), {"redirect_uri": "https://app.example.com/:provider"}

    def post() -> Any:
        return api.post("/v1/redirect-uris", body, content_type="application/json")

    def post_with_a_key() -> Any:
        key = {"Idempotency-Key": "a-key"}
        return api.post("/v1/redirect-uris", body, content_type="application/json", headers=key)

    with just_before(LAST, post_with_a_key, post) as doing:
        delete(account)

    for one in doing:
        answer = one.result()
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "at the same time" in answer.json()["summary"]
    told = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    assert any(line["event"] == "deleted_meanwhile" and "account_id" in line["place"] for line in told)
    assert_gone(account)


def test_whoever_holds_a_row_of_it_gets_through_first(account: Account, redirect_uri: RedirectURI) -> None:
    """He waits for the account at his commit, and the deletion for his row: the deletion gives up, and tries again"""
    is_held, goes_on = threading.Event(), threading.Event()

    def change() -> None:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL deadlock_timeout = '600ms'")  # else the other one is the first to look
            RedirectURI.objects.select_for_update().get(pk=redirect_uri.pk)
            is_held.set()
            goes_on.wait(ENOUGH)
            audit.record("redirect_uri.looked_at", account=account.pk)

    changing = in_a_thread(change)
    assert is_held.wait(ENOUGH)
    deleting = in_a_thread(lambda: delete(account))
    until(lambda: waiting() or deleting.done(), what="the deletion waits for the row")
    goes_on.set()

    assert changing.result(ENOUGH) is None
    assert deleting.result(ENOUGH) is None
    assert_gone(account)


@pytest.mark.parametrize("held", [RedirectURI, Account])
def test_one_that_is_held_for_ever_is_told(
    account: Account, redirect_uri: RedirectURI, monkeypatch: pytest.MonkeyPatch, held: type[RedirectURI | Account]
) -> None:
    monkeypatch.setattr(delete_account, "MOST_TRIES", 2)
    monkeypatch.setattr(delete_account, "PATIENCE", 50)
    monkeypatch.setattr(delete_account, "PAUSE", 0)

    with transaction.atomic():
        held._default_manager.select_for_update(no_key=True).get()
        with pytest.raises(OperationalError, match="lock timeout"):
            in_a_thread(lambda: delete(account)).result(ENOUGH)

    delete(account)
    assert_gone(account)


def test_a_sync_that_is_made_of_a_credential_meanwhile(account: Account, settings: Settings) -> None:
    """It waits for the credential, and is told that there is none"""
    settings.PROVIDERS_DIR = str(asking.PROVIDERS)
    credential, api = asking.credential_at(asking.app_at(account, "dunes")), client_of(account)

    def post() -> Any:
        return asking.post(api, **asking.asked(credential_id=str(credential.pk)))

    with just_before("SELECT", post, with_='FROM "syncs_sync" WHERE "syncs_sync"."credential_id" IN') as doing:
        delete(account)

    assert doing[0].result().status_code in {404, 409, 422}
    assert_gone(account)


def test_two_at_once_are_one_deed(account: Account) -> None:
    with just_before('SELECT "oauth_apps_account"', lambda: delete(account), with_="FOR UPDATE"):
        delete(account)

    assert AuditEvent.objects.filter(action="account.deleted", object_id=str(account.pk)).count() == 1


def test_tokens_of_a_trip_whose_app_is_deleted_at_that_moment_are_given_back(
    account: Account, trip: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever deletes it, who sees the trip's end, or by the callback, which finds the trip gone"""
    given_back = list[str]()
    for module in (giving_back, import_module("credentials.link.flow.callback")):
        monkeypatch.setattr(module, "give_back_tokens", lambda *_: given_back.append("tokens"))
    trip.provider_answers()
    state, api = trip.started()["state"], client_of(account)

    def arrive() -> Any:
        return trip.callback(state=state, code="canary-provider-code")

    with just_before('SELECT "credentials_authorization"', arrive, with_="FOR UPDATE"):
        assert api.delete(f"/v1/oauth-apps/{trip.oauth_app.pk}").status_code == 200

    assert len(given_back) == 1
    assert not Authorization.objects.exists()
