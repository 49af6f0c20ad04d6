"""Pushed authorization requests (RFC 9126): what is posted, and what is left for the browser."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from responses import RequestsMock

from providers import oauth2, pushed_requests
from providers.client import Client
from providers.errors import (
    AnswerNotUnderstood,
    AuthorizationDenied,
    ProviderError,
    ProviderUnavailable,
    TokenRequestRejected,
)
from providers.provider import Provider
from tests.providers.acme import form, provider_with, sent

PAR = "https://acme.example/par"
REQUEST_URI = "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c"
PUSHES = Client("client:1", "canary s+c%", {"require_pushed_authorization_requests": "true"})


def provider(**fields: Any) -> Provider:
    return provider_with(**{"pushed_authorization_request_endpoint": PAR, **fields})


def asked(provider: Provider, client: Client = PUSHES) -> str:
    return oauth2.authorization_url(
        provider,
        client,
        redirect_uri="https://us.example/cb?a=1",
        state="canary-state",
        scopes=["read", "write"],
        code_challenge="canary-challenge",
        nonce="canary-nonce",
    )


def pushed(client: Client = PUSHES, **fields: Any) -> str:
    return pushed_requests.pushed(provider(**fields), client, asked(provider(**fields), client))


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "document", "error", "told"),
    [
        (400, {"error": "invalid_request"}, TokenRequestRejected, "server_error"),
        (401, {"error": "invalid_client"}, TokenRequestRejected, "server_error"),
        (400, {"error": "invalid_scope"}, AuthorizationDenied, "invalid_scope"),
        (429, {}, ProviderUnavailable, "temporarily_unavailable"),
        (503, {"request_uri": REQUEST_URI}, ProviderUnavailable, "temporarily_unavailable"),
        (302, {"request_uri": REQUEST_URI}, AnswerNotUnderstood, "server_error"),
        (201, {}, AnswerNotUnderstood, "server_error"),
        (201, [], AnswerNotUnderstood, "server_error"),
        (201, {"request_uri": 7}, AnswerNotUnderstood, "server_error"),
        (201, {"request_uri": "urn:with space"}, AnswerNotUnderstood, "server_error"),
        (201, {"request_uri": "u" * 2049}, AnswerNotUnderstood, "server_error"),
    ],
)
def test_a_refusal_is_told(
    responses: RequestsMock, status: int, document: object, error: type[ProviderError], told: str
) -> None:
    responses.post(PAR, json=document, status=status)

    with pytest.raises(error) as caught:
        pushed()

    assert type(caught.value) is error
    assert caught.value.error == told
    assert len(responses.calls) == 1


def test_a_wrong_client_is_told_as_such(responses: RequestsMock) -> None:
    responses.post(PAR, json={"error": "invalid_client"}, status=401)

    with pytest.raises(TokenRequestRejected) as caught:
        pushed()

    assert caught.value.reason == "invalid_client"


@pytest.mark.parametrize("said", ["false", None])
def test_where_it_is_not_asked_for_nothing_is_pushed(responses: RequestsMock, said: str | None) -> None:
    variables = {"require_pushed_authorization_requests": said} if said else {}
    client = Client("client:1", "canary s+c%", variables)

    assert pushed(client) == asked(provider(), client)
    assert len(responses.calls) == 0


def test_where_there_is_no_endpoint_nothing_is_pushed(responses: RequestsMock) -> None:
    without = provider_with()

    assert pushed_requests.pushed(without, PUSHES, asked(without)) == asked(without)
    assert len(responses.calls) == 0


# ---- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "kept"),
    [("https://acme.example/authorize", {}), ("https://acme.example/authorize?tenant=t1", {"tenant": "t1"})],
)
def test_all_of_it_is_posted_and_two_parameters_are_left_for_the_browser(
    responses: RequestsMock, endpoint: str, kept: dict[str, str]
) -> None:
    responses.post(PAR, json={"request_uri": REQUEST_URI, "expires_in": 60}, status=201)

    url = pushed(authorization_endpoint=endpoint, authorization_params={"access_type": "offline"})

    assert form(sent(responses)) == {
        "client_id": "client:1",
        "response_type": "code",
        "redirect_uri": "https://us.example/cb?a=1",
        "state": "canary-state",
        "scope": "read write",
        "code_challenge": "canary-challenge",
        "code_challenge_method": "S256",
        "nonce": "canary-nonce",
        "access_type": "offline",
    }
    assert sent(responses).headers["Authorization"].startswith("Basic ")
    assert url.startswith("https://acme.example/authorize?")
    query = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
    assert query == kept | {"client_id": "client:1", "request_uri": REQUEST_URI}


def test_names_that_the_provider_gave_them_hold_here_too(responses: RequestsMock) -> None:
    responses.post(PAR, json={"request_uri": REQUEST_URI}, status=201)

    url = pushed(authorization_param_names={"client_id": "app"})

    assert form(sent(responses))["app"] == "client:1"
    assert dict(parse_qsl(urlsplit(url).query)) == {"app": "client:1", "request_uri": REQUEST_URI}
