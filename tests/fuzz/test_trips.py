"""A15, A17: what a start link brings is carried byte by byte, or refused."""

from urllib.parse import quote, urlsplit

import pytest
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from responses import RequestsMock

from credentials.link.forms import Query
from credentials.link.redirects import with_params
from oauth_apps.models import OAuthApp
from oauth_apps.registration import SCOPE_TOKEN
from tests.link.trip import CALLBACK, REDIRECT_URI, START, STRIPE_ANSWER, TOKEN_ENDPOINT, query_of

in_one_database = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@in_one_database
@given(state=st.binary(min_size=1, max_size=60))
@example(state=b"\x00\xff+ &=#?%\r\n/\\")
@example(state="ÿ€😀".encode())
@example(state=b"a" * 2048)
@example(state=b"%41%00")
def test_a_state_comes_back_as_it_went(client: Client, stripe_app: OAuthApp, state: bytes) -> None:
    with RequestsMock() as provider:
        provider.post(TOKEN_ENDPOINT, json=STRIPE_ANSWER)
        params = f"client_id={stripe_app.pk}&redirect_uri={quote(REDIRECT_URI, safe='')}&state={quote(state, safe='')}"
        started = client.get(f"{START}?{params}")
        sent = query_of(started["Location"])
        back = client.get(CALLBACK, {"state": sent["state"], "code": "canary-provider-code"})

    query = Query(urlsplit(back["Location"]).query)
    assert back["Location"].startswith(f"{REDIRECT_URI}?")
    assert query.raw("state") == state
    assert state not in sent["state"].encode() or len(state) < 4


@given(state=st.binary(max_size=200), uri=st.sampled_from([REDIRECT_URI, f"{REDIRECT_URI}?a=1", f"{REDIRECT_URI}?"]))
def test_params_are_put_behind_what_is_there(state: bytes, uri: str) -> None:
    url = with_params(uri, code="c", state=state)

    assert url.startswith(uri)
    assert url.isascii()
    assert (Query(urlsplit(url).query).raw("state") or b"") == state
    assert not set(url) & set(" \r\n\t\0#")


@given(raw=st.text(st.characters(max_codepoint=255), max_size=80) | st.binary(max_size=80))
@example(raw="=&&=a&a=%&b=%zz&c=%ff&c=1")
def test_any_query_is_read(raw: str | bytes) -> None:
    query = Query(raw)

    assert set(query.repeated()) <= query.as_dict().keys()
    for name in query.as_dict():
        query.text(name).encode()
        assert query.raw(name) != b""


@in_one_database
@given(scope=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
@example(scope="read, write")
@example(scope=",")
@example(scope="a" * 4096)
def test_a_scope_goes_on_as_it_is_or_is_refused(client: Client, stripe_app: OAuthApp, scope: str) -> None:
    link = {"client_id": str(stripe_app.pk), "redirect_uri": REDIRECT_URI, "scope": scope}
    words = [word for word in scope.replace(",", " ").split(" ") if word]

    query = query_of(client.get(START, link)["Location"])

    if all(SCOPE_TOKEN.fullmatch(word) for word in words):
        assert not scope or query.get("scope", "").split() == list(dict.fromkeys(words))
    else:
        assert query["error"] == "invalid_scope"


@pytest.fixture(autouse=True)
def one_redirect_uri(redirect_uri: object) -> None:
    """The one that stripe_app's trips end at."""
