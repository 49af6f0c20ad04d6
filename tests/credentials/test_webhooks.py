"""What developers are told of credentials: once for each change of state, and nothing that is secret."""

import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from responses import RequestsMock

from credentials import announcing, checks
from credentials.errors import NeedsReauthorization
from credentials.models import Credential, Failure, Token, Tokens
from credentials.refresh import leaseholder, prospects, spool
from credentials.refresh.lease import refreshed
from oauth_apps.models import Account, OAuthApp, WebhookDelivery
from oauth_apps.webhooks import endpoints
from tests.credentials.stored import NEW, TOKEN_ENDPOINT, again, keep, linear_app, linear_credential
from tests.oauth_apps.test_webhooks import no_jobs as no_jobs

pytestmark = pytest.mark.django_db(transaction=True)

CREATED, UPDATED, DELETED = "credential.created", "credential.updated", "credential.deleted"
NEEDED, RECOVERED = "credential.needs_reauthorization", "credential.recovered"


@pytest.fixture(autouse=True)
def endpoint(account: Account) -> None:
    endpoints.create(account, url="https://hooks.example.com/")


@pytest.fixture
def linear(account: Account) -> Credential:
    credential = linear_credential(linear_app(account))
    WebhookDelivery.objects.all().delete()
    return credential


def told() -> list[str]:
    """The events so far."""
    return [body["type"] for body in bodies()]


def bodies() -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in WebhookDelivery.objects.order_by("created_at")]


def refuse(responses: RequestsMock, status: int = 400, **body: Any) -> None:
    responses.post(TOKEN_ENDPOINT, status=status, json=body or {"error": "invalid_grant"})


def fails(credential: Credential, **how: Any) -> None:
    with pytest.raises(NeedsReauthorization):
        refreshed(again(credential), **how)


def test_an_import_creates_one_and_newer_tokens_update_it(account: Account) -> None:
    app = linear_app(account)
    credential = linear_credential(app)
    linear_credential(app)
    linear_credential(app, access_token="canary-access-3", expires_at="2099-01-01T00:00:00Z")

    assert told() == [CREATED, UPDATED]
    [first, second] = bodies()
    assert first["data"] == {
        "id": str(credential.pk),
        "account_id": str(account.pk),
        "oauth_app_id": str(app.pk),
        "provider": "linear",
        "kind": "linear_oauth2",
        "status": "ok",
        "health": {"status": "ok"},
    }
    assert list(first) == ["type", "timestamp", "data"]
    assert second["data"]["id"] == str(credential.pk)
    everything = "".join(one.body for one in WebhookDelivery.objects.all())
    assert "canary" not in everything
    assert "Arrakis" not in everything


def test_a_key_has_no_oauth_app(account: Account) -> None:
    keep(account, "stripe_key", None, secret="sk_test_canary")

    [body] = bodies()
    assert (body["type"], body["data"]["oauth_app_id"], body["data"]["kind"]) == (CREATED, None, "stripe_key")


def test_a_refused_refresh_token_is_told_once_and_its_recovery_too(linear: Credential, responses: RequestsMock) -> None:
    refuse(responses)
    for _ in range(3):
        fails(linear)
    fails(linear, force=True)
    assert told() == [NEEDED]
    assert bodies()[0]["data"]["status"] == "needs_reauthorization"
    assert bodies()[0]["data"]["health"] == {"status": "error"}
    assert again(linear).health_status == "error"

    responses.reset()
    responses.post(TOKEN_ENDPOINT, json=NEW)
    refreshed(again(linear), force=True)

    assert told() == [NEEDED, RECOVERED]
    assert bodies()[1]["data"] == bodies()[0]["data"] | {"status": "ok", "health": {"status": "ok"}}


def test_an_outage_and_an_ordinary_refresh_are_no_news(linear: Credential, responses: RequestsMock) -> None:
    refuse(responses, 503)
    with pytest.raises(Exception, match="does not answer"):
        refreshed(again(linear))
    responses.reset()
    responses.post(TOKEN_ENDPOINT, json=NEW)
    refreshed(again(linear), force=True)

    assert told() == ["oauth_app.health_changed", "oauth_app.health_changed"]


def test_a_token_that_ends_for_good_is_told_once(account: Account) -> None:
    credential = linear_credential(linear_app(account), refresh_token=None)
    WebhookDelivery.objects.all().delete()

    for _ in range(2):
        fails(credential)
    prospects.ended(credential, credential.token)  # somebody who has not seen it yet

    assert told() == [NEEDED]


def test_an_import_that_mends_it_is_told_as_both(linear: Credential) -> None:
    Token.objects.update(failure=Failure.REVOKED)

    linear_credential(OAuthApp.objects.get(), access_token="canary-4", refresh_token="canary-5", expires_at=None)

    assert told() == [UPDATED, RECOVERED]


def test_a_check_tells_both_once(linear: Credential) -> None:
    for _ in range(2):
        checks.note_failure(again(linear).token, Failure.CREDENTIALS_REFUSED)
    for _ in range(2):
        checks.note_success(again(linear).token)

    assert told() == [NEEDED, RECOVERED]


def test_an_answer_that_was_kept_on_the_disk_recovers_it(linear: Credential, settings: Any, tmp_path: Any) -> None:
    settings.VAR_DIR = tmp_path
    Token.objects.update(failure=Failure.REVOKED)
    token = again(linear).token
    tokens = Tokens(
        access_token="canary-6", refresh_token="canary-7", obtained_at=timezone.now(), expires_at=None,
        expiry_source="never", refresh_expires_at=None, due_at=None,
    )  # fmt: skip
    spool.replaying.acquire()
    try:
        spool.keep(token, tokens)
    finally:
        spool.replaying.release()

    assert spool.replay() == 1
    assert told() == [RECOVERED]


def test_a_deletion_is_told_however_it_came(api: Client, linear: Credential, account: Account) -> None:
    other = keep(account, "stripe_key", None, secret="sk_test_canary")
    WebhookDelivery.objects.all().delete()

    assert api.delete(f"/v1/credentials/{other.pk}").status_code == 200
    assert api.delete(f"/v1/oauth-apps/{linear.oauth_app_id}?cascade=true").status_code == 200

    assert told() == [DELETED, DELETED]
    assert [body["data"]["id"] for body in bodies()] == [str(other.pk), str(linear.pk)]
    assert bodies()[0]["data"]["status"] == "deleted"


def test_a_failure_that_is_not_noted_is_not_told(linear: Credential, responses: RequestsMock) -> None:
    """Another import came in between: its tokens count"""
    refuse(responses)
    leased = Token.objects.lease(again(linear).token, owner=linear.pk)
    assert leased is not None
    linear_credential(
        OAuthApp.objects.get(), access_token="canary-8", refresh_token="canary-9", expires_at="2099-01-01T00:00:00Z"
    )
    WebhookDelivery.objects.all().delete()

    leaseholder.renewed(again(linear), leased)

    assert told() == []


def test_who_is_gone_meanwhile_is_told_nothing_of(linear: Credential) -> None:
    before = again(linear).token
    Credential.objects.all().delete()
    WebhookDelivery.objects.all().delete()

    announcing.needs_reauthorization(linear.pk, before=before)
    before.failure = Failure.REVOKED
    announcing.recovered(linear.pk, before=before)

    assert told() == []


def test_reading_a_fresh_token_costs_nothing_more(api: Client, account: Account) -> None:
    app: OAuthApp = linear_app(account)
    credential = linear_credential(app, expires_at="2099-01-01T00:00:00Z")
    WebhookDelivery.objects.all().delete()

    refreshed(again(credential), min_ttl=60)

    assert told() == []
