"""Events become deliveries in the transaction of what has happened, and deliveries are made until they arrive."""

import base64
import hashlib
import hmac
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
import requests
import responses as mocking
import time_machine
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob
from responses import RequestsMock

from credentials.models import Credential
from credentials.purge import purge
from oauth_apps import health, registration
from oauth_apps.models import Account, AuditEvent, HealthStatus, OAuthApp, WebhookDelivery, WebhookEndpoint
from oauth_apps.webhooks import delivery, endpoints, events, signing
from providers.errors import ProviderUnavailable, TokenRequestRejected
from tests.credentials.stored import keep

URL = "https://hooks.example.com/sequin"

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def no_jobs(db: None) -> Iterator[None]:
    """Django empties no table at the end of a test that it has not made itself."""
    delete_jobs()
    yield
    delete_jobs()


def delete_jobs() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")


@pytest.fixture
def endpoint(account: Account) -> WebhookEndpoint:
    return endpoints.create(account, url=URL)


def announce(account: Account, event: str = events.CREDENTIAL_CREATED) -> None:
    events.announce(event, account=account.pk, data={"id": "x"})


def row() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


def is_signed(request: requests.PreparedRequest, secret: str) -> list[bool]:
    """For each signature, whether that secret has made it. Source: the specification, not our own code."""
    headers = request.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + cast(bytes, request.body)
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    return [hmac.compare_digest(one, expected) for one in headers["webhook-signature"].split(" ")]


# ---- events ----------------------------------------------------------------------------------------------------------


def test_only_enabled_endpoints_of_the_account_that_want_the_event_are_told(
    account: Account, other_account: Account
) -> None:
    wanting = [
        endpoints.create(account, url=URL),
        endpoints.create(account, url=URL, events=[events.CREDENTIAL_CREATED, events.CREDENTIAL_DELETED]),
    ]
    endpoints.create(account, url=URL, events=[events.CREDENTIAL_DELETED])
    endpoints.create(account, url=URL, enabled=False)
    endpoints.create(other_account, url=URL)

    announce(account)

    told = WebhookDelivery.objects.all()
    assert {one.endpoint_id for one in told} == {one.pk for one in wanting}
    assert len({one.pk for one in told}) == 2
    assert all(one.due_at and one.due_at <= timezone.now() and one.attempts == 0 for one in told)


@pytest.mark.django_db(transaction=True)
def test_an_event_stands_and_falls_with_its_transaction(account: Account, endpoint: WebhookEndpoint) -> None:
    with transaction.atomic():
        announce(account)
        transaction.set_rollback(True)
    assert (WebhookDelivery.objects.count(), ProcrastinateJob.objects.count()) == (0, 0)

    with transaction.atomic():
        announce(account)
        assert not ProcrastinateJob.objects.exists()
    announce(account)

    assert WebhookDelivery.objects.count() == 2
    assert ProcrastinateJob.objects.values_list("queueing_lock", "status").get() == ("deliver_webhooks", "todo")


@pytest.mark.django_db(transaction=True)
def test_a_transaction_wakes_the_worker_once_and_a_savepoint_that_is_gone_takes_no_wake_with_it(
    account: Account, endpoint: WebhookEndpoint
) -> None:
    with transaction.atomic():
        with transaction.atomic():
            announce(account)
            transaction.set_rollback(True)
        for _ in range(3):
            announce(account)
        assert [task for _, task, *_ in connection.run_on_commit] == [delivery.wake]

    assert ProcrastinateJob.objects.count() == 1


def test_an_account_without_endpoints_pays_one_statement(
    account: Account, django_assert_num_queries: Callable[[int], Any]
) -> None:
    with django_assert_num_queries(1):
        announce(account)

    assert connection.run_on_commit == []


