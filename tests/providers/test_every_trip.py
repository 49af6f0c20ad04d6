"""
Every provider of the catalogue, in the simulator: start, consent, callback, token, import, refresh, revocation.

What the simulator does is written from the provider's documentation, so that a wrong entry fails; test_wrong_entries.py
proves it. What is asked of a few providers in depth stands in test_trips.py.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import time_machine
from django.conf import settings
from django.test import Client
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from responses import RequestsMock

from credentials.models import Authorization
from oauth_apps.models import Account, RedirectURI
from providers import catalogue, kinds
from providers.provider import Provider
from providers.sandbox.models import Grant, Token
from providers.sandbox.script import simulated
from providers.tokens import missing_scopes
from tests.oauth_apps.conftest import client_of
from tests.providers.trip import REDIRECT_URI, Browser, sandbox_app

SLUGS = sorted(slug for slug, provider in catalogue.load().items() if provider.has_code_flow)
DEPLOYMENTS = [(slug, name) for slug in SLUGS for name in catalogue.get(slug).deployments]
Commits = Callable[[], AbstractContextManager[Any]]


def offers_refresh_tokens(slug: str) -> bool:
    player = simulated(slug)
    assert player is not None
    return player.script.refresh.policy != "none"


def revokes_a_grant_whose_token_has_ended(slug: str) -> bool:
    """Whether there is anything to revoke by then, and a refresh token to do it with."""
    provider, player = catalogue.get(slug), simulated(slug)
    assert player is not None
    ends = player.script.lifetime is not None
    return provider.revokes and ends and provider.refresh_with == "refresh_token" and offers_refresh_tokens(slug)


@pytest.mark.parametrize("slug", SLUGS)
def test_the_whole_trip(
    slug: str,
    client: Client,
    account: Account,
    network: RequestsMock,
    django_capture_on_commit_callbacks: Any,
) -> None:
    travel(catalogue.get(slug), client, account, lambda: django_capture_on_commit_callbacks(execute=True))


@pytest.mark.parametrize(("slug", "deployment"), DEPLOYMENTS)
def test_the_whole_trip_at_another_deployment(
    slug: str,
    deployment: str,
    client: Client,
    account: Account,
    network: RequestsMock,
    django_capture_on_commit_callbacks: Any,
) -> None:
    travel(
        catalogue.get(slug),
        client,
        account,
        lambda: django_capture_on_commit_callbacks(execute=True),
        variables={"deployment": deployment},
    )

    addresses: dict[str, str] = msgspec.structs.asdict(catalogue.get(slug).deployments[deployment])
    called = {urlsplit(str(call.request.url)).path.split("/")[3] for call in network.calls}
    assert not called.isdisjoint({urlsplit(address).netloc for address in addresses.values()})


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if revokes_a_grant_whose_token_has_ended(slug)])
def test_a_deletion_ends_the_grant_after_the_access_token_has_ended(
    slug: str,
    client: Client,
    account: Account,
    network: RequestsMock,
    django_capture_on_commit_callbacks: Any,
) -> None:
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    provider = catalogue.get(slug)
    browser, api = Browser(client, sandbox_app(account, provider)), client_of(account, "write")
    body = browser.token(code=browser.chooses("approve", **several_scopes(provider))["code"]).json()
    kept = api.post("/v1/credentials", body["credential"], content_type="application/json").json()
    ends = Token.objects.latest("created_at").expires_at
    assert ends is not None
    assert "refresh_token" in body

    with time_machine.travel(ends + timedelta(seconds=1)), django_capture_on_commit_callbacks(execute=True):
        assert api.delete(f"/v1/credentials/{kept['id']}").status_code == 200

    assert Grant.objects.get().tokens.exists()
    assert not Token.objects.filter(revoked_at=None).exists()


@pytest.mark.parametrize(("variables", "comes"), [({}, False), ({"user_scope": "users:read,chat:write"}, True)])
def test_slacks_user_token_comes_beside_the_bots_if_it_is_asked_for(
    variables: dict[str, str], comes: bool, client: Client, account: Account, network: RequestsMock
) -> None:
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    browser = Browser(client, sandbox_app(account, catalogue.get("slack"), variables=variables))

    body = browser.token(code=browser.chooses("approve")["code"]).json()

    token = body["credential"]["properties"].get("user_access_token", "")
    assert body["access_token"].startswith("xoxb-")
    assert token.startswith("xoxp-") is comes
    headers = {"Authorization": f"Bearer {token}"}
    assert client.post("/sandbox/slack/slack.com/api/auth.test", headers=headers).json()["ok"] is comes


@pytest.mark.parametrize("slug", SLUGS)
def test_a_denial_is_told_in_rfc_6749s_words(
    slug: str, client: Client, account: Account, network: RequestsMock
) -> None:
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    browser = Browser(client, sandbox_app(account, catalogue.get(slug)))

    arrived = browser.chooses("deny")

    assert (arrived["error"], arrived["state"]) == ("access_denied", "s1")


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if offers_refresh_tokens(slug)])
def test_a_refresh_token_that_is_refused_needs_its_owner(
    slug: str, client: Client, account: Account, network: RequestsMock
) -> None:
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    provider = catalogue.get(slug)
    browser, api = Browser(client, sandbox_app(account, provider)), client_of(account, "write", "reveal")
    body = browser.token(code=browser.chooses("refresh_fails")["code"]).json()
    kept = api.post("/v1/credentials", body["credential"], content_type="application/json").json()

    with time_machine.travel(late_enough(provider, kept["expires_at"])):
        refused = api.get(f"/v1/credentials/{kept['id']}/access-token", {"force_refresh": "true"})

    assert (refused.status_code, refused.json()["code"]) == (409, "needs_reauthorization"), refused.content


class TripFailed(AssertionError):
    """`step`: the one that it got to."""

    def __init__(self, step: str, why: AssertionError) -> None:
        super().__init__(f"{step}: {why}")
        self.step = step


@contextmanager
def step(name: str) -> Iterator[None]:
    try:
        yield
    except AssertionError as exc:
        raise TripFailed(name, exc) from exc


def travel(
    provider: Provider,
    client: Client,
    account: Account,
    commits: Commits,
    *,
    variables: Mapping[str, str] | None = None,
    yields: Collection[str] = (),
) -> None:
    """From the start link to a revoked token; raises TripFailed wherever the provider says no.

    `variables`: of the OAuth app, besides those that it needs. `yields`: properties that have to come of it.
    """
    RedirectURI.objects.create(account=account, redirect_uri=REDIRECT_URI)
    oauth_app = sandbox_app(account, provider)
    if variables:
        oauth_app.variables |= variables
        oauth_app.save()
    browser, api = Browser(client, oauth_app), client_of(account, "read", "write", "reveal")

    with step("consent"):
        outcomes = browser.outcomes(**several_scopes(provider))
    with step("exchange"):  # the callback, where the engine exchanges the code, and asks who it is
        arrived = browser.follows(outcomes["approve"])
        assert arrived.keys() == {"code", "state"}, arrived
        answer = browser.token(code=arrived["code"])
        assert answer.status_code == 200, answer.content
        body = answer.json()
        assert None not in body.values()
    with step("scopes"):
        requested = Authorization.objects.get().scopes
        assert missing_scopes(provider, requested, body.get("scope", "").split()) == []

    with step("import"):
        imported = api.post("/v1/credentials", body["credential"], content_type="application/json")
        assert imported.status_code == 201, imported.content
        properties = imported.json()["properties"]
        required = {name for name, prop in provider.credential.items() if prop.required}
        assert properties["kind"] == provider.kind
        assert required | {*yields} <= properties.keys()

    url = f"/v1/credentials/{imported.json()['id']}"
    with step("refresh"):
        if provider.refresh_with == "access_token" or "refresh_token" in body:
            with time_machine.travel(late_enough(provider, imported.json()["expires_at"])):
                refreshed = api.get(f"{url}/access-token", {"force_refresh": "true"})
            assert refreshed.status_code == 200, refreshed.content
            assert refreshed.json()["access_token"] != body["access_token"]
            base_url = refreshed.json()["api"]["base_url"]
            assert base_url is None or base_url.startswith(f"{settings.PUBLIC_URL}/sandbox/{provider.slug}/")
        else:
            assert provider.refresh_with == "none" or not offers_refresh_tokens(provider.slug)

    with step("check"):
        checked = api.post(f"{url}/check")
        assert checked.status_code == 200, checked.content
        assert checked.json()["health"]["status"] != "error", checked.json()["health"]

    with step("revocation"):
        with commits():
            assert api.delete(url).status_code == 200
        if provider.revokes:
            assert Grant.objects.get().tokens.exists()
            assert not Token.objects.filter(revoked_at=None).exists()


def several_scopes(provider: Provider) -> dict[str, str]:
    """The default scopes and one more, two at least if there are as many: a wrong separator shows only then."""
    others = [scope for scope in provider.scopes if scope not in provider.default_scopes]
    scopes = [*provider.default_scopes, *others[: max(1, 2 - len(provider.default_scopes))]]
    return {"scope": " ".join(scopes)} if provider.scope_param and scopes else {}


def late_enough(provider: Provider, expires_at: str | None) -> Any:
    """When the provider takes a refresh: now, or shortly before the access token ends."""
    ends = parse_datetime(expires_at) if expires_at and provider.refresh_only_in_last else None
    return ends - timedelta(seconds=10) if ends else timezone.now()


def test_each_has_a_kind_of_its_own() -> None:
    assert all(kinds.get(catalogue.get(slug).kind).provider.slug == slug for slug in SLUGS)


def test_there_are_as_many_as_we_say() -> None:
    assert len(catalogue.load()) >= 240
