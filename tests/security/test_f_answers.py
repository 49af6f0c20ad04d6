"""F04, F07 to F13, F16, F17, F19: what a provider answers, however badly, and what it is sent."""

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import psycopg
import pytest
import requests

from sequin_auth.management.commands.serve import WEB
from tests.lib.servers import Server, Visit
from tests.lib.servers import answering as plainly_answering
from tests.real.gateway import Gateway
from tests.security.stand_in import Behaviour, Request, StandIn, answering, answering_json
from tests.security.tenant import App, Browser, Started, Tenant, assert_back, assert_page, query_of

CANARY = "the-providers-own-words"
JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
REDIRECTS = [301, 302, 303, 307, 308]


@pytest.fixture(scope="module")
def app(arrakis: Tenant) -> App:
    """One for many trips: they differ in what the provider answers alone."""
    return arrakis.app()


@pytest.fixture(scope="module")
def asking_app(arrakis: Tenant) -> App:
    """Whose tokens these are is asked at /me."""
    return arrakis.app("standin-asks")


def raw(body: bytes, *headers: str, status: str = "200 OK") -> Behaviour:
    return answering(status, *(headers or (JSON,)), body=body)


def kept(app: App) -> Any:
    """How many trips of this app have left tokens or a code, and how many credentials there are of it."""
    with psycopg.connect(app.tenant.gateway.database_uri) as connection:
        return connection.execute(
            "SELECT (SELECT count(*) FROM credentials_authorization WHERE oauth_app_id = %(app)s"
            " AND (tokens IS NOT NULL OR code_hash IS NOT NULL)),"
            " (SELECT count(*) FROM credentials_credential WHERE oauth_app_id = %(app)s)",
            {"app": app.id},
        ).fetchone()


def refused_trip(app: App, provider: StandIn, error: str = "server_error") -> requests.Response:
    """A trip that fails at the token endpoint, by one request, and leaves nothing."""
    before = kept(app)
    trip = app.started(state="s1")
    answer = trip.approved()
    assert_back(answer, app, error, "s1")
    assert CANARY not in answer.headers["Location"]
    assert len(provider.sent_to("/token")) == 1
    assert kept(app) == before
    return answer


# ---- F04: redirects --------------------------------------------------------------------------------------------------


def elsewhere(status: int, server: Server) -> Behaviour:
    return answering(f"{status} Elsewhere", f"Location: {server.url}/token", "Set-Cookie: a=b")


@pytest.fixture(scope="module")
def other_host() -> Iterator[Server]:
    server = Server(plainly_answering("200 OK", JSON, body=b'{"access_token": "t", "user_id": "u", "id": "u"}'))
    yield server
    server.stop()


@pytest.mark.parametrize("status", REDIRECTS)
def test_f04_a_token_endpoint_that_redirects(app: App, provider: StandIn, other_host: Server, status: int) -> None:
    provider.behaves("/token", elsewhere(status, other_host))

    refused_trip(app, provider)

    assert other_host.visits == 0


def test_f04_a_call_for_the_identity_that_redirects(asking_app: App, provider: StandIn, other_host: Server) -> None:
    """And the tokens, which are nobody's, are given back"""
    for status in REDIRECTS:
        provider.forget()
        provider.behaves("/me", elsewhere(status, other_host))
        refused_trip(asking_app, provider)
        assert (len(provider.sent_to("/me")), len(provider.sent_to("/revoke"))) == (1, 1)

    assert other_host.visits == 0


def test_f04_a_refresh_that_redirects(arrakis: Tenant, provider: StandIn, other_host: Server) -> None:
    credential = arrakis.credential()
    provider.behaves("/token", elsewhere(307, other_host))

    answer = read(arrakis, credential, force_refresh="true")

    assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
    assert len(provider.sent_to("/token")) == 2  # the exchange, and this
    assert other_host.visits == 0


def test_f04_a_revocation_that_redirects(app: App, provider: StandIn, other_host: Server) -> None:
    provider.behaves("/revoke", elsewhere(307, other_host))

    answer = revoked(app, "canary-token")

    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert (len(provider.sent_to("/revoke")), other_host.visits) == (1, 0)


