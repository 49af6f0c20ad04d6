"""The token endpoint: a code or a refresh token becomes tokens, or is refused in the provider's own words."""

import hmac
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from providers.sandbox import proofs
from providers.sandbox.answers import answered_scopes, filled, moments, named_account, refused, token_document
from providers.sandbox.authorization import challenge_of, named_redirect_uri
from providers.sandbox.models import Grant, Outcome, Registration, Token
from providers.sandbox.reading import Refuse, authenticate, body, body_format, in_rfc_words
from providers.sandbox.rotation import as_chosen, has_refresh_tokens
from providers.sandbox.script import SECOND_SCOPE, RefreshTokens, Script, Simulated, issued
from providers.sandbox.signatures import secret_of
from providers.sandbox.signing import id_token
from sequin_auth.lib.encryption import digest

SECOND = timedelta(seconds=1)
SHORT_LIFETIME = 60  # seconds, of Outcome.SHORT_LIVED


@sensitive_variables()
def token(
    request: HttpRequest, player: Simulated, parts: dict[str, str], *, grant_types: Sequence[str] = ()
) -> HttpResponse:
    """Answer a token request (RFC 6749, 4.1.3 and 6). `grant_types`: those that are taken here; default all."""
    script = player.script
    try:
        params = _params(request, script)
        if grant_types and params.setdefault("grant_type", grant_types[0]) not in grant_types:
            raise Refuse("bad_grant_type", "This provider takes that grant type elsewhere.")
        is_refresh = params.get("grant_type") == "refresh_token"
        methods = script.refresh_client_authentication if is_refresh else []
        registration = authenticate(request, player, params, methods or script.client_authentication)
        parts = proofs.of_token_request(request, player, registration, parts)
        answer = _granted(player, registration, params, parts, here=bool(grant_types))
    except Refuse as exc:
        content, refusal = refused(script, exc)
        response = token_document(request, script, content, status=refusal.status)
        response["Sandbox-Reason"] = exc.why
        if refusal.status == 401 and "Authorization" in request.headers:
            response["WWW-Authenticate"] = "Basic"
        for name, value in exc.headers.items():
            response[name] = value
        return response
    return token_document(request, script, answer)


@sensitive_variables()
def _params(request: HttpRequest, script: Script) -> dict[str, str]:
    """The parameters of a token request, in RFC 6749's words. Raises Refuse for a request of another form."""
    if missing := [name for name in script.token_headers if not request.headers.get(name)]:
        raise Refuse("bad_request", f"The header {missing[0]} must be there.")
    params = in_rfc_words(body(request, [*script.token_body, *script.refresh_body]), script.token_param_names)
    is_refresh = params.get("grant_type") == "refresh_token"
    formats = (script.refresh_body if is_refresh else []) or script.token_body
    if (body_format(request) if request.body else "query") not in formats and params:
        raise Refuse("wrong_body", f"The parameters must be in the {' or '.join(formats)}.")
    methods = (script.refresh_methods if is_refresh else []) or script.token_methods
    if request.method not in methods:
        raise Refuse("bad_request", f"The method must be {' or '.join(methods)}.")
    return params


@sensitive_variables()
def _granted(
    player: Simulated, registration: Registration, params: dict[str, str], parts: dict[str, str], *, here: bool
) -> Any:
    """`here`: at the endpoint that takes refreshes alone, where the provider has one."""
    script = player.script
    grant_type = params.get("grant_type") or ("" if script.grant_type_required else "authorization_code")
    if not grant_type:
        raise Refuse("bad_request", "grant_type must be there.")
    if grant_type == "authorization_code":
        return exchange(player, registration, params, parts)
    is_here = here or not script.refresh_endpoint
    if grant_type == "refresh_token" and is_here and has_refresh_tokens(script):
        return refresh(player, registration, params, parts)
    raise Refuse("bad_grant_type", "This provider has no such grant type.")


# ---- the code --------------------------------------------------------------------------------------------------------


@sensitive_variables()
def exchange(player: Simulated, registration: Registration, params: dict[str, str], parts: dict[str, str]) -> Any:
    """Tokens for a code. Raises Refuse; the code stays good if it was not the code that was wrong."""
    script = player.script
    _demand(script.token_params, params)
    if "code" not in params:
        raise Refuse("bad_request", "code must be there.")
    grant = Grant.objects.select_related("registration").filter(code_hash=digest(params["code"])).first()
    if grant is None or not _is_of(grant, registration) or not grant.is_at(parts):
        raise Refuse("bad_code", "There is no such code, or it is another client's or customer's.")
    script = as_chosen(script, grant.outcome)
    _check_binding(script, grant, params)
    lifetime = _lifetime(script, params)
    if grant.used_at or not grant.use_code():
        if script.used_code_revokes:
            grant.revoke()
        raise Refuse("used_code", "The code was used before.")
    if grant.code_expires_at <= timezone.now():
        raise Refuse("bad_code", "The code has expired.")
    wanted = script.refresh.needs_token_param
    proofs.bind(grant, parts)
    with_refresh_token = grant.offers_refresh_token and all(params.get(name) == wanted[name] for name in wanted)
    answer = issue(script, grant, lifetime, with_refresh_token=with_refresh_token)
    if grant.outcome == Outcome.SLOW:
        time.sleep(grant.delay)
    return answer


