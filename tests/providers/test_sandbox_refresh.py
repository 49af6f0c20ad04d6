"""What a refresh does to the refresh token: each policy that a provider's documentation has, and what ends a family."""

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone

from providers.sandbox.models import Grant, Token
from providers.sandbox.script import load
from tests.providers.in_depth import IN_DEPTH
from tests.providers.sandbox_developer import Answer, Developer, error_of

pytestmark = pytest.mark.django_db

SCRIPTS = {slug: load()[slug].script for slug in IN_DEPTH}
ROTATES_IF_CHOSEN = sorted(slug for slug, s in SCRIPTS.items() if s.refresh.policy != "none" or s.rotation)
BY_A_SETTING = sorted(slug for slug, s in SCRIPTS.items() if s.rotation)
DAY = 86_400


def assert_refused(developer: Developer, answer: Answer) -> None:
    refusal = developer.script.refusal("bad_refresh_token")
    assert (answer.status_code, error_of(answer)) == (refusal.status, refusal.error)


def later(seconds: int) -> time_machine.travel:
    return time_machine.travel(timezone.now() + timedelta(seconds=seconds))


def opens(developer: Developer, access_token: str) -> bool:
    """Whether the access token is good for the first API call that the provider plays."""
    call = developer.calls(revoking=False)[0]
    return bool(developer.call(call, access_token).status_code == 200)


# ---- a family that ends ------------------------------------------------------------------------------------------


def test_a_used_refresh_token_that_comes_back_ends_the_family() -> None:
    developer = Developer("airtable")
    first = developer.tokens()
    second = developer.refreshed(first["refresh_token"])
    third = developer.refreshed(second["refresh_token"])
    assert opens(developer, third["access_token"])

    reused = developer.refresh(first["refresh_token"])

    assert_refused(developer, reused)
    assert_refused(developer, developer.refresh(third["refresh_token"]))
    assert not any(opens(developer, tokens["access_token"]) for tokens in (first, second, third))


def test_the_family_of_another_consent_lives_on() -> None:
    developer = Developer("airtable")
    one, other = developer.tokens(), developer.tokens()
    developer.refreshed(one["refresh_token"])

    developer.refresh(one["refresh_token"])

    assert opens(developer, developer.refreshed(other["refresh_token"])["access_token"])


@pytest.mark.django_db(transaction=True)
def test_a_refresh_waits_for_the_one_before_it() -> None:
    """Else the tokens of one that is under way would outlive the end of their family."""
    developer = Developer("airtable")
    first = developer.tokens()["refresh_token"]
    answers: list[Answer] = []

    def again() -> None:
        answers.append(developer.refresh(first))
        connection.close()

    with transaction.atomic():
        Grant.objects.select_for_update(no_key=True).get()  # no tighter: a new token alone would wait for that
        thread = threading.Thread(target=again)
        thread.start()
        thread.join(0.5)
        was_waiting = thread.is_alive()
    thread.join(10)

    assert was_waiting
    assert [answer.status_code for answer in answers] == [200]


# ---- grace -------------------------------------------------------------------------------------------------------


def test_a_used_refresh_token_is_taken_again_within_its_leeway_and_ends_the_family_after_it() -> None:
    developer = Developer("atlassian")
    first = developer.tokens()["refresh_token"]
    second = developer.refreshed(first)["refresh_token"]

    with later(590):
        third = developer.refreshed(first)["refresh_token"]
    with later(610):
        assert_refused(developer, developer.refresh(first))
        assert_refused(developer, developer.refresh(second))
        assert_refused(developer, developer.refresh(third))


def test_a_used_refresh_token_is_taken_again_until_its_successor_is_used() -> None:
    developer = Developer("shopify")
    first = developer.tokens()["refresh_token"]
    developer.refreshed(first)

    with later(29 * DAY):
        second = developer.refreshed(first)["refresh_token"]
        developer.refreshed(second)
        assert_refused(developer, developer.refresh(first))


def test_a_used_refresh_token_is_taken_again_for_thirty_days_at_most() -> None:
    developer = Developer("shopify")
    first = developer.tokens()["refresh_token"]
    developer.refreshed(first)

    with later(30 * DAY + 1):
        assert_refused(developer, developer.refresh(first))


# ---- kept, replaced, renewed -------------------------------------------------------------------------------------


