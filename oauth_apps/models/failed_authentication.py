"""Failures at the token endpoint, counted so that guessing ends."""

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone

from sequin_auth.lib.encryption import digest


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
