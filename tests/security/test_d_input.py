"""D10, D11, D13, H13, I03, I04: what `/v1` and the token endpoint are sent, and whoever reads it later."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import psutil
import pytest
import requests

from tests.real.gateway import Gateway
from tests.security.stand_in import StandIn
from tests.security.tenant import TIMEOUT, App, Tenant, new_tenant

JSON = {"Content-Type": "application/json"}
LISTS = ("/v1/oauth-apps", "/v1/redirect-uris", "/v1/credentials", "/v1/webhook-endpoints", "/v1/providers")


class Here:
    """An account with one of everything, and each of its endpoints that takes a body, with a body that it takes."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.app: App = tenant.app()
        self.credential = tenant.credential(self.app)
        self.endpoint = tenant.made("/v1/webhook-endpoints", {"url": "https://arrakis.example/hook"})["id"]
        new_app = {"provider": "standin", "name": "n", "client_id": "c", "client_secret": "s", "metadata": {"a": 1}}
        key = {"kind": "stripe_key", "secret": "sk_1", "name": "n"}
        start = {"redirect_url": self.app.redirect_uri, "scope": "read", "state": {"a": 1}}
        endpoint = {"url": "https://arrakis.example/hook", "description": "d", "events": ["credential.created"]}
        self.bodies: Mapping[tuple[str, str], dict[str, Any]] = {
            ("POST", "/v1/oauth-apps"): new_app | {"default_scopes": ["read"], "variables": {"a": "b"}},
            ("PATCH", f"/v1/oauth-apps/{self.app.id}"): {"name": "n", "client_secret": "s", "metadata": {"a": 1}},
            ("POST", "/v1/redirect-uris"): {"redirect_uri": "https://arrakis.example/back"},
            ("POST", "/v1/credentials"): {"properties": key, "name": "n", "metadata": {"a": 1}},
            ("PATCH", f"/v1/credentials/{self.credential}"): {"name": "n", "metadata": {"a": 1}},
            ("POST", f"/v1/credentials/{self.credential}/reconnect"): start,
            ("POST", "/v1/credentials/start-auth"): start | {"oauth_app_id": self.app.id, "variables": {"a": "b"}},
            ("POST", "/v1/webhook-endpoints"): endpoint,
            ("PATCH", f"/v1/webhook-endpoints/{self.endpoint}"): endpoint,
        }

    def send(self, method: str, path: str, data: bytes | str, **headers: str) -> requests.Response:
        data = data.encode() if isinstance(data, str) else data
        return self.tenant.call(method, path, data=data, headers=JSON | headers)

    def rows(self) -> dict[str, Any]:
        """All that an account can read of itself, by everything that reads."""
        found: dict[str, Any] = {}
        for path in LISTS[:4]:
            answer = self.tenant.call("GET", f"{path}?limit=500")
            assert answer.status_code == 200, answer.text
            found[path] = answer.json()["data"]
            for row in found[path]:
                if path != "/v1/redirect-uris":
                    assert self.tenant.call("GET", f"{path}/{row['id']}").status_code == 200, row
        exported = self.tenant.call("GET", "/v1/credentials/export")
        assert exported.status_code == 200
        assert len([json.loads(line) for line in exported.text.splitlines()]) == len(found["/v1/credentials"])
        return found


@pytest.fixture(scope="module")
def here(gateway: Gateway, the_provider: StandIn) -> Here:
    the_provider.forget()
    return Here(new_tenant(gateway, "Input"))


def assert_refused(answer: requests.Response, *statuses: int) -> dict[str, Any]:
    """In the envelope, and with one of these statuses."""
    assert answer.status_code in statuses, f"{answer.status_code} {answer.text[:300]}"
    assert answer.headers["Content-Type"] == "application/json"
    document: dict[str, Any] = answer.json()
    assert {"summary", "code", "request_id"} <= document.keys()
    assert ("validation_errors" in document) == (answer.status_code == 422)
    return document


# ---- D10 -------------------------------------------------------------------------------------------------------------

