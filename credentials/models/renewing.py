"""The tokens of many credentials, put into their rows by one statement."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from django.db import connection
from django.views.decorators.debug import sensitive_variables

from credentials.models.token import EVENTS, Token, Tokens, sealed, with_predecessor_of
from sequin_auth.lib.postgres.statements import run

# What a refresh changes, and of which type PostgreSQL is told that it is
COLUMNS: Final = {
    "access_token": "bytea",
    "refresh_token": "bytea",
    "token_type": "text",
    "scope": "text",
    "obtained_at": "timestamptz",
    "expires_at": "timestamptz",
    "expiry_source": "text",
    "refresh_expires_at": "timestamptz",
    "due_at": "timestamptz",
    "refresh_fingerprint": "bytea",
    "previous_fingerprint": "bytea",
    "replaced": "bytea",
}
TABLE: Final = Token._meta.db_table


def renewing(columns: Mapping[str, str], *, history: str) -> str:
    """`history`: what it becomes. Values: ids, versions, those of `columns`, and those of `history`."""
    return f"""
    WITH made AS (
        SELECT * FROM unnest(%s::uuid[], %s::integer[], {", ".join(f"%s::{kind}[]" for kind in columns.values())})
            AS made (id, version, {", ".join(columns)})
    ), free AS (
        SELECT credential_id AS id FROM {TABLE} JOIN made ON made.id = credential_id AND made.version = {TABLE}.version
        FOR UPDATE OF {TABLE} SKIP LOCKED
    )
    UPDATE {TABLE} SET
        {", ".join(f"{column} = made.{column}" for column in columns)},
        history = {history},
        version = {TABLE}.version + 1, attempts = attempts + 1, lease_owner = NULL, lease_until = NULL,
        interrupted_at = NULL, failure = '', failed_at = NULL, failures = 0, retry_at = NULL
    FROM made JOIN free USING (id)
    WHERE {TABLE}.credential_id = made.id AND {TABLE}.version = made.version
    RETURNING {TABLE}.credential_id
"""  # noqa: S608 (names of ours, no values)


WITH_EVENT: Final = f"(ARRAY[extract(epoch FROM statement_timestamp())::bigint || ' ' || %s] || history)[1:{EVENTS}]"
AFTER_REFRESHES: Final = renewing(COLUMNS, history=WITH_EVENT)
GRANTED: Final = {**COLUMNS, "granted_at": "timestamptz"}
AFTER_IMPORTS: Final = renewing(GRANTED, history="history")


class Renewal(msgspec.Struct, frozen=True):
    """One row's part: whose, in the place of which version, and the columns, sealed."""

    id: uuid.UUID
    version: int
    columns: dict[str, Any]

    def __repr__(self) -> str:
        return f"Renewal({self.id})"


@sensitive_variables()
def renewal(token: Token, tokens: Tokens) -> Renewal:
    """`tokens`, of a refresh, for the row of `token`."""
    columns = sealed(token.pk, tokens)
    columns |= {"previous_fingerprint": token.previous_fingerprint, "replaced": token.replaced}
    columns |= with_predecessor_of(token, columns["refresh_fingerprint"])
    for name in ("access_token", "refresh_token"):
        columns[name] = columns[name] and columns[name].envelope
    return Renewal(token.pk, token.version, columns)


@sensitive_variables()
def renew_all(renewals: Sequence[Renewal], outcome: str) -> set[uuid.UUID]:
    """As `Token.objects.renew` after a refresh, of all in one statement; whose rows have taken it.

    The others have another version by now, or somebody holds the row just now: nobody waits for it here.
    """
    with connection.cursor() as cursor:
        cursor.execute(AFTER_REFRESHES, [*arrays_of(renewals, COLUMNS), outcome])
        return {pk for (pk,) in cursor.fetchall()}


@sensitive_variables()
def replace_all(renewals: Sequence[Renewal]) -> None:
    """As `Token.objects.renew` after an import, of all in one statement. The caller has locked their rows: his own lock
    passes none over.
    """
    if renewals:
        run(AFTER_IMPORTS, arrays_of(renewals, GRANTED))


def arrays_of(renewals: Sequence[Renewal], columns: Iterable[str]) -> list[list[Any]]:
    of_columns = [[one.columns[column] for one in renewals] for column in columns]
    return [[one.id for one in renewals], [one.version for one in renewals], *of_columns]
