"""What every answer of `/v1` has in common, tried on views that do next to nothing."""

import json
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
import structlog
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.handlers.wsgi import WSGIHandler
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.test import Client, RequestFactory
from django.urls import path
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from sequin_auth.lib.api import PROPERTY_MASK, SECRET_MASK, client_address, errors
from sequin_auth.lib.api.errors import Conflict, Invalid, TooManyRequests, Unauthorized, reasons, wants_json
from sequin_auth.lib.api.pagination import make_cursor, read_cursor, seal, unseal
from sequin_auth.lib.api.parsing import MAX_BYTES, parse_json
from sequin_auth.lib.api.paths import with_and_without_slash as both
from sequin_auth.lib.api.requests import loggable_path, with_readable_content_type
from sequin_auth.lib.api.views import ApiView, body, read_flag
from sequin_auth.lib.logs import JsonFormatter

pytestmark = pytest.mark.urls(__name__)


class Open(ApiView):
    authentication_classes = ()
    permission_classes = ()


class Echo(Open):
    query_parameters = {"GET": ("flag",), "POST": ("flag",)}

    def get(self, request: Request) -> Response:
        return Response({"flag": read_flag(request, "flag")})

    def post(self, request: Request) -> Response:
        return Response(body(request))


class Raise(Open):
    problem: Exception = Exception()

    def get(self, request: Request) -> Response:
        raise self.problem


class Context(Open):
    def get(self, request: Request) -> Response:
        return Response(structlog.contextvars.get_contextvars())


def outside_of_the_api(request: HttpRequest, **_: Any) -> HttpResponse:
    raise Raise.problem


urlpatterns = [
    *both("v1/echo", Echo.as_view(), name="echo"),
    path("v1/raise", Raise.as_view()),
    path("v1/context", Context.as_view()),
    path("link/oauth2/token", outside_of_the_api),
    path("link/oauth2/start/<token>", outside_of_the_api),
    path("page", outside_of_the_api),
]
handler400 = errors.bad_request
handler403 = errors.permission_denied
handler404 = errors.page_not_found
handler500 = errors.server_error


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    return lambda problem: monkeypatch.setattr(Raise, "problem", problem)


def post(client: Client, content: bytes | str, content_type: str = "application/json") -> Any:
    return client.generic("POST", "/v1/echo", content, content_type=content_type)


def envelope(response: Any) -> tuple[int, str, str]:
    """Status, code and summary; everything else about an error is the same for all of them."""
    answer = response.json()
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    assert answer["request_id"] == response["X-Request-Id"]
    assert set(answer) <= {"summary", "code", "request_id", "validation_errors", "error", "error_description"}
    return response.status_code, answer["code"], answer["summary"]


# ---- reading JSON -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "empty_body"),
        (b"{", 400, "invalid_json"),
        (b"\xff\xfe{}", 400, "invalid_json"),
        (b"\xef\xbb\xbf{}", 400, "invalid_json"),
        (b'{"a": "\xe4"}', 400, "invalid_json"),
        ('{"a": 1}'.encode("utf-16"), 400, "invalid_json"),
        (b'{"a": NaN}', 400, "invalid_json"),
        (b'{"a": -Infinity}', 400, "invalid_json"),
        (b'{"a": "\x01"}', 400, "invalid_json"),
        (b"{} {}", 400, "invalid_json"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', 422, "duplicate_name"),
        (b'{"a": 1e999}', 422, "validation_failed"),
        (b'{"a": ' + b"9" * 311 + b"}", 422, "validation_failed"),
        (b'{"a": ' + b"9" * 5_000 + b"}", 422, "validation_failed"),
        (b'{"a": 0.' + b"9" * 5_000 + b"}", 422, "validation_failed"),
        (b'{"a": "\\u0000"}', 422, "validation_failed"),
        (b'{"a": {"\\u0000": 1}}', 422, "validation_failed"),
        (b'{"a": "\\ud800"}', 422, "validation_failed"),
        (b'{"\\udfff": 1}', 422, "validation_failed"),
        (b'{"\\u0000": 1}', 422, "validation_failed"),
        (b"[]", 422, "validation_failed"),
        (b"null", 422, "validation_failed"),
        (b'"a"', 422, "validation_failed"),
        (b"[" * 5_000, 422, "validation_failed"),
        (b'{"a":' * 200_000, 422, "validation_failed"),
        (b'{"a": ' + b"[" * 33 + b"]" * 33 + b"}", 422, "validation_failed"),
        (b'"' + b"a" * MAX_BYTES + b'"', 413, "body_too_large"),
    ],
)
def test_it_refuses_what_is_not_quite_json(client: Client, content: bytes, status: int, code: str) -> None:
    """D13, I02, I03"""
    assert envelope(post(client, content))[:2] == (status, code)


