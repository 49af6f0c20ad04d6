"""
`debug=true`: what came in, which rule it broke, the likely cause and the fix, for the developer in front of the page.

Whoever opens the page may be anybody, so it holds what the visitor sent, what the provider's documentation says, and
our own callback URL: no other registered URI, no account, no secret, nothing that a provider wrote. Whoever is signed
in to the console is told more of his own accounts, and of nobody else's.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse

from credentials.link import redirect_uri_marks
from credentials.link.ending import broke_down
from credentials.link.errors import ClientNotAccepted, LinkError, RedirectURINotRegistered, RequestRefused
from credentials.link.flow import Arrival, VariablesWanted
from credentials.link.flow.start import requested_app, requested_scopes
from credentials.link.forms import START_PARAMETERS, Query, canonical_uuid
from credentials.link.redirect_uri_marks import Marked
from credentials.models import s256
from oauth_apps.models import Account, OAuthApp, RedirectURI
from providers import catalogue, oauth1, oauth2
from providers.errors import AuthorizationDenied, ProviderError, ProviderUnavailable, TokenRequestRejected
from providers.provider import Provider
from providers.showing import facts
from providers.variables import Variable, VariableNotAccepted


@dataclass(frozen=True)
class Insider:
    """Who looks at the page. `accounts`: his own; None for a visitor who is not signed in to the console."""

    accounts: QuerySet[Account] | None = None

    @property
    def is_signed_in(self) -> bool:
        return self.accounts is not None

    def is_of(self, oauth_app: OAuthApp) -> bool:
        return self.accounts is not None and self.accounts.filter(pk=oauth_app.account_id).exists()


@dataclass(frozen=True)
class Parameter:
    name: str
    value: str
    verdict: str  # "ok", "problem", "ignored"
    why: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """One page. Links are empty where there is none to give.

    `hints`: what this provider is known for, as far as it bears on the fault; `setup`: all steps in its console;
    `sent`: the redirect URI with what is odd marked. For insiders: `compared` with the `nearest` registered one,
    `register_url`, and `of_client`, what has become of the OAuth app; for others `sign_in_url`.
    """

    rule: str
    cause: str
    fix: str
    code: str
    parameters: list[Parameter] = field(default_factory=list)
    provider: Provider | None = None
    hints: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    callback_url: str = ""
    authorization_url: str = ""
    back: str = ""
    sent: Marked | None = None
    compared: Marked | None = None
    nearest: str = ""
    register_url: str = ""
    of_client: str = ""
    sign_in_url: str = ""
    reference: str = ""  # the trip's id, where there is a trip


def of_start(query: Query, exc: LinkError, *, insider: Insider) -> Diagnosis:
    """Why a start link was refused."""
    oauth_app = None if isinstance(exc, ClientNotAccepted) else requested_app(query)[0]
    cause, fix = START_ADVICE.get(type(exc), START_ADVICE[RequestRefused])
    if isinstance(exc, RedirectURINotRegistered) and exc.is_missing:
        cause, fix = REDIRECT_URI_MISSING
    subject = ""
    if isinstance(exc, RequestRefused) and exc.parameter in START_PARAMETER_ADVICE:
        (cause, fix), subject = START_PARAMETER_ADVICE[exc.parameter], exc.parameter
    if isinstance(exc.__cause__, ProviderError):  # it was asked before the end user could leave
        (cause, fix), subject = callback_advice(exc.__cause__), subject_of(exc.__cause__)
    found: dict[str, object] = {}
    parameters = parameters_of(query, exc, oauth_app)
    if isinstance(exc, RedirectURINotRegistered) and oauth_app:
        subject = "redirect_uri"
        found = of_redirect_uri(query, oauth_app, insider)
        if query.text("redirect_uri") == oauth_app.callback_url:
            cause = (
                "That is the callback URL of this gateway, which the provider calls. redirect_uri is the address in "
                "your own app to which the end user comes back."
            )
    if isinstance(exc, ClientNotAccepted) and insider.is_signed_in:
        found = {"of_client": what_became_of(query, insider)}
    if not insider.is_signed_in and (isinstance(exc, ClientNotAccepted) or found.get("sent")):
        found["sign_in_url"] = sign_in_url(query)
    return Diagnosis(
        rule=str(exc),
        cause=cause,
        fix=fix,
        code=exc.error,
        parameters=parameters,
        provider=oauth_app.definition if oauth_app else None,
        hints=hints_of(oauth_app.definition, subject) if oauth_app else [],
        setup=setup_of(oauth_app) if oauth_app else [],
        callback_url=oauth_app.callback_url if oauth_app else "",
        authorization_url=would_have_been_sent_to(query, oauth_app) if oauth_app else "",
        back=exc.location if isinstance(exc, RequestRefused) else "",
        reference=exc.reference,
        **found,  # type: ignore[arg-type]
    )


def of_callback(arrival: Arrival) -> Diagnosis:
    """Why the provider gave nothing."""
    authorization, problem = arrival.authorization, arrival.problem
    cause, fix = BROKE_DOWN if broke_down(authorization) else callback_advice(problem)
    provider = catalogue.load().get(authorization.provider)
    return Diagnosis(
        rule=str(problem),
        cause=cause,
        fix=fix,
        code=problem.error if problem else "",
        provider=provider,
        hints=hints_of(provider, subject_of(problem)) if provider else [],
        setup=setup_of(authorization.oauth_app) if provider else [],
        callback_url=authorization.callback_url,
        back=arrival.location,
        reference=str(authorization.pk),
    )


# ---- the redirect URI and the client, for those whose they are -------------------------------------------------------


def of_redirect_uri(query: Query, oauth_app: OAuthApp, insider: Insider) -> dict[str, object]:
    sent = query.text("redirect_uri")
    if not sent:
        return {}
    found: dict[str, object] = {"sent": redirect_uri_marks.oddities(sent)}
    if not insider.is_of(oauth_app):
        return found
    registered = [row.for_provider(oauth_app.provider) for row in RedirectURI.objects.of(oauth_app.account_id)]
    if nearest := redirect_uri_marks.nearest(sent, registered):
        compared = redirect_uri_marks.differences(sent, nearest)
        sent_beside = redirect_uri_marks.untold(redirect_uri_marks.oddities(sent), compared)
        found |= {"nearest": nearest, "compared": compared, "sent": sent_beside}
    add = reverse("admin:oauth_apps_redirecturi_add")
    return found | {"register_url": f"{add}?{urlencode({'redirect_uri': sent[: redirect_uri_marks.LONGEST]})}"}


def what_became_of(query: Query, insider: Insider) -> str:
    """Of the client_id, as far as it is his own. Everybody else is told one and the same (A01)."""
    app_id = canonical_uuid(query.text("client_id")) if not query.repeated("client_id") else None
    oauth_app = OAuthApp.objects.filter(pk=app_id).first() if app_id else None
    if oauth_app is None or not insider.is_of(oauth_app):
        return "No OAuth app of your accounts has this id."
    if not oauth_app.enabled:
        return f"Your OAuth app “{oauth_app.name}” is disabled. Enable it in the console, and the link works again."
    return f"The provider of your OAuth app “{oauth_app.name}” is not in the catalogue any more."


def sign_in_url(query: Query) -> str:
    """Back to this page, for whoever signs in; without what has no place in a link."""
    again = {name: value for name, value in query.as_dict().items() if name in START_PARAMETERS}
    here = f"{reverse('start')}?{urlencode(again)}"
    return f"{reverse('admin:login')}?{urlencode({'next': here})}"


# ---- what the catalogue knows of the provider ------------------------------------------------------------------------


def subject_of(problem: ProviderError | None) -> str:
    match problem:
        case TokenRequestRejected(reason="invalid_client" | "unauthorized_client"):
            return "client"
        case TokenRequestRejected(reason="invalid_grant"):
            return "callback"
        case AuthorizationDenied(error="invalid_scope"):
            return "scope"
        case AuthorizationDenied():
            return "denial"
        case _:
            return ""


MENTIONS = {
    "client": re.compile(r"secret|client id|consumer|\bkey\b", re.IGNORECASE),
    "callback": re.compile(r"callback URL"),
    "scope": re.compile(r"scope|permission|product", re.IGNORECASE),
    "denial": re.compile(r"publish|review|distribution|administrator|approve|test", re.IGNORECASE),
}


def hints_of(provider: Provider, subject: str) -> list[str]:
    """What this provider is known for that bears on the fault."""
    name, hints = provider.name, []
    if subject == "redirect_uri":
        hints.append(f"{name} never sees redirect_uri: it is told our callback URL, whatever the link says.")
        hints += [f"At {name}, that one is registered: “{step}”" for step in mentioned(provider, "callback")]
    if subject in MENTIONS:
        hints += [f"Its setup says: “{step}”" for step in mentioned(provider, subject)]
    if subject == "scope":
        hints += scope_hints(provider)
    if subject == "denial" and provider.callback_errors:
        words = ", ".join(filter(None, provider.callback_errors))
        hints.append(f"{name} has words of its own for a refusal ({words}); they are translated for you.")
    if subject in {"client", "callback"}:
        hints += endpoint_hints(provider)
    return hints


def mentioned(provider: Provider, subject: str) -> list[str]:
    return [step for step in provider.setup if MENTIONS[subject].search(step)][:2]


def scope_hints(provider: Provider) -> list[str]:
    hints = []
    if known := list(facts.known_scopes(provider))[:8]:
        hints.append(f"Scopes of {provider.name}, for example: {', '.join(known)}.")
    if provider.scope_separator != " ":
        hints.append(
            f"{provider.name} separates scopes by “{provider.scope_separator}”. That is done for you: send spaces."
        )
    if provider.required_scopes:
        hints.append(f"{', '.join(provider.required_scopes)} is always asked for, whatever the link says.")
    return hints


def endpoint_hints(provider: Provider) -> list[str]:
    hints = []
    if provider.deployments:
        systems = ", ".join(provider.deployments)
        hints.append(
            f"{provider.name} has several systems ({systems}), and an app of one is unknown to the others: see the "
            "variable deployment of the OAuth app."
        )
    if provider.pkce_required:
        hints.append(f"{provider.name} demands PKCE. It is sent for you; the app there has to allow it.")
    if variables := [variable.label for variable in provider.variables.values() if variable.is_askable]:
        hints.append(f"Its address depends on: {', '.join(variables)}. The app has to be registered at that one.")
    return hints


def setup_of(oauth_app: OAuthApp) -> list[str]:
    """The steps in the provider's console, with the callback URL of this very app."""
    provider = oauth_app.definition
    shared = facts.callback_url(provider, settings.PUBLIC_URL) or ""
    return [step.replace(shared, oauth_app.callback_url) for step in facts.setup(provider, settings.PUBLIC_URL)]


