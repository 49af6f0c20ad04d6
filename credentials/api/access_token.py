"""
`GET /v1/credentials/{id}/access-token`: what a developer's backend asks before every call of a provider's API.

A plain view: a token that is still good costs one statement, and writes nothing. Whoever read what stands in the log,
one line a read; how often it was read, and when last, is written later, for many at once.

Most of these requests never come here: fast_lane.py answers what is ordinary, with the same answer. What it has read in
vain it leaves in the request (`Known`), and nothing is asked twice.
"""

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import structlog
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables

from credentials.api.errors import as_api_error
from credentials.errors import CredentialGone, KindHasNone, NoAccessToken, ProviderUnknown
from credentials.models import Credential, Failure, Token
from credentials.models.reading import Reading, read
from credentials.refresh import note_readable, note_unreadable, refreshed, refreshed_meanwhile, uses
from oauth_apps import audit
from oauth_apps.api.authentication import demand_scope, demand_within_limit, refused, shown
from providers import access, dpop, kinds
from providers.provider import Provider
from providers.variables import VariableNotAccepted
from sequin_auth.lib.api.errors import Invalid, MethodNotAllowed, NotFound
from sequin_auth.lib.api.fields import timestamp
from sequin_auth.lib.api.requests import client_address
from sequin_auth.lib.api.views import answering_in_json
from sequin_auth.lib.encryption import Unreadable, digest

log = structlog.get_logger("credentials")

SHORTEST_LEFT = 300  # seconds that the token lasts, unless the query says otherwise
LONGEST_LEFT = 86_400

KNOWN = "sequin_auth.reading"  # of a request's environ; what clients send is called HTTP_…


class Known(msgspec.Struct, frozen=True):
    """What was just read for this very request: None if there is no such API token; or how the statement failed."""

    token_hash: bytes
    credential_id: uuid.UUID
    reading: Reading | None
    fault: Exception | None = None

    def __repr__(self) -> str:
        return "Known(…)"


@csrf_exempt  # it is only read; but it is for us to say so, in JSON
@answering_in_json
@sensitive_variables()
def access_token(request: HttpRequest, credential_id: uuid.UUID) -> HttpResponse:
    if request.method not in {"GET", "HEAD"}:
        raise MethodNotAllowed(headers={"Allow": "GET, HEAD"})
    reading = authorized(request, credential_id)
    audit.identify_as(f"{reading.name} ({reading.prefix}…)", api_token=reading.api_token)  # if it has to be refreshed
    credential = reading.credential
    if credential is None:
        raise NotFound
    min_ttl, force = parameters(request)
    try:
        answer = bound_and_answered(credential, min_ttl=min_ttl, force=force)
    except Unreadable as exc:
        note_unreadable(credential)
        raise as_api_error(exc, credential) from exc
    except (NoAccessToken, CredentialGone) as exc:
        raise as_api_error(exc, credential) from exc
    address = client_address(request)
    # nosemgrep: secret-in-log - the id of the API token, which is a column of this name
    log.info(
        "access_token_read",
        api_token=str(reading.api_token),
        credential=str(credential.pk),
        client=address,
    )
    uses.note(credential.pk, reading.api_token, account_id=reading.account, address=address)
    return JsonResponse(answer, headers={"Cache-Control": "no-store"})


def authorized(request: HttpRequest, credential_id: uuid.UUID) -> Reading:
    """Raises Unauthorized, TooManyRequests, Forbidden."""
    reading = known_or_read(request, digest(shown(request)), credential_id)
    if reading is None or not reading.is_alive:
        raise refused()
    demand_within_limit(request, reading.account, "reads")
    demand_scope("reveal", reading.scopes)
    return reading


def known_or_read(request: HttpRequest, token_hash: bytes, credential_id: uuid.UUID) -> Reading | None:
    known = request.META.pop(KNOWN, None)
    if not isinstance(known, Known) or (known.token_hash, known.credential_id) != (token_hash, credential_id):
        return read(token_hash=token_hash, credential_id=credential_id)
    if known.fault is not None:
        raise OperationalError(str(known.fault)) from known.fault
    return known.reading


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
def bound_and_answered(credential: Credential, *, min_ttl: int, force: bool) -> dict[str, Any]:
    """As `answered`, where the catalogue's rules for a variable may be others than when it was stored."""
    try:
        return answered(credential, min_ttl=min_ttl, force=force)
    except VariableNotAccepted as exc:
        raise ProviderUnknown(
            f"What is stored as this credential's variable {exc.name} is not a value that its provider takes any more."
        ) from exc


@sensitive_variables()
def answered(credential: Credential, *, min_ttl: int, force: bool) -> dict[str, Any]:
    """Raises NoAccessToken, Unreadable, CredentialGone, VariableNotAccepted."""
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
        if not token.needs_reauthorization:  # which mends the variables, too
            bound(credential)
        # Of those who come together, one in a process makes the refresh, or waits for another process to; the others
        # join him before they have asked the database for anything
        if joined := refreshed_meanwhile(token):
            return representation(credential, joined, joined.access_token)
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


def bound(credential: Credential) -> tuple[Provider, str]:
    """The provider at this account's hosts; and the simulator's URL, if it is that. Raises VariableNotAccepted."""
    sandbox_url = credential.oauth_app.sandbox_url if credential.oauth_app else ""
    return credential.definition.provider.bound(credential.variables, sandbox_url=sandbox_url), sandbox_url


def representation(credential: Credential, token: Token, access_token: str | None) -> dict[str, Any]:
    kind = credential.definition
    provider, sandbox_url = bound(credential)
    api = access.sent_with(kind, provider, credential.properties, sandbox_url=sandbox_url)
    if kind.declared is None and provider.signs_calls and credential.oauth_app is not None:
        api["signature"] = access.signed_with(provider, credential.oauth_app.client_id, credential.values())
    told = document(access_token, expires_at=token.expires_at, scopes=credential.scopes_granted, api=api)
    return told | bound_to_key(credential, api)


@sensitive_variables()
def document(
    access_token: str | None, *, expires_at: datetime | None, scopes: Iterable[str], api: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "access_token": access_token,
        "token_type": api.get("scheme") or "Bearer",
        "expires_at": timestamp(expires_at) if expires_at else None,
        "scope": " ".join(scopes) or None,
        "api": api,
    }


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
