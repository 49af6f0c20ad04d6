"""
`debug=true`: what came in, which rule it broke, the likely cause and the fix, for the developer in front of the page.

Whoever opens the page may be anybody, so it holds what the visitor sent, what the provider's documentation says, and
our own callback URL: no other registered URI, no account, no secret, nothing that a provider wrote.
"""

import re
from dataclasses import dataclass, field

from credentials.link.errors import ClientNotAccepted, LinkError, RedirectURINotRegistered, RequestRefused
from credentials.link.flow import Arrival, VariablesWanted
from credentials.link.flow.start import requested_app, requested_scopes
from credentials.link.forms import START_PARAMETERS, Query
from credentials.models import s256
from oauth_apps.models import OAuthApp
from providers import catalogue, oauth1, oauth2
from providers.errors import AuthorizationDenied, ProviderError, ProviderUnavailable, TokenRequestRejected
from providers.provider import Provider
from providers.variables import Variable, VariableNotAccepted


@dataclass(frozen=True)
class Parameter:
    name: str
    value: str
    verdict: str  # "ok", "problem", "ignored"


@dataclass(frozen=True)
class Diagnosis:
    """One page. Links are empty where there is none to give."""

    rule: str
    cause: str
    fix: str
    code: str
    parameters: list[Parameter] = field(default_factory=list)
    provider: Provider | None = None
    callback_url: str = ""
    authorization_url: str = ""
    back: str = ""


def of_start(query: Query, exc: LinkError) -> Diagnosis:
    """Why a start link was refused."""
    oauth_app = None if isinstance(exc, ClientNotAccepted) else requested_app(query)
    cause, fix = START_ADVICE.get(type(exc), START_ADVICE[RequestRefused])
    if isinstance(exc, RequestRefused) and exc.parameter in START_PARAMETER_ADVICE:
        cause, fix = START_PARAMETER_ADVICE[exc.parameter]
    if isinstance(exc.__cause__, ProviderError):  # it was asked before the end user could leave
        cause, fix = callback_advice(exc.__cause__)
    return Diagnosis(
        rule=str(exc),
        cause=cause,
        fix=fix,
        code=exc.error,
        parameters=parameters_of(query, wrong_parameter(exc), oauth_app),
        provider=oauth_app.definition if oauth_app else None,
        callback_url=oauth_app.callback_url if oauth_app else "",
        authorization_url=would_have_been_sent_to(query, oauth_app) if oauth_app else "",
        back=exc.location if isinstance(exc, RequestRefused) else "",
    )


def of_callback(arrival: Arrival) -> Diagnosis:
    """Why the provider gave nothing."""
    authorization, problem = arrival.authorization, arrival.problem
    cause, fix = callback_advice(problem)
    return Diagnosis(
        rule=str(problem),
        cause=cause,
        fix=fix,
        code=problem.error if problem else "",
        provider=catalogue.load().get(authorization.provider),
        callback_url=authorization.callback_url,
        back=arrival.location,
    )


def callback_advice(problem: ProviderError | None) -> tuple[str, str]:
    match problem:
        case TokenRequestRejected(reason="invalid_client"):
            return (
                "The client id or the client secret of the OAuth app is not the one that the provider knows, or the "
                "secret was replaced there.",
                "Copy both again from the provider's console into the OAuth app, then start again.",
            )
        case TokenRequestRejected(reason="invalid_grant"):
            return (
                "The provider gave a code and then refused it: most often the callback URL registered there differs "
                "from the one below.",
                "Register the callback URL below at the provider, letter by letter, then start again.",
            )
        case AuthorizationDenied(error="access_denied"):
            return (
                "Somebody pressed Cancel, or an administrator at the provider does not allow this app.",
                "Start again and approve; if it goes on, ask the provider's administrator to allow the app.",
            )
        case AuthorizationDenied(error="invalid_scope"):
            return (
                "The provider does not know a scope that was asked for, or the app may not ask for it.",
                "Compare the scope of the link, and the OAuth app's default scopes, with the app's settings there.",
            )
        case ProviderUnavailable():
            return ("The provider is down, slow or limits its callers.", "Start again in a few minutes.")
        case _:
            return (
                "The provider's answer was not what its documentation promises, or the app is set up otherwise there.",
                "Follow the provider's setup steps again, and compare the app's settings with them.",
            )


