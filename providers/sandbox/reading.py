"""What a request says: its parameters, and which client sends it."""

import base64
import binascii
import hmac
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_plus

import msgspec
from django.http import HttpRequest, QueryDict
from django.views.decorators.debug import sensitive_variables
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from providers.sandbox import assertions
from providers.sandbox.models import Registration
from providers.sandbox.script import AuthMethod, Refusal, Refused, Script, SecretIsJwt, Simulated

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


class Refuse(Exception):
    """The request is refused as the script says; `why` is told beside the provider's own words, to help a developer."""

    def __init__(self, what: Refused, why: str, *, refusal: Refusal | None = None) -> None:
        super().__init__(why)
        self.what = what
        self.why = why
        self.refusal = refusal
        self.headers: dict[str, str] = {}  # of the answer, besides


# ---- parameters ------------------------------------------------------------------------------------------------------


def single(values: QueryDict) -> dict[str, str]:
    """Each parameter once. Raises Refuse. Source: RFC 6749, 3.1 and 3.2."""
    if repeated := [name for name, given in values.lists() if len(given) > 1 and not name.endswith("[]")]:
        raise Refuse("bad_request", f"{len(repeated)} parameters are repeated.")
    return clean({name: given[-1] for name, given in values.lists() if given})


def clean(params: dict[str, str]) -> dict[str, str]:
    """`params`, if they are text that a database takes. Raises Refuse."""
    for text in (*params, *params.values()):
        if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise Refuse("bad_request", "A parameter is no text.")
    return params


def in_rfc_words(params: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """`params` under RFC 6749's names, where the provider has its own: by theirs alone they are known to it."""
    words = {theirs: name for name, theirs in names.items()}
    return {words.get(name, name): value for name, value in params.items() if name not in names}


def body_format(request: HttpRequest) -> str:
    """`form`, `json`, `empty`, or `other`."""
    if not request.body:
        return "empty"
    return {FORM: "form", JSON: "json"}.get((request.content_type or "").lower(), "other")


def body(request: HttpRequest, formats: Sequence[str]) -> dict[str, str]:
    """The parameters of the body, which has to be in one of `formats`. Raises Refuse."""
    given = body_format(request)
    if "query" in formats and given == "empty":
        return single(request.GET)
    if given == "empty":
        return {}
    if given not in formats:
        raise Refuse("wrong_body", f"The body must be {' or '.join(formats)}, and is not.")
    return single(QueryDict(request.body, encoding="utf-8")) if given == "form" else _document(request.body)


def _document(content: bytes) -> dict[str, str]:
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as exc:
        raise Refuse("wrong_body", "The body is not JSON.") from exc
    if not isinstance(document, dict):
        raise Refuse("wrong_body", "The body is not a JSON object.")
    return clean({name: text for name, value in document.items() if (text := _text(value)) is not None})


def _text(value: Any) -> str | None:
    if isinstance(value, bool | dict | list | None):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str) else f"{value:.15g}"


# ---- client authentication (RFC 6749, 2.3) ---------------------------------------------------------------------------


@sensitive_variables()
def authenticate(
    request: HttpRequest, player: Simulated, params: dict[str, str], methods: Sequence[AuthMethod]
) -> Registration:
    """The client that sends the request, by one of `methods`. Raises Refuse."""
    method, client_id, client_secret = _credentials(request, player.script, params)
    known = list(Registration.objects.filter(slug=player.slug, client_id=client_id))
    methods = assertions.methods_of(known, player.script, methods)
    if method not in methods:
        raise Refuse("wrong_client_authentication", f"{method} is not taken here, but {' or '.join(methods)}.")
    if not known:
        raise Refuse("unknown_client", "There is no such client.")
    for registration in known:
        if "client_assertion" in params:
            if assertions.is_authentic(registration, method, params, player, request.path):
                return registration
        elif method == "none" and player.script.refresh_client_authentication == methods == ["none"]:
            return registration  # a refresh that confidential clients make without their secret, too
        elif _is_authentic(registration, client_secret, player.script.client_secret_jwt):
            return registration
    raise Refuse("wrong_secret", "The client secret is wrong, or missing.")


@sensitive_variables()
def _credentials(request: HttpRequest, script: Script, params: dict[str, str]) -> tuple[AuthMethod, str, str]:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    in_body = "client_secret" in params
    if "client_assertion" in params and not in_body and scheme.lower() != "basic":
        return assertions.credentials(params)
    if scheme.lower() != "basic":
        method: AuthMethod = "client_secret_post" if in_body else "none"
        return method, params.get("client_id", ""), params.get("client_secret", "")
    if in_body:
        raise Refuse("bad_request", "The client authenticates in two ways at once.")
    try:
        client_id, _, client_secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as exc:
        raise Refuse("wrong_client_authentication", "The Basic credentials cannot be read.") from exc
    if script.basic_credentials_encoded:
        client_id, client_secret = unquote_plus(client_id), unquote_plus(client_secret)
    clean({"client_id": client_id, "client_secret": client_secret})
    if params.get("client_id", client_id) != client_id:
        raise Refuse("bad_request", "The body names another client than the header.")
    return "client_secret_basic", client_id, client_secret


@sensitive_variables()
def _is_authentic(registration: Registration, client_secret: str, is_jwt: SecretIsJwt | None) -> bool:
    registered = registration.client_secret
    if registered is None:
        return not client_secret
    if is_jwt:
        return _is_signed(registration, registered, client_secret, is_jwt)
    return hmac.compare_digest(registered.encode(), client_secret.encode())


@sensitive_variables()
def _is_signed(registration: Registration, private_key: str, client_secret: str, wanted: SecretIsJwt) -> bool:
    """Whether the JWT is signed with the client's private key, and made out as the provider wants it."""

    def filled(template: str) -> str:
        return PLACEHOLDER.sub(lambda match: str(registration.variables.get(match[1], "")), template)

    try:
        token = jwt.decode(client_secret, ECKey.import_key(private_key), algorithms=["ES256"])
        jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "value": filled(wanted.issuer)},
            aud={"essential": True, "value": wanted.audience},
            sub={"essential": True, "value": registration.client_id},
            iat={"essential": True},
            exp={"essential": True},
        ).validate(token.claims)
        lives = token.claims["exp"] - token.claims["iat"]
    except (JoseError, ValueError, KeyError, TypeError):
        return False
    return token.header.get("kid") == filled(wanted.key_id) and 0 < lives <= wanted.longest
