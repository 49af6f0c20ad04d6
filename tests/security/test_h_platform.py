"""A20, A22 to A24, D08, D09, H03 to H06, H10, H11, H14: what every answer has, whoever asks and however."""

import http.client
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import requests

from oauth_apps.api_tokens import SCOPES
from sequin_auth.processes import Processes
from tests.real.gateway import Gateway
from tests.real.machine import BASE_DIR
from tests.security.conftest import NewGateway
from tests.security.member import LOGIN, PASSWORD, csrf_token, new_member, signed_in
from tests.security.pages import problems_of
from tests.security.stand_in import StandIn
from tests.security.tenant import REDIRECT_URI, App, Browser, Tenant, issue_token, query_of, sql

NAME = "auth.example.com"
COUNTED = "SELECT count(*) FROM credentials_authorization WHERE oauth_app_id = %s"


@dataclass
class Behind:
    """A browser, as a gateway sees it through the proxy that ends TLS. It keeps all cookies, Secure ones too."""

    gateway: Gateway
    cookies: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, set[str]] = field(default_factory=dict)

    def request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any
    ) -> requests.Response:
        said = {
            "Host": NAME,
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": "203.0.113.7",
            "Referer": f"https://{NAME}/",
        }
        if self.cookies:
            said["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = requests.request(
            method,
            f"{self.gateway.address}{path}",
            headers=said | (headers or {}),
            allow_redirects=False,
            timeout=30,
            **more,
        )
        for line in answer.raw.headers.getlist("Set-Cookie"):
            first, *attributes = [part.strip() for part in line.split(";")]
            name, _, value = first.partition("=")
            self.cookies[name] = value
            self.attributes[name] = {one.lower() for one in attributes if not one.lower().startswith("expires=")}
        return answer

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.request("GET", path, **more)


AT_FIRST = ("auth_user", "oauth_apps_account", "oauth_apps_apitoken", "oauth_apps_membership")


@pytest.fixture(scope="module")
def new(gateway_with: NewGateway, processes: Processes) -> tuple[Gateway, list[Any]]:
    """Under an https name, behind a proxy on this machine; and which rows it had before anybody made any."""
    gateway = gateway_with(
        "deployed",
        PUBLIC_URL=f"https://{NAME}",
        ALLOWED_HOSTS=f"{NAME},127.0.0.1",
        TRUSTED_PROXIES="127.0.0.1",
        WEB_CONCURRENCY="1",
        DJANGO_SETTINGS_MODULE="sequin_auth.settings",  # without quick passwords
    )
    gateway.serve(processes)
    return gateway, [row for table in AT_FIRST for row in sql(gateway, f"SELECT * FROM {table}")]  # noqa: S608


@pytest.fixture(scope="module")
def deployed(new: tuple[Gateway, list[Any]]) -> Gateway:
    return new[0]


@pytest.fixture
def https(deployed: Gateway) -> Behind:
    return Behind(deployed)


