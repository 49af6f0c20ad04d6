"""Audit events: each in its place of a chain, which nobody can change, cut or take out of unseen."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from structlog.testing import capture_logs

from credentials.models import Authorization, Credential
from credentials.purge import purge
from oauth_apps import audit, audit_chain, audit_seals, audit_verification
from oauth_apps.audit_verification import Verification
from oauth_apps.models import (
    Account,
    ApiToken,
    AuditChain,
    AuditEvent,
    AuditKey,
    Membership,
    OAuthApp,
    RedirectURI,
    WebhookEndpoint,
)
from sequin_auth.lib.encryption import Unreadable

PAUL = audit.Actor("paul", None, "192.0.2.1", "req-1")
CHECKS = (
    ("oauth_apps_auditchain", "audit_chain_numbers"),
    ("oauth_apps_auditchain", "audit_chain_seals"),
    ("oauth_apps_auditevent", "audit_place_and_seal"),
)


def told(account: Account | None, times: int = 1, **more: Any) -> list[AuditEvent]:
    for number in range(times):
        audit.record("oauth_app.changed", by=PAUL, account=account, named=f"app {number}", **more)
    return list(AuditEvent.objects.filter(account=account).order_by("number"))


def faults(account_id: UUID | None = None) -> list[str]:
    return list(Verification(account_id).faults())


def behind_our_back(statement: str, *values: Any) -> None:
    """As whoever may write to the database, and knows how to get past its triggers."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement, values)
        cursor.execute("SET LOCAL session_replication_role = origin")


def without_checks() -> None:
    """As whoever owns the tables, and drops what they refuse."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table, check in CHECKS:
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {check}")


def put_in(account: Account, **more: Any) -> UUID:
    """An event of the attacker's own making; its id."""
    event = AuditEvent(account=account, actor="paul", action="x.y", **more)
    AuditEvent.objects.bulk_create([event])
    return event.pk


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ends",
    [
        "seal = ''",
        "forgotten = number, seal = '', forgotten_seal = ''",
        "forgotten = number, forgotten_seal = ''",
        "forgotten_seal = seal",
        "number = 0",
        "number = 0, seal = '', forgotten_seal = seal",
        "forgotten = number + 1, forgotten_seal = seal",
        "number = -1, forgotten = -1",
        "seal = 'short'",
    ],
)
def test_a_chain_whose_ends_were_changed_takes_no_more_events(account: Account, ends: str) -> None:
    told(account, 3)
    without_checks()
    behind_our_back("DELETE FROM oauth_apps_auditevent")
    behind_our_back(f"UPDATE oauth_apps_auditchain SET {ends}")  # noqa: S608 - ours

    says = f"{account.pk} is broken. `manage.py audit verify` says where"
    with capture_logs() as lines, pytest.raises(audit_seals.Broken, match=says), transaction.atomic():
        audit.record("oauth_app.changed", account=account)

    assert not AuditEvent.objects.exists()
    assert [(line["event"], line["account"]) for line in lines] == [("audit_chain_broken", str(account.pk))]
    says = f"{account.pk}: the row of the chain was changed: its numbers and its seals cannot belong together."
    assert faults()[0] == says


