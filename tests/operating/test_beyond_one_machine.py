"""
Three web servers and their workers on one database, which all of them reach through PgBouncer in transaction mode: its
six connections go from hand to hand.
"""

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import requests

from tests.operating.house import House
from tests.operating.pgbouncer import SIZE, TIMEOUT, Pooler, start_pgbouncer
from tests.real.end_user import EndUser, query_of
from tests.real.gateway import App, Gateway, answers, new_keys
from tests.real.machine import until

COUNT = 250
SYNCED = "made_for_syncs"


@pytest.fixture(scope="module")
def clone(house: House) -> str:
    """A database of the same content that no machine uses."""
    return house.database(like="sequin_auth")


@pytest.fixture(scope="module")
def pooler(house: House, clone: str) -> Pooler:
    return start_pgbouncer(house)


# ---- one process behind the pooler -----------------------------------------------------------------------------------


@pytest.fixture(params=["the server", "the pooler"])
def way(request: pytest.FixtureRequest, house: House, pooler: Pooler, clone: str) -> str:
    return house.url(clone) if request.param == "the server" else pooler.url(clone)


def test_a_lock_is_held_by_one_process_until_it_is_gone(house: House, way: str) -> None:
    with house.child(way) as holder:
        holder.start("hold_and_stand", number=7)
        holder.until_it_stands()
        with house.child(way) as other:
            other.start("hold", number=7)
            refused = other.answer()
        another = house.do("hold", way, number=8)
        holder.kill()

    assert refused["raised"] == "OperationalError"
    assert another == "held"
    assert until(lambda: house.do("hold", way, number=7), what="it is free again") == "held"


def test_of_two_places_two_processes_get_one_each(house: House, way: str) -> None:
    with house.child(way) as first, house.child(way) as second:
        for child in (first, second):
            child.start("hold_one_and_stand", numbers=[1, 2])
            child.until_it_stands()
        third = house.do("hold_one", way, numbers=[1, 2])
        first.go_on()
        freed = first.answer()["value"]
        found = until(lambda: house.do("hold_one", way, numbers=[1, 2]), what="a place is free again")
        second.go_on()

    assert third is None
    assert found == freed


def test_a_cursor_outside_of_a_transaction_sees_all_rows(house: House, way: str) -> None:
    assert house.do("walk_through", way, count=2) == 2


def test_keys_are_rotated_through_it(house: House, way: str, clone: str) -> None:
    old, new = house.environment["ENCRYPTION_KEYS"], new_keys()["ENCRYPTION_KEYS"].replace("real:", "new:")

    with house.child(way) as child:
        child("use_keys", keys=f"{new},{old}")
        rotated = child("say", command=["rotate_keys"])
        status = child("say", command=["keys", "status"])
        child("use_keys", keys=f"{old},{new}")
        back = child("say", command=["rotate_keys"])
    verified = house.do("say", way, command=["audit", "verify"])

    assert [said["refusal"] for said in (rotated, status, back, verified)] == [""] * 4
    assert "credentials.Token.access_token: 2 sealed anew, 0 unreadable" in rotated["out"]
    assert status["out"].endswith("real opens\n  is not in use: it can be retired\n")


def test_a_database_is_not_moved_to_a_pooler(house: House, pooler: Pooler) -> None:
    source, empty = house.database(like="sequin_auth"), house.database()

    said = house.do("say", source, command=["move_database", pooler.url(empty)])

    assert said["refusal"] == "The target is a pooler. Name the server itself for this."


def test_the_pooler_gives_each_statement_its_longest_time(house: House, pooler: Pooler) -> None:
    with psycopg.connect(pooler.url(), prepare_threshold=None) as there:
        assert there.execute("SHOW statement_timeout").fetchone() == (TIMEOUT,)


@pytest.mark.parametrize(("seen", "called"), [(2, 1), (100, 0)])
def test_a_sweep_that_has_too_much_to_do_calls_another_worker(house: House, seen: int, called: int) -> None:
    """Once, however much there is: whoever comes calls the next"""
    database = house.database(like="sequin_auth")
    house.sql(database, "UPDATE credentials_token SET due_at = NULL")
    house.do("multiply_due", database, credential=house.credentials[0], count=5)

    assert house.do("sweep_seeing", database, count=seen) == 5

    waiting = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo' AND queue_name = 'refresh'"
    assert house.sql(database, waiting) == [(called,)]


