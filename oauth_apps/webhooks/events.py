"""What developers can be told, and the telling: a row for each endpoint that wants to know."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction

from oauth_apps.models import OAuthApp, WebhookDelivery, WebhookEndpoint
from oauth_apps.webhooks import delivery

CREDENTIAL_CREATED = "credential.created"
CREDENTIAL_UPDATED = "credential.updated"
CREDENTIAL_NEEDS_REAUTHORIZATION = "credential.needs_reauthorization"
CREDENTIAL_RECOVERED = "credential.recovered"
CREDENTIAL_DELETED = "credential.deleted"
OAUTH_APP_HEALTH_CHANGED = "oauth_app.health_changed"
PING = "ping"  # to the endpoint that is tried, whatever it wants
MOST_PINGS = 20  # that wait for one endpoint

EVENTS = {
    CREDENTIAL_CREATED: "A new credential is stored.",
    CREDENTIAL_UPDATED: "A credential got other tokens: it was imported again, or its account was reconnected.",
    CREDENTIAL_NEEDS_REAUTHORIZATION: "A credential needs its account's owner again; nothing else helps.",
    CREDENTIAL_RECOVERED: "A credential that needed its account's owner works again.",
    CREDENTIAL_DELETED: "A credential is gone.",
    OAUTH_APP_HEALTH_CHANGED: "What is known of an OAuth app's health became better or worse.",
}


def announce(event: str, *, account: UUID, data: Mapping[str, Any]) -> None:
    """Tell the account's endpoints that want `event`, once the transaction stands in which this is called.

    `data`: ids and states, nothing that is secret and no name of a person.
    """
    announce_all(event, account=account, told=[data])


def announce_all(event: str, *, account: UUID, told: Sequence[Mapping[str, Any]]) -> None:
    """The same of many things, in this order. One statement, and nothing more for an account without endpoints. An
    endpoint that is deleted at the same time is waited for: it gets no delivery any more.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO oauth_apps_webhookdelivery
                (id, endpoint_id, event, body, created_at, due_at, attempts, last_failure)
            SELECT gen_random_uuid(), endpoint.id, %(event)s, body,
                statement_timestamp() + place * interval '1 microsecond', statement_timestamp(), 0, ''
            FROM oauth_apps_webhookendpoint AS endpoint,
                unnest(%(bodies)s::text[]) WITH ORDINALITY AS told (body, place)
            WHERE account_id = %(account)s AND enabled AND (events = '{}' OR %(event)s = ANY(events))
            FOR KEY SHARE OF endpoint
            """,
            {"event": event, "bodies": [body_of(event, data) for data in told], "account": account},
        )
        is_told = cursor.rowcount > 0
    if is_told:
        wake_at_commit()


class TooManyPings(Exception):
    """Those before have not arrived yet."""

    def __init__(self) -> None:
        super().__init__(f"{MOST_PINGS} pings wait to be delivered already: see what became of them first.")


def ping(endpoint: WebhookEndpoint) -> WebhookDelivery:
    """A delivery by which a developer tries his receiver. Raises TooManyPings."""
    if endpoint.deliveries.filter(event=PING, due_at__isnull=False).count() >= MOST_PINGS:
        raise TooManyPings
    data = {"webhook_endpoint_id": str(endpoint.pk), "account_id": str(endpoint.account_id)}
    row = WebhookDelivery.objects.create(id=uuid4(), endpoint=endpoint, event=PING, body=body_of(PING, data))
    wake_at_commit()
    return row


def oauth_app_data(oauth_app: OAuthApp) -> dict[str, Any]:
    return {
        "id": str(oauth_app.pk),
        "account_id": str(oauth_app.account_id),
        "provider": oauth_app.provider,
        "environment": str(oauth_app.environment),
        "health": {"status": str(oauth_app.health_status)},
    }


def body_of(event: str, data: Mapping[str, Any]) -> str:
    moment = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return json.dumps({"type": event, "timestamp": moment, "data": data}, separators=(",", ":"))


def wake_at_commit() -> None:
    """Once for a transaction, whatever happens in it: a deletion may announce thousands of events."""
    here = set(connection.savepoint_ids)
    if any(task is delivery.wake and set(sids) <= here for sids, task, *_ in connection.run_on_commit):
        return
    transaction.on_commit(delivery.wake, robust=True)
