"""The consent page, and what follows from the link that is chosen there."""

import re
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from providers import catalogue
from providers.sandbox import oauth1, pushed, quirks
from providers.sandbox.answers import (
    answered_scopes,
    document,
    filled,
    is_machine,
    moments,
    named_account,
    private,
    with_params,
)
from providers.sandbox.authorization import AuthorizationRequest, SentBack, client_of, extra_params, read
from providers.sandbox.models import Grant, Outcome, Registration
from providers.sandbox.reading import Refuse
from providers.sandbox.rotation import as_chosen, described, has_refresh_tokens
from providers.sandbox.script import Script, Simulated, issued
from providers.showing.facts import known_scopes
from sequin_auth.lib.encryption import digest

SLOW_SECONDS = 12.0  # longer than the ten seconds that our own calls wait
LONGEST_DELAY = 60.0
ACCOUNT = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action "
)
EXPLAINED = {
    Outcome.APPROVE: _("The end user agrees to all of it."),
    Outcome.APPROVE_FEWER: _("The end user unticks one scope."),
    Outcome.DENY: _("The end user says no."),
    Outcome.PROVIDER_ERROR: _("The provider breaks down, and says so at the callback."),
    Outcome.SLOW: _("Approved, but the token endpoint and the API take %(seconds)d seconds to answer."),
    Outcome.SHORT_LIVED: _("Approved, but the access token ends after 60 seconds."),
    Outcome.REFRESH_FAILS: _("Approved, but the refresh token turns out to be revoked when it is used."),
    Outcome.ROTATING: _("Approved, and each refresh token is good for one use: one that comes back ends all tokens."),
    Outcome.RATE_LIMITED: _("Approved, but the API answers 429 in two of each ten seconds."),
    Outcome.API_FAILS: _("Approved, but the API answers 503 to every request."),
}
DECISIONS = [
    Outcome.APPROVE,
    Outcome.APPROVE_FEWER,
    Outcome.DENY,
]  # the end user's own; the others are faults to handle
OF_THE_API = {Outcome.RATE_LIMITED, Outcome.API_FAILS}
RECORDS = re.compile(r"[1-9][0-9]{0,4}|100000", re.ASCII)  # how many each collection of the account may have at first
LARGER = [5_000, 100_000]  # those that the page offers


class Choice(NamedTuple):
    outcome: Outcome
    link: str
    explained: str


def ask(request: HttpRequest, player: Simulated, parts: dict[str, str]) -> HttpResponse:
    """Answer an authorization request: with a page of links, one an outcome; in JSON to whom accepts nothing else."""
    try:
        pushed_ticket = pushed.unfold(request, player, parts)
        if player.script.oauth1:
            registration, redirect_uri = oauth1.client_of(request, player, player.script.oauth1)
        else:
            registration, redirect_uri = client_of(request, player, parts)
        pushed.demand(registration, pushed_ticket)
    except Refuse as exc:
        return refuse_page(request, player, exc.why)
    try:
        ticket = request.GET["oauth_token"] if player.script.oauth1 else pushed_ticket or secrets.token_urlsafe(16)
        asked = read(request, player, parts, registration, redirect_uri=redirect_uri, ticket=ticket)
    except SentBack as exc:
        if is_machine(request):
            return document({"error": exc.error, "error_description": exc.why}, status=400)
        returned = request.GET.get(player.script.authorization_param_names.get("state", "state"))
        state = _state(returned if player.script.state_returned else None)
        params = {"error": exc.error, "error_description": exc.why} | state
        posted = "form_post" in request.GET.getlist("response_mode")
        return _send(request, player, redirect_uri, params, form_post=posted)
    signed = asked.signed()
    page = f"{settings.PUBLIC_URL}/sandbox/{player.slug}/consent"
    links = {
        outcome: f"{page}?{urlencode({'outcome': outcome, 'ticket': signed})}" for outcome in offered(player.script)
    }
    refresh_token = described(player.script.refresh)
    if is_machine(request):
        outcomes = {outcome.value: link for outcome, link in links.items()}
        answer = {"provider": player.slug, "client_id": registration.client_id, "scopes": asked.scopes}
        return document({**answer, "refresh_token": refresh_token, "outcomes": outcomes})
    choices = [Choice(outcome, link, explained(outcome)) for outcome, link in links.items()]
    larger = [
        (f"{number:,}", f"{page}?{urlencode({'outcome': Outcome.APPROVE, 'records': number, 'ticket': signed})}")
        for number in (LARGER if player.script.collections else [])
    ]
    context = {
        "client_id": registration.client_id,
        "redirect_uri": redirect_uri,
        "scopes": in_words(asked.scopes, player),
        "refresh_token": refresh_token,
        "left_out": sorted({*asked.scopes} - {*fewer(asked.scopes, player.script)}),
        "larger": larger,
        "decisions": [choice for choice in choices if choice.outcome in DECISIONS],
        "faults": [choice for choice in choices if choice.outcome not in DECISIONS],
    }
    return _page(request, player, "sandbox/consent.html", context)


