"""How often something may be done: the counts of two processes, each a Counter, and the table between them."""

import ast
import os
import re
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.core.management import call_command
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from credentials.models import Credential
from credentials.purge import purge
from oauth_apps import api_tokens, limits
from oauth_apps.limits import Counter
from oauth_apps.models import Account, FailedAuthentication, RateCount
from tests.credentials.stored import linear_app, linear_credential
from tests.oauth_apps.conftest import client_of

START_OF_A_WINDOW = 1_800_000_000
ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "limits.md"
SETTINGS = ROOT / "sequin_auth" / "settings.py"


@pytest.fixture(autouse=True)
def counter(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Counter:
    """The product's, as in a new process; nothing has a limit but what a test gives one."""
    new = Counter()
    for module in ("oauth_apps.api.authentication", "credentials.limiting", "credentials.link.flow.caller"):
        monkeypatch.setattr(f"{module}.counter", new)
    return new


@pytest.fixture
def clock() -> Any:
    with time_machine.travel(START_OF_A_WINDOW, tick=False) as clock:
        yield clock


def limited(settings: Settings, **limits: int) -> None:
    settings.LIMITS = settings.LIMITS | limits


def let_in(counter: Counter, number: int, kind: str = "pages", subject: str = "a") -> int:
    """How many of so many."""
    return sum(counter.count(kind, subject) is None for _ in range(number))


# ---- one process -----------------------------------------------------------------------------------------------------


def test_the_limit_is_met_and_not_passed(counter: Counter, settings: Settings, clock: Any) -> None:
    limited(settings, pages=3)

    refusals = [counter.count("pages", "a") for _ in range(5)]

    assert refusals == [None, None, None, ("pages", 10, True), ("pages", 10, False)]
    assert counter.count("pages", "b") is None


@pytest.mark.parametrize(("passed", "seconds"), [(0, 10), (0.5, 10), (3.2, 7), (9, 1), (9.999, 1)])
def test_it_says_when_the_window_ends(
    counter: Counter, settings: Settings, clock: Any, passed: float, seconds: int
) -> None:
    limited(settings, pages=1)
    counter.count("pages", "a")
    clock.shift(passed)

    refusal = counter.count("pages", "a")

    assert refusal is not None
    assert refusal.seconds == seconds
    clock.shift(seconds)
    assert counter.count("pages", "a") is None


def test_nought_is_no_limit(counter: Counter, settings: Settings) -> None:
    limited(settings, pages=0)

    assert let_in(counter, 5_000) == 5_000
    assert not counter.counts


def test_what_is_shut_stays_shut_until_the_window_ends(counter: Counter, settings: Settings, clock: Any) -> None:
    limited(settings, token_calls=100)
    counter.shut("token_calls", "a")

    assert counter.count("token_calls", "a") == ("token_calls", 10, False)
    clock.shift(10)
    assert counter.count("token_calls", "a") is None


def test_a_process_remembers_so_many_and_no_more(
    counter: Counter, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(settings, pages=3)
    monkeypatch.setattr(limits, "MOST_KEYS", 50)

    for number in range(500):
        counter.count("pages", str(number))

    assert len(counter.counts) == 50
    assert let_in(counter, 5, subject="499") == 2


def test_the_windows_before_are_forgotten(counter: Counter, settings: Settings, clock: Any) -> None:
    limited(settings, pages=3)
    let_in(counter, 1, subject="a")
    clock.shift(10)
    let_in(counter, 1, subject="b")

    assert len(counter.counts) == 1


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "192.0.2.1", False),
    ],
)
def test_one_customer_of_ipv6_is_one_address(one: str, other: str, is_same: bool) -> None:
    assert (limits.network_of(one) == limits.network_of(other)) is is_same


def test_a_key_tells_nothing_of_what_it_stands_for(settings: Settings) -> None:
    """Of an address, or of a short secret, a plain hash would."""
    key = limits.key_of("pages", "192.0.2.1")
    settings.SECRET_KEY = "another" * 10

    assert limits.key_of("pages", "192.0.2.1") != key
    assert limits.key_of("pages", "192.0.2.1") != limits.key_of("starts", "192.0.2.1")


