"""Asks the provider, now and without the account's owner, whether a credential is good. Its health is the answer."""

from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials import announcing, health
from credentials.errors import ClientRefused, CredentialGone, NoAccessToken
from credentials.models import Credential, Expiry, Failure, Token
from credentials.refresh import failures, note_unreadable, refreshed
from oauth_apps.models import HealthStatus
from providers import access
from providers.answers import at
from providers.errors import AnswerNotUnderstood, ProviderError, ProviderUnavailable, TokenRequestRejected
from providers.variables import VariableNotAccepted
from sequin_auth.lib.encryption import Unreadable

Finding = tuple[HealthStatus, str]

UNREACHED: Finding = (
    HealthStatus.WARN,
    "{provider} did not answer a check ({now}). Nothing needs to be done unless this goes on.",
)
NOT_UNDERSTOOD: Finding = (
    HealthStatus.WARN,
    "{provider} answered a check ({now}) in a way that its documentation does not promise, so nothing new is known.",
)
NOT_CALLED: Finding = (
    HealthStatus.WARN,
    "{provider} was not asked ({now}): its address is not public, or the provider or a variable has left the catalogue."
    " Compare the variables with the provider's setup steps.",
)
APP_REFUSED: Finding = (
    HealthStatus.WARN,
    "{provider} does not accept the OAuth app, so it could not be asked about the credential ({now}). See the OAuth"
    " app's health.",
)
REFUSED_AGAIN: Finding = (
    HealthStatus.ERROR,
    "{provider} has given a new access token, and does not accept it ({now}). See there whether the account or the"
    " OAuth app is suspended.",
)
ANOTHER_ACCOUNT: Finding = (
    HealthStatus.ERROR,
    "{provider} says that the token is another account's than the credential says ({now}). Find out where it came"
    " from; if it was imported by mistake, delete the credential.",
)
NOT_CHECKABLE: Finding = (
    HealthStatus.OK,
    "No call is known by which {provider} could be asked about such a credential ({now}).",
)


def check(credential: Credential) -> None:
    """Ask, with a new access token if the present one has ended or is refused, and write the credential's health."""
    try:
        findings = findings_of(credential)
    except CredentialGone:
        return
    except ClientRefused:
        findings = [APP_REFUSED]
    except NoAccessToken:
        findings = []  # the refresh has written down why
    except Unreadable:
        note_unreadable(credential)
        findings = []
    except ProviderUnavailable:
        findings = [UNREACHED]
    except AnswerNotUnderstood:
        findings = [NOT_UNDERSTOOD]
    except (ProviderError, VariableNotAccepted, LookupError):
        findings = [NOT_CALLED]
    write_down(credential, findings)


def write_down(credential: Credential, findings: list[Finding]) -> None:
    """What was found, beside what the row itself tells."""
    row = Credential.objects.whole().filter(pk=credential.pk).first()
    if row is None:
        return
    status, notes = health.assess(row, row.token)
    words = {"provider": health.provider_name(row.provider), "now": health.moment(timezone.now())}
    worst = max([status, *(status for status, _ in findings)], key=list(HealthStatus).index)
    row.observe(worst, [*notes, *(note.format(**words) for _, note in findings)])


def findings_of(credential: Credential) -> list[Finding]:
    """Raises NoAccessToken, CredentialGone, Unreadable, ProviderError, VariableNotAccepted, LookupError."""
    kind = credential.definition
    if kind.declared is None or kind.mints:
        return findings_with_token(credential)
    return findings_without_token(credential)


# ---- keys, passwords, signatures -------------------------------------------------------------------------------------


def findings_without_token(credential: Credential) -> list[Finding]:
    try:
        document = asked(credential, credential.token)
    except TokenRequestRejected as exc:
        if exc.reason != "invalid_token":
            raise
        note_failure(credential.token, Failure.CREDENTIALS_REFUSED)
        return []
    if document is None:
        return [NOT_CHECKABLE]
    note_success(credential.token)
    return []


# ---- access tokens ---------------------------------------------------------------------------------------------------


