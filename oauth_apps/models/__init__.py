"""Accounts, and what belongs to one: members, API tokens, redirect URIs, OAuth apps, and who did what with them."""

from oauth_apps.models.account import Account, ApiToken, Membership
from oauth_apps.models.audit import AuditEvent
from oauth_apps.models.failed_authentication import FailedAuthentication
from oauth_apps.models.idempotency import IdempotencyRecord
from oauth_apps.models.oauth_app import HealthStatus, OAuthApp, OAuthAppQuerySet
from oauth_apps.models.redirect_uri import RedirectURI, RedirectURIQuerySet
from oauth_apps.models.second_factor import Authenticator

__all__ = [
    "Account",
    "ApiToken",
    "AuditEvent",
    "Authenticator",
    "FailedAuthentication",
    "HealthStatus",
    "IdempotencyRecord",
    "Membership",
    "OAuthApp",
    "OAuthAppQuerySet",
    "RedirectURI",
    "RedirectURIQuerySet",
]
