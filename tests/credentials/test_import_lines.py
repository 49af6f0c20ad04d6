"""`POST /v1/credentials/import`: an export taken in again, line by line."""

import io
import json
import socket
import tracemalloc
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from credentials.api import ndjson_import
from credentials.models import Credential, Token
from oauth_apps.models import Account, OAuthApp
from providers import kinds
from tests.credentials.answers import CREDENTIALS, NDJSON, path, rows, secrets_of, upload
from tests.credentials.conftest import AppOf
from tests.credentials.shapes import SHAPES, WITHOUT_APP
from tests.credentials.stored import again, keep
from tests.oauth_apps.conftest import client_of

EXPORT, IMPORT = f"{CREDENTIALS}/export", f"{CREDENTIALS}/import"
ID = "11111111-1111-4111-8111-111111111111"
ROW: dict[str, Any] = {
    "id": ID,
    "provider": "stripe",
    "kind": "stripe_key",
    "name": "Spice",
    "oauth_app_id": None,
    "metadata": {"tenant": 7},
    "properties": {"kind": "stripe_key", "secret": "sk_live_canary", "test": False},
    "created_at": "2024-02-29T12:00:00Z",
}
GOOD = {"properties": {"kind": "sendgrid_key", "secret": "SG.canary"}}


def report(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "application/json"
    assert b"canary" not in response.content
    answer: dict[str, Any] = response.json()
    return answer


def counts(response: Any) -> list[int]:
    """lines, created, updated, refused"""
    answer = report(response)
    return [answer[name] for name in ("lines", "created", "updated", "refused")]


def exported(reveal: Client) -> bytes:
    response: Any = reveal.get(EXPORT)
    return b"".join(response.streaming_content)


def refusal(response: Any) -> dict[str, Any]:
    """The one line that was refused, in the second of three."""
    answer = report(response)
    assert [answer[name] for name in ("lines", "created", "updated", "refused")] == [3, 2, 0, 1]
    (error,) = answer["errors"]
    assert error.pop("line") == 2
    return dict(error)


def between(*line: Any) -> list[Any]:
    return [GOOD, *line, {"properties": {"kind": "sendgrid_key", "secret": "SG.canary-2"}}]


# ---- who may, and what -----------------------------------------------------------------------------------------------


def test_it_needs_the_scope_write(account: Account) -> None:
    """D07"""
    assert upload(client_of(account, "read", "reveal"), ROW).status_code == 403
    assert upload(Client(), ROW).status_code == 401
    assert not Credential.objects.exists()


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-ndjson; charset=latin-1", "application/ndjson"]
)
def test_it_takes_ndjson_alone(api: Client, content_type: str) -> None:
    """D10"""
    response = upload(api, ROW, content_type=content_type)

    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
    assert not Credential.objects.exists()


def test_it_is_not_read(api: Client) -> None:
    assert [api.generic(method, IMPORT).status_code for method in ("GET", "PUT", "DELETE")] == [405] * 3


