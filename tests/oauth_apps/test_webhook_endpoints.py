"""`/v1/webhook-endpoints`: what may be registered, whose it is, and what is shown of its secret."""

import base64
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from oauth_apps.models import Account, AuditEvent, WebhookDelivery, WebhookEndpoint
from oauth_apps.webhooks import endpoints, events
from tests.oauth_apps.conftest import client_of
from tests.oauth_apps.test_any_body import ANY_JSON

PATH = "/v1/webhook-endpoints"
URL = "https://hooks.example.com/sequin?tenant=1"
MASK = "*" * 10
NOBODYS = str(uuid.uuid4())


def post(api: Client, path: str = PATH, **body: Any) -> Any:
    return api.post(path, body, content_type="application/json")


def patch(api: Client, path: str, **body: Any) -> Any:
    return api.patch(path, body, content_type="application/json")


@pytest.fixture
def endpoint(account: Account) -> WebhookEndpoint:
    return endpoints.create(account, url=URL)


def test_the_secret_is_answered_once(api: Client) -> None:
    made = post(api, url=URL, events=["credential.deleted", "credential.created"], description="billing")

    assert made.status_code == 201
    document = made.json()
    secret = document.pop("secret")
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert api.get(f"{PATH}/{document['id']}").json() == document | {"secret": MASK}
    assert api.get(PATH).json() == {"data": [document | {"secret": MASK}], "next_cursor": None}
    created_at = document.pop("created_at")
    assert document == {
        "id": str(WebhookEndpoint.objects.get().pk),
        "url": URL,
        "description": "billing",
        "events": ["credential.created", "credential.deleted"],
        "enabled": True,
        "disabled_because": "",
        "previous_secret_until": None,
        "health": {"status": "ok", "notes": [], "time": created_at},
        "updated_at": created_at,
    }
    assert list(AuditEvent.objects.values_list("action", flat=True)) == ["webhook_endpoint.created"]


def test_a_repeated_create_makes_none_and_its_answer_keeps_no_secret(api: Client) -> None:
    key = {"Idempotency-Key": "once"}
    first = api.post(PATH, {"url": URL}, content_type="application/json", headers=key)
    again = api.post(PATH, {"url": URL}, content_type="application/json", headers=key)

    assert (first.status_code, again.status_code, WebhookEndpoint.objects.count()) == (201, 201, 1)
    assert first.json()["secret"] == WebhookEndpoint.objects.get().secret
    assert again.json() == first.json() | {"secret": MASK}


REFUSED = [
    ("http://hooks.example.com/", "Only https on port 443"),
    ("https://hooks.example.com:8443/", "Only https on port 443"),
    ("http://127.0.0.1:9999/", "Only https on port 443"),
    ("https://127.0.0.1/", "public address"),
    ("https://10.1.2.3/", "public address"),
    ("https://169.254.169.254/latest/meta-data", "public address"),
    ("https://[::1]/", "public address"),
    ("https://[::ffff:10.0.0.1]/", "public address"),
    ("https://localhost/", "public address"),
    ("https://a.localhost/", "public address"),
    ("https://2130706433/", "public address"),
    ("https://0x7f.1/", "public address"),
    ("https://127.1/", "public address"),
    ("https://user@hooks.example.com/", "no user name"),
    ("https://:x@hooks.example.com/", "no user name"),
    ("https://hooks.example.com/#x", "no fragment"),
    ("https://hooks.example.com/a b", "no spaces"),
    ("https://hooks.example.com\\@evil.example/", "no spaces"),
    ("HTTPS://hooks.example.com/", "lower case"),
    ("//hooks.example.com/", "lower case"),
    ("ftp://hooks.example.com/", "lower case"),
    ("https:///x", "may be called"),
    ("https://hooks.example.com./", "may be called"),
    ("https://hooks.example.com:x/", "may be called"),
    ("https://[::1/", "may be called"),
    ("http://127.0.0.1:8000/v1/oauth-apps", "own origin"),
    ("https://hooks.example.com/" + "x" * 2048, "2048 characters"),
    ("", "empty"),
]


@pytest.mark.parametrize(("url", "why"), REFUSED)
def test_what_may_not_be_called_is_not_registered(api: Client, url: str, why: str) -> None:
    refused = post(api, url=url)

    assert refused.status_code == 422
    assert why in refused.json()["validation_errors"]["url"][0]
    assert not WebhookEndpoint.objects.exists()


