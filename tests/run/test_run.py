"""`make run`, as a newcomer meets it: what it prints, what works, and what it leaves on the disk."""

import html
import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.real.machine import until
from tests.run.commands import READY, ROOT, Checkout, Running

pytestmark = pytest.mark.usefixtures("first")


@pytest.fixture
def browser() -> httpx.Client:
    return httpx.Client(trust_env=False, timeout=30)


@pytest.fixture
def api(checkout: Checkout, first: Running) -> httpx.Client:
    authorization = f"Bearer {first.shown('API token')}"
    return httpx.Client(base_url=checkout.url, headers={"Authorization": authorization}, trust_env=False, timeout=30)


def follow(browser: httpx.Client, url: str, outcome: str) -> httpx.Response:
    """From the start link to the developer's app, by way of the simulated provider's answer."""
    consent = browser.get(url).headers["Location"]
    link = browser.get(consent, headers={"Accept": "application/json"}).json()["outcomes"][outcome]
    callback = browser.get(link).headers["Location"]
    return browser.get(browser.get(callback).headers["Location"])


def test_it_greets_with_four_addresses_that_answer(browser: httpx.Client, checkout: Checkout, first: Running) -> None:
    addresses = {name: first.shown(name) for name in ("Example app", "Console", "For clients", "A mistake, explained")}

    answers = {name: browser.get(url, follow_redirects=True) for name, url in addresses.items()}

    assert {name: answer.status_code for name, answer in answers.items()} == {
        "Example app": 200,
        "Console": 200,
        "For clients": 200,
        "A mistake, explained": 400,
    }
    assert answers["For clients"].json()["token_endpoint"] == f"{checkout.url}/link/oauth2/token"


def test_the_curl_that_it_prints_works(first: Running) -> None:
    command = first.wait_for("  curl -H ").strip()

    printed = subprocess.run(["bash", "-c", f"{command} -s --noproxy '*'"], capture_output=True, text=True, check=True)

    apps = json.loads(printed.stdout)["data"]
    assert sorted(app["provider"] for app in apps) == ["hubspot", "salesforce", "slack", "stripe"]
    assert {app["environment"] for app in apps} == {"sandbox"}


def test_its_console_user_signs_in(browser: httpx.Client, checkout: Checkout, first: Running) -> None:
    login = f"{checkout.url}/admin/login/"
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get(login).text)
    assert token is not None
    form = {"username": "admin", "password": first.shown("Password"), "csrfmiddlewaretoken": token[1]}

    answer = browser.post(login, data=form, headers={"Referer": login})

    assert answer.status_code == 302
    assert browser.get(f"{checkout.url}/admin/").status_code == 200


def test_nobody_but_the_owner_reads_what_it_writes(checkout: Checkout) -> None:
    """E09: the keys of a development start are in var/, mode 0600."""
    modes = {path: mode for path, mode in modes_below(checkout.var) if not stat.S_ISLNK(mode)}
    open_to_others = [
        path.relative_to(checkout.var).as_posix()
        for path, mode in modes.items()
        if mode & 0o066 and not path.is_relative_to(checkout.var / "postgres")
    ]

    assert open_to_others == []
    assert checkout.var / "development.env" in modes
    for name in ("development.env", "example.json"):
        assert stat.S_IMODE((checkout.var / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((checkout.var / "postgres").stat().st_mode) == 0o700


def modes_below(top: Path) -> Iterator[tuple[Path, int]]:
    """Of `top` and all that is in it, but for what the syncs, which are at work, take away just then."""
    for folder, _, names in os.walk(top):
        for path in [Path(folder), *(Path(folder) / name for name in names)]:
            with suppress(FileNotFoundError):
                yield path, path.lstat().st_mode


def test_the_keys_that_it_wrote_are_those_that_it_uses(checkout: Checkout, first: Running) -> None:
    assert f"New keys are in {checkout.var / 'development.env'}" in first.output
    names = [line.partition("=")[0] for line in checkout.read("development.env").splitlines() if "=" in line]
    assert names == ["SECRET_KEY", "ENCRYPTION_KEYS"]


@pytest.mark.parametrize("provider", ["stripe", "salesforce", "hubspot", "slack"])
def test_the_example_app_connects(provider: str, browser: httpx.Client, checkout: Checkout) -> None:
    start = browser.get(f"{checkout.example_url}/connect/{provider}").headers["Location"]

    answer = follow(browser, start, "approve")
    page = browser.get(checkout.example_url).text

    assert answer.status_code == 303
    assert f"<code>{provider}_oauth2</code>" in page
    shown = json.loads(html.unescape(re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)[0]))
    assert shown["token_type"] == "Bearer"
    assert shown["access_token"].endswith("…")
    assert len(shown["access_token"]) == 9
    assert shown["credential"]["properties"]["access_token"] == shown["access_token"]


def test_the_example_app_says_that_the_end_user_said_no(browser: httpx.Client, checkout: Checkout) -> None:
    start = browser.get(f"{checkout.example_url}/connect/stripe").headers["Location"]

    answer = follow(browser, start, "deny")

    assert answer.status_code == 400
    assert "You, or the provider, said no." in answer.text


def test_the_example_app_refuses_a_state_of_another_browser(browser: httpx.Client, checkout: Checkout) -> None:
    start = httpx.get(f"{checkout.example_url}/connect/stripe", trust_env=False).headers["Location"]
    state = parse_qs(urlsplit(start).query)["state"][0]

    answer = browser.get(f"{checkout.example_url}/callback/stripe", params={"state": state, "code": "c" * 35})

    assert answer.status_code == 400
    assert "does not belong to anything that was begun in this browser" in answer.text


def test_the_example_app_escapes_what_it_is_told(browser: httpx.Client, checkout: Checkout) -> None:
    start = browser.get(f"{checkout.example_url}/connect/stripe").headers["Location"]
    state = parse_qs(urlsplit(start).query)["state"][0]
    script = "<script>alert(1)</script>"

    answer = browser.get(
        f"{checkout.example_url}/callback/stripe",
        params={"state": state, "error": script, "error_description": script},
    )

    assert answer.status_code == 400
    assert script not in answer.text
    assert answer.text.count(html.escape(script)) == 2


def test_the_example_app_under_another_name_sends_to_its_own(browser: httpx.Client, checkout: Checkout) -> None:
    """localhost and 127.0.0.1 have cookies of their own: a trip that began at one would end at the other."""
    answer = browser.get(f"http://localhost:{checkout.port + 1}/")

    assert answer.status_code == 303
    assert answer.headers["Location"] == checkout.example_url


@pytest.mark.parametrize("secret", ["a secret of mine", "p:ss/w+rd 100% é"])
def test_the_curl_trip_of_the_readme_arrives(
    secret: str, checkout: Checkout, first: Running, tmp_path: Path, api: httpx.Client
) -> None:
    page = (ROOT / "README.md").read_text().split("\n## The same with curl\n", 1)[1]
    script = page.split("```sh run-by=tests/run/test_run.py\n", 1)[1]
    script = script.split("```", 1)[0].replace("http://127.0.0.1:8000", checkout.url)
    script = script.replace("sqa_…", first.shown("API token")).replace("a secret of mine", secret)

    for name in (".venv", "manage.py"):
        (tmp_path / name).symlink_to(ROOT / name)

    printed = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=tmp_path,
        env=checkout.environment(no_proxy="*", LC_ALL="C.UTF-8"),
        capture_output=True,
        text=True,
        check=True,
    )

    _, back, answer, kept, columns, _, *rows, total = printed.stdout.strip().splitlines()
    assert re.fullmatch(r"https://app\.example\.com/callback/stripe\?code=[A-Za-z0-9]{35}&state=xyz", back)
    token = json.loads(answer)
    assert token["state"] == "xyz"
    assert token["credential"]["properties"]["kind"] == "stripe_oauth2"
    oauth_app = api.get(f"/v1/oauth-apps/{token['credential']['oauth_app_id']}").json()
    assert oauth_app["health"]["status"] == "ok"
    assert json.loads(kept)["access_token"] == token["access_token"]
    assert columns.split() == ["name", "|", "email"]
    assert len([row for row in rows if "@" in row]) == 5
    assert total == "(5 rows)"