def test_f04_an_oauth_apps_check_that_is_redirected(arrakis: Tenant, provider: StandIn, other_host: Server) -> None:
    provider.behaves("/token", elsewhere(308, other_host))

    health = arrakis.call("POST", f"/v1/oauth-apps/{arrakis.app().id}/check").json()["health"]

    assert (health["status"], other_host.visits) == ("warn", 0)


def read(tenant: Tenant, credential: str, **query: str) -> requests.Response:
    return tenant.call("GET", f"/v1/credentials/{credential}/access-token", params=query)


def revoked(app: App, token: str) -> requests.Response:
    form = {"client_id": app.id, "client_secret": app.client_secret or "", "token": token}
    return requests.post(f"{app.tenant.gateway.url}/link/oauth2/revoke", form, allow_redirects=False, timeout=30)


# ---- F07: too large --------------------------------------------------------------------------------------------------

ZEROS = bytes(64 * 1024 * 1024)
BOMB = gzip.compress(ZEROS)
del ZEROS
MORE_AT_MOST = 24 * 1024 * 1024  # bytes; a bomb that is unpacked takes 64 MiB and more


def without_end(visit: Visit, _: Request) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        visit.send(b" " * 65536)


@pytest.mark.parametrize(
    "behaviour",
    [
        without_end,
        raw(BOMB, JSON, "Content-Encoding: gzip"),
        raw(gzip.compress(BOMB), JSON, "Content-Encoding: gzip, gzip"),
        raw(b" " * 256 * 1024 + b'{"access_token": "t", "user_id": "u"}'),
    ],
    ids=["without end", "bomb", "bomb in a bomb", "a little more"],
)
def test_f07_too_large(app: App, provider: StandIn, behaviour: Behaviour) -> None:
    provider.behaves("/token", behaviour)

    with memory_that_stays_flat(app.tenant.gateway):
        answer = refused_trip(app, provider)

    assert query_of(answer.headers["Location"])["error_description"] == "The provider's answer is too large."


def test_f07_too_large_an_identity(asking_app: App, provider: StandIn) -> None:
    provider.behaves("/me", raw(BOMB, JSON, "Content-Encoding: gzip"))

    refused_trip(asking_app, provider)


def test_f07_large_but_not_too_large(app: App, provider: StandIn) -> None:
    body = json.dumps(provider.tokens()).encode().rjust(256 * 1024)
    provider.behaves("/token", raw(gzip.compress(body), JSON, "Content-Encoding: gzip"))

    assert app.exchanged(app.code()).status_code == 200


@contextmanager
def memory_that_stays_flat(gateway: Gateway) -> Iterator[None]:
    """Of the processes that answer: what was unpacked would be gone again by the time that the answer is here."""

    def resident() -> int:
        return sum(process.memory_info().rss for process in web)

    def watch() -> None:
        while not over.wait(0.005):
            seen.append(resident())

    web = [process for process in psutil.process_iter() if is_web_process_of(gateway, process)]
    assert len(web) == 3  # gunicorn and its two workers
    seen, over = [resident()], threading.Event()
    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()
    assert max(seen) - seen[0] < MORE_AT_MOST


def is_web_process_of(gateway: Gateway, process: psutil.Process) -> bool:
    try:
        return bool(process.name() == WEB and process.environ().get("PORT") == gateway.environment["PORT"])
    except (psutil.Error, OSError):
        return False


# ---- F08: garbage ----------------------------------------------------------------------------------------------------

