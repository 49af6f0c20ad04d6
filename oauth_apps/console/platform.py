"""What superusers alone see: all accounts, who may sign in and who has tried to, and the jobs of the worker."""

import json
from typing import Any

from axes.models import AccessAttempt
from django import forms
from django.apps import apps
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.contrib.auth.password_validation import password_validators_help_texts
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from procrastinate.contrib.django.models import ProcrastinateEvent, ProcrastinateJob
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldBooleanSwitchWidget

from oauth_apps import audit
from oauth_apps.console.base import InTheConsole, actor_of
from oauth_apps.console.own_password import OwnPasswordForm, refusal_of
from oauth_apps.models import Account, ApiToken, Authenticator, Membership, OAuthApp
from sequin_auth.lib import sessions

admin.site.unregister([User, Group, ProcrastinateJob])

# Other people's apps and models, in our words
for label in ("auth", "axes", "procrastinate"):
    apps.get_app_config(label).verbose_name = "Platform"
for model, one, many in ((AccessAttempt, "sign-in attempt", "sign-in attempts"), (ProcrastinateJob, "job", "jobs")):
    model._meta.verbose_name, model._meta.verbose_name_plural = one, many


class OfSuperusers(InTheConsole):
    """Nobody else has any permission here, whatever Django's own tables of permissions say."""

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Django looks for the row first, and would tell others which ids there are."""
        if not self.has_module_permission(request):
            raise PermissionDenied
        response: HttpResponse = super().history_view(request, object_id, extra_context)
        return response

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_staff and request.user.is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_module_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def account_of(self, obj: Any) -> Account | None:
        """Members see what is done to their account, not what is done to a user."""
        return obj if isinstance(obj, Account) else None


class LookedAtBySuperusers(OfSuperusers):
    """What nobody makes or changes by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


# ---- users -----------------------------------------------------------------------------------------------------------


OWN_PASSWORD = "own_password"
TO_SIGN_IN = ("is_active", "is_staff")  # what one must be
NEEDED = "Type your own password: this makes somebody a superuser."
sensitive = method_decorator(sensitive_post_parameters())


class OwnPasswordField(forms.CharField):
    def __init__(self, help_text: str, *, is_required: bool = True, widget: Any = UnfoldAdminPasswordWidget) -> None:
        super().__init__(
            label="Your own password",
            strip=False,
            required=is_required,
            max_length=4096,
            help_text=help_text,
            widget=widget(attrs={"autocomplete": "current-password"}),
        )


class AsksForOwnPassword(forms.BaseForm):
    """A form after which somebody may do more than before: a console that was found open is not enough for it."""

    request: HttpRequest

    def lets_in(self) -> bool:
        """Whether what was typed does so."""
        return True

    @sensitive_variables()
    def clean(self) -> Any:
        data = super().clean()
        password = self.cleaned_data.pop(OWN_PASSWORD, "")
        if self.errors or not self.lets_in():
            return data
        if problem := refusal_of(self.request, password) if password else NEEDED:
            self.add_error(OWN_PASSWORD, problem)
        return data

    @cached_property
    def changed_data(self) -> list[str]:
        """Without the password, which is changed by nobody here."""
        return [name for name in super().changed_data if name != OWN_PASSWORD]


class NewUserForm(AsksForOwnPassword, UserCreationForm):
    is_staff = forms.BooleanField(
        label="May sign in to the console",
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Without an account below, there is nothing for this user to see.",
    )
    own_password = OwnPasswordField("The one you sign in with: making a user lets somebody in.")

    class Meta:
        model = User
        fields = ("username", "email", "is_staff")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.pop("usable_password", None)  # nobody signs in without one


class ChangedUserForm(AsksForOwnPassword, UserChangeForm):
    own_password = OwnPasswordField(
        "Only if this user becomes a superuser: the one you sign in with.", is_required=False
    )

    def lets_in(self) -> bool:
        """As a superuser, who was none or could not sign in."""
        was = User.objects.filter(pk=self.instance.pk, is_superuser=True).first()
        if not self.is_to_be("is_superuser"):
            return False
        return was is None or any(self.is_to_be(name) and not getattr(was, name) for name in TO_SIGN_IN)

    def is_to_be(self, name: str) -> bool:
        return bool(self.cleaned_data.get(name, getattr(self.instance, name)))


class NewPasswordForm(AdminPasswordChangeForm, AsksForOwnPassword):
    """Of somebody else, who is told it in another way."""

    own_password = OwnPasswordField("The one you sign in with.", widget=forms.PasswordInput)

    def __init__(self, user: User, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)  # type: ignore[arg-type]  # Django's, which takes the user first
        self.request = request
        self.fields.pop("usable_password", None)
        for name in ("password1", "password2"):
            self.fields[name].required = True
            self.fields[name].widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
        self.fields["password1"].help_text = " ".join(password_validators_help_texts())
        self.fields["password2"].help_text = ""


