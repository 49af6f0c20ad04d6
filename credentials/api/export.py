"""Credentials with their secrets, as NDJSON: one JSON object a line, in constant memory."""

import json
from collections.abc import Iterator
from typing import Any

import structlog
from django.db.models import QuerySet
from django.views.decorators.debug import sensitive_variables

from credentials.api.representation import exported
from credentials.models import Credential
from sequin_auth.lib.api.pagination import rows_after
from sequin_auth.lib.encryption import Unreadable

log = structlog.get_logger("credentials")

BATCH = 100


def number_of(credentials: QuerySet[Credential]) -> str:
    """For the audit log: "3 credentials"."""
    count = credentials.count()
    return f"{count} credential{'' if count == 1 else 's'}"


@sensitive_variables()
def lines(credentials: QuerySet[Credential]) -> Iterator[bytes]:
    """The newest first. A credential whose seal does not open is a line that says so, and the rest goes on."""
    whole = credentials.select_related("token").order_by("-created_at", "-id")
    batch = list(whole[:BATCH])
    while batch:
        yield b"".join(line(credential) for credential in batch)
        for credential in batch:  # the two know one another: they would wait for a collection of garbage
            credential.token = None
        last = batch[-1]
        batch = list(rows_after(whole, last.created_at, last.pk)[:BATCH]) if len(batch) == BATCH else []


@sensitive_variables()
def line(credential: Credential) -> bytes:
    row: dict[str, Any]
    try:
        row = exported(credential)
    except Unreadable:
        log.warning("credential_unreadable", credential=str(credential.pk))
        row = {"id": str(credential.pk), "error": "credential_unreadable"}
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
