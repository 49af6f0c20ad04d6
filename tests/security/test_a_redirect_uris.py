"""A02 to A07: where a trip may end, and what may be registered for it."""

from collections.abc import Callable
from urllib.parse import quote, urlencode

import pytest
import requests

from tests.lib.servers import Visit
from tests.security.member import csrf_token, signed_in
from tests.security.stand_in import Request, StandIn, answering_json
from tests.security.tenant import App, Browser, Tenant, assert_page, new_tenant, query_of, sql

ADD = "/admin/oauth_apps/redirecturi/add/"


@pytest.fixture(scope="module")
def app(arrakis: Tenant) -> App:
    return arrakis.app()


def register(tenant: Tenant, redirect_uri: str) -> requests.Response:
    return tenant.call("POST", "/v1/redirect-uris", {"redirect_uri": redirect_uri})


# ---- at the start ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        {"redirect_uri": None},
        {"redirect_uri": ""},
        {"redirect_uri": "https://evil.example/back"},
        {"redirect_uri": "https://evil.example/back", "response_type": "token", "scope": "\x00"},
        {"redirect_uri": "https://evil.example/back", "state": "x" * 3000},
        {"redirect_uri": "https://evil.example/back", "request": "x", "code_challenge_method": "plain"},
        {"redirect_uri": "https://evil.example/back", "debug": "true", "response_type": "token"},
        {"redirect_uri": None, "response_type": "token"},
        {"redirect_uri": "//evil.example/back"},
        {"redirect_uri": "javascript:alert(1)"},
    ],
)
def test_a02_open_redirect(app: App, browser: Browser, provider: StandIn, sent: dict[str, str]) -> None:
    assert_page(browser.get(app.start_url(**sent)))
    assert provider.asked == []


def test_a02_the_redirect_uri_of_another_account(app: App, harkonnen: Tenant, browser: Browser) -> None:
    """Registered, but not by the account whose app it is"""
    theirs = "https://harkonnen.example/back"
    register(harkonnen, theirs)

    assert_page(browser.get(app.start_url(redirect_uri=theirs)))
    assert harkonnen.app().started(redirect_uri=theirs).state


REGISTERED = "https://app.example.com/Back/%7Ea?b=c"
TRICKS = [
    "HTTPS://app.example.com/Back/%7Ea?b=c",
    "http://app.example.com/Back/%7Ea?b=c",
    "https://APP.example.com/Back/%7Ea?b=c",
    "https://app.example.com:443/Back/%7Ea?b=c",
    "https://app.example.com./Back/%7Ea?b=c",
    "https://app.example.com.evil.example/Back/%7Ea?b=c",
    "https://app.example.com@evil.example/Back/%7Ea?b=c",
    "https://evil.example#https://app.example.com/Back/%7Ea?b=c",
    "https://evil.example\\@app.example.com/Back/%7Ea?b=c",
    "https:/app.example.com/Back/%7Ea?b=c",
    "//app.example.com/Back/%7Ea?b=c",
    "https://app.example.com//Back/%7Ea?b=c",
    "https://app.example.com/back/%7Ea?b=c",
    "https://app.example.com/Back/%7ea?b=c",
    "https://app.example.com/Back/~a?b=c",
    "https://app.example.com/Back/%257Ea?b=c",
    "https://app.example.com/%42ack/%7Ea?b=c",
    "https://app.example.com/./Back/%7Ea?b=c",
    "https://app.example.com/x/../Back/%7Ea?b=c",
    "https://app.example.com/Back/%7Ea/?b=c",
    "https://app.example.com/Back/%7Ea/..?b=c",
    "https://app.example.com/Back/%7Ea",
    "https://app.example.com/Back/%7Ea?",
    "https://app.example.com/Back/%7Ea?b=c&",
    "https://app.example.com/Back/%7Ea?b=c&x=y",
    "https://app.example.com/Back/%7Ea?B=c",
    "https://app.example.com/Back/%7Ea?b=c#",
    "https://app.example.com/Back/%7Ea?b=c#x",
    " https://app.example.com/Back/%7Ea?b=c",
    "https://app.example.com/Back/%7Ea?b=c ",
    "https://app.example.com/Back/%7Ea?b=c\n",
    "https://app.example.com/Back/%7Ea?b=c\x00",
    "\ufeffhttps://app.example.com/Back/%7Ea?b=c",
    "https://app.example.com/Back/%7Ea?b=c\u200b",
    "https://\uff41pp.example.com/Back/%7Ea?b=c",
    "https://\u0430pp.example.com/Back/%7Ea?b=c",
    "https://app\u3002example.com/Back/%7Ea?b=c",
    "https://app.example.com/Back/%7Ea?b=c/:provider",
]


