"""B05, B06, B15, B17, B20 and B24: whose answer it is, whose app, and whose session."""

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.lib.servers import Visit
from tests.security.member import csrf_token, signed_in
from tests.security.stand_in import HOSTED, Request, StandIn, answering_json
from tests.security.tenant import (
    REDIRECT_URI,
    App,
    Browser,
    Started,
    Tenant,
    assert_back,
    assert_page,
    new_tenant,
    query_of,
    sql,
)


def hosted_app(tenant: Tenant, provider: StandIn, **more: Any) -> App:
    """At the provider of which each customer has a server of his own."""
    return tenant.app(HOSTED, variables={"port": str(provider.server.port)}, **more)


@pytest.fixture(scope="module")
def member(arrakis: Tenant) -> Browser:
    """Of Arrakis, in the console."""
    return signed_in(arrakis)


def last_trip(app: App) -> tuple[str, str, bool]:
    """How far it came, why it has failed, and whether it has tokens."""
    statement = (
        "SELECT step, error, tokens IS NOT NULL FROM credentials_authorization WHERE oauth_app_id = %s"
        " ORDER BY created_at DESC LIMIT 1"
    )
    [(step, error, has_tokens)] = sql(app.tenant.gateway, statement, app.id)
    return str(step), str(error), bool(has_tokens)


def events_of(app: App, action: str) -> int:
    """Audit events of that sort about the app's trips."""
    statement = (
        "SELECT count(*) FROM oauth_apps_auditevent WHERE action = %s AND account_id = %s AND object_id IN"
        " (SELECT id::text FROM credentials_authorization WHERE oauth_app_id = %s)"
    )
    [(count,)] = sql(app.tenant.gateway, statement, action, app.tenant.id, app.id)
    return int(count)


def assert_mismatch(trip: Started, url: str, *providers: StandIn) -> None:
    """The answer at `url` is a page, nobody was asked, the state is burned and it is written down."""
    page = trip.callback(url=url, code="a-code", state=trip.state)

    assert_page(page)
    assert "<code>context_mismatch</code>" in page.text
    assert last_trip(trip.app) == ("failed", "context_mismatch", False)
    assert_page(trip.approved())
    assert [provider.asked for provider in providers] == [[] for _ in providers]
    assert events_of(trip.app, "authorization.context_mismatch") == 1


# ---- COAT ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", ["standin-other", "standin-malicious", "stripe"])
def test_b05_coat_across_providers(
    arrakis: Tenant, provider: StandIn, attackers_provider: StandIn, elsewhere: str
) -> None:
    """The state of a trip to one provider, on the callback of another"""
    app = arrakis.app()
    arrakis.app(elsewhere)

    trip = app.started()
    assert_mismatch(trip, f"{arrakis.gateway.url}/link/oauth2/callback/{elsewhere}", provider, attackers_provider)


def test_b05_a_callback_of_no_provider(arrakis: Tenant, provider: StandIn) -> None:
    """A slug that there is not burns the state as well"""
    trip = arrakis.app().started()

    assert_mismatch(trip, f"{arrakis.gateway.url}/link/oauth2/callback/no-such-provider", provider)


def test_b05_another_spelling_of_the_callback(arrakis: Tenant, provider: StandIn) -> None:
    """What is no callback of ours is not found, and takes no state"""
    trip = arrakis.app().started()
    base = f"{arrakis.gateway.url}/link/oauth2/callback"
    for url in (
        f"{base}/STANDIN",
        f"{base}//standin",
        f"{base}/standin/x",
        f"{base}/standin.json",
    ):
        assert trip.callback(url=url, code="a", state=trip.state).status_code == 404

    assert provider.asked == []
    assert trip.approved().status_code == 302


def public_app(tenant: Tenant, provider: StandIn, **more: Any) -> App:
    """One without a secret."""
    return tenant.app("standin-public", client_secret=None, **more)


@pytest.mark.parametrize("make", [hosted_app, public_app])
def test_b06_the_callback_names_the_app(
    arrakis: Tenant, member: Browser, provider: StandIn, make: Callable[[Tenant, StandIn], App]
) -> None:
    """Shown by the API and the console, sent by the start; the shared form refuses its state"""
    app = make(arrakis, provider)
    own = f"{arrakis.gateway.url}/link/oauth2/callback/{app.provider}/{app.id}"

    shown = arrakis.call("GET", f"/v1/oauth-apps/{app.id}").json()
    assert (shown["callback_url"], shown["own_callback"]) == (own, True)
    answer = member.get(f"/admin/oauth_apps/oauthapp/{app.id}/change/")
    assert answer.status_code == 200
    page = answer.text
    assert set(re.findall(rf"{re.escape(arrakis.gateway.url)}/link/oauth2/callback/[^\s<\"&]+", page)) == {own}
    trip = app.started()
    assert trip.sent["redirect_uri"] == own
    assert_mismatch(trip, f"{arrakis.gateway.url}/link/oauth2/callback/{app.provider}", provider)

    assert app.started().approved().headers["Location"].startswith(f"{app.redirect_uri}?code=")


