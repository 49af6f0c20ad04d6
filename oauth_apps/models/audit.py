"""Who did what, when, from where. Written once and never changed; it holds names and ids, no secret."""

import uuid
from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from oauth_apps.models.account import Account


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def outdated(self) -> "AuditEventQuerySet":
        return self.filter(created_at__lt=timezone.now() - AuditEvent.KEPT)


class AuditEvent(models.Model):
    """One deed. It outlives what it tells of: `actor` and `object_name` say what those were called then.

    `action`: a word for the thing and one for the deed, `oauth_app.created`. `detail`: what else there is to know.
    """

    KEPT = timedelta(days=400)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField("when", default=timezone.now)
    account = models.ForeignKey(Account, on_delete=models.SET_NULL, null=True, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    actor = models.CharField("who", max_length=200)
    action = models.CharField("did what", max_length=100)
    object_type = models.CharField(max_length=100, default="")
    object_id = models.CharField(max_length=100, default="")
    object_name = models.CharField("to what", max_length=300, default="")
    detail = models.CharField(max_length=500, default="")
    address = models.CharField("from where", max_length=45, default="")
    request_id = models.CharField(max_length=36, default="")

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        verbose_name = "audit event"
        verbose_name_plural = "audit log"
        indexes: ClassVar = [
            models.Index(fields=["account", "-created_at", "-id"], name="audit_listed"),
            models.Index(fields=["-created_at", "-id"], name="audit_by_time"),
            models.Index(fields=["object_id", "-created_at"], name="audit_of_object"),
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.action}"
