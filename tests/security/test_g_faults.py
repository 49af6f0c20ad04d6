"""
G02, G03, G13, G14, J06, and a clock that is wrong: PostgreSQL stopped, killed and started, processes killed, the disk
full, at each step of a trip and of a refresh. What the provider still honours is not lost, no answer is a 5xx without a
body of ours, and nobody has to restart anything.

The gateway has a PostgreSQL of its own by DATABASE_URL, as a deployment has: it does not start it again by itself.
"""

import resource
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import requests

from sequin_auth.lib.embedded_postgres.server import Server, is_alive, server_in
from sequin_auth.lib.encryption import digest
from sequin_auth.management.commands.serve import WEB, WORKER
from sequin_auth.processes import AT_ONCE, Processes
from tests.lib.servers import Visit
from tests.real.gateway import Gateway, answers
from tests.real.machine import until
from tests.security.conftest import NewGateway
from tests.security.gate import Gate, meanwhile
from tests.security.stand_in import Request, StandIn, answering, answering_json
from tests.security.tenant import TIMEOUT, App, Browser, assert_page, new_tenant, query_of, sql

ENOUGH = 90.0  # seconds; only a test that fails waits that long


class Deployment:
    """A gateway and its database, each of which may be stopped, killed and started again."""

    def __init__(self, gateway: Gateway, processes: Processes) -> None:
        self.gateway = gateway
        self.processes = processes
        self.postgres: Server = server_in(gateway.directory / "postgres")
        self.postgres.start()
        self.postgres.create_database("sequin_auth")
        host = self.postgres.socket_directory
        gateway.environment["DATABASE_URL"] = f"postgresql://postgres@/sequin_auth?host={host}"
        self.serve()

    def serve(self, clock: Path | None = None) -> None:
        """`clock`: a folder whose sitecustomize.py makes the clock of our processes a wrong one."""
        self.clock = clock
        self.gateway.environment.pop("PYTHONPATH", None)
        if clock:
            self.gateway.environment["PYTHONPATH"] = str(clock)
        self.server = self.gateway.serve(self.processes)

    def stop(self) -> None:
        self.server.send_signal(signal.SIGTERM)
        assert self.server.wait(ENOUGH) == 0

    def process(self, name: str) -> psutil.Process:
        """The child of `manage.py serve` that is called so."""
        return next(one for one in psutil.Process(self.server.pid).children() if one.name() == name)

    def has(self, name: str) -> bool:
        try:
            return bool(self.process(name).is_running())
        except (StopIteration, psutil.NoSuchProcess):
            return False

    def web_processes(self) -> list[psutil.Process]:
        return list(self.process(WEB).children())

    def kill_web(self) -> None:
        """-9, all of them at once; gunicorn's own process makes new ones."""
        before = self.web_processes()
        for process in before:
            process.kill()
        until(
            lambda: len(self.web_processes()) == len(before) and not set(self.web_processes()) & set(before),
            what="there are new web processes",
        )

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self.gateway.url}/readyz", timeout=TIMEOUT).status_code == 200
        except requests.RequestException:
            return False

    def until_ready(self) -> None:
        until(self.is_ready, what="the gateway is ready again")

    def kill_postgres(self) -> None:
        """-9, without a word to anybody: its own children end when they notice, and the next start recovers."""
        postmaster = psutil.Process(int((self.postgres.data / "postmaster.pid").read_text().split("\n", 1)[0]))
        family = [postmaster, *postmaster.children()]
        postmaster.kill()
        until(lambda: not any(is_alive(process) for process in family), what="nothing is left of PostgreSQL")

    def start_postgres(self) -> None:
        self.postgres.start()
        self.until_ready()

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return sql(self.gateway, statement, *values)


@pytest.fixture(scope="module")
def deployment(gateway_with: NewGateway, processes: Processes) -> Deployment:
    return Deployment(gateway_with("faults", LOG_LEVEL="INFO"), processes)


@pytest.fixture(autouse=True)
def all_is_well(request: pytest.FixtureRequest, deployment: Deployment) -> Iterator[None]:
    if deployment.clock and "clock" not in request.fixturenames:
        deployment.stop()
        deployment.serve()
    yield
    deployment.start_postgres()


@pytest.fixture(scope="module")
def app(deployment: Deployment) -> App:
    return new_tenant(deployment.gateway, "Arrakis").app()


