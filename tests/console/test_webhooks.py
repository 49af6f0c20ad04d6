"""Accounts › Webhooks."""

import re
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from oauth_apps.models import Account, AuditEvent, WebhookDelivery, WebhookEndpoint
from oauth_apps.webhooks import endpoints, events

LIST, ADD = "admin:oauth_apps_webhookendpoint_changelist", "admin:oauth_apps_webhookendpoint_add"
URL = "https://hooks.example.com/sequin"


@pytest.fixture
def endpoint(account: Account) -> WebhookEndpoint:
    return endpoints.create(account, url=URL)


def page(client: Client, endpoint: WebhookEndpoint, name: str = "oauth_apps_webhookendpoint_change") -> str:
    return reverse(f"admin:{name}", args=[endpoint.pk])


def text_of(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode())


def test_an_endpoint_is_added_and_its_secret_shown_once(member: Client, account: Account) -> None:
    assert "Add the first webhook" in text_of(member, reverse(LIST))
    form = {"account": account.pk, "url": URL, "description": "billing", "events": [events.CREDENTIAL_DELETED]}

    made = member.post(reverse(ADD), form)

    row = WebhookEndpoint.objects.get()
    assert (row.account, row.url, row.description, row.events, row.enabled) == (
        account, URL, "billing", [events.CREDENTIAL_DELETED], True,
    )  # fmt: skip
    assert row.secret in made.content.decode()
    assert made["Cache-Control"].startswith("no-store")
    for url in (reverse(LIST), page(member, row), page(member, row, "rotate_webhook_secret")):
        assert row.secret not in text_of(member, url)
    event = AuditEvent.objects.get()
    assert (event.action, event.object_name) == ("webhook_endpoint.created", URL)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"url": "https://10.0.0.1/"}, "The host of a webhook URL must have a public address."),
        ({"url": "http://hooks.example.com/"}, "Only https on port 443 is permitted."),
        ({"url": ""}, "This field is required."),
        ({"events": ["credential.eaten"]}, "Select a valid choice."),
        ({"account": "x"}, "Nothing is saved yet."),
    ],
)
def test_what_is_refused_is_told_at_its_field(
    member: Client, account: Account, changed: dict[str, Any], why: str
) -> None:
    refused = member.post(reverse(ADD), {"account": account.pk, "url": URL} | changed)

    assert refused.status_code == 200
    assert why in refused.content.decode()
    assert not WebhookEndpoint.objects.exists()


def test_an_account_has_at_most_twenty(member: Client, account: Account) -> None:
    for _ in range(endpoints.MOST):
        endpoints.create(account, url=URL)

    refused = member.post(reverse(ADD), {"account": account.pk, "url": URL})

    assert "An account has at most 20 webhooks" in refused.content.decode()
    assert WebhookEndpoint.objects.count() == endpoints.MOST


def test_one_that_was_disabled_says_why_and_is_enabled_again(member: Client, endpoint: WebhookEndpoint) -> None:
    WebhookEndpoint.objects.update(enabled=False, disabled_because="No delivery has succeeded for five days.")
    secret = endpoint.secret

    before = text_of(member, page(member, endpoint))
    answer = member.post(page(member, endpoint), {"url": URL, "enabled": "on", "events": [events.CREDENTIAL_DELETED]})

    assert "No delivery has succeeded for five days. Mend what answers there, then enable the webhook again." in before
    assert "disabled after failures" in text_of(member, reverse(LIST)) or answer.status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_because, endpoint.secret) == (True, "", secret)
    assert endpoint.events == [events.CREDENTIAL_DELETED]
    event = AuditEvent.objects.get()
    assert event.action == "webhook_endpoint.changed"


