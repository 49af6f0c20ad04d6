"""D03, D04, D06, D15, D19: secrets in the management API. What they leave behind where they are kept is in E."""

import json
import re
from base64 import b64decode
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

import pytest
import requests

from oauth_apps.api_tokens import is_well_formed
from sequin_auth.lib.encryption import digest
from tests.real.canaries import Canaries, dump
from tests.real.gateway import Gateway
from tests.real.machine import until
from tests.security.member import csrf_token, signed_in
from tests.security.passing_by import Passing, opened
from tests.security.stand_in import StandIn, answering
from tests.security.tenant import App, Tenant, new_tenant, sql

MASK, PROPERTY_MASK = "*" * 10, "*" * 11
LENGTHS = (1, 9, 10, 11, 200)


def secrets_in(document: Any) -> list[tuple[str, object]]:
    """Name and value of whatever is named like a secret, at any depth."""
    if isinstance(document, list):
        return [found for item in document for found in secrets_in(item)]
    if not isinstance(document, dict):
        return []
    names = {"client_secret", "access_token", "refresh_token", "secret", "password"}
    own = [(name, value) for name, value in document.items() if name in names]
    return own + [found for value in document.values() for found in secrets_in(value)]


# ---- D03 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
def test_d03_a_client_secret_reads_as_ten_asterisks(arrakis: Tenant, provider: StandIn, length: int) -> None:
    """Whatever its length: in POST, PATCH, GET and lists"""
    body = {"provider": "standin", "name": f"{length}", "client_id": f"client-of-{length}"}
    made = arrakis.call("POST", "/v1/oauth-apps", body | {"client_secret": "s" * length})
    path = f"/v1/oauth-apps/{made.json()['id']}"
    answers = [
        made,
        arrakis.call("GET", path),
        arrakis.call("PATCH", path, {"name": "another"}),
        arrakis.call("PATCH", path, {"client_secret": "t" * length}),
        arrakis.call("GET", "/v1/oauth-apps"),
        arrakis.call("DELETE", path),
    ]

    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200, 200]
    shown = [value for answer in answers for name, value in secrets_in(answer.json()) if name == "client_secret"]
    assert len(shown) >= 5
    assert set(shown) == {MASK}
    assert length < 9 or not [
        answer for answer in answers if "s" * length in answer.text or "t" * length in answer.text
    ]


def test_d03_a_secret_among_properties_reads_as_eleven(arrakis: Tenant, provider: StandIn) -> None:
    """And the app inside as everywhere: in POST, again, PATCH, GET, lists, after a check"""
    canaries = Canaries()
    app = arrakis.app()
    canaries.add("client secret", app.client_secret or "")
    document = app.exchanged(app.code()).json()
    canaries.add_document(document)
    stripe = {"kind": "stripe_key", "secret": canaries.add("key", "sk_test_of_d03_0123456789")}
    made = arrakis.call("POST", "/v1/credentials", document["credential"])
    again = arrakis.call("POST", "/v1/credentials", document["credential"])
    key = arrakis.call("POST", "/v1/credentials", {"properties": stripe})
    path = f"/v1/credentials/{made.json()['id']}"
    answers = [
        made,
        again,
        key,
        arrakis.call("GET", path),
        arrakis.call("PATCH", path, {"name": "another"}),
        arrakis.call("GET", "/v1/credentials"),
        arrakis.call("POST", f"{path}/check"),
    ]

    assert [answer.status_code for answer in answers] == [201, 200, 201, 200, 200, 200, 200]
    for answer in answers:
        shown = secrets_in(answer.json())
        assert shown
        for name, value in shown:
            assert value == (MASK if name == "client_secret" else PROPERTY_MASK)
        assert [kind for value, kind in canaries.kinds.items() if value in answer.text] == []


