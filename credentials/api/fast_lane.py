"""
`GET /v1/credentials/{id}/access-token` without Django around it, for the request that nearly all of them are.

It is taken here if everything about it is ordinary, and answered if there is nothing to say but the token: the API
token lives and reveals, the credential is its account's, the access token is good for long enough and is sent as it is,
no refresh has failed, no limit is met. Whatever else it may be, Django gets it with nothing counted, and refuses,
refreshes or explains (access_token.py); so there is one place for each refusal. It gets what was read, too, so that it
does not ask again.

One statement, which PostgreSQL has planned before. No write. Two lines in the log, as of any other read.
"""

import functools
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final, cast

import msgspec
import psycopg
import structlog
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import connection
from django.http import HttpRequest
from django.urls import resolve
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials.api.access_token import KNOWN, LONGEST_LEFT, SHORTEST_LEFT, Known, document
from credentials.models import Expiry, Failure, Token
from credentials.models.reading import COLUMNS, STATEMENT, reading_of
from credentials.refresh import uses
from oauth_apps.api.authentication import BEARER
from oauth_apps.api_tokens import is_well_formed
from oauth_apps.limits import counter
from oauth_apps.models import OAuthApp
from providers import access, kinds
from providers.kinds import CredentialKind
from providers.variables import VariableNotAccepted
from sequin_auth.lib import measures, redaction
from sequin_auth.lib.api.paths import CANONICAL_UUID
from sequin_auth.lib.api.requests import address_in, is_forwarded_by_friend
from sequin_auth.lib.encryption import Sealed, SealedTextField, Unreadable, digest
from sequin_auth.lib.logs import tell
from sequin_auth.lib.postgres.statements import fetch_one

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
Headers = list[tuple[str, str]]
Row = tuple[Any, ...]

PATH: Final = re.compile(rf"/v1/credentials/({CANONICAL_UUID})/access-token/?", re.ASCII)
MIN_TTL: Final = re.compile(r"min_ttl=(0|[1-9][0-9]{0,4})", re.ASCII)
# What clients and proxies send with any request, and no answer depends on but by what is looked at below
ORDINARY: Final = frozenset(
    f"HTTP_{name}"
    for name in (
        "ACCEPT", "ACCEPT_ENCODING", "ACCEPT_LANGUAGE", "AUTHORIZATION", "CACHE_CONTROL", "CONNECTION", "HOST",
        "KEEP_ALIVE", "PRAGMA", "PRIORITY", "SEC_FETCH_MODE", "USER_AGENT",
        "BAGGAGE", "TRACEPARENT", "TRACESTATE", "X_AMZN_TRACE_ID", "X_REQUEST_ID",
        "CF_CONNECTING_IP", "CF_RAY", "CF_VISITOR", "CDN_LOOP", "FORWARDED", "VIA", "X_REAL_IP",
        "X_FORWARDED_FOR", "X_FORWARDED_HOST", "X_FORWARDED_PORT", "X_FORWARDED_PROTO", "X_FORWARDED_SERVER",
    )
)  # fmt: skip

# What decides whether the answer is the token, and what is told of it
DECIDING: Final = itemgetter(
    *map(
        COLUMNS.index,
        (
            "api_token.is_alive", "api_token.scopes", "credential.id",
            "token.access_token", "token.failure", "token.expiry_source", "token.expires_at",
        ),
    )
)  # fmt: skip
TOLD: Final = itemgetter(
    *map(
        COLUMNS.index,
        (
            "credential.kind", "credential.variables", "credential.properties", "credential.scopes_granted",
            "oauth_app.provider", "oauth_app.environment", "token.access_token", "token.expires_at",
        ),
    )
)  # fmt: skip
OWNER: Final = itemgetter(COLUMNS.index("api_token.id"), COLUMNS.index("api_token.account_id"))

ACCESS_TOKEN: Final = cast(SealedTextField[str, str], Token._meta.get_field("access_token"))

reads_log = logging.getLogger("credentials")
requests_log = logging.getLogger("sequin_auth.request")
log = structlog.get_logger("credentials")
FAULTS_TOLD_EVERY: Final = 60.0  # seconds


class Question(msgspec.Struct, frozen=True):
    credential_id: str
    api_token: str  # as text
    min_ttl: int
    transport: tuple[str, str, bool]  # whatever the headers of the answer may depend on

    def __repr__(self) -> str:
        return "Question(…)"


class Fresh(msgspec.Struct, frozen=True):
    api_token: uuid.UUID
    account: uuid.UUID
    body: bytes

    def __repr__(self) -> str:
        return "Fresh(…)"


