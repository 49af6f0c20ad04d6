"""
A provider as its catalogue file describes it: facts and departures from the RFCs, as data.

Names and defaults are those of RFC 8414, RFC 9207 and OpenID Connect where they have one, so that a provider which
follows them says little. A URL, and the values of parameters, may hold `{variables}`; `bound()` fills them in.
"""

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from providers.placeholders import PLACEHOLDER as PLACEHOLDER
from providers.placeholders import Binding, filled
from providers.variables import Variable, VariableNotAccepted
from providers.vocabulary import Api, ErrorMembers, Expiry, OwnHost, RefreshTokenLifetime, Revocation, Success
from providers.vocabulary import FollowUp as FollowUp
from providers.vocabulary import Kind as Kind
from providers.vocabulary import Property as Property

AuthMethod = Literal["client_secret_basic", "client_secret_post", "none"]
ENDPOINTS = (
    "authorization_endpoint", "token_endpoint", "refresh_endpoint", "revocation_endpoint", "introspection_endpoint",
    "jwks_uri",
)  # fmt: skip


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The typed reading of one file of the catalogue; README of the catalogue: docs/adding-a-provider.md."""

    slug: str
    name: str
    docs: str
    checked: datetime.date
    confirmed_by: int = 0
    setup: list[str] = []

    # the provider's metadata (RFC 8414); without the first two it has no code flow, only `kinds`
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    refresh_endpoint: str = ""
    revocation_endpoint: str = ""
    introspection_endpoint: str = ""
    issuer: str = ""
    jwks_uri: str = ""
    token_endpoint_auth_methods_supported: list[AuthMethod] = msgspec.field(
        default_factory=lambda: ["client_secret_basic"]
    )
    code_challenge_methods_supported: list[Literal["S256"]] = []
    pkce_required: bool = False
    authorization_response_iss_parameter_supported: bool = False

    # whose host it is
    tenant_hosted: bool = False  # the whole host comes from the customer: the callback URL has to name the app
    own_host: OwnHost | None = None  # what differs where a host variable is not the provider's own

    # authorization request
    default_scopes: list[str] = []
    required_scopes: list[str] = []
    scope_separator: str = " "
    scope_param: str = "scope"
    scopes_answered_as: dict[str, str] = {}  # asked = answered; "" = granted without being named in the answer
    authorization_params: dict[str, str] = {}
    authorization_params_left_out: list[str] = []
    # POST: response_mode=form_post
    callback_methods: list[Literal["GET", "POST"]] = msgspec.field(default_factory=lambda: ["GET"])

    # callback
    callback_check: str = ""
    callback_errors: dict[str, str] = {}

    # token request
    token_request_format: Literal["form", "json"] = "form"
    token_params: dict[str, str] = {}
    refresh_params: dict[str, str] = {}
    token_params_left_out: list[str] = []
    token_headers: dict[str, str] = {}
    client_secret_from: str = ""  # a function of quirks.py that makes the secret which is sent
    basic_credentials_encoded: bool = True  # RFC 6749, 2.3.1; false where the server takes them as they are

    # token response
    token_response_format: Literal["", "json", "form"] = ""  # default: by content type
    token_response_names: dict[str, str] = {}
    token_response_success: Success | None = None
    token_response_error: ErrorMembers = ErrorMembers()
    expiry: Expiry = Expiry()

    # afterwards
    refresh_with: Literal["refresh_token", "none"] = "refresh_token"
    refresh_token_rotates: Literal["always", "sometimes", "never"] = "always"
    refresh_token_lifetime: RefreshTokenLifetime | None = None
    revocation: Revocation = Revocation()
    follow_up: str | FollowUp = ""
    check: str | FollowUp = ""  # the cheapest authenticated call, `/…` below the API's base URL; absent: the follow-up
    many_accounts: bool = False
    api: Api | None = None

    variables: dict[str, Variable] = {}
    credential: dict[str, Property] = {}
    kinds: dict[str, Kind] = {}
    sandbox: dict[str, object] = {}  # what the documentation says that the provider does; read by providers.sandbox

    @property
    def kind(self) -> str:
        """The kind of the credential that its code flow yields."""
        return f"{self.slug.replace('-', '_')}_oauth2"

    @property
    def has_code_flow(self) -> bool:
        return bool(self.authorization_endpoint)

    @property
    def takes_public_clients(self) -> bool:
        return "none" in self.token_endpoint_auth_methods_supported

    @property
    def takes_private_keys(self) -> bool:
        """Whether an OAuth app may have a private key in place of a client secret: it signs, and is never sent."""
        return bool(self.client_secret_from) or any(kind.auth == "app_jwt" for kind in self.kinds.values())

    @property
    def revokes(self) -> bool:
        return bool(self.revocation_endpoint)

    def is_issuer(self, issuer: str) -> bool:
        """Whether `issuer` is this provider's; a placeholder in ours, which names a claim, stands for one segment."""
        pattern = "[^/]+".join(
            re.escape(part) for part in re.split(PLACEHOLDER.pattern.replace("(", "(?:"), self.issuer)
        )
        return re.fullmatch(pattern, issuer) is not None

    def identity_properties(self) -> list[str]:
        return [name for name, prop in self.credential.items() if prop.identity]

    # ---- variables ---------------------------------------------------------------------------------------------

    def accept_variables(self, given: Mapping[str, str], *, fixed: Mapping[str, str]) -> dict[str, str]:
        """The values to use: what the app fixes, then what came with the request, then the defaults.

        `given` comes from anybody's browser, `fixed` from the developer; what only the OAuth app may set is not taken
        from a browser. A required variable that nobody gave is absent from the answer.
        Raises VariableNotAccepted, which names the variable and the rule.
        """
        values: dict[str, str] = {}
        given = {name: value for name, value in given.items() if self._may_be_given(name)}
        for name, variable in self.variables.items():
            if name in fixed:
                values[name] = variable.accept(name, fixed[name])
                if given.get(name) and variable.accept(name, given[name]) != values[name]:
                    raise VariableNotAccepted(name, "is fixed on the OAuth app to another value")
            elif given.get(name):
                values[name] = variable.accept(name, given[name])
                if not variable.is_pinned(values[name]):
                    raise VariableNotAccepted(
                        name, "must be fixed on the OAuth app, since it is not the provider's own host"
                    )
            elif variable.default:
                values[name] = variable.default
        return values

    def _may_be_given(self, name: str) -> bool:
        return name in self.variables and self.variables[name].sources != ["app"]

    def missing_variables(self, values: Mapping[str, str]) -> list[str]:
        return [name for name, variable in self.variables.items() if variable.required and name not in values]

    def needs_own_callback(self, variables: Mapping[str, str], *, has_secret: bool) -> bool:
        """Whether the callback URL must name the OAuth app: no secret, or a host that the customer chose."""
        return self.tenant_hosted or self.is_at_own_host(variables) or not has_secret

    def is_at_own_host(self, variables: Mapping[str, str]) -> bool:
        """Whether a host among `variables` is one that the customer chose, not the provider's own."""
        return any(
            not variable.is_pinned(variables[name]) for name, variable in self.variables.items() if name in variables
        )

    def bound(self, variables: Mapping[str, str], *, sandbox_url: str = "") -> "Provider":
        """This provider at one customer's hosts: every URL and parameter with its variables filled in.

        A parameter is left out if its variable has no value. `sandbox_url`: the simulator that stands in for all of
        its hosts; `https://HOST/PATH` becomes `<sandbox_url>/HOST/PATH`. Raises VariableNotAccepted: values are
        checked again before they are used.
        """
        values = {
            name: self.variables[name].accept(name, value)
            for name, value in variables.items()
            if name in self.variables
        }
        to = Binding(values, sandbox_url)
        there = self._at_own_host() if self.is_at_own_host(values) else self
        return msgspec.structs.replace(
            self,
            own_host=None,
            authorization_endpoint=to.url(self.authorization_endpoint),
            token_endpoint=to.url(self.token_endpoint),
            refresh_endpoint=to.url(self.refresh_endpoint),
            revocation_endpoint=to.url(there.revocation_endpoint),
            introspection_endpoint=to.url(self.introspection_endpoint),
            jwks_uri=to.url(self.jwks_uri),
            issuer=filled(self.issuer, values),
            follow_up=_call(there.follow_up, to),
            check=_call(there.check, to),
            api=_api(there.api, to),
            kinds={name: _kind(declared, to) for name, declared in self.kinds.items()},
            authorization_params=to.params(self.authorization_params, self.variables),
            token_params=to.params(self.token_params, self.variables),
            refresh_params=to.params(self.refresh_params, self.variables),
        )

    def _at_own_host(self) -> "Provider":
        own = self.own_host or OwnHost()
        return msgspec.structs.replace(
            self,
            revocation_endpoint=own.revocation_endpoint or self.revocation_endpoint,
            follow_up=own.follow_up or self.follow_up,
            check=own.check or self.check,
            api=self.api and msgspec.structs.replace(self.api, base_url=own.api_base_url or self.api.base_url),
        )

    def urls(self) -> Iterator[tuple[str, str]]:
        """The fields that hold a URL which we call, by name."""
        for name in ENDPOINTS:
            if value := getattr(self, name):
                yield name, value
        if self.follow_up:
            yield "follow_up", self.follow_up.url if isinstance(self.follow_up, FollowUp) else self.follow_up
        if self.check:
            yield "check", _whole(self.check, self.api)
        if own := self.own_host:
            there = {"revocation_endpoint": own.revocation_endpoint, "follow_up": own.follow_up}
            there["check"] = _whole(own.check, self._at_own_host().api)
            yield from ((f"own_host.{name}", url) for name, url in there.items() if url)
        for kind, declared in self.kinds.items():
            for name in ("token_endpoint", "check"):
                if value := getattr(declared, name):
                    yield f"kinds.{kind}.{name}", _whole(value, declared.api or self.api)


def _whole(call: str | FollowUp, api: Api | None) -> str:
    url = call.url if isinstance(call, FollowUp) else call
    return f"{api.base_url.removesuffix('/')}{url}" if api and url.startswith("/") else url


def _call(call: str | FollowUp, to: Binding) -> str | FollowUp:
    return msgspec.structs.replace(call, url=to.url(call.url)) if isinstance(call, FollowUp) else to.url(call)


def _api(api: Api | None, to: Binding) -> Api | None:
    return api and msgspec.structs.replace(api, base_url=to.base_url(api.base_url))


def _kind(kind: Kind, to: Binding) -> Kind:
    return msgspec.structs.replace(
        kind, api=_api(kind.api, to), check=_call(kind.check, to), token_endpoint=to.url(kind.token_endpoint)
    )
