"""Who calls an endpoint of the link, and which provider that is about."""

from collections.abc import Mapping

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from credentials.link.errors import InvalidClient, InvalidRequest, TooManyFailures, Unavailable
from credentials.link.forms import ClientAuthentication, canonical_uuid
from oauth_apps import api_tokens
from oauth_apps.models import FailedAuthentication, OAuthApp
from providers import catalogue
from providers.client import Client
from providers.provider import Provider
from providers.variables import VariableNotAccepted

LONGEST_WAIT = 3600  # seconds that a Retry-After of ours may say


@sensitive_variables()
def authenticated(caller: ClientAuthentication, *, address: str) -> OAuthApp:
    """The OAuth app that calls. Unknown ids and wrong secrets are told alike, and counted per client and address.

    Raises InvalidClient, TooManyFailures.
    """
    if wait := FailedAuthentication.objects.wait_for(client=caller.name, address=address):
        raise TooManyFailures(wait)
    app_ids = {app_id for text in caller.client_ids if (app_id := canonical_uuid(text))}
    oauth_app = OAuthApp.objects.enabled().filter(pk__in=app_ids).first() if app_ids else None
    if oauth_app is None or oauth_app.provider not in catalogue.load() or not proves(caller, oauth_app):
        FailedAuthentication.objects.count_one(client=caller.name, address=address)
        raise InvalidClient(scheme=caller.scheme)
    return oauth_app


@sensitive_variables()
def proves(caller: ClientAuthentication, oauth_app: OAuthApp) -> bool:
    """Whether `caller` is this app: any reading of its secret, or an API token of its account that may reveal."""
    if caller.api_token:
        api_token = api_tokens.find(caller.api_token)
        return api_token is not None and api_token.account_id == oauth_app.account_id and "reveal" in api_token.scopes
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
