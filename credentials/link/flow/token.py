"""The developer's server fetches the tokens of a trip, or refreshes some."""

import json
from collections.abc import Mapping
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from credentials import reconnect
from credentials.link.answers import token_answer
from credentials.link.errors import InvalidGrant, InvalidRequest, TooManyUnknownCodes, UnsupportedGrantType
from credentials.link.flow.caller import authenticated, count_one
from credentials.link.flow.refresh import refreshed
from credentials.link.flow.revoke import revoke_all_of
from credentials.link.forms import ClientAuthentication
from credentials.link.giving_back import give_back
from credentials.models import Authorization, Credential, Grant, Step
from credentials.reconnect import ReconnectionRefused
from oauth_apps import audit
from oauth_apps.models import AuditEvent, OAuthApp
from providers.errors import AnswerNotUnderstood
from sequin_auth.lib import measures
from sequin_auth.lib.encryption import digest
from sequin_auth.lib.measures import Name

log = structlog.get_logger("link")


@sensitive_variables()
def token(caller: ClientAuthentication, request: Mapping[str, str], *, address: str) -> dict[str, Any]:
    """Hand over the tokens of one authorization, once; or refresh tokens. Source: RFC 6749, 4.1.3, 5 and 6.

    `address`: the caller's. Raises InvalidClient with the code untouched, TooManyFailures and those below it,
    InvalidRequest, UnsupportedGrantType; InvalidGrant, with the code used up if it was this app's; ProviderRefused,
    Unavailable.
    """
    oauth_app = authenticated(caller, address=address)
    match request.get("grant_type", "authorization_code"):
        case "authorization_code":
            return handed_over(oauth_app, request, address=address)
        case "refresh_token":
            return refreshed(oauth_app, request)
        case _:
            raise UnsupportedGrantType("The grant_type must be authorization_code or refresh_token.")


@sensitive_variables()
def handed_over(oauth_app: OAuthApp, request: Mapping[str, str], *, address: str) -> dict[str, Any]:
    code = request.get("code")
    if not code:
        raise InvalidRequest("The parameter code is missing.")
    grant = None
    with transaction.atomic():  # nobody gets tokens of whom it is not written down
        authorization = Authorization.objects.take(
            Step.GRANTED, leads_to=Step.EXCHANGED, oauth_app=oauth_app, code=code
        )
        if authorization is not None and authorization.accepts(
            redirect_uri=request.get("redirect_uri"), code_verifier=request.get("code_verifier")
        ):
            grant = authorization.granted()
            if authorization.credential_id is None:
                audit.write([exchange(authorization, oauth_app)])
    if authorization is None or grant is None:
        if authorization is None:
            note_replay(oauth_app, code)
            count_one("unknown_codes", str(oauth_app.pk), address=address, error=TooManyUnknownCodes)
        # nosemgrep: secret-in-log - whether we know the code, not the code
        log.warning("code_refused", oauth_app=str(oauth_app.pk), replayed=Authorization.objects.knows(code))
        if authorization is not None:
            authorization.fail("code_refused", "The code was shown with another redirect URI or code verifier.")
            audit.record_of_strangers(
                "authorization.code_refused", account=oauth_app.account_id, to=authorization, detail=of(oauth_app)
            )
            give_back(authorization, oauth_app)
        raise InvalidGrant("The code is unknown, used, expired or bound to something else.")
    if authorization.credential_id is not None:
        reconnected(authorization, oauth_app, grant)
    measures.count(Name.TRIPS, authorization.provider, "connected")
    answer = token_answer(oauth_app, grant)
    if authorization.client_state_json is not None:
        answer["state"] = json.loads(authorization.client_state_json)
    elif authorization.client_state is not None:
        answer["state"] = authorization.client_state.decode("utf-8", "replace")
    return answer


def exchange(authorization: Authorization, oauth_app: OAuthApp) -> AuditEvent:
    """The event of it."""
    return audit.event(
        "authorization.exchanged", account=oauth_app.account_id, to=authorization, named=oauth_app.name,
        detail=of(oauth_app),
    )  # fmt: skip


def of(oauth_app: OAuthApp) -> str:
    return f"OAuth app {oauth_app.pk}"


def note_replay(oauth_app: OAuthApp, code: str) -> None:
    """Write down, once, that a code of this app was shown again; see docs/decisions/a-replayed-code-revokes-nothing."""
    trips = Authorization.objects.filter(code_hash=digest(code), oauth_app=oauth_app)
    trip = trips.exclude(step=Step.GRANTED).first()  # which is one that came too late
    if trip is None:
        return
    action = "authorization.code_replayed"
    if not AuditEvent.objects.filter(object_id=str(trip.pk), action=action).exists():
        audit.record_of_strangers(action, account=oauth_app.account_id, to=trip, detail=of(oauth_app))
    if settings.REVOKE_ON_REPLAY and trip.step == Step.EXCHANGED and trip.granted_at:
        revoke_all_of(oauth_app, granted_at=trip.granted_at)


@sensitive_variables()
def reconnected(authorization: Authorization, oauth_app: OAuthApp, grant: Grant) -> None:
    """Put the tokens into the credential that the trip was for. Raises InvalidGrant, and gives them back."""
    try:
        with transaction.atomic():
            credential = Credential.objects.get(pk=reconnect.replace(authorization, oauth_app, grant))
            detail = f"trip {authorization.pk}"
            renewal = audit.event("credential.reconnected", account=oauth_app.account_id, to=credential, detail=detail)
            audit.write([exchange(authorization, oauth_app), renewal])
    except (ReconnectionRefused, AnswerNotUnderstood) as exc:
        reason = exc.reason if isinstance(exc, ReconnectionRefused) else exc.error
        log.warning("reconnection_refused", authorization=str(authorization.pk), reason=reason)
        authorization.fail(reason, str(exc))
        give_back(authorization, oauth_app)
        raise InvalidGrant(str(exc)) from exc
