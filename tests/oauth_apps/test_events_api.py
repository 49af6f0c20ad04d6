"""`GET /v1/events`: an account's part of the audit log, for machines."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from oauth_apps import audit
from oauth_apps.models import Account, ApiToken, AuditEvent, OAuthApp
from tests.oauth_apps.conftest import client_of

EVENTS = "/v1/events"


def listed(client: Client, **query: str) -> list[dict[str, Any]]:
    response = client.get(EVENTS, query)
    assert response.status_code == 200, response.content
    data: list[dict[str, Any]] = response.json()["data"]
    return data


def actions(client: Client, **query: str) -> list[str]:
    return [event["action"] for event in listed(client, **query)]


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_it_needs_an_api_token_with_the_scope_read(client: Client, account: Account) -> None:
    assert client.get(EVENTS).status_code == 401
    assert client_of(account, "write").get(EVENTS).status_code == 403


def test_another_account_sees_nothing_of_it(other_api: Client, api: Client, account: Account) -> None:
    audit.record("oauth_app.changed", account=account)
    audit.record("user.signed_in", account=None)

    assert listed(other_api) == []
    assert actions(api) == ["oauth_app.changed"]


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nobody_writes_it(api: Client, method: str) -> None:
    assert getattr(api, method)(EVENTS).status_code == 405


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"action": "exported"}, "action"),
        ({"action": "credential.%"}, "action"),
        ({"action": ""}, "action"),
        ({"object_id": "a b"}, "object_id"),
        ({"object_id": "\x00"}, "object_id"),
        ({"api_token": "sqa_1"}, "api_token"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-11-22"}, "since"),
        ({"until": "2026-13-22T00:00:00Z"}, "until"),
        ({"until": "2026-11-22T00:00:00+01:00"}, "until"),
        ({"limit": "0"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"account": "x"}, "account"),
    ],
)
def test_what_it_cannot_read_it_refuses_by_name(api: Client, query: dict[str, str], field: str) -> None:
    response = api.get(EVENTS, query)

    assert response.status_code == 422
    assert list(response.json()["validation_errors"]) == [field]


# ---- what it tells ---------------------------------------------------------------------------------------------------


def test_an_event_says_who_did_what_from_where(api: Client, token_row: ApiToken, acme_app: OAuthApp) -> None:
    done = api.patch(f"/v1/oauth-apps/{acme_app.pk}", {"name": "Melange"}, content_type="application/json")

    row = AuditEvent.objects.get()
    assert listed(api) == [
        {
            "id": str(row.pk),
            "created_at": row.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "action": "oauth_app.changed",
            "actor": {"kind": "api_token", "name": str(token_row), "id": str(token_row.pk)},
            "object": {"type": "oauth_app", "id": str(acme_app.pk), "name": "Melange"},
            "detail": "name",
            "address": "127.0.0.1",
            "request_id": done.headers["X-Request-Id"],
            "chain": str(acme_app.account_id),
            "number": 1,
            "seal": bytes(row.seal or b"").hex(),
        }
    ]


def test_actors_are_of_three_kinds(api: Client, account: Account, token_row: ApiToken, django_user_model: Any) -> None:
    paul = django_user_model.objects.create(username="paul")
    audit.record("a.b", by=audit.Actor("manage.py purge"), account=account)
    audit.record("a.b", by=audit.Actor("paul", paul.pk), account=account)
    audit.record("a.b", by=audit.Actor("ci (sqa_1…)", api_token_id=token_row.pk), account=account)

    assert [event["actor"] for event in listed(api)] == [
        {"kind": "api_token", "name": "ci (sqa_1…)", "id": str(token_row.pk)},
        {"kind": "user", "name": "paul", "id": str(paul.pk)},
        {"kind": "other", "name": "manage.py purge", "id": None},
    ]


def test_one_that_is_older_than_chains_has_none(api: Client, account: Account) -> None:
    AuditEvent.objects.create(account=account, actor="paul", action="x.y")

    (event,) = listed(api)
    assert (event["chain"], event["number"], event["seal"]) == (None, None, None)


# ---- filters and pages -----------------------------------------------------------------------------------------------


def test_it_sifts_by_action_object_and_api_token(api: Client, account: Account, token_row: ApiToken) -> None:
    shown = audit.Actor("ci", api_token_id=token_row.pk)
    audit.record("credential.exported", by=shown, account=account)
    audit.record("credential.deleted", account=account, to=account)
    audit.record("oauth_app.deleted", account=account)

    assert actions(api, action="credential.exported") == ["credential.exported"]
    assert actions(api, action="credential.") == ["credential.deleted", "credential.exported"]
    assert actions(api, object_id=str(account.pk)) == ["credential.deleted"]
    assert actions(api, api_token=str(token_row.pk)) == ["credential.exported"]
    assert actions(api, api_token=str(uuid4())) == []


def test_it_sifts_by_time(api: Client, account: Account) -> None:
    now = timezone.now().replace(microsecond=0)
    for hours in (3, 2, 1):
        moment = now - timedelta(hours=hours)
        AuditEvent.objects.create(account=account, actor="paul", action=f"h.{hours}", created_at=moment)
    two_hours_ago = (now - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")

    assert actions(api, since=two_hours_ago) == ["h.1", "h.2"]
    assert actions(api, until=two_hours_ago) == ["h.3"]


def test_pages_meet_all_once_the_newest_first(api: Client, account: Account) -> None:
    audit.write([audit.event(f"n.{number}", account=account) for number in range(5)])  # at once

    found, cursor = [], ""
    for _ in range(3):
        page = api.get(EVENTS, {"limit": "2"} | ({"cursor": cursor} if cursor else {})).json()
        found += [event["action"] for event in page["data"]]
        cursor = page["next_cursor"]

    assert cursor is None
    assert found == [f"n.{number}" for number in (4, 3, 2, 1, 0)]


def test_a_page_takes_one_statement(api: Client, account: Account, django_assert_num_queries: Any) -> None:
    audit.write([audit.event("n.m", account=account) for _ in range(20)])
    api.get(EVENTS)

    with django_assert_num_queries(2):  # the API token, the events
        api.get(EVENTS)
