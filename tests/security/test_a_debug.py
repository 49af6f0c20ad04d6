"""A17: what `debug=true` explains, and to whom. It must not become an oracle."""

import html
import re
import uuid
from urllib.parse import unquote, urlencode

import pytest

from tests.security.member import signed_in
from tests.security.stand_in import StandIn, answering, answering_json
from tests.security.tenant import App, Browser, Tenant, assert_back, assert_page, new_tenant, query_of, sql

ELSEWHERE = "https://elsewhere.example.com/registered/too"


@pytest.fixture(scope="module")
def app(arrakis: Tenant) -> App:
    arrakis.made("/v1/redirect-uris", {"redirect_uri": ELSEWHERE})
    return arrakis.app(name="Spice harvester", metadata={"internal": "melange"})


def text_of(page: str) -> str:
    """What a reader sees, and where its links lead."""
    links = " ".join(re.findall(r'href="([^"]*)"', page))
    return html.unescape(re.sub(r"<[^>]+>", "", page) + " " + links)


def trips_of(app: App) -> int:
    [(count,)] = sql(
        app.tenant.gateway, "SELECT count(*) FROM credentials_authorization WHERE oauth_app_id = %s", app.id
    )
    return int(count)


FAULTS: list[tuple[dict[str, str], str]] = [
    ({"redirect_uri": "https://evil.example/back"}, "The redirect_uri of this link is not registered."),
    ({"redirect_uri": ""}, "The redirect_uri of this link is missing."),
    ({"response_type": "token"}, "The response_type must be code."),
    ({"scope": 'read"'}, "The scope has a character that RFC 6749 does not allow"),
    ({"code_challenge": "x", "code_challenge_method": "plain"}, "The code_challenge_method must be S256."),
    ({"state": "x" * 3000}, "The state is longer than 2048 characters."),
    ({"request": "x"}, "The parameter request is not supported."),
]


@pytest.mark.parametrize(("sent", "rule"), FAULTS)
@pytest.mark.parametrize("debug", ["true", "1"])
def test_a17_what_it_explains(
    app: App, browser: Browser, provider: StandIn, sent: dict[str, str], rule: str, debug: str
) -> None:
    """What came, which rule it broke, cause and fix, our callback URL, and where the end user would have gone"""
    before = trips_of(app)

    answer = browser.get(app.start_url(debug=debug, **sent))

    assert_page(answer)
    seen = text_of(answer.text)
    assert rule in seen
    assert "Likely cause" in seen
    assert "What to do" in seen
    assert app.callback_url in seen
    for name, value in sent.items():
        assert name in seen
        assert value[:2000] in seen
    if "scope" not in sent:
        (url,) = set(re.findall(rf"{re.escape(provider.url)}/authorize\?\S+", seen))
        would = query_of(url)
        assert (would["redirect_uri"], would["state"]) == (app.callback_url, "not-a-state")
    assert trips_of(app) == before
    assert not browser.session.cookies.get_dict()
    assert provider.asked == []


@pytest.mark.parametrize(("sent", "rule"), FAULTS)
def test_a17_what_it_never_tells_a_visitor(app: App, browser: Browser, sent: dict[str, str], rule: str) -> None:
    """Other registered redirect URIs, whose app it is, what it is called, a secret, a trace"""
    page = browser.get(app.start_url(debug="true", **sent)).text
    seen = unquote(text_of(page))

    for secret in (
        ELSEWHERE, "elsewhere.example", "Arrakis", app.tenant.id, "Spice harvester", "melange", app.client_secret or "",
        app.tenant.api_token, "Traceback", ".py",
    ):  # fmt: skip
        assert secret not in seen, secret
    assert rule in seen
    if sent.get("redirect_uri") != app.redirect_uri and "redirect_uri" in sent:
        assert "developer.example.com" not in seen


def test_a17_the_state_of_its_url_is_dead(app: App, browser: Browser, provider: StandIn) -> None:
    """Whoever follows it, and comes back from the provider with a code, has nothing"""
    page = text_of(browser.get(app.start_url(debug="true", response_type="token")).text)
    (url,) = set(re.findall(rf"{re.escape(provider.url)}/authorize\?\S+", page))

    answer = browser.get(f"{app.callback_url}?{urlencode({'code': 'a-code', 'state': query_of(url)['state']})}")

    assert_page(answer)
    assert provider.asked == []


@pytest.mark.parametrize("name", ["client_secret", "password", "access_token", "code", "code_verifier", "api_key"])
def test_a17_a_secret_in_a_link_is_not_repeated(app: App, browser: Browser, name: str) -> None:
    answer = browser.get(app.start_url(debug="true", response_type="token", **{name: "a-very-secret-value"}))

    assert_page(answer)
    assert name in answer.text
    assert "a-very-secret-value" not in answer.text


@pytest.mark.parametrize("debug", ["0", "false", "yes", "on", "TRUE", "True", "2", "11", "true ", " 1", "", "1\x00"])
def test_a17_another_value_is_no_debug(app: App, browser: Browser, debug: str) -> None:
    """The error travels, or is the short page that end users see"""
    assert_back(browser.get(app.start_url(debug=debug, response_type="token")), app, "unsupported_response_type")

    page = browser.get(app.start_url(debug=debug, redirect_uri="https://evil.example/"))
    assert_page(page)
    assert "What was received" not in page.text
    assert "evil.example" not in page.text


