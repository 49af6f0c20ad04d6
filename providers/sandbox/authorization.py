"""The authorization endpoint: what is asked, and whether the provider would ask its user at all."""

import hashlib
import re
from collections.abc import Mapping

import msgspec
from django.core import signing
from django.http import HttpRequest

from providers.sandbox.models import Registration
from providers.sandbox.reading import Refuse, in_rfc_words, single
from providers.sandbox.script import SECOND_SCOPE, Scopes, Script, Simulated

TICKET_LIFETIME = 600  # seconds
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # RFC 7636, 4.2


class AuthorizationRequest(msgspec.Struct, frozen=True):
    """A sound authorization request (RFC 6749, 4.1.1), as the links of the consent page carry it, signed."""

    slug: str
    registration_id: str
    redirect_uri: str
    state: str | None
    scopes: list[str]
    nonce: str
    code_challenge: str
    form_post: bool
    offers_refresh_token: bool  # if the provider has any, and the scopes suffice
    parts: dict[str, str]
    ticket: str  # random: one request, one consent

    def signed(self) -> str:
        return signing.dumps(msgspec.to_builtins(self), salt="sandbox.consent", compress=True)

    @classmethod
    def of(cls, signed: str, *, slug: str) -> "AuthorizationRequest | None":
        """None if the ticket was not made here, not for this provider, or is too old."""
        try:
            document = signing.loads(signed, salt="sandbox.consent", max_age=TICKET_LIFETIME)
            request = msgspec.convert(document, cls)
        except (signing.BadSignature, msgspec.ValidationError, ValueError):
            return None
        return request if request.slug == slug else None


class SentBack(Exception):
    """The request is refused, and the client may know: by redirect (RFC 6749, 4.1.2.1)."""

    def __init__(self, error: str, why: str) -> None:
        super().__init__(why)
        self.error = error
        self.why = why


def client_of(request: HttpRequest, player: Simulated, parts: dict[str, str]) -> tuple[Registration, str]:
    """The client, and its redirect URI. Raises Refuse: then there is nobody to send the browser back to."""
    registered = Registration.objects.filter(slug=player.slug)
    if name := player.script.client_named_by:
        registration = registered.filter(**{f"variables__{name}": parts[name]}).order_by("pk").first()
        if registration is None:
            raise Refuse("unknown_client", f"There is no such client: no sandbox OAuth app has this {name}.")
        return registration, registration.redirect_uri
    names = player.script.authorization_param_names
    client_ids, redirect_uris = (request.GET.getlist(names.get(n, n)) for n in ("client_id", "redirect_uri"))
    if len(client_ids) != 1 or len(redirect_uris) != 1:
        wanted = " and ".join(names.get(name, name) for name in ("client_id", "redirect_uri"))
        raise Refuse("bad_request", f"{wanted} must be there, once each.")
    known = [] if "\x00" in client_ids[0] else list(registered.filter(client_id=client_ids[0]))
    if not known:
        raise Refuse("unknown_client", "There is no such client: no sandbox OAuth app has this client ID.")
    for registration in known:
        if player.script.redirect_uri_named_by and redirect_uris[0] == named_redirect_uri(registration, player.script):
            return registration, registration.redirect_uri
        if registration.redirect_uri == _registered(redirect_uris[0], player.script):
            return registration, redirect_uris[0]
    raise Refuse("wrong_redirect_uri", "The redirect URI is not the one that is registered for this client.")


def named_redirect_uri(registration: Registration, script: Script) -> str | None:
    """What stands for the redirect URI at a provider that has names for them."""
    name: str | None = registration.variables.get(script.redirect_uri_named_by)
    return name


def _registered(redirect_uri: str, script: Script) -> str:
    """The part of it that has to be registered: where no state is returned, a client may add a query of its own."""
    return redirect_uri if script.state_returned else redirect_uri.partition("?")[0]