def test_its_sync_has_rows(checkout: Checkout, first: Running, api: httpx.Client) -> None:
    """And the line that it prints shows them"""
    command = first.wait_for("manage.py sync_shell").strip()
    (sync,) = [sync for sync in api.get("/v1/syncs").json()["data"] if sync["name"] == "Stripe (sandbox)"]
    until(lambda: is_filled(api, sync["id"]), what="the sync has been through its collections", deadline=60)

    shown = api.get(f"/v1/syncs/{sync['id']}").json()
    command = command.replace("sync_shell", f"sync_shell {sync['id']}")  # another test may have made a newer one
    printed = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=checkout.environment(), capture_output=True, text=True, check=True
    )

    assert [one["id"] for one in shown["collections"]] == ["stripe:customer", "stripe:invoice", "stripe:charge"]
    assert min(one["rows"] for one in shown["collections"]) > 0
    assert shown["health"]["status"] == "ok"
    assert printed.stdout.splitlines()[-2:] == ["(5 rows)", ""]


def is_filled(api: httpx.Client, sync_id: str) -> bool:
    return api.get(f"/v1/syncs/{sync_id}").json()["initial_backfill_completed_at"] is not None


def test_its_logs_hold_no_secret(checkout: Checkout, first: Running, browser: httpx.Client) -> None:
    """E02: neither what it shows once, nor what a trip carries."""
    start = browser.get(f"{checkout.example_url}/connect/stripe").headers["Location"]
    follow(browser, start, "approve")
    browser.get(f"{checkout.url}/link/oauth2/callback/stripe", params={"state": "canary-state", "code": "canary-code"})
    logs = "".join(path.read_text() for path in checkout.var.joinpath("log").glob("*.log"))
    secrets = [first.shown("API token"), first.shown("Password"), "canary-state", "canary-code", "sandbox_"]
    secrets += [app["client_secret"] for app in json.loads(checkout.read("example.json"))["apps"]]
    secrets += [parse_qs(urlsplit(start).query)["state"][0]]
    secrets += [line.partition("=")[2] for line in checkout.read("development.env").splitlines() if "=" in line]

    assert '"path": "/link/oauth2/callback/stripe"' in logs
    assert [secret for secret in secrets if secret in logs] == []


def test_a_second_start_is_refused_and_names_the_address(checkout: Checkout) -> None:
    second = checkout.start()

    assert second.wait() == 1
    assert second.output == (
        f"CommandError: It runs already, at {checkout.url}. Stop that one first (Ctrl-C in its terminal).\n"
    )
    assert httpx.get(f"{checkout.url}/readyz", trust_env=False).status_code == 200


def test_another_project_that_wants_the_same_port_is_refused(checkout: Checkout, first: Running) -> None:
    other = Checkout(checkout.var.with_name("other"))
    other.port = checkout.port

    refused = other.start()

    assert refused.wait() == 1
    assert f"Port {checkout.port} cannot be used" in refused.output
    assert READY not in refused.output
    assert first.process.poll() is None
