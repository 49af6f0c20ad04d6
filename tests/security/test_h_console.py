"""H02, H03, H07 to H09, H11, H12: who is signed in to the console, for how long, and what he is shown."""

import base64
import html
import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django.contrib import admin
from django.contrib.sessions.serializers import JSONSerializer
from django.core import signing
from django_otp.oath import hotp

from sequin_auth.lib import sessions
from tests.real.gateway import Gateway
from tests.security.member import LOGIN, PASSWORD, csrf_token, new_member, sign_in, signed_in
from tests.security.pages import problems_of
from tests.security.stand_in import StandIn, answering_json
from tests.security.tenant import App, Browser, Tenant, new_tenant, sql

INDEX, LOGOUT = "/admin/", "/admin/logout/"
SESSION = "sessionid"
SIGNED = "django.contrib.sessions.SessionStore"  # the salt of what a session's row says


def post(browser: Browser, path: str, page: str = "/admin/my-login/", **form: Any) -> requests.Response:
    """As the form of `page` does."""
    token = csrf_token(browser.get(page).text)
    return browser.request("POST", path, data={"csrfmiddlewaretoken": token, **form})


def is_signed_in(browser: Browser) -> bool:
    answer = browser.get(INDEX)
    assert answer.status_code in {200, 302}
    return answer.status_code == 200


# ---- H02: where the login leads --------------------------------------------------------------------------------------

ELSEWHERE = [
    "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example",
    "http:///evil.example",
    "https://evil.example/", "https://127.0.0.1.evil.example", "javascript:alert(1)", "/\t/evil.example", " //evil.example",  # noqa: E501
    "//evil.example\\@127.0.0.1", "https://127.0.0.1@evil.example", "/\n/evil.example", "",
]  # fmt: skip


def test_h02_the_login_leads_to_nobody_else(arrakis: Tenant) -> None:
    name = new_member(arrakis)
    for target in ELSEWHERE:
        browser = Browser(arrakis.gateway)
        page = browser.get(LOGIN, params={"next": target})
        assert "evil.example" not in page.text, target
        form = {"username": name, "password": PASSWORD, "next": target}
        answer = browser.post(LOGIN, form | {"csrfmiddlewaretoken": csrf_token(page.text)})

        assert answer.status_code == 302
        location = answer.headers["Location"]
        assert location == INDEX, (target, location)


def test_h02_neither_does_the_choice_of_an_account_nor_the_way_to_a_page(arrakis: Tenant) -> None:
    browser = signed_in(arrakis)
    for target in ELSEWHERE:
        answer = post(browser, "/admin/choose-account/", account="", next=target)
        assert answer.headers["Location"] == INDEX
    for path in ("/admin//evil.example", "/admin/\\evil.example", "/%2f%2fevil.example/"):
        answer = Browser(arrakis.gateway).get(path)
        assert answer.headers.get("Location", "/").startswith(("/admin/", "/")), path
        assert not answer.headers.get("Location", "/").startswith(("//", "/\\"))


def test_h02_the_login_leads_to_the_page_that_was_asked_for(arrakis: Tenant) -> None:
    browser, wanted = Browser(arrakis.gateway), "/admin/oauth_apps/apitoken/?state=active"
    page = browser.get(browser.get(wanted).headers["Location"])
    onward = re.findall(r'name="next" value="([^"]*)"', page.text)[0]
    form = {"username": new_member(arrakis), "password": PASSWORD, "next": html.unescape(onward)}

    answer = browser.post(LOGIN, form | {"csrfmiddlewaretoken": csrf_token(page.text)})

    assert (answer.status_code, answer.headers["Location"]) == (302, wanted)


# ---- H03: the session's id (its cookies over https: test_h_platform.py) ---------------------------------------------


