"""The trip through servers that ask for more: pushed requests, client assertions, bound tokens, the issuer's name.

They are npm's oidc-provider. Sources: RFC 7523, RFC 9126, RFC 9207, RFC 9449.
"""

import json
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from tests.real.end_user import EndUser, query_of
from tests.real.gateway import App, Gateway
from tests.real.oidc import OidcProviders

pytestmark = pytest.mark.real

STATE = "Ü / +%20 ?&= " + "s" * 20
PROFILE = {"sub": "paul-atreides", "email": "paul-atreides@arrakis.example"}


def signing_app(
    oidc: OidcProviders, gateway: Gateway, habit: str, key: RSAKey | ECKey, *, other: RSAKey | ECKey | None = None
) -> App:
    """A client that has registered the public half of `key`, and an OAuth app that has the private one, or `other`."""
    private = json.dumps({**(other or key).as_dict(private=True), "kid": "arrakis"})
    gateway.canaries.add("private key", str((other or key).as_dict(private=True)["d"]))
    public = {**key.as_dict(private=False), "kid": "arrakis", "use": "sig"}
    more: dict[str, Any] = {"dpop_bound_access_tokens": True} if habit == "bound" else {}
    return oidc.create_app(
        gateway,
        f"oidc-{habit}",
        habit=habit,
        method="private_key_jwt",
        sent_secret=private,
        jwks={"keys": [public]},
        **more,
    )


@pytest.fixture(scope="module")
def bound_app(oidc: OidcProviders, gateway: Gateway) -> App:
    return signing_app(oidc, gateway, "bound", RSAKey.generate_key(2048))


@pytest.fixture(scope="module")
def pushing_app(oidc: OidcProviders, gateway: Gateway) -> App:
    return oidc.create_app(gateway, "oidc-pushed", habit="pushed", method="client_secret_basic")


def travelled(app: App, end_user: EndUser, **params: str) -> dict[str, Any]:
    """What the developer is handed over."""
    arrived = query_of(end_user.walk(app.start_url(state=STATE, **params), to=app.redirect_uri))
    assert arrived.keys() == {"code", "state"}, arrived
    answer = app.token(arrived["code"])
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def assertion_of(exchange: dict[str, Any], key: Any, algorithm: str) -> jwt.Token:
    return jwt.decode(exchange["request"]["client_assertion"], key, algorithms=[algorithm])


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["missing", "another"])
def test_an_answer_that_does_not_name_its_issuer_is_a_page(
    pkce_app: App, end_user: EndUser, oidc: OidcProviders, answer: str
) -> None:
    callback_url = end_user.walk(pkce_app.start_url(state=STATE), to=pkce_app.callback_url)
    query = query_of(callback_url)
    assert query.pop("iss") == oidc.origins["pkce"]
    if answer == "another":
        query["iss"] = f"{oidc.origins['pkce']}/"
    asked = oidc.exchanges("pkce")

    arrived = end_user.get(f"{pkce_app.callback_url}?{urlencode(query)}")

    assert (arrived.status_code, "Location" in arrived.headers) == (400, False)
    assert "issuer_mismatch" in arrived.text
    assert oidc.exchanges("pkce") == asked


def test_a_request_that_was_not_pushed_would_be_refused(
    pushing_app: App, end_user: EndUser, oidc: OidcProviders
) -> None:
    start = end_user.get(pushing_app.start_url())
    names = {**query_of(start.headers["Location"]), "response_type": "code", "redirect_uri": pushing_app.callback_url}
    del names["request_uri"]

    refused = end_user.get(f"{oidc.origins['pushed']}/auth?{urlencode(names)}")

    assert "Pushed Authorization Request must be used" in query_of(refused.headers["Location"])["error_description"]


def test_a_refused_push_is_told_to_the_redirect_uri(oidc: OidcProviders, gateway: Gateway, end_user: EndUser) -> None:
    wrong = "not-the-one-that-they-gave"
    app = oidc.create_app(gateway, "oidc-pushed", habit="pushed", method="client_secret_basic", sent_secret=wrong)

    answer = query_of(end_user.walk(app.start_url(state=STATE), to=app.redirect_uri))

    assert (answer["error"], answer["state"]) == ("server_error", STATE)
    assert app.health() == "error"


def test_a_key_that_is_not_the_registered_one_is_refused(
    oidc: OidcProviders, gateway: Gateway, end_user: EndUser
) -> None:
    registered, other = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
    app = signing_app(oidc, gateway, "key", registered, other=other)

    answer = query_of(end_user.walk(app.start_url(), to=app.redirect_uri))

    assert answer["error"] == "server_error"
    assert [app.health(), app.check()] == ["error", "error"]


def test_a_bound_token_is_of_no_use_without_its_key(bound_app: App, end_user: EndUser, oidc: OidcProviders) -> None:
    token = travelled(bound_app, end_user)
    other = json.dumps(ECKey.generate_key("P-256").as_dict(private=True))

    assert oidc.userinfo("bound", token["access_token"]).status_code == 401
    assert oidc.userinfo_with_proof("bound", token["access_token"], other).status_code == 401


