"""The statements by which a trip goes from step to step, one each. Everybody's trip takes them, so they are written out
(sequin_auth/lib/postgres/statements.py).
"""

import functools

from django.db.models import Model

from oauth_apps.models import OAuthApp
from sequin_auth.lib.postgres.statements import columns_of, insertion_of


@functools.cache
def starting(trips: type[Model]) -> str:
    """Values: the row's, with an interval in the place of the time when it ends.

    Nobody waits until it is on the disk. If the server dies within the moment that this takes, the end user comes back
    with a state that nobody knows, and begins again.
    """
    insertion = insertion_of(trips, expires_at="statement_timestamp() + %s::interval")
    return f"{insertion} RETURNING set_config('synchronous_commit', 'off', true)"


@functools.cache
def leaving(trips: type[Model], condition: str, at: str) -> str:
    """What stood in the row, and the row of its OAuth app. Values: the step, those of `condition`, the next step.

    `at`: the column that says when.
    """
    table, apps = trips._meta.db_table, OAuthApp._meta.db_table
    return f"""
        WITH taken AS (
            SELECT * FROM {table}
            WHERE step = %s AND {condition}
            FOR UPDATE
        )
        UPDATE {table} SET step = %s, {at} = statement_timestamp(), code_verifier = NULL, tokens = NULL
        FROM taken JOIN {apps} ON {apps}.id = taken.oauth_app_id
        WHERE {table}.id = taken.id
        RETURNING {columns_of(trips, called="taken")}, {columns_of(OAuthApp)}
    """  # noqa: S608 (names of ours, no values)


@functools.cache
def granting(trips: type[Model]) -> str:
    """A row, if it was done: for no app and to no redirect URI that was withdrawn, and twice only with one code.

    Values: the step, the code's hash, the tokens, the snapshot, the fingerprint, the time that the code has; the id,
    End.REDIRECT_URI, the step before, the step once more and the hash once more.
    """
    table, apps = trips._meta.db_table, OAuthApp._meta.db_table
    return f"""
        UPDATE {table} SET step = %s, code_hash = %s, tokens = %s, snapshot = %s, access_fingerprint = %s,
            granted_at = statement_timestamp(), expires_at = statement_timestamp() + %s::interval
        FROM {apps}
        WHERE {table}.id = %s AND {apps}.id = {table}.oauth_app_id AND {apps}.enabled
            AND ({table}.ends_at <> %s OR {table}.registered_redirect_uri_id IS NOT NULL)
            AND ({table}.step = %s OR ({table}.step = %s AND {table}.code_hash = %s))
        RETURNING 1
    """  # noqa: S608 (names of ours, no values)
