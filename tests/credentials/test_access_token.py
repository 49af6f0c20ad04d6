"""`GET /v1/credentials/{id}/access-token`."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from responses import RequestsMock

from credentials.models import Credential, Failure, StartLink, Token
from credentials.refresh import uses
from oauth_apps import api_tokens
from oauth_apps.models import Account, ApiToken, OAuthApp, RedirectURI
from tests.credentials.stored import NEW, OLD, TOKEN_ENDPOINT, again, keep, linear_app, linear_credential
from tests.oauth_apps.conftest import client_of


@pytest.fixture
def api(account: Account) -> Client:
    return client_of(account, "reveal")


@pytest.fixture
def oauth_app(account: Account) -> OAuthApp:
    return linear_app(account)


@pytest.fixture
def fresh(oauth_app: OAuthApp) -> Credential:
    return linear_credential(oauth_app, expires_at=(timezone.now() + timedelta(hours=1)).isoformat())


@pytest.fixture
def expired(oauth_app: OAuthApp) -> Credential:
    return linear_credential(oauth_app)


def path(credential: Credential | uuid.UUID | str, query: str = "") -> str:
    return f"/v1/credentials/{getattr(credential, 'pk', credential)}/access-token{query}"


# ---- what a provider takes no more -----------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [timedelta(hours=1), timedelta(hours=-1)], ids=["fresh", "expired"])
def test_a_variable_that_the_provider_takes_no_more(
    account: Account, fresh: Credential, api: Client, left: timedelta
) -> None:
    """A catalogue of stricter rules, or a row that somebody has changed: told, and no fault of ours"""
    Credential.objects.update(provider="shopify", kind="shopify_oauth2", variables={"shop": "canary/.."})
    Token.objects.update(expires_at=timezone.now() + left)

    response = api.get(path(fresh))

    assert (response.status_code, response.json()["code"]) == (409, "provider_unknown")
    assert response.json()["summary"] == (
        "What is stored as this credential's variable shop is not a value that its provider takes any more."
    )
    reader = client_of(account, "read")
    assert [reader.get(f"/v1/credentials{rest}").status_code for rest in ("", f"/{fresh.pk}")] == [200, 200]


# ---- who may ---------------------------------------------------------------------------------------------------------


def test_another_accounts_credential_is_not_there(fresh: Credential, other_account: Account) -> None:
    """D01: told exactly as one that nobody has"""
    api = client_of(other_account, "reveal")

    theirs, nobodys = api.get(path(fresh)), api.get(path(uuid.uuid4()))

    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    bodies = [response.json() | {"request_id": ""} for response in (theirs, nobodys)]
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("shown", [None, "Bearer", "Bearer sqa_nonsense", "Basic eDp5", "Token x"])
def test_without_an_api_token_there_is_nothing(fresh: Credential, shown: str | None) -> None:
    """D02"""
    response = Client(headers={"Authorization": shown} if shown else {}).get(path(fresh))

    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "changes", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now()}], ids=["revoked", "expired"]
)
def test_a_dead_api_token_opens_nothing(fresh: Credential, api: Client, changes: dict[str, Any]) -> None:
    ApiToken.objects.update(**changes)

    assert api.get(path(fresh)).status_code == 401


def test_it_needs_the_scope_reveal(fresh: Credential, account: Account) -> None:
    """D07"""
    response = client_of(account, "read", "write").get(path(fresh))

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_is_only_read(fresh: Credential, method: str) -> None:
    strict = Client(enforce_csrf_checks=True)  # a browser's guard must not answer in our place
    response = getattr(strict, method)(path(fresh))

    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?min_ttl=-1", "min_ttl"),
        ("?min_ttl=", "min_ttl"),
        ("?min_ttl=1e3", "min_ttl"),
        ("?min_ttl=86401", "min_ttl"),
        ("?min_ttl=1&min_ttl=2", "min_ttl"),
        ("?force_refresh=1", "force_refresh"),
        ("?api_token=x", "api_token"),
        ("?%00=x", "body"),
    ],
)
def test_an_odd_query_is_named(fresh: Credential, api: Client, query: str, field: str) -> None:
    response = api.get(path(fresh, query))

    assert response.status_code == 422
    assert response.json()["validation_errors"].keys() == {field}


@pytest.mark.parametrize("spelling", [str.upper, lambda text: text.replace("-", ""), lambda text: f"{{{text}}}"])
def test_an_id_has_one_spelling(fresh: Credential, api: Client, spelling: Any) -> None:
    """D12"""
    assert api.get(path(spelling(str(fresh.pk)))).status_code == 404


# ---- when there is none ----------------------------------------------------------------------------------------------


def test_one_that_needs_its_owner_again_says_where_to_send_him(
    expired: Credential, api: Client, account: Account, responses: RequestsMock
) -> None:
    RedirectURI.objects.create(account=account, redirect_uri="https://app.example.com/callback")
    responses.post(TOKEN_ENDPOINT, json={"error": "invalid_grant"}, status=400)

    response = api.get(path(expired))

    assert response.status_code == 409
    assert response.json()["code"] == "needs_reauthorization"
    assert response.json()["reconnect_url"].startswith("http://127.0.0.1:8000/link/oauth2/start/")
    assert StartLink.objects.get().credential_id == expired.pk


def test_a_provider_that_does_not_answer_is_a_503(expired: Credential, api: Client, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, status=500)

    response = api.get(path(expired))

    assert (response.status_code, response.json()["code"]) == (503, "provider_unavailable")
    assert int(response["Retry-After"]) > 0


def test_a_refused_oauth_app_is_a_502(expired: Credential, api: Client, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, json={"error": "invalid_client"}, status=401)

    response = api.get(path(expired))

    assert (response.status_code, response.json()["code"]) == (502, "oauth_app_refused")


def test_ciphertext_from_another_row_is_never_anothers_token(
    fresh: Credential, oauth_app: OAuthApp, api: Client
) -> None:
    """E06: and it is noticed; when the row is mended, that is noticed too"""
    other = linear_credential(oauth_app, linear_org_id="org-2", expires_at="2099-01-01T00:00:00Z", refresh_token="r2")
    own = vars(fresh.token)["access_token"]
    Token.objects.filter(pk=fresh.pk).update(access_token=vars(other.token)["access_token"])

    broken = api.get(path(fresh))
    told = again(fresh)
    Token.objects.filter(pk=fresh.pk).update(access_token=own)
    mended = api.get(path(fresh))

    assert (broken.status_code, broken.json()["code"]) == (500, "credential_unreadable")
    assert b"canary" not in broken.content
    assert (told.token.failure, told.health_status) == (Failure.UNREADABLE, "error")
    assert mended.json()["access_token"] == OLD["access_token"]
    assert again(fresh).health_status == "ok"


def test_ciphertext_from_another_column_does_not_open(fresh: Credential, api: Client) -> None:
    Token.objects.filter(pk=fresh.pk).update(access_token=vars(fresh.token)["refresh_token"])

    assert api.get(path(fresh)).json()["code"] == "credential_unreadable"


def test_a_kind_that_signs_each_call_has_no_access_token(account: Account, api: Client) -> None:
    parts = {"account_id": "1234567", "consumer_key": "c", "token_id": "t"}
    secrets = {"consumer_secret": "canary-consumer", "token_secret": "canary-token"}
    credential = keep(account, "netsuite_tba", None, **parts, **secrets)

    response = api.get(path(credential))

    assert (response.status_code, response.json()["code"]) == (409, "no_access_token")


# ---- the hot path ----------------------------------------------------------------------------------------------------


def test_a_fresh_token_is_one_statement_and_no_write(fresh: Credential, api: Client, responses: RequestsMock) -> None:
    api.get(path(fresh))
    before = rows(fresh)

    with CaptureQueriesContext(connection) as queries:
        response = api.get(path(fresh))

    assert response.status_code == 200
    assert len(queries) == 1, [query["sql"] for query in queries]
    assert queries[0]["sql"].strip().startswith("SELECT")
    assert rows(fresh) == before
    assert len(responses.calls) == 0


def rows(credential: Credential) -> list[Any]:
    """Every row that a read could have written to, with PostgreSQL's own mark of who wrote it last."""
    with connection.cursor() as cursor:
        found = []
        for table in ("credentials_token", "credentials_credential", "oauth_apps_apitoken"):
            cursor.execute(f"SELECT xmin::text, t.* FROM {table} AS t")  # noqa: S608
            found.append(cursor.fetchall())
    return found


