"""B21: the end user's browser and the developer's see codes and states, and nothing that opens anything."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from tests.real.canaries import Canaries
from tests.real.gateway import Gateway
from tests.security.member import signed_in
from tests.security.passing_by import Passing
from tests.security.stand_in import StandIn, answering_json
from tests.security.tenant import Browser

HIDDEN = ("access token", "refresh token", "client secret", "code_verifier", "webhook secret", "sk_live")


@dataclass
class Watched(Browser):
    """It remembers all that it was given: status lines, headers, cookies, bodies."""

    given: list[str] = field(default_factory=list)

    def request(self, method: str, url: str, **more: Any) -> requests.Response:
        answer = super().request(method, url, **more)
        self.given.append(f"{answer.status_code} {answer.headers} {dict(answer.cookies)}\n{answer.text}")
        return answer


def assert_hidden(canaries: Canaries, given: list[str]) -> None:
    hidden = Canaries()
    hidden.kinds = {value: kind for value, kind in canaries.kinds.items() if kind in HIDDEN}
    assert len(hidden) >= 3
    everything = "\n".join(given)
    assert [kind for value, kind in hidden.kinds.items() if value in everything] == []


def refuse(passing: Passing) -> None:
    echo = {"error": "invalid_grant", "error_description": passing.canary("access token")}
    passing.provider.behaves("/token", answering_json(400, echo))


def give_what_nobody_understands(passing: Passing) -> None:
    odd = {"access_token": [passing.canary("access token")], "refresh_token": passing.canary("refresh token")}
    passing.provider.behaves("/token", answering_json(200, odd))


@pytest.mark.parametrize("debug", ["false", "true"])
@pytest.mark.parametrize("spoil", [None, refuse, give_what_nobody_understands])
def test_b21_the_end_user_s_browser_sees_no_token(
    gateway: Gateway, provider: StandIn, spoil: Callable[[Passing], None] | None, debug: str
) -> None:
    """On a trip that goes well and on one that ends in an explanation; the provider has seen all of them"""
    passing = Passing(gateway, provider)
    app = passing.register()
    passing.credential(app)
    if spoil:
        spoil(passing)
    provider.requests.clear()
    browser = Watched(gateway)

    trip = app.started(browser, debug=debug)
    trip.approved()
    trip.approved()  # once more, as by the button "back"
    browser.get(app.start_url(debug=debug, scope="\x00"))

    (exchange,) = provider.sent_to("/token")
    passing.canaries.add("code_verifier", exchange.form["code_verifier"])
    assert len(browser.given) == 4
    assert_hidden(passing.canaries, browser.given)


def test_b21_the_console_shows_no_token(gateway: Gateway, provider: StandIn) -> None:
    """To the developer who may see the credential and the trip it came from"""
    passing = Passing(gateway, provider)
    app = passing.register()
    credential = passing.credential(app)
    key = passing.key()
    passing.trip(app)
    browser = Watched(gateway)
    signed_in(passing.tenant, browser)
    paths = (f"credentials/credential/{credential}", f"credentials/credential/{key}", f"oauth_apps/oauthapp/{app.id}")

    for path in paths:
        assert browser.get(f"/admin/{path}/change/").status_code == 200
    for listed in ("credentials/credential", "credentials/authorization", "oauth_apps/oauthapp", "oauth_apps/apitoken"):
        assert browser.get(f"/admin/{listed}/").status_code == 200

    assert_hidden(passing.canaries, browser.given)