# ---- whole trips -----------------------------------------------------------------------------------------------------


def test_the_browser_carries_two_parameters_of_a_pushed_request(
    pushing_app: App, end_user: EndUser, oidc: OidcProviders
) -> None:
    token = travelled(pushing_app, end_user)
    refreshed = pushing_app.refresh(token["refresh_token"])

    carried = [step.url for step in end_user.steps if urlsplit(step.url).path == "/auth"]
    assert [query_of(url).keys() for url in carried] == [{"client_id", "request_uri"}]
    assert query_of(carried[0])["request_uri"].startswith("urn:ietf:params:oauth:request_uri:")
    assert token["credential"]["properties"].items() >= PROFILE.items()
    assert refreshed.status_code == 200
    assert oidc.userinfo("pushed", refreshed.json()["access_token"]).status_code == 200


@pytest.mark.parametrize(("kind", "algorithm"), [(RSAKey, "RS256"), (ECKey, "ES256")])
def test_a_private_key_speaks_for_the_client(
    oidc: OidcProviders, gateway: Gateway, end_user: EndUser, kind: Any, algorithm: str
) -> None:
    key = kind.generate_key(2048 if kind is RSAKey else "P-256")
    app = signing_app(oidc, gateway, "key", key)

    token = travelled(app, end_user)
    refreshed = app.refresh(token["refresh_token"])
    revoked = app.post("revoke", {"token": token["refresh_token"]})

    exchange, refresh = oidc.exchanges("key")[-2:]
    first, second = (assertion_of(sent, key, algorithm) for sent in (exchange, refresh))
    assert (first.header["kid"], first.claims["aud"]) == ("arrakis", oidc.origins["key"])
    assert first.claims["jti"] != second.claims["jti"]
    assert {"client_secret", "authorization"}.isdisjoint(exchange["request"])
    assert token["credential"]["properties"].items() >= PROFILE.items()
    assert [refreshed.status_code, revoked.status_code] == [200, 200]
    assert oidc.userinfo("key", refreshed.json()["access_token"]).status_code == 401  # revoked
    assert app.check() == "ok"


def test_a_shared_secret_speaks_for_the_client(oidc: OidcProviders, gateway: Gateway, end_user: EndUser) -> None:
    app = oidc.create_app(gateway, "oidc-shared", habit="shared", method="client_secret_jwt")

    token = travelled(app, end_user)
    refreshed = app.refresh(token["refresh_token"])

    [exchange, *_] = oidc.exchanges("shared")
    claims = assertion_of(exchange, OctKey.import_key(app.client_secret or ""), "HS256").claims
    assert claims["aud"] == oidc.origins["shared"]
    assert "client_secret" not in exchange["request"]
    assert refreshed.status_code == 200
    assert app.check() == "ok"


def test_a_bound_token_goes_all_the_way(
    bound_app: App, gateway: Gateway, end_user: EndUser, oidc: OidcProviders
) -> None:
    """Nonces are wanted at every step, and an assertion is good for one request: each is tried twice, with new ones."""
    token = travelled(bound_app, end_user)
    properties = token["credential"]["properties"]
    stored = gateway.post("/v1/credentials", token["credential"])
    checked = gateway.post(f"/v1/credentials/{stored['id']}/check")
    refreshed = bound_app.refresh(token["refresh_token"]).json()
    revealed = gateway.access_token(stored["id"]).json()

    assert token["token_type"] == refreshed["token_type"] == revealed["token_type"] == "DPoP"
    assert properties.items() >= PROFILE.items()
    assert stored["properties"]["dpop_key"] == "***********"
    assert checked["health"]["status"] == "ok"
    assert properties["dpop_key"] == revealed["dpop_key"] == refreshed["credential"]["properties"]["dpop_key"]
    assert refreshed["access_token"] == revealed["access_token"] != token["access_token"]
    answer = oidc.userinfo_with_proof("bound", revealed["access_token"], revealed["dpop_key"])
    assert answer.json()["sub"] == "paul-atreides"

    exchange, refresh = [sent for sent in oidc.exchanges("bound") if "access_token" in sent["answer"]][-2:]
    for sent in (exchange, refresh):
        header = jws.extract_compact(sent["proof"].encode()).headers()
        assert header["jwk"] == {name: value for name, value in json.loads(revealed["dpop_key"]).items() if name != "d"}
    gateway.call("DELETE", f"/v1/credentials/{stored['id']}")


def test_a_developer_who_keeps_a_bound_token_himself_shows_the_key_at_a_refresh(
    bound_app: App, end_user: EndUser
) -> None:
    old = travelled(bound_app, end_user, scope="openid email offline_access")
    dpop_key = old["credential"]["properties"]["dpop_key"]
    body = {"grant_type": "refresh_token", "refresh_token": old["refresh_token"]}

    without = bound_app.post("token", body)
    new = bound_app.post("token", body | {"dpop_key": dpop_key})

    assert (without.status_code, without.json()["error"]) == (400, "invalid_request")
    assert (new.status_code, new.json()["token_type"]) == (200, "DPoP")
    assert new.json()["credential"]["properties"]["dpop_key"] == dpop_key
