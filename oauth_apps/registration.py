"""What must be true of an OAuth app, whoever registers it: the API and the console's form ask here."""

import re
from collections.abc import Mapping, Sequence

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone

from oauth_apps.models import HealthStatus, OAuthApp
from oauth_apps.webhooks import events
from providers import catalogue
from providers.client_authentication import KeyNotAccepted, accept_private_key, is_private_key
from providers.provider import Provider
from providers.sandbox.script import simulated
from providers.variables import VariableNotAccepted

MAX_SCOPE = 4096
SCOPE_TOKEN = re.compile(r"[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]+", re.ASCII)  # RFC 6749, 3.3, but for the comma
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_SECRET = 8192

SHARED_REGISTRATION = (
    "Another account has registered the same client ID at this provider. Until a token exchange or a check has "
    "succeeded with this app's own client secret, take care whose registration it is."
)


def accept_provider(slug: str) -> Provider:
    """The provider at which an app is registered, by its slug or an alias.

    Raises ValidationError: there is none, or it takes no OAuth apps.
    """
    provider = catalogue.find(slug)
    if provider is None:
        raise ValidationError("Is not in the catalogue: GET /v1/providers lists it.", code="unknown")
    if not provider.has_code_flow:
        offered = ", ".join(provider.kinds)
        raise ValidationError(f"Takes no OAuth apps. Its credentials need none: {offered}.", code="no_oauth_apps")
    return provider


def accept_client_secret(provider: Provider, client_secret: str | None) -> str | None:
    """Raises ValidationError: missing though the provider needs one, a mask, or not fit to be sent in a header.

    A private key (PEM) is never sent, so it may have lines, where the provider has a use for one.
    """
    if client_secret is None:
        if provider.takes_public_clients:
            return None
        raise ValidationError("Is required: this provider takes no clients without a secret.", code="required")
    if set(client_secret) == {"*"}:
        raise ValidationError("Is the mask that stands for the secret, not a secret.", code="mask")
    is_a_key_file = provider.client_secret_from or (provider.takes_private_keys and is_private_key(client_secret))
    if CONTROL.search(client_secret.replace("\r\n", "\n").replace("\n", "") if is_a_key_file else client_secret):
        raise ValidationError("Must not hold line breaks or other control characters.", code="control")
    if is_private_key(client_secret) and "private_key_jwt" in provider.token_endpoint_auth_methods_supported:
        try:
            accept_private_key(provider, client_secret)
        except KeyNotAccepted as exc:
            raise ValidationError(str(exc), code="private_key") from exc
    return client_secret


def accept_authentication(variables: Mapping[str, str], client_secret: str | None) -> None:
    """Raises ValidationError: the client secret is not one by which the client can authenticate itself as it is to."""
    method = variables.get("token_endpoint_auth_method", "")
    if not method or client_secret is None:
        return
    if method == "private_key_jwt" and not is_private_key(client_secret):
        raise ValidationError("Must be a private key (PEM or JWK) for private_key_jwt.", code="private_key")
    if method != "private_key_jwt" and is_private_key(client_secret):
        raise ValidationError(f"Is a private key, and {method} takes a secret.", code="private_key")


def accept_variables(provider: Provider, variables: Mapping[str, str]) -> dict[str, str]:
    """The fixed variables in their canonical spelling. Raises ValidationError with a message for each name."""
    accepted: dict[str, str] = {}
    errors: dict[str, str] = {}
    for name, value in variables.items():
        variable = provider.variables.get(name)
        if variable is None:
            known = ", ".join(provider.variables) or "none"
            errors[name] = f"Is no variable of this provider. There are: {known}."
        elif "app" not in variable.sources:
            errors[name] = "Cannot be fixed on an OAuth app; it comes with each start link."
        elif CONTROL.search(value):
            errors[name] = "Must not hold line breaks or other control characters."
        else:
            try:
                accepted[name] = variable.accept(name, value)
            except VariableNotAccepted as exc:
                errors[name] = f"It {exc.rule}."
    for name, variable in provider.variables.items():
        if variable.required and not variable.default and variable.sources == ["app"] and name not in variables:
            errors[name] = "Is required: it can be given on the OAuth app alone."
    if errors:
        raise ValidationError(errors)
    return accepted


def accept_environment(provider: Provider, environment: str) -> str:
    """Raises ValidationError: an unknown one, or a sandbox that is not there."""
    if environment not in OAuthApp.Environment:
        raise ValidationError("Must be live or sandbox.", code="environment")
    if environment == OAuthApp.Environment.SANDBOX and not settings.SANDBOX:
        raise ValidationError("The sandbox is switched off here.", code="switched_off")
    if environment == OAuthApp.Environment.SANDBOX and simulated(provider.slug) is None:
        raise ValidationError("This provider has no simulator: its file has no [sandbox] table.", code="no_simulator")
    return environment


def accept_scopes(scopes: Sequence[str]) -> list[str]:
    """Raises ValidationError. Source: RFC 6749, 3.3; a comma would end the scope at the start link."""
    if len(" ".join(scopes)) > MAX_SCOPE:
        raise ValidationError(f"All scopes together have at most {MAX_SCOPE} characters.", code="too_long")
    if not all(SCOPE_TOKEN.fullmatch(scope) for scope in scopes):
        raise ValidationError(
            'A scope has only visible ASCII characters, and none of " \\ and the comma; name each one for itself.',
            code="scope",
        )
    return list(scopes)


def has_client_secret(oauth_app: OAuthApp) -> bool:
    """Without opening the seal, which may be broken."""
    return vars(oauth_app).get("client_secret") is not None


def begin_health(oauth_app: OAuthApp) -> None:
    """Sets the health (`save()` writes it) of an app of which nothing was observed yet, at the place where it now is.

    It is `ok`, unless another account has registered the same client ID already.
    """
    before = oauth_app.health_status
    oauth_app.health_status, oauth_app.health_notes, oauth_app.health_time = HealthStatus.OK, [], timezone.now()
    is_live = oauth_app.environment == OAuthApp.Environment.LIVE
    if is_live and OAuthApp.objects.squatted_by(oauth_app).exists():
        oauth_app.health_status, oauth_app.health_notes = HealthStatus.WARN, [SHARED_REGISTRATION]
    if not oauth_app._state.adding and oauth_app.health_status != before:
        events.announce(
            events.OAUTH_APP_HEALTH_CHANGED, account=oauth_app.account_id, data=events.oauth_app_data(oauth_app)
        )


class MustStay(Exception):
    """The app's place, its variables and its environment, cannot change now. `code`: for machines."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


def demand_freedom_to_move(oauth_app: OAuthApp) -> None:
    """Raises MustStay: end users are on their way, or credentials would be used at another place than they are of."""
    if oauth_app.authorizations.open().exists():
        raise MustStay(
            "End users are on their way with this OAuth app; try again when their links have expired.",
            code="authorizations_open",
        )
    if oauth_app.credentials.exists():
        raise MustStay(
            "Credentials were made with this OAuth app as it is; register another one for another place.",
            code="has_credentials",
        )
