"""The first steps, from an empty account to the first connected one. What is there already is ticked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import Exists, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from credentials.console.seen import Seen
from credentials.models import Credential
from oauth_apps.console.choice import choice_of
from oauth_apps.models import Account, ApiToken, OAuthApp, RedirectURI

# Where a step ends, and where one looks whether it has
LEADS_ON = {
    "oauth_apps_oauthapp_changelist", "oauth_apps_oauthapp_change", "oauth_apps_redirecturi_changelist",
    "oauth_apps_redirecturi_change", "oauth_apps_apitoken_changelist", "oauth_apps_apitoken_change",
    "oauth_apps_apitoken_add",
}  # fmt: skip
OVER = "first_steps_over"  # in the session: of what was seen a credential in; the newcomer's thread ends there

SANDBOX = (
    "No account at a provider yet? Choose the environment “sandbox”: then a stand-in for the provider answers,"
    " which is built in and asks for no account anywhere."
)


@dataclass(frozen=True)
class Step:
    """`other_url`: the way for whom the button is too narrow."""

    title: str
    words: str
    button: str
    url: str
    hint: str = ""
    other_url: str = ""
    is_done: bool = False
    is_next: bool = False


@dataclass(frozen=True)
class Checklist:
    steps: list[Step]

    @property
    def done(self) -> int:
        return sum(step.is_done for step in self.steps)

    @property
    def following(self) -> Step | None:
        """What comes next; None after the last."""
        return next((step for step in self.steps if step.is_next), None)

    @property
    def is_complete(self) -> bool:
        return all(step.is_done for step in self.steps)


def checklist(there_are: Mapping[str, int], oauth_app: OAuthApp | None = None) -> Checklist:
    """`there_are`: how many `oauth_apps`, `redirect_uris`, `api_tokens` and `credentials`. `oauth_app`: one of them,
    to connect the first account with.
    """
    everywhere = reverse("admin:connect")
    here = f"{everywhere}?{urlencode({'provider': oauth_app.provider})}" if oauth_app else everywhere
    steps = {
        "oauth_apps": Step(
            title="Register an OAuth app",
            words="It is how you are known to a provider, your users' payment service or CRM, say: a client ID and a"
            " client secret.",
            hint=SANDBOX if settings.SANDBOX else "",
            button="Register an OAuth app",
            url=reverse("admin:oauth_apps_oauthapp_add"),
        ),
        "redirect_uris": Step(
            title="Add a redirect URI",
            words="Where your end users come back to, in your application, after they have approved."
            " http://127.0.0.1/callback will do while you try.",
            button="Add a redirect URI",
            url=reverse("admin:oauth_apps_redirecturi_add"),
        ),
        "api_tokens": Step(
            title="Create an API token",
            words="Your backend shows it to get access tokens that are always fresh.",
            button="Create an API token",
            url=reverse("admin:oauth_apps_apitoken_add"),
        ),
        "credentials": Step(
            title="Connect an account",
            words="Approve at the provider, as one of your end users would. The tokens are kept here as a credential,"
            " and stay fresh.",
            button=f"Connect an account with {oauth_app.name}" if oauth_app else "Connect an account",
            url=here,
            other_url=everywhere if oauth_app else "",
        ),
    }
    following = next((name for name in steps if not there_are.get(name)), None)
    return Checklist(
        [replace(step, is_done=bool(there_are.get(name)), is_next=name == following) for name, step in steps.items()]
    )


def usable_api_tokens(now: datetime) -> "QuerySet[ApiToken]":
    return ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)


def thread(request: HttpRequest) -> Checklist | None:
    """What leads a newcomer on from page to page; None elsewhere, and once an account is connected.

    It costs one statement, and none after that.
    """
    if not hasattr(request, "_first_steps"):
        request._first_steps = _thread(request)  # type: ignore[attr-defined]
    found: Checklist | None = request._first_steps  # type: ignore[attr-defined]
    return found


def _thread(request: HttpRequest) -> Checklist | None:
    match, here = request.resolver_match, choice_of(request)
    if match is None or match.url_name not in LEADS_ON or not here.offered:
        return None
    place, over = str(here.chosen.pk) if here.chosen else "all", request.session.get(OVER, [])
    if place in over:
        return None
    there_are = _there_are(_seen(request))
    if there_are["credentials"]:
        request.session[OVER] = [*over, place]
        return None
    return checklist(there_are)


def _seen(request: HttpRequest) -> Seen:
    here = choice_of(request)
    if here.chosen:
        return Seen([here.chosen.pk])
    return Seen(None if request.user.is_superuser else [account.pk for account in here.offered])


def _there_are(seen: Seen) -> dict[str, bool]:
    """Of which there is any."""
    rows = {
        "oauth_apps": seen(OAuthApp.objects.all()),
        "redirect_uris": seen(RedirectURI.objects.all()),
        "api_tokens": seen(usable_api_tokens(timezone.now())),
        "credentials": seen(Credential.objects.all()),
    }
    found = Account.objects.order_by().values_list(*(Exists(those) for those in rows.values()))[:1]  # of any account
    return dict(zip(rows, found[0], strict=True))
