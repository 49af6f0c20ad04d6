"""The simulated providers' lists: who is let in, how they page, filter and sort, and that their data move."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlencode

import pytest
import time_machine
from django.conf import settings as product
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from pytest_django import Settings

from providers.catalogue import reading
from providers.sandbox import script
from providers.sandbox.api.moving import Data, ordered
from providers.sandbox.api.records import Source
from providers.sandbox.models import Grant, Token
from tests.providers.acme_file import ACME
from tests.providers.granted import by_hand
from tests.providers.sandbox_developer import Answer, Developer

pytestmark = pytest.mark.django_db

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
STRIPE = "/sandbox/stripe/api.stripe.com/v1"
GITHUB = "/sandbox/github/api.github.com"
ACME_API = "/sandbox/acme/api.acme.com/v1"
MINUTE, HOUR, DAY = 60, 3600, 86_400


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(START, tick=False) as moved:
        yield moved


class Caller:
    """Holds an access token of an account at a simulated provider."""

    def __init__(self, slug: str, outcome: str = "approve", more: str = "") -> None:
        self.developer = Developer(slug)
        self.http: Client = self.developer.http
        if not self.developer.script.authorization_endpoint:
            self.token = f"sandbox_{slug}"
            by_hand(slug, self.token)
            return
        answer = self.developer.exchange(self.developer.code(outcome, more))
        self.token = str(json.loads(answer.content)["access_token"])

    def get(self, url: str, **headers: str) -> Answer:
        return self.http.get(url, headers={"Authorization": f"Bearer {self.token}", **headers})

    def pages(self, url: str, following: Callable[[Answer], str]) -> Iterator[list[Any]]:
        """Every page, by what `following` finds in the one before."""
        while url:
            answer = self.get(url)
            assert answer.status_code == 200, answer.content
            document = answer.json()
            yield document["data"] if isinstance(document, dict) else document
            url = following(answer)

    def rows(self, url: str, following: Callable[[Answer], str]) -> list[Any]:
        return [row for page in self.pages(url, following) for row in page]

    # ---- as two providers page -------------------------------------------------------------------------------------

    def stripe(self, collection: str, **params: Any) -> list[Any]:
        query = urlencode({"limit": 100, **params}, doseq=True)
        url = f"{STRIPE}/{collection}?{query}"

        def following(answer: Answer) -> str:
            document = answer.json()
            return f"{url}&starting_after={document['data'][-1]['id']}" if document["has_more"] else ""

        return self.rows(url, following)

    def github(self, path: str, **params: Any) -> list[Any]:
        return self.rows(f"{GITHUB}/{path}?{urlencode({'per_page': 100, **params})}", linked)


def linked(answer: Answer) -> str:
    link = str(answer.headers.get("Link", ""))
    assert not link or link.endswith('>; rel="next"')
    return link.partition(">")[0].removeprefix(f"<{product.PUBLIC_URL}")


def ids(rows: list[Any]) -> list[Any]:
    return [row["id"] for row in rows]


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_nobody_is_let_in_without_a_live_token_of_the_provider(clock: time_machine.Traveller) -> None:
    caller, elsewhere, short = Caller("stripe"), Caller("github"), Caller("stripe", "short_lived")
    refused = {"error": {"message": "Invalid API Key provided", "type": "invalid_request_error"}}
    clock.shift(61)

    tokens = ["Bearer nobodys", f"Bearer {elsewhere.token}", f"Bearer {short.token}", "Bearer \x00", "Basic x", ""]
    answers = [caller.get(f"{STRIPE}/customers", Authorization=token) for token in tokens]
    caller.developer.call(caller.developer.calls(revoking=True)[0], caller.token)
    answers.append(caller.get(f"{STRIPE}/customers"))

    statuses = [answer.status_code for answer in answers]
    assert statuses == [401, 401, 401, 400, 401, 401, 401]
    assert answers[0].json() == refused


def test_a_refresh_token_opens_no_list() -> None:
    developer = Developer("stripe")
    refresh_token = developer.tokens()["refresh_token"]

    answer = developer.http.get(f"{STRIPE}/customers", headers={"Authorization": f"Bearer {refresh_token}"})

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=%C2%B2",
        "limit=" + "9" * 5000,
        "starting_after=cus_unknown",
        "starting_after=" + "9" * 5000,
        "starting_after=%00",
        "created[gte]=yesterday",
        "created[gte]=" + "9" * 30,
        "create[gte]=1",
        "updated[gte]=1",
        "since=1",
    ],
)
def test_what_the_vendor_would_not_take_is_refused_in_its_words(query: str) -> None:
    answer = Caller("stripe").get(f"{STRIPE}/customers?{query}")

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.headers["Sandbox-Reason"]


def test_a_key_of_a_record_that_is_still_to_come_is_none() -> None:
    caller = Caller("stripe")
    with time_machine.travel(datetime.now(tz=UTC) + timedelta(minutes=5)):
        [newest] = caller.get(f"{STRIPE}/customers?limit=1").json()["data"]

    assert caller.get(f"{STRIPE}/customers?starting_after={newest['id']}").status_code == 400


def test_another_method_another_path_and_a_header_that_is_missing_are_refused() -> None:
    caller = Caller("github")

    assert caller.http.post(f"{GITHUB}/user/repos").status_code == 405
    assert caller.get(f"{GITHUB}/user/repositories").status_code == 404
    assert caller.get(f"{GITHUB}/user/repos", **{"User-Agent": ""}).status_code == 422
    assert caller.get(f"{GITHUB}/repos/sandbox-1/nothing-1/commits").json()["message"] == "Not Found"
    assert caller.get(f"{GITHUB}/repos/sandbox-2/{'x' * 200}/commits").status_code == 404


def test_an_api_that_fails_and_one_that_is_limited_say_so(clock: time_machine.Traveller) -> None:
    failing, limited = Caller("stripe", "api_fails"), Caller("stripe", "rate_limited")
    seen = []
    for _ in range(10):
        answer = limited.get(f"{STRIPE}/customers")
        seen.append((answer.status_code, answer.headers.get("Retry-After")))
        clock.shift(1)

    assert failing.get(f"{STRIPE}/customers").status_code == 503
    assert seen == [(429, "2"), (429, "2"), *[(200, None)] * 8]


def test_a_slow_provider_has_a_slow_api() -> None:
    caller = Caller("stripe", "slow", "&delay=0.001")
    Grant.objects.update(delay=7)

    with mock.patch("time.sleep") as slept:
        assert caller.get(f"{STRIPE}/customers").status_code == 200

    slept.assert_called_once_with(7)


# ---- every declared list ---------------------------------------------------------------------------------------------

LISTS = [
    (player.slug, name, listing)
    for player in script.load().values()
    for name, declared in player.script.collections.items()
    for listing in [declared, *declared.also]
]


JUNK = {
    "a=%ff&a=%00&limit=%00&per_page=-1&page=-1&offset=-1": b"",
    "&=&=&page=9999999999&limit=9999999999": b"[" * 6000,
    "%&page=0&since=x&q=SELECT": b'{"variables": 1, "q": null, "after": []}',
    "limit=1&limit=2&offset=99999": b"\xff",
}


def test_junk_makes_no_list_stumble() -> None:
    callers: dict[str, Caller] = {}
    for slug, _, listing in LISTS:
        caller = callers[slug] if slug in callers else callers.setdefault(slug, Caller(slug))
        headers = {"Authorization": f"Bearer {caller.token}"}
        for query, content in JUNK.items():
            url = f"{caller.developer.at(listing.url)}?{query}"
            answer = caller.http.generic(listing.method, url, content, content_type="application/json", headers=headers)
            assert answer.status_code < 500, (slug, url, content)


@pytest.mark.parametrize("slug", sorted({slug for slug, _, _ in LISTS}))
def test_what_a_record_says_tells_which_it_is(slug: str) -> None:
    for _, name, listing in (entry for entry in LISTS if entry[0] == slug):
        data = Data.at(0, size=1000, start=0)
        values = dict.fromkeys(["account", "account_number", "parent"], "1")
        source = Source(f"{slug}/{name}", listing.record, data, values, {})
        keys = [source.member(listing.key, number) for number in range(1000)]

        assert len({*keys}) == 1000
        assert listing.paging.by != "after_id" or [source.number_of(listing.key, key) for key in keys[::100]] == [
            *range(0, 1000, 100)
        ]


# ---- one provider that pages behind a record, the latest first -------------------------------------------------------

COLLECTIONS = {
    "customers": {},
    "subscriptions": {"status": "all"},
    "invoices": {},
    "charges": {},
    "payment_intents": {},
    "products": {},
    "prices": {},
    "coupons": {},
    "balance_transactions": {},
}


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_a_new_account_has_exactly_so_many_records(collection: str, clock: time_machine.Traveller) -> None:
    rows = Caller("stripe", "approve", "&records=230").stripe(collection, **COLLECTIONS[collection])

    assert len({*ids(rows)}) == len(rows) == 230
    assert all(one["created"] >= other["created"] for one, other in pairwise(rows))
    assert rows[0]["created"] == START.timestamp() - HOUR


def test_it_has_250_if_nobody_says_and_two_accounts_share_none(clock: time_machine.Traveller) -> None:
    one, other = Caller("stripe").stripe("customers"), Caller("stripe", "approve", "&account=2").stripe("customers")

    assert len(one) == 250
    assert not {*ids(one)} & {*ids(other)}
    assert Caller("stripe").stripe("customers") == one


def test_records_are_made_change_and_go(clock: time_machine.Traveller) -> None:
    caller = Caller("stripe")
    before = {row["id"]: row for row in caller.stripe("customers")}
    clock.shift(10 * MINUTE)
    after = {row["id"]: row for row in caller.stripe("customers")}

    assert len(after.keys() - before.keys()) == 10
    assert len(before.keys() - after.keys()) == 2
    assert sum(before[name] != after[name] for name in before.keys() & after.keys()) == 60
    clock.move_to(START)
    assert {row["id"]: row for row in caller.stripe("customers")} == before


def test_a_walk_loses_no_record_though_the_data_move_under_it(clock: time_machine.Traveller) -> None:
    caller = Caller("stripe")
    there = {*ids(caller.stripe("customers"))}
    found = []
    url = f"{STRIPE}/customers?limit=20"

    def following(answer: Answer) -> str:
        clock.shift(5 * MINUTE)
        document = answer.json()
        return f"{url}&starting_after={document['data'][-1]['id']}" if document["has_more"] else ""

    for page in caller.pages(url, following):
        found += ids(page)

    assert len({*found}) == len(found)
    assert {*found} >= {*ids(caller.stripe("customers"))} & there


def test_a_time_leaves_out_what_it_says(clock: time_machine.Traveller) -> None:
    caller, hours = Caller("stripe"), START.timestamp() - 10 * HOUR

    counts = [len(caller.stripe("customers", **{f"created[{how}]": int(hours)})) for how in ("gte", "gt", "lte", "lt")]
    between = caller.stripe("customers", **{"created[gte]": int(hours), "created[lt]": int(hours) + 2 * HOUR})

    assert counts == [10, 9, 241, 240]
    assert [row["created"] - hours for row in between] == [HOUR, 0]


def test_what_has_ended_is_listed_to_whom_asks_for_it(clock: time_machine.Traveller) -> None:
    caller = Caller("stripe")
    clock.shift(HOUR)

    every, active = caller.stripe("subscriptions", status="all"), caller.stripe("subscriptions")

    assert len(every) == 310
    assert len(active) == 298
    assert {row["status"] for row in active} == {"active"}
    assert sum(row["status"] == "canceled" for row in every) == 12


def test_one_record_names_another_that_there_is(clock: time_machine.Traveller) -> None:
    caller = Caller("stripe")
    clock.shift(DAY)

    customers = {*ids(caller.stripe("customers", **{"created[lt]": int(START.timestamp())}))}

    assert {row["customer"] for row in caller.stripe("invoices", **{"created[gte]": int(START.timestamp())})[:200]} <= (
        customers
    )


# ---- its feed --------------------------------------------------------------------------------------------------------


def test_the_feed_tells_what_happened_the_latest_first(clock: time_machine.Traveller) -> None:
    caller = Caller("stripe")
    before = {row["id"]: row for row in caller.stripe("customers")}
    clock.shift(10 * MINUTE)
    after = {row["id"]: row for row in caller.stripe("customers")}

    events = caller.stripe("events", type="customer.*", **{"created[gte]": int(START.timestamp())})

    about = {
        kind: {event["data"]["object"]["id"] for event in events if event["type"] == f"customer.{kind}"}
        for kind in ("created", "updated", "deleted")
    }
    assert all(one["created"] >= other["created"] for one, other in pairwise(events))
    assert about["created"] == after.keys() - before.keys()
    assert about["updated"] == {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert about["deleted"] == before.keys() - after.keys()
    latest = {event["data"]["object"]["id"]: event["data"]["object"] for event in reversed(events)}
    assert {name: row for name, row in latest.items() if name in after} == {
        name: after[name] for name in latest if name in after
    }


def test_the_feed_tells_of_the_kinds_that_are_asked_for(clock: time_machine.Traveller) -> None:
    caller = Caller("stripe")
    clock.shift(10 * MINUTE)
    since = {"created[gte]": int(START.timestamp())}

    def counted(**params: Any) -> int:
        return len(caller.stripe("events", **since, **params))

    assert counted(type="customer.created") == 10
    assert counted(**{"types[]": ["customer.created", "price.deleted"]}) == 12
    assert counted(**{"types[0]": "customer.created", "types[1]": "price.deleted"}) == 12
    assert counted(types="customer.created") == counted(type="") == 8 * 72  # another parameter, and none
    assert counted(type="customer.subscription.*") == 72
    assert caller.get(f"{STRIPE}/events?type=a&types[]=b").status_code == 400


def test_the_feed_goes_back_for_thirty_days(clock: time_machine.Traveller) -> None:
    caller = Caller("stripe", "approve", "&records=1000")
    clock.shift(DAY)

    events = caller.stripe("events", type="customer.created")

    assert START.timestamp() - events[-1]["created"] == 29 * DAY
    assert len(events) == 29 * 24 + DAY // MINUTE
    assert len({*ids(events)}) == len(events)
    again = caller.stripe("events", type="customer.created", starting_after=events[499]["id"])
    assert again[0]["id"] == events[500]["id"]


# ---- one that links to the next page ---------------------------------------------------------------------------------


def test_pages_are_linked_and_sorted_as_is_asked(clock: time_machine.Traveller) -> None:
    caller = Caller("github")
    clock.shift(HOUR)

    by_time = caller.github("issues", state="all", sort="updated", direction="asc")
    by_default = caller.github("issues", state="all")

    assert [row["updated_at"] for row in by_time] == sorted(row["updated_at"] for row in by_time)
    assert [row["created_at"] for row in by_default] == sorted((row["created_at"] for row in by_default), reverse=True)
    assert sorted(ids(by_time)) == sorted(ids(by_default))
    assert len(by_time) == 310
    assert len(caller.github("issues")) == 298
    assert len(caller.get(f"{GITHUB}/issues").json()) == 30
    assert len(caller.get(f"{GITHUB}/issues?per_page=1000").json()) == 100


def test_a_time_finds_what_was_changed_since(clock: time_machine.Traveller) -> None:
    caller = Caller("github")
    clock.shift(HOUR)
    since = (START + timedelta(minutes=50)).isoformat().replace("+00:00", "Z")

    rows = caller.github("issues", state="all", since=since)

    assert all(row["updated_at"] >= since for row in rows)
    assert len(rows) == 61 + 11 + 3  # changed, made and closed; the first of each in that second
    assert caller.get(f"{GITHUB}/issues?since=yesterday").status_code == 422


def test_a_list_below_a_record_is_that_records_own(clock: time_machine.Traveller) -> None:
    caller = Caller("github")
    repos = caller.github("user/repos")

    commits = [caller.github(f"repos/{repo['full_name']}/commits") for repo in repos]

    assert [repo["full_name"] for repo in repos] == sorted(
        (repo["full_name"] for repo in repos), key=lambda name: int(name.rpartition("-")[2])
    )
    assert [len(rows) for rows in commits] == [50] * 5
    assert len({row["sha"] for rows in commits for row in rows}) == 250
    for path, count in {"pulls": 50, "releases": 50, "labels": 8}.items():
        lists = [caller.github(f"repos/{repo['full_name']}/{path}") for repo in repos]
        assert len({key for rows in lists for key in ids(rows)}) == 5 * count
    clock.shift(HOUR)
    assert caller.github(f"repos/{repos[0]['full_name']}/commits")[60:] == commits[0]  # what is made is not changed


def test_a_server_of_the_customers_own_has_the_same_lists() -> None:
    caller = Caller("github")

    answer = caller.get("/sandbox/github/github.acme.com/api/v3/user/repos?per_page=2")

    assert answer.status_code == 401  # of another server: the token is foreign to it
    Grant.objects.update(parts={"domain": "github.acme.com"})
    answer = caller.get("/sandbox/github/github.acme.com/api/v3/user/repos?per_page=2")
    assert linked(answer) == "/sandbox/github/github.acme.com/api/v3/user/repos?per_page=2&page=2"


# ---- what other providers do -----------------------------------------------------------------------------------------

RECORD = """
[sandbox.lists.record]
id = "{uuid}"
name = "{sentence}"
status = "{changing:new|old}"
gone = "{gone}"
updated = "{updated:unix_ms}"
"""
LISTED = (
    """
