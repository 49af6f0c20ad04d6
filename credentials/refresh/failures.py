"""What it means that a refresh did not work, and what follows from it."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from credentials import health
from credentials.errors import ClientRefused, NeedsReauthorization, ProviderTrouble, RefreshInProgress
from credentials.models import Credential, Failure, Token
from credentials.models.token import TERMINAL
from credentials.refresh.lifetimes import spread
from oauth_apps import audit
from providers.errors import (
    AccessTokenMissing,
    AnswerNotUnderstood,
    ProviderError,
    ProviderUnavailable,
    TokenRequestRejected,
)
from sequin_auth.lib.encryption import Unreadable

FIRST_RETRY, LAST_RETRY = 5, 3600  # seconds; each try in a row waits twice as long as the one before
LONGEST_RETRY_AFTER = 86_400  # seconds that a provider may ask for
READS_RETRY_CLIENT = 30  # seconds; the developer mends his OAuth app and wants to see it work
OWN = {Failure.REFRESH_TOKEN_REFUSED, Failure.ROTATION_INTERRUPTED, Failure.IDENTITY_CHANGED}  # and not the OAuth app's


DEEDS = {Failure.ROTATION_INTERRUPTED: "credential.rotation_interrupted", Failure.UNREADABLE: "credential.unreadable"}


def write_down(credential: Credential, failure: Failure) -> None:
    """What has just become of `credential`, in the audit log, if that is more than a try in vain."""
    if failure not in TERMINAL and failure not in DEEDS:
        return
    action = DEEDS.get(failure, "credential.needs_reauthorization")
    audit.record(action, account=credential.account_id, to=credential, detail=failure.value, is_refresh=True)


class IdentityChanged(ProviderError):
    """A refresh was answered with another account's tokens."""


def failure_of(credential: Credential, lease: Token, exc: Exception) -> Failure:
    """What `exc` means for the credential. Source of the reasons: RFC 6749, 5.2."""
    is_minted = credential.definition.mints if not isinstance(exc, LookupError) else False
    match exc:
        case IdentityChanged():
            return Failure.IDENTITY_CHANGED
        case TokenRequestRejected(reason="invalid_client" | "unauthorized_client") if credential.oauth_app:
            return Failure.CLIENT_REFUSED
        case TokenRequestRejected(
            reason="invalid_grant" | "invalid_token" | "invalid_client" | "unauthorized_client"
        ) if is_minted:
            return Failure.CREDENTIALS_REFUSED
        case TokenRequestRejected(reason="invalid_grant" | "invalid_token"):
            return Failure.ROTATION_INTERRUPTED if lease.interrupted_at else Failure.REFRESH_TOKEN_REFUSED
        case TokenRequestRejected():
            return Failure.REFUSED
        case ProviderUnavailable():
            return Failure.PROVIDER_UNAVAILABLE
        case AnswerNotUnderstood():
            return Failure.NOT_UNDERSTOOD
        case Unreadable():
            return Failure.UNREADABLE
        case _:
            return Failure.NOT_CALLED


def consequences(lease: Token, failure: Failure, exc: Exception) -> dict[str, Any]:
    """The columns that a failure changes: since when, how often, and when it is tried again."""
    now = timezone.now()
    changes: dict[str, Any] = {
        "failure": failure,
        "failed_at": lease.failed_at if lease.failure == failure else now,
        "failures": lease.failures + 1,
        "retry_at": None,
        "due_at": None,
    }
    if failure in TERMINAL:
        return changes
    wait = min(FIRST_RETRY * 2 ** min(lease.failures, 20), LAST_RETRY)
    if isinstance(exc, ProviderUnavailable) and exc.retry_after:
        wait = min(max(wait, exc.retry_after), LONGEST_RETRY_AFTER)
    wait *= spread(1, 1.2)
    if failure == Failure.UNREADABLE:  # nobody is called, so nobody has to be spared
        return changes | {"due_at": now + timedelta(seconds=LAST_RETRY)}
    reads_wait = min(wait, READS_RETRY_CLIENT) if failure == Failure.CLIENT_REFUSED else wait
    changes |= {"due_at": now + timedelta(seconds=wait), "retry_at": now + timedelta(seconds=reads_wait)}
    is_uncertain = isinstance(exc, AnswerNotUnderstood) or (isinstance(exc, ProviderUnavailable) and exc.is_uncertain)
    if is_uncertain and not isinstance(exc, AccessTokenMissing) and lease.interrupted_at is None:
        changes["interrupted_at"] = now
    return changes


def reason_of(credential: Credential, token: Token, failure: Failure) -> Exception:
    if failure in TERMINAL:
        return NeedsReauthorization("The account's owner has to connect it again.")
    wait = max(1, int((token.retry_at - timezone.now()).total_seconds()) + 1) if token.retry_at else 1
    name = health.provider_name(credential.provider)
    match failure:
        case Failure.NONE:
            return RefreshInProgress("The token is being refreshed; ask again in a moment.", retry_after=1)
        case Failure.CLIENT_REFUSED:
            return ClientRefused(f"{name} does not accept the OAuth app's client id or secret.", retry_after=wait)
        case Failure.UNREADABLE:
            return Unreadable(f"What is stored of credential {credential.pk} does not open.")
        case Failure.PROVIDER_UNAVAILABLE:
            return ProviderTrouble(f"{name} does not answer, and the access token has ended.", retry_after=wait)
        case _:
            return ProviderTrouble(f"{name} could not be asked for a new access token.", retry_after=wait)
