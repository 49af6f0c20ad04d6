"""What a process of the product does when a test tells it to. Arguments and results are JSON."""

import secrets
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from datetime import timedelta
from functools import cache
from io import StringIO
from threading import Barrier
from typing import Any
from unittest import mock

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from credentials.models import Credential, Token
from credentials.models.token import TokenQuerySet
from credentials.refresh import leaseholder, refreshed, spool, sweep, together
from oauth_apps import api_tokens
from oauth_apps.models import Account, OAuthApp
from providers import oauth2
from providers.sandbox.models import Grant, Outcome, Registration
from providers.sandbox.script import simulated
from providers.sandbox.tokens import issue
from sequin_auth.lib.encryption import SealedTextField, sealed_fields
from tests.credentials.stored import again, keep
from tests.real.machine import stand_still, until

LONG_AGO = "2026-01-01T00:00:00Z"


def migrate() -> None:
    call_command("migrate", interactive=False, verbosity=0)


# ---- a credential ----------------------------------------------------------------------------------------------------


def store(provider: str) -> dict[str, str]:
    """An expired credential of the simulated `provider`, and an API token that reads it."""
    account = Account.objects.create(name="Arrakis")
    oauth_app = OAuthApp.objects.create(
        account=account,
        provider=provider,
        name=provider,
        client_id=secrets.token_hex(8),
        client_secret=secrets.token_hex(16),
        environment=OAuthApp.Environment.SANDBOX,
    )
    identity = dict.fromkeys(oauth_app.definition.identity_properties(), "somebody")
    tokens = granted(oauth_app)
    given = {name: tokens[name] for name in ("access_token", "refresh_token", "scope")}
    credential = keep(account, f"{provider}_oauth2", oauth_app, **identity, **given, expires_at=LONG_AGO)
    return {"id": str(credential.pk), "api_token": api_tokens.issue(account, scopes=["reveal"])[1]}


def granted(oauth_app: OAuthApp) -> dict[str, Any]:
    """What the simulated provider answers after somebody has agreed."""
    player = simulated(oauth_app.provider)
    assert player is not None
    grant = Grant.objects.create(
        registration=Registration.objects.get(pk=oauth_app.pk),
        ticket_hash=secrets.token_bytes(32),
        code_hash=secrets.token_bytes(32),
        redirect_uri=oauth_app.callback_url,
        scopes=oauth_app.definition.default_scopes,
        parts={},
        offers_refresh_token=True,
        outcome=Outcome.APPROVE,
        account="1",
        code_expires_at=timezone.now() + timedelta(minutes=1),
        used_at=timezone.now(),
    )
    answer: dict[str, Any] = issue(player.script, grant, player.script.lifetime, with_refresh_token=True)
    return answer


def stored(credential: str) -> dict[str, Any]:
    """How it is now."""
    row = again(Credential(pk=credential))
    return {
        "access_token": row.token.access_token,
        "version": row.token.version,
        "failure": row.token.failure,
        "is_due": row.token.due_at is not None,
        "health": row.health_status,
        "notes": row.health_notes,
    }


# ---- one refresh -----------------------------------------------------------------------------------------------------


STEPS: dict[str, tuple[Any, str]] = {
    "the lease": (TokenQuerySet, "lease"),
    "the call": (oauth2, "refresh"),
    "the commit": (leaseholder, "commit"),  # with the event of it
    "the batch": (together.Batch, "commit"),  # of a sweep
}


def refresh(credential: str, stops: str = "") -> str | None:
    """The access token. `stops`: "before" or "after" a step; there the process stands still until SIGCONT."""
    with standing_still(stops) if stops else nullcontext():
        return refreshed(again(Credential(pk=credential)), min_ttl=300).access_token


