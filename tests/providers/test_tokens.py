"""How long tokens live and what they may do, as far as an answer tells it: whatever the answer looks like."""

import json
from typing import Any

import pytest
import time_machine
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey
from responses import RequestsMock

from providers import catalogue, oauth2
from providers.errors import AccessTokenMissing, AnswerNotUnderstood, TokenRequestRejected
from providers.provider import Provider
from providers.tokens import (
    TEN_YEARS,
    TokenResponse,
    assumed_lifetime,
    exp_of,
    lifetime,
    missing_scopes,
    read_token_response,
    refresh_token_expires_in,
    scope_as_theirs,
)
from sequin_auth.lib import http
from tests.providers.acme import CLIENT, TOKEN, form, provider_with, sent

NOW = 1_800_000_000  # seconds since 1970
KEY = OctKey.import_key("a key of the tests, which nobody checks")  # the same one in every process
ANSWER: dict[str, Any] = {"access_token": "t1", "token_type": "Bearer"}
Anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def signed(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "HS256"}, claims, KEY)


def read(answer: dict[str, Any], provider: Provider | None = None) -> TokenResponse:
    """What a provider's answer is read as."""
    content = json.dumps(ANSWER | answer).encode()
    response = http.Response(status=200, content=content, headers={"content-type": "application/json"})
    return read_token_response(provider or provider_with(), response)


# ---- half an answer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("access_token", [None, "", 7, "with a space", ["t"], "t" * 65_537])
def test_a_refresh_token_without_an_access_token_is_not_lost(responses: RequestsMock, access_token: object) -> None:
    """G16"""
    responses.post(TOKEN, json={"access_token": access_token, "refresh_token": "canary-2", "scope": "a"})

    with pytest.raises(AccessTokenMissing) as caught:
        oauth2.refresh(provider_with(), CLIENT, "canary-1")

    assert caught.value.refresh_token == "canary-2"
    assert "canary" not in f"{caught.value!s} {caught.value!r} {caught.value.args}"
    assert form(sent(responses))["refresh_token"] == "canary-1"
    assert len(responses.calls) == 1


@pytest.mark.parametrize("refresh_token", [None, "", 7, "with a space"])
def test_without_either_there_is_nothing_to_keep(responses: RequestsMock, refresh_token: object) -> None:
    responses.post(TOKEN, json={"refresh_token": refresh_token})

    with pytest.raises(AnswerNotUnderstood) as caught:
        oauth2.refresh(provider_with(), CLIENT, "canary-1")

    assert type(caught.value) is AnswerNotUnderstood


def test_a_refusal_that_holds_a_refresh_token_is_a_refusal(responses: RequestsMock) -> None:
    responses.post(TOKEN, json={"error": "invalid_grant", "refresh_token": "canary-2"})

    with pytest.raises(TokenRequestRejected):
        oauth2.refresh(provider_with(), CLIENT, "canary-1")


# ---- the access token's lifetime ---------------------------------------------------------------------------------

SOON, LATER = NOW + 60, NOW + 7200


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({}, (None, "")),
        ({"expires_in": 3600}, (3600, "expires_in")),
        ({"expires_in": 3600, "expires_at": SOON, "access_token": signed({"exp": SOON})}, (3600, "expires_in")),
        ({"expires_in": 0, "expires_at": LATER}, (7200, "expires_at")),
        (
            {"expires_in": "never", "expires_at": str(LATER), "access_token": signed({"exp": SOON})},
            (7200, "expires_at"),
        ),
        ({"expires_in": -1, "expires_at": NOW, "access_token": signed({"exp": SOON})}, (60, "token")),
        ({"expires_at": NOW - 60}, (None, "")),
        ({"expires_at": 10**15}, (None, "")),  # no day of any calendar
        ({"access_token": signed({"exp": SOON + 0.5})}, (60, "token")),
        ({"access_token": signed({"exp": NOW + TEN_YEARS * 2})}, (TEN_YEARS, "token")),
        ({"access_token": signed({"exp": NOW - 1})}, (None, "")),
        ({"access_token": signed({})}, (None, "")),
    ],
)
@time_machine.travel(NOW, tick=False)
def test_a_lifetime_is_told_by_the_first_that_says_something(
    answer: dict[str, Any], expected: tuple[int | None, str]
) -> None:
    assert lifetime(read(answer)) == expected


