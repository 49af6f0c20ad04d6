"""
A provider on loopback that does what a test tells it, however badly, and remembers what it was sent.

Unless told otherwise it follows RFC 6749: each code and each refresh token that comes gets new tokens.

Many tests share it, and the schedule of a gateway calls whenever it is due: the purge gives back the tokens that a
test has not fetched, ten minutes later, and what is due is refreshed. So tests look at `asked` and `sent_to()`,
where nothing of earlier tests is; `requests` is all that came.
"""

import json
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.lib.servers import Server, Visit

Behaviour = Callable[[Visit, "Request"], None]

FILE = """\
slug = "{slug}"
name = "Stand-in {slug}"
docs = "https://docs.example.com/oauth"
checked = 2026-11-22
authorization_endpoint = "{url}/authorize"
token_endpoint = "{url}/token"
revocation_endpoint = "{url}/revoke"
default_scopes = ["read"]
{more}
"""
IDENTITY = """
[credential]
user_id = { token_response = "user_id", identity = true }
"""
PKCE = 'code_challenge_methods_supported = ["S256"]\n'
# Slugs that the gateway knows beside the built-in ones, and what their files say besides. `@url@`: the stand-in's own.
SLUGS: Mapping[str, str] = {
    "standin": PKCE + IDENTITY,
    "standin-other": PKCE + IDENTITY,
    "standin-no-pkce": IDENTITY,
    "standin-public": PKCE + 'token_endpoint_auth_methods_supported = ["client_secret_basic", "none"]\n' + IDENTITY,
    "standin-iss": PKCE
    + 'issuer = "@url@"\nauthorization_response_iss_parameter_supported = true\n'  # RFC 9207
    + IDENTITY,
    "standin-id-token": PKCE
    + 'issuer = "@url@"\njwks_uri = "@url@/jwks"\n'
    + '[credential]\nuser_id = { id_token = "sub", identity = true }\n',
    "standin-form-post": PKCE
    + 'callback_methods = ["GET", "POST"]\n'
    + IDENTITY
    + 'realm = { callback = "realm", required = false }\n',
    "standin-asks": PKCE + 'follow_up = "@url@/me"\n[credential]\nuser_id = { follow_up = "id", identity = true }\n',
    "standin-ok": PKCE + 'token_response_success = { path = "ok", equals = true }\n' + IDENTITY,
}
# One whose address each customer says: `{port}`, a part of the host that only the OAuth app may set.
HOSTED = "standin-hosted"
HOSTED_MORE = """tenant_hosted = true
code_challenge_methods_supported = ["S256"]
[variables]
port = {{ label = "Port", kind = "choice", values = [{values}], from = ["app"] }}
"""
# As it stands in the file: EGRESS_ALLOW has to name it for plain http, beside the true authorities.
HOSTED_AUTHORITY = "127.0.0.1:{port}"
# A provider that keeps to the rules in the catalogue and to none at its own server: the attacker's stand-in.
MALICIOUS = "standin-malicious"
TOKENS = re.compile(rb'"(?:access_token|refresh_token)" *: *"([^"]+)"')  # of an answer, however bad it is


