"""Customers' databases: where we go, whom we believe, and what we say when it fails."""

import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import certifi
import psycopg
import pytest
from django.db import connection, transaction
from pytest_django import Settings

from oauth_apps.models import Account
from sequin_auth.lib.http import InTransaction, connections
from syncs import destinations
from syncs.destinations import CheckFailed, DestinationUnavailable, customers
from syncs.models import Destination
from tests.lib.conftest import Names, Serve
from tests.lib.conftest import serve as serve
from tests.lib.servers import Visit
from tests.syncs.customer import HOST, PASSWORD, Customer

SCHEMA = "sync_0123456789ab"


def at(customer: Customer, **other: Any) -> Destination:
    """Not saved; so the password is not sealed either."""
    return Destination(kind="postgres", name="Warehouse", **(customer.connection | other))


def refusal(destination: Destination) -> tuple[str, str]:
    with pytest.raises(DestinationUnavailable) as raised:
        destinations.check(destinations.target_of(destination))
    assert raised.value.__cause__ is None
    return raised.value.reason, str(raised.value)


# ---- where we go -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
)
def test_an_address_that_is_not_public_is_not_called(
    address: str, customer: Customer, names: Names, settings: Settings
) -> None:
    settings.EGRESS_ALLOW = []
    names.addresses[HOST] = ["93.184.216.34", address]

    assert refusal(at(customer))[0] == "blocked"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "::1", "localhost"])
def test_nor_one_that_is_spelt_in_another_way(host: str, settings: Settings) -> None:
    settings.EGRESS_ALLOW = []
    destination = Destination(kind="postgres", host=host, port=5432, database="d", username="u", password="p")

    assert refusal(destination)[0] == "blocked"


def test_an_exception_is_for_its_port_alone(customer: Customer, settings: Settings) -> None:
    settings.EGRESS_ALLOW = [f"{HOST}:{customer.port}"]

    assert refusal(at(customer, port=customer.plain_port))[0] == "blocked"


def test_the_connection_goes_to_the_address_that_was_judged(customer: Customer, names: Names) -> None:
    target = destinations.target_of(at(customer))
    names.addresses[HOST] = ["203.0.113.1"]  # the name points elsewhere now

    with destinations.connect(target) as there:
        assert (there.info.host, there.info.hostaddr) == (HOST, "127.0.0.1")
    assert names.asked == [HOST]


def test_if_one_family_of_addresses_does_not_answer_the_other_is_tried(customer: Customer, names: Names) -> None:
    names.addresses[HOST] = ["::1", "::1", "127.0.0.1"]

    target = destinations.target_of(at(customer))

    assert target.hostaddr == "::1,127.0.0.1"
    destinations.check(target)


def test_a_name_without_an_address_is_told(customer: Customer) -> None:
    assert refusal(at(customer, host="nowhere.example.com"))[0] == "name"


def test_no_transaction_waits_for_it(customer: Customer, transactional_db: None) -> None:
    with transaction.atomic(), pytest.raises(InTransaction):
        destinations.target_of(at(customer))


