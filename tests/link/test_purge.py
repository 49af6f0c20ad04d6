"""What time has done with: nothing secret outlives its purpose."""

import json
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
import structlog
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone
from procrastinate.contrib.django import app
from pytest_django import Settings
from responses import RequestsMock

from credentials.link import start_links
from credentials.models import Authorization, Counted, DailyCount, Grant, ReadCount, StartLink, Step
from credentials.purge import NotPurged, purge, purge_job
from oauth_apps import audit
from oauth_apps.models import (
    Account,
    FailedAuthentication,
    IdempotencyRecord,
    OAuthApp,
    RateCount,
    WebhookDelivery,
    WebhookEndpoint,
)
from tests.link.trip import REDIRECT_URI, Trip, assert_page

SALESFORCE = {
    "token_endpoint": "https://login.salesforce.com/services/oauth2/token",
    "variables": {"domain": "login.salesforce.com"},
}


def granted_long_ago(trip: Trip, *, minutes: int = 11) -> Authorization:
    trip.code()
    authorization = Authorization.objects.get()
    Authorization.objects.update(expires_at=timezone.now() - timedelta(minutes=minutes))
    trip.responses.calls.reset()
    return authorization


def test_tokens_that_may_still_be_fetched_stay(trip: Trip) -> None:
    code = trip.code()

    purge()

    assert trip.token(code=code).status_code == 200


def test_tokens_in_their_grace_stay_sealed(trip: Trip) -> None:
    granted_long_ago(trip, minutes=9)

    assert purge()["unclaimed_tokens"] == 0
    assert Authorization.objects.get().tokens is not None


def test_unclaimed_tokens_are_erased(trip: Trip) -> None:
    """C19. A revocation at Stripe would end older connections of the account too, so there is none."""
    granted_long_ago(trip)

    assert purge()["unclaimed_tokens"] == 1

    authorization = Authorization.objects.get()
    assert (authorization.step, authorization.tokens) == (Step.ABANDONED, None)
    assert len(trip.responses.calls) == 0
    assert purge()["unclaimed_tokens"] == 0


@pytest.mark.parametrize("status", [200, 400, 503])
def test_unclaimed_tokens_are_revoked_where_that_ends_them_alone(
    trip: Trip, responses: RequestsMock, status: int
) -> None:
    """C19: best effort"""
    authorization = granted_long_ago(trip)
    OAuthApp.objects.update(provider="salesforce")
    snapshot = authorization.snapshot | SALESFORCE
    Authorization.objects.update(provider="salesforce", snapshot=snapshot)
    responses.post("https://login.salesforce.com/services/oauth2/revoke", status=status)

    assert purge()["unclaimed_tokens"] == 1

    (call,) = responses.calls
    assert dict(parse_qsl(str(call.request.body)))["token"] == "canary-refresh-token"
    assert Authorization.objects.get().tokens is None


def test_a_row_that_does_not_open_is_erased_too(trip: Trip) -> None:
    """E07"""
    granted_long_ago(trip)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE credentials_authorization SET tokens = 'garbage'")

    assert purge()["unclaimed_tokens"] == 1
    assert Authorization.objects.get().tokens is None


@pytest.mark.django_db(transaction=True)
def test_two_purges_at_once_do_no_harm(trip: Trip) -> None:
    """I06"""
    granted_long_ago(trip)

    def one(_: int) -> int:
        try:
            return purge()["unclaimed_tokens"]
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        erased = sorted(pool.map(one, range(2)))

    assert erased == [0, 1]


