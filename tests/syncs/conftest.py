import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from psycopg import sql
from pytest_django import Settings

from credentials.models import Credential
from oauth_apps.models import Account, OAuthApp
from sequin_auth.lib.http import connections
from syncs.destinations import builtin
from syncs.models import Sync
from tests.lib.conftest import Names
from tests.lib.conftest import names as names  # the name server
from tests.oauth_apps.conftest import client_of
from tests.syncs import asking
from tests.syncs.customer import HOST, Customer
from tests.syncs.machine import machine as machine  # slices against an API on loopback
from tests.syncs.machine import pages as pages


@pytest.fixture(scope="session")
def sync_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The name of the sync database that this process has to itself."""
    name = settings.SYNC_DATABASE_NAME
    with django_db_blocker.unblock():
        builtin.target()
        connection.close()
    yield name
    with django_db_blocker.unblock():
        remove(name)


def remove(name: str) -> None:
    """A sync database with its roles."""
    with builtin.administrator() as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        roles = server.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = %s OR starts_with(rolname, %s)", [name, f"{name}_reader_"]
        ).fetchall()
        for (role,) in roles:
            server.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
            server.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    builtin.made.clear()


@pytest.fixture(scope="session")
def customer_server() -> Iterator[Customer]:
    customer = Customer(Path(tempfile.mkdtemp(prefix="customer-", dir=settings.VAR_DIR)))
    yield customer
    customer.stop()


@pytest.fixture
def customer(customer_server: Customer, names: Names, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Customer:
    """A customer's PostgreSQL that has a name, and that EGRESS_ALLOW names, since it is on this machine."""
    names.addresses[HOST] = ["127.0.0.1"]
    settings.EGRESS_ALLOW = customer_server.authorities
    monkeypatch.setattr(connections, "DEFAULT_CA_BUNDLE_PATH", str(customer_server.authority.certificate))
    return customer_server


# ---- a provider that nobody has ever heard of ------------------------------------------------------------------------


@pytest.fixture
def dunes_catalogue(settings: Settings) -> None:
    """With collections, and one without."""
    settings.PROVIDERS_DIR = str(asking.PROVIDERS)


@pytest.fixture
def dunes_app(dunes_catalogue: None, account: Account) -> OAuthApp:
    return asking.app_at(account, "dunes")


@pytest.fixture
def dunes(dunes_app: OAuthApp) -> Credential:
    """A credential that was granted `read`."""
    return asking.credential_at(dunes_app)


@pytest.fixture
def sync(dunes: Credential) -> Sync:
    return asking.sync_with(dunes)


@pytest.fixture
def api(account: Account) -> Client:
    return client_of(account)


@pytest.fixture
def other_api(other_account: Account) -> Client:
    return client_of(other_account)
