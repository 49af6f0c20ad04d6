"""`POST /v1/credentials/{id}/check`: the provider is asked, and the credential's health is what it says."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
import time_machine
from django.db import connection
from django.test import Client
from django.utils import timezone
from joserfc.jwk import RSAKey
from responses import RequestsMock

from credentials.models import Credential, Failure, Token
from oauth_apps.models import Account, OAuthApp
from tests.credentials.answers import path, secrets_of
from tests.credentials.conftest import AppOf
from tests.credentials.shapes import SHAPES
from tests.credentials.stored import NEW, TOKEN_ENDPOINT, again, keep, linear_credential
from tests.link.trip import sent_to_provider
from tests.oauth_apps.conftest import client_of

GRAPHQL = "https://api.linear.app/graphql"
MINE = {"data": {"organization": {"id": "org-1", "name": "Arrakis"}, "viewer": {"id": "user-1"}}}
NOW = "2026-06-01T12:00:00Z"


@pytest.fixture(autouse=True)
def now() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def fresh(linear_app: OAuthApp) -> Credential:
    """Both tokens, an hour to go."""
    return linear_credential(linear_app, expires_at="2026-06-01T13:00:00Z")


@pytest.fixture
def single(linear_app: OAuthApp) -> Credential:
    """An access token of which nobody knows when it ends, and nothing to renew it with."""
    return linear_credential(linear_app, expires_at=None, refresh_token=None)


def checked(api: Client, credential: Credential) -> dict[str, Any]:
    """The health after a check."""
    response = api.post(path(credential, "/check"))
    assert response.status_code == 200, response.content
    answer = response.json()
    assert answer == api.get(path(credential)).json()
    assert b"canary" not in response.content
    health: dict[str, Any] = answer["health"]
    return health


def assert_health(health: dict[str, Any], status: str, *, says: str = "") -> None:
    assert (health["status"], health["time"]) == (status, NOW)
    assert says in " ".join(health["notes"])
    assert bool(health["notes"]) is bool(says)


def shown(responses: RequestsMock) -> list[str]:
    """The access tokens that the provider's API has seen."""
    return [
        str(request.headers["Authorization"]).removeprefix("Bearer ")
        for request in sent_to_provider(responses)
        if request.url == GRAPHQL
    ]


# ---- who may ---------------------------------------------------------------------------------------------------------


def test_it_needs_the_scope_write(fresh: Credential, account: Account, responses: RequestsMock) -> None:
    """D07"""
    assert client_of(account, "read", "reveal").post(path(fresh, "/check")).status_code == 403
    assert len(responses.calls) == 0


def test_it_is_not_read(api: Client, fresh: Credential) -> None:
    assert api.get(path(fresh, "/check")).status_code == 405


# ---- tokens that the provider refuses --------------------------------------------------------------------------------


def test_a_token_that_is_refused_and_cannot_be_renewed_is_revoked(
    api: Client, single: Credential, responses: RequestsMock
) -> None:
    responses.post(GRAPHQL, status=401)

    health = checked(api, single)

    assert_health(health, "error", says="Since 2026-06-01 12:00 UTC Linear does not accept the token: it was revoked.")
    assert f"POST /v1/credentials/{single.pk}/reconnect" in health["notes"][0]
    assert again(single).token.failure == Failure.REVOKED
    assert len(responses.calls) == 1


def test_what_a_check_has_found_ends_with_one_that_finds_otherwise(
    api: Client, single: Credential, responses: RequestsMock
) -> None:
    Token.objects.update(failure=Failure.REVOKED, failed_at=timezone.now(), failures=1)
    responses.post(GRAPHQL, json=MINE)

    assert_health(checked(api, single), "ok")
    assert again(single).token.failure == Failure.NONE


def test_a_check_undoes_no_revocation(api: Client, fresh: Credential, responses: RequestsMock) -> None:
    """An access token may outlive the refresh token that was revoked; the credential does not."""
    Token.objects.update(failure=Failure.REVOKED, failed_at=timezone.now(), failures=1, due_at=None)
    responses.post(GRAPHQL, json=MINE)

    assert_health(checked(api, fresh), "error", says="it was revoked")
    assert again(fresh).token.failure == Failure.REVOKED


