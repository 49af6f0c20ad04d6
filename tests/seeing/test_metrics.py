"""`GET /metrics`: what is counted over all processes, cheaply, and without whose it is. (E15)"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from credentials import stock
from credentials.models import Credential, Token
from credentials.models.token import Failure
from oauth_apps import measures as kept_measures
from oauth_apps.models import Account, Measure, Process
from sequin_auth import metrics
from sequin_auth.lib import measures
from sequin_auth.lib.measures import Name
from sequin_auth.lib.postgres.pooling import own_connection
from sequin_auth.queues import QUEUES
from tests.credentials.stored import keep

STATEMENTS = 8 + 3  # that one scrape costs, whatever there is; three of them make the transaction


@pytest.fixture(autouse=True)
def nothing_noted() -> None:
    measures.taken()


@pytest.fixture
def kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> metrics.Kept:
    """As in a process that has just started."""
    settings.METRICS_KEPT = 60.0
    kept = metrics.Kept()
    monkeypatch.setattr(metrics, "kept", kept)
    return kept


def scraped(client: Client) -> dict[tuple[str, ...], float]:
    """The samples, by name and, in the order of their names, the values of the labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    samples = [one for family in families for one in family.samples]
    return {(one.name, *(one.labels[name] for name in sorted(one.labels))): one.value for one in samples}


def stored(account: Account, **fields: Any) -> Credential:
    credential = keep(account, "stripe_key", None, secret=f"sk_test_{fields.pop('number', 1)}_canary")
    Credential.objects.filter(pk=credential.pk).update(**fields)
    return credential


# ---- what must not be ------------------------------------------------------------------------------------------------


def test_nothing_tells_of_an_account_a_version_or_a_machine(client: Client, account: Account) -> None:
    stored(account, name="canary-name")
    stock.take_stock()
    measures.request("/v1/oauth-apps/canary-path", 200, 0.1)
    measures.request("/canary-path", 404, 0.1)
    kept_measures.write()

    text = client.get("/metrics").content.decode()

    assert "canary" not in text
    assert "Arrakis" not in text
    assert str(account.pk) not in text
    assert "python" not in text.lower()
    assert "version" not in text.lower()
    assert str(kept_measures.own_id()) not in text


def test_a_stranger_makes_no_labels(client: Client, db: None) -> None:
    for number in range(300):
        measures.request(f"/{number}/x", 404, 0.1)
        measures.request(f"/link/oauth2/{number}", 404, 0.1)
        measures.request(f"/v1/{number}", 401, 0.1)
        measures.request("*" * number, 400, 0.1)

    assert {labels for _, labels, _ in measures.taken()} == {"other,4xx", "pages,4xx", "api,4xx"}


