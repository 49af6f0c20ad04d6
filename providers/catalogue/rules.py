"""What a catalogue file must keep to, beyond its types: each rule says in words what breaks it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from providers import quirks
from providers.catalogue.address_rules import base_urls, has_stray_brace, of_addresses
from providers.catalogue.address_rules import is_https as is_https
from providers.catalogue.client_rules import SETTINGS, of_client_settings
from providers.catalogue.collection_rules import of_collections, of_their_dates
from providers.catalogue.kind_rules import MEMBERS, of_its_api, of_kinds, of_refreshing
from providers.catalogue.oauth1_rules import of_oauth1
from providers.catalogue.pattern_rules import problem_of as problem_of_pattern
from providers.catalogue.reading import SLUG as SLUG
from providers.catalogue.request_rules import is_of_the_future, of_headers, of_requests
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
SUFFIX = re.compile(r"(\.[a-z0-9-]+)+\.[a-z]{2,}")
Template = tuple[str, str, set[str]]
# What somebody's secret, token or id looks like; placeholders in braces are none
SECRET_NAMES = re.compile(r"(client_|consumer_|token_|app_)?(id|secret|key|token|code|password)|.*_token|authorization")
SECRET_VALUES = re.compile(
    r"(sk|pk|rk)_(live|test)_\w{6,}|gh[opsu]_\w{8,}|xox[a-z]-[\w-]{8,}|AKIA[A-Z0-9]{12,}|eyJ[\w-]{10,}\.|-----BEGIN"
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    r"|(?<![\w/.:-])(?=[A-Za-z_-]*\d)(?=[\d_-]*[A-Za-z])[A-Za-z0-9_-]{28,}(?![\w/:-]|\.\w)"
)


def lint(provider: Provider) -> list[str]:
    """What is wrong with the file of `provider`, in words; nothing if it may be used. See also `advice`."""
    urls = list(provider.urls())
    templates = list(_templates(provider, urls))
    return [
        *_of_its_head(provider),
        *of_addresses(provider, urls, {name: known for name, _, known in templates}),
        *_of_placeholders(provider, templates),
        *_of_variables(provider),
        *_of_deployments(provider),
        *_of_the_credential(provider),
        *of_refreshing(provider, urls),
        *of_its_api(provider),
        *of_kinds(provider),
        *_of_the_flow(provider),
        *of_requests(provider),
        *of_headers(provider),
        *of_client_settings(provider),
        *of_oauth1(provider),
        *of_collections(provider),
    ]


def advice(provider: Provider) -> list[str]:
    """What is unsound in the file of `provider`, but keeps nobody from using it."""
    return [*_of_use(provider), *_of_public_clients(provider), *_of_its_date(provider), *of_their_dates(provider)]


def leaks(document: Mapping[str, Any], at: str = "") -> list[str]:
    """Where a file seems to hold a secret, a client id or somebody's sample value. The value is not repeated."""
    problems = []
    for name, value in document.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, Mapping):
                problems += leaks(text, f"{at}{name}.")
            elif isinstance(text, str) and text and _is_a_secret(at, name, text):
                problems.append(f"{at}{name} looks like a secret, a client id or a sample value")
    return problems


def _is_a_secret(at: str, name: str, text: str) -> bool:
    if PLACEHOLDER.search(text):
        return False
    is_sent = at.endswith(("params.", "headers.", "form."))
    return bool(SECRET_VALUES.search(text) or (is_sent and SECRET_NAMES.fullmatch(name.lower())))


def _of_its_head(provider: Provider) -> Iterator[str]:
    if not SLUG.fullmatch(provider.slug):
        yield "slug must be lower-case words joined by dashes"
    for alias in provider.aliases:
        if not SLUG.fullmatch(alias):
            yield "aliases must be lower-case words joined by dashes, like slugs"
    if not provider.name.strip():
        yield "name must not be empty"
    if not provider.name.isprintable():
        yield "name must be printable"
    if not is_https(provider.docs):
        yield "docs must be an https URL"


def _of_placeholders(provider: Provider, templates: Sequence[Template]) -> Iterator[str]:
    for where, template, besides in templates:
        if has_stray_brace(template):
            yield _stray(where)
        if "{" not in template:
            continue
        for used in PLACEHOLDER.findall(template):
            if used not in provider.variables and used not in besides:
                yield f"{where} uses {{{used}}}, which is no variable"
    if has_stray_brace(provider.issuer):  # its names may be a token's claims
        yield _stray("issuer")


def _stray(where: str) -> str:
    return f"{where} has a brace that is no part of a {{name}}, a word of small letters and underscores"


def _templates(provider: Provider, urls: Sequence[tuple[str, str]]) -> Iterator[Template]:
    """Every value that may hold `{names}`, with the names that it may hold besides variables."""
    properties = set(provider.credential)
    told = {"client_id", "client_secret", "token"}
    kept = {"revocation_endpoint": {*properties, "client_id", "token"}, "check": properties}
    for name, url in urls:
        if not name.startswith("kinds."):
            yield name, url, kept.get(name.removeprefix("own_host."), set())
    every = properties.union(*(kind.properties for kind in provider.kinds.values()))
    for where, url, known in base_urls(provider):
        yield where, url, {*known}
    if provider.api:
        yield from _named("api.params", provider.api.params, every)
    by_callback = {name for name, prop in provider.credential.items() if prop.callback}
    yield from _named("authorization_params", provider.authorization_params, set())
    yield from _named("token_params", provider.token_params, {*by_callback, "scope"})
    again = {*properties, "access_token", "redirect_uri", "scope"}
    yield from _named("refresh_params", provider.refresh_params, again)
    yield from _named("token_headers", provider.token_headers, {"client_id"})
    if provider.second_step:
        step_names = {"access_token", "client_id", "client_secret"}
        yield from _named("second_step.params", provider.second_step.params, step_names)
    yield from _named("follow_up.headers", getattr(provider.follow_up, "headers", None), {"client_id"})
    yield from _named("check.headers", getattr(provider.check, "headers", None), {"client_id"})
    yield from _named("revocation.params", provider.revocation.params, kept["revocation_endpoint"])
    yield from _named("follow_up.form", getattr(provider.follow_up, "form", None), told)
    yield from _named("check.form", getattr(provider.check, "form", None), told | properties)
    for name, kind in provider.kinds.items():
        yield from _templates_of_a_kind(dict(urls), f"kinds.{name}", kind)