def test_h03_the_id_of_a_session_changes_at_login(arrakis: Tenant) -> None:
    """Whoever has planted one in somebody's browser is not signed in with him."""
    planted = "planted0planted0planted0planted0"
    browser = Browser(arrakis.gateway)
    browser.session.cookies.set(SESSION, planted)

    assert sign_in(browser, new_member(arrakis)).status_code == 302

    given = {cookie.value for cookie in browser.session.cookies if cookie.name == SESSION}
    assert len(given - {planted}) == 1
    thief = Browser(arrakis.gateway)
    thief.session.cookies.set(SESSION, planted)
    assert not is_signed_in(thief)


def test_h03_a_logout_ends_the_session_on_the_server(arrakis: Tenant) -> None:
    browser, thief = signed_in(arrakis), Browser(arrakis.gateway)
    stolen = browser.session.cookies[SESSION]
    thief.session.cookies.set(SESSION, stolen)
    assert is_signed_in(thief)
    assert browser.get(LOGOUT).status_code == 405  # a link or an image of somebody else's ends nothing
    assert is_signed_in(browser)

    assert post(browser, LOGOUT).status_code == 200

    thief = Browser(arrakis.gateway)
    thief.session.cookies.set(SESSION, stolen)
    assert not is_signed_in(thief)
    assert sql(arrakis.gateway, "SELECT 1 FROM django_session WHERE session_key = %s", sessions.stored(stolen)) == []


def test_h03_on_loopback_only_secure_and_the_prefix_are_left_out(arrakis: Tenant) -> None:
    browser = signed_in(arrakis)

    cookies = set_cookies(browser.get("/admin/my-login/"))

    assert {name: attributes - {"max-age=3600", "max-age=31449600"} for name, attributes in cookies.items()} == {
        "csrftoken": {"httponly", "path=/", "samesite=lax"},
        "sessionid": {"httponly", "path=/", "samesite=lax"},
    }


def set_cookies(answer: requests.Response) -> dict[str, set[str]]:
    """By name: the attributes, in lower case, without `expires`."""
    cookies: dict[str, set[str]] = {}
    for line in answer.raw.headers.getlist("Set-Cookie"):
        first, *attributes = [part.strip() for part in line.split(";")]
        kept = {attribute.lower() for attribute in attributes if not attribute.lower().startswith("expires=")}
        cookies[first.partition("=")[0]] = kept
    return cookies


# ---- H07: other people's ---------------------------------------------------------------------------------------------

OF_MODEL = {"oauthapp": "oauth_app", "credential": "credential", "authorization": "authorization", "apitoken": "api_token",  # noqa: E501
            "redirecturi": "redirect_uri", "membership": "membership", "auditevent": "audit_event", "account": "account",  # noqa: E501
            "user": "user", "webhookendpoint": "webhook_endpoint"}  # fmt: skip
OF_ARGUMENT = {"oauth_app_id": "oauth_app", "credential_id": "credential", "authorization_id": "authorization",
               "token_id": "api_token", "user_id": "user", "webhookendpoint_id": "webhook_endpoint"}  # fmt: skip
ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")
CANARY = "harkonnen-canary"
# Of superusers alone: Django's own tables, who may sign in, and the platform's
TABLES = ["auth/user", "oauth_apps/account", "axes/accessattempt", "procrastinate/procrastinatejob"]


def routes(patterns: Any, before: str = "/admin/") -> Iterator[str]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from routes(pattern.url_patterns, route)
        elif "(" not in route:
            yield route


@pytest.fixture(scope="module")
def app(harkonnen: Tenant) -> App:
    return harkonnen.app(name=f"{CANARY} app")


@pytest.fixture(scope="module")
def credential(harkonnen: Tenant, app: App, the_provider: StandIn) -> tuple[str, frozenset[str]]:
    """Its id, and its tokens."""
    the_provider.begin_test()
    the_provider.user_id = f"{CANARY} user"
    made = harkonnen.credential(app)
    the_provider.forget()
    return made, frozenset(the_provider.given)


