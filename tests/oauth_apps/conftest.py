from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from oauth_apps import api_tokens
from oauth_apps.models import Account, ApiToken, OAuthApp

NewApp = Callable[..., OAuthApp]
PROVIDERS = Path(__file__).parent / "providers"


@pytest.fixture(autouse=True)
def acme(settings: Settings) -> None:
    """A few providers that nobody has ever heard of, one for each rule."""
    settings.PROVIDERS_DIR = str(PROVIDERS)


@pytest.fixture
def token(account: Account) -> str:
    return api_tokens.issue(account)[1]


@pytest.fixture
def token_row(token: str) -> ApiToken:
    return ApiToken.objects.get()


def client_of(account: Account, *scopes: str) -> Client:
    """A client that shows an API token of `account` with every request."""
    _, token = api_tokens.issue(account, scopes=scopes or api_tokens.DEFAULT_SCOPES)
    return Client(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def api(token: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def other_api(other_account: Account) -> Client:
    return client_of(other_account)


@pytest.fixture
def new_app(account: Account) -> NewApp:
    def create(**fields: Any) -> OAuthApp:
        defaults = {
            "account": account,
            "provider": "acme",
            "name": "Spice",
            "client_id": "acme-1",
            "client_secret": "s3",
        }
        return OAuthApp.objects.create(**(defaults | fields))

    return create


@pytest.fixture
def acme_app(new_app: NewApp) -> OAuthApp:
    return new_app()
