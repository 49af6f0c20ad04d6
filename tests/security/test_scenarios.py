"""
The confused deputies that a gateway of many accounts breeds, each told as a story.

Arrakis is an honest account, Harkonnen the attacker. The victim is an end user who has an account at the honest
provider. `provider` is the honest provider's server, `attackers_provider` one that Harkonnen controls.

| attack    | the attacker comes by                                      | it ends                              |
|-----------|------------------------------------------------------------|--------------------------------------|
| COAT      | another provider; his own host of the same one; a tool     | `context_mismatch`: nobody is asked, |
|           | of the same account                                        | the state is burned                  |
| squatting | an app with Arrakis's client ID: an invented secret, none  | refused by the provider, or as COAT  |
| CORF      | his callback URL; without state; with the context in the   | `session_mismatch` or the like: the  |
|           | query; a form; his own provider                            | victim's own trip arrives            |
| COSF      | the authorization URL; the callback URL                    | `session_mismatch`                   |
|           | the start link; a link of the backend's                    | the developer's own comparison       |
|           | a reconnect link                                           | `access_denied`: nothing is replaced |
| his token | the host in a start link, or on the hosted page; an app of | refused; his host sees his own       |
| endpoint  | his own                                                    | secrets alone                        |

Each is tried on all four kinds of app, with the developer's own PKCE and without, where that can make a difference.
The four kinds of app: with the shared callback, with a callback of its own, public (without a secret), and at a
provider of which each customer has a server of his own. What they are and what stands against them: docs/security.md.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from tests.lib.servers import Visit
from tests.security.stand_in import HOSTED, MALICIOUS, Request, StandIn, answering_json
from tests.security.tenant import App, Browser, Started, Tenant, assert_back, assert_page, query_of, sql

VICTIM, ATTACKER = "code-of-the-victim", "code-of-the-attacker"  # the honest provider's, for either's account


@dataclass
class World:
    """Everybody there is. `known`: the apps of Arrakis at the honest provider, by client ID."""

    arrakis: Tenant
    harkonnen: Tenant
    provider: StandIn
    attackers_provider: StandIn
    victim: Browser
    attacker: Browser
    known: dict[str, App]

    def app_of_arrakis(self, kind: str) -> App:
        """Registered at the honest provider, with its callback URL and no other, and with its secret."""
        client_id = f"arrakis-{kind}".replace(" ", "-")
        if client_id not in self.known:
            self.known[client_id] = KINDS[kind](self, client_id)
        return self.known[client_id]

    def client_id_of(self, app: App) -> str:
        (client_id,) = (name for name, known in self.known.items() if known is app)
        return client_id

    def at_the_honest_provider(self, authorization_url: str, code: str) -> str | None:
        """Where it sends whoever has approved: nowhere, if that callback URL is not registered for the client."""
        query = query_of(authorization_url)
        app = self.known.get(query["client_id"])
        if app is None or query["redirect_uri"] != app.callback_url:
            return None
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def tokens_for_known_clients(self, visit: Visit, request: Request) -> None:
        """The honest token endpoint: it knows each client's secret, and a public client has none."""
        pair = base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()
        client_id, _, secret = pair.partition(":") if pair else (request.form.get("client_id", ""), "", "")
        app = self.known.get(client_id)
        if app is None or secret != (app.client_secret or ""):
            answering_json(401, {"error": "invalid_client"})(visit, request)
            return
        self.provider.give_tokens(visit, request)

    # ---- what came of it ---------------------------------------------------------------------------------------------

    def assert_nobody_was_asked(self) -> None:
        assert self.provider.asked == []
        assert self.attackers_provider.asked == []

    def assert_the_attacker_has_nothing(self) -> None:
        """No code of the victim's at his server, no tokens in a trip or credential of his, and no credential at all
        that the victim did not want
        """
        seen = "".join(f"{request.target} {request.body.decode()}" for request in self.attackers_provider.requests)
        assert VICTIM not in seen
        for tenant in (self.harkonnen, self.arrakis):
            assert tenant.call("GET", "/v1/credentials").json()["data"] == []
        statement = (
            "SELECT count(*) FROM credentials_authorization WHERE tokens IS NOT NULL AND oauth_app_id IN"
            " (SELECT id FROM oauth_apps_oauthapp WHERE account_id = %s)"
        )
        assert sql(self.harkonnen.gateway, statement, self.harkonnen.id) == [(0,)]


