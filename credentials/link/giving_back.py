"""Tokens that a trip has brought and nobody takes go back to the provider, best effort."""

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from django.conf import settings
from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from credentials.models import Authorization, Credential, Grant, Step
from credentials.revocation import give_back_unused
from oauth_apps.models import OAuthApp
from providers import catalogue
from providers.client import Client
from providers.errors import ProviderError
from providers.provider import Provider
from providers.tokens import TokenResponse
from providers.variables import VariableNotAccepted
from sequin_auth.lib.encryption import Unreadable

log = structlog.get_logger("link")

MOST_GIVEN_BACK = 20  # of one OAuth app or credential, while somebody waits for its deletion


def give_back(authorization: Authorization, oauth_app: OAuthApp) -> None:
    """Give the tokens of a trip that ends here back to the provider, best effort. They are erased already."""
    try:
        grant = authorization.granted()
        provider, client = as_at_the_start(authorization, oauth_app)
    except (Unreadable, LookupError, ValueError, ProviderError) as exc:
        log.warning("tokens_not_given_back", authorization=str(authorization.pk), reason=type(exc).__name__)
        return
    give_back_tokens(provider, client, grant, grant.properties)


def give_back_pending(instance: OAuthApp | Credential, **_: Any) -> None:
    """An OAuth app or a credential is deleted, maybe with its account: what nobody has fetched yet goes back after the
    commit.
    """
    rows = Authorization.objects.filter(step=Step.GRANTED).select_related("oauth_app")
    mine = rows.filter(oauth_app=instance) if isinstance(instance, OAuthApp) else rows.filter(credential=instance)
    pending = list(mine[:MOST_GIVEN_BACK])

    def give_them_back() -> None:
        for authorization in pending:
            give_back(authorization, authorization.oauth_app)

    if pending:
        transaction.on_commit(give_them_back, robust=True)


def as_at_the_start(authorization: Authorization, oauth_app: OAuthApp) -> tuple[Provider, Client]:
    """The provider, at the address and as the client of the start.

    How it is spoken to is today's catalogue; the secret is today's too, since an old one would not work. Raises
    ProviderError if somebody has changed the row, so that it leads nowhere.
    """
    snapshot = authorization.snapshot
    sandbox_url = f"{settings.PUBLIC_URL}/sandbox/{authorization.provider}" if snapshot["sandbox"] else ""
    try:
        provider = catalogue.get(authorization.provider).bound(snapshot["variables"], sandbox_url=sandbox_url)
    except VariableNotAccepted as exc:
        raise ProviderError("What is stored of this trip does not make an address of the provider.") from exc
    client = Client(
        client_id=snapshot["client_id"],
        client_secret=oauth_app.client_secret or "",
        variables=snapshot["variables"],
        sandbox=snapshot["sandbox"],
    )
    endpoints = {"token_endpoint": snapshot["token_endpoint"], "issuer": snapshot["issuer"]}
    return msgspec.structs.replace(provider, **endpoints), client


@sensitive_variables()
def give_back_tokens(
    provider: Provider, client: Client, tokens: TokenResponse | Grant, properties: Mapping[str, Any]
) -> None:
    give_back_unused(
        provider,
        client,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        properties=properties,
    )
