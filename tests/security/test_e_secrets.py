"""E01 to E15: secrets at rest, in logs, on pages. What needs a gateway that stops and starts is in test_e_keys.py."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import requests

import sequin_auth
from tests.real.canaries import Canaries, dump, search
from tests.real.gateway import Gateway
from tests.real.machine import BASE_DIR
from tests.security.member import signed_in
from tests.security.passing_by import MARKER, Happened, Passing, flip, opened
from tests.security.stand_in import StandIn, answering_json
from tests.security.tenant import Browser, Tenant, new_tenant, sql

KINDS = {
    "API token", "SECRET_KEY", "ENCRYPTION_KEYS", "access token", "refresh token", "client secret", "code", "state",
    "code of the provider", "code_verifier", "state of the developer", "state of a link", "token of a link", "sk_live",
    "password", "told by the provider", "cookie", "webhook secret",
}  # fmt: skip


@pytest.fixture(scope="module")
def happened(gateway: Gateway, the_provider: StandIn) -> Happened:
    the_provider.forget()
    return Passing(gateway, the_provider).everything()


@pytest.fixture(scope="module")
def tables(happened: Happened, gateway: Gateway) -> Path:
    path = gateway.directory / "dump-of-e"
    dump(gateway.database_uri, path)
    return path


# ---- E01, E02, E05: where nobody may find them -----------------------------------------------------------------------


def test_e01_a_dump_holds_no_secret(tables: Path, happened: Happened) -> None:
    """All rows of all tables: sessions, the console's log, jobs, kept answers, the audit log"""
    assert {*happened.canaries.kinds.values()} >= KINDS
    found = search({MARKER.encode(): "", b"-- django_session": "", b"-- procrastinate_jobs": ""}, tables)
    assert len(found) == 3  # there is something to read

    assert happened.canaries.found_in(tables) == set()


@pytest.mark.usefixtures("tables")
def test_e01_the_files_of_the_server_hold_no_secret(gateway: Gateway, happened: Happened) -> None:
    """The pages and the write-ahead log, after a checkpoint; and what lies beside them"""
    places = [gateway.postgres_data, *(place for place in [gateway.directory / "spool"] if place.exists())]
    assert search({MARKER.encode(): ""}, gateway.postgres_data / "pg_wal")

    assert happened.canaries.found_in(*places) == set()


def test_e02_no_line_holds_a_secret(gateway: Gateway, happened: Happened) -> None:
    """Of gunicorn, its workers and the worker of the queue, at DEBUG, after all that can go wrong has gone wrong"""
    assert gateway.environment["LOG_LEVEL"] == "DEBUG"
    told = {b'"path": "/link/oauth2/token"': "", b'"event": "credential_unreadable"': "", b'"level": "debug"': ""}
    told |= {b'"route": "link/oauth2/callback/': "", b'"path": "/link/oauth2/start/': ""}
    assert search(told, gateway.log) == told.keys()

    assert happened.canaries.found_in(gateway.log) == set()


def test_e02_the_database_s_log_holds_no_secret(gateway: Gateway, happened: Happened) -> None:
    sql_error = "SELECT 1/length('') -- what fails is not written down"
    with pytest.raises(Exception, match="division"):
        sql(gateway, sql_error)
    assert gateway.postgres_log.stat().st_size
    assert search({b"what fails is not written down": ""}, gateway.postgres_log) == set()

    assert happened.canaries.found_in(gateway.postgres_log) == set()


ASKED_OF_A_PROCESS = """
import json, logging
from django.conf import settings
loggers = [logging.getLogger(), *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
kinds = {type(handler).__name__ for logger in loggers for handler in logger.handlers}
print(json.dumps({"to": [*settings.ADMINS, *settings.MANAGERS], "handlers": sorted(kinds - {"NullHandler"})}))
"""


def test_e02_no_mail_is_sent(gateway: Gateway) -> None:
    """Django would send one for each error. A process of the gateway's settings has nobody to send it to, and no
    handler but the one whose lines are searched above
    """
    asked = gateway.manage("shell", "--no-imports", "-c", ASKED_OF_A_PROCESS)

    assert asked == {"to": [], "handlers": ["StreamHandler"]}


def test_e05_equal_secrets_are_sealed_unequally(arrakis: Tenant, provider: StandIn) -> None:
    same = "the-same-client-secret-twice"
    apps = [arrakis.app(client_secret=same) for _ in range(2)]
    statement = "SELECT client_secret FROM oauth_apps_oauthapp WHERE id IN (%s, %s)"

    (one,), (other,) = sql(arrakis.gateway, statement, *(app.id for app in apps))

    one, other = bytes(one), bytes(other)
    header = 2 + one[1]
    assert one[:header] == other[:header]
    assert len(one) == len(other)
    assert one[header : header + 12] != other[header : header + 12]
    assert one[header + 12 :] != other[header + 12 :]


