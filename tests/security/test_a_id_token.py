"""A21: an id_token that is another's, another's for us, old or forged."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from tests.security.stand_in import StandIn, answering, answering_json
from tests.security.tenant import App, Started, Tenant, assert_back, query_of, sql

KEY = ECKey.generate_key("P-256", {"kid": "ours"})
OTHER_KEY = ECKey.generate_key("P-256", {"kid": "ours"})  # under the same name


@pytest.fixture(scope="module")
def app(arrakis: Tenant) -> App:
    return arrakis.app("standin-id-token", client_id="client-of-arrakis")


def part(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def public_key() -> dict[str, Any]:
    return dict(KEY.as_dict(private=False))


def signed(claims: dict[str, Any], key: ECKey = KEY) -> str:
    return jwt.encode({"alg": "ES256", "kid": "ours"}, claims, key)


def forged_with_the_public_key(claims: dict[str, Any]) -> str:
    """HS256, with what everybody can fetch as the key."""
    secret = OctKey.import_key(json.dumps(public_key()))
    return jwt.encode({"alg": "HS256", "kid": "ours"}, claims, secret, algorithms=["HS256"])


def with_a_key_of_its_own(claims: dict[str, Any]) -> str:
    header = {"alg": "ES256", "jwk": OTHER_KEY.as_dict(private=False)}
    return jwt.encode(header, claims, OTHER_KEY)


def with_another_payload(claims: dict[str, Any]) -> str:
    header, _, signature = signed(claims).split(".")
    return f"{header}.{part(claims | {'sub': 'victim'})}.{signature}"


def without_signature(claims: dict[str, Any]) -> str:
    return f"{part({'alg': 'none'})}.{part(claims)}."


def arrives(provider: StandIn, trip: Started, make: Callable[[dict[str, Any]], Any], **changed: Any) -> Any:
    """What the browser gets when the provider answers the code of `trip` with such an id_token."""
    claims = {
        "iss": provider.url,
        "aud": "client-of-arrakis",
        "sub": "user-1",
        "exp": int(time.time()) + 300,
        "iat": int(time.time()),
        "nonce": trip.sent["nonce"],
    }
    claims = {name: value for name, value in (claims | changed).items() if value is not ...}
    provider.behaves("/jwks", answering_json(200, {"keys": [public_key()]}))
    provider.behaves("/token", answering_json(200, provider.tokens(user_id=..., id_token=make(claims))))
    return trip.approved()


CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": ...},
    "the issuer with a slash": {"iss": "@url@/"},
    "another audience": {"aud": "client-of-harkonnen"},
    "no audience": {"aud": ...},
    "an audience that ours begins": {"aud": "client-of-arrakis-2"},
    "two audiences and nobody it is for": {"aud": ["client-of-arrakis", "other"]},
    "two audiences and it is for the other": {"aud": ["client-of-arrakis", "other"], "azp": "other"},
    "expired": {"exp": int(time.time()) - 600},
    "no expiry": {"exp": ...},
    "an expiry that is a text": {"exp": "9999999999"},
    "another nonce": {"nonce": "x"},
    "no nonce": {"nonce": ...},
    "a nonce that is a list": {"nonce": ["x"]},
    "nobody": {"sub": ...},
}


def assert_refused(answer: Any, app: App, provider: StandIn) -> None:
    assert_back(answer, app, "server_error", "s")
    statement = (
        "SELECT step, tokens IS NOT NULL FROM credentials_authorization WHERE oauth_app_id = %s"
        " ORDER BY created_at DESC LIMIT 1"
    )
    assert sql(app.tenant.gateway, statement, app.id) == [("failed", False)]
    assert app.tenant.call("GET", f"/v1/credentials?oauth_app_id={app.id}").json()["data"] == []
    assert provider.sent_to("/revoke")  # what nobody will use is given back


@pytest.mark.parametrize("name", CLAIMS)
def test_a21_a_claim_that_is_wrong(app: App, provider: StandIn, name: str) -> None:
    changed = {key: provider.url + "/" if value == "@url@/" else value for key, value in CLAIMS[name].items()}

    assert_refused(arrives(provider, app.started(state="s"), signed, **changed), app, provider)


@pytest.mark.parametrize(
    "make",
    [
        lambda claims: signed(claims, OTHER_KEY),
        forged_with_the_public_key,
        with_a_key_of_its_own,
        with_another_payload,
        without_signature,
        lambda claims: "",
        lambda claims: "not.a.token",
        lambda claims: {"sub": "user-1"},
        lambda claims: ...,
    ],
    ids=["another key", "HS256", "its own key", "another payload", "alg none", "empty", "garbage", "object", "absent"],
)
def test_a21_a_signature_that_is_none(app: App, provider: StandIn, make: Callable[[dict[str, Any]], Any]) -> None:
    assert_refused(arrives(provider, app.started(state="s"), make), app, provider)


@pytest.mark.parametrize("body", [b"", b"not json", b'{"keys": []}', b"[]", b'{"keys": [{"kty": "oct", "k": "eA"}]}'])
def test_a21_keys_that_are_none(app: App, provider: StandIn, body: bytes) -> None:
    """Without a key to check by, nothing is taken for checked"""
    trip = app.started(state="s")
    tokens = provider.tokens(id_token=signed({"sub": "user-1"}))
    provider.behaves("/token", answering_json(200, tokens))
    provider.behaves("/jwks", answering("200 OK", "Content-Type: application/json", body=body))

    assert_refused(trip.approved(), app, provider)


def test_a21_replayed_into_another_trip(app: App, provider: StandIn) -> None:
    """A sound id_token of the victim's own trip, served to the attacker's: the nonce is another one"""
    first, second = app.started(state="s"), app.started(state="s")
    assert first.sent["nonce"] != second.sent["nonce"]

    assert_refused(arrives(provider, second, signed, nonce=first.sent["nonce"]), app, provider)


def test_a21_a_sound_one_is_taken(arrakis: Tenant, provider: StandIn) -> None:
    """Also for two audiences, if it says that it is for us"""
    app = arrakis.app("standin-id-token", client_id="client-of-arrakis")
    audiences: list[dict[str, Any]] = [{}, {"aud": ["client-of-arrakis", "other"], "azp": "client-of-arrakis"}]
    for changed in audiences:
        came = arrives(provider, app.started(state="s"), signed, **changed)
        answer = app.exchanged(query_of(came.headers["Location"])["code"]).json()
        assert answer["credential"]["properties"]["user_id"] == "user-1"
