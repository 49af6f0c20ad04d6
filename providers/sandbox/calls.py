"""The rest of a provider's API that is played: who is it, introspection, revocation."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from providers.sandbox import proofs
from providers.sandbox.answers import document, filled, moments, refused
from providers.sandbox.bearer import token_in
from providers.sandbox.models import Grant, Registration, Token
from providers.sandbox.reading import Refuse, authenticate, body, single
from providers.sandbox.script import Call, Refusal, Simulated
from providers.sandbox.tokens import issue, values_of
from sequin_auth.lib.encryption import digest


@sensitive_variables()
def call(request: HttpRequest, player: Simulated, wanted: Call, parts: dict[str, str]) -> HttpResponse:
    """Answer an API call, to whom holds a live token or is the client, as the call demands."""
    try:
        answer = _answer(request, player, wanted, parts)
    except Refuse as exc:
        content, refusal = refused(player.script, exc)
        response = document(content, status=refusal.status)
        response["Sandbox-Reason"] = exc.why
        for name, value in exc.headers.items():
            response[name] = value
        return response
    return document(answer, status=wanted.status)


@sensitive_variables()
def _answer(request: HttpRequest, player: Simulated, wanted: Call, parts: dict[str, str]) -> Any:
    params = _params(request, wanted)
    registration = None
    if wanted.client_authentication:
        registration = authenticate(request, player, params, wanted.client_authentication)
        if parts.get("client_id", registration.client_id) != registration.client_id:
            raise Refuse("unknown_client", "The address names another client.")
    if wanted.account:
        return _revoked_account(player, wanted, registration, params)
    parts, proven = proofs.of_call(request, player, wanted.token, parts)
    given = proven or token_in(request, player, wanted.token, params)
    token = Token.objects.with_grant(player.slug).named(given).first() if given else None
    if _is_param(wanted) and not given:
        raise Refuse("bad_request", "The token must be there.")
    if wanted.revokes and _is_param(wanted) and not wanted.refuses_unknown and (token is None or token.revoked_at):
        return filled(wanted.answer, {**moments(), **parts})
    if token is None or not _is_good(token, given, wanted, registration, parts):
        raise _bad_token(player, wanted, "The token is unknown, expired, revoked, or another client's or customer's.")
    if wanted.needs_scope and wanted.needs_scope not in token.grant.scopes:
        raise _bad_token(player, wanted, f"The token lacks the scope {wanted.needs_scope}.")
    values = {**values_of(player.script, token.grant), **parts, **_lifetime_of(token), "token": given}
    if wanted.revokes:
        token.grant.revoke()
    if wanted.issues:
        return issue(player.script, token.grant, wanted.lifetime or player.script.lifetime, template=wanted.answer)
    return filled(wanted.answer, values)


@sensitive_variables()
def _params(request: HttpRequest, wanted: Call) -> dict[str, str]:
    if missing := [name for name in wanted.headers if not request.headers.get(name)]:
        raise Refuse("bad_request", f"The header {missing[0]} must be there.")
    if wanted.body_is_empty and request.body not in {b"", b"null"}:
        raise Refuse("wrong_body", "The body must be empty.")
    if absent := [text for text in wanted.body_contains if text.encode() not in request.body]:
        raise Refuse("bad_request", f"The body does not ask for {absent[0]}.")
    place, _, _ = wanted.token.partition(":")
    params: dict[str, str] = {}
    if place == "query":
        params = single(request.GET)
    elif place == "body":
        params = body(request, ["form", "json"])
    elif place in {"form", "json"} or wanted.account:
        params = body(request, ["json" if place == "json" else "form"])
    elif wanted.params:
        params = single(request.GET) if request.method == "GET" else body(request, ["form", "json"])
    for name, value in wanted.params.items():
        if not params.get(name) or (value and params[name] != value):
            raise Refuse("bad_request", f"{name} must be {value or 'there'}.")
    return params


def _is_param(wanted: Call) -> bool:
    return wanted.token.startswith(("query:", "form:", "json:", "body:"))


@sensitive_variables()
def _is_good(token: Token, given: str, wanted: Call, registration: Registration | None, parts: dict[str, str]) -> bool:
    if not token.grant.is_at(parts):
        return False
    if registration and token.grant.registration.client_id != registration.client_id:
        return False
    if wanted.revokes and _is_param(wanted):
        return token.revoked_at is None  # either token may be named; as a bearer only an access token is one
    return token.is_live and bytes(token.access_hash) == digest(given)


def _bad_token(player: Simulated, wanted: Call, why: str) -> Refuse:
    refusal: Refusal = wanted.refusal or player.script.refusal("bad_access_token")
    return Refuse("bad_access_token", why, refusal=refusal)


def _revoked_account(player: Simulated, wanted: Call, registration: Registration | None, params: dict[str, str]) -> Any:
    """End every grant of the account that the request names, to the client that sends it."""
    given = params.get(wanted.account, "")
    client_id = registration.client_id if registration else params.get("client_id", "")
    grants = Grant.objects.filter(registration__slug=player.slug, registration__client_id=client_id)
    for account in grants.values_list("account", flat=True).distinct().order_by("account"):
        if filled(wanted.account_is, {"account": account}) == given:
            Token.objects.filter(grant__in=grants.filter(account=account)).update(revoked_at=timezone.now())
            return filled(wanted.answer, {**moments(), "account": account})
    raise _bad_token(player, wanted, "The account has granted this client nothing.")


def _lifetime_of(token: Token) -> dict[str, int | None]:
    """From when to when the access token is good, in seconds since 1970, and how many are left."""
    expires_at = None if token.expires_at is None else int(token.expires_at.timestamp())
    left = None if expires_at is None else expires_at - int(timezone.now().timestamp())
    return {"issued_at": int(token.created_at.timestamp()), "expires_at": expires_at, "expires_in": left}