@pytest.fixture
def browser(deployment: Deployment) -> Browser:
    return Browser(deployment.gateway)


@pytest.fixture
def credential(deployment: Deployment, app: App, provider: StandIn) -> str:
    """A new one, whose access token has ended; the provider has forgotten how it came to be."""
    return new_credential(deployment, app, provider)


def new_credential(deployment: Deployment, app: App, provider: StandIn) -> str:
    provider.user_id = f"user-{uuid.uuid4()}"
    made = app.tenant.credential(app)
    deployment.sql(
        "UPDATE credentials_token SET expires_at = now() - interval '1 second', due_at = NULL WHERE credential_id = %s",
        made,
    )
    provider.requests.clear()
    return made


def refresh_by_schedule(deployment: Deployment, credential: str) -> int:
    """The worker does, at once, as in the minute in which it falls due. The number of its job."""
    deployment.sql("UPDATE credentials_token SET due_at = now() WHERE credential_id = %s", credential)
    return begin_job(deployment, "refresh", "credentials.refresh.sweep.refresh_due_job")


def begin_job(deployment: Deployment, queue: str, task: str) -> int:
    """As the schedule does each minute."""
    statement = (
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args, status)"
        """ VALUES (%s, %s, '{"timestamp": 0}', 'todo') RETURNING id"""
    )
    return int(deployment.sql(statement, queue, task)[0][0])


def read(app: App, credential: str, **query: str) -> requests.Response:
    return app.tenant.call("GET", f"/v1/credentials/{credential}/access-token", params=query)


def assert_unavailable(answer: requests.Response, *, is_json: bool) -> None:
    """A 503 of ours that says when to come again, and nothing of what is broken."""
    assert answer.status_code == 503, answer.text[:500]
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"].startswith("application/json" if is_json else "text/html")
    for telling in ("Traceback", "psycopg", "SELECT", "postgres"):
        assert telling not in answer.text
    if is_json:
        assert "summary" in answer.json()


# ---- PostgreSQL is away ----------------------------------------------------------------------------------------------


def test_g13_away_before_anything(deployment: Deployment, app: App, browser: Browser, provider: StandIn) -> None:
    """At the start, at the callback, at the exchange and at `/v1`: each is only late"""
    trip, code = app.started(), app.code()
    calls = len(provider.sent_to("/token"))
    deployment.postgres.stop()

    pages = [meanwhile(lambda: browser.get(app.start_url())), meanwhile(trip.approved)]
    answers = [
        meanwhile(lambda: app.exchanged(code)),
        meanwhile(lambda: app.tenant.call("GET", "/v1/credentials")),
        meanwhile(lambda: app.tenant.call("POST", "/v1/redirect-uris", {"redirect_uri": "https://a.example"})),
    ]
    for page in pages:
        assert_unavailable(page.result(), is_json=False)
    for answer in answers:
        assert_unavailable(answer.result(), is_json=True)
    assert requests.get(f"{deployment.gateway.url}/healthz", timeout=TIMEOUT).status_code == 200
    assert requests.get(f"{deployment.gateway.url}/readyz", timeout=TIMEOUT).status_code == 503
    deployment.start_postgres()

    assert len(provider.sent_to("/token")) == calls
    assert browser.get(app.start_url()).status_code == 302
    assert query_of(trip.approved().headers["Location"]).keys() == {"code"}
    assert app.exchanged(code).status_code == 200
    for _ in range(12):  # of both processes, and of each connection that they had
        assert app.tenant.call("GET", "/v1/credentials").status_code == 200


def test_g13_away_while_the_code_is_exchanged(deployment: Deployment, app: App, provider: StandIn) -> None:
    """The tokens have come and nobody can keep them: they are given back, and a new start is the way on"""
    new = provider.tokens()
    gate = Gate(answering_json(200, new))
    provider.behaves("/token", gate)
    trip = app.started()
    arriving = meanwhile(trip.approved)
    gate.until_somebody_waits()
    deployment.postgres.stop()
    gate.open()

    assert_unavailable(arriving.result(), is_json=False)
    until(lambda: provider.sent_to("/revoke"), what="the tokens are given back")
    deployment.start_postgres()

    assert_page(trip.approved())  # its state is used
    assert len(provider.sent_to("/token")) == 1
    provider.forget()
    assert app.exchanged(app.code()).status_code == 200


