"""`make serve`: what a deployment starts, with the environment's configuration alone."""

import json
import signal
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.run.commands import Checkout, Running

KEYS = {
    "ENV_FILE": "",
    "SECRET_KEY": "for-the-test-run-alone-0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFG",
    "ENCRYPTION_KEYS": "test:uy7GEoAdnst5Rv7oVPZ/1o3vDqUQHlK3UZ7oonYyaOw=",
}


@pytest.fixture(scope="module")
def served(checkout: Checkout) -> Iterator[Running]:
    serving = checkout.start("serve", **KEYS)
    serving.wait_for("Booting worker")
    yield serving
    serving.stop()


def refusal(checkout: Checkout, **environment: str) -> str:
    """What it says, all of it, when it does not start."""
    refused = checkout.start("serve", **environment)
    assert refused.wait() != 0
    return refused.output


@pytest.mark.parametrize("missing", ["SECRET_KEY", "ENCRYPTION_KEYS"])
def test_without_a_key_it_does_not_start(missing: str, checkout: Checkout) -> None:
    """E09: exit status and one line, and no key is made up."""
    output = refusal(checkout, **{name: value for name, value in KEYS.items() if name != missing})

    assert output == f"manage.py: {missing} is not set. `make run` makes one for development; see README.md.\n"
    assert not (checkout.var / "development.env").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENCRYPTION_KEYS", "test:dG9vIHNob3J0"),
        ("PUBLIC_URL", "http://auth.example.com"),
        ("CODE_TTL", "601"),
        ("PORT", "eight thousand"),
    ],
)
def test_with_a_setting_that_will_not_do_it_does_not_start(name: str, value: str, checkout: Checkout) -> None:
    output = refusal(checkout, **(KEYS | {name: value}))

    assert output.startswith(f"manage.py: {name}")
    assert output.count("\n") == 1
    assert value not in output


def test_without_its_database_it_does_not_start(checkout: Checkout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    url = f"postgres://sequin:canary-password@127.0.0.1:{port}/sequin"

    output = refusal(checkout, **KEYS, DATABASE_URL=url)

    assert "CommandError: The database does not answer; DATABASE_URL says where it is looked for.\n" in output
    assert "canary-password" not in output


def test_it_migrates_and_is_ready(served: Running, checkout: Checkout) -> None:
    answer = httpx.get(f"{checkout.url}/readyz", trust_env=False, timeout=30)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["Server"] == "gunicorn"  # H05: no version


def test_it_makes_no_demo_data(served: Running, checkout: Checkout) -> None:
    """H11: no default accounts."""
    assert not (checkout.var / "example.json").exists()
    assert not (checkout.var / "development.env").exists()
    assert "Password" not in served.output


def test_it_logs_requests_as_json_without_their_query(served: Running, checkout: Checkout) -> None:
    """E02."""
    url = f"{checkout.url}/link/oauth2/callback/stripe?code=canary-code&state=canary-state"

    answer = httpx.get(url, headers={"Authorization": "Bearer canary-token"}, trust_env=False, timeout=30)

    line = json.loads(served.wait_for(answer.headers["X-Request-Id"]))
    assert (line["path"], line["status"], line["client"]) == ("/link/oauth2/callback/stripe", 400, "127.0.0.1")
    assert "canary" not in served.output


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /link/oauth2/callback/stripe?code=canary-code HTTP/9.9\r\n\r\n",
        b"GET /link/oauth2/callback/stripe?code=canary-code\x00 HTTP/1.1\r\n\r\n",
        b"POST /link/oauth2/token HTTP/1.1\r\nAuthorization\x00: Basic canary-secret\r\n\r\n",
        b"GET /v1/oauth-apps HTTP/1.1\r\nAuthorization: Bearer canary-token\r\n\x0bX: 1\r\n\r\n",
    ],
)
def test_a_malformed_request_is_not_repeated_in_the_log(
    request_head: bytes, served: Running, checkout: Checkout
) -> None:
    """E02: gunicorn would log the line that it could not read."""
    with socket.create_connection(("127.0.0.1", checkout.port), timeout=30) as connection:
        connection.sendall(request_head)
        answer = connection.recv(1000)

    assert answer.startswith(b"HTTP/1.1 400 ")
    served.wait_for("Invalid request from ip=127.0.0.1")
    assert "canary" not in served.output


def test_a_request_line_may_be_as_long_as_a_scope_needs(served: Running, checkout: Checkout) -> None:
    start = f"{checkout.url}/link/oauth2/start?client_id=none&scope="

    assert httpx.get(start + "s" * 8_000, trust_env=False, timeout=30).status_code == 400  # ours: no such client
    assert httpx.get(start + "s" * 9_000, trust_env=False, timeout=30).status_code == 414


def test_a_providers_code_may_be_longer_than_that(served: Running, checkout: Checkout) -> None:
    """B19: 8 KiB get through to us, 16 KiB are refused"""
    callback = f"{checkout.url}/link/oauth2/callback/stripe?state=none&code="

    assert "invalid_state" in httpx.get(callback + "c" * 8_192, trust_env=False, timeout=30).text
    assert httpx.get(callback + "c" * 17_000, trust_env=False, timeout=30).status_code in {400, 414}


def test_what_a_client_says_of_a_proxy_counts_for_nothing(served: Running, checkout: Checkout) -> None:
    """A20: gunicorn believes 127.0.0.1 unless told otherwise, and takes even the path's beginning from it."""
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example", "SCRIPT_NAME": "/.well-known"}

    answer = httpx.get(f"{checkout.url}/.well-known/oauth-authorization-server", headers=forged, trust_env=False)

    assert answer.json()["issuer"] == checkout.url
    assert json.loads(served.wait_for(answer.headers["X-Request-Id"]))["client"] == "127.0.0.1"


def test_sigterm_lets_it_end_well(checkout: Checkout, served: Running) -> None:
    """G14. Last in this file: it ends what the others use."""
    assert served.stop(signal.SIGTERM) == 0
