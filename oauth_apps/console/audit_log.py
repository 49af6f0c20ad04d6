"""Accounts › Audit log: who did what. Nobody changes it, superusers neither."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from oauth_apps.console.base import LookedAt
from oauth_apps.console.choice import choice_of
from oauth_apps.models import AuditEvent

DEEDS_IN_WORDS = {
    "account.created": "made an account",
    "account.changed": "changed an account",
    "api_token.created": "made an API token",
    "api_token.changed": "renamed an API token",
    "api_token.revoked": "revoked an API token",
    "api_token.deleted": "deleted an API token",
    "authorization.started": "started a trip",
    "credential.changed": "changed a credential",
    "credential.checked": "checked a credential",
    "credential.connected": "connected a credential",
    "credential.deleted": "deleted a credential",
    "credential.exported": "exported credentials with their secrets",
    "credential.reconnect_link_made": "made a reconnect link",
    "credential.reconnected": "reconnected a credential",
    "credential.refreshed": "refreshed a credential",
    "credential.revealed": "looked at a secret",
    "member.created": "added a member",
    "member.deleted": "removed a member",
    "oauth_app.checked": "checked an OAuth app",
    "oauth_app.created": "registered an OAuth app",
    "oauth_app.changed": "changed an OAuth app",
    "oauth_app.deleted": "deleted an OAuth app",
    "oauth_app.tried": "tried an OAuth app",
    "password.refused": "gave a wrong password when asked for it again",
    "redirect_uri.created": "registered a redirect URI",
    "redirect_uri.deleted": "removed a redirect URI",
    "second_factor.added": "set up a second factor",
    "second_factor.removed": "removed a second factor",
    "sign_in_attempt.deleted": "let somebody try to sign in again",
    "user.created": "made a user",
    "user.changed": "changed a user",
    "user.deleted": "deleted a user",
    "user.locked_out": "was locked out after wrong tries",
    "user.password_changed": "changed the password",
    "user.password_set": "set somebody's password",
    "user.sign_in_failed": "tried to sign in, in vain",
    "user.signed_in": "signed in",
    "user.signed_out": "signed out",
}


def in_words(action: str) -> str:
    thing, _, deed = action.partition(".")
    return DEEDS_IN_WORDS.get(action) or f"{deed} {thing}".replace("_", " ").strip()


class DeedFilter(admin.SimpleListFilter):
    title = "what was done"
    parameter_name = "deed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return sorted(DEEDS_IN_WORDS.items(), key=lambda entry: entry[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class WhoFilter(admin.SimpleListFilter):
    """Users of the accounts that one sees; everybody else is found by the search."""

    title = "who"
    parameter_name = "who"
    MOST = 50

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        users = get_user_model().objects.order_by("username")
        here = choice_of(request)
        if here.chosen or not request.user.is_superuser:
            users = users.filter(accounts__in=[here.chosen] if here.chosen else here.offered).distinct()
        return [(str(pk), name) for pk, name in users.values_list("pk", "username")[: self.MOST]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value()
        if not wanted:
            return queryset
        return queryset.filter(user=int(wanted)) if wanted in dict(self.lookup_choices) else queryset.none()


@admin.register(AuditEvent)
class AuditEventAdmin(LookedAt):
    list_display = ("created_at", "actor", "did", "object_name", "account", "address")
    list_select_related = ("account",)
    list_filter = (DeedFilter, WhoFilter)
    list_before_template = "console/audit_log/before.html"
    date_hierarchy = "created_at"
    search_fields = ("actor", "object_name", "=object_id", "=request_id")
    ordering = ("-created_at", "-id")
    fields = readonly_fields = (
        "created_at", "actor", "did", "to_what", "object_id", "detail", "account", "address", "request_id",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """A superuser also sees what belongs to no account, such as most logins, whichever account he works in."""
        if not request.user.is_superuser:
            return super().get_queryset(request)
        rows = AuditEvent.objects.all()
        here = choice_of(request).chosen if self.is_list(request) else None
        return rows.filter(Q(account=here) | Q(account__isnull=True)) if here else rows

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        event = super().get_object(request, object_id, from_field)
        if event is not None:
            event.link = self.link_to_object(request, event)
        return event

    def link_to_object(self, request: HttpRequest, event: AuditEvent) -> str:
        """The page of what it was done to, if that exists and is the user's to see; else nothing."""
        for model, page in self.pages():
            if model._meta.model_name == event.object_type and page.has_view_permission(request):
                if page.get_object(request, event.object_id) is None:
                    return ""
                try:
                    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change",
                                   args=[event.object_id])  # fmt: skip
                except NoReverseMatch:
                    return ""
        return ""

    def pages(self) -> Iterator[tuple[Any, Any]]:
        return ((model, page) for model, page in self.admin_site._registry.items() if page is not self)

    @admin.display(description="did what", ordering="action")
    def did(self, event: Any) -> str:
        return in_words(event.action)

    @admin.display(description="to what")
    def to_what(self, event: Any) -> str:
        name = event.object_name or event.object_id or "-"
        return format_html('<a href="{}">{}</a>', event.link, name) if event.link else name