@pytest.mark.parametrize("make", [hosted_app, public_app])
def test_b06_nobody_registers_it_otherwise(arrakis: Tenant, provider: StandIn, make: Callable[..., App]) -> None:
    """An app that asks for the shared form is refused, in words"""
    with pytest.raises(AssertionError, match=r"422.*own_callback.*Must be true"):
        make(arrakis, provider, own_callback=False)


def test_b06_it_cannot_be_taken_off(arrakis: Tenant, provider: StandIn) -> None:
    """Neither by an update nor by giving the app a secret later and asking for the shared form in one"""
    app = hosted_app(arrakis, provider)
    public = arrakis.app("standin-public", client_secret=None)

    for one in (app, public):
        arrakis.call("PATCH", f"/v1/oauth-apps/{one.id}", {"own_callback": False})
        assert arrakis.call("GET", f"/v1/oauth-apps/{one.id}").json()["own_callback"] is True
        assert one.started().sent["redirect_uri"].endswith(f"/{one.id}")


def test_b06_the_app_of_the_path(arrakis: Tenant, harkonnen: Tenant, provider: StandIn) -> None:
    """Another account's, another of one's own, or one that there is not"""
    app, sibling, theirs = hosted_app(arrakis, provider), hosted_app(arrakis, provider), hosted_app(harkonnen, provider)
    base = f"{arrakis.gateway.url}/link/oauth2/callback/{HOSTED}"

    for other in (sibling.id, theirs.id, "00000000-0000-4000-8000-000000000000"):
        trip = app.started()
        page = trip.callback(url=f"{base}/{other}", code="a-code", state=trip.state)
        assert_page(page)
        assert "context_mismatch" in page.text
        assert_page(trip.approved())

    assert provider.asked == []


def test_b06_an_apps_own_callback_of_another_provider(arrakis: Tenant, provider: StandIn) -> None:
    app = hosted_app(arrakis, provider)

    assert_mismatch(app.started(), f"{arrakis.gateway.url}/link/oauth2/callback/standin/{app.id}", provider)


def test_b06_who_has_the_shared_form_is_not_served_by_his_own(arrakis: Tenant, provider: StandIn) -> None:
    app = arrakis.app()

    assert_mismatch(app.started(), f"{arrakis.gateway.url}/link/oauth2/callback/standin/{app.id}", provider)


# ---- COSF ------------------------------------------------------------------------------------------------------------


def credentials_of(app: App) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = app.tenant.call("GET", f"/v1/credentials?oauth_app_id={app.id}").json()["data"]
    return found


def test_b15_nothing_is_stored_before_the_developer_stores_it(arrakis: Tenant, provider: StandIn) -> None:
    """(a), (d): not after the callback, not after the exchange, and not by a link that his backend made either"""
    app = arrakis.app()
    link = {"oauth_app_id": app.id, "redirect_uri": app.redirect_uri}
    by_link = arrakis.made("/v1/credentials/start-auth", link)["start_url"]

    for url in (app.start_url(), by_link):
        browser = Browser(arrakis.gateway)
        trip = Started(app, browser, browser.get(url).headers["Location"])
        code = query_of(trip.approved().headers["Location"])["code"]
        assert credentials_of(app) == []
        credential = app.exchanged(code).json()["credential"]
        assert credentials_of(app) == []

    arrakis.made("/v1/credentials", credential)
    assert len(credentials_of(app)) == 1


def test_b15_the_state_of_whoever_began_it(arrakis: Tenant, other_browser: Browser, provider: StandIn) -> None:
    """(b): the start link is passed on, so the attacker's state arrives in the victim's browser, at the developer's"""
    app = arrakis.app()
    link = app.start_url(state="session-of-the-attacker")

    came = app.started(other_browser, state="session-of-the-attacker").approved()

    assert query_of(link)["state"] == query_of(came.headers["Location"])["state"]
    assert came.headers["Location"].startswith(f"{app.redirect_uri}?")
    assert credentials_of(app) == []


def test_b15_the_developers_own_pkce(arrakis: Tenant, other_browser: Browser, provider: StandIn) -> None:
    """(c): the victim's session has another verifier than the attacker's, whose challenge it was"""
    app = arrakis.app()
    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"a" * 43).digest()).decode().rstrip("=")
    code = app.code(other_browser, code_challenge=challenge, code_challenge_method="S256")
    again = app.code(other_browser, code_challenge=challenge, code_challenge_method="S256")

    for attempt, verifier in ((code, "v" * 43), (again, None)):
        answer = app.exchanged(attempt, code_verifier=verifier)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")

    assert app.exchanged(code, code_verifier="a" * 43).status_code == 400  # the wrong one has used it up
    assert len(provider.sent_to("/revoke")) >= 2  # and nobody keeps the victim's tokens
    assert credentials_of(app) == []