@pytest.fixture(scope="module")
def ids(harkonnen: Tenant, app: App, credential: tuple[str, frozenset[str]], the_provider: StandIn) -> dict[str, str]:
    """One row of each sort that Harkonnen has; their names hold CANARY."""
    name = new_member(harkonnen)
    sql(harkonnen.gateway, "UPDATE auth_user SET first_name = %s WHERE username = %s", CANARY, name)
    sql(harkonnen.gateway, "UPDATE oauth_apps_apitoken SET name = %s WHERE account_id = %s", CANARY, harkonnen.id)
    browser = signed_in(harkonnen)
    answer = post(browser, "/admin/oauth_apps/redirecturi/add/", "/admin/oauth_apps/redirecturi/add/",
                  account=harkonnen.id, redirect_uri=f"https://{CANARY}.example.com/back")  # fmt: skip
    assert answer.status_code == 302

    def one(table: str) -> str:
        found = sql(harkonnen.gateway, f"SELECT id FROM {table} WHERE account_id = %s LIMIT 1", harkonnen.id)  # noqa: S608
        return str(found[0][0])

    authorization = "SELECT id FROM credentials_authorization WHERE oauth_app_id = %s"
    hook = {"url": f"{the_provider.url}/{CANARY}", "description": f"{CANARY} hook", "events": ["credential.deleted"]}
    return {
        "webhook_endpoint": harkonnen.made("/v1/webhook-endpoints", hook)["id"],
        "account": harkonnen.id,
        "oauth_app": app.id,
        "credential": credential[0],
        "authorization": str(sql(harkonnen.gateway, authorization, app.id)[0][0]),
        "api_token": one("oauth_apps_apitoken"),
        "redirect_uri": one("oauth_apps_redirecturi"),
        "membership": one("oauth_apps_membership"),
        "audit_event": one("oauth_apps_auditevent"),
        "user": str(sql(harkonnen.gateway, "SELECT id FROM auth_user WHERE username = %s", name)[0][0]),
    }


def addresses(ids: dict[str, str]) -> list[str]:
    """Every page of the console that takes an id, with one of these."""
    found = []
    for route in routes(admin.site.get_urls()):
        arguments = ARGUMENT.findall(route)
        model = route.split("/")[3] if route.count("/") > 3 else ""
        if len(arguments) == 1 and (key := OF_ARGUMENT.get(arguments[0], OF_MODEL.get(model, ""))):
            found.append(ARGUMENT.sub(ids[key], route))
    return found


def test_h07_nobody_sees_or_changes_what_is_anothers(
    arrakis: Tenant,
    harkonnen: Tenant,
    ids: dict[str, str],
    credential: tuple[str, frozenset[str]],
    provider: StandIn,
) -> None:
    provider.has_given(credential[1])
    stranger, owner = signed_in(arrakis), signed_in(harkonnen)
    pages = addresses(ids)
    seen_by_owner = [path for path in pages if owner.get(path).status_code == 200]
    assert len(pages) > 45
    assert len(seen_by_owner) >= 12  # else the ids are not those of these pages
    of_hook = f"/admin/oauth_apps/webhookendpoint/{ids['webhook_endpoint']}"
    assert {f"{of_hook}/{page}/" for page in ("change", "delete", "rotate")} <= {*seen_by_owner}
    assert f"{of_hook}/ping/" in pages
    tables = ("oauthapp", "redirecturi", "apitoken", "membership", "webhookendpoint")

    def rows() -> list[Any]:
        return [sql(harkonnen.gateway, f"SELECT * FROM oauth_apps_{table} WHERE account_id = %s ORDER BY id",  # noqa: S608
                    harkonnen.id) for table in tables] + [
            sql(harkonnen.gateway, "SELECT id, name, health_status, revision FROM credentials_credential"
                                   " WHERE account_id = %s".replace(", revision", ""), harkonnen.id)]  # fmt: skip

    before, token = rows(), csrf_token(stranger.get("/admin/my-login/").text)

    for path in pages:
        read = stranger.get(path)
        written = stranger.request(
            "POST", path, data={"csrfmiddlewaretoken": token, "post": "yes", "password": PASSWORD}
        )
        for answer in (read, written):
            assert answer.status_code in {302, 403, 404, 405}, (path, answer.status_code)
            assert CANARY not in answer.text
            if answer.status_code == 302:  # Django's "there is none", which looks alike for an id that nobody has
                assert answer.headers["Location"] == INDEX or path.endswith(f"{uuid_in(path)}/"), path
    assert rows() == before
    assert provider.asked == []


