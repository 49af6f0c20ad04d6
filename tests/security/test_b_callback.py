"""B01 to B23: the callback. Whose answer it is (B05, B06, B15, B17, B20, B24) has a file of its own."""

import base64
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlencode

import pytest
import requests

from tests.lib.servers import Visit
from tests.security.stand_in import Request, StandIn, answering_json
from tests.security.tenant import App, Browser, Started, Tenant, assert_back, assert_page, query_of, sql

TIMEOUT = 30


@pytest.fixture(scope="module")
def app(arrakis: Tenant) -> App:
    return arrakis.app()


def steps_of(app: App) -> list[tuple[str, bool, str]]:
    """Of each of its trips, the oldest first: how far it came, whether it has tokens, and why it has failed."""
    statement = (
        "SELECT step, tokens IS NOT NULL, error FROM credentials_authorization WHERE oauth_app_id = %s"
        " ORDER BY created_at"
    )
    return [(str(step), bool(tokens), str(error)) for step, tokens, error in sql(app.tenant.gateway, statement, app.id)]


def expire(app: App) -> None:
    statement = "UPDATE credentials_authorization SET expires_at = now() - interval '1 second' WHERE oauth_app_id = %s"
    sql(app.tenant.gateway, statement, app.id)


def basic(client_id: str, client_secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()


def as_its_browser(trip: Started, query: dict[str, str]) -> requests.Response:
    """As often and as parallel as one likes: a requests.Session is for one thread."""
    cookies = trip.browser.session.cookies.get_dict()
    url = trip.sent["redirect_uri"]
    return requests.get(url, query, cookies=cookies, allow_redirects=False, timeout=TIMEOUT)


# ---- the state -------------------------------------------------------------------------------------------------------


def test_b01_no_state_of_ours(arrakis: Tenant, provider: StandIn) -> None:
    """Missing, unknown, with one bit changed: nobody is asked for tokens, and the trip itself goes on"""
    app = arrakis.app()
    trip = app.started()
    flipped = [trip.state[:at] + chr(ord(trip.state[at]) ^ 1) + trip.state[at + 1 :] for at in (0, 20, 42)]
    near = [
        trip.state[:-1],
        f"{trip.state}A",
        f" {trip.state}",
        f"{trip.state}\n",
        trip.state.swapcase(),
        f"{trip.state}=",
    ]

    for state in (None, "", "unknown", "\x00", "x" * 7000, *flipped, *near):
        params = {} if state is None else {"state": state}
        assert_page(trip.callback(code="a-code", **params))

    assert provider.sent_to("/token") == []
    assert steps_of(app) == [("started", False, "")]
    assert trip.approved().status_code == 302
    assert len(provider.sent_to("/token")) == 1


def test_b01_an_expired_state(arrakis: Tenant, provider: StandIn) -> None:
    app = arrakis.app()
    trip = app.started()
    expire(app)

    assert_page(trip.approved())
    assert provider.asked == []
    assert steps_of(app) == [("started", False, "")]


def test_b02_twenty_callbacks_at_once(app: App, provider: StandIn) -> None:
    """One asks for tokens and brings one code; all others are pages"""
    trip = app.started()
    query = {"code": "a-code", "state": trip.state}

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: as_its_browser(trip, query), range(20)))

    assert sorted(answer.status_code for answer in answers) == [302] + [400] * 19
    assert len(provider.sent_to("/token")) == 1
    (code,) = {query_of(answer.headers["Location"])["code"] for answer in answers if answer.status_code == 302}
    assert app.exchanged(code).status_code == 200


def test_b02_the_state_is_used_before_anybody_is_asked(app: App, provider: StandIn) -> None:
    """A second callback is refused while the first still waits for the provider"""
    trip = app.started()
    query = {"code": "a-code", "state": trip.state}
    meanwhile: list[requests.Response] = []

    def come_again(visit: Visit, request: Request) -> None:
        meanwhile.append(as_its_browser(trip, query))
        provider.give_tokens(visit, request)

    provider.behaves("/token", come_again)

    assert trip.callback(**query).status_code == 302
    assert_page(meanwhile[0])
    assert len(provider.sent_to("/token")) == 1