def test_e05_no_hash_of_a_provider_s_token_is_kept(tables: Path, happened: Happened) -> None:
    """A fingerprint has a key. Of what we issue ourselves, which is random, the plain hash is kept"""

    def hashes(value: str) -> Iterator[bytes]:
        for name in ("md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b"):
            yield hashlib.new(name, value.encode()).hexdigest().encode()

    foreign = ("access token", "refresh token", "client secret", "sk_live", "code of the provider", "id_token")
    secrets = [value for value, kind in happened.canaries.kinds.items() if kind in foreign]
    assert len(secrets) > 10
    assert search({next(iter(reversed([*hashes(happened.tenant.api_token)][:3]))): ""}, tables)

    assert search({digest: "" for secret in secrets for digest in hashes(secret)}, tables) == set()


# ---- E04: the console ------------------------------------------------------------------------------------------------

LINK = re.compile(r'href="(/admin/[^"#]*)"')
INPUT = re.compile(r"<input\b[^>]*>")


def pages_of(browser: Browser, *paths: str, most: int) -> Iterator[tuple[str, requests.Response]]:
    """What a member reaches by links, one page of each kind: addresses are of one kind that differ in ids alone."""
    waiting, seen = list(paths), set[str]()
    while waiting and len(seen) < most:
        path = waiting.pop(0).replace("&amp;", "&")
        kind = re.sub(r"[0-9a-f-]{36}|=[^&]*|\b\d+\b", "*", path)
        if kind in seen or "logout" in path:
            continue
        seen.add(kind)
        page = browser.get(path)
        yield path, page
        if page.headers["Content-Type"].startswith("text/html"):
            waiting += LINK.findall(page.text)


def test_e04_no_page_of_the_console_shows_a_secret(gateway: Gateway, happened: Happened) -> None:
    """Lists, forms, history, confirmations, whatever is linked; and the endpoints of search and autocompletion"""
    browser = signed_in(happened.tenant)
    term = f"q={quote(MARKER)}&s={quote(MARKER)}"
    model = "app_label=credentials&model_name=credential&field_name=oauth_app"
    looked_at, shown = list[str](), Canaries()
    shown.kinds = {value: kind for value, kind in happened.canaries.kinds.items() if not kind.startswith("cookie")}
    (trip,) = sql(gateway, "SELECT id FROM credentials_authorization WHERE oauth_app_id = %s LIMIT 1", happened.app.id)
    starts = (
        "/admin/",
        f"/admin/search/?{term}",
        f"/admin/autocomplete/?term=s&{model}",
        f"/admin/oauth_apps/oauthapp/{happened.app.id}/change/",
        f"/admin/oauth_apps/oauthapp/{happened.app.id}/history/",
        f"/admin/oauth_apps/oauthapp/{happened.app.id}/delete/",
        f"/admin/credentials/credential/{happened.credential}/change/",
        f"/admin/credentials/credential/{happened.key}/change/",
        f"/admin/credentials/credential/{happened.key}/delete/",
        f"/admin/credentials/credential/{happened.key}/history/",
        f"/admin/credentials/authorization/{trip[0]}/change/",
        f"/admin/oauth_apps/oauthapp/?{term}",
        f"/admin/credentials/credential/?{term}",
    )

    for path, page in pages_of(browser, *starts, most=60):
        assert page.status_code < 500, path
        looked_at += [path] if page.status_code == 200 else []
        place = gateway.directory / "page"
        place.write_bytes(page.content + json.dumps(dict(page.headers)).encode())
        assert shown.found_in(place) == set(), path
        for tag in INPUT.findall(page.text):
            if 'type="password"' in tag or "secret" in tag:
                assert not re.search(r'value="[^"]+"', tag.replace('value="on"', "")), path

    assert len(looked_at) > 25


def test_e04_a_secret_finds_nothing(gateway: Gateway, happened: Happened) -> None:
    """Search and filters say neither by what they list nor by an error whether a secret begins so"""
    browser = signed_in(happened.tenant)
    secret = happened.app.client_secret or ""
    for path in (
        f"/admin/oauth_apps/oauthapp/?q={quote(secret)}",
        f"/admin/credentials/credential/?q={quote(happened.access_token)}",
        f"/admin/search/?s={quote(secret)}",
    ):
        page = browser.get(path)
        assert page.status_code in {200, 302, 404}
        assert f"{happened.app.id}/change/" not in page.text
        assert f"{happened.credential}/change/" not in page.text
    for query in ("client_secret__startswith=c", "client_secret__isnull=False", "account__api_tokens__token_hash=x"):
        answer = browser.get(f"/admin/oauth_apps/oauthapp/?{query}")
        assert answer.status_code in {302, 400}, query


