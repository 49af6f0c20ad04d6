"""
Keeps credentials alive: one call of the provider for any number of callers, and nothing lost of what it answers.

A refresh is a lease on the row of the tokens: whoever gets it calls the provider, with no transaction open, and commits
the answer before anything else is done with it; everybody else waits for that. The version of the row fences all of
it: what comes too late for the version that it was asked for is dropped, and given back to the provider.
"""

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import structlog
from django.db import DatabaseError, connection
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials import health
from credentials.errors import CredentialGone
from credentials.models import Credential, Expiry, Failure, Token, Tokens
from credentials.models.fingerprint import fingerprint, fingerprint_key
from credentials.models.token import REFRESHED, TERMINAL
from credentials.refresh import counts, failures, lifetimes, spool
from credentials.refresh.failures import IdentityChanged
from credentials.refresh.introspection import examine, learn_expiry
from credentials.revocation import give_back_unused
from oauth_apps import health as app_health
from providers import access, identity, kinds, oauth2, wire
from providers.client import Client
from providers.errors import AccessTokenMissing, ProviderError
from providers.provider import Provider
from providers.tokens import TokenResponse
from providers.variables import VariableNotAccepted
from sequin_auth.lib.encryption import Unreadable

log = structlog.get_logger("credentials")

PATIENCE = wire.DEADLINE + 2  # seconds that a caller waits for somebody else's refresh
landing = threading.Condition()  # told whenever a refresh of this process has come to its end
NOT_POSSIBLE = (ProviderError, Unreadable, VariableNotAccepted, LookupError)


# ---- for callers -----------------------------------------------------------------------------------------------------


@sensitive_variables()
def refreshed(credential: Credential, *, min_ttl: float = 0, force: bool = False, seen: Token | None = None) -> Token:
    """The tokens of `credential`, renewed once, by whoever it is, since they were read.

    `min_ttl`: seconds that the access token should live; the present one is enough if a failure leaves no other choice.
    `force`: renew in any case, since the caller saw the present one refused. `seen`: the tokens as the caller knew
    them, if `credential` was read again since. Raises NoAccessToken, Unreadable, CredentialGone.
    """
    token = credential.token
    seen = seen or token
    gives_up_at = time.monotonic() + PATIENCE
    for pause in pauses():
        if token.version != seen.version and is_usable(token):
            return token  # whatever its lifetime
        if token.version != seen.version:
            seen = token
        if token.lasts(min_ttl) and not force and not token.needs_reauthorization:
            return token
        if is_too_early(credential, token):
            return what_is_left(credential, token)  # the provider would refuse, `force` or not
        if token.attempts != seen.attempts:
            return what_is_left(credential, token, force=force)  # somebody has just tried, in vain
        if not is_renewable(credential, token) and (force or not is_examinable(credential, token)):
            return what_is_left(credential, ended(credential, token))
        if not force and (token.needs_reauthorization or is_backing_off(token)):
            return what_is_left(credential, token)
        if spool.replay(credential.pk):
            token = current(token)
            continue
        if lease := Token.objects.lease(token, owner=uuid.uuid4()):
            try:
                return renewed(credential, lease, force=force)
            finally:
                with landing:
                    landing.notify_all()
        if time.monotonic() > gives_up_at:
            return what_is_left(credential, token, force=force)
        wait_for_change(token, pause=pause, until=gives_up_at)
        token = current(token)
    raise AssertionError


def wait_for_change(token: Token, *, pause: float, until: float) -> None:
    """Until somebody's refresh has come to an end, or its lease has, or the time is up; each look is a small one."""
    while time.monotonic() < until:
        with landing:
            landing.wait(pause)
        if not Token.objects.is_leased_as(token):
            return


def pauses() -> Iterator[float]:
    """100 to 200 ms, longer and longer, never all callers at the same moment."""
    pause = 0.1
    while True:
        yield pause * lifetimes.spread(0.8, 1.2)
        pause = min(pause * 1.5, 0.2)


def current(token: Token) -> Token:
    """The row as it is now. Raises CredentialGone."""
    row = Token.objects.filter(pk=token.pk).first()
    if row is None:
        raise CredentialGone
    return row


def is_renewable(credential: Credential, token: Token) -> bool:
    """Whether there is anything to ask the provider with; no seal is opened."""
    try:
        kind = credential.definition
    except kinds.UnknownKind:
        return True  # to fail with a note
    is_alive = token.has_access_token and (token.expires_at is None or token.lasts(0))
    return kind.renews(with_refresh_token=token.has_refresh_token, with_access_token=is_alive)


def is_too_early(credential: Credential, token: Token) -> bool:
    """Whether the access token has more time left than its provider lets it have at a refresh."""
    kind = kinds.load().get(credential.kind)
    last = kind.provider.refresh_only_in_last if kind and kind.declared is None else 0
    return bool(last) and token.expires_at is not None and token.lasts(last) and not token.needs_reauthorization