@pytest.mark.parametrize("status", [400, 500])
def test_b02_a_fault_of_the_provider_does_not_revive_the_state(app: App, provider: StandIn, status: int) -> None:
    provider.behaves("/token", answering_json(status, {"error": "invalid_grant"}))
    trip = app.started()

    assert trip.approved().status_code == 302
    assert_page(trip.approved())
    assert len(provider.sent_to("/token")) == 1


def test_b03_back_button_and_reload(app: App, provider: StandIn) -> None:
    """After success, again and again: a page in plain words, with the way back to the app, and nothing is undone"""
    trip = app.started()
    code = query_of(trip.approved().headers["Location"])["code"]

    for _ in range(3):
        page = trip.approved()
        assert_page(page)
        assert "This connection is finished already" in page.text
        assert "What was connected stays connected." in page.text
        assert 'href="https://developer.example.com/"' in page.text
        assert code not in page.text

    assert app.exchanged(code).status_code == 200
    assert_page(trip.approved())
    assert len(provider.sent_to("/token")) == 1


# ---- the browser -----------------------------------------------------------------------------------------------------


def cookie_of(trip: Started) -> tuple[str, str]:
    (cookie,) = trip.browser.session.cookies.get_dict().items()
    return cookie


def test_b04_the_authorization_url_is_passed_on(arrakis: Tenant, other_browser: Browser, provider: StandIn) -> None:
    """A browser that did not start the trip ends it for everybody"""
    app = arrakis.app()
    trip = app.started()

    page = trip.approved(other_browser)

    assert_page(page)
    assert "<code>session_mismatch</code>" in page.text
    assert_page(trip.approved())
    assert provider.asked == []
    assert steps_of(app) == [("failed", False, "session_mismatch")]


@pytest.mark.parametrize("tamper", ["empty", "another trip's", "of another name", "longer", "no time", "case"])
def test_b04_another_cookie(app: App, provider: StandIn, tamper: str) -> None:
    """The attacker's own trip is sound, and its cookie is none of this one's"""
    trip, own = app.started(), app.started()
    (name, value), (own_name, own_value) = cookie_of(trip), cookie_of(own)
    cookies = {
        "empty": {name: ""},
        "another trip's": {name: own_value},
        "of another name": {own_name: value},
        "longer": {name: f"{value}x"},
        "no time": {name: value.partition(".")[2]},
        "case": {name: value.swapcase()},
    }[tamper]

    query = {"code": "a-code", "state": trip.state}
    answer = requests.get(trip.sent["redirect_uri"], query, cookies=cookies, allow_redirects=False, timeout=TIMEOUT)

    assert_page(answer)
    assert "<code>session_mismatch</code>" in answer.text
    assert_page(trip.approved())
    assert provider.asked == []


def test_b04_the_cookie_is_for_nobody_elses_eyes(app: App) -> None:
    """HttpOnly, Lax, for ten minutes, and it tells nothing of the state"""
    trip = Browser(app.tenant.gateway).get(app.start_url())
    state = query_of(trip.headers["Location"])["state"]

    set_cookie = trip.headers["Set-Cookie"]
    attributes = {part.strip().lower() for part in set_cookie.split(";")[1:]}
    assert re.fullmatch(r"link_[0-9a-f]{8}=[0-9]+\.[A-Za-z0-9_-]{43}", set_cookie.split(";")[0])
    assert {"httponly", "samesite=lax", "path=/", "max-age=600"} <= attributes
    assert not any(attribute.startswith("domain") for attribute in attributes)
    assert state not in set_cookie