def raw(gateway: Gateway, method: str, target: str, headers: dict[str, str] | None = None) -> tuple[int, Any, str]:
    """Without a client that puts the target in order: status, headers, body."""
    parts = urlsplit(gateway.address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.putrequest(method, target, skip_host="Host" in (headers or {}), skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode(errors="replace")
    finally:
        connection.close()


def client_id_of(https: Behind, account: str) -> tuple[str, str]:
    """An OAuth app of the account, made through the proxy: its id, and its callback URL as the API shows it."""
    headers = {"Authorization": f"Bearer {issue_token(https.gateway, account, *SCOPES)}"}
    body = {"provider": "standin", "name": "x", "client_id": "x", "client_secret": "a secret of it"}
    https.request("POST", "/v1/redirect-uris", headers=headers, json={"redirect_uri": REDIRECT_URI})
    made = https.request("POST", "/v1/oauth-apps", headers=headers | LIES_BEHIND, json=body).json()
    return made["id"], made["callback_url"]


def new_account(gateway: Gateway) -> str:
    statement = "INSERT INTO oauth_apps_account (id, name, created_at) VALUES (gen_random_uuid(), 'Caladan', now())"
    return str(sql(gateway, f"{statement} RETURNING id")[0][0])


def start_of(client_id: str) -> str:
    redirect_uri = REDIRECT_URI.replace(":provider", "standin")
    return f"/link/oauth2/start?{urlencode({'client_id': client_id, 'redirect_uri': redirect_uri})}"


@pytest.fixture(scope="module")
def app(arrakis: Tenant) -> App:
    return arrakis.app()


def pages_of(arrakis: Tenant, app: App) -> dict[str, requests.Response]:
    """One of each kind that people see without a login, by name."""
    browser = Browser(arrakis.gateway)
    asking = arrakis.app(name="asking")
    sql(arrakis.gateway, "UPDATE oauth_apps_oauthapp SET asks_first = true WHERE id = %s", asking.id)
    asked = browser.get(asking.start_url())
    assert (asked.status_code, 'action="/link/oauth2/continue"' in asked.text) == (200, True)
    sandbox = arrakis.app("stripe", environment="sandbox")
    consent = browser.get(sandbox.started(browser).location)
    zendesk = arrakis.app("zendesk", environment="sandbox")
    return {
        "unknown client": browser.get("/link/oauth2/start?client_id=x"),
        "diagnostics": browser.get(app.start_url(debug="true", scope='"><script>')),
        "callback": browser.get("/link/oauth2/callback/standin?state=x&code=y"),
        "callback of nobody": browser.get("/link/oauth2/callback/%3Cscript%3E"),
        "variables": browser.get(zendesk.start_url()),
        "asked first": asked,
        "ended": browser.get("/link/oauth2/ended"),
        "simulator": consent,
        "simulator refuses": browser.get("/sandbox/stripe/oauth/authorize?client_id=x"),
        "not found": browser.get("/nowhere"),
        "login": browser.get(LOGIN),
        "documentation": browser.get("/docs/"),
    }


CONSOLE = [
    "/admin/", "/admin/my-login/", "/admin/password_change/", "/admin/oauth_apps/oauthapp/",
    "/admin/oauth_apps/oauthapp/add/", "/admin/oauth_apps/oauthapp/add/?provider=standin",
    "/admin/oauth_apps/redirecturi/", "/admin/oauth_apps/redirecturi/add/", "/admin/oauth_apps/apitoken/",
    "/admin/oauth_apps/apitoken/add/", "/admin/oauth_apps/membership/", "/admin/oauth_apps/auditevent/",
    "/admin/credentials/credential/", "/admin/credentials/credential/connect/",
    "/admin/credentials/credential/export/", "/admin/credentials/authorization/", "/admin/nowhere/",
    "/admin/search/?s=a",
]  # fmt: skip


# ---- A20: the Host and its friends -----------------------------------------------------------------------------------

LIES = {
    "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "666",
    "X-Forwarded-Server": "evil.example", "Forwarded": "host=evil.example;proto=http;for=evil.example",
    "X-Original-URL": "/admin/", "X-Rewrite-URL": "/admin/", "X-Host": "evil.example",
    "X-Original-Host": "evil.example", "X-Forwarded-Prefix": "/evil.example", "X-Script-Name": "/evil.example",
    "Origin": "https://evil.example", "Referer": "https://evil.example/",
}  # fmt: skip
LIES_BEHIND = {name: value for name, value in LIES.items() if name != "X-Forwarded-Proto"}  # which the proxy sets


@pytest.mark.parametrize("host", ["evil.example", "evil.example:443", "127.0.0.1.evil.example", "localhost", "a b", ""])
def test_a20_a_host_that_is_not_ours_is_answered_nothing(
    gateway: Gateway, app: App, provider: StandIn, host: str
) -> None:
    target = f"/link/oauth2/start?{urlsplit(app.start_url()).query}"
    before = sql(gateway, COUNTED, app.id)

    paths = (
        target, "/", "/v1/oauth-apps", "/v1/openapi.json", "/.well-known/oauth-authorization-server", "/docs", "/docs/",
        LOGIN, "/admin/", "/link/oauth2/callback/standin?state=x&code=y", "/link/oauth2/token", "/link/oauth2/ended",
        "/sandbox/stripe/oauth/authorize", "/providers/stripe/logo.svg", "/nowhere",
    )  # fmt: skip

    for path in paths:
        status, headers, body = raw(gateway, "GET", path, {"Host": host})
        assert status == 400, path
        assert "Location" not in headers, path
        assert "evil.example" not in f"{headers}{body}"
    after = sql(gateway, COUNTED, app.id)
    assert (after, provider.asked) == (before, [])


def test_a20_no_header_changes_a_url(arrakis: Tenant, app: App, browser: Browser) -> None:
    gateway = arrakis.gateway
    sent = query_of(browser.get(app.start_url(), headers=LIES).headers["Location"])
    assert sent["redirect_uri"] == f"{gateway.url}/link/oauth2/callback/standin" == app.callback_url
    metadata = browser.get("/.well-known/oauth-authorization-server", headers=LIES).json()
    links = [value for value in metadata.values() if isinstance(value, str)]
    assert links
    assert all(link.startswith(gateway.url) for link in links)
    body = {"oauth_app_id": app.id, "redirect_url": app.redirect_uri}
    made = arrakis.call("POST", "/v1/credentials/start-auth", body, headers=LIES)
    assert made.json()["start_url"].startswith(f"{gateway.url}/link/oauth2/start/")
    assert arrakis.call("GET", f"/v1/oauth-apps/{app.id}", headers=LIES).json()["callback_url"] == app.callback_url
    for path in ("/", "/admin/", "/admin/oauth_apps/oauthapp/", "/docs"):
        answer = browser.get(path, headers=LIES)
        assert answer.headers["Location"].startswith("/")
        assert "evil" not in answer.headers["Location"]


def test_a20_behind_a_proxy_neither(deployed: Gateway, https: Behind) -> None:
    client_id, callback_url = client_id_of(https, new_account(deployed))

    answer = https.get(start_of(client_id), headers=LIES_BEHIND)

    assert callback_url == f"https://{NAME}/link/oauth2/callback/standin"
    assert query_of(answer.headers["Location"])["redirect_uri"] == callback_url
    plain = https.get("/admin/login/", headers=LIES_BEHIND | {"X-Forwarded-Proto": "http"})
    assert (plain.status_code, plain.headers["Location"]) == (301, f"https://{NAME}/admin/login/")


def test_a20_only_a_trusted_proxy_says_who_the_visitor_is(deployed: Gateway, https: Behind, gateway: Gateway) -> None:
    """The address is what guessing is counted by; it stands in the log."""

    def client(answer: requests.Response, of: Gateway) -> str:
        wanted = f'"request_id": "{answer.headers["X-Request-Id"]}"'
        [line] = [line for line in of.log.read_text().splitlines() if wanted in line and '"event": "request"' in line]
        return str(json.loads(line)["client"])

    assert client(https.get("/healthz"), deployed) == "203.0.113.7"
    forged = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7", "X-Real-IP": "198.51.100.1", "Client-IP": "198.51.100.1"}
    assert client(https.get("/healthz", headers=forged), deployed) == "203.0.113.7"
    assert client(Browser(gateway).get("/healthz", headers=forged), gateway) == "127.0.0.1"


# ---- A22, A23: what a page of the trip tells others ------------------------------------------------------------------


def test_a22_no_referrer_no_cache_nothing_from_elsewhere(arrakis: Tenant, app: App) -> None:
    pages = pages_of(arrakis, app)
    on_link = {name: page for name, page in pages.items() if "/link/" in page.url}
    assert len(on_link) >= 6
    on_link["start"] = Browser(arrakis.gateway).get(app.start_url())
    started = app.started()
    on_link["back"] = started.approved()
    on_link["refused"] = app.started().callback(state="x", error="access_denied")
    on_link["token"] = app.token(code="x")
    on_link["head"] = Browser(arrakis.gateway).request("HEAD", app.start_url())
    on_link["too long"] = Browser(arrakis.gateway).get(app.start_url(state="x" * 9000))

    for name, page in on_link.items():
        assert page.headers["Cache-Control"] == "no-store", name
        assert page.headers["Referrer-Policy"] == "no-referrer", name
        assert problems_of(page.text) == [], name
    for name, page in pages.items():
        assert [problem for problem in problems_of(page.text, is_console=True) if "loads from" in problem] == [], name


def test_a23_no_page_is_framed(arrakis: Tenant, app: App) -> None:
    member = signed_in(arrakis)
    pages = pages_of(arrakis, app) | {path: member.get(path) for path in CONSOLE}
    pages["start"] = Browser(arrakis.gateway).get(app.start_url())
    pages["JSON"] = arrakis.call("GET", "/v1/oauth-apps")

    for name, page in pages.items():
        assert page.headers["X-Frame-Options"] == "DENY", name
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"], name


# ---- A24: looking is not starting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("GET", {"Sec-Purpose": "prefetch"}),
        ("GET", {"Sec-Purpose": "prefetch;prerender"}),
        ("GET", {"Purpose": "prefetch"}),
        ("GET", {"X-Moz": "prefetch"}),
    ],
)
def test_a24_looking_ahead_starts_nothing(
    arrakis: Tenant, app: App, browser: Browser, method: str, headers: dict[str, str]
) -> None:
    body = {"oauth_app_id": app.id, "redirect_url": app.redirect_uri}
    link = arrakis.made("/v1/credentials/start-auth", body)["start_url"]
    before = sql(arrakis.gateway, COUNTED, app.id)

    for url in (app.start_url(), link):
        answer = browser.request(method, url, headers=headers)
        assert answer.status_code < 500
        assert "Location" not in answer.headers
        assert not answer.raw.headers.getlist("Set-Cookie")

    assert sql(arrakis.gateway, COUNTED, app.id) == before
    assert browser.get(link).status_code == 302  # it is good once, and has not been used


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a24_a_start_is_a_get(arrakis: Tenant, app: App, browser: Browser, method: str) -> None:
    before = sql(arrakis.gateway, COUNTED, app.id)

    answer = browser.request(method, app.start_url())

    assert answer.status_code == 405
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) <= {"GET", "HEAD", "OPTIONS"}
    assert sql(arrakis.gateway, COUNTED, app.id) == before


