"""What an import holds: what was posted, judged, and what follows from it for a credential and its tokens."""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.views.decorators.debug import sensitive_variables

from credentials.models import Authorization, Expiry, Tokens, fingerprint
from credentials.refresh import lifetimes
from oauth_apps.models import OAuthApp
from providers.kinds import TOKENS, CredentialKind
from providers.tokens import assumed_lifetime, exp_of, scopes_of


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """What was posted, judged. `values`: the properties as the kind accepted them, secrets included.

    None is what was not sent. `id` and `created_at`: of an export.
    """

    kind: CredentialKind
    values: dict[str, Any]
    oauth_app: OAuthApp | None
    name: str | None = None
    metadata: dict[str, Any] | None = None
    id: uuid.UUID | None = None
    created_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Import({self.kind.name})"

    @property
    def variables(self) -> dict[str, str]:
        """Where the account's provider is. Raises PropertiesNotAccepted."""
        if self.oauth_app is None:
            return self.kind.variables(self.values, fixed={})
        return self.kind.variables(self.values, fixed=self.oauth_app.variables, own_hosts=self.oauth_app.own_callback)

    @property
    def plain(self) -> dict[str, Any]:
        return {name: self.values[name] for name in self.values.keys() - TOKENS.keys() if not self._is_secret(name)}

    @property
    def secrets(self) -> dict[str, Any]:
        return {name: self.values[name] for name in self.values.keys() - TOKENS.keys() if self._is_secret(name)}

    def _is_secret(self, name: str) -> bool:
        return self.kind.properties[name].secret

    def token_value(self, name: str) -> Any:
        """A member that every credential of the code flow has; None for other kinds."""
        return self.values.get(name) if self.kind.declared is None else None


def identity_hash(given: Import) -> bytes:
    """By what the credential is found again. Equal secrets have equal ones, and nobody can make one."""
    for sort, told in (
        ("identity", given.kind.identity(given.values)),
        ("fallback", given.kind.fallback_identity(given.values)),
    ):
        if told:
            return fingerprint(f"{sort} {json.dumps(told, sort_keys=True)}")
    return fingerprint(f"secret {given.kind.secret_identity(given.values)}")


def granted_scopes(given: Import) -> list[str]:
    """From `scope`, or from the list that the provider's answer has instead."""
    provider = given.kind.provider
    path = provider.token_response_names.get("scope", "scope")
    listed = next(
        (given.values.get(name) for name, prop in provider.credential.items() if prop.token_response == path), None
    )
    return scopes_of(provider, given.token_value("scope") or listed)


@sensitive_variables()
def tokens_of(given: Import, trip: Authorization | None, now: datetime) -> Tokens:
    """The tokens' part of the import, and what is known of their ends."""
    kind, provider = given.kind, given.kind.provider
    obtained_at = trip.granted_at if trip and trip.granted_at else now
    access_token, refresh_token = given.token_value("access_token"), given.token_value("refresh_token")
    expires_at, source = end_of(given, trip, obtained_at)
    refresh_expires_at = moment(given.token_value("refresh_token_expires_at"))
    if refresh_token is not None and refresh_expires_at is None:
        refresh_expires_at = lifetimes.refresh_token_end(provider, obtained_at, obtained_at, None)
    is_renewed = kind.renews(with_refresh_token=refresh_token is not None, with_access_token=access_token is not None)
    is_asked = source == Expiry.UNKNOWN and bool(access_token and provider.introspection_endpoint)
    due_at = lifetimes.due_at(kind, provider, now, expires_at, source, refresh_expires_at)
    return Tokens(
        access_token=access_token,
        refresh_token=refresh_token,
        token_type=given.token_value("token_type") or "Bearer",
        scope=given.token_value("scope") or "",
        obtained_at=obtained_at,
        granted_at=obtained_at,
        expires_at=expires_at,
        expiry_source=source,
        refresh_expires_at=refresh_expires_at,
        due_at=due_at if is_renewed or is_asked else expires_at,  # to be noticed, at least
    )


@sensitive_variables()
def end_of(given: Import, trip: Authorization | None, obtained_at: datetime) -> tuple[datetime | None, str]:
    """When the access token ends, and where that is known from. What nobody says is found out when it is needed."""
    kind, access_token = given.kind, given.token_value("access_token")
    if kind.declared is not None:
        return None, Expiry.UNKNOWN if kind.mints else Expiry.NEVER
    if expires_at := moment(given.token_value("expires_at")):
        return expires_at, Expiry.EXPIRES_AT
    if access_token and (exp := exp_of(access_token)):
        return datetime.fromtimestamp(exp, tz=UTC), Expiry.TOKEN
    seconds, source = assumed_lifetime(kind.provider)
    if source == "never" and access_token:
        return None, Expiry.NEVER
    if trip is not None and not kind.provider.introspection_endpoint and given.token_value("refresh_token"):
        return None if seconds is None else obtained_at + timedelta(seconds=seconds), source
    return None, Expiry.UNKNOWN


def moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def as_posted(values: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a body without the two members that stand in it and are none."""
    return {name: value for name, value in values.items() if name not in {"kind", "name"}}
