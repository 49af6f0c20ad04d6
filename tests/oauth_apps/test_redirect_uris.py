"""`/v1/redirect-uris`: what may be registered, and what a registered one stands for."""

import uuid
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import example, given
from hypothesis import strategies as st

from oauth_apps.models import Account, RedirectURI
from oauth_apps.redirect_uris import LOOPBACK_HOSTS, expand, validate_redirect_uri

SOUND = [
    "https://app.example/callback",
    "https://app.example",
    "https://app.example/callback/:provider",
    "https://app.example/:provider/callback?tenant=1&x=%2F",
    "https://app.example/:provider",
    "https://app.example:8443/cb",
    "https://APP.Example/Callback",
    "https://xn--bcher-kva.example/cb",
    "https://192.0.2.7/cb",
    "https://[2001:db8::7]/cb",
    "https://my_host.example/cb/",
    "http://127.0.0.1:8001/cb",
    "http://[::1]:8001/cb",
    "http://localhost/cb",
    "https://app.example/cb;v=1/a@b/%C3%A9",
    "https://app.example/" + "x" * 2028,
]
REFUSED = {
    "wildcard": ["https://*.app.example/cb", "https://app.example/cb/*", "https://app.example/cb?x=*"],
    "fragment": ["https://app.example/cb#", "https://app.example/cb#x", "https://app.example#:provider"],
    "userinfo": [
        "https://user@app.example/cb",
        "https://user:pass@app.example/cb",
        "https://@app.example",
        "http://127.0.0.1@evil.example/",
    ],
    "relative": ["/cb", "//app.example/cb", "cb", "", "?x", ":provider"],
    "scheme": [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "blob:https://app.example/x",
        "ftp://app.example/cb",
        "myapp://callback",
        "com.example.app:/callback",
        "vbscript:x",
        "localhost:8000/cb",
        "ws://app.example",
    ],
    "form": ["https:app.example", "https:/app.example", "HTTPS://app.example/cb", "Http://localhost/cb"],
    "backslash": ["https://app.example\\@evil.example", "https:\\\\app.example", "https://app.example/\\cb"],
    "control_character": [
        "https://app.example/a b",
        " https://app.example",
        "https://app.example\n",
        "https://app.example/\r\nX-Evil: 1",
        "java\tscript:x",
        "https://app.example/\x7f",
        "https://app.example/\x00",
    ],
    "character": [
        "https://bücher.example/cb",
        "https://app.example/é",
        "https://app.example/%",
        "https://app.example/%zz",
        "https://app.example/<x>",
        'https://app.example/"',
        "https://app.example/{x}",
        "https://app。example/",
    ],
    "empty_host": ["https:///cb", "https://", "https://:443/cb", "https://?x"],
    "host": [
        "https://app..example/",
        "https://.app.example/",
        "https://-a.example/",
        "https://[::1/cb",
        "https://[zz]/cb",
        "https://a%2eb/",
        "https://app.example.:443/x",
    ],
    "port": [
        "https://app.example:/cb",
        "https://app.example:0/",
        "https://app.example:65536/",
        "https://app.example:080/",
        "https://app.example:x/",
    ],
    "insecure": [
        "http://app.example/cb",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.2/",
        "http://localhost.evil.example/",
        "http://localhost.example",
        "http://LOCALHOST/cb",
        "http://[::ffff:127.0.0.1]/",
        "http://0.0.0.0/",
        "http://2130706433/",
        "http://[0:0:0:0:0:0:0:1]/",
    ],
    "provider": [
        "https://app.example/cb?p=:provider",
        "https://app.example/cb/x:provider",
        "https://app.example/cb/:providers",
        "https://app.example/cb/:provider;v=1",
        "https://app.example/cb/a,:provider",
    ],
    "provider_twice": ["https://app.example/:provider/:provider", "https://app.example/:provider?x=:provider"],
    "too_long": ["https://app.example/" + "x" * 2029],
}


def registered(api: Client, redirect_uri: Any) -> Any:
    return api.post("/v1/redirect-uris", {"redirect_uri": redirect_uri}, content_type="application/json")


@pytest.mark.parametrize(("code", "text"), [(code, text) for code, texts in REFUSED.items() for text in texts])
def test_a_dangerous_uri_breaks_a_rule(code: str, text: str) -> None:
    """A04, A05, A06, B18"""
    with pytest.raises(ValidationError) as raised:
        validate_redirect_uri(text)

    assert raised.value.code == code
    assert len(raised.value.messages) == 1


@pytest.mark.parametrize(
    "text",
    [
        "https://:provider.example/cb",
        "https://:provider/cb",
        "https://app.example::provider/cb",
        "https://:provider@app.example/cb",
        "https://app.example/cb#:provider",
        "http://localhost::provider/",
    ],
)
def test_the_provider_stands_in_the_path_alone(text: str) -> None:
    """A04"""
    with pytest.raises(ValidationError):
        validate_redirect_uri(text)


@pytest.mark.parametrize("text", [texts[0] for texts in REFUSED.values()])
def test_the_api_refuses_it_and_names_the_rule(api: Client, text: str) -> None:
    """A05"""
    response = registered(api, text)

    assert response.status_code == 422
    assert list(response.json()["validation_errors"]) == ["redirect_uri"]
    assert not RedirectURI.objects.exists()
    assert "evil" not in response.content.decode()


