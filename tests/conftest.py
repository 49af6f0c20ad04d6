"""Fixtures that every floor uses; each is named after the thing it is."""

from collections.abc import Iterator

import pytest
from django.test import Client
from responses import RequestsMock

from oauth_apps.models import Account, OAuthApp, RedirectURI
from tests.link.trip import Trip

# Folders whose tests share processes that take seconds to start: each goes to one worker, and the longest goes first.
TOGETHER = ("torture", "real", "run", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group(folder if folder in TOGETHER else item.path.stem))
    items.sort(key=lambda item: TOGETHER.index(item.path.parent.name) if item.path.parent.name in TOGETHER else 99)


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
