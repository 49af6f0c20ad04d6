"""Syncs › Destinations. The customer's PostgreSQL is a real one."""

import re
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from oauth_apps.models import Account, AuditEvent
from syncs.api import destinations as journeys
from syncs.models import Destination, DroppedSchema
from tests.console.test_syncs import sync_with
from tests.credentials.stored import keep
from tests.lib.conftest import Names
from tests.lib.conftest import names as names
from tests.syncs.conftest import customer as customer
from tests.syncs.conftest import customer_server as customer_server
from tests.syncs.conftest import sync_database as sync_database
from tests.syncs.customer import PASSWORD, Customer

LIST, ADD = reverse("admin:syncs_destination_changelist"), reverse("admin:syncs_destination_add")
WRONG = "canary-of-a-wrong-password"


@pytest.fixture
def own(account: Account) -> Destination:
    """A customer's, that nobody has gone to."""
    return Destination.objects.create(account=account, **PLACE)


@pytest.fixture
def theirs(other_account: Account) -> Destination:
    return Destination.objects.create(account=other_account, **PLACE | {"name": "spice"})


PLACE: dict[str, Any] = {
    "name": "Warehouse",
    "kind": "postgres",
    "host": "db.example.com",
    "port": 5433,
    "database": "warehouse",
    "username": "loader",
    "password": PASSWORD,
}


def page(destination: Destination, name: str = "change") -> str:
    return reverse(f"admin:syncs_destination_{name}", args=[destination.pk])


def text_of(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode())


def form_for(account: Account, customer: Customer, **changes: Any) -> dict[str, Any]:
    return {"account": account.pk, "name": "Warehouse", **customer.connection, **changes}


def events() -> list[tuple[str, str]]:
    return list(AuditEvent.objects.order_by("created_at", "pk").values_list("action", "detail"))


# ---- whose -----------------------------------------------------------------------------------------------------------


def test_another_account_s_is_not_found(member: Client, theirs: Destination, settings: Any) -> None:
    """H07"""
    settings.CONSOLE_REVEAL = True
    before = Destination.objects.values().get()

    assert "spice" not in text_of(member, LIST)
    for name in ("change", "delete", "reveal"):
        assert member.get(page(theirs, name)).status_code == 404
        assert member.post(page(theirs, name), {"name": "x", "post": "yes", "password": "of-paul"}).status_code == 404
    assert member.post(page(theirs, "check")).status_code == 404

    assert Destination.objects.values().get() == before
    assert not AuditEvent.objects.exists()


def test_nothing_is_done_by_reading_or_without_a_token(member: Client, own: Destination) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = member.cookies

    assert member.get(page(own, "check")).status_code == 405
    for name in ("check", "change", "delete"):
        assert strict.post(page(own, name), {"name": "x", "post": "yes"}).status_code == 403

    assert Destination.objects.get().name == "Warehouse"


def test_nobody_makes_one_for_another_account(member: Client, other_account: Account, customer: Customer) -> None:
    refused = member.post(ADD, form_for(other_account, customer))

    assert "Select a valid choice." in refused.content.decode()
    assert not Destination.objects.exists()


# ---- a new one -------------------------------------------------------------------------------------------------------


def test_one_is_connected_to_before_it_is_kept(member: Client, account: Account, customer: Customer) -> None:
    assert "Add a destination" in text_of(member, LIST)
    assert "It needs CREATE and TEMPORARY on this database" in text_of(member, ADD)

    made = member.post(ADD, form_for(account, customer), follow=True)

    kept = Destination.objects.get()
    assert (kept.account, kept.kind, kept.port, kept.password) == (account, "postgres", customer.port, PASSWORD)
    shown = made.content.decode()
    assert "it was reached, and we may write there." in shown
    assert PASSWORD not in shown
    assert "***********" in shown
    assert f"db.example.com:{customer.port}/warehouse" in text_of(member, LIST)
    assert events() == [("destination.created", "")]


