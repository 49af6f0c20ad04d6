"""`/v1/destinations`."""

import threading
import uuid
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from credentials.models import Credential
from oauth_apps.models import Account, AuditEvent, HealthStatus
from syncs import destinations
from syncs.api import destinations as api_destinations
from syncs.api.destinations import ConnectionSerializer
from syncs.models import Destination, DroppedSchema, Stop, Sync
from tests.credentials import stored
from tests.lib.conftest import Names
from tests.oauth_apps.conftest import client_of
from tests.syncs.customer import HOST, PASSWORD, Customer

URL = "/v1/destinations"
MASK = "*" * 11
SCHEMA = "sync_0123456789ab"


@pytest.fixture
def api(account: Account) -> Client:
    return client_of(account)


@pytest.fixture
def other_api(other_account: Account) -> Client:
    return client_of(other_account)


@pytest.fixture
def reveal(account: Account) -> Client:
    return client_of(account, "read", "write", "reveal")


def post(api: Client, connection: Any, headers: dict[str, str] | None = None, **other: Any) -> Any:
    body = {"name": "Warehouse", "connection": connection, **other}
    return api.post(URL, body, content_type="application/json", headers=headers)


def patch(api: Client, destination_id: object, **body: Any) -> Any:
    return api.patch(f"{URL}/{destination_id}", body, content_type="application/json")


def errors(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 422, answer.content
    found: dict[str, list[str]] = answer.json()["validation_errors"]
    return found


@pytest.fixture
def made(api: Client, customer: Customer) -> dict[str, Any]:
    answer = post(api, customer.connection)
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def credential(account: Account) -> Credential:
    return stored.keep(account, "stripe_key", None, secret="canary-of-a-key")


def sync_into(destination: Destination, credential: Credential, **fields: Any) -> Sync:
    return Sync.objects.create(
        account=destination.account,
        provider="stripe",
        name="Stripe",
        credential=credential,
        collection_ids=["stripe:customer"],
        destination=destination,
        **fields,
    )


# ---- it is made ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"host": "/var/run/postgresql"}, "host"),
        ({"host": "a,b"}, "host"),
        ({"host": 5}, "host"),
        ({"host": None}, "host"),
        ({"port": 1023}, "port"),
        ({"port": 65_536}, "port"),
        ({"port": "5432"}, "port"),
        ({"port": True}, "port"),
        ({"database": "a=b"}, "database"),
        ({"database": "postgresql://elsewhere/d"}, "database"),
        ({"database": "x" * 64}, "database"),
        ({"database": ""}, "database"),
        ({"username": "a b"}, "username"),
        ({"username": "a'b"}, "username"),
        ({"password": ""}, "password"),
        ({"password": MASK}, "password"),
        ({"password": "*" * 10}, "password"),
        ({"password": "a\nb"}, "password"),
        ({"sslmode": "prefer"}, "sslmode"),
        ({"sslmode": ["require"]}, "sslmode"),
        ({"options": "-c role=postgres"}, "options"),
        ({"service": "x"}, "service"),
        ({"hostaddr": "127.0.0.1"}, "hostaddr"),
        ({"passfile": "/etc/passwd"}, "passfile"),
        ({"sslrootcert": "/etc/passwd"}, "sslrootcert"),
        ({"dsn": "postgresql://h/d"}, "dsn"),
    ],
)
def test_each_part_is_checked_and_there_is_no_other(
    api: Client, customer: Customer, names: Names, parts: dict[str, Any], field: str
) -> None:
    answer = post(api, customer.connection | parts)

    assert list(errors(answer)) == [f"connection.{field}"]
    assert PASSWORD not in answer.text
    assert names.asked == []
    assert not Destination.objects.exists()


@pytest.mark.parametrize("sent", [None, 5, "postgresql://h/d", [], [{}]])
def test_a_connection_is_an_object(api: Client, sent: Any) -> None:
    assert all(field.startswith("connection") for field in errors(post(api, sent)))


def test_what_is_needed_is_named(api: Client) -> None:
    needed = [f"connection.{name}" for name in ("host", "database", "username", "password")]
    assert list(errors(post(api, {}))) == needed
    assert list(errors(api.post(URL, {}, content_type="application/json"))) == ["name", "connection"]


def test_what_the_server_writes_is_refused(api: Client, customer: Customer) -> None:
    answer = post(api, customer.connection, id=str(uuid.uuid4()), kind="builtin", account="x", health={})

    assert sorted(errors(answer)) == ["account", "health", "id", "kind"]


