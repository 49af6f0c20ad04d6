"""F01 to F06, F13 to F15 and F20 to F22: where the gateway goes, to whom it speaks there, and how long it waits."""

import base64
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from joserfc import jwt
from joserfc.jwk import ECKey
from psycopg.types.json import Jsonb

from sequin_auth.processes import Processes
from tests.lib.servers import Authority, Server, Visit, answering
from tests.real.gateway import Gateway
from tests.real.machine import BASE_DIR
from tests.security.conftest import NewGateway
from tests.security.member import csrf_token, signed_in
from tests.security.network import Network, full_backlog
from tests.security.stand_in import Behaviour, Request, StandIn, answering_json
from tests.security.tenant import App, Browser, Started, Tenant, assert_back, assert_page, new_tenant, query_of

PUBLIC = "1.1.1.1"
ACME = "acme.hosted.example"
ADDRESS = f"{PUBLIC}:443"
BLOCKED = "The provider's address is not one that this gateway may call."
NOT_REACHED = "The provider could not be reached, or did not answer in time."
HEAD = """\
slug = "{slug}"
name = "{slug}"
docs = "https://docs.example.com/oauth"
checked = 2026-11-22
"""
HOSTED = """\
authorization_endpoint = "https://{domain}/authorize"
token_endpoint = "https://{domain}/token"
revocation_endpoint = "https://{domain}/revoke"
tenant_hosted = true
"""
DOMAIN = """
[api]
base_url = "https://{domain}"

[variables.domain]
label = "Domain"
kind = "host"
example = "acme.hosted.example"
host_suffixes = [".hosted.example"]
"""
KEPT = """
[credential]
domain = { variable = "domain", identity = true }
user_id = { token_response = "user_id", identity = true }
"""
FILES = {
    "hosted": HOSTED
    + 'follow_up = "https://{domain}/me"\n'
    + DOMAIN
    + """
[credential]
domain = { variable = "domain", identity = true }
user_id = { follow_up = "id", identity = true }

[kinds.hosted_client_credentials]
label = "Machine"
auth = "client_credentials"
token_endpoint = "https://{domain}/token"
token_params = { client_id = "{client_id}", client_secret = "{client_secret}" }

[kinds.hosted_client_credentials.properties]
domain = { variable = "domain", identity = true }
client_id = { identity = true }
client_secret = { secret = true }
""",
    "signing": HOSTED
    + 'issuer = "https://{domain}/"\ntoken_endpoint_auth_methods_supported = ["private_key_jwt"]\n'
    + DOMAIN
    + KEPT,
    "signing-for-endpoint": HOSTED + 'token_endpoint_auth_methods_supported = ["private_key_jwt"]\n' + DOMAIN + KEPT,
    "labelled": """\
authorization_endpoint = "https://{team}.labelled.example/authorize"
token_endpoint = "https://{team}.labelled.example/token"

[variables.team]
label = "Team"
example = "acme"

[credential]
team = { variable = "team", identity = true }
""",
    "at-a-port": """\
authorization_endpoint = "https://at.a.port.example/authorize"
token_endpoint = "https://at.a.port.example:8443/token"
""",
    "at-localhost": """\
authorization_endpoint = "https://localhost/authorize"
token_endpoint = "https://localhost/token"
""",
    "plain": """\
authorization_endpoint = "@url@/authorize"
token_endpoint = "@url@/token"
revocation_endpoint = "@url@/revoke"

[credential]
user_id = { token_response = "user_id", identity = true }
""",
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Server]:
    server = Server(answering("200 OK", "Content-Type: application/json", body=b'{"access_token": "of-the-proxy"}'))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The one that the gateway trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that the environment of the gateway names, wherever OpenSSL and requests would look for it."""
    return Authority(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="module")
def the_network(directory: Path, authority: Authority) -> Network:
    network = Network(directory / "network")
    network.trusts(authority.certificate)
    return network


@pytest.fixture
def network(the_network: Network, here: Gateway) -> Network:
    the_network.is_new()
    return the_network


@pytest.fixture(scope="module")
def here(
    the_network: Network,
    strangers: Authority,
    proxy: Server,
    the_provider: StandIn,
    gateway_with: NewGateway,
    processes: Processes,
    directory: Path,
) -> Gateway:
    """The gateway in that network, whose environment says whatever could mislead it."""
    files = directory / "providers-of-the-network"
    files.mkdir()
    for slug, text in FILES.items():
        (files / f"{slug}.toml").write_text(HEAD.format(slug=slug) + text.replace("@url@", the_provider.url))
    netrc = the_network.folder / "netrc"
    netrc.write_text("machine 127.0.0.1 login of-netrc password of-netrc\ndefault login of-netrc password of-netrc\n")
    misleading = dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"), str(strangers.certificate))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        misleading |= {name: proxy.url, name.lower(): proxy.url}
    gateway = gateway_with(
        "networked",
        PYTHONPATH=str(the_network.folder),
        PROVIDERS_DIR=str(files),
        EGRESS_ALLOW=f"{the_provider.authority},allowed.example:8443",
        NETRC=str(netrc),
        **misleading,
    )
    gateway.serve(processes)
    return gateway


@pytest.fixture(scope="module")
def atreides(here: Gateway) -> Tenant:
    return new_tenant(here, "Atreides")


@pytest.fixture(scope="module")
def the_acme(authority: Authority) -> Iterator[StandIn]:
    acme = StandIn()
    acme.server.tls = authority.context_for(ACME)
    yield acme
    acme.server.stop()


@pytest.fixture
def acme(the_acme: StandIn, network: Network) -> StandIn:
    """A provider behind TLS, at a public address."""
    the_acme.begin_test()
    the_acme.server.visits = 0
    the_acme.behaves("/me", answering_json(200, {"id": "u1"}))
    network.name(ACME, [PUBLIC])
    network.host(ADDRESS, the_acme.server.port)
    return the_acme


def hosted(tenant: Tenant, domain: str = ACME, slug: str = "hosted", **more: Any) -> App:
    return tenant.app(slug, variables={"domain": domain}, **more)


def imported(tenant: Tenant, domain: str = ACME) -> str:
    """The id of a credential for which access tokens are minted at that host."""
    properties = {
        "kind": "hosted_client_credentials", "domain": domain, "client_id": secrets.token_hex(), "client_secret": "s",
    }  # fmt: skip
    return str(tenant.made("/v1/credentials", {"properties": properties})["id"])


def read(tenant: Tenant, credential: str, **query: str) -> requests.Response:
    return tenant.call("GET", f"/v1/credentials/{credential}/access-token", params=query)


def described(answer: requests.Response) -> str:
    return query_of(answer.headers["Location"])["error_description"]


# ---- F01: what stands in a host --------------------------------------------------------------------------------------

NO_LABEL = [
    "evil.com\\", "evil.com/", "evil.com#", "evil.com?", "a@evil.com", "a.b", "a\n", "a:b", "xn--é", "\uff41cme", "-a",
    "a-", "a" * 64, "..", "{0.__class__}", "{team}", "%2e", "a b", "127.0.0.1", "http://evil.com", "a\x00", "\u2024",
]  # fmt: skip
NO_HOST = [
    "evil.com\\.hosted.example", "evil.com/.hosted.example", "evil.com#.hosted.example", "evil.com?.hosted.example",
    "a@evil.com", "evil.com:8443", "127.0.0.1", "2130706433", "0x7f.1", "127.1", "0", "017700000001", "localhost",
    "[::1]", "::1", "[::ffff:127.0.0.1]", "169.254.169.254", "evil..com", "evil.com.", ".evil.com", "evil com",
    "http://evil.com", "user:password@evil.com", "\u0435vil.com", "evil\u3002com", "{domain}.com", "evil.com\n",
    "a.%2e.com", "a." * 127 + "com", "evil.com\x00.hosted.example",
]  # fmt: skip


def test_f01_a_variable_of_an_oauth_app(atreides: Tenant, network: Network) -> None:
    """422, when it is made and when it is changed, and in a start link of the backend"""
    app, labelled = hosted(atreides), atreides.app("labelled", own_callback=True)
    body = {"name": "App", "client_id": "c", "client_secret": "s"}
    for name, slug, values, mine in (("domain", "hosted", NO_HOST, app), ("team", "labelled", NO_LABEL, labelled)):
        for n, value in enumerate(values):
            variables = {"variables": {name: value}}
            link = {"oauth_app_id": mine.id, "redirect_url": mine.redirect_uri}
            answers = [atreides.call("POST", "/v1/oauth-apps", body | variables | {"provider": slug})]
            if n % 3 == 0:  # the rule is one, and a request takes its time
                answers.append(atreides.call("PATCH", f"/v1/oauth-apps/{mine.id}", variables))
                answers.append(atreides.call("POST", "/v1/credentials/start-auth", link | variables))
            assert {(value, answer.status_code) for answer in answers} == {(value, 422)}
            assert all("variables" in next(iter(answer.json()["validation_errors"])) for answer in answers)

    assert atreides.call("GET", f"/v1/oauth-apps/{app.id}").json()["variables"] == {"domain": ACME}
    assert network.asked == []


def test_f01_a_variable_of_an_imported_credential(atreides: Tenant, network: Network) -> None:
    good = {"kind": "hosted_client_credentials", "client_id": "c", "client_secret": "s"}
    for value in NO_HOST:
        answer = atreides.call("POST", "/v1/credentials", {"properties": good | {"domain": value}})
        assert (value, answer.status_code) == (value, 422)
        assert next(iter(answer.json()["validation_errors"])).startswith("properties")

    assert network.asked == []


def test_f01_a_variable_in_a_link(atreides: Tenant, network: Network) -> None:
    """Back with invalid_request; on the hosted page it is asked for again; a host is the developer's alone to say"""
    browser, labelled, free = Browser(atreides.gateway), atreides.app("labelled"), atreides.app("hosted")

    for value in NO_LABEL:
        assert_back(browser.get(labelled.start_url(team=value, state="s1")), labelled, "invalid_request", "s1")
        again = browser.get(labelled.start_url(team=value, hosted="1"))
        assert (again.status_code, 'name="team"' in again.text, "Location" in again.headers) == (200, True, False)
    for value in [*NO_HOST, "evil.com", "evilhosted.example", "hosted.example.evil.com"]:
        assert_back(browser.get(free.start_url(domain=value, state="s1")), free, "invalid_request", "s1")

    assert not browser.session.cookies
    assert network.asked == []
    start = labelled.started(team="Acme", state="s1").location
    assert start.startswith("https://acme.labelled.example/authorize?")