@contextmanager
def standing_still(stops: str) -> Iterator[None]:
    when, _, step = stops.partition(" ")
    owner, name = STEPS[step]
    function = getattr(owner, name)

    def stopped(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            stand_still()
        result = function(*args, **kwargs)
        if when == "after":
            stand_still()
        return result

    with mock.patch.object(owner, name, stopped):
        yield


def refresh_what_is_due(stops: str = "", together_with: int = 1) -> int:
    """`together_with`: so many answers are committed by the first batch."""
    close = together.close

    def close_when_all_are_there(batch: together.Batch) -> None:
        until(lambda: len(batch.answers) >= together_with, what="all have come")
        close(batch)

    with (
        mock.patch.object(together, "close", close_when_all_are_there),
        standing_still(stops) if stops else nullcontext(),
    ):
        return sweep.refresh_due()


def note_uses(credentials: list[str]) -> None:
    Token.objects.note_uses([(uuid.UUID(credential), timezone.now()) for credential in credentials])


# ---- many at once ----------------------------------------------------------------------------------------------------


THREADS = 16
all_there = Barrier(THREADS)
seen: list[Credential] = []


@cache
def threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS)


def look(credential: str) -> None:
    """Read the credential as it is now, for sixteen threads, each of which has it for itself."""
    seen[:] = [deepcopy(found) for found in [again(Credential(pk=credential))] * THREADS]


def refresh_at_once() -> list[str | None]:
    """Sixteen threads want a token for what they have seen. What each gets: the token, or the name of an exception."""

    def ask(credential: Credential) -> str | None:
        all_there.wait()
        try:
            return refreshed(credential, min_ttl=300).access_token
        except Exception as exc:  # noqa: BLE001 - the test looks at it, whatever it is
            return type(exc).__name__
        finally:
            connection.close()

    return list(threads().map(ask, seen))


# ---- the spool -------------------------------------------------------------------------------------------------------


def spooled() -> list[str]:
    """What the files hold, as text."""
    return [path.read_bytes().decode("latin-1") for path in spool.entries()]


# ---- keys ------------------------------------------------------------------------------------------------------------


def use_keys(keys: str) -> None:
    """As if this process had been started with these ENCRYPTION_KEYS."""
    settings.ENCRYPTION_KEYS = keys


def multiply(credential: str, count: int) -> list[str]:
    """So many like it, each with an access token of its own that lasts for years, and without a refresh token."""
    column = Token._meta.get_field("access_token")
    assert isinstance(column, SealedTextField)
    pks = [uuid.uuid4() for _ in range(count)]
    access_tokens = [column.seal(access_token_of(pk), pk=pk).envelope for pk in pks]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO credentials_credential SELECT copy.*
            FROM credentials_credential AS one, unnest(%s::uuid[]) AS made (id), jsonb_populate_record(
                one, jsonb_build_object('id', made.id, 'identity_hash', sha256(made.id::text::bytea))
            ) AS copy
            WHERE one.id = %s
            """,
            [pks, credential],
        )
        cursor.execute(
            """
            INSERT INTO credentials_token SELECT copy.*
            FROM credentials_token AS one, unnest(%s::uuid[], %s::bytea[]) AS made (id, sealed), jsonb_populate_record(
                one, jsonb_build_object(
                    'credential_id', made.id, 'access_token', made.sealed, 'refresh_token', NULL,
                    'refresh_fingerprint', NULL, 'due_at', NULL, 'expires_at', now() + interval '3 years'
                )
            ) AS copy
            WHERE one.credential_id = %s
            """,
            [pks, access_tokens, credential],
        )
    return [str(pk) for pk in pks]


def access_token_of(pk: uuid.UUID) -> str:
    return f"the access token of {pk}"


def say(command: list[str]) -> str:
    """What a command of manage.py says."""
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


def open_all() -> dict[str, str | None]:
    """The access token of every credential there is, after everything else that is sealed has been opened too."""
    for field in sealed_fields():
        for row in field.model._base_manager.all():
            getattr(row, field.attname)
    return {str(token.pk): token.access_token for token in Token.objects.all()}