def test_the_deed_fails_with_it_and_other_accounts_go_on(api: Client, other_api: Client, account: Account) -> None:
    told(account, 3)
    behind_our_back("UPDATE oauth_apps_auditchain SET seal = ''")
    body = {"redirect_uri": "https://app.example.com/back"}

    api.raise_request_exception = False
    refused = api.post("/v1/redirect-uris", body, content_type="application/json")

    assert (refused.status_code, refused.json()["code"]) == (500, "internal_error")
    assert not RedirectURI.objects.exists()
    assert other_api.post("/v1/redirect-uris", body, content_type="application/json").status_code == 201


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE oauth_apps_auditchain SET seal = 'short'",
        "UPDATE oauth_apps_auditchain SET forgotten_seal = 'short'",
        "UPDATE oauth_apps_auditchain SET forgotten = number + 1",
        "UPDATE oauth_apps_auditchain SET forgotten = -1",
        "INSERT INTO oauth_apps_auditevent SELECT (jsonb_populate_record(event, jsonb_build_object('id',"
        " gen_random_uuid(), 'number', NULL))).* FROM oauth_apps_auditevent event",
        "INSERT INTO oauth_apps_auditevent SELECT (jsonb_populate_record(event, jsonb_build_object('id',"
        " gen_random_uuid(), 'chain', NULL))).* FROM oauth_apps_auditevent event",
        "INSERT INTO oauth_apps_auditevent SELECT (jsonb_populate_record(event, jsonb_build_object('id',"
        " gen_random_uuid(), 'number', 2, 'seal', NULL))).* FROM oauth_apps_auditevent event",
    ],
)
def test_the_database_refuses_what_no_chain_holds(account: Account, statement: str) -> None:
    told(account)

    with pytest.raises(IntegrityError, match="audit_"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


# ---- the chain -------------------------------------------------------------------------------------------------------


def test_events_of_an_account_are_numbered_and_sealed(account: Account) -> None:
    events = told(account, 3)

    assert [(event.chain, event.number, len(bytes(event.seal or b""))) for event in events] == [
        (str(account.pk), number, 32) for number in (1, 2, 3)
    ]
    assert len({bytes(event.seal or b"") for event in events}) == 3
    assert faults() == []


def test_each_account_has_a_chain_and_so_has_what_belongs_to_none(account: Account, other_account: Account) -> None:
    told(account), told(other_account), told(None)

    names = AuditEvent.objects.values_list("chain", "number")
    assert set(names) == {(str(account.pk), 1), (str(other_account.pk), 1), ("platform", 1)}


def test_refreshes_have_chains_of_their_own(account: Account, new_app: Callable[..., OAuthApp]) -> None:
    """So that those of one moment hardly wait for each other."""
    app = new_app()
    audit.record("credential.refreshed", account=account, to=app, is_refresh=True)

    assert AuditEvent.objects.get().chain == f"{account.pk}/{str(app.pk)[0]}"
    assert faults(account.pk) == []


def test_an_event_takes_two_statements(account: Account, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        audit.record("oauth_app.changed", by=PAUL, account=account)


def test_many_events_at_once_take_two_statements(account: Account, django_assert_num_queries: Any) -> None:
    events = [audit.event("oauth_app.changed", by=PAUL, account=owner) for owner in (None, account, None, account)]

    with django_assert_num_queries(2):
        audit.write(events)

    assert faults() == []
    assert sorted(AuditEvent.objects.values_list("chain", "number")) == [
        (str(account.pk), 1), (str(account.pk), 2), ("platform", 1), ("platform", 2),
    ]  # fmt: skip


def test_accounts_are_locked_in_order_and_before_the_platform(account: Account, other_account: Account) -> None:
    """Two transactions that write to the same chains never wait for each other in a ring."""
    owners = [None, *sorted((account, other_account), key=lambda row: str(row.pk), reverse=True)]
    events = [audit.event("oauth_app.changed", by=PAUL, account=owner) for owner in owners]

    audit.write(events)

    by_time = AuditEvent.objects.order_by("created_at").values_list("chain", flat=True)
    assert list(by_time) == [*sorted([str(account.pk), str(other_account.pk)]), "platform"]


@pytest.mark.django_db(transaction=True)
def test_eight_at_once_give_one_unbroken_chain(account: Account) -> None:
    barrier = threading.Barrier(8)

    def write_ten() -> None:
        barrier.wait()
        try:
            for _ in range(10):
                audit.record("oauth_app.changed", by=PAUL, account=account.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(write_ten) for _ in range(8)]:
            done.result()

    assert list(AuditEvent.objects.order_by("number").values_list("number", flat=True)) == list(range(1, 81))
    assert faults() == []


@pytest.mark.django_db(transaction=True)
def test_it_stands_and_falls_with_its_deed(account: Account) -> None:
    def fail() -> None:
        with transaction.atomic():
            told(account)
            raise LookupError

    told(account)
    with pytest.raises(LookupError):
        fail()

    told(account)

    assert list(AuditEvent.objects.order_by("number").values_list("number", flat=True)) == [1, 2]
    assert faults() == []


def test_a_deed_that_cannot_be_written_down_fails(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise Unreadable("The key does not open.")

    monkeypatch.setattr(audit_chain, "chain_up", fail)
    body = {"redirect_uri": "https://app.example.com/back"}

    api.raise_request_exception = False
    response = api.post("/v1/redirect-uris", body, content_type="application/json")

    assert response.status_code == 500
    assert not RedirectURI.objects.exists()


def test_whatever_a_name_holds_an_event_can_be_written(account: Account) -> None:
    audit.record("a.b", by=audit.Actor("p\x00\ud800" + "x" * 300), account=account, named="n" * 999, detail="\udfff")

    event = AuditEvent.objects.get()
    assert (event.actor[:3], len(event.actor), len(event.object_name), event.detail) == ("p?x", 199, 300, "?")
    assert faults() == []


# ---- the key ---------------------------------------------------------------------------------------------------------


def test_the_key_lies_sealed_and_is_read_once(account: Account, django_assert_num_queries: Any) -> None:
    audit_seals.keys.clear()
    told(account)
    told(account)

    assert len(audit_seals.audit_key()) == 32
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT key FROM {AuditKey._meta.db_table}")  # noqa: S608 - ours
        assert audit_seals.audit_key() not in bytes(cursor.fetchone()[0])
    with django_assert_num_queries(0):
        audit_seals.audit_key()
    assert faults() == []


def test_a_key_that_may_yet_be_rolled_back_is_not_kept(db: None) -> None:
    audit_seals.keys.clear()

    with transaction.atomic():
        audit_seals.audit_key()

        assert audit_seals.keys == {}


def test_nobody_without_the_key_makes_a_seal(account: Account) -> None:
    told(account, 2)
    audit_seals.keys["key"] = b"another"

    assert len(faults()) == 3  # both events, and the end


# ---- only added ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE oauth_apps_auditevent SET actor = 'nobody'",
        "UPDATE oauth_apps_auditevent SET account_id = gen_random_uuid()",
        "DELETE FROM oauth_apps_auditevent",
        "TRUNCATE oauth_apps_auditevent",
        "TRUNCATE oauth_apps_account CASCADE",
    ],
)
def test_the_database_itself_lets_nobody_change_or_remove_events(account: Account, statement: str) -> None:
    told(account)

    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what waits for them keeps TRUNCATE away as well
        cursor.execute("SET LOCAL sequin_auth.empties = 'off'")  # as everywhere but in tests

    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert AuditEvent.objects.count() == 1


def test_events_outlive_their_account(account: Account) -> None:
    told(account, 2)
    name = str(account.pk)

    account.delete()

    assert [(event.account, event.chain) for event in AuditEvent.objects.all()] == [(None, name)] * 2
    assert faults() == []


# ---- what verify finds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    ["actor", "action", "object_type", "object_id", "object_name", "detail", "address", "request_id"],
)
def test_it_finds_what_was_changed(account: Account, column: str) -> None:
    told(account, 3)

    behind_our_back(f"UPDATE oauth_apps_auditevent SET {column} = 'other' WHERE number = 2")  # noqa: S608 - ours

    assert faults() == [f"{account.pk}, number 2: was changed, or is not in its place."]


