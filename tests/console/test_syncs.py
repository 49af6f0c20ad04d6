"""Syncs › Syncs."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core import signing
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from credentials.models import Credential
from oauth_apps.models import Account, AuditEvent, Membership, OAuthApp
from providers import catalogue
from providers.discovered import table_of
from sequin_auth.lib import http
from syncs import discovery, health, session
from syncs.console import asking, words
from syncs.console.asking import Told
from syncs.models import Destination, DroppedSchema, Stop, Sync, SyncRun
from tests.credentials.stored import keep, linear_app, linear_credential
from tests.syncs import asking as dunes
from tests.syncs.test_discovery import Provider
from tests.syncs.test_every_collection import credential_of

LIST, ADD = reverse("admin:syncs_sync_changelist"), reverse("admin:syncs_sync_add")
CUSTOMERS, INVOICES = "stripe:customer", "stripe:invoice"
FORM = {"name": "Customers", "collections": [CUSTOMERS], "sync_frequency": "continuous", "destination": "builtin"}


@pytest.fixture
def credential(account: Account) -> Credential:
    return keep(account, "stripe_key", None, secret="sk_test_canary")


@pytest.fixture
def sync(credential: Credential) -> Sync:
    return sync_with(credential)


@pytest.fixture
def theirs(other_account: Account) -> Sync:
    return sync_with(keep(other_account, "stripe_key", None, secret="sk_test_of_others"), name="spice")


def sync_with(credential: Credential, **fields: Any) -> Sync:
    destination = fields.pop("destination", None) or Destination.objects.builtin(credential.account)
    now = timezone.now()
    given = {"name": "Customers", "provider": credential.provider, "collection_ids": [CUSTOMERS, INVOICES]}
    times = {"created_at": now, "health_time": now}
    return Sync.objects.create(
        account=credential.account, credential=credential, destination=destination, **times | given | fields
    )


def page(sync: Sync, name: str = "change") -> str:
    return reverse(f"admin:syncs_sync_{name}", args=[sync.pk])


def text_of(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode())


def listed(client: Client, **query: Any) -> list[str]:
    """The names."""
    answer = client.get(LIST, query)
    assert answer.status_code == 200
    return [row.name for row in answer.context["cl"].result_list]


def deeds() -> list[str]:
    return list(AuditEvent.objects.order_by("created_at", "pk").values_list("action", flat=True))


# ---- whose -----------------------------------------------------------------------------------------------------------


def test_another_account_s_is_not_found(member: Client, theirs: Sync) -> None:
    """H07"""
    before = Sync.objects.values().get()

    assert "spice" not in text_of(member, LIST)
    for name in ("change", "delete"):
        assert member.get(page(theirs, name)).status_code == 404
        assert member.post(page(theirs, name), {"post": "yes", **FORM}).status_code == 404
    for name in ("refresh", "full", "enable", "disable", "settings"):
        assert member.post(page(theirs, name), FORM).status_code == 404
    assert member.get(f"{ADD}?credential={theirs.credential_id}").status_code == 404
    assert member.post(f"{ADD}?credential={theirs.credential_id}", FORM).status_code == 404

    assert Sync.objects.values().get() == before
    assert not AuditEvent.objects.exists()


def test_nothing_is_done_by_reading_or_without_a_token(member: Client, sync: Sync) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = member.cookies
    for name in ("refresh", "full", "enable", "disable", "settings"):
        assert member.get(page(sync, name)).status_code == 405
        assert strict.post(page(sync, name), FORM).status_code == 403
    assert member.post(page(sync), FORM).status_code == 405
    assert strict.post(page(sync, "delete"), {"post": "yes"}).status_code == 403
    assert strict.post(f"{ADD}?credential={sync.credential_id}", FORM).status_code == 403

    assert Sync.objects.count() == 1


@pytest.mark.parametrize("wrong", ["x", "00000000-0000-0000-0000-000000000000", "%00"])
def test_what_is_no_sync_is_not_found(member: Client, wrong: str) -> None:
    assert member.get(f"/admin/syncs/sync/{wrong}/change/").status_code in {400, 404}
    assert member.get(f"{ADD}?credential={wrong}").status_code in {400, 404}


# ---- the list --------------------------------------------------------------------------------------------------------


def test_the_list_tells_how_each_is_doing(member: Client, credential: Credential) -> None:
    assert "Make the first sync" in text_of(member, LIST)
    now = timezone.now()
    sync_with(
        credential,
        name="Half way",
        progress={"customer": {"state": "fresh", "rows": 12_300, "backfilled": True}, "invoice": {"rows": 1}},
        health_status="warn",
        health_notes=["Limited for more than ten minutes.", "second"],
        next_at=now + timedelta(hours=2, minutes=1),
    )
    done = sync_with(
        credential,
        name="Done",
        progress={"customer": {"state": "fresh", "rows": 1, "backfilled": True}},
        initial_backfill_completed_at=now,
        next_at=now - timedelta(minutes=1),
    )
    SyncRun.objects.create(sync=done, started_at=now - timedelta(days=1), stop=Stop.TIME)
    SyncRun.objects.create(sync=done, started_at=now - timedelta(hours=3), stop=Stop.DONE)
    sync_with(credential, name="Off", status="disabled")

    shown = text_of(member, LIST)

    assert "12,301 rows · 1 of 2 collections" in shown
    assert "Limited for more than ten minutes." in shown
    assert "second" not in shown
    assert "in 2 hours" in shown
    assert "3 hours ago: nothing more to do" in shown
    assert re.search(r">\s*1 row\s*<", shown)
    assert "none while it is disabled" in shown
    assert done.schema in shown
    assert "sk_test" not in shown


def test_it_is_sifted_and_searched(
    member: Client, superuser: Client, sync: Sync, theirs: Sync, credential: Credential
) -> None:
    sync_with(credential, name="Off", status="disabled", external_id="tenant-7", health_status="error")
    others = sync_with(keep(credential.account, "sendgrid_key", None, secret="SG.x"), name="Other", provider="sendgrid")

    assert listed(member, status="disabled") == ["Off"]
    assert listed(member, health="error") == ["Off"]
    assert listed(member, provider="sendgrid") == ["Other"]
    assert listed(member, credential=str(others.credential_id)) == ["Other"]
    assert listed(member, destination=str(sync.destination_id)) == ["Other", "Off", "Customers"]
    assert listed(member, q="tenant-7") == ["Off"]
    assert listed(member, q="custom") == ["Customers"]
    assert listed(member, credential="x") == []
    assert listed(member, credential=str(theirs.credential_id)) == []
    assert listed(superuser, account=str(theirs.account_id)) == ["spice"]


def test_it_takes_as_many_statements_for_thirty_as_for_three(member: Client, credential: Credential) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as asked:
            member.get(LIST)
        return len(asked)

    for number in range(3):
        SyncRun.objects.create(sync=sync_with(credential, name=f"s{number}"), stop=Stop.DONE)
    few = statements()
    for number in range(27):
        SyncRun.objects.create(sync=sync_with(credential, name=f"t{number}"), stop=Stop.DONE)

    assert statements() == few


def test_the_dashboard_names_those_that_are_not_well(member: Client, credential: Credential, theirs: Sync) -> None:
    Sync.objects.update(health_status="error", health_notes=["Of others."])
    sync_with(credential, name="Slow", health_status="warn", health_notes=["Limited for more than ten minutes."])
    broken = sync_with(credential, name="Broken", health_status="error", health_notes=["The provider failed."])
    sync_with(credential, name="Off", health_status="error", status="disabled")
    sync_with(credential, name="Fine")

    answer = member.get(reverse("admin:index"))

    assert [need.title for need in answer.context["syncs_that_need_somebody"]] == ["Broken", "Slow"]
    shown = answer.content.decode()
    assert "The provider failed." in shown
    assert page(broken) in shown
    assert "Of others." not in shown


# ---- a sync's page ---------------------------------------------------------------------------------------------------


def test_its_page_tells_health_collections_and_runs(member: Client, sync: Sync) -> None:
    note = (
        "The provider refused. Send the end user to the link that"
        f" POST /v1/credentials/{sync.credential_id}/reconnect answers; the sync then goes on by itself."
    )
    own = "customer: 3 rows had no key, and were left out."
    Sync.objects.update(
        health_status="error",
        health_notes=[note, own],
        health_parts={
            "credential": {"status": "error", "notes": [note]},
            "provider": {"status": "ok", "notes": []},
            "destination": {"status": "ok", "notes": []},
        },
        progress={
            "customer": {"state": "fresh", "rows": 7, "last_synced_at": "2026-11-20T10:00:00Z", "backfilled": True},
            "invoice": {"state": "error", "error": "Not allowed for this credential."},
        },
        metadata={"tenant": "seven"},
    )
    SyncRun.objects.bulk_create(
        SyncRun(sync=sync, stop=Stop.DONE, started_at=timezone.now() - timedelta(hours=1 + n), requests=1000 + n)
        for n in range(21)
    )
    began = timezone.now()
    SyncRun.objects.create(
        sync=sync,
        started_at=began,
        ended_at=began + timedelta(seconds=2.5),
        stop=Stop.UNAUTHORIZED,
        rows={"customer": 5, "invoice": 2},
        requests=3,
        note="The credential was not accepted.",
    )

    shown = text_of(member, page(sync))

    assert "Reconnect the credential; the sync then goes on by itself." in shown
    assert "POST /v1/credentials" not in shown
    assert "Open the credential" in shown
    assert shown.count("3 rows had no key") == 1
    assert "2026-11-20 10:00 UTC" in shown
    assert "Not allowed for this credential." in shown
    assert "credential not accepted</span> The credential was not accepted." in shown
    assert '<td data-label="Seconds">2.5</td> <td data-label="Rows">7</td> <td data-label="Requests">3</td>' in shown
    assert "1018" in shown
    assert "1019" not in shown
    assert "&quot;tenant&quot;: &quot;seven&quot;" in shown
    assert sync.schema in shown


def test_what_to_do_is_told_by_what_the_console_has(account: Account, sync: Sync) -> None:
    oauth_app = linear_app(account)
    by_trip = sync_with(linear_credential(oauth_app), provider="linear")

    assert words.in_the_console(health.what_to_do(sync)) == (
        "Connect the account again, with a token or key that is good; the sync then goes on by itself."
    )
    assert words.in_the_console(health.what_to_do(by_trip)) == (
        "Reconnect the credential; the sync then goes on by itself."
    )


def test_a_new_one_is_not_called_well(member: Client, sync: Sync) -> None:
    shown = text_of(member, page(sync))

    assert shown.count("not checked yet") == 4
    assert "There was none in the last seven days." in shown


# ---- what can be done with one ---------------------------------------------------------------------------------------


def test_it_looks_at_once(member: Client, sync: Sync) -> None:
    Sync.objects.update(next_at=timezone.now() + timedelta(hours=4))

    assert "It looks at once." in member.post(page(sync, "refresh"), follow=True).content.decode()
    first = Sync.objects.get()
    assert "It reads everything anew" in member.post(page(sync, "full"), follow=True).content.decode()
    second = Sync.objects.get()

    assert first.next_at <= timezone.now()
    assert (first.refresh_asked_at, first.full_refresh_asked_at) == (first.next_at, None)
    assert second.full_refresh_asked_at == second.next_at
    assert deeds() == ["sync.refreshed"] * 2
    assert AuditEvent.objects.values_list("actor", flat=True).distinct().get() == "paul"


def test_it_is_disabled_and_enabled(member: Client, sync: Sync) -> None:
    member.post(page(sync, "disable"))
    assert Sync.objects.get().status == "disabled"
    shown = text_of(member, page(sync))
    assert "It is disabled" in shown
    assert "Sync now</button>" not in shown
    assert "Enable it first" in member.post(page(sync, "refresh"), follow=True).content.decode()
    assert "Enable it first" in member.post(page(sync, "full"), follow=True).content.decode()

    member.post(page(sync, "enable"))
    member.post(page(sync, "enable"))

    assert Sync.objects.get().status == "active"
    assert deeds() == ["sync.disabled", "sync.enabled"]


def test_its_settings_are_changed(member: Client, sync: Sync) -> None:
    given = {
        "name": "All of it",
        "collections": ["stripe:charge", CUSTOMERS],
        "sync_frequency": "4h",
        "max_age_days": "30",
        "allowed_requests": "5",
        "interval": "",
        "max_concurrent_requests": "2",
    }

    assert member.post(page(sync, "settings"), given).status_code == 302
    shown = text_of(member, page(sync))

    sync.refresh_from_db()
    assert (sync.name, sync.collection_ids, sync.sync_frequency, sync.max_age_days) == (
        "All of it", [CUSTOMERS, "stripe:charge"], "4h", 30,
    )  # fmt: skip
    assert sync.rate_limit == {"allowed_requests": 5, "interval": 1, "max_concurrent_requests": 2}
    assert 'value="stripe:charge" id="id_collections_3" checked' in shown
    event = AuditEvent.objects.get()
    assert (event.action, event.actor) == ("sync.changed", "paul")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"name": ""}, "This field is required."),
        ({"collections": []}, "Choose at least one."),
        ({"collections": ["stripe:nothing"]}, "Select a valid choice."),
        ({"collections": ["github:repo"]}, "Select a valid choice."),
        ({"sync_frequency": "hourly"}, "Select a valid choice."),
        ({"max_age_days": "0"}, "greater than or equal to 1"),
        ({"max_age_days": "3651"}, "less than or equal to 3650"),
        ({"allowed_requests": "0"}, "greater than or equal to 1"),
        ({"interval": "5"}, "Say how many requests, too."),
        ({"max_concurrent_requests": "5"}, "Say how many requests, too."),
        ({"allowed_requests": "x"}, "Enter a whole number."),
        ({"name": "a\x00b"}, "Null characters are not allowed."),
    ],
)
def test_what_is_refused_is_told_at_its_field(member: Client, sync: Sync, changed: dict[str, Any], why: str) -> None:
    before = Sync.objects.values().get()

    for url in (page(sync, "settings"), f"{ADD}?credential={sync.credential_id}"):
        refused = member.post(url, FORM | changed)
        assert refused.status_code == 200
        assert why in refused.content.decode()
        assert "Nothing is saved yet." in refused.content.decode()

    assert Sync.objects.values().get() == before


def test_a_collection_that_has_gone_from_the_catalogue_keeps_nobody_from_saving(member: Client, sync: Sync) -> None:
    Sync.objects.update(collection_ids=[CUSTOMERS, "stripe:gone"])

    assert "It is not in the catalogue any more." in text_of(member, page(sync))
    renamed = member.post(page(sync, "settings"), FORM | {"name": "New", "collections": [CUSTOMERS, "stripe:gone"]})
    one_more = member.post(page(sync, "settings"), FORM | {"collections": [CUSTOMERS, "stripe:gone", INVOICES]})
    without = member.post(page(sync, "settings"), FORM | {"name": "New", "collections": [CUSTOMERS]})

    assert (renamed.status_code, one_more.status_code, without.status_code) == (302, 200, 302)
    assert "gone: Is no collection of Stripe." in one_more.content.decode()
    sync.refresh_from_db()
    assert (sync.name, sync.collection_ids) == ("New", [CUSTOMERS])


# ---- a new one -------------------------------------------------------------------------------------------------------


def test_one_is_made_from_the_page_of_a_credential(member: Client, credential: Credential) -> None:
    Destination.objects.builtin(credential.account)
    its_page = text_of(member, reverse("admin:credentials_credential_change", args=[credential.pk]))
    assert f'href="{ADD}?credential={credential.pk}"' in its_page
    form = text_of(member, f"{ADD}?credential={credential.pk}")
    assert "Customers <code>stripe:customer</code>" in form
    assert "New and changed rows come with each pass." in form

    made = member.post(f"{ADD}?credential={credential.pk}", FORM | {"name": "Mine"})

    sync = Sync.objects.get()
    assert made.headers["Location"] == page(sync)
    assert (sync.name, sync.collection_ids, sync.credential, sync.destination.kind, sync.rate_limit) == (
        "Mine", [CUSTOMERS], credential, "builtin", None,
    )  # fmt: skip
    assert deeds() == ["sync.created"]
    again = text_of(member, reverse("admin:credentials_credential_change", args=[credential.pk]))
    assert f'href="{page(sync)}"' in again


def test_the_credential_is_chosen_first(member: Client, credential: Credential, theirs: Sync, settings: Any) -> None:
    settings.PROVIDERS_DIR = str(dunes.PROVIDERS)  # of the sietch nothing can be synced
    dunes.credential_at(dunes.app_at(credential.account, "sietch"))

    offered = member.get(ADD)
    none = member.get(ADD, {"q": "nothing-of-that-name"})

    assert [card["url"] for card in offered.context["cards"]] == [f"?credential={credential.pk}"]
    assert "None of that name can be synced." in none.content.decode()
    assert [card["url"] for card in member.get(ADD, {"q": "stripe"}).context["cards"]] == [
        f"?credential={credential.pk}"
    ]


def test_credentials_of_one_name_are_told_apart(member: Client, account: Account) -> None:
    apps = [linear_app(account, name="Ours"), linear_app(account, name="Trial", environment="sandbox")]
    kept = [linear_credential(app, linear_org_id=f"org-{number}") for number, app in enumerate(apps)]
    made = f"since {kept[1].created_at:%Y-%m-%d %H:%M:%S} UTC"

    with CaptureQueriesContext(connection) as asked_two:
        offered = member.get(ADD).context["cards"]
    linear_credential(apps[0], linear_org_id="org-3")
    with CaptureQueriesContext(connection) as asked_three:
        member.get(ADD)

    assert [card["called"] for card in offered] == ["Arrakis · org-1", "Arrakis · org-0"]
    assert [card["beside"] for card in offered] == [
        f"Linear · Trial · sandbox · {made}",
        f"Linear · Ours · since {kept[0].created_at:%Y-%m-%d %H:%M:%S} UTC",
    ]
    assert len(asked_two) == len(asked_three)


def test_what_the_credential_may_not_read_is_no_choice(member: Client, account: Account) -> None:
    """What a sync has already can be taken away, though"""
    ours = OAuthApp.objects.create(account=account, provider="hubspot", name="H", client_id="h", client_secret="s")
    scopes = ["oauth", "crm.objects.contacts.read"]
    credential = keep(account, "hubspot_oauth2", ours, hub_id=1, access_token="canary-access-1", scopes=scopes)
    sync = sync_with(credential, collection_ids=["hubspot:contact", "hubspot:deal"])

    new, there = text_of(member, f"{ADD}?credential={credential.pk}"), text_of(member, page(sync))
    refused = member.post(f"{ADD}?credential={credential.pk}", FORM | {"collections": ["hubspot:deal"]})

    assert closed_in(new) == ["hubspot:company", "hubspot:deal", "hubspot:quote", "hubspot:owner"]
    assert closed_in(there) == ["hubspot:company", "hubspot:quote", "hubspot:owner"]
    for shown in (new, there):
        assert "Needs what this credential was not granted: crm.objects.companies.read." in shown
    assert "Deals: Needs what this credential was not granted: crm.objects.deals.read." in refused.content.decode()
    assert Sync.objects.get() == sync


def closed_in(shown: str) -> list[str]:
    return re.findall(r'type="checkbox" name="collections" value="([^"]*)"[^>]* disabled', shown)


def test_without_any_credential_the_way_to_one_is_shown(member: Client) -> None:
    shown = text_of(member, ADD)

    assert "There is no credential yet whose data can be synced." in shown
    assert "Connect an account" in shown


def test_of_a_provider_without_collections_there_is_nothing_to_sync(
    member: Client, account: Account, settings: Any
) -> None:
    settings.PROVIDERS_DIR = str(dunes.PROVIDERS)
    other = dunes.credential_at(dunes.app_at(account, "sietch"))

    shown = text_of(member, f"{ADD}?credential={other.pk}")
    posted = member.post(f"{ADD}?credential={other.pk}", FORM)

    assert "its catalogue entry names no collections" in shown
    assert posted.status_code == 200
    assert not Sync.objects.exists()


def test_it_may_write_to_a_destination_of_its_account_alone(
    member: Client, credential: Credential, other_account: Account
) -> None:
    place = {"kind": "postgres", "host": "db.example.com", "database": "d", "username": "u"}
    own = Destination.objects.create(account=credential.account, name="Ours", **place)
    others = Destination.objects.create(account=other_account, name="Theirs", **place)
    url = f"{ADD}?credential={credential.pk}"
    assert "Theirs" not in text_of(member, url)

    refused = member.post(url, FORM | {"destination": str(others.pk)})
    assert "Select a valid choice." in refused.content.decode()
    member.post(url, FORM | {"destination": str(own.pk)})

    assert Sync.objects.get().destination == own


# ---- it is deleted ---------------------------------------------------------------------------------------------------


def test_it_is_deleted_with_its_tables(member: Client, sync: Sync) -> None:
    shown = text_of(member, page(sync, "delete"))
    assert f"<code>{sync.schema}</code>" in shown
    assert f"<code>{sync.schema}_staging</code>" in shown

    gone = member.post(page(sync, "delete"), {"post": "yes"})

    assert gone.headers["Location"] == LIST
    assert not Sync.objects.exists()
    assert DroppedSchema.objects.get().schema == sync.schema
    assert deeds() == ["sync.deleted"]
    assert member.post(page(sync, "delete"), {"post": "yes"}).status_code == 404


def test_its_tables_may_be_kept(member: Client, sync: Sync) -> None:
    member.post(page(sync, "delete"), {"post": "yes", "keep_data": "yes"})

    assert not Sync.objects.exists()
    assert not DroppedSchema.objects.exists()
    assert AuditEvent.objects.get().detail == "its tables were kept"


# ---- collections that only the connected account knows ---------------------------------------------------------------

BASE = "airtable:appSandbox0000001"
TASKS, PEOPLE = f"{BASE}.tblSandboxTasks01", f"{BASE}.tblSandboxPeople1"


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    with http.answered_here(provider.deliver):
        yield provider


@pytest.fixture
def airtable(provider: Provider, account: Account) -> Credential:
    found = credential_of(catalogue.get("airtable"), account)
    provider.asked.clear()
    return found


def add_page(credential: Credential) -> str:
    return f"{ADD}?credential={credential.pk}"


def told_in(client: Client, url: str) -> str:
    """What goes along in the form of a page, of what the provider told."""
    found = re.search(r'name="told" value="([^"]*)"', text_of(client, url))
    assert found is not None
    return found[1]


def offered_in(shown: str) -> list[str]:
    return re.findall(r'type="checkbox" name="collections" value="([^"]*)"', shown)


def test_another_account_s_credential_asks_no_provider(
    provider: Provider, airtable: Credential, other_account: Account, superuser: Client
) -> None:
    """H07"""
    stranger = User.objects.create_user("feyd", password="of-feyd", is_staff=True)
    Membership.objects.create(account=other_account, user=stranger)
    client = Client()
    client.force_login(stranger)
    its = sync_with(airtable, collection_ids=[TASKS])

    assert client.get(add_page(airtable)).status_code == 404
    assert client.post(add_page(airtable), {"told": "x"}).status_code == 404
    assert client.get(f"{page(its)}?ask=collections").status_code == 404
    assert client.post(page(its, "settings"), {"told": "x"}).status_code == 404

    assert provider.asked == []


@pytest.mark.parametrize("told", ["", "x", "a:b:c", "é:\u2028:ü", "of another"])
def test_a_name_that_the_provider_did_not_tell_is_no_choice(
    provider: Provider, airtable: Credential, member: Client, told: str, account: Account
) -> None:
    """Nor is one that is said to have been told: of another credential, or without our signature."""
    never_told = "airtable:appElsewhere.tblElsewhere"
    if told == "of another":
        other = sync_with(keep(account, "stripe_key", None, secret="sk_test_other")).credential
        found = ["appElsewhere.tblElsewhere", {"base": "appElsewhere", "table": "tblElsewhere"}, "x", ""]
        told = signing.dumps({"found": [found], "problem": ""}, salt=asking.salt_of(other))

    refused = member.post(add_page(airtable), FORM | {"collections": [never_told], "told": told})

    assert "Select a valid choice." in refused.content.decode()
    assert not Sync.objects.filter(provider="airtable").exists()


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, "The provider does not accept the credential&#x27;s token."),
        (403, "The credential may not ask which collections there are."),
        (503, "The provider answered 503."),
    ],
)
def test_a_provider_that_does_not_tell_is_a_sentence_and_is_not_asked_again(
    provider: Provider, airtable: Credential, member: Client, status: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ATTEMPTS", 1)
    provider.answers("/v0/meta/", status=status)
    shown = text_of(member, add_page(airtable))
    told = told_in(member, add_page(airtable))
    provider.asked.clear()

    refused = member.post(add_page(airtable), FORM | {"collections": [], "told": told}).content.decode()

    for text in (shown, refused):
        assert f"Airtable did not tell which collections this account has of its own: {why}" in text
        assert offered_in(text) == []
        assert "Ask again which there are" in text
    assert "Choose at least one." in refused
    assert provider.asked == []


def test_what_cannot_be_stored_in_a_name_is_left_out(provider: Provider, airtable: Credential, member: Client) -> None:
    provider.answers("/tables", tables=[{"id": "tblOdd", "name": "a\x00b\ud800c\n<script>"}])
    told = told_in(member, add_page(airtable))

    made = member.post(add_page(airtable), FORM | {"collections": [f"{BASE}.tblOdd"], "told": told})

    assert made.status_code == 302
    assert Sync.objects.get().discovered["appSandbox0000001.tblOdd"]["name"] == "Product planning / abc<script>"
    assert "abc&lt;script&gt;" in text_of(member, page(Sync.objects.get()))


def test_a_sync_is_made_of_what_the_provider_told_and_it_is_asked_once(
    provider: Provider, airtable: Credential, member: Client
) -> None:
    assert [card["slug"] for card in member.get(ADD).context["cards"]] == ["airtable"]
    assert provider.asked == []
    url = add_page(airtable)
    shown = text_of(member, url)
    assert "Product planning / Tasks <code>airtable:appSandbox0000001.tblSandboxTasks01</code>" in shown
    assert len(offered_in(shown)) == 6
    assert " checked>" not in shown
    told = told_in(member, url)
    provider.asked.clear()

    again = member.post(url, FORM | {"name": "", "collections": [TASKS], "told": told}).content.decode()
    assert len(offered_in(again)) == 6
    assert re.findall(r'value="([^"]*)" id="id_collections_\d" checked', again) == [TASKS]
    kept = re.search(r'name="told" value="([^"]*)"', again)
    assert kept is not None
    made = member.post(url, FORM | {"collections": [TASKS], "told": kept[1]})

    assert provider.asked == []
    sync = Sync.objects.get()
    assert made.headers["Location"] == page(sync)
    assert sync.collection_ids == [TASKS]
    assert sync.discovered[TASKS.partition(":")[2]]["table"] == table_of(
        "Product planning / Tasks", TASKS.partition(":")[2]
    )
    assert sync.discovered[TASKS.partition(":")[2]]["parts"] == {
        "base": "appSandbox0000001", "table": "tblSandboxTasks01",
    }  # fmt: skip


def test_a_form_that_was_left_open_for_long_asks_anew(provider: Provider, airtable: Credential, member: Client) -> None:
    with time_machine.travel(timezone.now() - timedelta(hours=2)):
        told = asking.sealed(airtable, Told(was_asked=True))

    made = member.post(add_page(airtable), FORM | {"collections": [PEOPLE], "told": told})

    assert made.status_code == 302
    assert [url for url in provider.asked if "/meta/bases" in url]


def test_what_is_too_long_to_go_along_is_asked_for_anew(
    provider: Provider, airtable: Credential, member: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LONGEST", 10)
    told = told_in(member, add_page(airtable))

    made = member.post(add_page(airtable), FORM | {"collections": [PEOPLE], "told": told})

    assert (told, made.status_code) == ("ask", 302)


def test_its_page_asks_no_provider_unless_it_is_told_to(
    provider: Provider, airtable: Credential, member: Client
) -> None:
    told = told_in(member, add_page(airtable))
    member.post(add_page(airtable), FORM | {"collections": [TASKS], "told": told})
    sync = Sync.objects.get()
    provider.asked.clear()

    shown = text_of(member, page(sync))
    assert offered_in(shown) == [TASKS]
    assert shown.count("Product planning / Tasks") == 2
    assert f'href="{page(sync)}?ask=collections#settings"' in shown
    renamed = member.post(page(sync, "settings"), FORM | {"name": "New", "collections": [TASKS], "told": ""})
    assert renamed.status_code == 302
    assert provider.asked == []

    provider.answers(f"{BASE.partition(':')[2]}/tables", tables=[{"id": "tblSandboxPeople1", "name": "People"}])
    asked = text_of(member, f"{page(sync)}?ask=collections")
    assert {TASKS, PEOPLE} < set(offered_in(asked))
    assert "The provider does not name it any more." in asked
    told = told_in(member, f"{page(sync)}?ask=collections")
    provider.asked.clear()
    changed = member.post(page(sync, "settings"), FORM | {"collections": [PEOPLE, TASKS], "told": told})

    assert changed.status_code == 302
    assert provider.asked == []
    sync.refresh_from_db()
    assert sync.collection_ids == [TASKS, PEOPLE]
    assert sync.discovered[PEOPLE.partition(":")[2]]["name"] == "Product planning / People"


def test_many_are_searched_and_take_no_more_statements(
    provider: Provider, airtable: Credential, member: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked_with(number: int) -> tuple[int, str]:
        tables = [{"id": f"tbl{at}", "name": f"Table {at}"} for at in range(number)]
        provider.instead = {
            "/tables": http.Response(status=200, headers={}, content=json.dumps({"tables": tables}).encode())
        }
        with CaptureQueriesContext(connection) as asked:
            shown = text_of(member, add_page(airtable))
        return len(asked), shown

    asked_with(2)
    few, short = asked_with(3)
    many, long = asked_with(400)

    assert "data-filter" not in short
    assert 'data-filter="#id_collections"' in long
    assert 'data-words="product planning / table 7 airtable:appsandbox0000001.tbl7"' in long
    assert len(offered_in(long)) == 800
    assert few == many
    monkeypatch.setattr(discovery, "MOST", 10)
    assert "These are the first 10 that Airtable named" in asked_with(30)[1]
