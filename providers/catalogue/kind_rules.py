"""What the `[kinds]` and the checks of a catalogue file must keep to; part of `rules.lint`."""

import re
from collections.abc import Iterator, Sequence

from providers.catalogue.address_rules import has_stray_brace
from providers.catalogue.pattern_rules import problem_of
from providers.placeholders import names_in
from providers.provider import Provider
from providers.vocabulary import FollowUp, Kind, Property

# Members of every credential, which a property of the same name would hide
MEMBERS = {
    "access_token",
    "refresh_token",
    "scope",
    "expires_at",
    "refresh_token_expires_at",
    "token_type",
    "dpop_key",
    "id_token",
    "kind",
    "name",
}
SIGNING = {"consumer_key": False, "consumer_secret": True, "token_id": False, "token_secret": True}


def of_kinds(provider: Provider) -> Iterator[str]:
    for name, kind in provider.kinds.items():
        for problem in _of_a_kind(provider, name, kind):
            yield f"kinds.{name} {problem}"
        for prop_name, prop in kind.properties.items():
            for problem in _of_a_property(provider, kind, prop_name, prop):
                yield f"kinds.{name}.{prop_name} {problem}"


def _of_a_kind(provider: Provider, name: str, kind: Kind) -> Iterator[str]:
    if not name.startswith(f"{provider.slug.replace('-', '_')}_") or name == provider.kind:
        yield "must begin with the slug, and not be the code flow's"
    if not any(prop.identity for prop in kind.properties.values()):
        yield "has no identity; of a secret, it is the fingerprint"
    if kind.oauth_app and not provider.has_code_flow:
        yield "belongs to an OAuth app, and the provider takes none"
    if not kind.oauth_app:
        yield from _of_its_variables(provider, kind)
    yield from _of_its_authentication(provider, kind)
    yield from _of_its_calls(provider, kind)


def _of_its_variables(provider: Provider, kind: Kind) -> Iterator[str]:
    """Without an OAuth app, only its own properties can say where it is."""
    api = kind.api or provider.api
    templates = [kind.token_endpoint, _url(kind.check), api.base_url if api else ""]
    told = {prop.variable or name for name, prop in kind.properties.items()}
    for used in sorted({name for template in templates for name in names_in(template)} & provider.variables.keys()):
        if used not in told and not provider.variables[used].default:
            yield f"does not say what {{{used}}} is: no property is that variable"


def _of_its_authentication(provider: Provider, kind: Kind) -> Iterator[str]:
    secrets = [name for name, prop in kind.properties.items() if prop.secret]
    api = kind.api or provider.api
    if kind.auth == "key" and len(secrets) != 1:
        yield "is a key, so it has exactly one secret"
    if kind.auth == "password" and (len(secrets), len(_plain(provider, kind))) != (1, 1):
        yield "is a password, so it has exactly one secret, and one property that is the user's name"
    elif kind.auth == "password" and not (api and api.params) and _takes_colons(kind, _plain(provider, kind)[0]):
        yield "is sent as HTTP Basic, so the pattern of the user's name must leave colons out (RFC 7617, 2)"
    if kind.auth == "app_jwt" and not kind.oauth_app:
        yield "is opened by an app's key, so it belongs to an OAuth app"
    if (kind.auth in {"client_credentials", "app_jwt"}) != bool(kind.token_endpoint):
        yield "has a token_endpoint if its access tokens are minted, and else none"
    if kind.auth == "oauth1":
        found = {name: kind.properties[name].secret for name in SIGNING if name in kind.properties}
        if found != SIGNING:
            yield "signs with consumer_key, consumer_secret, token_id and token_secret, of which the secrets are secret"


def _plain(provider: Provider, kind: Kind) -> list[str]:
    """The properties that are neither secret nor a part of the address."""
    properties = kind.properties.items()
    return [n for n, prop in properties if not (prop.secret or prop.variable or n in provider.variables)]


def _takes_colons(kind: Kind, user: str) -> bool:
    pattern = kind.properties[user].pattern
    return not pattern or bool(problem_of(pattern)) or re.fullmatch(pattern, "a:b") is not None


def _of_its_calls(provider: Provider, kind: Kind) -> Iterator[str]:
    api = kind.api or provider.api
    is_post = isinstance(kind.check, FollowUp) and kind.check.method == "POST"
    if any(url.startswith("/") for url in (kind.token_endpoint, _url(kind.check))) and not api:
        yield "has a URL below the API's base URL, and there is no api"
    if api and api.params and kind.auth != "password":
        yield "sends no password, so its api has no params"
    if api and api.params and kind.check and not is_post:
        yield "sends a password with each call, so its check must be a POST: a URL is logged"


def _of_a_property(provider: Provider, kind: Kind, name: str, prop: Property) -> Iterator[str]:
    if name in MEMBERS:
        yield "is a member of every credential"
    if prop.token_response or prop.callback or prop.id_token or prop.follow_up:
        yield "is imported, so it is read nowhere"
    if prop.fallback_identity:
        yield "is a fallback for an identity that the code flow alone finds out"
    if problem := problem_of(prop.pattern):
        yield f"has a pattern that {problem}"
    if has_stray_brace(prop.default):
        yield "has a default with a brace that is no part of a {name}"
    if prop.identity and prop.type == "array":
        yield "is a list, which is no identity"
    if prop.variable and prop.variable not in provider.variables:
        yield f"keeps to the variable {prop.variable}, which is not declared"
    if (prop.default or prop.told_by) and prop.required:
        yield "is required, so nothing goes without saying"
    if unknown := [used for used in names_in(prop.default) if used not in kind.properties]:
        yield f"has a default that uses {{{unknown[0]}}}, which is no property"
    if prop.told_by and prop.told_by.property not in kind.properties:
        yield f"is told by {prop.told_by.property}, which is no property"


def of_refreshing(provider: Provider, urls: Sequence[tuple[str, str]]) -> Iterator[str]:
    """What a trip knew of the address has to be kept: a later refresh goes to the same place."""
    if not provider.has_code_flow:
        return
    kept = {prop.variable or name for name, prop in provider.credential.items()}
    templates = [url for name, url in urls if not name.startswith("kinds.")]
    templates += [provider.api.base_url] if provider.api else []
    for used in dict.fromkeys(name for url in templates for name in names_in(url)):
        variable = provider.variables.get(used)
        if variable and variable.sources != ["app"] and used not in kept:
            yield f"variable {used} stands in an address, so a property of [credential] must keep it"


def of_its_api(provider: Provider) -> Iterator[str]:
    if provider.has_code_flow and provider.api and provider.api.params:
        yield "api.params are for passwords, and the code flow yields access tokens"
    if _url(provider.check).startswith("/") and not provider.api:
        yield "check is below the API's base URL, and there is no api"


def _url(call: str | FollowUp) -> str:
    return call.url if isinstance(call, FollowUp) else call
