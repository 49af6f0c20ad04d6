"""`/v1/destinations`: where syncs write to, and how a developer gets at what they wrote."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from time import time
from typing import Any, ClassVar
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet, RestrictedError
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from oauth_apps import audit, limits
from oauth_apps.api.account_view import AccountView
from oauth_apps.api.serializers import HealthField
from oauth_apps.api.views import PAGE, deleted
from oauth_apps.models import HealthStatus, RateCount
from sequin_auth.lib.api import PROPERTY_MASK, SECRET_MASK, CursorPagination
from sequin_auth.lib.api.errors import Conflict, Invalid, TooManyRequests, Unavailable
from sequin_auth.lib.api.fields import MetadataField, StrictSerializer, TextField, TimestampField, with_metadata
from sequin_auth.lib.api.views import body, read_flag
from syncs import destinations, jobs
from syncs.api.serializers import NumberField, OneOfField
from syncs.destinations import DestinationUnavailable, NoReader, NoSyncDatabase, customers
from syncs.models import Destination, Stop, Sync

LONGEST_PASSWORD = 1024
CHECKS_AT_ONCE = 4  # of a process: a server that takes its time must not hold every thread
PATIENCE = 0.25  # seconds to wait for one of them
CHECKS_A_MINUTE = 10  # of an account: what a check tells of a host and a port is not for whoever looks for open ones
MINUTE = 60  # seconds; as long as RateCount keeps a count
WAY = ("username", "password", "sslmode")  # what of a connection may change
# Which field is to blame, by what was wrong
BLAMED = {
    "blocked": "host",
    "name": "host",
    "refused": "host",
    "timeout": "host",
    "pooler": "host",
    "tls": "sslmode",
    "authentication": "password",
    "password": "password",
    "database": "database",
    "check": "username",
}
NEVER_CHANGES = "Never changes: make another destination."
OURS = "Is our own sync database: its connection is not yours to change."


# ---- bodies ----------------------------------------------------------------------------------------------------------


class HostField(TextField):
    def to_internal_value(self, data: Any) -> str:
        try:
            return customers.accept_host(super().to_internal_value(data))
        except ValueError as exc:
            raise serializers.ValidationError(str(exc)) from None


class IdentifierField(TextField):
    """The name of a database or a user."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not customers.IDENTIFIER.fullmatch(text):
            raise serializers.ValidationError("Must hold no space, quote, slash, backslash or equals sign.")
        return text


class PortField(NumberField):
    def __init__(self, **rest: Any) -> None:
        super().__init__(least=customers.LOWEST_PORT, most=65_535, **rest)

    def to_representation(self, value: int) -> int:
        return value


class PasswordField(TextField):
    """Reads as the mask; no seal is opened for that."""

    def get_attribute(self, instance: Destination) -> str:
        return PROPERTY_MASK

    def to_internal_value(self, data: Any) -> str:
        if data in (PROPERTY_MASK, SECRET_MASK):
            raise serializers.ValidationError("Is the mask of a password, not a password.")
        return super().to_internal_value(data)


class ConnectionSerializer(StrictSerializer):
    """The parts of a connection, and no other; there is no connection string."""

    host = HostField(max_length=253)
    port = PortField(default=5432)
    database = IdentifierField(max_length=63)
    username = IdentifierField(max_length=63)
    password = PasswordField(max_length=LONGEST_PASSWORD)
    sslmode = OneOfField(Destination.SSLMode.values, default=Destination.SSLMode.REQUIRE.value)

    def to_representation(self, instance: Destination) -> Any:
        return None if instance.is_builtin else super().to_representation(instance)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        stands: Destination | None = self.root.instance
        if stands is not None:
            changed = [name for name in attrs if name not in WAY and attrs[name] != getattr(stands, name)]
            if changed:
                raise serializers.ValidationError({name: [NEVER_CHANGES] for name in changed})
        host, port = (attrs.get(name, getattr(stands, name, None)) for name in ("host", "port"))
        if attrs.get("sslmode") == Destination.SSLMode.DISABLE and not customers.is_allowed(str(host), int(port or 0)):
            raise serializers.ValidationError({"sslmode": [customers.NO_PLAIN]})
        return attrs


