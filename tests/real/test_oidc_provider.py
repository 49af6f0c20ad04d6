"""The trip through servers that nobody here wrote: npm's oidc-provider, known to the gateway by PROVIDERS_DIR alone."""

import pytest

from tests.real.end_user import EndUser, query_of
from tests.real.gateway import App, Gateway
from tests.real.machine import until
from tests.real.oidc import OidcProviders

pytestmark = pytest.mark.real

STATE = "Ü / +%20 ?&= " + "s" * 20


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_the_end_users_no_comes_back_as_access_denied(basic_app: App, end_user: EndUser, oidc: OidcProviders) -> None:
    asked = oidc.exchanges("basic")

    arrived = end_user.walk(basic_app.start_url(state=STATE), to=basic_app.redirect_uri, outcome="deny")

    answer = query_of(arrived)
    assert answer.keys() == {"error", "error_description", "state"}
    assert (answer["error"], answer["state"]) == ("access_denied", STATE)
    assert oidc.exchanges("basic") == asked


def test_the_callback_is_good_for_one_call(basic_app: App, end_user: EndUser, oidc: OidcProviders) -> None:
    callback_url = end_user.walk(basic_app.start_url(), to=basic_app.callback_url)
    assert end_user.get(callback_url).status_code == 302
    asked = oidc.exchanges("basic")

    again = end_user.get(callback_url)

    assert (again.status_code, again.headers["Content-Type"]) == (400, "text/html; charset=utf-8")
    assert "Location" not in again.headers
    assert oidc.exchanges("basic") == asked


def test_a_used_provider_code_is_refused_by_the_provider(basic_app: App, end_user: EndUser) -> None:
    first = end_user.walk(basic_app.start_url(), to=basic_app.callback_url)
    assert "code" in query_of(end_user.get(first).headers["Location"])
    second = end_user.walk(basic_app.start_url(state=STATE), to=basic_app.callback_url)

    mixed = second.replace(query_of(second)["code"], query_of(first)["code"])
    answer = query_of(end_user.get(mixed).headers["Location"])

    assert (answer["error"], answer["state"]) == ("server_error", STATE)
    assert "code" not in answer


def test_our_code_is_good_for_one_exchange(pkce_app: App, end_user: EndUser) -> None:
    code = query_of(end_user.walk(pkce_app.start_url(), to=pkce_app.redirect_uri))["code"]
    assert pkce_app.token(code).status_code == 200

    again = pkce_app.token(code)

    assert again.status_code == 400
    assert again.json()["error"] == "invalid_grant"


def test_another_browser_cannot_end_the_trip_and_burns_it(
    pkce_app: App, end_user: EndUser, other_end_user: EndUser, oidc: OidcProviders
) -> None:
    callback_url = end_user.walk(pkce_app.start_url(), to=pkce_app.callback_url)
    asked = oidc.exchanges("pkce")

    elsewhere = other_end_user.get(callback_url)
    at_home = end_user.get(callback_url)

    assert (elsewhere.status_code, at_home.status_code) == (400, 400)
    assert "session_mismatch" in elsewhere.text
    assert not {"Location"} & {*elsewhere.headers, *at_home.headers}
    assert oidc.exchanges("pkce") == asked


def test_an_answer_of_another_issuer_is_dropped(pkce_app: App, end_user: EndUser, oidc: OidcProviders) -> None:
    callback_url = end_user.walk(pkce_app.start_url(), to=pkce_app.callback_url)
    sent = query_of(callback_url)
    assert sent["iss"] == oidc.origins["pkce"]
    asked = oidc.exchanges("pkce")

    mixed_up = end_user.get(callback_url.split("&iss=")[0] + f"&iss={oidc.origins['basic']}")

    assert mixed_up.status_code == 400
    assert "issuer_mismatch" in mixed_up.text
    assert oidc.exchanges("pkce") == asked


def test_an_id_token_with_a_foreign_signature_ends_the_trip(
    oidc: OidcProviders, gateway: Gateway, end_user: EndUser
) -> None:
    app = oidc.create_app(gateway, "oidc-forged", habit="basic", method="client_secret_basic")

    answer = query_of(end_user.walk(app.start_url(), to=app.redirect_uri))

    assert answer["error"] == "server_error"
    assert "signature" in answer["error_description"]
    given = oidc.exchanges("basic")[-1]["answer"]
    assert given.keys() >= {"access_token", "id_token"}
    assert oidc.userinfo("basic", given["access_token"]).status_code == 401  # given back


