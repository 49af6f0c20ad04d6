"""What the last exchange, or a check that somebody asked for, tells about an OAuth app."""

from datetime import timedelta

from django.utils import timezone

from oauth_apps.models import HealthStatus, OAuthApp
from oauth_apps.registration import SHARED_REGISTRATION
from oauth_apps.webhooks import events
from providers import oauth1, oauth2
from providers.client_authentication import is_private_key
from providers.errors import (
    AnswerNotUnderstood,
    AuthorizationDenied,
    CallbackNotAccepted,
    ProviderError,
    ProviderUnavailable,
    SignatureMismatch,
    TokenRequestRejected,
)
from providers.variables import VariableNotAccepted
from sequin_auth.lib.encryption import Unreadable

FRESH = timedelta(minutes=1)  # the same news is not written more often than this

SOUND = ""
CLIENT_REFUSED = (
    "The provider does not accept the client id or the client secret. Compare both with the provider's console, "
    "and save the secret again."
)
NOT_ALLOWED = (
    "The provider does not allow this OAuth app to use the authorization code flow. Look at its settings there."
)
NOT_SIGNED = (
    "An answer of the provider was not signed with this client secret. Unless an end user has changed it on the way, "
    "the secret is wrong: compare it with the provider's console, and save it again."
)
NOT_CALLED = (
    "The provider was not called: its address is not public, or something else about this OAuth app forbids it. "
    "Compare the variables and the client secret with the provider's setup steps."
)
UNREACHABLE = "The provider did not answer. Nothing needs to be done unless this goes on."
NOT_UNDERSTOOD = "The provider answered in a way that its documentation does not promise, so the exchange failed."
NOT_CHECKABLE = (
    "Client id and secret can only be checked by connecting an account, since the provider's address depends on it."
)

NOT_TOLD = (
    "Client id and secret can only be checked by connecting an account, since the provider does not tell a wrong client"
    " from a wrong code."
)

UNREADABLE = (
    "The stored client secret does not open: it was changed in the database, or its key is missing from"
    " ENCRYPTION_KEYS. Restore the key, or save the secret again."
)
SIGNS = (
    "The client secret is a private key: it signs for this OAuth app's credentials and is sent nowhere, so it can only"
    " be checked with one of them."
)


def observe(oauth_app: OAuthApp, problem: ProviderError | None) -> None:
    """Write down what an exchange has told. What concerns one end user alone says nothing of the app."""
    status, note = _verdict(problem)
    if status is None:
        return
    status, notes = _beside_what_stands(oauth_app, status, note)
    is_news = (oauth_app.health_status, oauth_app.health_notes) != (status, notes)
    if is_news or oauth_app.health_time < timezone.now() - FRESH:
        _write(oauth_app, status, notes)


def _write(oauth_app: OAuthApp, status: HealthStatus, notes: list[str]) -> None:
    if oauth_app.observe(status, *notes):
        events.announce(
            events.OAUTH_APP_HEALTH_CHANGED, account=oauth_app.account_id, data=events.oauth_app_data(oauth_app)
        )


def _beside_what_stands(oauth_app: OAuthApp, status: HealthStatus, note: str) -> tuple[HealthStatus, list[str]]:
    """The warning that another account claims the same client ID stays until this app's own secret has succeeded."""
    stays = SHARED_REGISTRATION in oauth_app.health_notes and note != SOUND
    notes = [SHARED_REGISTRATION] if stays else []
    if stays and status == HealthStatus.OK:
        status = HealthStatus.WARN
    return status, [*notes, note] if note else notes


def check(oauth_app: OAuthApp) -> OAuthApp:
    """Ask the provider whether client id and secret are sound, with a code that cannot exist. Needs no end user."""
    definition = oauth_app.definition
    try:
        client_secret = oauth_app.client_secret or ""
    except Unreadable:
        return _noted(oauth_app, HealthStatus.ERROR, UNREADABLE)
    by_private_key = "private_key_jwt" in definition.token_endpoint_auth_methods_supported
    if not (definition.client_secret_from or by_private_key) and is_private_key(client_secret):
        return _not_checkable(oauth_app, SIGNS)
    try:
        variables = definition.accept_variables({}, fixed=oauth_app.variables)
        if definition.missing_variables(variables):
            return _not_checkable(oauth_app, NOT_CHECKABLE)
        provider = definition.bound(variables, sandbox_url=oauth_app.sandbox_url)
        probe = oauth1.probe if provider.auth == "oauth1" else oauth2.probe
        probe(provider, oauth_app.client(variables), redirect_uri=oauth_app.callback_url)
    except VariableNotAccepted as exc:
        return _noted(oauth_app, HealthStatus.ERROR, f"The variable {exc.name} {exc.rule}.")
    except TokenRequestRejected as exc:
        if exc.reason not in {"invalid_client", "unauthorized_client"}:
            return _not_checkable(oauth_app, NOT_TOLD)
        return _noted(oauth_app, *_told(exc))
    except ProviderError as exc:
        return _noted(oauth_app, *_told(exc))
    return _noted(oauth_app, HealthStatus.OK, SOUND)


def _told(problem: ProviderError) -> tuple[HealthStatus, str]:
    status, note = _verdict(problem)
    return status or HealthStatus.WARN, note or NOT_UNDERSTOOD


def _not_checkable(oauth_app: OAuthApp, why: str) -> OAuthApp:
    """What was learnt before stays as it is."""
    learnt = [note for note in oauth_app.health_notes if note not in {NOT_CHECKABLE, NOT_TOLD, SIGNS}]
    _write(oauth_app, HealthStatus(oauth_app.health_status), [*learnt, why])
    return oauth_app


def _noted(oauth_app: OAuthApp, status: HealthStatus, note: str) -> OAuthApp:
    status, notes = _beside_what_stands(oauth_app, status, note)
    _write(oauth_app, status, notes)
    return oauth_app


def _verdict(problem: ProviderError | None) -> tuple[HealthStatus | None, str]:
    match problem:
        case None:
            return HealthStatus.OK, SOUND
        case TokenRequestRejected(reason="invalid_client"):
            return HealthStatus.ERROR, CLIENT_REFUSED
        case TokenRequestRejected(reason="unauthorized_client"):
            return HealthStatus.ERROR, NOT_ALLOWED
        case TokenRequestRejected(reason="server_error"):
            return HealthStatus.WARN, NOT_UNDERSTOOD
        case SignatureMismatch():
            return HealthStatus.WARN, NOT_SIGNED
        case ProviderUnavailable():
            return HealthStatus.WARN, UNREACHABLE
        case AnswerNotUnderstood():
            return HealthStatus.WARN, NOT_UNDERSTOOD
        case AuthorizationDenied() | CallbackNotAccepted() | TokenRequestRejected():
            return None, ""
        case _:
            return HealthStatus.WARN, NOT_CALLED
