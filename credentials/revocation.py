"""Giving tokens back to the provider, best effort."""

from collections.abc import Mapping
from typing import Any

import structlog
from django.views.decorators.debug import sensitive_variables

from credentials.models import Token
from providers import oauth2, wire
from providers.client import Client
from providers.errors import ProviderError
from providers.provider import Provider

log = structlog.get_logger("credentials")

ENOUGH = 30  # seconds that an access token has to last to revoke by it


@sensitive_variables()
def with_live_access_token(
    provider: Provider, client: Client, token: Token, properties: Mapping[str, Any]
) -> tuple[str | None, str | None]:
    """The tokens to revoke, access and refresh token, of a credential that is about to end.

    Some providers revoke by the access token alone: one that has ended is refreshed once more, else the refresh token
    would outlive the credential.
    """
    access_token, refresh_token = token.access_token, token.refresh_token
    how = provider.revocation
    by_access_token = how.auth == "bearer" or how.token == "access_token"
    if not (provider.revokes and by_access_token and refresh_token) or token.lasts(ENOUGH):
        return access_token, refresh_token
    try:
        answer = oauth2.refresh(provider, client, refresh_token, properties=properties)
    except ProviderError as exc:
        log.warning("not_refreshed_to_revoke", provider=provider.slug, reason=exc.error)
        return access_token, refresh_token
    return answer.access_token, answer.refresh_token


@sensitive_variables()
def give_back_unused(
    provider: Provider,
    client: Client,
    *,
    access_token: str | None,
    refresh_token: str | None,
    properties: Mapping[str, Any],
) -> None:
    """Revoke tokens that nobody will use, and that nobody knows of.

    Where a revocation ends all that the account ever granted, there is none: an older connection would die with them.
    """
    if not provider.revocation.whole_grant:
        give_back(provider, client, access_token=access_token, refresh_token=refresh_token, properties=properties)


@sensitive_variables()
def give_back(
    provider: Provider,
    client: Client,
    *,
    access_token: str | None,
    refresh_token: str | None,
    properties: Mapping[str, Any],
) -> bool:
    """Revoke tokens; whether the provider did so. Its failure changes nothing here, and is in the log."""
    if not provider.revokes:
        return False
    try:
        with wire.last_moment():
            oauth2.revoke(
                provider,
                client,
                access_token=access_token or "",
                refresh_token=refresh_token or "",
                properties=properties,
            )
    except ProviderError as exc:
        log.warning("revocation_failed", provider=provider.slug, reason=exc.error)
        return False
    return True
