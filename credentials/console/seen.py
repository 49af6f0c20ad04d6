"""Whose rows the dashboard tells of: the account that is worked in, or all that the user may see."""

from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from oauth_apps.console.choice import choice_of, my_accounts

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Seen:
    """`accounts`: None for every account there is."""

    accounts: list[UUID] | None

    @property
    def is_of_one(self) -> bool:
        return self.accounts is not None and len(self.accounts) == 1

    def __call__(self, rows: QuerySet[M], path: str = "account") -> QuerySet[M]:
        """Those of `rows` that are meant; `path` leads from them to their account."""
        if self.accounts is None:
            return rows
        if self.is_of_one:  # an index by account and time gives them in order
            return rows.filter(**{path: self.accounts[0]})
        return rows.filter(**{f"{path}__in": self.accounts})


def seen_by(request: HttpRequest) -> Seen:
    if chosen := choice_of(request).chosen:
        return Seen([chosen.pk])
    if request.user.is_superuser:
        return Seen(None)
    return Seen(list(my_accounts(request).values_list("pk", flat=True)))
