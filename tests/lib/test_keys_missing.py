"""Which keys have sealed something and are not in the key ring."""

import base64
from hashlib import sha256

import pytest
from django.db import connection
from django.db.models import QuerySet
from pytest_django import Settings

from credentials.models import Credential, Token
from oauth_apps.models import Account, OAuthApp
from sequin_auth.lib.encryption import KeyIdOf, SealedField, keys_missing

pytestmark = pytest.mark.django_db

SECRET = OAuthApp._meta.get_field("client_secret")


def ring(*key_ids: str) -> str:
    return ",".join(f"{key_id}:{base64.b64encode(sha256(key_id.encode()).digest()).decode()}" for key_id in key_ids)


def seal_by(account: Account, settings: Settings, *key_ids: str) -> None:
    for key_id in key_ids:
        settings.ENCRYPTION_KEYS = ring(key_id)
        OAuthApp.objects.create(account=account, provider="stripe", name=key_id, client_id=key_id, client_secret="s")


@pytest.mark.parametrize(
    ("known", "missing"),
    [
        (("c",), {"a", "b", "d", "e"}),
        (("d", "b"), {"a", "c", "e"}),
        (("a", "e"), {"b", "c", "d"}),
        (("c", "b"), {"a", "d", "e"}),
        (("f",), {"a", "b", "c", "d", "e"}),
        (("e", "d", "c", "b", "a", "f"), set()),
    ],
)
def test_it_is_found_wherever_its_id_stands_among_those_that_are_known(
    account: Account, settings: Settings, known: tuple[str, ...], missing: set[str]
) -> None:
    seal_by(account, settings, "a", "b", "c", "d", "e")
    settings.ENCRYPTION_KEYS = ring(*known)
    assert isinstance(SECRET, SealedField)

    found = keys_missing(SECRET)

    assert found == missing


def test_what_is_no_envelope_names_no_key(account: Account, settings: Settings) -> None:
    seal_by(account, settings, "a")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE oauth_apps_oauthapp SET client_secret = 'no envelope'")
    assert isinstance(SECRET, SealedField)

    assert keys_missing(SECRET) == set()


@pytest.mark.parametrize(
    ("rows", "column", "index"),
    [
        (Token.objects.all(), "access_token", "tokens_by_key"),
        (Token.objects.all(), "refresh_token", "tokens_by_refresh_key"),
        (Credential.objects.all(), "secrets", "credentials_by_key"),
    ],
)
def test_where_there_may_be_millions_of_rows_an_index_answers(
    rows: "QuerySet[Token] | QuerySet[Credential]", column: str, index: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")

    plan = rows.annotate(sealed_by=KeyIdOf(column)).filter(sealed_by__lt=b"a").order_by().values("sealed_by").explain()

    assert f"Bitmap Index Scan on {index}" in plan