@pytest.mark.parametrize(
    "content",
    [
        '{"a": ' + "[" * 32 + "]" * 32 + "}",
        '{"a": 1.7976931348623157e308, "b": -0.5, "c": 1e-400, "d": [true, false, null], "e": {}}',
        '{"a": ' + "9" * 310 + "}",
        '{"a": "\\ud83d\\ude00 \\u0001 \\u2028"}',
        '{"a": "' + "x" * (MAX_BYTES - 9) + '"}',
    ],
)
def test_it_reads_json(client: Client, content: str) -> None:
    response = post(client, content)

    assert response.status_code == 200
    assert response.json() == json.loads(content)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/*",
        "*/*",
        "application/jsonp",
        "application/json; charset=bogus",
        "application/json; charset=utf-16",
        "application/json; charset=rot13",
        "application/json; charset*=utf-8''%FF",
        "application/json" + " " * 300,
        ";;;",
    ],
)
def test_it_takes_nothing_but_json(client: Client, content_type: str) -> None:
    """D10"""
    response = post(client, '{"a": 1}', content_type)

    assert envelope(response)[:2] == (415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", 'Application/JSON;Charset="UTF-8"'])
def test_utf_8_may_be_named(client: Client, content_type: str) -> None:
    assert post(client, '{"a": "ä"}', content_type).json() == {"a": "ä"}


def test_no_charset_changes_how_a_query_is_read(client: Client) -> None:
    response = client.generic("GET", "/v1/echo?flag=%C3%A9", b" ", "text/plain; charset=iso-8859-1")

    assert response.wsgi_request.GET["flag"] == "é"


def over_wsgi(content_type: str) -> tuple[str, Any]:
    """Status and JSON of a POST, by the road that a server takes."""
    environ = RequestFactory().post("/v1/echo?flag=true", "{}", content_type="application/json").environ
    environ |= {"CONTENT_TYPE": content_type, "wsgi.input": BytesIO(b"{}")}
    started: list[str] = []

    application = with_readable_content_type(WSGIHandler())
    content = b"".join(application(environ, lambda status, headers: started.append(status)))

    return started[0], json.loads(content)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset*=bogus''x",
        "a/b; charset*0*=bogus''x; charset*1=y",
        "application/json; charset=rot13",
        "application/json; charset=undefined",
        "application/json; charset=idna",
        "application/json; charset=utf-16",
        "application/json; charset=\xff",
        "text/plain",
    ],
)
def test_no_content_type_breaks_the_server(content_type: str) -> None:
    """D10: Django reads it before any middleware does."""
    status, answer = over_wsgi(content_type)

    assert (status, answer["code"]) == ("415 Unsupported Media Type", "unsupported_media_type")


@pytest.mark.django_db
def test_a_usual_content_type_comes_through() -> None:
    status, answer = over_wsgi('application/json; charset="UTF-8"')

    assert (status, answer) == ("200 OK", {})


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:0-9eE+.\\ud8\x00n', max_size=60).map(str.encode))
def test_bytes_are_json_or_refused(data: bytes) -> None:
    try:
        value = parse_json(data)
    except errors.ApiError:
        return

    written = json.dumps(value, allow_nan=False)
    assert parse_json(written.encode()) == value
    assert "\\u0000" not in written


# ---- saying no ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "status", "code"),
    [
        (Http404("secret"), 404, "not_found"),
        (PermissionDenied("secret"), 403, "forbidden"),
        (SuspiciousOperation("secret"), 400, "bad_request"),
        (UnreadablePostError("secret"), 400, "bad_request"),
        (exceptions.NotFound("secret"), 404, "not_found"),
        (exceptions.UnsupportedMediaType("secret"), 415, "unsupported_media_type"),
        (exceptions.ParseError("secret"), 400, "bad_request"),
        (OperationalError("secret"), 503, "unavailable"),
        (InterfaceError("secret"), 503, "unavailable"),
        (Conflict("Taken.", code="taken"), 409, "taken"),
    ],
)
def test_every_refusal_has_the_envelope(
    client: Client, raising: Callable[[Exception], None], problem: Exception, status: int, code: str
) -> None:
    raising(problem)

    response = client.get("/v1/raise")

    assert envelope(response)[:2] == (status, code)
    assert b"secret" not in response.content


