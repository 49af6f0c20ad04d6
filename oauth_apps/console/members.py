"""Accounts › Members: who works in an account. Members look; superusers add and remove."""

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from oauth_apps.console.base import OfMyAccounts
from oauth_apps.models import Membership


@admin.register(Membership)
class MembershipAdmin(OfMyAccounts):
    list_display = ("user", "account", "created_at")
    list_display_links = None
    list_select_related = ("user", "account")
    list_before_template = "console/members/before.html"
    ordering = ("account__name", "user__username")
    fields = ("account", "user")

    def get_list_display_links(self, request: HttpRequest, list_display: Any) -> Any:
        """A membership's page says no more than its row; a superuser removes one there."""
        return ("user",) if request.user.is_superuser else None

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """By the email for superusers alone: members would learn by trying what it is."""
        return ("user__username", "user__email") if request.user.is_superuser else ("user__username",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser) and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Another user is another membership."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return bool(request.user.is_superuser) and super().has_delete_permission(request, obj)
