"""Who calls an endpoint of the link, and which provider that is about."""

from collections.abc import Mapping
from typing import NoReturn

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from credentials.link.errors import (
    InvalidClient,
    InvalidRequest,
    LimitReached,
    TooManyFailures,
    TooManyOfOneClient,
    TooManyStrangers,
    Unavailable,
)
from credentials.link.forms import ClientAuthentication, canonical_uuid
from oauth_apps import api_tokens, audit
from oauth_apps.limits import counter, network_of, tell
from oauth_apps.models import FailedAuthentication, OAuthApp
from providers import catalogue
from providers.client import Client
from providers.provider import Provider
from providers.variables import VariableNotAccepted

LONGEST_WAIT = 3600  # seconds that a Retry-After of ours may say


@sensitive_variables()
def authenticated(caller: ClientAuthentication, *, address: str) -> OAuthApp:
    """The OAuth app that calls; a good secret is let in, whatever else has come from its address.

    Raises InvalidClient, TooManyFailures, TooManyOfOneClient, TooManyStrangers.
    """
    count_one("exchanges", caller.sign, address=address, error=TooManyOfOneClient)
    app_ids = {app_id for text in caller.client_ids if (app_id := canonical_uuid(text))}
    oauth_app = OAuthApp.objects.by_id(*app_ids) if app_ids else None
    if (
        oauth_app is None
        or not oauth_app.enabled
        or oauth_app.provider not in catalogue.load()
        or not proves(caller, oauth_app)
    ):
        turn_away(caller, address=address)
    if not caller.api_token:
        audit.identify_as(f"{oauth_app.name} (client)")
    return oauth_app


def count_one(kind: str, subject: str, *, address: str, error: type[LimitReached]) -> None:
    """Raises `error` if there were too many in these ten seconds. `address`: for the log."""
    if refusal := counter.count(kind, subject):
        tell(refusal, address)
        raise error(refusal.seconds)


def count_stranger(address: str) -> None:
    """Somebody there has shown no good secret. Raises TooManyStrangers."""
    count_one("unauthorized", network_of(address), address=address, error=TooManyStrangers)


@sensitive_variables()
def turn_away(caller: ClientAuthentication, *, address: str) -> NoReturn:
    """Unknown ids and wrong secrets are told alike: counted by address, and then by client and address.

    Raises TooManyStrangers, with nothing written; TooManyFailures; InvalidClient.
    """
    try:
        count_stranger(address)
    except TooManyStrangers:
        counter.shut("exchanges", caller.sign)  # what was wrong is not looked up again
        raise
    network = network_of(address)
    if wait := FailedAuthentication.objects.wait_for(client=caller.name, address=network):
        raise TooManyFailures(wait)
    FailedAuthentication.objects.count_one(client=caller.name, address=network)
    raise InvalidClient(scheme=caller.scheme)


@sensitive_variables()
def proves(caller: ClientAuthentication, oauth_app: OAuthApp) -> bool:
    """Whether `caller` is this app: any reading of its secret, or an API token of its account that may reveal."""
    if caller.api_token:
        api_token = api_tokens.find(caller.api_token)
        if api_token is None or api_token.account_id != oauth_app.account_id or "reveal" not in api_token.scopes:
            return False
        audit.identify_by(api_token)
        return True
    matches = [oauth_app.has_secret(secret) for app_id, secret in caller.readings if app_id == str(oauth_app.pk)]
    return any(matches)


def refuse_sandbox_that_is_off(oauth_app: OAuthApp) -> None:
    if oauth_app.sandbox_url and not settings.SANDBOX:
        raise InvalidRequest("The sandbox is switched off on this gateway.")


def addressed(oauth_app: OAuthApp, request: Mapping[str, str]) -> tuple[Provider, Client]:
    """The provider at the hosts of one customer: the variables that the app fixes, else the request names."""
    refuse_sandbox_that_is_off(oauth_app)
    definition = oauth_app.definition
    try:
        variables = definition.accept_variables(request, fixed=oauth_app.variables)
    except VariableNotAccepted as exc:
        raise InvalidRequest(f"The parameter {exc.name} {exc.rule}.") from exc
    if missing := definition.missing_variables(variables):
        raise InvalidRequest(f"The parameter {missing[0]} is missing: this provider's address depends on it.")
    return definition.bound(variables, sandbox_url=oauth_app.sandbox_url), oauth_app.client(variables)


def unavailable(message: str, *, retry_after: int | None) -> Unavailable:
    """`retry_after`: seconds, if the provider or a lease says so; told within an hour."""
    return Unavailable(message, retry_after=min(max(retry_after or 5, 1), LONGEST_WAIT))