def uuid_in(path: str) -> str:
    """Django's bare `<model>/<id>/` leads to `<id>/change/`, which is asked too."""
    return path.rstrip("/").rpartition("/")[2]


def test_h07_an_id_of_anothers_and_one_of_nobodys_look_alike(arrakis: Tenant, ids: dict[str, str]) -> None:
    stranger = signed_in(arrakis)
    nobodys = {name: "999999" if value.isdigit() else str(uuid.uuid4()) for name, value in ids.items()}

    for theirs, none in zip(addresses(ids), addresses(nobodys), strict=True):
        one, other = stranger.get(theirs), stranger.get(none)
        assert (one.status_code, without_ids(one.text)) == (other.status_code, without_ids(other.text)), theirs


def without_ids(page: str) -> str:
    """Without what differs between any two pages: ids, of the request too, and the form's token."""
    page = re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"', "", page)
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b\d{1,6}\b", "…", page)


def test_h07_lists_searches_and_choices_hold_ones_own(arrakis: Tenant, harkonnen: Tenant, ids: dict[str, str]) -> None:
    stranger, owner = signed_in(arrakis), signed_in(harkonnen)
    lists = [route for route in routes(admin.site.get_urls())
             if not ARGUMENT.search(route) and route.count("/") == 4 and not any(name in route for name in TABLES)]  # fmt: skip  # noqa: E501
    more = [f"{INDEX}search/?s={CANARY}", INDEX, f"/admin/oauth_apps/oauthapp/?q={CANARY}",
            f"/admin/credentials/credential/?q={CANARY}", "/admin/credentials/credential/export/",
            f"/admin/oauth_apps/redirecturi/?account__id__exact={harkonnen.id}", "/admin/oauth_apps/apitoken/add/",
            "/admin/oauth_apps/membership/add/", "/admin/oauth_apps/oauthapp/add/?provider=standin"]  # fmt: skip
    autocomplete = [f"/admin/autocomplete/?app_label={label}&model_name={model}&field_name={field}&term=a"
                    for label, model, field in (("oauth_apps", "membership", "user"), ("oauth_apps", "membership", "account"),  # noqa: E501
                                                ("oauth_apps", "oauthapp", "account"))]  # fmt: skip
    seen = 0
    for path in [*lists, *more, *autocomplete]:
        text = stranger.get(path).text
        if path.startswith(("/admin/oauth_apps/oauthapp/?q", "/admin/credentials/credential/?q")):
            text = text.replace(CANARY, "", text.count(f'value="{CANARY}"') + text.count(f"q={CANARY}"))
        elif "search" in path:
            text = text.replace(f"s={CANARY}", "")
        assert f"{CANARY} " not in text, path
        assert f"{CANARY}.example" not in text, path
        assert not [name for name, value in ids.items() if "-" in value and value in text and name != "account"], path
        seen += CANARY in owner.get(path).text
    assert seen >= 4


@pytest.mark.parametrize("table", TABLES)
def test_h07_no_member_reaches_the_tables_of_the_platform(arrakis: Tenant, table: str) -> None:
    member = signed_in(arrakis)
    mine = sql(arrakis.gateway, "SELECT id FROM auth_user ORDER BY id DESC LIMIT 1")[0][0]
    token = csrf_token(member.get("/admin/my-login/").text)

    for page in ("", "add/", f"{mine}/change/", f"{mine}/delete/", f"{mine}/password/"):
        assert member.get(f"/admin/{table}/{page}").status_code in {403, 404, 302}
        form = {"csrfmiddlewaretoken": token, "is_superuser": "on", "is_staff": "on", "post": "yes"}
        assert member.request("POST", f"/admin/{table}/{page}", data=form).status_code in {403, 404, 302}
    assert member.get(f"/admin/{table}/").status_code == 403

    assert sql(arrakis.gateway, "SELECT is_superuser FROM auth_user WHERE id = %s", mine) == [(False,)]
    assert signed_in(arrakis, is_superuser=True).get(f"/admin/{table}/").status_code == 200