# ---- E06, E07: seals that do not open --------------------------------------------------------------------------------


def assert_unreadable(tenant: Tenant, credential: str, *secrets: str) -> None:
    answer = tenant.call("GET", f"/v1/credentials/{credential}/access-token")
    assert (answer.status_code, answer.json()["code"]) == (500, "credential_unreadable")
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json()) == {"summary", "code", "request_id"}
    assert [secret for secret in secrets if secret in answer.text + str(answer.headers)] == []


def token_of(tenant: Tenant, credential: str) -> str:
    answer = tenant.call("GET", f"/v1/credentials/{credential}/access-token")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


SWAPS = {
    "another row": "UPDATE credentials_token AS b SET access_token = a.access_token FROM credentials_token AS a"
    " WHERE b.credential_id = %(b)s AND a.credential_id = %(a)s",
    "another column": "UPDATE credentials_token SET access_token = refresh_token WHERE credential_id = %(b)s",
    "another table": "UPDATE credentials_token SET access_token = app.client_secret FROM oauth_apps_oauthapp AS app"
    " WHERE credential_id = %(b)s AND app.id = %(app)s",
    "a whole row's tokens": "UPDATE credentials_token AS b SET access_token = a.access_token, version = a.version,"
    " refresh_token = a.refresh_token, refresh_fingerprint = a.refresh_fingerprint, expires_at = a.expires_at"
    " FROM credentials_token AS a WHERE b.credential_id = %(b)s AND a.credential_id = %(a)s",
}


@pytest.mark.parametrize("where", SWAPS)
def test_e06_a_seal_from_elsewhere_does_not_open(arrakis: Tenant, provider: StandIn, where: str) -> None:
    """Who can write to the database, but has no key, reads nobody's token by it; and it is written down"""
    app = arrakis.app()
    ours = arrakis.credential(app)
    provider.user_id = "user-2"
    theirs = arrakis.credential(app)
    secrets = (token_of(arrakis, ours), token_of(arrakis, theirs), app.client_secret or "")
    placeholders = {"a": ours, "b": theirs, "app": app.id}
    names = re.findall(r"%\((\w+)\)s", SWAPS[where])
    sql(arrakis.gateway, re.sub(r"%\(\w+\)s", "%s", SWAPS[where]), *(placeholders[name] for name in names))
    provider.requests.clear()

    assert_unreadable(arrakis, theirs, *secrets)
    assert_unreadable(arrakis, theirs, *secrets)

    assert provider.asked == []
    assert token_of(arrakis, ours) == secrets[0]
    statement = "SELECT action, account_id::text FROM oauth_apps_auditevent WHERE object_id = %s AND action LIKE %s"
    told = sql(arrakis.gateway, statement, theirs, "%unreadable%")
    assert told == [("credential.unreadable", arrakis.id)]


def test_e06_a_client_secret_from_elsewhere_does_not_open(arrakis: Tenant, provider: StandIn) -> None:
    one, other = arrakis.app(), arrakis.app()
    code = other.code()
    sql(
        arrakis.gateway,
        "UPDATE oauth_apps_oauthapp SET client_secret ="
        " (SELECT client_secret FROM oauth_apps_oauthapp WHERE id = %s) WHERE id = %s",
        one.id,
        other.id,
    )
    provider.requests.clear()

    answer = other.token(grant_type="authorization_code", code=code, client_secret=one.client_secret or "")

    assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
    assert "access_token" not in answer.text
    assert provider.asked == []


CHANGES = {
    "one bit of the ciphertext": "set_byte(access_token, 60, get_byte(access_token, 60) # 1)",
    "one bit of the nonce": "set_byte(access_token, 10, get_byte(access_token, 10) # 128)",
    "one bit of the key's name": "set_byte(access_token, 2, get_byte(access_token, 2) # 1)",
    "the version": "set_byte(access_token, 0, 2)",
    "half of it": "substring(access_token FROM 1 FOR length(access_token) / 2)",
    "one byte less": "substring(access_token FROM 1 FOR length(access_token) - 1)",
    "one byte more": "access_token || '\\x00'",
    "nothing of it": "''::bytea",
    "plain text": "convert_to('plain text is not taken for a secret', 'UTF8')",
}