def test_the_health_of_an_oauth_app_is_announced_when_it_changes(account: Account, endpoint: WebhookEndpoint) -> None:
    app = OAuthApp.objects.create(account=account, provider="acme", name="A", client_id="1", client_secret="s")
    refused = TokenRequestRejected("no", reason="invalid_client")
    stale = OAuthApp.objects.get(pk=app.pk)

    for problem in (None, refused, refused, ProviderUnavailable("away"), None):
        health.observe(app, problem)
    health.observe(stale, refused)
    stale.client_secret = "another"
    registration.begin_health(stale)
    stale.save()

    told = [json.loads(one.body) for one in WebhookDelivery.objects.order_by("created_at")]
    assert [one["data"]["health"]["status"] for one in told] == ["error", "warn", "ok", "error", "ok"]
    assert {one["type"] for one in told} == {"oauth_app.health_changed"}
    assert told[0]["data"] == {
        "id": str(app.pk),
        "account_id": str(account.pk),
        "provider": "acme",
        "environment": "live",
        "health": {"status": "error"},
    }


@pytest.mark.django_db(transaction=True)
def test_a_deleted_account_takes_all_of_it_along(account: Account, endpoint: WebhookEndpoint, settings: Any) -> None:
    settings.PROVIDERS_DIR = ""
    keep(account, "stripe_key", None, secret="sk_test_1")
    assert WebhookDelivery.objects.count() == 1

    account.delete()

    assert not WebhookDelivery.objects.exists()
    assert not Credential.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_endpoint_that_is_deleted_meanwhile_fails_nobody(account: Account, endpoint: WebhookEndpoint) -> None:
    """The one who announces and the one who deletes wait for each other, whoever comes first"""
    deleted = threading.Thread(target=in_thread, args=[endpoint.delete])
    with transaction.atomic():
        announce(account)
        deleted.start()
        deleted.join(0.3)
        assert deleted.is_alive()
    deleted.join(10)

    assert not deleted.is_alive()
    assert not WebhookEndpoint.objects.exists()
    assert not WebhookDelivery.objects.exists()


def in_thread(deed: Callable[[], object]) -> None:
    try:
        deed()
    finally:
        connection.close()


# ---- deliveries ------------------------------------------------------------------------------------------------------

delivering = pytest.mark.django_db(transaction=True)


def deliver() -> WebhookDelivery:
    """One attempt of the one delivery there is, whenever it is due."""
    WebhookDelivery.objects.update(due_at=Now())  # by the clock of the database, which no test moves
    [mine] = delivery.claimed(WebhookDelivery.objects.values_list("pk", flat=True))
    now = timezone.now()
    headers = signing.headers(mine.pk, mine.body, signing.secrets_of(mine.endpoint, now), now)
    delivery.write_down(mine, delivery.called(mine.endpoint.url, headers, mine.body))
    return row()


def seconds_until(moment: datetime | None) -> float:
    assert moment is not None
    return (moment - timezone.now()).total_seconds()


@delivering
def test_a_run_delivers_what_is_due_once(account: Account, endpoint: WebhookEndpoint, responses: RequestsMock) -> None:
    responses.post(URL, status=204)
    announce(account)
    WebhookDelivery.objects.create(endpoint=endpoint, event="x", body="{}", due_at=timezone.now() + timedelta(hours=1))

    assert delivery.deliver_due() == 1
    assert delivery.deliver_due() == 0

    [call] = responses.calls
    sent = WebhookDelivery.objects.get(event=events.CREDENTIAL_CREATED)
    assert (sent.attempts, sent.last_status, sent.due_at) == (1, 204, None)
    assert sent.delivered_at is not None
    assert call.request.headers["webhook-id"] == str(sent.pk)
    assert call.request.headers["Content-Type"] == "application/json"
    assert call.request.body == sent.body.encode()
    assert is_signed(call.request, endpoint.secret) == [True]
    assert abs(int(call.request.headers["webhook-timestamp"]) - timezone.now().timestamp()) < 5


