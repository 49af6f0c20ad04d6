"""A console user's own login: password, second factor."""

from collections.abc import Callable
from typing import cast

import segno
from axes.handlers.proxy import AxesProxyHandler
from django import forms
from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from oauth_apps import audit
from oauth_apps.console.base import actor_of
from oauth_apps.console.choice import my_accounts
from oauth_apps.console.sign_in import NAME, CodeField, locked_out, problem_with_code, sole_account
from oauth_apps.models import Authenticator
from sequin_auth.lib import sessions

PASSWORD_ATTRIBUTES = {"autocomplete": "current-password"}


def urls(site: AdminSite) -> list[URLPattern]:
    return [
        path("my-login/", site.admin_view(my_login), name="my_login"),
        path("my-login/second-factor/begin/", site.admin_view(require_POST(begin)), name="second_factor_begin"),
        path("my-login/second-factor/", site.admin_view(set_up), name="second_factor_set_up"),
        path("my-login/second-factor/remove/", site.admin_view(remove), name="second_factor_remove"),
    ]


class CodeAndPassword(forms.Form):
    """An open browser alone must not be able to change how its owner signs in."""

    code = CodeField()
    password = forms.CharField(
        label="Your password", strip=False, max_length=4096, widget=forms.PasswordInput(attrs=PASSWORD_ATTRIBUTES)
    )


def my_login(request: HttpRequest) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "My login",
        "authenticator": Authenticator.confirmed_of(who(request).pk),
        "accounts": list(my_accounts(request).filter(memberships__user=who(request).pk)[:50]),
    }
    return render(request, "console/my_login.html", context)


def begin(request: HttpRequest) -> HttpResponse:
    if Authenticator.confirmed_of(who(request).pk) is not None:
        return redirect("admin:my_login")
    Authenticator.begin(who(request).pk)
    return redirect("admin:second_factor_set_up")


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("code", "password")
def set_up(request: HttpRequest) -> HttpResponse:
    """The key, as long as it is not confirmed, and the form that confirms it."""
    user = who(request)
    authenticator = Authenticator.unconfirmed_of(user.pk)
    if authenticator is None or Authenticator.confirmed_of(user.pk) is not None:
        return redirect("admin:my_login")
    form = CodeAndPassword(request.POST or None)
    if request.method == "POST" and form.is_valid() and accepted(request, form, authenticator):
        if authenticator.confirm():
            audit.record("second_factor.added", by=actor_of(request), account=sole_account(user), to=user)
            sessions.end_all_of(user.pk, but=request.session.session_key)
            messages.success(
                request,
                "From the next login on, you are asked for a code of your authenticator app. Wherever else you were "
                "signed in, you no longer are.",
            )
        return redirect("admin:my_login")
    code = segno.make(authenticator.setup_uri(user.get_username()), error="m", micro=False)
    context = {
        **admin.site.each_context(request),
        "title": "Set up an authenticator app",
        "form": form,
        "key": authenticator.key_as_text,
        "picture": code.svg_data_uri(scale=5, border=4, dark="#000", light="#fff"),
    }
    return render(request, "console/second_factor_set_up.html", context)  # as all of the console: no-store


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("code", "password")
def remove(request: HttpRequest) -> HttpResponse:
    user = who(request)
    authenticator = Authenticator.confirmed_of(user.pk)
    if authenticator is None:
        return redirect("admin:my_login")
    form = CodeAndPassword(request.POST or None)
    if request.method == "POST" and form.is_valid() and accepted(request, form, authenticator):
        Authenticator.objects.filter(user=user.pk).delete()
        audit.record("second_factor.removed", by=actor_of(request), account=sole_account(user), to=user)
        sessions.end_all_of(user.pk, but=request.session.session_key)
        messages.success(
            request,
            "From the next login on, you are asked for the password alone. Wherever else you were signed in, you no "
            "longer are.",
        )
        return redirect("admin:my_login")
    context = {**admin.site.each_context(request), "title": "Remove the authenticator app", "form": form}
    return render(request, "console/second_factor_remove.html", context)


def accepted(request: HttpRequest, form: CodeAndPassword, authenticator: Authenticator) -> bool:
    """Whether password and code are right. Each wrong one counts as it does at login."""
    user = who(request)
    if authenticate(request, username=user.get_username(), password=form.cleaned_data["password"]) is None:
        form.add_error("password", "This is not your password.")
        return False
    if problem := problem_with_code(request, user, authenticator, form.cleaned_data["code"]):
        form.add_error("code", problem)
        return False
    return True


def change_password(request: HttpRequest, page: Callable[[HttpRequest], HttpResponse]) -> HttpResponse:
    """Django's own page; guesses of the old password count as they do at login."""
    credentials = {NAME: who(request).get_username()}
    if request.method == "POST" and not AxesProxyHandler.is_allowed(request, credentials):
        return locked_out(request, credentials=credentials)
    response = page(request)
    if request.method != "POST":
        return response
    if response.status_code == 302:
        user = who(request)
        audit.record("user.password_changed", by=actor_of(request), account=sole_account(user), to=user)
        messages.success(request, "Your password is changed. Wherever else you were signed in, you no longer are.")
        return redirect("admin:my_login")
    form = (getattr(response, "context_data", None) or {}).get("form")
    if form is not None and "old_password" in form.errors and form.data.get("old_password"):
        user_login_failed.send(sender=__name__, credentials=credentials, request=request)
    return response


def who(request: HttpRequest) -> User:
    """Whoever is signed in; these pages have nobody else."""
    return cast(User, request.user)