def test_it_finds_another_time_and_another_api_token(account: Account) -> None:
    told(account, 3)

    behind_our_back("UPDATE oauth_apps_auditevent SET created_at = created_at - interval '1 us' WHERE number = 1")
    behind_our_back("UPDATE oauth_apps_auditevent SET api_token = %s WHERE number = 3", uuid4())

    assert [fault.partition(":")[0][-8:] for fault in faults()] == ["number 1", "number 3"]


def test_it_finds_what_was_removed(account: Account) -> None:
    told(account, 5)

    behind_our_back("DELETE FROM oauth_apps_auditevent WHERE number IN (2, 3)")

    assert faults() == [f"{account.pk}: numbers 2 to 3 are missing."]


def test_it_finds_what_is_in_another_order(account: Account) -> None:
    told(account, 4)

    for before, after in ((2, 99), (3, 2), (99, 3)):
        behind_our_back("UPDATE oauth_apps_auditevent SET number = %s WHERE number = %s", after, before)

    assert [fault.partition(":")[0] for fault in faults()] == [f"{account.pk}, number {number}" for number in (2, 3, 4)]


def test_it_finds_what_was_put_behind_the_end(account: Account) -> None:
    event = told(account, 2)[-1]
    columns = "created_at, actor, action, object_type, object_id, object_name, detail, address, request_id, chain, seal"

    behind_our_back(
        f"INSERT INTO oauth_apps_auditevent (id, number, account_id, {columns})"  # noqa: S608 - ours
        f" SELECT gen_random_uuid(), 3, account_id, {columns} FROM oauth_apps_auditevent WHERE id = %s",
        event.pk,
    )

    assert faults() == [
        f"{account.pk}, number 3: was changed, or is not in its place.",
        f"{account.pk}: number 3 is behind the end of the chain.",
    ]


