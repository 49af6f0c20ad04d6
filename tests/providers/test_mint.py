"""Access tokens that are minted, on the wire: what is sent, and what answers it."""

import re
import time
from typing import Any

import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import RSAKey
from responses import RequestsMock

from providers import access, app_jwt, kinds
from providers.client import Client
from providers.errors import AnswerNotUnderstood, ProviderError, ProviderUnavailable, TokenRequestRejected
from tests.providers.speaker import SANDBOX, Speaker, form_of, sent

MINTED = sorted(name for name, kind in kinds.load().items() if kind.mints)


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def minting(name: str, private_key: str, **rest: Any) -> Speaker:
    return Speaker(name, app=("Iv1.app", private_key) if kinds.get(name).needs_oauth_app else ("", ""), **rest)


@pytest.mark.parametrize("name", MINTED)
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 401, "json": {"error": "unauthorized", "message": "no"}}, TokenRequestRejected),
        ({"status": 400, "json": {"error": "invalid_client"}}, TokenRequestRejected),
        ({"status": 429, "headers": {"Retry-After": "7"}}, ProviderUnavailable),
        ({"status": 503, "body": "<html>"}, ProviderUnavailable),
        ({"status": 302, "headers": {"Location": "https://evil.com"}}, AnswerNotUnderstood),
        ({"status": 200, "body": "<html>welcome</html>", "content_type": "text/html"}, AnswerNotUnderstood),
        ({"status": 200, "json": {"error": "invalid_client"}}, TokenRequestRejected),
        ({"status": 200, "json": {}}, AnswerNotUnderstood),
        ({"status": 200, "json": {"access_token": "a\nb", "token": "a\nb"}}, AnswerNotUnderstood),
        ({"status": 200, "json": []}, AnswerNotUnderstood),
        ({"body": ConnectionError()}, ProviderUnavailable),
    ],
)
def test_an_answer_without_a_token_is_an_error(
    name: str, answer: dict[str, Any], error: type[ProviderError], private_key: str, responses: RequestsMock
) -> None:
    speaker = minting(name, private_key)
    responses.post(re.compile("https://"), **answer)

    with pytest.raises(error) as caught:
        speaker.mint()

    assert "canary" not in f"{caught.value!r}{caught.value}"
    assert caught.type is error or error is ProviderUnavailable
    assert all(call.request.url and "evil" not in call.request.url for call in responses.calls)


@pytest.mark.parametrize("name", MINTED)
def test_a_wrong_client_is_told_from_everything_else(name: str, private_key: str, responses: RequestsMock) -> None:
    speaker = minting(name, private_key)
    responses.post(re.compile("https://"), status=401, json={"message": "no"})

    with pytest.raises(TokenRequestRejected) as caught:
        speaker.mint()

    assert caught.value.reason == "invalid_client"


def test_marketo_gets_client_id_and_secret_in_the_body(responses: RequestsMock) -> None:
    """E12: not in the URL, where its documentation shows them."""
    answer = {"access_token": "m1:int", "token_type": "bearer", "expires_in": 3599, "scope": "api@acme.com"}
    responses.post("https://123-abc-456.mktorest.com/identity/oauth/token", json=answer)

    tokens = Speaker("marketo_client_credentials").mint()

    assert (tokens.access_token, tokens.expires_in, tokens.refresh_token) == ("m1:int", 3599, None)
    assert form_of(sent(responses)) == {
        "grant_type": "client_credentials",
        "client_id": "c1",
        "client_secret": "canary-secret",
    }
    assert "Authorization" not in sent(responses).headers


@pytest.mark.parametrize(
    ("audience", "sent_audience"), [(None, "https://acme.eu.auth0.com/api/v2/"), ("urn:Api", "urn:Api")]
)
def test_auth0_is_asked_for_a_token_of_one_api(
    audience: str | None, sent_audience: str, responses: RequestsMock
) -> None:
    answer = {"access_token": "a1", "token_type": "Bearer", "expires_in": 86400}
    responses.post("https://acme.eu.auth0.com/oauth/token", json=answer)

    tokens = Speaker("auth0_client_credentials", audience=audience).mint()

    assert (tokens.access_token, tokens.expires_in) == ("a1", 86400)
    assert form_of(sent(responses)) == {
        "grant_type": "client_credentials",
        "client_id": "c1",
        "client_secret": "canary-secret",
        "audience": sent_audience,
    }


def test_a_parameter_without_a_value_is_left_out(responses: RequestsMock) -> None:
    speaker = Speaker("auth0_client_credentials")
    del speaker.values["audience"]
    responses.post("https://acme.eu.auth0.com/oauth/token", json={"access_token": "a1"})

    speaker.mint()

    assert "audience" not in form_of(sent(responses))


