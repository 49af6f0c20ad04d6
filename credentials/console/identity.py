"""Whose a credential is, in a few words: what people call the account first, then what its provider tells it by."""

from copy import copy

from credentials.models import Credential
from providers import catalogue, kinds
from providers.kinds import CredentialKind

CALLED = ("email", "name", "login", "user", "username", "title")  # what a name of a property may end with
LONGEST = 80


def identity_of(credential: Credential) -> str:
    """Empty if nothing that may be shown tells it. Opens no seal."""
    kind = kinds.load().get(credential.kind)
    if kind is None:
        return ""
    named = [name for name in shown_of(kind) if name in credential.properties]
    told = dict.fromkeys(str(credential.properties[name]) for name in named if credential.properties[name])
    words = " · ".join(list(told)[:2])
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def called(credential: Credential) -> str:
    """What a heading calls it: by its name, else whose it is, else where."""
    provider = catalogue.load().get(credential.provider)
    return credential.name or identity_of(credential) or (provider.name if provider else credential.provider)


def crumb_of(credential: Credential) -> Credential:
    """It, to be named in the path above a page as its heading names it. Not to be saved."""
    crumb = copy(credential)
    crumb.name = called(credential)
    return crumb


def shown_of(kind: CredentialKind) -> list[str]:
    """The properties that people know an account by, then those that tell it apart; no secret is among them."""
    plain = {name: prop for name, prop in kind.properties.items() if not prop.secret}
    identity = [name for name, prop in plain.items() if prop.identity or prop.fallback_identity]
    called = [name for name in plain if name.rpartition("_")[2] in CALLED]
    return list(dict.fromkeys([*called, *identity]))
