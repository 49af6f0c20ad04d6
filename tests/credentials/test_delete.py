"""A credential goes: at once from here, its tokens from the provider as soon as that is certain."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
from django.db import connection, transaction
from django.test import Client
from responses import RequestsMock, matchers

from credentials import deletion
from credentials.models import Credential, Token
from oauth_apps.models import Account, OAuthApp
from tests.credentials.answers import CREDENTIALS, path
from tests.credentials.conftest import AppOf
from tests.credentials.shapes import SHAPES
from tests.credentials.stored import keep, linear_credential
from tests.link.trip import sent_to_provider
from tests.oauth_apps.conftest import client_of

REVOCATION_ENDPOINT = "https://api.linear.app/oauth/revoke"
Commits = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def commits(django_capture_on_commit_callbacks: Any) -> Commits:
    """What waits for the commit is done when the block ends."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def outcomes(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str | None]]:
    """The revocations in the log: what, whose, why."""
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    told = [line for line in lines if line["event"] in {"credential_revoked", "revocation_failed"}]
    return [(line["event"], line["credential"], line.get("reason")) for line in told]


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_it_needs_the_scope_write(linear: Credential, account: Account) -> None:
    """D07"""
    assert client_of(account, "read", "reveal").delete(path(linear)).status_code == 403
    assert Credential.objects.exists()


def test_nothing_is_revoked_unless_it_is_deleted(linear: Credential, responses: RequestsMock, commits: Commits) -> None:
    with commits(), transaction.atomic():
        linear.delete()
        transaction.set_rollback(True)

    assert Credential.objects.exists()
    assert len(responses.calls) == 0


# ---- what is done ----------------------------------------------------------------------------------------------------


def test_it_is_gone_at_once(api: Client, linear: Credential, responses: RequestsMock, commits: Commits) -> None:
    """D15"""
    responses.post(REVOCATION_ENDPOINT)

    with commits():
        response = api.delete(path(linear))

    assert (response.status_code, response.json()) == (200, {"id": str(linear.pk), "deleted": True})
    actions = [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/check"), ("POST", "/reconnect")]
    after = [
        api.generic(method, path(linear, action), "{}", content_type="application/json") for method, action in actions
    ]
    assert [response.status_code for response in after] == [404] * 5
    assert api.get(CREDENTIALS).json()["data"] == []
    assert not Token.objects.exists()


def test_its_tokens_are_revoked_at_the_provider(
    api: Client, linear: Credential, responses: RequestsMock, commits: Commits, caplog: pytest.LogCaptureFixture
) -> None:
    responses.post(REVOCATION_ENDPOINT)

    with commits():
        api.delete(path(linear))
        assert len(responses.calls) == 0  # nothing leaves while the transaction is open

    assert [dict(parse_qsl(str(request.body)))["token"] for request in sent_to_provider(responses)] == [
        "canary-refresh-1"
    ]
    assert outcomes(caplog) == [("credential_revoked", str(linear.pk), None)]
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    "answer",
    [{"status": 503}, {"status": 400, "json": {"error": "invalid_client"}}, {"body": requests.ConnectionError()}],
)
def test_a_provider_that_fails_keeps_nothing_here(
    api: Client,
    linear: Credential,
    responses: RequestsMock,
    commits: Commits,
    caplog: pytest.LogCaptureFixture,
    answer: dict[str, Any],
) -> None:
    responses.post(REVOCATION_ENDPOINT, **answer)

    with commits():
        response = api.delete(path(linear))

    assert response.status_code == 200
    assert not Credential.objects.exists()
    assert [(event, credential) for event, credential, _ in outcomes(caplog)] == [("revocation_failed", str(linear.pk))]


def test_a_deletion_ends_a_whole_grant_too(
    api: Client, app_of: AppOf, responses: RequestsMock, commits: Commits
) -> None:
    """Unlike tokens that nobody fetched: here somebody has asked for it."""
    properties = {"access_token": "canary", "stripe_user_id": "acct_1", "livemode": True}
    credential = keep(app_of("stripe").account, "stripe_oauth2", app_of("stripe"), **properties)
    body = {"client_id": "stripe-1", "stripe_user_id": "acct_1", "client_secret": "canary-client-secret"}
    responses.post("https://connect.stripe.com/oauth/deauthorize", match=[matchers.urlencoded_params_matcher(body)])

    with commits():
        api.delete(path(credential))

    assert len(responses.calls) == 1


