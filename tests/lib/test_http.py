"""What the egress guard refuses, sends and hands back."""

import gc
import json
import logging
import secrets
import tomllib
import traceback
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import responses
import time_machine
from django.db import transaction
from django.test import override_settings
from requests import PreparedRequest
from structlog.testing import capture_logs

from sequin_auth import __version__
from sequin_auth.lib import http
from sequin_auth.lib.http import calls
from tests.lib.conftest import Names, Serve
from tests.lib.servers import Visit, answering

PUBLIC = "1.1.1.1"


# Where it does not go


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0",
        "10.0.0.1",
        "100.100.100.200",
        "169.254.169.254",
        "224.0.0.1",
        "[::]",
        "[::1]",
        "[::127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[fd00:ec2::254]",
        "[fe80::1]",
    ],
)
def test_f02_it_connects_to_no_address_that_is_not_public(host: str, connections: list[Any]) -> None:
    with pytest.raises(http.EgressBlocked, match="not public"):
        http.request("GET", f"https://{host}/latest/meta-data/")

    assert connections == []


@pytest.mark.parametrize("addresses", [["10.0.0.1"], [PUBLIC, "10.0.0.1"], ["::ffff:10.0.0.1", PUBLIC]])
def test_f02_one_address_that_is_not_public_is_enough(
    addresses: list[str], names: Names, connections: list[Any]
) -> None:
    names.addresses["api.example.com"] = addresses

    with pytest.raises(http.EgressBlocked, match="not public"):
        http.request("GET", "https://api.example.com/")

    assert connections == []


def test_f03_it_connects_to_the_addresses_that_it_checked(names: Names, connections: list[Any]) -> None:
    names.addresses["api.example.com"] = [PUBLIC, "1.0.0.1"]

    with pytest.raises(http.Unreachable):
        http.request("GET", "https://api.example.com/")

    assert names.asked == ["api.example.com"]
    assert connections == [(PUBLIC, 443), ("1.0.0.1", 443)]


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/",
        "http://api.example.com:443/",
        "https://api.example.com:8443/",
        "https://api.example.com:80/",
        "https://api.example.com:99999/",
        "https://api.example.com:443x/",
        "ftp://api.example.com/",
        "file:///etc/passwd",
        "gopher://api.example.com/",
        "//api.example.com/",
        "api.example.com",
        "https:api.example.com",
        "https:///api.example.com",
        "https://",
        "",
        "https://evil.example\\.api.example.com/",
        "https://evil.example\\@api.example.com/",
        "https://evil.example@api.example.com/",
        "https://user:password@api.example.com/",
        "https://@api.example.com/",
        "https://api.example.com./",
        "https://api%2eexample.com/",
        "https://api.example.com%00.evil.example/",
        "https://api.example.com\r\nHost: evil.example/",
        "https://api.example.com/\r\nX: y",
        "https://api.example.com/\x00",
        "https://api.example.com/\n",
        "https://api.example.com/\t",
        "https://api.example.com/ a",
        "https://api.example.com/é",
        "https://\u0430pi.example.com/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        " https://api.example.com/",
        "\x00https://api.example.com/",
    ],
)
def test_f01_f16_f22_it_refuses_any_url_but_a_plain_one_over_https_on_443(url: str) -> None:
    with responses.RequestsMock() as provider, pytest.raises(http.EgressBlocked) as refusal:
        http.request("GET", url)

    assert "example" not in str(refusal.value)
    assert len(provider.calls) == 0


@pytest.mark.parametrize("url", ["https://1.0.0.1/", "https://1.1.1.1:444/"])
def test_f01_it_connects_to_what_was_permitted_even_if_requests_reads_another_host(
    url: str, connections: list[Any]
) -> None:
    call = http.Call(http.permitted("https://1.1.1.1/", None), 1)
    prepared = http.prepare("GET", url, {})

    with call, closing(http.GuardedAdapter(call)) as adapter, pytest.raises(http.EgressBlocked):
        adapter.send(prepared)

    assert connections == []