@pytest.mark.parametrize(
    ("changed", "field", "why"),
    [
        ({"host": "db.example.com/x"}, "host", "Must be one name or IP address, without port, path or scheme."),
        ({"host": "nowhere.example.com"}, "host", "The host has no address."),
        ({"host": "inside.example.com"}, "host", "The host has an address that is not public."),
        ({"port": "1023"}, "port", "greater than or equal to 1024"),
        ({"database": "x' host=evil"}, "database", "Must hold no space, quote, slash, backslash or equals sign."),
        ({"password": ""}, "password", "This field is required."),
        ({"password": "***********"}, "password", "Is the mask of a password, not a password."),
        ({"sslmode": "prefer"}, "sslmode", "Select a valid choice."),
        ({"password": WRONG}, "password", "did not accept"),
        ({"username": "onlooker"}, "username", 'GRANT CREATE ON DATABASE "warehouse" TO "onlooker";'),
    ],
)
def test_what_is_refused_is_told_at_its_field(
    member: Client, account: Account, customer: Customer, names: Names, changed: dict[str, Any], field: str, why: str
) -> None:
    names.addresses["inside.example.com"] = ["10.0.0.1"]

    refused = member.post(ADD, form_for(account, customer, **changed))

    assert refused.status_code == 200
    assert why in " ".join(refused.context["form"].errors[field])
    shown = refused.content.decode()
    assert PASSWORD not in shown
    assert WRONG not in shown
    assert not Destination.objects.exists()


# ---- to change and to look at ----------------------------------------------------------------------------------------


def test_another_password_is_tried_first(member: Client, account: Account, customer: Customer) -> None:
    member.post(ADD, form_for(account, customer))
    own = Destination.objects.get()
    form = {"name": "Big warehouse", "username": "loader", "sslmode": "require", "password": ""}

    named = member.post(page(own), form)
    refused = member.post(page(own), form | {"password": WRONG})
    changed = member.post(page(own), form | {"password": PASSWORD, "sslmode": "verify-full"})

    assert (named.status_code, refused.status_code, changed.status_code) == (302, 200, 302)
    assert "did not accept" in refused.content.decode()
    assert WRONG not in refused.content.decode()
    own = Destination.objects.get()
    assert (own.name, own.sslmode, own.password) == ("Big warehouse", "verify-full", PASSWORD)
    assert [deed for deed, _ in events()] == ["destination.created", "destination.changed", "destination.changed"]
    assert events()[1][1] == "name"


def test_host_port_and_database_never_change(member: Client, own: Destination) -> None:
    sent = {"name": "Warehouse", "username": "loader", "sslmode": "require", "host": "x.example.com", "port": 6000}

    assert member.post(page(own), sent).status_code == 302

    kept = Destination.objects.get()
    assert (kept.host, kept.port) == ("db.example.com", 5433)


def test_it_is_checked_at_once(member: Client, account: Account, customer: Customer) -> None:
    member.post(ADD, form_for(account, customer))
    own = Destination.objects.get()

    with customer.superuser() as server:
        server.execute("ALTER DATABASE warehouse OWNER TO onlooker")
    try:
        failed = member.post(page(own, "check"), follow=True).content.decode()
    finally:
        with customer.superuser() as server:
            server.execute("ALTER DATABASE warehouse OWNER TO loader")
    noted = Destination.objects.get()
    well = member.post(page(own, "check"), follow=True).content.decode()

    assert "GRANT CREATE ON DATABASE" in failed
    assert noted.health_status == "error"
    assert "It answers, and we may write there." in well
    assert Destination.objects.get().health_status == "ok"


def test_nobody_checks_again_and_again(
    member: Client, account: Account, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journeys, "time", lambda: 1_000_000_000.0)
    member.post(ADD, form_for(account, customer))
    own = Destination.objects.get()
    for _ in range(journeys.CHECKS_A_MINUTE - 1):
        member.post(page(own, "check"))
    checked = [event for event in events() if event[0] == "destination.checked"]

    told = member.post(page(own, "check"), follow=True).content.decode()

    assert len(checked) == journeys.CHECKS_A_MINUTE - 1
    assert "Too many requests" in told
    assert [event for event in events() if event[0] == "destination.checked"] == checked