def test_what_was_found_of_older_tokens_is_not_said_of_newer_ones(
    api: Client, single: Credential, responses: RequestsMock
) -> None:
    """The tokens change while the provider is asked."""

    def answer(_: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        Token.objects.update(version=7)
        return 401, {}, ""

    responses.add_callback("POST", GRAPHQL, callback=answer)

    checked(api, single)

    assert again(single).token.failure == Failure.NONE


def test_a_refused_token_is_renewed_once_and_tried_again(
    api: Client, fresh: Credential, responses: RequestsMock
) -> None:
    responses.post(GRAPHQL, status=401)
    responses.post(TOKEN_ENDPOINT, json=NEW)
    responses.post(GRAPHQL, json=MINE)

    health = checked(api, fresh)

    assert_health(health, "ok")
    assert shown(responses) == ["canary-access-1", "canary-access-2"]
    assert secrets_of(fresh)["refresh_token"] == "canary-refresh-2"


def test_a_new_token_that_is_refused_too_is_not_renewed_again(
    api: Client, fresh: Credential, responses: RequestsMock
) -> None:
    responses.post(GRAPHQL, status=401)
    responses.post(TOKEN_ENDPOINT, json=NEW)

    health = checked(api, fresh)

    assert_health(health, "error", says="Linear has given a new access token, and does not accept it")
    assert len(responses.calls) == 3
    assert again(fresh).token.failure == Failure.NONE


@pytest.mark.parametrize("ended", [True, False])
def test_a_refresh_token_that_is_refused_asks_for_the_owner(
    api: Client, linear: Credential, fresh: Credential, responses: RequestsMock, ended: bool
) -> None:
    credential = linear if ended else fresh
    responses.post(GRAPHQL, status=401)
    responses.post(TOKEN_ENDPOINT, status=400, json={"error": "invalid_grant", "error_description": "canary"})

    health = checked(api, credential)

    assert_health(health, "error", says="Linear does not accept the refresh token any more")
    assert again(credential).token.failure == Failure.REFRESH_TOKEN_REFUSED


def test_an_explicit_check_tries_once_more_what_has_failed_for_good(
    api: Client, linear: Credential, responses: RequestsMock
) -> None:
    """G07: at most one call for each that is asked for"""
    Token.objects.update(failure=Failure.REFRESH_TOKEN_REFUSED, failed_at=timezone.now())
    responses.post(TOKEN_ENDPOINT, status=400, json={"error": "invalid_grant"})

    assert checked(api, linear)["status"] == "error"
    assert len(responses.calls) == 1


# ---- tokens that have ended ------------------------------------------------------------------------------------------


def test_a_token_that_has_ended_is_renewed_first(api: Client, linear: Credential, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, json=NEW)
    responses.post(GRAPHQL, json=MINE)

    assert_health(checked(api, linear), "ok")
    assert shown(responses) == ["canary-access-2"]


def test_a_token_that_has_ended_for_good_asks_nobody(
    api: Client, linear_app: OAuthApp, responses: RequestsMock
) -> None:
    credential = linear_credential(linear_app, refresh_token=None)

    health = checked(api, credential)

    assert_health(health, "error", says="The access token has ended")
    assert len(responses.calls) == 0


# ---- an account that is another --------------------------------------------------------------------------------------


def test_the_token_of_another_account_is_an_error(api: Client, fresh: Credential, responses: RequestsMock) -> None:
    responses.post(GRAPHQL, json={"data": {"organization": {"id": "canary-org", "name": "Harkonnen"}}})

    health = checked(api, fresh)

    assert_health(health, "error", says="Linear says that the token is another account's")
    assert again(fresh).properties["linear_org_id"] == "org-1"


@pytest.mark.parametrize("answer", [{"status": 403}, {"json": MINE}, {"json": {"data": {"organization": None}}}])
def test_a_token_that_may_not_ask_this_is_well(
    api: Client, fresh: Credential, responses: RequestsMock, answer: dict[str, Any]
) -> None:
    responses.post(GRAPHQL, **answer)

    assert_health(checked(api, fresh), "ok")


# ---- a provider in trouble -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"status": 503}, "Linear did not answer a check (2026-06-01 12:00 UTC)."),
        ({"status": 429}, "Linear did not answer a check"),
        ({"body": requests.ConnectionError()}, "Linear did not answer a check"),
        ({"status": 418}, "Linear answered a check (2026-06-01 12:00 UTC) in a way"),
        ({"body": "<html>canary"}, "Linear answered a check"),
    ],
)
def test_trouble_of_the_provider_is_a_warning(
    api: Client, fresh: Credential, responses: RequestsMock, answer: dict[str, Any], says: str
) -> None:
    """G08, F08"""
    responses.post(GRAPHQL, **answer)

    assert_health(checked(api, fresh), "warn", says=says)
    assert again(fresh).token.failure == Failure.NONE
    assert again(fresh).token.lasts(60)