@delivering
def test_a_retry_has_the_same_id_and_its_own_time(
    account: Account, endpoint: WebhookEndpoint, responses: RequestsMock
) -> None:
    responses.post(URL, status=500)
    announce(account)

    deliver()
    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        deliver()

    first, second = (call.request for call in responses.calls)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) in range(299, 303)
    assert is_signed(second, endpoint.secret) == [True]


@delivering
def test_the_secret_before_signs_until_the_overlap_is_over(
    account: Account, endpoint: WebhookEndpoint, responses: RequestsMock
) -> None:
    responses.post(URL, status=500)
    announce(account)
    before = endpoint.secret
    now = endpoints.rotate_secret(endpoint, overlap=timedelta(hours=1))

    deliver()
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        deliver()

    during, after = (call.request for call in responses.calls)
    assert (is_signed(during, now), is_signed(during, before)) == ([True, False], [False, True])
    assert (is_signed(after, now), is_signed(after, before)) == ([True], [False])


@delivering
def test_pauses_grow_and_end(account: Account, endpoint: WebhookEndpoint, responses: RequestsMock) -> None:
    responses.post(URL, status=503)
    announce(account)

    pauses = [seconds_until(deliver().due_at) for _ in delivery.RETRIES]
    last = deliver()

    for pause, expected in zip(pauses, delivery.RETRIES, strict=True):
        assert 0.8 * expected.total_seconds() - 2 <= pause <= 1.2 * expected.total_seconds() + 2
    assert timedelta(days=2.5) < sum(delivery.RETRIES, timedelta()) < timedelta(days=4)
    assert (last.due_at, last.delivered_at, last.attempts) == (None, None, 10)
    assert last.last_failure == "The endpoint answered 503 instead of 2xx."


@pytest.mark.parametrize(("asked", "least", "most"), [("3600", 3598, 3600), ("999999", 86_398, 86_400), ("1", 3, 7)])
@delivering
def test_an_endpoint_may_ask_for_a_longer_pause(
    account: Account, endpoint: WebhookEndpoint, responses: RequestsMock, asked: str, least: int, most: int
) -> None:
    responses.post(URL, status=429, headers={"Retry-After": asked})
    announce(account)

    assert least <= seconds_until(deliver().due_at) <= most


@delivering
def test_gone_is_gone(account: Account, endpoint: WebhookEndpoint, responses: RequestsMock) -> None:
    responses.post(URL, status=410)
    announce(account)

    sent = deliver()
    announce(account)

    assert (sent.due_at, sent.last_status) == (None, 410)
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_because) == (False, delivery.GONE)
    assert WebhookDelivery.objects.count() == 1
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.detail) == ("webhook_endpoint.disabled", "the schedule", delivery.GONE)


@delivering
def test_gone_of_another_address_says_nothing_of_this_one(
    account: Account, endpoint: WebhookEndpoint, responses: RequestsMock
) -> None:
    announce(account)
    [mine] = delivery.claimed(WebhookDelivery.objects.values_list("pk", flat=True))
    endpoints.change(endpoint, url="https://hooks.example.com/new")

    delivery.write_down(mine, delivery.Outcome(410, delivery.GONE))

    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.failing_since) == (True, None)


@delivering
def test_a_redirect_is_not_followed(account: Account, endpoint: WebhookEndpoint, responses: RequestsMock) -> None:
    responses.post(URL, status=302, headers={"Location": "https://hooks.example.com/elsewhere"})
    announce(account)

    sent = deliver()

    assert len(responses.calls) == 1
    assert sent.delivered_at is None
    assert sent.last_failure.startswith("The endpoint answered 302. Redirects are not followed")