@dataclass(frozen=True)
class Request:
    """One that came. `form`: its body, if that is a form."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def token(self) -> str:
        """The one that it revokes or refreshes; empty if it does something else."""
        if self.path == "/revoke":
            return self.form.get("token", "")
        is_refresh = self.path == "/token" and self.form.get("grant_type") == "refresh_token"
        return self.form.get("refresh_token", "") if is_refresh else ""


def parsed(received: bytes) -> Request:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(method, target, headers, body)


class Remembered(Visit):
    """One of whose answers `remember` is told."""

    def __init__(self, server: Server, connection: socket.socket, remember: Callable[[bytes], None]) -> None:
        super().__init__(server, connection)
        self.remember = remember

    def send(self, *parts: bytes) -> None:
        self.remember(b"".join(parts))
        super().send(*parts)


@dataclass
class StandIn:
    requests: list[Request] = field(default_factory=list)
    behaviours: dict[str, Behaviour] = field(default_factory=dict)  # by path
    user_id: str = "user-1"  # who approves, as the token answer tells
    lock: threading.Lock = field(default_factory=threading.Lock)
    given: set[str] = field(default_factory=set, repr=False)  # tokens, to this test
    given_before: set[str] = field(default_factory=set, repr=False)  # to those before it

    def __post_init__(self) -> None:
        self.server = Server(self.behave)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def authority(self) -> str:
        return self.server.authority

    def forget(self) -> None:
        """As if it were new."""
        with self.lock:
            self.requests.clear()
        self.behaviours.clear()
        self.user_id = "user-1"

    def begin_test(self) -> None:
        with self.lock:
            self.given_before |= self.given
            self.given.clear()
        self.forget()

    def has_given(self, tokens: Iterable[str]) -> None:
        """Earlier, and this test is about them: what is asked with them is no stranger's."""
        with self.lock:
            self.given |= set(tokens)

    @property
    def asked(self) -> list[Request]:
        """What came, but for refreshes and revocations of tokens that it gave to earlier tests alone."""
        with self.lock:
            not_ours = self.given_before - self.given
            return [request for request in self.requests if request.token not in not_ours]

    def behaves(self, path: str, behaviour: Behaviour) -> None:
        """Whatever comes to `path` from now on is answered so."""
        self.behaviours[path] = behaviour

    def sent_to(self, path: str) -> list[Request]:
        """Of `asked`."""
        return [request for request in self.asked if request.path == path]

    def behave(self, visit: Visit) -> None:
        request = parsed(visit.read_request())
        visit = Remembered(visit.server, visit.connection, self.remember)
        with self.lock:
            self.requests.append(request)
        default = {"/token": self.give_tokens, "/revoke": answering("200 OK")}
        self.behaviours.get(request.path, default.get(request.path, answering("404 Not Found")))(visit, request)

    def give_tokens(self, visit: Visit, request: Request) -> None:
        answering_json(200, self.tokens())(visit, request)

    def tokens(self, **changed: Any) -> dict[str, Any]:
        """A good token answer, with what is changed about it."""
        good = {
            "access_token": f"at-{secrets.token_hex(12)}",
            "refresh_token": f"rt-{secrets.token_hex(12)}",
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": "read",
            "user_id": self.user_id,
        }
        answer = {name: value for name, value in (good | changed).items() if value is not ...}
        self.remember(json.dumps(answer).encode())  # a test may put them where they come from no answer of ours
        return answer

    def remember(self, answer: bytes) -> None:
        with self.lock:
            self.given |= {token.decode("utf-8", "replace") for token in TOKENS.findall(answer)}

    def write_files(self, folder: Path, *, attackers: "StandIn") -> None:
        """The catalogue files of all slugs: what PROVIDERS_DIR is to name."""
        folder.mkdir(mode=0o755, exist_ok=True)
        ports = ", ".join(f'"{one.server.port}"' for one in (self, attackers))
        hosted = HOSTED_MORE.format(values=ports) + IDENTITY
        files = {slug: (self.url, more.replace("@url@", self.url)) for slug, more in SLUGS.items()}
        files |= {HOSTED: (f"http://{HOSTED_AUTHORITY}", hosted), MALICIOUS: (attackers.url, PKCE + IDENTITY)}
        for slug, (url, more) in files.items():
            (folder / f"{slug}.toml").write_text(FILE.format(slug=slug, url=url, more=more))


def answering(status: str, *headers: str, body: bytes = b"") -> Behaviour:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", ""))
    return lambda visit, request: visit.send(head.encode("latin-1"), body)


def answering_json(status: int, document: object) -> Behaviour:
    return answering(f"{status} So", "Content-Type: application/json", body=json.dumps(document).encode())
