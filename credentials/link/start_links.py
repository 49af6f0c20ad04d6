"""Start links that a developer's backend has made: one trip, five minutes, nothing in them can be changed."""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.conf import settings
from django.utils import timezone

from credentials.models import Credential, StartLink
from oauth_apps.models import OAuthApp, RedirectURI
from sequin_auth.lib.encryption import digest

NOT_SENT: Any = msgspec.UNSET


class Link(msgspec.Struct, frozen=True):
    """`url` is told once: what is kept of its token is a hash."""

    url: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Link(expires_at={self.expires_at})"


def make(
    oauth_app: OAuthApp,
    *,
    redirect_uri: str,
    variables: Mapping[str, str],
    scope: str = "",
    state: Any = NOT_SENT,
    credential: Credential | None = None,
    any_identity: bool = False,
) -> Link:
    """A link whose parameters were judged already. `state`: any JSON; only a string travels with the browser."""
    params = {"client_id": str(oauth_app.pk), "redirect_uri": redirect_uri, "scope": scope}
    if isinstance(state, str):
        params["state"] = state
    token = secrets.token_urlsafe(32)
    link = StartLink.objects.create(
        oauth_app=oauth_app,
        token_hash=digest(token),
        query=urlencode(params),
        variables=dict(variables),
        client_state_json=None if state is NOT_SENT else json.dumps(state),
        credential=credential,
        any_identity=any_identity,
        expires_at=timezone.now() + StartLink.LIFETIME,
    )
    return Link(url=f"{settings.PUBLIC_URL}/link/oauth2/start/{token}", expires_at=link.expires_at)


def is_registered(oauth_app: OAuthApp, redirect_uri: str) -> bool:
    """Whether a trip of this app may end there."""
    registered = RedirectURI.objects.of(oauth_app.account_id)
    return any(row.admits(redirect_uri, slug=oauth_app.provider) for row in registered)
