"""The wire of OAuth 1.0a: what exactly is sent, how the answer is read, and what the catalogue may say of it."""

import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import pytest
from django.test import RequestFactory
from django.utils import timezone
from pytest_django import Settings
from requests import ConnectionError as RequestsConnectionError
from requests import PreparedRequest
from responses import RequestsMock

from providers import catalogue, identity, kinds, oauth1
from providers.catalogue.rules import lint
from providers.client import Client
from providers.errors import (
    AnswerNotUnderstood,
    AuthorizationDenied,
    CallbackNotAccepted,
    ProviderError,
    ProviderUnavailable,
    TokenRequestRejected,
)
from providers.oauth1 import Token
from providers.provider import Provider
from providers.sandbox.signatures import signature_of
from providers.tokens import TokenResponse
from tests.providers.acme import CLIENT, provider_with, sent

REQUEST_TOKEN = "https://acme.example/request_token"
ACCESS_TOKEN = "https://acme.example/token"
ME = "https://api.acme.example/me?fields=id"
CALLBACK = "https://gateway.example/link/oauth2/callback/acme?state=s+1"
TEMPORARY = Token("rt/1", "canary rt&secret")
ANSWER = {"oauth_token": "at-1", "oauth_token_secret": "canary-token-secret", "user_id": "7"}


def acme(**fields: Any) -> Provider:
    base = {"request_token_endpoint": REQUEST_TOKEN, "refresh_with": "none", "expiry": {"source": "never"}}
    return provider_with(**base | fields)


def answer_with(responses: RequestsMock, url: str = REQUEST_TOKEN, *, method: str = "POST", **answer: Any) -> None:
    found = {"body": urlencode({"oauth_token": "rt-1", "oauth_token_secret": "canary-1"}), "content_type": "text/html"}
    responses.add(method, url, **found | answer)


def header(request: PreparedRequest) -> dict[str, str]:
    """The parameters of the Authorization header; one that is repeated fails the test."""
    scheme, _, rest = request.headers["Authorization"].partition(" ")
    pairs = [re.fullmatch(r'(\w+)="([^"]*)"', part) for part in rest.split(", ")]
    assert scheme == "OAuth"
    assert all(pairs), rest
    params = {pair[1]: unquote(pair[2]) for pair in pairs if pair}
    assert len(params) == len(pairs)
    return params


def is_signed(request: PreparedRequest, settings: Settings, *, key: str) -> bool:
    """Whether who has the secrets comes to the same signature from nothing but what was sent. Source: RFC 5849, 3.2."""
    url, params = urlsplit(str(request.url)), header(request)
    settings.PUBLIC_URL = f"{url.scheme}://{url.netloc}"
    form = request.headers.get("Content-Type", "")
    path = f"{url.path}?{url.query}" if url.query else url.path
    received = RequestFactory().generic(str(request.method), path, request.body or b"", content_type=form)
    return signature_of(received, params, params["oauth_signature_method"], key) == params["oauth_signature"]


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["false", "", "0", "yes"])
def test_a_callback_url_that_is_not_confirmed_ends_the_trip(said: str, responses: RequestsMock) -> None:
    body = f"oauth_token=rt-1&oauth_token_secret=canary-1&oauth_callback_confirmed={said or 'no'}"
    answer_with(responses, body=body)

    with pytest.raises(AnswerNotUnderstood, match="did not confirm the callback URL"):
        oauth1.request_token(acme(), CLIENT, callback_url=CALLBACK)


