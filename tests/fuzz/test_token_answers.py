"""F12, C18: whatever a token endpoint answers, it is a TokenResponse or an error that we know."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers import catalogue
from providers.errors import ProviderError
from providers.provider import Provider
from providers.tokens import TokenResponse, missing_scopes, read_token_response, scopes_of
from sequin_auth.lib import http
from tests.providers.acme import provider_with

TYPES = st.sampled_from(
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "text/html",
        "text/plain; charset=utf-16",
        "application/json; charset=rot13",
        "application/json; charset=undefined",
        "",
        ";",
        "application/jwt",
    ]
)
MEMBERS = st.sampled_from(["access_token", "refresh_token", "expires_in", "scope", "token_type", "error", "ok", "data"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=3),
    max_leaves=8,
)


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


TOKENS = st.text(st.characters(codec=None), max_size=30) | st.from_regex(r"[!-~]{1,40}", fullmatch=True)
WITH_TOKENS = st.fixed_dictionaries(
    {"access_token": TOKENS}, optional={"refresh_token": TOKENS, "expires_in": VALUES, "scope": VALUES}
)
CONTENT = (
    st.binary(max_size=200)
    | WITH_TOKENS.map(as_json)
    | st.dictionaries(MEMBERS, VALUES, max_size=6).map(as_json)
    | VALUES.map(as_json)
    | st.text(max_size=60).map(str.encode)
)
PROVIDERS = [provider_with(), *(catalogue.get(slug) for slug in ("slack", "stripe", "github", "shopify", "zendesk"))]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.slug)
@given(status=st.integers(200, 599), content_type=TYPES, content=CONTENT, retry_after=st.text(max_size=12))
@example(status=200, content_type="application/json", content=b"[" * 100_000, retry_after="")
@example(status=200, content_type="application/json", content=b'{"access_token": "' + b"t" * 70_000, retry_after="")
@example(status=200, content_type="application/json", content=b'{"expires_in": ' + b"9" * 5000 + b"}", retry_after="")
@example(status=429, content_type="text/html", content=b"\xff\xfe", retry_after="9" * 400)
@example(status=200, content_type="application/x-www-form-urlencoded", content=b"access_token=%ff", retry_after="x")
def test_an_answer_is_understood_or_refused(
    provider: Provider, status: int, content_type: str, content: bytes, retry_after: str
) -> None:
    headers = {"content-type": content_type, "retry-after": retry_after}
    answer = http.Response(status=status, content=content, headers=headers)
    try:
        tokens = read_token_response(provider, answer)
    except ProviderError as refused:
        error, message = refused.error, str(refused)
        assert error
        assert len(content) < 20 or content.decode("latin-1") not in message
        return

    assert isinstance(tokens, TokenResponse)
    assert 200 <= status < 300
    assert tokens.access_token
    assert tokens.access_token.isascii()
    assert tokens.expires_in is None or tokens.expires_in >= 0
    assert tokens.access_token not in repr(tokens) or len(tokens.access_token) < 12


@given(scope=VALUES, requested=st.lists(st.text(max_size=10), max_size=4))
def test_any_scope_is_a_list_of_words(scope: object, requested: list[str]) -> None:
    provider = provider_with()

    granted = scopes_of(provider, scope)

    assert all(isinstance(word, str) and word and " " not in word for word in granted)
    assert set(missing_scopes(provider, requested, granted)) <= set(requested)
    assert missing_scopes(provider, granted, granted) == []