@pytest.mark.parametrize(
    ("problem", "name", "value"),
    [
        (TooManyRequests(retry_after=2.1), "Retry-After", "3"),
        (TooManyRequests(retry_after=0), "Retry-After", "1"),
        (exceptions.Throttled(wait=7), "Retry-After", "7"),
        (OperationalError(), "Retry-After", "5"),
        (Unauthorized(), "WWW-Authenticate", "Bearer"),
    ],
)
def test_some_refusals_say_more_in_a_header(
    client: Client, raising: Callable[[Exception], None], problem: Exception, name: str, value: str
) -> None:
    raising(problem)

    assert client.get("/v1/raise")[name] == value


def test_what_nobody_foresaw_says_nothing(raising: Callable[[Exception], None]) -> None:
    """E03"""
    raising(RuntimeError("a secret"))
    client = Client(raise_request_exception=False)

    answers = [client.get(path) for path in ("/v1/raise", "/link/oauth2/token", "/page")]

    assert envelope(answers[0])[:2] == (500, "internal_error")
    assert envelope(answers[1])[:2] == (500, "internal_error")
    assert answers[1].json()["error"] == "server_error"
    assert answers[1].json()["error_description"] == answers[1].json()["summary"]
    assert (answers[2].status_code, answers[2]["Content-Type"]) == (500, "text/html; charset=utf-8")
    assert b"secret" not in b"".join(answer.content for answer in answers)


def test_a_database_that_is_away_is_503_everywhere(raising: Callable[[Exception], None]) -> None:
    """G13"""
    raising(OperationalError("a secret"))
    client = Client(raise_request_exception=False)

    answers = [client.get(path) for path in ("/v1/raise", "/link/oauth2/token", "/page")]

    assert [(answer.status_code, answer["Retry-After"]) for answer in answers] == [(503, "5")] * 3
    assert answers[1].json()["error"] == "temporarily_unavailable"
    assert answers[2]["Content-Type"] == "text/html; charset=utf-8"
    assert b"secret" not in b"".join(answer.content for answer in answers)


@pytest.mark.parametrize(
    ("where", "is_json"),
    [
        ("/v1", True),
        ("/v1/nothing", True),
        ("/link/oauth2/token/x", True),
        ("/link/oauth2/revoke/", True),
        ("/.well-known/nothing", True),
        ("/v11", False),
        ("/link/oauth2/tokens", False),
        ("/link/oauth2/start/x/y", False),
        ("/", False),
    ],
)
def test_programs_get_json_and_people_get_pages(client: Client, where: str, is_json: bool) -> None:
    response = client.get(where, headers={"Accept": "text/html"})

    assert wants_json(where) is is_json
    assert response.status_code == 404
    assert response["Content-Type"] == ("application/json" if is_json else "text/html; charset=utf-8")