KINDS: dict[str, Callable[[World, str], App]] = {
    "shared callback": lambda world, client_id: world.arrakis.app(client_id=client_id),
    "own callback": lambda world, client_id: world.arrakis.app(client_id=client_id, own_callback=True),
    "public": lambda world, client_id: world.arrakis.app("standin-public", client_id=client_id, client_secret=None),
    "tenant-hosted": lambda world, client_id: hosted(world.arrakis, world.provider, client_id=client_id),
}


def hosted(tenant: Tenant, server: StandIn, **more: Any) -> App:
    return tenant.app(HOSTED, variables={"port": str(server.server.port)}, **more)


@pytest.fixture(scope="module")
def known() -> dict[str, App]:
    return {}


@pytest.fixture(scope="module")
def tools() -> dict[str, App]:
    return {}


@pytest.fixture
def world(
    known: dict[str, App], arrakis: Tenant, harkonnen: Tenant, provider: StandIn, attackers_provider: StandIn,
    browser: Browser, other_browser: Browser,
) -> World:  # fmt: skip
    world = World(arrakis, harkonnen, provider, attackers_provider, other_browser, browser, known)
    provider.behaves("/token", world.tokens_for_known_clients)
    return world


@dataclass
class Session:
    """Of one user at the developer's site: the state and the verifier that it began a trip with."""

    with_pkce: bool
    state: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def params(self) -> dict[str, str]:
        """What it adds to the start link."""
        if not self.with_pkce:
            return {"state": self.state}
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")
        return {"state": self.state, "code_challenge": challenge, "code_challenge_method": "S256"}

    def exchanged(self, app: App, code: str) -> requests.Response:
        """What the developer's server does with a code that came back in this session, without looking at `state`."""
        form = {"client_id": app.id, "code": code} | ({"code_verifier": self.verifier} if self.with_pkce else {})
        headers = {}
        if app.client_secret is None:  # a public client has no other way to show whose it is
            headers["Authorization"] = f"Bearer {app.tenant.api_token}"
        else:
            form["client_secret"] = app.client_secret
        url = f"{app.tenant.gateway.url}/link/oauth2/token"
        return requests.post(url, form, headers=headers, allow_redirects=False, timeout=30)


every_kind = pytest.mark.parametrize("kind", KINDS)
with_and_without_pkce = pytest.mark.parametrize("with_pkce", [True, False], ids=["PKCE", "no PKCE"])


def assert_mismatch(page: requests.Response, error: str) -> None:
    assert_page(page)
    assert f"<code>{error}</code>" in page.text


# ---- COAT ------------------------------------------------------------------------------------------------------------

TOOLS: dict[str, Callable[[World], App]] = {
    "another provider": lambda world: world.harkonnen.app(MALICIOUS),
    "another provider, own callback": lambda world: world.harkonnen.app(MALICIOUS, own_callback=True),
    "his host of the same provider": lambda world: hosted(world.harkonnen, world.attackers_provider),
    "a tool of the same account": lambda world: world.arrakis.app(MALICIOUS),
}