GOOD = b'{"access_token": "t1", "user_id": "u1"}'


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (raw(b""), "server_error"),
        (raw(b"", "X-Nothing: 1", status="204 No Content"), "server_error"),
        (raw(f"<html><h1>{CANARY}</h1>".encode(), "Content-Type: text/html"), "server_error"),
        (raw(b"null"), "server_error"),
        (raw(b"true"), "server_error"),
        (raw(b"7"), "server_error"),
        (raw(b"[]"), "server_error"),
        (raw(b"[%s]" % GOOD), "server_error"),
        (raw(b'"x"'), "server_error"),
        (raw(b'{"access_token": NaN, "user_id": "u1"}'), "server_error"),
        (raw(b'{"access_token": "t1", "user_id": "u1", "expires_in": Infinity}'), "server_error"),
        (raw(b'{"access_token": "t1", "user_id": '), "server_error"),
        (raw(GOOD + b"x"), "server_error"),
        (raw('{"access_token": "t1", "user_id": "é"}'.encode("latin-1"), JSON + "; charset=utf-8"), "server_error"),
        (raw(GOOD.decode().encode("utf-16")), "server_error"),
        (raw(b"[" * 100_000), "server_error"),
        (raw(b'{"a":' * 20_000), "server_error"),
        (raw(b'{"access_token": "t1", "user_id": %s}' % (b"9" * 5000)), "server_error"),
        (raw(b'{"access_token": "t1", "user_id": {"x": 1}}'), "server_error"),
        (raw(b'{"access_token": "t1", "user_id": "a\\u0000b"}'), "server_error"),
        (raw(b'{"access_token": "t1", "user_id": "\\ud800"}'), "server_error"),
        (raw(b'{"access_token": "t1"}'), "server_error"),
        (raw(b"\x89PNG\r\n\x1a\n", "Content-Type: image/png"), "server_error"),
        (raw(b"not gzip", JSON, "Content-Encoding: gzip"), "temporarily_unavailable"),
        (raw(b"access_token", FORM), "server_error"),
        (raw(b"access_token=t1&user_id=%ff", FORM), "server_error"),
        (raw(b"&".join(b"a%d=1" % n for n in range(5000)), FORM), "server_error"),
        (raw(b"", "X-Nothing: 1", status="199 Odd"), "server_error"),
        (raw(GOOD, status="400 Bad Request"), "server_error"),
        (raw(b'{"error": "%s"}' % CANARY.encode(), status="401 Unauthorized"), "server_error"),
        (raw(CANARY.encode(), "Content-Type: text/plain", status="403 Forbidden"), "server_error"),
        (raw(b'{"error": ["invalid_grant"]}', status="404 Not Found"), "server_error"),
        (raw(GOOD, status="418 Teapot"), "server_error"),
        (raw(b"[]", status="429 Slow"), "temporarily_unavailable"),
        (raw(GOOD, status="500 Oops"), "temporarily_unavailable"),
        (raw(CANARY.encode(), status="599 Odd"), "temporarily_unavailable"),
        (raw(GOOD, status="999 Odd"), "temporarily_unavailable"),
        (lambda visit, _: visit.send(b"\x00\xff\r\n\r\n"), "temporarily_unavailable"),
        (lambda visit, _: visit.reset(), "temporarily_unavailable"),
    ],
)
def test_f08_garbage_for_tokens(app: App, provider: StandIn, behaviour: Behaviour, error: str) -> None:
    provider.behaves("/token", behaviour)

    refused_trip(app, provider, error)


def test_f08_an_answer_with_a_byte_order_mark_is_json_still(app: App, provider: StandIn) -> None:
    provider.behaves("/token", raw(b"\xef\xbb\xbf" + GOOD))

    assert app.exchanged(app.code()).json()["access_token"] == "t1"


GARBAGE = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"<html>",
    b'{"id": NaN}',
    b'{"id": {"id": 1}}',
    b'{"id": true}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", GARBAGE)
def test_f08_garbage_for_an_identity(asking_app: App, provider: StandIn, body: bytes) -> None:
    provider.behaves("/me", raw(body))

    refused_trip(asking_app, provider)

    assert len(provider.sent_to("/revoke")) == 1


