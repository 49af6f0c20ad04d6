from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from credentials.models import Credential
from oauth_apps.models import Account, OAuthApp
from tests.credentials import shapes, stored
from tests.oauth_apps.conftest import client_of

AppOf = Callable[[str], OAuthApp]
Post = Callable[..., Any]


@pytest.fixture
def api(account: Account) -> Client:
    return client_of(account)


@pytest.fixture
def other_api(other_account: Account) -> Client:
    return client_of(other_account)


@pytest.fixture
def reveal(account: Account) -> Client:
    """A client whose API token may read, write and see secrets."""
    return client_of(account, "read", "write", "reveal")


@pytest.fixture
def app_of(account: Account) -> AppOf:
    """The account's OAuth app at a provider, with the variables that its credentials need."""

    def create(slug: str) -> OAuthApp:
        found = OAuthApp.objects.filter(account=account, provider=slug).first()
        fields = {"provider": slug, "name": slug, "client_id": f"{slug}-1", "client_secret": "canary-client-secret"}
        return found or OAuthApp.objects.create(account=account, **fields, **shapes.APPS.get(slug, {}))

    return create


@pytest.fixture
def linear_app(account: Account) -> OAuthApp:
    return stored.linear_app(account)


@pytest.fixture
def linear(linear_app: OAuthApp) -> Credential:
    """A credential of the code flow, with both tokens, long ended."""
    return stored.linear_credential(linear_app)


@pytest.fixture
def stripe_key(account: Account) -> Credential:
    """A credential that is told by its secret alone."""
    return stored.keep(account, "stripe_key", None, secret="sk_test_canary")