def test_the_built_in_one_keeps_its_connection(member: Client, account: Account, sync_database: str) -> None:
    own = Destination.objects.builtin(account)
    shown = text_of(member, page(own))
    assert "The sync database of this server" in shown
    assert 'name="password"' not in shown
    assert "Delete it" not in shown

    member.post(page(own), {"name": "Ours", "host": "evil.example.com", "password": "x"})
    stays = member.post(page(own, "delete"), {"post": "yes"}, follow=True).content.decode()
    checked = member.post(page(own, "check"), follow=True).content.decode()

    kept = Destination.objects.get()
    assert (kept.name, kept.host, kept.password) == ("Ours", "", None)
    assert "it stays" in stays
    assert "It answers" in checked


def test_the_list_takes_as_many_statements_for_thirty_as_for_three(member: Client, account: Account) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as asked:
            member.get(LIST)
        return len(asked)

    for number in range(3):
        Destination.objects.create(account=account, **PLACE | {"name": f"w{number}"})
    few = statements()
    for number in range(27):
        Destination.objects.create(account=account, **PLACE | {"name": f"x{number}"})

    assert statements() == few


# ---- the reading role ------------------------------------------------------------------------------------------------


def test_its_connection_is_shown_where_the_operator_allows_it(
    member: Client, account: Account, sync_database: str, settings: Any
) -> None:
    own = Destination.objects.builtin(account)
    assert member.get(page(own, "reveal")).status_code == 404
    assert "reading role" not in text_of(member, page(own))
    settings.CONSOLE_REVEAL = True
    assert "reading role" in text_of(member, page(own))

    asked = member.get(page(own, "reveal"))
    wrong = member.post(page(own, "reveal"), {"password": "of-somebody-else"})
    assert not Destination.objects.filter(reader_password__isnull=False).exists()
    shown = member.post(page(own, "reveal"), {"password": "of-paul"})

    assert asked["Cache-Control"].startswith("no-store")
    assert shown["Cache-Control"].startswith("no-store")
    assert "That is not your password." in wrong.content.decode()
    url = shown.context["reader"].url
    with psycopg.connect(url) as there:
        row = there.execute("SELECT current_user").fetchone()
    assert row == (shown.context["reader"].parts["username"],)
    assert str(shown.context["reader"].parts["password"]) in shown.content.decode()
    assert [deed for deed, _ in events()] == ["password.refused", "destination.revealed"]


def test_of_a_customer_s_there_is_none(member: Client, own: Destination, settings: Any) -> None:
    settings.CONSOLE_REVEAL = True

    assert "reading role" not in text_of(member, page(own))
    assert member.post(page(own, "reveal"), {"password": "of-paul"}).status_code == 404


# ---- it is deleted ---------------------------------------------------------------------------------------------------


def test_it_is_deleted_when_no_sync_uses_it(member: Client, account: Account, own: Destination) -> None:
    sync = sync_with(keep(account, "stripe_key", None, secret="sk_test_canary"), destination=own)
    assert "1 sync</a> writes to it. Delete it first." in text_of(member, page(own, "delete"))
    assert "delete them first" in member.post(page(own, "delete"), {"post": "yes"}, follow=True).content.decode()
    sync.delete()
    DroppedSchema.objects.create(destination=own, schema="sync_0123456789ab", created_at=timezone.now())
    assert "still to be dropped" in member.post(page(own, "delete"), {"post": "yes"}, follow=True).content.decode()
    assert Destination.objects.exists()

    gone = member.post(page(own, "delete"), {"post": "yes", "keep_data": "yes"})

    assert gone.headers["Location"] == LIST
    assert not Destination.objects.exists()
    assert events() == [("destination.deleted", "")]
