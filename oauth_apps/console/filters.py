"""By what the lists of the console are sifted. What a filter offers is among the rows that the user may see."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from oauth_apps.console.provider_picker import name_of
from oauth_apps.models import HealthStatus, OAuthApp
from sequin_auth.lib.api.paths import canonical_uuid

MOST_OFFERED = 200  # OAuth apps

Choices = list[tuple[str, str]]


class Filter(admin.SimpleListFilter):
    def has_output(self) -> bool:
        """Also of a value that is not offered: Django would drop it, and show what was not asked for."""
        return super().has_output() or self.value() is not None


class ColumnFilter(Filter):
    """By one column's value. `column`: a lookup that leads to it from the rows of the list."""

    column: ClassVar[str]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(**{self.column: value}) if value else queryset


class ChoiceFilter(ColumnFilter):
    """By a column that has a few values, which are the same for everybody: `offered`, with their words."""

    offered: ClassVar[Choices]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return self.offered


class EnvironmentFilter(ChoiceFilter):
    title = parameter_name = column = "environment"
    offered = [(value, str(label)) for value, label in OAuthApp.Environment.choices]


class HealthFilter(ChoiceFilter):
    title = parameter_name = "health"
    column = "health_status"
    offered = [(value, str(label)) for value, label in HealthStatus.choices]


class ProviderFilter(ColumnFilter):
    title = parameter_name = column = "provider"

    def slugs(self, request: HttpRequest, model_admin: Any) -> Iterable[str]:
        """Those that occur in the list."""
        rows: QuerySet[Any] = model_admin.get_queryset(request)
        return rows.order_by().values_list("provider", flat=True).distinct()

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        named = ((slug, name_of(slug)) for slug in self.slugs(request, model_admin))
        return sorted(named, key=lambda choice: choice[1].lower())


class OAuthAppFilter(ColumnFilter):
    title = "OAuth app"
    parameter_name = column = "oauth_app"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Those that occur in the list."""
        occurring = model_admin.get_queryset(request).order_by().values(self.column)
        # nosemgrep: row-without-account - the ids are those that occur in rows that he may see
        rows = OAuthApp.objects.filter(pk__in=occurring).order_by("name", "pk").values_list("pk", "name")
        return [(str(pk), name) for pk, name in rows[:MOST_OFFERED]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Nothing for what is no id."""
        value = self.value()
        return queryset.none() if value and canonical_uuid(value) is None else super().queryset(request, queryset)


class EnabledFilter(ChoiceFilter):
    title = parameter_name = column = "enabled"
    offered = [("yes", "Enabled"), ("no", "Disabled")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {"yes": True, "no": False}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(enabled=wanted)
