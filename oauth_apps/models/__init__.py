"""Accounts, and what belongs to one: members, API tokens, redirect URIs, OAuth apps, webhooks, and who did what."""

from oauth_apps.models.account import Account, ApiToken, Membership
from oauth_apps.models.audit import AuditChain, AuditEvent, AuditKey
from oauth_apps.models.failed_authentication import FailedAuthentication
from oauth_apps.models.idempotency import IdempotencyRecord
from oauth_apps.models.measure import Measure, Process
from oauth_apps.models.oauth_app import HealthStatus, OAuthApp, OAuthAppQuerySet
from oauth_apps.models.rate_count import RateCount
from oauth_apps.models.redirect_uri import RedirectURI, RedirectURIQuerySet
from oauth_apps.models.second_factor import Authenticator
from oauth_apps.models.webhook import WebhookDelivery, WebhookEndpoint

__all__ = [
    "Account",
    "ApiToken",
    "AuditChain",
    "AuditEvent",
    "AuditKey",
    "Authenticator",
    "FailedAuthentication",
    "HealthStatus",
    "IdempotencyRecord",
    "Measure",
    "Membership",
    "OAuthApp",
    "OAuthAppQuerySet",
    "Process",
    "RateCount",
    "RedirectURI",
    "RedirectURIQuerySet",
    "WebhookDelivery",
    "WebhookEndpoint",
]