def test_egress_allow_lets_plain_http_go_to_loopback_alone(api: Client, settings: Settings) -> None:
    settings.EGRESS_ALLOW = ["127.0.0.1:9999", "10.1.2.3:80", "10.1.2.3:443"]

    assert post(api, url="http://127.0.0.1:9999/hook").status_code == 201
    assert post(api, url="https://10.1.2.3/hook").status_code == 201
    assert "must be https" in post(api, url="http://10.1.2.3/hook").json()["validation_errors"]["url"][0]
    assert post(api, url="http://127.0.0.1:9998/hook").status_code == 422


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("events", ["credential.created", "credential.eaten"], "Must be among credential.created, credential.updated"),
        ("events", ["ping"], "Must be among"),
        ("enabled", "true", "Must be true or false."),
        ("secret", "whsec_x", "Is written by the server alone."),
        ("description", "a\nb", "Must not hold line breaks or other control characters."),
        ("description", "x" * 201, "Ensure this field has no more than 200 characters."),
        ("rate", 1, "Is no field here."),
    ],
)
def test_what_else_is_refused(api: Client, field: str, value: Any, why: str) -> None:
    refused = post(api, **{"url": URL, field: value})

    assert refused.status_code == 422
    assert refused.json()["validation_errors"][field][0].startswith(why)


def test_an_account_has_at_most_twenty(api: Client, account: Account, other_api: Client) -> None:
    for _ in range(endpoints.MOST):
        endpoints.create(account, url=URL)

    refused = post(api, url=URL)

    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_webhook_endpoints")
    assert post(other_api, url=URL).status_code == 201


def test_a_change_that_mends_it_begins_anew(api: Client, endpoint: WebhookEndpoint) -> None:
    WebhookEndpoint.objects.update(enabled=False, disabled_because="Gone.", failing_since=timezone.now())
    path = f"{PATH}/{endpoint.pk}"
    before = api.get(path).json()

    same = patch(api, path, url=URL, description="Billing").json()
    mended = patch(api, path, enabled=True).json()

    assert (before["health"]["status"], before["disabled_because"]) == ("error", "Gone.")
    assert (same["health"]["status"], same["description"]) == ("error", "Billing")
    assert (mended["health"]["status"], mended["enabled"], mended["disabled_because"]) == ("ok", True, "")
    assert patch(api, path, url="https://10.0.0.1/").status_code == 422
    details = AuditEvent.objects.filter(action="webhook_endpoint.changed").values_list("detail", flat=True)
    assert sorted(details) == ["description", "enabled"]


def test_foreign_and_unknown_ids_are_not_found(other_api: Client, endpoint: WebhookEndpoint) -> None:
    for pk in (str(endpoint.pk), NOBODYS, str(endpoint.pk).upper()):
        for method, tail in (
            ("get", ""), ("patch", ""), ("delete", ""), ("post", "/rotate-secret"), ("post", "/ping"),
            ("get", "/deliveries"),
        ):  # fmt: skip
            body = {"data": {}, "content_type": "application/json"} if method in {"patch", "post"} else {}
            assert getattr(other_api, method)(f"{PATH}/{pk}{tail}", **body).status_code == 404, (method, tail)
    assert WebhookEndpoint.objects.get().secret == endpoint.secret
    assert not WebhookDelivery.objects.exists()
    assert other_api.get(PATH).json()["data"] == []


def test_scopes(account: Account, endpoint: WebhookEndpoint) -> None:
    reader, writer = client_of(account, "read"), client_of(account, "write")
    path = f"{PATH}/{endpoint.pk}"

    assert post(reader, url=URL).status_code == 403
    assert [post(reader, f"{path}/{deed}").status_code for deed in ("rotate-secret", "ping")] == [403, 403]
    assert (patch(reader, path).status_code, reader.delete(path).status_code) == (403, 403)
    assert (writer.get(path).status_code, writer.get(f"{path}/deliveries").status_code) == (403, 403)
    assert (reader.get(path).status_code, post(writer, f"{path}/ping").status_code) == (200, 201)