OTHER_TYPES = (
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "text/json",
    "application/xml",
    "application/x-ndjson",
    "application/json; charset=utf-16",
    "application/json; charset=bogus",
    "application/json; charset=rot13",
    "application/json; charset=undefined",
    "application/json; charset*=bogus''x",
    "application/octet-stream",
    "json",
    ";",
)


@pytest.mark.parametrize("content_type", OTHER_TYPES)
def test_d10_json_alone(here: Here, content_type: str) -> None:
    before = here.rows()

    for (method, path), body in here.bodies.items():
        answer = here.send(method, path, json.dumps(body), **{"Content-Type": content_type})
        assert assert_refused(answer, 415)["code"] == "unsupported_media_type", path

    assert here.rows() == before


def test_d10_a_form_is_no_json(here: Here) -> None:
    answer = here.tenant.call("POST", "/v1/redirect-uris", data={"redirect_uri": "https://arrakis.example/form"})

    assert_refused(answer, 415)


@pytest.mark.parametrize("content_type", OTHER_TYPES)
def test_d10_no_type_breaks_a_request_without_a_body(here: Here, content_type: str) -> None:
    for path in ("/v1/oauth-apps?provider=%C3%A9", "/healthz", "/.well-known/oauth-authorization-server"):
        answer = here.tenant.call("GET", path, headers={"Content-Type": content_type})
        assert answer.status_code == 200, path


def test_d10_the_honest_way_still_works(here: Here) -> None:
    for number, content_type in enumerate(("application/json", "application/json; charset=UTF-8")):
        body = json.dumps({"redirect_uri": f"https://arrakis.example/honest/{number}"})
        assert here.send("POST", "/v1/redirect-uris", body, **{"Content-Type": content_type}).status_code == 201


# ---- D11 -------------------------------------------------------------------------------------------------------------

NO_LIMITS = (
    "-1",
    "0",
    "501",
    "9" * 40,
    "1.0",
    "1e2",
    "%2B1",
    "%201",
    "1%00",
    "%00",
    "",
    "abc",
    "%D9%A1",
    "0x1",
    "null",
)
NO_CURSORS = ("", "x", "%00", "=", "A" * 54, "..%2F", "%F0%9F%98%80", "A" * 4000)
NO_METADATA = (
    "", "{", "[]", "1", "null", '"a"', "{'a':1}", '{"a":NaN}', '{"a":"\\u0000"}', '{"a":"\\ud800"}', '{"a":1,"a":2}',
    '{"a":%s}' % ("9" * 5000), '{"a":%s}' % ("[" * 40 + "]" * 40), "{" * 1500, '{"\\u0000":1}', "\0",
)  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
def test_d11_pages(here: Here, path: str) -> None:
    for limit in NO_LIMITS:
        document = assert_refused(here.tenant.call("GET", f"{path}?limit={limit}"), 400, 422)
        assert list(document["validation_errors"]) == ["limit"], limit
    for cursor in NO_CURSORS:
        document = assert_refused(here.tenant.call("GET", f"{path}?cursor={cursor}"), 400, 422)
        assert list(document["validation_errors"]) == ["cursor"], cursor
    for query in ("limit=1&limit=2", "offset=1", "page=2", "ordering=id", "id__gt=0", "format=json"):
        assert_refused(here.tenant.call("GET", f"{path}?{query}"), 422)


@pytest.mark.parametrize("path", ["/v1/oauth-apps", "/v1/credentials", "/v1/credentials/export"])
def test_d11_filters(here: Here, path: str) -> None:
    for text in NO_METADATA:
        document = assert_refused(here.tenant.call("GET", path, params={"metadata": text}), 400, 422)
        assert list(document["validation_errors"]) == ["metadata"], text
    for query in ("health.status=fine", "health.status=%00", "provider=%00", "health.status=ok&health.status=ok"):
        assert_refused(here.tenant.call("GET", f"{path}?{query}"), 400, 422)