def test_f22_an_exception_holds_for_one_host_and_port_alone(serve: Serve) -> None:
    server = serve(answering())

    others = [f"localhost:{server.port}", "127.0.0.1:1", "127.0.0.1", f":{server.port}", f"0.0.1:{server.port}"]
    with override_settings(EGRESS_ALLOW=others), pytest.raises(http.EgressBlocked):
        http.request("GET", server.url)

    assert server.visits == 0


def test_f22_an_exception_may_be_written_in_capitals(serve: Serve) -> None:
    server = serve(answering())

    with override_settings(EGRESS_ALLOW=[f" LOCALHOST:{server.port}"]):
        answer = http.request("GET", f"http://LocalHost:{server.port}/")

    assert answer.status == 200


def test_f22_an_exception_is_for_http_and_https_alone(serve: Serve) -> None:
    server = serve(answering())

    with pytest.raises(http.EgressBlocked):
        http.request("GET", f"ftp://{server.authority}/")

    assert server.visits == 0


def test_an_exception_in_brackets_reaches_ipv6(connections: list[Any]) -> None:
    with override_settings(EGRESS_ALLOW=["[::1]:8443"]), pytest.raises(http.Unreachable):
        http.request("GET", "https://[::1]:8443/")

    assert [address[:2] for address in connections] == [("::1", 8443)]


# Our own origin


def test_it_does_not_call_ourselves(serve: Serve) -> None:
    server = serve(answering())

    with override_settings(PUBLIC_URL=server.url), pytest.raises(http.EgressBlocked, match="our own origin"):
        http.request("GET", f"{server.url}/sandbox/stripe/token")

    assert server.visits == 0


def test_it_does_not_call_our_own_host_by_another_spelling(connections: list[Any]) -> None:
    with override_settings(PUBLIC_URL="https://auth.example.com"):
        for url in ("https://AUTH.example.com/", "https://auth.example.com:443/", "https://auth.example.com:0443/"):
            with pytest.raises(http.EgressBlocked, match="our own origin"):
                http.request("GET", url)

    assert connections == []


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/sandbox",
        "/sandboxes/",
        "/Sandbox/stripe",
        "/v1/credentials",
        "/sandbox/../v1/credentials",
        "/sandbox/..",
        "/sandbox/%2e%2e/v1/credentials",
        "/sandbox/%2E./v1/credentials",
        "/sandbox/..%2fv1/credentials",
        "/sandbox/..;/v1/credentials",
        "/sandbox/%5c..%5cv1",
        "//sandbox/",
        "/?/sandbox/",
        "/#/sandbox/",
    ],
)
def test_within_a_prefix_of_ours_nothing_else_is_reached(path: str, serve: Serve) -> None:
    server = serve(answering())

    with override_settings(PUBLIC_URL=server.url), pytest.raises(http.EgressBlocked, match="prefix"):
        http.request("GET", server.url + path, within=f"{server.url}/sandbox/")

    assert server.visits == 0


def test_within_a_prefix_of_ours_no_other_host_is_reached(serve: Serve) -> None:
    ours, other = serve(answering()), serve(answering())

    with override_settings(PUBLIC_URL=ours.url):
        for url in (other.url, f"http://localhost:{ours.port}", f"https://127.0.0.1:{ours.port}", "https://1.1.1.1"):
            with pytest.raises(http.EgressBlocked, match="prefix"):
                http.request("GET", f"{url}/sandbox/", within=f"{ours.url}/sandbox/")

    assert (ours.visits, other.visits) == (0, 0)


def test_a_prefix_is_not_a_permission(serve: Serve) -> None:
    server = serve(answering())

    with override_settings(PUBLIC_URL="https://auth.example.com", EGRESS_ALLOW=[]), pytest.raises(http.EgressBlocked):
        http.request("GET", f"{server.url}/sandbox/", within=f"{server.url}/sandbox/")

    assert server.visits == 0


@pytest.mark.parametrize("prefix", ["/sandbox/", "/sandbox"])
def test_within_a_prefix_we_may_call_ourselves(prefix: str, serve: Serve) -> None:
    server = serve(answering())

    with override_settings(PUBLIC_URL=server.url, EGRESS_ALLOW=[]):
        answer = http.request("POST", f"{server.url}/sandbox/stripe/token", within=server.url + prefix)

    assert answer.status == 200
    assert server.requests[0].startswith(b"POST /sandbox/stripe/token HTTP/1.1\r\n")


