"""`Idempotency-Key`: what is sent twice happens once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.utils import timezone

from oauth_apps.models import Account, IdempotencyRecord, OAuthApp, RedirectURI
from tests.oauth_apps.conftest import client_of

APP = {"provider": "acme", "name": "Spice", "client_id": "acme-1", "client_secret": "canary-of-the-secret"}
URI = {"redirect_uri": "https://app.example/cb"}


def post(api: Client, path: str, content: Any, key: str | None = "key-1") -> Any:
    headers = {"Idempotency-Key": key} if key is not None else {}
    return api.post(f"/v1/{path}", content, content_type="application/json", headers=headers)


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "\x7f", "schlüssel", "a\x00b"])
def test_it_refuses_an_unreadable_key(api: Client, key: str) -> None:
    response = post(api, "redirect-uris", URI, key)

    assert (response.status_code, response.json()["code"]) == (400, "bad_idempotency_key")
    assert not RedirectURI.objects.exists()


def test_it_refuses_the_key_of_another_body(api: Client) -> None:
    post(api, "oauth-apps", APP)

    response = post(api, "oauth-apps", APP | {"client_secret": "another"})

    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert list(response.json()["validation_errors"]) == ["Idempotency-Key"]
    assert OAuthApp.objects.count() == 1


def test_the_second_answer_is_the_first(api: Client) -> None:
    first = post(api, "oauth-apps", APP)
    second = post(api, "oauth-apps", dict(reversed(APP.items())))
    OAuthApp.objects.all().delete()
    third = post(api, "oauth-apps/", APP)

    assert [answer.status_code for answer in (first, second, third)] == [201] * 3
    assert first.content == second.content == third.content
    assert [answer.get("Idempotent-Replayed") for answer in (first, second, third)] == [None, "true", "true"]
    assert not OAuthApp.objects.exists()


def test_a_failure_is_not_kept(api: Client) -> None:
    refused = post(api, "oauth-apps", APP | {"name": ""})
    taken = post(api, "redirect-uris", URI, "key-2")
    in_the_way = post(api, "redirect-uris", URI, "key-3")
    RedirectURI.objects.all().delete()

    assert [answer.status_code for answer in (refused, taken, in_the_way)] == [422, 201, 409]
    assert post(api, "oauth-apps", APP).status_code == 201
    assert post(api, "redirect-uris", URI, "key-3").status_code == 201


def test_a_key_belongs_to_its_account_token_and_route(api: Client, account: Account, other_api: Client) -> None:
    one_more_token = client_of(account)
    post(api, "oauth-apps", APP)

    answers = [
        post(other_api, "oauth-apps", APP),
        post(one_more_token, "oauth-apps", APP),
        post(api, "redirect-uris", URI),
    ]

    assert [answer.status_code for answer in answers] == [201] * 3
    assert all("Idempotent-Replayed" not in answer.headers for answer in answers)
    assert OAuthApp.objects.count() == 3


def test_without_a_key_everything_happens(api: Client) -> None:
    ids = {post(api, "oauth-apps", APP, None).json()["id"] for _ in range(2)}

    assert len(ids) == 2
    assert not IdempotencyRecord.objects.exists()


def test_no_record_holds_a_secret(api: Client) -> None:
    """E01"""
    post(api, "oauth-apps", APP, "canary-of-the-key")

    with connection.cursor() as cursor:
        cursor.execute("SELECT record::text FROM oauth_apps_idempotencyrecord record")
        (row,) = cursor.fetchone()
    assert "**********" in row
    assert "canary" not in row
    assert b"canary".hex() not in row


def test_records_go_after_a_day(api: Client) -> None:
    post(api, "redirect-uris", URI)

    with time_machine.travel(timezone.now() + timedelta(hours=23, minutes=59)):
        assert IdempotencyRecord.objects.outdated().count() == 0
    with time_machine.travel(timezone.now() + timedelta(hours=24, minutes=1)):
        assert IdempotencyRecord.objects.outdated().delete()[0] == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_creates() -> None:
    account = Account.objects.create(name="Arrakis")
    api = client_of(account)
    gate = threading.Barrier(8)

    def at_once(_: int) -> Any:
        gate.wait()
        try:
            return post(api, "oauth-apps", APP)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(at_once, range(8)))

    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({answer.content for answer in answers}) == 1
    assert sorted(answer.get("Idempotent-Replayed", "") for answer in answers) == ["", *["true"] * 7]
    assert OAuthApp.objects.count() == 1
