"""The part that a provider plays for a client whose refresh tokens rotate: a setting at some, the rule at others."""

import msgspec

from providers.sandbox.models import Outcome
from providers.sandbox.script import RefreshTokens, Rotation, Script


def has_refresh_tokens(script: Script) -> bool:
    """Whether there are any, be it by a setting of the client."""
    return script.refresh.policy != "none" or script.rotation is not None


def as_chosen(script: Script, outcome: str) -> Script:
    """`script`, or with `Outcome.ROTATING` the strictest there is: one use each, and reuse ends them all."""
    if outcome != Outcome.ROTATING:
        return script
    rotation = script.rotation or Rotation()
    refresh = msgspec.structs.replace(
        script.refresh,
        policy="rotates",
        lifetime=rotation.refresh_token_lifetime or script.refresh.lifetime,
        rotates_after=0,
        grace=0,
        reuse_revokes_all=True,
    )
    return msgspec.structs.replace(
        script,
        refresh=refresh,
        lifetime=rotation.lifetime or script.lifetime,
        answer=rotation.answer or script.answer,
        refresh_answer=None,
    )


def described(refresh: RefreshTokens) -> str:
    """What becomes of a refresh token that was used, in words."""
    match refresh.policy:
        case "none":
            return "There is none: the access token does not end."
        case "keeps":
            return "It stays good, however often it is used."
        case "renews":
            return "A new one comes with every refresh, and the old one stays good."
    used = "It is good for one use"
    if refresh.rotates_after:
        used = f"It is replaced once it is {refresh.rotates_after} seconds old"
    if refresh.grace:
        used += f", and taken again for {refresh.grace} seconds"
    if refresh.until_successor_is_used:
        used += " or until the new one is used"
    return f"{used}. A used one that comes back {'ends them all' if refresh.reuse_revokes_all else 'is refused'}."