[sandbox]
documentation = ["https://docs.acme.com/api"]
authorization_endpoint = "https://acme.com/authorize"
token_endpoint = "https://acme.com/token"
[sandbox.scopes]
included_in = { read = "admin" }
"""
    + RECORD
)


@pytest.fixture
def acme(tmp_path: Path, settings: Settings, clock: time_machine.Traveller) -> Iterator[Callable[..., Caller]]:
    """A caller of a provider of which the file says so of its list `order`."""

    def caller(listing: str, *, records: int = 25, scope: str = "read") -> Caller:
        table = '[api]\nbase_url = "https://api.acme.com"\n[[collections]]\nid = "order"\npath = "v1/orders"\n'
        table += 'paginator = { type = "single_page" }\ndocs = "https://docs.acme.com"\nchecked = 2026-11-22\n'
        url = 'url = "https://api.acme.com/v1/orders"\n'
        (tmp_path / "acme.toml").write_text(f"{ACME}{table}{LISTED}[sandbox.collections.order]\n{url}{listing}\n")
        settings.PROVIDERS_DIR = str(tmp_path)
        with mock.patch.object(reading, "FOLDER", tmp_path / "none"):
            script.load()
        found = Caller.__new__(Caller)
        found.developer = Developer("acme")
        code = found.developer.code("approve", f"&records={records}", scope=scope)
        found.token = json.loads(found.developer.exchange(code).content)["access_token"]
        found.http = found.developer.http
        return found

    yield caller
    script.forget()


def below(path: str) -> str:
    return path.replace("/v1/", f"{ACME_API}/", 1) if path else ""


def test_a_token_goes_on_behind_the_last_record(acme: Callable[..., Caller], clock: time_machine.Traveller) -> None:
    caller = acme(
        'paging = { by = "token", param = "after", size_param = "n" }\norder = "updated"\n'
        'page = { data = "{records}", next = "{next:null}", of = "{total}" }'
    )
    found = []

    def following(answer: Answer) -> str:
        token = answer.json()["next"]
        clock.shift(10)
        return f"{ACME_API}/orders?n=10&after={token}" if token else ""

    for page in caller.pages(f"{ACME_API}/orders?n=10", following):
        found += ids(page)

    assert len({*found}) == 25
    assert len(found) == 26  # one that it had met was changed meanwhile, so that it comes again
    assert caller.get(f"{ACME_API}/orders?after=x").status_code == 400
    assert caller.get(f"{ACME_API}/orders?after=WzFd").status_code == 400


def test_a_token_may_stand_for_the_query(acme: Callable[..., Caller]) -> None:
    caller = acme(
        'paging = { by = "token", param = "page_info", size_param = "limit", keeps_query = true }\norder = "-updated"\n'
        'filters = [{ param = "since", format = "unix" }]\nanswer_headers = { Link = \'<{next_url}>; rel="next"\' }\n'
    )

    [first, second] = caller.pages(f"{ACME_API}/orders?limit=10&since={int(START.timestamp()) - 12 * HOUR}", linked)

    assert [len(first), len(second)] == [10, 2]


def test_offsets_are_counted_and_end_at_the_window(acme: Callable[..., Caller]) -> None:
    caller = acme(
        'paging = { by = "offset", param = "json:page.skip", size_param = "json:page.take", window = 20 }\n'
        'method = "POST"\nparams = { "json:q" = "all" }\n'
        'page = { data = "{records}", next = { skip = "{next}" }, total = "{total}" }\n'
        'refusals.bad_request = { error = "too_far" }\n'
    )

    def asked(skip: int, query: str = "all") -> Answer:
        return caller.http.post(
            f"{ACME_API}/orders",
            {"q": query, "page": {"skip": skip, "take": 10}},
            content_type="application/json",
            headers={"Authorization": f"Bearer {caller.token}"},
        )

    assert [asked(skip).json().get("next") for skip in (0, 10)] == [{"skip": 10}, {"skip": 20}]
    assert len({*ids(asked(0).json()["data"]), *ids(asked(10).json()["data"])}) == 20
    assert (asked(20).status_code, asked(20).json()["error"]) == (400, "too_far")
    assert asked(0, "some").status_code == 400


def test_pages_are_counted_from_where_the_vendor_begins(acme: Callable[..., Caller]) -> None:
    caller = acme(
        'paging = { by = "page", param = "page", first = 0, size = 10 }\n'
        'page = { data = "{records}", page = "{page}", pages = "{pages}", nextUrl = "{next_path}" }'
    )

    pages = [*caller.pages(f"{ACME_API}/orders", lambda answer: below(answer.json().get("nextUrl", "")))]
    last = caller.get(f"{ACME_API}/orders?page=2").json()

    assert [len(page) for page in pages] == [10, 10, 5]
    assert (last["page"], last["pages"], "nextUrl" in last) == (2, 3, False)
    assert caller.get(f"{ACME_API}/orders?page=3").json()["data"] == []


def test_a_parameter_that_nobody_knows_is_ignored_where_the_vendor_does_so(acme: Callable[..., Caller]) -> None:
    caller = acme('filters = [{ param = "since", format = "%Y-%m-%d %H:%M:%S" }]\norder = "updated"')

    everything = caller.get(f"{ACME_API}/orders?updated_since=2026-11-22+10:00:00").json()
    some = caller.get(f"{ACME_API}/orders?since=2026-11-22+10:00:00").json()

    assert (len(everything), len(some)) == (25, 2)


def test_what_has_gone_may_stay_listed_and_say_so(acme: Callable[..., Caller], clock: time_machine.Traveller) -> None:
    caller = acme('gone = "listed"\norder = "updated"\nfilters = [{ param = "since", format = "unix" }]')
    clock.shift(301)

    rows = caller.get(f"{ACME_API}/orders?since={int(START.timestamp()) + 300}").json()

    assert [row["gone"] for row in rows] == [False, True, False]  # the 30th change, the first loss, the fifth new one


def test_a_scope_is_needed_or_one_that_includes_it(acme: Callable[..., Caller]) -> None:
    listing = 'needs_scope = "read"\nrefusals.forbidden = { error = "forbidden", status = 403 }'

    statuses = [acme(listing, scope=scope).get(f"{ACME_API}/orders").status_code for scope in ("write", "admin")]

    assert statuses == [403, 200]


def test_another_address_lists_the_same(acme: Callable[..., Caller]) -> None:
    caller = acme(
        'page = { data = "{records}" }\n'
        'also = [{ url = "https://api.acme.com/v1/orders/search", method = "POST", page = { found = "{records}" } }]'
    )
    headers = {"Authorization": f"Bearer {caller.token}"}

    found = caller.http.post(f"{ACME_API}/orders/search", headers=headers).json()

    assert found == {"found": caller.get(f"{ACME_API}/orders").json()["data"]}


@pytest.mark.parametrize(
    ("listing", "problem"),
    [
        ({"url": []}, "it has no url"),
        ({"paging": {"by": "page"}}, "paging has a param if it goes by something, and else none"),
        ({"paging": {"by": "after_id", "param": "a"}, "key": "name"}, "which does not tell which record it is"),
        ({"reader": "sql"}, "reader names sql, which is not in sandbox/quirks.py"),
        ({"page": {"next": "{following}"}}, "{following} is no value that a page can hold"),
        ({"record": {"id": "{uid}", "a": "{money}"}}, "{uid} is no value that a record can hold"),
        ({"record": {"id": "{hex}", "a": "{money}"}}, "{hex} must say how long it is: {hex:14}"),
        ({"record": {"id": "{uuid}"}}, "a record that was changed must differ from what it was"),
        ({"record": {"a": "{money}"}}, "key names id, which no record has"),
        ({"record": {"id": "{uuid}", "a": "{money}", "b": "{of:b}"}}, "{of:b} names no collection that stands alone"),
        ({"above": {"collection": "b"}}, "above names b, which is no collection that stands alone"),
        ({"also": [{"url": []}], "url": []}, "it has no url"),
        ({"above": {"collection": "b"}, "events": {"created": "a"}}, "events are told of collections that stand alone"),
    ],
)
def test_a_list_that_cannot_be_played_stops_the_process(listing: dict[str, Any], problem: str) -> None:
    sound = {"url": "https://a.example/b", "record": {"id": "{uuid}", "name": "{sentence}"}}
    least = {
        "documentation": [],
        "authorization_endpoint": "https://a.example/a",
        "token_endpoint": "https://a.example",
    }
    assert script.read("acme", "Acme", {**least, "collections": {"a": sound}}).script.collections["a"].key == "id"

    with pytest.raises(ImproperlyConfigured) as caught:
        script.read("acme", "Acme", {**least, "collections": {"a": {**sound, **listing}}})

    assert str(caught.value).startswith("[sandbox]: collections.a: ")
    assert problem in str(caught.value)


# ---- data that move --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 50, 250])
@pytest.mark.parametrize("lists_gone", [False, True])
def test_what_is_reckoned_is_what_happens_step_by_step(size: int, *, lists_gone: bool) -> None:
    created = {number: -(size - number) * HOUR for number in range(size)}
    updated, versions, gone = dict(created), dict.fromkeys(created, 0), set[int]()
    for second in range(10, 20_001, 10):
        data = Data.at(second, size=size, start=0, lists_gone=lists_gone)
        changed = data.changed_by(data.changed)
        assert changed not in gone
        updated[changed], versions[changed] = second, versions[changed] + 1
        if second % MINUTE == 0:
            created[len(created)] = updated[len(updated)] = second
        if second % 300 == 0:
            lost = data.gone_with(data.gone)
            assert lost in created
            assert lost not in gone
            gone.add(lost)
            updated[lost] = second
        if second % 5000 == 0:
            there = [number for number in created if lists_gone or number not in gone]
            assert ordered(data, "created") == sorted(there, key=lambda number: (created[number], number))
            assert ordered(data, "updated") == sorted(there, key=lambda number: (updated[number], number))
            assert {number: data.version(number) for number in versions} == versions
            assert [number for number in created if data.is_gone(number)] == sorted(gone)
            assert [data.created(number) for number in created] == [*created.values()]


@pytest.mark.parametrize(
    "template",
    ["{digits:12}", "{hex:40}", "{base36:14}", "a-{base62:17}-z", "{uuid}", "{id_number}", "{slug}", "x/{slug}"],
)
def test_a_key_tells_which_record_it_is(template: str) -> None:
    source = Source("seed", {"key": template}, Data.at(0, size=1, start=0), {}, {})
    keys = {number: str(source.member("key", number)) for number in (0, 1, 2, 249, 99_999, 10**6)}

    assert len({*keys.values()}) == len(keys)
    assert {number: source.number_of("key", key) for number, key in keys.items()} == {number: number for number in keys}
    for key in ("", "x", f"{keys[1]}0", "0" * 300, "é", "\x00", "²"):
        number = source.number_of("key", key)
        assert number is None or str(source.member("key", number)) == key


def test_nothing_is_kept_of_the_data() -> None:
    caller = Caller("stripe")
    rows = Grant.objects.count(), Token.objects.count()

    caller.stripe("customers")

    assert (Grant.objects.count(), Token.objects.count()) == rows


def test_the_page_offers_a_larger_account_where_there_are_lists() -> None:
    page = Developer("stripe").ask("text/html").content.decode()

    other = Developer("figma").ask("text/html").content.decode()
    assert re.findall(r'consent\?outcome=approve&amp;records=(\d+)&amp;ticket=[^"]+"', page) == ["5000", "100000"]
    assert "outcome=approve&amp;records" not in other