def test_it_finds_an_end_that_was_cut_off(account: Account) -> None:
    told(account, 5)

    behind_our_back("DELETE FROM oauth_apps_auditevent WHERE number > 3")

    assert faults() == [f"{account.pk}: numbers 4 to 5 are missing: the end of the chain was cut off."]


def test_it_finds_it_even_if_the_row_of_the_chain_says_otherwise(account: Account) -> None:
    """The seal of what is then the last event can be read in it; what masks it in the chain's row cannot."""
    events = told(account, 5)

    behind_our_back("DELETE FROM oauth_apps_auditevent WHERE number > 3")
    behind_our_back("UPDATE oauth_apps_auditchain SET number = 3, seal = %s", bytes(events[2].seal or b""))

    assert faults() == [f"{account.pk}, number 3: is not the event with which the chain ended."]


def test_it_finds_a_beginning_that_was_cut_off(account: Account) -> None:
    told(account, 5)

    behind_our_back("DELETE FROM oauth_apps_auditevent WHERE number < 3")

    assert faults() == [
        f"{account.pk}: numbers 1 to 2 are missing at the beginning, which the retention has not removed."
    ]


def test_it_finds_it_even_if_that_is_said_to_have_been_the_retention(account: Account) -> None:
    events = told(account, 5)

    behind_our_back("DELETE FROM oauth_apps_auditevent WHERE number < 3")
    behind_our_back("UPDATE oauth_apps_auditchain SET forgotten = 2, forgotten_seal = %s", bytes(events[1].seal or b""))

    assert faults() == [
        f"{account.pk}, number 3: was changed, or what stands before it was not removed by the retention."
    ]


def test_it_finds_that_all_events_of_a_chain_were_removed(account: Account) -> None:
    told(account, 2)

    behind_our_back("DELETE FROM oauth_apps_auditevent")

    assert faults() == [f"{account.pk}: numbers 1 to 2 are missing: the end of the chain was cut off."]


def test_it_finds_that_the_row_of_a_chain_was_removed(account: Account) -> None:
    told(account, 2)

    behind_our_back("DELETE FROM oauth_apps_auditchain")

    assert faults() == [f"{account.pk}: the row of the chain was removed, though it has 2 events."]


def test_it_finds_an_event_that_is_hidden_from_its_account(account: Account) -> None:
    told(account, 2)

    AuditEvent.objects.filter(number=1).update(account=None)  # which the database allows, for accounts that go

    assert faults() == [f"{account.pk}, number 1: was taken away from its account."]


def test_it_looks_at_one_account_alone_if_told_so(account: Account, other_account: Account) -> None:
    told(account, 2), told(other_account, 2)
    behind_our_back("DELETE FROM oauth_apps_auditevent WHERE number = 2 AND account_id = %s", other_account.pk)

    assert faults(account.pk) == []
    assert len(faults(other_account.pk)) == len(faults()) == 1


def test_it_goes_on_in_batches(account: Account, other_account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_verification, "BATCH", 2)
    told(account, 5), told(other_account, 3), told(None, 3)

    verification = Verification()

    assert list(verification.faults()) == []
    assert (verification.chains, verification.events) == (3, 11)


def test_it_finds_a_history_that_was_wiped_as_if_the_retention_had(account: Account) -> None:
    told(account, 3)
    behind_our_back("DELETE FROM oauth_apps_auditevent")
    behind_our_back("UPDATE oauth_apps_auditchain SET forgotten = number, seal = '', forgotten_seal = ''")
    emptied = faults()
    behind_our_back("UPDATE oauth_apps_auditchain SET seal = %s, forgotten_seal = %s", b"x" * 32, b"x" * 32)

    assert emptied == [
        f"{account.pk}: the row of the chain was changed: its numbers and its seals cannot belong together."
    ]
    assert faults() == [f"{account.pk}, number 3: is not the event with which the chain ended."]


