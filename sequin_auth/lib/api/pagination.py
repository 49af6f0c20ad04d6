"""Lists, page by page: the newest first, by an opaque cursor that stays valid while rows come and go."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils.crypto import constant_time_compare, salted_hmac
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from sequin_auth.lib.api.errors import Invalid

DEFAULT_LIMIT = 100
MAX_LIMIT = 500
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_CURSOR = "Must be a next_cursor as this list gave it."
TAG_LENGTH = 16
POSITION = struct.Struct(">q16s")  # microseconds since EPOCH, UUID


class CursorPagination(BasePagination):
    """`{"data": [...], "next_cursor": …|null}`; the rows need a UUID as their `id`, and the time `ordered_by`."""

    next_cursor: str | None = None

    def __init__(self, ordered_by: str = "created_at") -> None:
        self.time = ordered_by

    def paginate_queryset(self, queryset: Any, request: Request, view: object = None) -> list[Any]:
        limit = read_limit(request.query_params.get("limit"))
        cursor = request.query_params.get("cursor")
        if cursor is not None:
            time, row_id = read_cursor(cursor)
            queryset = rows_after(queryset, time, row_id, ordered_by=self.time)
        rows = list(queryset.order_by(f"-{self.time}", "-id")[: limit + 1])
        if len(rows) > limit:
            last = rows[limit - 1]
            self.next_cursor = make_cursor(getattr(last, self.time), last.id)
        return rows[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"data": data, "next_cursor": self.next_cursor})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["data", "next_cursor"],
            "properties": {"data": schema, "next_cursor": {"type": ["string", "null"]}},
        }


def rows_after(queryset: Any, time: datetime, row_id: UUID, *, ordered_by: str = "created_at") -> Any:
    """The rows that follow that place, if the newest come first."""
    return queryset.filter(**{f"{ordered_by}__lte": time}).exclude(**{ordered_by: time, "id__gte": row_id})


def read_limit(text: str | None) -> int:
    """Raises Invalid."""
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT):
        raise Invalid({"limit": [f"Must be a whole number from 1 to {MAX_LIMIT}."]})
    return int(text)


def make_cursor(created_at: datetime, row_id: UUID) -> str:
    return seal(POSITION.pack((created_at - EPOCH) // timedelta(microseconds=1), row_id.bytes))


def read_cursor(text: str) -> tuple[datetime, UUID]:
    """Raises Invalid."""
    position = unseal(text)
    if len(position) != POSITION.size:
        raise Invalid({"cursor": [NO_CURSOR]})
    microseconds, row_id = POSITION.unpack(position)
    return EPOCH + timedelta(microseconds=microseconds), UUID(bytes=row_id)


def seal(position: bytes) -> str:
    """A cursor: a place in a list under a keyed hash, so that none is read that we did not write."""
    tag = salted_hmac("sequin_auth.cursor", position, algorithm="sha256").digest()[:TAG_LENGTH]
    return urlsafe_b64encode(position + tag).decode().rstrip("=")


def unseal_text(cursor: str) -> str:
    """Raises Invalid."""
    try:
        return unseal(cursor).decode()
    except UnicodeDecodeError:
        raise Invalid({"cursor": [NO_CURSOR]}) from None


def unseal(cursor: str) -> bytes:
    """Raises Invalid for whatever `seal` did not write."""
    try:
        position = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[:-TAG_LENGTH]
    except ValueError:
        position = b""
    if not constant_time_compare(seal(position), cursor):
        raise Invalid({"cursor": [NO_CURSOR]})
    return position