@pytest.mark.parametrize("trips", [2, 7])
def test_b23_parallel_tabs(app: App, provider: StandIn, trips: int) -> None:
    """All trips of one browser arrive, the last one first"""
    browser = Browser(app.tenant.gateway)
    begun = [app.started(browser, state=str(number)) for number in range(trips)]

    came = [trip.approved() for trip in reversed(begun)]

    states = [query_of(answer.headers["Location"])["state"] for answer in came]
    assert states == [str(number) for number in reversed(range(trips))]
    assert browser.session.cookies.get_dict() == {}


def test_b14_the_attackers_code_in_a_victims_browser(
    arrakis: Tenant, other_browser: Browser, provider: StandIn
) -> None:
    """He comes as far as the callback, and lets the victim open it, who has a trip of his own under way"""
    app = arrakis.app()
    provider.user_id = "attacker"
    attackers = app.started()
    victims = app.started(other_browser)
    link = f"{attackers.sent['redirect_uri']}?{urlencode({'code': 'code-of-the-attacker', 'state': attackers.state})}"

    page = other_browser.get(link)

    assert_page(page)
    assert "session_mismatch" in page.text
    assert provider.asked == []
    assert arrakis.call("GET", f"/v1/credentials?oauth_app_id={app.id}").json()["data"] == []
    assert victims.approved().status_code == 302


# ---- the answer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("iss", [None, "", "https://evil.example", "@url@/", "@URL@", "@url@.evil.example"])
def test_b07_mix_up(arrakis: Tenant, provider: StandIn, iss: str | None) -> None:
    """A provider that announces `iss`: without it, or with another, nobody is asked"""
    app = arrakis.app("standin-iss")
    trip = app.started()
    sent = {} if iss is None else {"iss": iss.replace("@url@", provider.url).replace("@URL@", provider.url.upper())}

    page = trip.callback(code="a-code", state=trip.state, **sent)

    assert_page(page)
    assert "issuer_mismatch" in page.text
    assert_page(trip.approved(None, iss=provider.url))
    assert provider.asked == []
    assert steps_of(app) == [("failed", False, "issuer_mismatch")]


def test_b07_two_issuers(arrakis: Tenant, provider: StandIn) -> None:
    """The right one beside another, in either order"""
    app = arrakis.app("standin-iss")
    for issuers in ([provider.url, "https://evil.example"], ["https://evil.example", provider.url]):
        trip = app.started()
        query = urlencode([("code", "c"), ("state", trip.state), *[("iss", issuer) for issuer in issuers]])
        answer = trip.browser.get(f"{trip.sent['redirect_uri']}?{query}")
        assert answer.status_code == 400 or query_of(answer.headers["Location"])["error"] == "server_error"
    assert provider.asked == []


def test_b07_an_error_has_an_issuer_too(arrakis: Tenant, provider: StandIn) -> None:
    """Another server's refusal ends on a page, and travels nowhere"""
    app = arrakis.app("standin-iss")
    trip, honest = app.started(), app.started()

    assert_page(trip.callback(state=trip.state, error="access_denied", iss="https://evil.example"))
    assert_back(honest.callback(state=honest.state, error="access_denied", iss=provider.url), app, "access_denied")


def test_b07_an_issuer_that_is_not_announced(arrakis: Tenant, provider: StandIn) -> None:
    """It need not come; if it comes, it has to be the configured one"""
    app = arrakis.app("standin-id-token")
    trip = app.started()

    assert_page(trip.callback(code="a-code", state=trip.state, iss="https://evil.example"))
    assert provider.asked == []


def test_b07_the_right_issuer(arrakis: Tenant, provider: StandIn) -> None:
    trip = arrakis.app("standin-iss").started()

    assert query_of(trip.approved(None, iss=provider.url).headers["Location"])["code"]


