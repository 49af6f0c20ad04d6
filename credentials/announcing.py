"""What happens to a credential, told to the developer's webhook endpoints: ids and states, and whether its owner is
needed. Each in the transaction of what has happened.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.dispatch import Signal

from credentials import health
from credentials.models import Credential, Token
from oauth_apps.models import HealthStatus
from oauth_apps.webhooks import events

OK, NEEDS_REAUTHORIZATION, DELETED = "ok", "needs_reauthorization", "deleted"

# To the floors above, in the transaction of it: the credential `credential_id` has other tokens, or is good again;
# `needed_owner`: its tokens had come to their end.
renewed = Signal()


def created(credentials: Sequence[Credential]) -> None:
    tell(events.CREDENTIAL_CREATED, credentials, OK)


def updated(credentials: Sequence[tuple[Credential, Token]]) -> None:
    """Each has other tokens than those beside it, and its health is that of the new ones."""
    tell(events.CREDENTIAL_UPDATED, [credential for credential, _ in credentials], OK)
    for credential, before in credentials:
        renewed.send(sender=Credential, credential_id=credential.pk, needed_owner=before.needs_reauthorization)
    again = [credential for credential, before in credentials if before.needs_reauthorization]
    tell(events.CREDENTIAL_RECOVERED, again, OK)


def needs_reauthorization(pk: UUID, *, before: Token) -> None:
    """Its tokens have come to their end, unless they had before."""
    if before.needs_reauthorization or (credential := Credential.objects.filter(pk=pk).first()) is None:
        return
    credential.health_status = HealthStatus.ERROR  # as health.assess has it
    tell(events.CREDENTIAL_NEEDS_REAUTHORIZATION, [credential], NEEDS_REAUTHORIZATION)


def recovered(pk: UUID, *, before: Token) -> None:
    """Its tokens are good again, if they were not."""
    if not before.needs_reauthorization or (credential := Credential.objects.whole().filter(pk=pk).first()) is None:
        return
    credential.health_status, _ = health.assess(credential, credential.token)
    renewed.send(sender=Credential, credential_id=pk, needed_owner=True)
    tell(events.CREDENTIAL_RECOVERED, [credential], OK)


def deleted(instance: Credential, **_: Any) -> None:
    """Before it is deleted, by whomever."""
    tell(events.CREDENTIAL_DELETED, [instance], DELETED)


def tell(event: str, credentials: Sequence[Credential], status: str) -> None:
    """`credentials`: of one account."""
    if credentials:
        told = [told_of(credential, status) for credential in credentials]
        events.announce_all(event, account=credentials[0].account_id, told=told)


def told_of(credential: Credential, status: str) -> dict[str, Any]:
    return {
        "id": str(credential.pk),
        "account_id": str(credential.account_id),
        "oauth_app_id": str(credential.oauth_app_id) if credential.oauth_app_id else None,
        "provider": credential.provider,
        "kind": credential.kind,
        "status": status,
        "health": {"status": str(credential.health_status)},
    }
