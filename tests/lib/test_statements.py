"""Statements that are written out do what Django's would."""

import uuid
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from credentials.models import Authorization, Step
from oauth_apps.models import Account, OAuthApp, RedirectURI
from sequin_auth.lib.encryption import Sealed
from sequin_auth.lib.postgres import statements

pytestmark = pytest.mark.django_db


@pytest.fixture
def oauth_app(account: Account) -> OAuthApp:
    return OAuthApp.objects.create(
        account=account,
        provider="stripe",
        name="Stripe",
        client_id="ca_1",
        client_secret="canary-client-secret",
        metadata={"answer": 42},
    )


def begun(oauth_app: OAuthApp) -> Authorization:
    return Authorization.objects.begin(
        good_for=timedelta(minutes=10),
        oauth_app=oauth_app,
        provider="stripe",
        state_hash=b"s" * 32,
        browser_hash=b"b" * 32,
        callback_url="https://auth.example.com/callback",
        code_verifier="canary-verifier",
        scopes=["read"],
        snapshot={"client_id": "ca_1"},
    )


def test_a_fault_is_one_of_djangos() -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        statements.run("SELECT %s::integer / 0", [1])


def test_an_answer_is_of_the_same_types_when_somebody_looks_on() -> None:
    statement = """
        SELECT now(), gen_random_uuid(), '\\x00'::bytea, ARRAY['a', NULL], '{}'::text[], 1::bigint, true, NULL::text,
            '{"a": 1}'::jsonb, '127.0.0.1'::inet
    """

    (alone,) = statements.run(statement, [])
    with connection.execute_wrapper(lambda execute, *how: execute(*how)):
        (watched,) = statements.run(statement, [])

    assert [type(value) for value in watched] == [type(value) for value in alone]
    assert alone[2:] == watched[2:]
    assert alone[0].tzinfo == watched[0].tzinfo


def test_what_returns_nothing_has_no_rows(account: Account) -> None:
    table = Account._meta.db_table

    assert statements.run(f"UPDATE {table} SET name = %s WHERE id = %s", ["Caladan", account.pk]) == []  # noqa: S608

    account.refresh_from_db()
    assert account.name == "Caladan"


def test_an_instance_is_the_one_that_a_queryset_makes(oauth_app: OAuthApp) -> None:
    expected = OAuthApp.objects.get()

    found = OAuthApp.objects.by_id(uuid.uuid4(), oauth_app.pk)

    assert found is not None
    assert isinstance(vars(found)["client_secret"], Sealed)
    assert found.client_secret == "canary-client-secret"
    unequal = {name for name, value in vars(expected).items() if name != "_state" and vars(found)[name] != value}
    assert unequal == set()


def test_of_several_ids_an_enabled_one_is_meant(account: Account, oauth_app: OAuthApp) -> None:
    OAuthApp.objects.filter(pk=oauth_app.pk).update(enabled=False)
    other = OAuthApp.objects.create(account=account, provider="stripe", name="Other", client_id="ca_2")

    assert OAuthApp.objects.by_id(oauth_app.pk, other.pk) == other
    assert OAuthApp.objects.by_id(uuid.uuid4()) is None


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("https://a.example.com/back", ["https://a.example.com/back"]),
        ("https://a.example.com/stripe/back", ["https://a.example.com/:provider/back"]),
        ("https://a.example.com/:provider/back", ["https://a.example.com/:provider/back"]),
        ("https://a.example.com/slack/back", []),
        ("https://A.example.com/back", []),
        ("https://a.example.com/back\x00", ["https://a.example.com/back"]),  # a candidate, which admits no such thing
        ("", []),
    ],
)
def test_an_app_comes_with_the_redirect_uris_that_may_be_meant(
    oauth_app: OAuthApp, sent: str, expected: list[str]
) -> None:
    for registered in ("https://a.example.com/back", "https://a.example.com/:provider/back"):
        RedirectURI.objects.create(account=oauth_app.account, redirect_uri=registered)
    stranger = Account.objects.create(name="Harkonnen")
    RedirectURI.objects.create(account=stranger, redirect_uri="https://a.example.com/back")

    found, candidates = OAuthApp.objects.with_redirect_uris(oauth_app.pk, like=sent)

    assert found == oauth_app
    assert [candidate.redirect_uri for candidate in candidates] == expected
    assert {candidate.account_id for candidate in candidates} <= {oauth_app.account_id}


def test_a_trip_begins_as_it_would_by_django(oauth_app: OAuthApp) -> None:
    before = timezone.now()

    trip = begun(oauth_app)

    stored = Authorization.objects.get()
    assert (stored.pk, stored.step, stored.scopes, stored.snapshot) == (trip.pk, Step.STARTED, ["read"], trip.snapshot)
    assert stored.code_verifier == "canary-verifier"
    assert stored.client_state is None
    assert timedelta(minutes=10) <= stored.expires_at - before < timedelta(minutes=11)
    with connection.cursor() as cursor:
        cursor.execute("SELECT code_verifier FROM credentials_authorization")
        assert b"canary" not in bytes(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_the_disk_at_a_start_and_at_nothing_else(oauth_app: OAuthApp) -> None:
    statements.run("SET synchronous_commit = on", [])  # the server of the tests waits for no disk
    try:
        with transaction.atomic():
            begun(oauth_app)
            at_the_start = statements.run("SHOW synchronous_commit", [])
        afterwards = statements.run("SHOW synchronous_commit", [])
    finally:
        statements.run("RESET synchronous_commit", [])

    assert at_the_start == [("off",)]
    assert afterwards == [("on",)]
