"""Fixtures that every floor uses; each is named after the thing it is."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from responses import RequestsMock
from xdist.scheduler import LoadScopeScheduling

from oauth_apps.models import Account, OAuthApp, RedirectURI
from tests.link.trip import Trip
from tests.providers.trip import network as network  # the simulator, reached from our side

# Folders whose tests share processes that take seconds to start: each goes to one worker, and the longest goes first.
TOGETHER = ("torture", "real", "run", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: TOGETHER.index(item.path.parent.name) if item.path.parent.name in TOGETHER else 99)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Which worker gets which tests: a file in one piece, and of the folders above all files."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        folder = path.split("/")[-2]
        return folder if folder in TOGETHER else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


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
