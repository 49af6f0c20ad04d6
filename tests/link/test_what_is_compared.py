"""C17: a guess is looked up by its hash or compared in constant time: no clock tells how much of it is right."""

import hmac

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from oauth_apps import api_tokens
from sequin_auth.lib.encryption import digest
from tests.link.trip import Trip

SECRET = "canary-client-secret"

Pair = tuple[bytes | str, bytes | str]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[Pair]:
    """What was compared in constant time."""
    pairs: list[Pair] = []
    in_constant_time = hmac.compare_digest

    def noted(one: bytes, other: bytes) -> bool:
        pairs.append((one, other))
        return in_constant_time(one, other)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    return pairs


@pytest.mark.parametrize(
    ("guess", "status"), [(SECRET, 200), (f"x{SECRET[1:]}", 401), (f"{SECRET[:-1]}x", 401), (f"{SECRET}x", 401)]
)
def test_a_client_secret_is_compared_by_its_digest(trip: Trip, compared: list[Pair], guess: str, status: int) -> None:
    code = trip.code()
    compared.clear()

    assert trip.token(code=code, client_secret=guess).status_code == status

    assert (bytes(digest(SECRET)), bytes(digest(guess))) in compared
    assert not [pair for pair in compared if {SECRET, SECRET.encode(), guess, guess.encode()} & {*pair}]


def test_the_browser_of_a_trip_is_compared_by_its_digest(trip: Trip, compared: list[Pair]) -> None:
    trip.provider_answers()
    state = trip.started()["state"]
    (cookie,) = [one.value for name, one in trip.client.cookies.items() if name.startswith("link_")]
    compared.clear()

    assert trip.callback(state=state, code="canary-provider-code").status_code == 302

    [(kept, shown)] = compared
    assert kept == shown
    assert (type(kept), len(kept)) == (bytes, 32)
    assert cookie.encode() != shown


def test_states_codes_and_api_tokens_are_looked_up_by_their_hash(trip: Trip) -> None:
    """No statement holds what was shown, so no comparison of the database sees it; each holds the hash instead"""
    _, api_token = api_tokens.issue(trip.oauth_app.account)
    headers = {"Authorization": f"Bearer {api_token}"}
    trip.provider_answers()

    with CaptureQueriesContext(connection) as queries:
        state = trip.started()["state"]
        code = (
            trip.callback(state=state, code="canary-provider-code")["Location"].partition("code=")[2].partition("&")[0]
        )
        assert trip.token(code=code).status_code == 200
        assert Client().get("/v1/oauth-apps", headers=headers).status_code == 200
    statements = "\n".join(query["sql"] for query in queries.captured_queries)

    for shown in (state, code, api_token):
        assert digest(shown).hex() in statements
        assert shown not in statements
    assert SECRET not in statements
