"""Signed requests, as a provider of OAuth 1.0a judges them: RFC 5849, 3, written from there, not from a library."""

import hashlib
import hmac
import re
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from django.views.decorators.debug import sensitive_variables

from providers.sandbox.models import Registration
from providers.sandbox.reading import FORM, Refuse, clean
from providers.sandbox.script import OAuth1, Simulated

DRIFT = 300  # seconds that the client's clock may differ
PAIR = re.compile(r'\s*([A-Za-z0-9_]+)="([^"]*)"\s*', re.ASCII)
PATH = "/!$&'()*+,;=:@~"  # what stands in a path as it is, beside letters, digits, `-`, `.` and `_` (RFC 3986, 3.3)
HASHES = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}


@dataclass(frozen=True, repr=False)
class Signed:
    """Who has signed a request, and the protocol's parameters that came with it."""

    registration: Registration
    params: Mapping[str, str]

    @property
    def token(self) -> str:
        return self.params.get("oauth_token", "")


def secret_of(token: str) -> str:
    """The secret that was issued with `token`: it follows from the token, so that nothing has to be kept."""
    return f"sandbox_{salted_hmac('sandbox.oauth1', token, algorithm='sha256').hexdigest()[:40]}"


@sensitive_variables()
def signed(request: HttpRequest, player: Simulated, wanted: OAuth1) -> Signed:
    """The client that has signed `request`, with the secret of the token which it names, if it names one.

    Raises Refuse. A nonce that comes back to the same process is refused (RFC 5849, 3.3).
    """
    params = _header(request)
    method = params.get("oauth_signature_method", "")
    if method not in wanted.signature_methods:
        raise Refuse("bad_request", f"oauth_signature_method must be {' or '.join(wanted.signature_methods)}.")
    if params.get("oauth_version", "1.0") != "1.0":
        raise Refuse("bad_request", "oauth_version must be 1.0.")
    _check_moment(params, is_optional=method == "PLAINTEXT")
    registration = _signer(request, player, params, method)
    if "oauth_nonce" in params and not cache.add(_seen(params), True, 2 * DRIFT):
        raise Refuse("wrong_secret", "The nonce was used before.")
    return Signed(registration, params)


def _seen(params: Mapping[str, str]) -> str:
    """Where a nonce is noted: it is one of its client, its token and its time alone."""
    names = ("oauth_consumer_key", "oauth_token", "oauth_timestamp", "oauth_nonce")
    said = " ".join(_escaped(params.get(name, "")) for name in names)
    return f"sandbox.nonce.{hashlib.sha256(said.encode()).hexdigest()}"


def _header(request: HttpRequest) -> dict[str, str]:
    """The parameters of the `Authorization` header. Source: RFC 5849, 3.5.1."""
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "oauth":
        raise Refuse("bad_request", "The request is not signed: there is no Authorization header of the scheme OAuth.")
    params: dict[str, str] = {}
    for part in rest.split(","):
        pair = PAIR.fullmatch(part)
        if pair is None or pair[1] in params:
            raise Refuse("bad_request", "The Authorization header is malformed.")
        params[pair[1]] = unquote(pair[2])
    return clean(params)


def _check_moment(params: Mapping[str, str], *, is_optional: bool) -> None:
    timestamp, nonce = params.get("oauth_timestamp", ""), params.get("oauth_nonce", "")
    if is_optional and not timestamp and not nonce:
        return
    if not nonce or not re.fullmatch(r"[1-9][0-9]{0,11}", timestamp, re.ASCII):
        raise Refuse("bad_request", "oauth_timestamp and oauth_nonce must be there.")
    if abs(int(timestamp) - time.time()) > DRIFT:
        raise Refuse("wrong_secret", "oauth_timestamp is too far from now.")


@sensitive_variables()
def _signer(request: HttpRequest, player: Simulated, params: Mapping[str, str], method: str) -> Registration:
    client_id, token = params.get("oauth_consumer_key", ""), params.get("oauth_token", "")
    known = list(Registration.objects.filter(slug=player.slug, client_id=client_id))
    if not known:
        raise Refuse("unknown_client", "There is no such client: no sandbox OAuth app has this consumer key.")
    for registration in known:
        secrets = (registration.client_secret or "", secret_of(token) if token else "")
        expected = signature_of(request, params, method, "&".join(_escaped(secret) for secret in secrets))
        if hmac.compare_digest(expected.encode(), params.get("oauth_signature", "").encode()):
            return registration
    raise Refuse("wrong_secret", "The signature is not that of this client, this token and this request.")


def signature_of(request: HttpRequest, params: Mapping[str, str], method: str, key: str) -> str:
    """What signs `request`. `key`: both secrets, joined. Source: RFC 5849, 3.4.2 and 3.4.4."""
    if method == "PLAINTEXT":
        return key
    return b64encode(hmac.new(key.encode(), base_string(request, params).encode(), HASHES[method]).digest()).decode()


def base_string(request: HttpRequest, params: Mapping[str, str]) -> str:
    """What is signed. `params`: those of the header. Source: RFC 5849, 3.4.1."""
    origin = urlsplit(settings.PUBLIC_URL)
    port = {"http": ":80", "https": ":443"}[origin.scheme]
    url = f"{origin.scheme}://{origin.netloc.lower().removesuffix(port)}{quote(request.path, safe=PATH)}"
    pairs = [(name, value) for name, value in params.items() if name not in {"realm", "oauth_signature"}]
    pairs += parse_qsl(request.META.get("QUERY_STRING", ""), keep_blank_values=True)
    if (request.content_type or "").lower() == FORM:
        pairs += parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    normalized = "&".join(f"{name}={value}" for name, value in sorted((_escaped(n), _escaped(v)) for n, v in pairs))
    return "&".join(_escaped(part) for part in (str(request.method).upper(), url, normalized))


def _escaped(text: str) -> str:
    """Source: RFC 5849, 3.6: all but letters, digits, `-`, `.`, `_` and `~`."""
    return quote(text, safe="~")