@pytest.mark.parametrize("ends", [lambda of: of.postgres.stop(), Deployment.kill_postgres], ids=["stopped", "killed"])
def test_g13_stopped_and_started_while_the_code_is_exchanged(
    deployment: Deployment, app: App, provider: StandIn, ends: Callable[[Deployment], None]
) -> None:
    """The connections are dead, and the next ones are good: the end user never knows"""
    gate = Gate(provider.give_tokens)
    provider.behaves("/token", gate)
    arriving = meanwhile(app.started().approved)
    gate.until_somebody_waits()
    ends(deployment)
    deployment.postgres.start()
    gate.open()

    code = query_of(arriving.result().headers["Location"])["code"]
    assert app.exchanged(code).status_code == 200


def test_g13_killed_at_every_step_at_once(
    deployment: Deployment, app: App, credential: str, provider: StandIn, browser: Browser
) -> None:
    """-9, while one trip asks for its tokens, another one's code is in the middle of being redeemed, and a third
    caller refreshes. Each is told or served as by an orderly end, and no code is good twice after the recovery
    """
    trip, code = app.started(), app.code()
    provider.requests.clear()
    gate = Gate(provider.give_tokens)
    provider.behaves("/token", gate)
    arriving, reading = meanwhile(trip.approved), meanwhile(lambda: read(app, credential))
    gate.until_somebody_waits(2)
    with holding(deployment, code):
        redeeming = meanwhile(lambda: app.exchanged(code))
        until(
            lambda: deployment.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"),
            what="the token endpoint waits for the row of the code",
        )
        deployment.kill_postgres()
    gate.open()
    beginning = meanwhile(lambda: browser.get(app.start_url()))
    listing = meanwhile(lambda: app.tenant.call("GET", "/v1/credentials"))

    for page in (arriving, beginning):
        assert_unavailable(page.result(), is_json=False)
    for answer in (redeeming, listing):
        assert_unavailable(answer.result(), is_json=True)
    token = reading.result().json()["access_token"]
    until(lambda: provider.sent_to("/revoke"), what="the tokens of the trip are given back")
    deployment.start_postgres()
    until(lambda: not list((deployment.gateway.directory / "spool").iterdir()), what="the refresh is in its row")

    assert read(app, credential).json()["access_token"] == token
    assert_page(trip.approved())  # its state is used
    assert [app.exchanged(code).status_code for _ in range(2)] == [200, 400]
    assert len(provider.sent_to("/token")) == 2
    for _ in range(12):  # of both processes, and of each connection that they had
        assert app.tenant.call("GET", "/v1/credentials").status_code == 200


@contextmanager
def holding(deployment: Deployment, code: str) -> Iterator[None]:
    """Whoever redeems the code waits for its row, until the connection that holds it is gone."""
    connection = psycopg.connect(deployment.gateway.database_uri)
    try:
        held = "SELECT 1 FROM credentials_authorization WHERE code_hash = %s FOR UPDATE"
        assert connection.execute(held, [digest(code)]).fetchone()
        yield
    finally:
        connection.close()


def test_g03_away_when_the_answer_to_a_refresh_comes(
    deployment: Deployment, app: App, credential: str, provider: StandIn
) -> None:
    """Whoever asked has the token; it is on the disk, sealed, and in its row as soon as there is one"""
    new = provider.tokens()
    gate = Gate(answering_json(200, new))
    provider.behaves("/token", gate)
    reading = meanwhile(lambda: read(app, credential))
    gate.until_somebody_waits()
    deployment.postgres.stop()
    gate.open()

    assert reading.result().json()["access_token"] == new["access_token"]
    spooled = list((deployment.gateway.directory / "spool").iterdir())
    assert len(spooled) == 1
    assert new["refresh_token"] not in spooled[0].read_text()
    deployment.start_postgres()
    until(lambda: not list((deployment.gateway.directory / "spool").iterdir()), what="it is in its row")

    assert read(app, credential).json()["access_token"] == new["access_token"]
    assert len(provider.sent_to("/token")) == 1