class MembershipInline(TabularInline):
    model = Membership
    verbose_name = "account"
    verbose_name_plural = "accounts in which this user works"
    fields = ("account",)
    autocomplete_fields = ("account",)
    extra = 0

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    has_change_permission = has_delete_permission = has_view_permission

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)


@admin.register(User)
class UserAdmin(OfSuperusers, DjangoUserAdmin):
    form = ChangedUserForm
    add_form = NewUserForm
    change_form_outer_after_template = "console/users/second_factor.html"
    inlines = (MembershipInline,)
    list_display = ("username", "email", "is_staff", "is_superuser", "is_active", "works_in", "has_code", "last_login")
    list_filter = ("is_superuser", "is_staff", "is_active")
    search_fields = ("username", "email")
    ordering = ("username",)
    filter_horizontal = ()
    readonly_fields = ("password_is_set", "last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "email", "password_is_set")}),
        ("What this user may do", {"fields": ("is_active", "is_staff", "is_superuser", OWN_PASSWORD)}),
        ("Since when", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "email", "password1", "password2", "is_staff", OWN_PASSWORD)}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        confirmed = Authenticator.objects.filter(user=OuterRef("pk"), confirmed=True)
        return super().get_queryset(request).annotate(accounts_of=Count("memberships"), asks_code=Exists(confirmed))

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines

    def get_inline_instances(self, request: HttpRequest, obj: Any = None) -> Any:
        """Also on the page that adds one, where Django's own leaves them out."""
        return ModelAdmin.get_inline_instances(self, request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or obj.pk != request.user.pk)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Users are deleted one by one, so that nobody deletes himself among others."""
        return {name: entry for name, entry in super().get_actions(request).items() if name != "delete_selected"}

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Nobody locks himself out."""
        own = ("is_active", "is_staff", "is_superuser") if obj is not None and obj.pk == request.user.pk else ()
        return (*self.readonly_fields, *own)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        for deed, rows in (("created", formset.new_objects), ("deleted", formset.deleted_objects)):
            for row in rows:
                audit.record(f"member.{deed}", by=actor_of(request), account=row.account, to=row)

    # ---- what lets somebody in, and asks for one's own password ------------------------------------------------------

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"request": request, "__module__": form.__module__})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Nobody is asked about himself, of whom these fields are not changed."""
        sections = super().get_fieldsets(request, obj)
        if obj is None or obj.pk != request.user.pk:
            return sections
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name != OWN_PASSWORD]})
            for title, options in sections
        ]

    @sensitive
    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().change_view(request, *args, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        remove = self.admin_site.admin_view(self.remove_second_factor)
        return [path("<int:user_id>/remove-second-factor/", remove, name="remove_second_factor"), *super().get_urls()]

    def somebody(self, request: HttpRequest, user_id: str) -> User:
        user: User | None = self.get_object(request, user_id)
        if user is None or not self.has_change_permission(request, user):
            raise PermissionDenied
        return user

    @sensitive
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """In the place of Django's, which asks nobody who he is."""
        user = self.somebody(request, id)
        if user.pk == request.user.pk:
            return redirect("admin:password_change")  # which asks for the old one
        form = NewPasswordForm(user, request.POST if request.method == "POST" else None, request=request)
        if request.method == "POST" and form.is_valid():
            form.save()
            audit.record("user.password_set", by=actor_of(request), account=None, to=user)
            ModelAdmin.log_change(self, request, user, [{"changed": {"fields": ["Password"]}}])
            messages.success(request, f"{user.get_username()} has a new password, and is signed out everywhere.")
            return redirect("admin:auth_user_change", user.pk)
        context = {**self.admin_site.each_context(request), "title": "Set a password", "form": form, "user_of": user}
        return TemplateResponse(request, "console/users/password.html", context)

    @sensitive
    def remove_second_factor(self, request: HttpRequest, user_id: int) -> HttpResponse:
        """For somebody who has lost the telephone."""
        user = self.somebody(request, str(user_id))
        if user.pk == request.user.pk:
            return redirect("admin:second_factor_remove")  # which asks for code and password
        if Authenticator.confirmed_of(user.pk) is None:
            return redirect("admin:auth_user_change", user.pk)
        form = OwnPasswordForm(request.POST if request.method == "POST" else None, request=request, account=None)
        if request.method == "POST" and form.is_valid():
            removed, _ = Authenticator.objects.filter(user=user).delete()
            if removed:
                audit.record("second_factor.removed", by=actor_of(request), account=None, to=user)
                sessions.end_all_of(user.pk)
                name = user.get_username()
                messages.success(request, f"{name} is signed out, and signs in with the password alone from now on.")
            return redirect("admin:auth_user_change", user.pk)
        context = {
            **self.admin_site.each_context(request),
            "title": "Remove a second factor",
            "form": form,
            "user_of": user,
        }
        return TemplateResponse(request, "console/users/remove_second_factor.html", context)

    # ---- columns -----------------------------------------------------------------------------------------------------

    @admin.display(description="Password")
    def password_is_set(self, user: User) -> str:
        """Not its hash, of which Django shows the beginning."""
        link = reverse("admin:auth_user_password_change", args=[user.pk])
        state = "Set." if user.has_usable_password() else "None: this user cannot sign in."
        return format_html('{} <a class="sq-link" href="{}">Set another one</a>', state, link)

    @admin.display(description="accounts", ordering="accounts_of")
    def works_in(self, user: Any) -> int:
        return int(user.accounts_of)

    @admin.display(description="second factor", boolean=True, ordering="asks_code")
    def has_code(self, user: Any) -> bool:
        return bool(user.asks_code)


