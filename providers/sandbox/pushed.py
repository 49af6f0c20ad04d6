"""Authorization requests that are pushed before the browser comes. Source: RFC 9126."""

import secrets
from urllib.parse import urlencode

import msgspec
from django.core import signing
from django.http import HttpRequest, HttpResponse, QueryDict
from django.views.decorators.debug import sensitive_variables

from providers.sandbox.answers import document, refused
from providers.sandbox.authorization import SentBack, client_of, read
from providers.sandbox.models import Registration
from providers.sandbox.reading import Refuse, authenticate, body
from providers.sandbox.script import Simulated

URN = "urn:ietf:params:oauth:request_uri:"
LIFETIME = 60  # seconds
OF_THE_CLIENT = {"client_secret", "client_assertion", "client_assertion_type"}


class Pushed(msgspec.Struct, frozen=True):
    """What was pushed, as its request_uri carries it, signed. `ticket`: it is good for one consent."""

    slug: str
    client_id: str
    parts: dict[str, str]
    query: str
    ticket: str


@sensitive_variables()
def push(request: HttpRequest, player: Simulated, parts: dict[str, str]) -> HttpResponse:
    """Answer a pushed request: it is judged at once, as the browser's would be."""
    try:
        params = body(request, ["form"])
        registration = authenticate(request, player, params, player.script.client_authentication)
        query = {name: value for name, value in params.items() if name not in OF_THE_CLIENT}
        if "request_uri" in query or query.get("client_id") != registration.client_id:
            raise Refuse("bad_request", "client_id must be there, and be the client's own; request_uri must not.")
        request.GET = QueryDict(urlencode(query))
        _, redirect_uri = client_of(request, player, parts)
        read(request, player, parts, registration, redirect_uri=redirect_uri, ticket="")
    except Refuse as exc:
        content, refusal = refused(player.script, exc)
        return document(content, status=refusal.status)
    except SentBack as exc:
        return document({"error": exc.error, "error_description": exc.why}, status=400)
    pushed = Pushed(player.slug, registration.client_id, parts, urlencode(query), secrets.token_urlsafe(16))
    signed = signing.dumps(msgspec.to_builtins(pushed), salt="sandbox.pushed", compress=True)
    return document({"request_uri": URN + signed, "expires_in": LIFETIME}, status=201)


def unfold(request: HttpRequest, player: Simulated, parts: dict[str, str]) -> str:
    """Put what was pushed in the place of the query that names it. Returns its ticket, or nothing if none was pushed.

    Raises Refuse.
    """
    query = request.GET.dict()
    if "request_uri" not in query or not player.script.pushed_authorization_request_endpoint:
        return ""
    if query.keys() != {"client_id", "request_uri"}:
        raise Refuse("bad_request", "Beside request_uri there must be client_id, and nothing else.")
    try:
        signed = signing.loads(query["request_uri"].removeprefix(URN), salt="sandbox.pushed", max_age=LIFETIME)
        pushed = msgspec.convert(signed, Pushed)
    except (signing.BadSignature, msgspec.ValidationError, ValueError) as exc:
        raise Refuse("bad_request", "The request_uri is unknown, or has expired.") from exc
    is_elsewhere = any(parts.get(name, value) != value for name, value in pushed.parts.items())
    if (pushed.slug, pushed.client_id) != (player.slug, query["client_id"]) or is_elsewhere:
        raise Refuse("bad_request", "The request_uri is another client's or customer's.")
    request.GET = QueryDict(pushed.query)
    return pushed.ticket


def demand(registration: Registration, ticket: str) -> None:
    """Raises Refuse: the client is set to push its requests (RFC 9126, 6), and this one was not pushed."""
    if registration.variables.get("require_pushed_authorization_requests") == "true" and not ticket:
        raise Refuse("bad_request", "This client has to push its authorization requests.")
