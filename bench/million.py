"""A database as it looks after years: a million credentials, written by SQL, so that it takes minutes and not hours."""

import uuid
from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.utils import timezone

from credentials.models import Token
from oauth_apps.models import Account, OAuthApp
from sequin_auth.lib.encryption import SealedTextField

PROVIDERS = ("stripe", "salesforce", "hubspot", "github", "airtable", "notion", "zendesk", "asana", "slack", "linear")
RARE = PROVIDERS[-1]  # has one in a thousand; the others share the rest
APPS = 3  # of each provider
BATCH = 50_000
TOKEN = "a-token-of-the-usual-length-0123456789-abcdef"


def fill(account: Account, count: int) -> list[OAuthApp]:
    """`count` credentials: ten providers, one in 200 unwell, metadata as developers have it, tokens good for a day."""
    apps = [
        OAuthApp.objects.create(
            account=account, provider=provider, name=f"{provider} {number}", client_id=f"{provider}-{number}",
            client_secret="only for the benchmark",
        )
        for provider in PROVIDERS
        for number in range(APPS)
    ]  # fmt: skip
    values: dict[str, Any] = {
        "account": account.pk, "apps": [app.pk for app in apps], "providers": list(PROVIDERS), "now": timezone.now(),
    }  # fmt: skip
    with connection.cursor() as cursor:
        for first in range(0, count, BATCH):
            cursor.execute(CREDENTIALS, values | {"first": first, "last": min(first + BATCH, count) - 1})
            pks = [pk for (pk,) in cursor.fetchall()]
            sealed = {"pks": pks, "access": seals("access_token", pks), "refresh": seals("refresh_token", pks)}
            cursor.execute(TOKENS, values | sealed)
        cursor.execute("VACUUM ANALYZE credentials_credential, credentials_token")
    return apps


def seals(name: str, pks: Sequence[uuid.UUID]) -> list[bytes]:
    field = Token._meta.get_field(name)
    if not isinstance(field, SealedTextField):
        raise TypeError
    return [field.seal(TOKEN, pk=pk).envelope for pk in pks]


# `number` of each credential: the higher the older, and so the further down in lists
CREDENTIALS = f"""
    INSERT INTO credentials_credential (
        id, account_id, oauth_app_id, provider, kind, name, metadata, identity_hash, is_identified, properties,
        secret_names, variables, scopes_requested, scopes_granted, redirect_uri, health_status, health_notes,
        health_time, created_at, updated_at)
    SELECT gen_random_uuid(), %(account)s, (%(apps)s::uuid[])[1 + which * {APPS} + number %% {APPS}],
        provider, provider || '_oauth2', 'Customer ' || number,
        jsonb_build_object('user_id', number, 'plan', CASE WHEN number %% 20 = 0 THEN 'large' ELSE 'small' END),
        sha256(number::text::bytea), true, jsonb_build_object('organization_id', 'org-' || number),
        '[]', '{{}}', '["read", "write"]', '["read", "write"]', 'https://app.example.com/callback',
        CASE WHEN number %% 200 = 0 THEN 'error' ELSE 'ok' END, '[]', %(now)s,
        %(now)s::timestamptz - number * interval '20 seconds', %(now)s
    FROM (
        SELECT number, which, (%(providers)s::text[])[which + 1] AS provider
        FROM generate_series(%(first)s::int, %(last)s::int) AS number,
            LATERAL (SELECT CASE WHEN number %% 1000 = 7 THEN 9 ELSE (number / 7) %% 9 END AS which) AS chosen
    ) AS numbers
    RETURNING id
"""  # noqa: S608 (a number of ours)
TOKENS = """
    INSERT INTO credentials_token (
        credential_id, version, access_token, refresh_token, token_type, scope, obtained_at, granted_at, expires_at,
        expiry_source, refresh_fingerprint, replaced, due_at, attempts, failure, failures, history)
    SELECT id, 1, access, refresh, 'Bearer', 'read write', %(now)s, %(now)s, %(now)s::timestamptz + interval '1 day',
        'expires_in', sha256(id::text::bytea), '', %(now)s::timestamptz + interval '20 hours', 0, '', 0, '{}'
    FROM unnest(%(pks)s::uuid[], %(access)s::bytea[], %(refresh)s::bytea[]) AS sealed (id, access, refresh)
"""