@pytest.mark.parametrize("what", CHANGES)
def test_e07_what_was_changed_does_not_open(arrakis: Tenant, provider: StandIn, what: str) -> None:
    provider.user_id = f"user-of-{what}"
    credential = arrakis.credential()
    token = token_of(arrakis, credential)
    where = "WHERE credential_id = %s"
    sql(arrakis.gateway, f"UPDATE credentials_token SET access_token = {CHANGES[what]} {where}", credential)  # noqa: S608

    assert_unreadable(arrakis, credential, token, "plain text")
    assert provider.sent_to("/revoke") == []
    assert arrakis.call("DELETE", f"/v1/credentials/{credential}").status_code == 200


def test_e07_one_bad_row_breaks_nothing(gateway: Gateway, provider: StandIn) -> None:
    """Lists, exports and the purge go on; the row can be looked at and be deleted"""
    tenant = new_tenant(gateway, "Caladan")
    app = tenant.app()
    good = tenant.credential(app)
    provider.user_id = "user-2"
    bad = tenant.credential(app)
    for column in ("access_token", "refresh_token"):
        flip(gateway, "credentials_token", column, "credential_id", bad)
    provider.user_id = "user-3"
    code = app.code()
    flip(gateway, "credentials_authorization", "tokens", "step = 'granted' AND oauth_app_id", app.id)
    sql(
        gateway,
        "UPDATE credentials_authorization SET expires_at = now() - interval '1 hour'"
        " WHERE step = 'granted' AND oauth_app_id = %s",
        app.id,
    )

    listed = tenant.call("GET", "/v1/credentials")
    exported = tenant.call("GET", "/v1/credentials/export")
    purged = gateway.manage("purge")

    assert {row["id"] for row in listed.json()["data"]} == {good, bad}
    assert tenant.call("GET", f"/v1/credentials/{bad}").status_code == 200
    rows = {row["id"]: row for row in map(json.loads, exported.text.splitlines())}
    assert rows[bad] == {"id": bad, "error": "credential_unreadable"}
    assert rows[good]["properties"]["access_token"] == token_of(tenant, good)
    left = sql(
        gateway, "SELECT step FROM credentials_authorization WHERE tokens IS NOT NULL AND oauth_app_id = %s", app.id
    )
    assert left == []
    assert purged["unclaimed_tokens"] >= 0
    assert app.exchanged(code).status_code == 400
    assert signed_in(tenant).get(f"/admin/credentials/credential/{bad}/change/").status_code == 200
    assert tenant.call("DELETE", f"/v1/credentials/{bad}").status_code == 200


# ---- E11 to E15 ------------------------------------------------------------------------------------------------------


def test_e11_a_restored_backup_asks_once(arrakis: Tenant, provider: StandIn) -> None:
    """The refresh token of the backup was rotated since: the provider refuses it, and is not asked again"""
    app = arrakis.app()
    stale = arrakis.credential(app)
    provider.user_id = "user-2"
    other = arrakis.credential(app)
    provider.user_id = "user-1"
    columns = "access_token, refresh_token, refresh_fingerprint, previous_fingerprint, version, expires_at"
    sql(arrakis.gateway, f"CREATE TABLE backup_of_e11 AS SELECT credential_id, {columns} FROM credentials_token")  # noqa: S608
    backed_up = arrakis.call("GET", f"/v1/credentials/{stale}/access-token?force_refresh=true")
    assert backed_up.status_code == 200
    restore(arrakis.gateway, columns, stale)
    sql(arrakis.gateway, "DROP TABLE backup_of_e11")
    provider.behaves("/token", answering_json(400, {"error": "invalid_grant"}))
    provider.requests.clear()

    answers = [arrakis.call("GET", f"/v1/credentials/{stale}/access-token") for _ in range(4)]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "needs_reauthorization")] * 4
    assert answers[0].json()["reconnect_url"]
    assert len(provider.sent_to("/token")) == 1
    assert arrakis.call("GET", f"/v1/credentials/{stale}").json()["health"]["status"] == "error"
    [(due,)] = sql(arrakis.gateway, "SELECT due_at FROM credentials_token WHERE credential_id = %s", stale)
    assert due is None
    assert token_of(arrakis, other)


def restore(gateway: Gateway, columns: str, credential: str) -> None:
    """Put the row of the backup back, a moment after its access token has ended."""
    kept = [name for name in columns.split(", ") if name != "expires_at"]
    changes = ", ".join(f"{name} = backup.{name}" for name in kept)
    sql(
        gateway,
        f"UPDATE credentials_token AS token SET {changes}, expires_at = now() - interval '1 minute'"  # noqa: S608
        " FROM backup_of_e11 AS backup WHERE token.credential_id = backup.credential_id AND token.credential_id = %s",
        credential,
    )


