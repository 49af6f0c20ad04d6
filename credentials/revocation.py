"""Giving tokens back to the provider, best effort."""

from collections.abc import Mapping
from typing import Any

import structlog
from django.views.decorators.debug import sensitive_variables

from providers import oauth2
from providers.client import Client
from providers.errors import ProviderError
from providers.provider import Provider

log = structlog.get_logger("credentials")


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
        oauth2.revoke(
            provider, client, access_token=access_token or "", refresh_token=refresh_token or "", properties=properties
        )
    except ProviderError as exc:
        log.warning("revocation_failed", provider=provider.slug, reason=exc.error)
        return False
    return True