def test_while_one_asks_the_database_nobody_else_waits_for_it(
    client: Client, db: None, kept: metrics.Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 at once before there was an answer; then the answer before, as long as it is worth something"""
    is_asked, goes_on = threading.Event(), threading.Event()

    def slow() -> bytes:
        is_asked.set()
        assert goes_on.wait(60)
        return b"new\n"

    monkeypatch.setattr(metrics, "found", slow)
    statuses = []
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(Client().get, "/metrics")
        assert is_asked.wait(60)
        statuses.append(client.get("/metrics").status_code)
        kept.text, kept.until = b"old\n", time.monotonic() - metrics.LONGEST_KEPT + 30
        old = client.get("/metrics")
        kept.until = time.monotonic() - metrics.LONGEST_KEPT
        statuses.append(client.get("/metrics").status_code)
        goes_on.set()

    assert statuses == [503, 503]
    assert (old.status_code, old.content) == (200, b"old\n")
    assert (asking.result().status_code, asking.result().content) == (200, b"new\n")
    assert client.get("/metrics").content == b"new\n"


def test_that_the_database_did_not_answer_is_kept_too(
    client: Client, db: None, kept: metrics.Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def away() -> list[Any]:
        asked.append(1)
        raise OperationalError("canary")

    monkeypatch.setattr(metrics, "FLOORS", [away])

    answers = [client.get("/metrics") for _ in range(3)]

    assert [(one.status_code, one.content) for one in answers] == [(503, b"database\n")] * 3
    assert len(asked) == 1
    kept.until = 0.0
    monkeypatch.setattr(metrics, "FLOORS", [])
    assert client.get("/metrics").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_scrape_does_not_wait_for_a_table_that_somebody_holds(
    client: Client, kept: metrics.Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "LONGEST_STATEMENT", "50ms")
    with closing(own_connection(connection)) as other:
        other.execute(f"LOCK TABLE {Measure._meta.db_table}")
        answer = client.get("/metrics")

    assert answer.status_code == 503
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone()[0] != "50ms"


def test_asking_in_a_loop_asks_no_database(client: Client, db: None, kept: metrics.Kept) -> None:
    first = client.get("/metrics").content

    with CaptureQueriesContext(connection) as asked:
        again = [client.get("/metrics").content for _ in range(5)]

    assert len(asked) == 0
    assert again == [first] * 5


def test_a_scrape_costs_the_same_statements_whatever_there_is(client: Client, account: Account) -> None:
    for number in range(5):
        stored(account, number=number)
    stock.take_stock()
    for provider in ("stripe", "github", "google"):
        measures.count(Name.TRIPS, provider, "connected")
        measures.observe(Name.PROVIDER_SECONDS, 0.2, "exchange", provider)
    kept_measures.write()

    with CaptureQueriesContext(connection) as asked:
        client.get("/metrics")

    assert len(asked) == STATEMENTS


def test_no_statement_of_a_scrape_reads_all_credentials_or_tokens(client: Client, db: None) -> None:
    with CaptureQueriesContext(connection) as asked:
        client.get("/metrics")

    statements = [query["sql"] for query in asked]
    assert not any("credentials_credential" in statement for statement in statements)
    of_tokens = [statement for statement in statements if "credentials_token" in statement]
    assert len(of_tokens) == 1
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {of_tokens[0]}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "tokens_due" in plan, plan
    assert "Seq Scan" not in plan, plan


# ---- what is noted ---------------------------------------------------------------------------------------------------


def test_what_processes_noted_is_added_up(client: Client, db: None) -> None:
    measures.count(Name.TRIPS, "stripe", "connected")
    measures.count(Name.TRIPS, "stripe", "denied")
    kept_measures.write()
    measures.count(Name.TRIPS, "stripe", "connected", number=2)
    measures.count(Name.LIMIT_REFUSALS, "token_reads")
    kept_measures.write()

    found = scraped(client)

    assert found["trips_total", "connected", "stripe"] == 3
    assert found["trips_total", "denied", "stripe"] == 1
    assert found["limit_refusals_total", "token_reads"] == 1


def test_a_histogram_counts_what_took_no_longer(client: Client, db: None) -> None:
    for seconds in (0.05, 0.2, 0.2, 30.0):
        measures.observe(Name.PROVIDER_SECONDS, seconds, "refresh", "stripe")
    kept_measures.write()

    found = scraped(client)

    buckets = {key[2]: value for key, value in found.items() if key[0] == "provider_call_seconds_bucket"}
    assert buckets == {
        "0.05": 1, "0.1": 1, "0.25": 3, "0.5": 3, "1.0": 3, "2.5": 3, "5.0": 3, "10.0": 3, "+Inf": 4,
    }  # fmt: skip
    assert found["provider_call_seconds_count", "refresh", "stripe"] == 4
    assert found["provider_call_seconds_sum", "refresh", "stripe"] == pytest.approx(30.45)


def test_what_the_database_does_not_take_is_written_the_next_time(
    client: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OperationalError

    measures.count(Name.TRIPS, "stripe", "failed")
    with monkeypatch.context() as patch:
        patch.setattr(type(Measure.objects.all()), "add", away)
        patch.setattr(type(Measure.objects), "add", away)
        with pytest.raises(OperationalError):
            kept_measures.write()
    measures.count(Name.TRIPS, "stripe", "failed")

    kept_measures.write()

    assert scraped(client)["trips_total", "failed", "stripe"] == 2


def test_threads_lose_no_count() -> None:
    def note() -> None:
        for _ in range(500):
            measures.count(Name.TRIPS, "stripe", "connected")

    threads = [threading.Thread(target=note) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert measures.taken() == {(Name.TRIPS, "stripe,connected", ""): 2000}


def test_a_process_that_was_forked_off_writes_only_its_own() -> None:
    measures.count(Name.TRIPS, "stripe", "connected")

    measures.forget()

    assert measures.taken() == {}


@pytest.mark.parametrize(
    ("path", "sort"),
    [
        ("/v1/credentials/8b7f8f1c-1111-4222-8333-444455556666/access-token", "access_token"),
        ("/v1/credentials/8b7f8f1c-1111-4222-8333-444455556666/access-token/", "access_token"),
        ("/v1/credentials", "api"),
        ("/link/oauth2/start", "start"),
        ("/link/oauth2/start/canary", "start"),
        ("/link/oauth2/callback/stripe", "callback"),
        ("/link/oauth2/token", "token"),
        ("/link/oauth2/token/", "token"),
        ("/link/oauth2/revoke", "revoke"),
        ("/link/oauth2/ended", "pages"),
        ("/link", "pages"),
        ("/admin/", "console"),
        ("/sandbox/stripe/token", "sandbox"),
        ("/metrics", "other"),
        ("/", "other"),
        ("", "other"),
    ],
)
def test_each_path_is_of_one_sort(path: str, sort: str) -> None:
    assert measures.sort_of(path) == sort


# ---- what is counted now and then ------------------------------------------------------------------------------------


def test_credentials_and_sealed_values_are_as_they_were_counted_last(client: Client, account: Account) -> None:
    stored(account, number=1)
    ill = stored(account, number=2, health_status="error")
    Token.objects.filter(pk=ill.pk).update(failure=Failure.REVOKED)
    stored(account, number=3, provider="gone-from-the-catalogue")
    stock.take_stock()

    found = scraped(client)

    assert {key: value for key, value in found.items() if key[0].startswith("credentials")} == {
        ("credentials", "ok", "stripe"): 1,
        ("credentials", "error", "stripe"): 1,
        ("credentials", "ok", "other"): 1,
        ("credentials_to_reauthorize", "stripe"): 1,
    }
    assert found["sealed_values", "test"] >= 3
    assert timezone.now().timestamp() - found["stock_timestamp_seconds",] < 60


def test_what_is_not_there_any_more_is_not_told(client: Client, account: Account) -> None:
    credential = stored(account)
    stock.take_stock()
    credential.delete()

    stock.take_stock()

    assert not [key for key in scraped(client) if key[0] == "credentials"]


def test_the_longer_a_count_takes_the_longer_is_the_pause(db: None) -> None:
    stock.take_stock()
    Measure.objects.filter(name=stock.SECONDS).update(value=0.0)
    assert stock.is_due()
    Measure.objects.filter(name=stock.SECONDS).update(value=4.0)
    assert not stock.is_due()
    Measure.objects.filter(name=stock.TAKEN_AT).update(value=timezone.now().timestamp() - 401)

    assert stock.is_due()


def test_it_tells_how_long_a_refresh_is_overdue(client: Client, account: Account) -> None:
    assert scraped(client)["refreshes_overdue",] == 0
    now = timezone.now()
    for number, seconds in enumerate((600, 30, -600)):
        credential = stored(account, number=number)
        Token.objects.filter(pk=credential.pk).update(due_at=now - timedelta(seconds=seconds))

    found = scraped(client)

    assert found["refreshes_overdue",] == 2
    assert 600 <= found["refresh_lag_seconds",] < 660


# ---- queues, workers, processes --------------------------------------------------------------------------------------


def deferred(queue: str, status: str = "todo", *, seconds_ago: float = 0, in_seconds: float | None = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, status, scheduled_at)"
            " VALUES (%s, 'x', %s, now() + make_interval(secs => %s)) RETURNING id",
            [queue, status, in_seconds],
        )
        cursor.execute(
            "UPDATE procrastinate_events SET at = now() - make_interval(secs => %s) WHERE job_id = %s",
            [seconds_ago, cursor.fetchone()[0]],
        )


def test_it_tells_the_depth_and_the_age_of_each_queue(client: Client, db: None) -> None:
    deferred("refresh", seconds_ago=120)
    deferred("refresh", seconds_ago=5)
    deferred("refresh", in_seconds=3600)  # is not to be begun yet
    deferred("webhooks", "doing", seconds_ago=900)
    deferred("syncs", "failed")
    deferred("somebody-elses")

    found = scraped(client)

    assert {key[1:]: value for key, value in found.items() if key[0] == "jobs" and value} == {
        ("refresh", "waiting"): 2,
        ("webhooks", "running"): 1,
        ("syncs", "failed"): 1,
        ("other", "waiting"): 1,
    }
    assert found["job_wait_seconds", "refresh"] == pytest.approx(120, abs=10)
    assert found["job_wait_seconds", "webhooks"] == 0


def test_it_tells_how_many_workers_of_each_queue_were_heard_of(client: Client, db: None) -> None:
    assert [scraped(client)["workers", name] for name in QUEUES] == [0, 0, 0, 0]
    kept_measures.note_worker(["refresh", "webhooks"])
    numbers: dict[str, Any] = {"used": 0, "idle": 0, "waiting": 0}
    Process.objects.create(seen_at=timezone.now(), queues="syncs,webhooks,of-tomorrow", **numbers)
    Process.objects.create(seen_at=timezone.now() - timedelta(minutes=2), queues="housekeeping", **numbers)
    Process.objects.create(seen_at=timezone.now(), **numbers)

    found = {key[1]: value for key, value in scraped(client).items() if key[0] == "workers"}

    assert found == {"refresh": 1, "webhooks": 2, "housekeeping": 0, "syncs": 1}


def test_a_worker_that_has_ended_is_none(client: Client, db: None) -> None:
    kept_measures.note_worker(["refresh"])
    kept_measures.note_worker([])

    assert scraped(client)["workers", "refresh"] == 0


def test_pools_are_added_up_of_the_processes_that_were_heard_of(client: Client, db: None) -> None:
    Process.objects.create(seen_at=timezone.now(), used=3, idle=1, waiting=0)
    Process.objects.create(seen_at=timezone.now(), used=2, idle=4, waiting=5)
    Process.objects.create(seen_at=timezone.now() - timedelta(minutes=5), used=20, idle=0, waiting=9)

    found = scraped(client)

    assert found["processes",] == 2
    assert found["database_pool_connections", "used"] == 5
    assert found["database_pool_connections", "idle"] == 5
    assert found["database_pool_waiting",] == 5


def test_a_process_has_one_row_and_those_of_yesterday_are_forgotten(db: None) -> None:
    Process.objects.create(seen_at=timezone.now() - timedelta(days=1), used=20, idle=0, waiting=9)

    kept_measures.write()
    kept_measures.write()

    assert [row.pk for row in Process.objects.all()] == [kept_measures.own_id()]