@pytest.mark.parametrize(
    "answer",
    [
        {"body": ""},
        {"body": "<html>canary</html>"},
        {"body": "oauth_token=rt-1"},
        {"body": "oauth_token_secret=canary-1"},
        {"body": "oauth_token=a%20b&oauth_token_secret=canary-1"},
        {"body": "oauth_token=a&oauth_token_secret=canary%0A1"},
        {"body": "[]", "content_type": "application/json"},
        {"status": 302, "headers": {"Location": "https://evil.example"}},
    ],
)
def test_an_answer_without_a_token_and_its_secret_is_none(answer: dict[str, Any], responses: RequestsMock) -> None:
    answer_with(responses, **answer)

    with pytest.raises(AnswerNotUnderstood) as caught:
        oauth1.request_token(acme(), CLIENT, callback_url=CALLBACK)

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [{"status": 503}, {"status": 429}, {"body": RequestsConnectionError("canary")}],
    ids=["503", "429", "broken"],
)
def test_a_provider_that_is_down_is_worth_another_try(answer: dict[str, Any], responses: RequestsMock) -> None:
    answer_with(responses, **answer)

    with pytest.raises(ProviderUnavailable) as caught:
        oauth1.request_token(acme(), CLIENT, callback_url=CALLBACK)

    assert caught.value.error == "temporarily_unavailable"


@pytest.mark.parametrize(
    ("status", "body", "at_start", "at_exchange"),
    [
        (401, "", "invalid_client", "invalid_grant"),
        (401, "Failed to validate canary", "invalid_client", "invalid_grant"),
        (401, "oauth_problem=consumer_key_unknown&oauth_problem_advice=canary", "invalid_client", "invalid_client"),
        (401, "oauth_problem=signature_invalid", "invalid_client", "invalid_client"),
        (401, "oauth_problem=token_rejected", "invalid_grant", "invalid_grant"),
        (400, "oauth_problem=verifier_invalid", "invalid_grant", "invalid_grant"),
        (400, "oauth_problem=parameter_absent", "invalid_request", "invalid_request"),
        (403, "oauth_problem=permission_denied", "invalid_grant", "invalid_grant"),
        (403, "canary", "server_error", "server_error"),
        (200, "oauth_problem=token_expired", "invalid_grant", "invalid_grant"),
        (401, '{"errors": [{"code": 32, "message": "canary"}]}', "invalid_client", "invalid_client"),
        (403, '{"errors": [{"code": 415, "message": "canary"}]}', "invalid_request", "invalid_request"),
        (403, '{"errors": [{"code": 99, "message": "canary"}]}', "server_error", "server_error"),
    ],
)
def test_a_refusal_is_told_in_rfc_6749s_words(
    status: int, body: str, at_start: str, at_exchange: str, responses: RequestsMock
) -> None:
    codes = {"code": "errors.0.code", "codes": {"32": "invalid_client", "415": "invalid_request"}}
    provider = acme(token_response_error=codes)
    answer_with(responses, status=status, body=body)
    answer_with(responses, ACCESS_TOKEN, status=status, body=body)

    with pytest.raises(TokenRequestRejected) as start:
        oauth1.request_token(provider, CLIENT, callback_url=CALLBACK)
    with pytest.raises(TokenRequestRejected) as exchange:
        exchanged(provider)

    assert (start.value.reason, exchange.value.reason) == (at_start, at_exchange)
    assert "canary" not in f"{start.value}{exchange.value}"


@pytest.mark.parametrize(
    "answer",
    [
        {"oauth_token": "another", "oauth_verifier": "v-1"},
        {"oauth_token": "", "oauth_verifier": "v-1"},
        {"oauth_verifier": "v-1"},
        {"oauth_token": "rt/1"},
        {"oauth_token": "rt/1", "oauth_verifier": ""},
        {},
    ],
)
def test_what_is_no_answer_to_this_trip_is_not_exchanged(answer: dict[str, str], responses: RequestsMock) -> None:
    with pytest.raises(CallbackNotAccepted):
        oauth1.exchange(acme(), CLIENT, answer, kept=TEMPORARY.text)

    assert len(responses.calls) == 0


def test_a_parameter_that_came_twice_is_not_exchanged(responses: RequestsMock) -> None:
    answer = {"oauth_token": "rt/1", "oauth_verifier": "v-1"}

    with pytest.raises(CallbackNotAccepted):
        oauth1.exchange(acme(), CLIENT, answer, kept=TEMPORARY.text, repeated=["oauth_verifier"])

    assert len(responses.calls) == 0


