"""The hot path: an API token, a credential and its tokens, in one statement."""

import json
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from credentials.models.credential import Credential
from credentials.models.token import Token
from oauth_apps.models import OAuthApp
from sequin_auth.lib.postgres.statements import columns_of, instance_of, names_of, run

OF_CREDENTIAL = ("id", "provider", "kind", "properties", "secrets", "variables", "scopes_granted")
OF_OAUTH_APP = ("id", "provider", "environment")  # whether it is the simulator's
OF_TOKEN = (
    "credential_id",
    "version",
    "attempts",
    "access_token",
    "token_type",
    "expires_at",
    "expiry_source",
    "failure",
)
STATEMENT = f"""
    SELECT api_token.id, api_token.name::text, api_token.prefix::text, api_token.account_id, api_token.scopes::text,
        api_token.revoked_at IS NULL AND coalesce(api_token.expires_at > statement_timestamp(), true),
        {columns_of(Credential, *OF_CREDENTIAL, called="credential")},
        {columns_of(OAuthApp, *OF_OAUTH_APP, called="oauth_app")},
        {columns_of(Token, *OF_TOKEN, called="token")}
    FROM oauth_apps_apitoken AS api_token
    LEFT JOIN credentials_credential AS credential
        ON credential.account_id = api_token.account_id AND credential.id = %s
    LEFT JOIN oauth_apps_oauthapp AS oauth_app ON oauth_app.id = credential.oauth_app_id
    LEFT JOIN credentials_token AS token ON token.credential_id = credential.id
    WHERE api_token.token_hash = %s
"""  # noqa: S608 (names of ours, no values)
# The columns of a row by name, in the order of the statement
COLUMNS = (
    *(f"api_token.{name}" for name in ("id", "name", "prefix", "account_id", "scopes", "is_alive")),
    *(f"credential.{name}" for name in names_of(Credential, *OF_CREDENTIAL)),
    *(f"oauth_app.{name}" for name in names_of(OAuthApp, *OF_OAUTH_APP)),
    *(f"token.{name}" for name in names_of(Token, *OF_TOKEN)),
)


class Reading(msgspec.Struct, frozen=True):
    """`credential`: None unless it is of the API token's account. It has no more columns than a fresh token needs."""

    api_token: uuid.UUID
    name: str  # of the API token
    prefix: str
    account: uuid.UUID  # whose API token it is
    scopes: list[str]
    is_alive: bool  # the API token, neither revoked nor expired
    credential: Credential | None


def read(*, token_hash: bytes, credential_id: uuid.UUID) -> Reading | None:
    """What an API token sees of a credential; None if there is no such API token."""
    rows = run(STATEMENT, [credential_id, token_hash])
    return reading_of(rows[0]) if rows else None


def reading_of(row: Sequence[Any]) -> Reading:
    """`row`: of STATEMENT."""
    (api_token, name, prefix, account, scopes, is_alive), rest = row[:6], row[6:]
    of_credential, rest = rest[: len(OF_CREDENTIAL)], rest[len(OF_CREDENTIAL) :]
    of_oauth_app, of_token = rest[: len(OF_OAUTH_APP)], rest[len(OF_OAUTH_APP) :]
    credential: Credential | None = None
    if of_credential[0] is not None:
        credential = instance_of(Credential, of_credential, *OF_CREDENTIAL)
        credential.token = instance_of(Token, of_token, *OF_TOKEN)
        has_app = of_oauth_app[0] is not None
        credential.oauth_app = instance_of(OAuthApp, of_oauth_app, *OF_OAUTH_APP) if has_app else None
    return Reading(api_token, name, prefix, account, json.loads(scopes), is_alive, credential)
