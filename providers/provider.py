"""
A provider as its catalogue file describes it: facts and departures from the RFCs, as data.

Names and defaults are those of RFC 8414, RFC 9207 and OpenID Connect where they have one, so that a provider which
follows them says little. A URL, and the values of parameters, may hold `{variables}`; `bound()` fills them in.
"""

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import msgspec

from providers.collection import Collection, Discovery
from providers.placeholders import PLACEHOLDER as PLACEHOLDER
from providers.placeholders import Binding, filled
from providers.variables import Variable, VariableNotAccepted
from providers.vocabulary import (
    Addresses,
    Api,
    ErrorMembers,
    Expiry,
    RefreshTokenLifetime,
    Revocation,
    SecondStep,
    Success,
)
from providers.vocabulary import FollowUp as FollowUp
from providers.vocabulary import Kind as Kind
from providers.vocabulary import Property as Property

AuthMethod = Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "client_secret_jwt", "none"]
Category = Literal[
    "accounting", "advertising", "analytics", "calendar", "commerce", "communication", "content", "crm", "design",
    "developer-tools", "documents", "education", "email", "files", "finance", "forms", "gaming", "health", "hr",
    "identity", "location", "marketing", "media", "music", "payments", "productivity", "project-management", "science",
    "security", "social", "storage", "support", "other",
]  # fmt: skip
ENDPOINTS = (
    "authorization_endpoint", "token_endpoint", "refresh_endpoint", "revocation_endpoint", "introspection_endpoint",
    "request_token_endpoint", "pushed_authorization_request_endpoint", "jwks_uri",
)  # fmt: skip


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The typed reading of one file of the catalogue; README of the catalogue: docs/adding-a-provider.md."""

    slug: str
    name: str
    docs: str
    checked: datetime.date
    confirmed_by: Annotated[int, msgspec.Meta(ge=0)] = 0
    aliases: list[str] = []  # other names that people look for; each is understood where a slug is
    icon: str = ""  # its brand's slug in the package simple-icons, where that is neither its slug nor its name
    category: Category = "other"
    extends: str = ""  # whose authorization server it shares: all that is not written here is read there
    setup: list[str] = []

    # the provider's metadata (RFC 8414); without the first two it has no code flow, only `kinds`
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    refresh_endpoint: str = ""
    revocation_endpoint: str = ""
    introspection_endpoint: str = ""
    request_token_endpoint: str = ""  # OAuth 1.0a (RFC 5849, 2.1): with it, the code flow is that protocol's
    request_token_method: Literal["POST", "GET"] = "POST"
    pushed_authorization_request_endpoint: str = ""  # RFC 9126
    issuer: str = ""
    jwks_uri: str = ""
    token_endpoint_auth_methods_supported: list[AuthMethod] = msgspec.field(
        default_factory=lambda: ["client_secret_basic"]
    )
    token_endpoint_auth_signing_alg_values_supported: list[str] = []
    dpop_signing_alg_values_supported: list[Literal["ES256"]] = []  # RFC 9449
    code_challenge_methods_supported: list[Literal["S256"]] = []
    pkce_required: bool = False
    authorization_response_iss_parameter_supported: bool = False

    # whose host it is
    tenant_hosted: bool = False  # the whole host comes from the customer: the callback URL has to name the app
    own_host: Addresses | None = None  # what differs where a host variable is not the provider's own
    deployments: dict[str, Addresses] = {}  # test systems and the like; the OAuth app's variable `deployment` picks one

    # authorization request
    scopes: dict[str, str] = {}  # those worth knowing = what they allow, in a sentence
    default_scopes: list[str] = []
    required_scopes: list[str] = []
    scope_separator: str = " "
    scope_param: str = "scope"
    scopes_answered_as: dict[str, str] = {}  # asked = answered; "" = granted without being named in the answer
    authorization_params: dict[str, str] = {}
    authorization_param_names: dict[str, str] = {}  # RFC 6749's = theirs
    authorization_params_left_out: list[str] = []
    state_returned: bool = True  # false: it has to ride in the callback URL
    # POST: response_mode=form_post
    callback_methods: list[Literal["GET", "POST"]] = msgspec.field(default_factory=lambda: ["GET"])

    # callback
    callback_code_param: str = "code"
    callback_check: str = ""
    callback_errors: dict[str, str] = {}

    # token request
    token_request_method: Literal["POST", "GET"] = "POST"
    token_request_format: Literal["form", "json", "query"] = "form"
    token_params: dict[str, str] = {}
    token_param_names: dict[str, str] = {}  # RFC 6749's = theirs, also in a refresh
    token_params_left_out: list[str] = []
    token_headers: dict[str, str] = {}
    refresh_request_method: Literal["", "POST", "GET"] = ""  # default: as the token request
    refresh_request_format: Literal["", "form", "json", "query"] = ""
    refresh_auth_method: Literal["", "client_secret_basic", "client_secret_post"] = ""  # default: as the token request
    refresh_params: dict[str, str] = {}
    refresh_params_left_out: list[str] = []
    signature_method: Literal["HMAC-SHA1", "HMAC-SHA256", "PLAINTEXT"] = "HMAC-SHA1"  # OAuth 1.0a (RFC 5849, 3.4)
    client_secret_from: str = ""  # a function of quirks.py that makes the secret which is sent
    basic_credentials_encoded: bool = True  # RFC 6749, 2.3.1; false where the server takes them as they are

    # token response
    token_response_names: dict[str, str] = {}
    token_response_success: Success | None = None
    token_response_error: ErrorMembers = ErrorMembers()
    expiry: Expiry = Expiry()
    second_step: SecondStep | None = None

    # afterwards
    refresh_with: Literal["refresh_token", "access_token", "none"] = "refresh_token"
    refresh_token_rotates: Literal["always", "sometimes", "never"] = "always"
    refresh_token_lifetime: RefreshTokenLifetime | None = None
    # seconds of an access token's life; earlier, the provider refuses
    refresh_only_in_last: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 0
    revocation: Revocation = Revocation()
    follow_up: str | FollowUp = ""
    check: str | FollowUp = ""  # the cheapest authenticated call, `/…` below the API's base URL; absent: the follow-up
    many_accounts: bool = False
    api: Api | None = None

    collections: list[Collection] = []  # what its API lists, for syncs
    discover: list[Discovery] = []  # likewise, where the customer makes them

    variables: dict[str, Variable] = {}
    credential: dict[str, Property] = {}
    kinds: dict[str, Kind] = {}
    sandbox: dict[str, object] = {}  # what the documentation says that the provider does; read by providers.sandbox

    @property
    def kind(self) -> str:
        """The kind of the credential that its code flow yields."""
        return f"{self.slug.removesuffix(f'-{self.auth}').replace('-', '_')}_{self.auth}"

    @property
    def auth(self) -> Literal["oauth2", "oauth1"]:
        """The protocol of its code flow: OAuth 2.0 (RFC 6749), or OAuth 1.0a (RFC 5849)."""
        return "oauth1" if self.request_token_endpoint else "oauth2"

    @property
    def kept(self) -> dict[str, Property]:
        """What a trip has to yield beside the access token; an OAuth 1.0a token is of no use without its secret."""
        if self.auth == "oauth2":
            return self.credential
        return {"token_secret": Property(token_response="oauth_token_secret", secret=True), **self.credential}

    @property
    def signs_calls(self) -> bool:
        """Whether an API call is signed (RFC 5849, 3) instead of carrying the access token as it is."""
        return self.auth == "oauth1" and not (self.api and self.api.header)

    @property
    def has_code_flow(self) -> bool:
        return bool(self.authorization_endpoint)

    @property
    def takes_public_clients(self) -> bool:
        return "none" in self.token_endpoint_auth_methods_supported

    @property
    def takes_private_keys(self) -> bool:
        """Whether an OAuth app may have a private key in place of a client secret: it signs, and is never sent."""
        signs = self.client_secret_from or "private_key_jwt" in self.token_endpoint_auth_methods_supported
        return bool(signs) or any(kind.auth == "app_jwt" for kind in self.kinds.values())

    @property
    def revokes(self) -> bool:
        return bool(self.revocation_endpoint)

    def is_issuer(self, issuer: str) -> bool:
        """Whether `issuer` is this provider's; a placeholder in ours, which names a claim, stands for one segment."""
        pattern = "[^/]+".join(
            re.escape(part) for part in re.split(PLACEHOLDER.pattern.replace("(", "(?:"), self.issuer)
        )
        return re.fullmatch(pattern, issuer) is not None

    def collection(self, name: str) -> Collection | None:
        return next((found for found in self.collections if found.id == name), None)

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
            name: self._as_sent(name, self.variables[name].accept(name, value))
            for name, value in variables.items()
            if name in self.variables
        }
        to = Binding(values, sandbox_url)
        there = self._at(self.deployments[values["deployment"]]) if values.get("deployment") else self
        there = there._at(self.own_host) if self.own_host and self.is_at_own_host(values) else there
        return msgspec.structs.replace(
            self,
            own_host=None,
            deployments={},
            authorization_endpoint=to.url(there.authorization_endpoint),
            token_endpoint=to.url(there.token_endpoint),
            request_token_endpoint=to.url(self.request_token_endpoint),
            pushed_authorization_request_endpoint=to.url(self.pushed_authorization_request_endpoint),
            second_step=_step(self.second_step, to),
            refresh_endpoint=to.url(there.refresh_endpoint),
            revocation_endpoint=to.url(there.revocation_endpoint),
            introspection_endpoint=to.url(self.introspection_endpoint),
            jwks_uri=to.url(self.jwks_uri),
            issuer=filled(self.issuer, values),
            follow_up=_call(there.follow_up, to),
            check=_call(self.check, to),
            api=_api(there.api, to),
            kinds={name: _kind(declared, to) for name, declared in self.kinds.items()},
            authorization_params=to.params(self.authorization_params, self.variables),
            token_params=to.params(self.token_params, self.variables),
            refresh_params=to.params(self.refresh_params, self.variables),
        )

    def as_at_a_refresh(self) -> "Provider":
        """This provider as it takes a refresh: what differs there, in the place of what an exchange goes by."""
        methods = [self.refresh_auth_method] if self.refresh_auth_method else None
        return msgspec.structs.replace(
            self,
            token_endpoint=self.refresh_endpoint or self.token_endpoint,
            token_endpoint_auth_methods_supported=methods or self.token_endpoint_auth_methods_supported,
            token_request_method=self.refresh_request_method or self.token_request_method,
            token_request_format=self.refresh_request_format or self.token_request_format,
            token_params_left_out=[*self.token_params_left_out, *self.refresh_params_left_out],
        )

    def _as_sent(self, name: str, value: str) -> str:
        """A list of scopes in the provider's own form; anything else as it is."""
        is_scopes = self.variables[name].kind == "scopes"
        return self.scope_separator.join(value.split()) if is_scopes else value

    def _at(self, there: Addresses) -> "Provider":
        """This provider with the addresses that are others there."""
        return msgspec.structs.replace(
            self,
            authorization_endpoint=there.authorization_endpoint or self.authorization_endpoint,
            token_endpoint=there.token_endpoint or self.token_endpoint,
            refresh_endpoint=there.refresh_endpoint or self.refresh_endpoint,
            revocation_endpoint=there.revocation_endpoint or self.revocation_endpoint,
            follow_up=_elsewhere(self.follow_up, there.follow_up),
            api=self.api and msgspec.structs.replace(self.api, base_url=there.api_base_url or self.api.base_url),
        )

    def read_at_the_callback(self) -> set[str]:
        """The parameters that decide something there: one that comes twice is ambiguous."""
        told = {variable.callback for variable in self.variables.values()}
        told |= {prop.callback for prop in self.credential.values()}
        return {self.callback_code_param, "error", "iss", *filter(None, told)}

    def variables_told(self, answer: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
        """`variables`, with what the callback tells of them: where the account really is.

        Raises VariableNotAccepted; a choice is one of the file's own hosts, so that nobody is led elsewhere.
        """
        told = {name: answer[v.callback] for name, v in self.variables.items() if v.callback and answer.get(v.callback)}
        return {**variables, **{name: self.variables[name].accept(name, value) for name, value in told.items()}}

    def urls(self) -> Iterator[tuple[str, str]]:
        """The fields that hold a URL which we call, by name."""
        for name in ENDPOINTS:
            if value := getattr(self, name):
                yield name, value
        if self.follow_up:
            yield "follow_up", self.follow_up.url if isinstance(self.follow_up, FollowUp) else self.follow_up
        if self.check:
            yield "check", _whole(self.check, self.api)
        if self.second_step:
            yield "second_step.endpoint", self.second_step.endpoint
        if self.own_host:
            yield from self._urls_at("own_host", self.own_host)
        for name, there in self.deployments.items():
            yield from self._urls_at(f"deployments.{name}", there)
        for kind, declared in self.kinds.items():
            for name in ("token_endpoint", "check"):
                if value := getattr(declared, name):
                    yield f"kinds.{kind}.{name}", _whole(value, declared.api or self.api)

    def _urls_at(self, where: str, there: Addresses) -> Iterator[tuple[str, str]]:
        names = ("authorization_endpoint", "token_endpoint", "refresh_endpoint", "revocation_endpoint", "follow_up")
        urls = {name: getattr(there, name) for name in names}
        yield from ((f"{where}.{name}", url) for name, url in urls.items() if url)


def _elsewhere(call: str | FollowUp, url: str) -> str | FollowUp:
    """`call`, at another URL if there is one."""
    return msgspec.structs.replace(call, url=url) if url and isinstance(call, FollowUp) else url or call


def _step(step: SecondStep | None, to: Binding) -> SecondStep | None:
    return step and msgspec.structs.replace(step, endpoint=to.url(step.endpoint))


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
