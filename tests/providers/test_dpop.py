"""Tokens that are bound to a key (RFC 9449): the proofs that are sent, and the answers that are not accepted."""

import base64
import hashlib
import json
import time
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey
from requests import PreparedRequest
from responses import RequestsMock

from providers import access, dpop, identity, kinds, oauth2
from providers.client import Client
from providers.errors import (
    AccessTokenMissing,
    AnswerNotUnderstood,
    ParameterMissing,
    ProviderUnavailable,
    TokenRequestRejected,
)
from providers.kinds import CredentialKind, PropertiesNotAccepted
from providers.provider import Provider
from providers.tokens import TokenResponse
from tests.providers.acme import TOKEN, form, provider_with, sent

ME = "https://acme.example/me"
ACCESS_TOKEN = "canary-access-token"
KEY = dpop.new_key()
CALLBACK_URL = "https://us.example/cb"
BOUND = {"access_token": ACCESS_TOKEN, "token_type": "DPoP", "refresh_token": "r2"}
BEARER = {"access_token": ACCESS_TOKEN, "token_type": "Bearer"}


def provider(**fields: Any) -> Provider:
    return provider_with(dpop_signing_alg_values_supported=["ES256"], follow_up=f"{ME}?a=1#b", **fields)


APP = Client("c1", "canary-secret-of-more-than-thirty-two-bytes", {"dpop_bound_access_tokens": "true"})
UNBOUND_APP = Client("c1", "canary-secret", {"dpop_bound_access_tokens": "false"})


def exchange(client: Client = APP, **fields: Any) -> TokenResponse:
    return oauth2.exchange_code(provider(**fields), client, "c1", redirect_uri=CALLBACK_URL)


def read(request: PreparedRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a request's proof, whose signature the key in it verifies."""
    proof = str(request.headers["DPoP"])
    header = jws.extract_compact(proof.encode()).headers()
    token = jwt.decode(proof, ECKey.import_key(header["jwk"]), algorithms=["ES256"])
    return token.header, token.claims


def public_half(key: str) -> dict[str, str]:
    return {name: value for name, value in json.loads(key).items() if name != "d"}


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "MAC", None])
def test_a_token_that_is_not_bound_is_not_accepted(responses: RequestsMock, token_type: str | None) -> None:
    responses.post(TOKEN, json={"access_token": ACCESS_TOKEN} | ({"token_type": token_type} if token_type else {}))

    with pytest.raises(AnswerNotUnderstood, match="not bound") as caught:
        exchange()

    assert not isinstance(caught.value, AccessTokenMissing)


def test_a_refresh_that_is_answered_with_bearer_loses_no_refresh_token(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=BEARER | {"refresh_token": "r2"})

    with pytest.raises(AccessTokenMissing) as caught:
        oauth2.refresh(provider(), APP, "r1", properties={"dpop_key": KEY})

    assert caught.value.refresh_token == "r2"


@pytest.mark.parametrize("kept", [{}, {"dpop_key": ""}, {"dpop_key": "no key"}, {"dpop_key": "{}"}])
def test_without_the_key_nothing_is_refreshed(responses: RequestsMock, kept: dict[str, str]) -> None:
    with pytest.raises(ParameterMissing, match="dpop_key"):
        oauth2.refresh(provider(), APP, "r1", properties=kept)

    assert len(responses.calls) == 0


def test_a_nonce_is_tried_once(responses: RequestsMock) -> None:
    for number in range(2):
        wants = {"error": "use_dpop_nonce"}
        responses.post(TOKEN, json=wants, status=400, headers={"DPoP-Nonce": f"n{number}"})

    with pytest.raises(TokenRequestRejected):
        exchange()

    assert len(responses.calls) == 2


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        ("invalid_grant", {"DPoP-Nonce": "n1"}),
        ("use_dpop_nonce", {}),
        ("use_dpop_nonce", {"DPoP-Nonce": 'n"1'}),
        ("use_dpop_nonce", {"DPoP-Nonce": "n" * 1025}),
    ],
)
def test_another_refusal_is_not_tried_again(responses: RequestsMock, error: str, headers: dict[str, str]) -> None:
    responses.post(TOKEN, json={"error": error}, status=400, headers=headers)

    with pytest.raises(TokenRequestRejected):
        exchange()

    assert len(responses.calls) == 1