def test_f01_a_variable_in_the_form_of_the_console(atreides: Tenant, network: Network) -> None:
    """The form comes back, and there is no app more than before"""
    browser = signed_in(atreides)
    add = "/admin/oauth_apps/oauthapp/add/"
    before = atreides.call("GET", "/v1/oauth-apps").json()["data"]
    page = browser.get(f"{add}?provider=hosted").text
    promised = page.partition('name="promised" value="')[2].partition('"')[0]
    token = csrf_token(page)
    form = {
        "promised": promised, "account": atreides.id, "environment": "live", "name": "App", "client_id": "c1",
        "new_client_secret": "s1", "enabled": "on", "other_scopes": "", "metadata": "{}",
    }  # fmt: skip

    def saved(domain: str) -> requests.Response:
        said = form | {"variable_domain": domain, "csrfmiddlewaretoken": token}
        return browser.post(f"{add}?provider=hosted", said)

    for domain in NO_HOST[::4]:
        answer = saved(domain)
        assert (domain, answer.status_code) == (domain, 200)
        assert 'class="problem"' in answer.text

    assert atreides.call("GET", "/v1/oauth-apps").json()["data"] == before
    assert network.asked == []
    assert saved(ACME).status_code == 302
    assert len(atreides.call("GET", "/v1/oauth-apps").json()["data"]) == len(before) + 1