def test_h07_nobody_moves_a_row_into_anothers_account(arrakis: Tenant, harkonnen: Tenant, ids: dict[str, str]) -> None:
    member, count = signed_in(arrakis), "SELECT count(*) FROM {} WHERE account_id = %s"
    tables = ["oauth_apps_redirecturi", "oauth_apps_apitoken", "oauth_apps_oauthapp", "oauth_apps_membership"]
    before = [sql(harkonnen.gateway, count.format(table), harkonnen.id) for table in tables]

    forms: dict[str, dict[str, Any]] = {
        "redirecturi": {"redirect_uri": "https://evil.example/back"},
        "apitoken": {"name": "mine", "scopes": ["read", "write", "reveal"]},
        "oauthapp": {"provider": "standin", "name": "mine", "client_id": "x", "client_secret": "y"},
        "membership": {"user": ids["user"]},
    }
    for model, form in forms.items():
        page = f"/admin/oauth_apps/{model}/add/"
        answer = post(member, page, account=harkonnen.id, **form)
        assert answer.status_code in {200, 302, 403}

    assert [sql(harkonnen.gateway, count.format(table), harkonnen.id) for table in tables] == before


# ---- H08: what others have written -----------------------------------------------------------------------------------

BAD = "\"><img src=x onerror=alert(1)>'<script>alert(2)</script>{{7*7}}"


def test_h08_what_strangers_call_themselves_is_text(gateway: Gateway, provider: StandIn) -> None:
    tenant = new_tenant(gateway, BAD)
    member, metadata = signed_in(tenant), {BAD: BAD}
    provider.behaves("/token", answering_json(200, provider.tokens(user_id=BAD, scope="read <script>", error_uri=BAD)))
    app = tenant.app(name=BAD, metadata=metadata)
    answer = app.exchanged(app.code())
    body = answer.json()["credential"] | {"name": BAD, "metadata": metadata}
    credential = str(tenant.made("/v1/credentials", body)["id"])
    refused = app.started()
    refused.callback(state=refused.state, error=BAD, error_description=BAD)
    provider.behaves("/token", answering_json(400, {"error": "invalid_client", "error_description": BAD}))
    app.started().approved()  # so that the app's health has something to say
    trips = sql(gateway, "SELECT id FROM credentials_authorization WHERE oauth_app_id = %s", app.id)
    assert sql(gateway, "SELECT health_status FROM oauth_apps_oauthapp WHERE id = %s", app.id) != [("ok",)]
    assert tenant.call("GET", f"/v1/credentials/{credential}").json()["properties"]["user_id"] == BAD

    pages = [
        INDEX, "/admin/my-login/", "/admin/oauth_apps/oauthapp/", "/admin/oauth_apps/auditevent/",
        f"/admin/oauth_apps/oauthapp/{app.id}/change/", f"/admin/oauth_apps/oauthapp/{app.id}/delete/",
        "/admin/credentials/credential/", f"/admin/credentials/credential/{credential}/change/",
        f"/admin/credentials/credential/{credential}/delete/", "/admin/credentials/authorization/",
        f"/admin/oauth_apps/oauthapp/?q={requests.utils.quote(BAD)}",  # type: ignore[attr-defined]
        *(f"/admin/credentials/authorization/{trip}/change/" for (trip,) in trips),
    ]  # fmt: skip
    shown = 0
    for path in pages:
        page = member.get(path)
        assert page.status_code == 200, path
        assert "<img src=x" not in page.text, path
        assert "<script>alert" not in page.text, path
        assert "49" not in re.findall(r"&lt;/script&gt;(\d+)", page.text), path
        assert problems_of(page.text, is_console=True) == [], path
        shown += "&lt;img src=x onerror=alert(1)&gt;" in page.text
    assert shown >= 6


