"""
The kinds of credential: what each consists of, and how an import is judged.

A provider with a code flow has one kind for it, `<slug>_oauth2` or `<slug>_oauth1`; its catalogue file may declare
others under `[kinds]`.
What a credential holds comes out of `accept()` in one spelling, however it was typed: its identity stands on that.
"""

import difflib
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from providers import catalogue
from providers.placeholders import PLACEHOLDER, filled, names_in
from providers.properties import TOKEN_PROPERTIES, ValueNotAccepted, as_variable, origin, secret, text, typed
from providers.provider import Provider
from providers.variables import VariableNotAccepted
from providers.vocabulary import Kind, Property

Auth = Literal["oauth2", "key", "password", "client_credentials", "app_jwt", "oauth1"]
# Names that must all have a value, or those of another group instead
Demand = list[list[str]]

TOKENS = {
    "access_token": Property(token_response="access_token", secret=True, required=False),
    "refresh_token": Property(token_response="refresh_token", secret=True, required=False),
    "expires_at": Property(token_response="expires_in", required=False),
    "refresh_token_expires_at": Property(token_response="refresh_token_expires_in", required=False),
    "scope": Property(token_response="scope", required=False),
    "token_type": Property(token_response="token_type", required=False),
}
OF_OAUTH1 = {"access_token", "scope", "token_type"}  # whose tokens neither end nor are refreshed
PROTOCOLS = {"oauth2": "OAuth 2.0", "oauth1": "OAuth 1.0a"}
# of a code flow whose tokens may be bound to a key (RFC 9449): that key, a private JWK
DPOP_KEY = Property(token_response="dpop_key", secret=True, required=False)


class UnknownKind(LookupError):
    """No provider of the catalogue has this kind of credential."""