def is_examinable(credential: Credential, token: Token) -> bool:
    """Whether the provider can be asked when the access token ends, and nobody knows."""
    kind = kinds.load().get(credential.kind)
    is_unknown = token.expiry_source == Expiry.UNKNOWN and token.has_access_token
    return is_unknown and kind is not None and bool(kind.provider.introspection_endpoint)


def is_backing_off(token: Token) -> bool:
    return token.retry_at is not None and token.retry_at > timezone.now()


def ended(credential: Credential, token: Token) -> Token:
    """`token`, with the note that it has ended, if it has, and there is nothing to renew it with."""
    if token.failure or token.expires_at is None or token.expires_at > timezone.now():
        return token
    now = timezone.now()
    Token.objects.filter(pk=token.pk, version=token.version).update(
        failure=Failure.NO_REFRESH_TOKEN, failed_at=now, due_at=None
    )
    token.failure, token.failed_at, token.due_at = Failure.NO_REFRESH_TOKEN, now, None
    health.note(credential, token)
    return token


def what_is_left(credential: Credential, token: Token, *, force: bool = False) -> Token:
    """The present tokens, if they may still do; else raises NoAccessToken or Unreadable, as the failure says.

    `force`: they may not, since the caller saw them refused.
    """
    if is_usable(token) and not force:
        return token
    raise failures.reason_of(credential, token, Failure(token.failure))


def is_usable(token: Token) -> bool:
    """Whether the access token is good, as far as anybody knows."""
    may_do = token.lasts(0) or (token.expiry_source == Expiry.UNKNOWN and token.has_access_token)
    return may_do and not token.needs_reauthorization


def note_unreadable(credential: Credential) -> None:
    """A seal did not open: that is news, and somebody has to see it."""
    log.error("credential_unreadable", credential=str(credential.pk), provider=credential.provider)
    unknown_so_far = Token.objects.filter(pk=credential.pk).exclude(failure__in=[Failure.UNREADABLE, *TERMINAL])
    if unknown_so_far.update(failure=Failure.UNREADABLE, failed_at=timezone.now()):
        note_health(credential)


def note_readable(credential: Credential) -> None:
    """It opens again, all that a refresh needs of it: the key is back, or the row."""
    whole = Credential.objects.whole().get(pk=credential.pk)
    try:
        whole.speaking(), whole.values(), whole.token.refresh_token
    except (Unreadable, LookupError, VariableNotAccepted):
        return
    unreadable = Token.objects.filter(pk=credential.pk, failure=Failure.UNREADABLE)
    if unreadable.update(failure=Failure.NONE, failed_at=None, failures=0, retry_at=None):
        note_health(credential)


def note_health(credential: Credential) -> None:
    row = Credential.objects.whole().filter(pk=credential.pk).first()
    if row is not None:
        health.note(row, row.token)


# ---- for the one who has the lease -----------------------------------------------------------------------------------


@sensitive_variables()
def renewed(credential: Credential, lease: Token, *, force: bool = False) -> Token:
    """Ask the provider, and keep what it answers. `lease`: the row, leased. Raises as `refreshed`."""
    if not is_renewable(credential, lease) and not is_examinable(credential, lease):
        Token.objects.give_back(lease, due_at=None)
        return what_is_left(credential, ended(credential, current(lease)))
    try:
        provider, client = credential.speaking()
        fingerprint_key()  # if it does not open, no answer can be kept
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


@sensitive_variables()
def after_success(
    credential: Credential, lease: Token, provider: Provider, client: Client, answer: TokenResponse
) -> Token:
    """Commit first. What the database cannot take now, the spool keeps; the caller gets it in any case."""
    tokens = lifetimes.of_answer(credential.definition, provider, answer, lease)
    try:
        is_kept = Token.objects.renew(lease, tokens, REFRESHED)
    except DatabaseError:
        keep_on_disk(lease, tokens)
        return with_tokens(lease, tokens)
    if not is_kept:
        if not is_of_same_grant(lease):
            give_back_new(credential, lease, provider, client, answer)
        return what_is_left(credential, current(lease))
    token = with_tokens(lease, tokens)
    counts.note(credential.account_id, is_renewed=True)
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
    """The last resort. If the disk is full too, whoever asked has the tokens, and nobody else ever will."""
    connection.close()
    try:
        spool.keep(lease, tokens, outcome)
    except OSError:
        log.exception("answer_lost", credential=str(lease.pk))


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
        is_noted = Token.objects.give_back(lease, **changes)
    if failure == Failure.ROTATION_INTERRUPTED:
        log.error("rotation_interrupted", credential=str(credential.pk), provider=credential.provider)
    log.warning("refresh_failed", credential=str(credential.pk), provider=credential.provider, reason=failure.value)
    if isinstance(exc, ProviderError) and credential.oauth_app and failure not in failures.OWN:
        app_health.observe(credential.oauth_app, exc)
    token = current(lease)
    if is_noted:
        counts.note(credential.account_id, is_renewed=False)
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
