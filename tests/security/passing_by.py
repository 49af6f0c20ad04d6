"""All that secrets do in the life of a gateway, well and ill; and every one of them, remembered as a canary."""

import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import requests

from sequin_auth.lib.encryption import sealed_fields
from sequin_auth.lib.key_ring import KeyRing, Unreadable
from tests.lib.servers import Visit
from tests.real.canaries import Canaries
from tests.real.gateway import Gateway
from tests.security.member import PASSWORD, new_member, sign_in
from tests.security.stand_in import Request, StandIn, answering, answering_json
from tests.security.tenant import App, Browser, Tenant, new_tenant, query_of, sql

MARKER = "this-name-may-be-read-by-anybody"
NDJSON = {"Content-Type": "application/x-ndjson"}
VERIFIER = "code_verifier"
CHALLENGE = {"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256"}
VERIFIER_OF_CHALLENGE = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B


@dataclass
class Happened:
    """What is left of it. `unclaimed`: a trip whose code nobody fetches; `key`: a credential that is no token."""

    tenant: Tenant
    app: App
    credential: str
    key: str
    access_token: str
    canaries: Canaries


class Passing:
    """One account's doings. Each method is one of the ways in which a secret comes in, goes out or goes wrong."""

    def __init__(self, gateway: Gateway, provider: StandIn) -> None:
        self.gateway, self.provider, self.canaries = gateway, provider, gateway.canaries
        self.tenant = new_tenant(gateway, f"Arrakis {secrets.token_hex(4)}")
        self.provider.behaves("/token", self.give_tokens)
        self.canaries.add("code verifier of the developer", VERIFIER_OF_CHALLENGE)
        self.canaries.add("password", PASSWORD)

    def canary(self, kind: str) -> str:
        return self.canaries.add(kind, f"{kind.replace(' ', '-')}/+{secrets.token_hex(10)}=")

    def give_tokens(self, visit: Visit, request: Request) -> None:
        """As the stand-in does, but remembered, and with characters that are escaped here and there."""
        for name in ("code_verifier", "client_assertion"):
            if name in request.form:
                self.canaries.add(name, request.form[name])
        tokens = self.provider.tokens(
            access_token=self.canary("access token"), refresh_token=self.canary("refresh token"), id_token=None
        )
        answering_json(200, tokens)(visit, request)

    def add_cookies(self, browser: Browser) -> None:
        for cookie in browser.session.cookies:
            if cookie.value and cookie.name != "messages":
                self.canaries.add(f"cookie {cookie.name}", cookie.value)

    # ---- what goes well ----------------------------------------------------------------------------------------------

    def register(self) -> App:
        return self.tenant.app(client_secret=self.canary("client secret"), metadata={"marker": MARKER})

    def trip(self, app: App, **params: str) -> str:
        """Our code."""
        browser = Browser(self.gateway)
        started = app.started(browser, state=self.canary("state of the developer"), **params)
        self.canaries.add("state", started.state)
        self.add_cookies(browser)
        back = started.approved(code=self.canary("code of the provider"))
        assert back.status_code == 302, back.text
        return self.canaries.add("code", query_of(back.headers["Location"])["code"])

    def credential(self, app: App) -> str:
        exchanged = app.exchanged(self.trip(app, **CHALLENGE), code_verifier=VERIFIER_OF_CHALLENGE)
        assert exchanged.status_code == 200, exchanged.text
        document = exchanged.json()
        self.canaries.add_document(document)
        key = {"Idempotency-Key": secrets.token_hex(8)}
        for _ in "made", "given again":
            made = self.tenant.call("POST", "/v1/credentials", document["credential"], headers=key)
            assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def key(self) -> str:
        secret = self.canary("sk_live")
        return str(self.tenant.made("/v1/credentials", {"properties": {"kind": "stripe_key", "secret": secret}})["id"])

    def read(self, credential: str, query: str = "") -> str:
        answer = self.tenant.call("GET", f"/v1/credentials/{credential}/access-token{query}")
        assert answer.status_code == 200, answer.text
        return self.canaries.add("access token", answer.json()["access_token"])

    def export_and_import(self) -> None:
        exported = self.tenant.call("GET", "/v1/credentials/export")
        assert exported.status_code == 200, exported.text
        imported = self.tenant.call("POST", "/v1/credentials/import", headers=NDJSON, data=exported.content)
        assert imported.status_code == 200, imported.text
        wrong = {"kind": "stripe_key", "properties": {"kind": "stripe_key", "secret": {"in": self.canary("sk_live")}}}
        self.tenant.call("POST", "/v1/credentials/import", headers=NDJSON, data=json.dumps(wrong))

    def refresh_and_revoke(self, app: App) -> None:
        tokens = app.exchanged(self.trip(app)).json()
        new = app.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
        assert new.status_code == 200, new.text
        revoke = {"client_id": app.id, "client_secret": app.client_secret or "", "token": new.json()["refresh_token"]}
        url = f"{self.gateway.url}/link/oauth2/revoke"
        assert requests.post(url, revoke, allow_redirects=False, timeout=30).status_code == 200

    def links(self, app: App, credential: str) -> None:
        wanted = {
            "oauth_app_id": app.id,
            "redirect_url": app.redirect_uri,
            "state": {"in": [self.canary("state of a link")]},
        }
        for path, body in (
            ("/v1/credentials/start-auth", wanted),
            (f"/v1/credentials/{credential}/reconnect", {"redirect_url": app.redirect_uri}),
        ):
            link = self.tenant.made(path, body)["start_url"]
            self.canaries.add("token of a link", urlsplit(link).path.rpartition("/")[2])
            if path.endswith("start-auth"):
                assert Browser(self.gateway).get(link).status_code == 302

    def change_secret(self, app: App) -> App:
        new = self.canary("client secret")
        answer = self.tenant.call("PATCH", f"/v1/oauth-apps/{app.id}", {"client_secret": new})
        assert answer.status_code == 200, answer.text
        return App(app.tenant, app.id, app.provider, new, app.callback_url)

    def webhook(self) -> None:
        made = self.tenant.call("POST", "/v1/webhook-endpoints", {"url": "https://developer.example.com/told"})
        assert made.status_code == 201, made.text
        if made.json()["secret"].strip("*"):
            self.canaries.add("webhook secret", made.json()["secret"])

    # ---- what goes ill -----------------------------------------------------------------------------------------------

    def refusals(self, app: App, credential: str) -> None:
        """Whoever sends something wrong has sent a secret."""
        wrong = {"client_secret": self.canary("client secret")}
        assert app.token(grant_type="authorization_code", code=self.canary("code"), **wrong).status_code == 401
        assert app.exchanged(self.canary("code")).status_code == 400
        assert app.token(grant_type="refresh_token", refresh_token=self.canary("refresh token")).status_code == 200
        url = f"{self.gateway.url}/v1/credentials"
        secret = {"access_token": self.canary("token in a query"), "code": self.canary("code"), "q": "x"}
        for headers in (
            {"Authorization": f"Bearer {self.canary('token')}"},
            {"Authorization": f"Basic {self.canary('password')}", "Cookie": f"sessionid={self.canary('cookie')}"},
        ):
            assert requests.get(url, secret, headers=headers, timeout=30).status_code == 401
        for body in (
            {"properties": {"kind": "stripe_key", "secret": [self.canary("sk_live")]}},
            {"properties": {"kind": "no_such_kind", "password": self.canary("password")}},
            {"name": 5, "client_secret": self.canary("client secret"), "client_id": {}, "provider": "standin"},
        ):
            path = "/v1/oauth-apps" if "client_id" in body else "/v1/credentials"
            assert self.tenant.call("POST", path, body).status_code == 422
        assert self.tenant.call("GET", f"/v1/credentials/{credential}?api_key={self.canary('key')}").status_code == 422
        browser = Browser(self.gateway)
        lost = {"code": self.canary("code"), "state": self.canary("state")}
        assert browser.get(f"{app.callback_url}?{urlencode(lost)}").status_code == 400
        link = self.canaries.add("token of a link", secrets.token_urlsafe(32))
        assert browser.get(f"/link/oauth2/start/{link}").status_code == 400
        browser.post("/admin/login/", {"username": "nobody", "password": self.canary("password")})
        browser.get(f"/no/such/page?token={secrets.token_hex(4)}")

    def provider_misbehaves(self, app: App) -> None:
        """It gives back what it was sent, in whatever status and form; or nothing that anybody understands."""

        def echo(status: str, *headers: str) -> None:
            self.provider.behaves(
                "/token", lambda visit, request: answering(status, *headers, body=request.body)(visit, request)
            )

        def fail() -> None:
            trip = app.started(debug="true", state=self.canary("state of the developer"))
            self.canaries.add("state", trip.state)
            trip.approved(code=self.canary("code of the provider"))

        for status, headers in (
            ("500 Sorry", ["Content-Type: text/html"]),
            ("200 OK", ["Content-Type: application/json"]),
            ("400 Bad", ["Content-Type: application/x-www-form-urlencoded"]),
        ):
            echo(status, *headers)
            fail()
        for document in (
            {"error": "invalid_grant", "error_description": self.canary("told by the provider")},
            {"access_token": {"in": self.canary("access token")}},
            {"access_token": self.canary("access token"), "token_type": ["x"], "expires_in": "soon"},
        ):
            self.provider.behaves("/token", answering_json(200, document))
            fail()
        self.provider.behaves("/token", lambda visit, request: visit.reset())
        fail()
        self.provider.behaves("/token", self.give_tokens)

    def unreadable(self, app: App) -> None:
        """A seal that was broken. It is gone afterwards, for the sake of whoever comes next."""
        self.provider.user_id = "user-2"
        credential = self.credential(app)
        self.provider.user_id = "user-1"
        flip(self.gateway, "credentials_token", "access_token", "credential_id", credential)
        answer = self.tenant.call("GET", f"/v1/credentials/{credential}/access-token")
        assert (answer.status_code, answer.json()["code"]) == (500, "credential_unreadable")
        self.tenant.call("GET", "/v1/credentials/export")
        assert self.tenant.call("DELETE", f"/v1/credentials/{credential}").status_code == 200

    def console(self, credential: str) -> None:
        browser = Browser(self.gateway)
        assert sign_in(browser, new_member(self.tenant)).status_code == 302
        for path in ("/admin/", f"/admin/credentials/credential/{credential}/change/"):
            assert browser.get(path).status_code == 200
        self.add_cookies(browser)

    def everything(self) -> Happened:
        app = self.register()
        credential, key = self.credential(app), self.key()
        self.read(credential)
        self.read(credential, "?force_refresh=true")
        self.webhook()
        self.refresh_and_revoke(app)
        self.links(app, credential)
        app = self.change_secret(app)
        self.refusals(app, credential)
        self.provider_misbehaves(app)
        self.unreadable(app)
        self.console(credential)
        self.export_and_import()
        self.trip(app)  # the code is never fetched
        app.started(state=self.canary("state of the developer"))  # and here nobody comes back
        return Happened(self.tenant, app, credential, key, self.read(credential), self.canaries)


def flip(gateway: Gateway, table: str, column: str, pk: str, value: str) -> None:
    """Change one bit of the last byte of an envelope."""
    last = f"length({column}) - 1"
    flipped = f"set_byte({column}, {last}, get_byte({column}, {last}) # 1)"
    sql(gateway, f"UPDATE {table} SET {column} = {flipped} WHERE {pk} = %s", value)  # noqa: S608


def opened(gateway: Gateway) -> dict[str, list[bytes]]:
    """With all keys of the gateway, every sealed value that opens in its database, by table and column."""
    ring = KeyRing.parse(gateway.environment["ENCRYPTION_KEYS"])
    found: dict[str, list[bytes]] = {}
    for field in sealed_fields():
        meta = field.model._meta
        rows = sql(gateway, f"SELECT {meta.pk.column}, {field.column} FROM {meta.db_table}")  # noqa: S608
        values = found.setdefault(f"{meta.db_table}.{field.column}", [])
        for pk, envelope in rows:
            with suppress(Unreadable):  # some tests break seals
                values.append(ring.open(bytes(envelope or b""), bound_to=f"{meta.label}.{field.column}:{pk}"))
    return found