# ---- D08, D09: a browser's authority ends at the console -------------------------------------------------------------


def test_d08_a_session_alone_is_nobody_at_the_api(arrakis: Tenant, app: App) -> None:
    browser = signed_in(arrakis, is_superuser=True)
    token = csrf_token(browser.get("/admin/my-login/").text)
    headers = {"X-CSRFToken": token, "Referer": arrakis.gateway.url, "Origin": arrakis.gateway.url}
    credential = arrakis.credential(app)
    asked = [
        ("GET", "/v1/oauth-apps"), ("POST", "/v1/oauth-apps"), ("DELETE", f"/v1/oauth-apps/{app.id}"),
        ("GET", f"/v1/credentials/{credential}/access-token"), ("GET", "/v1/credentials/export"),
        ("POST", f"/v1/credentials/{credential}/check"), ("DELETE", f"/v1/credentials/{credential}"),
    ]  # fmt: skip

    for method, path in asked:
        answer = browser.request(method, path, headers=headers, json={})
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.json()["code"] == "unauthorized"
    assert arrakis.call("GET", f"/v1/credentials/{credential}").status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1"])
def test_d09_no_page_of_another_origin_reads_an_answer(arrakis: Tenant, app: App, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST",
               "Access-Control-Request-Headers": "authorization, content-type"}  # fmt: skip
    browser = Browser(arrakis.gateway)
    answers = [
        *(browser.request("OPTIONS", path, headers=headers) for path in
          ("/v1/oauth-apps", f"/v1/oauth-apps/{app.id}", "/v1/credentials", "/link/oauth2/token", "/link/oauth2/revoke",
           "/link/oauth2/start", "/v1/openapi.json", "/admin/", "/healthz", "/.well-known/oauth-authorization-server")),
        arrakis.call("GET", "/v1/oauth-apps", headers={"Origin": origin}),
        arrakis.call("OPTIONS", "/v1/oauth-apps", headers=headers),
        browser.request("POST", "/link/oauth2/token", headers={"Origin": origin}, data={"client_id": app.id}),
    ]  # fmt: skip

    for answer in answers:
        assert answer.status_code < 500
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