def test_a_refresh_token_is_replaced_once_it_is_a_day_old() -> None:
    developer = Developer("quickbooks")
    first = developer.tokens()

    same = developer.refreshed(first["refresh_token"])
    with later(DAY + 1):
        replaced = developer.refreshed(first["refresh_token"])
        assert_refused(developer, developer.refresh(first["refresh_token"]))

    assert same["refresh_token"] == first["refresh_token"] != replaced["refresh_token"]


def test_a_lifetime_that_is_told_runs_down_while_the_refresh_token_is_kept() -> None:
    developer = Developer("quickbooks")
    first = developer.tokens()

    with later(DAY - 10):
        same = developer.refreshed(first["refresh_token"])
    with later(DAY + 10):
        replaced = developer.refreshed(first["refresh_token"])

    told = [answer["x_refresh_token_expires_in"] for answer in (first, same, replaced)]
    assert (told[0], told[2]) == (101 * DAY, 101 * DAY)
    assert 100 * DAY < told[1] <= 100 * DAY + 10


@pytest.mark.parametrize("slug", ["google", "dropbox", "salesforce", "apple", "netsuite"])
def test_a_refresh_token_that_is_kept_is_not_told_again(slug: str) -> None:
    developer = Developer(slug)
    first = developer.tokens()["refresh_token"]

    answers = [developer.refreshed(first) for _ in range(2)]

    assert not any("refresh_token" in answer for answer in answers)


@pytest.mark.parametrize(("slug", "days"), [("atlassian", 365), ("okta", 90), ("netsuite", 7), ("servicenow", 100)])
def test_a_hard_end_is_not_put_off_by_refreshing(slug: str, days: int) -> None:
    developer = Developer(slug)
    refresh_token = developer.tokens()["refresh_token"]

    for day in range(60, days, 60):
        with later(day * DAY):
            refresh_token = developer.refreshed(refresh_token).get("refresh_token", refresh_token)
    with later(days * DAY - 60):
        refresh_token = developer.refreshed(refresh_token).get("refresh_token", refresh_token)

    with later(days * DAY + 1):
        assert_refused(developer, developer.refresh(refresh_token))


# ---- where a developer chooses rotation --------------------------------------------------------------------------


@pytest.mark.parametrize("slug", ROTATES_IF_CHOSEN)
def test_a_developer_can_choose_the_strictest_rotation(slug: str) -> None:
    developer = Developer(slug)
    first = developer.tokens("rotating")

    second = developer.refreshed(first["refresh_token"])
    third = developer.refreshed(second["refresh_token"])
    assert len({answer["refresh_token"] for answer in (first, second, third)}) == 3
    assert_refused(developer, developer.refresh(first["refresh_token"]))

    assert_refused(developer, developer.refresh(third["refresh_token"]))
    assert not Token.objects.filter(revoked_at=None).exists()


@pytest.mark.parametrize(
    ("slug", "told"),
    [
        ("github", {"expires_in": 28_800, "refresh_token_expires_in": 15_897_600, "token_type": "bearer"}),
        ("slack", {"ok": True, "expires_in": 43_200, "token_type": "bot", "bot_user_id": "B0SANDBOX01"}),
    ],
)  # fmt: skip
def test_a_token_ends_where_the_clients_setting_says_so(slug: str, told: dict[str, Any]) -> None:
    developer = Developer(slug)

    answers = [tokens := developer.tokens("rotating"), developer.refreshed(tokens["refresh_token"])]

    for answer in answers:
        assert {name: answer[name] for name in told} == told
    assert "expires_in" not in developer.tokens()
    assert BY_A_SETTING == ["github", "slack"]


def test_a_refresh_ends_githubs_old_access_token() -> None:
    developer = Developer("github")
    first = developer.tokens("rotating")
    assert opens(developer, first["access_token"])

    second = developer.refreshed(first["refresh_token"])

    assert not opens(developer, first["access_token"])
    assert opens(developer, second["access_token"])


def test_a_refresh_token_of_a_setting_that_nobody_has_is_refused() -> None:
    developer = Developer("slack")
    developer.tokens("rotating")

    answer = developer.refresh("made-up")

    assert json.loads(answer.content) == {"ok": False, "error": "invalid_grant_type"}
