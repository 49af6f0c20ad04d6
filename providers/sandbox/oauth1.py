"""The endpoints of a provider of OAuth 1.0a: temporary credentials, whom they name, and the token that they become.

Temporary credentials are not kept: the token itself says whose it is and where its end user goes back to, signed.
"""

import secrets
import time
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from providers.sandbox.answers import document, private, refused
from providers.sandbox.models import Grant, Outcome, Registration
from providers.sandbox.reading import Refuse
from providers.sandbox.script import OAuth1, Simulated
from providers.sandbox.signatures import Signed, secret_of, signed
from providers.sandbox.tokens import issue
from sequin_auth.lib.encryption import digest

SALT = "sandbox.oauth1"


class Asked(msgspec.Struct, frozen=True):
    """What a token of temporary credentials says."""

    slug: str
    registration_id: str
    callback: str
    parts: dict[str, str]
    unlike: str  # any other

    def token(self) -> str:
        return "sandbox_" + signing.dumps(msgspec.to_builtins(self), salt=SALT, compress=True)

    @classmethod
    def of(cls, token: str, player: Simulated, wanted: OAuth1) -> "Asked":
        """Raises Refuse for a token that was not made here, not for this provider, or is too old."""
        try:
            told = signing.loads(token.removeprefix("sandbox_"), salt=SALT, max_age=wanted.lifetime)
            asked = msgspec.convert(told, cls)
        except (signing.BadSignature, msgspec.ValidationError, ValueError) as exc:
            raise Refuse("bad_code", "There are no such temporary credentials, or they have expired.") from exc
        if asked.slug != player.slug:
            raise Refuse("bad_code", "The temporary credentials are another provider's.")
        return asked


def request_token(request: HttpRequest, player: Simulated, wanted: OAuth1, parts: dict[str, str]) -> HttpResponse:
    """Answer a request for temporary credentials. Source: RFC 5849, 2.1."""
    try:
        asking = signed(request, player, wanted)
        callback = asking.params.get("oauth_callback", "")
        if asking.token:
            raise Refuse("bad_request", "Temporary credentials are asked for without a token.")
        if not callback:
            raise Refuse("bad_request", "oauth_callback must be there.")
        if callback.partition("?")[0] != asking.registration.redirect_uri:
            raise Refuse("wrong_redirect_uri", "oauth_callback is not the one that is registered for this client.")
    except Refuse as exc:
        return _refusal(player, wanted, exc)
    asked = Asked(player.slug, str(asking.registration.pk), callback, parts, secrets.token_urlsafe(8))
    token = asked.token()
    confirmed = {"oauth_callback_confirmed": "true"} if wanted.callback_confirmed else {}
    return _form({"oauth_token": token, "oauth_token_secret": secret_of(token), **confirmed})


def client_of(request: HttpRequest, player: Simulated, wanted: OAuth1) -> tuple[Registration, str]:
    """The client whose temporary credentials the browser brings, and where it goes back to. Raises Refuse.

    Source: RFC 5849, 2.2.
    """
    tokens = request.GET.getlist("oauth_token")
    if len(tokens) != 1:
        raise Refuse("bad_request", "oauth_token must be there, once.")
    asked = Asked.of(tokens[0], player, wanted)
    registration = Registration.objects.filter(pk=asked.registration_id).first()
    if registration is None:
        raise Refuse("unknown_client", "The client is gone.")
    return registration, asked.callback


@sensitive_variables()
def token(request: HttpRequest, player: Simulated, wanted: OAuth1, parts: dict[str, str]) -> HttpResponse:
    """Answer a token request. Source: RFC 5849, 2.3."""
    try:
        asking = signed(request, player, wanted)
        grant = _grant(asking, player, wanted, parts)
    except Refuse as exc:
        return _refusal(player, wanted, exc)
    answer = issue(player.script, grant, player.script.lifetime)
    if grant.outcome == Outcome.SLOW:
        time.sleep(grant.delay)
    return _form(answer)


@sensitive_variables()
def _grant(asking: Signed, player: Simulated, wanted: OAuth1, parts: dict[str, str]) -> Grant:
    """The consent that the temporary credentials and the verifier stand for, used up now. Raises Refuse."""
    verifier = asking.params.get("oauth_verifier", "")
    if not asking.token or not verifier:
        raise Refuse("bad_request", "oauth_token and oauth_verifier must be there.")
    Asked.of(asking.token, player, wanted)
    grant = Grant.objects.select_related("registration").filter(ticket_hash=digest(asking.token)).first()
    if grant is None or grant.registration_id != asking.registration.pk or not grant.is_at(parts):
        raise Refuse("bad_code", "Nobody has agreed to these temporary credentials, or they are another client's.")
    if bytes(grant.code_hash) != digest(verifier):
        raise Refuse("wrong_code_verifier", "oauth_verifier does not belong to the temporary credentials.")
    if grant.code_expires_at <= timezone.now() or not grant.use_code():
        raise Refuse("used_code", "The temporary credentials were used before, or have expired.")
    return grant


# ---- answers ---------------------------------------------------------------------------------------------------------


def _form(answer: Any) -> HttpResponse:
    """What RFC 5849 wants, and hardly anybody says: the content type."""
    return private(HttpResponse(urlencode(answer), content_type="text/html"))


def _refusal(player: Simulated, wanted: OAuth1, exc: Refuse) -> HttpResponse:
    content, refusal = refused(player.script, exc)
    if wanted.error_format == "json":
        response = document(content, status=refusal.status)
    else:
        text = refusal.description if wanted.error_format == "text" else urlencode(content)
        response = private(HttpResponse(text, status=refusal.status, content_type="text/plain"))
    response["Sandbox-Reason"] = exc.why
    return response
