"""What an exchange or a check tells about an OAuth app, and what it must not take back."""

from collections.abc import Callable

import pytest
from django.db import connection
from pytest_django import DjangoCaptureOnCommitCallbacks
from responses import RequestsMock

from oauth_apps import health, registration
from oauth_apps.models import Account, HealthStatus, OAuthApp
from providers.errors import (
    AnswerNotUnderstood,
    AuthorizationDenied,
    ProviderError,
    ProviderUnavailable,
    TokenRequestRejected,
)
from providers.sandbox.models import Registration

TOKEN = "https://connect.stripe.com/oauth/token"


@pytest.fixture
def squatter(stripe_app: OAuthApp, other_account: Account) -> OAuthApp:
    oauth_app = OAuthApp(account=other_account, provider="stripe", name="x", client_id="ca_1", client_secret="guess")
    registration.begin_health(oauth_app)
    oauth_app.save()
    return oauth_app


def test_a_client_id_that_another_account_has_is_warned_of(squatter: OAuthApp, stripe_app: OAuthApp) -> None:
    """D20"""
    assert (squatter.health_status, squatter.health_notes) == (HealthStatus.WARN, [registration.SHARED_REGISTRATION])
    assert stripe_app.health_status == HealthStatus.OK


def test_only_a_success_takes_that_warning_back(squatter: OAuthApp) -> None:
    """D20"""
    health.observe(squatter, ProviderUnavailable("x"))
    assert squatter.health_notes == [registration.SHARED_REGISTRATION, health.UNREACHABLE]

    health.observe(squatter, TokenRequestRejected("x", reason="invalid_client"))
    assert squatter.health_notes == [registration.SHARED_REGISTRATION, health.CLIENT_REFUSED]
    assert squatter.health_status == HealthStatus.ERROR

    health.observe(squatter, None)
    assert (squatter.health_status, squatter.health_notes) == (HealthStatus.OK, [])


def test_one_end_users_refusal_says_nothing_of_the_app(stripe_app: OAuthApp) -> None:
    health.observe(stripe_app, AuthorizationDenied("x", error="access_denied"))
    health.observe(stripe_app, TokenRequestRejected("x", reason="invalid_grant"))

    assert (stripe_app.health_status, stripe_app.health_notes) == (HealthStatus.OK, [])


@pytest.mark.parametrize(
    ("status", "error", "health_status"),
    [(400, "invalid_grant", "ok"), (401, "invalid_client", "error"), (400, "unauthorized_client", "error"),
     (503, "", "warn")],
)  # fmt: skip
def test_a_check_asks_the_provider(
    stripe_app: OAuthApp, responses: RequestsMock, status: int, error: str, health_status: str
) -> None:
    responses.post(TOKEN, status=status, json={"error": error})

    health.check(stripe_app)

    stripe_app.refresh_from_db()
    assert stripe_app.health_status == health_status
    assert bool(stripe_app.health_notes) == (health_status != "ok")


def test_a_refusal_without_a_reason_is_no_verdict(stripe_app: OAuthApp, responses: RequestsMock) -> None:
    responses.post(TOKEN, status=400, json={"error": "what_is_this"})

    health.check(stripe_app)

    stripe_app.refresh_from_db()
    assert (stripe_app.health_status, stripe_app.health_notes) == (HealthStatus.OK, [health.NOT_TOLD])


def test_what_cannot_be_checked_is_said(stripe_app: OAuthApp, responses: RequestsMock) -> None:
    stripe_app.provider = "zendesk"

    health.check(stripe_app)

    assert (stripe_app.health_status, stripe_app.health_notes) == (HealthStatus.OK, [health.NOT_CHECKABLE])
    assert len(responses.calls) == 0


def test_what_was_learnt_stays_where_nothing_can_be_checked(stripe_app: OAuthApp) -> None:
    stripe_app.provider = "zendesk"
    health.observe(stripe_app, TokenRequestRejected("x", reason="invalid_client"))

    health.check(health.check(stripe_app))

    assert stripe_app.health_status == HealthStatus.ERROR
    assert stripe_app.health_notes == [health.CLIENT_REFUSED, health.NOT_CHECKABLE]


@pytest.mark.parametrize(
    ("problem", "note"),
    [(AnswerNotUnderstood("x"), health.NOT_UNDERSTOOD), (ProviderError("x"), health.NOT_CALLED)],
)
def test_an_exchange_that_failed_is_seen(stripe_app: OAuthApp, problem: ProviderError, note: str) -> None:
    health.observe(stripe_app, problem)

    assert (stripe_app.health_status, stripe_app.health_notes) == (HealthStatus.WARN, [note])


def test_the_same_news_is_written_once_a_minute(stripe_app: OAuthApp) -> None:
    with connection.execute_wrapper(lambda *_: pytest.fail("a statement")):
        health.observe(stripe_app, None)


def test_an_app_whose_secret_does_not_open_can_still_be_renamed(stripe_app: OAuthApp) -> None:
    """E07"""
    OAuthApp.objects.update(environment="sandbox")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE oauth_apps_oauthapp SET client_secret = 'garbage'")
    oauth_app = OAuthApp.objects.get()

    oauth_app.name = "Renamed"
    oauth_app.save()

    assert OAuthApp.objects.get().name == "Renamed"


def delete_account(oauth_app: OAuthApp) -> None:
    oauth_app.account.delete()


def delete_by_queryset(oauth_app: OAuthApp) -> None:
    OAuthApp.objects.filter(pk=oauth_app.pk).delete()


def test_a_client_secret_that_does_not_open_is_told(stripe_app: OAuthApp, responses: RequestsMock) -> None:
    """E06"""
    OAuthApp.objects.filter(pk=stripe_app.pk).update(
        client_secret=OAuthApp._meta.get_field("client_secret").seal("x", pk=stripe_app.account_id)
    )
    stripe_app.refresh_from_db()

    health.check(stripe_app)

    assert (stripe_app.health_status, stripe_app.health_notes) == (HealthStatus.ERROR, [health.UNREADABLE])
    assert len(responses.calls) == 0


def go_live(oauth_app: OAuthApp) -> None:
    oauth_app.environment = "live"
    oauth_app.save()


@pytest.mark.parametrize("leave", [delete_account, delete_by_queryset, go_live])
def test_the_simulator_keeps_nothing_of_an_app_that_has_left_it(
    stripe_app: OAuthApp,
    leave: Callable[[OAuthApp], None],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """E14"""
    stripe_app.environment = "sandbox"
    stripe_app.save()
    assert Registration.objects.count() == 1

    with django_capture_on_commit_callbacks(execute=True):
        leave(stripe_app)

    assert Registration.objects.count() == 0
