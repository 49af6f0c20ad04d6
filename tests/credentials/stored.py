"""Credentials that are stored already, for tests that go on from there."""

from typing import Any

from credentials import imports
from credentials.imported import Import
from credentials.models import Credential
from oauth_apps.models import Account, OAuthApp
from providers import kinds

TOKEN_ENDPOINT = "https://api.linear.app/oauth/token"
LINEAR = {"linear_org_id": "org-1", "linear_org_name": "Arrakis", "scope": "read write"}
OLD = {"access_token": "canary-access-1", "refresh_token": "canary-refresh-1"}
NEW = {
    "access_token": "canary-access-2",
    "refresh_token": "canary-refresh-2",
    "token_type": "Bearer",
    "expires_in": 3600,
    "scope": "read,write",
}


def linear_app(account: Account, **fields: Any) -> OAuthApp:
    defaults = {"provider": "linear", "name": "Linear", "client_id": "lin_1", "client_secret": "canary-client-secret"}
    return OAuthApp.objects.create(account=account, **(defaults | fields))


def keep(account: Account, kind: str, oauth_app: OAuthApp | None, **properties: Any) -> Credential:
    """An import, by the journey of the API."""
    found = kinds.get(kind)
    values = found.accept(properties, fixed=oauth_app.variables if oauth_app else {})
    credential, _ = imports.keep(account, Import(kind=found, values=values, oauth_app=oauth_app))
    return again(credential)


def linear_credential(oauth_app: OAuthApp, **properties: Any) -> Credential:
    """A credential whose access token ended long ago, unless `expires_at` says otherwise."""
    given = {**LINEAR, **OLD, "expires_at": "2026-01-01T00:00:00Z", **properties}
    return keep(oauth_app.account, "linear_oauth2", oauth_app, **{k: v for k, v in given.items() if v is not None})


def again(credential: Credential) -> Credential:
    """As it is in the database now."""
    return Credential.objects.whole().get(pk=credential.pk)