@pytest.mark.parametrize("name", ["", "nonsense", "platform/1", "\nAll is whole.", "\x1b[2J", "%s" * 20])
def test_the_row_of_what_is_no_chain_is_one_fault_and_hides_no_other(account: Account, name: str) -> None:
    told(account, 3)
    behind_our_back("DELETE FROM oauth_apps_auditevent WHERE number = 2")
    AuditChain.objects.create(name=name, number=1, seal=b"x" * 32)

    assert sorted(faults()) == sorted(
        [
            f"{name!a}: is not the name of a chain.",
            f"{name!a}: number 1 is missing: the end of the chain was cut off.",
            f"{account.pk}: number 2 is missing.",
        ]
    )


def test_it_finds_the_row_of_a_chain_that_never_began(account: Account) -> None:
    AuditChain.objects.create(name=str(account.pk))

    assert faults() == [
        f"{account.pk}: the row of the chain was changed: its numbers and its seals cannot belong together."
    ]


def test_it_finds_an_event_without_number_and_looks_at_all_others(account: Account, other_account: Account) -> None:
    told(account, 2), told(other_account, 3)
    behind_our_back("DELETE FROM oauth_apps_auditevent WHERE number = 2 AND account_id = %s", other_account.pk)
    without_checks()
    event = put_in(account, chain=str(account.pk), number=None, seal=b"x" * 32)

    assert sorted(faults()) == sorted(
        [f"{account.pk}: the event {event} has no number.", f"{other_account.pk}: number 2 is missing."]
    )


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "4000-01-01 BC", "200000-01-01"])
def test_it_finds_a_time_that_is_none(account: Account, other_account: Account, moment: str) -> None:
    told(account, 3), told(other_account, 3)
    behind_our_back("DELETE FROM oauth_apps_auditevent WHERE number = 2 AND account_id = %s", other_account.pk)
    changed = "UPDATE oauth_apps_auditevent SET created_at = %s WHERE number = 2 AND account_id = %s"
    behind_our_back(changed, moment, account.pk)

    assert sorted(faults()) == sorted(
        [
            f"{account.pk}, number 2: was changed, or is not in its place.",
            f"{other_account.pk}: number 2 is missing.",
        ]
    )
    assert len(faults(account.pk)) == 1


def test_it_finds_a_seal_of_another_size_at_the_end(account: Account) -> None:
    told(account, 2)

    behind_our_back("UPDATE oauth_apps_auditevent SET seal = 'short' WHERE number = 2")

    assert faults() == [
        f"{account.pk}, number 2: was changed, or is not in its place.",
        f"{account.pk}, number 2: is not the event with which the chain ended.",
    ]


@pytest.mark.parametrize("moment", ["clock_timestamp()", "'infinity'"])
def test_it_finds_an_event_in_no_chain_that_is_not_older_than_they_are(account: Account, moment: str) -> None:
    told(None)
    event = put_in(account)
    behind_our_back(f"UPDATE oauth_apps_auditevent SET created_at = {moment} WHERE chain IS NULL")  # noqa: S608 - ours

    says = f"The event {event} is in no chain, and is not older than the chains are."
    assert (faults(), faults(account.pk)) == ([says], [says])


def test_where_the_retention_has_begun_with_a_chain_no_event_is_without(account: Account) -> None:
    told(account, 2)
    audit_chain.forget(AuditEvent.objects.get(number=2).created_at)
    event = put_in(account, created_at=timezone.now() - timedelta(days=1))

    assert faults() == [f"The event {event} is in no chain, and is not older than the chains are."]


def test_it_finds_an_event_that_shows_in_another_account(account: Account, other_account: Account) -> None:
    told(account), told(other_account)
    event = put_in(account, chain=str(other_account.pk), number=2, seal=b"x" * 32)

    assert faults(account.pk) == [
        f"{account.pk}: the event {event} shows in the account, and belongs to another chain."
    ]
    assert f"{other_account.pk}, number 2: was taken away from its account." in faults()


