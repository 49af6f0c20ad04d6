"""A01 to A25: the start of a trip. Redirect URIs, diagnostics and the id_token have files of their own."""

import base64
import hashlib
import json
import re
import uuid
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.security.member import signed_in
from tests.security.stand_in import StandIn
from tests.security.tenant import App, Browser, Tenant, assert_back, assert_page, query_of, sql


@pytest.fixture(scope="module")
def app(arrakis: Tenant) -> App:
    return arrakis.app()


def trips_of(app: App) -> int:
    [(count,)] = sql(
        app.tenant.gateway, "SELECT count(*) FROM credentials_authorization WHERE oauth_app_id = %s", app.id
    )
    return int(count)


def without_what_was_sent(page: str, *sent: str) -> str:
    """The page, but for its request id and what it repeats of the link."""
    page = re.sub(r"(Request id <code>)[^<]+", r"\1", page)
    for text in sent:
        page = page.replace(quote(quote(text)), "").replace(quote(text), "").replace(text, "")
    return page


# ---- who asks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("debug", [{}, {"debug": "true"}, {"debug": "1"}])
def test_a01_client_enumeration(arrakis: Tenant, browser: Browser, provider: StandIn, debug: dict[str, str]) -> None:
    """Unknown, malformed, disabled: one page, though the redirect URI of the disabled one is registered"""
    disabled = arrakis.app()
    arrakis.call("PATCH", f"/v1/oauth-apps/{disabled.id}", {"enabled": False})

    ids = {"unknown": str(uuid.uuid4()), "malformed": "not-a-uuid-at-all", "disabled": disabled.id}
    answers = {name: browser.get(disabled.start_url(client_id=sent, **debug)) for name, sent in ids.items()}

    for answer in answers.values():
        assert_page(answer)
    assert len({without_what_was_sent(answer.text, ids[name]) for name, answer in answers.items()}) == 1
    names = {frozenset(answer.headers) for answer in answers.values()}
    assert len(names) == 1
    assert "Arrakis" not in answers["disabled"].text
    assert trips_of(disabled) == 0
    assert provider.asked == []


def test_a01_only_a_member_is_told_that_the_app_is_disabled(arrakis: Tenant, harkonnen: Tenant) -> None:
    """Of another account's app nobody learns more than of one that there is not"""
    disabled = arrakis.app(name="Spice harvester")
    arrakis.call("PATCH", f"/v1/oauth-apps/{disabled.id}", {"enabled": False})
    unknown = str(uuid.uuid4())
    mine, stranger = signed_in(arrakis), signed_in(harkonnen)

    assert "“Spice harvester” is disabled" in mine.get(disabled.start_url(debug="true")).text
    of_disabled = stranger.get(disabled.start_url(debug="true")).text
    of_unknown = stranger.get(disabled.start_url(debug="true", client_id=unknown)).text

    assert "Spice harvester" not in of_disabled
    assert without_what_was_sent(of_disabled, disabled.id) == without_what_was_sent(of_unknown, unknown)


def test_a25_another_spelling_of_the_id(arrakis: Tenant, browser: Browser, provider: StandIn) -> None:
    """Also the client id at the provider, and what Python's own reader takes for a UUID"""
    app = arrakis.app(client_id="registered-at-the-provider")
    spellings = [
        "registered-at-the-provider",
        app.id.upper(),
        app.id.replace("-", ""),
        f"{{{app.id}}}",
        f"urn:uuid:{app.id}",
        f" {app.id}",
        f"{app.id}\n",
        f"{app.id}\x00",
        app.id.replace("-", "\N{HYPHEN}"),
        app.id.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)}),  # full-width digits
        "",
    ]
    expected = without_what_was_sent(browser.get(app.start_url(client_id="unknown")).text)

    for spelling in spellings:
        answer = browser.get(app.start_url(client_id=spelling))
        assert_page(answer)
        assert without_what_was_sent(answer.text) == expected, spelling

    assert trips_of(app) == 0
    assert browser.get(app.start_url()).status_code == 302


