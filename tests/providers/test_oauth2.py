"""The client half of OAuth at the wire: what exactly is sent, and how exactly an answer is read."""

import base64
import datetime
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from responses import RequestsMock

from providers import identity, oauth2
from providers.answers import at
from providers.client import Client
from providers.errors import (
    AnswerNotUnderstood,
    AuthorizationDenied,
    CallbackNotAccepted,
    IssuerMismatch,
    ProviderError,
    ProviderUnavailable,
    SignatureMismatch,
    TokenRequestRejected,
)
from providers.provider import Provider
from providers.tokens import TokenResponse
from tests.providers.acme import CLIENT, TOKEN, form, provider_with, sent

ANSWER = {"access_token": "t1", "token_type": "Bearer"}


def exchange(provider: Provider, client: Client = CLIENT, **kwargs: Any) -> Any:
    return oauth2.exchange_code(provider, client, "c1", redirect_uri="https://us.example/cb", **kwargs)


# ---- authorization request -------------------------------------------------------------------------------------------


def url_params(provider: Provider, **kwargs: Any) -> dict[str, list[str]]:
    arguments = {"redirect_uri": "https://us.example/cb", "state": "st", "scopes": ["a", "b c"]} | kwargs
    return parse_qs(urlsplit(oauth2.authorization_url(provider, CLIENT, **arguments)).query)


def test_a_fixed_parameter_never_replaces_one_of_the_protocol() -> None:
    """A12, A13"""
    params = url_params(provider_with(authorization_params={"state": "x", "client_id": "x", "owner": "user"}))

    assert params["state"] == ["st"]
    assert params["client_id"] == ["client:1"]
    assert params["owner"] == ["user"]


@pytest.mark.parametrize(
    ("fields", "scope"),
    [
        ({}, {"scope": ["a b c"]}),
        ({"scope_separator": ","}, {"scope": ["a,b c"]}),
        ({"scope_param": "perms"}, {"perms": ["a b c"]}),
        ({"scope_param": ""}, {}),
    ],
)
def test_scopes_go_in_the_providers_own_parameter_and_separator(fields: dict[str, str], scope: dict[str, Any]) -> None:
    params = url_params(provider_with(**fields))

    assert {name: value for name, value in params.items() if name in {"scope", "perms"}} == scope


def test_pkce_and_nonce_are_sent_where_they_are_asked_for() -> None:
    params = url_params(provider_with(), code_challenge="ch", nonce="no")

    assert (params["code_challenge"], params["code_challenge_method"], params["nonce"]) == (["ch"], ["S256"], ["no"])
    assert not url_params(provider_with()).keys() & {"code_challenge", "code_challenge_method", "nonce"}


def test_a_parameter_can_be_left_out() -> None:
    assert "response_type" not in url_params(provider_with(authorization_params_left_out=["response_type"]))


def test_a_query_of_the_endpoint_is_kept() -> None:
    params = url_params(provider_with(authorization_endpoint="https://acme.example/authorize?v=2"))

    assert (params["v"], params["state"]) == (["2"], ["st"])


# ---- authorization response ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [{}, {"code": ""}, {"code": "c", "error": "e"}, {"state": "s"}, {"error": ""}])
def test_an_ambiguous_answer_is_refused(answer: dict[str, str]) -> None:
    """B09"""
    with pytest.raises(CallbackNotAccepted):
        oauth2.read_callback(provider_with(), CLIENT, answer)


@pytest.mark.parametrize(
    ("announced", "issuer", "iss", "accepted"),
    [
        (True, "https://acme.example", None, False),
        (True, "https://acme.example", "https://evil.example", False),
        (True, "https://acme.example", "https://acme.example/", False),
        (True, "https://acme.example", "https://acme.example", True),
        (False, "https://acme.example", "https://evil.example", False),
        (False, "https://acme.example", None, True),
        (False, "", "https://anything.example", True),
        (False, "https://acme.example/{tid}/v2", "https://acme.example/7/v2", True),
        (False, "https://acme.example/{tid}/v2", "https://evil.example/7/v2", False),
        (False, "https://acme.example/{tid}/v2", "https://acme.example/a/b/v2", False),
    ],
)
def test_a_mix_up_is_noticed(announced: bool, issuer: str, iss: str | None, accepted: bool) -> None:
    """B07"""
    provider = provider_with(authorization_response_iss_parameter_supported=announced, issuer=issuer)
    answer = {"code": "c1"} | ({} if iss is None else {"iss": iss})

    if accepted:
        assert oauth2.read_callback(provider, CLIENT, answer) == "c1"
    else:
        with pytest.raises(IssuerMismatch):
            oauth2.read_callback(provider, CLIENT, answer)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("access_denied", "access_denied"),
        ("user_denied", "access_denied"),
        ("no", "server_error"),
        ("a b", "server_error"),
    ],
)
def test_an_error_becomes_one_of_rfc_6749(theirs: str, ours: str) -> None:
    """B10"""
    provider = provider_with(callback_errors={"user_denied": "access_denied"})

    with pytest.raises(AuthorizationDenied) as caught:
        oauth2.read_callback(provider, CLIENT, {"error": theirs})

    assert caught.value.error == ours
    assert theirs not in str(caught.value) or theirs == "no"


