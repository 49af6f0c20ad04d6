"""The developer's server gives a token up. Source: RFC 7009."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials import announcing, health
from credentials.link.errors import InvalidRequest, TokenError, UnsupportedTokenType
from credentials.link.flow.caller import addressed, authenticated, refuse_sandbox_that_is_off, unavailable
from credentials.link.forms import ClientAuthentication
from credentials.models import Failure, Token
from credentials.revocation import with_live_access_token
from oauth_apps import audit
from oauth_apps import health as app_health
from oauth_apps.models import OAuthApp
from providers import oauth2
from providers.client import Client
from providers.errors import ParameterMissing, ProviderError
from providers.provider import Provider
from providers.variables import VariableNotAccepted
from sequin_auth.lib.encryption import Unreadable

log = structlog.get_logger("link")


@sensitive_variables()
def revoke(caller: ClientAuthentication, request: Mapping[str, str], *, address: str) -> None:
    """Revoke a token at the provider. A token that is unknown there is no error. Source: RFC 7009, 2.

    Raises what `token` raises, and UnsupportedTokenType where the provider has no revocation.
    """
    oauth_app = authenticated(caller, address=address)
    token = request.get("token")
    if not token:
        raise InvalidRequest("The parameter token is missing.")
    if stored := Token.objects.with_refresh_token(token, oauth_app_id=oauth_app.pk):
        revoke_stored(oauth_app, stored)
    else:
        revoke_unknown(oauth_app, request, token)
        audit.record("oauth_app.token_revoked", account=oauth_app.account_id, to=oauth_app)


@sensitive_variables()
def revoke_stored(oauth_app: OAuthApp, stored: Token) -> None:
    """End a stored credential, by its present tokens: the one that was shown may have been rotated by us since."""
    at_provider_by_present_tokens(oauth_app, stored)
    note_revoked(stored)


@sensitive_variables()
def revoke_all_of(oauth_app: OAuthApp, *, granted_at: datetime) -> None:
    """End what is stored of that grant, at the provider as far as it does so now, and here in any case."""
    for stored in Token.objects.select_related("credential__oauth_app").filter(
        credential__oauth_app=oauth_app, granted_at=granted_at
    ):
        if stored.needs_reauthorization:
            continue
        try:
            at_provider_by_present_tokens(oauth_app, stored)
        except (TokenError, Unreadable, LookupError) as exc:
            log.warning("revocation_failed", credential=str(stored.pk), reason=type(exc).__name__)
        note_revoked(stored)


@sensitive_variables()
def at_provider_by_present_tokens(oauth_app: OAuthApp, stored: Token) -> None:
    refuse_sandbox_that_is_off(oauth_app)
    credential = stored.credential
    try:
        provider, client = credential.speaking()
    except VariableNotAccepted as exc:
        raise InvalidRequest(f"The variable {exc.name} of this credential {exc.rule}.") from exc
    properties = credential.values()
    access_token, refresh_token = with_live_access_token(provider, client, stored, properties)
    at_provider(
        oauth_app,
        provider,
        client,
        access_token=access_token or "",
        refresh_token=refresh_token or "",
        properties=properties,
    )


def note_revoked(stored: Token) -> None:
    """Another version: what a refresh that is under way brings is dropped, and given back."""
    credential = stored.credential
    with transaction.atomic():
        is_noted = Token.objects.filter(pk=stored.pk, version=stored.version).update(
            version=F("version") + 1, failure=Failure.REVOKED, failed_at=timezone.now(), due_at=None, retry_at=None
        )
        if is_noted:
            announcing.needs_reauthorization(stored.pk, before=stored)
        audit.record("credential.revoked", account=credential.account_id, to=credential)
    if is_noted:
        health.note(credential, Token.objects.get(pk=stored.pk))
    log.info("revoked", credential=str(credential.pk), provider=credential.provider)


@sensitive_variables()
def revoke_unknown(oauth_app: OAuthApp, request: Mapping[str, str], token: str) -> None:
    """Speak the provider's dialect of a revocation for a token that the developer keeps himself."""
    provider, client = addressed(oauth_app, request)
    hint = request.get("token_type_hint")
    by_access_token = "access_token" in {provider.revocation.token, hint} or provider.revocation.auth == "bearer"
    if provider.revokes and by_access_token and hint == "refresh_token":
        raise UnsupportedTokenType("This provider revokes by the access token.")
    at_provider(
        oauth_app,
        provider,
        client,
        access_token=token if by_access_token else "",
        refresh_token="" if by_access_token else token,
        properties=request,
    )


@sensitive_variables()
def at_provider(
    oauth_app: OAuthApp,
    provider: Provider,
    client: Client,
    *,
    access_token: str,
    refresh_token: str,
    properties: Mapping[str, Any],
) -> None:
    if not provider.revokes:
        raise UnsupportedTokenType("This provider has no way to revoke a token.")
    try:
        oauth2.revoke(provider, client, access_token=access_token, refresh_token=refresh_token, properties=properties)
    except ParameterMissing as exc:
        raise InvalidRequest(str(exc)) from exc
    except ProviderError as exc:  # the client must assume that the token still exists (RFC 7009, 2.2.1)
        app_health.observe(oauth_app, exc)
        raise unavailable(str(exc), retry_after=getattr(exc, "retry_after", None)) from exc
