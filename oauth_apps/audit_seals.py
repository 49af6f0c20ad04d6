"""
Chains of audit events: each event is sealed over what it says and the seal of the one before, with a key that lies
sealed in the database. Whoever can write to the database can change, remove or add nothing unseen.

There is one chain for each account, for its refreshes sixteen, by the first digit of the credential's id, so that those
of one moment hardly wait for each other, and `platform` for what belongs to no account. The row of a chain holds both
ends of it: the number and the seal of its newest event, and of the newest that the retention has removed. Both seals
are masked there, by what only the key makes of name and number: the seals themselves can be read in the events, and
whoever cuts an end off could else write down the new one.

An end that cannot be one stops its chain: nothing is added to it, and the retention leaves it as it is (`Broken`).

Here is what a chain is made of; audit_chain.py writes them, audit_verification.py proves them.
"""

import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import UTC
from typing import Any
from uuid import UUID

import msgspec
import structlog
from django.db import DatabaseError, connection
from django.views.decorators.debug import sensitive_variables

from oauth_apps.models import AuditKey

log = structlog.get_logger("oauth_apps")

PLATFORM = "platform"
NAME = re.compile(rf"{PLATFORM}|[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}(?:/[0-9a-f])?", re.ASCII)
NEWEST, FORGOTTEN = b"newest", b"forgotten"  # the two ends
SEAL_SIZE = 32  # bytes

# What the seal is of, in this order. `account_id` and `user_id` become NULL when those are deleted: the name of the
# chain and the actor's name stay.
SEALED = (
    "id", "created_at", "api_token", "actor", "action", "object_type", "object_id", "object_name", "detail", "address",
    "request_id", "chain", "number",
)  # fmt: skip


class Broken(DatabaseError):
    """The row of a chain says what none can say: somebody has written to the database. What cannot be committed for
    that is treated as if the database were away: a rotated token is kept on the disk until somebody has looked.
    """


def name_of(account_id: UUID | None, *, refresh_of: str = "") -> str:
    """The chain of an account; with the id of a credential, the one of its refreshes."""
    if account_id is None:
        return PLATFORM
    return f"{account_id}/{refresh_of[0]}" if refresh_of else str(account_id)


def shown(name: str) -> str:
    """A name that may be anybody's, on one line."""
    return name if NAME.fullmatch(name) else ascii(name)


def stop(name: str) -> str:
    """Tell the log that a chain is broken; the sentence for whoever asked for more of it."""
    log.error("audit_chain_broken", account=name.partition("/")[0] if NAME.fullmatch(name) else "")
    return f"The audit chain {shown(name)} is broken. `manage.py audit verify` says where."


# ---- the key ---------------------------------------------------------------------------------------------------------

keys: dict[str, bytes] = {}  # the one, once it was read


@sensitive_variables()
def audit_key() -> bytes:
    """Read once a process; made by the first who needs it. Raises Unreadable."""
    if "key" in keys:
        return keys["key"]
    row, is_new = AuditKey.objects.get_or_create(pk=AuditKey.ONLY, defaults={"key": secrets.token_bytes(32)})
    key: bytes = row.key
    if not (is_new and connection.in_atomic_block):  # else it may yet be rolled back, with all that it has sealed
        keys["key"] = key
    return key


# ---- seals -----------------------------------------------------------------------------------------------------------


def seal_of(key: bytes, before: bytes, values: Sequence[Any]) -> bytes:
    """`values`: of SEALED. `before`: the seal of the event before, empty for the first."""
    event_id, created_at, api_token, *texts = values
    moment = created_at.astimezone(UTC).isoformat(timespec="microseconds")
    token = None if api_token is None else str(api_token)
    return hmac.digest(key, before + msgspec.json.encode([str(event_id), moment, token, *texts]), "sha256")


def masked(key: bytes, end: bytes, name: str, number: int, seal: bytes) -> bytes:
    """The seal of an end as the row of the chain holds it, and the other way round. There is none before the first.

    Raises ValueError unless `seal` has the size of one.
    """
    if not number:
        return b""
    mask = hmac.digest(key, end + f" {name} {number}".encode(), "sha256")
    return bytes(one ^ other for one, other in zip(seal, mask, strict=True))


def can_be_ends(number: int, seal: bytes, forgotten: int, forgotten_seal: bytes) -> bool:
    """Whether the row of a chain may say so. Without this an end that was emptied would be proved by another."""
    ends = ((number, seal), (forgotten, forgotten_seal))
    return 0 <= forgotten <= number and all(len(end) == (SEAL_SIZE if of else 0) for of, end in ends)