# ---- machines --------------------------------------------------------------------------------------------------------


@dataclass
class Machines:
    """Web servers 0, 1 and 2, as behind a balancer: of one PUBLIC_URL, at three ports."""

    house: House
    settings: dict[str, str]
    gateway: Gateway
    webs: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return int(self.house.environment["PORT"])

    def url(self, number: int, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port + number}{path}"

    def at(self, number: int, url: str) -> str:
        """What the balancer does."""
        return urlsplit(url)._replace(netloc=f"127.0.0.1:{self.port + number}").geturl()

    def serve(self, number: int) -> None:
        self.webs[number] = self.house.run(f"web {number}", "-m", "gunicorn", **self.of(number))
        until(lambda: answers(self.url(number, "/readyz")), what="a machine serves")

    def kill(self, number: int) -> None:
        """All of its processes, without a word."""
        os.killpg(self.webs[number].pid, signal.SIGKILL)
        until(lambda: not answers(self.url(number, "/healthz")), what="the machine is dead")

    def work(self, number: int, *queues: str) -> "subprocess.Popen[bytes]":
        return self.house.run(f"worker {number}", "manage.py", "worker", *queues, **self.of(number))

    def of(self, number: int) -> dict[str, str]:
        directory = self.house.directory / f"machine-{number}"
        (directory / "static").mkdir(parents=True, exist_ok=True)
        return self.settings | {"PORT": str(self.port + number), "VAR_DIR": str(directory), "WEB_CONCURRENCY": "1"}

    def count(self, condition: str) -> int:
        ((count,),) = self.house.sql("sequin_auth", f"SELECT count(*) FROM {condition}")  # noqa: S608 - a test's own
        return int(count)


@pytest.fixture(scope="module")
def machines(house: House, pooler: Pooler) -> Machines:
    house.sql("postgres", f"CREATE DATABASE {SYNCED}")
    settings = {"DATABASE_URL": pooler.url(), "SYNC_DATABASE_URL": house.url(SYNCED)}
    gateway = Gateway(house.directory, house.environment)
    machines = Machines(house, settings, gateway)
    for number in range(3):
        machines.serve(number)
    gateway.api_token = json.loads(house.do("say", command=["create_account", "Ix"])["out"])["api_token"]
    made = house.do("say", command=["create_api_token", "Ix", "--scopes", "reveal"])
    gateway.api_token_that_reveals = json.loads(made["out"])["api_token"]
    gateway.post("/v1/redirect-uris", {"redirect_uri": f"{gateway.redirect_uri}/:provider"})
    return machines


@pytest.fixture(scope="module")
def app(machines: Machines) -> App:
    return machines.gateway.create_app("stripe", client_id="ca_1", client_secret="sk_1_canary", environment="sandbox")


def tokens(machines: Machines, app: App, back: str, number: int) -> dict[str, Any]:
    pair = {"client_id": app.id, "client_secret": app.client_secret or "", "code": query_of(back)["code"]}
    answer = requests.post(machines.url(number, "/link/oauth2/token"), pair, timeout=30)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_a_trip_goes_over_three_machines(machines: Machines, app: App) -> None:
    end_user = EndUser(machines.gateway.canaries)

    callback = end_user.walk(machines.at(2, app.start_url(state="state-of-mine")), to=app.callback_url)
    back = end_user.walk(machines.at(1, callback), to=app.redirect_uri)
    answer = tokens(machines, app, back, 0)

    assert (answer["state"], bool(answer["access_token"])) == ("state-of-mine", True)