@pytest.mark.parametrize("host", ["evil.com\\.hosted.example", "127.0.0.1", "a@evil.com", "evil.com\n"])
def test_f01_what_somebody_wrote_into_the_database_is_looked_at_again(
    atreides: Tenant, network: Network, host: str
) -> None:
    """Before the start, at the callback, at a check, and before a token is minted or refreshed"""
    app = hosted(atreides)
    trip, credential = app.started(), imported(atreides)
    with psycopg.connect(atreides.gateway.database_uri, autocommit=True) as connection:
        changed = Jsonb({"domain": host})
        connection.execute("UPDATE oauth_apps_oauthapp SET variables = %s WHERE id = %s", [changed, app.id])
        connection.execute(
            "UPDATE credentials_authorization SET snapshot = snapshot || %s WHERE oauth_app_id = %s",
            [Jsonb({"variables": {"domain": host}, "token_endpoint": f"https://{host}/token"}), app.id],
        )
        connection.execute(
            "UPDATE credentials_credential SET properties = properties || %s, variables = %s WHERE id = %s",
            [changed, changed, credential],
        )

    at_start = Browser(atreides.gateway).get(app.start_url())
    at_callback = trip.approved()
    check = atreides.call("POST", f"/v1/oauth-apps/{app.id}/check").json()["health"]
    minted = read(atreides, credential)

    assert_back(at_start, app, "invalid_request")
    assert_back(at_callback, app, "server_error")
    assert check["status"] == "error"
    assert (minted.status_code, minted.json()["code"]) == (409, "provider_unknown")
    assert network.asked == []


