"""`GET /v1/events/reads`: how often each API token read which credential's access token, minute by minute."""

import struct
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from credentials.models import ReadCount
from oauth_apps.api.account_view import AccountView
from oauth_apps.api.events import moments
from sequin_auth.lib.api.errors import Invalid
from sequin_auth.lib.api.fields import timestamp
from sequin_auth.lib.api.pagination import EPOCH, NO_CURSOR, read_limit, seal, unseal
from sequin_auth.lib.api.paths import canonical_uuid

POSITION = struct.Struct(">qq")  # the minute, in seconds of Unix, and the id


class ReadList(AccountView):
    query_parameters: ClassVar = {"GET": ("limit", "cursor", "credential", "api_token", "since", "until")}

    def get(self, request: Request) -> Response:
        counts = filtered(ReadCount.objects.filter(account=self.account(request)), request)
        limit = read_limit(request.query_params.get("limit"))
        if (cursor := request.query_params.get("cursor")) is not None:
            minute, row_id = read_cursor(cursor)
            counts = counts.filter(Q(minute__lt=minute) | Q(minute=minute, id__lt=row_id))
        rows = list(counts.order_by("-minute", "-id")[: limit + 1])
        next_cursor = make_cursor(rows[limit - 1]) if len(rows) > limit else None
        return Response({"data": [representation(row) for row in rows[:limit]], "next_cursor": next_cursor})


def filtered(counts: QuerySet[ReadCount], request: Request) -> QuerySet[ReadCount]:
    """Raises Invalid."""
    query, errors = request.query_params, dict[str, list[str]]()
    for name in ("credential", "api_token"):
        if name not in query:
            continue
        if canonical_uuid(query[name]) is None:
            errors[name] = ["Must be an id: a UUID in lower case."]
        else:
            counts = counts.filter(**{name: UUID(query[name])})
    since, until = moments(request, errors)
    if since:
        counts = counts.filter(minute__gte=since)
    return counts.filter(minute__lt=until) if until else counts


def make_cursor(row: ReadCount) -> str:
    return seal(POSITION.pack((row.minute - EPOCH) // timedelta(seconds=1), row.pk))


def read_cursor(text: str) -> tuple[datetime, int]:
    """Raises Invalid."""
    position = unseal(text)
    if len(position) != POSITION.size:
        raise Invalid({"cursor": [NO_CURSOR]})
    seconds, row_id = POSITION.unpack(position)
    return datetime.fromtimestamp(seconds, tz=UTC), row_id


def representation(row: ReadCount) -> dict[str, Any]:
    """`address`: of the last read of that minute."""
    return {
        "minute": timestamp(row.minute),
        "api_token": str(row.api_token),
        "credential": str(row.credential),
        "number": row.number,
        "address": row.address,
    }
