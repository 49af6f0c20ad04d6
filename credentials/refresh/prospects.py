"""What is to be had of tokens as they stand: whether they do, can be renewed or have ended. No provider is asked."""

from django.db import transaction
from django.utils import timezone

from credentials import announcing, health
from credentials.errors import CredentialGone
from credentials.models import Credential, Expiry, Failure, Token
from credentials.refresh import failures
from providers import kinds


def current(token: Token) -> Token:
    """The row as it is now. Raises CredentialGone."""
    row = Token.objects.filter(pk=token.pk).first()
    if row is None:
        raise CredentialGone
    return row


def is_usable(token: Token) -> bool:
    """Whether the access token is good, as far as anybody knows."""
    may_do = token.lasts(0) or (token.expiry_source == Expiry.UNKNOWN and token.has_access_token)
    return may_do and not token.needs_reauthorization


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
    with transaction.atomic():
        sound = Token.objects.filter(pk=token.pk, version=token.version, failure=Failure.NONE)
        if sound.update(failure=Failure.NO_REFRESH_TOKEN, failed_at=now, due_at=None):
            announcing.needs_reauthorization(token.pk, before=token)
            failures.write_down(credential, Failure.NO_REFRESH_TOKEN)
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
