"""Who may ask `/v1`, and for what."""

import json
import uuid
from datetime import timedelta

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from oauth_apps import api_tokens
from oauth_apps.models import Account, ApiToken, Membership
from sequin_auth.lib.encryption import digest
from tests.oauth_apps.conftest import client_of

PATHS = [
    "/v1/oauth-apps",
    "/v1/redirect-uris",
    "/v1/providers",
    "/v1/providers/acme",
    "/v1/oauth-apps/00000000-0000-4000-8000-000000000000",
]


@pytest.mark.django_db
@pytest.mark.parametrize("path", PATHS)
def test_it_asks_for_a_token(client: Client, path: str) -> None:
    response = client.get(path)

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    assert response.json() == {
        "summary": "Send an API token: `Authorization: Bearer sqa_…`.",
        "code": "unauthorized",
        "request_id": response["X-Request-Id"],
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer sqa_",
        "Bearer " + "sqa_" + "A" * 49,
        "Basic c3FhXzpzcWFf",
        "sqa_{token}",
        "Token {token}",
        "Bearer {token}x",
        "Bearer {token},Bearer {token}",
        "Bearer {token} {token}",
        "Bearer \xff\xfe",
        "Bearer " + "a" * 8000,
    ],
)
def test_it_refuses_garbage(client: Client, token: str, header: str) -> None:
    """D02"""
    response = client.get("/v1/oauth-apps", headers={"Authorization": header.replace("{token}", token)})

    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_it_refuses_a_token_that_is_well_formed_and_unknown(client: Client, token: str) -> None:
    response = client.get("/v1/oauth-apps", headers={"Authorization": f"Bearer {api_tokens.new_token()}"})

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert response.json()["code"] == "invalid_token"


def test_it_refuses_an_expired_token(api: Client, token_row: ApiToken) -> None:
    token_row.expires_at = timezone.now() + timedelta(hours=1)
    token_row.save()
    assert api.get("/v1/oauth-apps").status_code == 200

    with time_machine.travel(timezone.now() + timedelta(hours=1, seconds=1)):
        response = api.get("/v1/oauth-apps")

    assert response.status_code == 401


def test_it_refuses_a_revoked_token_from_the_next_request(api: Client, token_row: ApiToken) -> None:
    """D06"""
    assert api.get("/v1/oauth-apps").status_code == 200

    ApiToken.objects.filter(pk=token_row.pk).update(revoked_at=timezone.now())

    assert api.get("/v1/oauth-apps").status_code == 401


def test_it_refuses_a_token_outside_the_header(client: Client, token: str) -> None:
    """D02"""
    in_query = client.get("/v1/oauth-apps", {"access_token": token, "api_token": token})
    in_body = client.post("/v1/redirect-uris", {"access_token": token}, content_type="application/json")
    in_cookie = client.get("/v1/oauth-apps", headers={"Cookie": f"Authorization=Bearer {token}"})

    assert [in_query.status_code, in_body.status_code, in_cookie.status_code] == [401, 401, 401]
    assert token not in in_query.content.decode() + in_body.content.decode()


def test_it_refuses_a_session_of_the_console(client: Client, account: Account) -> None:
    """D08"""
    user = get_user_model().objects.create_superuser("chani", "chani@example.com", "a-password")
    Membership.objects.create(account=account, user=user)
    client.force_login(user)

    assert client.get("/v1/oauth-apps").status_code == 401
    assert client.post("/v1/redirect-uris", {"redirect_uri": "https://a.example"}).status_code == 401


@pytest.mark.parametrize("scopes", [["read"], ["read", "reveal", "proxy"]])
def test_it_refuses_to_write_without_the_scope(account: Account, scopes: list[str]) -> None:
    """D07"""
    api = client_of(account, *scopes)
    app = f"/v1/oauth-apps/{uuid.uuid4()}"

    for method, path in [("POST", "/v1/oauth-apps"), ("POST", "/v1/redirect-uris"), ("PATCH", app), ("DELETE", app)]:
        response = api.generic(method, path, "{}", content_type="application/json")

        assert response.status_code == 403
        assert response.json()["code"] == "insufficient_scope"
        assert response["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="write"'
    assert api.post(f"{app}/check").status_code == 403
    assert api.get("/v1/oauth-apps").status_code == 200


def test_it_refuses_to_read_without_the_scope(account: Account) -> None:
    api = client_of(account, "write")

    response = api.get("/v1/oauth-apps")

    assert response.status_code == 403
    assert response.json()["summary"] == "This needs an API token with the scope read."


def test_the_scheme_may_be_written_in_any_case(client: Client, token: str) -> None:
    assert client.get("/v1/oauth-apps", headers={"Authorization": f"bearer {token}"}).status_code == 200


def test_the_database_holds_no_token(token: str, token_row: ApiToken) -> None:
    """D06"""
    kept = json.dumps({name: str(value) for name, value in vars(token_row).items()})

    assert bytes(token_row.token_hash) == digest(token)
    assert token_row.prefix == token[:12]
    assert token[12:] not in kept


def test_a_token_has_a_prefix_and_a_checksum() -> None:
    token = api_tokens.new_token()
    damaged = token[:20] + ("a" if token[20] != "a" else "b") + token[21:]

    assert (len(token), token[:4]) == (53, "sqa_")
    assert token.isascii()
    assert api_tokens.is_well_formed(token)
    assert not api_tokens.is_well_formed(damaged)
    assert api_tokens.checksum("sqa_" + "0" * 43) == "0kDYWe"


@pytest.mark.django_db
def test_a_damaged_token_costs_no_query(client: Client, django_assert_num_queries: object) -> None:
    token = api_tokens.new_token()

    with django_assert_num_queries(0):  # type: ignore[operator]
        client.get(
            "/v1/oauth-apps", headers={"Authorization": f"Bearer {token[:-1]}{'a' if token[-1] != 'a' else 'b'}"}
        )


def test_it_notes_the_use_once_a_minute(api: Client, token_row: ApiToken) -> None:
    first = timezone.now().replace(microsecond=0)

    for seconds, expected in [(0, 0), (59, 0), (61, 61)]:
        with time_machine.travel(first + timedelta(seconds=seconds), tick=False):
            api.get("/v1/providers")
        token_row.refresh_from_db()

        assert token_row.last_used_at == first + timedelta(seconds=expected)


def test_a_use_that_was_refused_is_a_use(account: Account) -> None:
    api = client_of(account, "read")

    api.post("/v1/redirect-uris", {}, content_type="application/json")

    assert ApiToken.objects.get().last_used_at is not None


def test_a_url_full_of_parameters_has_a_request_id(client: Client, db: None) -> None:
    """Django refuses more than a thousand of them while it reads the query, unless it is told otherwise."""
    response = client.get("/v1/oauth-apps?" + "&".join(f"a{n}=1" for n in range(1100)))

    assert response.status_code == 401
    assert response.json()["request_id"] == response["X-Request-Id"]
