"""
`GET /v1/credentials/{id}/access-token`: what a developer's backend asks before every call of a provider's API.

A plain view: a token that is still good costs one statement, and writes nothing. Whoever read what stands in the log,
one line a read; when it was last read is written later, for many at once.
"""

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables

from credentials.api.errors import as_api_error
from credentials.errors import CredentialGone, KindHasNone, NoAccessToken, ProviderUnknown
from credentials.models import Credential, Failure, Token
from credentials.models.reading import Reading, read
from credentials.refresh import note_readable, note_unreadable, refreshed, uses
from oauth_apps.api.authentication import demand_scope, refused, shown
from providers import access, dpop, kinds
from sequin_auth.lib.api.errors import Invalid, MethodNotAllowed, NotFound, error_json, refusal
from sequin_auth.lib.api.fields import TimestampField
from sequin_auth.lib.api.requests import client_address
from sequin_auth.lib.encryption import Unreadable, digest

log = structlog.get_logger("credentials")

SHORTEST_LEFT = 300  # seconds that the token lasts, unless the query says otherwise
LONGEST_LEFT = 86_400


def answering_in_json(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """What Django REST framework's views do with errors, for one that is none of them."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except Exception as exc:
            if error := refusal(exc):
                return error_json(request, error)
            raise

    return wrapped


@csrf_exempt  # it is only read; but it is for us to say so, in JSON
@answering_in_json
@sensitive_variables()
def access_token(request: HttpRequest, credential_id: uuid.UUID) -> HttpResponse:
    if request.method not in {"GET", "HEAD"}:
        raise MethodNotAllowed(headers={"Allow": "GET, HEAD"})
    reading = authorized(request, credential_id)
    credential = reading.credential
    if credential is None:
        raise NotFound
    min_ttl, force = parameters(request)
    try:
        answer = answered(credential, min_ttl=min_ttl, force=force)
    except Unreadable as exc:
        note_unreadable(credential)
        raise as_api_error(exc, credential) from exc
    except (NoAccessToken, CredentialGone) as exc:
        raise as_api_error(exc, credential) from exc
    log.info(
        "access_token_read",
        api_token=str(reading.api_token),
        credential=str(credential.pk),
        client=client_address(request),
    )
    uses.note(credential.pk, reading.api_token)
    return JsonResponse(answer, headers={"Cache-Control": "no-store"})


def authorized(request: HttpRequest, credential_id: uuid.UUID) -> Reading:
    """Raises Unauthorized, Forbidden."""
    reading = read(token_hash=digest(shown(request)), credential_id=credential_id)
    if reading is None or not reading.is_alive:
        raise refused()
    demand_scope("reveal", reading.scopes)
    return reading


def parameters(request: HttpRequest) -> tuple[int, bool]:
    """`min_ttl` and `force_refresh`. Raises Invalid."""
    errors: dict[str, list[str]] = {}
    for name, values in request.GET.lists():
        if name not in {"min_ttl", "force_refresh"}:
            errors[name] = ["Is no parameter here. There are: min_ttl, force_refresh."]
        elif len(values) > 1:
            errors[name] = ["Must be given once."]
    min_ttl, force = request.GET.get("min_ttl", str(SHORTEST_LEFT)), request.GET.get("force_refresh", "false")
    if not (min_ttl.isascii() and min_ttl.isdecimal() and len(min_ttl) <= 5 and int(min_ttl) <= LONGEST_LEFT):
        errors.setdefault("min_ttl", [f"Must be a whole number of seconds from 0 to {LONGEST_LEFT}."])
    if force not in {"true", "false"}:
        errors.setdefault("force_refresh", ["Must be true or false."])
    if errors:
        raise Invalid(errors)
    return int(min_ttl), force == "true"


@sensitive_variables()
def answered(credential: Credential, *, min_ttl: int, force: bool) -> dict[str, Any]:
    """Raises NoAccessToken, Unreadable, CredentialGone."""
    try:
        kind = credential.definition
    except kinds.UnknownKind as exc:
        raise ProviderUnknown("The provider, or this kind of credential, is not in the catalogue any more.") from exc
    if kind.declared is not None and kind.auth in {"key", "password", "oauth1"}:
        standing_token = access.standing_token(kind, credential.values())
        if standing_token is None:
            raise KindHasNone(f"A credential of the kind {kind.name} has no access token: it signs or joins each call.")
        return representation(credential, credential.token, standing_token)
    token = credential.token
    if force or token.needs_reauthorization or not token.lasts(min_ttl):
        credential = whole(credential)
        token = refreshed(credential, min_ttl=min_ttl, force=force, seen=token)
    answer = representation(credential, token, token.access_token)
    if token.failure == Failure.UNREADABLE:
        note_readable(credential)
    return answer


def whole(credential: Credential) -> Credential:
    """With all its columns, and the OAuth app. Raises CredentialGone."""
    row = Credential.objects.whole().filter(pk=credential.pk).first()
    if row is None:
        raise CredentialGone
    return row


def representation(credential: Credential, token: Token, access_token: str | None) -> dict[str, Any]:
    kind = credential.definition
    sandbox_url = credential.oauth_app.sandbox_url if credential.oauth_app else ""
    provider = kind.provider.bound(credential.variables, sandbox_url=sandbox_url)
    api = access.sent_with(kind, provider, credential.properties, sandbox_url=sandbox_url)
    if kind.declared is None and provider.signs_calls and credential.oauth_app is not None:
        api["signature"] = access.signed_with(provider, credential.oauth_app.client_id, credential.values())
    return {
        "access_token": access_token,
        "token_type": api.get("scheme") or "Bearer",
        "expires_at": TimestampField().to_representation(token.expires_at) if token.expires_at else None,
        "scope": " ".join(credential.scopes_granted) or None,
        "api": api,
    } | bound_to_key(credential, api)


@sensitive_variables()
def bound_to_key(credential: Credential, api: dict[str, Any]) -> dict[str, Any]:
    """What is different where the token is bound to a key: whoever uses it signs proofs with that. Source: RFC 9449, 7.

    Raises Unreadable.
    """
    if not credential.definition.provider.dpop_signing_alg_values_supported or credential.secrets is None:
        return {}
    dpop_key = credential.values().get(dpop.PROPERTY)
    if dpop_key is None:
        return {}
    return {"token_type": dpop.SCHEME, "api": {**api, "scheme": dpop.SCHEME}, "dpop_key": dpop_key}