def test_trips_outlive_the_machine_that_began_them(machines: Machines, app: App) -> None:
    trips = [EndUser(machines.gateway.canaries) for _ in range(4)]
    callbacks = [one.walk(machines.at(1, app.start_url(state="state-of-each")), to=app.callback_url) for one in trips]

    machines.kill(1)
    backs = [
        one.walk(machines.at(2, callback), to=app.redirect_uri) for one, callback in zip(trips, callbacks, strict=True)
    ]
    answered = [tokens(machines, app, back, 0) for back in backs]
    machines.serve(1)

    assert [bool(answer["access_token"]) for answer in answered] == [True] * 4
    assert answers(machines.url(1, "/readyz"))


def test_a_crowd_at_all_machines_makes_one_call(machines: Machines) -> None:
    stored = machines.house.do("store", provider="airtable")
    machines.house.calls()

    def read(number: int) -> tuple[int, str]:
        url = machines.url(number % 3, f"/v1/credentials/{stored['id']}/access-token")
        answer = requests.get(url, headers={"Authorization": f"Bearer {stored['api_token']}"}, timeout=60)
        return answer.status_code, answer.json().get("access_token")

    with ThreadPoolExecutor(30) as pool:
        answered = list(pool.map(read, range(30)))

    assert {status for status, _ in answered} == {200}
    assert len({token for _, token in answered}) == 1
    assert machines.house.calls() == [200]


def test_the_queue_is_worked_off_though_a_worker_is_killed(machines: Machines) -> None:
    house = machines.house
    stored = house.do("store", provider="klaviyo")
    due = house.do("multiply_due", credential=stored["id"], count=COUNT)
    theirs = "credentials_token WHERE credential_id = ANY(ARRAY['" + "','".join(due) + "']::uuid[])"
    done = f"{theirs} AND version > 1"
    with psycopg.connect(house.url("sequin_auth")) as holder:  # the sweep passes over one, so it is not done too early
        holder.execute("SELECT 1 FROM credentials_token WHERE credential_id = %s FOR UPDATE", [due[0]])
        first = machines.work(0)
        house.do("sweep_soon")

        until(lambda: machines.count(done) > 0, what="the sweep has begun")
        first.kill()
        first.wait()
        at_its_death = machines.count(done)
    house.sql("sequin_auth", "UPDATE credentials_token SET lease_until = now() WHERE lease_until > now()")
    workers = [machines.work(number) for number in (1, 2)]
    house.do("sweep_soon")
    until(lambda: machines.count(done) == COUNT, what="all are refreshed")
    until(
        lambda: machines.count("procrastinate_jobs WHERE status = 'todo' AND queue_name = 'refresh'") == 0,
        what="the queue is empty",
    )
    for worker in workers:
        worker.terminate()

    assert 0 < at_its_death < COUNT
    assert [worker.wait() for worker in workers] == [0, 0]
    assert machines.count(f"{theirs} AND failure <> ''") == 0


def test_a_sync_fills_its_table(machines: Machines, app: App) -> None:
    """What a sync knows of itself goes through the pooler; its rows have a way of their own."""
    end_user = EndUser(machines.gateway.canaries)
    back = end_user.walk(app.start_url(), to=app.redirect_uri)
    credential = tokens(machines, app, back, 2)["credential"]
    rate = {"allowed_requests": 1000, "interval": 1, "max_concurrent_requests": 1}
    asked = {"provider": "stripe", "name": "Mine", "collection_ids": ["stripe:customer"], "rate_limit": rate}
    made = machines.gateway.post("/v1/syncs", asked | {"credential": credential})

    worker = machines.work(0, "--queues", "syncs")
    path = f"/v1/syncs/{made['id']}"
    until(
        lambda: machines.gateway.call("GET", path)["initial_backfill_completed_at"], what="all is there", deadline=120
    )
    worker.terminate()

    assert worker.wait() == 0
    schema = made["destination"]["schema"]
    assert machines.house.sql(SYNCED, f'SELECT count(*) > 0 FROM "{schema}".customer') == [(True,)]  # noqa: S608


def test_all_of_them_share_a_few_connections(machines: Machines) -> None:
    """The pooler was in between: each process alone would have had one at least."""
    by = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'sequin_auth' AND application_name = ''"

    ((count,),) = machines.house.sql("postgres", by)

    assert 0 < count <= SIZE
