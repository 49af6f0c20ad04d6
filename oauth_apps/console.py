"""What every page of the console obeys: a member sees and changes the rows of his accounts, a superuser all."""

from typing import Any

from django import forms
from django.db import models
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from oauth_apps.models import Account


class OfMyAccounts(ModelAdmin[models.Model]):
    """`account_path`: the lookup that leads from the model to its account."""

    account_path = "account"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows = super().get_queryset(request)
        if request.user.is_superuser:
            return rows
        return rows.filter(**{f"{self.account_path}__in": self.my_accounts(request)})

    def my_accounts(self, request: HttpRequest) -> models.QuerySet[Account]:
        everything = Account.objects.all()
        return everything if request.user.is_superuser else everything.filter(memberships__user=request.user.pk)

    def formfield_for_foreignkey(
        self, db_field: "models.ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> forms.ModelChoiceField[Any] | None:
        if db_field.remote_field.model is Account:
            kwargs["queryset"] = self.my_accounts(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_staff)

    def _is_mine(self, request: HttpRequest) -> bool:
        """Rows of other accounts are not found at all, so membership is the whole permission."""
        return self.has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self._is_mine(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._is_mine(request)

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self._is_mine(request)

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self._is_mine(request)