def test_an_address_that_is_not_public_is_refused(api: Client, customer: Customer, settings: Settings) -> None:
    settings.EGRESS_ALLOW = []

    assert list(errors(post(api, customer.connection))) == ["connection.host"]
    assert list(errors(post(api, customer.connection | {"sslmode": "disable"}))) == ["connection.sslmode"]


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"password": "canary-wrong"}, "password"),
        ({"database": "no-such"}, "database"),
        ({"host": "nowhere.example.com"}, "host"),
        ({"username": "onlooker"}, "username"),
    ],
)
def test_what_is_wrong_there_names_its_field(
    api: Client, customer: Customer, parts: dict[str, str], field: str
) -> None:
    answer = post(api, customer.connection | parts)

    assert list(errors(answer)) == [f"connection.{field}"]
    assert "canary" not in answer.text
    assert not Destination.objects.exists()


def test_the_missing_right_is_a_statement(api: Client, customer: Customer) -> None:
    answer = post(api, customer.connection | {"username": "onlooker"})

    statement = 'GRANT CREATE ON DATABASE "warehouse" TO "onlooker";'
    assert errors(answer) == {"connection.username": [f"A right is missing: {statement}"]}


def test_it_is_made_and_shown_masked(api: Client, customer: Customer) -> None:
    answer = post(api, customer.connection, metadata={"team": "spice"})

    kept = Destination.objects.get()
    at = kept.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    shown = {
        "id": str(kept.pk),
        "kind": "postgres",
        "name": "Warehouse",
        "connection": customer.connection | {"password": MASK},
        "metadata": {"team": "spice"},
        "health": {"status": "ok", "notes": [], "time": at},
        "created_at": at,
        "updated_at": at,
    }
    assert (answer.status_code, answer.json()) == (201, shown)
    assert api.get(f"{URL}/{kept.pk}").json() == shown
    assert api.get(URL).json() == {"data": [shown], "next_cursor": None}
    assert kept.password == PASSWORD
    event = AuditEvent.objects.get(action="destination.created")
    assert (event.object_id, event.object_name) == (str(kept.pk), "Warehouse")
    with connection.cursor() as cursor:
        cursor.execute("SELECT syncs_destination::text FROM syncs_destination")
        assert PASSWORD.encode().hex() not in cursor.fetchone()[0]


def test_the_defaults_are_the_usual_port_and_tls(customer: Customer) -> None:
    parts = {name: value for name, value in customer.connection.items() if name not in {"port", "sslmode"}}

    serializer = ConnectionSerializer(data=parts)

    assert serializer.is_valid()
    assert (serializer.validated_data["port"], serializer.validated_data["sslmode"]) == (5432, "require")


def test_a_repetition_is_answered_without_going_there_again(api: Client, customer: Customer, names: Names) -> None:
    key = {"Idempotency-Key": "once"}
    first = post(api, customer.connection, key)
    names.addresses.clear()

    second = post(api, customer.connection, key)

    assert (second.status_code, second.json()) == (201, first.json())
    assert second["Idempotent-Replayed"] == "true"
    assert names.asked == [HOST]
    assert Destination.objects.count() == 1


def test_what_was_refused_is_not_remembered(api: Client, customer: Customer) -> None:
    key = {"Idempotency-Key": "once"}
    with customer.superuser() as server:
        server.execute("ALTER ROLE loader NOLOGIN")
    assert post(api, customer.connection, key).status_code == 422
    with customer.superuser() as server:
        server.execute("ALTER ROLE loader LOGIN")

    assert post(api, customer.connection, key).status_code == 201


def test_as_many_checks_as_there_may_be_at_once_are_all(
    api: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_destinations, "turns", threading.BoundedSemaphore(1))
    with api_destinations.turns:
        answer = post(api, customer.connection)

    assert (answer.status_code, answer["Retry-After"]) == (429, "10")
    assert post(api, customer.connection | {"password": "canary-wrong"}).status_code == 422
    assert post(api, customer.connection).status_code == 201


