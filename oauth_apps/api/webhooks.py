"""`/v1/webhook-endpoints`: where a developer is told what happens, and what came of telling him."""

from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.db import transaction
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from oauth_apps import audit
from oauth_apps.api.account_view import AccountView
from oauth_apps.api.views import PAGE, deleted
from oauth_apps.models import WebhookDelivery, WebhookEndpoint
from oauth_apps.webhooks import endpoints, events
from oauth_apps.webhooks.urls import MAX_LENGTH, validate_url
from sequin_auth.lib.api import SECRET_MASK, CursorPagination
from sequin_auth.lib.api.errors import Conflict
from sequin_auth.lib.api.fields import FlagField, StrictSerializer, TextField, TimestampField, timestamp
from sequin_auth.lib.api.views import body

LONGEST_OVERLAP = int(endpoints.LONGEST_OVERLAP.total_seconds())


class MaskField(serializers.Field[Any, Any, Any, Any]):
    """Reads as the mask; no seal is opened for that."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(read_only=True, source="*", **rest)

    def to_representation(self, value: object) -> str:
        return SECRET_MASK


class SecondsField(serializers.Field[int, Any, int, Any]):
    def __init__(self, *, most: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.most = most

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool) or not 0 <= data <= self.most:
            raise serializers.ValidationError(f"Must be a whole number from 0 to {self.most}.")
        return data


class WebhookEndpointSerializer(StrictSerializer):
    """`validated_data` can be set on the model as it is. The secret is never read for it."""

    id = serializers.UUIDField(read_only=True)
    url = TextField(max_length=MAX_LENGTH, validators=[validate_url])
    description = TextField(max_length=200, allow_blank=True, default="")
    events = serializers.ListField(child=TextField(), default=list)
    enabled = FlagField(default=True)
    disabled_because = serializers.CharField(read_only=True)
    secret = MaskField()
    previous_secret_until = TimestampField(allow_null=True)
    health = serializers.SerializerMethodField()
    created_at = TimestampField()
    updated_at = TimestampField()

    def get_health(self, endpoint: WebhookEndpoint) -> dict[str, Any]:
        status, notes, time = endpoints.health(endpoint)
        return {"status": status, "notes": notes, "time": timestamp(time)}

    def validate_events(self, names: list[str]) -> list[str]:
        try:
            return endpoints.accept_events(names, events.EVENTS)
        except ValueError as exc:
            raise serializers.ValidationError(str(exc)) from exc


class WebhookDeliverySerializer(StrictSerializer):
    id = serializers.UUIDField(read_only=True)
    event = serializers.CharField(read_only=True)
    attempts = serializers.IntegerField(read_only=True)
    last_status = serializers.IntegerField(read_only=True)
    last_failure = serializers.CharField(read_only=True)
    created_at = TimestampField()
    due_at = TimestampField()
    delivered_at = TimestampField()


class OverlapSerializer(StrictSerializer):
    overlap_seconds = SecondsField(most=LONGEST_OVERLAP, default=int(endpoints.OVERLAP.total_seconds()))


class OfOneEndpoint(AccountView):
    """A view of an endpoint of the account."""

    def endpoint(self, request: Request, endpoint_id: UUID, *, is_changed: bool = False) -> WebhookEndpoint:
        rows = endpoints.of(self.account(request))
        rows = rows.select_for_update() if is_changed else endpoints.with_last_attempts(rows)
        return get_object_or_404(rows, pk=endpoint_id)

    def shown(self, request: Request, endpoint_id: UUID) -> dict[str, Any]:
        document: dict[str, Any] = WebhookEndpointSerializer(self.endpoint(request, endpoint_id)).data
        return document


class WebhookEndpointList(OfOneEndpoint):
    query_parameters: ClassVar = {"GET": PAGE}

    def get(self, request: Request) -> Response:
        pages = CursorPagination()
        rows = pages.paginate_queryset(endpoints.with_last_attempts(endpoints.of(self.account(request))), request)
        return pages.get_paginated_response(WebhookEndpointSerializer(rows, many=True).data)

    def post(self, request: Request) -> Response:
        """The secret is put in when the answer has been kept for its Idempotency-Key: a repetition gets the mask."""
        made: list[WebhookEndpoint] = []
        answer = self.once(request, lambda: self.create(request, made))
        if made:
            answer.data["secret"] = made[0].secret
        return answer

    def create(self, request: Request, made: list[WebhookEndpoint]) -> Response:
        serializer = WebhookEndpointSerializer(data=body(request))
        serializer.is_valid(raise_exception=True)
        try:
            endpoint = endpoints.create(self.account(request), **serializer.validated_data)
        except endpoints.TooMany as exc:
            raise Conflict(str(exc), code="too_many_webhook_endpoints") from exc
        made.append(endpoint)
        answer = Response(self.shown(request, endpoint.pk), status=201)
        audit.record("webhook_endpoint.created", account=endpoint.account_id, to=endpoint)
        return answer


class WebhookEndpointDetail(OfOneEndpoint):
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        return Response(self.shown(request, endpoint_id))

    def patch(self, request: Request, endpoint_id: UUID) -> Response:
        data = body(request)  # read before the row is locked
        with transaction.atomic():
            endpoint = self.endpoint(request, endpoint_id, is_changed=True)
            serializer = WebhookEndpointSerializer(endpoint, data=data, partial=True)
            serializer.is_valid(raise_exception=True)
            changed = endpoints.change(endpoint, **serializer.validated_data)
            answer = Response(self.shown(request, endpoint_id))
            if changed:
                detail = ", ".join(changed)
                audit.record("webhook_endpoint.changed", account=endpoint.account_id, to=endpoint, detail=detail)
        return answer

    def delete(self, request: Request, endpoint_id: UUID) -> Response:
        with transaction.atomic():
            endpoint = self.endpoint(request, endpoint_id, is_changed=True)
            gone = audit.event("webhook_endpoint.deleted", account=endpoint.account_id, to=endpoint)
            endpoint.delete()
            audit.write([gone])
        return deleted(endpoint_id)


class WebhookEndpointRotateSecret(OfOneEndpoint):
    """Answers the new secret, once. Those before it sign as well until `previous_secret_until`."""

    def post(self, request: Request, endpoint_id: UUID) -> Response:
        serializer = OverlapSerializer(data={} if request.stream is None else body(request))
        serializer.is_valid(raise_exception=True)
        overlap = timedelta(seconds=serializer.validated_data["overlap_seconds"])
        with transaction.atomic():
            endpoint = self.endpoint(request, endpoint_id, is_changed=True)
            secret = endpoints.rotate_secret(endpoint, overlap=overlap)
            answer = Response(self.shown(request, endpoint_id) | {"secret": secret})
            audit.record("webhook_endpoint.secret_rotated", account=endpoint.account_id, to=endpoint)
        return answer


class WebhookEndpointPing(OfOneEndpoint):
    """Sends a `ping`, whatever events the endpoint wants; its delivery is answered, and made at once."""

    def post(self, request: Request, endpoint_id: UUID) -> Response:
        with transaction.atomic():
            endpoint = self.endpoint(request, endpoint_id, is_changed=True)
            if not endpoint.enabled:
                raise Conflict("The endpoint is disabled: enable it first.", code="webhook_endpoint_disabled")
            try:
                delivery = events.ping(endpoint)
            except events.TooManyPings as exc:
                raise Conflict(str(exc), code="too_many_pings") from exc
            return Response(WebhookDeliverySerializer(delivery).data, status=201)


class WebhookDeliveryList(OfOneEndpoint):
    query_parameters: ClassVar = {"GET": PAGE}

    def get(self, request: Request, endpoint_id: UUID) -> Response:
        pages = CursorPagination()
        deliveries = WebhookDelivery.objects.filter(endpoint=self.endpoint(request, endpoint_id))
        rows = pages.paginate_queryset(deliveries, request)
        return pages.get_paginated_response(WebhookDeliverySerializer(rows, many=True).data)