# What it does not send


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Token", "a\r\nX-Injected: 1"),
        ("X-Token", "a\nX-Injected: 1"),
        ("X-Token", "a\n folded"),
        ("X-Token", "a\r"),
        ("X-Token", "a\x00b"),
        ("X-Token", "a\x7fb"),
        ("X-Token", " a"),
        ("X-Token", "a "),
        ("X-Token", "€"),
        ("X-Token", "\ud800"),
        ("X-Token\r\nX-Injected", "1"),
        ("X-Token: 1\r\nX", "1"),
        ("X Token", "1"),
        ("", "1"),
        ("Host", "evil.example"),
        ("host", "evil.example"),
    ],
)
def test_f16_it_refuses_a_header_that_would_be_two_or_none(name: str, value: str, serve: Serve) -> None:
    server = serve(answering())

    with pytest.raises(http.EgressBlocked):
        http.request("GET", server.url, headers={name: value})

    assert server.visits == 0


@pytest.mark.parametrize("method", ["", "GET /", "GET\r\nX: y", "G T", "GÉT"])
def test_it_refuses_a_method_that_is_none(method: str, serve: Serve) -> None:
    server = serve(answering())

    with pytest.raises(http.EgressBlocked):
        http.request(method, server.url)

    assert server.visits == 0


def test_it_refuses_a_form_that_cannot_be_encoded(serve: Serve) -> None:
    server = serve(answering())
    canary = secrets.token_hex()

    with pytest.raises(http.EgressBlocked) as refusal:
        http.request("POST", server.url, form={"client_secret": f"{canary}\ud800"})

    assert canary not in "".join(traceback.format_exception(refusal.value))
    assert "UnicodeEncodeError" not in "".join(traceback.format_exception(refusal.value))
    assert server.visits == 0