def _demand(wanted: dict[str, str], params: dict[str, str]) -> None:
    for name, value in wanted.items():
        if not params.get(name) or (value and params[name] != value):
            raise Refuse("bad_request", f"{name} must be {value or 'there'}.")


def _is_of(grant: Grant, registration: Registration) -> bool:
    theirs = grant.registration
    return (theirs.slug, theirs.client_id) == (registration.slug, registration.client_id)


@sensitive_variables()
def _check_binding(script: Script, grant: Grant, params: dict[str, str]) -> None:
    """What the code is bound to. Sources: RFC 6749, 4.1.3; RFC 7636, 4.6."""
    redirect_uri = params.get("redirect_uri")
    if redirect_uri is None and script.redirect_uri_on_exchange == "required":
        raise Refuse("bad_request", "redirect_uri must be there.")
    named = named_redirect_uri(grant.registration, script) if script.redirect_uri_named_by else grant.redirect_uri
    if redirect_uri not in {None, named}:
        raise Refuse("wrong_redirect_uri", "redirect_uri is not the one of the authorization request.")
    verifier = params.get("code_verifier", "")
    if script.pkce in {"required", "supported"} and (grant.code_challenge or verifier):
        expected = challenge_of(verifier) if 43 <= len(verifier) <= 128 else ""
        if not grant.code_challenge or not hmac.compare_digest(expected.encode(), grant.code_challenge.encode()):
            raise Refuse("wrong_code_verifier", "code_verifier does not belong to the code_challenge.")


def _lifetime(script: Script, params: dict[str, str]) -> int | None:
    asked = params.get(script.lifetime_param, "") if script.lifetime_param else ""
    if not asked:
        return script.lifetime
    shortest, longest = script.lifetime_range
    if not (asked.isascii() and asked.isdigit() and len(asked) < 10 and shortest <= int(asked) <= longest):
        raise Refuse("bad_request", f"{script.lifetime_param} must be a number from {shortest} to {longest}.")
    return int(asked)


# ---- the refresh token -----------------------------------------------------------------------------------------------


@sensitive_variables()
def refresh(player: Simulated, registration: Registration, params: dict[str, str], parts: dict[str, str]) -> Any:
    """Tokens for a refresh token, as the provider's policy has it. Raises Refuse."""
    if "refresh_token" not in params:
        raise Refuse("bad_request", "refresh_token must be there.")
    _demand(player.script.refresh_params, params)
    with transaction.atomic():  # one refresh of a grant at a time: what ends them all ends the newest token too
        answer = _refreshed(player, registration, params, parts)
    if answer is None:
        raise Refuse("bad_refresh_token", "The refresh token was used before.")
    return answer


@sensitive_variables()
def _refreshed(player: Simulated, registration: Registration, params: dict[str, str], parts: dict[str, str]) -> Any:
    """The answer, or None if the refresh token is used up. Raises Refuse, with nothing changed."""
    old = _locked(player.slug, params["refresh_token"])
    if old is None and player.script.refresh.policy == "none":
        raise Refuse("bad_grant_type", "This client's tokens do not end, so there is no such grant type.")
    if old is None or not _is_of(old.grant, registration) or not old.grant.is_at(parts):
        raise Refuse("bad_refresh_token", "There is no such refresh token, or it is another client's or customer's.")
    if not old.is_refreshable or old.grant.outcome == Outcome.REFRESH_FAILS:
        raise Refuse("bad_refresh_token", "The refresh token has expired or was revoked.")
    script = as_chosen(player.script, old.grant.outcome)
    if not script.refreshes_early and old.expires_at and old.expires_at > timezone.now() + 30 * SECOND:
        raise Refuse("bad_request", "The access token has more than 30 seconds left.")
    policy = script.refresh
    lifetime = _lifetime(script, params)
    is_kept = policy.policy == "keeps" or old.created_at + timedelta(seconds=policy.rotates_after) > timezone.now()
    if policy.policy == "rotates" and not is_kept and not _use(old, policy):
        return None
    if policy.ends_access_token:
        Token.objects.filter(pk=old.pk).update(expires_at=timezone.now())
    if not is_kept:
        return issue(script, old.grant, lifetime, with_refresh_token=True, is_refresh=True)
    return issue(script, old.grant, lifetime, kept=params["refresh_token"], kept_until=old.refresh_expires_at)


