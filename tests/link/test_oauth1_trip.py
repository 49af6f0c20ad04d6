"""A trip by OAuth 1.0a, at X: from the start link to a credential that is kept, checked and reconnected."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.utils import timezone
from requests import ConnectionError as RequestsConnectionError
from responses import RequestsMock

from credentials.models import Authorization, Credential, Step
from oauth_apps.models import Account, HealthStatus, OAuthApp, RedirectURI
from tests.link.trip import assert_page, post_form, query_of, sent_to_provider
from tests.oauth_apps.conftest import client_of
from tests.providers.test_oauth1 import header

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

SLUG = "twitter-oauth1"
REQUEST_TOKEN = "https://api.x.com/oauth/request_token"
ACCESS_TOKEN = "https://api.x.com/oauth/access_token"
ME = "https://api.x.com/2/users/me"
START, CALLBACK = "/link/oauth2/start", f"/link/oauth2/callback/{SLUG}"
REDIRECT_URI = f"https://app.example.com/callback/{SLUG}"
CANARIES = ("canary-client-secret", "canary-temporary-secret", "canary-token", "canary-token-secret", "canary-verifier")
TEMPORARY = {
    "oauth_token": "rt-1",
    "oauth_token_secret": "canary-temporary-secret",
    "oauth_callback_confirmed": "true",
}
ANSWER = {
    "oauth_token": "canary-token",
    "oauth_token_secret": "canary-token-secret",
    "user_id": "7588892",
    "screen_name": "paul",
}


@dataclass
class Traveller:
    """The end user's browser, the developer's server, and the provider that both meet."""

    client: Client
    responses: RequestsMock
    oauth_app: OAuthApp

    def start(self, **params: str) -> "Response":
        link = {"client_id": str(self.oauth_app.pk), "redirect_uri": REDIRECT_URI, "state": "s1", **params}
        return self.client.get(START, link)

    def started(self, token: str = "rt-1", **params: str) -> str:
        """The state that rides in the callback URL which the provider is told."""
        self.responses.post(REQUEST_TOKEN, body=urlencode(TEMPORARY | {"oauth_token": token}))
        response = self.start(**params)
        assert response.status_code == 302, response.content
        assert query_of(response["Location"])["oauth_token"] == token
        return query_of(header(self.responses.calls[-1].request)["oauth_callback"])["state"]

    def callback(self, **query: str) -> "Response":
        return self.client.get(CALLBACK, query)

    def arrived(self) -> dict[str, str]:
        """The query at the developer's redirect URI, after a trip on which everybody agreed."""
        self.responses.post(ACCESS_TOKEN, body=urlencode(ANSWER))
        response = self.callback(state=self.started(), oauth_token="rt-1", oauth_verifier="canary-verifier")
        assert response.status_code == 302, response.content
        assert response["Location"].startswith(REDIRECT_URI)
        return query_of(response["Location"])

    def token(self, **body: str) -> Any:
        pair = {"client_id": str(self.oauth_app.pk), "client_secret": "canary-client-secret"}
        return post_form(pair | body)

    def credential(self) -> dict[str, Any]:
        """What the token endpoint hands over to be kept."""
        answer = self.token(code=self.arrived()["code"])
        assert answer.status_code == 200, answer.content
        credential: dict[str, Any] = answer.json()["credential"]
        return credential

    def exchanges(self) -> int:
        return sum(request.url == ACCESS_TOKEN for request in sent_to_provider(self.responses))


@pytest.fixture
def x_app(account: Account) -> OAuthApp:
    RedirectURI.objects.create(account=account, redirect_uri="https://app.example.com/callback/:provider")
    return OAuthApp.objects.create(
        account=account, provider=SLUG, name="X", client_id="ck_1", client_secret="canary-client-secret"
    )


@pytest.fixture
def traveller(client: Client, responses: RequestsMock, x_app: OAuthApp) -> Traveller:
    return Traveller(client, responses, x_app)


@pytest.fixture
def reveal(account: Account) -> Client:
    return client_of(account, "read", "write", "reveal")


