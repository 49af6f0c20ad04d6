"""By what the list of syncs is sifted."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from oauth_apps.console import filters
from oauth_apps.console.choice import choice_of
from oauth_apps.console.filters import Choices
from sequin_auth.lib.api.paths import canonical_uuid
from syncs.models import Sync


class StatusFilter(filters.ChoiceFilter):
    title = parameter_name = column = "status"
    offered = [(value, str(label)) for value, label in Sync.Status.choices]


class IdFilter(filters.ColumnFilter):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Nothing for what is no id."""
        value = self.value()
        return queryset.none() if value and canonical_uuid(value) is None else super().queryset(request, queryset)


class AccountFilter(IdFilter):
    title = parameter_name = column = "account"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """None where all rows are of one account."""
        here = choice_of(request)
        return [] if here.chosen else [(str(account.pk), account.name) for account in here.offered]


class CredentialFilter(IdFilter):
    """To which the pages of credentials lead; it offers none by itself, as there are too many."""

    title = parameter_name = column = "credential"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return []


class DestinationFilter(IdFilter):
    title = parameter_name = column = "destination"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return []


FILTERS = (
    filters.ProviderFilter, filters.HealthFilter, StatusFilter, AccountFilter, CredentialFilter, DestinationFilter,
)  # fmt: skip
NOT_SHOWN = (
    "metadata", "rate_limit", "refresh_collections", "health_parts", "credential__secrets", "credential__secret_names",
    "credential__variables", "credential__metadata", "credential__scopes_requested", "credential__scopes_granted",
    "credential__health_notes", "destination__password", "destination__reader_password", "destination__metadata",
    "destination__health_notes",
)  # fmt: skip