@pytest.mark.parametrize(
    "kept", ["", "a-code-verifier-of-oauth-2", "oauth_token=rt-1", "oauth_token=&oauth_token_secret="]
)
def test_a_trip_that_was_not_begun_so_is_not_ended_so(kept: str, responses: RequestsMock) -> None:
    with pytest.raises(CallbackNotAccepted):
        oauth1.exchange(acme(), CLIENT, {"oauth_token": "", "oauth_verifier": "v-1"}, kept=kept)

    assert len(responses.calls) == 0


@pytest.mark.parametrize(
    ("answer", "callback_errors", "error"),
    [
        ({"denied": "rt/1"}, {"denied": "access_denied"}, "access_denied"),
        ({}, {"": "access_denied"}, "access_denied"),
        ({"oauth_token": "rt/1"}, {"": "access_denied"}, "access_denied"),
        ({"oauth_problem": "permission_denied"}, {}, "access_denied"),
        ({"oauth_problem": "user_refused", "oauth_token": "rt/1"}, {}, "access_denied"),
        ({"error": "access_denied"}, {}, "access_denied"),
        ({"oauth_problem": "no_way"}, {"no_way": "access_denied"}, "access_denied"),
        ({"oauth_problem": "canary"}, {}, "server_error"),
        ({"error": "server_error"}, {"": "access_denied"}, "server_error"),
    ],
)
def test_a_denial_is_told_in_rfc_6749s_words(
    answer: dict[str, str], callback_errors: dict[str, str], error: str
) -> None:
    with pytest.raises(AuthorizationDenied) as caught:
        oauth1.read_callback(acme(callback_errors=callback_errors), answer, TEMPORARY)

    assert caught.value.error == error
    assert "canary" not in str(caught.value)


def test_a_private_key_is_sent_to_nobody(responses: RequestsMock) -> None:
    client = Client("c", "-----BEGIN PRIVATE KEY-----\ncanary", {})

    with pytest.raises(ProviderError, match="private key"):
        oauth1.request_token(acme(signature_method="PLAINTEXT"), client, callback_url=CALLBACK)

    assert len(responses.calls) == 0


# ---- temporary credentials -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256"])
def test_temporary_credentials_are_asked_for_in_one_signed_request(
    method: str, responses: RequestsMock, settings: Settings
) -> None:
    answer_with(responses, body="oauth_token=rt%2F1&oauth_token_secret=canary%20rt%26secret".replace("%20", "-"))

    temporary = oauth1.request_token(acme(signature_method=method), CLIENT, callback_url=CALLBACK)

    request = sent(responses)
    params = header(request)
    assert (request.method, request.url, request.body) == ("POST", REQUEST_TOKEN, None)
    assert params | {"oauth_nonce": "", "oauth_timestamp": "", "oauth_signature": ""} == {
        "oauth_consumer_key": "client:1",
        "oauth_callback": CALLBACK,
        "oauth_signature_method": method,
        "oauth_version": "1.0",
        "oauth_nonce": "",
        "oauth_timestamp": "",
        "oauth_signature": "",
    }
    assert abs(int(params["oauth_timestamp"]) - timezone.now().timestamp()) < 5
    assert is_signed(request, settings, key="canary%20s%2Bc%25&")
    assert not is_signed(request, settings, key="another&")
    assert (temporary.value, temporary.secret) == ("rt/1", "canary-rt&secret")
    assert Token.of(temporary.text) == temporary
    assert "canary" not in f"{temporary!r} {request.url}"


def test_in_plain_text_the_secrets_are_the_signature(responses: RequestsMock) -> None:
    """RFC 5849, 3.4.4"""
    provider = acme(signature_method="PLAINTEXT")
    answer_with(responses)
    answer_with(responses, ACCESS_TOKEN, body=urlencode(ANSWER))

    oauth1.request_token(provider, CLIENT, callback_url=CALLBACK)
    exchanged(provider)

    first, second = header(sent(responses)), header(sent(responses, 1))
    assert (first["oauth_signature_method"], first["oauth_signature"]) == ("PLAINTEXT", "canary%20s%2Bc%25&")
    assert second["oauth_signature"] == "canary%20s%2Bc%25&canary%20rt%26secret"


