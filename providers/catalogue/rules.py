"""What a catalogue file must keep to, beyond its types: each rule says in words what breaks it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from providers import quirks
from providers.catalogue.kind_rules import MEMBERS, compiles, of_its_api, of_kinds, of_refreshing
from providers.placeholders import PLACEHOLDER
from providers.provider import Provider
from providers.variables import Variable
from providers.vocabulary import Kind

# Parameters of the start URL, which a variable of the same name would hide
RESERVED = {
    "client_id", "redirect_uri", "state", "scope", "debug", "response_type", "code_challenge", "code_challenge_method",
    "request", "request_uri", "hosted", "environment",
}  # fmt: skip
TOKEN_RESPONSE = {"access_token", "refresh_token", "expires_in", "expires_at", "scope", "token_type"}
UNDER_FIXED_DOMAIN = re.compile(r"\}[a-z0-9-]*(\.[a-z0-9-]+)+\.[a-z]{2,}")
# What somebody's secret, token or id looks like; placeholders in braces are none
SECRET_NAMES = re.compile(r"(client_|consumer_|token_|app_)?(id|secret|key|token|code|password)|.*_token|authorization")
SECRET_VALUES = re.compile(
    r"(sk|pk|rk)_(live|test)_\w{6,}|gh[opsu]_\w{8,}|xox[a-z]-[\w-]{8,}|AKIA[A-Z0-9]{12,}|eyJ[\w-]{10,}\.|-----BEGIN"
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    r"|(?<![\w/.:-])(?=[A-Za-z_-]*\d)(?=[\d_-]*[A-Za-z])[A-Za-z0-9_-]{28,}(?![\w/:-]|\.\w)"
)


def lint(provider: Provider) -> list[str]:
    """What is wrong with the file of `provider`, in words; nothing if it may be used. See also `advice`."""
    return [
        *_of_its_head(provider),
        *_of_addresses(provider),
        *_of_placeholders(provider),
        *_of_variables(provider),
        *_of_the_credential(provider),
        *of_refreshing(provider),
        *of_its_api(provider),
        *of_kinds(provider),
        *_of_the_flow(provider),
    ]


def advice(provider: Provider) -> list[str]:
    """What is unsound in the file of `provider`, but keeps nobody from using it."""
    return [*_of_use(provider), *_of_public_clients(provider)]


def leaks(document: Mapping[str, Any], at: str = "") -> list[str]:
    """Where a file seems to hold a secret, a client id or somebody's sample value. The value is not repeated."""
    problems = []
    for name, value in document.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, Mapping):
                problems += leaks(text, f"{at}{name}.")
            elif isinstance(text, str) and _is_a_secret(at, name, text):
                problems.append(f"{at}{name} looks like a secret, a client id or a sample value")
    return problems


def _is_a_secret(at: str, name: str, text: str) -> bool:
    if PLACEHOLDER.search(text):
        return False
    is_sent = at.endswith(("params.", "headers.", "form."))
    return bool(SECRET_VALUES.search(text) or (is_sent and SECRET_NAMES.fullmatch(name.lower())))


def _of_its_head(provider: Provider) -> Iterator[str]:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", provider.slug):
        yield "slug must be lower-case words joined by dashes"
    if not provider.name.strip():
        yield "name must not be empty"
    if not provider.docs.startswith("https://"):
        yield "docs must be an https URL"


def _of_addresses(provider: Provider) -> Iterator[str]:
    for name in ("authorization_endpoint", "token_endpoint"):
        if not getattr(provider, name) and (provider.authorization_endpoint or provider.token_endpoint):
            yield f"{name} must not be empty"
    if not (provider.authorization_endpoint or provider.token_endpoint or provider.kinds):
        yield "authorization_endpoint and token_endpoint, or [kinds], must say what it offers"
    besides = {name: known for name, _, known in _templates(provider)}
    for name, url in provider.urls():
        if name.endswith(("check", "token_endpoint")) and (url.startswith("/") or PLACEHOLDER.match(url)):
            continue  # below no base URL, which of_its_api tells; or below one that a property tells when it is used
        yield from _of_an_address(provider, name, url, besides.get(name, set()))


def _of_an_address(provider: Provider, name: str, url: str, besides: set[str]) -> Iterator[str]:
    parts = urlsplit(url)
    allowed = parts.scheme == "http" and parts.netloc in settings.EGRESS_ALLOW
    if not (parts.scheme == "https" or allowed) or not parts.netloc or "@" in parts.netloc:
        yield f"{name} must be an https URL"
    for used in PLACEHOLDER.findall(parts.netloc):
        variable = provider.variables.get(used)
        if variable is None and used in besides:
            yield f"{name}: {used} stands in the host, so it must be a variable"
        if variable and variable.kind == "text":
            yield f"{name}: {used} stands in the host, so it must be a label, a host or a choice"
        if variable and variable.kind == "label" and not UNDER_FIXED_DOMAIN.search(parts.netloc):
            yield f"{name}: the label {used} must stand under a fixed domain"
        if variable and variable.kind == "host" and parts.netloc != f"{{{used}}}":
            yield f"{name}: {used} is a whole host, so nothing may stand beside it"


def _of_placeholders(provider: Provider) -> Iterator[str]:
    for where, template, besides in _templates(provider):
        known = provider.variables.keys() | besides
        for used in PLACEHOLDER.findall(template):
            if used not in known:
                yield f"{where} uses {{{used}}}, which is no variable"


