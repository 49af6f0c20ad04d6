"""A trip for which nobody has named a scope: what of its provider can be synced then."""

import pytest
from django.conf import settings
from django.test import Client

from credentials.models import Credential
from oauth_apps.models import Account, RedirectURI
from providers import catalogue
from providers.provider import Provider
from syncs import collections
from tests.oauth_apps.conftest import client_of
from tests.providers.trip import REDIRECT_URI, Browser, sandbox_app
from tests.providers.trip import network as network  # the way to the simulator

WITH_COLLECTIONS = [
    slug for slug, provider in sorted(catalogue.load().items()) if provider.has_code_flow and provider.collections
]
SAID = "open no collection"  # in the file of one whose default scopes are for something else


def connected(provider: Provider, account: Account, client: Client) -> Credential:
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    browser = Browser(client, sandbox_app(account, provider))
    answer = browser.token(code=browser.chooses("approve")["code"]).json()
    api = client_of(account, "read", "write")
    kept = api.post("/v1/credentials", answer["credential"], content_type="application/json")
    assert kept.status_code == 201, kept.content
    return Credential.objects.whole().get(pk=kept.json()["id"])


@pytest.mark.parametrize("slug", WITH_COLLECTIONS)
@pytest.mark.usefixtures("network")
def test_what_is_asked_for_by_default_opens_a_collection(slug: str, account: Account, client: Client) -> None:
    """Or the provider's file says that it does not"""
    provider = catalogue.load()[slug]
    says_so = SAID in (settings.BASE_DIR / "providers" / "catalogue" / f"{slug}.toml").read_text()

    credential = connected(provider, account, client)

    demanding = [one for one in provider.collections if one.scopes] or provider.collections
    opened = [one.id for one in demanding if not collections.lacking_scopes(provider, credential, one)]
    assert bool(opened) is not says_so


@pytest.mark.usefixtures("network")
def test_hubspots_opens_all(account: Account, client: Client) -> None:
    provider = catalogue.load()["hubspot"]

    credential = connected(provider, account, client)

    names = [f"hubspot:{one.id}" for one in provider.collections]
    assert collections.accept(provider, credential, names).names == names
