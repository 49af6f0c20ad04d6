"""
A provider as its catalogue file describes it: facts and departures from the RFCs, as data.

Names and defaults are those of RFC 8414, RFC 9207 and OpenID Connect where they have one, so that a provider which
follows them says little. A URL, and the values of parameters, may hold `{variables}`; `bound()` fills them in.
"""

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Literal
from urllib.parse import quote, urlsplit

import msgspec

from providers.variables import Variable, VariableNotAccepted

AuthMethod = Literal["client_secret_basic", "client_secret_post", "none"]
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class Expiry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the lifetime of an access token is read, and what the documentation says where the answer is silent.

    `fixed`: the answer is not to be relied on; `never`: it does not end unless the answer says so. What is assumed
    (`seconds`) is for keeping a token fresh, and is not told as the provider's word.
    """

    source: Literal["expires_in", "expires_at", "fixed", "never"] = "expires_in"
    seconds: int | None = None  # the documented lifetime: of `fixed`, and where the answer is silent
    unit: Literal["s", "ms", "iso8601"] = "s"


class RefreshTokenLifetime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """How long a refresh token lives, in seconds: unused (`idle`), at most (`hard`), after its rotation (`grace`)."""

    idle: int | None = None
    hard: int | None = None
    grace: int = 0
    source: str = ""  # path in the token answer that says so


class Success(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an answer with status 200 must say to be one."""

    path: str
    equals: bool | int | str


class ErrorMembers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Paths of the error code in a refusal, where they are not RFC 6749's."""

    code: str = "error"
    codes: dict[str, str] = {}  # theirs = RFC 6749's


class Revocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a revocation request departs from RFC 7009. `params` may name `{token}` and credential properties."""

    method: Literal["POST", "GET", "DELETE"] = "POST"
    token: Literal["access_token", "refresh_token"] = "refresh_token"
    params: dict[str, str] | None = None  # instead of RFC 7009's `token` and `token_type_hint`
    format: Literal["form", "json", "query", "none"] = "form"
    auth: Literal["client", "client_secret_basic", "bearer", "none"] = "client"
    # It ends all that the account ever granted this app, not this token alone: what nobody fetched is then erased
    # without being revoked, since an earlier credential of the same account would die with it.
    whole_grant: bool = False


class FollowUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one further call that tells whose tokens these are."""

    url: str
    method: Literal["GET", "POST"] = "GET"
    headers: dict[str, str] = {}
    json: dict[str, str] | None = None  # a GraphQL query, say
    form: dict[str, str] | None = None  # values may name {token}, {client_id} and {client_secret}
    auth: Literal["bearer", "none"] = "bearer"


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an access token is sent to the provider's API: as `Authorization: <scheme> …`, or in `header`."""

    base_url: str
    scheme: str = "Bearer"
    header: str = ""


