"""Fixtures that every floor uses; each is named after the thing it is."""

import gc
from collections.abc import Iterator
from typing import Any

import hypothesis
import psycopg
import pytest
from django.db import connection
from django.test import Client
from pytest_django import DjangoDbBlocker
from responses import RequestsMock
from xdist.scheduler import LoadScopeScheduling

from oauth_apps import audit, audit_seals
from oauth_apps.models import Account, OAuthApp, RedirectURI
from sequin_auth import urls as urls  # whoever signs in is noted by the console, which they bring along
from sequin_auth.lib.embedded_postgres.base import server_of
from tests.link.trip import Trip
from tests.providers.trip import network as network  # the simulator, reached from our side
from tests.template_database import template_database

# Always the same examples; `make fuzz` looks further, by --hypothesis-profile=long.
hypothesis.settings.register_profile("short", max_examples=50, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("long", max_examples=5_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile("short")

# Folders whose tests share processes that take seconds to start: each goes to one worker.
TOGETHER = ("browser", "torture", "run", "real", "syncs_live", "seeing", "documentation")
# A file that shares such a process with another one goes where that goes.
WITH = {"tests/security/test_i_bypasses.py": "tests/security/test_i_load.py"}
# The longest, each of which would keep everybody waiting if it came last.
FIRST = (
    "browser",
    "torture",
    "syncs_live",
    "tests/security/test_g_faults.py",
    "tests/security/test_i_fuzz.py",
    "tests/operating/test_beyond_one_machine.py",
    "documentation",
    "tests/providers/test_every_trip.py",
    "run",
    "seeing",
    "tests/syncs/test_every_collection.py",
    "tests/syncs/test_hostile.py",
    "tests/security/test_e_keys.py",
    "tests/security/test_i_load.py",
    "tests/security/test_f_egress.py",
    "real",
    "tests/operating/test_move_database.py",
    "tests/operating/test_container.py",
    "tests/operating/test_backup.py",
    "tests/console/test_no_secret.py",
    "tests/syncs/test_credentials_of_syncs.py",
    "tests/security/test_h_platform.py",
    "tests/security/test_scenarios.py",
)


def piece_of(nodeid: str) -> str:
    """What one worker gets: a file, with those that go with it, and of the folders above all files."""
    path = nodeid.partition("::")[0]
    path = WITH.get(path, path)
    folder = path.split("/")[-2]
    return folder if folder in TOGETHER else path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {piece: place for place, piece in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(piece_of(item.nodeid), len(places)))


def pytest_collection(session: pytest.Session) -> None:
    """Nothing of what is read now is garbage. (Whoever only hands out the tests to others collects none.)"""
    if session.config.getoption("dist") == "no":
        gc.disable()


def pytest_collection_finish() -> None:
    """What has been read by now stays to the end: the collector need not walk through it thousands of times."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    gc.enable()


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Which worker gets which tests."""

    def _split_scope(self, nodeid: str) -> str:
        return piece_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None, django_db_blocker: DjangoDbBlocker) -> None:
    """The database is migrated already, and need not survive a crash of the machine: it waits for no disk."""
    if connection.settings_dict.get("DATA_DIR"):  # it is ours, not one that DATABASE_URL names
        server = server_of(connection.settings_dict)
        server.start()
        with psycopg.connect(server.uri("postgres"), autocommit=True) as superuser:
            superuser.execute("ALTER SYSTEM SET fsync = off")
            superuser.execute("ALTER SYSTEM SET synchronous_commit = off")
            superuser.execute("ALTER SYSTEM SET full_page_writes = off")
            superuser.execute("SELECT pg_reload_conf()")
            with django_db_blocker.unblock():
                connection.settings_dict["TEST"]["TEMPLATE"] = template_database(superuser)


@pytest.fixture(autouse=True)
def audit_key() -> None:
    """Known, as in a process that has run for a while; and no stranger has been there."""
    audit_seals.keys["key"] = b"the key of audit events in tests"
    audit.lately.clear()


@pytest.fixture(autouse=True)
def jobs_of_nobody_else(request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A test that commits leaves none behind: Django empties its own tables, and procrastinate's are not its own."""
    yield
    marker = request.node.get_closest_marker("django_db")
    if (marker and marker.kwargs.get("transaction")) or "transactional_db" in request.fixturenames:
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute("DELETE FROM procrastinate_jobs")


@pytest.fixture
def collecting_as_a_server() -> Iterator[None]:
    """For what is measured in memory: what is in a cycle is collected as early as there."""
    thresholds = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*thresholds)


@pytest.fixture
def responses() -> Iterator[RequestsMock]:
    """The providers. A request that no test announced fails."""
    with RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def account(db: None) -> Account:
    return Account.objects.create(name="Arrakis")


@pytest.fixture
def other_account(db: None) -> Account:
    return Account.objects.create(name="Harkonnen")


@pytest.fixture
def redirect_uri(account: Account) -> RedirectURI:
    return RedirectURI.objects.create(account=account, redirect_uri="https://app.example.com/callback/:provider")


@pytest.fixture
def stripe_app(account: Account, redirect_uri: RedirectURI) -> OAuthApp:
    return OAuthApp.objects.create(
        account=account, provider="stripe", name="Stripe", client_id="ca_1", client_secret="canary-client-secret"
    )


@pytest.fixture
def trip(client: Client, responses: RequestsMock, stripe_app: OAuthApp) -> Trip:
    return Trip(client, responses, stripe_app)
