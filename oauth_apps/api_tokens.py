"""API tokens: `sqa_`, 43 random characters (256 bits), and a checksum by which scanners tell them from lookalikes."""

import functools
import re
import secrets
import string
import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.db.models import Q
from django.utils import timezone

from oauth_apps.models import Account, ApiToken
from sequin_auth.lib.encryption import digest
from sequin_auth.lib.postgres import statements

PREFIX = "sqa_"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase  # base62
RANDOM_LENGTH, CHECKSUM_LENGTH = 43, 6
FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}", re.ASCII)

SCOPES = ("read", "write", "reveal", "proxy")
DEFAULT_SCOPES = ("read", "write")
SCOPES_IN_WORDS = {
    "read": "See OAuth apps, redirect URIs and credentials; their secrets are masked.",
    "write": "Make, change and delete them, and make start links.",
    "reveal": "Fetch access tokens, exchange codes and export credentials with their secrets.",
    "proxy": "Call a provider's API with a credential, without seeing its secrets.",
}
NOTED_EVERY = timedelta(minutes=1)


def issue(
    account: Account,
    *,
    scopes: Sequence[str] = DEFAULT_SCOPES,
    name: str = "API token",
    expires_at: datetime | None = None,
    token_id: UUID | None = None,
) -> tuple[ApiToken, str]:
    """A new token of `account`, as row and as text. The text is known now and never again.

    `token_id`: of whoever must not make two; raises IntegrityError if there is one.
    """
    text = new_token()
    row = ApiToken.objects.create(
        pk=token_id or uuid4(),
        account=account,
        name=name,
        prefix=text[: len(PREFIX) + 8],
        token_hash=digest(text),
        scopes=list(scopes),
        expires_at=expires_at,
    )
    return row, text


def find(text: str) -> ApiToken | None:
    """The token `text` with its account, in one SELECT by its hash; None if it is unknown, expired or revoked."""
    if not is_well_formed(text):
        return None
    rows = statements.run(finding(), [digest(text), timezone.now()])
    if not rows:
        return None
    columns = len(ApiToken._meta.concrete_fields)
    token = statements.instance_of(ApiToken, rows[0][:columns])
    token.account = statements.instance_of(Account, rows[0][columns:])
    return token


@functools.cache
def finding() -> str:
    """Each request to the API begins with it, so it is written out. Values: the hash, and the time that it is now."""
    tokens, accounts = ApiToken._meta.db_table, Account._meta.db_table
    return f"""
        SELECT {statements.columns_of(ApiToken)}, {statements.columns_of(Account)}
        FROM {tokens} JOIN {accounts} ON {accounts}.id = {tokens}.account_id
        WHERE {tokens}.token_hash = %s AND {tokens}.revoked_at IS NULL
            AND ({tokens}.expires_at IS NULL OR {tokens}.expires_at > %s)
    """  # noqa: S608 (names of ours, no values)


def revoke(token: ApiToken) -> bool:
    """Refuse it from the next request on, for good. False if it was revoked before."""
    return bool(ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=timezone.now()))


def is_well_formed(text: str) -> bool:
    if not FORM.fullmatch(text):
        return False
    return checksum(text[:-CHECKSUM_LENGTH]) == text[-CHECKSUM_LENGTH:]


def new_token() -> str:
    text = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return text + checksum(text)


def checksum(text: str) -> str:
    """CRC-32 of `text` in base62, six digits."""
    rest, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        rest, digit = divmod(rest, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def is_use_worth_noting(token: ApiToken) -> bool:
    return token.last_used_at is None or token.last_used_at < timezone.now() - NOTED_EVERY


def note_use(token: ApiToken) -> None:
    """Writes `last_used_at`, unless another request has done so within the minute."""
    note_uses([token.pk])


def note_uses(token_ids: Iterable[UUID]) -> None:
    now = timezone.now()
    unnoted = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - NOTED_EVERY)
    ApiToken.objects.filter(unnoted, pk__in=list(token_ids)).update(last_used_at=now)