def read(
    request: HttpRequest,
    player: Simulated,
    parts: dict[str, str],
    registration: Registration,
    *,
    redirect_uri: str,
    ticket: str,
) -> AuthorizationRequest:
    """What the client asks for, if the provider would put it before its user. Raises SentBack."""
    script = player.script
    try:
        params = in_rfc_words(single(request.GET), script.authorization_param_names)
    except Refuse as exc:
        raise SentBack("invalid_request", exc.why) from exc
    _check_params(script, params)
    scopes = asked_scopes(script.scopes, params)
    return AuthorizationRequest(
        slug=player.slug,
        registration_id=str(registration.pk),
        redirect_uri=redirect_uri,
        state=params.get("state") if script.state_returned else None,
        scopes=scopes,
        nonce=params.get("nonce", ""),
        code_challenge=_code_challenge(script, params),
        form_post=_is_form_post(script, params, scopes),
        offers_refresh_token=_offers_refresh_token(script, params),
        parts=parts | _second_scope(script, params),
        ticket=ticket,
    )


def _check_params(script: Script, params: Mapping[str, str]) -> None:
    if script.response_type and script.response_type not in params.get("response_type", "").split(" "):
        raise SentBack("unsupported_response_type", f"response_type must be {script.response_type}.")
    shortest, longest = script.state_length
    if not shortest <= len(params.get("state", "")) <= longest:
        raise SentBack("invalid_request", f"state must have {shortest} to {longest} characters.")
    if len(params.get("nonce", "")) > 512:
        raise SentBack("invalid_request", "nonce is too long.")
    for name, value in script.authorization_params.items():
        if name not in params or (value and params[name] != value):
            raise SentBack("invalid_request", f"{name} must be {value or 'there'}.")


def asked_scopes(scopes: Scopes, params: Mapping[str, str]) -> list[str]:
    """The scopes that the provider would grant in full. Raises SentBack."""
    given = params.get(scopes.parameter, "") if scopes.parameter else ""
    asked = [scope for scope in re.split(f"[{re.escape(scopes.separators)}]+", given) if scope]
    if scopes.required and not asked:
        raise SentBack("invalid_scope", f"{scopes.parameter} must name one scope at least.")
    if not all(re.fullmatch(scopes.pattern, scope, re.ASCII) for scope in asked):
        raise SentBack("invalid_scope", f"{scopes.parameter} names no scopes that this provider has.")
    return list(dict.fromkeys([*scopes.always, *(asked or scopes.default)]))


def _second_scope(script: Script, params: Mapping[str, str]) -> dict[str, str]:
    """Among the grant's parts, since it is known at the consent and needed at the exchange. Raises SentBack."""
    if script.second_token is None:
        return {}
    alike = msgspec.structs.replace(
        script.scopes, parameter=script.second_token.parameter, required=False, always=[], default=[]
    )
    asked = asked_scopes(alike, params)
    return {SECOND_SCOPE: script.scopes.joined_by.join(asked)} if asked else {}


def _code_challenge(script: Script, params: Mapping[str, str]) -> str:
    given, method = params.get("code_challenge", ""), params.get("code_challenge_method", "plain")
    if script.pkce == "ignored":
        return ""
    if script.pkce == "refused":
        if given:
            raise SentBack("invalid_request", "This provider takes no code_challenge.")
        return ""
    if not given and script.pkce == "required":
        raise SentBack("invalid_request", "code_challenge must be there.")
    if given and (method != "S256" or not CHALLENGE.fullmatch(given)):
        raise SentBack("invalid_request", "code_challenge must be made with S256.")
    return given


def _is_form_post(script: Script, params: Mapping[str, str], scopes: list[str]) -> bool:
    mode = params.get("response_mode", "query")
    if mode not in script.response_modes:
        if "response_mode" in params and len(script.response_modes) > 1:
            raise SentBack("invalid_request", f"response_mode must be {' or '.join(script.response_modes)}.")
        mode = "query"  # a parameter that the provider does not know
    if scopes and script.form_post_for_scopes and mode != "form_post":
        raise SentBack("invalid_request", "response_mode must be form_post where scopes are asked for.")
    return mode == "form_post"


def _offers_refresh_token(script: Script, params: Mapping[str, str]) -> bool:
    return all(params.get(name) == value for name, value in script.refresh.needs_authorization_param.items())


def challenge_of(code_verifier: str) -> str:
    """Source: RFC 7636, 4.6."""
    return signing.b64_encode(hashlib.sha256(code_verifier.encode()).digest()).decode()


def extra_params(script: Script, scopes: list[str]) -> dict[str, str]:
    """The templates of what this provider sends back beside code and state."""
    extra = dict(script.callback)
    for scope, params in script.callback_if_scope.items():
        if scope in scopes:
            extra |= params
    return extra