def test_h08_a_link_is_one_of_http(arrakis: Tenant) -> None:
    """A redirect URI, which the console shows, is none of another scheme; what else is a link comes from the catalogue."""  # noqa: E501
    member = signed_in(arrakis)
    for uri in ("javascript:alert(1)", "data:text/html,x", "JaVaScRiPt:alert(1)//https://x.example/", " javascript:x"):
        answer = post(member, "/admin/oauth_apps/redirecturi/add/", account=arrakis.id, redirect_uri=uri)
        assert answer.status_code == 200
        stored = "SELECT count(*) FROM oauth_apps_redirecturi WHERE account_id = %s AND redirect_uri ILIKE %s"
        assert sql(arrakis.gateway, stored, arrakis.id, "%javascript%") == [(0,)]


# ---- H09: exports ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["=HYPERLINK(1)", "+1+1", "-1+1", "@SUM(1)", "\t=1+1", "\r=1+1"])
def test_h09_an_export_is_nothing_that_a_spreadsheet_runs(arrakis: Tenant, provider: StandIn, bad: str) -> None:
    """There is one sort of export, lines of JSON: none begins with what a spreadsheet takes for a formula."""
    app = arrakis.app()
    answer = app.exchanged(app.code())
    name = bad.strip() if bad != bad.strip() else bad
    made = arrakis.made("/v1/credentials", answer.json()["credential"] | {"name": name, "metadata": {bad: bad}})
    member = signed_in(arrakis)

    exports = [
        arrakis.call("GET", "/v1/credentials/export", headers={"Accept": "text/csv"}),
        post(
            member, "/admin/credentials/credential/export/", "/admin/credentials/credential/export/", password=PASSWORD
        ),
    ]

    for export in exports:
        assert export.status_code == 200
        assert export.headers["Content-Type"].partition(";")[0] == "application/x-ndjson"
        assert export.headers["X-Content-Type-Options"] == "nosniff"
        lines = export.content.decode().splitlines()
        assert all(line.startswith('{"') for line in lines)
        [mine] = [row for row in map(json.loads, lines) if row["id"] == made["id"]]
        assert (mine["name"], mine["metadata"]) == (name, {bad: bad})  # as it was, for whoever reads JSON


# ---- H11: nobody is there who was not made ---------------------------------------------------------------------------


def test_h11_default_passwords_open_nothing(arrakis: Tenant) -> None:
    for name in ("admin", "root", "demo", "sequin"):
        assert sign_in(Browser(arrakis.gateway), name, name).status_code == 200


@pytest.mark.parametrize("weak", ["password", "12345678", "Sh0rt!", "20261122", "member"])
def test_h11_a_weak_password_is_refused(arrakis: Tenant, weak: str) -> None:
    name, browser = new_member(arrakis), Browser(arrakis.gateway)
    sign_in(browser, name)
    new = name if weak == "member" else weak

    answer = post(browser, "/admin/password_change/", old_password=PASSWORD, new_password1=new, new_password2=new)

    assert answer.status_code == 200
    assert sign_in(Browser(arrakis.gateway), name, new).status_code == 200
    assert sign_in(Browser(arrakis.gateway), name).status_code == 302


# ---- H12: how long ---------------------------------------------------------------------------------------------------


def row_of(browser: Browser) -> tuple[str, int]:
    """The key of the session's row, and the seconds after which it is over."""
    key = sessions.stored(browser.session.cookies[SESSION])
    statement = "SELECT extract(epoch FROM expire_date - now())::int FROM django_session WHERE session_key = %s"
    return key, int(sql(browser.gateway, statement, key)[0][0])