def explained(outcome: Outcome) -> str:
    return str(EXPLAINED[outcome]) % {"seconds": SLOW_SECONDS}


def in_words(scopes: list[str], player: Simulated) -> list[tuple[str, str]]:
    """Each scope with what it allows, where the catalogue says so."""
    provider = catalogue.load().get(player.slug)
    sentences = known_scopes(provider) if provider else {}
    return [(scope, sentences.get(scope, "")) for scope in scopes]


def offered(script: Script) -> list[Outcome]:
    missing = set() if has_refresh_tokens(script) else {Outcome.ROTATING}
    missing |= set() if script.collections else OF_THE_API
    return [outcome for outcome in Outcome if outcome not in missing]


def choose(request: HttpRequest, player: Simulated) -> HttpResponse:
    """Do what a link of the consent page says: back to the client, with a code or an error."""
    asked = AuthorizationRequest.of(request.GET.get("ticket", ""), slug=player.slug)
    outcome, account = request.GET.get("outcome", ""), request.GET.get("account", "1")
    records = request.GET.get("records", str(Grant._meta.get_field("records").default))
    if asked is None:
        return refuse_page(request, player, "This consent page is too old, or was not made here.")
    if outcome not in offered(player.script) or not ACCOUNT.fullmatch(account):
        return refuse_page(request, player, "There is no such outcome, or no such account.")
    if not RECORDS.fullmatch(records):
        return refuse_page(request, player, "records must be a number from 1 to 100000.")
    registration = Registration.objects.filter(pk=asked.registration_id).first()
    if registration is None:
        return refuse_page(request, player, "The client is gone.")
    if outcome == Outcome.DENY:
        denial = filled(player.script.denial, {"token": asked.ticket})
        params: dict[str, str] | None = denial | _issuer(player.script, asked) | _state(asked.state)
    elif outcome == Outcome.PROVIDER_ERROR:
        params = {"error": "server_error"} | _issuer(player.script, asked) | _state(asked.state)
    else:
        params = granted(
            player,
            asked,
            registration,
            Outcome(outcome),
            account=account,
            records=int(records),
            delay=_delay(request),
        )
    if params is None:
        return refuse_page(request, player, "This consent was given already. Start again.")
    return _send(request, player, asked.redirect_uri, params, form_post=asked.form_post)


