"""What every page of the console obeys: whose rows it has, by what they are sifted, and what is written down."""

import json
import re
from typing import Any

from django import forms
from django.contrib import admin
from django.db import models, transaction
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from oauth_apps import audit
from oauth_apps.console.choice import choice_of, my_accounts
from oauth_apps.models import Account, AuditEvent
from sequin_auth.lib.api import client_address

PART_OF_DATE = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
LAST_YEAR = 9998  # of which Django can still tell when it ends


def actor_of(request: HttpRequest) -> audit.Actor:
    """Whoever is signed in to the console."""
    return audit.Actor(
        name=request.user.get_username() or "nobody",
        user_id=request.user.pk,
        address=client_address(request),
        request_id=str(getattr(request, "request_id", "")),
    )


class InTheConsole(ModelAdmin[Any]):
    """Of every model's pages, whoever may see them."""

    show_full_result_count = False
    list_fullwidth = True
    list_disable_select_all = True  # "all 100,000" is a mistake more often than a wish
    compressed_fields = True

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """By what a list declares, and by nothing else that its address may name: Django lets through every field of
        the model, the hash of a token as well, with each comparison that there is.
        """
        name, _, rest = lookup.partition("__")
        if self.date_hierarchy and name == self.date_hierarchy and rest in {"year", "month", "day"}:
            return bool(PART_OF_DATE.fullmatch(value)) and int(value) <= LAST_YEAR
        for declared in self.get_list_filter(request):
            if isinstance(declared, type) and issubclass(declared, admin.SimpleListFilter):
                if lookup == declared.parameter_name:
                    return True
            elif lookup in {declared, f"{declared}__exact"}:
                offered = [str(choice) for choice, _ in self.opts.get_field(str(declared)).flatchoices]
                return not offered or value in offered  # a type of PostgreSQL's own takes no other
        return False

    # ---- the audit log -----------------------------------------------------------------------------------------------

    def account_of(self, obj: Any) -> Account | None:
        """The account whose members are told what is done to `obj`."""
        raise NotImplementedError

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self.record(request, "created", obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self.record(request, "changed", obj, detail=fields_named_in(message))
        return super().log_change(request, obj, message)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with transaction.atomic():
            event = self.event(request, "deleted", obj)  # while it has a primary key
            super().delete_model(request, obj)
            audit.write([event])

    def delete_queryset(self, request: HttpRequest, queryset: "models.QuerySet[Any]") -> None:
        with transaction.atomic():
            events = [self.event(request, "deleted", obj) for obj in queryset]
            super().delete_queryset(request, queryset)
            audit.write(events)

    def record(self, request: HttpRequest, deed: str, obj: Any, *, detail: str = "") -> None:
        """Write down that the user did `deed` (`created`, `checked`, …) to a row of this model."""
        audit.write([self.event(request, deed, obj, detail=detail)])

    def event(self, request: HttpRequest, deed: str, obj: Any, *, detail: str = "") -> AuditEvent:
        by, account = actor_of(request), self.account_of(obj)
        return audit.event(f"{audit.word_for(obj)}.{deed}", by=by, account=account, to=obj, detail=detail)


class OfMyAccounts(InTheConsole):
    """A member sees and changes the rows of his accounts, a superuser all. `account_path`: the lookup that leads from
    the model to its account.

    Lists show the account that is worked in; a row's own page, reached by a link, may be of any of one's accounts.
    """

    account_path = "account"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows = super().get_queryset(request)
        if self.is_list(request) and (chosen := choice_of(request).chosen):
            return rows.filter(**{self.account_path: chosen.pk})
        if request.user.is_superuser:
            return rows
        return rows.filter(**{f"{self.account_path}__in": [account.pk for account in self.accounts(request)]})

    def accounts(self, request: HttpRequest) -> list[Account]:
        """Those of a member; of a superuser as many as are offered to choose from."""
        return choice_of(request).offered

    def is_list(self, request: HttpRequest) -> bool:
        match = request.resolver_match
        return match is not None and match.url_name == f"{self.opts.app_label}_{self.opts.model_name}_changelist"

    def get_list_display(self, request: HttpRequest) -> Any:
        """Without the account where it is the same in each row."""
        columns = super().get_list_display(request)
        return [name for name in columns if name != "account"] if choice_of(request).chosen else columns

    def formfield_for_foreignkey(
        self, db_field: "models.ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> forms.ModelChoiceField[Any] | None:
        if db_field.remote_field.model is Account:
            kwargs["queryset"] = my_accounts(request)
            here = choice_of(request)
            kwargs.setdefault("initial", here.chosen or next(iter(here.offered), None))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def account_of(self, obj: Any) -> Account:
        for name in self.account_path.split("__"):
            obj = getattr(obj, name)
        return obj

    # ---- permissions -------------------------------------------------------------------------------------------------

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


class LookedAt(OfMyAccounts):
    """What nobody makes or changes by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def fields_named_in(message: Any) -> str:
    """Which fields Django's change message says were changed; their names, no values."""
    try:
        entries = json.loads(message) if isinstance(message, str) else message
        names = [name for entry in entries or [] for name in entry.get("changed", {}).get("fields", [])]
    except (ValueError, AttributeError, TypeError):
        return ""
    return ", ".join(names)
