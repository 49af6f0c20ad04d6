"""What is deleted takes along what depends on it, if that was asked for. The floors above are told by a signal."""

from typing import Any

from django.db import models
from django.dispatch import Signal

from oauth_apps.models import AuditEvent

# Before a row, the `instance`, is deleted with all that depends on it, in the transaction of that. Whoever keeps
# something that would keep it from being deleted deletes that, and may answer with a list of events, not written yet.
taking_along = Signal()


def dependants_gone(instance: models.Model) -> list[AuditEvent]:
    """Delete what floors above keep of `instance`, whose row is locked. The events are still to be written, last."""
    answers: list[tuple[Any, Any]] = taking_along.send(sender=type(instance), instance=instance)
    return [event for _, events in answers for event in events or ()]