def test_a03_redirect_matching_tricks(arrakis: Tenant, app: App, browser: Browser, provider: StandIn) -> None:
    """All but the equal, in one browser; and the equal one leads to the bytes that are registered"""
    register(arrakis, REGISTERED)

    for trick in TRICKS:
        answer = browser.get(app.start_url(redirect_uri=trick))
        assert (answer.status_code, "Location" in answer.headers) == (400, False), trick

    assert provider.asked == []
    came = app.started(redirect_uri=REGISTERED, state="s").approved()
    assert came.headers["Location"].startswith(f"{REGISTERED}&code=")


def test_a03_the_value_is_decoded_once(arrakis: Tenant, app: App, browser: Browser) -> None:
    """Encoded once too often, or with bytes that are no UTF-8, it is another one"""
    register(arrakis, REGISTERED)

    for text in (quote(quote(REGISTERED, safe=""), safe=""), f"{quote(REGISTERED, safe='')}%ff", "%c0%af"):
        assert_page(browser.get(f"{app.start_url(redirect_uri=None)}&redirect_uri={text}"))  # type: ignore[arg-type]


def test_a03_the_literal_token(app: App, browser: Browser) -> None:
    """`:provider` may be sent as it is registered; anything that merely looks like it may not"""
    literal = "https://developer.example.com/back/:provider"
    assert app.started(redirect_uri=literal).approved().headers["Location"].startswith(f"{app.redirect_uri}?code=")

    for trick in (":Provider", ":provider/", "%3Aprovider", ":provider:provider", "{provider}", ":providers"):
        assert_page(browser.get(app.start_url(redirect_uri=f"https://developer.example.com/back/{trick}")))


PROVIDER_TOKENS = [
    "https://:provider.example.com/back",
    "https://:provider/back",
    "https://app.example.com::provider/back",
    "https://:provider@app.example.com/back",
    "https://app.example.com/back?p=:provider",
    "https://app.example.com/back#:provider",
    "https://app.example.com/back-:provider",
    "https://app.example.com/:providers",
    "https://app.example.com/:provider.json",
    "https://app.example.com/:provider/:provider",
    "https://app.example.com/:provider?p=:provider",
    ":provider://app.example.com/back",
]


@pytest.mark.parametrize("redirect_uri", PROVIDER_TOKENS)
def test_a04_provider_token_abuse(arrakis: Tenant, redirect_uri: str) -> None:
    answer = register(arrakis, redirect_uri)

    assert answer.status_code == 422
    assert answer.json()["validation_errors"].keys() == {"redirect_uri"}
    assert redirect_uri not in arrakis.call("GET", "/v1/redirect-uris").text


def test_a04_it_stands_for_this_apps_own_provider(app: App, browser: Browser, provider: StandIn) -> None:
    """Another provider's slug is another URI, though the account has apps there too"""
    other = app.tenant.app("standin-other")

    for slug in ("standin-other", "stripe", "Standin", "standin/", "standin-otherr", "", ".", "standin/../standin"):
        assert_page(browser.get(app.start_url(redirect_uri=f"https://developer.example.com/back/{slug}")))

    assert provider.asked == []
    assert app.started().approved().headers["Location"].startswith("https://developer.example.com/back/standin?")
    assert (
        other.started().approved().headers["Location"].startswith("https://developer.example.com/back/standin-other?")
    )


