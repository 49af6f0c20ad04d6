"""Where a developer's end users may come back to."""

import uuid
from uuid import UUID

from django.db import models

from oauth_apps.models.account import Account
from oauth_apps.redirect_uris import expand, validate_redirect_uri


class RedirectURIQuerySet(models.QuerySet["RedirectURI"]):
    def of(self, account: Account | UUID) -> "RedirectURIQuerySet":
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
