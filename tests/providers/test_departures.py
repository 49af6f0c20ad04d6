"""
How providers depart from the RFCs, each departure a field: what exactly is sent, and how exactly the answer is read.

What follows the RFCs, and the departures that came first, stand in test_oauth2.py; renamed answers in test_tokens.py.
"""

import json
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from responses import RequestsMock, matchers

from providers import oauth2
from providers.client import Client
from providers.errors import AnswerNotUnderstood, CallbackNotAccepted, TokenRequestRejected
from providers.provider import Provider
from providers.tokens import TokenResponse
from providers.variables import VariableNotAccepted
from tests.providers.acme import CLIENT, TOKEN, form, provider_with, sent

CALLBACK = "https://us.example/cb"
ANSWER = {"access_token": "t1", "token_type": "Bearer"}


def asked(provider: Provider, **kwargs: Any) -> dict[str, list[str]]:
    arguments = {"redirect_uri": CALLBACK, "state": "st", "scopes": ["a", "b"]} | kwargs
    return parse_qs(urlsplit(oauth2.authorization_url(provider, CLIENT, **arguments)).query)


def exchange(provider: Provider, client: Client = CLIENT, **kwargs: Any) -> Any:
    return oauth2.exchange_code(provider, client, "c1", redirect_uri=CALLBACK, **kwargs)


def query(request: Any) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.url).query))


# ---- authorization request -------------------------------------------------------------------------------------------


def test_parameters_are_sent_under_the_providers_names_alone() -> None:
    params = asked(provider_with(authorization_param_names={"client_id": "app_id", "state": "customField"}))

    assert (params["app_id"], params["customField"]) == (["client:1"], ["st"])
    assert not params.keys() & {"client_id", "state"}


def test_a_state_that_would_not_come_back_rides_in_the_redirect_uri() -> None:
    provider = provider_with(state_returned=False)

    params = asked(provider)

    assert params["redirect_uri"] == [f"{CALLBACK}?state=st"]
    assert "state" not in params
    assert oauth2.redirect_uri_with(provider, CALLBACK, "st") == f"{CALLBACK}?state=st"
    assert oauth2.redirect_uri_with(provider_with(), CALLBACK, "st") == CALLBACK


def test_a_second_list_of_scopes_has_a_parameter_of_its_own() -> None:
    provider = provider_with(
        scope_separator=",",
        authorization_params={"user_scope": "{user_scope}"},
        variables={"user_scope": {"label": "User scopes", "kind": "scopes", "required": False}},
    )

    params = asked(provider.bound({"user_scope": "chat:write  users:read,team:read"}))

    assert params["user_scope"] == ["chat:write,users:read,team:read"]
    assert "user_scope" not in asked(provider.bound({}))


@pytest.mark.parametrize("value", ['a"b', "ä", "a\\b", "a\nb", "x" * 4097])
def test_what_is_no_list_of_scopes_is_refused(value: str) -> None:
    provider = provider_with(variables={"user_scope": {"label": "User scopes", "kind": "scopes", "required": False}})

    with pytest.raises(VariableNotAccepted):
        provider.accept_variables({"user_scope": value}, fixed={})


# ---- callback --------------------------------------------------------------------------------------------------------


def test_the_code_is_read_under_the_providers_name_alone() -> None:
    provider = provider_with(callback_code_param="spapi_oauth_code")

    assert oauth2.read_callback(provider, CLIENT, {"spapi_oauth_code": "c1"}) == "c1"
    with pytest.raises(CallbackNotAccepted):
        oauth2.read_callback(provider, CLIENT, {"code": "c1"})


ACCOUNTS = {
    "label": "Data centre",
    "kind": "choice",
    "values": ["accounts.acme.example", "accounts.acme.eu"],
    "default": "accounts.acme.example",
    "callback": "accounts-server",
}


def test_the_callback_says_where_the_account_is() -> None:
    provider = provider_with(variables={"accounts": ACCOUNTS}, token_endpoint="https://{accounts}/token")
    before = {"accounts": "accounts.acme.example"}

    assert provider.variables_told({}, before) == before
    told = provider.variables_told({"accounts-server": "https://accounts.acme.eu"}, before)

    assert provider.bound(told).token_endpoint == "https://accounts.acme.eu/token"


@pytest.mark.parametrize("elsewhere", ["https://evil.example", "accounts.acme.eu.evil.example", "accounts.acme.eu/x"])
def test_the_callback_leads_to_no_address_but_the_providers_own(elsewhere: str) -> None:
    provider = provider_with(variables={"accounts": ACCOUNTS}, token_endpoint="https://{accounts}/token")

    with pytest.raises(VariableNotAccepted):
        provider.variables_told({"accounts-server": elsewhere}, {})


