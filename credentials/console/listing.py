"""The list of credentials: its filters, its search, and how a page of it is read out of very many rows."""

import functools
import operator
from collections.abc import Iterable
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.views import ChangeList

from credentials.console import occurring
from credentials.console.identity import shown_of
from credentials.link.forms import canonical_uuid
from credentials.models import Credential
from credentials.models.token import TERMINAL
from oauth_apps.console import filters
from oauth_apps.console.filters import Choices
from providers import kinds

MOST_FOUND = 1_000  # by a search, and counted; who does not find it among these types more of it
MOST_WORDS = 10


# ---- filters: what they offer is among one's own rows ----------------------------------------------------------------


class ReauthorizationFilter(filters.Filter):
    title = "needs reauthorization"
    parameter_name = "needs"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("reauthorization", "Yes")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(token__failure__in=TERMINAL) if self.value() == "reauthorization" else queryset


class ProviderFilter(filters.ProviderFilter):
    def slugs(self, request: HttpRequest, model_admin: Any) -> Iterable[str]:
        return {slug for _, slug in occurring.mine(request).kinds}


class KindFilter(filters.ColumnFilter):
    title = parameter_name = column = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(kind, kind) for kind, _ in occurring.mine(request).kinds]


class OAuthAppFilter(filters.OAuthAppFilter):
    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return occurring.mine(request).oauth_apps


FILTERS = (filters.HealthFilter, ReauthorizationFilter, ProviderFilter, KindFilter, OAuthAppFilter)


# ---- search ----------------------------------------------------------------------------------------------------------


def found(queryset: QuerySet[Any], term: str, occurring_kinds: Iterable[str]) -> QuerySet[Any]:
    """Those whose id is `term`; else those whose name, provider, kind or identity has all its words."""
    if credential_id := canonical_uuid(term.strip().lower()):
        return queryset.filter(pk=credential_id)
    known = kinds.load()
    told_by = {name: shown_of(known[name]) for name in occurring_kinds if name in known}
    for word in term.lower().split()[:MOST_WORDS]:
        meant = [name for name in {*known, *occurring_kinds} if word in described(name)]
        matches = Q(name__icontains=word) | Q(kind__in=meant)
        for kind, names in told_by.items():
            if kind not in meant:
                matches |= Q(kind=kind) & any_of(Q(**{f"properties__{name}__icontains": word}) for name in names)
        queryset = queryset.filter(matches)
    return queryset


def described(kind: str) -> str:
    """What a kind of credential is found by, in lower case: its name, its provider's slug and name."""
    found = kinds.load().get(kind)
    return f"{kind} {found.provider.slug} {found.provider.name}".lower() if found else kind


def any_of(conditions: Iterable[Q]) -> Q:
    return functools.reduce(operator.or_, conditions, Q(pk__in=[]))


# ---- pages -----------------------------------------------------------------------------------------------------------


class PagesOfIds(Paginator[Any]):
    """Finds a page's primary keys by the index alone, and reads the rows of these; both in one statement.

    What was searched for is looked for once: a count would read every row another time.
    """

    is_search = False
    template_name = "console/credential/pages.html"

    @cached_property
    def found(self) -> list[Any]:
        """One more than are shown, if there are more."""
        rows: Any = self.object_list
        return list(rows.values_list("pk", flat=True)[: MOST_FOUND + 1])

    @cached_property
    def count(self) -> int:
        return min(len(self.found), MOST_FOUND) if self.is_search else super().count

    @property
    def number(self) -> str:
        """How many there are, in words: of what was searched for not all are counted."""
        more = "more than " if self.is_cut else ""
        return f"{more}{self.count:,} credential{'' if self.count == 1 else 's'}"

    @property
    def is_cut(self) -> bool:
        return self.is_search and len(self.found) > MOST_FOUND

    def page(self, number: Any) -> Any:
        number = self.validate_number(number)
        start = (number - 1) * self.per_page
        end = min(start + self.per_page, self.count)
        rows: Any = self.object_list
        pks = self.found[start:end] if self.is_search else rows.values("pk")[start:end]
        # nosemgrep: row-without-account - the ids are those of rows that he may see
        shown = Credential.objects.filter(pk__in=pks).select_related(*SHOWN_WITH).defer(*NOT_SHOWN)
        return Page(list(shown.order_by("-created_at", "-pk")), number, self)


class Rows(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """As Django does, but a single page comes from the paginator too."""
        super().get_results(request)
        if not self.multi_page:
            self.result_list = self.paginator.page(1).object_list


SHOWN_WITH = ("oauth_app", "token", "account")
NOT_SHOWN = (
    "secrets", "secret_names", "identity_hash", "variables", "metadata", "scopes_requested", "scopes_granted",
    "redirect_uri", "health_notes", "oauth_app__client_secret", "oauth_app__metadata", "oauth_app__health_notes",
    "oauth_app__default_scopes", "oauth_app__variables", "token__access_token", "token__refresh_token",
    "token__scope", "token__replaced", "token__refresh_fingerprint", "token__previous_fingerprint", "token__history",
)  # fmt: skip