# ---- H03: cookies over https -----------------------------------------------------------------------------------------


def test_h03_over_https_cookies_are_secure_and_of_this_host_alone(deployed: Gateway, https: Behind) -> None:
    name = new_member(Tenant(deployed, account := new_account(deployed), "Caladan", ""))
    form = {"username": name, "password": PASSWORD, "csrfmiddlewaretoken": csrf_token(https.get(LOGIN).text)}
    assert https.request("POST", LOGIN, data=form).status_code == 302
    assert https.get("/admin/").status_code == 200
    [(hashed,)] = sql(deployed, "SELECT password FROM auth_user WHERE username = %s", name)
    assert int(hashed.split("$")[1]) >= 1_000_000  # the login has replaced what the quick ones of these tests are
    assert https.get(start_of(client_id_of(https, account)[0])).status_code == 302

    kinds = {re.sub(r"[0-9a-f]{8}$", "…", name): attributes for name, attributes in https.attributes.items()}

    assert set(kinds) == {"__Host-sessionid", "__Host-csrftoken", "__Host-link_…"}
    for attributes in kinds.values():
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes
        assert not [one for one in attributes if one.startswith("domain")]


def test_h03_over_plain_http_there_is_no_page_and_no_cookie(https: Behind) -> None:
    for path in (LOGIN, "/admin/", "/link/oauth2/start?client_id=x"):
        answer = https.get(path, headers={"X-Forwarded-Proto": "http"})
        assert answer.status_code == 301
        assert answer.headers["Location"] == f"https://{NAME}{path}"
    assert https.cookies == {}