SECRET = re.compile(r"secret|password|token|key|^code$|code_verifier", re.IGNORECASE)
START_ADVICE: dict[type[LinkError], tuple[str, str]] = {
    ClientNotAccepted: (
        "client_id has to be the id of the OAuth app here, a UUID in lower case. It is not the client id that the "
        "provider gave you. The app may also have been disabled or deleted.",
        "Copy the id of the OAuth app from the console or from GET /v1/oauth-apps.",
    ),
    RedirectURINotRegistered: (
        "redirect_uri has to equal a registered redirect URI byte by byte: scheme, port, letter case and the slash at "
        "the end count. The segment :provider in a registered one stands for this app's provider alone.",
        "Register exactly the redirect_uri shown above, in the console or by POST /v1/redirect-uris, or mend the link.",
    ),
    RequestRefused: (
        "A parameter of the link is repeated, malformed or not supported.",
        "Correct the parameter marked above.",
    ),
}
START_PARAMETER_ADVICE = {
    "scope": (
        "A scope holds a character that RFC 6749 does not allow, often a quotation mark or a line break.",
        "Separate scopes by spaces or commas, and encode the parameter once.",
    ),
    "code_challenge_method": (
        "Only S256 is taken; an absent method means plain (RFC 7636, 4.3).",
        "Send code_challenge_method=S256.",
    ),
    "state": ("The state is too long.", "Keep what you need on your side, and send a key to it as state."),
}


def wrong_parameter(exc: LinkError) -> str:
    if isinstance(exc, ClientNotAccepted):
        return "client_id"
    if isinstance(exc, RedirectURINotRegistered):
        return "redirect_uri"
    return exc.parameter if isinstance(exc, RequestRefused) else ""


def parameters_of(query: Query, wrong: str, oauth_app: OAuthApp | None) -> list[Parameter]:
    """Every parameter as it was received."""
    known = {*START_PARAMETERS, *(oauth_app.definition.variables if oauth_app else ())}
    received = query.as_dict()
    if wrong in {"client_id", "redirect_uri"} and wrong not in received:
        received = {wrong: ""} | received
    verdicts = {name: "problem" if name == wrong else "ok" if name in known else "ignored" for name in received}
    return [Parameter(name[:100], shown(name, value), verdicts[name]) for name, value in list(received.items())[:50]]


def shown(name: str, value: str) -> str:
    """What was received; a secret that has no place in a link is not repeated on a page."""
    return "(not shown)" if SECRET.search(name) else value[:2000]


def would_have_been_sent_to(query: Query, oauth_app: OAuthApp) -> str:
    """The provider's page, with a state that leads nowhere; empty if the link is not good enough to say."""
    definition = oauth_app.definition
    given = {name: query.text(name) for name in definition.variables if query.raw(name)}
    try:
        variables = definition.accept_variables(given, fixed=oauth_app.variables)
        if definition.missing_variables(variables):
            return ""
        provider = definition.bound(variables, sandbox_url=oauth_app.sandbox_url)
        scopes = requested_scopes(query, oauth_app, definition)
    except (VariableNotAccepted, RequestRefused):
        return ""
    if provider.auth == "oauth1":
        return oauth1.authorization_url(provider, oauth1.Token("not-a-token", ""), scopes=scopes)
    return oauth2.authorization_url(
        provider,
        oauth_app.client(variables),
        redirect_uri=oauth_app.callback_url,
        state="not-a-state",
        scopes=scopes,
        code_challenge=s256("not-a-verifier") if provider.code_challenge_methods_supported else "",
    )


# ---- the hosted page for variables -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    name: str
    variable: Variable
    problem: str
    value: str


def fields_of(step: VariablesWanted) -> list[Field]:
    variables = step.provider.variables
    return [
        Field(name, variables[name], step.problems.get(name, ""), step.typed.get(name, variables[name].default))
        for name in step.names
    ]