def test_the_nonce_that_comes_with_a_failure_of_the_server_is_not_used(responses: RequestsMock) -> None:
    responses.post(TOKEN, json={"error": "use_dpop_nonce"}, status=503, headers={"DPoP-Nonce": "n1"})

    with pytest.raises(ProviderUnavailable):
        exchange()


@pytest.mark.parametrize(
    "key",
    [
        "no key",
        "[]",
        "{}",
        json.dumps(public_half(KEY)),
        json.dumps(ECKey.generate_key("P-384").as_dict(private=True)),
        "***********",
    ],
)
def test_an_import_takes_no_other_key(key: str) -> None:
    with pytest.raises(PropertiesNotAccepted) as caught:
        kind().accept({"access_token": "a1", "dpop_key": key})

    assert caught.value.errors.keys() == {"dpop_key"}


def test_a_provider_without_dpop_has_no_such_property() -> None:
    without = provider_with()

    assert "dpop_key" not in CredentialKind("acme_oauth2", without, None).properties


def kind(**fields: Any) -> CredentialKind:
    return CredentialKind("acme_oauth2", provider(**fields), None)


# ---- proofs ----------------------------------------------------------------------------------------------------------


def test_the_proof_of_an_exchange(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=BOUND)

    tokens = exchange()

    header, claims = read(sent(responses))
    assert header == {"typ": "dpop+jwt", "alg": "ES256", "jwk": public_half(tokens.dpop_key)}
    assert claims.keys() == {"jti", "htm", "htu", "iat"}
    assert (claims["htm"], claims["htu"]) == ("POST", TOKEN)
    assert abs(claims["iat"] - time.time()) < 5
    assert len(claims["jti"]) >= 22
    assert json.loads(tokens.dpop_key).keys() == {"kty", "crv", "x", "y", "d"}
    assert json.loads(tokens.dpop_key)["d"] not in str(sent(responses).headers) + str(sent(responses).body)
    assert json.loads(tokens.dpop_key)["d"] not in repr(tokens)


def test_every_grant_has_a_key_of_its_own(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=BOUND)

    assert exchange().dpop_key != exchange().dpop_key


@pytest.mark.parametrize(
    ("fields", "client"),
    [({}, UNBOUND_APP), ({}, Client("c1", "canary-secret", {})), ({"dpop_signing_alg_values_supported": []}, APP)],
)
def test_whoever_does_not_ask_for_it_sends_no_proof(
    responses: RequestsMock, fields: dict[str, Any], client: Client
) -> None:
    responses.post(TOKEN, json=BEARER)

    tokens = oauth2.exchange_code(provider_with(**fields), client, "c1", redirect_uri=CALLBACK_URL)

    assert tokens.dpop_key == ""
    assert "DPoP" not in sent(responses).headers


def test_a_refresh_is_proven_with_the_same_key(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=BOUND)

    tokens = oauth2.refresh(provider(), APP, "r1", properties={"dpop_key": KEY})

    header, claims = read(sent(responses))
    assert header["jwk"] == public_half(KEY)
    assert (claims["htm"], claims["htu"], "ath" in claims) == ("POST", TOKEN, False)
    assert tokens.dpop_key == KEY


def test_what_was_bound_stays_so_whatever_the_oauth_app_says_by_then(responses: RequestsMock) -> None:
    responses.post(TOKEN, json=BOUND)

    oauth2.refresh(provider(), UNBOUND_APP, "r1", properties={"dpop_key": KEY})

    assert read(sent(responses))[0]["jwk"] == public_half(KEY)


