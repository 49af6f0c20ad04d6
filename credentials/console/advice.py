"""
What to do about a trip that did not end well: the likely cause, whose turn it is, what to change and where.

`ADVICE` has every word that a trip's row can have for its end, and the rows hold our words alone: nothing here repeats
what a provider wrote.
"""

from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings

from credentials.console.timeline import name_of
from credentials.link.diagnosis import BROKE_DOWN, callback_advice
from credentials.link.ending import broke_down
from credentials.models import Authorization, End, Outcome, Step
from providers.answers import REFUSALS
from providers.errors import AuthorizationDenied, ProviderUnavailable, TokenRequestRejected


class Turn(StrEnum):
    """Who can change it. `{name}` is the provider's."""

    END_USER = "It is the end user's turn"
    HERE = "It is your turn, here"
    THERE = "It is your turn, at {name}"
    BACKEND = "It is your turn, in your backend"
    NOBODY = "It is nobody's turn but {name}'s"
    SECURITY = "Stopped for safety"


class Place(StrEnum):
    """What the page leads to."""

    OAUTH_APP = "oauth_app"
    REDIRECT_URIS = "redirect_uris"
    CREDENTIAL = "credential"
    CALLBACK_URL = "callback_url"
    PROVIDER = "provider"  # its documentation


@dataclass(frozen=True)
class Advice:
    turn: str
    cause: str
    fix: str
    places: frozenset[str] = frozenset()


def of(turn: Turn, words: tuple[str, str], *places: Place) -> Advice:
    return Advice(turn, *words, frozenset(places))


# What the developer reads on the page of `debug=true`, in the same words
CLIENT_REFUSED = callback_advice(TokenRequestRejected("", reason="invalid_client"))
CODE_REFUSED = callback_advice(TokenRequestRejected("", reason="invalid_grant"))
DENIED = callback_advice(AuthorizationDenied("", error="access_denied"))
SCOPE_REFUSED = callback_advice(AuthorizationDenied("", error="invalid_scope"))
UNAVAILABLE = callback_advice(ProviderUnavailable(""))
ANYTHING_ELSE = callback_advice(None)

ADVICE = {
    # ---- the provider's, in the words of RFC 6749
    "access_denied": of(Turn.END_USER, DENIED, Place.PROVIDER),
    "invalid_scope": of(Turn.HERE, SCOPE_REFUSED, Place.OAUTH_APP, Place.PROVIDER),
    "invalid_client": of(Turn.HERE, CLIENT_REFUSED, Place.OAUTH_APP, Place.PROVIDER),
    "invalid_grant": of(Turn.THERE, CODE_REFUSED, Place.CALLBACK_URL, Place.PROVIDER),
    "unauthorized_client": of(
        Turn.THERE,
        (
            "The provider does not let this app use the authorization code flow, or has not approved it yet.",
            "Look at the app's status, type and permissions in the provider's console, then start again.",
        ),
        Place.PROVIDER,
        Place.OAUTH_APP,
    ),
    "unsupported_response_type": of(
        Turn.THERE,
        (
            "The app is registered there for another flow than the authorization code flow.",
            "Switch the authorization code flow on in the app's settings there, or register a web application.",
        ),
        Place.PROVIDER,
    ),
    "invalid_request": of(
        Turn.HERE,
        (
            "The provider finds the request incomplete or malformed: most often a variable of the OAuth app is "
            "missing or wrong, or the callback URL below is not the one that is registered there.",
            "Compare the variables and the callback URL with the app's settings at the provider, then start again.",
        ),
        Place.OAUTH_APP,
        Place.CALLBACK_URL,
        Place.PROVIDER,
    ),
    "unsupported_grant_type": of(
        Turn.THERE,
        (
            "The app may not exchange codes for tokens there: it is registered for another flow.",
            "Switch the authorization code flow on in the app's settings there, or register a web application.",
        ),
        Place.PROVIDER,
    ),
    "invalid_token": of(Turn.THERE, ANYTHING_ELSE, Place.PROVIDER),
    "unsupported_token_type": of(Turn.THERE, ANYTHING_ELSE, Place.PROVIDER),
    "server_error": of(Turn.NOBODY, BROKE_DOWN, Place.PROVIDER),
    "temporarily_unavailable": of(Turn.NOBODY, UNAVAILABLE, Place.PROVIDER),
    # ---- ours, before anything was asked of the provider
    "session_mismatch": of(
        Turn.SECURITY,
        (
            "The answer came into another browser than the one that was sent to the provider. Somebody has opened the "
            "link in one browser and ended in another, cookies are blocked, or the link was passed on by somebody else "
            "to connect the wrong account.",
            "Start again, and stay in one browser. Send nobody the address of the provider's page, but a start link.",
        ),
    ),
    "context_mismatch": of(
        Turn.SECURITY,
        (
            "The answer came to the callback URL of another provider or OAuth app. Either the callback URL that is "
            "registered at the provider is not this app's, or somebody has tried to mix up two providers.",
            "Compare the callback URL that is registered at the provider with the one below, then start again.",
        ),
        Place.CALLBACK_URL,
        Place.OAUTH_APP,
    ),
    "issuer_mismatch": of(
        Turn.SECURITY,
        (
            "The answer names another authorization server than the one that was asked, so the code was sent nowhere.",
            "Check that the variables of the OAuth app name the right server. If they do, tell whoever runs this "
            "gateway: somebody may be in between.",
        ),
        Place.OAUTH_APP,
        Place.PROVIDER,
    ),
    "link_withdrawn": of(
        Turn.HERE,
        (
            "While the end user was at the provider, the OAuth app was disabled, or the redirect URI was removed, or "
            "the provider was taken out of the catalogue.",
            "Enable the OAuth app and register the redirect URI again, then start again.",
        ),
        Place.OAUTH_APP,
        Place.REDIRECT_URIS,
    ),
    # ---- ours, after the code was issued
    "code_refused": of(
        Turn.BACKEND,
        (
            "Your backend sent our code with another redirect_uri than the start link had, or without the "
            "code_verifier that belongs to the link's code_challenge. Somebody may also have tried a stolen code.",
            "Send the same redirect_uri, and the code_verifier of the same start, to {token_endpoint}. The tokens were "
            "given back to the provider, so the end user has to start again.",
        ),
    ),
    # ---- ours, of a reconnection or of what is to be kept
    "another_account": of(
        Turn.END_USER,
        (
            "The end user was signed in at the provider with another account than the one that this credential is of.",
            "Start again, and sign in there with the account of the credential. To put another account in its place "
            "on purpose, make the reconnection with identity “any”.",
        ),
        Place.CREDENTIAL,
    ),
    "already_connected": of(
        Turn.HERE,
        (
            "The account that was connected belongs to another credential already, and one account is one credential.",
            "Use that other credential, or delete it first, then start again.",
        ),
        Place.CREDENTIAL,
    ),
    "credential_gone": of(
        Turn.HERE,
        (
            "The credential that was to be reconnected was deleted while the end user was at the provider.",
            "Start an ordinary connection: it makes a new credential.",
        ),
        Place.OAUTH_APP,
    ),
    "not_kept": of(Turn.THERE, ANYTHING_ELSE, Place.OAUTH_APP, Place.PROVIDER),
}