@time_machine.travel("2026-11-22T10:00:00Z", tick=False)
def test_a_github_installation_is_opened_by_a_jwt_that_the_app_signs(private_key: str, responses: RequestsMock) -> None:
    answer = {"token": "ghs_1", "expires_at": "2026-11-22T11:00:00Z", "permissions": {}}
    responses.post("https://api.github.com/app/installations/4/access_tokens", status=201, json=answer)

    tokens = minting("github_app", private_key).mint()

    assert (tokens.access_token, tokens.expires_in) == ("ghs_1", 3600)
    request = sent(responses)
    assert not request.body
    assert request.headers["Accept"] == "application/vnd.github+json"
    assert request.headers["X-GitHub-Api-Version"] == "2022-11-28"
    scheme, _, assertion = request.headers["Authorization"].partition(" ")
    told = jwt.decode(assertion, RSAKey.import_key(private_key), algorithms=["RS256"])
    now = int(time.time())
    assert (scheme, told.header["alg"]) == ("Bearer", "RS256")
    assert told.claims == {"iss": "Iv1.app", "iat": now - 60, "exp": now + 540}


def test_no_private_key_ever_leaves(private_key: str, responses: RequestsMock) -> None:
    responses.post(re.compile("https://"), status=201, json={"token": "ghs_1"})

    minting("github_app", private_key).mint()

    request = sent(responses)
    body = private_key.splitlines()[1]
    assert body not in f"{request.url}{request.headers}{request.body!r}"


def test_a_github_enterprise_server_is_asked_at_its_own_host(private_key: str, responses: RequestsMock) -> None:
    kind = kinds.get("github_app")
    responses.post("https://github.acme.com/api/v3/app/installations/4/access_tokens", status=201, json={"token": "g"})

    client = Client("Iv1.app", private_key, {"domain": "github.acme.com"})
    tokens = access.mint(kind, client, {"installation_id": 4})

    assert tokens.access_token == "g"


@pytest.mark.parametrize(
    "key", ["", "canary", "-----BEGIN RSA PRIVATE KEY-----\ncanary\n-----END RSA PRIVATE KEY-----"]
)
def test_a_key_that_is_none_is_not_tried(key: str, responses: RequestsMock) -> None:
    with pytest.raises(TokenRequestRejected) as caught:
        minting("github_app", key).mint()

    assert caught.value.reason == "invalid_client"
    assert "canary" not in str(caught.value)
    assert len(responses.calls) == 0


def test_a_public_key_signs_nothing(private_key: str) -> None:
    public = RSAKey.import_key(private_key).as_pem(private=False).decode()

    with pytest.raises(TokenRequestRejected):
        app_jwt.app_jwt(Client("Iv1.app", public, {}))


def test_a_key_that_lost_its_lines_in_a_form_signs_all_the_same(private_key: str) -> None:
    one_line = private_key.replace("\n", "")

    assertion = app_jwt.app_jwt(Client("Iv1.app", one_line, {}))

    assert jwt.decode(assertion, RSAKey.import_key(private_key), algorithms=["RS256"]).claims["iss"] == "Iv1.app"


@pytest.mark.parametrize("status", [403, 404])
def test_an_app_that_is_no_longer_installed_needs_its_owner(
    status: int, private_key: str, responses: RequestsMock
) -> None:
    responses.post(re.compile("https://"), status=status, json={"message": "Not Found"})

    with pytest.raises(TokenRequestRejected) as caught:
        minting("github_app", private_key).mint()

    assert caught.value.reason == "invalid_grant"


@pytest.mark.parametrize(
    ("headers", "retry_after"), [({"Retry-After": "30"}, 30), ({"X-RateLimit-Remaining": "0"}, None)]
)
def test_an_app_that_asks_too_often_is_not_taken_for_one_that_is_gone(
    headers: dict[str, str], retry_after: int | None, private_key: str, responses: RequestsMock
) -> None:
    responses.post(re.compile("https://"), status=403, json={"message": "slow down"}, headers=headers)

    with pytest.raises(ProviderUnavailable) as caught:
        minting("github_app", private_key).mint()

    assert caught.value.retry_after == retry_after


@pytest.mark.parametrize("name", MINTED)
def test_a_client_of_the_sandbox_reaches_nothing_else(name: str, private_key: str, responses: RequestsMock) -> None:
    """F02."""
    responses.post(re.compile(re.escape(SANDBOX)), json={"access_token": "s", "token": "s"})

    minting(name, private_key, sandbox=True).mint()

    assert str(sent(responses).url).startswith(f"{SANDBOX}{kinds.get(name).provider.slug}/")


@pytest.mark.parametrize("munchkin_id", ["evil.com/", "evil.com#", "x" * 64])
def test_a_row_that_somebody_changed_leads_nowhere(munchkin_id: str, responses: RequestsMock) -> None:
    """F01."""
    kind = kinds.get("marketo_client_credentials")

    with pytest.raises(ValueError, match="munchkin_id"):
        access.mint(kind, Client("", "", {"munchkin_id": munchkin_id}), {"munchkin_id": munchkin_id})

    assert len(responses.calls) == 0


def test_without_an_address_nothing_is_sent(responses: RequestsMock) -> None:
    kind = kinds.get("marketo_client_credentials")

    with pytest.raises(ProviderError, match="does not say where"):
        access.mint(kind, Client("", "", {}), {})

    assert len(responses.calls) == 0
