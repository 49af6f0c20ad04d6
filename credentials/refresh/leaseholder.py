"""
What the one does who has the lease: asks the provider, and loses nothing of what it answers.

`lease` is, here and beside, the row of the tokens as it was leased.
"""

from typing import Any

import structlog
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials import announcing, health
from credentials.models import Credential, Expiry, Failure, Token, Tokens
from credentials.models.fingerprint import fingerprint, fingerprint_key
from credentials.models.token import REFRESHED, TERMINAL
from credentials.refresh import daily_outcomes, failures, lifetimes, spool, together
from credentials.refresh.failures import IdentityChanged
from credentials.refresh.introspection import examine, learn_expiry
from credentials.refresh.prospects import current, ended, is_examinable, is_renewable, what_is_left
from credentials.revocation import give_back_unused
from oauth_apps import audit, audit_seals
from oauth_apps import health as app_health
from providers import access, identity, oauth2
from providers.client import Client
from providers.errors import AccessTokenMissing, ProviderError
from providers.provider import Provider
from providers.tokens import TokenResponse
from providers.variables import VariableNotAccepted
from sequin_auth.lib.encryption import Unreadable

log = structlog.get_logger("credentials")

NOT_POSSIBLE = (ProviderError, Unreadable, VariableNotAccepted, LookupError)


@sensitive_variables()
def renewed(credential: Credential, lease: Token, *, force: bool = False) -> Token:
    """Ask the provider, and keep what it answers. `lease`: the row, leased. Raises as `refreshed`."""
    if not is_renewable(credential, lease) and not is_examinable(credential, lease):
        Token.objects.give_back(lease, due_at=None)
        return what_is_left(credential, ended(credential, current(lease)))
    try:
        provider, client = credential.speaking()
        fingerprint_key(), audit_seals.audit_key()  # if one does not open, no answer can be kept
        if not force and (examined := examine(credential, lease, provider, client)):
            return examined
        answer = ask(credential, lease, provider, client)
        if is_another_account(credential, provider, answer):
            raise IdentityChanged("The provider answered with the tokens of another account.")
    except IdentityChanged as exc:
        try:
            return after_failure(credential, lease, exc, force=force)
        finally:  # the verdict first: the lease is not as long as another call
            give_back_new(credential, lease, provider, client, answer)
    except NOT_POSSIBLE as exc:
        return after_failure(credential, lease, exc, force=force)
    return after_success(credential, lease, provider, client, answer)


@sensitive_variables()
def ask(credential: Credential, lease: Token, provider: Provider, client: Client) -> TokenResponse:
    """One request for new tokens. Raises ProviderError, Unreadable."""
    kind = credential.definition
    if kind.mints:
        return access.mint(kind, client, credential.values())
    return oauth2.refresh(
        provider,
        client,
        lease.refresh_token or "",
        access_token=lease.access_token or "",
        properties=credential.values(),
        redirect_uri=credential.oauth_app.callback_url if credential.oauth_app else "",
        scopes=credential.scopes_requested,
    )


def is_another_account(credential: Credential, provider: Provider, answer: TokenResponse) -> bool:
    """Whether the answer itself names another upstream account. Source: OpenID Connect Core, 12.2."""
    if credential.definition.declared is not None:
        return False
    told = identity.told_again(provider, answer)
    mine = credential.properties
    names = provider.identity_properties()
    return any(name in told and name in mine and str(told[name]) != str(mine[name]) for name in names)


# ---- when it worked --------------------------------------------------------------------------------------------------


@sensitive_variables()
def after_success(
    credential: Credential, lease: Token, provider: Provider, client: Client, answer: TokenResponse
) -> Token:
    """Commit first. What the database cannot take now, the spool keeps; the caller gets it in any case."""
    tokens = lifetimes.of_answer(credential.definition, provider, answer, lease)
    try:
        is_kept = commit(credential, lease, tokens)
    except DatabaseError:
        keep_on_disk(lease, tokens)
        return with_tokens(lease, tokens)
    if not is_kept:
        if not is_of_same_grant(lease):
            give_back_new(credential, lease, provider, client, answer)
        return what_is_left(credential, current(lease))
    token = with_tokens(lease, tokens)
    daily_outcomes.note(credential.account_id, is_renewed=True)
    try:
        note_answer(credential, provider, answer)
        if token.expiry_source == Expiry.UNKNOWN:
            learn_expiry(credential, token, provider, client)
        if credential.oauth_app:
            app_health.observe(credential.oauth_app, None)
        health.note(credential, token)
    except DatabaseError:
        connection.close()  # what is only worth knowing is learnt again
    log.info("refreshed", credential=str(credential.pk), provider=credential.provider)
    return token


@sensitive_variables()
def commit(credential: Credential, lease: Token, tokens: Tokens) -> bool:
    """Put `tokens` into the row, with the event of it; False if the row has moved on. Raises DatabaseError.

    Three statements, unless that is news: the credential needed its owner, and does not any more.
    """
    if together.is_wanted.get() and together.is_kept(credential, lease, tokens):
        return True
    with transaction.atomic():
        is_kept = Token.objects.renew(lease, tokens, REFRESHED)
        if is_kept:
            announcing.recovered(lease.pk, before=lease)
            audit.record("credential.refreshed", account=credential.account_id, to=credential, is_refresh=True)
    return is_kept