@pytest.mark.parametrize("changed", ["shop", "code", "hmac", "timestamp"])
def test_a_signed_callback_cannot_be_changed(changed: str) -> None:
    provider = provider_with(callback_check="shopify_hmac")
    client = Client("k", "hush", {"shop": "some-shop"})
    answer = {  # the example of the provider's documentation, with its secret
        "code": "0907a61c0c8d55e99db179b68161bc00",
        "shop": "some-shop.myshopify.com",
        "timestamp": "1337178173",
        "hmac": "4712bf92ffc2917d15a2f5a273e39f0116667419aa4b6ac0b3baaf26fa3c4d20",
    }

    assert oauth2.read_callback(provider, client, answer) == answer["code"]
    with pytest.raises(SignatureMismatch):
        oauth2.read_callback(provider, client, answer | {changed: "x" + answer[changed][1:]})


# ---- token request ---------------------------------------------------------------------------------------------------


def test_basic_is_encoded_as_rfc_6749_says(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=ANSWER)

    exchange(provider_with())

    request = sent(responses)
    assert base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == b"client%3A1:canary+s%2Bc%25"
    assert form(request) == {"grant_type": "authorization_code", "code": "c1", "redirect_uri": "https://us.example/cb"}


def test_basic_as_it_is_where_the_server_does_not_decode(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=ANSWER)

    exchange(provider_with(basic_credentials_encoded=False))

    assert base64.b64decode(sent(responses).headers["Authorization"][6:]) == b"client:1:canary s+c%"


def test_post_puts_the_pair_into_the_body(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=ANSWER)

    exchange(provider_with(token_endpoint_auth_methods_supported=["client_secret_post"]), code_verifier="v" * 43)

    request = sent(responses)
    assert "Authorization" not in request.headers
    assert form(request) == {
        "grant_type": "authorization_code",
        "code": "c1",
        "redirect_uri": "https://us.example/cb",
        "code_verifier": "v" * 43,
        "client_id": "client:1",
        "client_secret": "canary s+c%",
    }


def test_a_public_client_sends_its_id_alone(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=ANSWER)

    exchange(provider_with(token_endpoint_auth_methods_supported=["client_secret_basic", "none"]), Client("c", "", {}))

    assert "Authorization" not in sent(responses).headers
    assert form(sent(responses))["client_id"] == "c"
    assert "client_secret" not in form(sent(responses))


def test_a_json_body(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=ANSWER)

    exchange(provider_with(token_request_format="json", token_headers={"X-Version": "1"}))

    request = sent(responses)
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["X-Version"] == "1"
    assert json.loads(request.body or b"")["code"] == "c1"


def test_parameters_are_added_and_left_out(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=ANSWER)

    exchange(provider_with(token_params={"expiring": "1"}, token_params_left_out=["redirect_uri"]))

    assert form(sent(responses)) == {"grant_type": "authorization_code", "code": "c1", "expiring": "1"}


def test_a_refresh_goes_to_its_own_endpoint_and_keeps_the_old_token(responses: RequestsMock) -> None:
    """G06"""
    responses.post("https://acme.example/refresh", json=ANSWER)
    provider = provider_with(refresh_endpoint="https://acme.example/refresh", refresh_params={"again": "yes"})

    tokens = oauth2.refresh(provider, CLIENT, "r1")

    assert tokens.refresh_token == "r1"
    assert form(sent(responses)) == {"grant_type": "refresh_token", "refresh_token": "r1", "again": "yes"}


def test_a_provider_that_does_not_refresh_is_not_asked(responses: RequestsMock) -> None:
    with pytest.raises(TokenRequestRejected):
        oauth2.refresh(provider_with(refresh_with="none"), CLIENT, "r1")

    assert len(responses.calls) == 0


