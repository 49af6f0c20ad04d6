"""In which of his accounts somebody works: lists show that one's rows, and new rows belong to it."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest

from oauth_apps.models import Account

SESSION_KEY = "account"
MOST_OFFERED = 50  # accounts in the switcher; a superuser who needs another chooses it in the list of accounts


@dataclass(frozen=True)
class Choice:
    """`chosen`: None for all of `offered` at once."""

    chosen: Account | None
    offered: list[Account]

    @property
    def is_needed(self) -> bool:
        return len(self.offered) > 1


def my_accounts(request: HttpRequest) -> QuerySet[Account]:
    """All that the user may see: a superuser everything, a member his own."""
    everything = Account.objects.order_by("name", "pk")
    return everything if request.user.is_superuser else everything.filter(memberships__user=request.user.pk)


def choice_of(request: HttpRequest) -> Choice:
    """What the session says, if the user may still see it. One statement a request."""
    kept: Choice | None = getattr(request, "_account_choice", None)
    if kept is None:
        kept = request._account_choice = _read(request)  # type: ignore[attr-defined]
    return kept


def _read(request: HttpRequest) -> Choice:
    offered = list(my_accounts(request)[:MOST_OFFERED])
    wanted = request.session.get(SESSION_KEY, "")
    chosen = next((account for account in offered if str(account.pk) == wanted), None)
    if wanted and chosen is None and len(offered) == MOST_OFFERED:
        chosen = my_accounts(request).filter(pk=wanted).first()
    if chosen is None and len(offered) == 1:
        chosen = offered[0]
    return Choice(chosen, offered)


def choose(request: HttpRequest, account_id: UUID | None) -> bool:
    """Work in that account from now on, or in all; False if it is none of the user's."""
    if account_id is not None and not my_accounts(request).filter(pk=account_id).exists():
        return False
    request.session[SESSION_KEY] = str(account_id or "")
    return True
