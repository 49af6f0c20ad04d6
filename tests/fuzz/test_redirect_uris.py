"""A02 to A04: a redirect URI is admitted if it is equal byte by byte, and never otherwise."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import ValidationError
from hypothesis import assume, example, given
from hypothesis import strategies as st

from oauth_apps.models import RedirectURI
from oauth_apps.redirect_uris import expand, validate_redirect_uri

HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{2,5}){1,2}", fullmatch=True)
SEGMENTS = st.lists(st.from_regex(r"[A-Za-z0-9._~-]{1,8}", fullmatch=True) | st.just(":provider"), max_size=4)
QUERIES = st.none() | st.from_regex(r"[a-z]{1,5}=[A-Za-z0-9%:]{0,8}", fullmatch=True)
SLUGS = st.sampled_from(["stripe", "salesforce", "hubspot", "a-b", "x2"])
PIECES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4) | st.sampled_from(
    ["/", "//", "/.", "/..", "%2F", "%2e", "?", "#", "@", ":443", ".", "\\", " ", "\t", "\0", "HTTPS", ":provider"]
)


@st.composite
def registered(draw: st.DrawFn) -> str:
    segments, query = draw(SEGMENTS), draw(QUERIES)
    text = f"https://{draw(HOSTS)}/{'/'.join(segments)}{'' if query is None else '?' + query}"
    try:
        validate_redirect_uri(text)
    except ValidationError:
        assume(False)
    return text


WHOLE: list[Callable[[str], str]] = [  # what some servers take for the same
    str.upper,
    str.title,
    lambda text: text + "/",
    lambda text: text.rstrip("/"),
    lambda text: text.replace("https://", "https://x@"),
    lambda text: text.replace("https:", "HTTPS:"),
    lambda text: text.replace(".", "%2E"),
    lambda text: text.replace("/", "//"),
    lambda text: text.partition("?")[0],
    lambda text: text + "?",
    lambda text: text + "#",
    lambda text: text + " ",
    lambda text: text.replace(".", "\u3002"),
]


@st.composite
def mutations(draw: st.DrawFn, text: str) -> str:
    """`text` as a whole written otherwise, or with something put in, taken out or put in its place."""
    if draw(st.booleans()):
        return draw(st.sampled_from(WHOLE))(text)
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 8)))
    piece = draw(st.just("") | PIECES | st.just(text[start:end].upper()) | st.just(text[start:end] * 2))
    return text[:start] + piece + text[end:]


@given(st.data(), registered(), SLUGS)
def test_no_other_text_is_admitted(data: st.DataObject, uri: str, slug: str) -> None:
    row = RedirectURI(redirect_uri=uri)
    sent = data.draw(mutations(data.draw(st.sampled_from([uri, expand(uri, slug)]))))

    assert row.admits(sent, slug=slug) == (sent in {uri, expand(uri, slug)})


@given(registered(), SLUGS, SLUGS)
@example("https://app.example/:provider", "stripe", "salesforce")
def test_the_token_stands_for_this_provider_alone(uri: str, slug: str, other: str) -> None:
    row = RedirectURI(redirect_uri=uri)
    expanded = row.for_provider(slug)

    assert row.admits(expanded, slug=slug)
    assert row.admits(uri, slug=slug)
    if ":provider" in urlsplit(uri).path and slug != other:
        assert not row.admits(row.for_provider(other), slug=slug)
    assert ":provider" not in urlsplit(expanded).path.split("/")
    assert urlsplit(expanded)._replace(path="") == urlsplit(uri)._replace(path="")
    validate_redirect_uri(expanded)


@given(st.text(st.characters(codec=None), max_size=60) | st.builds("https://{}".format, st.text(max_size=40)))
@example("https://[" + "a" * 100)
def test_any_text_is_sound_or_refused_in_one_sentence(text: str) -> None:
    try:
        validate_redirect_uri(text)
    except ValidationError as refused:
        (sentence,) = refused.messages
        assert len(text) < 8 or text not in sentence
    else:
        assert urlsplit(text).scheme in {"https", "http"}
        assert urlsplit(text).hostname
        assert text.isascii()


@pytest.mark.parametrize("slug", ["stripe"])
@given(uri=registered())
def test_a_byte_more_or_less_is_another(slug: str, uri: str) -> None:
    row = RedirectURI(redirect_uri=uri)

    assert not row.admits(uri + "/", slug=slug) or uri + "/" == row.for_provider(slug)
    assert not row.admits(uri[:-1], slug=slug)
    assert not row.admits(uri.upper(), slug=slug)
    assert not row.admits(uri + "\n", slug=slug)