def test_the_methods_of_both_requests_are_the_catalogues(responses: RequestsMock, settings: Settings) -> None:
    provider = acme(request_token_method="GET", token_request_method="GET", token_headers={"X-Acme": "1"})
    answer_with(responses, method="GET")
    answer_with(responses, ACCESS_TOKEN, method="GET", body=urlencode(ANSWER))

    oauth1.request_token(provider, CLIENT, callback_url=CALLBACK)
    exchanged(provider)

    for number, key in enumerate(["canary%20s%2Bc%25&", "canary%20s%2Bc%25&canary%20rt%26secret"]):
        request = sent(responses, number)
        assert (request.method, urlsplit(str(request.url)).query, request.headers["X-Acme"]) == ("GET", "", "1")
        assert is_signed(request, settings, key=key)


def test_no_two_requests_have_the_same_nonce(responses: RequestsMock) -> None:
    answer_with(responses)

    for _ in range(2):
        oauth1.probe(acme(), CLIENT, redirect_uri=CALLBACK)

    assert header(sent(responses))["oauth_nonce"] != header(sent(responses, 1))["oauth_nonce"]


@pytest.mark.parametrize(
    "answer",
    [
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "text/plain; charset=utf-8"},
        {"content_type": "application/json"},  # a form all the same, as RFC 5849, 2.1 has it
        {"body": '{"oauth_token": "rt-1", "oauth_token_secret": "canary-1"}', "content_type": "application/json"},
    ],
)
def test_an_answer_is_a_form_whatever_its_content_type_says(answer: dict[str, Any], responses: RequestsMock) -> None:
    answer_with(responses, **answer)

    assert oauth1.request_token(acme(), CLIENT, callback_url=CALLBACK) == Token("rt-1", "canary-1")


# ---- where the browser goes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "https://acme.example/authorize?oauth_token=rt%2F1&scope=read+write"),
        ({"scope_param": ""}, "https://acme.example/authorize?oauth_token=rt%2F1"),
        (
            {"scope_param": "perms", "scope_separator": ",", "authorization_params": {"expiration": "never"}},
            "https://acme.example/authorize?expiration=never&oauth_token=rt%2F1&perms=read%2Cwrite",
        ),
        (
            {"authorization_endpoint": "https://acme.example/authorize?a=1", "scope_param": ""},
            "https://acme.example/authorize?a=1&oauth_token=rt%2F1",
        ),
    ],
)
def test_the_browser_takes_the_token_and_no_secret(fields: dict[str, Any], url: str) -> None:
    assert oauth1.authorization_url(acme(**fields), TEMPORARY, scopes=["read", "write"]) == url


# ---- the token -------------------------------------------------------------------------------------------------------


def exchanged(provider: Provider, **answer: str) -> TokenResponse:
    callback = {"oauth_token": "rt/1", "oauth_verifier": "v 1", "state": "s", **answer}
    return oauth1.exchange(provider, CLIENT, callback, kept=TEMPORARY.text)


def test_the_exchange_is_signed_with_the_secret_of_the_trip(responses: RequestsMock, settings: Settings) -> None:
    answer_with(responses, ACCESS_TOKEN, body=urlencode(ANSWER))

    tokens = exchanged(acme())

    request = sent(responses)
    assert (request.method, request.url, request.body) == ("POST", ACCESS_TOKEN, None)
    assert header(request) | {"oauth_nonce": "", "oauth_timestamp": "", "oauth_signature": ""} == {
        "oauth_consumer_key": "client:1",
        "oauth_token": "rt/1",
        "oauth_verifier": "v 1",
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_version": "1.0",
        "oauth_nonce": "",
        "oauth_timestamp": "",
        "oauth_signature": "",
    }
    assert is_signed(request, settings, key="canary%20s%2Bc%25&canary%20rt%26secret")
    assert (tokens.access_token, tokens.token_type, tokens.expires_in) == ("at-1", "OAuth", None)
    assert (tokens.refresh_token, tokens.scope) == (None, None)
    assert "canary" not in repr(tokens)


