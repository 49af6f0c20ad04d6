"""F06: whatever stands in for a variable, a URL leads to the provider's own hosts, or there is none."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from urllib3.util import parse_url

from providers import catalogue
from providers.provider import Provider
from providers.variables import VariableNotAccepted

LABEL_IN_A_HOST = re.compile(r"https://\{(\w+)\}(\.[a-z0-9.-]+)(/.*)?")
ODD = [
    "evil.com\\",
    "evil.com/",
    "evil.com#",
    "evil.com?",
    "a@evil.com",
    "a:1",
    "a\n",
    "a%00",
    "..",
    "\uff41",
    "a.b",
    "{x}",
]


def templates() -> Iterator[tuple[Provider, str, str]]:
    """Each provider whose host has a label of the customer's: the label's name, and what follows it."""
    for provider in catalogue.load().values():
        for url in (provider.authorization_endpoint, provider.token_endpoint):
            found = LABEL_IN_A_HOST.fullmatch(url)
            if found and provider.variables[found[1]].kind == "label":
                yield provider, found[1], found[2]


FOUND = {provider.slug: (provider, name, suffix) for provider, name, suffix in templates()}
ANY_VALUE = st.text(st.characters(codec=None), max_size=80) | st.builds(
    "{}{}{}".format, st.sampled_from(["", "acme", "https://acme"]), st.sampled_from(ODD), st.text(max_size=10)
)


def test_there_are_such_providers() -> None:
    assert {"zendesk", "shopify"} <= FOUND.keys()
    assert len(FOUND) > 5


@pytest.mark.parametrize("slug", sorted(FOUND))
@given(value=ANY_VALUE)
@example(value="evil.com\\")
@example(value="acme\n")
@example(value="{0.__class__}")
@example(value="a" * 100_000)
def test_the_host_ends_as_the_catalogue_says(slug: str, value: str) -> None:
    provider, name, suffix = FOUND[slug]
    try:
        bound = provider.bound({name: value})
    except VariableNotAccepted as refused:
        message = str(refused)
        assert len(value) < 4 or value not in message
        return

    urls = [url for url in (bound.authorization_endpoint, bound.token_endpoint) if suffix in url]
    assert urls
    for url in urls:
        parsed = parse_url(url)  # as the one reads it that connects
        label = str(parsed.host).removesuffix(suffix)
        assert (parsed.scheme, parsed.auth, parsed.port) == ("https", None, None)
        assert str(parsed.host).endswith(suffix)
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label), label
