"""
Credentials come in: the object that the token endpoint gave, a key that somebody typed, a row of an export.

An upstream account is one credential, however often and by however many at once it is posted. What tells accounts apart
is hashed with a key of its own: its identity, where the kind has one; what stands in for it, where an import lacks it;
else the secret itself.
"""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials import health
from credentials.models import Authorization, Credential, CredentialQuerySet, Expiry, Step, Token, Tokens, fingerprint
from credentials.models.token import sealed
from credentials.refresh import lifetimes
from oauth_apps.models import Account, OAuthApp
from providers.kinds import TOKENS, CredentialKind, PropertiesNotAccepted
from providers.tokens import assumed_lifetime, exp_of, scopes_of

TRIES = 3  # of two that make the same credential, one finds the other's the second time


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


# ---- the journey -----------------------------------------------------------------------------------------------------


@sensitive_variables()
def keep(account: Account, given: Import) -> tuple[Credential, bool]:
    """The one credential of that upstream account, with what is newer; and whether it is new.

    Raises PropertiesNotAccepted: two credentials could be meant, a variable breaks its rule, the id is another's.
    """
    variables = given.variables
    for _ in range(TRIES):
        with transaction.atomic():
            if found := matching(account, given):
                return updated(found, given, variables), False
        try:
            with transaction.atomic():
                return created(account, given, variables), True
        except IntegrityError:
            continue  # somebody else has just made it
    raise PropertiesNotAccepted({"id": ["Belongs to another credential."]})


@sensitive_variables()
def matching(account: Account, given: Import) -> Credential | None:
    """The credential that this is, with its row locked. Raises PropertiesNotAccepted if it could be several."""
    mine = Credential.objects.of(account).filter(kind=given.kind.name, oauth_app=given.oauth_app)
    rows = mine.select_for_update(of=("self",))
    if found := rows.filter(identity_hash=identity_hash(given)).first():
        return found
    if fallback := given.kind.fallback_identity(given.values):
        return matching_by_fallback(rows.filter(properties__contains=fallback), given)
    if not given.kind.identity(given.values) and (refresh_token := given.token_value("refresh_token")):
        token = Token.objects.filter(credential__in=mine, previous_fingerprint=fingerprint(refresh_token)).first()
        token = (
            token or Token.objects.filter(credential__in=mine, refresh_fingerprint=fingerprint(refresh_token)).first()
        )
        return rows.filter(pk=token.pk).first() if token else None
    return None


def matching_by_fallback(candidates: CredentialQuerySet, given: Import) -> Credential | None:
    """An import with an identity takes over one without; one without is whichever is there, if it is the only one."""
    if given.kind.identity(given.values):
        return candidates.filter(is_identified=False).first()
    found = list(candidates[:2])
    if len(found) > 1:
        names = [name for name, prop in given.kind.properties.items() if prop.identity]
        raise PropertiesNotAccepted({name: ["Is required: several credentials could be meant."] for name in names})
    return found[0] if found else None


def identity_hash(given: Import) -> bytes:
    """By what the credential is found again. Equal secrets have equal ones, and nobody can make one."""
    for sort, told in (
        ("identity", given.kind.identity(given.values)),
        ("fallback", given.kind.fallback_identity(given.values)),
    ):
        if told:
            return fingerprint(f"{sort} {json.dumps(told, sort_keys=True)}")
    return fingerprint(f"secret {given.kind.secret_identity(given.values)}")


# ---- a new one -------------------------------------------------------------------------------------------------------


@sensitive_variables()
def created(account: Account, given: Import, variables: dict[str, str]) -> Credential:
    """Raises IntegrityError if it is there by now."""
    trip = trip_of(given)
    now = timezone.now()
    credential = Credential(
        id=id_for(account, given),
        account=account,
        oauth_app=given.oauth_app,
        provider=given.kind.provider.slug,
        kind=given.kind.name,
        name=given.name or "",
        metadata=given.metadata or {},
        created_at=given.created_at or now,
        health_time=now,
    )
    apply(credential, given, variables, trip)
    credential.save(force_insert=True)
    tokens = tokens_of(given, trip, now)
    row = Token(credential=credential, obtained_at=tokens.obtained_at, granted_at=tokens.granted_at or now)
    for column, value in sealed(credential.pk, tokens).items():
        setattr(row, column, value)
    row.save(force_insert=True)
    credential.token = row
    begin_health(credential)
    return credential


