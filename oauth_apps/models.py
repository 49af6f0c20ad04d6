"""Accounts, and what a developer registers in one: members, API tokens, redirect URIs, OAuth apps."""

import hmac
import uuid
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from oauth_apps.redirect_uris import expand, validate_redirect_uri
from providers import catalogue
from providers.client import Client
from providers.provider import Provider
from providers.sandbox import registrations
from sequin_auth.lib.encryption import SealedTextField, Unreadable, digest


class HealthStatus(models.TextChoices):
    OK = "ok"
    WARN = "warn"
    ERROR = "error"


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
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class RedirectURIQuerySet(models.QuerySet["RedirectURI"]):
    def of(self, account: "Account | UUID") -> "RedirectURIQuerySet":
        return self.filter(account=account)


class RedirectURI(models.Model):
    """Where a developer may have his end users sent; it applies to all OAuth apps of the account."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="redirect_uris")
    redirect_uri = models.CharField("redirect URI", max_length=2048, validators=[validate_redirect_uri])
    created_at = models.DateTimeField(auto_now_add=True)

    objects = RedirectURIQuerySet.as_manager()

    class Meta:
        verbose_name = "redirect URI"
        verbose_name_plural = "redirect URIs"
        constraints = [models.UniqueConstraint(fields=["account", "redirect_uri"], name="redirect_uri_once_an_account")]

    def __str__(self) -> str:
        return self.redirect_uri

    def admits(self, redirect_uri: str, *, slug: str) -> bool:
        """Whether `redirect_uri`, as it was sent, is this one for the provider `slug`, byte by byte."""
        return redirect_uri in {self.redirect_uri, self.for_provider(slug)}

    def for_provider(self, slug: str) -> str:
        """Where it leads for the provider `slug`: `:provider` replaced by it."""
        return expand(self.redirect_uri, slug)


class OAuthAppQuerySet(models.QuerySet["OAuthApp"]):
    def of(self, account: "Account | UUID") -> "OAuthAppQuerySet":
        return self.filter(account=account)

    def enabled(self) -> "OAuthAppQuerySet":
        return self.filter(enabled=True)

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

    def observe(self, status: HealthStatus, *notes: str) -> None:
        """Write down what an exchange or a check has just told about this app. Touches no other field."""
        self.health_status, self.health_notes, self.health_time = status, list(notes), timezone.now()
        type(self).objects.filter(pk=self.pk).update(
            health_status=self.health_status, health_notes=self.health_notes, health_time=self.health_time
        )


@receiver(post_delete, sender=OAuthApp)
def forget_in_sandbox(instance: OAuthApp, **_: Any) -> None:
    """However it was deleted: by itself, with its account, or by a queryset. After the commit, and what was asked for
    before: tokens that are given back then are still known there.
    """
    transaction.on_commit(partial(registrations.forget, instance.id))


class IdempotencyRecordQuerySet(models.QuerySet["IdempotencyRecord"]):
    def claim(self, account: "Account", *, key_hash: bytes, body_hash: bytes) -> "IdempotencyRecord":
        """The row of a key, locked until the transaction ends. Of two that make it at once, one waits for the other."""
        record, _ = self.select_for_update().get_or_create(
            account=account, key_hash=key_hash, defaults={"body_hash": body_hash}
        )
        return record

    def outdated(self) -> "IdempotencyRecordQuerySet":
        return self.filter(created_at__lt=timezone.now() - IdempotencyRecord.KEPT)


class IdempotencyRecord(models.Model):
    """The masked answer to a create that named an `Idempotency-Key`."""

    KEPT = timedelta(hours=24)

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    key_hash = models.BinaryField(max_length=32)
    body_hash = models.BinaryField(max_length=32)
    status_code = models.PositiveSmallIntegerField(null=True)  # None: the first request is still being answered
    answer = models.TextField(default="")  # JSON as it was sent; JSONB would sort its members
    created_at = models.DateTimeField(default=timezone.now)

    objects = IdempotencyRecordQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "key_hash"], name="idempotency_key_once_an_account")]

    def __str__(self) -> str:
        return f"answered {self.status_code}" if self.status_code else "being answered"


class FailedAuthenticationQuerySet(models.QuerySet["FailedAuthentication"]):
    def count_one(self, *, client: str, address: str) -> None:
        """Note that `client`, at `address`, has just failed."""
        row, created = self.get_or_create(key_hash=FailedAuthentication.key(client, address))
        if created:
            return
        window_is_over = Q(since__lt=timezone.now() - FailedAuthentication.WINDOW)
        if not self.filter(window_is_over, pk=row.pk).update(since=timezone.now(), failures=1):
            self.filter(pk=row.pk).update(failures=models.F("failures") + 1)

    def wait_for(self, *, client: str, address: str) -> int:
        """Seconds until `client` may try again from `address`; 0 if it may now."""
        shut_out = self.filter(
            key_hash=FailedAuthentication.key(client, address),
            failures__gte=FailedAuthentication.LIMIT,
            since__gt=timezone.now() - FailedAuthentication.WINDOW,
        ).first()
        return shut_out.seconds_left if shut_out else 0

    def outdated(self) -> "FailedAuthenticationQuerySet":
        return self.filter(since__lt=timezone.now() - FailedAuthentication.WINDOW)


class FailedAuthentication(models.Model):
    """How often one client has failed at the token endpoint from one address, in a window of five minutes.

    The client's id stands in the start link for everybody to see, so it cannot be shut out from everywhere at once:
    whoever guesses is stopped at his own address, and the developer's server goes on.
    """

    WINDOW = timedelta(minutes=5)
    LIMIT = 50

    key_hash = models.BinaryField(max_length=32, primary_key=True)
    failures = models.PositiveIntegerField(default=1)
    since = models.DateTimeField(default=timezone.now)

    objects = FailedAuthenticationQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.failures} failures since {self.since}"

    @staticmethod
    def key(client: str, address: str) -> bytes:
        return digest(f"{client} {address}")

    @property
    def seconds_left(self) -> int:
        return max(1, int((self.since + self.WINDOW - timezone.now()).total_seconds()))