# ---- token response --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, ProviderUnavailable), (500, ProviderUnavailable), (503, ProviderUnavailable), (302, AnswerNotUnderstood),
     (400, TokenRequestRejected), (404, TokenRequestRejected), (401, TokenRequestRejected)],
)  # fmt: skip
def test_each_status_has_its_error(responses: RequestsMock, status: int, error: type[ProviderError]) -> None:
    responses.post(TOKEN, status=status, body="canary of the provider", headers={"Retry-After": "17"})

    with pytest.raises(error) as caught:
        exchange(provider_with())

    assert type(caught.value) is error
    assert "canary" not in str(caught.value)
    if isinstance(caught.value, ProviderUnavailable):
        assert caught.value.retry_after == 17


THEIR_WORDS = {"token_response_error": {"code": "error.type", "codes": {"bad": "invalid_client"}}}
MUST_BE_OK = {"token_response_success": {"path": "ok", "equals": True}}


@pytest.mark.parametrize(
    ("fields", "answer", "reason"),
    [
        ({}, {"error": "invalid_grant"}, "invalid_grant"),
        ({}, {"error": "Invalid_Grant"}, "server_error"),
        ({}, {"error": {"code": 7}}, "server_error"),
        (THEIR_WORDS, {"error": {"type": "bad"}}, "invalid_client"),
        (MUST_BE_OK, {"ok": False, "access_token": "t"}, "server_error"),
        (MUST_BE_OK, {"access_token": "t"}, "server_error"),
    ],
)  # fmt: skip
def test_an_error_with_status_200_is_one(
    responses: RequestsMock, fields: dict[str, Any], answer: dict[str, Any], reason: str
) -> None:
    """F09"""
    responses.post(TOKEN, json=answer)

    with pytest.raises(TokenRequestRejected) as caught:
        exchange(provider_with(**fields))

    assert caught.value.reason == reason


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain; charset=utf-8"])
def test_a_form_is_read_by_its_content_type(content_type: str, responses: RequestsMock) -> None:
    """F10"""
    responses.post(TOKEN, body="access_token=t1&scope=a%2Cb", content_type=content_type)

    tokens = exchange(provider_with(scope_separator=","))

    assert (tokens.access_token, tokens.scope) == ("t1", "a b")


def test_nested_and_renamed_members_are_found(responses: RequestsMock) -> None:
    responses.post(
        TOKEN, json={"authed_user": {"access_token": "t2", "scope": ["a", "b"]}, "validUntil": 4102444800000}
    )
    provider = provider_with(
        token_response_names={
            "access_token": "authed_user.access_token",
            "scope": "authed_user.scope",
            "expires_at": "validUntil",
        },
        expiry={"source": "expires_at", "unit": "ms"},
    )

    tokens = exchange(provider)

    assert (tokens.access_token, tokens.scope) == ("t2", "a b")
    assert tokens.expires_in > 1_000_000


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3600", 3600), (3600.9, 3600), (0, None), (-5, None), ("never", None), (None, None), (True, None), ([], None),
     (10**18, 315_360_000), ("1e400", None), ("nan", None)],
)  # fmt: skip
def test_a_lifetime_is_a_number_of_seconds_or_unknown(
    responses: RequestsMock, value: object, seconds: int | None
) -> None:
    """F12"""
    responses.post(TOKEN, json=ANSWER | {"expires_in": value})

    assert exchange(provider_with()).expires_in == seconds


@pytest.mark.parametrize(
    ("scope", "read"),
    [("a b", "a b"), ("a\u0000b c", "c"), ("\u20ac c", "c"), ('a"b', None), (["a", "b"], "a b"), ([], None), (7, None)],
)
def test_a_scope_has_the_rfcs_characters_alone(responses: RequestsMock, scope: object, read: str | None) -> None:
    """C18"""
    responses.post(TOKEN, json=ANSWER | {"scope": scope})

    assert exchange(provider_with()).scope == read


def test_an_answer_shows_no_token() -> None:
    tokens = TokenResponse("canary", refresh_token="canary", answer={"access_token": "canary"})

    assert "canary" not in repr(tokens)
    assert "canary" not in repr(CLIENT)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b", 1),
        ("l.0.x", 7),
        ("l.*.x", [7, 8]),
        ("a.x", None),
        ("l.9", None),
        ("s.t", None),
        ("l.x", None),
        ("*", None),
    ],
)
def test_a_path_leads_into_objects_and_lists(path: str, found: object) -> None:
    assert at({"a": {"b": 1}, "l": [{"x": 7}, {"x": 8}], "s": "text"}, path) == found