def test_a_rotation_keeps_the_secrets_before_it_until_the_overlap_is_over(
    api: Client, endpoint: WebhookEndpoint
) -> None:
    path = f"{PATH}/{endpoint.pk}/rotate-secret"
    before = endpoint.secret

    first, second = post(api, path).json()["secret"], post(api, path, overlap_seconds=3600).json()
    row = WebhookEndpoint.objects.get()
    kept, until = (row.secret, row.previous_secret), row.previous_secret_until
    at_once = api.post(path, {"overlap_seconds": 0}, content_type="application/json").json()

    assert kept == (second["secret"], f"{first} {before}")
    assert until is not None
    assert timedelta(minutes=59) < until - timezone.now() <= timedelta(hours=1)
    left = WebhookEndpoint.objects.values("previous_secret", "previous_secret_until").get()
    assert left == {"previous_secret": None, "previous_secret_until": None}
    assert WebhookEndpoint.objects.get().secret == at_once["secret"]
    assert len({before, first, second["secret"], at_once["secret"]}) == 4
    assert api.get(f"{PATH}/{endpoint.pk}").json()["secret"] == MASK


@pytest.mark.parametrize("seconds", [-1, 604_801, "60", 1.5, True, None, [1]])
def test_an_overlap_is_a_whole_number_of_seconds(api: Client, endpoint: WebhookEndpoint, seconds: Any) -> None:
    refused = post(api, f"{PATH}/{endpoint.pk}/rotate-secret", overlap_seconds=seconds)

    assert refused.status_code == 422
    assert list(refused.json()["validation_errors"]) == ["overlap_seconds"]


def test_a_ping_and_the_list_of_deliveries(api: Client, endpoint: WebhookEndpoint) -> None:
    WebhookEndpoint.objects.update(events=[events.CREDENTIAL_CREATED])

    pinged = post(api, f"{PATH}/{endpoint.pk}/ping")

    assert pinged.status_code == 201
    document = pinged.json()
    assert (document["event"], document["attempts"], document["delivered_at"]) == ("ping", 0, None)
    assert api.get(f"{PATH}/{endpoint.pk}/deliveries").json() == {"data": [document], "next_cursor": None}
    assert set(document) == {
        "id", "event", "attempts", "last_status", "last_failure", "created_at", "due_at", "delivered_at",
    }  # fmt: skip
    WebhookEndpoint.objects.update(enabled=False)
    refused = post(api, f"{PATH}/{endpoint.pk}/ping")
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook_endpoint_disabled")


def test_so_many_pings_wait_for_one_endpoint_and_no_more(
    api: Client, account: Account, endpoint: WebhookEndpoint
) -> None:
    for _ in range(events.MOST_PINGS):
        events.ping(endpoint)

    refused = post(api, f"{PATH}/{endpoint.pk}/ping")

    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_pings")
    assert refused.json()["summary"] == "20 pings wait to be delivered already: see what became of them first."
    assert WebhookDelivery.objects.count() == 20
    other = endpoints.create(account, url="https://other.example.com/")
    assert post(api, f"{PATH}/{other.pk}/ping").status_code == 201
    WebhookDelivery.objects.filter(pk=endpoint.deliveries.values("pk")[:1]).update(due_at=None)
    assert post(api, f"{PATH}/{endpoint.pk}/ping").status_code == 201


def test_an_event_names_an_endpoint_without_its_query(api: Client, endpoint: WebhookEndpoint) -> None:
    """Whoever may read the audit log may not know what the receiver asks for there"""
    WebhookEndpoint.objects.update(url="https://hooks.example.com/sequin?key=canary")

    api.delete(f"{PATH}/{endpoint.pk}")

    assert AuditEvent.objects.get().object_name == "https://hooks.example.com/sequin"


def test_a_deleted_endpoint_takes_its_deliveries_with_it(api: Client, endpoint: WebhookEndpoint) -> None:
    events.ping(endpoint)

    gone = api.delete(f"{PATH}/{endpoint.pk}")

    assert (gone.status_code, gone.json()) == (200, {"id": str(endpoint.pk), "deleted": True})
    assert not WebhookDelivery.objects.exists()
    assert AuditEvent.objects.get().action == "webhook_endpoint.deleted"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(field=st.sampled_from(["url", "description", "events", "enabled", "secret", "id"]), value=ANY_JSON)
def test_any_value_of_any_field(api: Client, field: str, value: Any) -> None:
    """D13"""
    WebhookEndpoint.objects.all().delete()

    assert post(api, **{"url": URL, field: value}).status_code in {201, 400, 422}
