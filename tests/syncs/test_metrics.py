"""`GET /metrics`: what syncs do, counted over all processes, without whose they are. (E15)"""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from oauth_apps.models import Account
from syncs import measures
from syncs.models import Destination, Sync
from tests.credentials.stored import keep


def scraped(client: Client) -> dict[tuple[str, ...], float]:
    """The samples, by name and values of the labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    of_syncs = [one for family in families if family.name.startswith("sync_") for one in family.samples]
    return {(one.name, *one.labels.values()): one.value for one in of_syncs}


def sync_of(account: Account, **fields: Any) -> Sync:
    credential = keep(account, "stripe_key", None, secret="sk_test_canary")
    builtin = Destination.objects.builtin(account)
    given: dict[str, Any] = {"name": "canary-name", "provider": "stripe", "collection_ids": ["stripe:customer"]}
    return Sync.objects.create(account=account, credential=credential, destination=builtin, **given | fields)


def test_before_anything_has_happened_there_are_zeros(client: Client, db: None) -> None:
    assert scraped(client) == {
        ("sync_wait_seconds_count",): 0,
        ("sync_wait_seconds_sum",): 0,
        ("sync_slice_seconds_count",): 0,
        ("sync_slice_seconds_sum",): 0,
        ("sync_active", "ok"): 0,
        ("sync_active", "warn"): 0,
        ("sync_active", "error"): 0,
    }


def test_what_slices_have_done_is_added_up(client: Client, db: None) -> None:
    measures.add("stripe", rows={"customer": 100, "invoice": 5}, statuses={200: 11, 429: 1}, waited=0.5, seconds=2.0)
    measures.add("stripe", rows={"customer": 1}, statuses={200: 1}, waited=0.0, seconds=1.25)
    measures.add("airtable", rows={"app1.tbl1": 3, "app2.tbl9": 4, "base": 1}, statuses={}, waited=0.0, seconds=0.25)

    assert {key: value for key, value in scraped(client).items() if value} == {
        ("sync_rows_total", "customer", "stripe"): 101,
        ("sync_rows_total", "invoice", "stripe"): 5,
        ("sync_rows_total", "discovered", "airtable"): 7,
        ("sync_rows_total", "base", "airtable"): 1,
        ("sync_requests_total", "stripe", "2xx"): 12,
        ("sync_requests_total", "stripe", "429"): 1,
        ("sync_wait_seconds_count",): 3,
        ("sync_wait_seconds_sum",): 0.5,
        ("sync_slice_seconds_count",): 3,
        ("sync_slice_seconds_sum",): 3.5,
    }


def test_a_provider_makes_no_labels(client: Client, db: None) -> None:
    statuses = dict.fromkeys(range(100, 1000), 1)
    measures.add("stripe", rows={}, statuses=statuses, waited=0.0, seconds=1.0)

    found = {key[2]: value for key, value in scraped(client).items() if key[0] == "sync_requests_total"}

    hundreds = {"1xx": 100, "2xx": 100, "3xx": 100, "4xx": 99, "429": 1, "5xx": 100, "other": 400}
    assert found == hundreds


def test_a_slice_is_counted_by_one_statement(db: None) -> None:
    with CaptureQueriesContext(connection) as asked:
        measures.add("stripe", rows={"a": 1, "b": 2, "x.y": 3}, statuses={200: 1, 500: 2}, waited=1.0, seconds=2.0)

    assert len(asked) == 1


def test_active_syncs_are_counted_by_health_and_the_latest_of_a_provider_tells_the_lag(
    client: Client, account: Account, other_account: Account
) -> None:
    now = timezone.now()
    sync_of(account, next_at=now - timedelta(hours=1))
    sync_of(other_account, next_at=now - timedelta(minutes=1), health_status="error")
    sync_of(account, next_at=now - timedelta(days=1), status="disabled")
    sync_of(account, next_at=now + timedelta(hours=1), provider="github")

    found = scraped(client)

    assert found["sync_lag_seconds", "stripe"] == pytest.approx(3600, abs=60)
    assert found["sync_lag_seconds", "github"] == 0
    assert [found["sync_active", health] for health in ("ok", "warn", "error")] == [2, 0, 1]


def test_it_asks_the_database_twice_however_many_syncs_there_are(account: Account) -> None:
    for _ in range(5):
        sync_of(account)

    with CaptureQueriesContext(connection) as asked:
        list(measures.families())

    assert len(asked) == 2


def test_it_tells_nothing_of_accounts_and_machines(client: Client, account: Account) -> None:
    """E15"""
    sync = sync_of(account)
    measures.add("stripe", rows={"customer": 1}, statuses={200: 1}, waited=0.0, seconds=0.1)

    answer = client.get("/metrics")

    told = answer.content.decode()
    assert answer["Cache-Control"] == "no-store"
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    for word in (account.name, str(account.pk), str(sync.pk), sync.name, sync.schema, "python", "process_", "canary"):
        assert word not in told
    assert client.post("/metrics").status_code == 405


def test_while_the_database_is_away_it_says_so(client: Client, db: None) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("connection to server at 192.0.2.1 failed")

    with connection.execute_wrapper(away):
        answer = client.get("/metrics")

    assert (answer.status_code, answer.content, answer["Cache-Control"]) == (503, b"database\n", "no-store")
