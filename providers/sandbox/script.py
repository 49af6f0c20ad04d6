"""
The part that the simulator plays: what a provider's documentation says that its servers take and answer.

It is the typed reading of the `[sandbox]` table of a catalogue file. Defaults are RFC 6749's, so that a provider which
follows it says little. In URLs, `{name}` stands for a part that differs from customer to customer: the whole host if it
stands alone there, else one label of it, or one segment of the path. In answers, `{name}` is such a part, a variable
of the OAuth app, or one of `VALUES`; a member whose value is `{name}` alone keeps its type, and one without a value is
left out.
"""

import functools
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from providers import catalogue

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
AuthMethod = Literal["client_secret_basic", "client_secret_post", "none"]
VALUES = {
    "access_token", "refresh_token", "id_token", "expires_in", "expires_in_text", "refresh_token_expires_in",
    "issued_at", "expires_at",              # of an access token, in seconds since 1970
    "scope", "scopes",                      # as granted: one string, a list
    "client_id", "redirect_uri", "token",   # `token`: the one that the request names
    "account", "account_number", "account_uuid",  # who said yes: "1", 9000001, a UUID
    "now", "now_ms_text", "now_iso", "uuid", "null",
    "error", "description",                 # of a refusal
}  # fmt: skip


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one thing is refused. `body`: instead of the one that all of the provider's refusals share."""

    error: str
    description: str = ""
    status: int = 400
    body: dict[str, Any] | None = None


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


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Anything else that answers: an API call that names the account, introspection, revocation.

    `token`: where it is: `bearer`, `none`, or `<place>:<name>` with the place `header`, `query`, `form`, `json`, or
    `body` (form or JSON).
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
    refusal: Refusal | None = None  # of a bad token


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One provider's part. `documentation`: the pages that it was written from."""

    documentation: list[str]
    authorization_endpoint: str | list[str]
    token_endpoint: str | list[str]
    jwks_uri: str | list[str] = []
    calls: list[Call] = []

    # authorization request
    client_named_by: str = ""  # a part of the address, and variable of the OAuth app: then no client_id is sent
    response_type: str = "code"  # "": the provider knows no such parameter
    authorization_params: dict[str, str] = {}  # that must be there; "": with any value
    state_length: tuple[int, int] = (0, 2048)
    scopes: Scopes = Scopes()
    pkce: Literal["required", "supported", "ignored", "refused"] = "ignored"
    response_modes: list[Literal["query", "form_post"]] = msgspec.field(default_factory=lambda: ["query"])
    form_post_for_scopes: bool = False  # asked for any, the answer has to be posted
    denial: dict[str, str] = msgspec.field(
        default_factory=lambda: {"error": "access_denied", "error_description": "The end user denied the request."}
    )
    callback: dict[str, str] = {}  # parameters beside code and state
    callback_if_scope: dict[str, dict[str, str]] = {}  # scope = parameters that it brings
    callback_signature: Literal["", "shopify"] = ""

    # token request
    client_authentication: list[AuthMethod] = msgspec.field(default_factory=lambda: ["client_secret_basic"])
    basic_credentials_encoded: bool = True  # RFC 6749, 2.3.1
    client_secret_jwt: SecretIsJwt | None = None
    token_body: list[Literal["form", "json"]] = msgspec.field(default_factory=lambda: ["form"])
    token_params: dict[str, str] = {}  # that must be there, besides RFC 6749's
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
    answer_format: Literal["json", "form_unless_json_accepted"] = "json"
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
    id_token: IdToken | None = None
    errors: Refusals = Refusals()

    def refusal(self, what: Refused) -> Refusal:
        """How `what` is refused; where the documentation tells no difference, as what it stands for."""
        refusal: Refusal | None = getattr(self.errors, what)
        return refusal if refusal is not None else self.refusal(STANDS_FOR[what])


# ---- addresses -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One documented URL. `call` belongs to the role of that name."""

    role: Literal["authorize", "token", "jwks", "call"]
    methods: tuple[str, ...]
    pattern: re.Pattern[str]
    call: Call | None = None


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
                yield endpoint, match.groupdict()


def simulated(slug: str) -> Simulated | None:
    """The provider `slug`; None if the catalogue does not have it, or its file does not say what it does."""
    return _load(settings.PROVIDERS_DIR).get(slug)


def load() -> Mapping[str, Simulated]:
    """Every provider that can be played. Raises ImproperlyConfigured, which names the file and what is wrong."""
    return _load(settings.PROVIDERS_DIR)


@functools.cache
def _load(_own_folder: str) -> dict[str, Simulated]:
    return {
        slug: read(slug, provider.name, provider.sandbox, provider.variables.keys())
        for slug, provider in catalogue.load().items()
        if provider.sandbox
    }


def read(slug: str, name: str, table: Mapping[str, Any], variables: Any = ()) -> Simulated:
    """The `[sandbox]` table of `slug`; answers may use `variables` besides. Raises ImproperlyConfigured."""
    try:
        script = msgspec.convert(table, Script)
    except msgspec.ValidationError as exc:
        raise ImproperlyConfigured(f"{slug}.toml: [sandbox]: {exc}") from exc
    endpoints = tuple(_endpoints(script))
    known = VALUES | set(variables) | {name for endpoint in endpoints for name in endpoint.pattern.groupindex}
    if problems := _problems(script, known):
        raise ImproperlyConfigured(f"{slug}.toml: [sandbox]: {problems[0]}")
    return Simulated(slug=slug, name=name, script=script, endpoints=endpoints)


def _endpoints(script: Script) -> Iterator[Endpoint]:
    for url in _listed(script.authorization_endpoint):
        yield Endpoint("authorize", ("GET",), _pattern(url))
    for url in _listed(script.token_endpoint):
        yield Endpoint("token", ("POST",), _pattern(url))
    for url in _listed(script.jwks_uri):
        yield Endpoint("jwks", ("GET",), _pattern(url))
    for call in script.calls:
        for url in _listed(call.url):
            yield Endpoint("call", (call.method,), _pattern(url), call)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _pattern(url: str) -> re.Pattern[str]:
    host, slash, path = url.removeprefix("https://").partition("/")
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
    formats = (script.code_format, script.access_token_format, script.refresh_token_format)
    problems = [f"{text} must hold {{random}}" for text in formats if "{random}" not in text]
    templates: list[Any] = [script.answer, script.refresh_answer, script.callback, script.errors.body]
    templates += [script.rotation and script.rotation.answer]
    templates += [call.answer for call in script.calls] + [script.id_token and script.id_token.claims]
    used = {name for template in templates for name in PLACEHOLDER.findall(str(template))}
    return problems + [f"{{{name}}} is no value that an answer can hold" for name in sorted(used - known)]


def issued(look: str) -> str:
    """A code or token that looks like the provider's, and says that it opens nothing outside."""
    return look.replace("{random}", f"sandbox_{secrets.token_urlsafe(24)}")