def test_f08_garbage_for_a_refresh(arrakis: Tenant, app: App, provider: StandIn) -> None:
    """What is stored stays, and what is not known here is refused in RFC 6749's words"""
    credential = arrakis.credential(app)
    before = read(arrakis, credential).json()

    for body in GARBAGE:
        provider.behaves("/token", raw(body))
        stored = read(arrakis, credential, force_refresh="true")
        unknown = app.token(grant_type="refresh_token", refresh_token="unknown")
        assert (stored.status_code, stored.json()["code"]) == (503, "provider_unavailable"), body
        assert (unknown.status_code, unknown.json()["error"]) == (503, "temporarily_unavailable"), body

    assert read(arrakis, credential).json() == before


def test_f08_garbage_for_a_revocation(app: App, provider: StandIn) -> None:
    for body, status in ((b"[", "400 No"), (b"null", "403 No"), (b"[" * 100_000, "404 No"), (b"<html>", "500 Oops")):
        provider.behaves("/revoke", raw(body, status=status))
        answer = revoked(app, "a-token")
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")


# ---- F09: an error with status 200 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "answer"),
    [
        ("standin", {"error": "invalid_grant"}),
        ("standin", {"error": "slow_down", "error_description": CANARY}),
        ("standin", {"error": ""}),
        ("standin", {"error": {"code": 7}}),
        ("standin-ok", {"ok": False, "error": "invalid_code"}),
        ("standin-ok", {"ok": "true"}),
        ("standin-ok", {"ok": None}),
        ("standin-ok", {}),
    ],
)
def test_f09_an_error_that_calls_itself_a_success(
    arrakis: Tenant, provider: StandIn, slug: str, answer: dict[str, Any]
) -> None:
    """Though there are tokens beside it"""
    provider.behaves("/token", answering_json(200, provider.tokens() | answer))

    refused_trip(arrakis.app(slug), provider)


def test_f09_a_success_that_says_so(arrakis: Tenant, provider: StandIn) -> None:
    app = arrakis.app("standin-ok")
    provider.behaves("/token", answering_json(200, provider.tokens() | {"ok": True, "error": None}))

    assert app.exchanged(app.code()).status_code == 200


def test_f09_a_refresh_whose_answer_is_an_error_with_status_200(arrakis: Tenant, provider: StandIn) -> None:
    credential = arrakis.credential()
    provider.behaves("/token", answering_json(200, provider.tokens() | {"error": "invalid_grant"}))

    answer = read(arrakis, credential, force_refresh="true")

    assert (answer.status_code, answer.json()["code"]) == (409, "needs_reauthorization")


# ---- F10: forms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", [FORM, FORM.upper() + "; charset=utf-8", "Content-Type: text/plain"])
def test_f10_a_form(app: App, provider: StandIn, content_type: str) -> None:
    form = b"access_token=a%2Bb&expires_in=60&scope=read+write&user_id=u1&refresh_token=r1&token_type=bearer"
    provider.behaves("/token", raw(form, content_type))

    answer = app.exchanged(app.code()).json()

    told = {name: answer[name] for name in ("access_token", "refresh_token", "expires_in", "scope")}
    assert told["expires_in"] in range(50, 61)
    assert told | {"expires_in": 60} == {
        "access_token": "a+b", "refresh_token": "r1", "expires_in": 60, "scope": "read write",
    }  # fmt: skip


@pytest.mark.parametrize(
    "form", [b"error=invalid_grant", b"error=x&access_token=t1&user_id=u1", b"access_token=&user_id=u1"]
)
def test_f10_a_form_that_is_a_refusal(app: App, provider: StandIn, form: bytes) -> None:
    provider.behaves("/token", raw(form, FORM))

    refused_trip(app, provider)


def test_f10_a_form_that_says_it_is_json(app: App, provider: StandIn) -> None:
    """The content type decides, and nothing is guessed"""
    provider.behaves("/token", raw(b"access_token=t1&user_id=u1", JSON))

    refused_trip(app, provider)


# ---- F11, F12: tokens and lifetimes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token", [..., "", None, 7, True, ["t"], {"t": 1}, "a\r\nb", "a\x00b", "a b", "é", "\x7f", "a" * 65_537]
)
def test_f11_a_bad_access_token(app: App, provider: StandIn, token: Any) -> None:
    provider.behaves("/token", answering_json(200, provider.tokens(access_token=token)))

    refused_trip(app, provider)


