"""What is counted: refreshes as they end, trips when they are purged, each of them once."""

import datetime
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from itertools import product
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from responses import RequestsMock

from credentials.console import chart
from credentials.console.seen import Seen
from credentials.errors import NeedsReauthorization, NoAccessToken
from credentials.models import Authorization, Credential, DailyCount, End, Outcome, Step, Token, Tokens
from credentials.models.daily_count import counted_in_sql
from credentials.purge import NotPurged, purge
from credentials.refresh import daily_outcomes, lease, spool, sweep
from oauth_apps.models import Account, AuditEvent, OAuthApp, RedirectURI
from tests.console.trips import trip_at
from tests.credentials.stored import NEW, TOKEN_ENDPOINT, again, linear_app, linear_credential
from tests.link.reconnection import Reconnection, salesforce_app, salesforce_credential
from tests.link.trip import Trip

TODAY = datetime.datetime(2026, 11, 22, 12, tzinfo=UTC)
LONG_AGO = timedelta(hours=25)


@pytest.fixture(autouse=True)
def nothing_collected() -> Iterator[None]:
    daily_outcomes.collected.clear()
    yield
    daily_outcomes.collected.clear()


@pytest.fixture
def oauth_app(account: Account) -> OAuthApp:
    return linear_app(account)


@pytest.fixture
def expired(oauth_app: OAuthApp) -> Credential:
    return linear_credential(oauth_app)


def counted() -> dict[tuple[str, str], int]:
    """By account and what, of all days."""
    rows = DailyCount.objects.order_by("day").values_list("account__name", "what", "number")
    found: dict[tuple[str, str], int] = {}
    for account, what, number in rows:
        found[account, what] = found.get((account, what), 0) + number
    return found


def told(credential: Credential) -> list[str]:
    """The outcomes in its history, newest first."""
    history = again(credential).token.history
    assert all(abs(int(event.split()[0]) - timezone.now().timestamp()) < 60 for event in history)
    return [event.partition(" ")[2] for event in history]


# ---- refreshes -------------------------------------------------------------------------------------------------------


def test_a_failure_stands_in_the_history_and_in_the_numbers(expired: Credential, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, json={"error": "invalid_grant"}, status=400)

    with pytest.raises(NeedsReauthorization):
        lease.refreshed(expired)
    with pytest.raises(NeedsReauthorization):
        lease.refreshed(again(expired))  # is not tried again

    assert told(expired) == ["refresh_token_refused"]
    assert daily_outcomes.write() == 1
    assert counted() == {("Arrakis", "not_refreshed"): 1}


def test_a_success_stands_in_front_of_what_was_before(expired: Credential, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, status=500)
    with pytest.raises(NoAccessToken):
        lease.refreshed(expired)
    responses.replace("POST", TOKEN_ENDPOINT, json=NEW)

    lease.refreshed(again(expired), force=True)

    assert told(expired) == ["refreshed", "provider_unavailable"]
    assert daily_outcomes.write() == 2
    assert daily_outcomes.write() == 0
    assert counted() == {("Arrakis", "not_refreshed"): 1, ("Arrakis", "refreshed"): 1}


def test_the_history_has_an_end(expired: Credential, responses: RequestsMock) -> None:
    Token.objects.update(history=[f"{1000 - n} refused" for n in range(20)])
    responses.post(TOKEN_ENDPOINT, json=NEW)

    lease.refreshed(again(expired))

    history = again(expired).token.history
    assert len(history) == 20
    assert history[0].endswith(" refreshed")
    assert (history[1], history[-1]) == ("1000 refused", "982 refused")


def test_an_answer_without_an_access_token_is_a_failure(expired: Credential, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, json={"refresh_token": "canary-refresh-2"})

    with pytest.raises(NoAccessToken):
        lease.refreshed(expired)

    assert told(expired) == ["not_understood"]
    assert again(expired).token.refresh_token == "canary-refresh-2"


def test_neither_takes_a_statement_of_its_own(oauth_app: OAuthApp, responses: RequestsMock) -> None:
    """The history rides on the UPDATE that writes the outcome, the numbers wait in memory."""
    well, unwell = (linear_credential(oauth_app, linear_org_id=str(n), refresh_token=f"canary-{n}") for n in range(2))
    responses.post(TOKEN_ENDPOINT, json=NEW)
    with CaptureQueriesContext(connection) as of_success:
        lease.refreshed(well)
    responses.replace("POST", TOKEN_ENDPOINT, json={"error": "invalid_grant"}, status=400)
    with CaptureQueriesContext(connection) as of_failure, pytest.raises(NeedsReauthorization):
        lease.refreshed(unwell)

    for statements in (of_success, of_failure):
        written = [query["sql"] for query in statements if "history" in query["sql"] and "SET" in query["sql"]]
        assert len([sql for sql in written if '"history" = ' in sql]) == 1
        assert not any(DailyCount._meta.db_table in query["sql"] for query in statements)


