"""An account of a gateway, and what its developer and his end users do over HTTP."""

import select
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import psycopg
import requests

from oauth_apps import api_tokens
from sequin_auth.lib.encryption import digest
from tests.real.gateway import Gateway

REDIRECT_URI = "https://developer.example.com/back/:provider"  # nobody calls it: there a trip is over
TIMEOUT = 30


@dataclass
class Browser:
    """An end user's: it keeps cookies, and follows nothing."""

    gateway: Gateway
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False

    def get(self, url: str, **more: Any) -> requests.Response:
        """`url`: whole, or a path of the gateway."""
        return self.request("GET", url, **more)

    def post(self, url: str, form: Mapping[str, str], **more: Any) -> requests.Response:
        return self.request("POST", url, data=form, **more)

    def request(self, method: str, url: str, **more: Any) -> requests.Response:
        whole = f"{self.gateway.url}{url}" if url.startswith("/") else url
        answer = self.session.request(method, whole, allow_redirects=False, timeout=TIMEOUT, **more)
        self.session.close()  # the connection: the server gives it up after two seconds, be it just when it is used
        return answer


@dataclass(frozen=True)
class Tenant:
    """`api_token`: one with all scopes."""

    gateway: Gateway
    id: str
    name: str
    api_token: str = field(repr=False)

    def call(self, method: str, path: str, body: object = None, **more: Any) -> requests.Response:
        """`/v1` as this account."""
        headers = {"Authorization": f"Bearer {self.api_token}"} | more.pop("headers", {})
        extra = more if "data" in more else {"json": body, **more}
        return requests.request(
            method, f"{self.gateway.url}{path}", headers=headers, allow_redirects=False, timeout=TIMEOUT, **extra
        )

    def made(self, path: str, body: object) -> dict[str, Any]:
        """What `POST path` has made."""
        answer = self.call("POST", path, body)
        assert answer.status_code in {200, 201}, f"{answer.status_code} {answer.text}"
        document: dict[str, Any] = answer.json()
        return document

    def app(self, provider: str = "standin", **more: Any) -> "App":
        secret = None if more.get("client_secret", "") is None else f"secret-{uuid.uuid4().hex}"
        body = {"provider": provider, "name": f"{provider} app", "client_id": f"client-{uuid.uuid4().hex[:12]}"}
        made = self.made("/v1/oauth-apps", body | {"client_secret": secret} | more)
        return App(self, made["id"], provider, more.get("client_secret", secret), made["callback_url"])

    def another_token(self, *scopes: str) -> str:
        return issue_token(self.gateway, self.id, *scopes)

    def credential(self, app: "App | None" = None) -> str:
        """The id of one that came by a whole trip."""
        app = app or self.app()
        return str(self.made("/v1/credentials", app.exchanged(app.code()).json()["credential"])["id"])

    def key(self) -> str:
        """The id of one that nobody was asked for."""
        properties = {"kind": "stripe_key", "secret": f"sk_{uuid.uuid4().hex}"}
        return str(self.made("/v1/credentials", {"properties": properties})["id"])

    def sync(self, credential: str) -> dict[str, Any]:
        """With a credential that is a key."""
        body = {"provider": "stripe", "name": "n", "collection_ids": ["stripe:customer"], "credential_id": credential}
        return self.made("/v1/syncs", body)