class PropertiesNotAccepted(ValueError):
    """`errors`: the property's name, or `kind`, with the reasons in our words; no value is repeated."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__("These are not the properties of such a credential.")
        self.errors = errors


@dataclass(frozen=True, eq=False, repr=False)
class CredentialKind:
    """`declared`: its table in the catalogue file; None for the code flow's kind."""

    name: str
    provider: Provider
    declared: Kind | None

    def __repr__(self) -> str:
        return f"<CredentialKind {self.name}>"

    @property
    def auth(self) -> Auth:
        return self.declared.auth if self.declared else self.provider.auth

    @property
    def label(self) -> str:
        return self.declared.label if self.declared else PROTOCOLS[self.provider.auth]

    @property
    def needs_oauth_app(self) -> bool:
        return self.declared is None or self.declared.oauth_app

    @property
    def mints(self) -> bool:
        """Whether its access tokens are asked for with what the credential holds, instead of a refresh token."""
        return self.auth in {"client_credentials", "app_jwt"}

    def renews(self, *, with_refresh_token: bool, with_access_token: bool) -> bool:
        """Whether a new access token can be asked for with what a credential holds."""
        if self.declared is not None:
            return self.mints
        with_what = {"refresh_token": with_refresh_token, "access_token": with_access_token, "none": False}
        return with_what[self.provider.refresh_with]

    @functools.cached_property
    def properties(self) -> dict[str, Property]:
        if self.declared:
            return self.declared.properties
        bound = {"dpop_key": DPOP_KEY} if self.provider.dpop_signing_alg_values_supported else {}
        tokens = {name: prop for name, prop in TOKENS.items() if self.auth == "oauth2" or name in OF_OAUTH1}
        return tokens | bound | self.provider.kept

    @functools.cached_property
    def demands(self) -> list[Demand]:
        """What an import cannot do without: of each demand, all names of at least one group.

        What a trip has to yield beside the identity may be missing in an import; one of the two tokens may, too.
        """
        if self.declared:
            return [[[name]] for name, prop in self.properties.items() if prop.required and not self._has_default(name)]
        secret_of_token: list[Demand] = [[["token_secret"]]] if self.auth == "oauth1" else []
        return [*self._demands_of_identity(), self._demand_of_tokens(), *secret_of_token]

    def _demands_of_identity(self) -> Iterator[Demand]:
        identity = {name: prop for name, prop in self.properties.items() if prop.identity}
        required = [name for name, prop in identity.items() if prop.required and not self._has_default(name)]
        instead = [[name] for name, prop in self.properties.items() if prop.fallback_identity]
        if required and instead:
            yield [required, *instead]
        else:
            yield from ([[name]] for name in required)
        if identity and not any(prop.required for prop in identity.values()):
            yield [*([name] for name in identity), *instead]

    def _demand_of_tokens(self) -> Demand:
        refreshes = self.provider.refresh_with == "refresh_token"
        return [["access_token"], ["refresh_token"]] if refreshes else [["access_token"]]

    # ---- import --------------------------------------------------------------------------------------------------

    @sensitive_variables()
    def accept(self, given: Mapping[str, Any], *, fixed: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The properties of an import, typed and in their canonical spelling; null counts as absent.

        `given`: without `kind` and `name`. `fixed`: the OAuth app's variables, which complete what is left out, as
        defaults do. Raises PropertiesNotAccepted.
        """
        values, errors = self._read(given)
        known = ", ".join(self.properties)
        unknown = [name for name in given if name not in self.properties]
        errors |= {name: [f"Is no property of {self.name}. There are: {known}."] for name in unknown}
        errors |= self._complete(values, fixed or {}, besides=errors.keys())
        for demand in self.demands:
            errors |= _unmet(demand, values, besides=errors.keys())
        if errors:
            raise PropertiesNotAccepted(errors)
        return {name: values[name] for name in self.properties if name in values}

    @sensitive_variables()
    def canonical(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Some of the properties as `accept()` spells them; what is not acceptable is left out."""
        return self._read(given)[0]

    def _read(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[str]]]:
        values, errors = {}, {}
        for name in self.properties:
            if given.get(name) is None:
                continue
            try:
                values[name] = self._value(name, given[name])
            except ValueNotAccepted as exc:
                errors[name] = [str(exc)]
        return values, errors

    def _value(self, name: str, value: Any) -> Any:
        prop = self.properties[name]
        if self.declared is None and name in TOKEN_PROPERTIES:
            return TOKEN_PROPERTIES[name](value)
        if variable := self._variable_of(name):
            return as_variable(prop, name, self.provider.variables[variable], value)
        if name in self._origins:
            return origin(value)
        printable = secret if prop.secret and self.auth != "password" else text
        pattern = prop.pattern if self.declared else ""  # the code flow's finds the value inside of another
        return typed(prop, value, printable=printable, pattern=pattern)

    @functools.cached_property
    def _origins(self) -> set[str]:
        """The properties that tell where the provider's API is: its base URL begins with them."""
        api = self.provider.api
        found = api and PLACEHOLDER.match(api.base_url)
        return {found[1]} if found else set()

    def _variable_of(self, name: str) -> str:
        """The variable whose value the property holds: the one that it reads, or that has its name."""
        return self.properties[name].variable or (name if name in self.provider.variables else "")

    def _has_default(self, name: str) -> bool:
        variable = self.provider.variables.get(self._variable_of(name))
        return bool(self.properties[name].default or (variable and variable.default))

    def _complete(
        self, values: dict[str, Any], fixed: Mapping[str, str], *, besides: Iterable[str]
    ) -> dict[str, list[str]]:
        """Fill in what goes without saying; returns what contradicts it."""
        errors = {}
        for name, prop in self.properties.items():
            if name in besides:
                continue
            said = self._goes_without_saying(name, prop, values, fixed)
            if said is not None and prop.told_by and values.setdefault(name, said) != said:
                errors[name] = [f"Contradicts {prop.told_by.property}."]
            elif said is not None:
                values.setdefault(name, said)
        return errors

    def _goes_without_saying(
        self, name: str, prop: Property, values: Mapping[str, Any], fixed: Mapping[str, str]
    ) -> Any:
        if told := prop.told_by:
            other = str(values.get(told.property, ""))
            return next((said for prefix, said in told.prefixes.items() if other.startswith(prefix)), None)
        if name in values:
            return None
        variable = self._variable_of(name)
        default = self.provider.variables[variable].default if variable else ""
        said = fixed.get(variable) or default or filled(prop.default, {n: str(value) for n, value in values.items()})
        return None if not said or names_in(said) else self._read({name: said})[0].get(name)

    # ---- whose it is ---------------------------------------------------------------------------------------------

    def identity(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What tells the upstream account, by name; empty if it is a secret, or not known."""
        identity = {name: prop for name, prop in self.properties.items() if prop.identity and not prop.secret}
        if any(prop.required and values.get(name) is None for name, prop in identity.items()):
            return {}
        return {name: values[name] for name in identity if values.get(name) is not None}

    def fallback_identity(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What tells it where an import had no identity."""
        names = [name for name, prop in self.properties.items() if prop.fallback_identity]
        return {name: values[name] for name in names if values.get(name) is not None}

    def secret_identity(self, values: Mapping[str, Any]) -> str:
        """The secret that tells apart what has no other identity; empty if there is none."""
        names = [name for name, prop in self.properties.items() if prop.identity and prop.secret]
        names = names or ([] if self.declared else ["refresh_token", "access_token"])
        return next((str(values[name]) for name in names if values.get(name)), "")

    # ---- where its API is ----------------------------------------------------------------------------------------

    def variables(
        self, values: Mapping[str, Any], *, fixed: Mapping[str, str], own_hosts: bool = False
    ) -> dict[str, str]:
        """The provider's variables for one credential: what the OAuth app fixes, what a property says, the defaults.

        A host that is not the provider's own is taken from the OAuth app alone, where there is one, since its secret
        is sent there; `own_hosts`: from the properties too, for an app whose callback URL names it.
        Raises PropertiesNotAccepted: a required one is missing, breaks its rule or contradicts the app.
        """
        holders = {self._variable_of(name): name for name in self.properties if self._variable_of(name)}
        given = {variable: str(values[name]) for variable, name in holders.items() if values.get(name) is not None}
        declared = self.provider.variables
        # Where the account is, its provider knows better than the app
        fixed = {name: value for name, value in fixed.items() if name not in given or not declared[name].callback}
        try:
            said = {name: declared[name].accept(name, value) for name, value in given.items()}
            if self.needs_oauth_app and not own_hosts:
                chosen = self.provider.accept_variables(said, fixed=fixed)
            else:
                chosen = self.provider.accept_variables({}, fixed=said | dict(fixed))
        except VariableNotAccepted as exc:
            raise PropertiesNotAccepted({holders.get(exc.name, exc.name): [f"It {exc.rule}."]}) from exc
        errors = {holders[name]: ["Is not what the OAuth app says."] for name in said if chosen.get(name) != said[name]}
        for name in self.provider.missing_variables(chosen):
            if name in self._lasting_variables or (self.needs_oauth_app and declared[name].sources == ["app"]):
                errors[holders.get(name, name)] = ["Is required, here or on the OAuth app."]
        if errors:
            raise PropertiesNotAccepted(errors)
        return chosen

    @functools.cached_property
    def _lasting_variables(self) -> set[str]:
        """Those that its later calls need: all but what only the end user's browser is sent to."""
        urls = dict(self.provider.urls())
        urls.pop("authorization_endpoint", None)
        own = f"kinds.{self.name}."
        templates = [url for name, url in urls.items() if name.startswith(own) or not (self.declared or "." in name)]
        api = (self.declared and self.declared.api) or self.provider.api
        return {name for template in [*templates, api.base_url if api else ""] for name in names_in(template)}


def _unmet(demand: Demand, values: Mapping[str, Any], *, besides: Iterable[str]) -> dict[str, list[str]]:
    """What to say of a demand that nothing meets; names of which something is said already are left alone."""
    if any(all(name in values for name in group) for group in demand):
        return {}
    if any(name in besides for group in demand for name in group):
        return {}
    first, *others = demand
    instead = " or ".join(" and ".join(group) for group in others)
    reason = f"Is required, unless there is {instead}." if instead else "Is required."
    return {name: [reason] for name in first if name not in values}


# ---- which there are -------------------------------------------------------------------------------------------------


def load() -> Mapping[str, CredentialKind]:
    """Every kind of the catalogue, by name."""
    return _load(settings.PROVIDERS_DIR)


def forget() -> None:
    """See catalogue.forget()."""
    _load.cache_clear()


@functools.cache
def _load(own_folder: str) -> Mapping[str, CredentialKind]:
    every = (kind for provider in catalogue.load().values() for kind in of(provider))
    return MappingProxyType({kind.name: kind for kind in every})


def get(name: str) -> CredentialKind:
    """Raises UnknownKind."""
    try:
        return load()[name]
    except KeyError:
        raise UnknownKind(name) from None


def of(provider: Provider) -> list[CredentialKind]:
    """The kinds of one provider, that of its code flow first."""
    of_the_flow = [CredentialKind(provider.kind, provider, None)] if provider.has_code_flow else []
    return [*of_the_flow, *(CredentialKind(name, provider, kind) for name, kind in provider.kinds.items())]


def find(name: str, *, with_oauth_app: bool) -> CredentialKind:
    """The kind that a developer means, who may write the provider's slug instead, with dashes or underscores.

    With an OAuth app that is the code flow's kind; without one, the only kind that needs none, if there is one.
    Raises PropertiesNotAccepted.
    """
    if kind := load().get(name):
        return kind
    provider = catalogue.find(name.replace("_", "-"))
    if provider is None:
        near = difflib.get_close_matches(name[:100], load(), n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else " GET /v1/providers lists them all."
        raise PropertiesNotAccepted({"kind": [f"Is no kind of credential.{hint}"]})
    kinds = of(provider)
    of_the_flow = [kind for kind in kinds if kind.declared is None]
    meant = of_the_flow if with_oauth_app else [kind for kind in kinds if not kind.needs_oauth_app]
    meant = meant or of_the_flow or kinds
    if len(meant) > 1:
        raise PropertiesNotAccepted({"kind": [f"Could be {' or '.join(kind.name for kind in meant)}: say which."]})
    return load()[meant[0].name]
