"""`GET /v1/events`: the account's part of the audit log, for machines. Read-only."""

import re
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from oauth_apps.api.account_view import AccountView
from oauth_apps.models import AuditEvent
from sequin_auth.lib.api import CursorPagination
from sequin_auth.lib.api.errors import Invalid
from sequin_auth.lib.api.fields import timestamp
from sequin_auth.lib.api.paths import canonical_uuid

ACTION = re.compile(r"[a-z0-9_]{1,50}\.(?:[a-z0-9_]{1,50})?", re.ASCII)  # the second half may be left out
OBJECT_ID = re.compile(r"[0-9A-Za-z-]{1,100}", re.ASCII)
MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)


class EventList(AccountView):
    query_parameters: ClassVar = {"GET": ("limit", "cursor", "action", "object_id", "api_token", "since", "until")}

    def get(self, request: Request) -> Response:
        pages = CursorPagination()
        events = filtered(AuditEvent.objects.filter(account=self.account(request)), request)
        return pages.get_paginated_response([representation(row) for row in pages.paginate_queryset(events, request)])


def filtered(events: QuerySet[AuditEvent], request: Request) -> QuerySet[AuditEvent]:
    """Raises Invalid."""
    query, errors = request.query_params, dict[str, list[str]]()
    if not ACTION.fullmatch(query.get("action", "any.")):
        errors["action"] = ["Must be an action, as credential.exported, or its first half with the dot, as credential."]
    if not OBJECT_ID.fullmatch(query.get("object_id", "any")):
        errors["object_id"] = ["Must be the id of an object."]
    if "api_token" in query and canonical_uuid(query["api_token"]) is None:
        errors["api_token"] = ["Must be the id of an API token: a UUID in lower case."]
    since, until = moments(request, errors)
    if action := query.get("action"):
        events = events.filter(action__startswith=action) if action.endswith(".") else events.filter(action=action)
    if object_id := query.get("object_id"):
        events = events.filter(object_id=object_id)
    if api_token := query.get("api_token"):
        events = events.filter(api_token=UUID(api_token))
    if since:
        events = events.filter(created_at__gte=since)
    return events.filter(created_at__lt=until) if until else events


def moments(request: Request, errors: dict[str, list[str]]) -> tuple[datetime | None, datetime | None]:
    """`since` and `until` of a query. Raises Invalid if they, or what `errors` tells of others, are wrong."""
    found: list[datetime | None] = []
    for name in ("since", "until"):
        text = request.query_params.get(name)
        try:
            if text is not None and not MOMENT.fullmatch(text):
                raise ValueError
            found.append(None if text is None else datetime.fromisoformat(text).astimezone(UTC))
        except ValueError:
            errors[name] = ["Must be a time in UTC, as 2026-11-22T12:00:00Z."]
    if errors:
        raise Invalid(errors)
    since, until = found
    return since, until


def representation(event: AuditEvent) -> dict[str, Any]:
    """`seal`: over all that stands here and the seal of the one before (docs/audit.md); null if it is older."""
    return {
        "id": str(event.pk),
        "created_at": timestamp(event.created_at),
        "action": event.action,
        "actor": {"kind": kind_of(event), "name": event.actor, "id": id_of(event)},
        "object": {"type": event.object_type, "id": event.object_id, "name": event.object_name},
        "detail": event.detail,
        "address": event.address,
        "request_id": event.request_id,
        "chain": event.chain,
        "number": event.number,
        "seal": None if event.seal is None else bytes(event.seal).hex(),
    }


def kind_of(event: AuditEvent) -> str:
    if event.api_token is not None:
        return "api_token"
    if event.user_id is not None:
        return "user"
    return "other"  # an OAuth app's client, an end user, a command, the schedule: the name says which


def id_of(event: AuditEvent) -> str | None:
    if event.api_token is not None:
        return str(event.api_token)
    return None if event.user_id is None else str(event.user_id)