NOT_UNDERSTOOD = of(Turn.THERE, ANYTHING_ELSE, Place.OAUTH_APP, Place.CALLBACK_URL, Place.PROVIDER)
NOT_FINISHED = of(
    Turn.END_USER,
    (
        "The end user closed the provider's page, or saw an error there. Providers show an error of their own, and "
        "send nobody back, if they do not know the client ID or if the callback URL is not registered with them.",
        "Start again and look at the provider's page. If it shows an error, compare the client ID and the callback "
        "URL below with the app's settings there.",
    ),
    Place.CALLBACK_URL,
    Place.OAUTH_APP,
    Place.PROVIDER,
)
INTERRUPTED = of(
    Turn.END_USER,
    ("This gateway was stopped while it asked the provider for the tokens.", "Start again."),
)
NOT_FETCHED = of(
    Turn.BACKEND,
    (
        "The end user agreed and was sent back with a code, but your backend did not exchange it in the {seconds} "
        "seconds that it was good for.",
        "At the redirect URI, send the code at once to {token_endpoint}, with the OAuth app's id and client secret.",
    ),
    Place.REDIRECT_URIS,
)
NOT_KEPT_IN_TIME = of(
    Turn.HERE,
    (
        "The end user agreed, but the browser was closed before it was back in the console, so that nothing was kept.",
        "Start again, and wait until the console says that it is connected.",
    ),
    Place.OAUTH_APP,
)
NOT_STORED_IN_TIME = of(
    Turn.HERE,
    (
        "The end user agreed, but what came could not be stored, and was tried again for ten minutes.",
        "Look whether this gateway and its database are well, then send the account's owner a new link.",
    ),
    Place.CREDENTIAL,
)
LEFT_BEHIND = {End.REDIRECT_URI: NOT_FETCHED, End.PAGE: NOT_STORED_IN_TIME}


def code_of(trip: Authorization) -> str:
    """What went wrong, as precisely as the row says; empty if `server_error` is our word, and not the provider's own.

    For the developer, a refused token request and an answer that nobody understands are that, too.
    """
    if trip.error != "server_error" or broke_down(trip):
        return trip.error
    return next((reason for reason, words in REFUSALS.items() if words == trip.error_description), "")


def advice_for(trip: Authorization, outcome: Outcome) -> Advice | None:
    """None if there is nothing to do, or not yet."""
    match outcome:
        case Outcome.DENIED | Outcome.FAILED:
            advice = ADVICE.get(code_of(trip), NOT_UNDERSTOOD)
        case Outcome.NOT_FINISHED:
            advice = NOT_FINISHED if trip.step == Step.STARTED else INTERRUPTED
        case Outcome.NOT_FETCHED:
            advice = LEFT_BEHIND.get(End(trip.ends_at), NOT_KEPT_IN_TIME)
        case _:
            return None
    seconds, token_endpoint = settings.CODE_TTL, f"{settings.PUBLIC_URL}/link/oauth2/token"
    return Advice(
        turn=advice.turn.format(name=name_of(trip.provider)),
        cause=advice.cause.format(seconds=seconds, token_endpoint=token_endpoint),
        fix=advice.fix.format(seconds=seconds, token_endpoint=token_endpoint),
        places=advice.places,
    )
