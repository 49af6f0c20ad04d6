"""What people need to know of a provider: for the API, `providers show` and the documentation."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from providers import kinds
from providers.kinds import CredentialKind
from providers.provider import Provider
from providers.variables import HOST, LABEL, Variable

PATTERNS = {"label": LABEL, "host": HOST}
ANY_TEXT = "[A-Za-z0-9._~-]{1,253}"
MECHANISMS = {
    "oauth2": "OAuth 2.0",
    "oauth1": "OAuth 1.0a",
    "key": "API key",
    "password": "password",
    "client_credentials": "client credentials",
    "app_jwt": "app JWT",
}
CALLBACK_URL = re.compile(r"\bcallback URL\b")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that has to be, or may be, entered. `values`: the only ones allowed, if any."""

    name: str
    label: str
    required: bool = True
    secret: bool = False
    example: str = ""
    pattern: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Needs:
    """What one kind of credential asks for, and of whom."""

    oauth_app: tuple[Entry, ...]  # of the developer, once, who registers the OAuth app
    end_user: tuple[Entry, ...]  # of the end user, on the hosted page, where neither link nor app says it
    credential: tuple[Entry, ...]  # of whoever imports the credential


def needs_of(kind: CredentialKind) -> Needs:
    provider = kind.provider
    asked = [(name, variable) for name, variable in provider.variables.items() if variable.is_askable]
    must = [_variable(name, variable) for name, variable in asked if variable.required and not variable.default]
    return Needs(
        oauth_app=tuple(_of_an_oauth_app(provider)) if kind.needs_oauth_app else (),
        end_user=() if kind.declared else tuple(must),
        credential=tuple(_of_an_import(kind)) if kind.declared else (),
    )


def _of_an_oauth_app(provider: Provider) -> Iterator[Entry]:
    is_oauth1 = provider.auth == "oauth1"
    theirs = {**provider.token_param_names, **provider.authorization_param_names}
    called = f" ({theirs['client_id']})" if theirs.get("client_id") else ""
    yield Entry("client_id", f"{'Consumer key' if is_oauth1 else 'Client ID'}{called}")
    secret = "Consumer secret" if is_oauth1 else "Client secret"
    if provider.client_secret_from:
        secret = "Private key (PEM)"
    elif provider.takes_private_keys:
        secret += " or private key (PEM)"
    yield Entry("client_secret", secret, required=not provider.takes_public_clients, secret=True)
    for name, variable in provider.variables.items():
        if "app" in variable.sources:
            alone = variable.required and not variable.default and not variable.is_askable
            yield _variable(name, variable, required=alone)


def _variable(name: str, variable: Variable, *, required: bool = True) -> Entry:
    pattern = pattern_of(variable)
    return Entry(name, variable.label, required, False, variable.example, pattern, tuple(variable.values))


def hint(variable: Variable) -> str:
    """What whoever is asked for it has to type, in a sentence; empty if there is nothing to say."""
    if variable.kind == "scopes":
        return "Separated by spaces or commas."
    if variable.values:
        return f"One of {', '.join(variable.values)}."
    example = f"for example {variable.example}" if variable.example else ""
    what = {"host": "A host name", "label": "Letters, digits and dashes"}.get(variable.kind, "")
    if variable.kind == "label" and variable.suffix:
        what = f"The part before {variable.suffix}"
    said = ", ".join(part for part in (what, example) if part)
    return f"{said[:1].upper()}{said[1:]}." if said else ""


def pattern_of(variable: Variable) -> str:
    return variable.pattern or PATTERNS.get(variable.kind, ANY_TEXT)


def _of_an_import(kind: CredentialKind) -> Iterator[Entry]:
    demanded = {name for demand in kind.demands if len(demand) == 1 for name in demand[0]}
    for name, prop in kind.properties.items():
        variable = kind.provider.variables.get(prop.variable or name)
        if variable:
            yield _variable(name, variable, required=name in demanded)
        else:
            yield Entry(name, _label(name), name in demanded, prop.secret, "", prop.pattern)


def _label(name: str) -> str:
    """`consumer_key`: Consumer key."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def mechanisms(provider: Provider) -> list[str]:
    """How one gets in there, in words: that of the code flow first."""
    return list(dict.fromkeys(MECHANISMS[kind.auth] for kind in kinds.of(provider)))


def pkce(provider: Provider) -> str:
    """`required`, `supported` or `none`."""
    if provider.pkce_required:
        return "required"
    return "supported" if provider.code_challenge_methods_supported else "none"


def refreshes(provider: Provider) -> bool:
    return provider.has_code_flow and provider.auth == "oauth2" and provider.refresh_with != "none"


def rotates(provider: Provider) -> bool:
    uses_them = refreshes(provider) and provider.refresh_with == "refresh_token"
    return uses_them and provider.refresh_token_rotates != "never"


def callback_url(provider: Provider, public_url: str) -> str | None:
    """The shared one; where it has to name the app, `:oauth_app_id` stands for the app's id. None: there is no trip."""
    if not provider.has_code_flow:
        return None
    shared = f"{public_url}/link/oauth2/callback/{provider.slug}"
    return f"{shared}/:oauth_app_id" if provider.tenant_hosted else shared


def logo_url(provider: Provider, public_url: str) -> str:
    return f"{public_url}/providers/{provider.slug}/logo.svg"


def setup(provider: Provider, public_url: str) -> list[str]:
    """The steps in the provider's console; the first that speaks of the callback URL says which one that is.

    Variables are called by their labels, as the forms call them.
    """
    url = callback_url(provider, public_url)
    steps = [_with_labels(step, provider) for step in provider.setup]
    for index, step in enumerate(steps):
        if url and CALLBACK_URL.search(step):
            steps[index] = CALLBACK_URL.sub(f"callback URL ({url})", step, count=1)
            break
    return steps


def _with_labels(step: str, provider: Provider) -> str:
    for name, variable in provider.variables.items():
        step = step.replace(f"`{name}`", f"“{variable.label}”")
    return step


def known_scopes(provider: Provider) -> Mapping[str, str]:
    """Those worth knowing with a sentence each; the default and the required ones are always among them."""
    named = dict.fromkeys([*provider.required_scopes, *provider.default_scopes], "")
    return named | provider.scopes