DANGEROUS = [
    "https://app.example.com/back#fragment",
    "https://app.example.com/back#",
    "https://user@app.example.com/back",
    "https://user:password@app.example.com/back",
    "https://*.example.com/back",
    "https://app.example.com/*",
    "/back",
    "//app.example.com/back",
    "app.example.com/back",
    "https:app.example.com/back",
    "https:/app.example.com/back",
    "https:///back",
    "https://",
    "https://:443/back",
    "https://app.example.com:0/back",
    "https://app.example.com:65536/back",
    "https://app.example.com:port/back",
    "https://app.example.com\\@evil.example/back",
    "https://app.example.com/ba\x00ck",
    "https://app.example.com/ba\nck",
    "https://app.example.com/ba ck",
    "https://app.example.com/b\u00e4ck",
    "https://\u0430pp.example.com/back",
    "https://app.example.com/%zz",
    "https://app.example.com/" + "x" * 2048,
    "javascript:alert(1)",
    "javascript://app.example.com/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "file:///etc/passwd",
    "blob:https://app.example.com/1",
    "http://app.example.com/back",
    "http://127.0.0.1.evil.com/back",
    "http://localhost.evil.com/back",
    "http://127.0.0.2/back",
    "http://[::2]/back",
    "http://LOCALHOST/back",
    "http://2130706433/back",
    "http://0.0.0.0/back",
    "",
]


def test_a05_dangerous_registration(arrakis: Tenant) -> None:
    """Each is refused, with the field and the rule, and none is stored"""
    before = arrakis.call("GET", "/v1/redirect-uris").json()

    for redirect_uri in DANGEROUS:
        answer = register(arrakis, redirect_uri)
        assert (answer.status_code, answer.json().get("code")) == (422, "validation_failed"), redirect_uri
        reasons = answer.json()["validation_errors"]["redirect_uri"]
        assert "." in {reason[-1] for reason in reasons}, redirect_uri

    assert arrakis.call("GET", "/v1/redirect-uris").json() == before


def test_a05_dangerous_registration_in_the_console(arrakis: Tenant) -> None:
    """The form has the same rules: every third is tried"""
    browser = signed_in(arrakis)
    token = csrf_token(browser.get(ADD).text)
    before = arrakis.call("GET", "/v1/redirect-uris").json()

    for redirect_uri in DANGEROUS[::3]:
        form = {"account": arrakis.id, "redirect_uri": redirect_uri, "csrfmiddlewaretoken": token}
        answer = browser.post(ADD, form)
        assert answer.status_code == 200, redirect_uri
    assert arrakis.call("GET", "/v1/redirect-uris").json() == before

    good = {"account": arrakis.id, "redirect_uri": "https://app.example.com/good", "csrfmiddlewaretoken": token}
    assert browser.post(ADD, good).status_code == 302
    assert "https://app.example.com/good" in arrakis.call("GET", "/v1/redirect-uris").text


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 8123), ("[::1]", 8223), ("localhost", 8323)])
def test_a06_loopback_tricks(
    arrakis: Tenant, app: App, browser: Browser, provider: StandIn, host: str, port: int
) -> None:
    """Plain http there, and byte equality as anywhere: no other port, path or spelling of the same machine"""
    registered = f"http://{host}:{port}/back"
    assert register(arrakis, registered).status_code == 201

    others = [
        f"http://{host}/back",
        f"http://{host}:{port + 1}/back",
        f"http://{host}:0{port}/back",
        f"http://{host}:{port}/other",
        f"http://{host}:{port}/back/",
        f"http://{host}.evil.com:{port}/back",
        f"http://{host}@evil.com:{port}/back",
        f"https://{host}:{port}/back",
        *(
            f"http://{other}:{port}/back"
            for other in ("127.0.0.1", "[::1]", "localhost", "127.1", "[0::1]", "LOCALHOST")
        ),
    ]
    for other in set(others) - {registered}:
        assert_page(browser.get(app.start_url(redirect_uri=other)))

    assert provider.asked == []
    assert app.started(redirect_uri=registered).approved().headers["Location"].startswith(f"{registered}?code=")


