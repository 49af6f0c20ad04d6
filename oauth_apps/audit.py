"""Writes down who did what. What is told holds names and ids, never a value of a secret."""

from uuid import UUID

import msgspec
from django.db import models

from oauth_apps.models import Account, AuditEvent


class Actor(msgspec.Struct, frozen=True):
    """Who does something, and from where: a user of the console, whoever tries to sign in, or a command.

    What is done with an API token is not written down yet. `user_id`: None for a command and for a stranger.
    """

    name: str
    user_id: int | None = None
    address: str = ""
    request_id: str = ""


def record(
    action: str,
    *,
    by: Actor,
    account: Account | UUID | None,
    to: models.Model | None = None,
    named: str = "",
    detail: str = "",
) -> None:
    """Write down one deed: `action` is `oauth_app.created` or the like, `to` what it was done to, `named` its name."""
    AuditEvent.objects.create(
        account_id=account.pk if isinstance(account, Account) else account,
        user_id=by.user_id,
        actor=by.name[:200],
        action=action[:100],
        object_type=to._meta.model_name or "" if to is not None else "",
        object_id=str(to.pk) if to is not None else "",
        object_name=(named or (str(to) if to is not None else ""))[:300],
        detail=detail[:500],
        address=by.address[:45],
        request_id=by.request_id,
    )