# ---- what is asked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a08_a_parameter_twice_that_says_where_to_go(app: App, browser: Browser, name: str) -> None:
    """Whatever the order, and with equal values too"""
    good = query_of(app.start_url())[name]
    evil = "https://evil.example/" if name == "redirect_uri" else str(uuid.uuid4())

    for others in (evil, good):
        assert_page(browser.get(f"{app.start_url()}&{urlencode({name: others})}"))
        assert_page(browser.get(app.start_url().replace("?", f"?{urlencode({name: others})}&")))
    encoded = f"%{ord(name[0]):x}{name[1:]}"
    assert_page(browser.get(f"{app.start_url()}&{encoded}={quote(good, safe='')}"))


@pytest.mark.parametrize(
    "twice",
    [
        "state=a&state=b",
        "scope=read&scope=write",
        "response_type=code&response_type=code",
        "debug=0&debug=0",
        "code_challenge=a&code_challenge=b",
    ],
)
def test_a08_another_parameter_twice(app: App, browser: Browser, provider: StandIn, twice: str) -> None:
    """The developer is told; a state that came twice is not echoed, since nobody knows which it was"""
    state = None if twice.startswith("state") else "mine"
    url = app.start_url() if state is None else app.start_url(state=state)

    assert_back(browser.get(f"{url}&{twice}"), app, "invalid_request", state)
    assert provider.asked == []


def test_a08_the_callbacks_state_twice(app: App, provider: StandIn) -> None:
    """Whichever stands first, and equal ones too: a page, and nobody is asked"""
    for order in (["mine", "other"], ["other", "mine"], ["mine", "mine"]):
        trip = app.started()
        states = [trip.state if name == "mine" else name for name in order]
        query = urlencode([("code", "a-code"), *[("state", state) for state in states]])
        assert_page(trip.browser.get(f"{trip.sent['redirect_uri']}?{query}"))

    assert provider.asked == []


@pytest.mark.parametrize("name", ["code", "grant_type", "client_id", "client_secret", "redirect_uri"])
def test_a08_a_parameter_twice_at_the_token_endpoint(app: App, provider: StandIn, name: str) -> None:
    """400, and the code is as good as before"""
    code = app.code()
    form = {"grant_type": "authorization_code", "code": code, "client_id": app.id, "redirect_uri": app.redirect_uri}
    form["client_secret"] = app.client_secret or ""
    body = urlencode([*form.items(), (name, form[name])])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = Browser(app.tenant.gateway).request("POST", "/link/oauth2/token", data=body, headers=headers)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert app.exchanged(code).status_code == 200


STATES = [
    "plain",
    "a b+c%20d&e=f#g?h/i;j",
    '{"user": 1, "next": "/a?b=c&d"}',
    "é ü 漢 🏜",
    "https://evil.example/?code=x&state=y",
    "\t",
    "%00%0d%0a",
    "x" * 2048,
    "漢" * 800,  # counted in characters, not in bytes
]


@pytest.mark.parametrize("state", STATES, ids=range(len(STATES)))
def test_a09_the_state_comes_back_as_it_went(app: App, provider: StandIn, state: str) -> None:
    """Byte by byte, after success and after a refusal"""
    for answer in ({}, {"error": "access_denied"}):
        trip = app.started(state=state)
        came = trip.callback(state=trip.state, **answer) if answer else trip.approved()

        assert query_of(came.headers["Location"])["state"] == state
        assert came.headers["Location"].endswith(f"state={quote(state, safe='')}")


def test_a09_a_state_that_is_no_text(app: App, provider: StandIn) -> None:
    """Bytes that are not UTF-8, and NUL, which PostgreSQL's text refuses"""
    browser = Browser(app.tenant.gateway)
    location = browser.get(f"{app.start_url()}&state=%ff%fe%00%80abc").headers["Location"]
    state = query_of(location)["state"]

    came = browser.get(f"{query_of(location)['redirect_uri']}?{urlencode({'code': 'c', 'state': state})}")

    assert came.status_code == 302
    assert came.headers["Location"].endswith("state=%FF%FE%00%80abc")


