"""
Of trips: what became of each, of each account, day by day, for the dashboard (`DailyCount`).

They are counted when they are deleted; until then the dashboard counts their rows. Refreshes are counted into the
same numbers, as they end (refresh/daily_outcomes.py).
"""

import uuid
from collections import Counter
from datetime import UTC
from typing import Any

from django.db.models.functions import TruncDate
from django.utils import timezone

from credentials.models import Authorization, Credential, DailyCount
from credentials.models.authorization import AuthorizationQuerySet
from credentials.models.daily_count import UNDER_WAY, counted_in_sql
from oauth_apps.models import OAuthApp


def count(trips: AuthorizationQuerySet) -> list[uuid.UUID]:
    """Add what became of `trips` to the numbers; returns their primary keys. What is under way is not counted.

    The caller has locked them, and deletes them in the same transaction: so each is counted once.
    """
    day, what = TruncDate("created_at", tzinfo=UTC), counted_in_sql(timezone.now())
    rows = list(trips.values_list("pk", "oauth_app__account", day, what))
    DailyCount.objects.add(Counter((account, day, what) for _, account, day, what in rows if what != UNDER_WAY))
    return [pk for pk, *_ in rows]


def count_trips_of(instance: OAuthApp | Credential, **_: Any) -> None:
    """An OAuth app or a credential is deleted, and its trips with it. A purge that has some of them is waited for."""
    mine = {"oauth_app": instance} if isinstance(instance, OAuthApp) else {"credential": instance}
    count(Authorization.objects.filter(**mine).select_for_update(of=("self",)))
