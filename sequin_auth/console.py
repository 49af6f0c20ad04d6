"""The console: Django's admin, in django-unfold's clothes."""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.decorators import csp_replace
from django.contrib.admin.apps import AdminConfig
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from unfold.sites import UnfoldAdminSite

View = Callable[..., HttpResponse]

# Unfold's Alpine evaluates expressions, and its widgets set styles; no other page of the product may
POLICY = {
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF, UNSAFE_INLINE],
    "font-src": [SELF],
    "connect-src": [SELF],
}


def with_policy(view: View) -> View:
    return cast(View, csp_replace(POLICY)(view))


def without_nul(view: View) -> View:
    """PostgreSQL knows no NUL in a text, and Django's filters ask it."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if "%00" in request.META.get("QUERY_STRING", ""):
            raise BadRequest
        return view(request, *args, **kwargs)

    return wrapped


class Console(UnfoldAdminSite):
    index_title = "Console"
    site_url = None

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        return with_policy(without_nul(super().admin_view(view, cacheable)))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return with_policy(super().login)(request, extra_context)


class ConsoleConfig(AdminConfig):
    default_site = "sequin_auth.console.Console"
