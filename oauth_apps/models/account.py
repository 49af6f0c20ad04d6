"""Accounts, who works in them, and the keys to their `/v1`."""

import uuid
from typing import Any

from django.conf import settings
from django.db import models


class Account(models.Model):
    """A tenant. Everything below belongs to exactly one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    members: "models.ManyToManyField[Any, Membership]" = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Membership", related_name="accounts"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A console user who works in an account."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "member"
        constraints = [models.UniqueConstraint(fields=["account", "user"], name="one_membership_a_user")]

    def __str__(self) -> str:
        return f"{self.user} in {self.account}"


class ApiToken(models.Model):
    """A key to one account's `/v1`. Only its SHA-256 is kept, so it is shown once, when it is made."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=200, default="API token")
    prefix = models.CharField(max_length=16, editable=False)  # its first characters, to tell one from another
    token_hash = models.BinaryField(max_length=32, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "API Token"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