def test_e12_no_secret_stands_in_a_url_to_the_provider(gateway: Gateway, provider: StandIn) -> None:
    """Exchange, refresh and revocation, as the provider sees their request lines"""
    passing = Passing(gateway, provider)
    app = passing.register()
    credential = passing.credential(app)
    passing.read(credential, "?force_refresh=true")
    passing.refresh_and_revoke(app)
    assert passing.tenant.call("DELETE", f"/v1/credentials/{credential}").status_code == 200

    assert {request.target for request in provider.requests} == {"/token", "/revoke"}
    assert {request.form.get("grant_type") for request in provider.sent_to("/token")} == {
        "authorization_code",
        "refresh_token",
    }
    for request in provider.requests:
        assert request.method == "POST"
        assert "referer" not in request.headers
        assert "cookie" not in request.headers
        assert request.headers["authorization"].startswith("Basic ") or "client_secret" in request.form


def test_e14_an_account_that_was_erased_leaves_no_secret(gateway: Gateway, provider: StandIn) -> None:
    """By a command, which asks first; then not even whoever has all keys finds one in a dump"""
    passing = Passing(gateway, provider)
    before = set(passing.canaries.kinds)
    happened = passing.everything()
    mine = Canaries()
    mine.kinds = {
        value: kind
        for value, kind in happened.canaries.kinds.items()
        if value not in before and not kind.startswith("cookie")
    }
    assert len(found_in_the_clear(gateway, mine)) > 5

    asked = gateway.manage("delete_account", happened.tenant.id)
    assert (asked["name"], asked["deleted"]) == (happened.tenant.name, False)
    assert happened.tenant.call("GET", "/v1/credentials").status_code == 200
    provider.requests.clear()
    assert gateway.manage("delete_account", happened.tenant.id, "--yes")["deleted"] is True
    assert provider.sent_to("/revoke")

    assert happened.tenant.call("GET", "/v1/credentials").status_code == 401
    assert found_in_the_clear(gateway, mine) == set()
    path = gateway.directory / "dump-after-the-end"
    dump(gateway.database_uri, path)
    assert mine.found_in(path) == set()
    own = "SELECT count(*) FROM {} WHERE account_id = %s"
    tables = ("oauth_apps_oauthapp", "credentials_credential", "oauth_apps_apitoken", "oauth_apps_webhookendpoint")
    assert [sql(gateway, own.format(table), happened.tenant.id) for table in tables] == [[(0,)]] * len(tables)


def found_in_the_clear(gateway: Gateway, canaries: Canaries) -> set[str]:
    """What whoever has the database and all keys finds, in the tables and in what waits for them."""
    path = gateway.directory / "opened"
    path.write_bytes(b"\n".join(value for values in opened(gateway).values() for value in values))
    return canaries.found_in(path)


OPEN_PAGES = (
    "/healthz", "/readyz", "/metrics", "/v1/openapi.json", "/docs/", "/providers/", "/admin/login/",
    "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/no/such/page", "/v1/no-such-page",
    "/link/oauth2/start",
)  # fmt: skip


@pytest.mark.parametrize("path", OPEN_PAGES)
def test_e15_an_open_page_tells_nothing_of_the_machine(gateway: Gateway, happened: Happened, path: str) -> None:
    """No address of the database, key, version of whatever runs here, path, account"""
    answer = requests.get(f"{gateway.url}{path}", allow_redirects=False, timeout=30)
    text = answer.text + json.dumps(dict(answer.headers))
    key = gateway.environment["ENCRYPTION_KEYS"]
    telling = [
        "postgres://", "postgresql://", "PostgreSQL 1", "psycopg", str(gateway.directory), str(BASE_DIR),
        gateway.environment["SECRET_KEY"], "site-packages", key, key.partition(":")[2], "gunicorn/", "Python/",
        "Traceback", "WSGIServer", happened.tenant.id, happened.app.id, happened.tenant.name, MARKER,
        "Django 5", "Django/",
    ]  # fmt: skip

    assert answer.status_code < 500
    assert [word for word in telling if word in text] == []
    assert (
        not re.search(rf"(?<![\d.]){re.escape(sequin_auth.__version__)}(?![\d.])", text) or path == "/v1/openapi.json"
    )
    assert urlsplit(answer.url).path == path


def test_e15_the_probes_say_one_word(gateway: Gateway) -> None:
    for path in ("/healthz", "/readyz"):
        assert requests.get(f"{gateway.url}{path}", timeout=30).json() == {"status": "ok"}