@sensitive_variables()
def _locked(slug: str, refresh_token: str) -> Token | None:
    """The token as it stands once no other refresh of its grant is under way."""
    found = Token.objects.with_grant(slug).filter(refresh_hash=digest(refresh_token))
    token = found.first()
    if token is None:
        return None
    Grant.objects.select_for_update().filter(pk=token.grant_id).first()
    return found.first()


def _use(old: Token, policy: RefreshTokens) -> bool:
    """Whether the refresh token may be used now; if it was used before, its grant may end here."""
    if old.use_refresh_token():
        return True
    if old.was_used_within(policy.grace) and not (policy.until_successor_is_used and old.has_used_successor()):
        return True
    if policy.reuse_revokes_all:
        old.grant.revoke()
    return False


# ---- tokens ----------------------------------------------------------------------------------------------------------


@sensitive_variables()
def issue(
    script: Script,
    grant: Grant,
    lifetime: int | None,
    *,
    with_refresh_token: bool = False,
    is_refresh: bool = False,
    kept: str = "",
    kept_until: datetime | None = None,
    template: Any = None,
) -> Any:
    """Issue tokens, and return the provider's answer with them. `kept`: the refresh token that stays, at a refresh.

    `template`: of the answer, if it is neither that of an exchange nor of a refresh.
    """
    is_refresh = is_refresh or bool(kept)
    access_token = issued(script.access_token_format)
    refresh_token = issued(script.refresh_token_format)
    if script.ends_only_with_refresh_token and not (with_refresh_token or kept):
        lifetime = None
    if grant.outcome == Outcome.SHORT_LIVED and not is_refresh:
        lifetime = SHORT_LIFETIME
    now = timezone.now()
    expires_at = _after(now, lifetime)
    refresh_ends = [_after(now, script.refresh.lifetime), _after(grant.created_at, script.refresh.hard)]
    refresh_expires_at = min(filter(None, refresh_ends), default=None) if with_refresh_token else kept_until
    Token.objects.create(
        grant=grant,
        access_hash=digest(access_token),
        refresh_hash=digest(refresh_token) if with_refresh_token else None,
        created_at=now,
        expires_at=expires_at,
        refresh_expires_at=refresh_expires_at if with_refresh_token else None,
    )
    values = values_of(script, grant) | {
        "access_token": access_token,
        "second_access_token": None if is_refresh else _second_token(script, grant, expires_at),
        "token_secret": secret_of(access_token),
        "refresh_token": refresh_token if with_refresh_token else kept or None,
        "expires_in": lifetime,
        "expires_in_text": None if lifetime is None else str(lifetime),
        "issued_at": int(now.timestamp()),
        "expires_at": None if expires_at is None else int(expires_at.timestamp()),
        "expires_at_iso": expires_at and expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "refresh_token_expires_in": None if refresh_expires_at is None else (refresh_expires_at - now) // SECOND,
    }
    values["id_token"] = _id_token(script, grant, values, is_refresh=is_refresh)
    usual = script.refresh_answer if is_refresh and script.refresh_answer is not None else script.answer
    return filled(usual if template is None else template, values)


@sensitive_variables()
def _second_token(script: Script, grant: Grant, expires_at: datetime | None) -> str | None:
    """The one that was asked for beside the first; it ends with it."""
    if script.second_token is None or SECOND_SCOPE not in grant.parts:
        return None
    token = issued(script.second_token.format)
    Token.objects.create(grant=grant, access_hash=digest(token), expires_at=expires_at)
    return token


def _after(moment: datetime, seconds: int | None) -> datetime | None:
    return None if seconds is None else moment + timedelta(seconds=seconds)


@sensitive_variables()
def _id_token(script: Script, grant: Grant, values: dict[str, Any], *, is_refresh: bool) -> str | None:
    wanted = script.id_token
    if wanted is None or (is_refresh and not wanted.on_refresh):
        return None
    if wanted.needs_scope and wanted.needs_scope not in grant.scopes:
        return None
    return id_token(
        wanted,
        client_id=grant.registration.client_id,
        nonce="" if is_refresh else grant.nonce,
        values=values,
    )


def values_of(script: Script, grant: Grant) -> dict[str, Any]:
    """What an answer about `grant` may hold, beside tokens."""
    return {
        **moments(),
        **grant.registration.variables,
        **grant.parts,
        "token_type": proofs.token_type(grant),
        **answered_scopes(script.scopes, grant.scopes),
        "client_id": grant.registration.client_id,
        "redirect_uri": grant.redirect_uri,
        **named_account(grant.account),
    }