def test_f11_the_longest_access_token(app: App, provider: StandIn) -> None:
    longest = "a" * 65_536
    provider.behaves("/token", answering_json(200, provider.tokens(access_token=longest)))

    assert app.exchanged(app.code()).json()["access_token"] == longest


@pytest.mark.parametrize("token", ["", None, 7, ["r"], "a\r\nb", "a\x00b", "r" * 65_537])
def test_f11_a_bad_refresh_token_is_none(app: App, provider: StandIn, token: Any) -> None:
    provider.behaves("/token", answering_json(200, provider.tokens(refresh_token=token)))

    assert "refresh_token" not in app.exchanged(app.code()).json()


def test_f11_a_refresh_with_a_bad_access_token(arrakis: Tenant, provider: StandIn) -> None:
    """The one that is there goes on being served"""
    credential = arrakis.credential()
    before = read(arrakis, credential).json()
    provider.behaves("/token", answering_json(200, provider.tokens(access_token="a\nb", refresh_token=...)))

    answer = read(arrakis, credential, force_refresh="true")

    assert (answer.status_code, answer.json()["code"]) == (503, "provider_unavailable")
    assert read(arrakis, credential).json() == before


TEN_YEARS = 315_360_000


@pytest.mark.parametrize(
    ("expires_in", "told"),
    [
        (3600, 3600), ("3600", 3600), (3600.0, 3600), (1e18, TEN_YEARS), ("9" * 400, None), (10**300, TEN_YEARS),
        (0, None), (-1, None), (None, None), (..., None), ("never", None), (True, None), ({}, None), ("1e400", None),
    ],
)  # fmt: skip
def test_f12_an_odd_lifetime(app: App, provider: StandIn, expires_in: Any, told: int | None) -> None:
    """It is served, stored and read again without harm, and nothing lives longer than ten years"""
    provider.user_id = f"odd-{expires_in!r}"[:50]
    provider.behaves("/token", answering_json(200, provider.tokens(expires_in=expires_in)))

    answer = app.exchanged(app.code()).json()

    assert answer.get("expires_in") is None if told is None else told - 10 < answer["expires_in"] <= told
    credential = app.tenant.made("/v1/credentials", answer["credential"])["id"]
    shown = read(app.tenant, credential)
    assert shown.status_code == 200
    assert shown.json()["access_token"] == answer["access_token"]


# ---- F13: what is sent twice -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behaviour",
    [
        answering("503 Later", "Retry-After: 0"),
        answering("429 Slow", "Retry-After: 0"),
        answering("500 Oops"),
        answering("408 Timeout", "Retry-After: 0"),
        answering("425 Too Early", "Retry-After: 0"),
        lambda visit, _: visit.reset(),
        lambda visit, _: visit.send(b"HTTP/1.1"),
        lambda visit, _: visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"),
    ],
)
def test_f13_a_code_is_sent_once(app: App, provider: StandIn, behaviour: Behaviour) -> None:
    provider.behaves("/token", behaviour)
    trip = app.started(state="s1")

    answer = trip.approved()

    assert answer.headers["Location"].startswith(f"{app.redirect_uri}?error=")
    assert_page(trip.approved())  # nor does the end user's reload
    assert len(provider.sent_to("/token")) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_f13_whoever_asks_for_patience_gets_it(arrakis: Tenant, provider: StandIn, status: int) -> None:
    """The code is the end user's trip; a refresh waits as long as it was told to, whoever asks"""
    app = arrakis.app()
    credential = arrakis.credential(app)
    with psycopg.connect(arrakis.gateway.database_uri, autocommit=True) as connection:
        connection.execute(
            "UPDATE credentials_token SET expires_at = now() - interval '1 minute' WHERE credential_id = %s",
            [credential],
        )
    provider.forget()
    provider.behaves("/token", answering(f"{status} Later", "Retry-After: 600"))

    answers = [read(arrakis, credential) for _ in range(3)]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(503, "provider_unavailable")] * 3
    assert all(600 <= int(answer.headers["Retry-After"]) <= 800 for answer in answers)
    assert len(provider.sent_to("/token")) == 1
    provider.forget()
    provider.behaves("/token", answering(f"{status} Later", "Retry-After: 600"))
    refused_trip(arrakis.app(), provider, "temporarily_unavailable")


