"""What happens below and concerns syncs."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from credentials.announcing import renewed
from credentials.models import Credential
from oauth_apps.deletion import taking_along
from oauth_apps.models import Account, AuditEvent, OAuthApp
from syncs import creation, destinations
from syncs.models import Sync


@receiver(taking_along, sender=Credential)
def with_credential(instance: Credential, **_: Any) -> list[AuditEvent]:
    """The syncs of a credential that is deleted go with it, and their tables with them."""
    return creation.delete(Sync.objects.filter(credential=instance))


@receiver(taking_along, sender=OAuthApp)
def with_oauth_app(instance: OAuthApp, **_: Any) -> list[AuditEvent]:
    """As those of each credential; nobody makes another one with these meanwhile."""
    locked = instance.credentials.select_for_update().order_by("pk").values_list("pk", flat=True)
    return creation.delete(Sync.objects.filter(credential__in=list(locked)))


@receiver(renewed, sender=Credential)
def with_new_tokens(credential_id: UUID, needed_owner: bool, **_: Any) -> None:
    """What waited for them goes on as soon as they are certain. Nothing that is kept of them depends on it."""
    transaction.on_commit(lambda: creation.go_on(credential_id, needed_owner=needed_owner), robust=True)


@receiver([pre_delete, taking_along], sender=Account)
def with_account(instance: Account, **_: Any) -> None:
    """When it is certain that the account is gone, its tables and its reader go too; what is away, by the sweep."""
    account_id = instance.pk  # deleting takes it from `instance`
    destinations.erase_later(account_id)
    transaction.on_commit(lambda: destinations.erase_what_is_left(account_id), robust=True)