def test_b15_another_account_on_a_reconnect_link(arrakis: Tenant, other_browser: Browser, provider: StandIn) -> None:
    """(e): whoever is sent the link connects his own account with nobody's credential"""
    app = arrakis.app()
    credential = arrakis.credential(app)
    before = arrakis.call("GET", f"/v1/credentials/{credential}").json()
    token_before = arrakis.call("GET", f"/v1/credentials/{credential}/access-token").json()["access_token"]
    body = {"redirect_uri": app.redirect_uri, "state": "s"}
    url = arrakis.made(f"/v1/credentials/{credential}/reconnect", body)["start_url"]
    provider.user_id = "somebody-else"

    answer = Started(app, other_browser, other_browser.get(url).headers["Location"]).approved()

    assert_back(answer, app, "access_denied", "s")
    assert provider.sent_to("/revoke")
    after = arrakis.call("GET", f"/v1/credentials/{credential}").json()
    assert after["properties"] == before["properties"]
    assert arrakis.call("GET", f"/v1/credentials/{credential}/access-token").json()["access_token"] == token_before
    assert len(credentials_of(app)) == 1


def test_b15_the_same_account_on_a_reconnect_link(arrakis: Tenant, browser: Browser, provider: StandIn) -> None:
    """Its owner comes again, and the credential has his new tokens, once they are exchanged"""
    app = arrakis.app()
    credential = arrakis.credential(app)
    url = arrakis.made(f"/v1/credentials/{credential}/reconnect", {"redirect_uri": app.redirect_uri})["start_url"]

    code = query_of(Started(app, browser, browser.get(url).headers["Location"]).approved().headers["Location"])["code"]
    token = app.exchanged(code).json()["access_token"]

    assert arrakis.call("GET", f"/v1/credentials/{credential}/access-token").json()["access_token"] == token


# ---- what changes meanwhile ------------------------------------------------------------------------------------------


def test_b17_another_host_meanwhile(arrakis: Tenant, provider: StandIn, attackers_provider: StandIn) -> None:
    """Whoever may edit the app is not let while somebody is under way; what changes it all the same changes no trip"""
    app = hosted_app(arrakis, provider)
    trip = app.started()
    elsewhere = {"port": str(attackers_provider.server.port)}

    refused = arrakis.call("PATCH", f"/v1/oauth-apps/{app.id}", {"variables": elsewhere})
    statement = "UPDATE oauth_apps_oauthapp SET variables = jsonb_build_object('port', %s::text) WHERE id = %s"
    sql(arrakis.gateway, statement, elsewhere["port"], app.id)

    assert (refused.status_code, refused.json()["code"]) == (409, "authorizations_open")
    assert trip.approved().status_code == 302
    assert len(provider.sent_to("/token")) == 1
    assert attackers_provider.asked == []
    assert app.started().location.startswith(attackers_provider.url)  # the next trip, as the row says by then


def test_b17_another_client_meanwhile(arrakis: Tenant, provider: StandIn) -> None:
    """The code is asked for as the client to which it was given"""
    app = arrakis.app(client_id="client-at-the-start")
    trip = app.started()
    sql(arrakis.gateway, "UPDATE oauth_apps_oauthapp SET client_id = 'another-client' WHERE id = %s", app.id)

    assert trip.approved().status_code == 302

    (sent,) = provider.sent_to("/token")
    pair = base64.b64decode(sent.headers["authorization"].removeprefix("Basic ")).decode()
    assert pair.partition(":")[0] == "client-at-the-start"


@pytest.mark.parametrize("change", [{"provider": "standin-other"}, {"client_id": "another-client"}])
def test_b17_what_never_changes(arrakis: Tenant, provider: StandIn, change: dict[str, str]) -> None:
    app = arrakis.app()

    answer = arrakis.call("PATCH", f"/v1/oauth-apps/{app.id}", change)

    assert (answer.status_code, answer.json()["validation_errors"].keys()) == (422, change.keys())


def delete_app(app: App) -> None:
    assert app.tenant.call("DELETE", f"/v1/oauth-apps/{app.id}").status_code == 200


def delete_account(app: App) -> None:
    """As an operator does."""
    assert app.tenant.gateway.manage("delete_account", app.tenant.id, "--yes")["deleted"] is True


@pytest.mark.parametrize("delete", [delete_app, delete_account])
def test_b20_deleted_while_the_end_user_is_away(
    arrakis: Tenant, provider: StandIn, delete: Callable[[App], None]
) -> None:
    app = new_tenant(arrakis.gateway, "Caladan").app()
    trip = app.started()
    delete(app)

    assert_page(trip.approved())
    assert provider.asked == []


