"""
The owner of a credential's account agrees again: the credential keeps its id, name and metadata, and gets new tokens.

It is an ordinary trip from a link that names the credential. Whose account has come back is looked at when the trip
arrives, so that the end user can be told, and once more when the developer fetches the tokens: only then do they take
the place of the stored ones, and until then nothing of the credential has changed.
"""

import uuid
from datetime import timedelta

import structlog
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials import announcing, health
from credentials.imported import Import, as_posted, identity_hash, tokens_of
from credentials.imports import apply
from credentials.link import start_links
from credentials.link.answers import credential_properties
from credentials.models import Authorization, Credential, End, Grant, StartLink, Token
from oauth_apps.models import OAuthApp, RedirectURI
from providers import kinds
from providers.errors import AnswerNotUnderstood, AuthorizationDenied
from providers.kinds import PropertiesNotAccepted

log = structlog.get_logger("credentials")


class NotReconnectable(Exception):
    """There is no trip by which this credential could be renewed. `code`: for machines."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class ReconnectionRefused(AuthorizationDenied):
    """The trip's tokens must not take the place of the stored ones. `reason`: what the trip's row says of it."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message, error="access_denied")
        self.reason = reason


# ---- the link --------------------------------------------------------------------------------------------------------


def reconnectable(credential: Credential) -> OAuthApp:
    """The OAuth app by which the account's owner is asked again. Raises NotReconnectable."""
    oauth_app, kind = credential.oauth_app, kinds.load().get(credential.kind)
    if kind is None:
        raise NotReconnectable(
            "The provider, or this kind of credential, is not in the catalogue any more.", code="provider_unknown"
        )
    if oauth_app is None or kind.declared is not None:
        raise NotReconnectable(
            f"A credential of the kind {kind.name} comes from no authorization: import the new one, it keeps its id.",
            code="not_reconnectable",
        )
    if not oauth_app.enabled or (oauth_app.sandbox_url and not settings.SANDBOX):
        raise NotReconnectable("The OAuth app of this credential is disabled.", code="oauth_app_disabled")
    return oauth_app


def reconnect_url(credential: Credential) -> str | None:
    """A start link, made now, that leads back to where the last trip led; None if there can be none.

    Of an account without any redirect URI it leads to a page of ours, if it is known whose credential that is.
    """
    found = Credential.objects.select_related("oauth_app").filter(pk=credential.pk).first()
    if found is None:
        return None
    try:
        oauth_app = reconnectable(found)
    except NotReconnectable:
        return None
    redirect_uri = last_redirect_uri(found, oauth_app)
    if redirect_uri:
        return link(found, oauth_app, redirect_uri=redirect_uri).url
    return link(found, oauth_app, ends_at=End.PAGE).url if knows_whose(found) else None


def last_redirect_uri(credential: Credential, oauth_app: OAuthApp) -> str | None:
    """That of the last trip, if it is still registered; else the account's oldest."""
    if start_links.is_registered(oauth_app, credential.redirect_uri):
        return credential.redirect_uri
    oldest = RedirectURI.objects.of(oauth_app.account_id).order_by("created_at", "pk").first()
    return oldest.redirect_uri if oldest else None


def link(
    credential: Credential,
    oauth_app: OAuthApp,
    *,
    redirect_uri: str = "",
    scope: str = "",
    state: object = start_links.NOT_SENT,
    any_identity: bool = False,
    ends_at: End = End.REDIRECT_URI,
    started_by: AbstractBaseUser | None = None,
    lifetime: timedelta = StartLink.LIFETIME,
) -> start_links.Link:
    """`redirect_uri`: a registered one. Without a `scope` it asks for all that was ever asked for or granted.

    Raises ValueError where `ends_at` cannot be.
    """
    known = dict.fromkeys([*credential.scopes_requested, *credential.scopes_granted])
    return start_links.make(
        oauth_app,
        redirect_uri=redirect_uri,
        variables=credential.variables,
        scope=scope or " ".join(known),
        state=state,
        credential=credential,
        any_identity=any_identity,
        ends_at=ends_at,
        started_by=started_by,
        lifetime=lifetime,
    )


# ---- whose tokens are these? -----------------------------------------------------------------------------------------


@sensitive_variables()
def refuse_others(trip: Authorization, oauth_app: OAuthApp, grant: Grant) -> None:
    """Raises ReconnectionRefused if the tokens are not the ones that were wanted, AnswerNotUnderstood.

    A credential that is gone by now is no matter here: the trip has gone with it.
    """
    if credential := Credential.objects.filter(authorizations=trip).first():
        compare(trip, credential, as_import(oauth_app, grant))