# ---- token request ---------------------------------------------------------------------------------------------------


def test_a_token_request_by_get_has_everything_in_the_query_and_no_body(responses: RequestsMock) -> None:
    responses.get(TOKEN, json=ANSWER)
    names = {"client_id": "appid", "client_secret": "secret"}

    exchange(
        provider_with(
            token_request_method="GET",
            token_request_format="query",
            token_param_names=names,
            token_params_left_out=["redirect_uri"],
            token_endpoint_auth_methods_supported=["client_secret_post"],
        )
    )

    pair = {"appid": "client:1", "secret": "canary s+c%"}
    assert query(sent(responses)) == {"grant_type": "authorization_code", "code": "c1", **pair}
    assert not sent(responses).body


def test_a_post_may_have_its_parameters_in_the_query(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=ANSWER)

    exchange(provider_with(token_request_format="query"))

    assert query(sent(responses))["code"] == "c1"
    assert not sent(responses).body


def test_names_are_the_providers_in_json_too(responses: RequestsMock) -> None:
    responses.post(TOKEN, json={"data": {"access_token": "t1"}})
    provider = provider_with(
        token_request_format="json",
        token_param_names={"client_id": "app_id", "code": "auth_code", "grant_type": "grantType"},
        token_endpoint_auth_methods_supported=["client_secret_post"],
        token_response_names={"access_token": "data.access_token"},
    )

    tokens = exchange(provider)

    body = json.loads(sent(responses).body or b"")
    assert (body["app_id"], body["auth_code"], body["grantType"]) == ("client:1", "c1", "authorization_code")
    assert not body.keys() & {"client_id", "code", "grant_type"}
    assert tokens.access_token == "t1"


def test_what_the_callback_told_is_sent_on(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=ANSWER)
    provider = provider_with(
        token_params={"device_id": "{device_id}", "other": "{absent}"},
        credential={"device_id": {"callback": "device_id"}, "absent": {"callback": "absent", "required": False}},
    )

    exchange(provider, callback={"code": "c1", "device_id": "d1", "code_verifier": "theirs"})

    body = form(sent(responses))
    assert body["device_id"] == "d1"
    assert not body.keys() & {"other", "code_verifier"}


def test_a_header_may_name_the_client(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=ANSWER)

    exchange(provider_with(token_headers={"Client-Id": "{client_id}"}))

    assert sent(responses).headers["Client-Id"] == "client:1"


# ---- the second step -------------------------------------------------------------------------------------------------

LONG_LIVED = {
    "endpoint": "https://acme.example/long-lived",
    "method": "GET",
    "params": {"grant_type": "acme_exchange", "client_secret": "{client_secret}", "access_token": "{access_token}"},
}


def test_a_second_step_brings_the_token_that_lasts(responses: RequestsMock) -> None:
    responses.post(TOKEN, json={"access_token": "short", "user_id": 7, "scope": "a b"})
    wanted = {"grant_type": "acme_exchange", "client_secret": "canary s+c%", "access_token": "short"}
    responses.get(
        LONG_LIVED["endpoint"],
        json={"access_token": "long", "expires_in": 5_184_000},
        match=[matchers.query_param_matcher(wanted)],
    )

    tokens = exchange(provider_with(second_step=LONG_LIVED))

    assert (tokens.access_token, tokens.expires_in, tokens.scope) == ("long", 5_184_000, "a b")
    assert tokens.answer["user_id"] == 7


def test_without_its_second_step_a_token_is_none(responses: RequestsMock) -> None:
    responses.post(TOKEN, json={"access_token": "short"})
    responses.get(LONG_LIVED["endpoint"], status=400, json={"error": "invalid_grant"})

    with pytest.raises(TokenRequestRejected):
        exchange(provider_with(second_step=LONG_LIVED))


# ---- refresh ---------------------------------------------------------------------------------------------------------


def test_a_refresh_may_differ_from_the_exchange_in_place_method_and_form(responses: RequestsMock) -> None:
    responses.get("https://acme.example/refresh", json=ANSWER)
    provider = provider_with(
        refresh_endpoint="https://acme.example/refresh",
        refresh_request_method="GET",
        refresh_request_format="query",
        refresh_params_left_out=["client_secret"],
        token_endpoint_auth_methods_supported=["client_secret_post"],
    )

    oauth2.refresh(provider, CLIENT, "r1")

    pair = {"grant_type": "refresh_token", "refresh_token": "r1"}
    assert query(sent(responses)) == pair | {"client_id": "client:1"}


