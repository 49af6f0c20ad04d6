"""
No secret of any trip stands where somebody else reads: logs, tables, the files of the database. (E01, E02)

The gateway logs at DEBUG. These tests come last, by their name, so that the trips of all others count; for when they
run alone, they make trips of their own.
"""

from pathlib import Path

import pytest

from tests.real.canaries import Canaries, dump, search, spellings
from tests.real.end_user import EndUser, query_of
from tests.real.gateway import App, Gateway
from tests.real.oidc import OidcProviders

pytestmark = pytest.mark.real

MARKER = "this-name-may-be-read-by-anybody"
KINDS = {
    "API token", "SECRET_KEY", "ENCRYPTION_KEYS", "client secret", "cookie", "access_token", "refresh_token",
    "the developer's state", "passed at the provider", "code of /link/oauth2/callback/oidc-pkce",
    "state of /auth", "code of /back/oidc-pkce",
}  # fmt: skip


@pytest.fixture(scope="module")
def trips(oidc: OidcProviders, gateway: Gateway, basic_app: App, pkce_app: App, canaries: Canaries) -> None:
    """Trips that go well and ill, so that each secret there is has passed by."""
    metadata = {"metadata": {"canary": MARKER}}
    sandboxed = gateway.create_app(
        "hubspot", client_id=MARKER, client_secret="only-the-sandbox-knows-it", environment="sandbox", **metadata
    )
    for app in (basic_app, pkce_app, sandboxed):
        end_user = EndUser(canaries)
        state = canaries.add("the developer's state", f"state of {app.id}")
        token = app.token(query_of(end_user.walk(app.start_url(state=state), to=app.redirect_uri))["code"]).json()
        new = app.refresh(token["refresh_token"])
        assert new.status_code == 200, new.text
        app.post("revoke", {"token": new.json()["refresh_token"]})
        callback_url = end_user.walk(app.start_url(state=state, debug="true"), to=app.callback_url)
        assert end_user.get(callback_url + "&error=both").status_code == 400
        assert EndUser(canaries).get(callback_url).status_code == 400
        app.token("there-is-no-such-code-" + "x" * 13)
        end_user.walk(app.start_url(state=state), to=app.redirect_uri)  # the code is never fetched
    wrong = {"client_secret": canaries.add("client secret", "a-secret-that-is-wrong")}
    assert basic_app.post("token", {"code": "whatever", **wrong}).status_code == 401
    for secret in oidc.secrets():
        canaries.add("passed at the provider", secret)


@pytest.fixture(scope="module")
def tables(trips: None, gateway: Gateway) -> Path:
    path = gateway.directory / "dump"
    dump(gateway.database_uri, path)
    return path


def test_the_search_finds_every_spelling(tmp_path: Path) -> None:
    canaries = Canaries()
    canaries.add("awkward", ":/+% é and more")
    found = []
    for number, spelling in enumerate(spellings(":/+% é and more")):
        place = tmp_path / str(number)
        place.write_bytes(b"\0before" + spelling + b"behind\n")
        found.append(canaries.found_in(place))

    assert len(found) >= 9
    assert all(kinds == {"awkward"} for kinds in found)


@pytest.mark.usefixtures("trips")
def test_the_processes_log_no_secret(gateway: Gateway, canaries: Canaries) -> None:
    assert {*canaries.kinds.values()} >= KINDS
    written = {b'"path": "/link/oauth2/token"': "", b'"event": "code_refused"': ""}
    assert search(written, gateway.log) == written.keys()  # there is something to read, and it is all there is

    assert canaries.found_in(gateway.log) == set()


@pytest.mark.usefixtures("trips")
def test_postgresql_logs_no_secret(gateway: Gateway, canaries: Canaries) -> None:
    assert gateway.postgres_log.stat().st_size

    assert canaries.found_in(gateway.postgres_log) == set()


def test_the_tables_hold_no_secret(tables: Path, canaries: Canaries) -> None:
    assert search({MARKER.encode(): ""}, tables)

    assert canaries.found_in(tables) == set()


def test_the_files_of_the_database_hold_no_secret(tables: Path, gateway: Gateway, canaries: Canaries) -> None:
    assert search({MARKER.encode(): ""}, gateway.postgres_data)

    assert canaries.found_in(gateway.postgres_data) == set()
