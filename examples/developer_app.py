"""
A developer's application, in one file: it lets its users connect their Stripe, Salesforce, HubSpot or Slack account.

Its OAuth client is Authlib's, as it is. It knows two URLs of the gateway, and for each OAuth app an id and a secret:

    python examples/developer_app.py var/example.json        # `make run` writes that file and starts this app

or, for one OAuth app, by the environment: GATEWAY, APP_URL, PROVIDER, CLIENT_ID, CLIENT_SECRET.
"""

import json
import os
import secrets
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from html import escape
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from requests import RequestException

COOKIE = "example_app_session"
SHOWN = 8  # characters of a token
IN_PLAIN_WORDS = {
    "access_denied": "You, or the provider, said no. Nothing was connected.",
    "temporarily_unavailable": "The provider took too long to answer. Try again in a moment.",
    "server_error": "Something went wrong at the provider. Try again in a moment.",
    "invalid_client": "The gateway does not accept this application's id and secret.",
    "invalid_grant": "The code is no longer good: it was used already, or it is too old. Connect again.",
    "invalid_request": "The gateway did not understand what this application asked for.",
    "mismatching_state": "This answer does not belong to anything that was begun in this browser. Connect again.",
    "unreachable": "The gateway does not answer. Is it running?",
}


# ---- the OAuth client ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class App:
    """An OAuth app that is registered at the gateway. `client_id` is its id there."""

    provider: str
    name: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True)
class Configuration:
    gateway: str
    url: str
    apps: dict[str, App]

    def client(self, app: App) -> Any:
        client = OAuth2Session(
            client_id=app.client_id,
            client_secret=app.client_secret,
            token_endpoint_auth_method="client_secret_post",
            redirect_uri=f"{self.url}/callback/{app.provider}",
            code_challenge_method="S256",
            default_timeout=30,
        )
        client.trust_env = False  # no proxy stands between this machine and itself
        return client

    def authorization_url(self, app: App, *, state: str, code_verifier: str) -> str:
        url, _ = self.client(app).create_authorization_url(
            f"{self.gateway}/link/oauth2/start", state=state, code_verifier=code_verifier
        )
        return str(url)

    def fetch_token(self, app: App, *, code: str, code_verifier: str) -> dict[str, Any]:
        return dict(
            self.client(app).fetch_token(f"{self.gateway}/link/oauth2/token", code=code, code_verifier=code_verifier)
        )


def configuration(arguments: list[str]) -> Configuration:
    if arguments:
        read = json.loads(Path(arguments[0]).read_text())
    else:
        names = {"provider": "PROVIDER", "client_id": "CLIENT_ID", "client_secret": "CLIENT_SECRET"}
        app = {key: os.environ[name] for key, name in names.items()}
        read = {
            "gateway": os.environ.get("GATEWAY", "http://127.0.0.1:8000"),
            "url": os.environ.get("APP_URL", "http://127.0.0.1:8001"),
            "apps": [app | {"name": app["provider"].title()}],
        }
    return Configuration(
        gateway=read["gateway"], url=read["url"], apps={app["provider"]: App(**app) for app in read["apps"]}
    )


# ---- sessions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trip:
    """What this browser has begun, and will be asked about when it returns."""

    provider: str
    code_verifier: str


@dataclass
class Session:
    trips: dict[str, Trip] = field(default_factory=dict)  # by state
    connections: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # name, masked token