@pytest.mark.parametrize("state", ["x" * 2049, "x" * 5000, "é" + "x" * 2048])
def test_a09_a_state_that_is_too_long(app: App, browser: Browser, provider: StandIn, state: str) -> None:
    before = trips_of(app)

    assert_back(browser.get(app.start_url(state=state)), app, "invalid_request", None)
    assert trips_of(app) == before
    assert provider.asked == []


BREAKS = [
    "%0d%0aSet-Cookie:%20evil=1",
    "%0aLocation:%20https://evil.example/",
    "%0d%0a%0d%0a<script>",
    "%00",
    "%E5%98%8A",
]


@pytest.mark.parametrize("text", BREAKS)
@pytest.mark.parametrize(
    "path",
    [
        "{start}&state={text}",
        "{start}&state={text}&response_type=token",
        "{start}&scope={text}",
        "{start}&shop={text}",
        "{start}&debug={text}",
        "/link/oauth2/start?client_id={text}&redirect_uri={text}",
        "/link/oauth2/callback/{text}?code=a&state={text}",
        "/link/oauth2/callback/standin?code=a&state={text}&error={text}&error_description={text}",
        "/link/oauth2/start/{text}",
    ],
)
def test_a10_header_injection(app: App, browser: Browser, provider: StandIn, path: str, text: str) -> None:
    """No header is new, none holds what was sent but percent-encoded, and nothing breaks"""
    answer = browser.get(path.format(start=app.start_url(), text=text))

    assert answer.status_code in {302, 400, 404}
    assert "evil" not in answer.headers.get("Set-Cookie", "")
    assert answer.headers.get("Location", app.redirect_uri).startswith((app.redirect_uri, provider.url))
    assert not any(re.search(r"[\r\n\x00]", value) for value in answer.headers.values())
    assert "<script>" not in answer.text


def test_a10_a_variable_with_a_line_break(arrakis: Tenant, browser: Browser) -> None:
    """A shop that would be a header, at a provider whose host it is a part of"""
    shopify = arrakis.app("shopify")

    answer = browser.get(f"{shopify.start_url()}&shop=acme%0d%0aSet-Cookie:%20evil=1")

    assert_back(answer, shopify, "invalid_request")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("sent", [{}, {"state": ""}])
def test_a11_no_state_in_no_state_out(app: App, provider: StandIn, sent: dict[str, str]) -> None:
    """Empty is absent (RFC 6749, 3.1), at each end of a trip"""
    approved = app.started(**sent).approved()
    trip = app.started(**sent)
    denied = trip.callback(state=trip.state, error="access_denied")
    refused = Browser(app.tenant.gateway).get(app.start_url(response_type="token", **sent))

    assert query_of(approved.headers["Location"]).keys() == {"code"}
    assert query_of(denied.headers["Location"]).keys() == {"error", "error_description"}
    assert query_of(refused.headers["Location"]).keys() == {"error", "error_description"}
    assert "state" not in app.exchanged(query_of(approved.headers["Location"])["code"]).json()


@pytest.mark.parametrize(
    "scope", ["read&redirect_uri=https://evil.example/", "read#fragment", "a=b&client_id=evil&state=mine", "read?x=y"]
)
def test_a12_a_scope_smuggles_nothing(app: App, browser: Browser, scope: str) -> None:
    """It is one value, whatever it looks like; query_of fails for a name that is there twice"""
    usual = app.started().sent

    sent = app.started(scope=scope).sent

    assert sent.keys() == usual.keys()
    assert sent["scope"] == scope
    assert [sent[name] for name in ("client_id", "redirect_uri")] == [usual[n] for n in ("client_id", "redirect_uri")]
    assert sent["state"] != "mine"


@pytest.mark.parametrize("scope", ['read"', "read\\", "read\x00", "read\nwrite", "réad", "read\x7f", "r" * 4097])
def test_a12_a_scope_that_is_none(app: App, browser: Browser, provider: StandIn, scope: str) -> None:
    assert_back(browser.get(app.start_url(scope=scope, state="s")), app, "invalid_scope", "s")
    assert provider.asked == []