@dataclass(frozen=True)
class App:
    """An OAuth app. `callback_url`: where the provider sends end users, as the API shows it."""

    tenant: Tenant
    id: str
    provider: str
    client_secret: str | None = field(repr=False)
    callback_url: str

    @property
    def redirect_uri(self) -> str:
        return REDIRECT_URI.replace(":provider", self.provider)

    def start_url(self, **params: str) -> str:
        """What is changed or added by `params`; what is None there is left out."""
        query = {"client_id": self.id, "redirect_uri": self.redirect_uri} | params
        kept = {name: value for name, value in query.items() if value is not None}
        return f"{self.tenant.gateway.url}/link/oauth2/start?{urlencode(kept)}"

    def started(self, browser: Browser | None = None, /, **params: str) -> "Started":
        """A trip as far as the provider."""
        browser = browser or Browser(self.tenant.gateway)
        answer = browser.get(self.start_url(**params))
        assert answer.status_code == 302, f"{answer.status_code} {answer.text}"
        return Started(self, browser, answer.headers["Location"])

    def code(self, browser: Browser | None = None, /, **params: str) -> str:
        """Ours, at the end of a trip whose end user has approved."""
        return query_of(self.started(browser, **params).approved().headers["Location"])["code"]

    def token(self, **body: str | None) -> requests.Response:
        """`POST /link/oauth2/token` with the app's own pair, unless `body` says otherwise (None: leave it out)."""
        pair = {"client_id": self.id, "client_secret": self.client_secret}
        form = {name: value for name, value in (pair | body).items() if value is not None}
        return requests.post(
            f"{self.tenant.gateway.url}/link/oauth2/token", form, allow_redirects=False, timeout=TIMEOUT
        )

    def exchanged(self, code: str, **body: str | None) -> requests.Response:
        return self.token(grant_type="authorization_code", code=code, **body)


@dataclass(frozen=True)
class Started:
    """A trip that is at the provider. `location`: where our start has sent the browser."""

    app: App
    browser: Browser
    location: str

    @property
    def sent(self) -> dict[str, str]:
        return query_of(self.location)

    @property
    def state(self) -> str:
        return self.sent["state"]

    def callback(self, browser: Browser | None = None, /, *, url: str = "", **params: str) -> requests.Response:
        """The provider sends the browser back with `params`; `url`: not to where it was asked to."""
        url = url or self.sent["redirect_uri"]
        return (browser or self.browser).get(f"{url}?{urlencode(params)}")

    def approved(self, browser: Browser | None = None, /, **params: str) -> requests.Response:
        return self.callback(browser, **{"code": f"pc-{uuid.uuid4().hex}", "state": self.state} | params)


def query_of(url: str) -> dict[str, str]:
    """A repeated name fails the test."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs), url
    return dict(pairs)


def new_tenant(gateway: Gateway, name: str) -> Tenant:
    """By SQL, since a command would take a second; with a redirect URI for every provider."""
    account = str(uuid.uuid4())
    sql(gateway, "INSERT INTO oauth_apps_account (id, name, created_at) VALUES (%s, %s, now())", account, name)
    tenant = Tenant(gateway, account, name, issue_token(gateway, account, *api_tokens.SCOPES))
    tenant.made("/v1/redirect-uris", {"redirect_uri": REDIRECT_URI})
    return tenant


def issue_token(gateway: Gateway, account: str, *scopes: str) -> str:
    text = api_tokens.new_token()
    gateway.canaries.add("API token", text)
    statement = (
        "INSERT INTO oauth_apps_apitoken (id, account_id, name, prefix, token_hash, scopes, created_at)"
        " VALUES (%s, %s, 'of a test', %s, %s, to_jsonb(%s::text[]), now())"
    )
    sql(gateway, statement, uuid.uuid4(), account, text[:12], digest(text), list(scopes))
    return text


def sql(gateway: Gateway, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Behind the curtain: what a statement returns, if it returns rows."""
    cursor = connection_to(gateway.database_uri).execute(statement.encode(), values)
    return cursor.fetchall() if cursor.description else []


KEPT: dict[str, psycopg.Connection[tuple[Any, ...]]] = {}


def connection_to(uri: str) -> psycopg.Connection[tuple[Any, ...]]:
    """One for all statements, since for each connection the server starts a process; a new one if that was lost."""
    kept = KEPT.get(uri)
    if kept is None or kept.closed or select.select([kept], [], [], 0)[0]:  # whoever is not asked says only goodbye
        KEPT[uri] = kept = psycopg.connect(uri, autocommit=True, prepare_threshold=None)
    return kept


def assert_page(answer: requests.Response, status: int = 400) -> None:
    """A page that ends the trip: HTML, no redirect, not to be kept."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Location" not in answer.headers


def assert_back(answer: requests.Response, app: App, error: str, state: str | None = None) -> None:
    """Back at the developer's redirect URI with `error`."""
    assert answer.status_code == 302, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["Location"].partition("?")[0] == app.redirect_uri
    query = query_of(answer.headers["Location"])
    assert (query["error"], query.get("state")) == (error, state)
    assert "code" not in query
