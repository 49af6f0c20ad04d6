"""The client says who it is by a JWT (RFC 7523; OpenID Connect Core, 9): what exactly is sent, and what never is."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from responses import RequestsMock

from providers import oauth2, pushed_requests
from providers.client import Client
from providers.client_authentication import JWT_BEARER, KeyNotAccepted, accept_private_key, authenticated
from providers.errors import ProviderError
from providers.provider import Provider
from tests.providers.acme import TOKEN, form, provider_with, sent

SECRET = "canary-secret-of-more-than-thirty-two-bytes"
RSA, EC = RSAKey.generate_key(2048), ECKey.generate_key("P-256")
ISSUER = "https://acme.example"
ENDPOINTS = {
    "introspection_endpoint": "https://acme.example/introspect",
    "revocation_endpoint": "https://acme.example/revoke",
    "pushed_authorization_request_endpoint": "https://acme.example/par",
}
AUTHORIZATION_URL = "https://acme.example/authorize?client_id=c1&scope=read"


def pem(key: RSAKey | ECKey, *, private: bool = True) -> str:
    return key.as_pem(private=private).decode()


def jwk(key: RSAKey | ECKey, **members: str) -> str:
    return str({**key.as_dict(private=True), **members}).replace("'", '"')


def signing(*methods: str, **fields: Any) -> Provider:
    return provider_with(token_endpoint_auth_methods_supported=methods or ["private_key_jwt"], **ENDPOINTS, **fields)


def client(client_secret: str, **variables: str) -> Client:
    return Client("c1", client_secret, variables)


def assertion(params: dict[str, str]) -> str:
    assert params["client_assertion_type"] == JWT_BEARER == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return params["client_assertion"]


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (pem(RSA, private=False), "private key, not its public half"),
        (pem(ECKey.generate_key("P-384")), "curve P-256"),
        (pem(ECKey.generate_key("P-384")).replace("\n", "\\n"), "curve P-256"),
        (jwk(ECKey.generate_key("P-521")), "curve P-256"),
        ("-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----", "RSA or EC P-256"),
        (RSA.as_pem(private=True, password="x").decode(), "not encrypted"),
        ('{"kty": "EC", "crv": "P-256", "d": "AA"}', "RSA or EC P-256"),
    ],
)  # fmt: skip
def test_a_key_that_cannot_sign_is_refused(key: str, why: str) -> None:
    with pytest.raises(KeyNotAccepted, match=why) as caught:
        accept_private_key(signing(), key)

    assert key.split("\n")[1:2] == [] or key.split("\n")[1] not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Key size")
def test_a_small_rsa_key_is_refused() -> None:
    with pytest.raises(KeyNotAccepted, match="2048 bits"):
        accept_private_key(signing(), pem(RSAKey.generate_key(1024)))


def test_a_key_whose_signatures_the_provider_does_not_take_is_refused(responses: RequestsMock) -> None:
    provider = signing(token_endpoint_auth_signing_alg_values_supported=["RS256"])

    with pytest.raises(KeyNotAccepted, match="RS256"):
        oauth2.refresh(provider, client(pem(EC)), "r1")

    assert len(responses.calls) == 0


def test_where_only_private_keys_are_taken_a_plain_secret_is_sent_to_nobody(responses: RequestsMock) -> None:
    with pytest.raises(ProviderError, match="private key alone"):
        oauth2.refresh(signing(), client(SECRET), "r1")

    assert len(responses.calls) == 0


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt"])
@pytest.mark.parametrize("key", [pem(RSA), pem(EC), jwk(RSA), jwk(EC), " \n" + jwk(EC)])
def test_a_private_key_is_not_sent_even_if_the_oauth_app_says_so(
    responses: RequestsMock, method: str, key: str
) -> None:
    provider = signing("private_key_jwt", method)

    with pytest.raises(ProviderError, match="is a private key") as caught:
        oauth2.refresh(provider, client(key, token_endpoint_auth_method=method), "r1")

    assert "BEGIN" not in str(caught.value)
    assert len(responses.calls) == 0


# ---- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "taken", "algorithm"),
    [
        (RSA, [], "RS256"),
        (RSA, ["ES256", "PS256"], "PS256"),
        (RSA, ["PS256", "RS256"], "PS256"),
        (EC, [], "ES256"),
        (EC, ["RS256", "ES256"], "ES256"),
    ],
)
def test_the_algorithm_is_one_that_key_and_provider_have_in_common(
    responses: RequestsMock, key: RSAKey | ECKey, taken: list[str], algorithm: str
) -> None:
    responses.post(TOKEN, json={"access_token": "t1"})
    provider = signing(token_endpoint_auth_signing_alg_values_supported=taken)

    oauth2.refresh(provider, client(pem(key)), "r1")

    params = form(sent(responses))
    token = jwt.decode(assertion(params), key, algorithms=[algorithm])
    assert token.header == {"typ": "JWT", "alg": algorithm}
    assert params.keys() == {
        "grant_type", "refresh_token", "client_id", "client_assertion", "client_assertion_type",
    }  # fmt: skip
    assert "Authorization" not in sent(responses).headers
    assert "BEGIN" not in str(sent(responses).body)


@pytest.mark.parametrize("written", ["\\n", "", " ", "\r\n", "\n  "])
@pytest.mark.parametrize("key", [RSA, EC])
def test_a_key_file_that_has_lost_its_lines_signs_all_the_same(key: RSAKey | ECKey, written: str) -> None:
    params, _ = authenticated(signing(), client(pem(key).replace("\n", written)), {})

    assert jwt.decode(assertion(params), key, algorithms=["RS256", "ES256"]).claims["iss"] == "c1"


def test_the_claims_of_an_assertion() -> None:
    params, headers = authenticated(signing(issuer=ISSUER), client(pem(EC)), {})
    other, _ = authenticated(signing(issuer=ISSUER), client(pem(EC)), {})

    claims = jwt.decode(assertion(params), EC, algorithms=["ES256"]).claims
    again = jwt.decode(assertion(other), EC, algorithms=["ES256"]).claims
    assert headers == {}
    assert claims.keys() == {"iss", "sub", "aud", "jti", "iat", "exp"}
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("c1", "c1", ISSUER)
    assert claims["exp"] - claims["iat"] == 60
    assert abs(claims["iat"] - time.time()) < 5
    assert claims["jti"] != again["jti"]
    assert len(claims["jti"]) >= 22


def test_the_secret_itself_signs_and_is_not_sent(responses: RequestsMock) -> None:
    responses.post(TOKEN, json={"access_token": "t1"})

    oauth2.refresh(signing("client_secret_jwt", "client_secret_post"), client(SECRET), "r1")

    params = form(sent(responses))
    token = jwt.decode(assertion(params), OctKey.import_key(SECRET), algorithms=["HS256"])
    assert token.header == {"typ": "JWT", "alg": "HS256"}
    assert token.claims["aud"] == TOKEN
    assert "client_secret" not in params
    assert "canary" not in str(sent(responses).body)


ELSEWHERE: dict[str, Callable[[Provider, Client], Any]] = {
    "introspect": lambda provider, client: oauth2.introspect(provider, client, "t1"),
    "revoke": lambda provider, client: oauth2.revoke(provider, client, access_token="t1", properties={}),
    "par": lambda provider, client: pushed_requests.pushed(provider, client, AUTHORIZATION_URL),
}


@pytest.mark.parametrize(
    ("issuer", "audience"), [(ISSUER, ISSUER), ("", TOKEN), ("https://acme.example/{tenant_id}", TOKEN)]
)
@pytest.mark.parametrize("action", ELSEWHERE)
def test_an_assertion_has_one_audience_wherever_it_is_sent(
    responses: RequestsMock, action: str, issuer: str, audience: str
) -> None:
    responses.post(f"https://acme.example/{action}", json={"active": True, "request_uri": "urn:1"}, status=200)
    app = client(pem(EC), require_pushed_authorization_requests="true")

    ELSEWHERE[action](signing(issuer=issuer), app)

    token = jwt.decode(assertion(form(sent(responses))), EC, algorithms=["ES256"])
    assert token.claims["aud"] == audience


@pytest.mark.parametrize(
    ("secret", "variables", "key_id"),
    [
        (pem(EC), {"key_id": "k1"}, "k1"),
        (jwk(EC, kid="of-the-key"), {}, "of-the-key"),
        (jwk(EC, kid="of-the-key"), {"key_id": "k1"}, "k1"),
    ],
)
def test_the_key_is_named_if_its_name_is_known(secret: str, variables: dict[str, str], key_id: str) -> None:
    params, _ = authenticated(signing(), client(secret, **variables), {})

    assert jwt.decode(assertion(params), EC, algorithms=["ES256"]).header["kid"] == key_id


# ---- which method ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("supported", "secret", "chosen", "used"),
    [
        (["client_secret_basic", "private_key_jwt"], pem(EC), "", "private_key_jwt"),
        (["private_key_jwt", "client_secret_post"], SECRET, "", "client_secret_post"),
        (["client_secret_basic", "client_secret_jwt"], SECRET, "", "client_secret_basic"),
        (["client_secret_basic", "client_secret_jwt"], SECRET, "client_secret_jwt", "client_secret_jwt"),
        (["client_secret_basic", "client_secret_post"], SECRET, "client_secret_post", "client_secret_post"),
        (["client_secret_basic", "client_secret_post"], SECRET, "private_key_jwt", "client_secret_basic"),
        (["client_secret_basic", "none"], SECRET, "none", "none"),
        (["client_secret_basic", "none"], "", "", "none"),
    ],
)
def test_the_oauth_app_says_how_else_the_first_that_fits_its_secret(
    supported: list[str], secret: str, chosen: str, used: str
) -> None:
    variables = {"token_endpoint_auth_method": chosen} if chosen else {}

    params, headers = authenticated(signing(*supported), client(secret, **variables), {"code": "x"})

    found = {
        "client_secret_basic": headers.get("Authorization", "").startswith("Basic "),
        "client_secret_post": params.get("client_secret") == SECRET,
        "private_key_jwt": "client_assertion" in params and secret == pem(EC),
        "client_secret_jwt": "client_assertion" in params and secret == SECRET,
        "none": params == {"code": "x", "client_id": "c1"},
    }
    assert [method for method, is_used in found.items() if is_used] == [used]
