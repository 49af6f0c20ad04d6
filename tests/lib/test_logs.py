"""What a log line holds, and what it never does (E02)."""

import ast
import base64
import io
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import structlog
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.views.debug import ExceptionReporter, technical_500_response
from pytest_django import Settings

from oauth_apps.models import OAuthApp
from providers.answers import read_document
from sequin_auth.lib import http, logs, redaction
from sequin_auth.lib.api import RequestLogMiddleware
from sequin_auth.lib.encryption import digest
from tests.real.canaries import spellings

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("sequin_auth", "providers", "oauth_apps", "credentials", "syncs")

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What has been logged since the last look."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    logging.getLogger().addHandler(handler)

    def look() -> list[dict[str, Any]]:
        written = [json.loads(line) for line in stream.getvalue().splitlines()]
        stream.truncate(0)
        stream.seek(0)
        return written

    yield look
    logging.getLogger().removeHandler(handler)


def test_a_field_that_is_not_known_is_left_out_and_missed(lines: Lines) -> None:
    structlog.get_logger("link").info("arrived", provider="stripe", code="canary", access_token="canary")

    (line,) = lines()
    assert (line["event"], line["provider"], line["logger"], line["level"]) == ("arrived", "stripe", "link", "info")
    assert line["left_out"] == ["access_token", "code"]
    assert "canary" not in json.dumps(line)


def test_every_field_that_we_log_is_known() -> None:
    logged: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("log.", "self.log.")):
                    logged |= {keyword.arg for keyword in node.keywords if keyword.arg}

    assert "oauth_app" in logged
    assert logged <= logs.FIELDS


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("GET /link/oauth2/callback/stripe?code=canary&state=canary", "GET /link/oauth2/callback/stripe?…"),
        ("Not Found: /link/oauth2/start/canary", "Not Found: /link/oauth2/start/…"),
        ("Not Found: /link/oauth2/start/canary?x=canary", "Not Found: /link/oauth2/start/…?…"),
        ("Internal Server Error: //link/oauth2//start/canary", "Internal Server Error: //link/oauth2//start/…"),
        ("Internal Server Error: /callback/stripe;code=canary", "Internal Server Error: /callback/stripe;code=…"),
        ("bad token sqa_canary0123", "bad token sqa_…"),
        ("{'Authorization': 'Bearer canary'}", "{'Authorization': 'Bearer …'}"),
        ("authorization: basic canary", "authorization: basic …"),
        ("Invalid request from ip=192.0.2.1: canary\r\ncanary", "Invalid request from ip=192.0.2.1"),
        ("code=canary&state=canary&scope=read", "code=…&state=…&scope=read"),
        ("POST grant_type=x&client_secret=canary&redirect_uri=y", "POST grant_type=x&client_secret=…&redirect_uri=y"),
        ("access_token=canary refresh_token=canary.canary", "access_token=… refresh_token=…"),
        ('password="canary canary" host=db', "password=… host=db"),
        ('{"access_token": "can\\"ary", "expires_in": 3600}', '{"access_token": "…", "expires_in": 3600}'),
        ("{'id_token': 'canary', 'scope': 'read'}", "{'id_token': '…', 'scope': 'read'}"),
        ("{'code_verifier': b'canary', 'state':'canary'}", "{'code_verifier': b'…', 'state':'…'}"),
        ("[('client_secret', 'canary'), ('code', 'canary')]", "[('client_secret', '…'), ('code', '…')]"),
        (r"'{\"api_key\": \"canary\", \"a\": 1}'", r"'{\"api_key\": \"…\", \"a\": 1}'"),
        ("Cookie: sessionid=canary; other=canary", "Cookie: …"),
        ("Set-Cookie: sessionid=canary; Path=/", "Set-Cookie: …"),
        ("Authorization: Custom canary canary", "Authorization: …"),
        ("authorization: DPoP canary", "authorization: DPoP …"),
        ("x-api-key: canary-0123", "x-api-key: …"),
        ("postgresql://sequin:canary@db.internal/auth", "postgresql://sequin:…@db.internal/auth"),
    ],
)
def test_the_text_of_a_library_is_cut(text: str, written: str, lines: Lines) -> None:
    logging.getLogger("library").warning("%s", text)

    assert [line["event"] for line in lines()] == [written]