@pytest.mark.parametrize("tool", TOOLS)
@every_kind
@with_and_without_pkce
def test_coat_the_attackers_provider_sends_the_victim_on(
    world: World, tools: dict[str, App], kind: str, tool: str, with_pkce: bool
) -> None:
    """
    The victim connects the attacker's tool. The attacker's provider asks nothing: it sends the browser on to the honest
    provider, with the client ID and callback URL of Arrakis, which are public, and with the state of the trip that is
    under way. The honest provider knows the victim, and sends a code to Arrakis's callback. If the code were exchanged
    where that state began, the attacker's token endpoint would have it.
    """
    honest = world.app_of_arrakis(kind)
    malicious = tools[tool] = tools.get(tool) or TOOLS[tool](world)
    trip = malicious.started(world.victim, **Session(with_pkce).params)
    assert trip.location.startswith(world.attackers_provider.url)

    callbacks = f"{world.arrakis.gateway.url}/link/oauth2/callback"
    targets = {
        honest.callback_url,
        malicious.callback_url,
        f"{callbacks}/{honest.provider}",
        f"{callbacks}/{MALICIOUS}",
    }
    forged = {"client_id": world.client_id_of(honest), "response_type": "code", "state": trip.state}
    urls = [f"{world.provider.url}/authorize?{urlencode(forged | {'redirect_uri': target})}" for target in targets]
    sent_back = [url for url in (world.at_the_honest_provider(url, VICTIM) for url in urls) if url]

    assert len(sent_back) == 1  # at each other the honest provider stops: that client has registered no such callback
    assert_mismatch(world.victim.get(sent_back[0]), "context_mismatch")
    assert_page(trip.approved())  # the attacker's provider answers as well: the trip is over
    world.assert_nobody_was_asked()
    world.assert_the_attacker_has_nothing()


@every_kind
def test_coat_the_honest_trip_still_arrives(world: World, kind: str) -> None:
    """What the attack forges is refused for its state alone: Arrakis's own trip takes the same way, to its end"""
    app = world.app_of_arrakis(kind)
    session = Session(with_pkce=True)
    back = world.at_the_honest_provider(app.started(world.victim, **session.params).location, VICTIM)
    assert back is not None

    came = query_of(world.victim.get(back).headers["Location"])

    assert came.get("state") == session.state, came
    assert "code" in came, came
    assert session.exchanged(app, came["code"]).status_code == 200
    assert [request.form["code"] for request in world.provider.sent_to("/token")] == [VICTIM]
    assert world.attackers_provider.asked == []


# ---- squatting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_secret", [True, False], ids=["an invented secret", "no secret"])
@every_kind
@with_and_without_pkce
def test_d20_the_squatter_ends_in_an_error(world: World, kind: str, with_secret: bool, with_pkce: bool) -> None:
    """
    Harkonnen registers Arrakis's client ID as his own, and sends the victim his start link. The provider's page names
    Arrakis, whom the victim trusts. The attacker may also rewrite the authorization URL, so that it names Arrakis's
    callback. He ends with an error at his own redirect URI at best, and never with a code of ours.
    """
    honest = world.app_of_arrakis(kind)
    claimed: dict[str, Any] = {"client_id": world.client_id_of(honest)}
    if not with_secret:
        if honest.provider in {"standin", HOSTED}:
            body = {"provider": honest.provider, "name": "x", **claimed}
            refused = world.harkonnen.call("POST", "/v1/oauth-apps", body)
            assert refused.status_code == 422  # this provider takes no clients without a secret
            return
        claimed["client_secret"] = None
    if kind == "tenant-hosted":
        squatter = hosted(world.harkonnen, world.provider, **claimed)
    else:
        squatter = world.harkonnen.app(honest.provider, **claimed)

    for callback_url in {squatter.callback_url, honest.callback_url}:
        trip = squatter.started(world.victim, **Session(with_pkce).params)
        query = trip.sent | {"redirect_uri": callback_url}
        back = world.at_the_honest_provider(f"{world.provider.url}/authorize?{urlencode(query)}", VICTIM)
        if back is None:
            continue
        answer = world.victim.get(back)
        if squatter.callback_url == honest.callback_url:
            assert_back(answer, squatter, "server_error", query_of(answer.headers["Location"])["state"])
        else:
            assert_mismatch(answer, "context_mismatch")
        assert_page(trip.approved())

    asked = len(world.provider.sent_to("/token"))
    assert asked == (1 if squatter.callback_url == honest.callback_url else 0)  # and refused: that is not its secret
    world.assert_the_attacker_has_nothing()