# ---- advice ----------------------------------------------------------------------------------------------------------


BROKE_DOWN = (
    "Something broke at the provider while the end user was there, and it said so itself.",
    "Start again in a few minutes. If it goes on, look whether the provider reports an outage.",
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
        case ProviderUnavailable() | AuthorizationDenied(error="temporarily_unavailable"):
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
        "Register exactly the redirect_uri shown below, in the console or by POST /v1/redirect-uris, or mend the link.",
    ),
    RequestRefused: (
        "A parameter of the link is repeated, malformed or not supported.",
        "Correct the parameter that is marked below.",
    ),
}
REDIRECT_URI_MISSING = (
    "The link does not say where the end user is to come back to: it has no redirect_uri, or an empty one.",
    "Add redirect_uri to the link: one that is registered here, percent-encoded.",
)
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


def parameters_of(query: Query, exc: LinkError, oauth_app: OAuthApp | None) -> list[Parameter]:
    """Every parameter as it was received."""
    wrong = wrong_parameter(exc)
    known = {*START_PARAMETERS, *(oauth_app.definition.variables if oauth_app else ())}
    received = query.as_dict()
    if wrong in {"client_id", "redirect_uri"} and wrong not in received:
        received = {wrong: ""} | received
    parameters = []
    for name, value in list(received.items())[:50]:
        verdict = "problem" if name == wrong else "ok" if name in known else "ignored"
        why = str(exc) if verdict == "problem" else "" if verdict == "ok" else "Not known here, and not sent on."
        parameters.append(Parameter(name[:100], shown(name, value), verdict, why))
    return parameters


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
    hint: str


def fields_of(step: VariablesWanted) -> list[Field]:
    variables = step.provider.variables
    return [
        Field(
            name,
            variables[name],
            problem=step.problems.get(name, ""),
            value=step.typed.get(name, variables[name].default),
            hint=facts.hint(variables[name]),
        )
        for name in step.names
    ]