def test_a12_separators_and_length(app: App) -> None:
    """Spaces and commas part scopes; 4,096 characters are let through"""
    assert app.started(scope="read,write  admin,read").sent["scope"] == "read write admin"
    assert len(app.started(scope="r" * 4096).sent["scope"]) == 4096


def test_a13_unknown_parameters_stay_here(app: App) -> None:
    """Among them the provider's own: nobody may ask for another prompt, account or response mode by a link"""
    unknown = {
        "access_type": "offline",
        "prompt": "none",
        "login_hint": "paul@example.com",
        "response_mode": "fragment",
        "nonce": "mine",
        "audience": "https://evil.example/",
        "resource": "https://evil.example/",
        "claims": "{}",
        "client_secret": "not-a-secret",
        "x": "y",
    }

    trip = app.started(**unknown)

    assert trip.location.partition("?")[0].endswith("/authorize")
    assert trip.sent.keys() == {
        "client_id", "redirect_uri", "response_type", "state", "scope", "code_challenge", "code_challenge_method"
    }  # fmt: skip
    assert trip.sent["response_type"] == "code"
    assert not any(value in trip.location for value in ("paul", "evil", "not-a-secret", "fragment"))


@pytest.mark.parametrize("response_type", ["token", "id_token", "code token", "code id_token", "CODE", " code", "none"])
def test_a14_another_response_type(app: App, browser: Browser, provider: StandIn, response_type: str) -> None:
    answer = browser.get(app.start_url(response_type=response_type, state="s"))

    assert_back(answer, app, "unsupported_response_type", "s")
    assert "#" not in answer.headers["Location"]
    assert provider.asked == []


def test_a14_the_one_response_type(app: App) -> None:
    for sent in ({}, {"response_type": ""}, {"response_type": "code"}):
        assert app.started(**sent).sent["response_type"] == "code"


@pytest.mark.parametrize("name", ["request", "request_uri"])
def test_a15_request_objects(app: App, browser: Browser, provider: StandIn, name: str) -> None:
    """Neither is read, and nobody fetches what one names"""
    claims = (
        base64.urlsafe_b64encode(json.dumps({"redirect_uri": "https://evil.example/"}).encode()).decode().rstrip("=")
    )
    value = f"eyJhbGciOiJub25lIn0.{claims}." if name == "request" else f"{provider.url}/request-object"

    assert_back(browser.get(app.start_url(state="s", **{name: value})), app, f"{name}_not_supported", "s")
    assert provider.asked == []


# ---- what the provider is sent ---------------------------------------------------------------------------------------


def test_a18_pkce_towards_the_provider(app: App, provider: StandIn) -> None:
    """S256, a verifier of its own for each trip, which is seen by the token endpoint alone"""
    verifiers, challenges = [], []
    for _ in range(3):
        trip = app.started()
        came = trip.approved()
        verifier = provider.sent_to("/token")[-1].form["code_verifier"]
        verifiers.append(verifier)
        challenges.append(trip.sent["code_challenge"])

        assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier)
        hashed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        assert (trip.sent["code_challenge_method"], trip.sent["code_challenge"]) == ("S256", hashed)
        seen = trip.location + came.text + str(dict(came.headers)) + str(trip.browser.session.cookies.get_dict())
        assert verifier not in seen

    assert len(set(verifiers)) == len(set(challenges)) == 3


def test_a18_a_link_turns_it_neither_off_nor_weak(app: App, provider: StandIn) -> None:
    """The developer's own challenge is another matter: it goes no further than us"""
    own = base64.urlsafe_b64encode(hashlib.sha256(b"of the developer").digest()).decode().rstrip("=")
    trip = app.started(code_challenge=own, code_challenge_method="S256")

    assert trip.sent["code_challenge_method"] == "S256"
    assert trip.sent["code_challenge"] != own


