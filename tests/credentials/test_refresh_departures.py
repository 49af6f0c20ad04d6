"""Stored credentials of providers that refresh in ways of their own: by the access token itself, or only at its end."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from responses import RequestsMock, matchers

from credentials import deletion
from credentials.models import Credential, Failure, Token
from oauth_apps.models import Account, OAuthApp
from tests.credentials.stored import again, keep

PROLONG = "https://graph.instagram.com/refresh_access_token"
EXACT = "https://start.exactonline.nl/api/oauth2/token"


def app_at(account: Account, provider: str) -> OAuthApp:
    return OAuthApp.objects.create(
        account=account, provider=provider, name=provider, client_id="c1", client_secret="canary-client-secret"
    )


def in_(**left: float) -> str:
    return (timezone.now() + timedelta(**left)).isoformat(timespec="seconds")


@pytest.fixture
def prolonged(account: Account) -> Credential:
    app = app_at(account, "instagram")
    values = {"user_id": "7", "access_token": "canary-access-1", "expires_at": in_(days=5)}
    return keep(account, "instagram_oauth2", app, **values)


@pytest.fixture
def late(account: Account) -> Credential:
    app = app_at(account, "exact-online")
    tokens = {"access_token": "canary-access-1", "refresh_token": "canary-refresh-1", "expires_at": in_(seconds=120)}
    return keep(account, "exact_online_oauth2", app, **tokens, **identity_of_exact())


def identity_of_exact() -> dict[str, Any]:
    from providers import catalogue

    return dict.fromkeys(catalogue.get("exact-online").identity_properties(), "7")


def read(reveal: Client, credential: Credential, **query: str) -> Any:
    return reveal.get(f"/v1/credentials/{credential.pk}/access-token", query)


# ---- by the access token itself --------------------------------------------------------------------------------------


def test_an_access_token_that_has_ended_cannot_be_prolonged(
    prolonged: Credential, reveal: Client, responses: RequestsMock
) -> None:
    with time_machine.travel(timezone.now() + timedelta(days=6)):
        answer = read(reveal, prolonged)

    assert (answer.status_code, answer.json()["code"]) == (409, "needs_reauthorization")
    assert again(prolonged).token.failure == Failure.NO_REFRESH_TOKEN
    assert len(responses.calls) == 0


def test_an_access_token_is_prolonged_by_itself(prolonged: Credential, reveal: Client, responses: RequestsMock) -> None:
    wanted = {"grant_type": "ig_refresh_token", "access_token": "canary-access-1"}
    new = {"access_token": "canary-access-2", "token_type": "bearer", "expires_in": 5_184_000}
    responses.get(PROLONG, json=new, match=[matchers.query_param_matcher(wanted)])

    answer = read(reveal, prolonged, force_refresh="true")

    assert (answer.status_code, answer.json()["access_token"]) == (200, "canary-access-2")
    token = again(prolonged).token
    assert token.refresh_token is None
    assert token.due_at
    assert token.expires_at
    assert timedelta(days=1) < token.expires_at - token.due_at < timedelta(days=20)


def test_it_is_prolonged_ahead_of_its_end_by_schedule(prolonged: Credential) -> None:
    token = again(prolonged).token

    assert token.due_at
    assert token.expires_at
    assert timezone.now() < token.due_at < token.expires_at
    assert str(token.pk) in {str(pk) for pk, _ in due_within(days=5)}


def due_within(days: int) -> list[tuple[Any, str]]:
    with time_machine.travel(timezone.now() + timedelta(days=days)):
        return Token.objects.due(limit=10)


# ---- only at the end -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [{}, {"min_ttl": "600"}, {"force_refresh": "true"}])
def test_no_refresh_is_asked_for_before_the_provider_takes_one(
    late: Credential, reveal: Client, responses: RequestsMock, query: dict[str, str]
) -> None:
    answer = read(reveal, late, **query)

    assert (answer.status_code, answer.json()["access_token"]) == (200, "canary-access-1")
    assert len(responses.calls) == 0


def test_in_its_last_seconds_the_token_is_refreshed(late: Credential, reveal: Client, responses: RequestsMock) -> None:
    new = {"access_token": "canary-access-2", "refresh_token": "canary-refresh-2", "expires_in": "600"}
    responses.post(EXACT, json=new)

    with time_machine.travel(timezone.now() + timedelta(seconds=95)):
        answer = read(reveal, late)

    assert answer.json()["access_token"] == "canary-access-2"
    token = again(late).token
    assert token.due_at
    assert token.expires_at
    assert token.expires_at - token.due_at <= timedelta(seconds=30)


# ---- and then no more ------------------------------------------------------------------------------------------------

ZENDESK = "https://acme.zendesk.com"


@pytest.fixture
def revoked_by_bearer(account: Account) -> Credential:
    app = app_at(account, "zendesk")
    app.variables = {"subdomain": "acme"}
    app.save()
    tokens = {"access_token": "canary-access-1", "refresh_token": "canary-refresh-1", "expires_at": in_(minutes=-5)}
    return keep(account, "zendesk_oauth2", app, **tokens, subdomain="acme", user_id="7")


def test_what_is_revoked_by_an_access_token_is_refreshed_once_more_if_that_has_ended(
    revoked_by_bearer: Credential, responses: RequestsMock
) -> None:
    new = {"access_token": "canary-access-2", "refresh_token": "canary-refresh-2", "expires_in": 600}
    responses.post(f"{ZENDESK}/oauth/tokens", json=new)
    bearer = {"Authorization": "Bearer canary-access-2"}
    url = f"{ZENDESK}/api/v2/oauth/tokens/current.json"
    responses.delete(url, status=204, match=[matchers.header_matcher(bearer)])

    assert deletion.revoked(again(revoked_by_bearer))


def test_a_token_that_could_not_be_refreshed_is_not_called_revoked(
    revoked_by_bearer: Credential, responses: RequestsMock
) -> None:
    responses.post(f"{ZENDESK}/oauth/tokens", status=503)
    responses.delete(f"{ZENDESK}/api/v2/oauth/tokens/current.json", status=401)

    assert not deletion.revoked(again(revoked_by_bearer))
