"""
Start links that have a row: one trip, a limited time, nothing in them can be changed.

A developer's backend makes them, for five minutes, and the console does: for whoever sets out from it himself, and, for
three days, to be sent along to the owner of an account that has to be connected again.
"""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models.functions import Now

from credentials.models import Credential, End, StartLink
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
    redirect_uri: str = "",
    variables: Mapping[str, str],
    scope: str = "",
    state: Any = NOT_SENT,
    credential: Credential | None = None,
    any_identity: bool = False,
    ends_at: End = End.REDIRECT_URI,
    started_by: AbstractBaseUser | None = None,
    lifetime: timedelta = StartLink.LIFETIME,
) -> Link:
    """A link whose parameters were judged already. `state`: any JSON; only a string travels with the browser.

    `ends_at`: only the end at a redirect URI has one. `started_by`: who does it in the console. Raises ValueError.
    """
    refuse_impossible(redirect_uri, ends_at, credential=credential, any_identity=any_identity)
    if ends_at in {End.CONSOLE, End.TRIAL} and started_by is None:
        raise ValueError("A link that ends in the console is for whoever makes it there.")
    params = {"client_id": str(oauth_app.pk), "scope": scope}
    if redirect_uri:
        params["redirect_uri"] = redirect_uri
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
        ends_at=ends_at,
        started_by_id=None if started_by is None else int(started_by.pk),
        expires_at=Now() + lifetime,
    )
    link.refresh_from_db(fields=["expires_at"])
    return Link(url=f"{settings.PUBLIC_URL}/link/oauth2/start/{token}", expires_at=link.expires_at)


def refuse_impossible(redirect_uri: str, ends_at: End, *, credential: Credential | None, any_identity: bool) -> None:
    """Raises ValueError.

    A page of ours has no developer's session behind it that would notice whose account has come, so a trip that ends
    there only ever renews a known account's tokens.
    """
    if bool(redirect_uri) != (ends_at == End.REDIRECT_URI):
        raise ValueError("A link ends either at a redirect URI or elsewhere.")
    if ends_at == End.PAGE and (credential is None or any_identity):
        raise ValueError("A link that ends on a page of ours is for a credential, and for the same account.")


def is_registered(oauth_app: OAuthApp, redirect_uri: str) -> bool:
    """Whether a trip of this app may end there."""
    registered = RedirectURI.objects.of(oauth_app.account_id)
    return any(row.admits(redirect_uri, slug=oauth_app.provider) for row in registered)
