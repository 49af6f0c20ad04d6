"""Collections that a customer makes: who may ask for them, what is told, and that a sync of them asks but once."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
from django.test import Client

from credentials.models import Credential
from oauth_apps.models import Account
from providers import catalogue
from providers.discovered import table_of
from providers.sandbox.models import Grant
from sequin_auth.lib import http
from syncs import discovery
from syncs.models import Sync
from tests.credentials.answers import errors
from tests.oauth_apps.conftest import client_of
from tests.syncs.asking import patch, path, post
from tests.syncs.machine import Machine
from tests.syncs.test_every_collection import Wire, credential_of

LIST = "/v1/providers/airtable/collections"
BASES = ["appSandbox0000001", "appSandbox0000002"]
TASKS, SAME_BUT_FOR_CASE, PEOPLE = (
    f"airtable:{BASES[0]}.{table}" for table in ("tblSandboxTasks01", "tblsandboxtasks01", "tblSandboxPeople1")
)
UNHINDERED = {"allowed_requests": 100_000, "interval": 1, "max_concurrent_requests": 0}


class Provider:
    """The simulator, which may be told to answer otherwise."""

    def __init__(self) -> None:
        self.wire = Wire(catalogue.get("airtable"))
        self.asked: list[str] = []
        self.instead: Mapping[str, http.Response] = {}  # by what the URL holds

    def deliver(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> http.Response:
        self.asked.append(url)
        other = next((answer for part, answer in self.instead.items() if part in url), None)
        return other or self.wire.deliver(method, url, headers, body)

    def answers(self, part: str, status: int = 200, *, headers: Mapping[str, str] | None = None, **said: Any) -> None:
        self.instead = {part: http.Response(status=status, headers=headers or {}, content=json.dumps(said).encode())}


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    with http.answered_here(provider.deliver):
        yield provider


@pytest.fixture
def airtable(provider: Provider, account: Account) -> Credential:
    return credential_of(catalogue.get("airtable"), account)


@pytest.fixture
def offered(api: Client, airtable: Credential) -> Any:
    return api.get(LIST, {"credential_id": str(airtable.pk)})


def asked(kept: Credential, *names: str) -> dict[str, Any]:
    return {
        "provider": "airtable",
        "name": "Bases",
        "credential_id": str(kept.pk),
        "collection_ids": list(names),
        "rate_limit": UNHINDERED,
    }


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_another_accounts_credential_opens_nothing(
    provider: Provider, airtable: Credential, other_account: Account
) -> None:
    before = len(provider.asked)

    assert client_of(other_account).get(LIST, {"credential_id": str(airtable.pk)}).status_code == 404
    assert len(provider.asked) == before


def test_nothing_is_told_without_a_credential(provider: Provider, api: Client) -> None:
    assert api.get(LIST).json()["data"] == []
    assert provider.asked == []


def test_a_credential_that_is_not_accepted(provider: Provider, airtable: Credential, api: Client) -> None:
    provider.answers("/v0/meta/", status=401)

    found = errors(api.get(LIST, {"credential_id": str(airtable.pk)}))

    assert found == {"credential_id": ["The provider does not accept the credential's token."]}


@pytest.mark.parametrize("status", [500, 503])
def test_a_provider_that_fails(provider: Provider, airtable: Credential, api: Client, status: int) -> None:
    provider.answers("/v0/meta/", status=status, headers={"retry-after": "7200"})

    answer = api.get(LIST, {"credential_id": str(airtable.pk)})

    assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
    assert 0 < int(answer["Retry-After"]) <= 3600


@pytest.mark.parametrize("said", [{"bases": "none"}, {"error": "no"}])
def test_an_answer_that_is_none(provider: Provider, airtable: Credential, api: Client, said: Any) -> None:
    provider.answers("/v0/meta/bases", **said)

    answer = api.get(LIST, {"credential_id": str(airtable.pk)})

    assert answer.status_code == 503
    assert answer.json()["summary"] == "The answer has no list at bases."


def test_ids_that_would_lead_elsewhere_are_left_out(provider: Provider, airtable: Credential, api: Client) -> None:
    bad = ["../../v0/meta", "app/x", "app1.tbl1", "app?x=1", "", None, 7, "a" * 101]
    provider.answers("/v0/meta/bases", bases=[{"id": one, "name": "x"} for one in bad])

    assert api.get(LIST, {"credential_id": str(airtable.pk)}).json()["data"] == []
    assert not [url for url in provider.asked if url.endswith("/tables")]


def test_a_list_without_an_end_ends(provider: Provider, airtable: Credential, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MOST", 10)
    numbers = iter(range(10**6))

    def deliver(method: str, url: str, headers: Mapping[str, str], body: bytes) -> http.Response:
        rows = [{"id": f"app{next(numbers)}", "name": "x"} for _ in range(3)]
        said = {"tables": rows} if url.endswith("/tables") else {"bases": rows, "offset": f"o{next(numbers)}"}
        provider.asked.append(url)
        return http.Response(status=200, headers={}, content=json.dumps(said).encode())

    with http.answered_here(deliver):
        found = discovery.collections_of(airtable.pk)

    assert len(found) == 10
    assert len([url for url in provider.asked if "meta/bases?" in url]) == 3


def test_it_does_not_take_longer_than_somebody_waits(
    airtable: Credential, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "SECONDS", 0.0)

    with pytest.raises(discovery.NotDiscovered, match="took too long"):
        discovery.collections_of(airtable.pk)


@pytest.mark.parametrize("name", ["airtable:appSandbox0000001.tblNone", "airtable:appNone.tblNone", "airtable:tasks"])
def test_what_the_provider_does_not_know(airtable: Credential, api: Client, name: str) -> None:
    found = errors(post(api, **asked(airtable, TASKS, name)))

    assert found == {
        "collection_ids.1": [
            "Is no collection of Airtable."
            " GET /v1/providers/airtable/collections?credential_id= lists what a credential opens."
        ]
    }
    assert not Sync.objects.exists()


def test_a_credential_that_is_not_kept_yet_cannot_be_asked_with(airtable: Credential, api: Client) -> None:
    inline = {"oauth_app_id": str(airtable.oauth_app_id), "properties": {"kind": "airtable_oauth2", "airtable_uid": "u",
              "access_token": "canary-access", "refresh_token": "canary-refresh"}}  # fmt: skip
    content = asked(airtable, TASKS) | {"credential": inline}
    del content["credential_id"]

    found = errors(post(api, **content))

    assert "keep it by POST /v1/credentials" in found["collection_ids"][0]
    assert Credential.objects.count() == 1


# ---- what is told ----------------------------------------------------------------------------------------------------


def test_all_tables_of_all_bases_are_told(offered: Any) -> None:
    told = {one["id"]: one["name"] for one in offered.json()["data"]}

    assert len(told) == 6
    assert told[TASKS] == told[SAME_BUT_FOR_CASE] == "Product planning / Tasks"
    assert told[PEOPLE] == "Product planning / People & teams"


def test_tables_whose_ids_differ_in_case_alone_are_two() -> None:
    names = {table_of("Tasks", one) for one in ("app1.tblA", "app1.tbla")}

    assert len(names) == 2
    assert all(name.startswith("tasks_") and name == name.lower() and len(name) == 12 for name in names)
    assert table_of("Küche & Bad / 100 %", "x")[:-7] == "kuche_bad_100"
    assert table_of("日本", "x").startswith("t_")
    assert len(table_of("x" * 200, "x")) < 40


# ---- a sync of them --------------------------------------------------------------------------------------------------


def test_the_rows_of_each_arrive_in_a_table_of_its_own(
    provider: Provider, airtable: Credential, api: Client, account: Account, sync_database: str
) -> None:
    Grant.objects.update(records=230)
    answer = post(api, **asked(airtable, TASKS, SAME_BUT_FOR_CASE))
    assert answer.status_code == 201, answer.content
    sync = Sync.objects.whole().get()
    machine = Machine(cast(Any, None), account, airtable)
    provider.asked.clear()

    machine.slices(sync)

    tables = {told["table"] for told in sync.discovered.values()}
    assert len(tables) == 2
    ids = [machine.ids(sync, table) for table in tables]
    assert [len(set(found)) for found in ids] == [len(found) for found in ids] == [230, 230]
    assert set(ids[0]).isdisjoint(ids[1])
    assert not [url for url in provider.asked if "/meta/" in url]
    shown = api.get(path(sync)).json()
    assert {one["id"]: one["state"] for one in shown["collections"]} == {TASKS: "fresh", SAME_BUT_FOR_CASE: "fresh"}
    assert not [note for note in shown["health"]["notes"] if "catalogue" in note]


def test_one_that_is_added_is_looked_up_and_the_others_stay_where_they_are(
    provider: Provider, airtable: Credential, api: Client
) -> None:
    sync = post(api, **asked(airtable, TASKS)).json()
    before = Sync.objects.get().discovered
    provider.asked.clear()

    assert patch(api, sync, collection_ids=[TASKS]).status_code == 200
    assert provider.asked == []
    changed = patch(api, sync, collection_ids=[PEOPLE, TASKS])

    asked_for = [url.partition("/v0/meta/")[2] for url in provider.asked]
    assert asked_for == ["bases", f"bases/{BASES[0]}/tables"]  # the other base has nothing to do with it

    assert changed.json()["collection_ids"] == [PEOPLE, TASKS]
    after = Sync.objects.get().discovered
    assert after[TASKS.partition(":")[2]] == before[TASKS.partition(":")[2]]
    assert after[PEOPLE.partition(":")[2]]["name"] == "Product planning / People & teams"


def test_a_repetition_is_answered_without_asking_the_provider_again(
    provider: Provider, airtable: Credential, api: Client
) -> None:
    content = asked(airtable, TASKS)
    first, second = (
        api.post("/v1/syncs", content, content_type="application/json", headers={"Idempotency-Key": "once"})
        for _ in range(2)
    )

    assert first.json() == second.json()
    assert len([url for url in provider.asked if url.endswith("meta/bases")]) == 1


def test_an_object_of_the_customers_is_synced_with_the_fields_that_it_has(account: Account, sync_database: str) -> None:
    """Those of the provider itself, and settings, are none of the customer's"""
    entry = catalogue.get("salesforce")
    with http.answered_here(Wire(entry).deliver):
        salesforce, api = credential_of(entry, account), client_of(account)
        Grant.objects.update(records=120)
        listed = api.get("/v1/providers/salesforce/collections", {"credential_id": str(salesforce.pk), "limit": "100"})
        discovered = [one["id"] for one in listed.json()["data"] if "." in one["id"]]
        content = asked(salesforce, "salesforce:user", *discovered) | {"provider": "salesforce"}
        answer = post(api, **content)
        assert answer.status_code == 201, answer.content
        sync = Sync.objects.whole().get()
        machine = Machine(cast(Any, None), account, salesforce)
        machine.slices(sync)

    assert discovered == ["salesforce:custom.Harvester__c"]
    table = sync.discovered["custom.Harvester__c"]["table"]
    assert table.startswith("harvester_")
    assert len(machine.ids(sync, table)) == len(machine.ids(sync, "user")) == 120
    statement = f"SELECT count(*) FROM {{schema}}.{table} WHERE crew__c IS NOT NULL"  # noqa: S608
    assert machine.query(sync, statement) == [(120,)]