# ---- H04, H05: headers of every answer -------------------------------------------------------------------------------


def policy(answer: requests.Response) -> dict[str, set[str]]:
    parts = [part.split() for part in answer.headers["Content-Security-Policy"].split(";")]
    return {name: set(values) for name, *values in parts}


def test_h04_what_end_users_see_runs_nothing(arrakis: Tenant, app: App) -> None:
    for name, page in pages_of(arrakis, app).items():
        rules = policy(page)
        assert rules["default-src"] == {"'none'"}, name
        assert (rules["frame-ancestors"], rules["base-uri"]) == ({"'none'"}, {"'none'"}), name
        assert rules["form-action"] in ({"'self'"}, {"'none'"}), name  # a page of plain links needs none
        if name == "login":
            continue
        assert rules.get("script-src", {"'self'"}) == {"'self'"}, name
        assert ("script-src" in rules) == (name == "documentation"), name
        assert rules["style-src"] == {"'self'"}, name
        assert problems_of(page.text) == [], name


def test_h04_the_console_alone_may_evaluate(arrakis: Tenant, app: App) -> None:
    member = signed_in(arrakis, is_superuser=True)
    paths = [*CONSOLE, f"/admin/oauth_apps/oauthapp/{app.id}/change/", f"/admin/oauth_apps/oauthapp/{app.id}/delete/",
             "/admin/auth/user/", "/admin/auth/user/add/", "/admin/axes/accessattempt/",
             "/admin/procrastinate/procrastinatejob/", "/admin/oauth_apps/account/",
             f"/admin/credentials/credential/{arrakis.credential(app)}/change/"]  # fmt: skip
    for path in [*paths, LOGIN]:
        page = Browser(arrakis.gateway).get(path) if path == LOGIN else member.get(path)
        assert page.status_code in {200, 404}, path
        rules = policy(page)
        assert (rules["default-src"], rules["base-uri"], rules["frame-ancestors"]) == ({"'none'"},) * 3, path
        assert rules.get("script-src", set()) <= {"'self'", "'unsafe-eval'"}, path
        assert rules["style-src"] <= {"'self'", "'unsafe-inline'"}, path
        assert rules["form-action"] == {"'self'"}, path
        assert problems_of(page.text, is_console=True) == [], path