@pytest.mark.parametrize("value", [None, 1, ["https://app.example"], {}, True])
def test_the_api_takes_a_string(api: Client, value: Any) -> None:
    assert registered(api, value).status_code == 422


def test_the_api_takes_no_other_field(api: Client) -> None:
    """D05"""
    content = {"redirect_uri": SOUND[0], "id": str(uuid.uuid4()), "account": "x"}

    response = api.post("/v1/redirect-uris", content, content_type="application/json")

    assert response.json()["validation_errors"] == {
        "id": ["Is written by the server alone."],
        "account": ["Is no field here."],
    }


def test_one_uri_is_registered_once(api: Client, other_api: Client) -> None:
    statuses = [registered(one, SOUND[0]).status_code for one in (api, api, other_api)]

    assert statuses == [201, 409, 201]
    assert registered(api, SOUND[0]).json()["code"] == "already_registered"


def test_another_accounts_uri_is_not_there(api: Client, other_api: Client) -> None:
    """D01"""
    row = registered(api, SOUND[0]).json()

    answers = [other_api.delete(f"/v1/redirect-uris/{one}") for one in (row["id"], uuid.uuid4())]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json() | {"request_id": ""} == answers[1].json() | {"request_id": ""}
    assert other_api.get("/v1/redirect-uris").json()["data"] == []
    assert RedirectURI.objects.count() == 1


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT"])
def test_one_uri_is_deleted_and_nothing_else(api: Client, method: str) -> None:
    row = registered(api, SOUND[0]).json()

    assert api.generic(method, f"/v1/redirect-uris/{row['id']}").status_code == 405


@pytest.mark.parametrize("text", SOUND)
def test_it_registers_lists_and_deletes(api: Client, account: Account, text: str) -> None:
    response = registered(api, text)

    row = RedirectURI.objects.get(account=account)
    assert response.status_code == 201
    assert response.json() == {
        "id": str(row.id),
        "redirect_uri": text,
        "created_at": row.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    assert api.get("/v1/redirect-uris").json() == {"data": [response.json()], "next_cursor": None}
    assert api.delete(f"/v1/redirect-uris/{row.id}").json() == {"id": str(row.id), "deleted": True}
    assert api.get("/v1/redirect-uris/").json() == {"data": [], "next_cursor": None}


def test_a_list_comes_in_pages(api: Client, account: Account) -> None:
    rows = [RedirectURI.objects.create(account=account, redirect_uri=f"https://app.example/{n}") for n in range(7)]
    RedirectURI.objects.filter(pk__in=[row.pk for row in rows[2:6]]).update(created_at=rows[3].created_at)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}

    with CaptureQueriesContext(connection) as statements:
        while True:
            page = api.get("/v1/redirect-uris", query).json()
            seen += [row["id"] for row in page["data"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]

    newest_first = RedirectURI.objects.order_by("-created_at", "-id").values_list("id", flat=True)
    assert seen == [str(row_id) for row_id in newest_first]
    assert len(statements) <= 2 * 4 + 1


def test_pages_go_on_where_they_were_though_rows_go(api: Client, account: Account) -> None:
    rows = [RedirectURI.objects.create(account=account, redirect_uri=f"https://app.example/{n}") for n in range(4)]
    cursor = api.get("/v1/redirect-uris", {"limit": 2}).json()["next_cursor"]
    rows[2].delete()
    registered(api, "https://app.example/new")

    page = api.get("/v1/redirect-uris", {"cursor": cursor}).json()

    assert [row["redirect_uri"] for row in page["data"]] == ["https://app.example/1", "https://app.example/0"]


@pytest.mark.parametrize(
    ("redirect_uri", "expanded"),
    [
        ("https://app.example/:provider", "https://app.example/stripe"),
        ("https://app.example/:provider/x?y=/a", "https://app.example/stripe/x?y=/a"),
        ("https://app.example/:provider?y=/a", "https://app.example/stripe?y=/a"),
        ("https://app.example/provider", "https://app.example/provider"),
        ("http://localhost:8001/%3Aprovider/:Provider", "http://localhost:8001/%3Aprovider/:Provider"),
    ],
)
def test_the_segment_becomes_the_slug(redirect_uri: str, expanded: str) -> None:
    """A04"""
    validate_redirect_uri(redirect_uri)

    assert expand(redirect_uri, "stripe") == expanded


SCHEMES = ["https://", "http://", "//", "javascript:"]
HOSTS = ["app.example", "localhost", "127.0.0.1", "[::1]", ":80", ":provider", "%2f", "%00", ".."]
PIECES = st.sampled_from([*SCHEMES, *HOSTS, *"/:@?#\\*%a[].é\n\x00 "])


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40))
@example("https://app.example/:provider")
def test_what_may_be_registered_is_safe(text: str) -> None:
    """A05: whatever else may pass, these hold."""
    try:
        validate_redirect_uri(text)
    except ValidationError:
        return

    authority = text.split("://", 1)[1].split("/", 1)[0].split("?", 1)[0]
    host = authority if authority.endswith("]") else authority.rpartition(":")[0] or authority
    assert text.startswith("https://") or (text.startswith("http://") and host in LOOPBACK_HOSTS)
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set('\\*# "<>')
    assert host
    assert "@" not in authority
    assert text.count(":provider") == text.split("?")[0].split("/")[3:].count(":provider") <= 1
    assert len(expand(text, "slug").split("/")) == len(text.split("/"))