def test_the_answer(fresh: Credential, api: Client) -> None:
    response = api.get(path(fresh))

    assert response["Cache-Control"] == "no-store"
    body = response.json()
    assert fresh.token.expires_at is not None
    assert body == {
        "access_token": OLD["access_token"],
        "token_type": "Bearer",
        "expires_at": f"{fresh.token.expires_at:%Y-%m-%dT%H:%M:%SZ}",
        "scope": "read write",
        "api": {"base_url": "https://api.linear.app", "header": "Authorization", "scheme": "Bearer"},
    }


def test_both_spellings_of_the_path(fresh: Credential, api: Client) -> None:
    assert api.get(f"{path(fresh)}/").status_code == 200


def test_an_expired_token_is_refreshed_first(expired: Credential, api: Client, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, json=NEW)

    first, second = api.get(path(expired)), api.get(path(expired))

    assert first.json()["access_token"] == second.json()["access_token"] == NEW["access_token"]
    assert len(responses.calls) == 1


def test_a_token_that_lasts_too_short_is_refreshed_first(
    oauth_app: OAuthApp, api: Client, responses: RequestsMock
) -> None:
    responses.post(TOKEN_ENDPOINT, json=NEW)
    in_four_minutes = timezone.now() + timedelta(minutes=4)
    credential = linear_credential(oauth_app, expires_at=in_four_minutes.isoformat())

    enough, too_short = api.get(path(credential, "?min_ttl=60")), api.get(path(credential))

    assert enough.json()["access_token"] == OLD["access_token"]
    assert too_short.json()["access_token"] == NEW["access_token"]