# ---- a line that is refused keeps the others from nothing ------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (json.dumps(ROW)[:-20], "invalid_json"),  # cut off
        ("canary", "invalid_json"),
        ("\xff canary", "invalid_json"),
        ("[]", "invalid_json"),
        ("null", "invalid_json"),
        ('"canary"', "invalid_json"),
        (json.dumps(ROW) + json.dumps(ROW), "invalid_json"),
        ('{"properties": NaN}', "invalid_json"),
        ('{"name": "a", "name": "b"}', "duplicate_name"),
        ("[" * 5000, "validation_failed"),
        ('{"name": "\\ud800"}', "validation_failed"),
        ('{"name": "a\\u0000"}', "validation_failed"),
        ('{"metadata": ' + "9" * 5000 + "}", "validation_failed"),
        ("{" + " " * 1_048_576 + "}", "line_too_long"),
        ({"id": ID, "error": "credential_unreadable"}, "credential_unreadable"),
    ],
)
def test_a_line_that_is_no_row_is_told_by_its_number(api: Client, line: Any, code: str) -> None:
    """D13"""
    error = refusal(upload(api, *between(line)))

    assert error["code"] == code
    assert error.get("id") == (ID if code == "credential_unreadable" else None)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"properties": None}, {"properties": ["This field may not be null."]}),
        ({"properties": {"secret": "canary"}, "kind": "stripe_keys!"}, {"properties.kind": None}),
        ({"kind": "sendgrid_key"}, {"kind": ["Contradicts properties.kind."]}),
        ({"kind": 5}, {"kind": ["Must be a string."]}),
        ({"provider": "sendgrid"}, {"provider": ["Is not the provider of stripe_key."]}),
        ({"properties": {"kind": "stripe_key"}}, {"properties.secret": ["Is required."]}),
        (
            {"properties": {"kind": "stripe_key", "secret": "*" * 11}},
            {"properties.secret": ["Is the mask that stands for the value, not a value."]},
        ),
        ({"id": ID.replace("1", "A")}, {"id": ["Must be a UUID in lower case."]}),
        ({"id": "canary"}, {"id": ["Must be a UUID in lower case."]}),
        ({"id": 5}, {"id": ["Must be a string."]}),
        ({"created_at": "2024-02-30T12:00:00Z"}, {"created_at": None}),
        ({"created_at": "2024-02-29T12:00:00"}, {"created_at": ["Must name its time zone: Z, or an offset."]}),
        ({"created_at": "2999-01-01T00:00:00Z"}, {"created_at": ["Must not lie in the future."]}),
        ({"created_at": {}}, {"created_at": None}),
        ({"metadata": []}, {"metadata": ["Must be a JSON object."]}),
        ({"health": {}}, {"health": ["Is no field here."]}),
        ({"oauth_app_id": ID}, {"oauth_app_id": ["There is no OAuth app with this id."]}),
        ({"error": "x"}, {"error": ["Is no field here."]}),
    ],
)
def test_a_row_that_was_tampered_with_is_told_by_its_number(
    api: Client, changes: dict[str, Any], refused: dict[str, Any]
) -> None:
    error = refusal(upload(api, *between(ROW | changes)))

    assert error["code"] == "validation_failed"
    assert list(error["validation_errors"]) == list(refused)
    assert [error["validation_errors"][field] for field in refused if refused[field]] == [
        *filter(None, refused.values())
    ]
    assert error.get("id") == (ID if "id" not in changes else None)
    assert not Credential.objects.filter(kind="stripe_key").exists()


def test_another_accounts_oauth_app_is_not_there(other_api: Client, linear_app: OAuthApp) -> None:
    """D01"""
    row = {"oauth_app_id": str(linear_app.pk), "properties": {"kind": "linear_oauth2", **SHAPES["linear_oauth2"]}}

    error = refusal(upload(other_api, *between(row)))

    assert error["validation_errors"] == {"oauth_app_id": ["There is no OAuth app with this id."]}


def test_only_so_many_errors_are_told(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson_import, "MOST_ERRORS", 2)

    answer = report(upload(api, "x", GOOD, "x", "x", "x"))

    assert [error["line"] for error in answer["errors"]] == [1, 3]
    assert (answer["refused"], answer["errors_left_out"]) == (4, 2)


# ---- ids -------------------------------------------------------------------------------------------------------------


def test_an_id_that_another_account_has_is_not_taken_from_it(
    api: Client, other_account: Account, other_api: Client
) -> None:
    """D01: nor is anything told of it"""
    theirs = keep(other_account, "stripe_key", None, secret="sk_live_theirs")

    answer = report(upload(api, ROW | {"id": str(theirs.pk)}))

    assert (answer["created"], answer["errors"]) == (1, [])
    (mine,) = api.get(CREDENTIALS).json()["data"]
    assert mine["id"] != str(theirs.pk)
    assert again(theirs).account == other_account
    assert again(theirs).values()["secret"] == "sk_live_theirs"


@pytest.mark.parametrize("secret", ["sk_live_new", "sk_live_first"])
def test_the_id_of_another_credential_is_refused(api: Client, account: Account, secret: str) -> None:
    """Whether the row's own account is new, or has a credential already."""
    keep(account, "stripe_key", None, secret="sk_live_first")
    second = keep(account, "stripe_key", None, secret="sk_live_second")
    row = ROW | {"id": str(second.pk), "properties": {"kind": "stripe_key", "secret": secret}}

    error = refusal(upload(api, *between(row)))

    assert error["validation_errors"] == {"id": ["Belongs to another credential."]}
    assert error["id"] == str(second.pk)
    assert set(Credential.objects.filter(kind="stripe_key").values_list("name", flat=True)) == {""}
    assert again(second).values()["secret"] == "sk_live_second"


