"""What the filters of the list offer: the kinds of credential and the OAuth apps that somebody's accounts have."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from django.http import HttpRequest

from credentials.models import Credential
from oauth_apps.console.choice import choice_of
from oauth_apps.console.filters import MOST_OFFERED
from oauth_apps.models import OAuthApp

# From one kind to the next by the index of the constraint `one_credential_an_upstream_account`: as many steps as kinds,
# and not as many as rows.
STATEMENT = f"""
    (
        SELECT DISTINCT true, there.kind, there.provider
        FROM unnest(%s::uuid[]) AS account (id) CROSS JOIN LATERAL (
            WITH RECURSIVE step AS (
                (
                    SELECT kind, provider FROM {Credential._meta.db_table}
                    WHERE account_id = account.id ORDER BY kind LIMIT 1
                )
                UNION ALL
                SELECT next.kind, next.provider FROM step CROSS JOIN LATERAL (
                    SELECT kind, provider FROM {Credential._meta.db_table}
                    WHERE account_id = account.id AND kind > step.kind ORDER BY kind LIMIT 1
                ) AS next
            )
            SELECT kind, provider FROM step
        ) AS there
        ORDER BY there.kind
    )
    UNION ALL
    (
        SELECT false, id::text, name FROM {OAuthApp._meta.db_table}
        WHERE account_id = ANY(%s::uuid[]) ORDER BY name, id LIMIT {MOST_OFFERED}
    )
"""  # noqa: S608 (names of ours, no values)


@dataclass(frozen=True)
class Occurring:
    """`kinds`: with the provider's slug; `oauth_apps`: id and name."""

    kinds: list[tuple[str, str]]
    oauth_apps: list[tuple[str, str]]


def of(accounts: Sequence[UUID]) -> Occurring:
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT, [list(accounts), list(accounts)])
        rows = cursor.fetchall()
    return Occurring(
        kinds=[(kind, provider) for is_kind, kind, provider in rows if is_kind],
        oauth_apps=[(oauth_app_id, name) for is_kind, oauth_app_id, name in rows if not is_kind],
    )


def mine(request: HttpRequest) -> Occurring:
    """In the account that is worked in, else in all that are offered. One statement a request."""
    kept: Occurring | None = getattr(request, "_what_occurs", None)
    if kept is None:
        here = choice_of(request)
        accounts = [here.chosen] if here.chosen else here.offered
        kept = request._what_occurs = of([account.pk for account in accounts])  # type: ignore[attr-defined]
    return kept
