"""C15, D17, F18, H01, I01, I02, I06: whoever comes too often, with too much or too slowly, and what is left of it."""

import itertools
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from sequin_auth.lib.encryption import digest
from tests.lib.servers import PATIENCE, Visit
from tests.real.gateway import Gateway
from tests.real.machine import until
from tests.security.member import new_member, sign_in
from tests.security.stand_in import Request, StandIn
from tests.security.tenant import TIMEOUT, Browser, Tenant, issue_token, new_tenant, sql

AT_ONCE = 16  # callbacks that wait for a provider: eight for each process
BEARABLE = 2.0  # seconds that F18 allows; what is measured is mostly milliseconds
MOST = 400  # requests that a test sends until it has to be held back; a window may end in between


@pytest.fixture
def caladan(strict: Gateway) -> Tenant:
    """An account of the strict gateway, with its limits untouched."""
    return new_tenant(strict, "Caladan")


@pytest.fixture
def giedi(strict: Gateway) -> Tenant:
    """Another one."""
    return new_tenant(strict, "Giedi")


@pytest.fixture(scope="module", autouse=True)
def half_sent(gateway: Gateway) -> Iterator[list[socket.socket]]:
    """Two requests that stop: in the middle of the head, and of the body."""
    head = "POST /link/oauth2/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with ExitStack() as connections:
        both = []
        for sent in (head, f"{head}Content-Length: 99\r\n\r\n{{"):
            address = ("127.0.0.1", int(gateway.environment["PORT"]))
            both.append(connections.enter_context(socket.create_connection(address, timeout=TIMEOUT)))
            both[-1].sendall(sent.encode())
        yield both


def pace(send: Callable[[], object], *, times: int) -> float:
    """The 95th percentile of the seconds that it takes. `times`: about twenty, so that it is the second longest."""
    took = []
    for _ in range(times):
        started = time.monotonic()
        send()
        took.append(time.monotonic() - started)
    return sorted(took)[-2]


def bearable(baseline: float) -> float:
    """What may become of a pace under load, on a machine that does other things at the same time."""
    return max(10 * baseline, 0.5)


def first_refusal(send: Callable[[], requests.Response]) -> tuple[requests.Response, list[int]]:
    """The first 429, and the statuses before it."""
    before: list[int] = []
    for _ in range(MOST):
        answer = send()
        if answer.status_code == 429:
            return answer, before
        before.append(answer.status_code)
    pytest.fail(f"{MOST} requests, and no 429")


def assert_too_many(answer: requests.Response, *, longest: int = 10) -> None:
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= longest
    assert answer.headers["Cache-Control"] == "no-store"


def assert_too_many_in_json(answer: requests.Response) -> None:
    assert_too_many(answer)
    assert answer.json() == {
        "summary": "Too many requests; wait for the seconds that Retry-After says.",
        "code": "too_many_requests",
        "request_id": answer.headers["X-Request-Id"],
    }


def browser_at(gateway: Gateway, address: str) -> Browser:
    """One that comes from another address of loopback."""

    class From(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **more: Any) -> None:
            super().init_poolmanager(*args, source_address=(address, 0), **more)

    browser = Browser(gateway)
    browser.session.mount("http://", From())
    return browser