def test_old_trips_go_after_a_day(trip: Trip, account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    trip.start()
    trip.start()
    Authorization.objects.filter(pk=Authorization.objects.first().pk).update(  # type: ignore[union-attr]
        expires_at=timezone.now() - timedelta(hours=25)
    )
    IdempotencyRecord.objects.create(
        account=account, key_hash=b"k" * 32, body_hash=b"b" * 32, created_at=timezone.now() - timedelta(hours=25)
    )

    call_command("purge")

    report = json.loads(capsys.readouterr().out)
    assert (report["authorizations"], report["idempotency_records"]) == (1, 1)
    assert Authorization.objects.count() == 1


def test_a_link_that_has_expired_names_its_way_back_for_a_day(trip: Trip) -> None:
    link = start_links.make(trip.oauth_app, redirect_uri=REDIRECT_URI, variables={}).url
    StartLink.objects.update(expires_at=timezone.now() - timedelta(hours=23))

    assert purge()["start_links"] == 0
    page = trip.client.get(link)
    assert_page(page, holds="link_expired")
    assert "Back to app.example.com" in page.content.decode()

    StartLink.objects.update(expires_at=timezone.now() - timedelta(hours=24, seconds=1))
    assert purge()["start_links"] == 1
    assert_page(trip.client.get(link), holds="link_expired")
    assert Authorization.objects.count() == 0


MANY = 5


def outdated_rows(trip: Trip, account: Account) -> None:
    """MANY of each sort that only has to be deleted."""
    long_ago = timezone.now() - timedelta(days=400)
    endpoint = WebhookEndpoint.objects.create(account=account, url="https://app.example.com/hooks", secret="canary")
    for number in range(MANY):
        key = bytes([number]) * 32
        trip.start()
        start_links.make(trip.oauth_app, redirect_uri=REDIRECT_URI, variables={})
        IdempotencyRecord.objects.create(account=account, key_hash=key, body_hash=key, created_at=long_ago)
        FailedAuthentication.objects.create(key_hash=key, since=long_ago)
        RateCount.objects.create(key_hash=key, since=long_ago, number=1)
        day = long_ago.date() + timedelta(days=number)
        DailyCount.objects.create(account=account, day=day, what=Counted.REFRESHED, number=1)
        WebhookDelivery.objects.create(endpoint=endpoint, event="ping", body="{}", created_at=long_ago)
        audit.record("redirect_uri.looked_at", account=account)
        Session.objects.create(session_key=f"{number}", session_data="", expire_date=long_ago)
        ids = {"api_token": uuid.uuid4(), "credential": uuid.uuid4()}
        ReadCount.objects.create(account=account, **ids, minute=long_ago, number=1)
    for trips in (Authorization, StartLink):
        trips.objects.update(expires_at=timezone.now() - timedelta(hours=25))


@pytest.mark.django_db(transaction=True)
def test_no_part_deletes_more_than_a_batch_in_one_transaction(
    trip: Trip, account: Account, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wants one of these rows, or waits for a lock on them, waits for that many at most"""
    settings.AUDIT_DAYS = -1
    for most in ("credentials.purge.ERASED_AT_ONCE", "credentials.purge.BATCH", "oauth_apps.audit_chain.BATCH"):
        monkeypatch.setattr(most, 2)
    outdated_rows(trip, account)
    deleted = Counter[int]()  # by the number of the transaction

    def look(execute: Callable[..., Any], sql: str, values: Any, many: bool, context: Any) -> Any:
        done = execute(sql, values, many, context)
        if str(sql).startswith("DELETE"):
            rows = context["cursor"].rowcount
            with connection.connection.cursor() as cursor:
                deleted[cursor.execute("SELECT txid_current()").fetchone()[0]] += rows
        return done

    with connection.execute_wrapper(look):
        report = purge()

    parts = (
        "authorizations", "start_links", "idempotency_records", "failed_authentications", "rate_counts",
        "daily_counts", "webhook_deliveries", "audit_events", "read_counts", "sessions",
    )  # fmt: skip
    assert {name: report[name] for name in parts} == dict.fromkeys(parts, MANY)
    assert max(deleted.values()) == 2
    assert deleted.total() == MANY * len(parts)


def test_a_part_that_fails_holds_up_no_other(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    granted_long_ago(trip)

    def fail(*_: object) -> int:
        raise OverflowError("canary")

    monkeypatch.setattr("credentials.purge.keep_forgotten", fail)
    monkeypatch.setattr("credentials.purge.audit_chain.forget", fail)

    with structlog.testing.capture_logs() as lines, pytest.raises(NotPurged, match=r"kept_trips, audit_events\."):
        purge_job(0)

    told = [(line["log_level"], line["reason"]) for line in lines if line["event"] == "not_purged"]
    assert told == [("error", "kept_trips"), ("error", "audit_events")]
    assert Authorization.objects.get().step == Step.ABANDONED
    with pytest.raises(CommandError, match="Not purged: kept_trips"):
        call_command("purge")


def test_without_a_database_no_other_part_is_tried(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    tried: list[str] = []

    def fail() -> int:
        tried.append("kept_trips")
        raise OperationalError("the connection is closed")

    monkeypatch.setattr("credentials.purge.keep_forgotten", fail)
    monkeypatch.setattr("credentials.purge.erase_unclaimed", lambda: tried.append("unclaimed_tokens"))
    monkeypatch.setattr(connection, "is_usable", lambda: False)

    with pytest.raises(OperationalError):
        purge()

    assert tried == ["kept_trips"]


def test_it_runs_by_itself_every_minute() -> None:
    app.perform_import_paths()  # type: ignore[no-untyped-call]
    schedules = {task.task.name: task.cron for task in app.periodic_registry.periodic_tasks.values()}

    assert schedules == {
        "credentials.purge.purge_job": "* * * * *",
        "credentials.refresh.sweep.refresh_due_job": "* * * * *",
        "credentials.refresh.watch.warn_of_ends_job": "17 * * * *",
        "credentials.stock.take_stock_job": "*/5 * * * *",
        "oauth_apps.webhooks.delivery.deliver_due_job": "* * * * *",
        "syncs.jobs.prune_job": "23 3 * * *",
        "syncs.jobs.sweep_job": "* * * * *",
    }


def test_a_grant_says_nothing_of_itself() -> None:
    grant = Grant("canary", "bearer", None, "canary", None, {"secret": "canary"})

    assert "canary" not in repr(grant)


@pytest.mark.django_db(transaction=True)
def test_what_nobody_has_fetched_goes_back_when_its_app_is_deleted(trip: Trip, responses: RequestsMock) -> None:
    """B20"""
    authorization = granted_long_ago(trip, minutes=0)
    OAuthApp.objects.update(provider="salesforce")
    Authorization.objects.update(provider="salesforce", snapshot=authorization.snapshot | SALESFORCE)
    responses.post("https://login.salesforce.com/services/oauth2/revoke", status=200)

    OAuthApp.objects.get().account.delete()

    (call,) = responses.calls
    assert dict(parse_qsl(str(call.request.body)))["token"] == "canary-refresh-token"
