"""A developer with a client at a simulated provider, who does everything as the provider's documentation says."""

import base64
import hashlib
import json
import re
import time
import uuid
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

from django.conf import settings
from django.test import Client
from joserfc import jwt
from joserfc.jwk import ECKey

from providers.sandbox import registrations
from providers.sandbox.script import PLACEHOLDER, Call, Simulated, simulated

CLIENT_SECRET = "canary:/+% secret é"
STATE = "state-of-forty-three-characters-0123456789abc"
VERIFIER = "verifier-of-at-least-forty-three-characters-0123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
Answer = Any  # what the test client returns
# The customer's part of an address
PARTS = {"domain": "acme.example.com", "instance": "acme.service-now.com", "authorization_domain": "impl.workday.com"}
PARTS |= {"token_domain": "wd2.workday.com"}
SCOPES = {"netsuite": ["restlets", "rest_webservices"], "stripe": ["read_only", "read_write"]}
PRIVATE_KEY = ECKey.generate_key("P-256")
HTTP = Client(headers={"User-Agent": "developer"})  # one for all: the middleware is slow to load


class Developer:
    """`slug`: whose client he is. Changes to a request are given by name; None leaves a parameter out."""

    def __init__(self, slug: str, *, client_id: str = "client-1", has_secret: bool = True) -> None:
        player = simulated(slug)
        assert player is not None
        self.player: Simulated = player
        self.script = player.script
        self.slug = slug
        self.http = HTTP
        self.client_id = client_id
        self.client_secret = CLIENT_SECRET if has_secret else None
        self.redirect_uri = f"{settings.PUBLIC_URL}/link/oauth2/callback/{slug}"
        self.variables = {"team_id": "TEAM", "key_id": "KEY", "integration": "acme"}
        self.registration_id = uuid.uuid4()
        self.register()

    def register(self) -> None:
        secret = self.client_secret
        registrations.register(
            self.registration_id,
            slug=self.slug,
            client_id=self.client_id,
            client_secret=PRIVATE_KEY.as_pem(private=True).decode()
            if secret and self.script.client_secret_jwt
            else secret,
            redirect_uri=self.redirect_uri,
            variables=self.variables,
        )

    def at(self, url: str | list[str], **parts: str) -> str:
        """Where the sandbox plays `url`, or the first of several."""
        first = url if isinstance(url, str) else url[0]
        values = {**PARTS, "client_id": self.client_id, **parts}
        filled = PLACEHOLDER.sub(lambda match: values.get(match[1], "acme"), first)
        return f"/sandbox/{self.slug}/{filled.removeprefix('https://')}"

    # ---- the browser ---------------------------------------------------------------------------------------------

    def scopes(self) -> list[str]:
        wanted = [*SCOPES.get(self.slug, ["alpha", "beta"]), *self.script.refresh.needs_scope[:1]]
        return list(dict.fromkeys([*self.script.scopes.always, *wanted]))

    def authorization_request(self, **changes: str | None) -> dict[str, str]:
        script = self.script
        params: dict[str, str | None] = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "state": STATE,
            **{name: value or "any" for name, value in script.authorization_params.items()},
            **script.refresh.needs_authorization_param,
        }
        if script.scopes.parameter:
            params[script.scopes.parameter] = script.scopes.separators[0].join(self.scopes())
        if script.pkce in {"required", "supported"}:
            params |= {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        if script.form_post_for_scopes:
            params["response_mode"] = "form_post"
        return {name: value for name, value in {**params, **changes}.items() if value is not None}

    def ask(self, accept: str = "application/json", /, **changes: str | None) -> Answer:
        url = self.at(self.script.authorization_endpoint)
        return self.http.get(url, self.authorization_request(**changes), headers={"Accept": accept})

    def links(self, **changes: str | None) -> dict[str, str]:
        answer = self.ask(**changes)
        assert answer.status_code == 200, answer.content
        return {
            name: link.removeprefix(settings.PUBLIC_URL)
            for name, link in json.loads(answer.content)["outcomes"].items()
        }

    def follow(self, link: str) -> dict[str, str]:
        """What the callback is told."""
        answer = self.http.get(link, headers={"Accept": "application/json"})
        if answer.status_code == 200:
            posted = json.loads(answer.content)
            assert posted["action"] == self.redirect_uri
            return dict(posted["fields"])
        assert answer.status_code == 302, answer.content
        target = urlsplit(answer["Location"])
        assert f"{target.scheme}://{target.netloc}{target.path}" == self.redirect_uri
        return dict(parse_qsl(target.query, keep_blank_values=True))

    def code(self, outcome: str = "approve", more: str = "", /, **changes: str | None) -> str:
        return self.follow(self.links(**changes)[outcome] + more)["code"]

    # ---- the developer's server ----------------------------------------------------------------------------------

    def secret_to_send(self) -> str:
        wanted = self.script.client_secret_jwt
        if not wanted or not self.client_secret:
            return self.client_secret or ""
        now = int(time.time())
        claims = {"iss": "TEAM", "aud": wanted.audience, "sub": self.client_id, "iat": now, "exp": now + 300}
        return jwt.encode({"alg": "ES256", "kid": "KEY"}, claims, PRIVATE_KEY, algorithms=["ES256"])

    def send(
        self,
        url: str,
        params: dict[str, Any],
        *,
        authentication: str = "",
        body: str = "",
        verb: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """A request with the client's authentication and the body's format; as the provider wants them, if not said."""
        authentication = authentication or self.script.client_authentication[0]
        body = body or self.script.token_body[0]
        headers = {"Accept": "application/json"} | (headers or {})
        if authentication == "client_secret_basic":
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self.secret_to_send())}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        elif authentication == "client_secret_post":
            params = {"client_id": self.client_id, "client_secret": self.secret_to_send(), **params}
        elif authentication == "none":
            params = {"client_id": self.client_id, **params}
        params = {name: value for name, value in params.items() if value is not None}
        content = json.dumps(params) if body == "json" else urlencode(params)
        kind = "application/json" if body == "json" else "application/x-www-form-urlencoded"
        return self.http.generic(verb, url, content.encode(), content_type=kind, headers=headers)

    def exchange(self, code: str, *, authentication: str = "", body: str = "", **changes: str | None) -> Answer:
        script = self.script
        params = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            **{name: value or "any" for name, value in script.token_params.items()},
            **script.refresh.needs_token_param,
        }
        if script.pkce in {"required", "supported"}:
            params["code_verifier"] = VERIFIER
        url = self.at(script.token_endpoint)
        return self.send(url, {**params, **changes}, authentication=authentication, body=body)

    def refresh(self, refresh_token: str, **changes: str | None) -> Answer:
        params = {"grant_type": "refresh_token", "refresh_token": refresh_token, **changes}
        return self.send(self.at(self.script.token_endpoint), params)

    def tokens(self, outcome: str = "approve", /, **changes: str | None) -> dict[str, Any]:
        answer = self.exchange(self.code(outcome, **changes))
        assert answer.status_code == 200, answer.content
        document = json.loads(answer.content)
        assert "access_token" in document, document
        return dict(document)

    def refreshed(self, refresh_token: str) -> dict[str, Any]:
        answer = self.refresh(refresh_token)
        assert answer.status_code == 200, answer.content
        return dict(json.loads(answer.content))

    # ---- calls ---------------------------------------------------------------------------------------------------

    def calls(self, *, revoking: bool) -> list[Call]:
        return [call for call in self.script.calls if call.revokes == revoking]

    def call(self, call: Call, token: str) -> Answer:
        place, _, name = call.token.partition(":")
        headers = {"bearer": {"Authorization": f"Bearer {token}"}, "header": {name: token}}.get(place, {})
        headers |= dict.fromkeys(call.headers, "any")
        params: dict[str, str] = {name: token} if place in {"form", "json", "body"} else {}
        if call.account:
            params = {"client_id": self.client_id, call.account: call.account_is.replace("{account}", "1")}
        url = self.at(call.url) + (f"?{urlencode({name: token})}" if place == "query" else "")
        if call.body_contains:
            params = {"query": " ".join(call.body_contains)}
        method = call.client_authentication[0] if call.client_authentication else "as it is"
        if call.body_is_empty:
            return self.http.generic(call.method, url, headers=headers)
        kind = "json" if place == "json" or call.body_contains else "form"
        return self.send(url, params, authentication=method, body=kind, verb=call.method, headers=headers)


def error_of(answer: Answer) -> str:
    """The error code, wherever the provider writes it."""
    document = json.loads(answer.content)
    return str(document["error"])


def is_page(answer: Answer) -> bool:
    return bool(re.match(r"text/html\b", answer["Content-Type"]))
