"""C01 to C20: our code, and the token endpoint."""

import base64
import hashlib
import json
import re
import secrets
import socket
import string
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
import pytest
import requests

from sequin_auth.lib.encryption import digest
from tests.real.gateway import Gateway
from tests.real.machine import BASE_DIR, until
from tests.security.conftest import NewGateway
from tests.security.stand_in import StandIn, answering, answering_json
from tests.security.tenant import TIMEOUT, App, Browser, Tenant

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, 5.2


@pytest.fixture(scope="module")
def app(arrakis: Tenant) -> App:
    return arrakis.app()


def sql(gateway: Gateway, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(gateway.database_uri, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def basic(client_id: str, secret: str) -> dict[str, str]:
    pair = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def send(app: App, method: str = "POST", *, endpoint: str = "token", **how: Any) -> requests.Response:
    """Something else than a stock client sends."""
    url = f"{app.tenant.gateway.url}/link/oauth2/{endpoint}"
    return requests.request(method, url, allow_redirects=False, timeout=TIMEOUT, **how)


def assert_refused(answer: requests.Response, status: int, error: str) -> None:
    """As RFC 6749, 5.2 says it, with Sequin's `summary`; nothing of a token."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json"), answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert body.keys() == {"error", "error_description", "summary"}
    assert body["error"] == error
    assert DESCRIPTION.fullmatch(body["error_description"])


# ---- the code --------------------------------------------------------------------------------------------------------


def test_c01_a_code_is_good_for_one_exchange(app: App, provider: StandIn) -> None:
    """One after the other, and twenty at once, over two processes"""
    code = app.code()
    assert app.exchanged(code).status_code == 200
    assert_refused(app.exchanged(code), 400, "invalid_grant")

    contested = app.code()
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: app.exchanged(contested), range(20)))

    assert sorted(answer.status_code for answer in answers) == [200, *[400] * 19]
    for answer in answers:
        if answer.status_code == 400:
            assert_refused(answer, 400, "invalid_grant")


def test_c03_a_code_of_another_app_or_account(app: App, harkonnen: Tenant, provider: StandIn) -> None:
    """With good authentication of one's own; nor is it used up by the attempt"""
    code, refresh_token = app.code(), app.exchanged(app.code()).json()["refresh_token"]
    same_account, other_account = app.tenant.app(), harkonnen.app()

    for thief in (same_account, other_account):
        answer = thief.exchanged(code)
        assert_refused(answer, 400, "invalid_grant")
    provider.behaves("/token", answering_json(400, {"error": "invalid_grant"}))  # it knows whose token it is
    for thief in (same_account, other_account):
        assert_refused(thief.token(grant_type="refresh_token", refresh_token=refresh_token), 400, "invalid_grant")
    provider.forget()

    assert app.exchanged(code).status_code == 200


def test_c03_a_stored_refresh_token_shown_by_another_app(arrakis: Tenant, app: App, provider: StandIn) -> None:
    """Neither its present tokens nor those that came after a rotation are handed to another client"""
    body = app.exchanged(app.code()).json()
    arrakis.made("/v1/credentials", body["credential"])
    current = app.token(grant_type="refresh_token", refresh_token=body["refresh_token"]).json()
    provider.behaves("/token", answering_json(400, {"error": "invalid_grant"}))

    for stolen in (body["refresh_token"], current["refresh_token"]):
        answer = arrakis.app().token(grant_type="refresh_token", refresh_token=stolen)
        assert_refused(answer, 400, "invalid_grant")
        assert current["access_token"] not in answer.text


def test_c04_a_code_is_bound_to_its_redirect_uri(app: App, provider: StandIn) -> None:
    assert_refused(app.exchanged(app.code(), redirect_uri="https://evil.example/back"), 400, "invalid_grant")
    assert_refused(app.exchanged(app.code(), redirect_uri=f"{app.redirect_uri}/"), 400, "invalid_grant")
    assert_refused(app.exchanged(app.code(), redirect_uri=app.redirect_uri.upper()), 400, "invalid_grant")

    assert app.exchanged(app.code(), redirect_uri=app.redirect_uri).status_code == 200
    assert app.exchanged(app.code()).status_code == 200


def test_c05_a_code_lasts_a_minute(app: App, gateway: Gateway, provider: StandIn) -> None:
    code = app.code()
    ((seconds,),) = sql(
        gateway,
        "SELECT extract(epoch FROM expires_at - now())::float FROM credentials_authorization WHERE code_hash = %s",
        digest(code),
    )
    assert 50 < seconds <= 60

    sql(
        gateway,
        "UPDATE credentials_authorization SET expires_at = now() - interval '1 second' WHERE code_hash = %s",
        digest(code),
    )

    assert_refused(app.exchanged(code), 400, "invalid_grant")


def test_c05_a_longer_life_than_ten_minutes_is_no_setting(gateway_with: NewGateway) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        gateway_with("long-codes", CODE_TTL="601").manage("keys", "status")


def test_c06_the_developers_own_pkce_cannot_be_left_out(app: App, browser: Browser, provider: StandIn) -> None:
    for params in (
        {"code_challenge": CHALLENGE},
        {"code_challenge": VERIFIER, "code_challenge_method": "plain"},
        {"code_challenge": "short", "code_challenge_method": "S256"},
    ):
        answer = browser.get(app.start_url(**params))
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith(f"{app.redirect_uri}?error=invalid_request")
    bound = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}

    assert_refused(app.exchanged(app.code(**bound)), 400, "invalid_grant")
    assert_refused(app.exchanged(app.code(**bound), code_verifier="w" * 43), 400, "invalid_grant")
    assert_refused(app.exchanged(app.code(**bound), code_verifier=CHALLENGE), 400, "invalid_grant")
    assert_refused(app.exchanged(app.code(), code_verifier=VERIFIER), 400, "invalid_grant")
    assert app.exchanged(app.code(**bound), code_verifier=VERIFIER).status_code == 200


def test_c14_codes_are_random_and_only_their_hash_is_kept(app: App, gateway: Gateway, provider: StandIn) -> None:
    codes = [app.code() for _ in range(8)]

    assert len(set(codes)) == 8
    for code in codes:
        assert re.fullmatch(r"[A-Za-z0-9]{35}", code)
        rows = sql(gateway, "SELECT one::text FROM credentials_authorization one WHERE code_hash = %s", digest(code))
        assert len(rows) == 1
        assert code not in rows[0][0]
    for at in range(35):
        assert len({code[at] for code in codes}) > 1


# ---- who calls -------------------------------------------------------------------------------------------------------


def test_c07_whoever_cannot_prove_who_he_is(app: App, harkonnen: Tenant, provider: StandIn) -> None:
    """Each is told the same, and the code is as good as before"""
    code = app.code()
    revoked = app.tenant.another_token("reveal")
    sql(
        app.tenant.gateway,
        "UPDATE oauth_apps_apitoken SET revoked_at = now() WHERE token_hash = %s",
        digest(revoked),
    )
    refused = [
        app.exchanged(code, client_secret="wrong"),
        app.exchanged(code, client_secret=None),
        app.exchanged(code, client_secret=""),
        app.exchanged(code, client_id=None),
        app.exchanged(code, client_id="00000000-0000-4000-8000-000000000000"),
        app.exchanged(code, client_id=app.id.upper()),
        app.exchanged(code, client_id="x" * 500),
    ]
    with_header = [
        send(app, data={"code": code}, headers=basic(app.id, "wrong")),
        send(app, data={"code": code}, headers=basic("00000000-0000-4000-8000-000000000000", "wrong")),
    ]
    with_token = [
        send(app, data={"code": code, "client_id": app.id}, headers={"Authorization": f"Bearer {token}"})
        for token in (harkonnen.api_token, app.tenant.another_token("read", "write"), revoked, "sqa_no")
    ]

    for answer in (*refused, *with_header, *with_token):
        assert_refused(answer, 401, "invalid_client")
        assert answer.text == refused[0].text
    assert {answer.headers.get("WWW-Authenticate") for answer in refused} == {None}
    assert {answer.headers["WWW-Authenticate"].split()[0] for answer in with_header} == {"Basic"}
    assert {answer.headers["WWW-Authenticate"].split()[0] for answer in with_token} == {"Bearer"}
    assert app.exchanged(code).status_code == 200


def test_c07_an_app_without_a_secret_has_no_way_but_an_api_token(arrakis: Tenant, provider: StandIn) -> None:
    app = arrakis.app("standin-public", client_secret=None)
    code = app.code()

    assert_refused(app.exchanged(code), 401, "invalid_client")
    assert_refused(app.exchanged(code, client_secret=""), 401, "invalid_client")
    assert_refused(send(app, data={"code": code}, headers=basic(app.id, "")), 401, "invalid_client")
    answer = send(
        app, data={"code": code, "client_id": app.id}, headers={"Authorization": f"Bearer {arrakis.api_token}"}
    )
    assert answer.status_code == 200


def test_c08_two_ways_of_authentication_at_once(app: App, provider: StandIn) -> None:
    code, header = app.code(), basic(app.id, str(app.client_secret))
    both = {"code": code, "client_id": app.id, "client_secret": app.client_secret}

    assert_refused(send(app, data=both, headers=header), 400, "invalid_request")
    assert_refused(
        send(app, data=both, headers={"Authorization": f"Bearer {app.tenant.api_token}"}), 400, "invalid_request"
    )
    other = {"code": code, "client_id": app.tenant.app().id}
    assert_refused(send(app, data=other, headers=header), 400, "invalid_request")
    assert send(app, data={"code": code, "client_id": app.id}, headers=header).status_code == 200


@pytest.mark.parametrize(
    "written",
    [
        lambda secret: secret,
        lambda secret: quote(secret, safe=""),
        quote_plus,
        lambda secret: secret.replace(":", "%3A"),
    ],
    ids=["raw", "percent", "form", "colon"],
)
def test_c09_basic_in_each_way_that_stock_clients_write_it(arrakis: Tenant, provider: StandIn, written: Any) -> None:
    secret = f"a:b/c%2Bd+e=f gé-{secrets.token_hex(4)}"
    app = arrakis.app(client_secret=secret)

    assert send(app, data={"code": app.code()}, headers=basic(app.id, written(secret))).status_code == 200
    assert_refused(send(app, data={"code": "x"}, headers=basic(app.id, written(f"{secret}x"))), 401, "invalid_client")


def test_c10_other_grants(app: App, provider: StandIn) -> None:
    code = app.code()

    for grant_type in ("client_credentials", "password", "Authorization_Code", "urn:ietf:params:oauth:x"):
        assert_refused(app.token(grant_type=grant_type, code=code), 400, "unsupported_grant_type")
    assert_refused(app.token(), 400, "invalid_request")
    assert_refused(app.token(grant_type="authorization_code"), 400, "invalid_request")
    assert_refused(app.token(grant_type="refresh_token", code=code), 400, "invalid_request")
    assert app.token(code=code).status_code == 200  # none is named: the code's own


# ---- how it is asked -------------------------------------------------------------------------------------------------


def test_c11_no_secret_in_a_url_and_no_redirected_post(app: App, provider: StandIn) -> None:
    code = app.code()
    query = {"client_id": app.id, "client_secret": app.client_secret, "code": code}

    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = send(app, method, params=query)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        assert answer.headers["Content-Type"] == "application/json"
    assert send(app, params=query).status_code in {400, 401}
    for endpoint in ("token", "token/", "revoke", "revoke/"):
        assert_refused(send(app, endpoint=endpoint, data={"client_id": app.id}), 401, "invalid_client")
    for path in ("/v1/oauth-apps", "/v1/oauth-apps/", "/v1/credentials/start-auth", "/v1/credentials/start-auth/"):
        assert app.tenant.call("POST", path, {}).status_code == 422
    assert send(app, endpoint="token/", data=query).status_code == 200


def test_c12_nothing_is_cached_or_shared_with_other_origins(app: App, provider: StandIn) -> None:
    origin = {"Origin": "https://evil.example"}
    granted = send(
        app,
        data={"client_id": app.id, "client_secret": app.client_secret, "code": app.code()},
        headers=origin,
    )
    credential = app.tenant.made("/v1/credentials", granted.json()["credential"])["id"]
    read = app.tenant.call("GET", f"/v1/credentials/{credential}/access-token", headers=origin)
    exported = app.tenant.call("GET", "/v1/credentials/export", headers=origin)
    made = app.tenant.call(
        "POST",
        "/v1/credentials/start-auth",
        {"oauth_app_id": app.id, "redirect_url": app.redirect_uri},
        headers=origin,
    )
    preflight = send(app, "OPTIONS", headers=origin | {"Access-Control-Request-Method": "POST"})

    for answer in (granted, read, exported, made):
        assert answer.ok
        assert answer.headers["Cache-Control"] == "no-store"
    assert granted.headers["Content-Type"] == read.headers["Content-Type"] == "application/json"
    for answer in (granted, read, exported, made, preflight):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_c13_whatever_is_said_twice(app: App, provider: StandIn) -> None:
    code = app.code()
    pair = f"client_id={app.id}&client_secret={app.client_secret}"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    as_json = json.dumps({"client_id": app.id, "client_secret": app.client_secret, "code": code})

    for name, value in (("code", code), ("client_secret", app.client_secret), ("grant_type", "authorization_code")):
        body = f"{pair}&code={code}&grant_type=authorization_code&{name}={value}"
        assert_refused(send(app, data=body, headers=form), 400, "invalid_request")
    doubled = as_json[:-1] + f', "code": "{code}"}}'
    assert_refused(send(app, data=doubled, headers={"Content-Type": "application/json"}), 400, "invalid_request")
    assert send(app, data=as_json, headers={"Content-Type": "application/json"}).status_code == 200


# ---- when things change meanwhile ------------------------------------------------------------------------------------


def test_c16_the_app_is_disabled_deleted_or_has_another_secret(arrakis: Tenant, provider: StandIn) -> None:
    disabled, deleted, changed = arrakis.app(), arrakis.app(), arrakis.app()
    codes = [app.code() for app in (disabled, deleted, changed)]
    assert arrakis.call("PATCH", f"/v1/oauth-apps/{disabled.id}", {"enabled": False}).ok
    assert arrakis.call("DELETE", f"/v1/oauth-apps/{deleted.id}").ok
    assert arrakis.call("PATCH", f"/v1/oauth-apps/{changed.id}", {"client_secret": "another-secret-now"}).ok

    for app, code in zip((disabled, deleted, changed), codes, strict=True):
        assert_refused(app.exchanged(code), 401, "invalid_client")
    assert changed.exchanged(codes[2], client_secret="another-secret-now").status_code == 200


@pytest.mark.parametrize("how", ["revoked_at = now()", "expires_at = now() - interval '1 second'"])
def test_c16_the_api_token_is_revoked(arrakis: Tenant, app: App, provider: StandIn, how: str) -> None:
    """Or has expired, between callback and exchange; before that it was good for it"""
    codes, api_token = [app.code(), app.code()], arrakis.another_token("reveal")
    headers = {"Authorization": f"Bearer {api_token}"}
    assert send(app, headers=headers, data={"client_id": app.id, "code": codes[0]}).status_code == 200
    statement = f"UPDATE oauth_apps_apitoken SET {how} WHERE token_hash = %s"  # noqa: S608 - one of the two above
    sql(app.tenant.gateway, statement, digest(api_token))

    assert_refused(send(app, headers=headers, data={"client_id": app.id, "code": codes[1]}), 401, "invalid_client")
    assert app.exchanged(codes[1]).status_code == 200


# ---- the answer ------------------------------------------------------------------------------------------------------


def test_c18_errors_are_json_whatever_comes(app: App, provider: StandIn) -> None:
    pair = {"client_id": app.id, "client_secret": app.client_secret}
    odd: list[tuple[int, dict[str, Any]]] = [
        (400, {"data": b"\xff\xfe", "headers": {"Content-Type": "application/json"}}),
        (400, {"data": b"[]", "headers": {"Content-Type": "application/json"}}),
        (400, {"data": b'{"code": 1}', "headers": {"Content-Type": "application/json"}}),
        (415, {"data": b"<a/>", "headers": {"Content-Type": "text/xml"}}),
        (413, {"data": b"a=" + b"b" * 1_048_600, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}),
        (401, {"data": {"client_id": "\x00", "client_secret": "\x00", "code": "\x00"}}),
        (400, {"data": pair | {"code": "\x00"}}),
        (400, {"data": pair | {"code": "é" * 3000}}),
    ]
    for status, how in odd:
        answer = send(app, **how)
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json().keys() >= {"error", "error_description", "summary"}
        assert DESCRIPTION.fullmatch(answer.json()["error_description"])


def test_c18_success_is_flat_whatever_the_provider_answers(app: App, provider: StandIn) -> None:
    nested = provider.tokens(
        token_type="bot", scope=["read", "write"], expires_in="3600", id_token="a.b.c", iss="https://evil.example"
    )
    provider.behaves("/token", answering_json(200, nested))
    bare = {"access_token": "at-bare-0123456789", "user_id": "user-1"}

    answer = app.exchanged(app.code())
    provider.behaves("/token", answering_json(200, bare))
    little = app.exchanged(app.code())

    assert (answer.status_code, answer.json()["token_type"], answer.json()["expires_in"]) == (200, "Bearer", 3600)
    assert answer.json()["scope"] == "read write"
    assert answer.json().keys() == {
        "access_token", "token_type", "expires_in", "refresh_token", "scope", "credential",
    }  # fmt: skip
    assert little.json().keys() == {"access_token", "token_type", "scope", "credential"}
    assert little.json()["scope"] == "read"  # none told is what was asked for


def test_c17_where_a_guess_is_wrong_no_answer_tells(app: App, provider: StandIn) -> None:
    """Its words, that is: wrong in the first or in the last character reads alike. How long it takes is not measured"""
    secret, code = str(app.client_secret), app.code()
    wrong_secrets = [f"x{secret[1:]}", f"{secret[:-1]}x"]
    letter = next(one for one in string.ascii_letters if one not in {code[0], code[-1]})
    wrong_codes = [f"{letter}{code[1:]}", f"{code[:-1]}{letter}"]

    by_secret = [app.exchanged(code, client_secret=wrong) for wrong in wrong_secrets]
    by_code = [app.exchanged(wrong) for wrong in wrong_codes]

    for pair in (by_secret, by_code):
        assert pair[0].text == pair[1].text
        assert pair[0].status_code == pair[1].status_code
    assert app.exchanged(code).status_code == 200


# ---- what nobody fetches ---------------------------------------------------------------------------------------------


def test_c19_what_nobody_fetches_is_erased_and_given_back(app: App, gateway: Gateway, provider: StandIn) -> None:
    code = app.code()
    provider.behaves("/revoke", answering("200 OK"))
    gone = "UPDATE credentials_authorization SET expires_at = now() - interval '11 minutes' WHERE code_hash = %s"
    sql(gateway, gone, digest(code))

    subprocess.run(
        [sys.executable, "manage.py", "purge"], cwd=BASE_DIR, env=gateway.environment, check=True, capture_output=True
    )

    given_back = {request.form["token"] for request in provider.sent_to("/revoke")}
    assert len(given_back) >= 1
    ((sealed,),) = sql(
        gateway, "SELECT tokens IS NULL FROM credentials_authorization WHERE code_hash = %s", digest(code)
    )
    assert sealed is True
    assert_refused(app.exchanged(code), 400, "invalid_grant")


def test_c20_an_answer_that_never_arrived(app: App, gateway: Gateway, provider: StandIn) -> None:
    """The developer's server hangs up after it has asked: what happened is known, and a new start is the way on"""
    code = app.code()
    body = f"client_id={app.id}&client_secret={app.client_secret}&code={code}".encode()
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /link/oauth2/token HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s"
            % (host.encode(), port.encode(), len(body), body)
        )

    state = until(
        lambda: sql(
            gateway,
            "SELECT step, code_taken_at FROM credentials_authorization WHERE code_hash = %s AND step = 'exchanged'",
            digest(code),
        ),
        what="the trip says that it was exchanged",
    )
    assert state[0][1] is not None
    assert_refused(app.exchanged(code), 400, "invalid_grant")
    assert app.exchanged(app.code()).status_code == 200