@sensitive_variables()
def findings_with_token(credential: Credential) -> list[Finding]:
    version = credential.token.version
    token = credential.token = token_to_ask_with(credential)
    is_new = token.version != version
    try:
        document = asked(credential, token)
        if document is None and not is_new and has_means(credential, token):
            refreshed(credential, force=True)
            return []
    except TokenRequestRejected as exc:
        if exc.reason != "invalid_token":
            raise
        if not has_means(credential, token):
            note_failure(token, Failure.REVOKED)
            return []
        return [REFUSED_AGAIN] if is_new else findings_with_new_token(credential)
    if document is None:
        return [] if is_new else [NOT_CHECKABLE]
    note_success(token)
    return [ANOTHER_ACCOUNT] if is_another_account(credential, document) else []


@sensitive_variables()
def findings_with_new_token(credential: Credential) -> list[Finding]:
    """The provider did not accept the present one, which may have ended before its time."""
    token = refreshed(credential, force=True)
    try:
        document = asked(credential, token)
    except TokenRequestRejected as exc:
        if exc.reason != "invalid_token":
            raise
        return [REFUSED_AGAIN]
    return [ANOTHER_ACCOUNT] if is_another_account(credential, document) else []


def token_to_ask_with(credential: Credential) -> Token:
    """The present one while it lasts, or where there is no way to another; else a new one. What is minted always is."""
    token = credential.token
    if credential.definition.mints:
        return refreshed(credential, force=True)
    can_be_new = has_means(credential, token)
    may_last = token.expiry_source == Expiry.UNKNOWN and token.has_access_token
    if token.lasts(0) or (may_last and not can_be_new):
        return token
    return refreshed(credential, force=can_be_new and not (may_last and not token.failure))


def has_means(credential: Credential, token: Token) -> bool:
    """Whether there is something to get a new access token with."""
    has_access_token = token.has_access_token and token.lasts(0)
    return credential.definition.renews(with_refresh_token=token.has_refresh_token, with_access_token=has_access_token)


# ---- one call, and what it tells -------------------------------------------------------------------------------------


@sensitive_variables()
def asked(credential: Credential, token: Token) -> Any:
    """The document of the provider's cheapest authenticated call; None if none is known."""
    provider, client = credential.speaking()
    return access.check(credential.definition, provider, client, credential.values(), token.access_token or "")


def is_another_account(credential: Credential, document: Any) -> bool:
    """Whether the answer names another account, if it is the one that the identity is read in."""
    provider = credential.definition.provider
    if credential.definition.declared is not None or provider.check:
        return False
    names = [name for name in provider.identity_properties() if provider.credential[name].follow_up]
    told = {name: at(document, provider.credential[name].follow_up) for name in names}
    mine = credential.properties
    return any(
        told[name] is not None and name in mine and not provider.credential[name].pattern
        and str(told[name]) != str(mine[name])
        for name in names
    )  # fmt: skip


@transaction.atomic
def note_failure(token: Token, failure: Failure) -> None:
    """Unless there are other tokens by now, or it is no news."""
    this = Token.objects.filter(pk=token.pk, version=token.version).exclude(failure=failure)
    if before := this.select_for_update().first():
        this.update(failure=failure, failed_at=timezone.now(), failures=1, due_at=None)
        announcing.needs_reauthorization(token.pk, before=before)
        failures.write_down(token.credential, failure)


@transaction.atomic
def note_success(token: Token) -> None:
    """What a check has found before is over. Failures of refreshes are not: the refresh token was not asked about."""
    over = [Failure.CREDENTIALS_REFUSED, Failure.UNREADABLE]
    if not token.has_refresh_token:
        over.append(Failure.REVOKED)
    this = Token.objects.filter(pk=token.pk, version=token.version, failure__in=over)
    if before := this.select_for_update().first():
        this.update(failure=Failure.NONE, failed_at=None, failures=0, retry_at=None, due_at=F("expires_at"))
        announcing.recovered(token.pk, before=before)