def test_an_account_that_is_there_under_another_id_keeps_that(api: Client, account: Account) -> None:
    there = keep(account, "stripe_key", None, secret="sk_live_canary")

    assert counts(upload(api, ROW)) == [1, 0, 1, 0]
    assert (again(there).name, Credential.objects.count()) == ("Spice", 1)


def test_the_same_line_twice_is_one_credential(api: Client) -> None:
    assert counts(upload(api, ROW, ROW)) == [2, 1, 1, 0]
    assert Credential.objects.get().pk == uuid.UUID(ID)


# ---- there and back --------------------------------------------------------------------------------------------------


def test_what_was_exported_comes_back_as_it_was(reveal: Client, account: Account, app_of: AppOf) -> None:
    for kind, properties in SHAPES.items():
        oauth_app = None if kind in WITHOUT_APP else app_of(kinds.get(kind).provider.slug)
        keep(account, kind, oauth_app, **properties)
    Credential.objects.filter(kind="stripe_key").update(name="Spice\u2028", metadata={"tenant": {"ids": [7, None]}})
    before = exported(reveal)
    shown = reveal.get(CREDENTIALS).json()
    Credential.objects.all().delete()

    response = reveal.post(IMPORT, before, content_type=NDJSON)

    assert counts(response) == [len(SHAPES), len(SHAPES), 0, 0]
    back = exported(reveal)
    assert sorted(back.splitlines()) == sorted(before.splitlines())
    parts = ("id", "properties", "name", "metadata", "created_at", "oauth_app_id")
    old, new = (
        {one["id"]: {part: one[part] for part in parts} for one in page["data"]}
        for page in (shown, reveal.get(CREDENTIALS).json())
    )
    assert new == old


def test_a_second_import_changes_nothing(reveal: Client, linear: Credential, stripe_key: Credential) -> None:
    before = exported(reveal)

    assert counts(reveal.post(IMPORT, before, content_type=NDJSON)) == [2, 0, 2, 0]

    assert exported(reveal) == before
    assert secrets_of(linear) == {"access_token": "canary-access-1", "refresh_token": "canary-refresh-1"}


def test_an_older_export_does_not_undo_a_refresh(reveal: Client, linear: Credential) -> None:
    before = exported(reveal)
    body = {
        "oauth_app_id": str(linear.oauth_app_id),
        "properties": rows(reveal.get(EXPORT))[0]["properties"]
        | {"refresh_token": "canary-2", "access_token": "canary-3", "expires_at": "2027-01-01T00:00:00Z"},
    }
    assert reveal.post(CREDENTIALS, body, content_type="application/json").status_code == 200

    reveal.post(IMPORT, before, content_type=NDJSON)

    assert secrets_of(linear) == {"access_token": "canary-3", "refresh_token": "canary-2"}


def test_a_row_that_did_not_open_does_not_erase_what_is_there(reveal: Client, linear: Credential) -> None:
    """E07"""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE credentials_token SET access_token = 'x'")
    before = exported(reveal)

    answer = report(reveal.post(IMPORT, before, content_type=NDJSON))

    assert [(error["line"], error["id"], error["code"]) for error in answer["errors"]] == [
        (1, str(linear.pk), "credential_unreadable")
    ]
    assert Token.objects.get().refresh_token == "canary-refresh-1"


# ---- the body --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"", 0),
        (b"\n", 1),
        (b"\r\n \t \n\n", 3),
        (json.dumps(GOOD).encode(), 1),  # no end of the last line
        (json.dumps(GOOD).encode() + b"\r\n\r\n", 2),
        (json.dumps(GOOD).encode() + b" " * 300_000, 1),
    ],
)
def test_lines_end_as_they_end_anywhere(api: Client, body: bytes, lines: int) -> None:
    response = api.post(IMPORT, body, content_type=NDJSON, CONTENT_TYPE=NDJSON)

    assert (counts(response)[0], response.json()["errors"]) == (lines, [])