@pytest.mark.parametrize(
    ("unit", "expires_at", "seconds"),
    [
        ("s", SOON, 60),
        ("s", f"{SOON}.9", 60),
        ("ms", SOON * 1000, 60),
        ("ms", -5, None),
        ("iso8601", "2027-01-15T08:01:00Z", 60),
        ("iso8601", "2027-01-15T08:01:00", 60),  # no time zone: UTC
        ("iso8601", "2027-01-15T10:01:00+02:00", 60),
        ("iso8601", "0001-01-01T00:00:00", None),
        ("iso8601", "9999-12-31T23:59:59-23:59", None),
        ("iso8601", "soon", None),
        ("iso8601", {}, None),
    ],
)
@time_machine.travel(NOW, tick=False)
def test_a_moment_is_read_in_its_unit(unit: str, expires_at: object, seconds: int | None) -> None:
    provider = provider_with(expiry={"source": "expires_at", "unit": unit})

    assert read({"expires_at": expires_at}, provider).expires_in == seconds


def test_what_is_not_dependable_is_not_read() -> None:
    provider = provider_with(expiry={"source": "fixed", "seconds": 7200})

    assert lifetime(read({"expires_in": 60, "expires_at": 9_999_999_999}, provider)) == (None, "")
    assert assumed_lifetime(provider) == (7200, "catalogue")


@pytest.mark.parametrize(
    ("expiry", "expected"),
    [
        ({}, (3600, "policy")),
        ({"seconds": 1800}, (1800, "catalogue")),
        ({"source": "never"}, (None, "never")),
        ({"source": "never", "seconds": 1800}, (None, "never")),
    ],
)
def test_what_is_assumed_says_where_it_comes_from(expiry: dict[str, Any], expected: tuple[int | None, str]) -> None:
    assert assumed_lifetime(provider_with(expiry=expiry)) == expected


def test_no_provider_of_the_catalogue_leaves_a_lifetime_open() -> None:
    for provider in catalogue.load().values():
        seconds, source = assumed_lifetime(provider)
        assert (seconds is None) == (source == "never")
        assert source in {"catalogue", "policy", "never"}


@given(expires_in=Anything, expires_at=Anything, unit=st.sampled_from(["s", "ms", "iso8601"]))
@example(expires_in="9" * 5000, expires_at="9" * 5000, unit="s")
@example(expires_in=True, expires_at=False, unit="ms")
@example(expires_in=float("inf"), expires_at=float("nan"), unit="s")
@example(expires_in=None, expires_at="0001-01-01T00:00:00+14:00", unit="iso8601")
def test_no_lifetime_makes_it_stumble(expires_in: object, expires_at: object, unit: str) -> None:
    """F12"""
    provider = provider_with(expiry={"unit": unit})

    try:
        tokens = read({"expires_in": expires_in, "expires_at": expires_at}, provider)
    except AnswerNotUnderstood:
        return  # no JSON that a parser takes

    assert tokens.expires_in is None or 0 < tokens.expires_in <= TEN_YEARS
    assert lifetime(tokens)[1] in {"", "expires_in", "expires_at"}


# ---- the token's own exp -----------------------------------------------------------------------------------------


def test_the_exp_of_a_token_is_read_without_its_key() -> None:
    assert exp_of(signed({"exp": SOON, "sub": "u1"})) == SOON


NO_MOMENT: list[Any] = [0, -1, True, None, "soon", [], {}, 1e300, 10**15]
HEADER, PAYLOAD, SIGNATURE = signed({"exp": SOON}).split(".")


@pytest.mark.parametrize(
    "token",
    [
        "", "opaque", "a.b.c", f"{HEADER}.{PAYLOAD}", f"{HEADER}.{PAYLOAD}.{SIGNATURE}.x", f".{PAYLOAD}.{SIGNATURE}",
        f"{HEADER}..{SIGNATURE}", f"{PAYLOAD}.{PAYLOAD}.{SIGNATURE}", f"{HEADER}.{PAYLOAD}={SIGNATURE}",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE}\n", f"é{HEADER}.{PAYLOAD}.{SIGNATURE}",
        *(signed({"exp": exp}) for exp in NO_MOMENT),
    ],
)  # fmt: skip
def test_what_is_no_jwt_or_does_not_say_has_no_exp(token: str) -> None:
    assert exp_of(token) is None


@given(st.text() | st.from_regex(r"[\w-]{1,40}\.[\w-]{1,40}\.[\w-]{0,40}", fullmatch=True))
@example("W1tb" * 20_000 + ".e30.")
def test_no_token_makes_it_stumble(token: str) -> None:
    expires_at = exp_of(token)

    assert expires_at is None or expires_at > 0