# ---- whose tokens? ---------------------------------------------------------------------------------------------------

KEY = RSAKey.generate_key(2048, parameters={"kid": "k1"})
OIDC = {
    "issuer": "https://acme.example",
    "jwks_uri": "https://acme.example/jwks",
    "credential": {"sub": {"id_token": "sub", "identity": True}},
}


def claims(**changes: Any) -> dict[str, Any]:
    now = int(datetime.datetime.now(tz=datetime.UTC).timestamp())
    sound = {"iss": "https://acme.example", "aud": "client:1", "exp": now + 60, "nonce": "n1", "sub": "u1"}
    return {name: value for name, value in (sound | changes).items() if value is not None}


def read_identity(responses: RequestsMock, token: object, **fields: Any) -> dict[str, Any]:
    responses.get("https://acme.example/jwks", json={"keys": [KEY.as_dict(private=False)]})
    tokens = TokenResponse("t1", answer={"id_token": token})
    return identity.properties(provider_with(**(OIDC | fields)), CLIENT, tokens, callback={}, nonce="n1")


def test_a_sound_id_token_tells_who(responses: RequestsMock) -> None:
    token = jwt.encode({"alg": "RS256", "kid": "k1"}, claims(aud=["client:1"]), KEY)

    assert read_identity(responses, token) == {"sub": "u1"}


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"}, {"iss": None}, {"aud": "another"}, {"aud": None},
        {"aud": ["client:1", "another"]}, {"exp": 1}, {"exp": None}, {"exp": "soon"}, {"nonce": "other"},
        {"nonce": None}, {"sub": None}, {"sub": ""},
    ],
)  # fmt: skip
def test_an_id_token_for_somebody_else_is_refused(responses: RequestsMock, changes: dict[str, Any]) -> None:
    """A21"""
    token = jwt.encode({"alg": "RS256", "kid": "k1"}, claims(**changes), KEY)

    with pytest.raises(AnswerNotUnderstood):
        read_identity(responses, token)


def test_an_id_token_that_another_key_signed_is_refused(responses: RequestsMock) -> None:
    """A21"""
    forged = jwt.encode({"alg": "RS256", "kid": "k1"}, claims(), RSAKey.generate_key(2048))
    header, payload, _ = jwt.encode({"alg": "RS256", "kid": "k1"}, claims(), KEY).split(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")

    for token in (forged, f"{unsigned}.{payload}.", f"{header}.{payload}.", "x", "", None, 7):
        with pytest.raises(AnswerNotUnderstood):
            read_identity(responses, token)


def test_the_issuer_of_a_shared_provider_names_a_claim(responses: RequestsMock) -> None:
    token = jwt.encode({"alg": "RS256", "kid": "k1"}, claims(iss="https://acme.example/t7/v2", tid="t7"), KEY)

    assert read_identity(responses, token, issuer="https://acme.example/{tid}/v2") == {"sub": "u1"}


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"json": {"user": {"id": 7}, "on": True}}, {"user_id": 7, "on": True}),
        ({"json": {"user": {"id": 7}, "sites": [{"id": "a"}, {"id": "b"}]}}, {"user_id": 7, "sites": ["a", "b"]}),
        ({"json": {"user": {"id": "7"}}}, {"user_id": 7}),
        ({"json": {"user": {"id": "x"}}}, None),
        ({"json": {"user": {"id": {"a": 1}}}}, None),
        ({"json": []}, None),
        ({"status": 401, "json": {"user": {"id": 7}}}, None),
        ({"body": b"<html>"}, None),
    ],
)  # fmt: skip
def test_a_follow_up_call_tells_who(
    responses: RequestsMock, answer: dict[str, Any], found: dict[str, Any] | None
) -> None:
    responses.get("https://acme.example/me", **answer)
    provider = provider_with(
        follow_up="https://acme.example/me",
        api={"base_url": "https://acme.example", "header": "X-Token"},
        credential={
            "user_id": {"follow_up": "user.id", "type": "integer", "identity": True},
            "on": {"follow_up": "on", "type": "boolean", "required": False},
            "sites": {"follow_up": "sites.*.id", "type": "array", "required": False},
        },
    )
    tokens = TokenResponse("t1")

    if found is None:
        with pytest.raises(AnswerNotUnderstood):
            identity.properties(provider, CLIENT, tokens, callback={}, nonce="")
    else:
        assert identity.properties(provider, CLIENT, tokens, callback={}, nonce="") == found
    assert sent(responses).headers["X-Token"] == "t1"
    assert "Authorization" not in sent(responses).headers


