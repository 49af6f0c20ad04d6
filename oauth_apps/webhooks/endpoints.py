"""Endpoints are made, given another secret, enabled and disabled: what the API and the console do alike."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from oauth_apps import audit
from oauth_apps.models import Account, HealthStatus, WebhookDelivery, WebhookEndpoint
from oauth_apps.webhooks import signing

MOST = 20  # of an account
OVERLAP = timedelta(days=1)  # in which the secret before still signs
LONGEST_OVERLAP = timedelta(days=7)


class TooMany(Exception):
    """The account has as many endpoints as it may have."""

    def __init__(self) -> None:
        super().__init__(f"An account has at most {MOST} webhooks: delete one that is not needed any more.")


def of(account: Account) -> "QuerySet[WebhookEndpoint]":
    return WebhookEndpoint.objects.filter(account=account)


@transaction.atomic
def create(account: Account, **fields: Any) -> WebhookEndpoint:
    """A new one with a secret. Raises TooMany, however many are made at once."""
    Account.objects.select_for_update(no_key=True).get(pk=account.pk)
    if of(account).count() >= MOST:
        raise TooMany
    return WebhookEndpoint.objects.create(account=account, secret=signing.new_secret(), **fields)


def change(endpoint: WebhookEndpoint, **fields: Any) -> list[str]:
    """Save what differs, and return its names. What failed at another address, or before it was enabled, is over."""
    changed = [name for name, value in fields.items() if value != getattr(endpoint, name)]
    for name in changed:
        setattr(endpoint, name, fields[name])
    if "url" in changed or "enabled" in changed:
        endpoint.failing_since, endpoint.disabled_because = None, ""
    if changed:
        endpoint.save(update_fields=[*changed, "failing_since", "disabled_because", "updated_at"])
    return changed


@sensitive_variables()
@transaction.atomic
def rotate_secret(endpoint: WebhookEndpoint, *, overlap: timedelta = OVERLAP) -> str:
    """The new secret. Those before it sign as well until the overlap is over; none, if there is none.

    Nothing of the old ones is needed without an overlap, so it heals an endpoint whose secret does not open. Raises
    Unreadable otherwise.
    """
    now = timezone.now()
    row = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
    previous = signing.secrets_of(row, now)[: signing.MOST_PREVIOUS] if overlap else []
    row.secret = secret = signing.new_secret()
    row.previous_secret = " ".join(previous) if previous else None
    row.previous_secret_until = now + overlap if previous else None
    row.save(update_fields=["secret", "previous_secret", "previous_secret_until", "updated_at"])
    return secret


def disable(endpoint: WebhookEndpoint, because: str) -> None:
    """By itself, unless it points elsewhere by now."""
    now = timezone.now()
    same = WebhookEndpoint.objects.filter(pk=endpoint.pk, url=endpoint.url, enabled=True)
    with transaction.atomic():
        if same.update(enabled=False, disabled_because=because, updated_at=now):
            audit.record("webhook_endpoint.disabled", account=endpoint.account_id, to=endpoint, detail=because)


def hold(instance: WebhookEndpoint, **_: Any) -> None:
    """Before an endpoint is deleted: whoever is just announcing an event to it comes first, and what he has written
    goes with it; whoever comes later waits, and finds it gone.
    """
    WebhookEndpoint.objects.select_for_update().filter(pk=instance.pk).first()


# ---- how well it is --------------------------------------------------------------------------------------------------


def with_last_attempts(endpoints: "QuerySet[WebhookEndpoint]") -> "QuerySet[WebhookEndpoint]":
    """With what `health` asks for, in one statement."""
    latest = WebhookDelivery.objects.filter(endpoint=OuterRef("pk")).order_by("-created_at", "-id")
    return endpoints.annotate(
        last_delivered_at=Subquery(latest.filter(delivered_at__isnull=False).values("delivered_at")[:1]),
        last_failure=Subquery(latest.exclude(last_failure="").values("last_failure")[:1]),
    )


def health(endpoint: Any) -> tuple[HealthStatus, list[str], datetime]:
    """Status, what is wrong and what to do, and since when that is known; of a row of `with_last_attempts`."""
    if endpoint.disabled_because:
        what_to_do = "Mend what answers there, then enable the webhook again."
        return HealthStatus.ERROR, [f"{endpoint.disabled_because} {what_to_do}"], endpoint.updated_at
    if endpoint.failing_since:
        since = f"Deliveries have failed since {endpoint.failing_since:%Y-%m-%d %H:%M} UTC."
        return HealthStatus.WARN, [f"{since} {endpoint.last_failure or ''}".strip()], endpoint.failing_since
    return HealthStatus.OK, [], endpoint.last_delivered_at or endpoint.created_at


def accept_events(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Each once, in our order. Raises ValueError, which names what there is."""
    wanted, known = set(names), list(known)
    if wanted - set(known):
        raise ValueError(f"Must be among {', '.join(known)}.")
    return [name for name in known if name in wanted]