@delivering
def test_an_endpoint_that_fails_for_five_days_is_disabled_and_one_success_forgives(
    account: Account, endpoint: WebhookEndpoint, responses: RequestsMock
) -> None:
    failing = responses.post(URL, status=500)
    announce(account)
    deliver()
    since = WebhookEndpoint.objects.get().failing_since
    WebhookEndpoint.objects.update(failing_since=timezone.now() - timedelta(days=4, hours=23))
    deliver()
    late = WebhookEndpoint.objects.get()
    responses.remove(failing)
    good = responses.post(URL, status=200)
    deliver()
    forgiven = WebhookEndpoint.objects.get()
    responses.remove(good)
    responses.post(URL, status=500)
    deliver()
    WebhookEndpoint.objects.update(failing_since=timezone.now() - timedelta(days=5, minutes=1))
    deliver()

    assert since is not None
    assert late.enabled
    assert (forgiven.failing_since, forgiven.enabled) == (None, True)
    over = WebhookEndpoint.objects.get()
    assert (over.enabled, over.disabled_because) == (False, delivery.FAILED_TOO_LONG)


def test_what_an_endpoint_does_is_its_health(account: Account, endpoint: WebhookEndpoint) -> None:
    def of_it() -> tuple[HealthStatus, list[str], datetime]:
        return endpoints.health(endpoints.with_last_attempts(endpoints.of(account)).get())

    now = timezone.now().replace(microsecond=0)
    fresh = of_it()
    sent = WebhookDelivery.objects.create(endpoint=endpoint, event="x", body="{}", delivered_at=now)
    good = of_it()
    WebhookDelivery.objects.create(
        endpoint=endpoint, event="x", body="{}", last_failure="It broke.", created_at=sent.created_at
    )
    WebhookEndpoint.objects.update(failing_since=now)
    failing = of_it()

    assert fresh == (HealthStatus.OK, [], endpoint.created_at)
    assert good == (HealthStatus.OK, [], now)
    notes = [f"Deliveries have failed since {now:%Y-%m-%d %H:%M} UTC. It broke."]
    assert failing == (HealthStatus.WARN, notes, now)


# ---- who is called when ----------------------------------------------------------------------------------------------


@delivering
def test_whoever_dies_on_the_way_is_followed(account: Account, endpoint: WebhookEndpoint) -> None:
    """J06: the claim itself makes it due again"""
    announce(account)
    pks = [row().pk]

    [mine] = delivery.claimed(pks)
    assert delivery.claimed(pks) == []
    assert 55 < seconds_until(row().due_at) <= 60

    WebhookDelivery.objects.update(due_at=timezone.now())
    [other] = delivery.claimed(pks)
    delivery.write_down(mine, delivery.Outcome(500, "late"))  # it was thought dead
    assert (other.attempts, row().attempts, row().last_failure) == (2, 2, "")


