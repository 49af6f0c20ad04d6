"""The developer's server refreshes tokens: those that we keep for him, or those that he keeps himself."""

from collections.abc import Mapping
from typing import Any

from django.views.decorators.debug import sensitive_variables

from credentials.errors import ClientRefused, CredentialGone, NeedsReauthorization, NoAccessToken
from credentials.link.answers import stored_grant, token_answer
from credentials.link.errors import InvalidGrant, InvalidRequest, ProviderRefused
from credentials.link.flow.caller import addressed, refuse_sandbox_that_is_off, unavailable
from credentials.models import Grant, Token
from credentials.refresh import lease
from oauth_apps import audit, health
from oauth_apps.models import OAuthApp
from providers import dpop, identity, oauth2
from providers.errors import (
    AnswerNotUnderstood,
    ParameterMissing,
    ProviderError,
    ProviderUnavailable,
    TokenRequestRejected,
)

TOLD_AS_THEY_ARE = {"invalid_grant", "invalid_scope", "unsupported_grant_type"}


@sensitive_variables()
def refreshed(oauth_app: OAuthApp, request: Mapping[str, str]) -> dict[str, Any]:
    """New tokens for a refresh token. Source: RFC 6749, 6.

    Raises InvalidRequest, InvalidGrant, ProviderRefused, Unavailable; Unreadable if what is stored does not open.
    """
    refresh_token = request.get("refresh_token")
    if not refresh_token:
        raise InvalidRequest("The parameter refresh_token is missing.")
    stored = Token.objects.with_refresh_token(refresh_token, oauth_app_id=oauth_app.pk)
    if stored is None and Token.objects.replaced(refresh_token, oauth_app_id=oauth_app.pk):
        raise InvalidGrant("The refresh token was replaced more than once: ask for the access token of the credential.")
    if stored:
        grant = of_stored(oauth_app, stored, refresh_token)
        audit.record("credential.exchanged", account=oauth_app.account_id, to=stored.credential)
    else:
        grant = of_unknown(oauth_app, request, refresh_token)
        audit.record("oauth_app.exchanged", account=oauth_app.account_id, to=oauth_app)
    return token_answer(oauth_app, grant)


@sensitive_variables()
def of_stored(oauth_app: OAuthApp, stored: Token, refresh_token: str) -> Grant:
    """One refresh for all who ask at once, this endpoint or any other. A rotated predecessor gets what came of it."""
    refuse_sandbox_that_is_off(oauth_app)
    credential, is_rotated = stored.credential, stored.is_predecessor(refresh_token)
    if is_rotated and stored.lasts(0) and not stored.needs_reauthorization:
        return stored_grant(credential, stored)
    try:
        token = lease.refreshed(credential, force=not is_rotated)
    except (NeedsReauthorization, CredentialGone) as exc:
        raise InvalidGrant("The refresh token is revoked, expired or replaced.") from exc
    except ClientRefused as exc:
        raise ProviderRefused(str(exc), error="invalid_request") from exc
    except NoAccessToken as exc:
        raise unavailable(str(exc), retry_after=exc.retry_after) from exc
    if not token.has_access_token:  # somebody has just imported a refresh token alone
        raise unavailable("The token has just changed; ask again in a moment.", retry_after=1)
    return stored_grant(credential, token)


@sensitive_variables()
def of_unknown(oauth_app: OAuthApp, request: Mapping[str, str], refresh_token: str) -> Grant:
    """Speak the provider's dialect of a refresh for a token that the developer keeps himself."""
    provider, client = addressed(oauth_app, request)
    try:
        tokens = oauth2.refresh(
            provider,
            client,
            refresh_token,
            properties=request,
            redirect_uri=oauth_app.callback_url,
            scopes=request.get("scope", "").split() or oauth_app.default_scopes or provider.default_scopes,
        )
    except ParameterMissing as exc:
        raise InvalidRequest(str(exc)) from exc
    except TokenRequestRejected as exc:
        health.observe(oauth_app, exc)
        error = exc.reason if exc.reason in TOLD_AS_THEY_ARE else "invalid_request"
        raise ProviderRefused(str(exc), error=error) from exc
    except (ProviderUnavailable, AnswerNotUnderstood) as exc:
        health.observe(oauth_app, exc)
        raise unavailable(str(exc), retry_after=getattr(exc, "retry_after", None)) from exc
    except ProviderError as exc:  # a refusal of our own, which another try will not change
        health.observe(oauth_app, exc)
        raise ProviderRefused(str(exc), error="invalid_request") from exc
    return Grant.of(provider, tokens, identity.told_again(provider, tokens) | dpop.kept(tokens))