@pytest.mark.parametrize(
    "text",
    [
        "Listening at: http://127.0.0.1:8000 (17)",
        "Worker (pid:18) exited with code 3",
        "Job purge_job[12](timestamp=1793044800) ended with status: Success, lasted 0.012 s",
        'relation "credentials_token" does not exist',
        "Starting worker on all queues: state is waiting, secret: none",
        "Got request: {'status': 200, 'token_type': 'Bearer'}",
        "It's 8 o'clock; the password: a word that nobody has to keep",
    ],
)
def test_an_ordinary_line_stays_as_it_is(text: str, lines: Lines) -> None:
    redaction.learn("a-secret-that-is-known")
    logging.getLogger("library").warning("%s", text)

    assert [line["event"] for line in lines()] == [text]


# ---- what this process knows -------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    redaction.begin()
    yield
    redaction.forget()


AWKWARD = 'pass/+word %é "quoted" \\'


@pytest.mark.parametrize("secret", ["canary-of-this-request", AWKWARD])
@pytest.mark.parametrize(
    "spell",
    [
        str,
        lambda secret: quote(secret, safe=""),
        quote_plus,
        lambda secret: json.dumps({"a": secret}),
        lambda secret: json.dumps({"a": secret}, ensure_ascii=False),
        lambda secret: repr(["before", secret]),
        lambda secret: base64.b64encode(b"id:" + secret.encode()).decode(),
        lambda secret: base64.urlsafe_b64encode(b"ab" + secret.encode() + b"cd").decode(),
    ],
)
def test_what_is_known_is_cut_however_it_is_spelled(secret: str, spell: Callable[[str], str], lines: Lines) -> None:
    redaction.learn(secret)
    logging.getLogger("library").warning("It is %s, see", spell(secret))

    (line,) = lines()
    assert line["event"].startswith("It is ")
    assert line["event"].endswith(", see")
    assert [spelling for spelling in spellings(secret) if spelling.decode() in line["event"]] == []


def test_the_longer_of_two_secrets_is_cut_whole(lines: Lines) -> None:
    redaction.learn("a-refresh-token")
    redaction.learn("a-refresh-token-and-its-end")
    logging.getLogger("library").warning("got a-refresh-token-and-its-end")

    assert [line["event"] for line in lines()] == ["got …"]


def test_what_is_known_is_cut_from_lines_of_our_own(lines: Lines) -> None:
    redaction.learn("canary-0123456789")
    log = structlog.get_logger("ours")
    log.info("got canary-0123456789", path="/back/canary-0123456789", reason="canary-0123456789")
    try:
        raise LookupError
    except LookupError:
        log.exception("failed", reason=type("canary-0123456789", (), {}).__name__)

    first, second = lines()
    assert (first["event"], first["path"], first["reason"]) == ("got …", "/back/…", "…")
    assert second["reason"] == "…"
    assert "canary" not in json.dumps([first, second]).replace(__file__, "").replace('type(\\"canary-0123456789\\"', "")


def test_nobody_blots_out_what_tells_of_him(lines: Lines) -> None:
    """A stranger chooses his `state`, and it may be a word or an id that our lines hold."""
    account = "8ff58ef0-3b0c-4d7c-9a55-0c4a7d1b6f10"
    for chosen in ("access_token_read", account, "sequin_auth.request", "127.0.0.1"):
        redaction.learn(chosen)
    structlog.get_logger("sequin_auth.request").info("access_token_read", account=account, client="127.0.0.1")

    (line,) = lines()
    assert (line["event"], line["account"], line["client"]) == ("access_token_read", account, "127.0.0.1")
    assert line["logger"] == "sequin_auth.request"


@pytest.mark.parametrize("path", ["/v1/nosuch", "/v1/oauth-apps", "/v1/openapi.json", "/link/oauth2/callback/stripe"])
@pytest.mark.parametrize("show", ["bearer", "state"])
def test_nobody_blots_out_his_path(path: str, show: str, rf: RequestFactory, lines: Lines) -> None:
    query, headers = ({"state": path}, {}) if show == "state" else ({}, {"Authorization": f"Bearer {path}"})

    RequestLogMiddleware(lambda request: HttpResponse())(rf.get(path, query, headers=headers)).close()

    assert [line["path"] for line in lines()] in ([path], ["/link/oauth2/…"])


def test_an_id_in_a_path_stays_and_a_secret_goes(lines: Lines) -> None:
    account, secret = "8ff58ef0-3b0c-4d7c-9a55-0c4a7d1b6f10", "4/0AfJohXn-canary-0123456789"
    for chosen in (account, secret):
        redaction.learn(chosen)
    log = structlog.get_logger("sequin_auth.request")
    log.info("request", path=f"/v1/credentials/{account}")
    log.info("request", path=f"/sandbox/google/{secret}")

    assert [line["path"] for line in lines()] == [f"/v1/credentials/{account}", "/sandbox/google/…/…"]