def test_f15_it_takes_nothing_from_the_environment(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = serve(answering()), serve(answering())
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\ndefault login canary password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    http.request("GET", server.url)

    assert b"authorization" not in server.requests[0].lower()
    assert proxy.visits == 0


def test_f17_it_keeps_no_cookie(serve: Serve) -> None:
    server = serve(answering("200 OK", "Set-Cookie: session=canary; Path=/"))

    http.request("GET", server.url)
    http.request("GET", server.url)

    assert [b"cookie" in received.lower() for received in server.requests] == [False, False]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_f04_it_follows_no_redirect(status: int, serve: Serve) -> None:
    other = serve(answering())
    server = serve(answering(f"{status} Elsewhere", f"Location: {other.url}/token"))

    answer = http.request("POST", server.url, form={"client_secret": "canary"})

    assert (answer.status, answer.headers["location"]) == (status, f"{other.url}/token")
    assert (len(server.requests), other.visits) == (1, 0)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_f13_it_repeats_nothing(status: int, serve: Serve) -> None:
    server = serve(answering(f"{status} Later", "Retry-After: 0"))

    answer = http.request("POST", server.url, form={"code": "1"})

    assert answer.status == status
    assert len(server.requests) == 1


def test_e02_it_tells_no_log_and_no_exception_what_it_sent(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def behave(visit: Visit) -> None:
        visit.read_request()
        if server.visits == 1:
            visit.send(b"HTTP/1.1 200 OK\r\nmalformed header\r\nContent-Length: 0\r\n\r\n")
        else:
            visit.send(canary.encode(), b"\r\n\r\n")

    server = serve(behave)
    canary = secrets.token_hex()
    caplog.set_level(logging.DEBUG)
    sent: dict[str, Any] = {"params": {"key": canary}, "form": {"code": canary}, "headers": {"Authorization": canary}}

    http.request("POST", f"{server.url}/{canary}", **sent)
    with pytest.raises(http.NoAnswer) as failure:
        http.request("POST", f"{server.url}/{canary}", **sent)

    assert [received.count(canary.encode()) for received in server.requests] == [4, 4]
    assert canary not in caplog.text
    assert canary not in "".join(traceback.format_exception(failure.value))


# What it sends


def test_it_sends_a_form(serve: Serve) -> None:
    server = serve(answering())

    http.request("POST", f"{server.url}/token?a=1", form={"code": "a b&c=é", "grant_type": "x"}, params={"b": "2"})

    assert server.requests[0].decode().split("\r\n") == [
        "POST /token?a=1&b=2 HTTP/1.1",
        f"Host: {server.authority}",
        f"User-Agent: SequinAuth/{__version__}",
        "Accept: */*",
        "Accept-Encoding: gzip, deflate",
        "Content-Length: 34",
        "Content-Type: application/x-www-form-urlencoded",
        "",
        "code=a+b%26c%3D%C3%A9&grant_type=x",
    ]


def test_a_form_leaves_out_what_is_none_and_repeats_what_is_many(serve: Serve) -> None:
    server = serve(answering())
    form: dict[str, Any] = {"nothing": None, "scope": ["a", "b"], "count": 5, "empty": ""}

    http.request("POST", server.url, form=form)

    assert server.requests[0].endswith(b"\r\n\r\nscope=a&scope=b&count=5&empty=")


def test_a_call_leaves_nothing_for_the_collector(serve: Serve) -> None:
    """What it has sent, secrets too, goes when it is over, not when so much has gathered that the collector comes."""
    server = serve(answering())
    http.request("GET", server.url)
    gc.collect()
    before = alive(http.GuardedAdapter, PreparedRequest)
    gc.disable()
    try:
        http.request("POST", server.url, form={"client_secret": "canary-client-secret"})
        left = alive(http.GuardedAdapter, PreparedRequest)
    finally:
        gc.enable()

    assert left == before


def alive(*kinds: type) -> int:
    """How many there are. `isinstance` would wake what is lazy."""
    return sum(issubclass(type(found), kinds) for found in gc.get_objects())


def test_it_sends_json(serve: Serve) -> None:
    server = serve(answering())

    http.request("POST", server.url, json={"code": "1"})

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/json" in head
    assert json.loads(body) == {"code": "1"}


def test_a_caller_may_name_itself(serve: Serve) -> None:
    server = serve(answering())

    http.request("get", server.url, headers={"user-agent": "linux:app:1", "Authorization": "Bearer 1"})

    head = server.requests[0].decode()
    assert head.startswith("GET / HTTP/1.1\r\n")
    assert "\r\nuser-agent: linux:app:1\r\n" in head
    assert "\r\nAuthorization: Bearer 1\r\n" in head
    assert "SequinAuth" not in head


def test_it_names_the_version_that_pyproject_names() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())

    assert pyproject["project"]["version"] == __version__


# What it hands back


def test_it_hands_back_the_answer(serve: Serve) -> None:
    headers = "Content-Type: Application/JSON; charset=utf-8", "X-A: 1", "x-a: 2", "Retry-After: 120"
    server = serve(answering("400 Bad Request", *headers, body=b'{"error": "canary"}'))

    answer = http.request("GET", server.url)

    assert answer == http.Response(
        status=400,
        headers={
            "content-type": "Application/JSON; charset=utf-8",
            "x-a": "1, 2",
            "retry-after": "120",
            "content-length": "19",
        },
        content=b'{"error": "canary"}',
    )
    assert (answer.media_type, answer.retry_after) == ("application/json", 120)


def test_f19_its_repr_shows_neither_headers_nor_content() -> None:
    answer = http.Response(200, {"x-token": "canary"}, b"canary")

    assert repr(answer) == "<Response 200, 6 bytes, e100fbce008c>"


def test_without_a_content_type_there_is_no_media_type() -> None:
    assert http.Response(204, {}, b"").media_type == ""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        (" 17 ", 17),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 5000, None),
        ("١٢", None),
        ("Wed, 99 Foo 2026 00:00:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
    ],
)
def test_f13_it_reads_how_long_to_wait(value: str, seconds: int | None) -> None:
    assert http.Response(429, {"retry-after": value}, b"").retry_after == seconds


