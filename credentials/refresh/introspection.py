"""When a token ends of which nobody knows: the provider is asked, and where it does not say, the documentation."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials import announcing
from credentials.models import Credential, Expiry, Failure, Token
from credentials.refresh import lifetimes
from providers import oauth2
from providers.client import Client
from providers.errors import ProviderError, TokenRequestRejected
from providers.provider import Provider
from providers.tokens import assumed_lifetime

SOON = timedelta(minutes=1)
ASKED_AGAIN = timedelta(hours=1)


@sensitive_variables()
def examine(credential: Credential, lease: Token, provider: Provider, client: Client) -> Token | None:
    """Ask the provider when it ends, before it is renewed for nothing. The token, if it may stay; else None.

    An inactive one has ended. Without a refresh token, what nobody tells is asked again later.
    """
    if lease.expiry_source != Expiry.UNKNOWN or not lease.has_access_token or not provider.introspection_endpoint:
        return None
    try:
        expires_at = told_end(provider, client, lease)
    except TokenRequestRejected:
        expires_at = timezone.now()
    lasts = expires_at is not None and expires_at > timezone.now() + SOON
    if lease.has_refresh_token and not lasts:
        return None
    changes: dict[str, Any] = {"due_at": timezone.now() + ASKED_AGAIN}
    if expires_at is not None:
        due_at = lifetimes.due_at(
            credential.definition,
            provider,
            timezone.now(),
            expires_at,
            Expiry.INTROSPECTION,
            lease.refresh_expires_at,
        )
        changes = {
            "expires_at": expires_at,
            "expiry_source": Expiry.INTROSPECTION,
            "due_at": due_at if lease.has_refresh_token else expires_at,
            "failure": Failure.NONE,
            "failed_at": None,
            "failures": 0,
            "retry_at": None,
        }
    with transaction.atomic():
        if Token.objects.give_back(lease, **changes) and "failure" in changes:
            announcing.recovered(lease.pk, before=lease)
    return Token.objects.filter(pk=lease.pk).first()


@sensitive_variables()
def learn_expiry(credential: Credential, token: Token, provider: Provider, client: Client) -> None:
    """Ask the provider when its new token ends; where it does not say, the documentation does.

    A new one that is said to be inactive is one that we may not ask about (RFC 7662, 2.2).
    """
    try:
        expires_at, source = told_end(provider, client, token), str(Expiry.INTROSPECTION)
    except TokenRequestRejected:
        expires_at = None
    if expires_at is None:
        seconds, source = assumed_lifetime(provider)
        expires_at = None if seconds is None else token.obtained_at + timedelta(seconds=seconds)
    now = timezone.now()
    due_at = lifetimes.due_at(credential.definition, provider, now, expires_at, source, token.refresh_expires_at)
    token.expires_at, token.expiry_source = expires_at, source
    token.due_at = due_at and max(due_at, now + lifetimes.LEAST_PAUSE)
    Token.objects.filter(pk=token.pk, version=token.version).update(
        expires_at=token.expires_at, expiry_source=token.expiry_source, due_at=token.due_at
    )


@sensitive_variables()
def told_end(provider: Provider, client: Client, token: Token) -> datetime | None:
    """What the provider says; None if it does not. Raises TokenRequestRejected: it says that the token is inactive."""
    try:
        expires = oauth2.introspect(provider, client, token.access_token or "")
    except TokenRequestRejected as exc:
        if exc.reason == "invalid_token":
            raise
        return None
    except ProviderError:
        return None
    return None if expires is None else datetime.fromtimestamp(expires, tz=UTC)
