"""Signing in: the password, then the code of whoever has set up an authenticator app. And who did so, written down."""

import time
import unicodedata
from datetime import datetime, timedelta
from typing import Any, ClassVar, cast

import msgspec
from axes.handlers.proxy import AxesProxyHandler
from axes.models import AccessAttempt
from axes.signals import user_locked_out
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import REDIRECT_FIELD_NAME, get_user_model, login
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.contrib.auth.views import LoginView
from django.db.models import Sum
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from unfold.forms import AuthenticationForm

from oauth_apps import audit
from oauth_apps.limits import network_of
from oauth_apps.models import Account, Authenticator, Membership
from sequin_auth.lib.api import client_address
from sequin_auth.lib.sessions import SIGNED_IN_AT

ASKED = "asked_for_code"  # in the session of somebody whose password was right
TIME_FOR_CODE = 300  # seconds
MOST_OF_AN_ADDRESS = 100  # wrong passwords, with all names together, in the time after which failures are forgotten
NAME = "username"  # as Django's login form calls it, and django-axes after it
CODE_ATTRIBUTES = {"autocomplete": "one-time-code", "inputmode": "numeric", "maxlength": "7", "spellcheck": "false"}


class Asked(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """Who has given the right password and owes the code. `password`: its fingerprint; another one ends this."""

    user_id: int
    backend: str
    password: str
    since: int
    onward: str = ""


class CodeField(forms.CharField):
    """Six digits; apps show them in two groups."""

    def __init__(self, **options: Any) -> None:
        widget = forms.TextInput(attrs=CODE_ATTRIBUTES)
        super().__init__(label="Code", help_text="The six digits that your authenticator app shows now.",
                         widget=widget, max_length=20, **options)  # fmt: skip

    def clean(self, value: Any) -> str:
        return "".join(str(super().clean(value)).split())


class CodeForm(forms.Form):
    code = CodeField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].widget.attrs["autofocus"] = True  # there is nothing else on its page


class PasswordForm(AuthenticationForm):
    """In our words; they do not tell whether there is a user of that name."""

    error_messages: ClassVar = {
        **AuthenticationForm.error_messages,
        "invalid_login": "This name and password do not fit, or this user may not use the console. "
        "Mind upper and lower case.",
    }


class SignIn(LoginView):
    """Django's, which lets in; here only those of whom no code is asked."""

    template_name = "admin/login.html"

    def form_valid(self, form: Any) -> HttpResponse:
        user = form.get_user()
        if Authenticator.confirmed_of(user.pk) is None:
            return super().form_valid(form)
        ask_for_code(self.request, user, onward=self.get_redirect_url())
        return redirect("admin:second_factor")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        return context | {REDIRECT_FIELD_NAME: self.get_redirect_url()}


def sign_in(request: HttpRequest) -> HttpResponse:
    if request.method in {"GET", "HEAD"} and admin.site.has_permission(request):
        return redirect("admin:index")
    if request.method == "POST" and tries_many_names(request):
        return locked_out(request)
    context = {**admin.site.each_context(request), "title": "Log in"}
    return cast(HttpResponse, SignIn.as_view(extra_context=context, authentication_form=PasswordForm)(request))


def ask_for_code(request: HttpRequest, user: User, *, onward: str) -> None:
    """Remember in a new session that this user's password was right. He is not signed in by that."""
    request.session.flush()
    asked = Asked(
        user_id=user.pk,
        backend=user.backend,
        password=user.get_session_auth_hash(),
        since=int(time.time()),
        onward=onward,
    )
    request.session[ASKED] = msgspec.to_builtins(asked)


def whoever_is_asked(request: HttpRequest) -> tuple[Asked, User, Authenticator] | None:
    """None if nobody is, if it has been too long, or if the user, his password or his app has changed meanwhile."""
    try:
        asked = msgspec.convert(request.session[ASKED], Asked)
    except (KeyError, msgspec.ValidationError):
        return None
    user = get_user_model().objects.filter(pk=asked.user_id, is_active=True, is_staff=True).first()
    authenticator = Authenticator.confirmed_of(asked.user_id)
    if user is None or authenticator is None or not 0 <= time.time() - asked.since <= TIME_FOR_CODE:
        return None
    if not constant_time_compare(asked.password, user.get_session_auth_hash()):
        return None
    return asked, user, authenticator


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("code")
def second_factor(request: HttpRequest) -> HttpResponse:
    found = whoever_is_asked(request)
    if found is None:
        if request.session.pop(ASKED, None) is not None:
            messages.warning(request, "Too much time has passed, or your login has changed. Please begin again.")
        return redirect("admin:login")
    asked, user, authenticator = found
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        problem = problem_with_code(request, user, authenticator, form.cleaned_data["code"])
        if not problem:
            del request.session[ASKED]
            login(request, user, backend=asked.backend)
            return HttpResponseRedirect(asked.onward or reverse("admin:index"))
        form.add_error("code", problem)
    context = {**admin.site.each_context(request), "title": "One more step", "form": form, "name": user.get_username()}
    return render(request, "console/second_factor.html", context)


