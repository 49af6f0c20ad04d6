"""Asking a provider when a token ends (RFC 7662), at the wire."""

import base64
from typing import Any

import pytest
from responses import RequestsMock

from providers import oauth2
from providers.errors import AnswerNotUnderstood, ProviderError, ProviderUnavailable, TokenRequestRejected
from tests.providers.acme import CLIENT, form, provider_with, sent

INTROSPECT = "https://acme.example/introspect"


def test_a_provider_that_cannot_be_asked_is_not_asked(responses: RequestsMock) -> None:
    assert oauth2.introspect(provider_with(), CLIENT, "canary") is None
    assert len(responses.calls) == 0


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        ({"json": {"active": False}}, TokenRequestRejected, "invalid_token"),
        ({"json": {"active": False, "exp": 1_900_000_000}}, TokenRequestRejected, "invalid_token"),
        ({"json": {"error": "invalid_client"}, "status": 401}, TokenRequestRejected, "invalid_client"),
        ({"status": 401}, TokenRequestRejected, "invalid_client"),
        ({"json": {"error": "invalid_request"}, "status": 400}, TokenRequestRejected, "invalid_request"),
        ({"json": {}}, AnswerNotUnderstood, None),
        ({"json": {"active": "true", "exp": 1_900_000_000}}, AnswerNotUnderstood, None),
        ({"json": {"active": 1}}, AnswerNotUnderstood, None),
        ({"json": [{"active": True}]}, AnswerNotUnderstood, None),
        ({"json": None}, AnswerNotUnderstood, None),
        ({"body": "<html>canary</html>"}, AnswerNotUnderstood, None),
        ({"body": ""}, AnswerNotUnderstood, None),
        ({"status": 302, "headers": {"Location": "https://evil.example"}}, AnswerNotUnderstood, None),
        ({"status": 503}, ProviderUnavailable, None),
        ({"status": 429}, ProviderUnavailable, None),
    ],
)
def test_what_is_no_active_token_is_told_apart(
    responses: RequestsMock, answer: dict[str, Any], error: type[ProviderError], reason: str | None
) -> None:
    responses.post(INTROSPECT, **answer)

    with pytest.raises(error) as caught:
        oauth2.introspect(provider_with(introspection_endpoint=INTROSPECT), CLIENT, "canary-token")

    assert type(caught.value) is error
    assert getattr(caught.value, "reason", None) == reason
    assert "canary" not in str(caught.value)
    assert len(responses.calls) == 1


@pytest.mark.parametrize(
    ("exp", "expected"),
    [(1_900_000_000, 1_900_000_000), (1_900_000_000.7, 1_900_000_000), ("1900000000", 1_900_000_000), (None, None),
     (0, None), (-1, None), (True, None), ("soon", None), ([], None), (10**15, None)],
)  # fmt: skip
def test_the_end_of_an_active_token_is_a_moment_or_unknown(
    responses: RequestsMock, exp: object, expected: int | None
) -> None:
    responses.post(INTROSPECT, json={"active": True, "exp": exp})

    assert oauth2.introspect(provider_with(introspection_endpoint=INTROSPECT), CLIENT, "t1") == expected


def test_an_active_token_may_have_no_end(responses: RequestsMock) -> None:
    responses.post(INTROSPECT, json={"active": True})

    assert oauth2.introspect(provider_with(introspection_endpoint=INTROSPECT), CLIENT, "t1") is None


@pytest.mark.parametrize(
    ("method", "body", "authorization"),
    [
        ("client_secret_basic", {}, "Basic " + base64.b64encode(b"client%3A1:canary+s%2Bc%25").decode()),
        ("client_secret_post", {"client_id": "client:1", "client_secret": "canary s+c%"}, None),
    ],
)
def test_the_client_authenticates_as_at_the_token_endpoint(
    responses: RequestsMock, method: str, body: dict[str, str], authorization: str | None
) -> None:
    """Always with a form, whatever the token endpoint reads: RFC 7662, 2.1 knows nothing else."""
    responses.post(INTROSPECT, json={"active": True})
    provider = provider_with(
        introspection_endpoint=INTROSPECT,
        token_endpoint_auth_methods_supported=[method],
        token_request_format="json",
        token_headers={"X-Version": "1"},
    )

    oauth2.introspect(provider, CLIENT, "t1")

    request = sent(responses)
    assert form(request) == {"token": "t1", "token_type_hint": "access_token", **body}
    assert request.headers.get("Authorization") == authorization
    assert (request.headers["Accept"], request.headers["X-Version"]) == ("application/json", "1")
    assert request.url == INTROSPECT