class OwnHost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses that are others where the customer chose the host; `bound()` puts them in place of the usual ones."""

    revocation_endpoint: str = ""
    follow_up: str = ""
    api_base_url: str = ""


class Property(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing kept beside the tokens, and the single place where it is read: a path, or a name.

    In a path, `.` goes into an object, a number into a list and `*` through all of it. `identity` properties tell
    two upstream accounts apart (a secret by its keyed fingerprint); at least one of them must have a value.
    `required = false`: the provider does not always say. The properties of a `Kind` are read nowhere: they are
    imported.
    """

    token_response: str = ""
    callback: str = ""
    id_token: str = ""
    follow_up: str = ""
    variable: str = ""
    pattern: str = ""  # its first group is the value; for values that stand inside another, as in an identity URL
    identity: bool = False
    secret: bool = False
    required: bool = True
    type: Literal["string", "integer", "boolean", "array"] = "string"

    @property
    def source(self) -> tuple[str, str]:
        """Where to look, and for what."""
        places = ("token_response", "callback", "id_token", "follow_up", "variable")
        given = [(place, getattr(self, place)) for place in places if getattr(self, place)]
        if len(given) != 1:
            raise ValueError(f"a property is read in exactly one place of {', '.join(places)}")
        return given[0]


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of credential that the provider offers beside the code flow's."""

    properties: dict[str, Property] = {}


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The typed reading of one file of the catalogue; README of the catalogue: docs/adding-a-provider.md."""

    slug: str
    name: str
    docs: str
    checked: datetime.date
    confirmed_by: int = 0
    setup: list[str] = []

    # the provider's metadata (RFC 8414)
    authorization_endpoint: str
    token_endpoint: str
    refresh_endpoint: str = ""
    revocation_endpoint: str = ""
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
    def takes_public_clients(self) -> bool:
        return "none" in self.token_endpoint_auth_methods_supported

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

        def url(template: str) -> str:
            if not template:
                return ""
            filled = fill(template, values)
            return f"{sandbox_url}/{filled.partition('://')[2]}" if sandbox_url else filled

        def text(template: str) -> str:
            return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)

        def params(templates: Mapping[str, str]) -> dict[str, str]:
            unknown = self.variables.keys() - values.keys()
            known = {name: value for name, value in templates.items() if unknown.isdisjoint(PLACEHOLDER.findall(value))}
            return {name: text(value) for name, value in known.items()}

        there = self._at_own_host() if self.is_at_own_host(values) else self
        follow_up = there.follow_up
        if isinstance(follow_up, FollowUp):
            follow_up = msgspec.structs.replace(follow_up, url=url(follow_up.url))
        else:
            follow_up = url(follow_up)
        return msgspec.structs.replace(
            self,
            own_host=None,
            authorization_endpoint=url(self.authorization_endpoint),
            token_endpoint=url(self.token_endpoint),
            refresh_endpoint=url(self.refresh_endpoint),
            revocation_endpoint=url(there.revocation_endpoint),
            jwks_uri=url(self.jwks_uri),
            issuer=text(self.issuer),
            follow_up=follow_up,
            api=there.api and msgspec.structs.replace(there.api, base_url=text(there.api.base_url)),
            authorization_params=params(self.authorization_params),
            token_params=params(self.token_params),
            refresh_params=params(self.refresh_params),
        )

    def _at_own_host(self) -> "Provider":
        own = self.own_host or OwnHost()
        return msgspec.structs.replace(
            self,
            revocation_endpoint=own.revocation_endpoint or self.revocation_endpoint,
            follow_up=own.follow_up or self.follow_up,
            api=self.api and msgspec.structs.replace(self.api, base_url=own.api_base_url or self.api.base_url),
        )

    def urls(self) -> Iterator[tuple[str, str]]:
        """The fields that hold a URL which we call, by name."""
        for name in ("authorization_endpoint", "token_endpoint", "refresh_endpoint", "revocation_endpoint", "jwks_uri"):
            if value := getattr(self, name):
                yield name, value
        if self.follow_up:
            yield "follow_up", self.follow_up.url if isinstance(self.follow_up, FollowUp) else self.follow_up
        for name in ("revocation_endpoint", "follow_up"):
            if self.own_host and (value := getattr(self.own_host, name)):
                yield f"own_host.{name}", value


def fill(template: str, values: Mapping[str, str]) -> str:
    """The URL `template` with its variables; what they say can change neither the shape nor the rest of the host.

    Names that `values` lacks stay as they are. Raises VariableNotAccepted.
    """
    scheme, host_template = urlsplit(template)[:2]
    host = PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), host_template)
    rest = PLACEHOLDER.sub(
        lambda match: quote(values[match[1]], safe="") if match[1] in values else match[0],
        template.removeprefix(f"{scheme}://{host_template}"),
    )
    if urlsplit(f"{scheme}://{host}{rest}").netloc != host:
        raise VariableNotAccepted("host", "does not make a host")
    return f"{scheme}://{host}{rest}"