def test_the_secret_is_changed_by_a_form_that_asks_first(member: Client, endpoint: WebhookEndpoint) -> None:
    before = endpoint.secret
    assert "Change the secret of this webhook?" in text_of(member, page(member, endpoint, "rotate_webhook_secret"))

    gentle = member.post(page(member, endpoint, "rotate_webhook_secret"), {"overlap": "yes"})
    first = WebhookEndpoint.objects.get()
    at_once = member.post(page(member, endpoint, "rotate_webhook_secret"))
    second = WebhookEndpoint.objects.get()

    assert first.secret in gentle.content.decode()
    assert first.previous_secret == before
    assert gentle["Cache-Control"].startswith("no-store")
    assert second.secret in at_once.content.decode()
    assert second.previous_secret is None
    actions = AuditEvent.objects.values_list("action", flat=True)
    assert list(actions) == ["webhook_endpoint.secret_rotated"] * 2
    assert "signs too, until" not in text_of(member, page(member, endpoint))


def test_a_ping_and_what_came_of_the_last_deliveries(member: Client, endpoint: WebhookEndpoint) -> None:
    member.post(page(member, endpoint, "ping_webhook"))
    assert WebhookDelivery.objects.get().event == "ping"
    assert "on its way" in text_of(member, page(member, endpoint))
    WebhookDelivery.objects.update(last_failure="The endpoint answered 500 instead of 2xx.", attempts=3)
    assert "The endpoint answered 500 instead of 2xx. <span" in text_of(member, page(member, endpoint))
    assert "waiting to retry" in text_of(member, page(member, endpoint))
    WebhookDelivery.objects.update(due_at=None)
    assert "given up" in text_of(member, page(member, endpoint))
    WebhookDelivery.objects.update(delivered_at=timezone.now(), last_failure="")
    assert "delivered" in text_of(member, page(member, endpoint))
    WebhookEndpoint.objects.update(failing_since=timezone.now() - timedelta(hours=1))
    assert "deliveries fail" in text_of(member, reverse(LIST))

    WebhookDelivery.objects.update(due_at=timezone.now())
    with patch("oauth_apps.webhooks.events.MOST_PINGS", 1):
        member.post(page(member, endpoint, "ping_webhook"))
    assert "1 pings wait to be delivered already" in text_of(member, page(member, endpoint))
    WebhookEndpoint.objects.update(enabled=False)
    member.post(page(member, endpoint, "ping_webhook"))
    assert WebhookDelivery.objects.count() == 1
    assert member.get(page(member, endpoint, "ping_webhook")).status_code == 405


def test_a_url_is_shown_as_it_is_written(member: Client, endpoint: WebhookEndpoint) -> None:
    shown = text_of(member, page(member, endpoint))

    assert f">{URL}</a>" in shown
    assert ">Webhooks</a>" in shown
    assert "Https://" not in shown


def test_it_is_deleted_with_its_deliveries(member: Client, endpoint: WebhookEndpoint) -> None:
    events.ping(endpoint)
    url = page(member, endpoint, "oauth_apps_webhookendpoint_delete")
    assert "Delete this webhook?" in text_of(member, url)

    member.post(url, {"post": "yes"})

    assert not WebhookEndpoint.objects.exists()
    assert AuditEvent.objects.get().action == "webhook_endpoint.deleted"


def test_another_account_s_is_not_found(member: Client, other_account: Account) -> None:
    """H07"""
    theirs = endpoints.create(other_account, url="https://spice.example.com/")
    secret = theirs.secret

    assert "spice" not in text_of(member, reverse(LIST))
    for name in ("oauth_apps_webhookendpoint_change", "oauth_apps_webhookendpoint_delete", "rotate_webhook_secret"):
        assert member.get(page(member, theirs, name)).status_code == 302
        assert member.post(page(member, theirs, name), {"post": "yes", "url": URL}).status_code == 302
    assert member.post(page(member, theirs, "ping_webhook")).status_code == 302
    assert member.post(reverse(ADD), {"account": other_account.pk, "url": URL}).status_code == 200

    row = WebhookEndpoint.objects.get()
    assert (row.url, row.secret) == ("https://spice.example.com/", secret)
    assert not WebhookDelivery.objects.exists()