# ---- what was taken away meanwhile -----------------------------------------------------------------------------------


def remove_redirect_uri(app: App) -> None:
    rows = app.tenant.call("GET", "/v1/redirect-uris").json()["data"]
    for row in rows:
        assert app.tenant.call("DELETE", f"/v1/redirect-uris/{row['id']}").status_code == 200


def disable(app: App) -> None:
    assert app.tenant.call("PATCH", f"/v1/oauth-apps/{app.id}", {"enabled": False}).status_code == 200


def tokens_of(app: App) -> list[tuple[str, bool, bool]]:
    """Of each trip: how far it came, and whether it has tokens and a code."""
    statement = (
        "SELECT step, tokens IS NOT NULL, code_hash IS NOT NULL FROM credentials_authorization WHERE oauth_app_id = %s"
    )
    return [(str(step), bool(tokens), bool(code)) for step, tokens, code in sql(app.tenant.gateway, statement, app.id)]


@pytest.mark.parametrize("withdraw", [remove_redirect_uri, disable])
def test_a07_stale_registration(app: App, provider: StandIn, withdraw: Callable[[App], None]) -> None:
    """Withdrawn while the end user is away: nobody is asked for tokens"""
    app = new_tenant(app.tenant.gateway, "Caladan").app()
    trip = app.started()
    withdraw(app)

    for answer in ({"code": "a-code"}, {"error": "access_denied"}):
        assert_page(trip.callback(None, state=trip.state, **answer))

    assert provider.asked == []
    assert tokens_of(app) == [("failed", False, False)]


@pytest.mark.parametrize("withdraw", [remove_redirect_uri, disable])
def test_a07_withdrawn_while_the_provider_answers(app: App, provider: StandIn, withdraw: Callable[[App], None]) -> None:
    """The tokens are there and nobody gets them: they are dropped, and given back"""
    app = new_tenant(app.tenant.gateway, "Caladan").app()
    trip = app.started()
    tokens = provider.tokens()

    def withdraw_first(visit: Visit, request: Request) -> None:
        withdraw(app)
        answering_json(200, tokens)(visit, request)

    provider.behaves("/token", withdraw_first)

    assert_page(trip.approved())

    assert tokens_of(app) == [("failed", False, False)]
    revoked = {request.form["token"] for request in provider.sent_to("/revoke")}
    assert tokens["refresh_token"] in revoked
    assert_page(trip.approved())
    assert len(provider.sent_to("/token")) == 1


def test_a07_what_is_registered_again_is_another_registration(app: App, provider: StandIn) -> None:
    """The same text, registered anew while the end user is away, revives no trip"""
    app = new_tenant(app.tenant.gateway, "Caladan").app()
    trip = app.started()
    remove_redirect_uri(app)
    register(app.tenant, "https://developer.example.com/back/:provider")

    assert_page(trip.approved())
    assert provider.asked == []
    assert query_of(app.started().approved().headers["Location"])["code"]


def test_a02_a_form_of_ours_is_no_way_around(app: App, browser: Browser, provider: StandIn) -> None:
    """The page that asks first posts the whole link back, which is as untrusted as a link"""
    asking = app.tenant.app()
    sql(app.tenant.gateway, "UPDATE oauth_apps_oauthapp SET asks_first = true WHERE id = %s", asking.id)
    token = csrf_token(browser.get(asking.start_url()).text)
    query = urlencode({"client_id": asking.id, "redirect_uri": "https://evil.example/"})

    assert_page(browser.post("/link/oauth2/continue", {"query": query, "link": "", "csrfmiddlewaretoken": token}))
    assert provider.asked == []
