"""A trip of an end user, and the credentials that developers keep with us."""

from credentials.models.authorization import Authorization, End, Grant, StartLink, Step, s256
from credentials.models.credential import Credential, CredentialQuerySet
from credentials.models.daily_count import Counted, DailyCount
from credentials.models.fingerprint import FingerprintKey, fingerprint
from credentials.models.outcome import Outcome
from credentials.models.pace import Pace
from credentials.models.read_count import ReadCount
from credentials.models.token import Expiry, Failure, Token, Tokens

__all__ = [
    "Authorization",
    "Counted",
    "Credential",
    "CredentialQuerySet",
    "DailyCount",
    "End",
    "Expiry",
    "Failure",
    "FingerprintKey",
    "Grant",
    "Outcome",
    "Pace",
    "ReadCount",
    "StartLink",
    "Step",
    "Token",
    "Tokens",
    "fingerprint",
    "s256",
]