class Sessions:
    """In memory, the newest thousand: this is an example."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, cookie: str) -> tuple[str, Session]:
        """The session of this cookie, or a new one under a new cookie."""
        with self._lock:
            if cookie not in self._sessions:
                cookie = secrets.token_urlsafe(32)
                self._sessions[cookie] = Session()
                while len(self._sessions) > 1000:
                    self._sessions.popitem(last=False)
            return cookie, self._sessions[cookie]


def masked(value: Any, name: str = "") -> Any:
    """The token endpoint's answer as it may be shown: of each token the beginning."""
    if isinstance(value, dict):
        return {key: masked(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [masked(member) for member in value]
    if isinstance(value, str) and name.endswith(("token", "secret")):
        return f"{value[:SHOWN]}…"
    return value


# ---- pages -----------------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    status: HTTPStatus
    body: str = ""
    location: str = ""
    content_type: str = "text/html; charset=utf-8"


def home(config: Configuration, session: Session) -> Answer:
    buttons = "".join(
        f'<a class="button" href="/connect/{escape(app.provider)}">Connect {escape(app.name)}</a>'
        for app in config.apps.values()
    )
    connections = "".join(connection(name, token) for name, token in reversed(session.connections))
    return page(
        "Acme Reports",
        f"<p>Acme Reports reads your business data. Where is it?</p><nav>{buttons}</nav>{connections}",
    )


def connection(name: str, token: dict[str, Any]) -> str:
    properties = token.get("credential", {}).get("properties", {})
    rows = "".join(
        f"<tr><th>{escape(key)}</th><td><code>{escape(as_text(value))}</code></td></tr>"
        for key, value in properties.items()
    )
    document = escape(json.dumps(token, indent=2, ensure_ascii=False))
    return (
        f'<section><h2><span class="tick">✓</span> {escape(name)} is connected</h2><table>{rows}</table>'
        f"<details open><summary>The token endpoint's answer</summary><pre>{document}</pre></details></section>"
    )


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def problem(error: str, description: str = "") -> Answer:
    words = IN_PLAIN_WORDS.get(error, "The account could not be connected.")
    detail = f'<p class="soft"><code>{escape(error)}</code> {escape(description)}</p>'
    body = f'<p>{escape(words)}</p>{detail}<nav><a class="button" href="/">Back</a></nav>'
    answer = page("Not connected", body)
    answer.status = HTTPStatus.BAD_REQUEST
    return answer


def page(title: str, body: str) -> Answer:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    style = '<link rel="stylesheet" href="/style.css">'
    document = f'<!doctype html><html lang="en"><head>{head}{style}</head><body><main><h1>{escape(title)}</h1>{body}'
    return Answer(HTTPStatus.OK, f"{document}</main></body></html>")


def redirect(location: str) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, location=location)


STYLE = """
:root { color-scheme: light dark; --paper: #f6f5f1; --card: #fff; --ink: #1c1917; --soft: #57534e; --line: #d6d3d1;
  --mark: #0f766e; --on-mark: #fff; }
@media (prefers-color-scheme: dark) { :root { --paper: #0c0a09; --card: #1c1917; --ink: #f5f5f4; --soft: #a8a29e;
  --line: #44403c; --mark: #5eead4; --on-mark: #042f2e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.6 system-ui, sans-serif; }
main { max-width: 50rem; margin: 8vh auto; padding: 2rem; }
h1 { margin: 0; font-size: 1.75rem; } h2 { margin: 0 0 .75rem; font-size: 1.05rem; }
nav { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.5rem 0 2rem; }
.button { padding: .65rem 1.25rem; border-radius: 8px; background: var(--mark); color: var(--on-mark);
  font-weight: 600; text-decoration: none; }
:focus-visible { outline: 3px solid var(--mark); outline-offset: 3px; }
section { margin-top: 1rem; padding: 1.25rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; }
.tick { color: var(--mark); } .soft { color: var(--soft); font-size: .9rem; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; }
th, td { padding: .35rem .5rem; border-top: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 500; color: var(--soft); white-space: nowrap; width: 1%; padding-right: 2rem; }
code, pre { font: .85rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
summary { margin-top: .75rem; cursor: pointer; color: var(--soft); }
"""


# ---- the server ------------------------------------------------------------------------------------------------------


def respond(config: Configuration, session: Session, path: str, query: dict[str, list[str]]) -> Answer:
    match path.strip("/").split("/"):
        case [""]:
            return home(config, session)
        case ["style.css"]:
            return Answer(HTTPStatus.OK, STYLE, content_type="text/css; charset=utf-8")
        case ["connect", provider] if provider in config.apps:
            return connect(config, session, config.apps[provider])
        case ["callback", provider] if provider in config.apps:
            return returned(config, session, config.apps[provider], {name: values[0] for name, values in query.items()})
        case _:
            return Answer(HTTPStatus.NOT_FOUND, "There is nothing here.", content_type="text/plain; charset=utf-8")


def connect(config: Configuration, session: Session, app: App) -> Answer:
    """Begin a trip: only this browser's session knows its state and its code verifier."""
    state, code_verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    session.trips[state] = Trip(app.provider, code_verifier)
    return redirect(config.authorization_url(app, state=state, code_verifier=code_verifier))


def returned(config: Configuration, session: Session, app: App, answer: dict[str, str]) -> Answer:
    """The end of a trip: is it one of ours? Then exchange the code."""
    trip = session.trips.pop(answer.get("state", ""), None)
    if trip is None or trip.provider != app.provider:
        return problem("mismatching_state")
    if "error" in answer:
        return problem(answer["error"], answer.get("error_description", ""))
    try:
        token = config.fetch_token(app, code=answer.get("code", ""), code_verifier=trip.code_verifier)
    except AuthlibBaseError as exc:
        return problem(str(exc.error), str(exc.description))
    except RequestException:
        return problem("unreachable")
    session.connections.append((app.name, masked(token)))
    return redirect("/")


class Handler(BaseHTTPRequestHandler):
    config: Configuration
    sessions = Sessions()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        here = urlsplit(self.config.url)
        cookie, session = self.sessions.get(self.cookie())
        if self.headers.get("Host") != here.netloc:  # another spelling of this host would have other cookies
            answer = redirect(self.config.url)
        else:
            answer = respond(self.config, session, parts.path, parse_qs(parts.query))
        self.send_response(answer.status)
        self.send_header("Set-Cookie", f"{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Lax")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        if answer.location:
            self.send_header("Location", answer.location)
        body = answer.body.encode()
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def cookie(self) -> str:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return ""
        return found.value if found else ""

    def version_string(self) -> str:
        return "example"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
        """Nothing: a request line holds the code."""


def main() -> None:
    Handler.config = configuration(sys.argv[1:])
    address = urlsplit(Handler.config.url)
    with ThreadingHTTPServer((address.hostname or "127.0.0.1", address.port or 80), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