def test_d03_a_refusal_repeats_no_secret(arrakis: Tenant, provider: StandIn) -> None:
    """Of whatever was wrong with the request that held it"""
    app = arrakis.app()
    secret = "a-secret-that-was-sent-in-vain"
    right = {"provider": "standin", "name": "x", "client_id": "y", "client_secret": secret}
    key = {"kind": "stripe_key", "secret": secret}
    sent: list[tuple[str, str, object]] = [
        ("POST", "/v1/oauth-apps", right | {"provider": "no-such-provider"}),
        ("POST", "/v1/oauth-apps", right | {"client_secret": {"value": secret}}),
        ("POST", "/v1/oauth-apps", right | {"client_secret": [secret]}),
        ("POST", "/v1/oauth-apps", right | {"client_secret": secret + "\x00"}),
        ("POST", "/v1/oauth-apps", right | {"client_secret": secret * 1000}),
        ("POST", "/v1/oauth-apps", [right]),
        ("PATCH", f"/v1/oauth-apps/{app.id}", {"provider": "stripe", "client_secret": secret}),
        ("PATCH", "/v1/oauth-apps/00000000-0000-4000-8000-000000000000", {"client_secret": secret}),
        ("POST", "/v1/credentials", {"properties": key | {"kind": "no_such_kind"}}),
        ("POST", "/v1/credentials", {"properties": key | {"secret": {"in": secret}}}),
        ("POST", "/v1/credentials", {"properties": key | {"more": secret}}),
        ("POST", "/v1/credentials", {"properties": {"kind": "standin_oauth2", "access_token": secret}}),
        ("POST", "/v1/credentials", {"properties": secret}),
        ("POST", "/v1/credentials/import", {"kind": "stripe_key", "properties": key | {"more": secret}}),
    ]

    answers = [arrakis.call(method, path, body) for method, path, body in sent]
    answers.append(arrakis.call("POST", "/v1/oauth-apps", data=f'{{"client_secret": "{secret}"', headers=JSON))
    answers.append(arrakis.call("POST", "/v1/oauth-apps", data=f"client_secret={secret}"))

    assert {answer.status_code for answer in answers} <= {400, 404, 409, 415, 422}
    assert [answer.text for answer in answers if secret in answer.text] == []


JSON = {"Content-Type": "application/json"}


def test_d03_a_webhook_holds_no_secret(gateway: Gateway, provider: StandIn) -> None:
    """The bodies that wait for their delivery, of all that happens to a credential; and the key that signs them"""
    tenant = new_tenant(gateway, "of webhooks")
    made = tenant.made("/v1/webhook-endpoints", {"url": "https://developer.example.com/told"})
    passing = Passing(gateway, provider)
    passing.tenant = tenant
    app = passing.register()
    credential = passing.credential(app)
    passing.read(credential, "?force_refresh=true")
    provider.behaves("/token", answering("400 No", "Content-Type: application/json", body=b'{"error":"invalid_grant"}'))
    assert tenant.call("GET", f"/v1/credentials/{credential}/access-token?force_refresh=true").status_code == 409
    assert tenant.call("DELETE", f"/v1/credentials/{credential}").status_code == 200

    statement = "SELECT event, body FROM oauth_apps_webhookdelivery WHERE endpoint_id = %s"
    told = sql(gateway, statement, made["id"])
    assert len({event for event, _ in told}) >= 2
    bodies = json.dumps(told)
    assert [kind for value, kind in passing.canaries.kinds.items() if value in bodies] == []
    shown = tenant.call("GET", f"/v1/webhook-endpoints/{made['id']}")
    assert shown.json()["secret"] == MASK
    assert made["secret"] not in tenant.call("GET", "/v1/webhook-endpoints").text or made["secret"] == MASK


# ---- D04 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [MASK, PROPERTY_MASK, "*", "*" * 8, "*" * 40, "•" * 10])
def test_d04_a_mask_is_no_secret(arrakis: Tenant, provider: StandIn, mask: str) -> None:
    """What was read is written back: refused, wherever a secret is taken, and the old one stays"""
    app = arrakis.app()
    before = sealed_secret(app)
    body = {"provider": "standin", "name": "x", "client_id": f"of-{mask}", "client_secret": mask}
    tokens = {"kind": "standin_oauth2", "user_id": "user-1", "access_token": mask, "refresh_token": mask}
    sent: list[tuple[str, str, object]] = [
        ("POST", "/v1/oauth-apps", body),
        ("PATCH", f"/v1/oauth-apps/{app.id}", {"client_secret": mask}),
        ("POST", "/v1/credentials", {"oauth_app_id": app.id, "properties": tokens}),
        ("POST", "/v1/credentials", {"properties": {"kind": "stripe_key", "secret": mask}}),
    ]

    answers = [arrakis.call(method, path, sent_body) for method, path, sent_body in sent]

    if mask in {MASK, PROPERTY_MASK}:
        assert [answer.status_code for answer in answers] == [422] * 4
        assert "client_secret" in answers[0].json()["validation_errors"]
        assert sealed_secret(app) == before
    stored = [value for values in opened(arrakis.gateway).values() for value in values]
    assert not {MASK.encode(), PROPERTY_MASK.encode()} & set(stored)
    assert not [value for value in stored if b'"' + MASK.encode() in value]


def sealed_secret(app: App) -> bytes:
    [(sealed,)] = sql(app.tenant.gateway, "SELECT client_secret FROM oauth_apps_oauthapp WHERE id = %s", app.id)
    return bytes(sealed)


FIELD = re.compile(r"<(?:input|textarea)\b[^>]*\bname=\"(?P<name>[^\"]+)\"[^>]*>(?P<text>[^<]*)")