def test_without_the_key_it_says_so(account: Account) -> None:
    told(account)
    audit_seals.keys.clear()

    assert faults() == ["The key of the audit log was removed. Nothing can be proved."]
    assert not AuditKey.objects.exists()  # nor made another one, under which all would be forged
    AuditKey.objects.create(key=b"x" * 32)
    behind_our_back("UPDATE oauth_apps_auditkey SET key = 'x'")
    assert faults() == ["The key of the audit log does not open. Nothing can be proved."]


def test_where_nothing_was_done_nothing_is_wrong(db: None) -> None:
    audit_seals.keys.clear()

    assert faults() == []


# ---- manage.py audit verify ------------------------------------------------------------------------------------------


def verify(*args: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command("audit", "verify", *args, stdout=out, stderr=err)
    except CommandError as exc:
        return out.getvalue(), f"{err.getvalue()}{exc}"
    return out.getvalue(), err.getvalue()


def test_the_command_counts_what_is_whole(account: Account) -> None:
    AuditEvent.objects.create(actor="paul", action="x.y")
    told(account, 3), told(None)

    assert verify() == (
        "4 events in 2 chains are whole. 1 are older than chains are, and cannot be proved.\n",
        "",
    )
    assert verify("--account", str(account.pk)) == ("3 events in 1 chain are whole.\n", "")


def test_the_command_fails_with_what_is_wrong(account: Account) -> None:
    told(account, 3)
    behind_our_back("DELETE FROM oauth_apps_auditevent WHERE number = 2")

    assert verify() == (
        "",
        f"{account.pk}: number 2 is missing.\nThe audit log is not whole: 1 faults in 2 events.",
    )


# ---- the retention ---------------------------------------------------------------------------------------------------


def test_the_oldest_go_first_and_the_rest_is_proved_still(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_chain, "BATCH", 2)
    until = told(account, 7)[5].created_at

    assert audit_chain.forget(until) == 5

    assert list(AuditEvent.objects.order_by("number").values_list("number", flat=True)) == [6, 7]
    assert AuditChain.objects.get().forgotten == 5
    assert faults() == []
    assert audit_chain.forget(until) == 0
    told(account)
    assert faults() == []
    assert verify()[0] == "3 events in 1 chain are whole. 5 older ones were removed by the retention.\n"


def test_all_of_a_chain_may_go(account: Account) -> None:
    told(account, 3)

    assert audit_chain.forget(timezone.now()) == 3

    assert faults() == []
    told(account)
    assert AuditEvent.objects.get().number == 4
    assert faults() == []


def test_what_the_retention_has_removed_cannot_be_put_back(account: Account) -> None:
    told(account, 3)
    audit_chain.forget(AuditEvent.objects.get(number=2).created_at)

    behind_our_back("UPDATE oauth_apps_auditchain SET forgotten = 0, forgotten_seal = ''")

    assert len(faults()) == 1


def test_the_retention_removes_nothing_whose_time_was_set_back(account: Account) -> None:
    """It would else make good the end of what somebody wants to be gone."""
    told(account, 3)
    behind_our_back("UPDATE oauth_apps_auditevent SET created_at = created_at - interval '900 days' WHERE number < 3")

    with capture_logs() as lines:
        assert audit_chain.forget(timezone.now() - timedelta(days=400)) == 0

    assert AuditEvent.objects.count() == 3
    assert [(line["event"], line["account"]) for line in lines] == [("audit_chain_broken", str(account.pk))]
    assert len(faults()) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM oauth_apps_auditevent WHERE number = 1 AND chain <> 'platform'",
        "DELETE FROM oauth_apps_auditchain WHERE name <> 'platform'",
        "UPDATE oauth_apps_auditchain SET number = 2 WHERE name <> 'platform'",
        "UPDATE oauth_apps_auditchain SET seal = '' WHERE name <> 'platform'",
        "UPDATE oauth_apps_auditchain SET name = 'nonsense' WHERE name <> 'platform'",
        "UPDATE oauth_apps_auditevent SET created_at = '-infinity' WHERE number = 2",
        "UPDATE oauth_apps_auditevent SET number = -1 WHERE number = 1 AND chain <> 'platform'",
    ],
)
def test_the_retention_leaves_a_broken_chain_and_goes_on_with_others(account: Account, statement: str) -> None:
    told(account, 3), told(None)
    behind_our_back(statement)
    left, found = AuditEvent.objects.filter(account=account).count(), faults()

    assert audit_chain.forget(timezone.now()) == 1  # the platform's

    assert AuditEvent.objects.filter(account=account).count() == left
    assert found
    assert set(found) <= set(faults())