def test_b08_corf(app: App, harkonnen: Tenant, provider: StandIn) -> None:
    """Whatever the callback's query says of the context, the state's row says it"""
    theirs = harkonnen.app("standin-other")
    mine = app.tenant.call("GET", f"/v1/oauth-apps/{app.id}").json()
    trip = app.started(state="s")

    came = trip.approved(
        None,
        provider="standin-other",
        client_id=theirs.id,
        oauth_app_id=theirs.id,
        tenant=harkonnen.id,
        account=harkonnen.id,
        redirect_uri="https://evil.example/",
        token_endpoint="https://evil.example/token",
        scope="admin",
        code_verifier="x" * 43,
    )

    assert came.headers["Location"].startswith(f"{app.redirect_uri}?code=")
    (sent,) = provider.sent_to("/token")
    assert sent.form["redirect_uri"] == app.callback_url
    assert sent.form["code_verifier"] != "x" * 43
    assert sent.headers["authorization"] == basic(mine["client_id"], app.client_secret or "")
    code = query_of(came.headers["Location"])["code"]
    assert theirs.exchanged(code).json()["error"] == "invalid_grant"
    assert app.exchanged(code).json()["credential"]["oauth_app_id"] == app.id


AMBIGUOUS = [
    "code=a&error=access_denied",
    "",
    "code=",
    "error=",
    "code=a&code=b",
    "code=a&code=a",
    "error=access_denied&error=server_error",
    "code=a&error=",
    "code=&error=access_denied",
]


@pytest.mark.parametrize("query", AMBIGUOUS[:7])
def test_b09_an_ambiguous_answer(app: App, provider: StandIn, query: str) -> None:
    """Back with server_error, nobody is asked, and the state is used"""
    trip = app.started(state="s")

    answer = trip.browser.get(f"{trip.sent['redirect_uri']}?state={trip.state}&{query}")

    assert_back(answer, app, "server_error", "s")
    assert_page(trip.approved())
    assert provider.asked == []


def test_b09_empty_is_absent(app: App, provider: StandIn) -> None:
    """RFC 6749, 3.1: a parameter without a value is as one that was left out"""
    denied = app.started()
    answer = denied.browser.get(f"{denied.sent['redirect_uri']}?state={denied.state}&code=&error=access_denied")
    assert_back(answer, app, "access_denied")
    assert provider.asked == []

    granted = app.started()
    assert query_of(granted.approved(None, error="").headers["Location"])["code"]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("access_denied", "access_denied"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("server_error", "server_error"),
        ("vendor_code_17", "server_error"),
        ("ACCESS_DENIED", "server_error"),
        ("access_denied ", "server_error"),
        ("\r\nSet-Cookie: a=b", "server_error"),
        ("<script>", "server_error"),
        ("x" * 4000, "server_error"),
    ],
)
def test_b10_the_providers_refusal(app: App, provider: StandIn, theirs: str, ours: str) -> None:
    """In RFC 6749's words, and with a description of our own in its characters"""
    trip = app.started(state="s")
    words = 'Raw "words" \\ of theirs \n é ' + "x" * 2000

    answer = trip.callback(state=trip.state, error=theirs, error_description=words, error_uri="https://evil.example/")

    assert_back(answer, app, ours, "s")
    query = query_of(answer.headers["Location"])
    assert query.keys() == {"error", "error_description", "state"}
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,256}", query["error_description"])
    assert "Raw" not in query["error_description"]
    assert provider.asked == []


@pytest.mark.parametrize("state", [{}, {"state": ""}, {"state": "unknown"}])
def test_b11_open_redirect_by_error(app: App, browser: Browser, provider: StandIn, state: dict[str, str]) -> None:
    for error in ("access_denied", "server_error", "x"):
        query = {"error": error, "redirect_uri": "https://evil.example/", "error_uri": "https://evil.example/", **state}
        page = browser.get(f"/link/oauth2/callback/standin?{urlencode(query)}")
        assert_page(page)
        assert "evil.example" not in page.text


def test_b11_an_error_with_a_used_state(app: App) -> None:
    trip = app.started()
    trip.approved()

    assert_page(trip.callback(state=trip.state, error="access_denied"))


MARKUP = '"><script>alert(1)</script>'