def test_f13_it_reads_until_when_to_wait() -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)

    with time_machine.travel(now, tick=False):
        answers = [
            http.Response(503, {"retry-after": format_datetime(now + timedelta(seconds=delay), usegmt=True)}, b"")
            for delay in (90, 0, -90)
        ]
        assert [answer.retry_after for answer in answers] == [90, 0, 0]


# With the library that the other tests answer by


def test_it_stands_above_responses() -> None:
    with responses.RequestsMock() as provider:
        provider.post("https://api.example.com/token", json={"access_token": "1"}, status=201)

        answer = http.request("POST", "https://api.example.com/token", form={"code": "1"})

        assert (answer.status, answer.media_type, answer.content) == (201, "application/json", b'{"access_token": "1"}')
        assert provider.calls[0].request.body == "code=1"


def test_it_refuses_before_responses_is_asked() -> None:
    with responses.RequestsMock() as provider:
        with pytest.raises(http.EgressBlocked):
            http.request("GET", "http://api.example.com/")

        assert len(provider.calls) == 0


@pytest.mark.parametrize("error", [http.Unreachable("refused"), http.NoAnswer("late"), ConnectionError()])
def test_responses_can_play_a_failure(error: Exception) -> None:
    with responses.RequestsMock() as provider:
        provider.get("https://api.example.com/", body=error)

        with pytest.raises(type(error) if isinstance(error, http.EgressError) else http.NoAnswer):
            http.request("GET", "https://api.example.com/")


# While a transaction is open


def called() -> str:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as provider:
        provider.get("https://api.example.com/", body="1")
        try:
            http.request("GET", "https://api.example.com/")
        except http.InTransaction as exc:
            assert len(provider.calls) == 0
            return str(exc)
        return "called"


@pytest.mark.django_db
def test_it_does_not_call_while_a_transaction_is_open() -> None:
    """That of the test case does not count."""
    with transaction.atomic(), transaction.atomic(savepoint=False):
        within = called()

    assert within == "A call would leave the machine while a database transaction is open."
    assert called() == "called"


@pytest.mark.django_db(transaction=True)
def test_it_knows_a_transaction_that_no_test_case_has_opened() -> None:
    with transaction.atomic():
        within = called()

    assert within.startswith("A call would leave")
    assert called() == "called"


@pytest.mark.django_db
@override_settings(OUTBOUND_IN_TRANSACTION_FAILS=False)
def test_in_production_it_tells_of_it_once_for_each_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "told_places", set())
    places = []
    for name in ("credentials.here", "credentials.here", "oauth_apps.there"):
        place: dict[str, Any] = {"__name__": name, "called": called}
        exec("def call():\n    return called()", place)  # noqa: S102 - a function of a module that is not there
        with transaction.atomic(), capture_logs() as logs:
            assert place["call"]() == "called"
        places.append([(line["event"], line["log_level"], line["place"]) for line in logs])

    assert places == [
        [("outbound_in_transaction", "error", "credentials.here:2")],
        [],
        [("outbound_in_transaction", "error", "oauth_apps.there:2")],
    ]


# Without leaving the process


def test_nothing_leaves_while_calls_are_answered_here(connections: list[Any]) -> None:
    def deliver(method: str, url: str, headers: Any, body: bytes) -> http.Response:
        seen.append((method, url, headers["Content-Type"], body))
        return http.Response(status=204, headers={}, content=b"")

    seen: list[Any] = []
    prefix = "http://127.0.0.1:8000/sandbox/"
    with http.answered_here(deliver):
        answer = http.request("POST", f"{prefix}acme/token", form={"a": "b c"}, within=prefix)
        with pytest.raises(http.EgressBlocked, match="Nothing leaves"):
            http.request("GET", f"https://{PUBLIC}/")
        with pytest.raises(http.EgressBlocked, match="outside of the prefix"):
            http.request("GET", "http://127.0.0.1:8000/admin/", within=prefix)

    assert answer.status == 204
    assert seen == [("POST", f"{prefix}acme/token", "application/x-www-form-urlencoded", b"a=b+c")]
    assert connections == []