class DestinationSerializer(StrictSerializer):
    """`validated_data` can be set on the model as it is. The password is never read for it."""

    id = serializers.UUIDField(read_only=True)
    kind = serializers.CharField(read_only=True)
    name = TextField(max_length=200)
    connection = ConnectionSerializer(source="*")
    metadata = MetadataField(default=dict)
    health = HealthField()
    created_at = TimestampField()
    updated_at = TimestampField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance is not None and self.instance.is_builtin and "connection" in self.initial_data:
            raise serializers.ValidationError({"connection": [OURS]})
        return attrs


# ---- views -----------------------------------------------------------------------------------------------------------


class OfOneDestination(AccountView):
    """A view of a destination of the account."""

    def destination(self, request: Request, destination_id: UUID, *, is_changed: bool = False) -> Destination:
        rows = Destination.objects.of(self.account(request))
        return get_object_or_404(rows.select_for_update() if is_changed else rows, pk=destination_id)


class NotCheckedYet(Exception):
    """Nobody has been there yet, which is done in no transaction."""


class DestinationList(AccountView):
    query_parameters: ClassVar = {"GET": (*PAGE, "health.status", "metadata")}

    def get(self, request: Request) -> Response:
        pages = CursorPagination()
        rows = pages.paginate_queryset(filtered(request, Destination.objects.of(self.account(request))), request)
        return pages.get_paginated_response(DestinationSerializer(rows, many=True).data)

    def post(self, request: Request) -> Response:
        """A repetition by Idempotency-Key is answered without going there again."""
        with suppress(NotCheckedYet):
            return self.once(request, lambda: self.create(request))
        check(self.sent(request))
        return self.once(request, lambda: self.create(request, is_checked=True))

    def sent(self, request: Request) -> Destination:
        """Not saved yet."""
        serializer = DestinationSerializer(data=body(request))
        serializer.is_valid(raise_exception=True)
        return Destination(account=self.account(request), **serializer.validated_data)

    def create(self, request: Request, *, is_checked: bool = False) -> Response:
        destination = self.sent(request)
        if not is_checked:
            raise NotCheckedYet
        destination.save(force_insert=True)
        audit.record("destination.created", account=destination.account_id, to=destination)
        return Response(DestinationSerializer(destination).data, status=201)


class DestinationDetail(OfOneDestination):
    query_parameters: ClassVar = {"DELETE": ("keep_data",)}

    def get(self, request: Request, destination_id: UUID) -> Response:
        return Response(DestinationSerializer(self.destination(request, destination_id)).data)

    def patch(self, request: Request, destination_id: UUID) -> Response:
        known = self.destination(request, destination_id)
        serializer = DestinationSerializer(known, data=body(request), partial=True)
        serializer.is_valid(raise_exception=True)
        changes = changed(known, serializer.validated_data)
        is_another_way = any(name in WAY for name in changes)
        if is_another_way:
            check(known, **{name: value for name, value in changes.items() if name in WAY})
        with transaction.atomic():
            destination = self.destination(request, destination_id, is_changed=True)
            if is_another_way and destination.updated_at != known.updated_at:
                raise Conflict("Somebody else has just changed this destination: look at it, and try again.")
            if changes:
                apply(destination, changes)
                detail = ", ".join(changes)
                audit.record("destination.changed", account=destination.account_id, to=destination, detail=detail)
        if is_another_way:
            destination.observe(HealthStatus.OK, [])
            have_syncs_look(destination)
        return Response(DestinationSerializer(destination).data)

    def delete(self, request: Request, destination_id: UUID) -> Response:
        keep_data = read_flag(request, "keep_data")
        try:
            with transaction.atomic():
                destination = self.destination(request, destination_id, is_changed=True)
                if destination.is_builtin:
                    raise Conflict("This is our own sync database: it stays.", code="builtin_destination")
                if destination.dropped_schemas.filter(dropped_at=None).exists() and not keep_data:
                    raise Conflict(
                        "Schemas of deleted syncs are still to be dropped there: try again in a minute, or leave them"
                        " by ?keep_data=true.",
                        code="schemas_left",
                    )
                gone = audit.event("destination.deleted", account=destination.account_id, to=destination)
                destination.delete()
                audit.write([gone])
        except RestrictedError as exc:
            raise Conflict("Syncs write to it: delete them first.", code="has_syncs") from exc
        return deleted(destination_id)


