"""One trip as it is told afterwards: step by step how far it came."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit

from credentials.models import Authorization, End, Step
from providers import catalogue
from providers.oauth2 import denial
from providers.variables import VariableNotAccepted

ERASED_AFTER = timedelta(minutes=10)  # from the end of the code: AuthorizationQuerySet.unclaimed

NOT_THE_ANSWER_TO_IT = {"context_mismatch", "session_mismatch", "issuer_mismatch"}

State = Literal["done", "failed", "waiting", "skipped"]


@dataclass(frozen=True)
class Moment:
    """One step. `at`: None where nobody has written down when, or it has not happened."""

    title: str
    state: State
    words: str = ""
    at: datetime | None = None


def timeline(trip: Authorization, *, now: datetime) -> list[Moment]:
    """The steps of a trip, whose `oauth_app` and `started_by` are at hand: no statement is made here."""
    name = name_of(trip.provider)
    moments = [Moment("Started", "done", started_words(trip), trip.created_at)]
    for moment in (sent(trip, name), came_back(trip, name, now), exchanged(trip, name, now), *ended(trip, name, now)):
        states = {earlier.state for earlier in moments}
        if states & {"failed", "waiting"}:
            moment = Moment(moment.title, "skipped", "Not reached." if "failed" in states else "")
        moments.append(moment)
    return moments


def name_of(slug: str) -> str:
    provider = catalogue.load().get(slug)
    return provider.name if provider else slug


def started_words(trip: Authorization) -> str:
    if trip.ends_at == End.TRIAL:
        return f"With “Try it” in the console, by {starter(trip)}."
    if trip.ends_at == End.CONSOLE:
        return f"In the console, by {starter(trip)}" + (", to reconnect a credential." if trip.credential_id else ".")
    if trip.credential_id:
        return "By a link that reconnects a credential."
    if vars(trip).get("client_state_json") is not None:  # the seal stays closed
        return "By a single-use link that the developer's backend made."
    return "By a start link of the developer."


def starter(trip: Authorization) -> str:
    return trip.started_by.get_username() if trip.started_by else "a user who is deleted by now"


def sent(trip: Authorization, name: str) -> Moment:
    title = f"Sent to {name}"
    if trip.step == Step.FAILED and trip.state_taken_at is None:
        return Moment(title, "failed", f"{name} was asked first, and refused. {trip.error_description}")
    host = host_of_provider(trip)
    host += ", the sandbox" if trip.snapshot.get("sandbox") else ""
    return Moment(title, "done", f"The browser was sent to {host}." if host else "", trip.created_at)


def host_of_provider(trip: Authorization) -> str:
    """Where the end user was sent; nothing of the address but the host, which is the sandbox's or the provider's."""
    provider = catalogue.load().get(trip.provider)
    if provider is None or trip.snapshot.get("sandbox"):
        return urlsplit(trip.snapshot.get("token_endpoint", "")).netloc
    try:
        bound = provider.bound(trip.snapshot.get("variables", {}))
    except VariableNotAccepted:  # the catalogue's rule is another by now
        return ""
    return urlsplit(bound.authorization_endpoint).netloc


def came_back(trip: Authorization, name: str, now: datetime) -> Moment:
    title, at = "Came back", trip.state_taken_at
    if trip.step == Step.STARTED:
        if trip.expires_at > now:
            return Moment(title, "waiting", f"Waiting for the end user at {name} until {clock(trip.expires_at)}.")
        return Moment(title, "failed", f"The end user did not come back from {name} by {clock(trip.expires_at)}.")
    if trip.error in NOT_THE_ANSWER_TO_IT:
        return Moment(title, "failed", trip.error_description, at)
    if trip.granted_at is None and brought_an_error(trip):
        return Moment(title, "failed", f"{name} sent no code. {trip.error_description}", at)
    return Moment(title, "done", "In the browser in which it was started.", at)


def brought_an_error(trip: Authorization) -> bool:
    """Whether the browser came with an error instead of a code. The token endpoint's refusals have other words."""
    provider = catalogue.load().get(trip.provider)
    return provider is not None and trip.error_description in {str(denial(provider, word)) for word in (trip.error, "")}


def exchanged(trip: Authorization, name: str, now: datetime) -> Moment:
    title = f"Tokens fetched from {name}"
    if trip.granted_at is not None:
        scopes = len(trip.scopes)
        asked = f"{scopes} scope{'' if scopes == 1 else 's'} had been asked for." if scopes else ""
        return Moment(title, "done", asked, trip.granted_at)
    if trip.step == Step.RETURNED:
        if trip.expires_at > now:
            return Moment(title, "waiting", f"{name} is being asked.")
        return Moment(title, "failed", "This was interrupted, and nothing was kept.")
    return Moment(title, "failed", trip.error_description)


def ended(trip: Authorization, name: str, now: datetime) -> list[Moment]:
    if trip.ends_at == End.REDIRECT_URI:
        issued = f"The browser was sent to {host_of(trip.redirect_uri)}."
        return [Moment("Our code issued", "done", issued, trip.granted_at), fetched(trip, name, now)]
    return [kept(trip, name, now)]


def fetched(trip: Authorization, name: str, now: datetime) -> Moment:
    title, at = "Code fetched by the developer", trip.code_taken_at
    match trip.step:
        case Step.EXCHANGED:
            return Moment(title, "done", "The tokens are in the developer's hands.", at)
        case Step.FAILED:
            return Moment(title, "failed", trip.error_description, at)
        case Step.ABANDONED:
            return Moment(title, "failed", f"Nobody fetched them: they were erased, and given back to {name}.", at)
    if trip.expires_at > now:
        return Moment(title, "waiting", f"Waiting for the developer's backend until {clock(trip.expires_at)}.")
    return Moment(title, "failed", f"Not by {clock(trip.expires_at)}: the tokens are about to be erased.")


def kept(trip: Authorization, name: str, now: datetime) -> Moment:
    title, at = "Kept as a credential", trip.code_taken_at
    until = clock(trip.expires_at + ERASED_AFTER)
    match trip.step:
        case Step.EXCHANGED:
            return Moment(title, "done", "", at)
        case Step.FAILED:
            return Moment(title, "failed", trip.error_description, at)
        case Step.ABANDONED if trip.ends_at == End.TRIAL:
            return Moment(title, "skipped", f"Nobody wanted to: they were erased, and given back to {name}.", at)
        case Step.ABANDONED:
            return Moment(title, "failed", f"Nobody came for them: they were erased, and given back to {name}.", at)
    if trip.ends_at == End.PAGE:  # the purge keeps it, as long as the tokens are there
        if trip.expires_at + ERASED_AFTER > now:
            return Moment(title, "waiting", "Not yet. That happens by itself, within two minutes.")
        return Moment(title, "failed", "They could not be stored, and are about to be erased.")
    return Moment(title, "waiting", f"Not yet. At about {until} they are erased, and given back to {name}.")


def host_of(url: str) -> str:
    return urlsplit(url).netloc


def clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"
