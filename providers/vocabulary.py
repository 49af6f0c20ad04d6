"""The parts of a provider's description: what stands in the tables of its catalogue file."""

from typing import Annotated, Literal

import msgspec

Seconds = Annotated[int, msgspec.Meta(ge=1, le=315_360_000)]  # ten years at most


class Expiry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the lifetime of an access token is read, and what the documentation says where the answer is silent.

    `fixed`: the answer is not to be relied on; `never`: it does not end unless the answer says so. What is assumed
    (`seconds`) is for keeping a token fresh, and is not told as the provider's word.
    """

    source: Literal["expires_in", "expires_at", "fixed", "never"] = "expires_in"
    seconds: Seconds | None = None  # the documented lifetime: of `fixed`, and where the answer is silent
    unit: Literal["s", "ms", "iso8601"] = "s"


class RefreshTokenLifetime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """How long a refresh token lives, in seconds: unused (`idle`), at most (`hard`)."""

    idle: Seconds | None = None
    hard: Seconds | None = None
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
    auth: Literal["client", "client_secret_basic", "client_secret_post", "bearer", "none"] = "client"
    unknown_status: int = 0  # by which it says that there is no such token; RFC 7009, 2.2 has it say 200
    # It ends all that the account ever granted this app, not this token alone: what nobody fetched is then erased
    # without being revoked, since an earlier credential of the same account would die with it.
    whole_grant: bool = False


class FollowUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One further call: that which tells whose tokens these are, or a `check`."""

    url: str
    method: Literal["GET", "POST"] = "GET"
    headers: dict[str, str] = {}  # values may name {client_id}
    json: dict[str, str] | None = None  # a GraphQL query, say
    form: dict[str, str] | None = None  # values may name {token}, {client_id} and {client_secret}
    auth: Literal["bearer", "none"] = "bearer"
    success: Success | None = None  # of a check


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a credential's API may be called: so many requests in `interval` seconds."""

    allowed_requests: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    interval: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 1


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an access token is sent to the provider's API: as `Authorization: <scheme> …`, in `header`, or in the query.

    `params`: what every call carries instead, where there is no token; their values name properties.
    `limit_headers`: by which the API says how long to wait, beside `Retry-After`. `limit_mark`: what a refusal with
    status 400 holds, if it is about the number of calls.
    """

    base_url: str
    scheme: str = "Bearer"
    header: str = ""
    query: str = ""  # the parameter, where the API takes nothing else (RFC 6750, 2.3 warns of it)
    params: dict[str, str] = {}
    rate_limit: RateLimit | None = None
    limit_headers: list[str] = []
    limit_mark: str = ""


class SecondStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token request that follows the exchange at once: its access token becomes the one that lasts.

    `params` may name `{access_token}`, `{client_id}` and `{client_secret}`.
    """

    endpoint: str
    params: dict[str, str]
    method: Literal["POST", "GET"] = "POST"


class Addresses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Those that are others elsewhere: at a host of the customer's own, or at a deployment such as a test system.

    `bound()` puts them in place of the usual ones.
    """

    authorization_endpoint: str = ""
    token_endpoint: str = ""
    refresh_endpoint: str = ""
    revocation_endpoint: str = ""
    follow_up: str = ""
    api_base_url: str = ""


class ToldBy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another property, whose beginning says what this one is."""

    property: str
    prefixes: dict[str, bool | int | str]


class Property(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing kept beside the tokens, and the single place where it is read: a path, or a name.

    In a path, `.` goes into an object, a number into a list and `*` through all of it. `identity` properties tell
    two upstream accounts apart (a secret by its keyed fingerprint); at least one of them must have a value. Where an
    import has none of them, `fallback_identity` ones do. `required = false`: the provider does not always say. The
    properties of a `Kind` are read nowhere: they are imported, `pattern` must match the whole value, and one with
    `variable` keeps to that variable's rule. `default`, `told_by`: what an import that leaves it out means.
    """

    token_response: str = ""
    callback: str = ""
    id_token: str = ""
    follow_up: str = ""
    variable: str = ""
    pattern: str = ""  # its first group is the value; for values that stand inside another, as in an identity URL
    identity: bool = False
    fallback_identity: bool = False
    secret: bool = False
    required: bool = True
    type: Literal["string", "integer", "boolean", "array"] = "string"
    values: list[str] = []  # the only ones allowed: of one that stands in an address
    default: str = ""  # of a kind's; may hold variables
    told_by: ToldBy | None = None  # of a kind's

    @property
    def source(self) -> tuple[str, str]:
        """Where to look, and for what."""
        places = ("token_response", "callback", "id_token", "follow_up", "variable")
        given = [(place, getattr(self, place)) for place in places if getattr(self, place)]
        if len(given) != 1:
            raise ValueError(f"a property is read in exactly one place of {', '.join(places)}")
        return given[0]


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A kind of credential that the provider offers beside the code flow's. URLs and parameters name its properties.

    A URL that begins with `/` is one of the API, below its base URL.
    `key`: its one secret is what the API takes. `password`: as HTTP Basic, or as `api.params` says.
    `client_credentials`: an access token is minted for them (RFC 6749, 4.4). `app_jwt`: one is minted for a JWT that
    the OAuth app's private key signs. `oauth1`: each call is signed (RFC 5849); there is no token to hand over.
    """

    label: str  # what people call it: "API key"
    auth: Literal["key", "password", "client_credentials", "app_jwt", "oauth1"]
    properties: dict[str, Property]
    oauth_app: bool = False  # it belongs to an OAuth app, as those of the code flow do
    api: Api | None = None  # None: the provider's
    check: "str | FollowUp" = ""  # the cheapest authenticated call; a mint is one by itself
    realm: str = ""  # of oauth1 (RFC 5849, 3.5.1)
    token_endpoint: str = ""  # where an access token is minted
    token_params: dict[str, str] = {}  # one whose property has no value is left out
    token_headers: dict[str, str] = {}
    token_response_names: dict[str, str] = {}
    expiry: Expiry = Expiry()