@pytest.mark.parametrize("delete", [delete_app, delete_account])
def test_b20_deleted_while_the_provider_answers(
    arrakis: Tenant, provider: StandIn, delete: Callable[[App], None]
) -> None:
    """The tokens that came are kept nowhere, and given back"""
    app = new_tenant(arrakis.gateway, "Caladan").app()
    trip = app.started()
    tokens = provider.tokens()

    def delete_first(visit: Visit, request: Request) -> None:
        delete(app)
        answering_json(200, tokens)(visit, request)

    provider.behaves("/token", delete_first)

    assert_page(trip.approved())

    assert tokens["refresh_token"] in {request.form["token"] for request in provider.sent_to("/revoke")}
    statement = "SELECT count(*) FROM credentials_authorization WHERE oauth_app_id = %s"
    assert sql(arrakis.gateway, statement, app.id) == [(0,)]


def test_b20_deleted_before_the_code_is_used(arrakis: Tenant, provider: StandIn) -> None:
    """The code is worth nothing, and what it stood for goes back"""
    app = arrakis.app()
    code = app.code()
    delete_app(app)

    answer = app.exchanged(code)

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert len(provider.sent_to("/revoke")) >= 1


# ---- the page that asks first ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asking(arrakis: Tenant) -> App:
    app = arrakis.app(name="Spice harvester")
    sql(arrakis.gateway, "UPDATE oauth_apps_oauthapp SET asks_first = true WHERE id = %s", app.id)
    return app


CONTINUE = "/link/oauth2/continue"


def test_b24_the_page_names_who_asks(asking: App, browser: Browser, provider: StandIn) -> None:
    """Account, app, provider and scopes; and nothing has begun by looking at it"""
    page = browser.get(asking.start_url(state="s", scope="read,write"))

    assert page.status_code == 200
    for name in ("Arrakis", "Spice harvester", "Stand-in standin", "<code>read</code>", "<code>write</code>"):
        assert name in page.text
    assert provider.url not in page.text
    assert not any(name.startswith("link_") for name in browser.session.cookies.get_dict())
    statement = "SELECT count(*) FROM credentials_authorization WHERE oauth_app_id = %s"
    assert sql(asking.tenant.gateway, statement, asking.id) == [(0,)]


def test_b24_going_on_takes_a_post_of_the_page(asking: App, browser: Browser, other_browser: Browser) -> None:
    """With the CSRF token of this very browser: no other page sends its form"""
    query = urlsplit(asking.start_url(state="s")).query
    token = csrf_token(browser.get(asking.start_url(state="s")).text)
    form = {"query": query, "link": ""}

    assert browser.get(f"{CONTINUE}?{query}").status_code == 405
    for sender, sent in (
        (browser, form),
        (browser, form | {"csrfmiddlewaretoken": ""}),
        (browser, form | {"csrfmiddlewaretoken": "x" * 64}),
        (other_browser, form | {"csrfmiddlewaretoken": token}),
    ):
        answer = sender.post(CONTINUE, sent)
        assert (answer.status_code, "Location" in answer.headers) == (403, False)
    evil = {"Origin": "https://evil.example"}
    assert browser.post(CONTINUE, form | {"csrfmiddlewaretoken": token}, headers=evil).status_code == 403


def test_b24_no_parameter_of_the_link_gets_around_it(asking: App, browser: Browser) -> None:
    for more in ({"hosted": "1"}, {"agreed": "true"}, {"agreed": "1", "asks_first": "false"}, {"debug": "true"}):
        page = browser.get(asking.start_url(**more))
        assert (page.status_code, "Spice harvester" in page.text) == (200, True)


def test_b24_whoever_goes_on_makes_the_whole_trip(asking: App, browser: Browser, provider: StandIn) -> None:
    """By a page that moves on by itself; and Cancel goes back with a refusal, with no state of ours used"""
    page = browser.get(asking.start_url(state="s"))
    form = {"query": urlsplit(asking.start_url(state="s")).query, "link": ""}

    onward = browser.post(CONTINUE, form | {"csrfmiddlewaretoken": csrf_token(page.text)}, headers={
        "Origin": asking.tenant.gateway.url
    })  # fmt: skip

    assert onward.status_code == 200
    (location,) = {part.split('"')[0] for part in onward.text.split('href="')[1:] if part.startswith(provider.url)}
    came = Started(asking, browser, location.replace("&amp;", "&")).approved()
    assert came.headers["Location"].startswith(f"{REDIRECT_URI.replace(':provider', 'standin')}?code=")
    assert query_of(came.headers["Location"])["state"] == "s"
