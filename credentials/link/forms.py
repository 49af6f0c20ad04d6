"""What comes in at the link endpoints, read strictly: bytes as they were sent, and nothing twice."""

import base64
import binascii
import re
from collections.abc import Container, Mapping
from urllib.parse import unquote, unquote_plus, unquote_to_bytes

import msgspec
from django.http import HttpRequest

from credentials.link.errors import InvalidClient, InvalidRequest, UnsupportedMediaType
from sequin_auth.lib import redaction
from sequin_auth.lib.api.errors import ApiError
from sequin_auth.lib.api.parsing import parse_json
from sequin_auth.lib.api.paths import canonical_uuid as canonical_uuid  # everybody upstairs reads ids by it

START_PARAMETERS = (
    "client_id",
    "redirect_uri",
    "state",
    "scope",
    "debug",
    "response_type",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
)


class Query:
    """A query string or form body, with every value as bytes. (QueryDict replaces what is not UTF-8, unasked.)"""

    def __init__(self, raw: str | bytes) -> None:
        text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
        self._values: dict[str, list[bytes]] = {}
        for pair in text.split("&"):
            name, _, value = pair.partition("=")
            if name:
                self._values.setdefault(unquote_plus(name), []).append(unquote_to_bytes(value.replace("+", " ")))

    def raw(self, name: str) -> bytes | None:
        """The value's bytes; None if it is absent or empty, which is the same (RFC 6749, 3.1)."""
        return next(iter(self._values.get(name, [])), b"") or None

    def text(self, name: str) -> str:
        """The value, empty if it is absent; what is not UTF-8 becomes U+FFFD and equals nothing that we know."""
        return (self.raw(name) or b"").decode("utf-8", "replace")

    def repeated(self, *names: str) -> list[str]:
        return [name for name in names or self._values if len(self._values.get(name, [])) > 1]

    def as_dict(self) -> dict[str, str]:
        """The first value of each name."""
        return {name: self.text(name) for name in self._values}

    def completed_by(self, page: "Query", *, names: Container[str]) -> "Query":
        """This query, with what `page` says of `names` and nothing else of it."""
        both = Query("")
        both._values = {name: values for name, values in page._values.items() if name in names} | self._values
        return both

    @property
    def wants_debug(self) -> bool:
        return self.raw("debug") in {b"true", b"1"}


def query_of(request: HttpRequest) -> Query:
    return Query(request.META.get("QUERY_STRING", ""))


def is_prefetch(request: HttpRequest) -> bool:
    """Whether a browser looks ahead, and nobody has come yet. Source: the Fetch standard, `Sec-Purpose`."""
    return any("prefetch" in request.headers.get(name, "") for name in ("Sec-Purpose", "Purpose", "X-Moz"))


# ---- token and revocation requests -----------------------------------------------------------------------------------


class ClientAuthentication(msgspec.Struct, frozen=True):
    """How a client has authenticated. `readings`: id and secret as they may have been meant, or one API token."""

    scheme: str  # "", "Basic" or "Bearer"
    client_id: str
    readings: list[tuple[str, str]] = []
    api_token: str = ""

    def __repr__(self) -> str:
        return f"ClientAuthentication({self.scheme or 'body'})"

    @property
    def name(self) -> str:
        """What failures are counted under: the id in our spelling, however it was sent."""
        return next((client_id for client_id in self.client_ids if canonical_uuid(client_id)), self.client_id)

    @property
    def sign(self) -> str:
        """Id and secret as they came: what nobody else can send, and requests are counted under."""
        secrets = [secret for _, secret in self.readings] + [self.api_token]
        return f"{self.name} {secrets[0]}"

    @property
    def client_ids(self) -> set[str]:
        return {client_id for client_id, _ in self.readings} | {self.client_id}


def body_of(request: HttpRequest) -> dict[str, str]:
    """The parameters of a JSON or form body. Raises InvalidRequest, UnsupportedMediaType."""
    if query_of(request).as_dict().keys() & {"client_secret", "code", "refresh_token", "token", "code_verifier"}:
        raise InvalidRequest("Parameters belong in the body, never in the URL.")
    media_type = (request.content_type or "").lower()
    if media_type == "application/json":
        return _json_body(request)
    if media_type in {"application/x-www-form-urlencoded", ""}:
        return _form_body(request.body)
    raise UnsupportedMediaType("The body must be application/x-www-form-urlencoded or application/json.")


def _form_body(body: bytes) -> dict[str, str]:
    query = Query(body)
    if repeated := query.repeated():
        raise InvalidRequest(f"The parameter {_name(repeated[0])} is repeated.")
    values = {name: value for name, value in query.as_dict().items() if value}
    redaction.learn_from(values)
    return values


def _json_body(request: HttpRequest) -> dict[str, str]:
    try:
        document = parse_json(request.body)
    except ApiError as exc:
        raise InvalidRequest(exc.reason) from exc
    if not isinstance(document, dict):
        raise InvalidRequest("The body must be a JSON object.")
    for name, value in document.items():
        if value is not None and not isinstance(value, str):
            raise InvalidRequest(f"The parameter {_name(name)} must be a string.")
    return {name: value for name, value in document.items() if value}


def _name(name: str) -> str:
    """A parameter's name, if it may be repeated in an error_description."""
    return name if re.fullmatch(r"[a-z_]{1,40}", name) else "with an odd name"


def client_authentication(request: HttpRequest, body: Mapping[str, str]) -> ClientAuthentication:
    """Read who calls: by the body, HTTP Basic, or an API token. Source: RFC 6749, 2.3.1; RFC 6750, 2.1.

    Raises InvalidRequest for two methods at once, InvalidClient for none.
    """
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    client_id, client_secret = body.get("client_id", ""), body.get("client_secret", "")
    match scheme.lower():
        case "":
            if not client_id or not client_secret:
                raise InvalidClient
            return ClientAuthentication("", client_id, [(client_id, client_secret)])
        case _ if client_secret:
            raise InvalidRequest("The client authenticates in two ways at once.")
        case "basic":
            readings = _basic_readings(credentials.strip())
            if client_id and all(client_id != reading[0] for reading in readings):
                raise InvalidRequest("The client_id of the body is not that of the Authorization header.")
            return ClientAuthentication("Basic", readings[0][0], readings)
        case "bearer":
            if not client_id:
                raise InvalidRequest("The parameter client_id is missing.")
            return ClientAuthentication("Bearer", client_id, api_token=credentials.strip())
        case _:
            raise InvalidClient(scheme="Basic")


def scheme_of(request: HttpRequest) -> str:
    """Of the Authorization header: what WWW-Authenticate is to name. Source: RFC 6749, 5.2."""
    scheme = request.headers.get("Authorization", "").partition(" ")[0].lower()
    return {"": "", "bearer": "Bearer"}.get(scheme, "Basic")


def _basic_readings(credentials: str) -> list[tuple[str, str]]:
    """The pair as clients encode it: raw; form-encoded, as RFC 6749 asks; or with nothing but the colon escaped."""
    try:
        decoded = base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidClient(scheme="Basic") from exc
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError:
        text = decoded.decode("latin-1")
    client_id, colon, secret = text.partition(":")
    redaction.learn(secret)
    if not colon:
        raise InvalidClient(scheme="Basic")
    return [
        (client_id, secret),
        (unquote_plus(client_id), unquote_plus(secret)),
        (unquote(client_id), secret.replace("%3A", ":").replace("%3a", ":")),
    ]