def test_the_secret_is_kept_beside_what_the_file_declares(responses: RequestsMock) -> None:
    provider = acme(credential={"user_id": {"token_response": "user_id", "identity": True}})
    answer_with(responses, ACCESS_TOKEN, body=urlencode(ANSWER))

    tokens = exchanged(provider)

    found = identity.properties(provider, CLIENT, tokens, callback={}, nonce="")
    assert found == {"token_secret": "canary-token-secret", "user_id": "7"}


def test_the_access_token_may_stand_in_another_member(responses: RequestsMock) -> None:
    answer_with(responses, ACCESS_TOKEN, body=urlencode(ANSWER))

    assert exchanged(acme(token_response_names={"access_token": "user_id"})).access_token == "7"
    with pytest.raises(AnswerNotUnderstood):
        exchanged(acme(token_response_names={"access_token": "nowhere"}))


# ---- signed calls ----------------------------------------------------------------------------------------------------


def test_the_further_call_is_signed_with_the_token(responses: RequestsMock, settings: Settings) -> None:
    fields = {"follow_up": ME, "credential": {"user_id": {"follow_up": "id", "identity": True}}}
    responses.get(ME, json={"id": 7})

    found = identity.properties(acme(**fields), CLIENT, tokens_of(ANSWER), callback={}, nonce="")

    request = sent(responses)
    assert header(request)["oauth_token"] == "at-1"
    assert is_signed(request, settings, key="canary%20s%2Bc%25&canary-token-secret")
    assert found == {"token_secret": "canary-token-secret", "user_id": "7"}


def test_a_body_is_signed_too(responses: RequestsMock, settings: Settings) -> None:
    call = {"url": "https://api.acme.example/me", "method": "POST", "form": {"b": "2 ü", "a": "1"}}
    responses.post(call["url"], json={})

    oauth1.follow_up(acme(follow_up=call), CLIENT, tokens_of(ANSWER))

    request = sent(responses)
    assert dict(parse_qsl(str(request.body))) == {"a": "1", "b": "2 ü"}
    assert is_signed(request, settings, key="canary%20s%2Bc%25&canary-token-secret")


def test_where_the_api_has_a_header_for_the_token_nothing_is_signed(responses: RequestsMock) -> None:
    api = {"base_url": "https://api.acme.example", "header": "X-Key"}
    responses.get(ME, json={})

    oauth1.follow_up(acme(follow_up=ME, api=api), CLIENT, tokens_of(ANSWER))

    assert sent(responses).headers["X-Key"] == "at-1"
    assert "Authorization" not in sent(responses).headers


def test_a_call_that_is_refused_tells_no_identity(responses: RequestsMock) -> None:
    responses.get(ME, status=401, body="canary")

    with pytest.raises(AnswerNotUnderstood):
        oauth1.follow_up(acme(follow_up=ME), CLIENT, tokens_of(ANSWER))


def tokens_of(answer: dict[str, str]) -> TokenResponse:
    return TokenResponse(access_token=answer["oauth_token"], token_type="OAuth", answer=answer)


# ---- RFC 5849's own examples -----------------------------------------------------------------------------------------

INITIATE = (
    'OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_signature_method="HMAC-SHA1",'
    ' oauth_timestamp="137131200", oauth_nonce="wIjqoS", oauth_callback="http%3A%2F%2Fprinter.example.com%2Fready"'
)
TOKEN = (
    'OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_token="hh5s93j4hdidpola",'
    ' oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131201", oauth_nonce="walatlh",'
    ' oauth_verifier="hfdp7dh39dks9884"'
)
PHOTO = (
    'OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_token="nnch734d00sl2jdk",'
    ' oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131202", oauth_nonce="chapoH"'
)