# ---- F02, F03: where a name leads ------------------------------------------------------------------------------------

INSIDE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "100.64.0.1", "100.100.100.200", "169.254.169.254", "169.254.170.2", "168.63.129.16", "192.0.0.192", "192.0.2.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0:10.0.0.1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::", "2002:7f00:1::", "fc00::1", "fd00:ec2::254",
    "fe80::1", "fec0::1", "ff02::1", "100::1", "2001::1", "2001:db8::1", "5f00::1",
]  # fmt: skip


def test_f02_a_name_that_leads_inside(atreides: Tenant, network: Network) -> None:
    """To any network that is not public, alone or beside a public address"""
    app = hosted(atreides)
    for answers in [*([address] for address in INSIDE), [PUBLIC, "10.0.0.1"], ["::ffff:10.0.0.1", PUBLIC]]:
        network.is_new()
        network.name(ACME, answers)
        health = atreides.call("POST", f"/v1/oauth-apps/{app.id}/check").json()["health"]
        assert (answers, health["status"], network.called) == (answers, "warn", [])
        assert network.asked == [ACME]


def test_f02_every_way_out_is_guarded(atreides: Tenant, acme: StandIn, network: Network) -> None:
    """Exchange, identity, refresh, mint, check, revocation: the name led to the provider, and now leads inside"""
    app = hosted(atreides)
    credential, minted, trip = atreides.credential(app), imported(atreides), app.started()
    sent = len(acme.requests)
    network.is_new()
    network.name(ACME, ["127.0.0.1"])

    back = trip.approved()
    answers = [
        read(atreides, credential, force_refresh="true"),
        read(atreides, minted),
        revoked(app, "a-token"),
        app.token(grant_type="refresh_token", refresh_token="unknown"),
    ]
    checked = [
        atreides.call("POST", f"/v1/oauth-apps/{app.id}/check").json(),
        atreides.call("POST", f"/v1/credentials/{credential}/check").json(),
        atreides.call("POST", f"/v1/credentials/{minted}/check").json(),
    ]

    assert_back(back, app, "server_error")
    assert described(back) == BLOCKED
    assert [answer.status_code for answer in answers] == [503, 503, 503, 400]
    assert [document["health"]["status"] for document in checked] == ["warn", "warn", "error"]
    assert (set(network.asked), network.called, len(acme.requests)) == ({ACME}, [], sent)