@pytest.mark.parametrize(
    "path",
    [
        "/link/oauth2/callback/unknown-slug?code={markup}&state={markup}",
        "/link/oauth2/callback/standin?error={markup}&error_description={markup}&state={markup}",
        "/link/oauth2/callback/standin/{markup}?code=a&state=b",
        "/link/oauth2/callback/{markup}",
        "/link/oauth2/callback/standin?{markup}={markup}",
        "/link/oauth2/callback/standin//{markup}",
    ],
)
def test_b12_reflected_xss(app: App, browser: Browser, path: str) -> None:
    page = browser.get(path.format(markup=quote(MARKUP, safe="")))

    assert page.status_code in {400, 404}
    assert page.headers["Content-Type"].startswith("text/html")
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_b12_of_a_trip_with_debug(app: App, provider: StandIn) -> None:
    """The page that explains a refusal says nothing that came from outside"""
    trip = app.started(debug="true", state=MARKUP)

    page = trip.callback(state=trip.state, error=MARKUP, error_description=MARKUP)

    assert_page(page)
    assert "alert(1)" not in page.text.replace(quote(MARKUP, safe=""), "")


# ---- form_post -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["standin", "standin-other", "unknown", "{own}"])
def test_b13_post_where_no_file_says_so(arrakis: Tenant, other_browser: Browser, provider: StandIn, path: str) -> None:
    app = arrakis.app(own_callback=True)
    trip = app.started()

    answer = trip.browser.post(
        f"/link/oauth2/callback/{path.format(own=f'standin/{app.id}')}", {"code": "a", "state": trip.state}
    )

    assert (answer.status_code, "Location" in answer.headers) == (405, False)
    assert "POST" not in answer.headers["Allow"]
    assert provider.asked == []
    assert trip.approved().status_code == 302


def test_b13_post_is_answered_by_the_get_form(arrakis: Tenant, other_browser: Browser, provider: StandIn) -> None:
    """A browser sends no Lax cookie with a cross-site POST: so none is looked at there, and none is set"""
    app = arrakis.app("standin-form-post")
    trip = app.started(state="s")
    form = {
        "code": "a-code",
        "state": trip.state,
        "realm": "42",
        "redirect_uri": "https://evil.example/",
        "provider": "standin",
        "next": "//evil.example",
        "x": "y",
    }

    for browser in (other_browser, trip.browser, other_browser):
        answer = browser.post(trip.sent["redirect_uri"], form)
        assert answer.status_code == 303
        path, _, _ = answer.headers["Location"].partition("?")
        assert path in {"/link/oauth2/callback/standin-form-post", app.callback_url}
        assert query_of(answer.headers["Location"]) == {"code": "a-code", "state": trip.state, "realm": "42"}
        assert "Set-Cookie" not in answer.headers
    assert steps_of(app) == [("started", False, "")]
    assert provider.asked == []

    came = trip.browser.get(answer.headers["Location"])
    assert came.headers["Location"].startswith(f"{app.redirect_uri}?code=")
    assert provider.sent_to("/token")[0].form["code"] == "a-code"


def test_b13_the_get_form_looks_at_the_cookie(arrakis: Tenant, other_browser: Browser, provider: StandIn) -> None:
    """The victim's browser is made to post the attacker's answer"""
    trip = arrakis.app("standin-form-post").started()
    answer = other_browser.post(trip.sent["redirect_uri"], {"code": "a-code", "state": trip.state})

    page = other_browser.get(answer.headers["Location"])

    assert_page(page)
    assert "session_mismatch" in page.text
    assert provider.asked == []


def test_b13_what_was_posted_twice_stays_twice(arrakis: Tenant, provider: StandIn) -> None:
    """The detour is no way around the refusal of repeated parameters"""
    trip = arrakis.app("standin-form-post").started()
    body = urlencode([("code", "a"), ("state", "other"), ("state", trip.state)])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = trip.browser.request("POST", trip.sent["redirect_uri"], data=body, headers=headers)

    assert_page(trip.browser.get(answer.headers["Location"]))
    assert provider.asked == []