def test_no_character_ends_a_line_or_speaks_to_a_terminal(lines: Lines) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    logging.getLogger().addHandler(handler)
    path = "/a\x00\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066\ud800\u00e9"
    structlog.get_logger("sequin_auth.request").info("request", path=path)
    logging.getLogger().removeHandler(handler)

    assert [line["path"] for line in lines()] == [path]
    written = stream.getvalue().removesuffix("\n")
    assert written.isprintable()
    assert "\u00e9" in written


def test_what_is_short_is_no_secret(lines: Lines) -> None:
    redaction.learn("abc")
    redaction.learn("")
    redaction.learn(None)
    logging.getLogger("library").warning("abcdef")

    assert [line["event"] for line in lines()] == ["abcdef"]


def test_the_keys_and_the_password_of_the_settings_are_known(lines: Lines, settings: Settings) -> None:
    old = base64.b64encode(bytes(range(100, 132))).decode()
    settings.ENCRYPTION_KEYS = f"{settings.ENCRYPTION_KEYS},old:{old}"
    settings.DATABASES = {"default": settings.DATABASES["default"] | {"PASSWORD": "of/the database"}}
    keys = [entry.partition(":")[2] for entry in settings.ENCRYPTION_KEYS.split(",")]
    secrets = [settings.SECRET_KEY, *keys, bytes(range(100, 132)).hex(), "of/the database", "of%2Fthe%20database"]
    redaction.forget()
    for secret in secrets:
        logging.getLogger("library").warning("here: %s.", secret)

    assert [line["event"] for line in lines()] == ["here: …."] * len(secrets)


