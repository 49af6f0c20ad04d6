"""Accounts, in the console."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from oauth_apps import api_tokens
from oauth_apps.console import OfMyAccounts
from oauth_apps.forms import OAuthAppForm
from oauth_apps.models import Account, ApiToken, Membership, OAuthApp, RedirectURI

admin.site.unregister([User, Group])


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    pass


@admin.register(OAuthApp)
class OAuthAppAdmin(OfMyAccounts):
    form = OAuthAppForm
    list_display = ("name", "at", "environment", "enabled", "health_status", "account", "created_at")
    list_select_related = ("account",)
    list_filter = ("provider", "environment", "enabled", "health_status")
    search_fields = ("name", "client_id", "provider")
    readonly_fields = ("id", "callback_url", "health_status", "health_notes", "health_time", "created_at", "updated_at")
    fields = (
        "account", "provider", "name", "client_id", "new_client_secret", "environment", "enabled", "default_scopes",
        "variables", "own_callback", "metadata", *readonly_fields,
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "account", "provider", "client_id") if obj else self.readonly_fields

    @admin.display(description="provider", ordering="provider")
    def at(self, oauth_app: OAuthApp) -> str:
        image = '<img src="{}" alt="" width="20" height="20" class="inline-block mr-2"> {}'
        return format_html(image, reverse("logo", args=[oauth_app.provider]), oauth_app.provider)

    @admin.display(description="Callback URL, to be registered at the provider")
    def callback_url(self, oauth_app: OAuthApp) -> str:
        return oauth_app.callback_url if oauth_app.provider else "Known once the provider is chosen and saved."


@admin.register(RedirectURI)
class RedirectURIAdmin(OfMyAccounts):
    list_display = ("redirect_uri", "account", "created_at")
    list_select_related = ("account",)
    search_fields = ("redirect_uri",)
    readonly_fields = ("id", "created_at")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request)  # another URI is another registration


@admin.register(ApiToken)
class ApiTokenAdmin(OfMyAccounts):
    list_display = ("name", "prefix", "account", "scopes", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("account",)
    search_fields = ("name", "prefix")
    fields = ("account", "name", "scopes", "expires_at", "revoked_at", "prefix", "last_used_at", "created_at")
    readonly_fields = ("prefix", "last_used_at", "created_at")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"scopes": list(api_tokens.DEFAULT_SCOPES), **super().get_changeform_initial_data(request)}

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "account", "scopes") if obj else self.readonly_fields

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        row, text = api_tokens.issue(obj.account, scopes=obj.scopes, name=obj.name, expires_at=obj.expires_at)
        obj.pk, obj._state.adding, obj.shown_once = row.pk, False, text

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The page that shows the token. A message would keep it in a cookie or the session table."""
        context = {**self.admin_site.each_context(request), "title": "Copy it now"}
        context |= {"api_token": obj, "text": obj.shown_once}
        response = TemplateResponse(request, "console/api_token_made.html", context)
        response["Cache-Control"] = "no-store"
        return response


@admin.register(Membership)
class MembershipAdmin(OfMyAccounts):
    list_display = ("user", "account", "created_at")
    list_select_related = ("user", "account")
    search_fields = ("user__username", "user__email")
    autocomplete_fields = ()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)


@admin.register(Account)
class AccountAdmin(ModelAdmin[Account]):
    list_display = ("name", "id", "created_at")
    search_fields = ("name",)
    readonly_fields = ("id", "created_at")
