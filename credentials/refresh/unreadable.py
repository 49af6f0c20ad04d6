"""A seal of a credential does not open, or opens again: that is news, and stands in its health."""

import structlog
from django.db import transaction
from django.utils import timezone

from credentials import health
from credentials.models import Credential, Failure, Token
from credentials.models.token import TERMINAL
from credentials.refresh import failures
from providers.variables import VariableNotAccepted
from sequin_auth.lib.encryption import Unreadable

log = structlog.get_logger("credentials")


def note_unreadable(credential: Credential) -> None:
    """A seal did not open: that is news, and somebody has to see it."""
    log.error("credential_unreadable", credential=str(credential.pk), provider=credential.provider)
    unknown_so_far = Token.objects.filter(pk=credential.pk).exclude(failure__in=[Failure.UNREADABLE, *TERMINAL])
    with transaction.atomic():
        is_news = unknown_so_far.update(failure=Failure.UNREADABLE, failed_at=timezone.now())
        if is_news:
            failures.write_down(credential, Failure.UNREADABLE)
    if is_news:
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