def every_sort(arrakis: Tenant, app: App) -> dict[str, tuple[str, str, dict[str, str]]]:
    bearer = {"Authorization": f"Bearer {arrakis.api_token}"}
    start = f"/link/oauth2/start?{urlsplit(app.start_url()).query}"
    return {
        "page": ("GET", LOGIN, {}), "redirect": ("GET", start, {}), "refusal": ("GET", "/link/oauth2/start", {}),
        "JSON": ("GET", "/v1/oauth-apps", bearer), "no token": ("GET", "/v1/oauth-apps", {}),
        "token endpoint": ("POST", "/link/oauth2/token", {}), "not found": ("GET", "/nowhere", {}),
        "no such method": ("DELETE", "/healthz", {}), "alive": ("GET", "/healthz", {}), "ready": ("GET", "/readyz", {}),
        "static": ("GET", "/static/console.css", {}), "no static": ("GET", "/static/none.css", {}),
        "too long": ("GET", "/v1/oauth-apps?q=" + "x" * 9000, {}), "too long a page": ("GET", "/?q=" + "x" * 9000, {}),
        "metadata": ("GET", "/.well-known/oauth-authorization-server", {}), "OpenAPI": ("GET", "/v1/openapi.json", {}),
        "logo": ("GET", "/providers/stripe/logo.svg", {}), "wrong host": ("GET", "/admin/", {"Host": "evil.example"}),
    }  # fmt: skip


def test_h05_every_answer_has_its_headers(arrakis: Tenant, app: App) -> None:
    for name, (method, path, headers) in every_sort(arrakis, app).items():
        answer = Browser(arrakis.gateway).request(method, path, headers=headers)

        assert answer.status_code < 500, name
        assert answer.headers["X-Content-Type-Options"] == "nosniff", name
        assert answer.headers["Referrer-Policy"] in {"no-referrer", "same-origin"}, name
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin", name
        assert "camera=()" in answer.headers["Permissions-Policy"], name
        assert not re.search(r"\d", answer.headers["Server"]), name
        assert not {"X-Powered-By", "Via", "X-Django-Version"} & set(answer.headers), name
        assert "Strict-Transport-Security" not in answer.headers, name  # on loopback it would break other ports


def test_h05_over_https_browsers_are_told_to_stay_there(arrakis: Tenant, app: App, https: Behind) -> None:
    for name, (method, path, headers) in every_sort(arrakis, app).items():
        answer = https.request(method, path, headers=headers)
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload", name


# ---- H06 -------------------------------------------------------------------------------------------------------------


def test_h06_the_environment_of_the_server_leaves_nothing_to_complain_of(deployed: Gateway, tmp_path: Path) -> None:
    check = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    tmp_path.chmod(0o700)
    environment = deployed.environment | {"VAR_DIR": str(tmp_path), "PROVIDERS_DIR": "", "LOG_LEVEL": "ERROR",
                                          "ALLOWED_HOSTS": NAME, "EGRESS_ALLOW": ""}  # fmt: skip

    done = subprocess.run(check, cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr, done.stdout.count("issues")) == (0, "", 1)


def test_h06_debug_is_off_unless_somebody_turns_it_on(gateway: Gateway, https: Behind) -> None:
    assert "DEBUG" not in gateway.environment
    for answer in (Browser(gateway).get("/nowhere"), https.get("/nowhere")):
        assert answer.status_code == 404
        assert not re.search("DEBUG|urlpatterns|Traceback|sequin_auth", answer.text)


