"""The console: Django's admin, in django-unfold's clothes. What its pages show is each floor's own business."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, cast
from uuid import UUID

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.decorators import csp_replace
from django.contrib.admin import autodiscover
from django.contrib.admin.apps import SimpleAdminConfig
from django.core.checks import CheckMessage
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from unfold.sites import UnfoldAdminSite

View = Callable[..., HttpResponse]
METHODS = ["GET", "HEAD", "POST"]
POISON = re.compile(r"[\x00\ud800-\udfff]")

# Unfold's Alpine evaluates expressions, and its widgets set styles; no other page of the product may
POLICY = {
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF, UNSAFE_INLINE],
    "font-src": [SELF],
    "connect-src": [SELF],
}

# Section, and for each item: name, icon, the page's name in urls.py
NAVIGATION = [
    ("", [("Dashboard", "home", "index")]),
    (
        "Accounts",
        [
            ("OAuth Apps", "apps", "oauth_apps_oauthapp_changelist"),
            ("Redirect URIs", "alt_route", "oauth_apps_redirecturi_changelist"),
            ("API Tokens", "key", "oauth_apps_apitoken_changelist"),
            ("Webhooks", "webhook", "oauth_apps_webhookendpoint_changelist"),
            ("Members", "group", "oauth_apps_membership_changelist"),
            ("Audit log", "history", "oauth_apps_auditevent_changelist"),
        ],
    ),
    (
        "Connections",
        [
            ("Credentials", "link", "credentials_credential_changelist"),
            ("Authorizations", "route", "credentials_authorization_changelist"),
        ],
    ),
    (
        "Syncs",
        [
            ("Syncs", "sync", "syncs_sync_changelist"),
            ("Destinations", "database", "syncs_destination_changelist"),
        ],
    ),
]
PLATFORM = (
    "Platform",
    [
        ("All accounts", "domain", "oauth_apps_account_changelist"),
        ("Users", "person", "auth_user_changelist"),
        ("Sign-in attempts", "lock_clock", "axes_accessattempt_changelist"),
        ("Jobs", "schedule", "procrastinate_procrastinatejob_changelist"),
    ],
)


def with_policy(view: View) -> View:
    return cast(View, csp_replace(POLICY)(view))


def without_poison(view: View) -> View:
    """PostgreSQL knows no NUL and no lone surrogate in a text, and Django's admin asks it whatever it is sent."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method not in METHODS:
            return HttpResponseNotAllowed(METHODS)
        said = [request.path, *(text for name, values in request.GET.lists() for text in (name, *values))]
        if request.method == "POST":
            said += request.POST.getlist("_selected_action")
        if any(POISON.search(text) for text in said):
            raise BadRequest
        return view(request, *args, **kwargs)

    return wrapped


class Console(UnfoldAdminSite):
    index_title = "Dashboard"
    site_url = None
    index_template = "console/dashboard.html"

    def check(self, app_configs: Any) -> list[CheckMessage]:
        autodiscover()
        return super().check(app_configs)

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        return with_policy(without_poison(super().admin_view(view, cacheable)))

    def get_urls(self) -> list[URLPattern]:
        """Without Django's way from a row to its page on the site: no row has one."""
        return [entry for entry in super().get_urls() if getattr(entry, "name", "") != "view_on_site"]

    def extra_urls(self) -> list[URLPattern]:
        from oauth_apps.console import my_login, sign_in

        return [
            path("login/code/", with_policy(sign_in.second_factor), name="second_factor"),
            path("choose-account/", self.admin_view(require_POST(self.choose_account)), name="choose_account"),
            *my_login.urls(self),
        ]

    def extra_context(self, context: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        """What each page shows around its own. `first_steps`: called by pages that show them alone."""
        from credentials.console.checklist import thread
        from oauth_apps.console.choice import choice_of

        if not self.has_permission(request):
            return context | {"account_choice": None, "first_steps": None}
        return context | {"account_choice": choice_of(request), "first_steps": lambda: thread(request)}

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        sections = [*NAVIGATION, PLATFORM] if request.user.is_superuser else NAVIGATION
        return [{"title": title, "items": [self._item(request, *item) for item in items]} for title, items in sections]

    def _item(self, request: HttpRequest, title: str, icon: str, page: str) -> dict[str, Any]:
        link = reverse(f"{self.name}:{page}")
        is_here = request.path == link if page == "index" else request.path.startswith(link)
        return {"title": title, "icon": icon, "link": link, "active": is_here, "has_permission": True}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from credentials.console.dashboard import dashboard
        from credentials.console.seen import seen_by
        from syncs.console.needs import needs

        seen = seen_by(request)
        shown = {"dashboard": dashboard(seen), "syncs_that_need_somebody": needs(seen)}
        return super().index(request, {**(extra_context or {}), **shown})

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        from oauth_apps.console import sign_in

        return with_policy(never_cache(sign_in.sign_in))(request)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        from oauth_apps.console import my_login

        return my_login.change_password(request, super().password_change)

    def choose_account(self, request: HttpRequest) -> HttpResponse:
        from oauth_apps.console import choice

        chosen = request.POST.get("account", "")
        try:
            choice.choose(request, UUID(chosen) if chosen else None)
        except ValueError:
            raise BadRequest from None
        onward = request.POST.get("next", "")
        is_local = url_has_allowed_host_and_scheme(onward, allowed_hosts=None)
        return HttpResponseRedirect(onward if is_local else reverse(f"{self.name}:index"))


def locked_out(request: HttpRequest, response: HttpResponse | None, credentials: dict[str, Any] | None) -> HttpResponse:
    """What django-axes answers whoever has guessed too often."""
    from oauth_apps.console import sign_in

    return with_policy(sign_in.locked_out)(request, response, credentials)


class ConsoleConfig(SimpleAdminConfig):
    """Without AdminConfig's autodiscover(), which urls.py and the checks call: only who shows pages reads what they are
    made of. That saves each command and each worker a fifth of its start."""

    default_site = "sequin_auth.console.Console"
