"""
The part that the simulator plays: what a provider's documentation says that its servers take and answer.

It is the typed reading of the `[sandbox]` table of a catalogue file. Defaults are RFC 6749's, so that a provider which
follows it says little. In URLs, `{name}` stands for a part that differs from customer to customer: the whole host if it
stands alone there, else one label of it, or one segment of the path. Where there are several authorization endpoints
and as many URLs of another role, the n-th belong together: they are one deployment, and what was issued by one is
foreign to the others. In answers, `{name}` is such a part, a variable of the OAuth app, or one of `VALUES`; a member
whose value is `{name}` alone keeps its type, and one without a value is left out.
"""

import functools
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from providers import catalogue
from providers.catalogue.shapes import misfits
from providers.sandbox import quirks
from providers.sandbox.api.problems import of_lists
from providers.sandbox.api.vocabulary import Above as Above
from providers.sandbox.api.vocabulary import EventNames as EventNames
from providers.sandbox.api.vocabulary import Feed as Feed
from providers.sandbox.api.vocabulary import Filter as Filter
from providers.sandbox.api.vocabulary import Listing as Listing
from providers.sandbox.api.vocabulary import ListRefusals as ListRefusals
from providers.sandbox.api.vocabulary import Paging as Paging
from providers.sandbox.api.vocabulary import Refusal as Refusal
from providers.sandbox.api.vocabulary import Sorting as Sorting
from providers.sandbox.api.vocabulary import in_full

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
DEPLOYMENT = "n-th deployment"  # one of a grant's parts; no placeholder has such a name
SECOND_SCOPE = "second_scope"  # likewise, and a value of answers
Role = Literal["authorize", "request_token", "token", "refresh", "pushed", "jwks", "call", "list", "feed"]
AuthMethod = Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "client_secret_jwt", "none"]
VALUES = {
    "access_token", "refresh_token", "id_token", "expires_in", "expires_in_text", "refresh_token_expires_in",
    "token_secret",                         # of an OAuth 1.0a access token
    "issued_at", "expires_at",              # of an access token, in seconds since 1970
    "expires_at_iso",
    "scope", "scopes",                      # as granted: one string, a list
    "second_access_token", SECOND_SCOPE,    # if the authorization request asks for a second token
    "client_id", "redirect_uri", "token",   # `token`: the one that the request names
    "token_type", "dpop_jkt",               # DPoP and the key's thumbprint, or Bearer and none
    "account", "account_number", "account_uuid",  # who said yes: "1", 9000001, a UUID
    "now", "now_ms_text", "now_iso", "uuid", "null",
    "error", "description",                 # of a refusal
}  # fmt: skip


