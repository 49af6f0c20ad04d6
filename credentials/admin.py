"""Connections, in the console."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from credentials.models import Authorization, Credential, Expiry
from oauth_apps.console import OfMyAccounts


class LookedAt(OfMyAccounts):
    """What nobody makes or changes by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Credential)
class CredentialAdmin(LookedAt):
    """What is kept, and how it is. No field here is a secret; deleting one revokes it."""

    list_display = ("id", "kind", "name", "oauth_app", "health_status", "account", "created_at")
    list_select_related = ("oauth_app", "account")
    list_filter = ("health_status", "provider", "kind")
    search_fields = ("name", "kind", "provider")
    fields = readonly_fields = (
        "id", "account", "kind", "name", "oauth_app", "properties", "scopes_requested", "scopes_granted", "ends",
        "refresh", "health_status", "health_notes", "health_time", "metadata", "created_at", "updated_at",
    )  # fmt: skip

    @admin.display(description="Access token ends")
    def ends(self, credential: Credential) -> str:
        token = credential.token
        if token.expires_at is None:
            return "nobody knows" if token.expiry_source == Expiry.UNKNOWN else "never"
        return f"{token.expires_at:%Y-%m-%d %H:%M} UTC ({token.get_expiry_source_display()})"

    @admin.display(description="Refresh")
    def refresh(self, credential: Credential) -> str:
        token = credential.token
        if token.failure:
            return f"{token.get_failure_display()}, {token.failures} in a row"
        return f"due {token.due_at:%Y-%m-%d %H:%M} UTC" if token.due_at else "not scheduled"


@admin.register(Authorization)
class AuthorizationAdmin(LookedAt):
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