def test_trouble_with_a_refresh_says_since_when(api: Client, linear: Credential, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, status=503)

    assert_health(checked(api, linear), "warn", says="Linear has not answered since 2026-06-01 12:00 UTC")


def test_a_client_that_is_refused_is_the_oauth_apps_news(
    api: Client, linear: Credential, responses: RequestsMock
) -> None:
    responses.post(TOKEN_ENDPOINT, status=401, json={"error": "invalid_client"})

    health = checked(api, linear)

    assert_health(health, "warn", says="Linear does not accept the OAuth app")
    assert api.get(f"/v1/oauth-apps/{linear.oauth_app_id}").json()["health"]["status"] == "error"


# ---- keys, passwords, signatures, and what is minted -----------------------------------------------------------------

CHECKS: dict[str, tuple[str, str, Any, Any]] = {
    "stripe_key": ("GET", "https://api.stripe.com/v1/account", {"id": "acct_1"}, {"status": 401}),
    "sendgrid_key": ("GET", "https://api.sendgrid.com/v3/scopes", {"scopes": []}, {"status": 401}),
    "checkout_champ_password": (
        "POST",
        "https://api.checkoutchamp.com/campaign/query/",
        {"result": "SUCCESS"},
        {"json": {"result": "ERROR", "message": "canary"}},
    ),
}


@pytest.mark.parametrize("kind", CHECKS)
def test_a_key_is_asked_about_with_one_call(api: Client, account: Account, responses: RequestsMock, kind: str) -> None:
    method, url, answer, refusal = CHECKS[kind]
    credential = keep(account, kind, None, **SHAPES[kind])
    name = {"stripe_key": "Stripe", "sendgrid_key": "SendGrid"}.get(kind, "Checkout Champ")
    responses.add(method, url, **refusal)
    refused = checked(api, credential)
    responses.remove(method, url)
    responses.add(method, url, json=answer)

    assert_health(refused, "error", says=f"Since 2026-06-01 12:00 UTC {name} does not accept these credentials")
    assert again(credential).token.failure == Failure.CREDENTIALS_REFUSED
    assert_health(checked(api, credential), "ok")
    assert again(credential).token.failure == Failure.NONE
    assert len(responses.calls) == 2


def test_a_key_is_good_until_the_provider_says_otherwise(
    api: Client, stripe_key: Credential, responses: RequestsMock
) -> None:
    responses.get("https://api.stripe.com/v1/account", status=500)

    assert_health(checked(api, stripe_key), "warn", says="Stripe did not answer a check")
    assert again(stripe_key).token.failure == Failure.NONE


MARKETO = "https://123-abc-456.mktorest.com/identity/oauth/token"


def test_what_is_minted_is_minted_anew(api: Client, account: Account, responses: RequestsMock) -> None:
    credential = keep(account, "marketo_client_credentials", None, **SHAPES["marketo_client_credentials"])
    responses.post(MARKETO, json={"access_token": "canary-minted", "token_type": "bearer", "expires_in": 3599})

    health = checked(api, credential)
    checked(api, credential)

    assert_health(health, "ok")
    assert len(responses.calls) == 2
    assert secrets_of(credential)["access_token"] == "canary-minted"


def test_what_cannot_be_minted_is_refused(api: Client, account: Account, responses: RequestsMock) -> None:
    credential = keep(account, "marketo_client_credentials", None, **SHAPES["marketo_client_credentials"])
    responses.post(MARKETO, status=401, json={"error": "unauthorized", "error_description": "canary"})

    assert checked(api, credential)["status"] in {"warn", "error"}
    assert again(credential).token.failure != Failure.NONE


INSTALLATION = "https://api.github.com/app/installations/12345678/access_tokens"
REPOSITORIES = "https://api.github.com/installation/repositories?per_page=1"


@pytest.fixture
def installation(app_of: AppOf) -> Credential:
    """A GitHub App that is installed, with a token for another hour."""
    oauth_app = app_of("github")
    oauth_app.client_secret = RSAKey.generate_key(2048).as_pem(private=True).decode()
    oauth_app.save()
    credential = keep(oauth_app.account, "github_app", oauth_app, **SHAPES["github_app"])
    credential.token.access_token = "canary-present"
    credential.token.expires_at, credential.token.expiry_source = timezone.now() + timedelta(hours=1), "expires_at"
    credential.token.save()
    return credential


