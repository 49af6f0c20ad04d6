"""Where the URLs of a catalogue file may lead, whatever a customer says; part of `rules.lint`."""

import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from providers.placeholders import PLACEHOLDER, names_in
from providers.provider import Provider
from providers.variables import HOST, LABEL, Variable
from providers.vocabulary import FollowUp, Property
from sequin_auth.lib.addresses import is_public

PART = r"(?:[A-Za-z0-9_-]|\{[a-z_]+\})+"  # of a host, between two dots
HTTPS = re.compile(rf"https://({PART}(?:\.{PART})*)(?::([0-9]{{1,5}}))?(?:[/?#][!-~]*)?")
UNPRINTABLE = re.compile(r"[^\x21-\x7e]")
UNDER_FIXED_DOMAIN = re.compile(r"\}[a-z0-9-]*(\.[a-z0-9-]+)+\.[a-z]{2,}(:[0-9]+)?\Z")
HOST_OR_LABEL = re.compile(rf"{LABEL}|{HOST}")
AN_ADDRESS = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)")  # a host that ends so is no name
LARGEST_PORT = 65_535


def of_addresses(
    provider: Provider, urls: Sequence[tuple[str, str]], besides: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """`urls`: of `Provider.urls()`; `besides`: the names that each of them may hold beside variables."""
    for name in ("authorization_endpoint", "token_endpoint"):
        if not getattr(provider, name) and (provider.authorization_endpoint or provider.token_endpoint):
            yield f"{name} must not be empty"
    if not (provider.authorization_endpoint or provider.token_endpoint or provider.kinds):
        yield "authorization_endpoint and token_endpoint, or [kinds], must say what it offers"
    below = {name: path for name, path in _written(provider) if path.startswith("/")}
    for name, url in urls:
        if name in below:
            yield from _wrong_with(name, f"https://host{below[name]}")  # where the base URL leads is told of that
        else:
            yield from _of_an_address(provider, name, url, besides.get(name, ()))
    if provider.issuer and not has_stray_brace(provider.issuer):
        yield from _wrong_with("issuer", provider.issuer)
    for name, url, properties in base_urls(provider):
        yield from _of_a_base_url(provider, name, url, properties)


def base_urls(provider: Provider) -> Iterator[tuple[str, str, Mapping[str, Property]]]:
    """Those of the API: where they stand, and the properties that they may hold beside variables."""
    if provider.api:
        yield "api.base_url", provider.api.base_url, provider.credential
    if provider.own_host and provider.own_host.api_base_url:
        yield "own_host.api_base_url", provider.own_host.api_base_url, provider.credential
    for name, there in provider.deployments.items():
        if there.api_base_url:
            yield f"deployments.{name}.api_base_url", there.api_base_url, provider.credential
    for name, kind in provider.kinds.items():
        if kind.api:
            yield f"kinds.{name}.api.base_url", kind.api.base_url, kind.properties


def is_https(url: str) -> bool:
    """Whether it may be called. Plain http is for the addresses that the egress guard lets through."""
    if HTTPS.fullmatch(url):
        return True
    parts = _split(url)
    return parts.scheme == "http" and parts.netloc in settings.EGRESS_ALLOW and not UNPRINTABLE.search(url)


def has_stray_brace(template: str) -> bool:
    """Whether it has a brace that belongs to no `{name}`, which nothing would ever fill in."""
    return ("{" in template or "}" in template) and bool({"{", "}"} & {*PLACEHOLDER.sub("", template)})


def _written(provider: Provider) -> Iterator[tuple[str, str]]:
    """The URLs that may be paths below the API's base URL, as the file has them."""
    yield "check", _url(provider.check)
    for name, kind in provider.kinds.items():
        yield f"kinds.{name}.token_endpoint", kind.token_endpoint
        yield f"kinds.{name}.check", _url(kind.check)


def _url(call: str | FollowUp) -> str:
    return call.url if isinstance(call, FollowUp) else call


def _of_an_address(provider: Provider, name: str, url: str, besides: Collection[str]) -> Iterator[str]:
    if has_stray_brace(url):
        return  # which is told of every template
    yield from _wrong_with(name, url)
    netloc = _split(url).netloc if "{" in url else ""
    for used in names_in(netloc):
        if used in provider.variables:
            yield from _of_a_variable(name, used, provider.variables[used], netloc)
        elif used in besides:
            yield f"{name}: {used} stands in the host, so it must be a variable"


def _of_a_base_url(provider: Provider, name: str, url: str, properties: Mapping[str, Property]) -> Iterator[str]:
    """It may begin with one property, a whole origin, which is looked at when it is used."""
    if has_stray_brace(url):
        return
    if begins := PLACEHOLDER.match(url):
        used, rest = begins[1], url[begins.end() :]
        prop = properties.get(used)
        if used in provider.variables or (prop and prop.variable):
            yield f"{name} begins with the variable {used}, which is no whole origin"
        if rest and not rest.startswith("/"):
            yield f"{name} has more than a path behind {{{used}}}, which is a whole origin"
        else:
            yield from _wrong_with(name, f"https://host{rest}")
        return
    yield from _wrong_with(name, url)
    netloc = _split(url).netloc if "{" in url else ""
    for used in names_in(netloc):
        prop = properties.get(used)
        variable = provider.variables.get(used) or provider.variables.get(prop.variable if prop else "")
        if variable:
            yield from _of_a_variable(name, used, variable, netloc)
        elif prop and prop.values:
            yield from _of_values(name, used, prop.values)
        elif prop and not UNDER_FIXED_DOMAIN.search(netloc):
            yield f"{name}: the property {used} must stand under a fixed domain, or say its values"


def _of_a_variable(name: str, used: str, variable: Variable, netloc: str) -> Iterator[str]:
    if variable.kind in {"text", "scopes"}:
        yield f"{name}: {used} stands in the host, so it must be a label, a host or a choice"
    if variable.kind == "label" and not UNDER_FIXED_DOMAIN.search(netloc):
        yield f"{name}: the label {used} must stand under a fixed domain"
    if variable.kind == "host" and netloc != f"{{{used}}}":
        yield f"{name}: {used} is a whole host, so nothing may stand beside it"
    if variable.kind == "choice":
        yield from _of_values(name, used, variable.values)


def _of_values(name: str, used: str, values: Sequence[str]) -> Iterator[str]:
    if not all(HOST_OR_LABEL.fullmatch(value) for value in values):
        yield f"{name}: {used} stands in the host, so each of its values must be a host or a label"


def _wrong_with(name: str, url: str) -> Iterator[str]:
    found = HTTPS.fullmatch(url)
    if not found and not is_https(url):
        yield f"{name} must be an https URL"
    if "#" in url:
        yield f"{name} must have no fragment (RFC 6749, 3.1 and 3.2)"
    if found and found[2] and not 1 <= int(found[2]) <= LARGEST_PORT:
        yield f"{name}: its port must be one of 1 to {LARGEST_PORT}"
    if found and AN_ADDRESS.fullmatch(found[1]) and not _may_be_called(found[1], found[2] or "443"):
        yield f"{name} must not be at an address of a private network, or of this machine"


def _may_be_called(address: str, port: str) -> bool:
    if f"{address}:{port}" in settings.EGRESS_ALLOW:
        return True
    try:
        return is_public(str(ipaddress.IPv4Address(address)))
    except ValueError:  # 127.1, say, which some read as an address all the same
        return False


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # brackets that make no address
        return urlsplit("")
