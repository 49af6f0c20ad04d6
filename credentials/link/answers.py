"""What the token endpoint answers: RFC 6749's members, and beside them the credential that can be posted as it is."""

import datetime
from typing import Any

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials.models import Credential, Expiry, Grant, Token
from oauth_apps.models import OAuthApp
from providers import dpop
from providers.provider import Provider
from providers.tokens import scope_as_theirs, scopes_of

TOLD = {Expiry.EXPIRES_IN, Expiry.EXPIRES_AT, Expiry.TOKEN, Expiry.INTROSPECTION}  # the provider's word, no assumption


@sensitive_variables()
def token_answer(oauth_app: OAuthApp, grant: Grant) -> dict[str, Any]:
    """RFC 6749's members, and `credential`, which `/v1/credentials` takes as it is. What is unknown is absent."""
    token_type = dpop.SCHEME if dpop.PROPERTY in grant.properties else "Bearer"
    token_type = "OAuth" if oauth_app.definition.auth == "oauth1" else token_type
    answer: dict[str, Any] = {"access_token": grant.access_token, "token_type": token_type}
    if grant.expires_at is not None:
        answer["expires_in"] = max(0, grant.expires_at - int(timezone.now().timestamp()))
    if grant.refresh_token:
        answer["refresh_token"] = grant.refresh_token
    if grant.scope:
        answer["scope"] = grant.scope
    properties = credential_properties(oauth_app.definition, grant)
    return answer | {"credential": {"oauth_app_id": str(oauth_app.pk), "properties": properties}}


@sensitive_variables()
def credential_properties(provider: Provider, grant: Grant) -> dict[str, Any]:
    """The properties of the credential that `grant` makes. Only what the provider has told is among them."""
    told = {
        "access_token": grant.access_token,
        "token_type": grant.token_type,
        "expires_at": timestamp(grant.expires_at),
        "refresh_token": grant.refresh_token,
        "refresh_token_expires_at": timestamp(grant.refresh_expires_at) if grant.refresh_token else None,
    }
    if not has_list_of_scopes(provider, grant):
        told["scope"] = scope_as_theirs(provider, grant.scope, grant.scope_as_told)
    return {"kind": provider.kind} | {name: value for name, value in told.items() if value} | grant.properties


def has_list_of_scopes(provider: Provider, grant: Grant) -> bool:
    """Whether a property that the catalogue file declares holds the scopes as the provider has told them."""
    path = provider.token_response_names.get("scope", "scope")
    holders = [name for name, prop in provider.credential.items() if prop.token_response == path]
    return any(name in grant.properties for name in holders)


@sensitive_variables()
def stored_grant(credential: Credential, token: Token) -> Grant:
    """What a stored credential of the code flow holds, its tokens all of one row, which has an access token.

    Opens the seals; raises Unreadable.
    """
    provider = credential.definition.provider
    documented = provider.refresh_token_lifetime
    scopes = scopes_of(provider, token.scope) or credential.scopes_granted
    return Grant(
        access_token=token.access_token or "",
        token_type=token.token_type,
        expires_at=seconds(token.expires_at) if token.expiry_source in TOLD else None,
        refresh_token=token.refresh_token,
        scope=" ".join(scopes) or None,
        properties=credential.values(),
        scope_as_told=token.scope or None,
        refresh_expires_at=seconds(token.refresh_expires_at) if documented and documented.source else None,
    )


def seconds(moment: datetime.datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def timestamp(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
