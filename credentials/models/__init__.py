"""A trip of an end user, and the credentials that developers keep with us."""

from credentials.models.authorization import Authorization, Grant, StartLink, Step, s256
from credentials.models.credential import Credential, CredentialQuerySet
from credentials.models.fingerprint import FingerprintKey, fingerprint
from credentials.models.token import Expiry, Failure, Token, Tokens

__all__ = [
    "Authorization",
    "Credential",
    "CredentialQuerySet",
    "Expiry",
    "Failure",
    "FingerprintKey",
    "Grant",
    "StartLink",
    "Step",
    "Token",
    "Tokens",
    "fingerprint",
    "s256",
]