def test_whoever_tries_host_after_host_is_told_to_wait(
    api: Client, other_api: Client, customer: Customer, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000_000.0 - 1_000_000_000.0 % 60 + 20
    monkeypatch.setattr(api_destinations, "time", lambda: now)
    nowhere = customer.connection | {"host": "nowhere.example.com"}
    for _ in range(9):
        assert list(errors(post(api, nowhere))) == ["connection.host"]
    assert list(errors(patch(api, made["id"], connection={"password": "canary-wrong"}))) == ["connection.password"]

    for answer in (post(api, nowhere), patch(api, made["id"], connection={"password": "canary-wrong"})):
        assert (answer.status_code, answer["Retry-After"]) == (429, "40")
    assert post(other_api, nowhere).status_code == 422

    now += 40
    assert post(api, nowhere).status_code == 422


# ---- it is looked at -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "patch", "delete"])
def test_another_accounts_is_not_there(
    other_account: Account, made: dict[str, Any], other_api: Client, method: str
) -> None:
    sent = {"data": "{}", "content_type": "application/json"} if method == "patch" else {}
    foreign, unknown = (getattr(other_api, method)(f"{URL}/{one}", **sent) for one in (made["id"], uuid.uuid4()))

    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json()["summary"] == unknown.json()["summary"]
    assert other_api.get(URL).json()["data"] == []
    assert client_of(other_account, "reveal").get(f"{URL}/{made['id']}/connection").status_code == 404
    assert Destination.objects.count() == 1


def test_scopes_are_asked_for(account: Account, customer: Customer) -> None:
    reader, writer = client_of(account, "read"), client_of(account, "write")

    assert post(reader, customer.connection).status_code == 403
    assert writer.get(URL).status_code == 403
    assert Client().get(URL).status_code == 401


def test_the_list_is_filtered(api: Client, made: dict[str, Any], account: Account) -> None:
    Destination.objects.builtin(account).observe(HealthStatus.ERROR, ["It does not answer."])

    def found(query: str) -> list[str]:
        return [row["kind"] for row in api.get(f"{URL}?{query}").json()["data"]]

    assert found("") == ["builtin", "postgres"]
    assert found("health.status=error") == ["builtin"]
    assert found('metadata={"a": 1}') == []
    assert list(errors(api.get(f"{URL}?health.status=good"))) == ["health.status"]
    assert list(errors(api.get(f"{URL}?kind=postgres"))) == ["kind"]


def test_a_password_that_does_not_open_is_no_matter_here(
    api: Client, made: dict[str, Any], customer: Customer, settings: Settings
) -> None:
    """It is shown, told when it is used, and healed by a new one."""
    settings.ENCRYPTION_KEYS = "other:5BFSZm0gH2qxjUH4uE8IzG8LfRgd6jBdmEQsKEnW0Tw="

    assert api.get(f"{URL}/{made['id']}").json() == made
    answer = patch(api, made["id"], connection={"sslmode": "verify-full"})
    assert list(errors(answer)) == ["connection.password"]
    assert patch(api, made["id"], connection={"password": PASSWORD}).status_code == 200
    assert Destination.objects.get().password == PASSWORD


# ---- it is changed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "value"), [("host", "other.example.com"), ("port", 6000), ("database", "other")])
def test_where_it_is_never_changes(api: Client, made: dict[str, Any], part: str, value: object) -> None:
    answer = patch(api, made["id"], connection={part: value})

    assert errors(answer) == {f"connection.{part}": ["Never changes: make another destination."]}
    assert patch(api, made["id"], connection={part: made["connection"][part]}).status_code == 200


def test_the_mask_is_not_taken_for_a_password(api: Client, made: dict[str, Any]) -> None:
    assert list(errors(patch(api, made["id"], connection=made["connection"]))) == ["connection.password"]
    assert Destination.objects.get().password == PASSWORD


def test_a_wrong_password_is_not_kept(api: Client, made: dict[str, Any]) -> None:
    answer = patch(api, made["id"], name="Other", connection={"password": "canary-wrong"})

    assert list(errors(answer)) == ["connection.password"]
    kept = Destination.objects.get()
    assert (kept.password, kept.name) == (PASSWORD, "Warehouse")


def test_name_and_metadata_change_without_going_there(api: Client, made: dict[str, Any], names: Names) -> None:
    names.addresses.clear()

    answer = patch(api, made["id"], name="Silo", metadata={"a": 1})

    assert (answer.json()["name"], answer.json()["metadata"]) == ("Silo", {"a": 1})
    assert AuditEvent.objects.get(action="destination.changed").detail == "name, metadata"


def test_a_new_password_is_kept_and_syncs_go_on(
    api: Client,
    made: dict[str, Any],
    customer: Customer,
    credential: Credential,
) -> None:
    destination = Destination.objects.get()
    destination.observe(HealthStatus.ERROR, ["The server did not accept the user name and the password."])
    waiting = sync_into(destination, credential, failure=Stop.DESTINATION, next_at="2999-01-01T00:00Z")
    with customer.superuser() as server:
        server.execute("ALTER ROLE loader PASSWORD 'canary-changed'")
    try:
        answer = patch(api, made["id"], connection={"password": "canary-changed"})
    finally:
        with customer.superuser() as server:
            server.execute(f"ALTER ROLE loader PASSWORD '{PASSWORD}'")

    assert answer.status_code == 200
    assert answer.json()["health"]["status"] == "ok"
    assert Destination.objects.get().password == "canary-changed"
    assert AuditEvent.objects.get(action="destination.changed").detail == "password"
    waiting.refresh_from_db()
    assert waiting.next_at.year < 2999


# ---- it is deleted ---------------------------------------------------------------------------------------------------


def test_one_that_syncs_write_to_stays(api: Client, made: dict[str, Any], credential: Credential) -> None:
    sync_into(Destination.objects.get(), credential)

    answer = api.delete(f"{URL}/{made['id']}")

    assert (answer.status_code, answer.json()["code"]) == (409, "has_syncs")


def test_one_with_schemas_that_are_still_to_be_dropped_is_left_if_that_is_said(
    api: Client, made: dict[str, Any]
) -> None:
    DroppedSchema.objects.create(destination=Destination.objects.get(), schema=SCHEMA)

    answer = api.delete(f"{URL}/{made['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "schemas_left")
    assert list(errors(api.delete(f"{URL}/{made['id']}?keep_data=maybe"))) == ["keep_data"]

    assert api.delete(f"{URL}/{made['id']}?keep_data=true").status_code == 200


def test_it_is_deleted(api: Client, made: dict[str, Any]) -> None:
    answer = api.delete(f"{URL}/{made['id']}")

    assert (answer.status_code, answer.json()) == (200, {"id": made["id"], "deleted": True})
    assert api.get(f"{URL}/{made['id']}").status_code == 404
    assert AuditEvent.objects.get(action="destination.deleted").object_name == "Warehouse"


# ---- our own ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(account: Account, sync_database: str) -> Destination:
    return Destination.objects.builtin(account)


def test_ours_has_no_connection_to_change_and_stays(api: Client, own: Destination) -> None:
    shown = api.get(f"{URL}/{own.pk}").json()
    assert (shown["kind"], shown["connection"]) == ("builtin", None)

    assert list(errors(patch(api, own.pk, connection={"password": "x"}))) == ["connection"]
    answer = api.delete(f"{URL}/{own.pk}")
    assert (answer.status_code, answer.json()["code"]) == (409, "builtin_destination")
    assert patch(api, own.pk, name="Rows").json()["name"] == "Rows"


def test_its_connection_is_for_those_who_may_see_secrets(api: Client, own: Destination) -> None:
    assert api.get(f"{URL}/{own.pk}/connection").status_code == 403


def test_how_to_connect_is_told_and_noted(reveal: Client, own: Destination) -> None:
    destinations.prepare(own, SCHEMA)

    answer = reveal.get(f"{URL}/{own.pk}/connection")

    told = answer.json()
    assert answer.status_code == 200
    assert list(told) == ["host", "port", "database", "username", "password", "sslmode", "schemas", "url"]
    assert told["schemas"] == [SCHEMA]
    with psycopg.connect(told["url"]) as there:
        assert there.execute("SELECT current_user").fetchone() == (told["username"],)
    event = AuditEvent.objects.get(action="destination.revealed")
    assert event.object_id == str(own.pk)
    assert told["password"] not in str(list(AuditEvent.objects.values()))
    assert reveal.head(f"{URL}/{own.pk}/connection").status_code == 405
    destinations.drop(own, SCHEMA)


def test_that_of_a_customers_is_his_own(reveal: Client, made: dict[str, Any]) -> None:
    answer = reveal.get(f"{URL}/{made['id']}/connection")

    assert (answer.status_code, answer.json()["code"]) == (409, "no_reader")


def test_where_no_reader_can_be_that_is_said(
    reveal: Client, account: Account, customer: Customer, settings: Settings
) -> None:
    own = Destination.objects.builtin(account)
    settings.SYNC_DATABASE = {
        "NAME": "warehouse", "HOST": "127.0.0.1", "PORT": customer.port, "USER": "loader", "PASSWORD": PASSWORD,
        "OPTIONS": {"sslmode": "require"},
    }  # fmt: skip

    answer = reveal.get(f"{URL}/{own.pk}/connection")

    assert (answer.status_code, answer.json()["code"]) == (409, "no_reader")
    assert "may not create roles" in answer.json()["summary"]


def test_while_it_is_away_that_is_said(reveal: Client, account: Account, settings: Settings) -> None:
    own = Destination.objects.builtin(account)
    settings.SYNC_DATABASE = {"NAME": "away", "HOST": "/nowhere", "USER": "nobody"}

    answer = reveal.get(f"{URL}/{own.pk}/connection")

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