def signed_in_ago(browser: Browser, seconds: int) -> None:
    """As if the login had been so long ago."""
    key, _ = row_of(browser)
    secret = browser.gateway.environment["SECRET_KEY"]
    [(stored,)] = sql(browser.gateway, "SELECT session_data FROM django_session WHERE session_key = %s", key)
    session = signing.loads(stored, key=secret, salt=SIGNED, serializer=JSONSerializer)
    session["signed_in_at"] = int(time.time()) - seconds
    changed = signing.dumps(session, key=secret, salt=SIGNED, serializer=JSONSerializer, compress=True)
    sql(browser.gateway, "UPDATE django_session SET session_data = %s WHERE session_key = %s", changed, key)


def test_h12_an_idle_session_is_over_after_an_hour(arrakis: Tenant) -> None:
    browser = signed_in(arrakis)
    assert 3590 <= row_of(browser)[1] <= 3600
    sql(arrakis.gateway, "UPDATE django_session SET expire_date = now() + interval '9 s' WHERE session_key = %s",
        row_of(browser)[0])  # fmt: skip
    assert is_signed_in(browser)
    assert row_of(browser)[1] > 3590  # whoever works does not fall out

    sql(arrakis.gateway, "UPDATE django_session SET expire_date = now() WHERE session_key = %s", row_of(browser)[0])

    assert not is_signed_in(browser)


def test_h12_a_session_is_over_after_twelve_hours_however_busy(arrakis: Tenant) -> None:
    browser = signed_in(arrakis)
    signed_in_ago(browser, 12 * 3600 - 60)
    assert is_signed_in(browser)
    assert 0 < row_of(browser)[1] <= 60

    signed_in_ago(browser, 12 * 3600 + 1)

    browser.get(INDEX)
    assert not is_signed_in(browser)


def test_h12_a_changed_password_ends_the_other_sessions(arrakis: Tenant) -> None:
    name, browser, elsewhere = new_member(arrakis), Browser(arrakis.gateway), Browser(arrakis.gateway)
    for each in (browser, elsewhere):
        sign_in(each, name)
    new = "another horse, another staple"

    answer = post(browser, "/admin/password_change/", old_password=PASSWORD, new_password1=new, new_password2=new)

    assert answer.status_code == 302
    assert (is_signed_in(browser), is_signed_in(elsewhere)) == (True, False)
    assert sign_in(Browser(arrakis.gateway), name).status_code == 200
    assert sign_in(Browser(arrakis.gateway), name, new).status_code == 302


SECOND_FACTOR, CODE = "/admin/my-login/second-factor/", "/admin/login/code/"


def test_h12_a_second_factor_is_asked_of_whoever_has_set_one_up(arrakis: Tenant) -> None:
    name, browser = new_member(arrakis), Browser(arrakis.gateway)
    assert sign_in(browser, name).headers["Location"] == INDEX  # without one the password is enough
    assert post(browser, f"{SECOND_FACTOR}begin/").headers["Location"] == SECOND_FACTOR
    [shown] = re.findall(r'<code id="setup-key">([A-Z2-7 ]+)</code>', browser.get(SECOND_FACTOR).text)
    key, step = base64.b32decode(shown.replace(" ", "")), int(time.time()) // 30
    used, next_one = (f"{hotp(key, step + later):06}" for later in (0, 1))
    assert post(browser, SECOND_FACTOR, SECOND_FACTOR, code=used, password=PASSWORD).status_code == 302

    again = Browser(arrakis.gateway)
    assert sign_in(again, name).headers["Location"] == CODE
    assert not is_signed_in(again)  # by the password alone
    for wrong in (used, f"{(int(next_one) + 500_000) % 1_000_000:06}"):
        assert post(again, CODE, CODE, code=wrong).status_code == 200
        assert not is_signed_in(again)
        sql(  # after a wrong one the next has to wait
            arrakis.gateway,
            "UPDATE oauth_apps_authenticator SET throttling_failure_timestamp = NULL"
            " WHERE user_id = (SELECT id FROM auth_user WHERE username = %s)",
            name,
        )
    assert post(again, CODE, CODE, code=next_one).headers["Location"] == INDEX
    assert is_signed_in(again)
