"""Accounts › Audit log: who did what. Nobody changes it, superusers neither."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from oauth_apps import audit
from oauth_apps.console.base import LookedAt
from oauth_apps.console.choice import choice_of
from oauth_apps.models import AuditEvent

DEEDS_IN_WORDS = {
    "authorization.code_refused": "showed a code that is bound to something else",
    "authorization.code_replayed": "showed a code a second time",
    "authorization.context_mismatch": "came back to the wrong provider or OAuth app",
    "authorization.exchanged": "exchanged a code for tokens",
    "authorization.session_mismatch": "came back in another browser",
    "credential.created": "made a credential",
    "credential.exchanged": "refreshed a credential by its refresh token",
    "credential.imported": "imported credentials",
    "credential.needs_reauthorization": "found that a credential needs its owner",
    "credential.replaced": "replaced a credential by an import",
    "credential.revoked": "revoked a credential",
    "credential.rotation_interrupted": "lost the new refresh token of a credential",
    "credential.unreadable": "found a credential that does not open",
    "keys.rotated": "ended a rotation of the encryption keys",
    "keys.rotation_began": "began a rotation of the encryption keys",
    "oauth_app.exchanged": "refreshed a token of the developer's own",
    "oauth_app.start_link_made": "made a start link",
    "oauth_app.token_revoked": "revoked a token of the developer's own",
    "account.created": "made an account",
    "account.deleted": "erased an account",
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
    "destination.changed": "changed a destination of syncs",
    "destination.checked": "checked a destination of syncs",
    "destination.created": "added a destination of syncs",
    "destination.deleted": "removed a destination of syncs",
    "destination.revealed": "looked at how to connect to the sync database",
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
    "sync.changed": "changed a sync",
    "sync.created": "made a sync",
    "sync.deleted": "deleted a sync",
    "sync.disabled": "disabled a sync",
    "sync.enabled": "enabled a sync",
    "sync.refreshed": "had a sync look at once",
    "user.created": "made a user",
    "user.changed": "changed a user",
    "user.deleted": "deleted a user",
    "user.locked_out": "was locked out after wrong tries",
    "user.password_changed": "changed the password",
    "user.password_set": "set somebody's password",
    "user.sign_in_failed": "tried to sign in, in vain",
    "user.signed_in": "signed in",
    "user.signed_out": "signed out",
    "webhook_endpoint.created": "added a webhook",
    "webhook_endpoint.changed": "changed a webhook",
    "webhook_endpoint.deleted": "deleted a webhook",
    "webhook_endpoint.disabled": "disabled a webhook that failed",
    "webhook_endpoint.secret_rotated": "changed a webhook's secret",
}

# Under what a deed to a thing stands in the filter
HEADINGS = {
    "account": "Accounts",
    "api_token": "API tokens",
    "authorization": "Authorizations",
    "credential": "Credentials",
    "destination": "Syncs",
    "keys": "Encryption keys",
    "member": "Members",
    "oauth_app": "OAuth apps",
    "password": "Users and their logins",
    "redirect_uri": "Redirect URIs",
    "second_factor": "Users and their logins",
    "sign_in_attempt": "Users and their logins",
    "sync": "Syncs",
    "user": "Users and their logins",
    "webhook_endpoint": "Webhooks",
}


def in_words(action: str) -> str:
    thing, _, deed = action.partition(".")
    return DEEDS_IN_WORDS.get(action) or f"{deed} {thing}".replace("_", " ").strip()


def heading_of(action: str) -> str:
    return HEADINGS[action.partition(".")[0]]


class DeedFilter(admin.SimpleListFilter):
    title = "what was done"
    parameter_name = "deed"
    template = "console/audit_log/deeds.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return sorted(DEEDS_IN_WORDS.items(), key=lambda entry: (heading_of(entry[0]).lower(), entry[1]))

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Each with what it stands under; the first one is all."""
        headings = [heading_of(str(action)) for action, _ in self.lookup_choices]
        for choice, heading in zip(super().choices(changelist), ["", *headings], strict=True):
            yield {**choice, "heading": heading}

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
    search_fields = ("actor", "object_name", "=object_id", "=api_token", "=request_id")
    ordering = ("-created_at", "-id")
    fields = readonly_fields = (
        "created_at", "actor", "token", "did", "to_what", "object_id", "detail", "account", "address", "request_id",
        "place",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """A superuser also sees what belongs to no account, such as most logins, whichever account he works in."""
        if not request.user.is_superuser:
            return super().get_queryset(request)
        rows = AuditEvent.objects.all()
        here = choice_of(request).chosen if self.is_list(request) else None
        return rows.filter(Q(account=here) | Q(account__isnull=True)) if here else rows

    @property
    def days(self) -> int:
        return settings.AUDIT_DAYS

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "show_history": False})

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """An event is never changed, so it has no history beside itself."""
        return HttpResponseRedirect(reverse("admin:oauth_apps_auditevent_change", args=[object_id]))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        event = super().get_object(request, object_id, from_field)
        if event is not None:
            event.link = self.link_to_object(request, event)
        return event

    def link_to_object(self, request: HttpRequest, event: AuditEvent) -> str:
        """The page of what it was done to, if that exists and is the user's to see; else nothing."""
        for model, page in self.pages():
            if audit.word_for(model) == event.object_type and page.has_view_permission(request):
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

    @admin.display(description="API token")
    def token(self, event: Any) -> str:
        """With all that was done with it, or to it."""
        if event.api_token is None:
            return "-"
        address = reverse("admin:oauth_apps_auditevent_changelist")
        return format_html('<a class="sq-link" href="{}?q={}">{}</a>', address, event.api_token, event.api_token)

    @admin.display(description="place in its chain")
    def place(self, event: Any) -> str:
        if event.seal is None:
            return "none, which only events may have that are older than chains are; nothing proves it"
        return f"number {event.number} of {event.chain}, sealed {bytes(event.seal).hex()[:16]}…"

    @admin.display(description="to what")
    def to_what(self, event: Any) -> str:
        name = event.object_name or event.object_id or "-"
        return format_html('<a class="sq-link" href="{}">{}</a>', event.link, name) if event.link else name
