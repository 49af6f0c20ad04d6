"""Whatever is sent: no 5xx, and what was taken can be read, found and written back."""

import json
from typing import Any

from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from oauth_apps.models import OAuthApp

ANY_TEXT = st.text(st.characters(codec=None), max_size=20)  # NUL and lone surrogates are among them
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
ANY_JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3), max_leaves=12
)
SOUND = {"provider": "acme", "name": "Spice", "client_id": "acme-1", "client_secret": "s"}
FIELDS = ["name", "client_id", "client_secret", "variables", "default_scopes", "environment", "enabled", "own_callback"]
FIELDS += ["provider", "metadata", "id", "health"]

often = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def read(text: str | bytes) -> Any:
    """JSON, all its numbers doubles, as they are to most who read it: PostgreSQL writes 1e+22 out in full."""
    return json.loads(text, parse_int=float)


def send(api: Client, method: str, path: str, content: Any) -> Any:
    return api.generic(method, path, json.dumps(content), content_type="application/json")


@often
@given(field=st.sampled_from(FIELDS), value=ANY_JSON)
@example(field="metadata", value={"": 1e308})
def test_any_value_of_any_field(api: Client, field: str, value: Any) -> None:
    """D13, I05"""
    created = send(api, "POST", "/v1/oauth-apps", SOUND | {field: value})

    assert created.status_code in {201, 400, 422}
    if created.status_code == 201:
        path = f"/v1/oauth-apps/{created.json()['id']}"
        assert read(api.get(path).content) == read(created.content)
        written_back = {name: content for name, content in created.json().items() if name in SOUND | {field: 0}}
        written_back.pop("client_secret")
        assert send(api, "PATCH", path, written_back).status_code == 200


@often
@given(metadata=st.dictionaries(ANY_TEXT, ANY_JSON, max_size=3))
def test_any_metadata_is_refused_or_found_again(api: Client, metadata: dict[str, Any]) -> None:
    """D13"""
    OAuthApp.objects.all().delete()
    created = send(api, "POST", "/v1/oauth-apps", SOUND | {"metadata": metadata})

    listed = api.get("/v1/oauth-apps", {"metadata": json.dumps(metadata)})

    assert created.status_code in {201, 400, 422}
    assert listed.status_code == (200 if created.status_code == 201 else 422)
    if created.status_code == 201:
        sent = read(json.dumps(metadata))
        assert read(created.content)["metadata"] == sent
        assert [row["metadata"] for row in read(listed.content)["data"]] == [sent]


@often
@given(query=st.dictionaries(st.sampled_from(["limit", "cursor", "provider", "metadata", "health.status"]), ANY_TEXT))
def test_any_query(api: Client, query: dict[str, str]) -> None:
    """D11, I05"""
    query = {name: text.encode(errors="replace").decode() for name, text in query.items()}

    assert api.get("/v1/oauth-apps", query).status_code in {200, 422}