def test_an_unknown_host_is_refused_in_json(client: Client) -> None:
    """A20"""
    assert envelope(client.get("/v1/echo", headers={"Host": "evil.example"}))[:2] == (400, "bad_request")
    assert client.get("/page", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("accept", ["text/html", "application/xml;q=1", "application/json; indent=8", "\xff", ";;;"])
def test_accept_changes_nothing(client: Client, accept: str) -> None:
    """H13"""
    response = client.get("/v1/echo", {}, headers={"Accept": accept})

    assert (response.status_code, response.content) == (200, b'{"flag":false}')
    assert response["Content-Type"] == "application/json"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_an_unknown_method_is_refused(client: Client, method: str) -> None:
    """D09, H10"""
    response = client.generic(method, "/v1/echo", headers={"Origin": "https://evil.example"})

    assert envelope(response)[:2] == (405, "method_not_allowed")
    assert response["Allow"] == "GET, POST, HEAD"
    assert not [name for name in response.headers if name.startswith("Access-Control-")]


@pytest.mark.parametrize(
    ("query", "named"),
    [("flg=true", "flg"), ("flag=true&flag=true", "flag"), ("flag=1", "flag"), ("flag=%00", "flag"), ("%00=1", "body")],
)
def test_it_refuses_an_unclear_query(client: Client, query: str, named: str) -> None:
    response = client.get(f"/v1/echo?{query}")

    assert envelope(response)[:2] == (422, "validation_failed")
    assert list(response.json()["validation_errors"]) == [named]


def test_reasons_are_flat() -> None:
    tree: Any = {"a": ["x", "y"], "b": {2: ["z"], "c": "w"}, "d": [{}, {"e": ["v"]}], "non_field_errors": ["u"]}
    detail = serializers.ValidationError(tree).detail

    assert reasons(detail) == {"a": ["x", "y"], "b.2": ["z"], "b.c": ["w"], "d.1.e": ["v"], "body": ["u"]}
    assert Invalid({"<b>": ["x"], "a b": ["y"]}).errors == {"body": ["x", "y"]}


def test_masks_do_not_tell_lengths() -> None:
    assert (SECRET_MASK, PROPERTY_MASK) == ("**********", "***********")


# ---- the log ------------------------------------------------------------------------------------------------------


Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture) -> Lines:
    """The lines as they come out, each once."""
    caplog.set_level("INFO", "sequin_auth.request")

    def lines() -> list[dict[str, Any]]:
        found = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
        caplog.clear()
        return [line for line in found if line["logger"] == "sequin_auth.request"]

    return lines


def test_each_request_has_an_id_and_one_line(client: Client, written: Lines) -> None:
    response = client.get("/v1/echo?flag=true&canary=canary", headers={"Authorization": "Bearer canary"})

    assert str(uuid.UUID(response["X-Request-Id"])) == response["X-Request-Id"]
    (line,) = written()
    assert line.pop("ms") >= 0
    assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{6}Z", line.pop("timestamp"))
    assert line == {
        "event": "request",
        "logger": "sequin_auth.request",
        "level": "info",
        "request_id": response["X-Request-Id"],
        "method": "GET",
        "path": "/v1/echo",
        "route": "v1/echo",
        "status": 422,
        "client": "127.0.0.1",
    }