def test_a17_a_sound_request_is_not_changed(app: App, browser: Browser, provider: StandIn) -> None:
    """The same journey, cookie and all, up to the same end"""
    with_it, without = app.started(debug="true", state="s"), app.started(state="s")

    assert with_it.location.partition("?")[0] == without.location.partition("?")[0]
    assert with_it.sent.keys() == without.sent.keys()
    assert "debug" not in with_it.location
    cookies = [len(trip.browser.session.cookies.get_dict()) for trip in (with_it, without)]
    assert cookies == [1, 1]
    ends = [query_of(trip.approved().headers["Location"]).keys() for trip in (with_it, without)]
    assert ends == [{"code", "state"}, {"code", "state"}]


REFUSALS = {
    "denied": ({"error": "access_denied", "error_description": "Raw <b>words</b> of theirs"}, None),
    "unknown error": ({"error": "weird_vendor_code_17"}, None),
    "wrong secret": (
        {"code": "a-code"},
        (401, {"error": "invalid_client", "error_description": "Raw words of theirs"}),
    ),
    "bad code": ({"code": "a-code"}, (400, {"error": "invalid_grant", "detail": "Raw words of theirs"})),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a17_the_providers_refusal_is_explained(app: App, provider: StandIn, name: str) -> None:
    """In the browser, once; without the provider's own words, and with a link that tells the developer the same"""
    came, answer = REFUSALS[name]
    if answer:
        provider.behaves("/token", answering_json(*answer))
    trip = app.started(debug="true", state="s")

    page = trip.callback(state=trip.state, **came)

    assert_page(page)
    seen = text_of(page.text)
    assert "Likely cause" in seen
    assert app.callback_url in seen
    assert "Raw" not in page.text
    assert "weird_vendor" not in page.text
    assert "a-code" not in page.text
    for secret in ("Arrakis", "Spice harvester", ELSEWHERE, app.client_secret or "", trip.state, "Traceback"):
        assert secret not in unquote(seen), secret
    (back,) = set(re.findall(rf"{re.escape(app.redirect_uri)}\?\S+", seen))
    assert query_of(back)["state"] == "s"
    assert query_of(back)["error"] in {"access_denied", "server_error"}
    assert_page(trip.callback(state=trip.state, **came))  # and no second time


def test_a17_a_body_that_is_no_answer(app: App, provider: StandIn) -> None:
    """Nothing of what the provider sent stands on the page"""
    provider.behaves(
        "/token", answering("500 Oops", "Content-Type: text/html", body=b"<h1>stack at internal.py:17</h1>")
    )

    page = app.started(debug="true").approved()

    assert_page(page)
    assert "stack at" not in page.text
    assert "internal.py" not in page.text


def test_a17_a_broken_binding_is_explained_to_nobody(app: App, other_browser: Browser, provider: StandIn) -> None:
    """Debug opens no other way: the wrong browser gets the page that everybody gets"""
    trip = app.started(debug="true")

    page = trip.approved(other_browser)

    assert_page(page)
    assert "Likely cause" not in page.text
    assert app.callback_url not in page.text
    assert provider.asked == []


def test_a17_members_are_told_of_their_own_accounts_alone(app: App, harkonnen: Tenant) -> None:
    """Whoever is signed in sees the nearest registered URI of his own app, and of another's no more than a visitor"""
    link = app.start_url(debug="true", redirect_uri="https://elsewhere.example.com/registered/to")
    mine, stranger, visitor = signed_in(app.tenant), signed_in(harkonnen), Browser(app.tenant.gateway)

    told = [unquote(text_of(browser.get(link).text)) for browser in (mine, stranger, visitor)]

    assert [ELSEWHERE in seen for seen in told] == [True, False, False]
    assert ["/admin/oauth_apps/redirecturi/add/" in seen for seen in told] == [True, False, False]
    for seen in told[1:]:
        for secret in ("Arrakis", "Spice harvester", app.tenant.id):
            assert secret not in seen
    for seen in told:
        assert (app.client_secret or "") not in seen


def test_a17_no_registered_uri_is_guessed_by_it(app: App, browser: Browser) -> None:
    """A near miss looks like a far one, but for what was sent"""
    account = new_tenant(app.tenant.gateway, "Caladan")
    theirs = account.app()
    pages = []
    for sent in ("https://developer.example.com/back/standi", f"https://{uuid.uuid4().hex[:21]}.com/back/standi"):
        page = text_of(browser.get(theirs.start_url(debug="true", redirect_uri=sent)).text)
        page = re.sub(r"(Request id )\S+", r"\1", page)
        for spelling in (
            sent,
            sent.replace(":", "%3A").replace("/", "%2F"),
            sent.replace(":", "%253A").replace("/", "%252F"),
        ):
            page = page.replace(spelling, "")
        pages.append(page)
    assert pages[0] == pages[1]
