"""`GET /v1/credentials`, page by page and filtered; and one of them."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from credentials.models import Credential, Failure, Token
from oauth_apps.models import Account, OAuthApp
from tests.credentials.answers import CREDENTIALS, errors, path, posted, without_request_id
from tests.credentials.conftest import AppOf
from tests.credentials.shapes import MASK
from tests.credentials.stored import again, keep
from tests.oauth_apps.conftest import client_of


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [one["id"] for one in response.json()["data"]]


def statements(api: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert api.get(url).status_code == 200
    return len(captured)


# ---- another account's -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "action", "content"),
    [
        ("GET", "", ""),
        ("PATCH", "", '{"name": "Mine"}'),
        ("PATCH", "", '{"id": 1}'),
        ("DELETE", "", ""),
        ("POST", "/check", ""),
    ],
)
def test_another_accounts_credential_is_not_there(
    linear: Credential, other_api: Client, method: str, action: str, content: str
) -> None:
    """D01: identical to the answer for an id that nobody has"""
    foreign, unknown = (
        other_api.generic(method, path(one, action), content, content_type="application/json")
        for one in (linear.pk, uuid.uuid4())
    )

    assert without_request_id(foreign) == without_request_id(unknown)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")
    assert again(linear).name == ""


def test_another_accounts_credential_is_in_no_list(linear: Credential, other_api: Client) -> None:
    """D01"""
    nothing: dict[str, Any] = {"data": [], "next_cursor": None}
    queries = [{}, {"provider": "linear"}, {"metadata": "{}"}, {"oauth_app_id": str(linear.oauth_app_id)}]

    assert [other_api.get(CREDENTIALS, query).json() for query in queries] == [nothing] * 4


@pytest.mark.parametrize("spelling", ["{%s}", "urn:uuid:%s", "%s.", "%s "])
def test_an_id_has_one_spelling(linear: Credential, api: Client, spelling: str) -> None:
    """D12"""
    others = [spelling % linear.pk, str(linear.pk).upper(), linear.pk.hex]

    assert [api.get(path(one)).status_code for one in others] == [404, 404, 404]
    assert api.get(path(others[0])).json()["code"] == "not_found"


@pytest.mark.parametrize("url", [CREDENTIALS, f"{CREDENTIALS}/{uuid.UUID(int=1)}", f"{CREDENTIALS}/export"])
def test_without_an_api_token_nothing_is_told(db: None, url: str) -> None:
    """D02"""
    response = Client().get(url)

    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")


def test_reading_needs_the_scope_read(linear: Credential, account: Account) -> None:
    """D07"""
    api = client_of(account, "write")

    assert [api.get(url).status_code for url in (CREDENTIALS, path(linear))] == [403, 403]


# ---- what is not asked like that -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "1e2"}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": ""}, "cursor"),
        ({"provider": ""}, "provider"),
        ({"provider": "Linear"}, "provider"),
        ({"provider": "linear\x00"}, "provider"),
        ({"kind": "x" * 121}, "kind"),
        ({"health.status": "fine"}, "health.status"),
        ({"oauth_app_id": "1"}, "oauth_app_id"),
        ({"oauth_app_id": str(uuid.UUID(int=10)).upper()}, "oauth_app_id"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": "[]"}, "metadata"),
        ({"metadata": '{"a": "\\u0000"}'}, "metadata"),
        ({"metadata": "[" * 2500}, "metadata"),
        ({"kind": ["linear_oauth2", "stripe_key"]}, "kind"),
        ({"scope": "read"}, "scope"),
    ],
)
def test_it_names_the_parameter_that_is_wrong(api: Client, query: dict[str, Any], field: str) -> None:
    """D11"""
    assert list(errors(api.get(CREDENTIALS, query))) == [field]


def test_a_cursor_of_another_list_is_none_here(api: Client, linear: Credential, stripe_key: Credential) -> None:
    """D11"""
    cursor = api.get(CREDENTIALS, {"limit": 1}).json()["next_cursor"]
    tampered = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")

    assert list(errors(api.get(CREDENTIALS, {"cursor": tampered}))) == ["cursor"]


# ---- pages and filters -----------------------------------------------------------------------------------------------


def test_the_newest_come_first_page_by_page(api: Client, account: Account) -> None:
    made = [keep(account, "sendgrid_key", None, secret=f"SG.canary-{number}") for number in range(5)]
    Credential.objects.filter(pk__in=[one.pk for one in made[:3]]).update(created_at=made[0].created_at)

    pages, cursor = [], ""
    while cursor is not None:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        response = api.get(CREDENTIALS, query)
        pages.append(ids(response))
        cursor = response.json()["next_cursor"]

    tied = sorted((str(one.pk) for one in made[:3]), reverse=True)
    assert pages == [[str(made[4].pk), str(made[3].pk)], tied[:2], tied[2:]]


def test_a_page_stays_valid_while_rows_come_and_go(api: Client, account: Account) -> None:
    made = [keep(account, "sendgrid_key", None, secret=f"SG.canary-{number}") for number in range(3)]
    cursor = api.get(CREDENTIALS, {"limit": 1}).json()["next_cursor"]
    made[2].delete()
    keep(account, "sendgrid_key", None, secret="SG.canary-later")

    assert ids(api.get(CREDENTIALS, {"cursor": cursor})) == [str(made[1].pk), str(made[0].pk)]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"provider": "linear"}, ["linear"]),
        ({"provider": "nobody"}, []),
        ({"kind": "stripe_key"}, ["stripe_key"]),
        ({"kind": "stripe"}, []),
        ({"health.status": "error"}, ["linear"]),
        ({"health.status": "warn"}, []),
        ({"metadata": '{"tenant": {"id": 7}}'}, ["stripe_key"]),
        ({"metadata": '{"tenant": {"id": "7"}}'}, []),
        ({"metadata": "{}"}, ["stripe_key", "linear"]),
        ({"provider": "linear", "health.status": "ok"}, []),
    ],
)
def test_filters_narrow_it(
    api: Client, linear: Credential, stripe_key: Credential, query: dict[str, str], found: list[str]
) -> None:
    Credential.objects.filter(pk=linear.pk).update(health_status="error")
    Credential.objects.filter(pk=stripe_key.pk).update(metadata={"tenant": {"id": 7, "name": "x"}})
    names = {str(linear.pk): "linear", str(stripe_key.pk): "stripe_key"}

    assert [names[one] for one in ids(api.get(CREDENTIALS, query))] == found


def test_it_finds_the_credentials_of_an_oauth_app(api: Client, linear: Credential, stripe_key: Credential) -> None:
    assert ids(api.get(CREDENTIALS, {"oauth_app_id": str(linear.oauth_app_id)})) == [str(linear.pk)]
    assert ids(api.get(CREDENTIALS, {"oauth_app_id": str(uuid.uuid4())})) == []


# ---- what it costs ---------------------------------------------------------------------------------------------------


def test_a_page_of_a_hundred_costs_as_many_statements_as_a_page_of_one(
    api: Client, account: Account, linear: Credential
) -> None:
    api.get(CREDENTIALS)  # the API token's use is noted
    one = statements(api, CREDENTIALS)
    for number in range(60):
        keep(account, "linear_oauth2", linear.oauth_app, access_token="x", linear_org_id=f"org{number}")
        keep(account, "sendgrid_key", None, secret=f"SG.canary-{number}")

    hundred = statements(api, CREDENTIALS)

    assert len(ids(api.get(CREDENTIALS))) == 100
    assert (one, hundred) == (3, 3)  # the API token, the page, its OAuth apps


def test_one_costs_two_statements(api: Client, linear: Credential) -> None:
    api.get(path(linear))

    assert statements(api, path(linear)) == 2  # the API token, the credential


# ---- what it can bear ------------------------------------------------------------------------------------------------


def test_no_seal_is_opened_for_a_list(api: Client, linear: Credential, stripe_key: Credential) -> None:
    """E07, E08: the ciphertexts are no ciphertexts any more, or their key is away"""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE credentials_credential SET secrets = 'x' WHERE secrets IS NOT NULL")
        cursor.execute(
            "UPDATE credentials_token SET access_token = 'x', refresh_token = 'x' WHERE access_token IS NOT NULL"
        )
        cursor.execute("UPDATE oauth_apps_oauthapp SET client_secret = 'x'")

    response = api.get(CREDENTIALS)

    secrets = [{name for name, value in one["properties"].items() if value == MASK} for one in response.json()["data"]]
    assert secrets == [{"secret"}, {"access_token", "refresh_token"}]
    assert [api.get(path(one)).status_code for one in (linear, stripe_key)] == [200, 200]


def test_it_shows_what_has_left_the_catalogue(api: Client, linear: Credential, stripe_key: Credential) -> None:
    Credential.objects.filter(pk=linear.pk).update(provider="gone", kind="gone_oauth2")
    Credential.objects.filter(pk=stripe_key.pk).update(provider="gone", kind="gone_key")

    key, gone = api.get(CREDENTIALS).json()["data"]

    assert key["properties"] == {"kind": "gone_key", "secret": MASK, "test": True}
    assert gone["properties"] == {
        "kind": "gone_oauth2",
        "access_token": MASK,
        "refresh_token": MASK,
        "linear_org_id": "org-1",
        "linear_org_name": "Arrakis",
        "scope": "read write",
        "token_type": "Bearer",
        "expires_at": "2026-01-01T00:00:00Z",
    }
    assert ids(api.get(CREDENTIALS, {"provider": "gone"})) == [key["id"], gone["id"]]


# ---- health ----------------------------------------------------------------------------------------------------------


def test_a_refresh_that_went_well_is_an_observation(api: Client, linear: Credential) -> None:
    """The row of the tokens tells it; the credential's own is not written for it."""
    later = timezone.now() + timedelta(hours=2)
    Token.objects.filter(pk=linear.pk).update(obtained_at=later)

    time = api.get(path(linear)).json()["health"]["time"]

    assert time == later.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_token_that_fails_tells_nothing_by_its_age(api: Client, linear: Credential) -> None:
    later = timezone.now() + timedelta(hours=2)
    Token.objects.filter(pk=linear.pk).update(obtained_at=later, failure=Failure.PROVIDER_UNAVAILABLE)

    time = api.get(path(linear)).json()["health"]["time"]

    assert time == again(linear).health_time.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("source", ["catalogue", "policy"])
def test_an_end_that_is_assumed_is_no_property(api: Client, linear: Credential, source: str) -> None:
    Token.objects.filter(pk=linear.pk).update(expiry_source=source)

    answer = api.get(path(linear)).json()

    assert (answer["expires_at"], answer["expires_at_source"]) == ("2026-01-01T00:00:00Z", source)
    assert "expires_at" not in answer["properties"]


def test_scopes_that_were_not_granted_are_missing(api: Client, app_of: AppOf, linear_app: OAuthApp) -> None:
    credential = posted(
        api,
        oauth_app_id=str(linear_app.pk),
        properties={"kind": "linear_oauth2", "access_token": "x", "linear_org_id": "1", "scope": "read"},
    )
    Credential.objects.update(scopes_requested=["read", "write"])

    assert api.get(path(credential)).json()["scopes"] == {
        "requested": ["read", "write"],
        "granted": ["read"],
        "missing": ["write"],
    }