class DestinationConnection(OfOneDestination):
    """How to connect as a role that may read the account's schemas, and nothing else."""

    scope = "reveal"
    http_method_names = ["get"]

    @sensitive_variables()
    def get(self, request: Request, destination_id: UUID) -> Response:
        destination = self.destination(request, destination_id)
        try:
            shown = destinations.reader(destination)
        except NoReader as exc:
            raise Conflict(str(exc), code="no_reader") from exc
        except NoSyncDatabase as exc:
            raise Conflict(str(exc), code=exc.reason) from exc
        except DestinationUnavailable as exc:
            raise Unavailable(str(exc)) from exc
        audit.record("destination.revealed", account=destination.account_id, to=destination)
        return Response(shown)


# ---- what they do ----------------------------------------------------------------------------------------------------


def filtered(request: Request, rows: "QuerySet[Destination]") -> "QuerySet[Destination]":
    """Raises Invalid."""
    query = request.query_params
    if "health.status" in query:
        if query["health.status"] not in HealthStatus.values:
            raise Invalid({"health.status": [f"Must be one of {', '.join(HealthStatus.values)}."]})
        rows = rows.filter(health_status=query["health.status"])
    return with_metadata(rows, query.get("metadata"))


turns = threading.BoundedSemaphore(CHECKS_AT_ONCE)


@sensitive_variables()
def check(destination: Destination, **changes: str) -> None:
    """Go there, with `changes` to its connection. Raises Invalid, TooManyRequests."""
    with turn_of(destination.account_id):
        try:
            destinations.check(customers.target(destination, **changes))
        except DestinationUnavailable as exc:
            raise refused(exc) from exc


@contextmanager
def turn_of(account_id: UUID) -> Iterator[None]:
    """One of the checks that an account has each minute, and that a process makes at once. Raises TooManyRequests."""
    since, passed = divmod(time(), MINUTE)
    key = limits.key_of("destination checks", str(account_id))
    if RateCount.objects.add(since * MINUTE, {key: 1})[key] > CHECKS_A_MINUTE:
        raise TooManyRequests(retry_after=MINUTE - passed)
    if not turns.acquire(timeout=PATIENCE):
        raise TooManyRequests(retry_after=customers.DEADLINE)
    try:
        yield
    finally:
        turns.release()


def refused(problem: DestinationUnavailable) -> Invalid:
    field = BLAMED.get(problem.reason)
    return Invalid({f"connection.{field}" if field else "connection": [str(problem)]})


def changed(destination: Destination, values: Mapping[str, Any]) -> dict[str, Any]:
    """What differs; a password is taken for another one, without looking at the one that is kept."""
    return {name: value for name, value in values.items() if name == "password" or value != getattr(destination, name)}


def apply(destination: Destination, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        setattr(destination, name, value)
    destination.updated_at = timezone.now()
    destination.save(update_fields=[*changes, "updated_at"])


def have_syncs_look(destination: Destination) -> None:
    """Those that could not write there need not wait for their next turn."""
    waiting = Sync.objects.active().filter(destination=destination, failure=Stop.DESTINATION)
    for sync_id in list(waiting.values_list("pk", flat=True)):
        waiting.filter(pk=sync_id).update(next_at=timezone.now())
        jobs.wake(sync_id)