# ---- revocation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("revocation", "expected"),
    [
        ({}, ("POST", {"token": "r1"}, "Basic")),
        ({"token": "access_token", "auth": "none"}, ("POST", {"token": "t1"}, "")),
        ({"auth": "bearer", "params": {}}, ("POST", {}, "Bearer")),
        ({"params": {"who": "{account}", "t": "{token}"}}, ("POST", {"who": "a1", "t": "r1"}, "Basic")),
    ],
)
def test_a_revocation_is_said_in_the_providers_way(
    responses: RequestsMock, revocation: dict[str, Any], expected: tuple[str, dict[str, str], str]
) -> None:
    method, body, scheme = expected
    responses.add(method, "https://acme.example/revoke", status=200)
    provider = provider_with(revocation_endpoint="https://acme.example/revoke", revocation=revocation)

    oauth2.revoke(provider, CLIENT, access_token="t1", refresh_token="r1", properties={"account": "a1"})

    request = sent(responses)
    assert form(request) == body
    assert request.headers.get("Authorization", "").partition(" ")[0] == scheme


@pytest.mark.parametrize(
    ("revocation", "status", "refresh_token", "is_done"),
    [
        ({}, 404, "r1", False),  # a moved endpoint, and no word of the token
        ({"unknown_status": 404}, 404, "r1", True),
        ({}, 401, "r1", False),
        ({"auth": "bearer"}, 401, "r1", False),  # the access token has ended, the refresh token has not
        ({"auth": "bearer"}, 403, "r1", False),
        ({"auth": "bearer"}, 401, "", True),
        ({"auth": "bearer"}, 404, "", False),
    ],
)
def test_a_revocation_is_done_only_if_the_provider_says_so(
    responses: RequestsMock, revocation: dict[str, Any], status: int, refresh_token: str, is_done: bool
) -> None:
    responses.post("https://acme.example/revoke", status=status)
    provider = provider_with(revocation_endpoint="https://acme.example/revoke", revocation=revocation)

    def revoke() -> None:
        oauth2.revoke(provider, CLIENT, access_token="t1", refresh_token=refresh_token, properties={})

    if is_done:
        revoke()
    else:
        with pytest.raises(TokenRequestRejected):
            revoke()
    assert len(responses.calls) == 1


def test_headers_of_token_requests_are_those_of_a_revocation_too(responses: RequestsMock) -> None:
    responses.post("https://acme.example/revoke", status=200)
    headers = {"Version": "7", "Client-Id": "{client_id}"}
    provider = provider_with(revocation_endpoint="https://acme.example/revoke", token_headers=headers)

    oauth2.revoke(provider, CLIENT, access_token="t1", properties={})

    assert (sent(responses).headers["Version"], sent(responses).headers["Client-Id"]) == ("7", "client:1")


def test_a_url_of_revocation_may_name_the_client(responses: RequestsMock) -> None:
    responses.delete("https://acme.example/apps/client:1/grant", status=204)
    provider = provider_with(
        revocation_endpoint="https://acme.example/apps/{client_id}/grant",
        revocation={
            "method": "DELETE",
            "token": "access_token",
            "format": "json",
            "auth": "client_secret_basic",
            "params": {"access_token": "{token}"},
        },
    )

    oauth2.revoke(provider, CLIENT, access_token="t1", properties={})

    assert json.loads(sent(responses).body or b"") == {"access_token": "t1"}
    assert sent(responses).headers["Authorization"].startswith("Basic ")


def test_what_is_sent_is_filled_in_once(responses: RequestsMock) -> None:
    """A token that looks like a placeholder stays a token."""
    responses.post("https://acme.example/me", json={"id": "u1"})
    provider = provider_with(
        follow_up={
            "url": "https://acme.example/me",
            "method": "POST",
            "auth": "none",
            "form": {"token": "{token}", "secret": "{client_secret}"},
        },
        credential={"id": {"follow_up": "id", "identity": True}},
    )

    oauth2.follow_up(provider, CLIENT, TokenResponse("{client_secret}"))

    assert form(sent(responses)) == {"token": "{client_secret}", "secret": "canary s+c%"}