def problem_with_code(request: HttpRequest, user: User, authenticator: Authenticator, code: str) -> str:
    """What to tell whoever has typed `code`; nothing if it is right, and used up by that.

    A wrong one counts as a wrong password does, for the lock-out too.
    """
    credentials = {NAME: user.get_username()}
    if not AxesProxyHandler.is_allowed(request, credentials):
        request.axes_locked_out, request.axes_credentials = True, credentials  # type: ignore[attr-defined]
        return LOCKED_OUT  # the middleware says more
    if until := authenticator.blocked_until():
        return f"After wrong codes the next one has to wait. Try again after {until:%H:%M:%S} UTC."
    if authenticator.verify_token(code):
        return ""
    user_login_failed.send(sender=__name__, credentials=credentials, request=request)
    return "This is not the code of now, or it was used before. Wait for the next one and type that."


LOCKED_OUT = "There were too many wrong tries. Please wait a while."


# ---- guessing: what django-axes asks us ------------------------------------------------------------------------------


def counted_name(request: HttpRequest | None, credentials: dict[str, Any] | None) -> str:
    """The name under which failures are counted: whatever its case, and a fingerprint where nobody is called so.

    People type their password into the wrong field; what is no name here is kept nowhere.
    """
    typed = credentials.get(NAME) if credentials else request.POST.get(NAME) if request else None
    name = unicodedata.normalize("NFKC", str(typed or "")).strip().casefold()
    if user_named(name) is not None:
        return name[:255]
    return "unknown " + salted_hmac("sign-in", name, algorithm="sha256").hexdigest()[:24]


def counted_address(request: HttpRequest) -> str:
    """The address under which failures are counted: of IPv6 the first one of its network, which is one customer's."""
    network = network_of(client_address(request))
    return network.partition("/")[0] or "::"  # behind a socket there is none, and NULL is equal to nothing


def user_named(name: str) -> User | None:
    """Whatever the case."""
    if not name or "\0" in name:
        return None
    return get_user_model().objects.filter(username__iexact=name).first()


def tries_many_names(request: HttpRequest) -> bool:
    """Whether one address has failed more often, with all names together, than people who share it do."""
    since = timezone.now() - timedelta(hours=settings.AXES_COOLOFF_TIME)
    attempts = AccessAttempt.objects.filter(ip_address=counted_address(request), attempt_time__gt=since)
    failures = attempts.aggregate(failures=Sum("failures_since_start"))["failures"] or 0
    return bool(failures >= MOST_OF_AN_ADDRESS)


def locked_out_until(request: HttpRequest, credentials: dict[str, Any] | None) -> datetime:
    """When the last failure that counts is forgotten."""
    cool_off = timedelta(hours=settings.AXES_COOLOFF_TIME)
    attempts = AccessAttempt.objects.filter(
        username=counted_name(request, credentials), ip_address=counted_address(request)
    )
    last = attempts.order_by("-attempt_time").values_list("attempt_time", flat=True).first()
    return (last or timezone.now()) + cool_off


def locked_out(
    request: HttpRequest, response: HttpResponse | None = None, credentials: dict[str, Any] | None = None
) -> HttpResponse:
    until = locked_out_until(request, credentials)
    seconds = max(1, int((until - timezone.now()).total_seconds()))
    context = {**admin.site.each_context(request), "title": "Please wait", "until": until, "minutes": seconds // 60 + 1}
    page = render(request, "console/locked_out.html", context, status=429)
    page["Retry-After"] = str(seconds)
    page["Cache-Control"] = "no-store"
    return page


# ---- written down ----------------------------------------------------------------------------------------------------


def sole_account(user: User) -> Account | None:
    """The account whose members see what is told of this user: his, if he has one alone."""
    memberships = list(Membership.objects.filter(user=user.pk).select_related("account")[:2])
    return memberships[0].account if len(memberships) == 1 else None


def write_down(deed: str, request: HttpRequest | None, user: User | None, *, by_himself: bool = True) -> None:
    """`user`: None for a name that nobody has."""
    if request is None or not hasattr(request, "request_id"):
        return  # no browser: a command or a test
    actor = audit.Actor(
        name=user.get_username() if user else "unknown",
        user_id=user.pk if user and by_himself else None,
        address=client_address(request),
        request_id=request.request_id,
    )
    audit.record(deed, by=actor, account=sole_account(user) if user else None, to=user)


@receiver(user_logged_in)
def signed_in(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
    request.session[SIGNED_IN_AT] = int(time.time())
    write_down("user.signed_in", request, user)


@receiver(user_logged_out)
def signed_out(sender: Any, request: HttpRequest, user: User | None, **_: Any) -> None:
    if user is not None:
        write_down("user.signed_out", request, user)


@receiver(user_login_failed)
def not_signed_in(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """While somebody is locked out, his further tries are told no more."""
    if not getattr(request, "axes_locked_out", False):
        write_down_failure("user.sign_in_failed", request, credentials.get(NAME))


@receiver(user_locked_out)
def is_locked_out(sender: Any, request: HttpRequest, username: str, **_: Any) -> None:
    if request.axes_failures_since_start is not None:  # type: ignore[attr-defined]  # None: was so before
        write_down_failure("user.locked_out", request, username)


def write_down_failure(deed: str, request: HttpRequest | None, name: Any) -> None:
    """By whom is not known; the name is told if somebody is called so."""
    user = user_named(unicodedata.normalize("NFKC", str(name or "")).strip())
    write_down(deed, request, user, by_himself=False)