# ---- CORF ------------------------------------------------------------------------------------------------------------


def his_callback_url(world: World, app: App, url: str, state: str) -> requests.Response:
    return world.victim.get(url)


def without_state(world: World, app: App, url: str, state: str) -> requests.Response:
    return world.victim.get(f"{app.callback_url}?{urlencode({'code': ATTACKER})}")


def with_the_context_in_the_query(world: World, app: App, url: str, state: str) -> requests.Response:
    context = {"client_id": app.id, "oauth_app_id": app.id, "provider": app.provider, "tenant": world.arrakis.id}
    return world.victim.get(f"{app.callback_url}?{urlencode({'code': ATTACKER} | context)}")


def with_the_context_and_his_state(world: World, app: App, url: str, state: str) -> requests.Response:
    context = {"client_id": app.id, "oauth_app_id": app.id, "provider": app.provider, "tenant": world.arrakis.id}
    return world.victim.get(f"{url}&{urlencode(context)}")


def by_a_form(world: World, app: App, url: str, state: str) -> requests.Response:
    return world.victim.post(app.callback_url, {"code": ATTACKER, "state": state})


def by_his_own_provider(world: World, app: App, url: str, state: str) -> requests.Response:
    """The victim's own trip to the attacker's tool comes back at Arrakis's callback, cookie and all."""
    trip = world.harkonnen.app(MALICIOUS).started(world.victim)
    return world.victim.get(f"{app.callback_url}?{urlencode({'code': ATTACKER, 'state': trip.state})}")


WAYS = [
    (his_callback_url, 400),
    (without_state, 400),
    (with_the_context_in_the_query, 400),
    (with_the_context_and_his_state, 400),
    (by_a_form, 405),
    (by_his_own_provider, 400),
]


@every_kind
@with_and_without_pkce
def test_corf_the_attackers_account_in_the_victims_session(world: World, kind: str, with_pkce: bool) -> None:
    """
    The attacker approves at the honest provider with his own account, keeps what it sends him back to, and makes the
    victim's browser open something like it, while the victim has a trip of his own under way. The victim would work in
    the attacker's account from then on. He does not: his trip arrives, with his own.
    """
    app = world.app_of_arrakis(kind)
    session = Session(with_pkce)
    victims = app.started(world.victim, **session.params)

    for forge, status in WAYS:
        attackers = app.started(world.attacker, **Session(with_pkce).params)
        url = world.at_the_honest_provider(attackers.location, ATTACKER)
        answer = forge(world, app, str(url), attackers.state)
        assert (answer.status_code, "Location" in answer.headers) == (status, False), forge.__name__

    world.assert_nobody_was_asked()
    world.assert_the_attacker_has_nothing()
    came = query_of(world.victim.get(str(world.at_the_honest_provider(victims.location, VICTIM))).headers["Location"])
    assert came.get("state") == session.state, came
    assert "code" in came, came
    assert session.exchanged(app, came["code"]).status_code == 200
    assert [request.form["code"] for request in world.provider.sent_to("/token")] == [VICTIM]


# ---- COSF ------------------------------------------------------------------------------------------------------------


@every_kind
@with_and_without_pkce
def test_cosf_the_authorization_url_is_passed_on(world: World, kind: str, with_pkce: bool) -> None:
    """
    The attacker begins in his own session, stops at the provider, and sends the victim the address of its page. The
    victim approves. The answer comes to a browser that has not begun: nobody gets anything, and when the attacker tries
    it himself, with a code of his own, the trip is over.
    """
    app = world.app_of_arrakis(kind)
    trip = app.started(world.attacker, **Session(with_pkce).params)

    back = world.at_the_honest_provider(trip.location, VICTIM)
    assert back is not None
    assert_mismatch(world.victim.get(back), "session_mismatch")

    assert_page(world.attacker.get(str(world.at_the_honest_provider(trip.location, ATTACKER))))
    world.assert_nobody_was_asked()
    world.assert_the_attacker_has_nothing()