def test_a_client_may_authenticate_otherwise_at_a_refresh(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=ANSWER)
    provider = provider_with(
        token_endpoint_auth_methods_supported=["client_secret_post"], refresh_auth_method="client_secret_basic"
    )

    exchange(provider)
    oauth2.refresh(provider, CLIENT, "r1")

    assert "client_secret" in form(sent(responses))
    assert sent(responses, 1).headers["Authorization"].startswith("Basic ")
    assert form(sent(responses, 1)) == {"grant_type": "refresh_token", "refresh_token": "r1"}


def test_a_refresh_says_again_what_the_credential_knows(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=ANSWER)
    provider = provider_with(refresh_params={"device_id": "{device_id}", "other": "{absent}"})

    oauth2.refresh(provider, CLIENT, "r1", properties={"device_id": "d1", "account": 7})

    assert form(sent(responses)) == {"grant_type": "refresh_token", "refresh_token": "r1", "device_id": "d1"}


PROLONGED = {
    "refresh_with": "access_token",
    "refresh_endpoint": "https://acme.example/prolong",
    "refresh_request_method": "GET",
    "refresh_request_format": "query",
    "refresh_params": {"grant_type": "acme_refresh", "access_token": "{access_token}"},
    "refresh_params_left_out": ["client_id", "client_secret"],
    "token_endpoint_auth_methods_supported": ["client_secret_post"],
}


def test_an_access_token_can_be_what_is_refreshed(responses: RequestsMock) -> None:
    responses.get("https://acme.example/prolong", json={"access_token": "t2", "expires_in": 60})

    tokens = oauth2.refresh(provider_with(**PROLONGED), CLIENT, "", access_token="t1")

    assert query(sent(responses)) == {"grant_type": "acme_refresh", "access_token": "t1"}
    assert (tokens.access_token, tokens.refresh_token) == ("t2", None)


def test_where_the_access_token_is_refreshed_nothing_else_is(responses: RequestsMock) -> None:
    with pytest.raises(TokenRequestRejected) as caught:
        oauth2.refresh(provider_with(**PROLONGED), CLIENT, "r1")

    assert caught.value.reason == "unsupported_grant_type"
    assert len(responses.calls) == 0


# ---- the token at the API --------------------------------------------------------------------------------------------


def test_a_token_goes_into_the_query_where_the_api_takes_nothing_else(responses: RequestsMock) -> None:
    responses.get("https://acme.example/me", json={"id": 7})
    provider = provider_with(
        follow_up="https://acme.example/me?v=2", api={"base_url": "https://acme.example", "query": "oauth_token"}
    )

    oauth2.follow_up(provider, CLIENT, TokenResponse(access_token="t1"))

    assert query(sent(responses)) == {"v": "2", "oauth_token": "t1"}
    assert "Authorization" not in sent(responses).headers


def test_a_further_call_may_name_the_client_in_a_header(responses: RequestsMock) -> None:
    responses.get("https://acme.example/me", json={"id": 7})
    call = {"url": "https://acme.example/me", "headers": {"Client-Id": "{client_id}"}}

    oauth2.follow_up(provider_with(follow_up=call), CLIENT, TokenResponse(access_token="t1"))

    assert sent(responses).headers["Client-Id"] == "client:1"


# ---- deployments -----------------------------------------------------------------------------------------------------

TEST_SYSTEM = {
    "authorization_endpoint": "https://test.acme.example/authorize",
    "token_endpoint": "https://test.acme.example/token",
    "follow_up": "https://test.acme.example/me",
    "api_base_url": "https://test.acme.example",
}


def test_a_deployment_has_addresses_of_its_own() -> None:
    provider = provider_with(
        follow_up="https://acme.example/me",
        api={"base_url": "https://acme.example"},
        revocation_endpoint="https://acme.example/revoke",
        deployments={"test": TEST_SYSTEM},
        variables={"deployment": {"label": "Deployment", "kind": "choice", "values": ["test"], "required": False}},
    )

    test, usual = provider.bound({"deployment": "test"}), provider.bound({})

    assert (test.token_endpoint, usual.token_endpoint) == ("https://test.acme.example/token", TOKEN)
    assert (test.follow_up, usual.follow_up) == ("https://test.acme.example/me", "https://acme.example/me")
    assert test.api
    assert test.api.base_url == "https://test.acme.example"
    assert test.revocation_endpoint == usual.revocation_endpoint == "https://acme.example/revoke"
    with pytest.raises(VariableNotAccepted):
        provider.bound({"deployment": "elsewhere"})


def test_an_answer_that_is_a_page_is_none(responses: RequestsMock) -> None:
    responses.get(TOKEN, body="<html>", content_type="text/html")

    with pytest.raises(AnswerNotUnderstood):
        exchange(provider_with(token_request_method="GET", token_request_format="query"))
