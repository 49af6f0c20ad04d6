"""The hot path: an API token, a credential and its tokens, in one statement."""

import functools
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from django.db import connection
from django.db.models import Model

from credentials.models.credential import Credential
from credentials.models.token import Token
from oauth_apps.models import OAuthApp

M = TypeVar("M", bound=Model)


def in_order(model: type[Model], *names: str) -> tuple[str, ...]:
    """The columns in the order of the model's fields, in which `from_db` wants their values."""
    return tuple(field.column for field in model._meta.concrete_fields if field.column in names)


OF_CREDENTIAL = in_order(Credential, "id", "provider", "kind", "properties", "secrets", "variables", "scopes_granted")
OF_OAUTH_APP = in_order(OAuthApp, "id", "provider", "environment")  # whether it is the simulator's
OF_TOKEN = in_order(
    Token,
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
    SELECT api_token.id, api_token.scopes,
        api_token.revoked_at IS NULL AND coalesce(api_token.expires_at > statement_timestamp(), true),
        {", ".join(f"credential.{name}" for name in OF_CREDENTIAL)},
        {", ".join(f"oauth_app.{name}" for name in OF_OAUTH_APP)},
        {", ".join(f"token.{name}" for name in OF_TOKEN)}
    FROM oauth_apps_apitoken AS api_token
    LEFT JOIN credentials_credential AS credential
        ON credential.account_id = api_token.account_id AND credential.id = %s
    LEFT JOIN oauth_apps_oauthapp AS oauth_app ON oauth_app.id = credential.oauth_app_id
    LEFT JOIN credentials_token AS token ON token.credential_id = credential.id
    WHERE api_token.token_hash = %s
"""  # noqa: S608 (names of ours, no values)


class Reading(msgspec.Struct, frozen=True):
    """`credential`: None unless it is of the API token's account. It has no more columns than a fresh token needs."""

    api_token: uuid.UUID
    scopes: list[str]
    is_alive: bool  # the API token, neither revoked nor expired
    credential: Credential | None


def read(*, token_hash: bytes, credential_id: uuid.UUID) -> Reading | None:
    """What an API token sees of a credential; None if there is no such API token."""
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT, [credential_id, token_hash])
        row = cursor.fetchone()
    if row is None:
        return None
    (api_token, scopes, is_alive), rest = row[:3], row[3:]
    of_credential, rest = rest[: len(OF_CREDENTIAL)], rest[len(OF_CREDENTIAL) :]
    of_oauth_app, of_token = rest[: len(OF_OAUTH_APP)], rest[len(OF_OAUTH_APP) :]
    credential: Credential | None = None
    if of_credential[0] is not None:
        credential = built(Credential, OF_CREDENTIAL, of_credential)
        credential.token = built(Token, OF_TOKEN, of_token)
        credential.oauth_app = built(OAuthApp, OF_OAUTH_APP, of_oauth_app) if of_oauth_app[0] else None
    return Reading(api_token, json.loads(scopes), is_alive, credential)


def built(model: type[M], names: tuple[str, ...], values: Sequence[Any]) -> M:
    """An instance with these columns, the others deferred, as `only()` makes it."""
    converted = [
        convert(value, None, connection) if convert else value
        for convert, value in zip(converters(model, names), values, strict=True)
    ]
    return model.from_db(None, names, converted)


@functools.cache
def converters(model: type[Model], names: tuple[str, ...]) -> list[Callable[..., Any] | None]:
    by_column = {field.column: field for field in model._meta.concrete_fields}
    return [getattr(by_column[name], "from_db_value", None) for name in names]
