"""C15, D17, H01, I01, I02: ways around the limits, each of which somebody has tried."""

import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest
import requests

from tests.real.gateway import Gateway
from tests.security.member import new_member, sign_in
from tests.security.stand_in import StandIn
from tests.security.tenant import TIMEOUT, App, Browser, Tenant, new_tenant, sql

MOST = 400  # requests until one has to be refused; a window may end in between


@pytest.fixture
def caladan(strict: Gateway) -> Tenant:
    return new_tenant(strict, "Caladan")


@pytest.fixture
def network() -> Callable[[], dict[str, str]]:
    """Headers of one address after another of a network of 64 bits that nobody else has."""
    prefix = ":".join(f"{part:x}" for part in (0x2001, 0xDB8, *divmod(uuid.uuid4().int % 2**32, 2**16)))
    numbers = itertools.count(1)
    return lambda: {"X-Forwarded-For": f"{prefix}::{next(numbers):x}"}


def until_429(send: Callable[[], requests.Response]) -> tuple[requests.Response, set[int]]:
    """The first 429, and the statuses before it."""
    before: set[int] = set()
    for _ in range(MOST):
        answer = send()
        if answer.status_code == 429:
            return answer, before
        before.add(answer.status_code)
    pytest.fail(f"{MOST} requests, and no 429")


def pair_of(app: App) -> dict[str, str]:
    return {"client_id": app.id, "client_secret": str(app.client_secret)}


# ---- guessing --------------------------------------------------------------------------------------------------------


def test_c15_junk_codes_hold_back_junk_codes_alone(caladan: Tenant, provider: StandIn) -> None:
    app, other = caladan.app(), caladan.app()
    code, kept = app.code(), app.exchanged(app.code()).json()["refresh_token"]

    refused, before = until_429(lambda: app.exchanged(uuid.uuid4().hex))

    assert refused.json()["error"] == "slow_down"
    assert refused.json()["summary"].startswith("Too many unknown codes of this client")
    assert 1 <= int(refused.headers["Retry-After"]) <= 10
    assert before == {400}
    assert app.exchanged(code).status_code == 200
    assert app.token(grant_type="refresh_token", refresh_token=kept).status_code == 200
    assert other.exchanged("junk").json()["error"] == "invalid_grant"


def test_c15_one_network_of_ipv6_guesses_no_more_than_one_address(
    caladan: Tenant, network: Callable[[], dict[str, str]], provider: StandIn
) -> None:
    app, browser = caladan.app(), Browser(caladan.gateway)
    rows = "SELECT coalesce(sum(failures), 0) FROM oauth_apps_failedauthentication"
    before = sql(caladan.gateway, rows)[0][0]
    tries = 0

    def guess() -> requests.Response:
        nonlocal tries
        tries += 1
        stranger = {"client_id": str(uuid.uuid4()), "client_secret": "guess", "code": "x"}
        return browser.post("/link/oauth2/token", stranger, headers=network())

    refused, statuses = until_429(guess)

    assert refused.json()["error"] == "slow_down"
    assert refused.json()["summary"].startswith("Too many requests from this address without a good secret")
    assert statuses == {401}
    assert sql(caladan.gateway, rows)[0][0] == before + tries - 1  # of the last nothing is written
    good = browser.post("/link/oauth2/token", pair_of(app) | {"code": app.code()}, headers=network())
    assert good.status_code == 200


def test_h01_one_network_of_ipv6_guesses_no_more_than_one_address(
    caladan: Tenant, network: Callable[[], dict[str, str]]
) -> None:
    """The tries between the first and the last are written by SQL: each takes as long as a password."""
    gateway, name = caladan.gateway, new_member(caladan)
    assert sign_in(Browser(gateway), name, "a wrong guess", headers=network()).status_code == 200
    sql(gateway, "UPDATE axes_accessattempt SET failures_since_start = 7 WHERE username = %s", name)

    assert sign_in(Browser(gateway), name, "a wrong guess", headers=network()).status_code == 429
    assert sign_in(Browser(gateway), name, headers=network()).status_code == 429
    assert sign_in(Browser(gateway), name).status_code == 302


# ---- starts ----------------------------------------------------------------------------------------------------------


def test_i01_starts_by_the_form_that_asks_first_are_starts_too(caladan: Tenant) -> None:
    app, other, browser = caladan.app(), caladan.app(), Browser(caladan.gateway)
    queries = {one.id: one.start_url().partition("?")[2] for one in (app, other)}
    token = "c" * 32

    def go_on(one: App) -> requests.Response:
        form = {"query": queries[one.id], "csrfmiddlewaretoken": token}
        return browser.post("/link/oauth2/continue", form, headers={"Cookie": f"csrftoken={token}"})

    statuses = set[int]()
    for _ in range(5):  # the window may end between the two
        refused, before = until_429(lambda: go_on(app))
        statuses |= before
        without = browser.get(app.start_url())
        if without.status_code == 429:
            break

    assert "go back to the page before this one" in refused.text
    assert 1 <= int(refused.headers["Retry-After"]) <= 10
    assert statuses == {200}
    assert without.status_code == 429
    assert go_on(other).status_code == 200


# ---- bodies in chunks ------------------------------------------------------------------------------------------------


def in_chunks(document: object) -> Iterator[bytes]:
    yield json.dumps(document).encode()


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_i02_a_body_in_chunks_is_not_taken_for_an_empty_one(arrakis: Tenant, method: str) -> None:
    path = "/v1/oauth-apps" if method == "POST" else f"/v1/oauth-apps/{arrakis.app().id}"
    body = in_chunks({"name": "x"})

    answer = arrakis.call(method, path, data=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert answer.json() == {
        "summary": "Send the length of the body in Content-Length.",
        "code": "length_required",
        "request_id": answer.headers["X-Request-Id"],
    }


@pytest.mark.parametrize("path", ["/link/oauth2/token", "/link/oauth2/revoke/"])
def test_i02_nor_is_it_at_the_token_endpoint(arrakis: Tenant, provider: StandIn, path: str) -> None:
    app = arrakis.app()
    code = app.code()
    form = pair_of(app) | {"code": code, "token": "x"}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = iter([urlencode(form).encode()])

    answer = requests.post(f"{arrakis.gateway.url}{path}", body, headers=headers, timeout=TIMEOUT)

    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
    assert answer.json()["error_description"] == "Send the length of the body in Content-Length."
    assert answer.headers["Cache-Control"] == "no-store"
    assert app.exchanged(code).status_code == 200


def test_i02_an_import_may_come_in_chunks(arrakis: Tenant) -> None:
    headers = {"Content-Type": "application/x-ndjson"}

    answer = arrakis.call("POST", "/v1/credentials/import", data=iter([b"{}\n", b"{}\n"]), headers=headers)

    assert answer.status_code == 200
    assert answer.json()["lines"] == 2