# ---- the refresh token's lifetime --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "answer", "seconds"),
    [
        ("refresh_expires_in", {"refresh_expires_in": 5_184_000}, 5_184_000),
        ("refresh_expires_in", {"refresh_expires_in": "86400"}, 86_400),
        ("user.lives", {"user": {"lives": 60}}, 60),
        ("refresh_expires_in", {"refresh_expires_in": 10**12}, TEN_YEARS),
        ("refresh_expires_in", {"refresh_expires_in": 0}, None),
        ("refresh_expires_in", {"refresh_expires_in": -1}, None),
        ("refresh_expires_in", {"refresh_expires_in": {"a": 1}}, None),
        ("refresh_expires_in", {}, None),
        ("", {"refresh_expires_in": 60}, None),
    ],
)
def test_a_refresh_tokens_lifetime_is_read_where_the_catalogue_says(
    source: str, answer: dict[str, Any], seconds: int | None
) -> None:
    provider = provider_with(refresh_token_lifetime={"from": source})

    assert refresh_token_expires_in(provider, read(answer, provider)) == seconds
    assert refresh_token_expires_in(provider_with(), read(answer)) is None


# ---- scopes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("read,write", "read,write"), (" a  b ", " a  b "), (["read", "write"], None), ("", None), ("  ", None),
        (7, None), ("a\u0000b", None), ("\u20ac", None),
    ],
)  # fmt: skip
def test_a_scope_is_kept_as_it_was_told(told: object, kept: str | None) -> None:
    assert read({"scope": told}).scope_as_told == kept


@pytest.mark.parametrize(
    ("scope", "told", "theirs"),
    [("a b", "b|a", "b|a"), ("a b", None, "a,b"), ("", None, ""), (None, None, None)],
)
def test_without_their_own_form_scopes_are_joined_as_they_are_asked(
    scope: str | None, told: str | None, theirs: str | None
) -> None:
    assert scope_as_theirs(provider_with(scope_separator=","), scope, told) == theirs


ANSWERED_AS = {"email": "https://acme.example/email", "offline": "", "read": "write", "write": "admin", "r_*": "w_*"}


@pytest.mark.parametrize(
    ("requested", "granted", "missing"),
    [
        ("a b", "b a", ""),
        ("a b a", "b", "a"),
        ("a b", "", "a b"),
        ("Read", "rEAD", ""),
        ("email", "https://acme.example/email", ""),
        ("email", "email", ""),
        ("https://acme.example/email", "email", "https://acme.example/email"),
        ("offline", "", ""),
        ("read", "write", ""),
        ("read", "admin", ""),
        ("admin", "read write", "admin"),
        ("r_orders r_shops", "w_orders", "r_shops"),
        ("w_orders", "r_orders", "w_orders"),
        ("r_", "w_", ""),
    ],
)
def test_a_scope_is_missing_unless_it_or_what_stands_for_it_was_granted(
    requested: str, granted: str, missing: str
) -> None:
    provider = provider_with(scopes_answered_as=ANSWERED_AS)

    assert missing_scopes(provider, requested.split(), granted.split()) == missing.split()


@pytest.mark.parametrize("answered_as", [{"a": "b", "b": "a"}, {"*": "x*"}, {"*": "*"}, {"a": "a"}])
def test_scopes_that_stand_for_each_other_come_to_an_end(answered_as: dict[str, str]) -> None:
    assert missing_scopes(provider_with(scopes_answered_as=answered_as), ["a"], ["c"]) == ["a"]


@pytest.mark.parametrize(
    ("slug", "requested", "granted"),
    [
        ("google", "openid email profile", "https://www.googleapis.com/auth/userinfo.email openid"
                                          " https://www.googleapis.com/auth/userinfo.profile"),
        ("microsoft", "openid profile offline_access user.read", "User.Read"),
        ("microsoft", "Mail.Read https://graph.microsoft.com/User.Read",
         "https://graph.microsoft.com/Mail.Read User.Read"),
        ("github", "user user:email read:org gist", "user,gist,admin:org"),
        ("shopify", "read_products write_products unauthenticated_read_checkouts",
         "write_products,unauthenticated_write_checkouts"),
        ("salesforce", "api chatter_api offline_access", "refresh_token api"),
    ],
)  # fmt: skip
def test_a_provider_that_answers_in_other_words_misses_nothing(slug: str, requested: str, granted: str) -> None:
    provider = catalogue.get(slug)
    told = granted.replace(",", " ").split()

    assert missing_scopes(provider, requested.split(), told) == []
    assert missing_scopes(provider, [*requested.split(), "another"], told) == ["another"]


@pytest.mark.parametrize(
    ("slug", "requested", "granted"),
    [("github", "user", "read:user"), ("shopify", "write_products", "read_products"),
     ("salesforce", "api", "chatter_api"),
     ("microsoft", "https://vault.azure.net/user_impersonation", "https://graph.microsoft.com/user_impersonation")],
)  # fmt: skip
def test_a_narrower_scope_does_not_stand_for_a_wider_one(slug: str, requested: str, granted: str) -> None:
    assert missing_scopes(catalogue.get(slug), [requested], [granted]) == [requested]
