"""What the pages say on which a trip stops: what happened, and whose turn it is. For end users, in their language."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from credentials.link.errors import LinkError, OpenedByAnother, RequestRefused, StateNotAccepted
from credentials.link.redirects import end_of_ours
from credentials.models import Authorization, End, StartLink, Step
from oauth_apps.models import OAuthApp
from providers import catalogue


@dataclass(frozen=True)
class Page:
    """`can_try_again`: whether the same link may do better in a while, so that the page offers it."""

    title: Any
    message: Any
    turn: Any
    can_try_again: bool = False


AGAIN = _("Nothing was connected. Go back to the app that sent you here, and start again from there.")
DEVELOPERS_TURN = _(
    "Only the developer of the app that sent you here can mend this. Tell them what this page says, with the request "
    "id below."
)
DEVELOPERS_TURN_OF_A_TRIP = _(
    "Only the developer of the app that sent you here can mend this. Tell them what this page says, with the reference "
    "below."
)

PAGES = {
    "link_expired": Page(
        _("This link has expired or was already used"), _("Such a link works once, and for a short time only."), AGAIN
    ),
    "invalid_state": Page(
        _("We do not know this connection"),
        _(
            "It was started long ago, or its address was changed on the way back, or what it was for has been deleted "
            "meanwhile."
        ),
        AGAIN,
    ),
    "session_mismatch": Page(
        _("This link was opened somewhere else"),
        _(
            "The connection was begun in another browser, or this one keeps no cookies of this site. To protect you it "
            "goes no further here."
        ),
        _("Nothing was connected. Start again from the app, and stay in one browser until you are back."),
    ),
    "context_mismatch": Page(
        _("This answer does not belong here"),
        _("It has come back to the address of another provider or another app, so nobody was given anything."),
        AGAIN,
    ),
    "issuer_mismatch": Page(
        _("Somebody else has answered"),
        _("The answer names another sign-in server than the one that you were sent to, so we did not use it."),
        AGAIN,
    ),
    "link_withdrawn": Page(
        _("The app was changed meanwhile"),
        _("While you were away it was disabled, or the address that you were to come back to was removed."),
        DEVELOPERS_TURN_OF_A_TRIP,
    ),
    "invalid_client": Page(
        _("This link does not work"), _("It is not the link of an app that can be connected here."), DEVELOPERS_TURN
    ),
    "invalid_redirect_uri": Page(
        _("This link leads back to an unknown address"),
        _("The app has not registered the address that you were to come back to, so we do not send you there."),
        DEVELOPERS_TURN,
    ),
}
OF_ANOTHERS_CONSOLE = Page(
    _("This link was opened somewhere else"),
    _(
        "It was made in the console, for whoever made it and nobody else. In this browser somebody else is signed in "
        "to the console, or nobody is. To protect you it goes no further here."
    ),
    _(
        "Nothing was connected. If you made it yourself, sign in to the console and start again from there. If "
        "somebody sent it to you, do not go on: what you connect would be theirs."
    ),
)
FINISHED = Page(
    _("This connection is finished already"),
    _("You have come back to it, by the Back button or by reloading the page. What was connected stays connected."),
    _("Go back to the app."),
)
BROKEN_OFF = Page(
    _("This connection has ended already"),
    _("You have come back to it, by the Back button or by reloading the page. It did not succeed the first time."),
    AGAIN,
)
ENDED_ELSEWHERE = Page(
    BROKEN_OFF.title,
    _("Its answer came back in another browser than the one in which it was begun. To protect you it was ended there."),
    _("Nothing was connected. Start again from the app, and stay in one browser until you are back."),
)
ENDED_BY_ANOTHER = Page(
    BROKEN_OFF.title,
    _(
        "Its answer came back in another browser, or while somebody else was signed in to the console, or nobody. To "
        "protect you it was ended there."
    ),
    _("Nothing was connected. Start again from the console, and stay signed in there until you are back."),
)
TOO_LATE = Page(
    _("This connection has expired"), _("You came back after the time for it had run out. That protects you."), AGAIN
)

# of a link that leads to no redirect URI, so that there is nobody else to tell
OUTAGE = Page(
    _("The provider cannot be reached right now"),
    _("It did not answer in time. This is no fault of yours."),
    _("Nothing was connected. Wait a few minutes, then try again: the link is still good."),
    can_try_again=True,
)
OUTAGE_AND_OVER = Page(
    OUTAGE.title,
    OUTAGE.message,
    _("Nothing was connected, and this link is used up. Wait a few minutes, then start again with a new one."),
)
CANNOT_START = Page(
    _("This connection cannot be started"),
    _("Something about the link, or about the app that it is for, is not as it must be."),
    _("Nothing was connected. It is the turn of whoever has set up the app: what has to be mended is said below."),
)
CANCELLED = Page(
    _("Nothing was connected"), _("You did not go on, so nothing has changed."), _("You may close this page.")
)
STILL_GOOD = _("You may close this page. If you change your mind: the link works until %(end)s UTC.")
NO_MORE = _("You may close this page. The link works no more: ask %(account)s for a new one if you change your mind.")

# of a link that was sent along to an account's owner; may name the provider and the account
RECONNECT_LINK_OVER = Page(
    PAGES["link_expired"].title,
    _("It was for your %(provider)s account. Such a link works once, and for a limited time."),
    _(
        "Nothing was connected just now. Ask %(account)s for a new link if your %(provider)s account is not connected "
        "yet."
    ),
)


def of(exc: LinkError) -> Page:
    """The page of one refusal."""
    if isinstance(exc, OpenedByAnother):
        return OF_ANOTHERS_CONSOLE
    if isinstance(exc, StateNotAccepted) and exc.error == "invalid_state" and exc.authorization:
        return of_known(exc.authorization)
    if isinstance(exc, StateNotAccepted) and exc.link and was_sent_along(exc.link):
        return of_reconnect_link(exc.link)
    if page := PAGES.get(exc.error):
        return page
    if exc.error != "temporarily_unavailable":
        return CANNOT_START
    return OUTAGE if isinstance(exc, RequestRefused) and exc.can_try_again else OUTAGE_AND_OVER


def of_known(authorization: Authorization) -> Page:
    """Of an answer to a trip that cannot be answered any more."""
    if authorization.step in {Step.GRANTED, Step.EXCHANGED}:
        return FINISHED
    if authorization.error == "session_mismatch":
        return ENDED_BY_ANOTHER if authorization.ends_at in {End.CONSOLE, End.TRIAL} else ENDED_ELSEWHERE
    return TOO_LATE if authorization.step == Step.STARTED else BROKEN_OFF


def was_sent_along(link: StartLink) -> bool:
    """Whether it is for the owner of an account, wherever he is, and not for whoever made it in the console."""
    return link.credential_id is not None and link.ends_at not in {End.CONSOLE, End.TRIAL}


def of_reconnect_link(link: StartLink) -> Page:
    """Of one that is used or expired: what the page that asks first would have told of it, and no more."""
    names = names_of(link.oauth_app)
    page = RECONNECT_LINK_OVER
    return Page(page.title, str(page.message) % names, str(page.turn) % names)


def cancelled(link: StartLink | None) -> Page:
    """Of a link that leads to no redirect URI, and by which somebody did not want to go on."""
    if link is None:
        return CANCELLED
    if link.used_at is None and link.expires_at > timezone.now():
        turn = str(STILL_GOOD) % {"end": date_format(link.expires_at, "j F Y, H:i")}
    else:
        turn = str(NO_MORE) % names_of(link.oauth_app)
    return Page(CANCELLED.title, CANCELLED.message, turn)


def names_of(oauth_app: OAuthApp) -> dict[str, str]:
    """What a page may call the two that it is about."""
    provider = catalogue.load().get(oauth_app.provider)
    return {"provider": provider.name if provider else oauth_app.provider, "account": oauth_app.account.name}


def way_back_of(authorization: Authorization | None) -> tuple[str, str]:
    """Where whoever came back on that trip finds out how it ended, and a word for it: the app's host, or nothing."""
    if authorization is None or authorization.leads_nowhere:
        return "", ""
    if authorization.ends_at == End.REDIRECT_URI:
        return origin(authorization.redirect_uri)
    return end_of_ours(authorization), ""


def origin(redirect_uri: str) -> tuple[str, str]:
    """A plain link to the app, and its host in words: no path, no parameter. Empty for what is no web address."""
    try:
        parts = urlsplit(redirect_uri)
    except ValueError:
        return "", ""
    if parts.scheme not in {"https", "http"} or not parts.netloc:
        return "", ""
    return f"{parts.scheme}://{parts.netloc}/", parts.netloc