def revoked(app: App, token: str) -> requests.Response:
    form = {"client_id": app.id, "client_secret": app.client_secret or "", "token": token}
    return requests.post(f"{app.tenant.gateway.url}/link/oauth2/revoke", form, allow_redirects=False, timeout=30)


def test_f02_our_own_machine_by_its_name(atreides: Tenant, network: Network) -> None:
    """A catalogue file that says localhost is one that EGRESS_ALLOW has to let through"""
    app = atreides.app("at-localhost")

    back = app.started().approved()

    assert_back(back, app, "server_error")
    assert described(back) == BLOCKED
    assert network.called == []


def test_f03_a_name_that_leads_elsewhere_the_second_time(atreides: Tenant, acme: StandIn, network: Network) -> None:
    """It is asked for once for each call, and the address that was looked at is the one that is called"""
    app = hosted(atreides)
    network.name(ACME, [PUBLIC], ["127.0.0.1"])

    back = app.started().approved()

    assert_back(back, app, "server_error")  # /token was called; /me, and then /revoke, led inside
    assert [sent.path for sent in acme.requests] == ["/token"]
    assert network.asked == [ACME] * 3
    assert network.called == [ADDRESS]


def test_f03_the_name_stays_in_the_request(atreides: Tenant, acme: StandIn, network: Network) -> None:
    names: list[str | None] = []
    assert acme.server.tls
    acme.server.tls.sni_callback = lambda _, name, __: names.append(name)

    assert hosted(atreides).started().approved().status_code == 302

    acme.server.tls.sni_callback = None
    assert names == [ACME, ACME]
    assert [sent.headers["host"] for sent in acme.requests] == [ACME, ACME]
    assert network.called == [ADDRESS, ADDRESS]


# ---- F05, F06: how long ----------------------------------------------------------------------------------------------

DEADLINE, CONNECT = 10.0, 5.0  # seconds


def hangs(visit: Visit, _: Request) -> None:
    visit.connection.settimeout(40)
    visit.connection.recv(1)


def drips(head: bytes, piece: bytes) -> Behaviour:
    def behave(visit: Visit, _: Request) -> None:
        visit.send(b"HTTP/1.1 200 OK\r\n", head)
        for _tick in range(200):
            if visit.server.stopped.wait(0.1):
                return
            visit.send(piece)

    return behave


def late(visit: Visit, _: Request, seconds: float = 6.0) -> None:
    visit.server.stopped.wait(seconds)
    answering_json(200, {"access_token": "t1", "refresh_token": "r1", "user_id": "u1"})(visit, _)