def as_import(oauth_app: OAuthApp, grant: Grant) -> Import:
    """What the developer would post. Raises AnswerNotUnderstood."""
    kind = kinds.get(oauth_app.definition.kind)
    try:
        values = kind.accept(as_posted(credential_properties(kind.provider, grant)), fixed=oauth_app.variables)
    except PropertiesNotAccepted as exc:
        raise AnswerNotUnderstood("What the provider says of the account is not what it promises.") from exc
    return Import(kind=kind, values=values, oauth_app=oauth_app)


def compare(trip: Authorization, credential: Credential, given: Import) -> None:
    """Raises ReconnectionRefused."""
    unproven = trip.ends_at == End.PAGE and not is_same_account(credential, given)  # whoever was sent the link came
    if unproven or (not trip.any_identity and is_another_account(credential, given)):
        raise ReconnectionRefused(
            "Another account was connected than the one that this link is for.", reason="another_account"
        )
    same_account = Credential.objects.of(credential.account_id).filter(
        kind=given.kind.name, oauth_app=given.oauth_app, identity_hash=identity_hash(given)
    )
    if same_account.exclude(pk=credential.pk).exists():
        raise already_connected()


def already_connected() -> ReconnectionRefused:
    return ReconnectionRefused("This account is connected already, as another credential.", reason="already_connected")


def knows_whose(credential: Credential) -> bool:
    """Whether it is known whose account that is: only then may a trip end on a page of ours."""
    kind = kinds.get(credential.kind)
    return bool(kind.identity(kind.canonical(credential.properties)))


def is_another_account(credential: Credential, given: Import) -> bool:
    """Whether the tokens are known to be another upstream account's.

    A credential that was imported without its identity is whosever it turns out to be, unless something contradicts.
    """
    mine = given.kind.canonical(credential.properties)
    if identity := given.kind.identity(mine):
        return identity != given.kind.identity(given.values)
    tell = [name for name, prop in given.kind.properties.items() if prop.identity or prop.fallback_identity]
    return any(name in mine and name in given.values and mine[name] != given.values[name] for name in tell)


def is_same_account(credential: Credential, given: Import) -> bool:
    """Whether the tokens are known to be the same upstream account's."""
    identity = given.kind.identity(given.kind.canonical(credential.properties))
    return bool(identity) and identity == given.kind.identity(given.values)


# ---- the tokens take their place -------------------------------------------------------------------------------------


@sensitive_variables()
def replace(trip: Authorization, oauth_app: OAuthApp, grant: Grant) -> uuid.UUID:
    """Put what the trip has brought into its credential, whose id that is.

    A refresh that is under way meanwhile finds another version, and gives back what it got. Raises ReconnectionRefused,
    AnswerNotUnderstood: nothing was changed.
    """
    given = as_import(oauth_app, grant)
    try:
        with transaction.atomic():
            rows = Credential.objects.select_for_update(of=("self",))
            credential = rows.filter(authorizations=trip, oauth_app=oauth_app).first()
            if credential is None:
                raise ReconnectionRefused("The credential was deleted meanwhile.", reason="credential_gone")
            compare(trip, credential, given)
            renew(credential, given, trip)
    except IntegrityError as exc:
        raise already_connected() from exc  # by an import that came between
    log.info("reconnected", credential=str(credential.pk), provider=credential.provider)
    return credential.pk


@sensitive_variables()
def renew(credential: Credential, given: Import, trip: Authorization) -> None:
    """`credential` with everything of the trip; name and metadata stay. Its row is locked."""
    is_same, held, redirect_uri = is_same_account(credential, given), credential.scopes_granted, credential.redirect_uri
    if not is_same:
        credential.properties, credential.secrets, credential.secret_names, held = {}, None, [], []
    apply(credential, given, trip.snapshot["variables"], trip)
    credential.redirect_uri = trip.redirect_uri or redirect_uri
    credential.scopes_requested = list(dict.fromkeys([*trip.scopes, *held]))
    credential.updated_at = timezone.now()
    credential.save()
    stored = Token.objects.select_for_update().get(pk=credential.pk)
    Token.objects.renew(stored, tokens_of(given, trip, timezone.now()))
    if not is_same:  # whoever shows the refresh token of before is not to get another account's tokens
        Token.objects.filter(pk=credential.pk).update(previous_fingerprint=None)
    credential.observe(*health.assess(credential, Token.objects.get(pk=credential.pk)))
    announcing.updated([(credential, stored)])
