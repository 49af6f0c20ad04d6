"""Connections, in the console."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from credentials.models import Authorization
from oauth_apps.console import OfMyAccounts


@admin.register(Authorization)
class AuthorizationAdmin(OfMyAccounts):
    """Trips, to be looked at. They hold secrets for a minute; no field here is one."""

    account_path = "oauth_app__account"
    list_display = ("created_at", "provider", "oauth_app", "step", "error")
    list_select_related = ("oauth_app",)
    list_filter = ("provider", "step")
    search_fields = ("redirect_uri", "provider")
    fields = readonly_fields = (
        "id", "oauth_app", "provider", "step", "redirect_uri", "callback_url", "scopes", "error", "error_description",
        "created_at", "state_taken_at", "granted_at", "code_taken_at", "expires_at",
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