# ---- H10: methods ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "PROPFIND", "MKCOL", "BREW", "DEBUG", "get"])
def test_h10_a_method_that_is_none_of_ours_is_refused(arrakis: Tenant, app: App, method: str) -> None:
    bearer = {"Authorization": f"Bearer {arrakis.api_token}", "Cookie": "canary=canary-cookie"}
    paths = [
        f"/link/oauth2/start?{urlsplit(app.start_url()).query}", "/link/oauth2/callback/standin?state=x&code=y",
        "/link/oauth2/token", "/link/oauth2/revoke", "/link/oauth2/ended", "/link/oauth2/continue", "/v1/oauth-apps",
        f"/v1/oauth-apps/{app.id}", "/v1/credentials", "/v1/credentials/export", "/v1/openapi.json", LOGIN, "/admin/",
        "/admin/oauth_apps/oauthapp/", "/admin/login/code/", "/healthz", "/readyz", "/docs/", "/",
        "/static/console.css", "/providers/stripe/logo.svg", "/.well-known/oauth-authorization-server",
        "/sandbox/stripe/consent",
    ]  # fmt: skip

    for path in paths:
        status, _, body = raw(arrakis.gateway, method, path, bearer)
        assert status == 405 or (method == "get" and status in {400, 405}), (path, status)
        assert "canary-cookie" not in body
    assert arrakis.call("GET", f"/v1/oauth-apps/{app.id}").status_code == 200


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_h10_a_method_is_what_the_request_line_says(arrakis: Tenant, header: str) -> None:
    app = arrakis.app()
    path = f"/v1/oauth-apps/{app.id}"

    assert arrakis.call("GET", path, headers={header: "DELETE"}).json()["id"] == app.id
    assert arrakis.call("POST", path, {}, headers={header: "DELETE"}).status_code == 405
    assert arrakis.call("POST", f"{path}?_method=DELETE", {"_method": "DELETE"}).status_code == 405
    answer = requests.get(f"{arrakis.gateway.url}/link/oauth2/token", headers={header: "POST"}, timeout=30)
    assert answer.status_code == 405

    assert arrakis.call("GET", path).status_code == 200


# ---- H11 -------------------------------------------------------------------------------------------------------------


def test_h11_a_new_gateway_has_nobody_in_it(new: tuple[Gateway, list[Any]]) -> None:
    assert new[1] == []


# ---- H14: paths ------------------------------------------------------------------------------------------------------


def test_h14_no_path_leads_out_of_what_is_served(gateway: Gateway) -> None:
    up = [
        "..%2f",
        "../",
        "%2e%2e/",
        "..%5c",
        "..\\",
        "%2e%2e%2f",
        "....//",
        "..;/",
        "%252e%252e%252f",
        "/",
        "//",
        "%2f",
    ]
    files = ["manage.py", "sequin_auth/settings.py", "pyproject.toml", "var/development.env", "etc/passwd"]
    paths = [f"/static/{one * times}{file}" for one in up for times in (1, 2, 6) for file in files]
    paths += [
        "/.git", "/.git/", "/.git/config", "/.git/HEAD", "/.env", "/.venv/", "/var/development.env", "/development.env",
        "/media", "/media/", "/media/x", "/static", "/static/", "/static/.", "/static/..", "/manage.py",
        "/sequin_auth/settings.py", "/tests/settings.py", "/server-status", "/phpinfo.php", "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd", "/static/admin/../../manage.py", "/static/%00", "/static/console.css%00.html",
        "/providers/..%2f..%2fmanage.py/logo.svg", "/providers/../logo.svg", "/static/console.css/../../manage.py",
    ]  # fmt: skip

    for path in paths:
        status, _, body = raw(gateway, "GET", path)
        assert status == 404 or (status == 400 and "%00" in path), (path, status)
        assert not re.search("DJANGO_SETTINGS|SECRET_KEY|root:|requires-python|ref: refs", body), path
    assert raw(gateway, "GET", "/static/console.css")[0] == 200