@delivering
def test_two_at_once_claim_nothing_twice(account: Account, endpoint: WebhookEndpoint) -> None:
    for _ in range(20):
        announce(account)
    pks = list(WebhookDelivery.objects.values_list("pk", flat=True))
    got: list[uuid.UUID] = []
    barrier = threading.Barrier(4)

    def claim() -> None:
        barrier.wait()
        got.extend(one.pk for one in delivery.claimed(pks))

    threads = [threading.Thread(target=in_thread, args=[claim]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(got) == sorted(pks)


def waiting(**changed: Any) -> delivery.Waiting:
    new: Row = {
        "id": uuid.uuid4(),
        "endpoint_id": uuid.uuid4(),
        "account_id": uuid.uuid4(),
        "fails": False,
        "due_in": -1.0,
    }
    return delivery.Waiting(**{"url": f"https://{uuid.uuid4()}.example.com/"} | new | changed)


@pytest.mark.parametrize(
    ("same", "most"),
    [
        ({}, delivery.CALLS_OF_A_WORKER),
        ({"endpoint_id": uuid.uuid4()}, 2),
        ({"endpoint_id": uuid.uuid4(), "fails": True}, 1),
        ({"account_id": uuid.uuid4()}, 4),
        ({"fails": True}, 16),
        ({"url": "https://hooks.example.com/x"}, 8),
        ({"due_in": 3.0}, 0),
    ],
)
def test_no_endpoint_account_or_host_takes_all_calls(same: Row, most: int) -> None:
    others = [waiting() for _ in range(3)]

    chosen = list(delivery.Run().chosen([*(waiting(**same) for _ in range(50)), *others]))

    mine = [one for one in chosen if one not in others]
    assert len(mine) == most
    assert len(chosen) == min(delivery.CALLS_OF_A_WORKER, most + 3)


@delivering
def test_a_dead_endpoint_delays_no_other(account: Account, responses: RequestsMock) -> None:
    """J06"""
    is_over = threading.Event()
    arrived: list[str] = []

    def hang(request: requests.PreparedRequest) -> tuple[int, Row, str]:
        is_over.wait(10)
        return 200, {}, ""

    def arrive(request: requests.PreparedRequest) -> tuple[int, Row, str]:
        arrived.append(str(request.url))
        if len(arrived) == 5:
            is_over.set()
        return 200, {}, ""

    dead = endpoints.create(account, url="https://dead.example.com/")
    for _ in range(5):
        announce(account)
    endpoints.create(account, url=URL)
    WebhookEndpoint.objects.filter(pk=dead.pk).update(enabled=False)
    for _ in range(5):
        announce(account)
    WebhookEndpoint.objects.filter(pk=dead.pk).update(enabled=True)
    responses.add_callback(mocking.POST, "https://dead.example.com/", callback=hang)
    responses.add_callback(mocking.POST, URL, callback=arrive)

    assert delivery.deliver_due() == 10

    assert arrived == [URL] * 5
    assert WebhookDelivery.objects.filter(delivered_at__isnull=False).count() == 10


@delivering
def test_a_crowded_host_costs_no_attempt(account: Account, endpoint: WebhookEndpoint) -> None:
    announce(account)
    [mine] = delivery.claimed([row().pk])

    delivery.write_down(mine, delivery.Outcome(failure="Too many calls.", was_made=False))

    assert (row().attempts, WebhookEndpoint.objects.get().failing_since) == (0, None)
    assert 0 < seconds_until(row().due_at) <= 2


@delivering
def test_a_secret_that_does_not_open_is_told_and_a_rotation_heals_it(
    account: Account, endpoint: WebhookEndpoint, responses: RequestsMock
) -> None:
    responses.post(URL, status=200)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE oauth_apps_webhookendpoint SET secret = '\\x00'")
    announce(account)

    delivery.Run().begin(None, delivery.soon_due())  # type: ignore[arg-type]  # nothing is called
    assert (row().last_failure, row().attempts, len(responses.calls)) == (delivery.SEALED, 1, 0)

    endpoints.rotate_secret(WebhookEndpoint.objects.get(), overlap=timedelta())
    assert deliver().delivered_at is not None


@delivering
def test_a_run_that_is_under_way_looks_again(
    account: Account, endpoint: WebhookEndpoint, responses: RequestsMock
) -> None:
    """Another job finds it running, tells it and ends"""
    arrived = []

    def arrive(request: requests.PreparedRequest) -> tuple[int, Row, str]:
        arrived.append(1)
        if len(arrived) == 1:
            announce(account)
            delivery.deliver_due_job(timestamp=0)
            connection.close()
        return 200, {}, ""

    responses.add_callback(mocking.POST, URL, callback=arrive)
    announce(account)

    delivery.deliver_due_job(timestamp=0)

    assert len(arrived) == 2
    assert not delivery.running.locked()


def test_the_purge_forgets_old_deliveries(account: Account, endpoint: WebhookEndpoint) -> None:
    old = timezone.now() - timedelta(days=7, minutes=1)
    WebhookDelivery.objects.create(endpoint=endpoint, event="old", body="{}", created_at=old)
    WebhookDelivery.objects.create(endpoint=endpoint, event="new", body="{}")

    assert purge()["webhook_deliveries"] == 1

    assert row().event == "new"


def test_nothing_of_an_endpoint_tells_its_secret(account: Account, endpoint: WebhookEndpoint) -> None:
    known = endpoint.secret

    assert known not in f"{endpoint!r} {vars(endpoint)} {WebhookEndpoint.objects.values()}"