# ---- all processes ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_all_processes_share_a_limit(settings: Settings, clock: Any) -> None:
    limited(settings, pages=100)
    one, other = Counter(), Counter()
    assert let_in(one, 60) == 60
    one.report()

    assert let_in(other, 10) == 10
    other.report()

    assert let_in(other, 90) == 30
    other.report()
    assert let_in(one, 1) == 1  # it has not heard yet
    one.report()
    assert let_in(one, 1) == 0
    assert RateCount.objects.get().number == 101


@pytest.mark.django_db
def test_a_limit_is_passed_by_a_twentieth_for_each_process_at_most(settings: Settings, clock: Any) -> None:
    limited(settings, pages=200)
    processes = [Counter() for _ in range(4)]

    total = 0
    for _ in range(200):
        for process in processes:
            total += let_in(process, 1)
            process.report(divisor=limits.DIVISOR_AT_ONCE)

    assert 200 <= total <= 200 + 4 * 200 / limits.DIVISOR_AT_ONCE


@pytest.mark.django_db
def test_what_is_little_is_told_nobody(
    counter: Counter, settings: Settings, clock: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    limited(settings, pages=1_000)

    with django_assert_num_queries(0):
        let_in(counter, 4)
        assert counter.report() == 0
    with django_assert_num_queries(1):
        let_in(counter, 1)
        assert counter.report() == 1


@pytest.mark.django_db
def test_many_are_told_in_one_statement(
    counter: Counter, settings: Settings, clock: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    limited(settings, pages=10)
    for number in range(300):
        counter.count("pages", str(number))

    with django_assert_num_queries(1):
        assert counter.report() == 300

    assert RateCount.objects.count() == 300


@pytest.mark.django_db
def test_a_report_of_a_window_that_is_over_changes_nothing_of_the_next(
    counter: Counter, settings: Settings, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(settings, pages=10)
    let_in(counter, 8)
    add = RateCount.objects.add

    def slow(since: float, numbers: Any) -> Any:
        clock.shift(10)
        let_in(counter, 1)
        return add(since, numbers)

    monkeypatch.setattr(RateCount.objects, "add", slow)
    counter.report()

    assert let_in(counter, 20) == 9


def test_without_a_database_each_counts_by_itself(
    counter: Counter, settings: Settings, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(settings, pages=10)

    def away(*_: object) -> None:
        raise OperationalError

    monkeypatch.setattr(RateCount.objects, "add", away)
    assert let_in(counter, 6) == 6
    with pytest.raises(OperationalError):
        counter.report()

    assert let_in(counter, 6) == 4


@pytest.mark.django_db
def test_the_purge_removes_what_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    """I06"""
    now = timezone.now()
    for number, age in enumerate([0, 30, 90, 3600]):
        RateCount.objects.create(key_hash=bytes([number]), since=now - timedelta(seconds=age), number=1)

    assert purge()["rate_counts"] == 2
    assert purge()["rate_counts"] == 0

    assert sorted(row.key_hash[0] for row in RateCount.objects.all()) == [0, 1]
    call_command("purge")
    assert "rate_counts" in capsys.readouterr().out


# ---- what asks them --------------------------------------------------------------------------------------------------


def assert_refused(response: Any) -> None:
    assert response.status_code == 429
    assert response.json().keys() == {"summary", "code", "request_id"}
    assert response.json()["code"] == "too_many_requests"
    assert 1 <= int(response["Retry-After"]) <= 10
    assert response["Cache-Control"] == "no-store"


@pytest.mark.usefixtures("clock")
class TestTheApi:
    @pytest.fixture
    def read(self, account: Account) -> str:
        credential: Credential = linear_credential(
            linear_app(account), expires_at=(timezone.now() + timedelta(hours=1)).isoformat()
        )
        return f"/v1/credentials/{credential.pk}/access-token"

    def test_one_api_token_is_held_back_and_another_is_not(
        self, account: Account, settings: Settings, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        limited(settings, token_calls=2)
        one, other = client_of(account), client_of(account)
        assert [one.get("/v1/redirect-uris").status_code for _ in range(2)] == [200, 200]

        with django_assert_num_queries(0):
            assert_refused(one.get("/v1/redirect-uris"))

        assert other.get("/v1/redirect-uris").status_code == 200

    def test_one_account_is_held_back_and_another_is_not(
        self,
        account: Account,
        other_account: Account,
        settings: Settings,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        limited(settings, token_calls=100, account_calls=2)
        one, two, other = client_of(account), client_of(account), client_of(other_account)
        assert [api.get("/v1/redirect-uris").status_code for api in (one, two)] == [200, 200]

        assert_refused(one.get("/v1/redirect-uris"))
        with django_assert_num_queries(0):
            assert_refused(one.get("/v1/redirect-uris"))

        assert other.get("/v1/redirect-uris").status_code == 200

    def test_reading_access_tokens_has_limits_of_its_own(
        self, account: Account, settings: Settings, read: str, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        limited(settings, token_reads=2, token_calls=1)
        api = client_of(account, "read", "reveal")
        assert api.get("/v1/redirect-uris").status_code == 200
        assert [api.get(read).status_code for _ in range(2)] == [200, 200]

        with django_assert_num_queries(0):
            assert_refused(api.get(read))
            assert_refused(api.get("/v1/redirect-uris"))

    def test_an_account_that_reads_too_much_is_held_back(
        self, account: Account, settings: Settings, read: str, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        limited(settings, token_reads=100, account_reads=1)
        one, two = client_of(account, "reveal"), client_of(account, "reveal")
        assert one.get(read).status_code == 200

        assert_refused(two.get(read))
        with django_assert_num_queries(0):
            assert_refused(two.get(read))

    def test_a_limit_of_reads_costs_no_statement(
        self, account: Account, settings: Settings, read: str, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        limited(settings, token_reads=50_000, account_reads=100_000, unauthorized=100)
        api = client_of(account, "reveal")

        with django_assert_num_queries(1):
            assert api.get(read).status_code == 200

    @pytest.mark.django_db
    def test_whoever_shows_no_good_token_is_held_back_and_his_neighbour_is_not(
        self, account: Account, settings: Settings, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        limited(settings, unauthorized=3, token_calls=100)
        neighbour, text = client_of(account), api_tokens.new_token()
        stranger = Client(headers={"Authorization": f"Bearer {text}"})
        assert [Client().get("/v1/redirect-uris").status_code for _ in range(3)] == [401] * 3

        assert_refused(Client().get("/v1/redirect-uris"))
        assert_refused(stranger.get("/v1/redirect-uris"))
        with django_assert_num_queries(0):
            assert_refused(stranger.get("/v1/redirect-uris"))

        assert neighbour.get("/v1/redirect-uris").status_code == 200
        assert Client(REMOTE_ADDR="192.0.2.7").get("/v1/redirect-uris").status_code == 401

    def test_a_storm_is_one_line(self, account: Account, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
        limited(settings, token_calls=1)
        api = client_of(account)
        api.get("/v1/redirect-uris")
        caplog.clear()

        for _ in range(5):
            assert_refused(api.get("/v1/redirect-uris"))

        (line,) = caplog.records
        assert "limit_reached" in str(line.msg)
        assert "token_calls" in str(line.msg)


def sent(client: Client, form: dict[str, str], *, path: str = "/link/oauth2/token", authorization: str = "") -> Any:
    headers = {"Authorization": authorization} if authorization else {}
    return client.post(path, urlencode(form), content_type="application/x-www-form-urlencoded", headers=headers)


@pytest.mark.usefixtures("clock", "db")
class TestTrips:
    def test_the_starts_of_one_app_from_one_address(
        self, settings: Settings, client: Client, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        limited(settings, starts=2, pages=100)
        one, other = (f"/link/oauth2/start?client_id={uuid.uuid4()}" for _ in range(2))
        assert [client.get(one).status_code for _ in range(2)] == [400, 400]

        with django_assert_num_queries(0):
            refused = client.get(one)

        assert refused.status_code == 429
        assert refused["Retry-After"] == "10"
        assert refused["Cache-Control"] == "no-store"
        assert refused["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in refused["Content-Security-Policy"]
        assert "Please try again in 10 seconds" in refused.content.decode()
        assert client.get(other).status_code == 400
        assert Client(REMOTE_ADDR="192.0.2.7").get(one).status_code == 400

    def test_starts_by_the_form_that_asks_first_are_starts_too(self, settings: Settings, client: Client) -> None:
        """I01"""
        limited(settings, starts=3, pages=100)
        one, other = (urlencode({"client_id": str(uuid.uuid4())}) for _ in range(2))
        assert client.get(f"/link/oauth2/start?{one}").status_code == 400
        form = "/link/oauth2/continue"
        assert [client.post(form, {"query": one}).status_code for _ in range(2)] == [400, 400]

        refused = client.post(form, {"query": one})

        assert refused.status_code == 429
        assert refused["Retry-After"] == "10"
        assert "go back to the page before this one" in refused.content.decode()
        assert client.get(f"/link/oauth2/start?{one}").status_code == 429
        assert client.post(form, {"query": other}).status_code == 400
        assert Client(REMOTE_ADDR="192.0.2.7").post(form, {"query": one}).status_code == 400

    @pytest.mark.parametrize(
        "path", ["/link/oauth2/callback/stripe?state=x", "/link/oauth2/start/" + 43 * "x", "/link/oauth2/ended"]
    )
    def test_the_pages_of_one_address(self, settings: Settings, path: str) -> None:
        limited(settings, pages=1)
        at_home = Client(REMOTE_ADDR="2001:db8:1:2::1")

        statuses = [at_home.get(path).status_code, Client(REMOTE_ADDR="2001:db8:1:2::2").get(path).status_code]

        assert statuses[0] != 429
        assert statuses[1] == 429
        assert Client(REMOTE_ADDR="2001:db8:1:3::1").get(path).status_code != 429

    def test_a_form_that_is_refused_says_to_go_back(self, settings: Settings, client: Client) -> None:
        limited(settings, pages=1)
        client.post("/link/oauth2/continue")

        refused = client.post("/link/oauth2/continue")

        assert refused.status_code == 429
        assert "go back to the page before this one" in refused.content.decode()

    @pytest.mark.parametrize("path", ["/link/oauth2/token", "/link/oauth2/revoke/"])
    def test_one_client_of_the_token_endpoint(
        self, settings: Settings, client: Client, path: str, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        limited(settings, exchanges=2)
        form = {"client_id": str(uuid.uuid4()), "client_secret": "canary-secret", "code": "x", "token": "x"}
        assert [sent(client, form, path=path).status_code for _ in range(2)] == [401, 401]

        with django_assert_num_queries(0):
            refused = sent(client, form, path=path)

        assert refused.status_code == 429
        assert refused["Retry-After"] == "10"
        assert refused.json() == {
            "error": "slow_down",
            "error_description": "Too many requests of this client; wait for the seconds that Retry-After says.",
            "summary": "Too many requests of this client; wait for the seconds that Retry-After says.",
        }

    def test_nobody_uses_up_the_requests_of_a_client_whose_secret_he_does_not_know(
        self, settings: Settings, client: Client
    ) -> None:
        limited(settings, exchanges=2)
        pair = {"client_id": str(uuid.uuid4()), "client_secret": "the right one", "code": "x"}
        guesses = [sent(client, pair | {"client_secret": str(n)}) for n in range(5)]

        assert {guess.status_code for guess in guesses} == {401}
        assert sent(client, pair).status_code == 401  # there is no such client; it is no 429

    @pytest.mark.parametrize("header", ["Bearer ", "Bearer x", "Basic Og=="])
    def test_whatever_is_shown_is_counted(self, settings: Settings, client: Client, header: str) -> None:
        limited(settings, exchanges=1)
        form = {"client_id": str(uuid.uuid4()), "code": "x"} if header.startswith("Bearer") else {"code": "x"}

        assert [sent(client, form, authorization=header).status_code for _ in range(2)] == [401, 429]

    @pytest.mark.parametrize("path", ["/link/oauth2/token", "/link/oauth2/revoke"])
    def test_strangers_of_one_network_are_held_back_and_write_nothing(
        self, settings: Settings, path: str, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        limited(settings, unauthorized=3, exchanges=100)
        strangers = [Client(REMOTE_ADDR=f"2001:db8:1:2::{n}") for n in range(5)]
        forms = [
            {"client_id": str(uuid.uuid4()), "client_secret": "guess", "code": "x", "token": "x"} for _ in range(5)
        ]
        both = list(zip(strangers, forms, strict=True))
        assert [sent(stranger, form, path=path).status_code for stranger, form in both[:3]] == [401] * 3

        refused = [sent(stranger, form, path=path) for stranger, form in both[3:]]

        for answer in refused:
            assert (answer.status_code, answer["Retry-After"]) == (429, "10")
            assert answer.json()["error"] == "slow_down"
            assert answer.json()["summary"].startswith("Too many requests from this address without a good secret")
        assert FailedAuthentication.objects.count() == 3
        with django_assert_num_queries(0):
            assert sent(strangers[3], forms[3], path=path).status_code == 429
        unreadable = sent(strangers[0], {"code": "x"}, path=path, authorization="Basic !!!")
        assert unreadable.status_code == 429
        assert sent(Client(REMOTE_ADDR="2001:db8:1:3::1"), forms[0], path=path).status_code == 401

    def test_a_header_that_cannot_be_read_is_counted_too(self, settings: Settings, client: Client) -> None:
        limited(settings, unauthorized=2)

        answers = [sent(client, {"code": "x"}, authorization="Basic !!!") for _ in range(3)]

        assert [answer.status_code for answer in answers] == [401, 401, 429]
        assert answers[0]["WWW-Authenticate"].startswith("Basic")

    def test_a_good_secret_is_let_in_whatever_its_neighbours_do(
        self, settings: Settings, client: Client, account: Account
    ) -> None:
        limited(settings, unauthorized=1, exchanges=100)
        pair = {"client_id": str(linear_app(account, client_secret="canary-good").pk), "code": "x"}
        assert [sent(client, pair | {"client_secret": "guess"}).status_code for _ in range(2)] == [401, 429]

        assert sent(client, pair | {"client_secret": "canary-good"}).json()["error"] == "invalid_grant"

    def test_unknown_codes_hold_back_unknown_codes_alone(
        self, settings: Settings, client: Client, account: Account, other_account: Account
    ) -> None:
        """C15"""
        limited(settings, unknown_codes=2, exchanges=100)
        one, other = (
            {"client_id": str(linear_app(owner, client_secret="canary-good").pk), "client_secret": "canary-good"}
            for owner in (account, other_account)
        )
        assert [sent(client, one | {"code": "junk"}).status_code for _ in range(2)] == [400, 400]

        refused = sent(client, one | {"code": "more junk"})

        assert (refused.status_code, refused["Retry-After"]) == (429, "10")
        assert refused.json()["error"] == "slow_down"
        assert refused.json()["summary"].startswith("Too many unknown codes of this client")
        assert sent(client, one | {"grant_type": "refresh_token"}).json()["error"] == "invalid_request"
        assert sent(client, one | {"grant_type": "other"}).json()["error"] == "unsupported_grant_type"
        assert sent(client, other | {"code": "junk"}).json()["error"] == "invalid_grant"


# ---- what the documentation says -------------------------------------------------------------------------------------


def test_the_documentation_has_every_limit_and_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", DOCUMENT.read_text(), re.MULTILINE)
    settings = ast.parse(SETTINGS.read_text())
    (defaults,) = (
        ast.literal_eval(node.value)
        for node in settings.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LIMITS"
    )

    assert {name: int(number) for name, number in rows} == defaults


@pytest.mark.parametrize("value", ["pages", "pages=-1", "leaves=3"])
def test_a_limit_that_cannot_be_ends_the_start(value: str) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "LIMITS": value,
        "ENV_FILE": "",
        "SECRET_KEY": "x",
        "ENCRYPTION_KEYS": "x",
    }

    command = [sys.executable, "-m", "sequin_auth.settings"]
    start = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)

    assert start.returncode != 0
    assert b"ImproperlyConfigured: LIMITS is" in start.stderr