# ---- accounts --------------------------------------------------------------------------------------------------------


def how_many(model: type[models.Model]) -> Any:
    """In a subquery of its own: two joins would multiply each other's rows."""
    counted = model._default_manager.filter(account=OuterRef("pk")).order_by().values("account")
    return Coalesce(Subquery(counted.annotate(n=Count("pk")).values("n")), 0)


@admin.register(Account)
class AccountAdmin(OfSuperusers):
    list_display = ("name", "members_of", "oauth_apps_of", "api_tokens_of", "id", "created_at")
    search_fields = ("name", "id")
    ordering = ("name",)
    fields = ("name", "id", "created_at")
    readonly_fields = ("id", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        rows = super().get_queryset(request)
        return rows.annotate(
            member_count=how_many(Membership), app_count=how_many(OAuthApp), token_count=how_many(ApiToken)
        )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What it holds has to be revoked at the providers first; empty ones do no harm."""
        return False

    @admin.display(description="members", ordering="member_count")
    def members_of(self, account: Any) -> int:
        return int(account.member_count)

    @admin.display(description="OAuth apps", ordering="app_count")
    def oauth_apps_of(self, account: Any) -> int:
        return int(account.app_count)

    @admin.display(description="API tokens", ordering="token_count")
    def api_tokens_of(self, account: Any) -> int:
        return int(account.token_count)


# ---- sign-in attempts ------------------------------------------------------------------------------------------------


@admin.register(AccessAttempt)
class SignInAttemptAdmin(LookedAtBySuperusers):
    """Failures that django-axes counts. Deleting one lets its user try again."""

    list_display = ("attempt_time", "username", "ip_address", "state")
    list_before_template = "console/sign_in_attempts/before.html"
    search_fields = ("username", "ip_address")
    ordering = ("-attempt_time",)
    fields = readonly_fields = ("attempt_time", "username", "ip_address", "failures_since_start", "state", "user_agent")

    @admin.display(description="wrong tries", ordering="failures_since_start")
    def state(self, attempt: Any) -> str:
        if attempt.failures_since_start >= settings.AXES_FAILURE_LIMIT:
            return format_html('<span class="sq-badge error">{} · locked out</span>', attempt.failures_since_start)
        return format_html('<span class="sq-badge">{}</span>', attempt.failures_since_start)


# ---- jobs ------------------------------------------------------------------------------------------------------------

JOB_BADGES = {"todo": "info", "doing": "info", "succeeded": "ok", "failed": "error", "aborting": "warn"}


@admin.register(ProcrastinateJob)
class JobAdmin(LookedAtBySuperusers):
    """What the worker does, has done and is going to do. Arguments are ids, never secrets."""

    list_display = ("id", "task", "state", "queue_name", "scheduled_at", "attempts")
    list_filter = ("status", "queue_name", "task_name")
    search_fields = ("task_name",)
    ordering = ("-id",)
    fields = readonly_fields = (
        "id", "task_name", "arguments", "state", "queue_name", "lock", "queueing_lock", "priority", "scheduled_at",
        "attempts", "events",
    )  # fmt: skip

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="task", ordering="task_name")
    def task(self, job: Any) -> str:
        return str(job.task_name).rpartition(".")[2].replace("_", " ")

    @admin.display(description="state", ordering="status")
    def state(self, job: Any) -> str:
        return format_html('<span class="sq-badge {}">{}</span>', JOB_BADGES.get(job.status, ""), job.status)

    @admin.display(description="arguments")
    def arguments(self, job: Any) -> str:
        return format_html('<code class="sq-code">{}</code>', json.dumps(job.args)[:2000])

    @admin.display(description="what happened")
    def events(self, job: Any) -> str:
        rows = ProcrastinateEvent.objects.filter(job=job.pk).order_by("-at")[:50]
        return render_to_string("console/jobs/events.html", {"events": rows})