def test_a_wrong_secret_is_told_to_the_developer(oidc: OidcProviders, gateway: Gateway, end_user: EndUser) -> None:
    app = oidc.create_app(
        gateway, "oidc-basic", habit="basic", method="client_secret_basic", sent_secret="not-the-one-that-they-gave"
    )
    assert app.health() == "ok"

    answer = query_of(end_user.walk(app.start_url(), to=app.redirect_uri))

    assert answer["error"] == "server_error"
    assert app.health() == "error"


def test_a_check_tells_a_wrong_client_from_a_sound_one(
    oidc: OidcProviders, gateway: Gateway, basic_app: App, pkce_app: App
) -> None:
    wrong_secret = oidc.create_app(
        gateway, "oidc-pkce", habit="pkce", method="client_secret_post", sent_secret="not-the-one-that-they-gave"
    )
    unknown = gateway.create_app("oidc-basic", client_id="nobody", client_secret="whatever-it-may-be")

    assert [app.check() for app in (wrong_secret, unknown)] == ["error", "error"]
    assert [app.check() for app in (basic_app, pkce_app)] == ["ok", "ok"]


# ---- the whole trip --------------------------------------------------------------------------------------------------


def test_basic_and_a_follow_up_call(basic_app: App, end_user: EndUser, oidc: OidcProviders) -> None:
    arrived = query_of(end_user.walk(basic_app.start_url(state=STATE), to=basic_app.redirect_uri))
    answer = basic_app.token(arrived["code"], redirect_uri=basic_app.redirect_uri)

    assert arrived.keys() == {"code", "state"}
    assert arrived["state"] == STATE
    assert answer.status_code == 200
    token = answer.json()
    assert token.keys() == {
        "access_token", "token_type", "expires_in", "refresh_token", "scope", "credential", "state",
    }  # fmt: skip
    assert token["token_type"] == "Bearer"
    assert token["scope"] == "openid email offline_access"
    assert token["state"] == STATE
    assert 3590 <= token["expires_in"] <= 3600
    assert token["credential"]["oauth_app_id"] == basic_app.id
    properties = token["credential"]["properties"]
    assert (properties["kind"], properties["sub"]) == ("oidc_basic_oauth2", "paul-atreides")
    assert properties["email"] == "paul-atreides@arrakis.example"
    assert oidc.userinfo("basic", token["access_token"]).json()["sub"] == "paul-atreides"
    assert basic_app.health() == "ok"


def test_pkce_and_an_id_token(pkce_app: App, end_user: EndUser, oidc: OidcProviders) -> None:
    arrived = query_of(end_user.walk(pkce_app.start_url(), to=pkce_app.redirect_uri))
    token = pkce_app.token(arrived["code"]).json()

    assert arrived.keys() == {"code"}
    assert "id_token" not in token
    properties = token["credential"]["properties"]
    read = {name: properties[name] for name in ("sub", "email", "email_verified")}
    assert read == {"sub": "paul-atreides", "email": "paul-atreides@arrakis.example", "email_verified": True}
    assert oidc.userinfo("pkce", token["access_token"]).status_code == 200


def test_a_public_client_authenticates_by_api_token(oidc: OidcProviders, gateway: Gateway, end_user: EndUser) -> None:
    app = oidc.create_app(gateway, "oidc-pkce", habit="pkce", method="none")
    assert app.callback_url == f"{gateway.url}/link/oauth2/callback/oidc-pkce/{app.id}"

    code = query_of(end_user.walk(app.start_url(), to=app.redirect_uri))["code"]
    without = app.token(code)
    answer = app.post("token", {"code": code}, api_token=gateway.api_token_that_reveals)

    assert (without.status_code, without.json()["error"]) == (401, "invalid_client")
    assert answer.status_code == 200
    assert oidc.userinfo("pkce", answer.json()["access_token"]).status_code == 200


def test_form_post_is_answered_by_a_get_that_has_the_cookie(
    oidc: OidcProviders, gateway: Gateway, end_user: EndUser
) -> None:
    app = oidc.create_app(
        gateway, "oidc-form-post", habit="form_post", method="client_secret_post", response_modes=["form_post"]
    )

    arrived = query_of(end_user.walk(app.start_url(state=STATE), to=app.redirect_uri))
    answer = app.token(arrived["code"])

    posted, got = end_user.steps[-2:]
    assert (posted.method, posted.url, posted.status, posted.cookies) == ("POST", app.callback_url, 303, [])
    assert (got.method, got.status, len(got.cookies)) == ("GET", 302, 1)
    assert got.cookies[0].startswith("link_")
    assert answer.json()["credential"]["properties"]["sub"] == "paul-atreides"
    assert answer.json()["state"] == STATE