def test_g03_the_disk_is_full_too(deployment: Deployment, app: App, credential: str, provider: StandIn) -> None:
    """Then it is in memory alone; the caller has his token, and whoever may write again writes it"""
    new = provider.tokens()
    gate = Gate(answering_json(200, new))
    provider.behaves("/token", gate)
    reading = meanwhile(lambda: read(app, credential))
    gate.until_somebody_waits()
    deployment.postgres.stop()
    web = deployment.web_processes()
    limits = [process.rlimit(resource.RLIMIT_FSIZE) for process in web]
    for process in web:
        process.rlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    gate.open()

    answer = reading.result()
    for process, limit in zip(web, limits, strict=True):
        process.rlimit(resource.RLIMIT_FSIZE, limit)
    deployment.start_postgres()

    assert answer.status_code == 200
    assert answer.json()["access_token"] == new["access_token"]
    until(
        lambda: deployment.sql("SELECT version FROM credentials_token WHERE credential_id = %s", credential) == [(2,)],
        what="it is in its row",
    )
    assert read(app, credential).json()["access_token"] == new["access_token"]
    assert len(provider.sent_to("/token")) == 1


def test_g13_away_before_a_refresh(deployment: Deployment, app: App, credential: str, provider: StandIn) -> None:
    """Nobody asks a provider without having written down that he does"""
    deployment.postgres.stop()

    assert_unavailable(read(app, credential), is_json=True)
    assert provider.asked == []
    deployment.start_postgres()

    assert read(app, credential).status_code == 200
    assert len(provider.sent_to("/token")) == 1


# ---- processes are killed --------------------------------------------------------------------------------------------


def test_g02_killed_after_the_provider_has_rotated(
    deployment: Deployment, app: App, credential: str, provider: StandIn
) -> None:
    """The next owner tries the old token once; the provider calls it used: the owner is needed, and nobody loops"""
    used: list[str] = []

    def rotating(visit: Visit, request: Request) -> None:
        used.append(request.form["refresh_token"])
        if len(used) > 1:
            answering_json(400, {"error": "invalid_grant"})(visit, request)
            return
        visit.hang()

    provider.behaves("/token", rotating)
    reading = meanwhile(lambda: read(app, credential))
    until(lambda: used, what="the provider has rotated")
    deployment.kill_web()
    with pytest.raises(requests.ConnectionError):
        reading.result()
    deployment.sql(
        "UPDATE credentials_token SET lease_until = now() - interval '1 second' WHERE credential_id = %s", credential
    )

    answers = [read(app, credential) for _ in range(3)]

    assert [(one.status_code, one.json()["code"]) for one in answers] == [(409, "needs_reauthorization")] * 3
    assert len(used) == 2
    assert used[0] == used[1]
    failure = deployment.sql("SELECT failure, due_at FROM credentials_token WHERE credential_id = %s", credential)
    assert failure == [("rotation_interrupted", None)]
    told = deployment.sql("SELECT action FROM oauth_apps_auditevent WHERE object_id = %s", credential)
    assert ("credential.rotation_interrupted",) in told


def test_g02_killed_where_the_provider_forgives(
    deployment: Deployment, app: App, credential: str, provider: StandIn
) -> None:
    """It takes the old token once more: healed"""
    calls: list[str] = []

    def forgiving(visit: Visit, request: Request) -> None:
        calls.append(request.form["refresh_token"])
        if len(calls) > 1:
            provider.give_tokens(visit, request)
            return
        visit.hang()

    provider.behaves("/token", forgiving)
    reading = meanwhile(lambda: read(app, credential))
    until(lambda: calls, what="the provider has been asked")
    deployment.kill_web()
    with pytest.raises(requests.ConnectionError):
        reading.result()
    deployment.sql(
        "UPDATE credentials_token SET lease_until = now() - interval '1 second' WHERE credential_id = %s", credential
    )

    assert read(app, credential).status_code == 200
    assert app.tenant.call("GET", f"/v1/credentials/{credential}").json()["health"]["status"] == "ok"
    assert len(calls) == 2


def test_g13_killed_while_the_code_is_exchanged(deployment: Deployment, app: App, provider: StandIn) -> None:
    """The trip is over, and says so; a new one works"""
    gate = Gate(provider.give_tokens)
    provider.behaves("/token", gate)
    trip = app.started()
    arriving = meanwhile(trip.approved)
    gate.until_somebody_waits()
    deployment.kill_web()
    gate.open()

    with pytest.raises(requests.ConnectionError):
        arriving.result()
    assert_page(trip.approved())
    assert len(provider.sent_to("/token")) == 1
    provider.forget()
    assert app.exchanged(app.code()).status_code == 200


