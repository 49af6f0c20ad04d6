"""Reports to Sentry and to OpenTelemetry: off unless set; nothing secret in them, and nobody's name. (E01)"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.exceptions import ImproperlyConfigured
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from sequin_auth.lib import reporting
from sequin_auth.lib.http import EgressBlocked
from sequin_auth.lib.reporting.errors import KEPT
from sequin_auth.lib.reporting.sending import Sender, origin_of
from tests.real.end_user import EndUser
from tests.real.gateway import Gateway, clean_environment, new_keys
from tests.real.machine import BASE_DIR, until
from tests.seeing.conftest import Receiver

# ---- off -------------------------------------------------------------------------------------------------------------

IMPORTED = "import django, sys; django.setup(); print([m for m in ('sentry_sdk', 'opentelemetry') if m in sys.modules])"


def started(tmp_path: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """A process that reads the settings and ends; what it prints is which libraries it has imported."""
    module = {"DJANGO_SETTINGS_MODULE": "sequin_auth.settings"}
    environment = clean_environment(tmp_path, 1, **new_keys(), **module, **settings)
    command = [sys.executable, "-c", IMPORTED]
    return subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=False)


def test_the_libraries_own_variables_turn_nothing_on(tmp_path: Path) -> None:
    done = started(
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_PYTHON_DJANGO_INSTRUMENT="true",
        SENTRY_ENVIRONMENT="x",
    )

    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("SENTRY_DSN", "canary"),
        ("SENTRY_DSN", "ftp://canary@host/1"),
        ("SENTRY_DSN", "https://canary@host/"),
        ("OTLP_ENDPOINT", "127.0.0.1:4318"),
        ("OTLP_ENDPOINT", "http://canary:99999999"),
        ("OTLP_ENDPOINT", "http://host/?canary"),
    ],
)
def test_what_is_no_address_ends_the_start_and_is_not_repeated(settings: Settings, setting: str, value: str) -> None:
    setattr(settings, setting, value)

    with pytest.raises(ImproperlyConfigured) as refusal:
        reporting.begin()

    assert str(refusal.value).startswith(setting)
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize(
    ("setting", "value", "library", "extra"),
    [
        ("SENTRY_DSN", "https://key@sentry.example.com/1", "sentry_sdk", "sentry"),
        ("OTLP_ENDPOINT", "https://collector.example.com", "opentelemetry.sdk.trace", "opentelemetry"),
    ],
)
def test_a_library_that_is_not_installed_ends_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, library: str, extra: str
) -> None:
    for module in ("errors", "tracing"):
        monkeypatch.delitem(sys.modules, f"sequin_auth.lib.reporting.{module}", raising=False)
        monkeypatch.delattr(reporting, module, raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    setattr(settings, setting, value)

    with pytest.raises(ImproperlyConfigured, match=f"{setting} is set.*--extra {extra}"):
        reporting.begin()


def test_without_a_collector_a_span_costs_nothing() -> None:
    with reporting.span("exchange", provider="stripe"):
        assert not reporting.is_tracing


# ---- the way ---------------------------------------------------------------------------------------------------------


def test_reports_go_to_one_origin_alone() -> None:
    sender = Sender("https://reports.example.com")

    for url in ("https://example.com/", "http://reports.example.com/", "https://reports.example.com:8443/"):
        with pytest.raises(EgressBlocked):
            sender.post(url, data=b"")


def test_the_key_of_a_dsn_is_no_part_of_its_origin() -> None:
    assert origin_of("https://key@Reports.example.com:8443/42", "SENTRY_DSN") == "https://reports.example.com:8443"


# ---- what is told ----------------------------------------------------------------------------------------------------


def attributes_of(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_a_failure_is_an_event_of_words_and_ids(gateway: Gateway, receiver: Receiver, failed: str) -> None:
    events = [one for one in receiver.events() if one.get("tags", {}).get("request_id") == failed]

    assert len(events) == 1
    [event] = events
    last = event["exception"]["values"][-1]
    assert last["type"] == "ProgrammingError"
    assert set(last) == {"type", "module", "stacktrace"}
    frames = last["stacktrace"]["frames"]
    assert all(set(frame) == {"module", "function", "filename", "lineno", "in_app"} for frame in frames)
    assert not [frame["filename"] for frame in frames if frame["filename"].startswith("/")]
    assert event["level"] == "error"
    assert set(event) <= KEPT | {"sdk", "contexts"}
    assert "server_name" not in event
    assert "request" not in event


def test_a_trip_is_spans_of_words(gateway: Gateway, receiver: Receiver, tripped: EndUser) -> None:
    spans = until(lambda: with_exchange(receiver.spans()), what="the span of the exchange arrives")

    names = {span.name for span in spans}
    assert {"exchange linear", "SELECT"} <= names
    callback = next(span for span in spans if span.name.startswith("GET link/oauth2/callback/"))
    exchange = next(span for span in spans if span.name == "exchange linear")
    assert exchange.parent_span_id == callback.span_id
    assert attributes_of(exchange) == {"call": "exchange", "provider": "linear"}
    assert {name for span in spans for name in attributes_of(span)} <= {
        "http.method", "http.route", "http.status_code", "db.system", "db.operation", "call", "provider",
    }  # fmt: skip
    assert not [span for span in spans if span.events or span.links or span.status.message]


def with_exchange(spans: list[Any]) -> list[Any]:
    """`spans`, once those of the callback are among them: a request's own is sent after those in it."""
    names = [span.name for span in spans]
    is_there = "exchange linear" in names and any(name.startswith("GET link/oauth2/callback") for name in names)
    return spans if is_there else []