class FastLane:
    """A WSGI application in front of Django's."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.headers: dict[tuple[str, str, bool], Headers] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        started = time.perf_counter()
        question = asked(environ)
        if question is None:
            return self.application(environ, start_response)
        headers = self.headers.get(question.transport)
        if headers is None:
            return self.application(environ, self.learning_headers(question.transport, start_response))
        try:
            redaction.begin()
            answer = answered(question)
        except Exception as exc:  # noqa: BLE001 - Django may still be able to, and tells what it is if not
            faults.tell(exc)
            answer = None
        finally:
            redaction.forget()
        if not isinstance(answer, Fresh):
            if answer is not None:
                environ[KNOWN] = answer
            return self.application(environ, start_response)

        request_id = str(uuid.uuid4())
        write_down(question, answer, environ, request_id=request_id, started=started)
        own = {"X-Request-Id": request_id, "Content-Length": str(len(answer.body))}
        start_response("200 OK", [(name, own.get(name, value)) for name, value in headers])
        return [answer.body]

    def learning_headers(self, transport: tuple[str, str, bool], start_response: StartResponse) -> StartResponse:
        """Of Django's own answer to an ordinary request: whatever middlewares give to it, ours has as well."""

        def learning(status: str, headers: Headers, *rest: Any) -> Any:
            names = {name for name, _ in headers}
            if status == "200 OK" and "Set-Cookie" not in names and {"X-Request-Id", "Content-Length"} <= names:
                self.headers[transport] = list(headers)
            return start_response(status, headers, *rest)

        return learning


@sensitive_variables()
def asked(environ: Environ) -> Question | None:
    """What the request asks for; None if anything about it is out of the ordinary."""
    path = PATH.fullmatch(environ["PATH_INFO"])
    if path is None or environ["REQUEST_METHOD"] != "GET" or environ.get("SCRIPT_NAME"):
        return None
    if environ.get("CONTENT_LENGTH") or environ.get("CONTENT_TYPE", "") not in {"", "application/json"}:
        return None
    if any(name.startswith("HTTP_") for name in environ.keys() - ORDINARY):
        return None
    query = environ.get("QUERY_STRING", "")
    min_ttl = MIN_TTL.fullmatch(query)
    if query and (min_ttl is None or int(min_ttl[1]) > LONGEST_LEFT):
        return None
    bearer = BEARER.fullmatch(environ.get("HTTP_AUTHORIZATION", "").strip())
    if bearer is None or not is_well_formed(bearer[1]):
        return None
    if environ.get("HTTP_ACCEPT_LANGUAGE", "*") != "*":
        return None
    scheme = environ.get("HTTP_X_FORWARDED_PROTO", "")
    if scheme not in {"", "http", "https"} or not is_ours(environ.get("HTTP_HOST", ""), *settings.ALLOWED_HOSTS):
        return None
    transport = (environ["wsgi.url_scheme"], scheme, is_forwarded_by_friend(environ))
    return Question(path[1], bearer[1], int(min_ttl[1]) if min_ttl else SHORTEST_LEFT, transport)


@functools.lru_cache(maxsize=64)
def is_ours(host: str, *allowed_hosts: str) -> bool:
    """As Django judges the header Host. `allowed_hosts`: that it does so by, and the cache too."""
    request = HttpRequest()
    request.META = {"HTTP_HOST": host, "SERVER_NAME": "", "SERVER_PORT": ""}
    try:
        # nosemgrep: url-from-request - nothing is made of it
        return bool(host and request.get_host())
    except DisallowedHost:
        return False


class Faults:
    """One line in the log for all that come within a minute, with the type of the first."""

    def __init__(self) -> None:
        self.told_at = -FAULTS_TOLD_EVERY

    def tell(self, exc: Exception) -> None:
        now = time.monotonic()
        if now - self.told_at >= FAULTS_TOLD_EVERY:
            self.told_at = now
            log.warning("fast_lane_left", reason=type(exc).__name__)


faults = Faults()


@sensitive_variables()
def answered(question: Question) -> Fresh | Known | None:
    """What was read, if it is for Django to answer; None if nothing was. A read is counted if it is answered here, and
    only then. Raises psycopg.Error.
    """
    if counter.is_over("token_reads", question.api_token):  # before the database is asked
        return None
    token_hash, credential_id = digest(question.api_token), uuid.UUID(question.credential_id)
    try:
        row = fetch_one(connection, STATEMENT, [credential_id, token_hash])
    except psycopg.errors.QueryCanceled as exc:  # whoever asked again would wait as long again
        faults.tell(exc)
        return Known(token_hash, credential_id, None, exc)
    if row is None:
        return Known(token_hash, credential_id, None)
    return fresh(question, row) or Known(token_hash, credential_id, reading_of(row))