def test_g13_killed_between_the_callback_and_the_exchange(deployment: Deployment, app: App, provider: StandIn) -> None:
    """What was committed is there"""
    trip, code = app.started(), app.code()

    deployment.kill_web()

    assert app.exchanged(code).status_code == 200
    assert query_of(trip.approved().headers["Location"]).keys() == {"code"}


@dataclass(frozen=True)
class Interrupted:
    """What a worker was at when it was killed: a refresh by schedule, and the call of a webhook."""

    credential: str
    user_id: str
    tokens: frozenset[str]
    endpoint: str
    delivery: str
    path: str


@pytest.fixture(scope="module")
def interrupted(deployment: Deployment, app: App, the_provider: StandIn) -> Interrupted:
    """By -9, once, for all who ask; there is a new worker."""
    the_provider.begin_test()
    deployment.start_postgres()
    credential = new_credential(deployment, app, the_provider)
    path = "/hook-of-a-worker"
    body = {"url": f"{the_provider.url}{path}", "events": ["credential.deleted"]}
    endpoint = app.tenant.made("/v1/webhook-endpoints", body)["id"]
    gate, gate_of_hook = Gate(the_provider.give_tokens), Gate(answering("200 OK"))
    the_provider.behaves("/token", gate)
    the_provider.behaves(path, gate_of_hook)
    delivery = str(app.tenant.made(f"/v1/webhook-endpoints/{endpoint}/ping", {})["id"])
    refresh_by_schedule(deployment, credential)
    for one in (gate, gate_of_hook):
        one.until_somebody_waits()
    kill(deployment, WORKER)
    assert app.tenant.call("GET", "/v1/credentials").status_code == 200
    until_there_is_a_new_one(deployment, WORKER)
    for one in (gate, gate_of_hook):
        one.open()
    the_provider.behaviours.clear()
    tokens = frozenset(the_provider.given)
    return Interrupted(credential, the_provider.user_id, tokens, endpoint, delivery, path)


def kill(deployment: Deployment, which: str) -> None:
    """Returns when its children are gone too: those of the web server go on serving until they notice."""
    process = deployment.process(which)
    enough = AT_ONCE + 1  # of `create_time` the whole second is certain
    until(lambda: time.time() - process.create_time() > enough, what="it has run for a while")
    family = [process, *process.children(recursive=True)]
    process.kill()
    until(lambda: not any(is_alive(one) for one in family), what="it is gone, with its children")


def until_there_is_a_new_one(deployment: Deployment, which: str) -> None:
    until(lambda: deployment.has(which), what="there is a new one")
    deployment.until_ready()


def test_g13_a_worker_that_is_killed_comes_back(
    deployment: Deployment, app: App, interrupted: Interrupted, provider: StandIn
) -> None:
    """While the web server goes on; the refresh that was under way is taken up when its lease ends"""
    credential = interrupted.credential
    version = "SELECT version FROM credentials_token WHERE credential_id = %s"
    assert deployment.sql(version, credential) == [(1,)]
    provider.user_id = interrupted.user_id
    provider.has_given(interrupted.tokens)
    deployment.sql("UPDATE credentials_token SET lease_until = now() WHERE credential_id = %s", credential)

    refresh_by_schedule(deployment, credential)

    until(lambda: deployment.sql(version, credential) == [(2,)], what="the new worker has refreshed")
    assert read(app, credential).status_code == 200
    assert len(provider.sent_to("/token")) == 1


def test_j06_a_worker_that_is_killed_delivers_once_more(
    deployment: Deployment, app: App, interrupted: Interrupted, provider: StandIn
) -> None:
    """At least once: nobody knows what became of the first call, and by the id the receiver knows the second"""
    endpoint = interrupted.endpoint
    state = "SELECT id::text, attempts, delivered_at IS NULL FROM oauth_apps_webhookdelivery WHERE endpoint_id = %s"
    assert deployment.sql(state, endpoint) == [(interrupted.delivery, 1, True)]
    provider.behaves(interrupted.path, answering("200 OK"))

    # A minute later
    deployment.sql("UPDATE oauth_apps_webhookdelivery SET due_at = now() WHERE endpoint_id = %s", endpoint)
    begin_job(deployment, "webhooks", "oauth_apps.webhooks.delivery.deliver_due_job")

    done = [(interrupted.delivery, 2, False)]
    until(lambda: deployment.sql(state, endpoint) == done, what="it has arrived")
    [call] = provider.sent_to(interrupted.path)
    assert call.headers["webhook-id"] == interrupted.delivery
    assert app.tenant.call("DELETE", f"/v1/webhook-endpoints/{endpoint}").status_code == 200