def with_failures(spans: list[Any]) -> list[Any]:
    """Those of requests that were answered 500, once all are there."""
    failures = [span for span in spans if attributes_of(span).get("http.status_code") == 500]
    return failures if len(failures) >= 6 else []


def test_nothing_secret_and_nobodys_name_is_told(
    gateway: Gateway, receiver: Receiver, tripped: EndUser, failed_with_secrets: list[str], tmp_path: Path
) -> None:
    """Of a whole trip, and of requests that failed with all sorts of secrets about them"""
    until(lambda: with_failures(receiver.spans()), what="the spans of the failures, which are the last, arrive")
    told = tmp_path / "told"
    for number, (_, headers, body) in enumerate(receiver.received):
        told.mkdir(exist_ok=True)
        (told / str(number)).write_bytes(body + repr(headers).encode())

    assert {*gateway.canaries.kinds.values()} >= {
        "client secret", "client state", "state", "code", "cookie", "access_token", "refresh_token", "API token",
        "header", "body", "SECRET_KEY", "ENCRYPTION_KEYS",
    }  # fmt: skip
    assert gateway.canaries.found_in(told) == set()
    whole = b"".join(body for _, _, body in receiver.received)
    whole = re.sub(rb"postgresql|sequin_auth[./]lib[./]postgres[./]", b"", whole)  # a word of theirs, and code of ours
    for word in (b"Arrakis", b"127.0.0.1", b"canary", os.fsencode(BASE_DIR), b"postgres", b'redirecturi"'):
        assert word not in whole, word


def test_what_is_told_is_what_is_looked_through(gateway: Gateway, receiver: Receiver, failed: str) -> None:
    """A canary that is sent is found."""
    assert failed.encode() in b"".join(receiver.bodies("/api/42/envelope/"))


# ---- the whole, beside it --------------------------------------------------------------------------------------------


def test_a_real_gateway_counts_what_it_does(gateway: Gateway, tripped: EndUser) -> None:
    wanted = {
        ("trips_total", "started", "linear"): 1,
        ("trips_total", "connected", "linear"): 1,
        ("provider_calls_total", "exchange", "ok", "linear"): 1,
        ("provider_call_seconds_count", "exchange", "linear"): 1,
        ("http_request_seconds_count", "callback", "3xx"): 1,
        ("http_request_seconds_count", "token", "2xx"): 1,
    }

    def counted() -> dict[tuple[str, ...], float]:
        text = requests.get(f"{gateway.url}/metrics", timeout=30).text
        found = samples(text)
        assert found["workers", "refresh"] == 1
        return {name: found.get(name, 0) for name in wanted}

    until(lambda: counted() == wanted, what=f"{counted()} becomes {wanted}")


def samples(text: str) -> dict[tuple[str, ...], float]:
    found = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return {(one.name, *(one.labels[name] for name in sorted(one.labels))): one.value for one in found}


def test_a_real_gateway_is_well(gateway: Gateway, tripped: EndUser) -> None:
    document = gateway.manage("doctor", "--json", "--hosts", "none")

    assert document["ok"] is True
    unwell = [row["what"] for row in document["findings"] if row["level"] != "ok"]
    assert unwell == ["PUBLIC_URL is plain http on loopback: cookies are not Secure, and nobody else gets here."]
