"""A pass that is another request than the first one was, and a limit that is told by status 400."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from django.utils import timezone

from oauth_apps.models import Account
from providers import catalogue
from providers.collection import Collection, Cursor
from sequin_auth.lib import http
from syncs.walk import State, Terms, Walk
from tests.credentials.stored import linear_app, linear_credential
from tests.syncs.machine import Machine


def contacts() -> Collection:
    """A list that sees everything, and a search of which no more than so many rows are found."""
    found = catalogue.get("hubspot").collection("contact")
    assert found is not None
    return found


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": str(number), "updatedAt": "2026-11-22T12:00:00Z"} for number in range(count)]


def test_the_list_has_no_window() -> None:
    state = State()
    walk = Walk(contacts(), state, Terms(names={}, now=1_795_000_000, interval=60))
    walk.begin()
    request = state["next"]
    assert request is not None
    following = {**request, "params": {**request["params"], "after": "10000"}}

    walk.page(rows(10_000), following)  # type: ignore[arg-type]

    assert state["next"] == following


def test_the_search_has_one_and_nothing_of_the_list() -> None:
    since, now = 1_795_000_000.0, 1_796_000_000.0
    state = State(watermark=since, full_at=now, full=1, number=1)
    walk = Walk(contacts(), state, Terms(names={}, now=now, interval=60))
    walk.begin()

    request, step = state["next"], walk.step()
    assert request is not None
    assert step is not None
    assert request["url"].endswith("/contacts/search")
    assert request["params"] == {}
    assert request["json"]["filterGroups"][0]["filters"][0]["value"] == since * 1000
    assert walk.paginator(step)["cursor_body_path"] == "after"
    assert isinstance(walk.collection.paginator_at(None), Cursor)

    latest = [{"id": "x", "updatedAt": "2026-11-23T12:00:00Z"}]
    walk.page(rows(9_999) + latest, {**request, "json": {**request["json"], "after": "10000"}})
    again = state["next"]
    assert again is not None
    assert "after" not in again["json"]
    assert again["json"]["filterGroups"][0]["filters"][0]["value"] == 1_795_435_200_000


def test_a_limit_that_is_told_by_status_400(account: Account, sync_database: str) -> None:
    """Source: Linear's documentation, "Rate limiting"."""
    reset = timezone.now() + timedelta(minutes=10)

    def deliver(method: str, url: str, headers: Mapping[str, str], body: bytes) -> http.Response:
        told = {"x-ratelimit-requests-reset": str(int(reset.timestamp() * 1000))}
        content = b'{"errors":[{"message":"Rate limit exceeded","extensions":{"code":"RATELIMITED"}}]}'
        return http.Response(status=400, headers=told, content=content)

    app = linear_app(account, environment="sandbox")
    credential = linear_credential(app, expires_at=(timezone.now() + timedelta(hours=1)).isoformat())
    machine = Machine(cast(Any, None), account, credential)
    sync = machine.sync("issue")

    with http.answered_here(deliver):
        run = machine.slice(sync)

    assert (run.stop, run.requests) == ("rate_limited", 1)
    assert abs(sync.next_at - reset) < timedelta(seconds=60)