@sensitive_variables()
def fresh(question: Question, row: Row) -> Fresh | None:
    """The answer, if it is the token; counted then."""
    if not is_good(question.min_ttl, *DECIDING(row)):
        return None
    try:
        body = body_of(question, *TOLD(row))
    except (Unreadable, VariableNotAccepted, kinds.UnknownKind):  # to be explained
        return None
    api_token, account = OWNER(row)
    if body is None or not counter.count_each(("token_reads", question.api_token), ("account_reads", str(account))):
        return None
    return Fresh(api_token, account, body)


@sensitive_variables()
def is_good(
    min_ttl: int,
    is_alive: bool,
    scopes: str,
    credential: uuid.UUID | None,
    envelope: bytes | None,
    failure: str | None,
    expiry_source: str | None,
    expires_at: datetime | None,
) -> bool:
    """The same conditions as in access_token.py, where they are told apart."""
    if not is_alive or "reveal" not in json.loads(scopes) or credential is None:
        return False
    if envelope is None or failure != Failure.NONE or expiry_source == Expiry.UNKNOWN:
        return False
    return expires_at is None or expires_at > timezone.now() + timedelta(seconds=min_ttl)


@sensitive_variables()
def body_of(
    question: Question,
    kind_name: str,
    variables: str,
    properties: str,
    scopes: str,
    provider: str | None,
    environment: str | None,
    envelope: bytes,
    expires_at: datetime | None,
) -> bytes | None:
    """Raises Unreadable, VariableNotAccepted, kinds.UnknownKind."""
    kind = kinds.get(kind_name)
    if not is_sent_as_it_is(kind):
        return None
    is_in_sandbox = environment == OAuthApp.Environment.SANDBOX
    sandbox_url = OAuthApp(provider=provider or "", environment=environment or "").sandbox_url if is_in_sandbox else ""
    api = api_of(
        kind,
        variables if kind.provider.variables else "{}",
        properties if depends_on_properties(kind) else "{}",
        sandbox_url,
    )
    access_token = ACCESS_TOKEN.open(Sealed(envelope), pk=question.credential_id)
    told = document(str(access_token), expires_at=expires_at, scopes=json.loads(scopes), api=api)
    return json.dumps(told).encode()


@functools.lru_cache(maxsize=1_024)
def is_sent_as_it_is(kind: CredentialKind) -> bool:
    """Neither a key or a password, which stand elsewhere, nor a token with something beside it that signs or proves."""
    is_standing = kind.declared is not None and kind.auth in {"key", "password", "oauth1"}
    is_signed_with = kind.declared is None and kind.provider.signs_calls
    return not (is_standing or is_signed_with or kind.provider.dpop_signing_alg_values_supported)


@functools.lru_cache(maxsize=1_024)
def depends_on_properties(kind: CredentialKind) -> bool:
    return access.depends_on_properties(kind)


@functools.lru_cache(maxsize=4_096)
def api_of(kind: CredentialKind, variables: str, properties: str, sandbox_url: str) -> dict[str, Any]:
    """How its tokens are sent; of most kinds, the same for every credential. Raises VariableNotAccepted."""
    provider = kind.provider.bound(json.loads(variables), sandbox_url=sandbox_url)
    return access.sent_with(kind, provider, json.loads(properties), sandbox_url=sandbox_url)


def write_down(question: Question, answer: Fresh, environ: Environ, *, request_id: str, started: float) -> None:
    client, path, api_token = address_in(environ), environ["PATH_INFO"], str(answer.api_token)
    measures.request(path, 200, time.perf_counter() - started)
    credential_id = uuid.UUID(question.credential_id)
    uses.note(credential_id, answer.api_token, account_id=answer.account, address=client)
    # nosemgrep: secret-in-log - the id of the API token, which is a column of this name
    tell(
        reads_log,
        "access_token_read",
        request_id=request_id,
        api_token=api_token,
        credential=question.credential_id,
        client=client,
    )
    tell(
        requests_log,
        "request",
        request_id=request_id,
        method="GET",
        path=path,
        route=route_of(ends_with_slash=path.endswith("/")),
        status=200,
        ms=round((time.perf_counter() - started) * 1000, 1),
        client=client,
    )


@functools.cache
def route_of(*, ends_with_slash: bool) -> str:
    return resolve(f"/v1/credentials/{uuid.UUID(int=0)}/access-token{'/' if ends_with_slash else ''}").route