def test_d11_a_cursor_is_what_its_list_gave(here: Here) -> None:
    whole = here.tenant.call("GET", "/v1/redirect-uris?limit=1").json()["next_cursor"]
    of_providers = here.tenant.call("GET", "/v1/providers?limit=1").json()["next_cursor"]
    if whole is None:
        here.tenant.made("/v1/redirect-uris", {"redirect_uri": "https://arrakis.example/second"})
        whole = here.tenant.call("GET", "/v1/redirect-uris?limit=1").json()["next_cursor"]

    for place in range(0, len(whole), 7):
        changed = whole[:place] + ("A" if whole[place] != "A" else "B") + whole[place + 1 :]
        assert_refused(here.tenant.call("GET", "/v1/redirect-uris", params={"cursor": changed}), 422)
    assert_refused(here.tenant.call("GET", "/v1/redirect-uris", params={"cursor": of_providers}), 422)
    assert_refused(here.tenant.call("GET", "/v1/redirect-uris", params={"cursor": whole + "="}), 422)


def test_d11_the_pages_hold_everything_once(here: Here) -> None:
    for number in range(4):
        here.tenant.made("/v1/redirect-uris", {"redirect_uri": f"https://arrakis.example/page/{number}"})
    everything = [row["id"] for row in here.tenant.call("GET", "/v1/redirect-uris").json()["data"]]

    found, cursor = [], ""
    while cursor is not None:
        query = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = here.tenant.call("GET", "/v1/redirect-uris", params=query).json()
        found += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]

    assert found == everything
    assert len(found) >= 5


# ---- D13 and I03 -----------------------------------------------------------------------------------------------------

POISON: Mapping[str, str] = {  # as JSON; none of it may be kept anywhere
    "NUL": r'"a\u0000b"',
    "half of a pair": r'"\ud800"',
    "the other half": r'"x\udfffy"',
    "NUL in a name": r'{"a\u0000": 1}',
    "half of a pair, within": r'{"a": [{"b": "\udc00"}]}',
    "5,000 digits": "9" * 5000,
    "NaN": "NaN",
    "Infinity": '{"a": -Infinity}',
    "too large a number": "1e999",
    "too deep": "[" * 33 + "]" * 33,
    "too deep by far": '{"a":' * 5_000 + "1" + "}" * 5_000,
    "the same name twice": '{"a": 1, "a": 2}',
}