def id_for(account: Account, given: Import) -> uuid.UUID:
    """The exported one, unless another account has it. Raises PropertiesNotAccepted if this account has it."""
    if given.id is None:
        return uuid.uuid4()
    owner = Credential.objects.filter(pk=given.id).values_list("account", flat=True).first()
    if owner == account.pk:
        raise PropertiesNotAccepted({"id": ["Belongs to another credential."]})
    return given.id if owner is None else uuid.uuid4()


def begin_health(credential: Credential) -> None:
    """Nothing was observed yet, but something may be known."""
    status, notes = health.assess(credential, credential.token)
    if (status, notes) != (credential.health_status, credential.health_notes):
        credential.observe(status, notes)


# ---- one that is there -----------------------------------------------------------------------------------------------


@sensitive_variables()
def updated(credential: Credential, given: Import, variables: dict[str, str]) -> Credential:
    """`credential` with what is newer in the import; name and metadata as they were, unless they were sent."""
    trip = trip_of(given)
    stored = Token.objects.select_for_update().get(pk=credential.pk)
    tokens = tokens_of(given, trip, timezone.now())
    if given.name is not None:
        credential.name = given.name
    if given.metadata is not None:
        credential.metadata = given.metadata
    if given.kind.declared is not None or is_newer(tokens, stored, trip):
        apply(credential, given, variables, trip)
        Token.objects.renew(stored, tokens)
        stored = Token.objects.get(pk=credential.pk)
    elif not credential.is_identified:
        identify(credential, given)  # whose tokens they are is news, even if they are none
    credential.updated_at = timezone.now()
    credential.save()
    credential.token = stored
    begin_health(credential)
    return credential


@sensitive_variables()
def is_newer(tokens: Tokens, stored: Token, trip: Authorization | None) -> bool:
    """Whether the import's tokens are to take the place of the stored ones.

    Not if they are the same, nor if the stored ones came out of them by a refresh.
    """
    if tokens.refresh_token is not None:
        if stored.is_predecessor(tokens.refresh_token) or stored.has_replaced(tokens.refresh_token):
            return False
        if bytes(stored.refresh_fingerprint or b"") == fingerprint(tokens.refresh_token):
            return tokens.expires_at is not None and tokens.access_token is not None and _ends_later(tokens, stored)
    if trip is not None and trip.granted_at is not None:
        return trip.granted_at > stored.obtained_at
    if stored.needs_reauthorization or tokens.expires_at is None or stored.expires_at is None:
        return True
    return _ends_later(tokens, stored)


def _ends_later(tokens: Tokens, stored: Token) -> bool:
    return tokens.expires_at is not None and (stored.expires_at is None or tokens.expires_at > stored.expires_at)


# ---- what an import holds --------------------------------------------------------------------------------------------


def trip_of(given: Import) -> Authorization | None:
    """The trip on which these tokens came, if it was made here and not long ago."""
    access_token = given.token_value("access_token")
    if given.oauth_app is None or not access_token:
        return None
    trips = Authorization.objects.filter(oauth_app=given.oauth_app, access_fingerprint=fingerprint(access_token))
    return trips.filter(step=Step.EXCHANGED).first()


@sensitive_variables()
def apply(credential: Credential, given: Import, variables: dict[str, str], trip: Authorization | None) -> None:
    """Everything of the import that is not in the tokens' row; `save()` writes it."""
    identify(credential, given)
    credential.variables = variables
    if secrets := given.secrets:
        credential.secrets = json.dumps(secrets)
        credential.secret_names = list(secrets)
    granted = granted_scopes(given)
    credential.scopes_granted = granted
    if trip is not None:
        credential.scopes_requested, credential.redirect_uri = trip.scopes, trip.redirect_uri
    elif not credential.scopes_requested:
        credential.scopes_requested = granted


def identify(credential: Credential, given: Import) -> None:
    """Take over what tells whose it is, with everything else that is no secret. What is known is not forgotten."""
    is_identified = bool(given.kind.identity(given.values))
    if is_identified or not credential.identity_hash or not credential.is_identified:
        credential.identity_hash, credential.is_identified = identity_hash(given), is_identified
    credential.properties = credential.properties | given.plain


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