def rows() -> str:
    """All that the database holds of trips, as it is stored."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT t.* FROM credentials_authorization AS t")
        return str([tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in cursor.fetchall()])


# ---- the start ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error", "health"),
    [
        ({"status": 503}, "temporarily_unavailable", HealthStatus.WARN),
        ({"body": RequestsConnectionError("canary")}, "temporarily_unavailable", HealthStatus.WARN),
        ({"status": 401, "json": {"errors": [{"code": 32}]}}, "server_error", HealthStatus.ERROR),
        ({"body": urlencode(TEMPORARY | {"oauth_callback_confirmed": "false"})}, "server_error", HealthStatus.WARN),
        ({"body": "canary"}, "server_error", HealthStatus.WARN),
    ],
    ids=["down", "broken", "wrong-client", "unconfirmed", "nonsense"],
)
def test_what_fails_at_the_start_is_told_to_the_redirect_uri(
    answer: dict[str, Any], error: str, health: HealthStatus, traveller: Traveller
) -> None:
    traveller.responses.post(REQUEST_TOKEN, **answer)

    response = traveller.start()

    told = query_of(response["Location"])
    assert response.status_code == 302
    assert response["Location"].startswith(REDIRECT_URI)
    assert told == {"error": error, "error_description": told["error_description"], "state": "s1"}
    assert not any(canary in response["Location"] for canary in CANARIES)
    assert not response.cookies
    trip = Authorization.objects.get()
    assert (trip.step, trip.error, trip.code_verifier) == (Step.FAILED, error, None)
    traveller.oauth_app.refresh_from_db()
    assert traveller.oauth_app.health_status == health


def test_a_trip_that_failed_at_the_start_takes_no_callback(traveller: Traveller) -> None:
    traveller.responses.post(REQUEST_TOKEN, body=urlencode(TEMPORARY | {"oauth_callback_confirmed": "no"}))
    traveller.start()
    state = query_of(header(traveller.responses.calls[0].request)["oauth_callback"])["state"]

    response = traveller.callback(state=state, oauth_token="rt-1", oauth_verifier="v")

    assert_page(response)
    assert traveller.exchanges() == 0


def test_debug_explains_what_the_provider_said_at_the_start(traveller: Traveller) -> None:
    traveller.responses.post(REQUEST_TOKEN, status=401, json={"errors": [{"code": 32}]})

    response = traveller.start(debug="true")

    assert_page(response, holds="client id or the client secret of the OAuth app")
    assert "https://api.x.com/oauth/authorize?oauth_token=not-a-token" in response.content.decode()
    assert not any(canary in response.content.decode() for canary in CANARIES)


def test_a_redirect_uri_that_is_not_registered_asks_nobody(traveller: Traveller) -> None:
    response = traveller.client.get(
        START, {"client_id": str(traveller.oauth_app.pk), "redirect_uri": "https://evil.example/"}
    )

    assert_page(response)
    assert len(traveller.responses.calls) == 0


def test_the_browser_leaves_with_the_token_alone_and_the_secret_is_sealed(traveller: Traveller) -> None:
    state = traveller.started()

    [request] = sent_to_provider(traveller.responses)
    trip = Authorization.objects.get()
    assert header(request)["oauth_callback"] == f"http://127.0.0.1:8000{CALLBACK}?state={state}"
    assert header(request)["oauth_consumer_key"] == "ck_1"
    assert dict(parse_qsl(str(trip.code_verifier)))["oauth_token_secret"] == "canary-temporary-secret"
    assert "canary" not in rows()


# ---- the callback ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        {"oauth_token": "another", "oauth_verifier": "v"},
        {"oauth_verifier": "v"},
        {"oauth_token": "rt-1"},
        {"oauth_token": "rt-1", "oauth_verifier": ""},
        {"code": "c"},
        {},
    ],
)
def test_an_answer_that_is_not_this_trips_is_not_exchanged(answer: dict[str, str], traveller: Traveller) -> None:
    response = traveller.callback(state=traveller.started(), **answer)

    assert query_of(response["Location"])["error"] == "server_error"
    assert traveller.exchanges() == 0
    assert Authorization.objects.get().step == Step.FAILED


def test_the_token_of_a_parallel_trip_is_refused(traveller: Traveller) -> None:
    """B04: two tabs of one browser; the state of the one with the answer of the other."""
    first = traveller.started("rt-1")
    traveller.started("rt-2")

    response = traveller.callback(state=first, oauth_token="rt-2", oauth_verifier="v")

    assert query_of(response["Location"])["error"] == "server_error"
    assert traveller.exchanges() == 0


def test_a_verifier_that_came_twice_is_refused(traveller: Traveller) -> None:
    state = traveller.started()

    response = traveller.client.get(f"{CALLBACK}?state={state}&oauth_token=rt-1&oauth_verifier=a&oauth_verifier=b")

    assert query_of(response["Location"])["error"] == "server_error"
    assert traveller.exchanges() == 0


def test_the_end_user_says_no(traveller: Traveller) -> None:
    response = traveller.callback(state=traveller.started(), denied="rt-1")

    assert query_of(response["Location"])["error"] == "access_denied"
    assert traveller.exchanges() == 0


def test_a_second_callback_finds_nothing(traveller: Traveller) -> None:
    traveller.responses.post(ACCESS_TOKEN, body=urlencode(ANSWER))
    state = traveller.started()
    traveller.callback(state=state, oauth_token="rt-1", oauth_verifier="v")

    again = traveller.callback(state=state, oauth_token="rt-1", oauth_verifier="v")

    assert_page(again, holds="This connection is finished already")
    assert traveller.exchanges() == 1


def test_another_browser_gets_nothing(traveller: Traveller) -> None:
    state = traveller.started()

    response = Client().get(CALLBACK, {"state": state, "oauth_token": "rt-1", "oauth_verifier": "v"})

    assert_page(response)
    assert traveller.exchanges() == 0


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 401, "body": "canary"}, "server_error"),
        ({"status": 500}, "temporarily_unavailable"),
        ({"body": "oauth_token=canary-token"}, "server_error"),
        ({"body": urlencode({**ANSWER, "user_id": ""})}, "server_error"),
    ],
)
def test_an_exchange_that_fails_leaves_nothing_behind(answer: dict[str, Any], error: str, traveller: Traveller) -> None:
    traveller.responses.post(ACCESS_TOKEN, **answer)

    response = traveller.callback(state=traveller.started(), oauth_token="rt-1", oauth_verifier="canary-verifier")

    trip = Authorization.objects.get()
    assert query_of(response["Location"])["error"] == error
    assert not any(canary in response["Location"] for canary in CANARIES)
    assert (trip.step, trip.code_verifier, trip.tokens) == (Step.FAILED, None, None)


# ---- the token ---------------------------------------------------------------------------------------------------


def test_the_whole_trip(traveller: Traveller) -> None:
    answer = traveller.token(code=traveller.arrived()["code"])

    request = sent_to_provider(traveller.responses)[-1]
    assert header(request)["oauth_verifier"] == "canary-verifier"
    assert answer.json() == {
        "access_token": "canary-token",
        "token_type": "OAuth",
        "credential": {
            "oauth_app_id": str(traveller.oauth_app.pk),
            "properties": {
                "kind": "twitter_oauth1",
                "access_token": "canary-token",
                "token_type": "OAuth",
                "token_secret": "canary-token-secret",
                "user_id": "7588892",
                "screen_name": "paul",
            },
        },
        "state": "s1",
    }
    assert Authorization.objects.get().code_verifier is None
    assert "canary" not in rows()


def test_no_token_is_refreshed_or_revoked(traveller: Traveller) -> None:
    traveller.arrived()

    refreshed = traveller.token(grant_type="refresh_token", refresh_token="canary-token")
    pair = {"client_id": str(traveller.oauth_app.pk), "client_secret": "canary-client-secret"}
    revoked = post_form(pair | {"token": "canary-token"}, "/link/oauth2/revoke")

    assert (refreshed.status_code, refreshed.json()["error"]) == (400, "unsupported_grant_type")
    assert (revoked.status_code, revoked.json()["error"]) == (400, "unsupported_token_type")
    assert len(traveller.responses.calls) == 2


# ---- what is kept ------------------------------------------------------------------------------------------------


def test_it_is_kept_once_with_its_secrets_masked(traveller: Traveller, reveal: Client) -> None:
    credential = traveller.credential()

    first = reveal.post("/v1/credentials", credential, content_type="application/json")
    newer = {**credential["properties"], "access_token": "canary-2", "token_secret": "canary-secret-2"}
    second = reveal.post("/v1/credentials", {**credential, "properties": newer}, content_type="application/json")

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert (first.json()["kind"], first.json()["provider"], first.json()["expires_at"]) == (
        "twitter_oauth1",
        SLUG,
        None,
    )
    assert first.json()["expires_at_source"] == "never"
    assert first.json()["properties"] == {
        "kind": "twitter_oauth1",
        "access_token": "***********",
        "token_type": "OAuth",
        "token_secret": "***********",
        "user_id": "7588892",
        "screen_name": "paul",
    }
    exported = reveal.get("/v1/credentials/export")
    [row] = b"".join(exported.streaming_content).splitlines()  # type: ignore[attr-defined]
    assert json.loads(row)["properties"]["token_secret"] == "canary-secret-2"
    assert json.loads(row)["properties"]["access_token"] == "canary-2"


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"token_secret": None}, {"token_secret": ["Is required."]}),
        ({"access_token": None}, {"access_token": ["Is required."]}),
        ({"user_id": None}, {"user_id": ["Is required."]}),
        ({"refresh_token": "r"}, {"refresh_token"}),
        ({"token_secret": "***********"}, {"token_secret"}),
    ],
)
def test_an_import_by_hand_needs_the_token_and_its_secret(
    changes: dict[str, Any], errors: Any, traveller: Traveller, reveal: Client
) -> None:
    properties = {"access_token": "a", "token_secret": "canary-token-secret", "user_id": "1", **changes}
    body = {"oauth_app_id": str(traveller.oauth_app.pk), "properties": {"kind": "twitter_oauth1", **properties}}

    refused = reveal.post("/v1/credentials", body, content_type="application/json")

    told = refused.json()["validation_errors"]
    assert refused.status_code == 422
    assert {name.removeprefix("properties.").removeprefix("credential.") for name in told} == set(errors)
    assert "canary" not in refused.content.decode()


def test_what_signs_a_call_is_handed_over_by_the_hot_path(traveller: Traveller, reveal: Client) -> None:
    kept = reveal.post("/v1/credentials", traveller.credential(), content_type="application/json").json()

    answer = reveal.get(f"/v1/credentials/{kept['id']}/access-token", {"min_ttl": "86400"})

    assert answer.status_code == 200
    assert answer.json() == {
        "access_token": "canary-token",
        "token_type": "OAuth",
        "expires_at": None,
        "scope": None,
        "api": {
            "base_url": "https://api.x.com",
            "header": "Authorization",
            "scheme": "OAuth",
            "signature": {"method": "HMAC-SHA1", "consumer_key": "ck_1", "token_secret": "canary-token-secret"},
        },
    }
    assert "canary-client-secret" not in answer.content.decode()


def test_a_check_is_a_signed_call(traveller: Traveller, reveal: Client) -> None:
    kept = reveal.post("/v1/credentials", traveller.credential(), content_type="application/json").json()
    traveller.responses.get(ME, json={"data": {"id": "7588892"}})

    well = reveal.post(f"/v1/credentials/{kept['id']}/check").json()

    request = sent_to_provider(traveller.responses)[-1]
    assert (request.url, header(request)["oauth_token"]) == (ME, "canary-token")
    assert well["health"]["status"] == "ok"


def test_a_token_that_was_revoked_there_needs_its_owner_again(traveller: Traveller, reveal: Client) -> None:
    kept = reveal.post("/v1/credentials", traveller.credential(), content_type="application/json").json()
    traveller.responses.get(ME, status=401, json={"errors": [{"code": 89}]})

    unwell = reveal.post(f"/v1/credentials/{kept['id']}/check").json()
    refused = reveal.get(f"/v1/credentials/{kept['id']}/access-token")

    assert unwell["health"]["status"] == "error"
    assert (refused.status_code, refused.json()["code"]) == (409, "needs_reauthorization")
    assert refused.json()["reconnect_url"].startswith("http://127.0.0.1:8000/link/oauth2/start/")


@pytest.mark.parametrize(("user_id", "is_same"), [("7588892", True), ("1", False)])
def test_a_reconnection_replaces_both_the_token_and_its_secret(
    user_id: str, is_same: bool, traveller: Traveller, reveal: Client
) -> None:
    kept = reveal.post("/v1/credentials", traveller.credential(), content_type="application/json").json()
    asked = reveal.post(
        f"/v1/credentials/{kept['id']}/reconnect", {"redirect_uri": REDIRECT_URI}, content_type="application/json"
    )
    assert asked.status_code in {200, 201}, asked.content
    traveller.responses.replace("POST", ACCESS_TOKEN, body=urlencode(renewed(user_id)))

    left = traveller.client.get(urlsplit(asked.json()["start_url"]).path)
    state = query_of(header(sent_to_provider(traveller.responses)[-1])["oauth_callback"])["state"]
    back = traveller.callback(state=state, oauth_token="rt-1", oauth_verifier="v")
    told = query_of(back["Location"])

    assert left.status_code == 302
    if not is_same:
        assert told["error"] == "access_denied"
        assert Credential.objects.get().values()["token_secret"] == "canary-token-secret"
        return
    assert traveller.token(code=told["code"]).status_code == 200
    credential = Credential.objects.select_related("token").get()
    assert str(credential.pk) == kept["id"]
    assert (credential.token.access_token, credential.values()["token_secret"]) == ("canary-new", "canary-new-secret")


def renewed(user_id: str) -> dict[str, str]:
    return ANSWER | {"oauth_token": "canary-new", "oauth_token_secret": "canary-new-secret", "user_id": user_id}


def test_it_never_ends(traveller: Traveller, reveal: Client) -> None:
    kept = reveal.post("/v1/credentials", traveller.credential(), content_type="application/json").json()

    with time_machine.travel(timezone.now() + timedelta(days=3650)):
        answer = reveal.get(f"/v1/credentials/{kept['id']}/access-token")

    assert (answer.status_code, answer.json()["access_token"]) == (200, "canary-token")


def test_a_refresh_that_is_asked_for_asks_nobody(traveller: Traveller, reveal: Client) -> None:
    kept = reveal.post("/v1/credentials", traveller.credential(), content_type="application/json").json()

    answer = reveal.get(f"/v1/credentials/{kept['id']}/access-token", {"force_refresh": "true"})

    assert (answer.status_code, answer.json()["access_token"]) == (200, "canary-token")
    assert len(traveller.responses.calls) == 2


def test_a_check_of_the_app_asks_for_temporary_credentials(traveller: Traveller, reveal: Client) -> None:
    traveller.responses.post(REQUEST_TOKEN, body=urlencode(TEMPORARY))

    sound = reveal.post(f"/v1/oauth-apps/{traveller.oauth_app.pk}/check")
    traveller.responses.replace("POST", REQUEST_TOKEN, status=401, json={"errors": [{"code": 32}]})
    wrong = reveal.post(f"/v1/oauth-apps/{traveller.oauth_app.pk}/check")

    assert (sound.json()["health"]["status"], wrong.json()["health"]["status"]) == ("ok", "error")
    assert {request.url for request in sent_to_provider(traveller.responses)} == {REQUEST_TOKEN}


def test_the_api_tells_the_truth_about_such_a_provider(reveal: Client) -> None:
    told = reveal.get(f"/v1/providers/{SLUG}").json()

    assert (told["takes_oauth_apps"], told["pkce"], told["public_clients"]) == (True, "none", False)
    assert (told["refreshes"], told["rotates"], told["revokes"]) == (False, False, False)
    assert told["callback_url"] == f"http://127.0.0.1:8000{CALLBACK}"
    [kind] = told["kinds"]
    assert (kind["kind"], kind["label"], kind["auth"]) == ("twitter_oauth1", "OAuth 1.0a", "oauth1")
    assert kind["schema"]["required"] == ["user_id", "access_token", "token_secret"]
    assert [name for name, prop in kind["schema"]["properties"].items() if prop.get("writeOnly")] == [
        "access_token",
        "token_secret",
    ]