def _templates(provider: Provider) -> Iterator[tuple[str, str, set[str]]]:
    """Every value that may hold `{names}`, with the names that it may hold besides variables."""
    properties = set(provider.credential)
    told = {"client_id", "client_secret", "token"}
    kept = {"revocation_endpoint": {*properties, "client_id", "token"}, "check": properties}
    for name, url in provider.urls():
        if not name.startswith("kinds."):
            yield name, url, kept.get(name.removeprefix("own_host."), set())
    every = properties.union(*(kind.properties for kind in provider.kinds.values()))
    if provider.api:
        yield "api.base_url", provider.api.base_url, properties
        yield from _named("api.params", provider.api.params, every)
    if provider.own_host:
        yield "own_host.api_base_url", provider.own_host.api_base_url, properties
    for field in ("authorization_params", "token_params", "refresh_params"):
        yield from _named(field, getattr(provider, field), set())
    yield from _named("revocation.params", provider.revocation.params, kept["revocation_endpoint"])
    yield from _named("follow_up.form", getattr(provider.follow_up, "form", None), told)
    yield from _named("check.form", getattr(provider.check, "form", None), told | properties)
    for name, kind in provider.kinds.items():
        yield from _templates_of_a_kind(provider, f"kinds.{name}", kind)


def _templates_of_a_kind(provider: Provider, where: str, kind: Kind) -> Iterator[tuple[str, str, set[str]]]:
    properties = set(kind.properties)
    urls = dict(provider.urls())
    for field in ("token_endpoint", "check"):
        if url := urls.get(f"{where}.{field}"):
            yield f"{where}.{field}", url, properties
    if kind.api:
        yield f"{where}.api.base_url", kind.api.base_url, properties
        yield from _named(f"{where}.api.params", kind.api.params, properties)
    yield f"{where}.realm", kind.realm, properties
    yield from _named(f"{where}.token_params", kind.token_params, properties)
    yield from _named(f"{where}.check.form", getattr(kind.check, "form", None), {*properties, "token"})


def _named(field: str, templates: Mapping[str, str] | None, besides: set[str]) -> Iterator[tuple[str, str, set[str]]]:
    for name, template in (templates or {}).items():
        yield f"{field}.{name}", template, besides


def _of_variables(provider: Provider) -> Iterator[str]:
    for name, variable in provider.variables.items():
        if name in RESERVED:
            yield f"variable {name} is a parameter of the start URL"
        yield from _of_a_variable(name, variable)


def _of_use(provider: Provider) -> Iterator[str]:
    used = {name for _, template, _ in _templates(provider) for name in PLACEHOLDER.findall(template)}
    used |= {prop.variable for prop in provider.credential.values()}
    used |= {prop.variable for kind in provider.kinds.values() for prop in kind.properties.values()}
    for name, variable in provider.variables.items():
        by_a_function = variable.sources == ["app"] and (provider.client_secret_from or provider.callback_check)
        if name not in used and not by_a_function:
            yield f"variable {name} is used nowhere"
        if not variable.example and not variable.values:
            yield f"variable {name} needs an example"


def _of_a_variable(name: str, variable: Variable) -> Iterator[str]:
    if not compiles(variable.pattern):
        yield f"variable {name}: its pattern is no regular expression"
        return
    if variable.kind == "choice" and not variable.values:
        yield f"variable {name} is a choice of no values"
    if variable.example and variable.accept_or_none(name, variable.example) is None:
        yield f"the example of {name} breaks its own rule"
    for value in [variable.default, *variable.values]:
        if value and variable.accept_or_none(name, value) != value:
            yield f"the default or a value of {name} breaks its own rule"


def _of_the_credential(provider: Provider) -> Iterator[str]:
    for name, prop in provider.credential.items():
        if name in MEMBERS:
            yield f"credential.{name} is a member of every credential"
        if not compiles(prop.pattern) or (prop.pattern and not re.compile(prop.pattern).groups):
            yield f"credential.{name}: its pattern must be a regular expression with a group"
        if (prop.identity or prop.fallback_identity) and prop.type == "array":
            yield f"credential.{name} is a list, which is no identity"
        if prop.default or prop.told_by:
            yield f"credential.{name} is read from what the provider says, so nothing goes without saying"
        try:
            place, wanted = prop.source
        except ValueError as exc:
            yield f"credential.{name}: {exc}"
            continue
        if place == "variable" and wanted not in provider.variables:
            yield f"credential.{name} reads the variable {wanted}, which is not declared"
        if place == "follow_up" and not provider.follow_up:
            yield f"credential.{name} reads follow_up, and there is none"
        if place == "id_token" and not (provider.issuer and provider.jwks_uri):
            yield f"credential.{name} reads the id_token, which needs issuer and jwks_uri"
    if provider.credential and not provider.has_code_flow:
        yield "[credential] is what a code flow yields, and there is none"
    if provider.credential and not provider.identity_properties():
        yield "no property of [credential] is an identity"


def _of_the_flow(provider: Provider) -> Iterator[str]:
    if provider.pkce_required and not provider.code_challenge_methods_supported:
        yield "pkce_required needs code_challenge_methods_supported"
    if not provider.token_endpoint_auth_methods_supported:
        yield "token_endpoint_auth_methods_supported must not be empty"
    for name in sorted(provider.token_response_names.keys() - TOKEN_RESPONSE):
        yield f"token_response_names.{name} is no member of a token answer"
    functions = {"callback_check": provider.callback_check, "client_secret_from": provider.client_secret_from}
    for field, function in functions.items():
        if function and not hasattr(quirks, function):
            yield f"{field} names {function}, which is not in quirks.py"


def _of_public_clients(provider: Provider) -> Iterator[str]:
    if provider.takes_public_clients and not provider.code_challenge_methods_supported:
        yield "an app without a secret is safe with PKCE alone (RFC 9700, 2.1.1)"