@pytest.mark.parametrize("path", ["/v1/echo", f"/v1/credentials/{uuid.UUID(int=7)}", "/link/oauth2/start/canary"])
def test_a_line_that_is_written_the_short_way_is_no_other(
    written: Lines, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Nor is it if all of its path is shown as a secret, too"""
    client = Client(raise_request_exception=False)
    secret = {"authorization": "Bearer /link/oauth2/start/"}
    client.get(path, {"state": path, "code": "credentials"}, headers=secret)
    (short,) = written()

    monkeypatch.setattr("sequin_auth.lib.api.requests.is_plain_path", lambda _: False)
    client.get(path, {"state": path, "code": "credentials"}, headers=secret)

    (long,) = written()
    assert list(short) == list(long)
    differing = ("request_id", "ms", "timestamp")
    assert [short[name] for name in short if name not in differing] == [
        long[name] for name in long if name not in differing
    ]


def test_what_may_be_a_secret_is_not_written_the_short_way(client: Client, written: Lines) -> None:
    client.get("/v1/credentials/Canary-0123", QUERY_STRING="state=Canary-0123")

    assert [line["path"] for line in written()] == ["/v1/credentials/…"]


def test_what_is_logged_on_the_way_has_the_id_too(client: Client) -> None:
    response = client.get("/v1/context")

    assert response.json() == {"request_id": response["X-Request-Id"]}
    assert structlog.contextvars.get_contextvars() == {}


def test_no_line_holds_the_token_of_a_start_link(raising: Callable[[Exception], None], written: Lines) -> None:
    """E02"""
    raising(RuntimeError())
    client = Client(raise_request_exception=False)

    client.get("/link/oauth2/start/canary")
    client.get("/link/oauth2/start/canary/canary%0Acanary")

    lines = written()
    assert [line["path"] for line in lines] == ["/link/oauth2/start/…", "/link/oauth2/…"]
    assert lines[0]["route"] == "link/oauth2/start/<token>"
    assert "canary" not in json.dumps(lines)


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/v1/credentials/sqa_canary0123", "/v1/credentials/…"),
        ("/v1/sqa_canary0123", "/v1/sqa_…"),
        ("/sqa_canary0123", "/sqa_…"),
        ("//link/oauth2/start/canary", "/link/oauth2/…"),
        ("/link/oauth2//start/canary", "/link/oauth2/…"),
        ("/start/" + "canary-" * 6, "/start/…"),
        ("/link/oauth2/callback/stripe%3Fcode=canary", "/link/oauth2/…"),
        ("/link/oauth2/callback/stripe;code=canary", "/link/oauth2/…"),
        ("/link/oauth2/callback/stripe&code=canary", "/link/oauth2/…"),
        ("/link/oauth2/callback/stripe/code=canary", "/link/oauth2/…"),
        ("/callback%3Fcode=canary", "/callback…"),
        ("/callback;code=canary", "/callback…"),
        ("/callback/code=canary", "/callback/code…"),
        ("/v1/nosuch", "/v1/nosuch"),
    ],
)
def test_of_a_path_that_leads_nowhere_there_is_the_beginning_alone(path: str, logged: str) -> None:
    """What it holds, nobody has used yet"""
    with structlog.testing.capture_logs() as lines:
        Client().generic("GET", "http://testserver" + path if path.startswith("//") else path)

    assert [line["path"] for line in lines] == [logged]
    assert "canary" not in json.dumps(lines)


def test_no_path_holds_an_api_token_wherever_it_leads() -> None:
    """The console catches all that begins with /admin/"""
    assert loggable_path("/admin/sqa_canary0123/change/") == "/admin/sqa_…/change/"


def test_a_logged_path_has_an_end() -> None:
    assert loggable_path("/" + "x" * 9000) == "/" + "x" * 499


# ---- the client's address -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "forwarded", "expected"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # whoever it is, it is no proxy of ours
        ("10.1.2.3", "198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", "192.0.2.66, 198.51.100.1", "198.51.100.1"),  # the first was made up
        ("10.1.2.3", "192.0.2.66, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("10.1.2.3", "198.51.100.1:4711", "198.51.100.1"),
        ("10.1.2.3", "[2001:db8::7]:4711", "2001:db8::7"),
        ("10.1.2.3", "2001:DB8:0::7", "2001:db8::7"),
        ("::ffff:10.1.2.3", "::ffff:198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", "fe80::1%" + "x" * 60, "fe80::1"),
        ("10.1.2.3", "::ffff:198.51.100.1%x", "198.51.100.1"),
        ("10.1.2.3", "198.51.100.1%x", "10.1.2.3"),
        ("fe80::7%eth0", "198.51.100.1", "fe80::7"),
        ("10.1.2.3", "198.51.100.1, unknown", "10.1.2.3"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("2001:db8:1::1", "198.51.100.1", "198.51.100.1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_only_our_proxies_are_believed(settings: Settings, remote: str, forwarded: str, expected: str) -> None:
    """A20, H01"""
    settings.TRUSTED_PROXIES = ["10.0.0.0/8", "2001:db8:1::1"]
    request = RequestFactory().get("/", REMOTE_ADDR=remote, HTTP_X_FORWARDED_FOR=forwarded)

    assert client_address(request) == expected


def test_nobody_is_believed_by_default(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = []
    request = RequestFactory().get("/", REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="198.51.100.1")

    assert client_address(request) == "127.0.0.1"


# ---- cursors ------------------------------------------------------------------------------------------------------


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_reads_as_it_was_made(created_at: datetime, row_id: uuid.UUID) -> None:
    assert read_cursor(make_cursor(created_at, row_id)) == (created_at, row_id)


@given(st.text(max_size=80) | st.binary(max_size=40).map(lambda raw: seal(raw)[:-1]))
def test_an_invented_cursor_is_refused(text: str) -> None:
    """D11"""
    with pytest.raises(Invalid):
        read_cursor(text)


@given(st.integers(min_value=0), st.sampled_from("AQgw-_=. ä\n"))
def test_a_tampered_cursor_is_refused(place: int, character: str) -> None:
    """D11"""
    cursor = make_cursor(datetime(2026, 11, 22, tzinfo=UTC), uuid.UUID(int=7))
    place %= len(cursor) + 1
    for tampered in {cursor[:place] + character + cursor[place:], cursor[:place] + character + cursor[place + 1 :]}:
        if tampered != cursor:
            with pytest.raises(Invalid):
                read_cursor(tampered)


def test_a_cursor_of_another_sort_is_refused() -> None:
    assert unseal(seal(b"stripe")) == b"stripe"
    with pytest.raises(Invalid):
        read_cursor(seal(b"stripe"))
