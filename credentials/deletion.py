"""A credential is deleted, by whomever: when it is certain that it is gone here, its tokens go back to the provider."""

import time
from collections import Counter
from collections.abc import Collection
from typing import Any

import structlog
from django.db import connection, models, transaction
from django.views.decorators.debug import sensitive_variables

from credentials.models import Credential
from credentials.revocation import give_back, with_live_access_token
from providers import kinds
from providers.variables import VariableNotAccepted
from sequin_auth.lib.encryption import Unreadable

log = structlog.get_logger("credentials")

# Of one deletion, say of an account, while somebody waits for it. Beyond them tokens are left to end by themselves; the
# log says whose.
MOST_REVOKED = 20
LONGEST = 30.0  # seconds


def revoke_later(instance: Credential, **_: Any) -> None:
    """Before a credential is deleted: keep what revoking it takes until the commit, if there is one."""
    if not is_revocable(instance):
        return
    limit = next((task.limit for _, task, *_ in connection.run_on_commit if isinstance(task, Revocation)), Limit())
    limit.revocations += 1
    whole = None
    if limit.revocations <= MOST_REVOKED:  # deleting takes the primary key from `instance`
        whole = Credential.objects.whole().filter(pk=instance.pk).first()
        if whole is None:
            return  # somebody else has just deleted it, and gives it back
    transaction.on_commit(Revocation(limit, instance.provider, str(instance.pk), whole), robust=True)


def in_use_by(users: Collection[models.Model]) -> str:
    """How many of what keeps a credential from being deleted, as `2 syncs`."""
    counts = Counter(type(user) for user in users)
    names = {kind: (kind._meta.verbose_name, kind._meta.verbose_name_plural) for kind in counts}
    return " and ".join(f"{count} {names[kind][count > 1]}" for kind, count in counts.items())


def is_revocable(credential: Credential) -> bool:
    """Whether it holds tokens that were granted to us. A key was not, and what is minted with one ends soon."""
    kind = kinds.load().get(credential.kind)
    return kind is not None and kind.declared is None and kind.provider.revokes


class Limit:
    """What the revocations of one deletion may take together."""

    revocations = 0
    ends_at: float | None = None

    @property
    def is_over(self) -> bool:
        self.ends_at = self.ends_at or time.monotonic() + LONGEST
        return time.monotonic() > self.ends_at


class Revocation:
    """Of one credential, which is gone by then."""

    def __init__(self, limit: Limit, provider: str, credential_id: str, credential: Credential | None) -> None:
        self.limit, self.provider, self.credential_id, self.credential = limit, provider, credential_id, credential

    def __call__(self) -> None:
        """Best effort: the outcome is in the log, and nothing here depends on it."""
        with structlog.contextvars.bound_contextvars(credential=self.credential_id):
            if self.credential is None or self.limit.is_over:
                log.warning("revocation_failed", provider=self.provider, reason="too_many")
                return
            try:
                is_revoked = revoked(self.credential)
            except (Unreadable, VariableNotAccepted, LookupError) as exc:
                log.warning("revocation_failed", provider=self.provider, reason=type(exc).__name__)
                return
            if is_revoked:
                log.info("credential_revoked", provider=self.provider)


@sensitive_variables()
def revoked(credential: Credential) -> bool:
    """Whether the provider did it; if not, the log says why. Raises Unreadable, VariableNotAccepted, LookupError."""
    provider, client = credential.speaking()
    access_token, refresh_token = with_live_access_token(provider, client, credential.token, credential.values())
    return give_back(
        provider, client, access_token=access_token, refresh_token=refresh_token, properties=credential.properties
    )