def test_an_import_is_no_refresh(expired: Credential, oauth_app: OAuthApp, account: Account) -> None:
    newer = linear_credential(oauth_app, refresh_token="canary-refresh-9", expires_at="2031-01-01T00:00:00Z")

    assert newer.pk == expired.pk
    assert newer.token.version == 2
    assert newer.token.history == []
    assert daily_outcomes.write() == 0


def test_a_reconnection_is_no_refresh(
    client: Client, account: Account, redirect_uri: RedirectURI, responses: RequestsMock
) -> None:
    reconnection = Reconnection(client, responses, salesforce_credential(salesforce_app(account)))

    reconnection.whole()

    token = again(reconnection.credential).token
    assert (token.access_token, token.history) == ("canary-new-access", [])
    assert daily_outcomes.write() == 0


def test_an_end_without_a_refresh_token_is_no_refresh(oauth_app: OAuthApp) -> None:
    credential = linear_credential(oauth_app, refresh_token=None)

    sweep.refresh_due()

    assert again(credential).token.history == []
    assert daily_outcomes.write() == 0


def test_an_answer_that_was_spooled_counts_when_it_is_there(
    expired: Credential, tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(spool, "folder", lambda: tmp_path / "spool")
    monkeypatch.setattr(spool, "replay_until_empty", lambda: None)
    tokens = Tokens(
        access_token="canary-access-2",
        refresh_token="canary-refresh-2",
        obtained_at=timezone.now(),
        expires_at=None,
        expiry_source="never",
        refresh_expires_at=None,
        due_at=None,
    )
    spool.keep(expired.token, tokens)
    spool.keep(expired.token, tokens)

    assert spool.replay() == 1

    assert told(expired) == ["refreshed"]
    assert daily_outcomes.write() == 1


def test_what_the_database_does_not_take_is_written_later(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    daily_outcomes.note(account.pk, is_renewed=True)

    def gone(*args: Any) -> None:
        raise OperationalError("the connection is closed")

    with monkeypatch.context() as patch:
        patch.setattr(type(DailyCount.objects.all()), "add", gone)
        with pytest.raises(DatabaseError):
            daily_outcomes.write()
    daily_outcomes.note(account.pk, is_renewed=True)

    assert daily_outcomes.write() == 2
    assert counted() == {("Arrakis", "refreshed"): 2}


def test_numbers_of_an_account_that_is_gone_are_dropped(account: Account, other_account: Account) -> None:
    for one in (account, other_account):
        daily_outcomes.note(one.pk, is_renewed=True)
    other_account.delete()

    daily_outcomes.write()

    assert counted() == {("Arrakis", "refreshed"): 1}


# ---- trips -----------------------------------------------------------------------------------------------------------


def outdated(trip: Trip, number: int, **columns: Any) -> None:
    for _ in range(number):
        trip.start()
    fresh = Authorization.objects.filter(expires_at__gt=timezone.now())
    fresh.update(expires_at=timezone.now() - LONG_AGO, created_at=TODAY - LONG_AGO, **columns)


def of_all_outcomes(trip: Trip) -> None:
    outdated(trip, 3, step=Step.EXCHANGED)
    outdated(trip, 1, step=Step.FAILED, error="access_denied")
    outdated(trip, 1, step=Step.FAILED, error="server_error")
    outdated(trip, 1, step=Step.ABANDONED)
    outdated(trip, 1, step=Step.STARTED)
    outdated(trip, 1, step=Step.RETURNED)


OUTCOMES = {
    ("Arrakis", "connected"): 3,
    ("Arrakis", "denied"): 1,
    ("Arrakis", "failed"): 2,
    ("Arrakis", "unfinished"): 2,
}


def test_a_trip_that_is_purged_stays_in_the_numbers_once(trip: Trip) -> None:
    of_all_outcomes(trip)

    assert purge()["authorizations"] == 8
    assert purge()["authorizations"] == 0

    assert counted() == OUTCOMES
    assert {row.day for row in DailyCount.objects.all()} == {datetime.date(2026, 11, 21)}


def test_a_purge_that_fails_has_neither_counted_nor_deleted(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    of_all_outcomes(trip)

    def gone(*args: Any) -> None:
        raise OperationalError("the connection is closed")

    with monkeypatch.context() as patch:
        patch.setattr(type(Authorization.objects.all()), "delete", gone)
        with pytest.raises(NotPurged):
            purge()
    assert (counted(), Authorization.objects.count()) == ({}, 8)

    purge()

    assert counted() == OUTCOMES


@pytest.mark.django_db(transaction=True)
def test_two_purges_at_once_count_each_trip_once(trip: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credentials.purge.BATCH", 2)
    of_all_outcomes(trip)

    def one(_: int) -> int:
        try:
            return purge()["authorizations"]
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        erased = sum(pool.map(one, range(2)))

    assert erased == 8
    assert counted() == OUTCOMES


def test_what_is_under_way_is_neither_purged_nor_counted(trip: Trip) -> None:
    trip.start()

    assert purge()["authorizations"] == 0
    assert counted() == {}


def test_old_numbers_and_old_audit_events_go(account: Account) -> None:
    today = timezone.now().date()
    for days in (91, 90, 0):
        DailyCount.objects.create(account=account, day=today - timedelta(days=days), what="refreshed", number=1)
    for days in (401, 399):
        AuditEvent.objects.create(actor="paul", action="x.y", created_at=timezone.now() - timedelta(days=days))

    done = purge()

    assert (done["daily_counts"], done["audit_events"]) == (1, 1)
    assert purge() == dict.fromkeys(done, 0)
    assert (DailyCount.objects.count(), AuditEvent.objects.count()) == (2, 1)


# ---- one answer to how a trip ended ----------------------------------------------------------------------------------

IN_THE_NUMBERS = {
    "connected": "connected",
    "denied": "denied",
    "failed": "failed",
    "not_fetched": "failed",
    "not_finished": "unfinished",
    "waiting": "under_way",
}


def test_pages_lists_and_numbers_agree_at_every_step_and_end(superuser: Client, stripe_app: OAuthApp) -> None:
    for step, end, seconds, error in product(Step, End, (300, -LONG_AGO.total_seconds()), ("", "access_denied")):
        trip_at(stripe_app, step, ends_at=end, seconds_left=int(seconds), error=error)
    now = timezone.now()

    rows = list(Authorization.objects.annotate(in_sql=Outcome.in_sql(now), counted=counted_in_sql(now)))

    for row in rows:
        said = vars(row)
        assert row.outcome == Outcome.of(row, now) == said["in_sql"], (row.step, row.ends_at)
        assert said["counted"] == IN_THE_NUMBERS[row.outcome], (row.step, row.ends_at)
    assert {row.outcome for row in rows} == set(Outcome)
    for outcome in Outcome:
        page = superuser.get("/admin/credentials/authorization/", {"outcome": outcome.value, "all": ""})
        listed = page.context["cl"].queryset
        assert {row.pk for row in listed} == {row.pk for row in rows if row.outcome == outcome}
    live = numbers()
    assert live == Counter(IN_THE_NUMBERS[row.outcome] for row in rows)

    stripe_app.delete()  # the numbers stay, but for what was under way

    assert numbers() == {what: number for what, number in live.items() if what != "under_way"}


def numbers() -> dict[str, int]:
    """What the dashboard draws."""
    found: Counter[str] = Counter()
    for (_, what), number in chart.numbers(Seen(None), timezone.now().date()).items():
        found[what] += number
    return found


@pytest.mark.parametrize("is_erased", [False, True], ids=["granted", "erased"])
def test_a_trial_that_is_not_kept_is_connected_everywhere(
    superuser: Client, stripe_app: OAuthApp, *, is_erased: bool
) -> None:
    step = Step.ABANDONED if is_erased else Step.GRANTED
    trial = trip_at(stripe_app, step, ends_at=End.TRIAL)

    its_page = superuser.get(f"/admin/credentials/authorization/{trial.pk}/change/").content.decode()
    app_page = superuser.get(f"/admin/oauth_apps/oauthapp/{stripe_app.pk}/change/").content.decode()

    badge = '<span class="sq-badge ok">connected</span>'
    assert (badge in its_page, badge in app_page) == (True, True)
    assert "tokens never fetched" not in app_page
    assert numbers() == {"connected": 1}


# ---- deletions -------------------------------------------------------------------------------------------------------


def test_deleting_an_oauth_app_keeps_the_number_of_its_trips(trip: Trip, stripe_app: OAuthApp) -> None:
    of_all_outcomes(trip)
    trip.start()

    stripe_app.delete()

    assert Authorization.objects.count() == 0
    assert counted() == OUTCOMES


def test_deleting_a_credential_keeps_the_number_of_its_reconnections(oauth_app: OAuthApp, expired: Credential) -> None:
    trip_at(oauth_app, Step.EXCHANGED, credential=expired)
    trip_at(oauth_app, Step.STARTED, credential=expired)
    trip_at(oauth_app, Step.EXCHANGED)

    Credential.objects.get(pk=expired.pk).delete()
    assert (counted(), Authorization.objects.count()) == ({("Arrakis", "connected"): 1}, 1)

    oauth_app.delete()
    assert counted() == {("Arrakis", "connected"): 2}


def test_an_account_goes_with_its_numbers(account: Account, oauth_app: OAuthApp, expired: Credential) -> None:
    trip_at(oauth_app, Step.EXCHANGED, credential=expired)

    account.delete()

    assert (counted(), Authorization.objects.count()) == ({}, 0)
    connection.check_constraints()