def test_a_lifetime_shorter_than_min_ttl_is_refreshed_once_a_read(
    expired: Credential, api: Client, responses: RequestsMock
) -> None:
    """G10"""
    responses.post(TOKEN_ENDPOINT, json=NEW | {"expires_in": 60})

    response = api.get(path(expired, "?min_ttl=3600"))

    assert response.json()["access_token"] == NEW["access_token"]
    assert len(responses.calls) == 1


def test_force_refresh_renews_what_is_still_good(fresh: Credential, api: Client, responses: RequestsMock) -> None:
    responses.post(TOKEN_ENDPOINT, json=NEW)

    response = api.get(path(fresh, "?force_refresh=true"))

    assert response.json()["access_token"] == NEW["access_token"]


def test_a_key_is_its_own_access_token(account: Account, api: Client) -> None:
    credential = keep(account, "stripe_key", None, secret="sk_test_canary")

    body = api.get(path(credential)).json()

    assert body == {
        "access_token": "sk_test_canary",
        "token_type": "Bearer",
        "expires_at": None,
        "scope": None,
        "api": {"base_url": "https://api.stripe.com", "header": "Authorization", "scheme": "Bearer"},
    }


def test_client_credentials_are_minted_once_and_kept(account: Account, api: Client, responses: RequestsMock) -> None:
    credential = keep(
        account, "marketo_client_credentials", None, munchkin_id="123-ABC-456", client_id="c", client_secret="canary"
    )
    responses.add(
        "GET",
        "https://123-abc-456.mktorest.com/identity/oauth/token",
        json={"access_token": "minted", "token_type": "bearer", "expires_in": 3599, "scope": "x"},
    )
    responses.add(
        "POST",
        "https://123-abc-456.mktorest.com/identity/oauth/token",
        json={"access_token": "minted", "token_type": "bearer", "expires_in": 3599, "scope": "x"},
    )

    answers = [api.get(path(credential)).json() for _ in range(2)]

    assert [answer["access_token"] for answer in answers] == ["minted", "minted"]
    assert len(responses.calls) == 1


# ---- who has read, and when ------------------------------------------------------------------------------------------


def test_uses_are_written_later_and_together(fresh: Credential, oauth_app: OAuthApp, account: Account) -> None:
    uses.write()
    unread = linear_credential(oauth_app, linear_org_id="org-2", refresh_token="canary-refresh-2")
    api_token, text = api_tokens.issue(account, scopes=["reveal"])
    api = Client(headers={"Authorization": f"Bearer {text}"})

    for _ in range(3):
        assert api.get(path(fresh)).status_code == 200
    with CaptureQueriesContext(connection) as queries:
        assert uses.write() == 1

    assert len(queries) == 2
    assert again(fresh).token.used_at is not None
    assert again(unread).token.used_at is None
    api_token.refresh_from_db()
    assert api_token.last_used_at is not None


def test_each_read_stands_in_the_log(fresh: Credential, api: Client, caplog: pytest.LogCaptureFixture) -> None:
    """D14: who, which, from where; and no token"""
    api.get(path(fresh))

    (line,) = [record for record in caplog.records if "access_token_read" in str(record.msg)]
    assert str(fresh.pk) in str(line.msg)
    assert "127.0.0.1" in str(line.msg)
    assert "canary" not in str(line.msg)


def test_a_sandbox_token_is_not_sent_to_a_real_host(account: Account, api: Client) -> None:
    oauth_app = linear_app(account, environment="sandbox")
    credential = linear_credential(oauth_app, expires_at="2099-01-01T00:00:00Z")

    body = api.get(path(credential)).json()

    assert body["api"]["base_url"] == "http://127.0.0.1:8000/sandbox/linear/api.linear.app"
