"""Tokens, keys and passwords that a developer chose to keep with us, each for one upstream account."""

import json
import uuid
from typing import Any, ClassVar

from django.contrib.postgres.indexes import BrinIndex, GinIndex
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from oauth_apps.models import Account, HealthStatus, OAuthApp
from providers import catalogue, kinds
from providers.client import Client
from providers.kinds import CredentialKind
from providers.provider import Provider
from sequin_auth.lib.encryption import KeyIdOf, SealedTextField


class CredentialQuerySet(models.QuerySet["Credential"]):
    def of(self, account: "Account | uuid.UUID") -> "CredentialQuerySet":
        return self.filter(account=account)

    def whole(self) -> "CredentialQuerySet":
        """With all that is needed to show or use one."""
        return self.select_related("token", "oauth_app")

    def page(self) -> "CredentialQuerySet":
        """The same of many at once: each OAuth app is read once, and not with each of its credentials."""
        return self.select_related("token").prefetch_related("oauth_app")


class Credential(models.Model):
    """One upstream account's credential. What is secret in it, but for the tokens, is sealed in `secrets`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Both begin an index of their own below
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="credentials", db_index=False)
    oauth_app = models.ForeignKey(
        OAuthApp, on_delete=models.RESTRICT, null=True, related_name="credentials", db_index=False
    )
    provider = models.CharField(max_length=100)
    kind = models.CharField(max_length=120)
    name = models.CharField(max_length=200, default="", blank=True)
    metadata = models.JSONField(default=dict, blank=True)

    identity_hash = models.BinaryField(max_length=32)  # of whatever tells its account from others; see imported.py
    is_identified = models.BooleanField(default=True)  # by its identity, not by the fallback or a fingerprint
    properties = models.JSONField(default=dict)  # in the order of the catalogue, without secrets
    secrets = SealedTextField(null=True)  # a JSON object
    secret_names = models.JSONField(default=list)
    variables = models.JSONField(default=dict)  # where its account's provider is
    scopes_requested = models.JSONField(default=list)
    scopes_granted = models.JSONField(default=list)
    redirect_uri = models.CharField(max_length=2048, default="")  # where the end user of its last trip came back to

    health_status = models.CharField(max_length=5, choices=HealthStatus, default=HealthStatus.OK, editable=False)
    health_notes = models.JSONField(default=list, editable=False)
    health_time = models.DateTimeField(default=timezone.now, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = CredentialQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "kind", "oauth_app", "identity_hash"],
                name="one_credential_an_upstream_account",
                nulls_distinct=False,
            )
        ]
        indexes: ClassVar = [
            BrinIndex(KeyIdOf("secrets"), name="credentials_by_key", autosummarize=True),  # as with tokens
            # A list has one for each of its filters, in its order: a page is read where it begins, however few match
            models.Index(fields=["account", "-created_at", "-id"], name="credentials_listed"),
            models.Index(fields=["account", "provider", "-created_at", "-id"], name="credentials_by_provider"),
            models.Index(fields=["account", "kind", "-created_at", "-id"], name="credentials_by_kind"),
            models.Index(fields=["oauth_app", "-created_at", "-id"], name="credentials_by_oauth_app"),
            models.Index(
                fields=["account", "health_status", "-created_at", "-id"],
                name="credentials_by_health",
                condition=~Q(health_status="ok"),
            ),
            GinIndex(fields=["metadata"], opclasses=["jsonb_path_ops"], name="credentials_by_metadata"),
        ]

    def __str__(self) -> str:
        return self.name or f"{self.kind} {self.id}"

    @property
    def definition(self) -> CredentialKind:
        """Raises kinds.UnknownKind if an operator has taken the provider or the kind away."""
        return kinds.get(self.kind)

    def speaking(self) -> tuple[Provider, Client]:
        """The provider at this account's hosts, and who speaks to it. Raises catalogue.UnknownProvider,
        VariableNotAccepted, Unreadable (of the OAuth app's secret).
        """
        sandbox_url = self.oauth_app.sandbox_url if self.oauth_app else ""
        provider = catalogue.get(self.provider).bound(self.variables, sandbox_url=sandbox_url)
        if self.oauth_app is None:
            return provider, Client(client_id="", client_secret="", variables=self.variables)
        return provider, self.oauth_app.client(self.variables)

    @sensitive_variables()
    def values(self) -> dict[str, Any]:
        """The properties with the secrets among them, but for the tokens. Opens the seal; raises Unreadable."""
        return {**self.properties, **(json.loads(self.secrets) if self.secrets else {})}

    def observe(self, status: HealthStatus, notes: list[str]) -> None:
        """Write down what was just learnt. Touches no other field."""
        self.health_status, self.health_notes, self.health_time = status, notes, timezone.now()
        type(self).objects.filter(pk=self.pk).update(
            health_status=self.health_status, health_notes=self.health_notes, health_time=self.health_time
        )