def granted(
    player: Simulated,
    asked: AuthorizationRequest,
    registration: Registration,
    outcome: Outcome,
    *,
    account: str,
    records: int,
    delay: float,
) -> dict[str, str] | None:
    """The authorization response to a consent (RFC 6749, 4.1.2). None if this one was given before."""
    script = as_chosen(player.script, outcome)
    code = issued(script.code_format)
    scopes = fewer(asked.scopes, script) if outcome == Outcome.APPROVE_FEWER else asked.scopes
    enough = not script.refresh.needs_scope or bool({*script.refresh.needs_scope} & {*scopes})
    __, is_first = Grant.objects.get_or_create(
        ticket_hash=digest(asked.ticket),
        defaults={
            "registration": registration,
            "code_hash": digest(code),
            "redirect_uri": asked.redirect_uri,
            "scopes": scopes,
            "nonce": asked.nonce,
            "code_challenge": asked.code_challenge,
            "parts": asked.parts,
            "offers_refresh_token": script.refresh.policy != "none" and asked.offers_refresh_token and enough,
            "outcome": outcome,
            "delay": delay,
            "account": account,
            "records": records,
            "code_expires_at": timezone.now() + timedelta(seconds=script.code_lifetime),
        },
    )
    if not is_first:
        return None
    if script.oauth1:
        return {"oauth_token": asked.ticket, "oauth_verifier": code}
    values = {**moments(), **registration.variables, **asked.parts, **answered_scopes(script.scopes, scopes)}
    values |= {"client_id": registration.client_id, **named_account(account)}
    extra = {name: str(value) for name, value in filled(extra_params(script, scopes), values).items()}
    params = {script.callback_code_param: code, **extra, **_state(asked.state)}
    if script.callback_signature:
        signed: dict[str, str] = getattr(quirks, script.callback_signature)(params, registration, asked.parts)
        return signed
    return params


def fewer(asked: list[str], script: Script) -> list[str]:
    """All but the last scope, of those that an end user can untick."""
    kept = {*script.scopes.always, *script.refresh.needs_scope, "openid"}
    for scope in reversed(asked):
        if scope not in kept and len(asked) > 1:
            return [other for other in asked if other != scope]
    return asked


def refuse_page(request: HttpRequest, player: Simulated, why: str) -> HttpResponse:
    """The provider's own error page, which sends the browser nowhere."""
    if is_machine(request):
        return document({"error": "invalid_request", "error_description": why}, status=400)
    return _page(request, player, "sandbox/refused.html", {"why": why}, status=400)


def _send(
    request: HttpRequest, player: Simulated, redirect_uri: str, params: Mapping[str, str], *, form_post: bool
) -> HttpResponse:
    """The authorization response, by redirect or in a form (OAuth 2.0 Form Post Response Mode).

    The form is sent by a button, and the browser is redirected from there to where we cannot know: Chromium would apply
    a narrower `form-action` to that as well.
    """
    if not (form_post and "form_post" in player.script.response_modes):
        return private(HttpResponseRedirect(with_params(redirect_uri, params)))
    if is_machine(request):
        return document({"action": redirect_uri, "method": "POST", "fields": dict(params)})
    context = {"action": redirect_uri, "fields": dict(params)}
    return _page(request, player, "sandbox/form_post.html", context, form_action="http: https:")


def _page(
    request: HttpRequest,
    player: Simulated,
    template: str,
    context: dict[str, Any],
    *,
    status: int = 200,
    form_action: str = "'none'",
) -> HttpResponse:
    context = {"provider": player.name, "slug": player.slug, **context}
    response = private(render(request, template, context, status=status))
    response["Content-Security-Policy"] = PAGE_POLICY + form_action
    return response


def _delay(request: HttpRequest) -> float:
    """Seconds that a slow token endpoint takes: as the link says (`delay=2`), else longer than anybody waits."""
    given = request.GET.get("delay", "")
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?", given, re.ASCII):
        return SLOW_SECONDS
    return min(float(given), LONGEST_DELAY)


def _issuer(script: Script, asked: AuthorizationRequest) -> dict[str, str]:
    """Who answers, in a refusal too, where the provider says it at all. Source: RFC 9207, 2."""
    return {"iss": filled(script.callback["iss"], asked.parts)} if "iss" in script.callback else {}


def _state(state: str | None) -> dict[str, str]:
    return {} if state is None else {"state": state}
