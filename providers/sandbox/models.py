"""What the simulated providers remember: clients, grants, tokens, and the keys that sign their id_tokens."""

import uuid
from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.utils import timezone

from sequin_auth.lib.encryption import SealedTextField, digest


class Outcome(models.TextChoices):
    """What the end user, or the provider, does with an authorization request."""

    APPROVE = "approve", "Approve"
    APPROVE_FEWER = "approve_fewer", "Approve fewer scopes"
    DENY = "deny", "Deny"
    PROVIDER_ERROR = "provider_error", "Provider error"
    SLOW = "slow", "Slow provider"
    SHORT_LIVED = "short_lived", "Short-lived token"
    REFRESH_FAILS = "refresh_fails", "Refresh that fails"
    ROTATING = "rotating", "Rotating refresh tokens"
    RATE_LIMITED = "rate_limited", "Rate-limited API"
    API_FAILS = "api_fails", "API that fails"


class Registration(models.Model):
    """A client as a provider's console would hold it; `id` is the OAuth app's."""

    id = models.UUIDField(primary_key=True, editable=False)
    slug = models.CharField(max_length=100)
    client_id = models.CharField("client ID", max_length=1024)
    client_secret = SealedTextField("client secret", null=True)
    redirect_uri = models.CharField("redirect URI", max_length=2048)
    variables = models.JSONField(default=dict)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["slug", "client_id"], name="sandbox_registered")]

    def __str__(self) -> str:
        return f"{self.client_id} at {self.slug}"


class Grant(models.Model):
    """One authorization that was given, from the click on the consent page to the last of its tokens.

    `parts` are the variable parts of the URLs that it was given at: a code of one shop is none of another's.
    """

    registration = models.ForeignKey(Registration, on_delete=models.CASCADE, related_name="grants")
    ticket_hash = models.BinaryField(max_length=32, unique=True)  # of the consent page: good for one consent
    code_hash = models.BinaryField(max_length=32, unique=True)
    redirect_uri = models.CharField(max_length=2048)
    scopes = models.JSONField()
    nonce = models.TextField(blank=True)
    code_challenge = models.CharField(max_length=128, blank=True)  # S256
    parts = models.JSONField()
    offers_refresh_token = models.BooleanField()  # as far as the authorization request decides it
    outcome = models.CharField(max_length=20, choices=Outcome)
    delay = models.FloatField(default=0)  # seconds that the token endpoint and the API take
    account = models.CharField(max_length=9)
    records = models.PositiveIntegerField(default=250)  # that each collection has at first
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    code_expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"grant of {self.created_at:%Y-%m-%d %H:%M}"

    def use_code(self) -> bool:
        """Whether the code was unused until now. Of two at once, one is told so."""
        return bool(Grant.objects.filter(pk=self.pk, used_at=None).update(used_at=timezone.now()))

    def is_at(self, parts: dict[str, str]) -> bool:
        """Whether a URL with these variable parts belongs to the same customer."""
        return all(self.parts[name] == value for name, value in parts.items() if name in self.parts)

    def revoke(self) -> None:
        self.tokens.filter(revoked_at=None).update(revoked_at=timezone.now())


class IssuedTokenQuerySet(models.QuerySet["Token"]):
    def with_grant(self, slug: str) -> "IssuedTokenQuerySet":
        return self.filter(grant__registration__slug=slug).select_related("grant__registration")

    def named(self, token: str) -> "IssuedTokenQuerySet":
        """By its access or its refresh token, whatever has become of it."""
        return self.filter(models.Q(access_hash=digest(token)) | models.Q(refresh_hash=digest(token)))


class Token(models.Model):
    """An access token and the refresh token that was issued with it, by their SHA-256."""

    grant = models.ForeignKey(Grant, on_delete=models.CASCADE, related_name="tokens")
    access_hash = models.BinaryField(max_length=32, unique=True)
    refresh_hash = models.BinaryField(max_length=32, unique=True, null=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    expires_at = models.DateTimeField(null=True)
    refresh_expires_at = models.DateTimeField(null=True)
    refresh_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    objects = IssuedTokenQuerySet.as_manager()

    def __str__(self) -> str:
        return f"token of {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def is_live(self) -> bool:
        """Whether the access token still opens something."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    @property
    def is_refreshable(self) -> bool:
        """Whether the refresh token may still be used, were it for the first time."""
        return self.revoked_at is None and (self.refresh_expires_at is None or self.refresh_expires_at > timezone.now())

    def use_refresh_token(self) -> bool:
        """Whether it was unused until now. Of two at once, one is told so."""
        unused = Token.objects.filter(pk=self.pk, refresh_used_at=None)
        return bool(unused.update(refresh_used_at=timezone.now()))

    def was_used_within(self, seconds: int) -> bool:
        """Whether the refresh token's first use is that short ago; it may lie with a request that came just now."""
        first = Token.objects.values_list("refresh_used_at", flat=True).get(pk=self.pk)
        return first is not None and first > timezone.now() - timedelta(seconds=seconds)

    def has_used_successor(self) -> bool:
        """Whether a refresh token that came later in the same grant was used."""
        return Token.objects.filter(grant=self.grant_id, pk__gt=self.pk, refresh_used_at__isnull=False).exists()


class SigningKey(models.Model):
    """A key that the simulated providers sign id_tokens with: one an algorithm, made when it is first needed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    algorithm = models.CharField(max_length=5, unique=True)
    private_key = SealedTextField()  # a JWK
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.algorithm} key {self.id}"

    def __repr__(self) -> str:
        return f"<SigningKey: {self.algorithm}>"