# ---- afterwards ------------------------------------------------------------------------------------------------------


def test_an_expired_access_token_is_refreshed_and_the_refresh_token_rotates(
    pkce_app: App, end_user: EndUser, oidc: OidcProviders
) -> None:
    start_url = pkce_app.start_url(scope="openid email offline_access short")
    old = pkce_app.token(query_of(end_user.walk(start_url, to=pkce_app.redirect_uri))["code"]).json()
    until(lambda: oidc.userinfo("pkce", old["access_token"]).status_code == 401, what="the access token expires")

    new = pkce_app.refresh(old["refresh_token"]).json()

    assert new.keys() == {"access_token", "token_type", "expires_in", "refresh_token", "scope", "credential"}
    assert new["access_token"] != old["access_token"]
    assert new["refresh_token"] != old["refresh_token"]
    assert oidc.userinfo("pkce", new["access_token"]).status_code == 200
    dead = pkce_app.refresh(old["refresh_token"])
    assert (dead.status_code, dead.json()["error"]) == (400, "invalid_grant")


def test_a_refresh_token_that_does_not_rotate_is_returned_again(basic_app: App, end_user: EndUser) -> None:
    old = basic_app.token(query_of(end_user.walk(basic_app.start_url(), to=basic_app.redirect_uri))["code"]).json()

    first, second = (basic_app.refresh(old["refresh_token"]).json() for _ in range(2))

    assert first["refresh_token"] == second["refresh_token"] == old["refresh_token"]
    assert len({token["access_token"] for token in (old, first, second)}) == 3


def test_a_revoked_token_is_dead_at_the_provider(pkce_app: App, end_user: EndUser, oidc: OidcProviders) -> None:
    token = pkce_app.token(query_of(end_user.walk(pkce_app.start_url(), to=pkce_app.redirect_uri))["code"]).json()

    answer = pkce_app.post("revoke", {"token": token["refresh_token"]})

    assert (answer.status_code, answer.json()) == (200, {})
    assert pkce_app.refresh(token["refresh_token"]).json()["error"] == "invalid_grant"
    assert oidc.userinfo("pkce", token["access_token"]).status_code == 401
    assert pkce_app.post("revoke", {"token": token["refresh_token"]}).status_code == 200


# ---- a stored credential ---------------------------------------------------------------------------------------------


def test_whoever_shows_the_refresh_token_of_before_costs_nobody_his_connection(
    pkce_app: App, gateway: Gateway, end_user: EndUser, oidc: OidcProviders
) -> None:
    """This provider ends the whole grant when a rotated refresh token is shown once more."""
    old = pkce_app.token(query_of(end_user.walk(pkce_app.start_url(), to=pkce_app.redirect_uri))["code"]).json()
    stored = gateway.post("/v1/credentials", old["credential"])

    first, second = (pkce_app.refresh(old["refresh_token"]).json() for _ in range(2))

    assert first["refresh_token"] == second["refresh_token"] != old["refresh_token"]
    assert first["access_token"] == second["access_token"] != old["access_token"]
    assert oidc.userinfo("pkce", second["access_token"]).status_code == 200
    assert gateway.access_token(stored["id"]).json()["access_token"] == second["access_token"]
    gateway.call("DELETE", f"/v1/credentials/{stored['id']}")


def test_a_reconnection_keeps_the_credential(
    pkce_app: App, gateway: Gateway, end_user: EndUser, oidc: OidcProviders
) -> None:
    old = pkce_app.token(query_of(end_user.walk(pkce_app.start_url(), to=pkce_app.redirect_uri))["code"]).json()
    stored = gateway.post("/v1/credentials", old["credential"] | {"name": "Paul", "metadata": {"user": 7}})
    body = {"redirect_url": pkce_app.redirect_uri}

    start_url = gateway.post(f"/v1/credentials/{stored['id']}/reconnect", body)["start_url"]
    new = pkce_app.token(query_of(end_user.walk(start_url, to=pkce_app.redirect_uri))["code"]).json()

    posted = gateway.post("/v1/credentials", new["credential"])
    assert [posted[name] for name in ("id", "name", "metadata")] == [stored["id"], "Paul", {"user": 7}]
    assert gateway.access_token(stored["id"]).json()["access_token"] == new["access_token"]
    assert oidc.userinfo("pkce", new["access_token"]).status_code == 200
    gateway.call("DELETE", f"/v1/credentials/{stored['id']}")
