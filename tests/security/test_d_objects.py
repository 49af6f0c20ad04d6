"""D01, D02, D05, D07, D12, D18: whose objects, by which key."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
import requests

from sequin_auth.lib.encryption import digest
from tests.real.gateway import Gateway
from tests.security.stand_in import StandIn
from tests.security.tenant import App, Browser, Tenant, issue_token

NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Objects:
    """One of each sort, of one account."""

    app: App
    redirect_uri: str
    credential: str
    webhook_endpoint: str
    sync: str
    tokens: frozenset[str] = frozenset()  # of the credential


@pytest.fixture(scope="module")
def hers(arrakis: Tenant, the_provider: StandIn) -> Objects:
    the_provider.begin_test()
    app = arrakis.app()
    redirect_uri = arrakis.made("/v1/redirect-uris", {"redirect_uri": "https://arrakis.example/extra"})
    endpoint = arrakis.made("/v1/webhook-endpoints", {"url": "https://arrakis.example/hooks"})
    sync = arrakis.sync(arrakis.key())
    credential = arrakis.credential(app)
    tokens = frozenset(the_provider.given)
    return Objects(app, redirect_uri["id"], credential, endpoint["id"], sync["id"], tokens)


def without_request_id(answer: requests.Response) -> tuple[int, dict[str, Any]]:
    body = answer.json()
    body.pop("request_id")
    return answer.status_code, body


def requests_for(objects: Objects) -> list[tuple[str, str, object]]:
    """Everything that can be asked for one object by its id."""
    app, credential = f"/v1/oauth-apps/{objects.app.id}", f"/v1/credentials/{objects.credential}"
    endpoint, sync = f"/v1/webhook-endpoints/{objects.webhook_endpoint}", f"/v1/syncs/{objects.sync}"
    return [
        ("GET", app, None),
        ("PATCH", app, {"name": "mine"}),
        ("DELETE", app, None),
        ("DELETE", f"{app}?cascade=true", None),
        ("POST", f"{app}/check", None),
        ("DELETE", f"/v1/redirect-uris/{objects.redirect_uri}", None),
        ("GET", credential, None),
        ("PATCH", credential, {"name": "mine"}),
        ("DELETE", credential, None),
        ("POST", f"{credential}/check", None),
        ("POST", f"{credential}/reconnect", {}),
        ("GET", f"{credential}/access-token", None),
        ("GET", f"{credential}/access-token?force_refresh=true", None),
        ("GET", endpoint, None),
        ("PATCH", endpoint, {"enabled": False}),
        ("DELETE", endpoint, None),
        ("POST", f"{endpoint}/rotate-secret", {}),
        ("POST", f"{endpoint}/ping", None),
        ("GET", f"{endpoint}/deliveries", None),
        ("GET", sync, None),
        ("PATCH", sync, {"name": "mine"}),
        ("DELETE", sync, None),
        ("DELETE", f"{sync}?keep_data=true", None),
        ("POST", f"{sync}/refresh", {}),
        ("GET", f"{sync}/runs", None),
    ]


def test_d01_objects_of_another_account(hers: Objects, harkonnen: Tenant, provider: StandIn) -> None:
    """Each is told exactly as one that was never there, and none has changed"""
    provider.has_given(hers.tokens)
    nobodys = Objects(App(harkonnen, NOBODY, "standin", None, ""), NOBODY, NOBODY, NOBODY, NOBODY)

    for (method, path, body), (_, unknown, _) in zip(requests_for(hers), requests_for(nobodys), strict=True):
        refused, as_unknown = harkonnen.call(method, path, body), harkonnen.call(method, unknown, body)
        assert without_request_id(refused) == without_request_id(as_unknown), f"{method} {path}"
        assert refused.status_code == 404, f"{method} {path}"
    owner = hers.app.tenant
    assert owner.call("GET", f"/v1/oauth-apps/{hers.app.id}").json()["name"] == "standin app"
    assert owner.call("GET", f"/v1/credentials/{hers.credential}/access-token").status_code == 200
    assert owner.call("GET", f"/v1/webhook-endpoints/{hers.webhook_endpoint}").json()["enabled"] is True
    assert provider.asked == []


def test_d01_lists_filters_and_exports_hold_nothing_of_others(hers: Objects, harkonnen: Tenant) -> None:
    ids = {hers.app.id, hers.redirect_uri, hers.credential, hers.webhook_endpoint, hers.sync, hers.app.tenant.id}

    for path in (
        "/v1/oauth-apps?limit=500",
        "/v1/oauth-apps?provider=standin",
        "/v1/redirect-uris",
        "/v1/credentials?limit=500",
        f"/v1/credentials?oauth_app_id={hers.app.id}",
        "/v1/credentials?provider=standin",
        "/v1/webhook-endpoints",
        "/v1/syncs",
        "/v1/syncs?provider=stripe",
        "/v1/destinations",
        "/v1/events?limit=500",
        f"/v1/events?object_id={hers.credential}",
        "/v1/credentials/export",
    ):
        answer = harkonnen.call("GET", path)
        assert answer.status_code in {200, 422}, f"{path} {answer.text}"
        assert [one for one in ids if answer.status_code == 200 and one in answer.text] == [], path


def test_d01_ids_of_others_in_bodies(hers: Objects, harkonnen: Tenant) -> None:
    """As an id that there is not"""
    bodies: list[tuple[str, Callable[[str], dict[str, Any]]]] = [
        (
            "/v1/credentials",
            lambda app: {
                "oauth_app_id": app,
                "properties": {"kind": "standin_oauth2", "access_token": "at-0123456789"},
            },
        ),
        (
            "/v1/credentials/start-auth",
            lambda app: {"oauth_app_id": app, "redirect_url": "https://developer.example.com/back/standin"},
        ),
    ]

    for path, body in bodies:
        refused, unknown = (harkonnen.call("POST", path, body(app)) for app in (hers.app.id, NOBODY))
        assert without_request_id(refused) == without_request_id(unknown)
        assert refused.status_code in {404, 422}


def test_d02_no_key_no_answer(hers: Objects, gateway: Gateway) -> None:
    """In the query, in the body, in a cookie or misspelt it counts for nothing"""
    owner = hers.app.tenant
    expired, revoked = owner.another_token("read"), owner.another_token("read")
    with psycopg.connect(gateway.database_uri, autocommit=True) as connection:
        for statement, text in (
            ("UPDATE oauth_apps_apitoken SET expires_at = now() - interval '1 second' WHERE token_hash = %s", expired),
            ("UPDATE oauth_apps_apitoken SET revoked_at = now() WHERE token_hash = %s", revoked),
        ):
            assert connection.execute(statement, [digest(text)]).rowcount == 1
    good, changed = owner.api_token, owner.api_token[:-1] + ("0" if owner.api_token[-1] != "0" else "1")
    headers: list[Mapping[str, str]] = [
        {},
        {"Authorization": ""},
        {"Authorization": good},
        {"Authorization": f"Basic {good}"},
        {"Authorization": f"Bearer {changed}"},
        {"Authorization": f"Bearer {good} {good}"},
        {"Authorization": f"Bearer {expired}"},
        {"Authorization": f"Bearer {revoked}"},
        {"Authorization": "Bearer " + "a" * 5000},
        {"Authorization": "Bearer é"},
        {"Cookie": f"api_token={good}"},
        {"X-Api-Key": good},
    ]

    for path in ("/v1/credentials", f"/v1/credentials/{hers.credential}/access-token", "/v1/events"):
        for sent in headers:
            encoded = {name: value.encode() for name, value in sent.items()}
            answer = requests.get(f"{gateway.url}{path}", headers=encoded, timeout=30)
            assert answer.status_code == 401, sent
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        answer = requests.get(f"{gateway.url}{path}?access_token={good}", timeout=30)
        assert answer.status_code == 401
    answer = requests.post(f"{gateway.url}/v1/oauth-apps", json={"access_token": good}, timeout=30)
    assert answer.status_code == 401


@pytest.mark.parametrize("name", ["id", "account", "account_id", "created_at", "health", "callback_url", "sealed"])
def test_d05_what_only_we_decide(hers: Objects, name: str) -> None:
    """Ignored or refused, never taken"""
    owner, path = hers.app.tenant, f"/v1/oauth-apps/{hers.app.id}"
    before = owner.call("GET", path).json()
    for value in (NOBODY, "2001-01-01T00:00:00Z", {"status": "error", "notes": [], "time": "2001-01-01T00:00:00Z"}):
        assert owner.call("PATCH", path, {name: value}).status_code in {200, 422}
        assert owner.call("PATCH", f"/v1/credentials/{hers.credential}", {name: value}).status_code in {200, 422}

    after = owner.call("GET", path).json()
    assert {key: value for key, value in after.items() if key != "updated_at"} == {
        key: value for key, value in before.items() if key != "updated_at"
    }
    kept = owner.call("GET", f"/v1/credentials/{hers.credential}").json()
    assert (kept["id"], kept["health"]["status"]) == (hers.credential, "ok")


def test_d05_an_id_that_the_sender_chose(arrakis: Tenant) -> None:
    chosen = str(uuid.uuid4())
    body = {"provider": "standin", "name": "a", "client_id": "b", "client_secret": "c-secret"}

    answer = arrakis.call("POST", "/v1/oauth-apps", body | {"id": chosen, "account": NOBODY})

    assert answer.status_code == 422 or answer.json()["id"] != chosen
    assert arrakis.call("GET", f"/v1/oauth-apps/{chosen}").status_code == 404


@pytest.mark.parametrize(("field", "value"), [("provider", "standin-other"), ("client_id", "another")])
def test_d05_what_an_app_is_registered_as_never_changes(hers: Objects, field: str, value: str) -> None:
    answer = hers.app.tenant.call("PATCH", f"/v1/oauth-apps/{hers.app.id}", {field: value})

    assert answer.status_code == 422
    assert field in answer.json()["validation_errors"]


def test_d07_a_key_does_what_its_scopes_say(hers: Objects, gateway: Gateway) -> None:
    owner = hers.app.tenant
    path, token_path = f"/v1/credentials/{hers.credential}", f"/v1/credentials/{hers.credential}/access-token"
    needs: list[tuple[str, str, str, object]] = [
        ("read", "GET", "/v1/credentials", None),
        ("read", "GET", path, None),
        ("read", "GET", "/v1/events", None),
        ("write", "PATCH", path, {"name": "renamed"}),
        ("write", "POST", "/v1/oauth-apps", {}),
        ("write", "DELETE", f"/v1/redirect-uris/{NOBODY}", None),
        ("write", "POST", f"{path}/reconnect", {}),
        ("write", "POST", "/v1/credentials/start-auth", {}),
        ("reveal", "GET", token_path, None),
        ("reveal", "GET", "/v1/credentials/export", None),
    ]
    tokens = {scope: issue_token(gateway, owner.id, scope) for scope in ("read", "write", "reveal", "proxy")}

    for needed, method, where, body in needs:
        for scope, token in tokens.items():
            answer = owner.call(method, where, body, headers={"Authorization": f"Bearer {token}"})
            if scope != needed:
                assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope"), f"{scope} {where}"
                assert f'scope="{needed}"' in answer.headers["WWW-Authenticate"]
            else:
                assert answer.status_code not in {401, 403}, f"{scope} {where}"


def test_d12_ids_in_other_spellings(hers: Objects, arrakis: Tenant, browser: Browser) -> None:
    one = hers.credential
    app = hers.app.id
    for spell in (str.upper, lambda text: f"{{{text}}}", lambda text: f"urn:uuid:{text}", lambda t: t.replace("-", "")):
        for path in (f"/v1/credentials/{spell(one)}", f"/v1/credentials/{spell(one)}/access-token"):
            answer = arrakis.call("GET", path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
        assert arrakis.call("GET", f"/v1/oauth-apps/{spell(app)}").status_code == 404
        assert browser.get(hers.app.start_url(client_id=spell(app))).status_code == 400
    assert arrakis.call("GET", f"/v1/credentials/{one}").status_code == 200


def test_d18_an_app_that_is_in_use_keeps_its_host(arrakis: Tenant, gateway: Gateway) -> None:
    """With a credential, or with a trip under way"""
    app = arrakis.app("zendesk", variables={"subdomain": "acme"})
    path = f"/v1/oauth-apps/{app.id}"
    assert arrakis.call("PATCH", path, {"provider": "standin"}).status_code == 422
    assert arrakis.call("PATCH", path, {"variables": {"subdomain": "moved"}}).status_code == 200
    app.started()

    under_way = arrakis.call("PATCH", path, {"variables": {"subdomain": "evil"}})
    with psycopg.connect(gateway.database_uri, autocommit=True) as connection:
        statement = "UPDATE credentials_authorization SET expires_at = now() - interval '1 day' WHERE oauth_app_id = %s"
        connection.execute(statement, [app.id])
    arrakis.made(
        "/v1/credentials",
        {
            "oauth_app_id": app.id,
            "properties": {
                "kind": "zendesk_oauth2",
                "access_token": "at-0123456789",
                "subdomain": "moved",
                "user_id": "1",
            },
        },
    )
    in_use = arrakis.call("PATCH", path, {"variables": {"subdomain": "evil"}})

    assert (under_way.status_code, in_use.status_code) == (409, 409)
    assert arrakis.call("GET", path).json()["variables"] == {"subdomain": "moved"}
