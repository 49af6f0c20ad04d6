"""A credential as `/v1` shows it, and as an export holds it. They differ in one thing: what stands for a secret."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.views.decorators.debug import sensitive_variables

from credentials import health
from credentials.models import Credential, Expiry
from oauth_apps.api.serializers import OAuthAppSerializer
from providers import kinds
from sequin_auth.lib.api import PROPERTY_MASK
from sequin_auth.lib.api.fields import timestamp

ASSUMED = (Expiry.CATALOGUE, Expiry.POLICY)  # ends that the provider has not told: they are none of its properties


def representation(credential: Credential) -> dict[str, Any]:
    return representations([credential])[0]


def representations(credentials: Sequence[Credential]) -> list[dict[str, Any]]:
    """Of a page of a list. Its credentials share OAuth apps, which are the dearest part: each is made once."""
    oauth_apps = {row.oauth_app.pk: row.oauth_app for row in credentials if row.oauth_app}
    shown = OAuthAppSerializer(list(oauth_apps.values()), many=True).data
    by_id = dict(zip(oauth_apps, shown, strict=True))
    return [members(row, by_id[row.oauth_app.pk] if row.oauth_app else None) for row in credentials]


def members(credential: Credential, oauth_app: dict[str, Any] | None) -> dict[str, Any]:
    """Of an answer, in their order. Opens no seal, and needs neither the provider nor the kind."""
    token = credential.token
    return {
        "id": str(credential.pk),
        "provider": credential.provider,
        "kind": credential.kind,
        "name": credential.name,
        "oauth_app_id": oauth_app_id(credential),
        "oauth_app": oauth_app,
        "properties": properties(credential, masks(credential)),
        "scopes": {
            "requested": credential.scopes_requested,
            "granted": credential.scopes_granted,
            "missing": health.missing_of(credential),
        },
        "expires_at": timestamp(token.expires_at) if token.expires_at else None,
        "expires_at_source": token.expiry_source or None,
        "health": of_health(credential),
        "metadata": credential.metadata,
        "created_at": timestamp(credential.created_at),
        "updated_at": timestamp(credential.updated_at),
    }


@sensitive_variables()
def exported(credential: Credential) -> dict[str, Any]:
    """The row of an export, which an import takes. Raises Unreadable."""
    return {
        "id": str(credential.pk),
        "provider": credential.provider,
        "kind": credential.kind,
        "name": credential.name,
        "oauth_app_id": oauth_app_id(credential),
        "metadata": credential.metadata,
        "properties": properties(credential, secrets(credential)),
        "created_at": timestamp(credential.created_at),
    }


def oauth_app_id(credential: Credential) -> str | None:
    return str(credential.oauth_app_id) if credential.oauth_app_id else None


def of_health(credential: Credential) -> dict[str, Any]:
    """A token that the provider has just given tells that all is well, without being written down as health."""
    times = [credential.health_time]
    if not credential.token.failure:
        times.append(credential.token.obtained_at)
    return {"status": credential.health_status, "notes": credential.health_notes, "time": timestamp(max(times))}


# ---- properties ------------------------------------------------------------------------------------------------------


@sensitive_variables()
def properties(credential: Credential, in_place_of_secrets: Mapping[str, Any]) -> dict[str, Any]:
    """`kind` first, then what there is, in the order of the catalogue."""
    there = in_place_of_secrets | credential.properties | (of_token(credential) if has_tokens(credential) else {})
    kind = kinds.load().get(credential.kind)
    declared = kind.properties if kind else there
    return {"kind": credential.kind} | {name: there[name] for name in declared if name in there}


def has_tokens(credential: Credential) -> bool:
    """Whether the tokens are properties of the credential; those that are minted for a credential are none."""
    kind = kinds.load().get(credential.kind)
    return kind.declared is None if kind else credential.kind.endswith(("_oauth2", "_oauth1"))


def of_token(credential: Credential) -> dict[str, Any]:
    """What is told of the tokens beside themselves."""
    token = credential.token
    told = {"scope": token.scope, "token_type": token.token_type}
    if token.expires_at is not None and token.expiry_source not in ASSUMED:
        told["expires_at"] = timestamp(token.expires_at)
    if token.refresh_expires_at is not None:
        told["refresh_token_expires_at"] = timestamp(token.refresh_expires_at)
    return {name: value for name, value in told.items() if value}


def masks(credential: Credential) -> dict[str, str]:
    token = credential.token
    present = {"access_token": token.has_access_token, "refresh_token": token.has_refresh_token}
    names = [name for name, is_there in present.items() if is_there and has_tokens(credential)]
    return dict.fromkeys([*credential.secret_names, *names], PROPERTY_MASK)


@sensitive_variables()
def secrets(credential: Credential) -> dict[str, Any]:
    """The secrets themselves. Raises Unreadable."""
    opened: dict[str, Any] = json.loads(credential.secrets) if credential.secrets else {}
    if has_tokens(credential):
        opened |= {"access_token": credential.token.access_token, "refresh_token": credential.token.refresh_token}
    return {name: value for name, value in opened.items() if value is not None}