DRIPPING_HEADERS = drips(b"", b"X: x\r\n")
DRIPPING_BODY = drips(b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n", b" ")
DRIPPING_CHUNKS = drips(b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")
SLOW: dict[str, dict[str, Behaviour]] = {
    "hangs": {"/token": hangs},
    "drips headers": {"/token": DRIPPING_HEADERS},
    "drips its body": {"/token": DRIPPING_BODY},
    "drips chunks": {"/token": DRIPPING_CHUNKS},
    "does not say who": {"/me": hangs},
    "does not say who, nor take tokens back": {"/me": DRIPPING_BODY, "/revoke": hangs},
    "is late each time": {"/token": late, "/me": lambda visit, request: late(visit, request, 9.0), "/revoke": hangs},
}


@pytest.fixture
def others(network: Network, authority: Authority) -> Iterator[Callable[[dict[str, Behaviour]], tuple[str, StandIn]]]:
    """Makes one more provider behind TLS, at a name and an address of its own."""
    made: list[StandIn] = []

    def make(ways: dict[str, Behaviour]) -> tuple[str, StandIn]:
        made.append(StandIn(behaviours={"/me": answering_json(200, {"id": "u1"})} | ways))
        host, address = f"other-{len(made)}.hosted.example", f"1.1.2.{len(made)}"
        made[-1].server.tls = authority.context_for(host)
        network.name(host, [address])
        network.host(f"{address}:443", made[-1].server.port)
        return host, made[-1]

    yield make
    for provider in made:
        provider.server.stop()


@contextmanager
def taking(at_least: float, at_most: float) -> Iterator[None]:
    begun_at = time.monotonic()
    yield
    assert at_least <= time.monotonic() - begun_at <= at_most


def test_f05_a_slow_provider(atreides: Tenant, acme: StandIn, others: Any) -> None:
    """All at once: each trip is back within deadline + 2 s, whatever hangs, and nobody else waits"""

    def trip(how: str) -> None:
        with taking(DEADLINE - 0.5, DEADLINE + 2):
            answer = started[how].approved()
        assert_back(answer, started[how].app, "temporarily_unavailable")

    def call(made: Callable[[], requests.Response]) -> None:
        with taking(DEADLINE - 0.5, DEADLINE + 2):
            answer = made()
        assert answer.status_code == 503

    started = {how: hosted(atreides, others(ways)[0]).started() for how, ways in SLOW.items()}
    host, slow = others({})
    app = hosted(atreides, host)
    credential = atreides.credential(app)
    for path in ("/token", "/revoke"):
        slow.behaves(path, hangs)
    calls = [
        lambda: read(atreides, credential, force_refresh="true"),
        lambda: app.token(grant_type="refresh_token", refresh_token="unknown"),
        lambda: revoked(app, "a-token"),
    ]

    with ThreadPoolExecutor(len(started) + len(calls)) as threads:
        slow_ones = [*(threads.submit(trip, how) for how in started), *(threads.submit(call, one) for one in calls)]
        for _ in range(4):  # meanwhile
            with taking(0, 2):
                assert "code" in query_of(hosted(atreides).started().approved().headers["Location"])
        assert not any(one.done() for one in slow_ones)
        for one in slow_ones:
            one.result()


def test_f06_a_connection_that_nobody_accepts(
    atreides: Tenant, network: Network, authority: Authority, others: Any
) -> None:
    """Nor a handshake that does not come, nor a name server that does not answer"""

    def trip(started: Started) -> None:
        with taking(CONNECT - 0.5, CONNECT + 1.5):
            answer = started.approved()
        assert_back(answer, started.app, "temporarily_unavailable")
        assert described(answer) == NOT_REACHED

    silent = Server(Visit.hang)
    with full_backlog() as port:
        for n, there in enumerate((port, silent.port)):
            network.name(f"silent-{n}.hosted.example", [f"1.1.3.{n}"])
            network.host(f"1.1.3.{n}:443", there)
        network.name("silent-2.hosted.example", ["hangs"])
        started = [hosted(atreides, f"silent-{n}.hosted.example").started() for n in range(3)]
        with ThreadPoolExecutor(len(started)) as threads:
            list(threads.map(trip, started))
    silent.stop()


# ---- F13: what is sent twice -----------------------------------------------------------------------------------------


def test_f13_where_nothing_was_sent_it_is_tried_once_more(atreides: Tenant, acme: StandIn, network: Network) -> None:
    """A refused connection, then a name that is not known; and what was sent is sent once"""
    for answers, called in (
        ([["1.1.9.9"]], ["1.1.9.9:443"] * 2),
        ([[]], []),
        ([["1.1.9.9"], [PUBLIC]], ["1.1.9.9:443", ADDRESS, ADDRESS]),
        ([[], [PUBLIC]], [ADDRESS, ADDRESS]),
    ):
        acme.requests.clear()
        network.write("names", {ACME: answers})
        (network.folder / "log").write_text("")
        app = hosted(atreides)
        back = app.started().approved()
        assert [address for address in network.called if address in ("1.1.9.9:443", ADDRESS)] == called
        if ADDRESS in called:
            assert "code" in query_of(back.headers["Location"])
            assert [sent.path for sent in acme.requests] == ["/token", "/me"]
        else:
            assert_back(back, app, "temporarily_unavailable")
            assert network.asked.count(ACME) == 2


# ---- F14: TLS --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["strangers", "another host's", "of a wildcard above", "expired", "none at all"])
def test_f14_a_certificate_that_is_not_right(
    atreides: Tenant,
    acme: StandIn,
    authority: Authority,
    strangers: Authority,
    whose: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is sent, though the environment names the strangers' authority"""
    right = acme.server.tls
    if whose == "none at all":
        monkeypatch.setattr(acme.server, "behave", lambda visit: visit.send(b"HTTP/1.1 200 OK\r\n\r\n{}"))
    acme.server.tls = {
        "strangers": strangers.context_for(ACME),
        "another host's": authority.context_for("other.hosted.example"),
        "of a wildcard above": authority.context_for("*.example"),
        "expired": authority.context_for(ACME, days=-1),
        "none at all": None,
    }[whose]
    app = hosted(atreides)

    back = app.started().approved()

    acme.server.tls = right
    monkeypatch.undo()
    assert_back(back, app, "temporarily_unavailable")
    assert described(back) == NOT_REACHED
    assert acme.requests == []
    assert app.client_secret
    assert not [sent for sent in acme.server.requests if app.client_secret.encode() in sent]
    assert "code" in query_of(app.started().approved().headers["Location"])


def test_f14_plain_http_is_not_in_the_catalogue(here: Gateway, directory: Path) -> None:
    """A file that says so ends the start, unless EGRESS_ALLOW names its host and port"""
    files = directory / "plain-files"
    files.mkdir()
    text = FILES["plain"].replace("@url@", "http://plain.example")
    (files / "plain.toml").write_text(HEAD.format(slug="plain") + text)

    ran = managed(here, "providers", "list", PROVIDERS_DIR=str(files))

    assert ran.returncode != 0
    assert "plain.toml" in ran.stderr
    assert "token_endpoint must be an https URL" in ran.stderr


# ---- F15: the environment --------------------------------------------------------------------------------------------


def test_f15_proxies_and_netrc_count_for_nothing(
    atreides: Tenant, acme: StandIn, provider: StandIn, proxy: Server
) -> None:
    """All of them are set, for this gateway, for http and https"""
    app, plain = hosted(atreides), atreides.app("plain")
    credential = atreides.credential(app)

    assert "code" in query_of(plain.started().approved().headers["Location"])
    assert read(atreides, credential, force_refresh="true").status_code == 200
    assert revoked(plain, "a-token").status_code == 200

    assert proxy.visits == 0
    sent = [*acme.asked, *provider.asked]
    assert [request.path for request in sent] == ["/token", "/me", "/token", "/token", "/revoke"]
    assert [request for request in sent if "of-netrc" in decoded(request)] == []


def decoded(request: Request) -> str:
    scheme, _, pair = request.headers.get("authorization", "").partition(" ")
    return base64.b64decode(pair).decode() if scheme == "Basic" else ""


# ---- F20: metadata ---------------------------------------------------------------------------------------------------


def test_f20_no_metadata_is_asked_for(atreides: Tenant, acme: StandIn) -> None:
    """Endpoints and issuer stand in the catalogue: whatever a server publishes of itself, nobody fetches"""
    poisoned = {"issuer": "https://evil.example", "token_endpoint": "https://evil.example/token"}
    for path in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
        acme.behaves(path, answering_json(200, poisoned))
    app = hosted(atreides)
    credential = atreides.credential(app)

    assert read(atreides, credential, force_refresh="true").status_code == 200
    assert atreides.call("POST", f"/v1/oauth-apps/{app.id}/check").status_code == 200
    assert atreides.call("POST", f"/v1/credentials/{credential}/check").status_code == 200

    assert {sent.path for sent in acme.requests} == {"/token", "/me"}


def test_f20_metadata_of_another_issuer_make_no_catalogue_file(here: Gateway, acme: StandIn, directory: Path) -> None:
    """The command that writes a file for a new provider asks for them, and what it writes, it never asks for again"""
    metadata = {
        "issuer": "https://evil.example",
        "authorization_endpoint": f"https://{ACME}/authorize",
        "token_endpoint": f"https://{ACME}/token",
    }
    acme.behaves("/.well-known/openid-configuration", answering_json(200, metadata))

    for url in (f"https://{ACME}", f"https://{ACME}/.well-known/openid-configuration"):
        ran = managed(here, "providers", "new", "poisoned", "--no-input", "--discover", url)
        assert ran.returncode != 0
        assert "speaks of another issuer (RFC 8414, 3.3)" in ran.stderr

    assert not list(directory.rglob("poisoned.toml"))
    assert {(request.method, request.path) for request in acme.requests} == {
        ("GET", "/.well-known/openid-configuration")
    }


def managed(gateway: Gateway, *command: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    how: Any = {"cwd": BASE_DIR, "env": gateway.environment | settings, "capture_output": True, "text": True}
    return subprocess.run([sys.executable, "manage.py", *command], check=False, **how)


# ---- F21: assertions -------------------------------------------------------------------------------------------------

KEY = ECKey.generate_key("P-256")
PEM = KEY.as_pem(private=True).decode()


@pytest.mark.parametrize("slug", ["signing", "signing-for-endpoint"])
def test_f21_an_assertion_is_for_the_one_who_gets_it(atreides: Tenant, acme: StandIn, others: Any, slug: str) -> None:
    """One audience, at the very host that it is sent to: what an attacker's own server gets opens no other"""
    evil_host, evil = others({})
    evil.behaves("/token", answering_json(400, {"error": "invalid_client", "issuer": f"https://{ACME}/"}))

    for host, provider in ((evil_host, evil), (ACME, acme)):
        app = hosted(atreides, host, slug, client_secret=PEM)
        trip = app.started()
        trip.approved()
        atreides.call("POST", f"/v1/oauth-apps/{app.id}/check")
        # A credential of another test may just be refreshed there, by a secret
        sent = [request for request in provider.sent_to("/token") if "client_secret" not in request.form]
        claims = [jwt.decode(request.form["client_assertion"], KEY, algorithms=["ES256"]).claims for request in sent]
        audience = f"https://{host}/" if slug == "signing" else f"https://{host}/token"
        assert [claim["aud"] for claim in claims] == [audience] * 2
        assert len({claim["jti"] for claim in claims}) == 2
        assert all(claim["exp"] - claim["iat"] <= 60 for claim in claims)
        assert not [request for request in sent if "PRIVATE" in request.body.decode() + str(request.headers)]


def test_f21_a_callback_cannot_say_who_the_audience_is(atreides: Tenant, acme: StandIn, others: Any) -> None:
    evil_host, evil = others({})
    trip = hosted(atreides, evil_host, "signing", client_secret=PEM).started()

    answer = trip.approved(iss=f"https://{ACME}/")

    assert_page(answer)
    assert (evil.requests, acme.requests) == ([], [])


# ---- F22: ports ------------------------------------------------------------------------------------------------------


def test_f22_another_port_is_not_called(atreides: Tenant, network: Network) -> None:
    """Though the catalogue says so: EGRESS_ALLOW has to, for that host and port"""
    network.name("at.a.port.example", [PUBLIC])
    app = atreides.app("at-a-port")

    back = app.started().approved()

    assert_back(back, app, "server_error")
    assert described(back) == BLOCKED
    assert (network.asked, network.called) == ([], [])


def test_f22_what_is_allowed_at_one_port_is_not_at_another(atreides: Tenant, network: Network) -> None:
    network.name("allowed.example", ["127.0.0.1"])
    app = hosted(atreides, "allowed.example")

    back = app.started().approved()

    assert_back(back, app, "server_error")
    assert described(back) == BLOCKED
    assert (network.asked, network.called) == (["allowed.example"], [])


@pytest.mark.parametrize("domain", [f"{ACME}:8443", f"{ACME}:443", f"http://{ACME}", f"ftp://{ACME}", f"//{ACME}"])
def test_f22_a_variable_names_neither_port_nor_scheme(atreides: Tenant, network: Network, domain: str) -> None:
    body = {"provider": "hosted", "name": "App", "client_id": "c", "client_secret": "s"}

    answer = atreides.call("POST", "/v1/oauth-apps", body | {"variables": {"domain": domain}})

    assert (answer.status_code, network.asked) == (422, [])
