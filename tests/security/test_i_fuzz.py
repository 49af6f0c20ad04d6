"""I05: the gateway against what schemathesis makes of docs/openapi.json, and against each operation that it names."""

import json
import uuid
from pathlib import Path

import pytest
import requests
from hypothesis import settings

from tests.real.gateway import Gateway
from tests.real.machine import BASE_DIR
from tests.security.fuzzing import fuzz
from tests.security.stand_in import StandIn
from tests.security.tenant import TIMEOUT, Tenant, new_tenant

PATHS = json.loads((BASE_DIR / "docs" / "openapi.json").read_text())["paths"]
MOVING = ("/v1/syncs/", "/v1/destinations/")  # a worker is at them meanwhile
OF_ONE_OBJECT = [
    (method.upper(), path)
    for path, methods in PATHS.items()
    for method in methods
    if path.startswith("/v1/") and "_id}" in path
]


def test_i05_fuzz(gateway: Gateway, arrakis: Tenant, harkonnen: Tenant, receiver: StandIn, tmp_path: Path) -> None:
    examples = 300 if settings.get_current_profile_name() == "long" else 3

    if found := fuzz(tmp_path, [arrakis, harkonnen], webhook_url=f"{receiver.url}/hook", examples=examples):
        pytest.fail(found, pytrace=False)


def made(tenant: Tenant) -> dict[str, str]:
    """The ids of new objects, by the parameters of paths."""
    app = tenant.app()
    unique = uuid.uuid4().hex
    redirect_uri = tenant.made("/v1/redirect-uris", {"redirect_uri": f"https://app.example.com/{unique}"})
    quiet = {"url": f"https://app.example.com/{unique}", "events": ["oauth_app.health_changed"]}  # told of nothing here
    endpoint = tenant.made("/v1/webhook-endpoints", quiet)
    sync = tenant.sync(tenant.key())
    return {
        "{oauth_app_id}": app.id,
        "{redirect_uri_id}": redirect_uri["id"],
        "{endpoint_id}": endpoint["id"],
        "{credential_id}": tenant.key(),
        "{sync_id}": sync["id"],
        "{destination_id}": sync["destination_id"],
    }


def path_of(template: str, ids: dict[str, str]) -> str:
    for name, value in ids.items():
        template = template.replace(name, value)
    assert "{" not in template, f"{template}: make one in `made`"
    return template


def told(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.fixture
def caladan(gateway: Gateway) -> Tenant:
    """An account in which nothing was invented before."""
    return new_tenant(gateway, "Caladan")


def test_i05_no_operation_knows_an_object_of_another_account(caladan: Tenant, harkonnen: Tenant) -> None:
    ids = made(caladan)
    shown = [path for method, path in OF_ONE_OBJECT if method == "GET" and not path.startswith(MOVING)]
    before = [caladan.call("GET", path_of(path, ids)).text for path in shown]

    for method, path in OF_ONE_OBJECT:
        assert told(harkonnen.call(method, path_of(path, ids), {})) == (404, "not_found"), path

    assert len(OF_ONE_OBJECT) > 12
    after = [caladan.call("GET", path_of(path, ids)).text for path in shown]
    assert after == before
    assert caladan.call("GET", path_of("/v1/syncs/{sync_id}", ids)).json()["status"] == "active"


def test_i05_no_operation_knows_what_was_deleted(caladan: Tenant) -> None:
    ids = made(caladan)
    stays = "{destination_id}"  # the built-in one
    of_one = [(method, path) for method, path in OF_ONE_OBJECT if stays not in path]
    for method, path in of_one:
        if method == "DELETE":
            assert caladan.call(method, path_of(path, ids)).status_code == 200

    for method, path in of_one:
        assert told(caladan.call(method, path_of(path, ids), {})) == (404, "not_found"), path


def test_i05_no_operation_answers_nobody(gateway: Gateway, caladan: Tenant) -> None:
    ids = made(caladan) | {"{slug}": "stripe"}
    asked = 0
    for path, methods in PATHS.items():
        for method, operation in methods.items():
            if not any("api_token" in way for way in operation["security"]) or not path.startswith("/v1/"):
                continue
            for header in (
                None,
                "",
                "Bearer",
                "Bearer x",
                f"Basic {caladan.api_token}",
                f"Bearer {caladan.api_token}x",
            ):
                headers = {} if header is None else {"Authorization": header}
                url = f"{gateway.url}{path_of(path, ids)}"
                answer = requests.request(method, url, json={}, headers=headers, timeout=TIMEOUT)
                assert answer.status_code == 401, f"{method} {path} {header}"
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
                asked += 1
    assert asked > 150
