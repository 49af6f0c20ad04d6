"""
What a provider answered while the database was away.

A refresh token that was rotated exists once, in the answer: if it cannot be committed, it is sealed into a file below
VAR_DIR/spool, synced to the disk, and put into its row as soon as the database is back. The version decides: an answer
whose row has moved on is dropped.

If the disk is full as well, it stays in the memory of this process, sealed, and is written to whichever of the two
takes it first; a process that ends before has lost it.
"""

import base64
import contextlib
import os
import re
import secrets
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import structlog
from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, connection, transaction
from django.views.decorators.debug import sensitive_variables

from credentials import announcing, health
from credentials.models import Credential, Token, Tokens
from credentials.models.token import REFRESHED
from credentials.refresh import daily_outcomes
from oauth_apps import audit
from sequin_auth.lib.encryption import Unreadable, key_id_of, key_ring

log = structlog.get_logger("credentials")

NAME = re.compile(r"[0-9a-f-]{36}\.[0-9]{1,10}\.[0-9a-f]{8}", re.ASCII)
PAUSE = 1.0  # seconds between two tries
replaying = threading.Lock()
unwritten: dict[Path, "Entry"] = {}  # what the disk did not take either, by the file that it would be


class Entry(msgspec.Struct, frozen=True):
    """One answer. `envelope`: the tokens, sealed, in base64; `outcome`: of the refresh, for the history."""

    credential: uuid.UUID
    version: int  # of the tokens that it takes the place of
    envelope: str
    outcome: str = REFRESHED


def folder() -> Path:
    return settings.VAR_DIR / "spool"


@sensitive_variables()
def keep(token: Token, tokens: Tokens, outcome: str = REFRESHED) -> None:
    """Write `tokens` down for the row of `token`, and go on trying to put them there."""
    place = bound_to(token.pk, token.version)
    envelope = key_ring().seal(msgspec.json.encode(tokens), bound_to=place)
    text = base64.b64encode(envelope).decode()
    entry = Entry(credential=token.pk, version=token.version, envelope=text, outcome=outcome)
    path = folder() / f"{token.pk}.{token.version}.{secrets.token_hex(4)}"
    try:
        write_durably(path, msgspec.json.encode(entry))
        log.warning("answer_spooled", credential=str(token.pk))
    except OSError:
        unwritten[path] = entry
        log.exception("answer_in_memory_alone", credential=str(token.pk))
    threading.Thread(target=replay_until_empty, daemon=True).start()


def write_durably(path: Path, content: bytes) -> None:
    """On return it survives a power cut, whole; before, it is not there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}")
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        half.rename(path)
    except OSError:
        half.unlink()
        raise
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def entries(credential_id: uuid.UUID | None = None) -> list[Path]:
    """What waits, of one credential or of all, the oldest version first."""
    found = folder().iterdir() if folder().is_dir() else iter(())
    named = [path for path in found if NAME.fullmatch(path.name)]
    wanted = [path for path in named if credential_id is None or path.name.startswith(f"{credential_id}.")]
    return sorted(wanted, key=lambda path: int(path.name.split(".")[1]))


def replay(credential_id: uuid.UUID | None = None) -> int:
    """Put what waits into its rows; how much of it was put there. Raises DatabaseError if the database is still away.

    Two at once do no harm: the version decides.
    """
    write_what_was_not()
    of_memory = [path for path, entry in list(unwritten.items()) if credential_id in {None, entry.credential}]
    return sum(replay_one(path) for path in [*entries(credential_id), *of_memory])


def write_what_was_not() -> None:
    """The disk may have room again."""
    for path, entry in list(unwritten.items()):
        with contextlib.suppress(OSError):
            write_durably(path, msgspec.json.encode(entry))
            unwritten.pop(path, None)


@sensitive_variables()
def replay_one(path: Path) -> bool:
    try:
        entry = unwritten.get(path) or msgspec.json.decode(path.read_bytes(), type=Entry)
        envelope = base64.b64decode(entry.envelope)
        tokens = msgspec.json.decode(
            key_ring().open(envelope, bound_to=bound_to(entry.credential, entry.version)), type=Tokens
        )
    except FileNotFoundError:
        return False  # another one was faster
    except (Unreadable, ValueError, msgspec.DecodeError) as exc:
        log.error(  # noqa: TRY400 - a trace says nothing of a file
            "spool_unreadable", credential=path.name.partition(".")[0], reason=type(exc).__name__
        )
        return False  # it stays: with the right key it may open
    credential = Credential.objects.whole().filter(pk=entry.credential, token__version=entry.version).first()
    try:
        with transaction.atomic():
            is_kept = credential is not None and Token.objects.renew(credential.token, tokens, entry.outcome)
            if credential is not None and is_kept and tokens.access_token:
                announcing.recovered(credential.pk, before=credential.token)
            if credential is not None and is_kept and entry.outcome == REFRESHED:
                write_down(credential)
    except (DataError, IntegrityError) as exc:  # the row is refused for what is in it, and always will be
        log.exception("spool_unreadable", credential=str(entry.credential), reason=type(exc).__name__)
        return False
    path.unlink(missing_ok=True)
    unwritten.pop(path, None)
    if credential is not None and is_kept:
        daily_outcomes.note(credential.account_id, is_renewed=entry.outcome == REFRESHED)
        health.note(credential, Token.objects.get(pk=credential.pk))
    log.info("spool_replayed" if is_kept else "spool_outdated", credential=str(entry.credential))
    return is_kept


def write_down(credential: Credential) -> None:
    """The refresh, which was asked for by whomever: now it is in its row."""
    audit.record(
        "credential.refreshed",
        by=audit.SCHEDULE,
        account=credential.account_id,
        to=credential,
        detail="earlier, while the database was away",
        is_refresh=True,
    )


def replay_until_empty() -> None:
    """In a thread of its own. One is enough in a process."""
    if not replaying.acquire(blocking=False):
        return
    pause = threading.Event()
    try:
        while entries() or unwritten:
            try:
                if not replay() and (entries() or unwritten):
                    return  # what is left does not open
            except DatabaseError:
                connection.close()
                pause.wait(PAUSE)
    finally:
        replaying.release()
        with contextlib.suppress(DatabaseError):
            connection.close()


def keys_in_use() -> "Counter[str | None]":
    """How many entries each key has sealed."""
    return Counter(key_id_of(envelope) for envelope in envelopes())


def envelopes() -> Iterator[bytes]:
    for path in entries():
        try:
            yield base64.b64decode(msgspec.json.decode(path.read_bytes(), type=Entry).envelope)
        except (OSError, ValueError, msgspec.DecodeError):
            yield b""


def bound_to(credential_id: Any, version: int) -> str:
    return f"credentials.spool:{credential_id}:{version}"