# ---- F16, E12: what is sent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["\r\nX-Injected: 1", "\n", "\r", "\x00", "\x1b", "\x7f"])
def test_f16_a_line_break_in_what_is_sent(arrakis: Tenant, provider: StandIn, character: str) -> None:
    good = {"provider": "standin", "name": "App", "client_id": "client-1", "client_secret": "secret-1"}
    app = arrakis.app()
    stripe = {"kind": "stripe_key", "secret": "sk_test_1", "test": True}
    password = {"kind": "servicenow_password", "instance": "acme", "username": "u", "password": "p"}

    for name in ("client_id", "client_secret"):
        wrong = good | {name: f"{good[name]}{character}z"}
        assert_named(arrakis.call("POST", "/v1/oauth-apps", wrong), name)
        if name == "client_secret":
            assert_named(arrakis.call("PATCH", f"/v1/oauth-apps/{app.id}", {name: wrong[name]}), name)
    for properties, name in ((stripe, "secret"), (password, "username"), (password, "password")):
        wrong_properties = properties | {name: f"{properties[name]}{character}z"}
        assert_named(arrakis.call("POST", "/v1/credentials", {"properties": wrong_properties}), "")
    oauth = {"kind": "standin_oauth2", "access_token": f"t{character}z", "user_id": "u1"}
    assert_named(arrakis.call("POST", "/v1/credentials", {"properties": oauth, "oauth_app_id": app.id}), "")
    oauth = {"kind": "standin_oauth2", "access_token": "t", "refresh_token": f"r{character}z", "user_id": "u1"}
    assert_named(arrakis.call("POST", "/v1/credentials", {"properties": oauth, "oauth_app_id": app.id}), "")

    assert provider.asked == []


def assert_named(answer: requests.Response, name: str) -> None:
    """422, in JSON, that names the field."""
    assert answer.status_code == 422, answer.text
    assert name in "".join(answer.json()["validation_errors"])


def test_f16_what_a_browser_brings_makes_no_header(app: App, provider: StandIn) -> None:
    """The code of the callback is sent in a body, whatever stands in it"""
    trip = app.started()

    answer = trip.approved(code="a\r\nX-Injected: 1")

    assert answer.status_code == 302
    (sent,) = provider.sent_to("/token")
    assert sent.form["code"] == "a\r\nX-Injected: 1"
    assert "x-injected" not in sent.headers


@pytest.mark.parametrize("slug", ["standin", "standin-asks"])
def test_e12_secrets_stand_in_a_body_or_in_one_header(arrakis: Tenant, provider: StandIn, slug: str) -> None:
    """Exchange, identity, refresh, revocation: no secret in a URL, nor in any header but Authorization"""
    app = arrakis.app(slug)
    provider.behaves("/me", answering_json(200, {"id": "u1"}))
    credential = arrakis.credential(app)
    token = read(arrakis, credential, force_refresh="true").json()["access_token"]
    secrets = [str(app.client_secret), token]
    pair = base64.b64encode(f"{arrakis.call('GET', f'/v1/oauth-apps/{app.id}').json()['client_id']}:".encode())[:12]

    assert arrakis.call("DELETE", f"/v1/credentials/{credential}").status_code == 200

    secrets += [form[name] for form in (sent.form for sent in provider.requests) for name in FORM_SECRETS & form.keys()]
    paths = [sent.target for sent in provider.requests]
    assert paths == ["/token", *(["/me"] if slug == "standin-asks" else []), "/token", "/revoke"]
    for sent in provider.requests:
        headers = {name: value for name, value in sent.headers.items() if name != "authorization"}
        assert not [secret for secret in secrets if secret in f"{sent.target}{headers}"]
        assert pair.decode() in sent.headers["authorization"] or sent.path == "/me"
        assert (app.client_secret or "") not in sent.body.decode()  # it stands in the header