def _templates_of_a_kind(urls: Mapping[str, str], where: str, kind: Kind) -> Iterator[Template]:
    properties = set(kind.properties)
    for field in ("token_endpoint", "check"):
        if url := urls.get(f"{where}.{field}"):
            yield f"{where}.{field}", url, properties
    if kind.api:
        yield from _named(f"{where}.api.params", kind.api.params, properties)
    yield f"{where}.realm", kind.realm, properties
    yield from _named(f"{where}.token_params", kind.token_params, properties)
    yield from _named(f"{where}.token_headers", kind.token_headers, set())
    yield from _named(f"{where}.check.form", getattr(kind.check, "form", None), {*properties, "token"})


def _named(field: str, templates: Mapping[str, str] | None, besides: set[str]) -> Iterator[Template]:
    for name, template in (templates or {}).items():
        yield f"{field}.{name}", template, besides


def _of_variables(provider: Provider) -> Iterator[str]:
    for name, variable in provider.variables.items():
        if name in RESERVED:
            yield f"variable {name} is a parameter of the start URL"
        if variable.kind == "host" and provider.has_code_flow and not provider.tenant_hosted:
            yield from _of_a_host(name, variable)
        yield from _of_a_variable(name, variable)


def _of_a_host(name: str, variable: Variable) -> Iterator[str]:
    """Where nothing says which hosts are the provider's own, the client secret would be sent to whatever is typed."""
    if not (variable.host_suffixes or variable.default):
        yield (
            f"variable {name} is a whole host: host_suffixes or default must say which are the provider's own, "
            "or tenant_hosted that there is none"
        )
    for suffix in variable.host_suffixes:
        if not SUFFIX.fullmatch(suffix):
            yield f"variable {name}: its host_suffixes must be domains behind a dot, such as .example.com"


def _of_deployments(provider: Provider) -> Iterator[str]:
    """The OAuth app says which one it belongs to, by a variable that the catalogue declares."""
    declared = provider.variables.get("deployment")
    if declared and (declared.kind != "choice" or declared.sources != ["app"]):
        yield "variable deployment picks one of [deployments]: a choice, from the app alone"
    elif declared and set(declared.values) != provider.deployments.keys():
        yield "variable deployment must have the names of [deployments] as its values"


def _of_use(provider: Provider) -> Iterator[str]:
    templates = _templates(provider, list(provider.urls()))
    used = {name for _, template, _ in templates for name in PLACEHOLDER.findall(template)}
    used |= ({"deployment"} if provider.deployments else set()) | SETTINGS
    used |= {prop.variable for prop in provider.credential.values()}
    used |= {prop.variable for kind in provider.kinds.values() for prop in kind.properties.values()}
    for name, variable in provider.variables.items():
        by_a_function = variable.sources == ["app"] and (provider.client_secret_from or provider.callback_check)
        if name not in used and not by_a_function:
            yield f"variable {name} is used nowhere"
        if not variable.example and not variable.values:
            yield f"variable {name} needs an example"


def _of_a_variable(name: str, variable: Variable) -> Iterator[str]:
    if variable.callback and variable.kind not in {"choice", "label"}:
        yield f"variable {name} is told by the callback, so it must be a choice or a label: anybody makes a callback"
    if problem := problem_of_pattern(variable.pattern):
        yield f"variable {name}: its pattern {problem}"
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
        if problem := problem_of_pattern(prop.pattern):
            yield f"credential.{name}: its pattern {problem}"
        elif prop.pattern and not re.compile(prop.pattern).groups:
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
    by_access_token = provider.refresh_with == "access_token"
    if by_access_token and not any("{access_token}" in text for text in provider.refresh_params.values()):
        yield "refresh_with is the access token, so refresh_params must name {access_token}"
    if provider.pkce_required and not provider.code_challenge_methods_supported:
        yield "pkce_required needs code_challenge_methods_supported"
    if not provider.token_endpoint_auth_methods_supported:
        yield "token_endpoint_auth_methods_supported must not be empty"
    for name in sorted(provider.token_response_names.keys() - TOKEN_RESPONSE):
        yield f"token_response_names.{name} is no member of a token answer"
    functions = {
        "callback_check": provider.callback_check,
        "client_secret_from": provider.client_secret_from,
    }
    for field, function in functions.items():
        if function and not hasattr(quirks, function):
            yield f"{field} names {function}, which is not in quirks.py"


def _of_its_date(provider: Provider) -> Iterator[str]:
    """No more than advice: a machine whose clock is behind starts all the same."""
    if is_of_the_future(provider.checked):
        yield "checked must not be in the future"


def _of_public_clients(provider: Provider) -> Iterator[str]:
    if provider.takes_public_clients and not provider.code_challenge_methods_supported:
        yield "an app without a secret is safe with PKCE alone (RFC 9700, 2.1.1)"