def test_a_body_may_be_longer_than_any_other(api: Client) -> None:
    """I02: the limit is that of a line"""
    padded = json.dumps(GOOD) + " " * 1_000_000

    response = upload(api, padded, padded, padded, {"properties": {"kind": "sendgrid_key", "secret": "SG.last"}})

    assert counts(response) == [4, 2, 2, 0]


def behind_gunicorn(api: Client, *, headers: str, body: bytes) -> Any:
    """The answer to a request as gunicorn reads it from a connection that the client has closed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(f"POST {IMPORT} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode() + body)
        ours.shutdown(socket.SHUT_WR)
        request = next(RequestParser(Config(), theirs, ("127.0.0.1", 1)))
        length = dict(request.headers).get("CONTENT-LENGTH", "")
        environ = {"wsgi.input": request.body, "wsgi.input_terminated": True, "CONTENT_LENGTH": length}
        return api.generic("POST", IMPORT, b"", content_type=NDJSON, **environ, CONTENT_TYPE=NDJSON)


def chunks(body: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (1, body[n : n + 1]) for n in range(len(body)))


def test_a_body_may_come_in_chunks(api: Client) -> None:
    body = f"{json.dumps(GOOD)}\n{json.dumps(ROW)}\n".encode()

    response = behind_gunicorn(api, headers="Transfer-Encoding: chunked", body=chunks(body) + b"0\r\n\r\n")

    assert counts(response) == [2, 2, 0, 0]


def test_a_body_may_tell_its_length(api: Client) -> None:
    body = f"{json.dumps(GOOD)}\n{json.dumps(ROW)}".encode()

    response = behind_gunicorn(api, headers=f"Content-Length: {len(body)}", body=body)

    assert counts(response) == [2, 2, 0, 0]


@pytest.mark.parametrize("missing", [1, len(json.dumps(ROW))])
def test_of_a_body_that_breaks_off_the_whole_lines_are_written(api: Client, missing: int) -> None:
    whole = f"{json.dumps(GOOD)}\n{json.dumps(ROW)}".encode()

    response = behind_gunicorn(api, headers=f"Content-Length: {len(whole)}", body=whole[:-missing])

    assert counts(response) == [2, 1, 0, 1]
    assert [(error["line"], error["code"]) for error in response.json()["errors"]] == [(2, "body_broken_off")]
    assert Credential.objects.get().kind == "sendgrid_key"


def test_chunks_that_break_off_write_no_half_line(api: Client) -> None:
    """The server does not hand over what it has when it notices."""
    half = f"{json.dumps(GOOD)}\n{json.dumps(ROW)[:-1]}".encode()

    response = behind_gunicorn(api, headers="Transfer-Encoding: chunked", body=chunks(half))

    assert [error["code"] for error in report(response)["errors"]] == ["body_broken_off"]
    assert not Credential.objects.filter(kind="stripe_key").exists()


class Endless(io.RawIOBase):
    """Lines that are made while they are read."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self.lines, self.sent = lines, 0

    def read(self, size: int = -1) -> bytes:
        piece = next(self.lines, b"")
        self.sent += len(piece)
        return piece


@pytest.mark.parametrize("line", [b'{"x": "%b"}\n' % (b"y" * 20_000), b"z" * 65_536])
@pytest.mark.usefixtures("collecting_as_a_server")
def test_its_memory_does_not_grow_with_the_body(account: Account, line: bytes) -> None:
    """Whether the lines are many, or one line does not end."""
    times = 20_000_000 // len(line)
    body = Endless(line for _ in range(times))
    ndjson_import.import_lines(account, Endless(iter([line])))  # what is loaded once is loaded
    tracemalloc.start()
    try:
        answer = ndjson_import.import_lines(account, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answer["refused"] == (1 if line.startswith(b"z") else times)
    assert (body.sent > 19_000_000, peak < 5_000_000) == (True, True), peak


def test_the_path_of_one_credential_is_none_of_these(api: Client) -> None:
    assert [api.get(path(name)).status_code for name in ("exports", "imports")] == [404, 404]