@pytest.mark.parametrize(("answer", "status"), [({"json": {}}, "ok"), ({"status": 401}, "error")])
def test_an_installation_is_asked_with_a_token_that_was_minted_for_it(
    api: Client, installation: Credential, responses: RequestsMock, answer: dict[str, Any], status: str
) -> None:
    responses.post(INSTALLATION, status=201, json={"token": "canary-minted", "expires_at": "2026-06-01T13:00:00Z"})
    responses.get(REPOSITORIES, **answer)

    health = checked(api, installation)

    says = "GitHub has given a new access token, and does not accept it" if status == "error" else ""
    assert_health(health, status, says=says)
    assert [request.headers["Authorization"] for request in sent_to_provider(responses)][1:] == ["Bearer canary-minted"]


def test_an_installation_that_was_taken_away_is_refused(
    api: Client, installation: Credential, responses: RequestsMock
) -> None:
    responses.post(INSTALLATION, status=404, json={"message": "canary"})

    assert_health(checked(api, installation), "error", says="GitHub does not accept these credentials")
    assert again(installation).token.failure == Failure.CREDENTIALS_REFUSED


# ---- where there is no such call -------------------------------------------------------------------------------------


def test_where_no_call_is_known_a_refresh_tells(api: Client, app_of: AppOf, responses: RequestsMock) -> None:
    oauth_app = app_of("microsoft")
    given = {
        "tenant_id": "t",
        "object_id": "o",
        "tenant": "common",
        "access_token": "canary",
        "refresh_token": "canary",
    }
    credential = keep(oauth_app.account, "microsoft_oauth2", oauth_app, **given, expires_at="2026-06-01T13:00:00Z")
    responses.post(
        "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        json={"access_token": "canary-2", "token_type": "Bearer", "expires_in": 3600},
    )

    assert_health(checked(api, credential), "ok")
    assert secrets_of(credential)["access_token"] == "canary-2"


def test_where_nobody_can_be_asked_it_says_so(api: Client, app_of: AppOf, responses: RequestsMock) -> None:
    oauth_app = app_of("vercel")
    credential = keep(oauth_app.account, "vercel_oauth2", oauth_app, access_token="canary", configuration_id="icfg_1")

    assert_health(checked(api, credential), "ok", says="No call is known by which Vercel could be asked")
    assert len(responses.calls) == 0


# ---- what does not open, or is gone ----------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["access_token", "refresh_token"])
def test_a_seal_that_does_not_open_is_an_error(
    api: Client, linear_app: OAuthApp, responses: RequestsMock, column: str
) -> None:
    """E06"""
    expires_at = "2026-06-01T13:00:00Z" if column == "access_token" else "2026-01-01T00:00:00Z"
    credential = linear_credential(linear_app, expires_at=expires_at)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE credentials_token SET {column} = 'x'")  # noqa: S608

    assert_health(checked(api, credential), "error", says="What is stored does not open (noticed 2026-06-01 12:00 UTC)")
    assert len(responses.calls) == 0


def test_a_key_that_does_not_open_is_an_error(api: Client, stripe_key: Credential, responses: RequestsMock) -> None:
    """E06"""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE credentials_credential SET secrets = 'x'")

    assert_health(checked(api, stripe_key), "error", says="What is stored does not open")
    assert len(responses.calls) == 0


@pytest.mark.parametrize("column", ["kind", "provider"])
def test_what_has_left_the_catalogue_is_not_asked(
    api: Client, fresh: Credential, stripe_key: Credential, responses: RequestsMock, column: str
) -> None:
    Credential.objects.update(**{column: "gone"})

    for credential in (fresh, stripe_key):
        assert checked(api, credential)["status"] == "warn"
    assert len(responses.calls) == 0


def test_a_credential_that_is_deleted_meanwhile_is_not_there(
    api: Client, single: Credential, responses: RequestsMock
) -> None:
    def answer(_: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        Credential.objects.all().delete()
        return 200, {}, json.dumps(MINE)

    responses.add_callback("POST", GRAPHQL, callback=answer)

    assert api.post(path(single, "/check")).status_code == 404


def test_a_check_does_not_hide_what_else_is_known(api: Client, fresh: Credential, responses: RequestsMock) -> None:
    Credential.objects.update(scopes_requested=["read", "write", "admin"])
    Token.objects.update(refresh_expires_at=timezone.now() + timedelta(hours=3), obtained_at="2026-01-01T00:00:00Z")
    responses.post(GRAPHQL, status=503)

    notes = " ".join(checked(api, fresh)["notes"])

    assert "admin" in notes
    assert "The refresh token ends on 2026-06-01 15:00 UTC" in notes
    assert "Linear did not answer a check" in notes
