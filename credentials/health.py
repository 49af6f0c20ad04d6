"""What is known of a credential, in words that somebody who supports the developer's users can act on."""

from datetime import datetime, timedelta

from django.utils import timezone

from credentials.models import Credential, Expiry, Failure, Token
from oauth_apps.models import HealthStatus
from providers import catalogue, kinds
from providers.tokens import missing_scopes

FRESH = timedelta(hours=1)  # the same news is not written more often than this
WARNED_BEFORE = (14, 7, 1)  # days before a refresh token ends

RECONNECT = "Send the account's owner a reconnect link (POST /v1/credentials/{id}/reconnect)."
REPLACE = "Import the new one (POST /v1/credentials), and delete this credential if the new one has another id."

ENDED = {
    Failure.REFRESH_TOKEN_REFUSED: "Since {since} {provider} does not accept the refresh token any more: it was"
    " revoked, has expired, or was used elsewhere.",
    Failure.ROTATION_INTERRUPTED: "A refresh was interrupted (rotation_interrupted): {provider} may have replaced the"
    " refresh token, but its answer never reached us, and since {since} it does not accept the old one.",
    Failure.IDENTITY_CHANGED: "On {since} {provider} answered a refresh with the tokens of another account. They were"
    " not stored.",
    Failure.CREDENTIALS_REFUSED: "Since {since} {provider} does not accept these credentials: they were changed,"
    " revoked or uninstalled there.",
    Failure.NO_REFRESH_TOKEN: "The access token has ended ({since}), and there is no refresh token to renew it with.",
    Failure.REVOKED: "Since {since} {provider} does not accept the token: it was revoked.",
}
TROUBLE = {
    Failure.PROVIDER_UNAVAILABLE: "{provider} has not answered since {since} ({failures} in a row).",
    Failure.NOT_UNDERSTOOD: "Since {since} {provider} answers refreshes in a way that its documentation does not"
    " promise ({failures} in a row).",
    Failure.REFUSED: "Since {since} {provider} refuses to refresh, for another reason than the refresh token"
    " ({failures} in a row). Look at the OAuth app's settings there.",
    Failure.NOT_CALLED: "Since {since} {provider} is not called: its address is not public, the provider or a variable"
    " has left the catalogue, or the OAuth app forbids it. Compare the variables with the provider's setup steps.",
}
UNREADABLE = (
    "What is stored does not open (noticed {since}): it was changed in the database, or its key is missing from"
    " ENCRYPTION_KEYS. Restore the key or the row, or reconnect the account."
)
STILL_GOOD = "The access token is good until {until}; it is tried again by itself."
NO_MORE = "The access token has ended, so there is none to give until a refresh succeeds; it is tried again by itself."


def assess(credential: Credential, token: Token) -> tuple[HealthStatus, list[str]]:
    """The worst of what is known, and a note for each thing."""
    found = [*_of_failure(credential, token), *_of_what_ends(credential, token), *_of_scopes(credential)]
    order = [HealthStatus.OK, HealthStatus.WARN, HealthStatus.ERROR]
    worst = max((status for status, _ in found), key=order.index, default=HealthStatus.OK)
    return worst, [note for _, note in found]


def note(credential: Credential, token: Token) -> None:
    """Write down what `token` tells, unless that is no news."""
    status, notes = assess(credential, token)
    is_news = (credential.health_status, credential.health_notes) != (status, notes)
    if is_news or credential.health_time < timezone.now() - FRESH:
        credential.observe(status, notes)


def _of_failure(credential: Credential, token: Token) -> list[tuple[HealthStatus, str]]:
    failure = Failure(token.failure)
    words = {
        "provider": provider_name(credential.provider),
        "since": moment(token.failed_at),
        "failures": token.failures,
    }
    if failure in ENDED:
        what_to_do = RECONNECT.replace("{id}", str(credential.pk)) if credential.oauth_app_id else REPLACE
        return [(HealthStatus.ERROR, f"{ENDED[failure].format(**words)} {what_to_do}")]
    if failure == Failure.UNREADABLE:
        return [(HealthStatus.ERROR, UNREADABLE.format(**words))]
    if failure not in TROUBLE:
        return []  # CLIENT_REFUSED is news of the OAuth app
    if token.lasts(0):
        until = moment(token.expires_at) if token.expires_at else "further notice"
        return [(HealthStatus.WARN, f"{TROUBLE[failure].format(**words)} {STILL_GOOD.format(until=until)}")]
    is_outage = failure == Failure.PROVIDER_UNAVAILABLE
    return [(HealthStatus.WARN if is_outage else HealthStatus.ERROR, f"{TROUBLE[failure].format(**words)} {NO_MORE}")]


def _of_what_ends(credential: Credential, token: Token) -> list[tuple[HealthStatus, str]]:
    if token.needs_reauthorization:
        return []
    if (days := days_of_warning(token)) is not None:
        within = "a day" if days == 1 else f"{days} days"
        ends = f"The refresh token ends on {moment(token.refresh_expires_at)}, within {within}."
        return [(HealthStatus.WARN, f"{ends} {RECONNECT.replace('{id}', str(credential.pk))}")]
    if ends_for_good(credential, token):
        ends = f"The access token ends on {moment(token.expires_at)}, and there is no refresh token to renew it with."
        return [(HealthStatus.WARN, f"{ends} {RECONNECT.replace('{id}', str(credential.pk))}")]
    return []


def ends_for_good(credential: Credential, token: Token) -> bool:
    """Whether the access token ends soon, and nothing can renew it."""
    kind = kinds.load().get(credential.kind)
    if kind is None or kind.declared is not None or token.has_refresh_token or token.expires_at is None:
        return False
    return token.expires_at < timezone.now() + timedelta(days=WARNED_BEFORE[0]) and token.expiry_source != Expiry.POLICY


def days_of_warning(token: Token) -> int | None:
    """Which of WARNED_BEFORE is reached; None if none is. Short-lived ones are warned of in their last half alone."""
    if token.refresh_expires_at is None or not token.has_refresh_token:
        return None
    left = token.refresh_expires_at - timezone.now()
    whole = token.refresh_expires_at - token.obtained_at
    reached = [days for days in WARNED_BEFORE if left <= timedelta(days=days) and timedelta(days=days) <= whole / 2]
    return min(reached, default=None)


def _of_scopes(credential: Credential) -> list[tuple[HealthStatus, str]]:
    if not (missing := missing_of(credential)):
        return []
    lacks = f"The account's owner did not grant, or took back: {', '.join(missing)}."
    return [
        (HealthStatus.WARN, f"{lacks} A reconnect link asks again (POST /v1/credentials/{credential.pk}/reconnect).")
    ]


def missing_of(credential: Credential) -> list[str]:
    """The scopes that were asked for and not granted."""
    provider = catalogue.load().get(credential.provider)
    if provider is None:
        return []
    return missing_scopes(provider, credential.scopes_requested, credential.scopes_granted)


def provider_name(slug: str) -> str:
    provider = catalogue.load().get(slug)
    return provider.name if provider else slug


def moment(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC" if time else "an unknown time"