def test_a18_off_by_the_catalogue_alone(arrakis: Tenant, provider: StandIn) -> None:
    app = arrakis.app("standin-no-pkce")

    trip = app.started()
    assert trip.approved().status_code == 302

    assert not {"code_challenge", "code_challenge_method"} & trip.sent.keys()
    assert "code_verifier" not in provider.sent_to("/token")[0].form


def spellings_of(text: str) -> list[str]:
    raw = text.encode()
    encoded = [base64.b64encode(raw), base64.urlsafe_b64encode(raw), base64.b32encode(raw), raw.hex().encode()]
    hashes = [hashlib.new(name, raw).hexdigest().encode() for name in ("md5", "sha1", "sha256")]
    shortest = [spelling.decode().rstrip("=")[:16] for spelling in [*encoded, *hashes]]
    return [text, text.replace("-", ""), quote(text), *shortest]


def test_a19_a_guessable_or_talking_state(app: App, arrakis: Tenant) -> None:
    """Of one length, at least 128 bits, no two alike, and nothing in them that anybody has said"""
    said = "state-of-the-developer"
    states = [app.started(state=said).state for _ in range(12)]

    assert len(set(states)) == 12
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", state) for state in states)  # 256 bits
    positions = [{state[index] for state in states} for index in range(43)]
    assert all(len(characters) > 1 for characters in positions)  # no part is the same in all
    for secret in (said, app.id, arrakis.id, "standin", app.redirect_uri):
        for spelling in spellings_of(secret):
            assert not any(spelling in state for state in states)
    decoded = [base64.urlsafe_b64decode(state + "=") for state in states]
    assert not any(uuid.UUID(app.id).bytes in raw or said.encode() in raw for raw in decoded)


# ---- pages -----------------------------------------------------------------------------------------------------------

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


def policy(answer: Any) -> dict[str, str]:
    directives = [part.strip().partition(" ") for part in answer.headers["Content-Security-Policy"].split(";")]
    return {name: value for name, _, value in directives}


@pytest.mark.parametrize(
    "path",
    [
        "/link/oauth2/start?client_id={hostile}&redirect_uri={hostile}",
        "/link/oauth2/start?client_id={hostile}&debug=true&{hostile}={hostile}",
        "{start}&redirect_uri={hostile}",
        "{bad}&debug=true&scope={hostile}&state={hostile}&x{hostile}=1",
        "{start}&debug=true&scope=a%22{hostile}",
        "/link/oauth2/callback/standin?state={hostile}&code={hostile}",
        "/link/oauth2/callback/{hostile}?state=x",
        "/link/oauth2/start/{hostile}",
        "/link/oauth2/ended?link={hostile}",
        "/link/oauth2/{hostile}",
    ],
)
def test_a16_xss(app: App, browser: Browser, provider: StandIn, path: str) -> None:
    """What the visitor has sent is text in every page, and no script of anybody's could run there"""
    bad = app.start_url(redirect_uri=f"https://evil.example/{HOSTILE}")

    answer = browser.get(path.format(start=app.start_url(), bad=bad, hostile=quote(HOSTILE, safe="")))

    assert answer.status_code in {200, 400, 404}
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<script" not in answer.text
    assert "<img src=x" not in answer.text
    assert not re.search(r"<[^>]*\son[a-z]+\s*=", answer.text)
    assert "javascript:" not in answer.text
    directives = policy(answer)
    assert directives["default-src"] == "'none'"
    assert "script-src" not in directives
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_a16_what_an_account_calls_itself_is_text(arrakis: Tenant, browser: Browser) -> None:
    """The name of the app, on the page that asks first"""
    app = arrakis.app(name=HOSTILE[:200])
    sql(
        arrakis.gateway, "UPDATE oauth_apps_oauthapp SET asks_first = true, purpose = %s WHERE id = %s", HOSTILE, app.id
    )

    page = browser.get(app.start_url(state=HOSTILE))

    assert page.status_code == 200
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "<script" not in page.text
    assert "<img src=x" not in page.text
    assert policy(page)["default-src"] == "'none'"