class Refusals(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is refused, and how; None stands for the one named beside it. Source of the defaults: RFC 6749, 5.2."""

    body: dict[str, Any] = msgspec.field(
        default_factory=lambda: {"error": "{error}", "error_description": "{description}"}
    )
    unknown_client: Refusal = Refusal("invalid_client", "Client authentication failed.", 401)
    wrong_secret: Refusal | None = None  # unknown_client
    wrong_client_authentication: Refusal | None = None  # wrong_secret
    bad_code: Refusal = Refusal("invalid_grant", "The code is unknown, expired or another client's.")
    used_code: Refusal | None = None  # bad_code
    wrong_redirect_uri: Refusal | None = None  # bad_code
    wrong_code_verifier: Refusal | None = None  # bad_code
    bad_refresh_token: Refusal = Refusal("invalid_grant", "The refresh token is unknown, used, expired or revoked.")
    bad_request: Refusal = Refusal("invalid_request", "A parameter is missing, repeated or malformed.")
    wrong_body: Refusal | None = None  # bad_request
    bad_grant_type: Refusal = Refusal("unsupported_grant_type", "There is no such grant type here.")
    bad_access_token: Refusal = Refusal("invalid_token", "The access token is unknown, expired or revoked.", 401)


Refused = Literal[
    "unknown_client", "wrong_secret", "wrong_client_authentication", "bad_code", "used_code", "wrong_redirect_uri",
    "wrong_code_verifier", "bad_refresh_token", "bad_request", "wrong_body", "bad_grant_type", "bad_access_token",
]  # fmt: skip
STANDS_FOR: dict[Refused, Refused] = {
    "wrong_secret": "unknown_client",
    "wrong_client_authentication": "wrong_secret",
    "used_code": "bad_code",
    "wrong_redirect_uri": "bad_code",
    "wrong_code_verifier": "bad_code",
    "wrong_body": "bad_request",
}


class Scopes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How scopes are asked for and answered. `separators`: any of these characters parts them."""

    parameter: str = "scope"  # "": they are chosen in the provider's console
    separators: str = " "
    joined_by: str = " "
    pattern: str = r"[A-Za-z0-9_.:/-]+"  # what one scope looks like: a wrong separator does not
    required: bool = False
    always: list[str] = []  # granted without being asked for
    default: list[str] = []  # granted if none is asked for
    answered_as: dict[str, str] = {}  # asked = answered; "" is not answered at all
    included_in: dict[str, str] = {}  # a scope = the wider one beside which it is not answered; `*` is the same in both


class RefreshTokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`rotates`: each is good for one use. `renews`: a new one comes, the old one stays. `keeps`: one for good."""

    policy: Literal["rotates", "renews", "keeps", "none"] = "keeps"
    lifetime: int | None = None  # seconds
    hard: int | None = None  # seconds after the consent in which the last of them ends
    rotates_after: int = 0  # seconds in which the same one is answered, before it is replaced
    grace: int = 0  # seconds in which a used one is taken again …
    until_successor_is_used: bool = False  # … but no longer than until then
    reuse_revokes_all: bool = False  # a used one that comes back ends every token of the grant
    ends_access_token: bool = False  # a refresh ends the access token that it replaces
    needs_scope: list[str] = []  # one of these, or no refresh token is issued
    needs_authorization_param: dict[str, str] = {}
    needs_token_param: dict[str, str] = {}


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What else is different for a client whose refresh tokens rotate, where that is a setting, off at first."""

    lifetime: int | None = None  # seconds that an access token lives
    refresh_token_lifetime: int | None = None
    answer: dict[str, Any] | None = None


class SecondToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An access token beside the first, with the scopes that the authorization request's `parameter` asks for.

    It is `{second_access_token}`, its scopes `{second_scope}`; without the parameter there is neither.
    """

    parameter: str
    format: str = "{random}"


class IdToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The id_token. `aud`, `iat`, `exp` and `nonce` are added to `claims`."""

    claims: dict[str, Any]
    algorithm: Literal["RS256", "ES256"] = "RS256"
    needs_scope: str = "openid"  # "": it always comes
    on_refresh: bool = True
    lifetime: int = 3600


class SecretIsJwt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The client secret that is sent is a JWT, signed (ES256) with the private key that is registered."""

    audience: str
    issuer: str
    key_id: str
    longest: int  # seconds it may live


class Proofs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens can be bound to a key (RFC 9449), and `{token_type}` then is DPoP. `nonce`: proofs have to hold one."""

    nonce: bool = False


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Anything else that answers: an API call that names the account, introspection, revocation.

    `token`: where it is: `bearer`, `none`, or `<place>:<name>` with the place `header`, `query`, `form`, `json`, or
    `body` (form or JSON). `bearer:<scheme>`: an `Authorization` of another scheme. `oauth1`: the call is signed.
    """

    url: str | list[str]
    method: Literal["GET", "POST", "DELETE"] = "GET"
    token: str = "bearer"
    client_authentication: list[AuthMethod] = []
    needs_scope: str = ""
    headers: list[str] = []  # that must be there
    body_contains: list[str] = []
    body_is_empty: bool = False
    revokes: bool = False  # the whole grant
    refuses_unknown: bool = False  # where RFC 7009, 2.2 says that a token which is not known is no error
    account: str = ""  # the form parameter that names the account whose grants are revoked, instead of a token …
    account_is: str = ""  # … and what it looks like
    status: int = 200
    answer: Any = None  # None: empty
    issues: bool = False  # `answer` holds a new {access_token}: of a second step, or in place of a refresh
    lifetime: int | None = None  # seconds that it lives; None: as long as the first
    params: dict[str, str] = {}  # of the query or the body, that must be there; "": with any value
    refusal: Refusal | None = None  # of a bad token


class OAuth1(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """OAuth 1.0a (RFC 5849): temporary credentials come first, and each request is signed.

    The token endpoint, scopes, `denial` (which may hold `{token}`; default `oauth_problem`), `answer` (of
    `{access_token}` and `{token_secret}`) and refusals are the script's; a call whose `token` is `oauth1` is signed.
    """

    request_token_endpoint: str | list[str]
    request_token_methods: list[Literal["POST", "GET"]] = msgspec.field(default_factory=lambda: ["POST"])
    signature_methods: list[Literal["HMAC-SHA1", "HMAC-SHA256", "PLAINTEXT"]] = msgspec.field(
        default_factory=lambda: ["HMAC-SHA1"]
    )
    callback_confirmed: bool = True  # whether the answer says oauth_callback_confirmed
    lifetime: int = 600  # seconds, of temporary credentials
    error_format: Literal["form", "json", "text"] = "form"


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One provider's part. `documentation`: the pages that it was written from."""

    documentation: list[str]
    authorization_endpoint: str | list[str] = []  # none: there is no code flow, and its API alone is played
    token_endpoint: str | list[str] = []
    refresh_endpoint: str | list[str] = []  # if given, a refresh is taken there alone
    pushed_authorization_request_endpoint: str | list[str] = []  # RFC 9126
    jwks_uri: str | list[str] = []
    calls: list[Call] = []

    # authorization request
    client_named_by: str = ""  # a part of the address, and variable of the OAuth app: then no client_id is sent
    redirect_uri_named_by: str = ""  # a variable of the OAuth app, which stands for the redirect URI in both requests
    response_type: str = "code"  # "": the provider knows no such parameter
    authorization_params: dict[str, str] = {}  # that must be there; "": with any value
    authorization_param_names: dict[str, str] = {}  # RFC 6749's = theirs; the RFC's is then unknown here
    state_length: tuple[int, int] = (0, 2048)
    scopes: Scopes = Scopes()
    pkce: Literal["required", "supported", "ignored", "refused"] = "ignored"
    response_modes: list[Literal["query", "form_post"]] = msgspec.field(default_factory=lambda: ["query"])
    form_post_for_scopes: bool = False  # asked for any, the answer has to be posted
    denial: dict[str, str] = msgspec.field(
        default_factory=lambda: {"error": "access_denied", "error_description": "The end user denied the request."}
    )
    state_returned: bool = True
    callback_code_param: str = "code"
    callback: dict[str, str] = {}  # parameters beside code and state
    callback_if_scope: dict[str, dict[str, str]] = {}  # scope = parameters that it brings
    callback_signature: str = ""  # a function of sandbox/quirks.py that signs the callback

    # token request
    client_authentication: list[AuthMethod] = msgspec.field(default_factory=lambda: ["client_secret_basic"])
    # what a client can be set to besides: a sandbox OAuth app's variable `token_endpoint_auth_method`
    client_authentication_settings: list[AuthMethod] = []
    client_assertion_audiences: list[str] = []  # of private_key_jwt and client_secret_jwt; default: the token endpoint
    client_assertion_algorithms: list[str] = msgspec.field(default_factory=lambda: ["RS256", "PS256", "ES256", "HS256"])
    client_assertion_lifetime: int = 300  # seconds that one may live
    basic_credentials_encoded: bool = True  # RFC 6749, 2.3.1
    client_secret_jwt: SecretIsJwt | None = None
    token_methods: list[Literal["POST", "GET"]] = msgspec.field(default_factory=lambda: ["POST"])
    token_body: list[Literal["form", "json", "query"]] = msgspec.field(default_factory=lambda: ["form"])
    token_param_names: dict[str, str] = {}  # RFC 6749's = theirs, also in a refresh; the RFC's is then unknown here
    token_params: dict[str, str] = {}  # that must be there, besides RFC 6749's; "": with any value
    token_headers: list[str] = []  # that must be there
    refresh_params: dict[str, str] = {}  # likewise, in a refresh
    refresh_methods: list[Literal["POST", "GET"]] = []  # default: as the token request
    refresh_body: list[Literal["form", "json", "query"]] = []  # default: as the token request
    refresh_client_authentication: list[AuthMethod] = []  # default: as the token request
    refreshes_early: bool = True  # false: a refresh while the access token has more than 30 seconds left is refused
    grant_type_required: bool = True
    redirect_uri_on_exchange: Literal["required", "optional"] = "required"  # sent, it has to be the same
    used_code_revokes: bool = False
    code_lifetime: int = 600

    # token answer; `{random}` is issued as sandbox_ and random characters, so that anybody sees what it is
    code_format: str = "{random}"
    access_token_format: str = "{random}"
    refresh_token_format: str = "{random}"
    lifetime: int | None = None  # seconds that an access token lives, told or not; None: it does not end
    lifetime_param: str = ""  # by which the token request asks for another one …
    lifetime_range: tuple[int, int] = (1, 31_536_000)  # … within these bounds
    ends_only_with_refresh_token: bool = False
    answer_format: Literal["json", "form", "form_unless_json_accepted"] = "json"
    answer: dict[str, Any] = msgspec.field(
        default_factory=lambda: {
            "access_token": "{access_token}",
            "token_type": "Bearer",
            "expires_in": "{expires_in}",
            "refresh_token": "{refresh_token}",
            "scope": "{scope}",
            "id_token": "{id_token}",
        }
    )
    refresh_answer: dict[str, Any] | None = None  # None: the same
    refresh: RefreshTokens = RefreshTokens()
    rotation: Rotation | None = None
    second_token: SecondToken | None = None
    id_token: IdToken | None = None
    errors: Refusals = Refusals()
    dpop: Proofs | None = None
    oauth1: OAuth1 | None = None

    # its API
    lists: Listing = Listing()  # what all collections have in common
    collections: dict[str, Listing] = {}
    feed: Feed | None = None

    def refusal(self, what: Refused) -> Refusal:
        """How `what` is refused; where the documentation tells no difference, as what it stands for."""
        refusal: Refusal | None = getattr(self.errors, what)
        return refusal if refusal is not None else self.refusal(STANDS_FOR[what])


# ---- addresses -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One documented URL. `call` belongs to the role of that name, `listing` to `list` and `feed`.

    `collection`: what is listed. `deployment`: its number, if they differ.
    """

    role: Role
    methods: tuple[str, ...]
    url: str
    call: Call | None = None
    listing: Listing | None = None
    collection: str = ""
    deployment: str = ""

    @property
    def pattern(self) -> re.Pattern[str]:
        """What is at this address; made when it is first asked for, since most providers are never played."""
        return _pattern(self.url)


@dataclass(frozen=True, slots=True)
class Simulated:
    """A provider on stage: its script, and its URLs."""

    slug: str
    name: str
    script: Script
    endpoints: tuple[Endpoint, ...]

    def at(self, address: str) -> Iterator[tuple[Endpoint, dict[str, str]]]:
        """The endpoints at `address` (a URL without its scheme), with what its variable parts are."""
        for endpoint in self.endpoints:
            if match := endpoint.pattern.fullmatch(address):
                of_one = {DEPLOYMENT: endpoint.deployment} if endpoint.deployment else {}
                yield endpoint, match.groupdict() | of_one


def simulated(slug: str) -> Simulated | None:
    """The provider `slug`; None if the catalogue does not have it, or its file does not say what it does."""
    return _load(settings.PROVIDERS_DIR).get(slug)


def load() -> Mapping[str, Simulated]:
    """Every provider that can be played. Raises ImproperlyConfigured, which names the file and what is wrong."""
    return _load(settings.PROVIDERS_DIR)


def forget() -> None:
    """See catalogue.forget()."""
    _load.cache_clear()


@functools.cache
def _load(_own_folder: str) -> dict[str, Simulated]:
    played = {}
    for slug, provider in catalogue.load().items():
        if provider.sandbox:
            try:
                played[slug] = read(slug, provider.name, provider.sandbox, provider.variables.keys())
            except NotPlayable as exc:
                problem = catalogue.problem_of(catalogue.path_of(slug), str(exc), exc.keys)
                raise ImproperlyConfigured(str(problem)) from exc
    return played


class NotPlayable(ImproperlyConfigured):
    """A `[sandbox]` table that cannot be used. `keys`: where in the file."""

    def __init__(self, message: str, keys: list[str | int]) -> None:
        super().__init__(f"[sandbox]: {message}")
        self.keys = ["sandbox", *keys]


def read(slug: str, name: str, table: Mapping[str, Any], variables: Any = ()) -> Simulated:
    """The `[sandbox]` table of `slug`; answers may use `variables` besides. Raises NotPlayable."""
    try:
        script = _in_full(_with_lists(msgspec.convert(table, Script)))
    except msgspec.ValidationError as exc:
        keys, words = next(misfits(table, Script))
        raise NotPlayable(words, keys) from exc
    endpoints = tuple(_endpoints(script))
    known = VALUES | set(variables) | {name for endpoint in endpoints for name in PLACEHOLDER.findall(endpoint.url)}
    if problems := _problems(script, known):
        raise NotPlayable(problems[0], [])
    return Simulated(slug=slug, name=name, script=script, endpoints=endpoints)


def _with_lists(script: Script) -> Script:
    """With what each list leaves out, because `lists`, or the first of several that list the same, says it."""
    collections = {}
    for name, listing in script.collections.items():
        whole = in_full(listing, script.lists)
        also = [in_full(other, whole) for other in listing.also]
        collections[name] = msgspec.structs.replace(whole, also=also)
    feed = script.feed and msgspec.structs.replace(script.feed, listing=in_full(script.feed.listing, script.lists))
    return msgspec.structs.replace(script, collections=collections, feed=feed)


def _in_full(script: Script) -> Script:
    """With what the protocol says itself: OAuth 1.0a has neither a response type nor a state nor refresh tokens."""
    if script.oauth1 is None:
        return script
    denial = {"oauth_problem": "permission_denied"} if "error" in script.denial else script.denial
    return msgspec.structs.replace(
        script,
        response_type="",
        state_returned=False,
        pkce="ignored",
        refresh=RefreshTokens(policy="none"),
        denial=denial,
    )


def _endpoints(script: Script) -> Iterator[Endpoint]:
    deployments = len(_listed(script.authorization_endpoint))
    for role, methods, urls, call in _documented(script):
        are_told_apart = len(urls) == deployments > 1
        for number, url in enumerate(urls, start=1):
            yield Endpoint(role, (*methods,), url, call, deployment=str(number) if are_told_apart else "")
    for name, listing in script.collections.items():
        for one in [listing, *listing.also]:
            for url in _listed(one.url):
                yield Endpoint("list", (one.method,), url, listing=one, collection=name)
    if script.feed:
        for url in _listed(script.feed.listing.url):
            yield Endpoint("feed", (script.feed.listing.method,), url, listing=script.feed.listing)


def _documented(script: Script) -> Iterator[tuple[Role, Iterable[str], list[str], Call | None]]:
    yield "authorize", ["GET"], _listed(script.authorization_endpoint), None
    if oauth1 := script.oauth1:
        yield "request_token", oauth1.request_token_methods, _listed(oauth1.request_token_endpoint), None
    methods = dict.fromkeys([*script.token_methods, *script.refresh_methods])
    yield "token", methods, _listed(script.token_endpoint), None
    yield "refresh", script.refresh_methods or script.token_methods, _listed(script.refresh_endpoint), None
    yield "pushed", ["POST"], _listed(script.pushed_authorization_request_endpoint), None
    yield "jwks", ["GET"], _listed(script.jwks_uri), None
    for call in script.calls:
        yield "call", [call.method], _listed(call.url), call


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@functools.cache
def _pattern(url: str) -> re.Pattern[str]:
    address, _, _ = url.removeprefix("https://").partition("?")  # the query of an endpoint is no part of where it is
    host, slash, path = address.partition("/")
    whole_host, label, segment = r"[a-z0-9.-]{1,253}(?::[0-9]{1,5})?", r"[a-z0-9-]{1,63}", r"[A-Za-z0-9._~:@-]{1,253}"
    seen: set[str] = set()

    def part(text: str, stands_for: str) -> str:
        pieces = PLACEHOLDER.split(text)
        for index in range(1, len(pieces), 2):
            name = pieces[index]
            pieces[index] = f"(?P={name})" if name in seen else f"(?P<{name}>{stands_for})"
            seen.add(name)
        return "".join(piece if index % 2 else re.escape(piece) for index, piece in enumerate(pieces))

    is_whole = PLACEHOLDER.fullmatch(host) is not None
    return re.compile(part(host, whole_host if is_whole else label) + slash + part(path, segment), re.ASCII)


def _problems(script: Script, known: set[str]) -> list[str]:
    formats = [script.code_format, script.access_token_format, script.refresh_token_format]
    formats += [script.second_token.format] if script.second_token else []
    told = [f"{text} must hold {{random}}" for text in formats if "{random}" not in text]
    if script.callback_signature and not hasattr(quirks, script.callback_signature):
        told.append(f"callback_signature names {script.callback_signature}, which is not in sandbox/quirks.py")
    templates: list[Any] = [script.answer, script.refresh_answer, script.callback, script.errors.body]
    templates += [script.rotation and script.rotation.answer]
    templates += [call.answer for call in script.calls] + [script.id_token and script.id_token.claims]
    used = {name for template in templates for name in PLACEHOLDER.findall(str(template))}
    told += of_lists(script.collections, script.feed, known)
    return told + [f"{{{name}}} is no value that an answer can hold" for name in sorted(used - known)]


def issued(look: str) -> str:
    """A code or token that looks like the provider's, and says that it opens nothing outside."""
    return look.replace("{random}", f"sandbox_{secrets.token_urlsafe(24)}")