@pytest.mark.parametrize(
    "host",
    [
        "", "/var/run/postgresql", "a,b", "a=b", "a b", "a\tb", "a:5432", "http://a", "a/b", "user@a", "a?b",
        "@abstract", "a..b", ".a", "a.", "-a", "[::1]", "fe80::1%eth0", "::1::", "%2Fvar%2Frun", "a\\b", "bücher",
        "x" * 254,
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="Must be one name or IP address"):
        customers.accept_host(host)


@pytest.mark.parametrize(
    ("host", "kept"),
    [
        ("DB.Example.com", "db.example.com"),
        ("db_1.internal", "db_1.internal"),
        ("203.0.113.7", "203.0.113.7"),
        ("2001:0DB8:0::1", "2001:db8::1"),
    ],
)
def test_a_host_is_kept_as_it_is_compared(host: str, kept: str) -> None:
    assert customers.accept_host(host) == kept


# ---- whom we believe -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sslmode", ["require", "verify-full"])
def test_it_speaks_tls(customer: Customer, sslmode: str) -> None:
    target = destinations.target_of(at(customer, sslmode=sslmode))

    with destinations.connect(target) as there:
        assert there.pgconn.ssl_in_use
    destinations.check(target)


def test_a_certificate_of_another_host_is_refused(customer: Customer, names: Names, settings: Settings) -> None:
    settings.EGRESS_ALLOW = [f"other.example.com:{customer.port}"]
    names.addresses["other.example.com"] = ["127.0.0.1"]

    assert refusal(at(customer, host="other.example.com", sslmode="verify-full"))[0] == "tls"


def test_a_certificate_of_nobody_known_is_refused(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "DEFAULT_CA_BUNDLE_PATH", certifi.where())

    assert refusal(at(customer, sslmode="verify-full"))[0] == "tls"


def test_a_server_without_tls_is_refused(customer: Customer) -> None:
    assert refusal(at(customer, port=customer.plain_port))[0] == "tls"


def test_without_tls_only_where_the_operator_allows(customer: Customer, names: Names, settings: Settings) -> None:
    plain = at(customer, port=customer.plain_port, sslmode="disable")
    destinations.check(destinations.target_of(plain))

    settings.EGRESS_ALLOW, names.addresses[HOST] = [], ["93.184.216.34"]

    assert refusal(plain) == ("blocked", customers.NO_PLAIN)


# ---- servers of nobody knows whose making ----------------------------------------------------------------------------


Plain = Callable[[Callable[[Visit], None]], Destination]


@pytest.fixture
def plain(serve: Serve) -> Plain:
    """A destination without TLS, whose server behaves as it is told."""

    def start(behave: Callable[[Visit], None]) -> Destination:
        where = {"host": "127.0.0.1", "port": serve(behave).port, "database": "d"}
        return Destination(kind="postgres", username="u", password=PASSWORD, sslmode="disable", **where)

    return start


def message(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!i", len(content) + 4) + content


LET_IN = message(b"R", struct.pack("!i", 0)) + message(b"Z", b"I")


def test_the_password_itself_is_handed_to_nobody(plain: Plain) -> None:
    """Without a certificate that somebody checked, anybody may ask for it. Source: PostgreSQL, 53.2.1."""
    received = list[bytes]()

    def ask_for_it(visit: Visit) -> None:
        visit.connection.recv(1024)
        visit.send(message(b"R", struct.pack("!i", 3)))
        received.append(visit.connection.recv(1024))

    assert refusal(plain(ask_for_it))[0] == "authentication"
    assert PASSWORD.encode() not in b"".join(received)


def test_what_it_says_is_not_repeated(plain: Plain) -> None:
    def refuse(visit: Visit) -> None:
        visit.connection.recv(1024)
        said = b"SFATAL\0VFATAL\0C28P01\0Mcanary of the server's own words\0\0"
        visit.send(message(b"E", said))

    reason, words = refusal(plain(refuse))

    assert reason == "server"
    assert "canary" not in words


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\0" * 64, message(b"R", b"\xff" * 4)])
def test_what_is_no_postgresql_is_told(plain: Plain, said: bytes) -> None:
    def babble(visit: Visit) -> None:
        visit.connection.recv(1024)
        visit.send(said)

    assert refusal(plain(babble))[0] in {"server", "authentication"}


def test_one_that_lets_us_in_and_then_says_nothing_is_left(plain: Plain) -> None:
    def fall_silent(visit: Visit) -> None:
        visit.connection.recv(1024)
        visit.send(LET_IN)
        visit.hang()

    target = destinations.target_of(plain(fall_silent))

    with pytest.raises(DestinationUnavailable) as raised:
        destinations.check(target, ends_at=time.monotonic() + 0.2)
    assert raised.value.reason == "server"


MUCH = message(b"S", b"x\0" + b"x" * 20_000 + b"\0") * 400  # 8 MB of what a server may always say
YES = (
    message(b"T", struct.pack("!h", 1) + b"x\0" + struct.pack("!ihihih", 0, 0, 16, 1, -1, 0))
    + message(b"D", struct.pack("!hi", 1, 1) + b"t")
    + message(b"C", b"SELECT 1\0")
    + message(b"Z", b"I")
)


def test_one_that_says_too_much_is_left(plain: Plain) -> None:
    def go_on_and_on(visit: Visit) -> None:
        visit.connection.recv(1024)
        visit.send(LET_IN)
        visit.connection.recv(1024)
        visit.send(MUCH)
        visit.connection.settimeout(30)
        try:
            visit.connection.recv(1024)  # until it is left
        except TimeoutError:
            visit.send(YES)
            while visit.connection.recv(1024):
                visit.send(YES)

    with pytest.raises(DestinationUnavailable) as raised:
        destinations.check(destinations.target_of(plain(go_on_and_on)), ends_at=time.monotonic() + 3600)
    assert raised.value.reason == "server"


def test_nor_is_one_kept_that_says_too_much_before_it_lets_us_in(plain: Plain) -> None:
    def greet_at_length(visit: Visit) -> None:
        visit.connection.recv(1024)
        visit.send(message(b"R", struct.pack("!i", 0)), MUCH, message(b"Z", b"I"))
        visit.hang()

    with pytest.raises(DestinationUnavailable) as raised:
        destinations.connect(destinations.target_of(plain(greet_at_length)))
    assert raised.value.reason == "server"


def test_an_answer_that_is_none_is_told(plain: Plain) -> None:
    def answer_oddly(visit: Visit) -> None:
        visit.connection.recv(1024)
        visit.send(LET_IN)
        visit.connection.recv(1024)
        column = b"x\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)
        row = message(b"T", struct.pack("!h", 1) + column) + message(b"D", struct.pack("!hi", 1, 5) + b"maybe")
        visit.send(row, message(b"C", b"SELECT 1\0"), message(b"Z", b"I"))
        visit.hang()

    assert refusal(plain(answer_oddly))[0] == "server"


def test_nobody_there_is_told(customer: Customer, settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    settings.EGRESS_ALLOW = [f"{HOST}:{port}"]

    assert refusal(at(customer, port=port))[0] == "refused"


# ---- whether it lets us do what we have to ---------------------------------------------------------------------------


def test_a_wrong_password_is_told(customer: Customer) -> None:
    assert refusal(at(customer, password="canary-wrong"))[0] == "authentication"
    assert refusal(at(customer, username="nobody"))[0] == "authentication"


def test_a_database_that_there_is_not_is_told(customer: Customer) -> None:
    assert refusal(at(customer, database="no-such"))[0] == "database"


def test_the_missing_right_is_told_as_a_statement(customer: Customer) -> None:
    onlooker = at(customer, username="onlooker")

    told = ["CREATE", "TEMPORARY"]
    try:
        for right in told:
            statement = f'GRANT {right} ON DATABASE "warehouse" TO "onlooker";'
            assert refusal(onlooker) == ("check", f"A right is missing: {statement}")
            with customer.superuser() as server:
                server.execute(statement)
        destinations.check(destinations.target_of(onlooker))
    finally:
        with customer.superuser() as server:
            server.execute("REVOKE CREATE, TEMPORARY ON DATABASE warehouse FROM onlooker")


def test_a_replica_is_told(customer: Customer) -> None:
    with customer.superuser() as server:
        server.execute("ALTER ROLE loader SET default_transaction_read_only = on")
    try:
        assert refusal(at(customer)) == ("check", customers.REPLICA)
    finally:
        with customer.superuser() as server:
            server.execute("ALTER ROLE loader RESET default_transaction_read_only")


def test_the_schemas_are_made_and_dropped(customer: Customer) -> None:
    destinations.prepare(at(customer), SCHEMA)
    destinations.prepare(at(customer), SCHEMA)
    with customer.superuser("warehouse") as there:
        found = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sync_%' ORDER BY 1"
        assert there.execute(found).fetchall() == [(SCHEMA,), (f"{SCHEMA}_staging",)]

        destinations.drop(at(customer), SCHEMA)
        destinations.drop(at(customer), SCHEMA)

        assert there.execute(found).fetchall() == []


def test_who_may_not_make_them_has_them_made_beforehand(customer: Customer) -> None:
    onlooker = at(customer, username="onlooker")
    with pytest.raises(CheckFailed) as raised:
        destinations.prepare(onlooker, SCHEMA)
    statements = str(raised.value).partition(" or: ")[2]
    assert statements == (
        f'CREATE SCHEMA "{SCHEMA}" AUTHORIZATION "onlooker"; CREATE SCHEMA "{SCHEMA}_staging" AUTHORIZATION "onlooker";'
    )

    with customer.superuser("warehouse") as there:
        there.execute(statements)
    destinations.prepare(onlooker, SCHEMA)

    destinations.drop(onlooker, SCHEMA)


def test_a_password_that_does_not_open_is_told(customer: Customer, account: Account, settings: Settings) -> None:
    kept = at(customer)
    kept.account = account
    kept.save()
    with connection.cursor() as cursor:
        cursor.execute("SELECT password FROM syncs_destination")
        assert PASSWORD.encode() not in bytes(cursor.fetchone()[0])

    settings.ENCRYPTION_KEYS = "other:5BFSZm0gH2qxjUH4uE8IzG8LfRgd6jBdmEQsKEnW0Tw="

    assert refusal(Destination.objects.get()) == ("password", customers.SEALED)


def test_no_reader_is_made_there(customer: Customer) -> None:
    with pytest.raises(destinations.NoReader, match="is your own"):
        destinations.reader(at(customer))


def test_psycopg2_goes_there_too(customer: Customer) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    for sslmode in ("require", "verify-full"):
        there = psycopg2.connect(**destinations.target_of(at(customer, sslmode=sslmode)).parameters())
        assert there.info.ssl_in_use
        there.close()


def test_a_pooler_is_told(customer: Customer) -> None:
    from syncs.destinations.target import fault_of

    for said, reason in (
        ("FATAL:  unsupported startup parameter in options: statement_timeout", "pooler"),
        ("FATAL:  sorry, too many clients already", "busy"),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4", user "u", database "d", SSL encryption', "authentication"),
    ):
        assert fault_of(psycopg.OperationalError(said)).reason == reason