@every_kind
@with_and_without_pkce
def test_cosf_the_callback_url_is_passed_on(world: World, kind: str, with_pkce: bool) -> None:
    """
    The other way round: the attacker has the victim's answer (from a log, or a screen), and opens it where he began.
    The state is the victim's, and the cookie that goes with it is not in the attacker's browser.
    """
    app = world.app_of_arrakis(kind)
    app.started(world.attacker, **Session(with_pkce).params)
    victims = app.started(world.victim, **Session(with_pkce).params)
    url = world.at_the_honest_provider(victims.location, VICTIM)
    assert url is not None

    assert_mismatch(world.attacker.get(url), "session_mismatch")

    assert_page(world.victim.get(url))
    world.assert_nobody_was_asked()
    world.assert_the_attacker_has_nothing()


def start_link(app: App, session: Session) -> str:
    return app.start_url(**session.params)


def link_of_the_backend(app: App, session: Session) -> str:
    body = {"oauth_app_id": app.id, "redirect_uri": app.redirect_uri, "state": session.state}
    return str(app.tenant.made("/v1/credentials/start-auth", body)["start_url"])


@pytest.mark.parametrize(
    ("link", "with_pkce"),
    [(start_link, True), (start_link, False), (link_of_the_backend, False)],
    ids=["start link, PKCE", "start link, no PKCE", "link of the backend"],
)
@every_kind
def test_cosf_the_start_link_is_passed_on(
    world: World, kind: str, link: Callable[[App, Session], str], with_pkce: bool
) -> None:
    """
    The attacker's session at the developer's site makes a start link, and the victim opens it. To the gateway this is a
    trip like any other: it ends at the registered redirect URI, in the victim's browser, with the attacker's state. So
    it ends there: nothing is stored, and the developer sees that the state is not that of the victim's session. If he
    does not look, his PKCE does it for him: the victim's session has another verifier.
    """
    app = world.app_of_arrakis(kind)
    attackers, victims = Session(with_pkce), Session(with_pkce)
    opened = world.victim.get(link(app, attackers))
    trip = Started(app, world.victim, opened.headers["Location"])

    answer = world.victim.get(str(world.at_the_honest_provider(trip.location, VICTIM)))

    assert answer.headers["Location"].partition("?")[0] == app.redirect_uri
    came = query_of(answer.headers["Location"])
    assert came.keys() == {"code", "state"}
    assert came["state"] == attackers.state != victims.state  # which is where an honest developer stops
    if with_pkce:
        refused = victims.exchanged(app, came["code"])
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
        assert world.provider.sent_to("/revoke")
    elif link is link_of_the_backend:
        assert_page(world.attacker.get(link_used_up := str(opened.request.url)))
        assert_page(world.victim.get(link_used_up))
    assert_page(world.attacker.get(str(world.at_the_honest_provider(trip.location, ATTACKER))))
    world.assert_the_attacker_has_nothing()


@every_kind
def test_cosf_a_reconnect_link_is_passed_on(world: World, kind: str) -> None:
    """
    The attacker has a credential at Arrakis, is asked to connect it again, and sends the link to the victim. The
    victim's account would take the place of his. It is refused before anything is replaced, and the tokens go back.
    """
    app = world.app_of_arrakis(kind)
    world.provider.user_id = "attacker"
    session = Session(with_pkce=False)
    own = app.started(world.attacker, **session.params).approved()
    answer = session.exchanged(app, query_of(own.headers["Location"])["code"]).json()
    credential = str(world.arrakis.made("/v1/credentials", answer["credential"])["id"])
    token = world.arrakis.call("GET", f"/v1/credentials/{credential}/access-token").json()["access_token"]
    body = {"redirect_uri": app.redirect_uri, "state": "s"}
    url = str(world.arrakis.made(f"/v1/credentials/{credential}/reconnect", body)["start_url"])
    world.provider.user_id = "victim"

    trip = Started(app, world.victim, world.victim.get(url).headers["Location"])
    came = world.victim.get(str(world.at_the_honest_provider(trip.location, VICTIM)))

    assert_back(came, app, "access_denied", "s")
    assert world.provider.sent_to("/revoke")
    after = world.arrakis.call("GET", f"/v1/credentials/{credential}/access-token").json()["access_token"]
    assert after == token
    world.arrakis.call("DELETE", f"/v1/credentials/{credential}")
    world.assert_the_attacker_has_nothing()


