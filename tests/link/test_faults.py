"""What the link endpoints answer when something of ours is not there."""

import pytest
from django.db import OperationalError
from django.test import Client

from credentials.models import Authorization
from tests.link.trip import CALLBACK, START, TOKEN, Trip, post_form


@pytest.fixture
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OperationalError("canary: connection to server at 10.0.0.7 failed")

    monkeypatch.setattr("django.db.models.sql.compiler.SQLCompiler.execute_sql", fail)
    monkeypatch.setattr("sequin_auth.lib.postgres.statements.run", fail)


@pytest.mark.usefixtures("no_database")
@pytest.mark.parametrize("path", [START, CALLBACK])
def test_a_browser_gets_a_page(path: str) -> None:
    """G13, E03"""
    client = Client(raise_request_exception=False)

    response = client.get(path, {"client_id": "00000000-0000-4000-8000-000000000000", "state": "x", "code": "x"})

    assert response.status_code == 503
    assert response["Content-Type"].startswith("text/html")
    assert int(response["Retry-After"]) > 0
    assert b"canary" not in response.content


@pytest.mark.usefixtures("no_database")
def test_a_program_gets_json() -> None:
    """G13, C18"""
    client = Client(raise_request_exception=False)
    body = {"client_id": "00000000-0000-4000-8000-000000000000", "client_secret": "x", "code": "x"}

    response = client.post(TOKEN, body, content_type="application/json")

    assert response.status_code == 503
    assert response.json()["error"] == "temporarily_unavailable"
    assert b"canary" not in response.content


@pytest.mark.parametrize("path", ["/link/oauth2/nowhere", "/.git/config", "/static/..%2fmanage.py", "/media/x"])
def test_there_is_nothing_else(client: Client, path: str) -> None:
    """H14"""
    assert client.get(path).status_code == 404


def test_a_code_whose_tokens_do_not_open_is_an_error_without_tokens(trip: Trip) -> None:
    """E06: ciphertext of one trip in the row of another"""
    first, second = trip.code(), trip.code()
    rows = list(Authorization.objects.order_by("created_at").values_list("pk", "tokens"))
    Authorization.objects.filter(pk=rows[1][0]).update(tokens=rows[0][1])
    client = Client(raise_request_exception=False)
    pair = {"client_id": str(trip.oauth_app.pk), "client_secret": "canary-client-secret"}

    moved = client.post(TOKEN, pair | {"code": second}, content_type="application/json")
    sound = post_form(pair | {"code": first})

    assert moved.status_code == 500
    assert moved.json()["error"] == "server_error"
    assert b"canary" not in moved.content
    assert sound.status_code == 200
