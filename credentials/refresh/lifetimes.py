"""When tokens end, and when they are renewed ahead of that."""

import random
from datetime import datetime, timedelta

from django.utils import timezone

from credentials.models import Expiry, Token, Tokens
from providers.kinds import CredentialKind
from providers.provider import Provider
from providers.tokens import TokenResponse, assumed_lifetime, lifetime, refresh_token_expires_in, scope_as_theirs

DAY = timedelta(days=1)
LATE = timedelta(seconds=15)  # before the end, where a provider takes no refresh much earlier
LEAST_PAUSE = timedelta(seconds=30)  # between two refreshes by schedule, whatever a provider answers


def of_answer(kind: CredentialKind, provider: Provider, answer: TokenResponse, before: Token) -> Tokens:
    """What a refresh has brought. `before`: what it replaces."""
    now = timezone.now()
    seconds, source = told_or_assumed(kind, provider, answer)
    expires_at = None if seconds is None else now + timedelta(seconds=seconds)
    refresh_token = answer.refresh_token
    told = refresh_token_expires_in(provider, answer)
    has_refresh_token = refresh_token is not None or before.has_refresh_token
    refresh_expires_at = refresh_token_end(provider, now, before.granted_at, told) if has_refresh_token else None
    ends_later = _ends_later(refresh_expires_at, before.refresh_expires_at)
    due = due_at(kind, provider, now, expires_at, source, refresh_expires_at if ends_later else None)
    return Tokens(
        access_token=answer.access_token,
        refresh_token=refresh_token,
        token_type=answer.token_type,
        scope=scope_as_theirs(provider, answer.scope, answer.scope_as_told) or before.scope,
        obtained_at=now,
        expires_at=expires_at,
        expiry_source=source,
        refresh_expires_at=refresh_expires_at,
        due_at=due and max(due, now + LEAST_PAUSE),
    )


def _ends_later(end: datetime | None, before: datetime | None) -> bool:
    """Whether the refresh has given the refresh token more time; else another one will not either."""
    return end is not None and (before is None or end > before + LEAST_PAUSE)


def told_or_assumed(kind: CredentialKind, provider: Provider, answer: TokenResponse) -> tuple[int | None, str]:
    """Seconds that the access token lives, and where that is known from.

    Unknown, with a provider that can be asked, until it was asked.
    """
    seconds, source = lifetime(answer)
    if seconds is not None:
        return seconds, source
    if provider.introspection_endpoint and not kind.declared:
        return None, Expiry.UNKNOWN
    return assumed_lifetime(kind.declared or provider)


def refresh_token_end(provider: Provider, now: datetime, granted_at: datetime, told: int | None) -> datetime | None:
    """When the refresh token of an answer of `now` ends unless it is used, or for good; None if nobody says."""
    documented = provider.refresh_token_lifetime
    ends = []
    if told is not None:
        ends.append(now + timedelta(seconds=told))
    if documented and documented.idle is not None and told is None:
        ends.append(now + timedelta(seconds=documented.idle))
    if documented and documented.hard is not None:
        ends.append(granted_at + timedelta(seconds=documented.hard))
    return min(ends, default=None)


def due_at(
    kind: CredentialKind,
    provider: Provider,
    now: datetime,
    expires_at: datetime | None,
    expiry_source: str,
    refresh_expires_at: datetime | None,
) -> datetime | None:
    """When the schedule renews: before the access token ends, and before an idle refresh token lapses.

    Spread, so that what was obtained together is not renewed together. None: there is nothing to be done by schedule.
    """
    moments = []
    if expiry_source == Expiry.UNKNOWN:
        moments.append(now)
    elif expires_at is not None:
        moments.append(expires_at - LATE if provider.refresh_only_in_last else ahead_of(now, expires_at))
    if refresh_expires_at is not None and is_kept_alive(kind, provider):
        left = refresh_expires_at - now
        margin = min(max(DAY, left / 5), left / 2.5)
        moments.append(max(now, refresh_expires_at - margin * spread(1, 1.25)))
    return min(moments, default=None)


def ahead_of(now: datetime, expires_at: datetime) -> datetime:
    """One minute or a tenth of what is left before the end, whichever is more, but never before the half."""
    left = max(expires_at - now, timedelta(0))
    margin = min(max(timedelta(minutes=1), left / 10), left / 2)
    return expires_at - margin - left * spread(0, 0.05)


def spread(least: float, most: float) -> float:
    """Any number between the two: what happened together does not go on happening together."""
    # nosemgrep: guessable-random - it spreads the load
    return random.uniform(least, most)  # noqa: S311 - nothing secret about it


def is_kept_alive(kind: CredentialKind, provider: Provider) -> bool:
    """Whether a refresh may give the refresh token more time, as far as the documentation tells."""
    documented = provider.refresh_token_lifetime
    return bool(documented and kind.declared is None and (documented.idle is not None or documented.source))
