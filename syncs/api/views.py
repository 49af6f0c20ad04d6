"""`/v1/syncs`, and what of a provider can be synced."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework.response import Response

from credentials.api.serializers import NO_SUCH_APP, OAuthAppsOf, fields_of
from credentials.api.views import NAME
from credentials.models import Credential
from oauth_apps import audit
from oauth_apps.api.account_view import AccountView
from oauth_apps.api.views import PAGE, deleted
from oauth_apps.models import HealthStatus
from providers import catalogue
from providers.discovered import Discovered
from providers.kinds import PropertiesNotAccepted
from sequin_auth.lib.api import CursorPagination
from sequin_auth.lib.api.errors import Conflict, Invalid, NotFound, Unavailable
from sequin_auth.lib.api.fields import with_metadata
from sequin_auth.lib.api.pagination import read_limit, seal, unseal_text
from sequin_auth.lib.api.paths import canonical_uuid
from sequin_auth.lib.api.views import body, read_flag
from syncs import collections, creation, discovery
from syncs.api.representation import of_collection, of_run, representation
from syncs.api.serializers import SyncChangesSerializer, SyncRefreshSerializer, SyncSerializer
from syncs.collections import NotAccepted, NotLookedUp
from syncs.models import Sync, SyncQuerySet, SyncRun

RETRY_AFTER = 30  # seconds, where the provider does not say how long
TEXTS = ("name", "external_id")
CHOICES = {"status": Sync.Status.values, "health.status": HealthStatus.values}
FILTERS = ("provider", "name", "metadata", "status", "health.status", "credential_id", "external_id")


class SyncView(AccountView):
    def syncs(self, request: Request) -> SyncQuerySet:
        return Sync.objects.of(self.account(request)).whole()

    def sync(self, request: Request, sync_id: UUID) -> Sync:
        return get_object_or_404(self.syncs(request), pk=sync_id)

    def locked(self, request: Request, sync_id: UUID) -> Sync:
        return get_object_or_404(self.syncs(request).select_for_update(of=("self",)), pk=sync_id)

    def shown(self, request: Request, sync_id: UUID, *, status: int = 200) -> Response:
        return Response(representation(self.sync(request, sync_id)), status=status)


class SyncList(SyncView):
    query_parameters: ClassVar = {"GET": (*PAGE, *FILTERS)}

    def get(self, request: Request) -> Response:
        pages = CursorPagination()
        rows = pages.paginate_queryset(filtered(self.syncs(request), request), request)
        return pages.get_paginated_response([representation(row) for row in rows])

    def post(self, request: Request) -> Response:
        try:
            if body(request).get("destination_id") is None:
                creation.demand_sync_database(self.account(request))
            try:
                return self.once(request, lambda: self.create(request))
            except NotLookedUp as exc:
                found = discovered(exc.credential_id, exc.names)
                return self.once(request, lambda: self.create(request, found))
        except NotAccepted as exc:
            raise Invalid(exc.errors) from exc
        except IntegrityError as exc:  # told by the commit
            raise Invalid({"credential.oauth_app_id": [NO_SUCH_APP]}) from exc

    @sensitive_variables()
    def create(self, request: Request, found: Sequence[Discovered] | None = None) -> Response:
        account = self.account(request)
        serializer = SyncSerializer(data=body(request), context={"oauth_apps": OAuthAppsOf(account)})
        serializer.is_valid(raise_exception=True)
        try:
            sync = creation.create(account, discovered=found, **serializer.validated_data)
        except creation.NotThere as exc:
            raise NotFound(str(exc)) from exc
        except PropertiesNotAccepted as exc:
            raise Invalid({f"credential.{name}": reasons for name, reasons in fields_of(exc).items()}) from exc
        return self.shown(request, sync.pk, status=201)


class SyncDetail(SyncView):
    query_parameters: ClassVar = {"DELETE": ("keep_data",)}

    def get(self, request: Request, sync_id: UUID) -> Response:
        return self.shown(request, sync_id)

    def patch(self, request: Request, sync_id: UUID) -> Response:
        data = body(request)  # read before the row is locked
        try:
            try:
                return self.change(request, sync_id, data)
            except NotLookedUp as exc:
                return self.change(request, sync_id, data, discovered(exc.credential_id, exc.names))
        except NotAccepted as exc:
            raise Invalid(exc.errors) from exc

    def change(self, request: Request, sync_id: UUID, data: Any, found: Sequence[Discovered] | None = None) -> Response:
        with transaction.atomic():
            sync = self.locked(request, sync_id)
            serializer = SyncChangesSerializer(data=data)
            serializer.is_valid(raise_exception=True)
            creation.change(sync, serializer.validated_data, discovered=found)
        return Response(representation(sync))

    def delete(self, request: Request, sync_id: UUID) -> Response:
        keep_data = read_flag(request, "keep_data")
        with transaction.atomic():
            events = creation.delete(Sync.objects.of(self.account(request)).filter(pk=sync_id), keep_data=keep_data)
            if not events:
                raise NotFound
            audit.write(events)
        return deleted(sync_id)


class SyncRefresh(SyncView):
    """Has the sync look at once, whenever its next turn would be."""

    def post(self, request: Request, sync_id: UUID) -> Response:
        data = {} if request.stream is None else body(request)
        with transaction.atomic():
            sync = self.locked(request, sync_id)
            serializer = SyncRefreshSerializer(data=data, context={"sync": sync})
            serializer.is_valid(raise_exception=True)
            asked = serializer.validated_data
            try:
                creation.refresh(sync, asked.get("collections", ()), full=asked["full"])
            except creation.Disabled as exc:
                raise Conflict(str(exc), code="sync_disabled") from exc
        return Response(representation(sync))


class SyncRunList(SyncView):
    query_parameters: ClassVar = {"GET": PAGE}

    def get(self, request: Request, sync_id: UUID) -> Response:
        sync = get_object_or_404(Sync.objects.of(self.account(request)), pk=sync_id)
        pages = CursorPagination(ordered_by="started_at")
        rows = pages.paginate_queryset(SyncRun.objects.filter(sync=sync), request)
        return pages.get_paginated_response([of_run(row, sync.provider) for row in rows])


class CollectionList(AccountView):
    """Of a provider, by the slug or an alias; what is found by a credential alone, with that credential."""

    query_parameters: ClassVar = {"GET": (*PAGE, "credential_id")}

    def get(self, request: Request, slug: str) -> Response:
        provider = catalogue.find(slug)
        if provider is None:
            raise NotFound
        limit, cursor = read_limit(request.query_params.get("limit")), request.query_params.get("cursor")
        last_seen = unseal_text(cursor) if cursor is not None else ""
        there = [*collections.declared(provider)]
        if credential_id := read_id(request, "credential_id"):
            try:
                credential = get_object_or_404(Credential.objects.of(self.account(request)), pk=credential_id)
                creation.refuse_another_provider(provider, credential.provider, field="credential_id")
                there += discovered(credential.pk) if provider.discover else []
            except NotAccepted as exc:
                raise Invalid(exc.errors) from exc
        left = sorted((one for one in there if one.id > last_seen), key=lambda one: one.id)
        page = left[:limit]
        next_cursor = seal(page[-1].id.encode()) if len(left) > limit else None
        return Response({"data": [of_collection(provider, one) for one in page], "next_cursor": next_cursor})


def discovered(credential_id: UUID, wanted: Sequence[str] | None = None) -> list[Discovered]:
    """What a credential opens, all or those of `wanted`. Raises NotAccepted, Unavailable."""
    try:
        return discovery.collections_of(credential_id, wanted)
    except discovery.NotDiscovered as exc:
        if exc.is_refused:
            raise NotAccepted({"credential_id": [str(exc)]}) from exc
        seconds = math.ceil(exc.retry_after) if exc.retry_after else RETRY_AFTER
        raise Unavailable(str(exc), code="provider_unavailable", retry_after=min(seconds, 3600)) from exc


def filtered(syncs: SyncQuerySet, request: Request) -> QuerySet[Sync]:
    """Raises Invalid."""
    query = request.query_params
    errors: dict[str, list[str]] = {}
    if not NAME.fullmatch(query.get("provider", "any")):
        errors["provider"] = ["Must be the name of a provider: GET /v1/providers lists them."]
    for name in TEXTS:
        if not 1 <= len(query.get(name, "any")) <= 200:
            errors[name] = ["Must have 1 to 200 characters."]
    for name, choices in CHOICES.items():
        if query.get(name, choices[0]) not in choices:
            errors[name] = [f"Must be one of {', '.join(choices)}."]
    if "credential_id" in query and canonical_uuid(query["credential_id"]) is None:
        errors["credential_id"] = ["Must be the id of a credential: a UUID in lower case."]
    if errors:
        raise Invalid(errors)
    columns = {"health.status": "health_status"}
    wanted = {columns.get(name, name): query[name] for name in FILTERS if name in query and name != "metadata"}
    return with_metadata(syncs.filter(**wanted), query.get("metadata"))


def read_id(request: Request, name: str) -> UUID | None:
    """`?name=<id>`. Raises Invalid."""
    text: Any = request.query_params.get(name)
    if text is not None and canonical_uuid(text) is None:
        raise Invalid({name: ["Must be an id: a UUID in lower case."]})
    return canonical_uuid(text) if text is not None else None