def test_g13_a_web_server_that_is_killed_comes_back(deployment: Deployment, app: App, credential: str) -> None:
    """Whole, with the process that starts the others"""
    kill(deployment, WEB)
    until_there_is_a_new_one(deployment, WEB)
    until(lambda: answers(f"{deployment.gateway.url}/healthz"), what="it serves")

    assert read(app, credential).status_code == 200
    assert app.exchanged(app.code()).status_code == 200


def test_g14_told_to_end_it_ends_what_is_under_way(
    deployment: Deployment, app: App, credential: str, provider: StandIn
) -> None:
    """A trip, a refresh that somebody waits for, and the worker's job come to their end; the exit status is 0"""

    def give_tokens(visit: Visit, request: Request) -> None:
        """Two owners are refreshed here, and the answer to a refresh need not name them."""
        of_a_trip = request.form["grant_type"] == "authorization_code"
        answering_json(200, provider.tokens(**({} if of_a_trip else {"user_id": ...})))(visit, request)

    gate = Gate(give_tokens)
    trip, by_schedule = app.started(), new_credential(deployment, app, provider)
    provider.behaves("/token", gate)
    arriving, reading = meanwhile(trip.approved), meanwhile(lambda: read(app, credential))
    job = refresh_by_schedule(deployment, by_schedule)
    gate.until_somebody_waits(3)

    deployment.server.send_signal(signal.SIGTERM)
    until(lambda: not accepts(deployment.gateway), what="nobody new is let in")
    gate.open()
    code = query_of(arriving.result().headers["Location"])["code"]
    token = reading.result().json()["access_token"]

    assert deployment.server.wait(ENOUGH) == 0
    refreshed = "SELECT version, lease_until IS NULL FROM credentials_token WHERE credential_id = %s"
    assert deployment.sql(refreshed, by_schedule) == [(2, True)]
    assert deployment.sql("SELECT status FROM procrastinate_jobs WHERE id = %s", job) == []  # it has succeeded
    deployment.serve()
    assert app.exchanged(code).status_code == 200
    assert read(app, credential).json()["access_token"] == token
    assert read(app, by_schedule).status_code == 200
    assert len(provider.sent_to("/token")) == 3


def accepts(gateway: Gateway) -> bool:
    try:
        requests.get(f"{gateway.url}/healthz", timeout=1)
    except requests.RequestException:
        return False
    return True


# ---- the clock is wrong ----------------------------------------------------------------------------------------------

CLOCK = """
import time, time_machine
time_machine.travel(time.time() + @seconds@, tick=True).start()
"""


@pytest.fixture(params=[300, -300])
def clock(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / "sitecustomize.py").write_text(CLOCK.replace("@seconds@", str(request.param)))
    tmp_path.chmod(0o755)
    return tmp_path


def test_g10_our_own_clock_is_five_minutes_off(
    deployment: Deployment, app: App, credential: str, provider: StandIn, clock: Path
) -> None:
    """That of the web server and the worker; the database has the right one. Everything works, and nothing loops"""
    deployment.stop()
    deployment.serve(clock)  # whoever comes next, if anybody does, starts it anew

    assert read(app, credential).status_code == 200
    again = read(app, credential)
    code = app.code()
    exchanged = app.exchanged(code)
    second = app.exchanged(code)
    link = app.tenant.made("/v1/credentials/start-auth", {"oauth_app_id": app.id, "redirect_url": app.redirect_uri})
    started = Browser(deployment.gateway).get(link["start_url"])

    assert again.status_code == 200
    assert (exchanged.status_code, second.status_code, started.status_code) == (200, 400, 302)
    refreshes = [one for one in provider.sent_to("/token") if one.form["grant_type"] == "refresh_token"]
    assert len(refreshes) == 1