def with_token(gateway: Gateway, token: str, path: str = "/v1/redirect-uris") -> requests.Response:
    return requests.get(f"{gateway.url}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT)


# ---- C15: guessing at the token endpoint -----------------------------------------------------------------------------


def test_c15_guessing(arrakis: Tenant, harkonnen: Tenant, provider: StandIn) -> None:
    guessed, other_app, other = arrakis.app(), arrakis.app(), harkonnen.app()
    codes = {app.id: app.code() for app in (guessed, other_app, other)}

    refused, before = first_refusal(lambda: guessed.token(code="x" * 35, client_secret=uuid.uuid4().hex))

    assert before == [401] * 50
    assert refused.json()["error"] == "slow_down"
    assert 1 <= int(refused.headers["Retry-After"]) <= 300
    assert guessed.exchanged(codes[guessed.id], client_secret="guess").status_code == 429
    assert [app.exchanged(codes[app.id]).status_code for app in (other_app, other)] == [200, 200]
    elsewhere = browser_at(arrakis.gateway, "127.0.0.2")
    pair = {"client_id": guessed.id, "client_secret": "guess"}
    assert elsewhere.post("/link/oauth2/token", pair | {"code": codes[guessed.id]}).status_code == 401
    assert guessed.exchanged(codes[guessed.id]).status_code == 200  # whoever has the right secret is let in


# ---- D17: a neighbour's noise ----------------------------------------------------------------------------------------


def pace_of(tenant: Tenant) -> float:
    """Of a new account, whose own limit is not met by it."""

    def call() -> None:
        assert tenant.call("GET", "/v1/redirect-uris").status_code == 200

    return pace(call, times=18)


def test_d17_one_account_is_held_back_and_another_notices_nothing(strict: Gateway, giedi: Tenant) -> None:
    """Its pace is compared with what it was before; once more, if the machine was busy with something else"""
    statuses: list[int] = []
    is_over = threading.Event()
    quiet = [new_tenant(strict, name) for name in ("Caladan", "Ix", "Tleilax")]
    baseline = pace_of(quiet.pop())

    def storm() -> None:
        while not is_over.is_set():
            statuses.append(giedi.call("GET", "/v1/redirect-uris").status_code)

    with ThreadPoolExecutor(6) as threads:
        storms = [threads.submit(storm) for _ in range(6)]
        try:
            until(lambda: 429 in statuses, what="the storm is held back")
            during = pace_of(quiet.pop())
            if during > bearable(baseline):
                during = pace_of(quiet.pop())
        finally:
            is_over.set()
            wait(storms)

    assert during <= bearable(baseline)
    assert set(statuses) == {200, 429}
    assert statuses.count(429) > statuses.count(200)


def test_d17_all_processes_share_the_limit_of_a_token(caladan: Tenant) -> None:
    refused, before = first_refusal(lambda: caladan.call("GET", "/v1/redirect-uris"))

    assert_too_many_in_json(refused)
    assert set(before) == {200}
    assert len(before) < 2 * 20 + 10  # in two windows at most, with what one process had not heard of the other


def test_d17_many_tokens_of_one_account_share_its_limit(strict: Gateway, caladan: Tenant) -> None:
    tokens = itertools.cycle([issue_token(strict, caladan.id, "read") for _ in range(8)])

    refused, before = first_refusal(lambda: with_token(strict, next(tokens)))

    assert_too_many_in_json(refused)
    assert len(before) < 2 * 30 + 10  # none of the tokens has had its twenty


def test_d17_reads_of_access_tokens_are_counted_by_themselves(caladan: Tenant, giedi: Tenant) -> None:
    path = f"/v1/credentials/{uuid.uuid4()}/access-token"  # there is none: it is counted all the same

    refused, before = first_refusal(lambda: giedi.call("GET", path))

    assert_too_many_in_json(refused)
    assert set(before) == {404}
    assert giedi.call("GET", "/v1/redirect-uris").status_code == 200
    assert caladan.call("GET", path).status_code == 404


def test_d17_one_client_is_held_back_at_the_token_endpoint(caladan: Tenant, giedi: Tenant) -> None:
    noisy, quiet = giedi.app(), caladan.app()

    refused, _ = first_refusal(lambda: noisy.token(grant_type="authorization_code"))

    assert_too_many(refused)
    assert refused.json()["error"] == "slow_down"
    assert quiet.token(grant_type="authorization_code").status_code == 400  # the code is missing


def test_d17_whoever_has_no_good_token_is_held_back_and_his_neighbours_are_not(
    strict: Gateway, caladan: Tenant
) -> None:
    refused, before = first_refusal(lambda: with_token(strict, "sqa_wrong"))

    assert_too_many_in_json(refused)
    assert set(before) == {401}
    assert caladan.call("GET", "/v1/redirect-uris").status_code == 200


def test_d17_a_storm_writes_no_log(strict: Gateway, caladan: Tenant) -> None:
    first_refusal(lambda: caladan.call("GET", "/v1/oauth-apps"))
    length = strict.log.stat().st_size

    refusals = [answer for _ in range(100) if (answer := caladan.call("GET", "/v1/oauth-apps")).status_code == 429]

    with strict.log.open() as log:
        log.seek(length)
        lines = [json.loads(line) for line in log if line.startswith("{")]
    assert len(refusals) > 20
    assert [line["event"] for line in lines].count("limit_reached") < 10  # one of each process, key and window
    assert [line.get("status") for line in lines].count(429) == 0


# ---- F18: a provider that hangs --------------------------------------------------------------------------------------


@contextmanager
def hanging(provider: StandIn) -> Iterator[threading.Semaphore]:
    """Requests for tokens hang until the block ends; a semaphore of those that have come."""
    go, came = threading.Event(), threading.Semaphore(0)

    def hang(visit: Visit, request: Request) -> None:
        came.release()
        go.wait(PATIENCE)
        provider.give_tokens(visit, request)

    provider.behaves("/token", hang)
    try:
        yield came
    finally:
        go.set()


def finished(futures: list["Future[requests.Response]"]) -> set[int]:
    return {future.result().status_code for future in futures}


def test_f18_fifty_trips_that_hang_delay_no_other(
    harkonnen: Tenant, arrakis: Tenant, provider: StandIn, attackers_provider: StandIn
) -> None:
    slow, quick = harkonnen.app(), arrakis.app("standin-malicious")
    trips = [slow.started() for _ in range(50)]

    with ThreadPoolExecutor(50) as threads, hanging(provider) as came:
        callbacks = [threads.submit(trip.approved) for trip in trips]
        assert came.acquire(timeout=TIMEOUT)
        until(lambda: sum(callback.done() for callback in callbacks) >= 50 - AT_ONCE, what="the rest is turned away")
        times = []
        for _ in range(3):
            started = time.monotonic()
            assert quick.exchanged(quick.code()).status_code == 200
            times.append(time.monotonic() - started)
        at_once = len(provider.sent_to("/token"))
    answers = [future.result() for future in callbacks]

    assert max(times) < BEARABLE
    assert 1 <= at_once <= AT_ONCE
    assert {answer.status_code for answer in answers} == {302}
    assert any("error=temporarily_unavailable" in answer.headers["Location"] for answer in answers)
    assert any("?code=" in answer.headers["Location"] for answer in answers)


def test_f18_a_crowd_that_waits_for_one_refresh_leaves_threads_for_others(
    harkonnen: Tenant, arrakis: Tenant, provider: StandIn
) -> None:
    stuck, fresh = harkonnen.credential(), arrakis.credential()
    sql(harkonnen.gateway, "UPDATE credentials_token SET expires_at = now() WHERE credential_id = %s", stuck)

    with ThreadPoolExecutor(64) as threads, hanging(provider) as came:
        path = f"/v1/credentials/{stuck}/access-token"
        crowd = [threads.submit(harkonnen.call, "GET", path) for _ in range(64)]
        assert came.acquire(timeout=TIMEOUT)
        times = []
        for _ in range(5):
            started = time.monotonic()
            assert arrakis.call("GET", f"/v1/credentials/{fresh}/access-token").status_code == 200
            times.append(time.monotonic() - started)
        gave_up = until(lambda: [one for one in crowd if one.done()], what="most of the crowd give up")[0].result()

    assert max(times) < 2 * BEARABLE  # all threads wait for a while, since most refreshes do not take long
    assert gave_up.status_code == 503
    assert gave_up.json()["code"] == "refresh_in_progress"
    assert int(gave_up.headers["Retry-After"]) >= 1
    assert finished(crowd) == {200, 503}
    assert len(provider.sent_to("/token")) == 3  # two exchanges, and one refresh for all


# ---- H01: guessing a password ----------------------------------------------------------------------------------------


def test_h01_brute_force(arrakis: Tenant) -> None:
    gateway = arrakis.gateway
    name, browser = new_member(arrakis), Browser(gateway)
    spellings = itertools.cycle([name, name.upper(), name.title(), f" {name}"])
    numbers = itertools.count()

    def guess() -> requests.Response:
        headers = {"X-Forwarded-For": f"192.0.2.{next(numbers)}", "User-Agent": str(uuid.uuid4())}
        return sign_in(browser, next(spellings), "a wrong guess", headers=headers)

    refused, before = first_refusal(guess)

    assert before == [200] * 7
    assert 0 < int(refused.headers["Retry-After"]) <= 900
    assert refused.headers["Cache-Control"] == "no-store"
    assert sign_in(browser, name).status_code == 429  # the right one, and from here
    assert sign_in(Browser(gateway), name).status_code == 429  # whatever the browser
    assert sign_in(browser_at(gateway, "127.0.0.2"), name).status_code == 302
    assert sign_in(Browser(gateway), name).status_code == 429  # that success elsewhere has cleared nothing
    assert sign_in(Browser(gateway), new_member(arrakis)).status_code == 302


# ---- I01: trips that nobody finishes ---------------------------------------------------------------------------------


def test_i01_starts_of_one_app_from_one_address_are_held_back(strict: Gateway, caladan: Tenant, giedi: Tenant) -> None:
    attacked, other, browser = caladan.app(), giedi.app(), Browser(strict)

    refused, before = first_refusal(lambda: browser.get(attacked.start_url()))

    assert_too_many(refused)
    assert refused.headers["Content-Type"].startswith("text/html")
    assert refused.headers["Referrer-Policy"] == "no-referrer"
    assert "Please try again in" in refused.text
    assert set(before) == {302}
    assert browser.get(other.start_url()).status_code == 302
    assert browser_at(strict, "127.0.0.2").get(attacked.start_url()).status_code == 302


def test_i01_twenty_thousand_unfinished_trips_slow_down_nobody_and_are_purged(strict: Gateway, caladan: Tenant) -> None:
    """One trip is begun over HTTP and copied by SQL: so many starts would take minutes. The pace of trips is compared
    with what it was before; once more, if the machine was busy with something else
    """

    def pace_of_trips() -> float:
        apps = itertools.cycle([caladan.app() for _ in range(4)])  # of one app and address so many starts are too many
        return pace(lambda: next(apps).code(), times=20)

    baseline = pace_of_trips()
    caladan.app().started()
    statement = (
        "INSERT INTO credentials_authorization SELECT copy.*"
        " FROM generate_series(1, 20000) AS number,"
        " (SELECT * FROM credentials_authorization WHERE code_hash IS NULL LIMIT 1) AS made,"
        " jsonb_populate_record(NULL::credentials_authorization, to_jsonb(made) || jsonb_build_object("
        "'id', gen_random_uuid(), 'state_hash', '\\x' || encode(sha256(number::text::bytea), 'hex'))) AS copy"
    )
    sql(strict, statement)
    assert sql(strict, "SELECT count(*) >= 20001 FROM credentials_authorization") == [(True,)]

    among_many = pace_of_trips()
    if among_many > bearable(baseline):
        among_many = pace_of_trips()

    assert among_many <= bearable(baseline)
    sql(strict, "UPDATE credentials_authorization SET expires_at = now() - interval '2 days'")
    strict.manage("purge")
    left = "SELECT count(*) FROM credentials_authorization"
    until(lambda: sql(strict, left) == [(0,)], what="what the schedule was just purging is gone too")


# ---- I02: too much at once -------------------------------------------------------------------------------------------

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("is_chunked", "status", "code"), [(False, 413, "body_too_large"), (True, 400, "length_required")]
)
def test_i02_a_body_of_more_than_a_mebibyte(arrakis: Tenant, is_chunked: bool, status: int, code: str) -> None:
    """Of one that does not say its length nothing is read."""
    body = json.dumps({"name": "x" * MEBIBYTE}).encode()
    data = iter([body]) if is_chunked else body

    answer = arrakis.call("POST", "/v1/oauth-apps", data=data, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_i02_a_body_of_more_than_a_mebibyte_at_the_token_endpoint(arrakis: Tenant) -> None:
    answer = arrakis.app().token(code="x" * MEBIBYTE)

    assert answer.status_code == 413
    assert answer.json()["error"] == "invalid_request"


def test_i02_an_import_may_be_longer_and_its_lines_may_not(arrakis: Tenant) -> None:
    lines = [b'{"not": "a credential"}'] * 3 + [b'"' + b"x" * 2 * MEBIBYTE + b'"', b"{}"]

    headers = {"Content-Type": "application/x-ndjson"}
    answer = arrakis.call("POST", "/v1/credentials/import", data=b"\n".join(lines), headers=headers)

    assert answer.status_code == 200, answer.text[:300]
    errors = answer.json()["errors"]
    assert [error["line"] for error in errors] == [1, 2, 3, 4, 5]
    assert errors[3]["code"] == "line_too_long"


@pytest.mark.parametrize("path", ["/v1/oauth-apps", "/link/oauth2/start", "/admin/login/", "/nowhere"])
@pytest.mark.parametrize("length", [8 * 1024, 20_000, 200_000])
def test_i02_a_long_url(gateway: Gateway, arrakis: Tenant, path: str, length: int) -> None:
    answer = arrakis.call("GET", f"{path}?x={'x' * length}")

    assert answer.status_code in {400, 414}
    if path.startswith("/v1") and length < 16_000:  # more than that gunicorn itself refuses
        assert (answer.status_code, answer.json()["code"]) == (414, "url_too_long")


@pytest.mark.parametrize("length", [10_000, 100_000])
def test_i02_a_long_header(arrakis: Tenant, length: int) -> None:
    answer = arrakis.call("GET", "/v1/oauth-apps", headers={"X-Long": "x" * length})

    assert answer.status_code in {400, 431}


def test_i02_a_callback_with_a_long_code_passes(arrakis: Tenant, provider: StandIn) -> None:
    code = "c" * 8192

    arrived = arrakis.app().started().approved(code=code)

    assert "?code=" in arrived.headers["Location"]
    assert provider.sent_to("/token")[0].form["code"] == code


# ---- I06: what time has done with ------------------------------------------------------------------------------------


def test_i06_purge(arrakis: Tenant, provider: StandIn) -> None:
    gateway, app = arrakis.gateway, arrakis.app()
    unfinished, fetched_late = app.started(), app.code()
    under_way, fetched_in_time = app.started(), app.code()
    pending = bytes(digest(fetched_late))
    old = "UPDATE credentials_authorization SET expires_at = now() - %s::interval WHERE "
    sql(gateway, f"{old} state_hash = %s", "25 hours", digest(unfinished.state))
    sql(gateway, f"{old} code_hash = %s", "1 hour", pending)
    sql(gateway, f"{old} code_hash = %s", "-10 minutes", digest(fetched_in_time))  # three commands take their time
    rows = "INSERT INTO oauth_apps_ratecount (key_hash, since, number) VALUES (%s, now() - interval '1 hour', 1)"
    sql(gateway, rows, uuid.uuid4().bytes)
    rows = "INSERT INTO oauth_apps_failedauthentication (key_hash, since, failures) VALUES (%s, %s::timestamptz, 1)"
    sql(gateway, rows, uuid.uuid4().bytes, "2020-01-01")

    with ThreadPoolExecutor(2) as threads:
        for purge in [threads.submit(gateway.manage, "purge") for _ in range(2)]:
            assert "authorizations" in purge.result()

    mine = "SELECT 1 FROM credentials_authorization WHERE state_hash = %s"  # or the schedule's, which goes on by itself
    until(lambda: sql(gateway, mine, digest(unfinished.state)) == [], what="the unfinished trip is gone")
    rest = "SELECT step, tokens, code_verifier FROM credentials_authorization WHERE code_hash = %s"
    assert sql(gateway, rest, pending) == [("abandoned", None, None)]
    assert app.exchanged(fetched_late).status_code == 400
    assert len(provider.sent_to("/revoke")) <= 1
    for table in ("ratecount", "failedauthentication"):
        long_ago = f"SELECT 1 FROM oauth_apps_{table} WHERE since < now() - interval '30 minutes'"  # noqa: S608
        until(lambda statement=long_ago: sql(gateway, statement) == [], what="what is long ago is gone")  # type: ignore[misc]
    gateway.manage("purge")
    assert sql(gateway, rest, pending) == [("abandoned", None, None)]
    assert len(provider.sent_to("/revoke")) <= 1
    assert app.exchanged(fetched_in_time).status_code == 200
    assert "?code=" in under_way.approved().headers["Location"]


# ---- by drips: begun with the first test of this file, since whoever does so is waited for ten seconds ---------------


def test_f18_whoever_sends_by_drips_is_given_up(half_sent: list[socket.socket]) -> None:
    in_head, in_body = (one.recv(65536) for one in half_sent)

    assert in_head == b""
    assert in_body.startswith(b"HTTP/1.1 400")