def test_a_line_is_written_though_the_settings_cannot_be_read(
    lines: Lines, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(settings, "ENCRYPTION_KEYS")
    logging.getLogger("library").warning("written")

    assert [line["event"] for line in lines()] == ["written"]


def test_a_document_s_secrets_are_known_by_their_names(lines: Lines) -> None:
    redaction.learn_from(
        {
            "code": "code-1234567",
            "properties": {"Refresh-Token": "refresh-1234567", "scope": "scope-1234567", "password": "pass-1234567"},
            "private_key": {"d": "part-of-a-key", "n": 5},
            "list": [{"client_secret": "secret-1234567"}],
        }
    )
    logging.getLogger("library").warning(
        "%s", "code-1234567 refresh-1234567 scope-1234567 pass-1234567 part-of-a-key secret-1234567"
    )

    assert [line["event"] for line in lines()] == ["… … scope-1234567 … … …"]


def test_the_secrets_inside_a_sealed_document_are_known(lines: Lines) -> None:
    sealed = {"access_token": "access-1234567", "key": {"d": "part-of-a-key"}, "scope": "read:everything"}
    redaction.learn(json.dumps(sealed))
    logging.getLogger("library").warning("%s", "access-1234567 part-of-a-key read:everything")

    assert [line["event"] for line in lines()] == ["… … read:everything"]


def test_what_a_sealed_field_opens_or_closes_is_known(stripe_app: OAuthApp, lines: Lines) -> None:
    for _ in "on assigning it", "on reading it":
        logging.getLogger("library").warning("canary-client-secret")
        redaction.begin()
        assert OAuthApp.objects.get(pk=stripe_app.pk).client_secret == "canary-client-secret"

    assert [line["event"] for line in lines()] == ["…", "…"]


def test_what_is_found_by_its_hash_is_known(lines: Lines) -> None:
    digest("a-state-of-ours")
    logging.getLogger("library").warning("a-state-of-ours")

    assert [line["event"] for line in lines()] == ["…"]


def test_what_a_request_shows_is_known_while_it_lasts(rf: RequestFactory, lines: Lines, db: None) -> None:
    library = logging.getLogger("library")
    shown = "basic-pair-0123 the%2Fcode the/code a-state-0123 https://example.com/"

    def view(request: HttpRequest) -> HttpResponse:
        library.warning("%s", shown)
        return HttpResponse()

    request = rf.get(
        "/back?code=the%2Fcode&state=a-state-0123&redirect_uri=https://example.com/",
        headers={"Authorization": "Basic basic-pair-0123"},
    )
    RequestLogMiddleware(view)(request).close()
    library.warning("%s", "a-state-0123")

    during, _, after = (line["event"] for line in lines())
    assert during == "… … … … https://example.com/"
    assert after == "a-state-0123"  # nothing is kept for the sake of the log


def test_what_a_provider_is_sent_and_answers_is_known(lines: Lines) -> None:
    with pytest.raises(http.EgressBlocked):
        http.request("POST", "http://127.0.0.1:1/", form={"refresh_token": "rt-0123456"})
    answer = http.Response(200, {"content-type": "application/json"}, b'{"id_token": "it-0123456", "code": "an_error"}')
    read_document(answer)
    logging.getLogger("library").warning("rt-0123456 it-0123456 an_error")

    assert [line["event"] for line in lines()] == ["… … an_error"]


def test_no_more_is_remembered_than_a_request_can_need(lines: Lines) -> None:
    for number in range(10 * redaction.MOST):
        redaction.learn(f"secret-number-{number:05}")

    assert len(redaction.known.get() or ()) == redaction.MOST
    logging.getLogger("library").warning("secret-number-%05d", 10 * redaction.MOST - 1)
    assert [line["event"] for line in lines()] == ["…"]


def test_a_thread_learns_for_itself(lines: Lines) -> None:
    def work() -> None:
        redaction.learn("known-to-the-thread")
        logging.getLogger("library").warning("known-to-the-thread")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()
    logging.getLogger("library").warning("known-to-the-thread")

    assert [line["event"] for line in lines()] == ["…", "known-to-the-thread"]


# ---- exceptions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_report_of_django_s_has_no_value(accept: str, rf: RequestFactory, settings: Settings) -> None:
    """What DEBUG shows in the browser."""
    settings.DEBUG = True
    request = rf.post("/x?code=canary", {"a": "canary"}, headers={"Accept": accept, "Cookie": "a=canary"})
    try:
        local = "canary"
        int(local)
    except ValueError as exc:
        answer = technical_500_response(request, type(exc), exc, exc.__traceback__)

    text = answer.content.decode()
    assert "ValueError" in text
    assert "int(local)" in text
    assert [word for word in ("canary-", "invalid literal", "SECRET_KEY", "a=", "code=") if word in text] == []


def test_another_reporter_is_given_nothing_either(rf: RequestFactory) -> None:
    try:
        local = "canary"
        int(local)
    except ValueError as exc:
        reporter = ExceptionReporter(rf.post("/x", {"a": "canary"}), type(exc), exc, exc.__traceback__)
        data = reporter.get_traceback_data()

    assert (data["settings"], list(data["filtered_POST_items"]), data["request_meta"]) == ({}, [], {})
    assert [frame["vars"] for frame in data["frames"]] == [[]]


def test_an_exception_is_told_without_its_message(lines: Lines) -> None:
    def fail() -> None:
        try:
            int("canary-1")
        except ValueError as exc:
            raise KeyError("canary-2") from exc

    for log in (logging.getLogger("library").exception, structlog.get_logger("ours").exception):
        try:
            fail()
        except KeyError:
            log("failed")

    first, second = lines()
    for line in (first, second):
        assert line["exception"].endswith("\nKeyError")
        assert "\nValueError\n\nand from it\n" in line["exception"]
        assert 'int("canary-1")' in line["exception"]  # a line of the source, not the message
        assert "invalid literal" not in line["exception"]


def test_an_exception_that_suppresses_its_context_does_so_here_too(lines: Lines) -> None:
    try:
        try:
            int("canary")
        except ValueError:
            raise LookupError from None
    except LookupError:
        logging.getLogger("library").exception("failed")

    (line,) = lines()
    assert "ValueError\n" not in line["exception"]


def test_what_a_record_carries_beside_its_text_stays_out(lines: Lines) -> None:
    """Django hands the request along, procrastinate the job."""
    logging.getLogger("django.request").error("failed", extra={"request": "canary", "job": {"args": "canary"}})

    assert "canary" not in json.dumps(lines())


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "django.db.backends", "psycopg.pool", "asyncio"])
def test_some_libraries_never_tell_details(name: str) -> None:
    """Their DEBUG and INFO lines are URLs, statements and parameters."""
    assert not logging.getLogger(name).isEnabledFor(logging.INFO)


def test_a_line_that_cannot_be_written_is_not_told_of(capsys: pytest.CaptureFixture[str], lines: Lines) -> None:
    logging.getLogger("library").warning("%d", "canary")

    assert "canary" not in capsys.readouterr().err