FORM_SECRETS = {"code", "refresh_token", "code_verifier", "token"}


# ---- F17: cookies ----------------------------------------------------------------------------------------------------


def test_f17_a_cookie_is_kept_by_nobody(arrakis: Tenant, harkonnen: Tenant, provider: StandIn) -> None:
    """Not for the same account's next call, nor for another account's"""
    cookie = "Set-Cookie: session=canary; Path=/; Max-Age=86400"
    provider.behaves("/token", raw(json.dumps(provider.tokens()).encode(), JSON, cookie))
    provider.behaves("/me", raw(b'{"id": "u1"}', JSON, cookie))
    for tenant in (arrakis, harkonnen, arrakis):
        app = tenant.app("standin-asks")
        answer = app.started().approved()
        assert answer.status_code == 302
        assert "canary" not in str(answer.headers)

    assert len(provider.requests) == 6
    assert [sent.path for sent in provider.requests if "cookie" in sent.headers] == []


# ---- F19: nothing that a provider wrote ------------------------------------------------------------------------------

WORDS: dict[str, Behaviour] = {
    "html": raw(f"<h1>{CANARY}</h1>".encode(), "Content-Type: text/html"),
    "refusal": answering_json(400, {"error": "invalid_grant", "error_description": CANARY, "error_uri": CANARY}),
    "unknown code": answering_json(400, {"error": CANARY}),
    "wrong secret": answering_json(401, {"error": "invalid_client", "error_description": CANARY}),
    "outage": raw(CANARY.encode(), f"X-Words: {CANARY}", status=f"503 {CANARY}"),
    "redirect": raw(CANARY.encode(), f"Location: https://{CANARY}.example/", status=f"302 {CANARY}"),
    "broken": lambda visit, _: visit.send(CANARY.encode(), b"\r\n\r\n"),
    "bad header": lambda visit, _: visit.send(b"HTTP/1.1 200 OK\r\n", CANARY.encode(), b"\r\n\r\n", CANARY.encode()),
}


@pytest.mark.parametrize("words", WORDS)
def test_f19_a_providers_words_are_shown_to_nobody(arrakis: Tenant, provider: StandIn, words: str) -> None:
    """Not at the redirect URI, in diagnostics, by /token and /revoke, or by health, checks and reads in /v1"""
    app = arrakis.app()
    credential = arrakis.credential(app)
    for path in ("/token", "/revoke"):
        provider.behaves(path, WORDS[words])
    back, page = app.started(), app.started(debug="true")

    shown = [
        back.approved(),
        page.approved(),
        read(arrakis, credential, force_refresh="true"),
        app.token(grant_type="refresh_token", refresh_token="unknown"),
        revoked(app, "unknown"),
        arrakis.call("POST", f"/v1/oauth-apps/{app.id}/check"),
        arrakis.call("POST", f"/v1/credentials/{credential}/check"),
        arrakis.call("GET", f"/v1/oauth-apps/{app.id}"),
        arrakis.call("GET", f"/v1/credentials/{credential}"),
    ]

    assert shown[0].status_code == 302
    assert_page(shown[1])
    assert [answer.status_code for answer in shown if answer.status_code == 500] == []
    assert [answer.text + str(answer.headers) for answer in shown if CANARY in answer.text + str(answer.headers)] == []
    assert len(provider.sent_to("/token")) >= 4
    assert CANARY not in arrakis.gateway.log.read_text()


def test_f19_nor_are_the_words_of_a_callback(app: App, browser: Browser) -> None:
    for debug in ("", "true"):
        trip: Started = app.started(browser, debug=debug)
        answer = trip.callback(state=trip.state, error=CANARY, error_description=CANARY, error_uri=CANARY)
        assert CANARY not in answer.text.replace(trip.state, "") + str(answer.headers)
