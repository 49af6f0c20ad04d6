"""
Every collection of the catalogue arrives from the simulator: whole, then what has changed and come, then what has gone.

The simulator pages, filters and sorts as the vendor's documentation says, and not as the engine reads the file, so that
a wrong entry fails. What a provider's collections came to is looked at one by one, but synced together, once.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
import time_machine
from django.conf import settings
from django.test import Client
from django.utils import timezone

from credentials.models import Credential
from oauth_apps.models import Account as Developer
from oauth_apps.models import RedirectURI
from providers import catalogue
from providers.collection import Collection, looked_up, text_of
from providers.provider import Provider
from providers.sandbox.api.answer import Account
from providers.sandbox.api.moving import ordered
from providers.sandbox.models import Grant
from providers.sandbox.script import simulated
from sequin_auth.lib import http
from syncs import engine
from syncs.models import Sync, SyncRun
from tests.credentials.stored import keep
from tests.oauth_apps.conftest import client_of
from tests.providers.granted import by_hand
from tests.providers.trip import REDIRECT_URI, Browser, sandbox_app
from tests.syncs.machine import Machine

COLLECTIONS = [(slug, one.id) for slug, provider in sorted(catalogue.load().items()) for one in provider.collections]
# What a credential is that no code flow yields, by the provider; its secret is the simulated account's access token
BY_HAND: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "checkout-champ": ("checkout_champ_password", {"login_id": "api", "password": "canary-password"}),
    "marketo": (
        "marketo_client_credentials",
        {"munchkin_id": "123-abc-456", "client_id": "service", "client_secret": "canary-secret"},
    ),
    "sendgrid": ("sendgrid_key", {"secret": "canary-key"}),
}
START = datetime.fromisoformat("2026-11-22T12:00:00Z")
MOVED = timedelta(seconds=661)  # in which 66 records change, 11 are made, and 2 go, where they move at the usual pace
BLINK = timedelta(milliseconds=10)
USUAL_PAGE, LARGEST_ACCOUNT = 100, 1_100
UNHINDERED = {"allowed_requests": 100_000, "interval": 1}
Rows = Mapping[tuple[str, ...], dict[str, Any]]  # by key


@dataclass(frozen=True)
class Phase:
    """One collection, once it was walked: what the account holds then, and the table. `fetched`: rows in this phase."""

    holds: Rows
    table: list[dict[str, Any]]
    fetched: int

    def alive(self, collection: Collection) -> Rows:
        keys = [[str(row[engine.named(name)]) for name in collection.keys] for row in self.table]
        return {(*key,): row for key, row in zip(keys, self.table, strict=True) if row["_deleted_at"] is None}


@dataclass(frozen=True)
class Story:
    """`first`: the backfill; `fresh`: the pass after it, by what is new; `full`: another full pass."""

    first: Mapping[str, Phase]
    fresh: Mapping[str, Phase]
    full: Mapping[str, Phase]


@pytest.mark.parametrize(("slug", "name"), COLLECTIONS)
def test_it_arrives(slug: str, name: str, account: Developer, sync_database: str) -> None:
    collection = catalogue.get(slug).collection(name)
    assert collection is not None
    story = story_of(slug, simulated_list(slug, name).pace, account)
    first, fresh, full = story.first[name], story.fresh[name], story.full[name]

    assert len(first.table) == len(first.holds)
    assert_same(first.alive(collection), first.holds, collection)

    new = {key: row for key, row in fresh.holds.items() if key not in first.holds}
    gone = {key for key, row in fresh.holds.items() if collection.flag and looked_up(row, collection.flag)}
    changed = {key: row for key, row in fresh.holds.items() if row != first.holds.get(key, row) and key not in gone}
    assert new
    assert changed or simulated_list(slug, name).fixed
    arrived = fresh.alive(collection)
    assert gone.isdisjoint(arrived)
    if collection.sees in {"created", "updated"}:
        assert_same({key: arrived.get(key, {}) for key in new}, new, collection)
        assert fresh.fetched <= len(new) + len(changed) + len(first.holds) // 4, "what is not new came too"
    if collection.sees == "updated":
        assert_same({key: arrived.get(key, {}) for key in changed}, changed, collection)

    left = {key: row for key, row in full.holds.items() if not (collection.flag and looked_up(row, collection.flag))}
    arrived = full.alive(collection)
    if collection.deletes == "none":
        assert len(full.table) == len({*full.holds, *first.holds})
        arrived = {key: row for key, row in arrived.items() if key in left}
    assert_same(arrived, left, collection)


# ---- the story -------------------------------------------------------------------------------------------------------

stories: dict[tuple[str, int], Story] = {}


def story_of(slug: str, pace: int, developer: Developer) -> Story:
    """Of those that move that slowly."""
    if (slug, pace) not in stories:
        provider = catalogue.get(slug)
        chosen = [one for one in provider.collections if simulated_list(slug, one.id).pace == pace]
        stories[slug, pace] = told(provider, chosen, MOVED * pace, developer)
    return stories[slug, pace]


def told(provider: Provider, chosen: list[Collection], moved: timedelta, developer: Developer) -> Story:
    with time_machine.travel(START, tick=False) as traveller, http.answered_here(Wire(provider).deliver):
        machine = Machine(cast(Any, None), developer, credential_of(provider, developer))
        grant = Grant.objects.get()
        Grant.objects.update(records=max(records_for(one) for one in chosen))
        sync = machine.sync(*(one.id for one in chosen), rate_limit=UNHINDERED)

        def phase(runs: list[SyncRun]) -> dict[str, Phase]:
            while runs[-1].stop != "done":
                assert len(runs) < 30 and runs[-1].stop == "time", runs[-1].note  # noqa: PT018
                traveller.shift(BLINK)
                runs.append(machine.slice(sync))
            assert not [told["error"] for told in sync.progress.values() if told["error"]]
            return {one.id: seen(machine, sync, one, grant, runs) for one in chosen}

        first = phase([machine.slice(sync)])
        traveller.move_to(START + moved)
        fresh = phase([machine.refresh(sync)])
        traveller.shift(BLINK)
        return Story(first, fresh, phase([machine.refresh(sync, full=True)]))


def seen(machine: Machine, sync: Sync, collection: Collection, grant: Grant, runs: list[SyncRun]) -> Phase:
    table = machine.query(sync, f"SELECT to_jsonb(t) FROM {{schema}}.{engine.named(collection.table)} t")  # noqa: S608
    fetched = sum(run.rows.get(collection.id, 0) for run in runs)
    grant.refresh_from_db()
    return Phase(held(collection, grant), [row for (row,) in table], fetched)


def credential_of(provider: Provider, developer: Developer) -> Credential:
    """With an end user of the simulator behind it."""
    if not provider.has_code_flow:
        return key_of(provider, developer)
    RedirectURI.objects.create(account=developer, redirect_uri=REDIRECT_URI)
    browser = Browser(Client(), sandbox_app(developer, provider))
    needed = [scope for one in provider.collections for scope in one.scopes]
    scopes = dict.fromkeys([*provider.default_scopes, *needed])
    arrived = browser.chooses("approve", **({"scope": " ".join(scopes)} if provider.scope_param and scopes else {}))
    answer = browser.token(code=arrived["code"]).json()
    api = client_of(developer, "read", "write")
    kept = api.post("/v1/credentials", answer["credential"], content_type="application/json")
    assert kept.status_code == 201, kept.content
    return Credential.objects.whole().get(pk=kept.json()["id"])


def key_of(provider: Provider, developer: Developer) -> Credential:
    kind, values = BY_HAND[provider.slug]
    secret = next(values[name] for name, prop in provider.kinds[kind].properties.items() if prop.secret)
    by_hand(provider.slug, secret)
    credential = keep(developer, kind, None, **values)
    if credential.definition.mints:  # as if it had minted one, an hour before that ends
        credential.token.access_token, credential.token.expiry_source = secret, "expires_in"
        credential.token.expires_at = timezone.now() + timedelta(hours=1)
        credential.token.save()
    return credential


class Wire:
    """What leaves for the provider arrives at the simulator; of a credential that has no sandbox, too."""

    def __init__(self, provider: Provider) -> None:
        self.stage = f"{settings.PUBLIC_URL}/sandbox/{provider.slug}/"
        self.is_played_for_real = not provider.has_code_flow

    def deliver(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> http.Response:
        path = url.replace("https://", self.stage, 1) if self.is_played_for_real else url
        others = {name: value for name, value in headers.items() if name.lower() not in {"content-type", "host"}}
        answer = Client(headers={"host": urlsplit(settings.PUBLIC_URL).netloc}).generic(
            method,
            path.removeprefix(settings.PUBLIC_URL),
            body,
            content_type=headers.get("Content-Type", ""),
            headers=others,
        )
        content, told = answer.content, {name.lower(): value for name, value in answer.headers.items()}
        if self.is_played_for_real:
            content = content.replace(self.stage.encode(), b"https://")
            told = {name: value.replace(self.stage, "https://") for name, value in told.items()}
        return http.Response(status=answer.status_code, headers=told, content=content)


def records_for(collection: Collection) -> int:
    """As many as fill two pages, and some of a third; more than a query finds at once, if that is not too much."""
    if 0 < collection.window < LARGEST_ACCOUNT:
        return LARGEST_ACCOUNT
    numbers = [*numbers_in(collection.params), *numbers_in(collection.json), getattr(collection.paginator, "limit", 0)]
    page = max([number for number in numbers if number > 1], default=USUAL_PAGE)
    return min(2 * page + page // 4, LARGEST_ACCOUNT)


def numbers_in(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        for member in value.values():
            yield from numbers_in(member)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value


# ---- what the account holds ------------------------------------------------------------------------------------------


def simulated_list(slug: str, name: str) -> Any:
    player = simulated(slug)
    assert player is not None
    return player.script.collections[name]


def held(collection: Collection, grant: Grant) -> Rows:
    """What the simulator has to list to whom asks as the collection does."""
    player = simulated(grant.registration.slug)
    assert player is not None
    account = Account(player, grant, grant.parts, timezone.now().timestamp())
    listing = account.script.collections[collection.id]
    declared = catalogue.get(player.slug).collection
    lists_gone = asks_for_the_gone(collection, listing)
    found = {}
    for above in parents(account, listing, declared):
        source = account.source(collection.id, above=above, lists_gone=lists_gone)
        for number in ordered(account.data(collection.id, lists_gone=lists_gone), "created"):
            record = source.record(number)
            if collection.parent and collection.parent.keep:
                record[collection.parent.keep] = above
            found[(*(text_of(record[name]) for name in collection.keys),)] = record
    return found


def parents(account: Account, listing: Any, declared: Any) -> list[str]:
    if listing.above is None:
        return [""]
    name = listing.above.collection
    lists_gone = asks_for_the_gone(declared(name), account.script.collections[name])
    source = account.source(name, lists_gone=lists_gone)
    numbers = ordered(account.data(name, lists_gone=lists_gone), "created")
    return [str(source.member(listing.above.field, number)) for number in numbers]


def asks_for_the_gone(collection: Collection, listing: Any) -> bool:
    def said(name: str) -> Any:
        in_body = name.startswith("json:")
        return looked_up(collection.json, name.removeprefix("json:")) if in_body else collection.params.get(name)

    return listing.gone == "listed" and all(str(said(name)) == value for name, value in listing.gone_params.items())


# ---- a record and its row --------------------------------------------------------------------------------------------


def assert_same(rows: Rows, records: Rows, collection: Collection) -> None:
    assert rows.keys() == records.keys()
    for key, record in records.items():
        row = rows[key]
        for member, value in record.items():
            got = row.get(column_of(member))
            assert is_same(value, got, is_key=member in collection.keys), (
                f"{key}.{member}: {value!r} is kept as {got!r}"
            )


@functools.cache
def column_of(member: str) -> str:
    return engine.named(member)


def is_same(value: Any, got: Any, *, is_key: bool) -> bool:
    if value == got and isinstance(value, bool) == isinstance(got, bool):
        return True
    if value is None or got is None:
        return False
    if is_key and got == text_of(value):
        return True
    return bool(readings(value) & readings(got))


def readings(value: Any) -> set[Decimal | float]:
    """What a number, or a time, may be."""
    if isinstance(value, dict | list | bool):
        return set()
    try:
        return {datetime.fromisoformat(str(value)).timestamp()}
    except (ValueError, OverflowError):
        pass
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return set()
    return {number, float(number) / 1000}
