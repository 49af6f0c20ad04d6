"""The developer's server fetches the tokens of a trip, or refreshes some."""

import json
from collections.abc import Mapping
from typing import Any

import structlog
from django.views.decorators.debug import sensitive_variables

from credentials import reconnect
from credentials.link.answers import token_answer
from credentials.link.errors import InvalidGrant, InvalidRequest, UnsupportedGrantType
from credentials.link.flow.caller import authenticated
from credentials.link.flow.refresh import refreshed
from credentials.link.forms import ClientAuthentication
from credentials.link.giving_back import give_back
from credentials.models import Authorization, Grant, Step
from credentials.reconnect import ReconnectionRefused
from oauth_apps.models import FailedAuthentication, OAuthApp
from providers.errors import AnswerNotUnderstood

log = structlog.get_logger("link")


@sensitive_variables()
def token(caller: ClientAuthentication, request: Mapping[str, str], *, address: str) -> dict[str, Any]:
    """Hand over the tokens of one authorization, once; or refresh tokens. Source: RFC 6749, 4.1.3, 5 and 6.

    `address`: the caller's. Raises InvalidClient with the code untouched, TooManyFailures, InvalidRequest,
    UnsupportedGrantType; InvalidGrant, with the code used up if it was this app's; ProviderRefused, Unavailable.
    """
    oauth_app = authenticated(caller, address=address)
    match request.get("grant_type", "authorization_code"):
        case "authorization_code":
            return handed_over(oauth_app, caller, request, address=address)
        case "refresh_token":
            return refreshed(oauth_app, request)
        case _:
            raise UnsupportedGrantType("The grant_type must be authorization_code or refresh_token.")


@sensitive_variables()
def handed_over(
    oauth_app: OAuthApp, caller: ClientAuthentication, request: Mapping[str, str], *, address: str
) -> dict[str, Any]:
    code = request.get("code")
    if not code:
        raise InvalidRequest("The parameter code is missing.")
    authorization = Authorization.objects.take(Step.GRANTED, leads_to=Step.EXCHANGED, oauth_app=oauth_app, code=code)
    if authorization is None or not authorization.accepts(
        redirect_uri=request.get("redirect_uri"), code_verifier=request.get("code_verifier")
    ):
        FailedAuthentication.objects.count_one(client=caller.name, address=address)
        log.warning("code_refused", oauth_app=str(oauth_app.pk), replayed=Authorization.objects.knows(code))
        if authorization is not None:
            authorization.fail("code_refused", "The code was shown with another redirect URI or code verifier.")
            give_back(authorization, oauth_app)
        raise InvalidGrant("The code is unknown, used, expired or bound to something else.")
    grant = authorization.granted()
    if authorization.credential_id is not None:
        reconnected(authorization, oauth_app, grant)
    answer = token_answer(oauth_app, grant)
    if authorization.client_state_json is not None:
        answer["state"] = json.loads(authorization.client_state_json)
    elif authorization.client_state is not None:
        answer["state"] = authorization.client_state.decode("utf-8", "replace")
    return answer


@sensitive_variables()
def reconnected(authorization: Authorization, oauth_app: OAuthApp, grant: Grant) -> None:
    """Put the tokens into the credential that the trip was for. Raises InvalidGrant, and gives them back."""
    try:
        reconnect.replace(authorization, oauth_app, grant)
    except (ReconnectionRefused, AnswerNotUnderstood) as exc:
        reason = exc.reason if isinstance(exc, ReconnectionRefused) else exc.error
        log.warning("reconnection_refused", authorization=str(authorization.pk), reason=reason)
        authorization.fail(reason, str(exc))
        give_back(authorization, oauth_app)
        raise InvalidGrant(str(exc)) from exc