def test_the_purge_goes_by_the_setting(account: Account, settings: Settings) -> None:
    AuditEvent.objects.create(actor="paul", action="x.y", created_at=timezone.now() - timedelta(days=9))
    told(account, 2)

    settings.AUDIT_DAYS = 10
    kept = purge()["audit_events"]
    settings.AUDIT_DAYS = 8
    older_than_chains = purge()["audit_events"]

    assert (kept, older_than_chains, AuditEvent.objects.count()) == (0, 1, 2)


@pytest.mark.django_db(transaction=True)
def test_two_purges_at_once_do_no_harm(account: Account) -> None:
    until = told(account, 40)[30].created_at

    def forget() -> int:
        try:
            return audit_chain.forget(until)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        removed = [done.result() for done in [pool.submit(forget) for _ in range(2)]]

    assert sum(removed) == 30
    assert faults() == []


def test_what_is_older_than_chains_goes_before_any_chain(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(account, created_at=timezone.now() - timedelta(days=1))
    told(account, 2)
    monkeypatch.setattr(audit_chain, "forget_older_than_chains", lambda until: 0)  # somebody else has it in his hands

    assert audit_chain.forget(timezone.now()) == 0

    assert AuditEvent.objects.count() == 3
    assert faults() == []


# ---- who -------------------------------------------------------------------------------------------------------------


def test_whoever_shows_an_api_token_is_called_by_it(api: Client, token_row: ApiToken, acme_app: OAuthApp) -> None:
    response = api.patch(f"/v1/oauth-apps/{acme_app.pk}", {"name": "Melange"}, content_type="application/json")

    event = AuditEvent.objects.get()
    assert (event.action, event.object_id, event.object_name, event.detail) == (
        "oauth_app.changed", str(acme_app.pk), "Melange", "name",
    )  # fmt: skip
    assert (event.actor, event.api_token, event.user_id) == (str(token_row), token_row.pk, None)
    assert (event.address, event.request_id) == ("127.0.0.1", response.headers["X-Request-Id"])
    assert audit.acting() == audit.SCHEDULE  # once the request is over


def test_what_is_refused_is_no_event(api: Client, other_api: Client, acme_app: OAuthApp) -> None:
    path, json = f"/v1/oauth-apps/{acme_app.pk}", "application/json"

    assert other_api.patch(path, {"name": "Melange"}, content_type=json).status_code == 404
    assert other_api.delete(path).status_code == 404
    assert api.patch(path, {"name": 7}, content_type=json).status_code == 422
    assert not AuditEvent.objects.exists()


def test_each_change_of_the_account_is_an_event(api: Client, account: Account) -> None:
    body = {"provider": "acme", "client_id": "c", "client_secret": "canary-secret", "name": "Acme"}
    app = api.post("/v1/oauth-apps", body, content_type="application/json").json()
    api.patch(f"/v1/oauth-apps/{app['id']}", {"client_secret": "canary-2"}, content_type="application/json")
    uri = {"redirect_uri": "https://app.example.com/back"}
    uri = api.post("/v1/redirect-uris", uri, content_type="application/json").json()
    api.delete(f"/v1/redirect-uris/{uri['id']}")
    api.delete(f"/v1/oauth-apps/{app['id']}")

    events = AuditEvent.objects.order_by("number")
    assert list(events.values_list("action", "object_id", "detail")) == [
        ("oauth_app.created", app["id"], ""),
        ("oauth_app.changed", app["id"], "client_secret"),
        ("redirect_uri.created", uri["id"], ""),
        ("redirect_uri.deleted", uri["id"], ""),
        ("oauth_app.deleted", app["id"], ""),
    ]
    assert "canary" not in str(list(events.values()))
    assert faults(account.pk) == []


def test_things_are_called_as_the_api_calls_them(account: Account) -> None:
    things = (OAuthApp, RedirectURI, ApiToken, WebhookEndpoint, Credential, Authorization, Account, Membership,
              get_user_model())  # fmt: skip

    assert [audit.word_for(thing) for thing in things] == [
        "oauth_app", "redirect_uri", "api_token", "webhook_endpoint", "credential", "authorization", "account",
        "member", "user",
    ]  # fmt: skip
    audit.record("account.changed", account=account, to=account)
    assert AuditEvent.objects.get().object_type == "account"


def test_commands_are_events(db: None) -> None:
    out = StringIO()
    call_command("create_account", "Arrakis", "--user", "paul@arrakis.example", stdout=out)
    call_command("create_api_token", "Arrakis", stdout=out)
    call_command("rotate_keys", stdout=out)

    rows = AuditEvent.objects.order_by("created_at", "number").values_list("action", "actor", "chain")
    arrakis, by = str(Account.objects.get().pk), f" ({audit.whoever_runs_this()})"
    told_of = [(action, actor.removesuffix(by), chain) for action, actor, chain in rows if actor.endswith(by)]
    assert told_of == [
        ("account.created", "manage.py create_account", arrakis),
        ("api_token.created", "manage.py create_account", arrakis),
        ("member.created", "manage.py create_account", arrakis),
        ("user.created", "manage.py create_account", "platform"),
        ("api_token.created", "manage.py create_api_token", arrakis),
        ("keys.rotation_began", "manage.py rotate_keys", "platform"),
        ("keys.rotated", "manage.py rotate_keys", "platform"),
    ]


@pytest.mark.parametrize(
    ("users", "host", "shown"),
    [
        ({7: "alice"}, "vault-1", "alice@vault-1"),
        ({}, "vault-1", "uid 7@vault-1"),
        ({7: "alice"}, "", "alice@this machine"),
    ],
)
def test_a_command_is_done_by_somebody_somewhere(
    users: dict[int, str], host: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's user need not have a name; and what the environment says of it does not count."""
    monkeypatch.setenv("LOGNAME", "bob")
    monkeypatch.setattr("os.getuid", lambda: 7)
    monkeypatch.setattr("platform.node", lambda: host)
    monkeypatch.setattr("pwd.getpwuid", lambda number: SimpleNamespace(pw_name=users[number]))

    assert audit.Actor.command("purge") == audit.Actor(f"manage.py purge ({shown})")


def test_django_s_own_commands_that_make_users_are_events(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "melange-1")
    monkeypatch.setattr("getpass.getpass", lambda **_: "melange-for-everybody-2")
    out = StringIO()

    call_command("createsuperuser", username="paul", email="", interactive=False, stdout=out)
    call_command("changepassword", "paul", stdout=out)

    paul, by = get_user_model().objects.get(), f"({audit.whoever_runs_this()})"
    assert paul.check_password("melange-for-everybody-2")
    fields = ("action", "actor", "object_id", "object_name", "detail", "chain")
    assert list(AuditEvent.objects.order_by("number").values_list(*fields)) == [
        ("user.created", f"manage.py createsuperuser {by}", str(paul.pk), "paul", "superuser", "platform"),
        ("user.password_set", f"manage.py changepassword {by}", str(paul.pk), "paul", "", "platform"),
    ]
    assert "melange" not in str(list(AuditEvent.objects.values()))


def test_a_user_of_whom_it_cannot_be_written_down_is_not_made(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DatabaseError

    monkeypatch.setattr(audit_chain, "append", fail)

    with pytest.raises(DatabaseError):
        call_command("createsuperuser", username="paul", email="", interactive=False)

    assert not get_user_model().objects.exists()


def test_a_superuser_who_is_refused_is_no_event(db: None) -> None:
    get_user_model().objects.create(username="paul")

    with pytest.raises(CommandError):
        call_command("createsuperuser", username="paul", email="", interactive=False)

    assert not AuditEvent.objects.exists()


def test_strangers_cannot_flood_it(account: Account, acme_app: OAuthApp) -> None:
    for _ in range(audit.MOST_A_MINUTE + 5):
        audit.record_of_strangers("authorization.context_mismatch", account=account, to=acme_app)
    audit.record_of_strangers("authorization.session_mismatch", account=account, to=acme_app)

    assert AuditEvent.objects.filter(action="authorization.context_mismatch").count() == audit.MOST_A_MINUTE
    assert AuditEvent.objects.filter(action="authorization.session_mismatch").count() == 1
