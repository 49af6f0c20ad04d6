"""A developer's client registrations at providers."""

import hmac
import json
import uuid
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.db import connections, models, transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from oauth_apps.models.account import Account
from oauth_apps.models.redirect_uri import RedirectURI
from oauth_apps.redirect_uris import PROVIDER_SEGMENT
from providers import catalogue
from providers.client import Client
from providers.provider import Provider
from providers.sandbox import registrations
from sequin_auth.lib.encryption import SealedTextField, Unreadable, digest
from sequin_auth.lib.postgres import statements


class HealthStatus(models.TextChoices):
    OK = "ok"
    WARN = "warn"
    ERROR = "error"


class OAuthAppQuerySet(models.QuerySet["OAuthApp"]):
    def of(self, account: Account | UUID) -> "OAuthAppQuerySet":
        return self.filter(account=account)

    def enabled(self) -> "OAuthAppQuerySet":
        return self.filter(enabled=True)

    def by_id(self, *ids: UUID) -> "OAuthApp | None":
        """The one of these ids, in the statement of every trip; of several, one that is enabled."""
        table = self.model._meta.db_table
        rows = statements.run(
            f"SELECT {statements.columns_of(self.model)} FROM {table} WHERE id = ANY(%s) ORDER BY enabled DESC LIMIT 1",  # noqa: S608
            [list(ids)],
        )
        return statements.instance_of(self.model, rows[0]) if rows else None

    def with_redirect_uris(self, app_id: UUID, *, like: str) -> "tuple[OAuthApp | None, list[RedirectURI]]":
        """The app of an id, and those of its account's redirect URIs that may be meant by `like`, in one statement."""
        apps, uris = self.model._meta.db_table, RedirectURI._meta.db_table
        rows = statements.run(
            f"""
            SELECT {statements.columns_of(self.model)}, {statements.columns_of(RedirectURI)} FROM {apps}
            LEFT JOIN {uris} ON {uris}.account_id = {apps}.account_id
                AND %s IN ({uris}.redirect_uri, replace({uris}.redirect_uri, '{PROVIDER_SEGMENT}', {apps}.provider))
            WHERE {apps}.id = %s
            """,  # noqa: S608 (names of ours, no values)
            [like.replace("\x00", ""), app_id],  # which no text of the database may hold
        )
        if not rows:
            return None, []
        columns = len(self.model._meta.concrete_fields)
        found = [statements.instance_of(RedirectURI, row[columns:]) for row in rows if row[columns] is not None]
        return statements.instance_of(self.model, rows[0][:columns]), found

    def squatted_by(self, oauth_app: "OAuthApp") -> "OAuthAppQuerySet":
        """Other accounts' apps that claim the same registration at the same provider (and host)."""
        return self.exclude(account=oauth_app.account_id).filter(
            provider=oauth_app.provider,
            client_id=oauth_app.client_id,
            variables=oauth_app.variables,
            environment="live",
        )


class OAuthApp(models.Model):
    """A developer's client registration at one provider.

    `id` is what the developer sends us as `client_id`; `client_id` is what we send to the provider.
    """

    class Environment(models.TextChoices):
        LIVE = "live"
        SANDBOX = "sandbox"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="oauth_apps")
    provider = models.CharField(max_length=100, choices=catalogue.choices)
    name = models.CharField(max_length=200)
    client_id = models.CharField("client ID", max_length=1024)
    client_secret = SealedTextField("client secret", null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    default_scopes = models.JSONField(default=list, blank=True)
    variables = models.JSONField(default=dict, blank=True)
    environment = models.CharField(max_length=10, choices=Environment, default=Environment.LIVE)
    enabled = models.BooleanField(default=True)
    own_callback = models.BooleanField("own callback URL", default=False)
    asks_first = models.BooleanField("a page of ours asks first", default=False)
    purpose = models.CharField("what for", max_length=300, default="", blank=True)  # told to the end user on that page
    health_status = models.CharField(max_length=5, choices=HealthStatus, default=HealthStatus.OK, editable=False)
    health_notes = models.JSONField(default=list, editable=False)
    health_time = models.DateTimeField(default=timezone.now, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = OAuthAppQuerySet.as_manager()

    class Meta:
        verbose_name = "OAuth App"
        verbose_name_plural = "OAuth Apps"
        indexes: ClassVar = [models.Index(fields=["account", "-created_at", "-id"], name="oauth_apps_listed")]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        is_new = self._state.adding
        super().save(*args, **kwargs)
        if self.environment == self.Environment.SANDBOX:
            self._register_in_sandbox()
        elif not is_new:
            registrations.forget(self.id)

    def _register_in_sandbox(self) -> None:
        """Tell the simulator of this client, as a developer does in a provider's console."""
        try:
            client_secret = self.client_secret
        except Unreadable:  # whatever else is being saved must not fail for it
            registrations.forget(self.id)
            return
        registrations.register(
            self.id,
            slug=self.provider,
            client_id=self.client_id,
            client_secret=client_secret,
            redirect_uri=self.callback_url,
            variables=self.variables,
        )

    @property
    def definition(self) -> Provider:
        """The catalogue's entry. Raises catalogue.UnknownProvider if an operator has taken it away."""
        return catalogue.get(self.provider)

    @property
    def callback_url(self) -> str:
        """Ours, to be registered at the provider."""
        shared = f"{settings.PUBLIC_URL}/link/oauth2/callback/{self.provider}"
        return f"{shared}/{self.id}" if self.own_callback else shared

    @property
    def sandbox_url(self) -> str:
        """Where the simulator stands in for this app's provider; empty for a live app."""
        in_sandbox = self.environment == self.Environment.SANDBOX
        return f"{settings.PUBLIC_URL}/sandbox/{self.provider}" if in_sandbox else ""

    def client(self, variables: dict[str, str]) -> Client:
        """This registration, ready to speak to the provider. Opens the seal of the client secret."""
        return Client(
            client_id=self.client_id,
            client_secret=self.client_secret or "",
            variables=variables,
            sandbox=self.environment == self.Environment.SANDBOX,
        )

    def has_secret(self, candidate: str) -> bool:
        """Compares in constant time. An app without a secret has none that matches."""
        secret = self.client_secret or ""
        return bool(secret) & hmac.compare_digest(digest(secret), digest(candidate))

    def observe(self, status: HealthStatus, *notes: str) -> bool:
        """Write down what an exchange or a check has just told about this app. Touches no other field.

        Returns whether its status is another one now; another process may have observed one meanwhile.
        """
        self.health_status, self.health_notes, self.health_time = status, list(notes), timezone.now()
        table = type(self)._meta.db_table
        with connections[type(self).objects.db].cursor() as cursor:
            cursor.execute(
                f"""
                WITH before AS (SELECT health_status FROM {table} WHERE id = %s FOR NO KEY UPDATE)
                UPDATE {table} SET health_status = %s, health_notes = %s, health_time = %s
                FROM before WHERE id = %s
                RETURNING before.health_status
                """,  # noqa: S608 (a name of ours, no value)
                [self.pk, str(status), json.dumps(self.health_notes), self.health_time, self.pk],
            )
            before = cursor.fetchone()
        return before is not None and before[0] != status


@receiver(post_delete, sender=OAuthApp)
def forget_in_sandbox(instance: OAuthApp, **_: Any) -> None:
    """However it was deleted: by itself, with its account, or by a queryset. After the commit, and what was asked for
    before: tokens that are given back then are still known there.
    """
    transaction.on_commit(partial(registrations.forget, instance.id))
