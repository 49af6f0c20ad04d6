"""What time has done with: nothing secret outlives its purpose."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import parse_qsl

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from procrastinate.contrib.django import app
from responses import RequestsMock

from credentials.link import start_links
from credentials.models import Authorization, Grant, StartLink, Step
from credentials.purge import purge
from oauth_apps.models import Account, IdempotencyRecord, OAuthApp
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


def test_it_runs_by_itself_every_minute() -> None:
    app.perform_import_paths()  # type: ignore[no-untyped-call]
    schedules = {task.task.name: task.cron for task in app.periodic_registry.periodic_tasks.values()}

    assert schedules == {
        "credentials.purge.purge_job": "* * * * *",
        "credentials.refresh.sweep.refresh_due_job": "* * * * *",
        "credentials.refresh.watch.warn_of_ends_job": "17 * * * *",
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