def test_the_nonce_of_the_server_is_in_a_new_proof(responses: RequestsMock) -> None:
    responses.post(TOKEN, json={"error": "use_dpop_nonce"}, status=400, headers={"DPoP-Nonce": "n-1"})
    responses.post(TOKEN, json=BOUND)

    tokens = exchange()

    (first, before), (second, after) = read(sent(responses, 0)), read(sent(responses, 1))
    assert first == second == {"typ": "dpop+jwt", "alg": "ES256", "jwk": public_half(tokens.dpop_key)}
    assert ("nonce" in before, after["nonce"]) == (False, "n-1")
    assert before["jti"] != after["jti"]
    assert form(sent(responses, 0)) == form(sent(responses, 1))


def test_a_second_try_has_an_assertion_of_its_own(responses: RequestsMock) -> None:
    responses.post(TOKEN, json={"error": "use_dpop_nonce"}, status=400, headers={"DPoP-Nonce": "n-1"})
    responses.post(TOKEN, json=BOUND)

    exchange(token_endpoint_auth_methods_supported=["client_secret_jwt"])

    first, second = (form(sent(responses, number))["client_assertion"] for number in range(2))
    assert first != second


# ---- calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("challenged", [False, True])
def test_a_call_carries_the_token_and_a_proof_for_it(responses: RequestsMock, challenged: bool) -> None:
    if challenged:
        headers = {"DPoP-Nonce": "n-2", "WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}
        responses.get(ME, status=401, headers=headers)
    responses.get(ME, json={"id": "u1"})
    tokens = TokenResponse(ACCESS_TOKEN, token_type="DPoP", dpop_key=KEY)

    document = oauth2.follow_up(provider(), APP, tokens)

    assert document == {"id": "u1"}
    header, claims = read(sent(responses, int(challenged)))
    hashed = hashlib.sha256(ACCESS_TOKEN.encode()).digest()
    assert sent(responses, int(challenged)).headers["Authorization"] == f"DPoP {ACCESS_TOKEN}"
    assert header["jwk"] == public_half(KEY)
    assert (claims["htm"], claims["htu"]) == ("GET", ME)
    assert claims["ath"] == base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
    assert claims.get("nonce") == ("n-2" if challenged else None)


def test_a_check_is_proven_with_the_credentials_key(responses: RequestsMock) -> None:
    responses.get("https://acme.example/check", json={"ok": True})
    bound = provider(check="https://acme.example/check")

    document = access.check(kind(), bound, APP, {"dpop_key": KEY}, ACCESS_TOKEN)

    assert document == {"ok": True}
    assert sent(responses).headers["Authorization"] == f"DPoP {ACCESS_TOKEN}"
    assert read(sent(responses))[1]["ath"] == dpop.ath(ACCESS_TOKEN)


def test_the_check_of_an_unbound_token_is_as_ever(responses: RequestsMock) -> None:
    responses.get("https://acme.example/check", json={"ok": True})

    access.check(kind(), provider(check="https://acme.example/check"), UNBOUND_APP, {}, ACCESS_TOKEN)

    assert sent(responses).headers["Authorization"] == f"Bearer {ACCESS_TOKEN}"
    assert "DPoP" not in sent(responses).headers


# ---- what is kept ----------------------------------------------------------------------------------------------------


def test_the_key_is_kept_beside_what_the_file_declares(responses: RequestsMock) -> None:
    responses.get(ME, json={"id": "u1"})
    declared = provider(credential={"user_id": {"follow_up": "id", "identity": True}})
    tokens = TokenResponse(ACCESS_TOKEN, token_type="DPoP", dpop_key=KEY)

    found = identity.properties(declared, APP, tokens, callback={}, nonce="")

    assert found == {"user_id": "u1", "dpop_key": KEY}


def test_an_imported_key_is_kept_in_one_spelling() -> None:
    spelled = json.dumps(dict(sorted(json.loads(KEY).items(), reverse=True)) | {"kid": "x", "use": "sig"}, indent=None)

    assert kind().accept({"access_token": "a1", "dpop_key": spelled})["dpop_key"] == KEY


def test_the_key_is_an_optional_secret_of_the_kind() -> None:
    declared = kind().properties["dpop_key"]

    assert (declared.secret, declared.required, declared.identity) == (True, False, False)
    assert kinds.TOKENS.keys() & {"dpop_key"} == set()
