"""`PATCH /v1/credentials/{id}`: name and metadata, and nothing else."""

from typing import Any

import pytest
from django.test import Client

from credentials.models import Credential
from oauth_apps.models import Account
from tests.credentials.answers import errors, path
from tests.credentials.shapes import MASK
from tests.credentials.stored import again
from tests.oauth_apps.conftest import client_of


def patched(api: Client, credential: Credential, **fields: Any) -> Any:
    return api.patch(path(credential), fields, content_type="application/json")


def test_it_needs_the_scope_write(linear: Credential, account: Account) -> None:
    """D07"""
    response = patched(client_of(account, "read", "reveal"), linear, name="Spice")

    assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "x"),
        ("account", "x"),
        ("provider", "linear"),
        ("kind", "linear_oauth2"),
        ("oauth_app_id", None),
        ("oauth_app", {}),
        ("properties", {"access_token": "canary"}),
        ("properties", {"access_token": MASK}),
        ("scopes", {}),
        ("expires_at", None),
        ("health", {"status": "ok"}),
        ("health_status", "ok"),
        ("created_at", "2020-01-01T00:00:00Z"),
        ("identity_hash", "x"),
    ],
)
def test_everything_else_stays(api: Client, linear: Credential, field: str, value: Any) -> None:
    """D04, D05"""
    before = api.get(path(linear)).json()

    response = patched(api, linear, name="Spice", **{field: value})

    assert errors(response) == {field: ["Is no field here."]}
    assert api.get(path(linear)).json() == before


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("name", None, "This field may not be null."),
        ("name", "a\nb", "Must not hold line breaks or other control characters."),
        ("name", "x" * 201, "Ensure this field has no more than 200 characters."),
        ("metadata", [], "Must be a JSON object."),
        ("metadata", {"x": "y" * 16_384}, "Has at most 16 KiB, written without spaces."),
    ],
)
def test_it_names_the_field_that_is_wrong(api: Client, linear: Credential, field: str, value: Any, reason: str) -> None:
    assert errors(patched(api, linear, **{field: value})) == {field: [reason]}


@pytest.mark.parametrize("raw", ["[]", "null", '"x"', "", "{", '{"name": "\\ud800"}', '{"metadata": {"a": "\\u0000"}}'])
def test_no_body_breaks_it(api: Client, linear: Credential, raw: str) -> None:
    """D13"""
    response = api.generic("PATCH", path(linear), raw, content_type="application/json")

    assert response.status_code in {400, 422}
    assert api.get(path(linear)).status_code == 200


def test_it_changes_what_was_sent(api: Client, linear: Credential) -> None:
    Credential.objects.update(metadata={"old": 1}, updated_at="2026-01-01T00:00:00Z")
    before = api.get(path(linear)).json()

    named = patched(api, linear, name="Spice").json()
    described = patched(api, linear, metadata={"new": 2}).json()

    assert named == before | {"name": "Spice", "updated_at": named["updated_at"]}
    assert described == named | {"metadata": {"new": 2}, "updated_at": described["updated_at"]}
    assert named["updated_at"] > before["updated_at"]
    assert api.get(path(linear)).json() == described


def test_a_change_leaves_the_secrets_alone(api: Client, stripe_key: Credential) -> None:
    patched(api, stripe_key, name="Spice")

    assert again(stripe_key).values() == {"secret": "sk_test_canary", "test": True}