def form_of(page: str) -> dict[str, str]:
    """The fields of the page's form, as a browser would send them back untouched."""
    form: dict[str, str] = {}
    for found in FIELD.finditer(page):
        tag, name = found[0], found["name"]
        value = re.search(r'\bvalue="([^"]*)"', tag)
        if 'type="checkbox"' in tag or 'type="radio"' in tag:
            if re.search(r"\bchecked\b", tag):
                form[name] = value[1] if value else "on"
        elif 'type="submit"' not in tag and 'type="file"' not in tag:
            form[name] = value[1] if value else found["text"].strip()
    for name, options in re.findall(r'<select\b[^>]*\bname="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)"[^>]*\bselected', options)
        form[name] = chosen[1] if chosen else ""
    return form


@pytest.mark.parametrize("typed", ["", MASK, PROPERTY_MASK])
def test_d04_the_console_keeps_the_old_secret(gateway: Gateway, arrakis: Tenant, provider: StandIn, typed: str) -> None:
    """A blank input changes nothing; a mask is refused, or changes nothing"""
    app = arrakis.app()
    browser = signed_in(arrakis)
    path = f"/admin/oauth_apps/oauthapp/{app.id}/change/"
    page = browser.get(path).text
    form = form_of(page) | {"csrfmiddlewaretoken": csrf_token(page), "name": "named anew"}
    assert form["new_client_secret"] == ""

    answer = browser.post(path, form | {"new_client_secret": typed}, headers={"Referer": gateway.url + path})

    assert answer.status_code == (302 if typed == "" else 200), answer.text[:2000]
    [(name,)] = sql(gateway, "SELECT name FROM oauth_apps_oauthapp WHERE id = %s", app.id)
    assert name == ("named anew" if typed == "" else "standin app")
    assert app.exchanged(app.code()).status_code == 200  # by the pair as it was


# ---- D06 -------------------------------------------------------------------------------------------------------------


def test_d06_an_api_token_is_shown_once(gateway: Gateway) -> None:
    """By the command that makes it; then no page, answer or row has it: its hash is kept, and how it begins"""
    made = gateway.manage("create_account", "Ix")
    token = made["api_token"]
    tenant = Tenant(gateway, made["id"] if "id" in made else account_named(gateway, "Ix"), "Ix", token)
    path = gateway.directory / "dump-of-d06"
    canaries = Canaries()
    canaries.add("API token", token)

    assert is_well_formed(token)
    assert not is_well_formed(token[:-1] + ("a" if token[-1] != "a" else "b"))
    assert tenant.call("GET", "/v1/oauth-apps").status_code == 200
    dump(gateway.database_uri, path)
    assert canaries.found_in(path) == set()
    [(prefix, hashed)] = sql(
        gateway, "SELECT prefix, token_hash FROM oauth_apps_apitoken WHERE account_id = %s", tenant.id
    )
    assert bytes(hashed) == digest(token)
    assert token.startswith(prefix)
    assert len(prefix) <= 12
    browser = signed_in(tenant)
    listed = browser.get("/admin/oauth_apps/apitoken/")
    assert listed.status_code == 200
    assert prefix in listed.text
    assert token not in listed.text


def account_named(gateway: Gateway, name: str) -> str:
    [(account,)] = sql(gateway, "SELECT id::text FROM oauth_apps_account WHERE name = %s", name)
    return str(account)


def test_d06_a_token_that_is_almost_right_opens_nothing(arrakis: Tenant, provider: StandIn) -> None:
    token = arrakis.api_token
    [(hashed,)] = sql(
        arrakis.gateway,
        "SELECT encode(token_hash, 'hex') FROM oauth_apps_apitoken WHERE token_hash = %s",
        digest(token),
    )
    for wrong in (token[:-1], token + "0", token.swapcase(), token[4:], f"sqa_{hashed}", hashed, f"{token},{token}"):
        assert status_of(arrakis, wrong) == 401
    for header in (f"Basic {token}", token, f"Bearer\t{token} x", ""):
        answer = requests.get(f"{arrakis.gateway.url}/v1/oauth-apps", headers={"Authorization": header}, timeout=30)
        assert answer.status_code == 401
    assert requests.get(f"{arrakis.gateway.url}/v1/oauth-apps?access_token={token}", timeout=30).status_code == 401
    assert status_of(arrakis, token) == 200