def is_of_same_grant(lease: Token) -> bool:
    """Whether the row is still of the grant that was refreshed: then somebody else's answer to it has won, and giving
    this one back would end that too.
    """
    return Token.objects.filter(pk=lease.pk, granted_at=lease.granted_at).exists()


@sensitive_variables()
def give_back_new(
    credential: Credential, lease: Token, provider: Provider, client: Client, answer: TokenResponse
) -> None:
    """Revoke what an answer has brought and nobody will use; never the refresh token that was sent."""
    is_new = bytes(lease.refresh_fingerprint or b"") != fingerprint(answer.refresh_token or "")
    give_back_unused(
        provider,
        client,
        access_token=answer.access_token,
        refresh_token=answer.refresh_token if is_new else None,
        properties=credential.properties,
    )


@sensitive_variables()
def keep_on_disk(lease: Token, tokens: Tokens, outcome: str = REFRESHED) -> None:
    """The last resort; whoever asked has the tokens in any case."""
    connection.close()
    spool.keep(lease, tokens, outcome)


@sensitive_variables()
def with_tokens(lease: Token, tokens: Tokens) -> Token:
    """The row as the UPDATE has left it, without reading it again."""
    lease.version, lease.attempts = lease.version + 1, lease.attempts + 1
    lease.lease_owner = lease.lease_until = lease.interrupted_at = lease.failed_at = lease.retry_at = None
    lease.failure, lease.failures = Failure.NONE, 0
    for name in ("token_type", "scope", "obtained_at", "expires_at", "expiry_source", "refresh_expires_at", "due_at"):
        setattr(lease, name, getattr(tokens, name))
    for name in ("access_token", "refresh_token"):
        setattr(lease, name, getattr(tokens, name))
    return lease


def note_answer(credential: Credential, provider: Provider, answer: TokenResponse) -> None:
    """What an answer tells beside the tokens: a scope that was narrowed or widened, an address that has moved."""
    changes: dict[str, object] = {}
    if answer.scope is not None and answer.scope.split() != credential.scopes_granted:
        changes["scopes_granted"] = credential.scopes_granted = answer.scope.split()
    if credential.definition.declared is None:
        told = identity.told_again(provider, answer)
        told = {name: value for name, value in told.items() if not provider.credential[name].secret}
        if (properties := credential.properties | told) != credential.properties:
            changes["properties"] = credential.properties = properties
    if changes:
        changes["updated_at"] = credential.updated_at = timezone.now()
        Credential.objects.filter(pk=credential.pk).update(**changes)


# ---- when it did not work --------------------------------------------------------------------------------------------


@sensitive_variables()
def after_failure(credential: Credential, lease: Token, exc: Exception, *, force: bool) -> Token:
    """Write the failure down, unless the tokens have changed meanwhile: then those count. Raises as `refreshed`."""
    failure = failures.failure_of(credential, lease, exc)
    changes = failures.consequences(lease, failure, exc)
    if isinstance(exc, AccessTokenMissing):
        is_noted = renewed_refresh_token(lease, exc.refresh_token, changes)
    else:
        with transaction.atomic():
            is_noted = Token.objects.give_back(lease, **changes)
            if is_noted and failure in TERMINAL:
                announcing.needs_reauthorization(lease.pk, before=lease)
            if is_noted and lease.failure != failure:
                failures.write_down(credential, failure)
    if failure == Failure.ROTATION_INTERRUPTED:
        log.error("rotation_interrupted", credential=str(credential.pk), provider=credential.provider)
    log.warning("refresh_failed", credential=str(credential.pk), provider=credential.provider, reason=failure.value)
    if isinstance(exc, ProviderError) and credential.oauth_app and failure not in failures.OWN:
        app_health.observe(credential.oauth_app, exc)
    token = current(lease)
    if is_noted:
        daily_outcomes.note(credential.account_id, is_renewed=False)
        health.note(credential, token)
    elif token.version != lease.version:
        return what_is_left(credential, token)
    return what_is_left(credential, token, force=force)


@sensitive_variables()
def renewed_refresh_token(lease: Token, refresh_token: str, changes: dict[str, Any]) -> bool:
    """Keep a refresh token that came without an access token: the old one may be worth nothing any more."""
    try:
        return Token.objects.renew_refresh_token(lease, refresh_token, **changes)
    except DatabaseError:
        names = (
            "access_token",
            "token_type",
            "scope",
            "obtained_at",
            "expires_at",
            "expiry_source",
            "refresh_expires_at",
        )
        stays = {name: getattr(lease, name) for name in names}
        is_left = Tokens(refresh_token=refresh_token, due_at=timezone.now(), **stays)
        keep_on_disk(lease, is_left, str(changes["failure"]))
        raise
