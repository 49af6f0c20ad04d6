"""How a trip ended that ends on a page of ours, in words for the end user: what happened, and whose turn it is."""

from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.link.pages import names_of
from credentials.models import Authorization, Step
from oauth_apps.models import OAuthApp
from providers import catalogue
from providers.oauth2 import denial

WAITING = {Step.STARTED, Step.RETURNED}


@dataclass(frozen=True)
class Ending:
    """`title` and the others may name the provider and the account: `%(provider)s`, `%(account)s`."""

    title: Any
    message: Any
    turn: Any
    is_good: bool = False
    changes_soon: bool = False  # by itself: the page offers to look again


CONNECTED = Ending(
    _("Your %(provider)s account is connected"),
    _("%(account)s can use it again from now on."),
    _("You may close this page."),
    is_good=True,
)
UNDER_WAY = Ending(
    _("This connection is not finished yet"),
    _("Nothing has come back from %(provider)s so far."),
    _("Go on there, then reload this page."),
)
NOT_STORED_YET = Ending(
    _("One moment more"),
    _("%(provider)s has agreed, and it is not stored yet. That happens by itself, within two minutes."),
    _("You have nothing more to do. Look again in a moment, or close this page."),
    changes_soon=True,
)
NOT_STORED = Ending(
    _("The connection could not be stored"),
    _("%(provider)s has agreed, and then it could not be stored here. Nothing was connected."),
    _("Ask %(account)s for a new link. If it happens again, send them the reference below."),
)
TOO_LATE = Ending(
    _("This connection has expired"),
    _("You did not come back from %(provider)s in time, so nothing was connected."),
    _("Ask %(account)s for a new link."),
)
DENIED = Ending(
    _("Nothing was connected"),
    _("Access was not granted at %(provider)s, so nothing has changed."),
    _("If you want to connect the account after all, ask %(account)s for a new link."),
)
ANOTHER_ACCOUNT = Ending(
    _("That was another %(provider)s account"),
    _(
        "You signed in to %(provider)s with another account than the one that this link is for. Nothing was connected, "
        "and what was connected before has not changed."
    ),
    _("Sign out at %(provider)s, ask %(account)s for a new link, and sign in with the account that was connected."),
)
ALREADY_CONNECTED = Ending(
    _("This account is connected already"),
    _("%(account)s has this %(provider)s account under another entry. Nothing has changed."),
    _("It is the turn of %(account)s: tell them what this page says."),
)
GONE = Ending(
    _("This link leads to nothing any more"),
    _("What it was to connect has been removed meanwhile. Nothing was connected."),
    _("It is the turn of %(account)s: tell them what this page says."),
)
PROVIDER_DOWN = Ending(
    _("%(provider)s is not available right now"),
    _("It did not answer, or broke down while it did, so nothing was connected. This is no fault of yours."),
    _("Wait a few minutes, then ask %(account)s for a new link."),
)
MISCONFIGURED = Ending(
    _("%(account)s has to mend something first"),
    _("%(provider)s does not accept the app of %(account)s as it is set up. Nothing was connected."),
    _("It is the turn of the app's developer: send them the reference below."),
)
FAILED = Ending(
    _("The connection did not work"),
    _("%(provider)s answered in a way that could not be used. Nothing was connected."),
    _("Ask %(account)s for a new link. If it happens again, send them the reference below."),
)
BY_ERROR = {
    "access_denied": DENIED,
    "another_account": ANOTHER_ACCOUNT,
    "already_connected": ALREADY_CONNECTED,
    "credential_gone": GONE,
    "link_withdrawn": GONE,
    "temporarily_unavailable": PROVIDER_DOWN,
    "not_kept": NOT_STORED,
    "invalid_client": MISCONFIGURED,
    "unauthorized_client": MISCONFIGURED,
    "invalid_scope": MISCONFIGURED,
}


def of(authorization: Authorization) -> Ending:
    """As the row says today."""
    if authorization.step == Step.EXCHANGED:
        return CONNECTED
    if authorization.step == Step.GRANTED:
        return NOT_STORED_YET
    if authorization.step == Step.ABANDONED:
        return NOT_STORED
    if authorization.step in WAITING:
        return UNDER_WAY if authorization.expires_at > timezone.now() else TOO_LATE
    return PROVIDER_DOWN if broke_down(authorization) else BY_ERROR.get(authorization.error, FAILED)


def broke_down(authorization: Authorization) -> bool:
    """Whether the provider itself sent the browser back with `server_error`. The row says that word of much else."""
    provider = catalogue.load().get(authorization.provider)
    if provider is None or authorization.error != "server_error":
        return False
    return authorization.error_description == str(denial(provider, "server_error"))


def in_words(ending: Ending, oauth_app: OAuthApp) -> dict[str, Any]:
    """What the page shows."""
    names = names_of(oauth_app)
    return {
        "provider": catalogue.load().get(oauth_app.provider),
        "account": oauth_app.account.name,
        "is_good": ending.is_good,
        "changes_soon": ending.changes_soon,
        "title": str(ending.title) % names,
        "message": str(ending.message) % names,
        "turn": str(ending.turn) % names,
    }