def status_of(tenant: Tenant, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{tenant.gateway.url}/v1/oauth-apps", headers=headers, timeout=30).status_code


def test_d06_a_token_knows_its_last_use_and_ends_at_once(arrakis: Tenant, provider: StandIn) -> None:
    """From the next request on, in every process, however warm it is there"""
    token = arrakis.another_token("read")
    found = "token_hash = %s", digest(token)
    before = datetime.now(UTC)
    assert [status_of(arrakis, token) for _ in range(6)] == [200] * 6
    used = f"SELECT last_used_at FROM oauth_apps_apitoken WHERE {found[0]} AND last_used_at IS NOT NULL"  # noqa: S608
    [(last_used_at,)] = until(lambda: sql(arrakis.gateway, used, found[1]), what="the use is written down")
    assert before <= last_used_at <= datetime.now(UTC)

    sql(arrakis.gateway, f"UPDATE oauth_apps_apitoken SET revoked_at = now() WHERE {found[0]}", found[1])  # noqa: S608
    assert [status_of(arrakis, token) for _ in range(6)] == [401] * 6

    expires = arrakis.another_token("read")
    assert status_of(arrakis, expires) == 200
    statement = f"UPDATE oauth_apps_apitoken SET expires_at = now() - interval '1 second' WHERE {found[0]}"  # noqa: S608
    sql(arrakis.gateway, statement, digest(expires))
    assert [status_of(arrakis, expires) for _ in range(6)] == [401] * 6


# ---- D15 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "recorded"), [("200 OK", "credential_revoked"), ("500 No", "revocation_failed")])
def test_d15_what_is_deleted_is_gone_at_once(gateway: Gateway, provider: StandIn, answer: str, recorded: str) -> None:
    """Its secrets too, whatever the provider says to the revocation that is tried; the log tells how that went"""
    passing = Passing(gateway, provider)
    app = passing.register()
    credential = passing.credential(app)
    before = set(passing.canaries.kinds)
    passing.read(credential, "?force_refresh=true")
    gone = Canaries()
    gone.kinds = {
        value: kind for value, kind in passing.canaries.kinds.items() if value not in before and "token" in kind
    }
    assert len(gone) == 2
    assert found_in_the_clear(gateway, gone)
    provider.behaves("/revoke", answering(answer))
    path = f"/v1/credentials/{credential}"

    deleted = passing.tenant.call("DELETE", path)

    assert (deleted.status_code, deleted.json()) == (200, {"id": credential, "deleted": True})
    for again in ("GET", "PATCH", "DELETE"):
        assert passing.tenant.call(again, path, {"name": "x"} if again == "PATCH" else None).status_code == 404
    assert passing.tenant.call("GET", f"{path}/access-token").status_code == 404
    assert passing.tenant.call("GET", "/v1/credentials").json()["data"] == []
    assert credential not in passing.tenant.call("GET", "/v1/credentials/export").text
    assert found_in_the_clear(gateway, gone) == set()
    revoked = until(lambda: provider.sent_to("/revoke"), what="the provider is asked to revoke")
    assert {request.form["token"] for request in revoked} <= gone.kinds.keys()

    def told() -> list[str]:
        lines = [json.loads(line) for line in gateway.log.read_text().splitlines() if credential in line]
        return [line["event"] for line in lines if line["event"] == recorded]

    assert until(told, what="the outcome is in the log")


def found_in_the_clear(gateway: Gateway, canaries: Canaries) -> set[str]:
    path = gateway.directory / "opened-of-d"
    path.write_bytes(b"\n".join(value for values in opened(gateway).values() for value in values))
    return canaries.found_in(path)


# ---- D19 -------------------------------------------------------------------------------------------------------------


def test_d19_a_new_client_secret_takes_the_place_of_the_old(arrakis: Tenant, provider: StandIn) -> None:
    """For the next exchange and the next refresh; credentials stay, trips that are under way too"""
    app = arrakis.app()
    credential = arrakis.credential(app)
    under_way = app.started()
    before, old = sealed_secret(app), app.client_secret or ""
    new = App(arrakis, app.id, app.provider, "the/new+secret of d19", app.callback_url)

    changed = arrakis.call("PATCH", f"/v1/oauth-apps/{app.id}", {"client_secret": new.client_secret})

    assert (changed.status_code, changed.json()["client_secret"]) == (200, MASK)
    provider.requests.clear()
    refreshed = arrakis.call("GET", f"/v1/credentials/{credential}/access-token?force_refresh=true")
    assert refreshed.status_code == 200
    code = new.code()
    assert app.exchanged(code).status_code == 401  # by the old one
    assert new.exchanged(code).status_code == 200
    assert under_way.approved().status_code == 302
    sent = [
        secret_sent(request.headers.get("authorization", ""), request.form) for request in provider.sent_to("/token")
    ]
    assert sent == [new.client_secret] * 3
    assert sealed_secret(app) != before
    kept = [value for values in opened(arrakis.gateway).values() for value in values]
    assert old.encode() not in kept
    assert [value for value in kept if old.encode() in value] == []
    assert arrakis.call("GET", f"/v1/credentials/{credential}").status_code == 200


def secret_sent(authorization: str, form: dict[str, str]) -> str:
    if "client_secret" in form:
        return form["client_secret"]
    return unquote_plus(b64decode(authorization.removeprefix("Basic ")).decode().partition(":")[2])