# ---- the way back ----------------------------------------------------------------------------------------------------


def test_b16_redirect_target_swap(app: App, provider: StandIn) -> None:
    """Neither query nor header of the callback, nor the developer's own state, moves the end of a trip"""
    headers = {
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "host=evil.example",
        "Referer": "https://evil.example/",
        "Origin": "https://evil.example",
        "X-Original-URL": "/evil",
    }
    for state in ("https://evil.example/", "@evil.example", "/../../evil", "&redirect_uri=https://evil.example/", "#"):
        trip = app.started(state=state)
        query = urlencode({"code": "c", "state": trip.state, "redirect_uri": "https://evil.example/"})
        came = trip.browser.get(f"{trip.sent['redirect_uri']}?{query}", headers=headers)

        location = came.headers["Location"]
        assert location.startswith(f"{app.redirect_uri}?code=")
        assert query_of(location)["state"] == state


def test_b16_the_registered_query_is_kept(app: App, provider: StandIn) -> None:
    """Behind it comes what is ours; nothing of it is read as ours"""
    registered = "https://app.example.com/back?code=theirs&next=%2F"
    app.tenant.made("/v1/redirect-uris", {"redirect_uri": registered})

    location = app.started(redirect_uri=registered).approved().headers["Location"]

    assert re.fullmatch(re.escape(registered) + "&code=[A-Za-z0-9]{35}", location)


@pytest.mark.parametrize(
    "redirect_uri",
    ["myapp://callback", "com.example.app:/callback", "com.example.app://callback", "intent://x#Intent;end", "app:x"],
)
def test_b18_native_schemes(arrakis: Tenant, browser: Browser, redirect_uri: str) -> None:
    """Refused where the developer sees it, not where his end user would"""
    answer = arrakis.call("POST", "/v1/redirect-uris", {"redirect_uri": redirect_uri})

    assert answer.status_code == 422
    assert answer.json()["validation_errors"].keys() == {"redirect_uri"}
    assert_page(browser.get(arrakis.app().start_url(redirect_uri=redirect_uri)))


def test_b19_a_code_of_8_kib(app: App, provider: StandIn) -> None:
    trip = app.started()
    code = "c" * 8192

    assert query_of(trip.callback(code=code, state=trip.state).headers["Location"])["code"]
    assert provider.sent_to("/token")[0].form["code"] == code


@pytest.mark.parametrize("length", [16_385, 60_000])
def test_b19_an_oversize_code(app: App, provider: StandIn, length: int) -> None:
    """Too long for a request line: refused before anybody reads it, and the trip goes on"""
    trip = app.started()

    assert trip.callback(code="c" * length, state=trip.state).status_code in {400, 414}
    assert provider.asked == []
    assert trip.approved().status_code == 302


# ---- the scope -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "told", "scopes"),
    [
        ("read", "read", {"requested": ["read", "write"], "granted": ["read"], "missing": ["write"]}),
        (..., "read write", {"requested": ["read", "write"], "granted": ["read", "write"], "missing": []}),
        ("write read admin", "write read admin",
         {"requested": ["read", "write"], "granted": ["write", "read", "admin"], "missing": []}),
    ],
)  # fmt: skip
def test_b22_silent_scope_change(
    app: App, provider: StandIn, granted: object, told: str, scopes: dict[str, list[str]]
) -> None:
    """As granted, at the token endpoint and in the credential"""
    provider.behaves("/token", answering_json(200, provider.tokens(scope=granted, user_id=f"user-of-{told}")))

    answer = app.exchanged(app.code(scope="read,write")).json()
    credential = app.tenant.made("/v1/credentials", answer["credential"])

    assert answer.get("scope", "") == told
    found = credential["scopes"]
    assert {name: sorted(found[name]) for name in found} == {name: sorted(scopes[name]) for name in scopes}