# ---- a token endpoint of the attacker --------------------------------------------------------------------------------


HOSTS = [
    "evil.example",
    "evil.example/.auth0.com",
    "evil.example#.auth0.com",
    "evil.example\\.auth0.com",
    "a.auth0.com@evil.example",
    "auth0.com.evil.example",
    "evilauth0.com",
    "a.auth0.com:8443",
    "a.auth0.com\n",
    "127.0.0.1",
]


@pytest.mark.parametrize("is_fixed", [True, False], ids=["fixed on the app", "not fixed"])
@pytest.mark.parametrize("way", [{}, {"hosted": "1"}], ids=["start link", "hosted page"])
def test_attackers_host_in_a_link(world: World, is_fixed: bool, way: dict[str, str]) -> None:
    """
    Auth0's whole host comes from the customer, so a start link of Arrakis's app may name one, and anybody can write a
    start link. Arrakis's client secret would go to the token endpoint there. No host but one of Auth0's own is taken
    from a browser, and none at all that is not the one which Arrakis has fixed.
    """
    app = world.arrakis.app("auth0", variables={"domain": "arrakis.eu.auth0.com"} if is_fixed else {})

    for host in [*HOSTS, "harkonnen.eu.auth0.com"] if is_fixed else HOSTS:
        answer = world.victim.get(app.start_url(domain=host, **way))
        if not way:
            assert_back(answer, app, "invalid_request")
        else:  # the page asks again, or moves on to the redirect URI
            assert (answer.status_code, "Location" in answer.headers) == (200, False)
            assert "/authorize" not in answer.text

    statement = "SELECT count(*) FROM credentials_authorization WHERE oauth_app_id = %s"
    assert sql(app.tenant.gateway, statement, app.id) == [(0,)]
    world.assert_nobody_was_asked()


def test_attackers_host_where_the_app_alone_says_it(world: World) -> None:
    """A variable that only the OAuth app has is no parameter of a start link: what names it is ignored"""
    app = world.app_of_arrakis("tenant-hosted")

    trip = app.started(world.victim, port=str(world.attackers_provider.server.port))

    assert trip.location.startswith(f"{world.provider.url}/authorize?")
    assert world.victim.get(str(world.at_the_honest_provider(trip.location, VICTIM))).status_code == 302
    assert len(world.provider.sent_to("/token")) == 1
    assert world.attackers_provider.asked == []


def test_attackers_host_on_an_app_of_his_own(world: World) -> None:
    """
    His own app may lead to his own host, and whoever connects there has meant to. What his host is sent is his client
    ID, his secret and the code that he has issued himself: nothing of Arrakis's, though both are at one provider.
    """
    arrakis = world.app_of_arrakis("tenant-hosted")
    his = hosted(world.harkonnen, world.attackers_provider)

    assert his.started(world.victim).callback(code="of-his-own", state="unknown").status_code == 400
    assert his.started(world.victim).approved(None, code="of-his-own").status_code == 302

    (sent,) = world.attackers_provider.sent_to("/token")
    pair = base64.b64decode(sent.headers["authorization"].removeprefix("Basic ")).decode()
    assert pair.partition(":")[2] == his.client_secret
    assert sent.form["code"] == "of-his-own"
    for secret in (arrakis.client_secret or "", world.client_id_of(arrakis), arrakis.id):
        assert secret not in f"{sent.target} {sent.headers} {sent.body.decode()} {pair}"
    assert world.provider.asked == []