@pytest.mark.parametrize(
    ("method", "url", "said", "token_secret", "signature"),
    [
        ("POST", "https://photos.example.net/initiate", INITIATE, "", "74KNZJeDHnMBp0EMJ9ZHt/XKycU="),
        ("POST", "https://photos.example.net/token", TOKEN, "hdhd0244k9j7ao03", "gKgrFCywp7rO0OXSjdot/IHF7IU="),
        (
            "GET",
            "http://photos.example.net/photos?file=vacation.jpg&size=original",
            PHOTO,
            "pfkkdhi9sl3r4s00",
            "MdpQcU8iPSUjWoN/UDMsK2sui9I=",
        ),
    ],
)
def test_who_judges_signatures_here_comes_to_those_of_the_rfc(
    method: str, url: str, said: str, token_secret: str, signature: str, settings: Settings
) -> None:
    """RFC 5849, 1.2: so what is verified above and in the sandbox is verified rightly."""
    whole = urlsplit(url)
    settings.PUBLIC_URL = f"{whole.scheme}://{whole.netloc}"
    request = RequestFactory().generic(method, f"{whole.path}?{whole.query}" if whole.query else whole.path)
    params = {name: unquote(value) for name, value in re.findall(r'(\w+)="([^"]*)"', said)}

    assert signature_of(request, params, "HMAC-SHA1", f"kd94hf93k423kf44&{token_secret}") == signature


# ---- what the catalogue says of it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "kind"),
    [("acme", "acme_oauth1"), ("acme-photos", "acme_photos_oauth1"), ("acme-oauth1", "acme_oauth1")],
)
def test_the_kind_tells_the_protocol(slug: str, kind: str) -> None:
    provider = acme(slug=slug)

    assert (provider.kind, provider.auth, provider.has_code_flow) == (kind, "oauth1", True)
    found = kinds.CredentialKind(provider.kind, provider, None)
    assert (found.auth, found.label, [*found.properties]) == (
        "oauth1",
        "OAuth 1.0a",
        ["access_token", "scope", "token_type", "token_secret"],
    )
    assert found.demands == [[["access_token"]], [["token_secret"]]]


def test_without_a_request_token_endpoint_it_is_oauth_2() -> None:
    assert (provider_with().kind, provider_with().auth) == ("acme_oauth2", "oauth2")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"refresh_with": "refresh_token"}, 'refresh_with must be "none": OAuth 1.0a has no refresh'),
        ({"expiry": {}}, 'expiry.source must be "never": OAuth 1.0a tells no lifetime'),
        ({"code_challenge_methods_supported": ["S256"]}, "code_challenge_methods_supported is OAuth 2.0's"),
        ({"revocation_endpoint": "https://acme.example/revoke"}, "revocation_endpoint is OAuth 2.0's"),
        ({"token_endpoint_auth_methods_supported": ["none"]}, "token_endpoint_auth_methods_supported is OAuth 2.0's"),
        ({"state_returned": False}, "state_returned is OAuth 2.0's"),
        ({"api": {"base_url": "https://api.acme.example", "query": "t"}}, "api.query is where OAuth 2.0 sends a token"),
        (
            {"credential": {"token_secret": {"token_response": "s", "identity": True}}},
            "credential.token_secret is a member of every OAuth 1.0a credential",
        ),
    ],
)
def test_lint_refuses_what_the_protocol_does_not_know(fields: dict[str, Any], problem: str) -> None:
    assert any(str(found).startswith(problem) for found in lint(acme(**fields)))


@pytest.mark.parametrize("fields", [{"signature_method": "PLAINTEXT"}, {"request_token_method": "GET"}])
def test_lint_refuses_its_fields_elsewhere(fields: dict[str, Any]) -> None:
    [problem] = lint(provider_with(**fields))

    assert str(problem) == f"{next(iter(fields))} is OAuth 1.0a's, and there is no request_token_endpoint"


def test_lint_takes_a_sound_one() -> None:
    assert lint(acme()) == []


def test_each_signature_method_is_one_that_the_provider_takes() -> None:
    speakers = [provider for provider in catalogue.load().values() if provider.auth == "oauth1"]

    assert len(speakers) >= 8
    for provider in speakers:
        wanted: Any = provider.sandbox["oauth1"]
        assert provider.signature_method in wanted.get("signature_methods", ["HMAC-SHA1"]), provider.slug


def test_it_is_bound_to_the_simulator_with_the_rest() -> None:
    bound = acme().bound({}, sandbox_url="http://127.0.0.1:8000/sandbox/acme")

    assert bound.request_token_endpoint == "http://127.0.0.1:8000/sandbox/acme/acme.example/request_token"