def places(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in `body` something free stands."""
    if isinstance(body, dict | list):
        for key, value in body.items() if isinstance(body, dict) else enumerate(body):
            yield (*path, key)
            yield from places(value, (*path, key))


def with_poison(body: dict[str, Any], place: tuple[Any, ...], poison: str) -> str:
    """`body` as JSON, with `poison` in that place."""
    changed = json.loads(json.dumps(body))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = "POISON"
    return json.dumps(changed).replace('"POISON"', poison)


@pytest.mark.parametrize("name", POISON)
def test_d13_poison_in_every_place(here: Here, name: str) -> None:
    before = here.rows()

    for (method, path), body in here.bodies.items():
        for place in places(body):
            answer = here.send(method, path, with_poison(body, place, POISON[name]))
            assert_refused(answer, 400, 422)
        assert_refused(here.send(method, path, POISON[name]), 400, 422)

    assert here.rows() == before


def test_d13_poison_in_the_lines_of_an_import(here: Here) -> None:
    before = here.rows()
    row = {"kind": "stripe_key", "properties": {"kind": "stripe_key", "secret": "sk_2"}, "name": "n", "metadata": {}}
    lines = [with_poison(row, place, poison) for place in places(row) for poison in POISON.values()]

    answer = here.send("POST", "/v1/credentials/import", "\n".join(lines), **{"Content-Type": "application/x-ndjson"})

    report = answer.json()
    assert (report["lines"], report["refused"], report["created"]) == (len(lines), len(lines), 0)
    assert here.rows() == before


@pytest.mark.parametrize("value", ["[]", '"text"', "7", "true", "null", '["a"]'])
def test_d13_metadata_is_an_object(here: Here, value: str) -> None:
    for (method, path), body in here.bodies.items():
        if "metadata" in body:
            document = assert_refused(here.send(method, path, with_poison(body, ("metadata",), value)), 422)
            assert list(document["validation_errors"]) == ["metadata"]


def test_d13_what_is_too_large(here: Here) -> None:
    """Metadata of more than 16 KiB: 422. A body of more than 1 MiB: 413."""
    before = here.rows()

    for (method, path), body in here.bodies.items():
        if "metadata" in body:
            large = json.dumps({"a": "é" * 8_190})
            assert_refused(here.send(method, path, with_poison(body, ("metadata",), large)), 422)
        assert_refused(here.send(method, path, json.dumps(body | {"name": "n" * 1_048_576})), 413)

    assert here.rows() == before


def test_d13_what_is_odd_and_sound_is_kept_as_it_is(here: Here) -> None:
    deepest: dict[str, Any] = {}
    for _ in range(31):
        deepest = {"": deepest}
    sound: tuple[dict[str, Any], ...] = (
        deepest,
        {"\u007f\u2028\ufffe": ["\U0010ffff", "'; DROP TABLE x; --", "<script>", "\\u0000", "%00", "=1+1"]},
        {"n": 10**300, "f": 1.5, "small": -5e-324, "null": None, "nested": [[], {}]},
        {"a": "x" * 16_000},
    )
    for metadata in sound:
        made = here.tenant.made("/v1/credentials", here.bodies["POST", "/v1/credentials"] | {"metadata": metadata})
        shown = here.tenant.call("GET", f"/v1/credentials/{made['id']}").json()["metadata"]
        assert shown == made["metadata"] == metadata
        found = {"metadata": json.dumps(metadata)}
        if len(found["metadata"]) < 4_000:
            listed = here.tenant.call("GET", "/v1/credentials", params=found).json()["data"]
            assert [row["id"] for row in listed] == [made["id"]]
    here.rows()


@pytest.mark.parametrize("levels", [33, 100, 2_000, 100_000])
def test_i03_deep_json(here: Here, levels: int) -> None:
    arrays, objects = "[" * levels + "]" * levels, '{"a":' * levels + "1" + "}" * levels

    for (method, path), body in here.bodies.items():
        for deep in (arrays, objects) if levels < 2_000 else (arrays,):
            field = next(iter(body))
            assert_refused(here.send(method, path, f'{{"{field}": {deep}}}'), 400, 422)
            assert_refused(here.send(method, path, deep), 400, 422)
            assert_refused(here.send(method, path, deep[:levels]), 400, 422)  # never closed


@pytest.mark.parametrize("endpoint", ["token", "revoke"])
@pytest.mark.parametrize("levels", [33, 2_000, 100_000])
def test_i03_deep_json_at_the_token_endpoint(here: Here, endpoint: str, levels: int) -> None:
    url = f"{here.tenant.gateway.url}/link/oauth2/{endpoint}"

    for body in ('{"code": %s}' % ("[" * levels + "]" * levels), "[" * levels, '{"a":' * levels):
        answer = requests.post(url, data=body, headers=JSON, timeout=TIMEOUT)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_i03_deep_json_in_a_filter(here: Here) -> None:
    for deep in ('{"a":%s}' % ("[" * 33 + "]" * 33), "[" * 1_000, '{"a":' * 500):
        assert_refused(here.tenant.call("GET", "/v1/credentials", params={"metadata": deep}), 422)


# ---- H13 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["text/html", "text/html,application/xhtml+xml,*/*;q=0.8", "image/png", "nonsense"])
def test_h13_browsable_api(here: Here, accept: str) -> None:
    app, nobody = f"/v1/oauth-apps/{here.app.id}", "/v1/oauth-apps/00000000-0000-4000-8000-000000000000"
    for method, path, status in (
        *(("GET", path, 200) for path in (*LISTS, app, "/v1/openapi.json")),
        ("GET", nobody, 404),
        ("GET", "/v1/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/nothing", 404),
        ("PUT", app, 405),
        ("OPTIONS", app, 405),
        ("POST", "/v1/oauth-apps", 400),
    ):
        answer = here.tenant.call(method, path, headers={"Accept": accept}, data=b"")
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json"), path
        assert "<" not in answer.text[:1]

    for query in ("format=api", "format=html", "_accept=text/html"):
        assert_refused(here.tenant.call("GET", f"/v1/oauth-apps?{query}", headers={"Accept": accept}), 422)
    anonymous = requests.get(f"{here.tenant.gateway.url}{app}", headers={"Accept": accept}, timeout=TIMEOUT)
    assert_refused(anonymous, 401)


# ---- I04 -------------------------------------------------------------------------------------------------------------

LONG = 100_000
MOST = 0.1  # seconds of CPU
SHAPES: Mapping[str, str] = {
    "one letter": "a" * LONG,
    "labels": "a." * (LONG // 2),
    "dashes": "a" + "-" * LONG + "!",
    "labels and a fault": "a-" * (LONG // 2) + "!",
    "spaces": " " * LONG + "x",
    "segments": "https://" + "a/" * (LONG // 2) + "\\",
    "a host": "https://" + "a-" * (LONG // 2) + "!.example/",
    "dots": "https://" + "a." * (LONG // 2) + "!",
    "brackets": "https://[" + ":" * LONG + "]/",
    "percent signs": "https://a.example/" + "%a" * (LONG // 2),
    "tokens": "https://a.example/" + ":provider/" * (LONG // 10),
    "scopes": "read " * (LONG // 5) + '"',
    "commas": "," * LONG + '"',
    "key": "-----BEGIN PRIVATE KEY-----\n" + "A" * LONG,
    "dates": "2026-11-22T" + "0" * LONG,
}


def web_processes(gateway: Gateway) -> list[psutil.Process]:
    """Those that listen where the gateway does."""
    port = int(gateway.environment["PORT"])
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(here.laddr.port == port and here.status == "LISTEN" for here in process.net_connections("tcp4")):
                found.append(process)
    return found


def cpu_of(processes: list[psutil.Process], action: Callable[[], object]) -> float:
    """Seconds of CPU that the processes take for it."""

    def spent() -> float:
        return float(sum(times.user + times.system for times in (process.cpu_times() for process in processes)))

    before = spent()
    action()
    return spent() - before


def test_i04_slow_patterns(gateway: Gateway, here: Here) -> None:
    """100 kB into whatever is judged by a pattern. Of three tries the quickest counts: others use this gateway too."""
    processes = web_processes(gateway)
    assert len(processes) >= 2
    slow = []

    for shape, text in SHAPES.items():
        for (method, path), body in here.bodies.items():
            if method == "PATCH":
                continue  # the same fields
            long = {
                name: text if isinstance(value, str) else [text] if isinstance(value, list) else value
                for name, value in body.items()
            }
            long |= {
                name: dict.fromkeys(value, text) for name, value in body.items() if name in {"variables", "properties"}
            }
            data = json.dumps(long)

            def call(method: str = method, path: str = path, data: str = data) -> None:
                assert_refused(here.send(method, path, data), 400, 422)

            if all(cpu_of(processes, call) > MOST for _ in range(3)):
                slow.append((shape, method, path))
        form = dict.fromkeys(("client_id", "client_secret", "code"), text)

        def exchange(form: dict[str, str] = form) -> None:
            answer = requests.post(f"{gateway.url}/link/oauth2/token", form, timeout=TIMEOUT)
            assert answer.status_code in {400, 401, 429}

        if all(cpu_of(processes, exchange) > len(form) * MOST for _ in range(3)):
            slow.append((shape, "POST", "token"))

    assert slow == []


def test_i04_slow_patterns_in_a_url(gateway: Gateway, here: Here) -> None:
    """As much of it as a URL holds."""
    processes = web_processes(gateway)
    slow = []

    for shape, text in SHAPES.items():
        for name in ("redirect_uri", "scope"):
            params = {"client_id": here.app.id, "redirect_uri": here.app.redirect_uri} | {name: text[:2_500]}

            def start(params: dict[str, str] = params) -> None:
                answer = requests.get(
                    f"{gateway.url}/link/oauth2/start", params, allow_redirects=False, timeout=TIMEOUT
                )
                assert answer.status_code in {302, 400, 414}

            if all(cpu_of(processes, start) > MOST for _ in range(3)):
                slow.append((shape, name))

    assert slow == []
