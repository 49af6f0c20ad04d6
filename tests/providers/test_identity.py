"""Whose tokens a refresh brought, as far as its answer says so by itself."""

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey
from responses import RequestsMock

from providers import identity
from providers.tokens import TokenResponse
from tests.providers.acme import provider_with

KEY = OctKey.generate_key(256)
PROVIDER = provider_with(
    issuer="https://acme.example",
    jwks_uri="https://acme.example/jwks",
    follow_up="https://acme.example/me",
    variables={"shop": {"label": "Shop", "example": "acme"}},
    credential={
        "team_id": {"token_response": "team.id", "identity": True},
        "user": {"token_response": "id", "pattern": r"/id/(\w+)$", "required": False},
        "sites": {"token_response": "sites.*.id", "type": "array", "required": False},
        "live": {"token_response": "live", "type": "boolean", "required": False},
        "sub": {"id_token": "sub", "identity": True},
        "number": {"id_token": "n", "type": "integer", "required": False},
        "login": {"follow_up": "login"},
        "realm": {"callback": "realm"},
        "shop": {"variable": "shop"},
    },
)


def told(answer: dict[str, Any]) -> dict[str, Any]:
    return identity.told_again(PROVIDER, TokenResponse("t1", answer=answer))


def part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def test_what_an_answer_tells_by_itself_is_read_and_nobody_is_asked(responses: RequestsMock) -> None:
    id_token = jwt.encode({"alg": "HS256"}, {"sub": "u1", "n": "7", "login": "x"}, KEY)
    answer = {
        "team": {"id": "T1"}, "id": "https://acme.example/id/U1", "sites": [{"id": "a"}, {"id": 2}], "live": False,
        "id_token": id_token, "login": "x", "realm": "x", "shop": "x",
    }  # fmt: skip

    found = told(answer)

    assert found == {"team_id": "T1", "user": "U1", "sites": ["a", "2"], "live": False, "sub": "u1", "number": 7}
    assert len(responses.calls) == 0


def test_what_an_answer_does_not_tell_is_absent() -> None:
    assert told({}) == {}
    assert told({"team": {"id": "T1"}}) == {"team_id": "T1"}
    assert told({"team": None, "id": "nobody's", "sites": [], "live": None, "id_token": None}) == {}


SOUND = f"{part({'alg': 'RS256'})}.{part({'sub': 'u1'})}.c2ln"


@pytest.mark.parametrize(
    "id_token",
    [
        None, 7, [], {"sub": "u1"}, "", "u1", SOUND + ".x", "." + SOUND, SOUND.replace(".", ":"), SOUND + "=",
        f" {SOUND}", f"{SOUND}\n",
        f"{part({'alg': 'RS256'})}.{part(['u1'])}.c2ln", f"{part(['alg'])}.{part({'sub': 'u1'})}.c2ln",
        f"{part({})}.{part({'sub': 'u1'})}.c2ln", f"e30.{part({'sub': 'u1'})}.c2ln", f"x.{part({'sub': 'u1'})}.c2ln",
        f"{part({'alg': 'RS256'})}.{part({'sub': 'u1'})[:-2]}.c2ln",
    ],
)  # fmt: skip
def test_a_claim_comes_from_a_well_formed_jwt_alone(id_token: object) -> None:
    assert told({"id_token": SOUND}) == {"sub": "u1"}
    assert told({"id_token": id_token}) == {}


@pytest.mark.parametrize("sub", [None, "", "a\u0000b", "a\nb", "\ud800", True, 1.5, ["u1"], {"a": 1}])
def test_an_identity_that_cannot_be_stored_is_none(sub: object) -> None:
    assert told({"id_token": f"{part({'alg': 'RS256'})}.{part({'sub': sub})}.c2ln", "team": {"id": sub}}) == {}


def test_a_list_keeps_what_can_be_stored() -> None:
    sites = [{"id": "a"}, {"id": "b\u0000"}, {"id": "\ud800"}, {"id": {"c": 1}}, {"id": None}, {"id": True}, {"id": 7}]

    assert told({"sites": sites}) == {"sites": ["a", "7"]}


Anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["team", "id", "sites", "live", "id_token"])


@given(st.dictionaries(NAMES, Anything | st.dictionaries(st.just("id"), Anything)), Anything)
@example({"sites": [{"id": 10**5000}], "team": {"id": 10**4000}}, {"n": "²"})
@example({"id": "/id/" + "a" * 100_000, "live": "true"}, {"sub": 10**5000, "n": 10**5000})
def test_no_answer_makes_it_stumble(answer: dict[str, Any], claims: object) -> None:
    try:
        id_token = f"{part({'alg': 'RS256'})}.{part(claims)}.c2ln"
    except ValueError:
        id_token = "none"

    for one in (answer, answer | {"id_token": id_token}):
        assert told(one).keys() <= {"team_id", "user", "sites", "live", "sub", "number"}
