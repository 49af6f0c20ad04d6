"""What the pages of a credential say of times and failures, in words."""

import re
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from credentials.models import Credential, Expiry, Failure, Token
from providers import kinds

KNOWN_FROM = {
    Expiry.EXPIRES_IN: "The provider said so in its answer.",
    Expiry.EXPIRES_AT: "The provider, or whoever imported it, named the moment.",
    Expiry.TOKEN: "The token says so itself.",
    Expiry.INTROSPECTION: "The provider was asked about the token.",
    Expiry.CATALOGUE: "The provider's documentation says so; its answer did not.",
    Expiry.POLICY: "Nobody says: it is taken for an hour.",
    Expiry.NEVER: "As far as the provider says, it does not end.",
    Expiry.UNKNOWN: "Nobody has said yet. It is found out when the token is next needed.",
}
FAILED = {
    Failure.REFRESH_TOKEN_REFUSED: "The provider did not accept the refresh token.",
    Failure.ROTATION_INTERRUPTED: "An answer of the provider was lost, and the old refresh token is not accepted.",
    Failure.IDENTITY_CHANGED: "The provider answered with another account's tokens.",
    Failure.CREDENTIALS_REFUSED: "The provider did not accept the credentials.",
    Failure.NO_REFRESH_TOKEN: "The access token has ended, and there is no refresh token.",
    Failure.REVOKED: "The provider has revoked the token.",
    Failure.CLIENT_REFUSED: "The provider did not accept the OAuth app.",
    Failure.PROVIDER_UNAVAILABLE: "The provider did not answer.",
    Failure.NOT_UNDERSTOOD: "The provider's answer could not be understood.",
    Failure.REFUSED: "The provider refused, for another reason than the refresh token.",
    Failure.NOT_CALLED: "The provider was not called: its address or a variable forbids it.",
    Failure.UNREADABLE: "What is stored does not open.",
}
BY_THE_API = re.compile(r" \(POST /v1/[^)]*\)")
UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def relative(time: datetime) -> str:
    """`in 3 hours`, `2 days ago`."""
    left = time - timezone.now()
    seconds = abs(left).total_seconds()
    for length, unit in UNITS:
        if seconds >= length:
            count = int(seconds // length)
            amount = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"in {amount}" if left > timedelta() else f"{amount} ago"
    return "in less than a minute" if left > timedelta() else "just now"


def in_the_console(note: str) -> str:
    """A note of a credential's health, without the address in the API of what a button here does."""
    return BY_THE_API.sub("", note)


def ends(credential: Credential, token: Token) -> str:
    """When the access token ends, in as few words as a list has room for."""
    if not has_access_token(credential):
        return "none"
    if token.expires_at is not None:
        return relative(token.expires_at)
    return "never" if token.expiry_source == Expiry.NEVER else "not known yet"


def has_access_token(credential: Credential) -> bool:
    """Whether credentials of this kind have access tokens at all: a key is sent as it is."""
    kind = kinds.load().get(credential.kind)
    return kind is None or kind.declared is None or kind.mints


def events(token: Token) -> list[tuple[datetime, str, bool]]:
    """The history of its refreshes, newest first: when, what came of it, whether it was well."""
    told = []
    for entry in token.history:
        seconds, _, outcome = entry.partition(" ")
        if not seconds.isdecimal() or not outcome:
            continue
        is_well = outcome == "refreshed"
        words = "Refreshed." if is_well else FAILED.get(Failure(outcome), outcome) if outcome in Failure else outcome
        told.append((datetime.fromtimestamp(int(seconds), tz=UTC), words, is_well))
    return told
