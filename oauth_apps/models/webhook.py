"""Where a developer wants to be told what happens to his credentials, and what is to be told him."""

import uuid
from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from oauth_apps.models.account import Account
from sequin_auth.lib.encryption import SealedTextField


class WebhookEndpoint(models.Model):
    """A URL of the developer's that is called. `events`: which ones it wants; none named: all.

    `secret` signs; for a while after it was changed, `previous_secret` does too. `failing_since`: when the first of
    the deliveries that failed since the last success did.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="webhook_endpoints")
    url = models.CharField("URL", max_length=2048)
    description = models.CharField(max_length=200, blank=True, default="")
    events = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    secret = SealedTextField()
    previous_secret = SealedTextField(null=True)
    previous_secret_until = models.DateTimeField(null=True)
    enabled = models.BooleanField(default=True)
    disabled_because = models.CharField(max_length=200, blank=True, default="")
    failing_since = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "webhook"
        indexes = [models.Index(fields=["account", "-created_at", "-id"], name="webhook_endpoints_listed")]

    def __str__(self) -> str:
        """By which events of the audit log name it: without the query, where receivers keep their secrets."""
        return self.url.partition("?")[0]


class WebhookDelivery(models.Model):
    """One event on its way to one endpoint. Its id is the `webhook-id`, the same in each attempt.

    `body`: the JSON as it is sent, ids and states only. `due_at`: when it is tried next; None once that is over.
    An attempt moves it on before it calls, so that another process leaves it alone and one that dies is followed.
    """

    KEPT = timedelta(days=7)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=60)
    body = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(null=True, default=timezone.now)
    attempts = models.PositiveSmallIntegerField(default=0)
    last_status = models.PositiveSmallIntegerField(null=True)
    last_failure = models.CharField(max_length=200, default="")
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "webhook delivery"
        verbose_name_plural = "webhook deliveries"
        indexes = [
            models.Index(fields=["endpoint", "due_at"], condition=models.Q(due_at__isnull=False), name="webhooks_due"),
            models.Index(fields=["endpoint", "-created_at", "-id"], name="webhook_deliveries_listed"),
            models.Index(fields=["created_at"], name="webhook_deliveries_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.endpoint_id}"
