"""Credentials with their tokens, written many at a time: one statement for each of the two tables."""

import functools
import uuid
from collections.abc import Sequence

from django.views.decorators.debug import sensitive_variables

from credentials.models.credential import Credential
from credentials.models.token import Token
from sequin_auth.lib.postgres.statements import insertion_of, run, update_of, values_of


@functools.cache
def inserting(rows: int) -> str:
    return f"{insertion_of(Credential, rows=rows)} ON CONFLICT DO NOTHING RETURNING id"


@sensitive_variables()
def insert_all(credentials: Sequence[Credential]) -> set[uuid.UUID]:
    """Insert each with its `token`; the ids of those that were. The others' upstream account or id is there already:
    whoever is just making it is waited for, so all make them in the same order.
    """
    if not credentials:
        return set()
    in_order = sorted(credentials, key=lambda one: (one.kind, str(one.oauth_app_id), one.identity_hash))
    rows = run(inserting(len(in_order)), [value for one in in_order for value in values_of(one)])
    inserted = {pk for (pk,) in rows}
    tokens = [one.token for one in in_order if one.pk in inserted]
    if tokens:
        run(insertion_of(Token, rows=len(tokens)), [value for one in tokens for value in values_of(one)])
    for row in [*credentials, *tokens]:
        row._state.adding = False
    return inserted


@sensitive_variables()
def update_all(credentials: Sequence[Credential]) -> None:
    """Write the whole rows, which the caller has locked, without their tokens."""
    if credentials:
        values = [value for one in credentials for value in values_of(one, is_new=False)]
        run(update_of(Credential, rows=len(credentials)), values)