@pytest.mark.parametrize("kind", ["stripe_key", "sendgrid_key", "shopify_token", "netsuite_tba"])
def test_a_key_is_not_revoked(
    api: Client,
    account: Account,
    responses: RequestsMock,
    commits: Commits,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    """It was not granted to us, and may be in use elsewhere."""
    credential = keep(account, kind, None, **SHAPES[kind])

    with commits():
        response = api.delete(path(credential))

    assert response.status_code == 200
    assert (len(responses.calls), outcomes(caplog)) == (0, [])


# ---- what does not open, or is unknown by now ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credentials_token SET refresh_token = 'x'",
        "UPDATE credentials_token SET access_token = 'x'",
        "UPDATE oauth_apps_oauthapp SET client_secret = 'x'",
    ],
)
def test_a_broken_seal_keeps_nothing_from_being_deleted(
    api: Client,
    linear: Credential,
    responses: RequestsMock,
    commits: Commits,
    caplog: pytest.LogCaptureFixture,
    statement: str,
) -> None:
    """E07"""
    with connection.cursor() as cursor:
        cursor.execute(statement)

    with commits():
        response = api.delete(path(linear))

    assert response.status_code == 200
    assert not Credential.objects.exists()
    assert outcomes(caplog) == [("revocation_failed", str(linear.pk), "Tampered")]
    assert len(responses.calls) == 0


def test_what_has_left_the_catalogue_can_be_deleted(api: Client, linear: Credential, commits: Commits) -> None:
    Credential.objects.update(provider="gone", kind="gone_oauth2")

    with commits():
        response = api.delete(path(linear))

    assert response.status_code == 200
    assert not Credential.objects.exists()


# ---- with what it belongs to -----------------------------------------------------------------------------------------


def test_it_goes_with_its_oauth_app(
    api: Client, linear: Credential, responses: RequestsMock, commits: Commits, caplog: pytest.LogCaptureFixture
) -> None:
    responses.post(REVOCATION_ENDPOINT)

    with commits():
        response = api.delete(f"/v1/oauth-apps/{linear.oauth_app_id}?cascade=true")

    assert response.status_code == 200
    assert not OAuthApp.objects.exists()
    assert not Credential.objects.exists()
    assert outcomes(caplog) == [("credential_revoked", str(linear.pk), None)]


def test_it_goes_with_its_account(
    account: Account, linear: Credential, stripe_key: Credential, responses: RequestsMock, commits: Commits
) -> None:
    """E14"""
    responses.post(REVOCATION_ENDPOINT)

    with commits():
        account.delete()

    assert not Credential.objects.exists()
    assert not Token.objects.exists()
    assert len(responses.calls) == 1


def test_the_console_deletes_as_the_api_does(
    linear: Credential, responses: RequestsMock, commits: Commits, caplog: pytest.LogCaptureFixture
) -> None:
    responses.post(REVOCATION_ENDPOINT)

    with commits():
        Credential.objects.filter(pk=linear.pk).delete()  # what the console's action does

    assert outcomes(caplog) == [("credential_revoked", str(linear.pk), None)]


def test_of_very_many_the_first_are_revoked(
    linear_app: OAuthApp,
    responses: RequestsMock,
    commits: Commits,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deletion, "MOST_REVOKED", 2)
    responses.post(REVOCATION_ENDPOINT)
    for number in range(4):
        linear_credential(linear_app, linear_org_id=f"org-{number}", refresh_token=f"canary-{number}")

    with commits():
        Credential.objects.all().delete()

    assert not Credential.objects.exists()
    assert [(event, reason) for event, _, reason in outcomes(caplog)] == [
        ("credential_revoked", None),
        ("credential_revoked", None),
        ("revocation_failed", "too_many"),
        ("revocation_failed", "too_many"),
    ]
    assert len(responses.calls) == 2


def test_nobody_waits_for_long(
    linear_app: OAuthApp,
    responses: RequestsMock,
    commits: Commits,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deletion, "LONGEST", -1.0)
    linear_credential(linear_app)

    with commits():
        Credential.objects.all().delete()

    assert [(event, reason) for event, _, reason in outcomes(caplog)] == [("revocation_failed", "too_many")]
    assert len(responses.calls) == 0
