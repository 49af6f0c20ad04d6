"""`/v1/oauth-apps` and `/v1/redirect-uris`."""

from typing import Any, ClassVar
from uuid import UUID

from django.db import transaction
from django.db.models import ProtectedError, QuerySet, RestrictedError
from django.shortcuts import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from oauth_apps import audit, health, registration
from oauth_apps.api.account_view import AccountView
from oauth_apps.api.serializers import OAuthAppSerializer, RedirectURISerializer
from oauth_apps.deletion import dependants_gone
from oauth_apps.models import HealthStatus, OAuthApp, OAuthAppQuerySet, RedirectURI
from sequin_auth.lib.api import CursorPagination
from sequin_auth.lib.api.errors import Conflict, Invalid
from sequin_auth.lib.api.fields import with_metadata
from sequin_auth.lib.api.views import body, read_flag

PAGE = ("limit", "cursor")
HEALTH = ("health_status", "health_notes", "health_time")


class OAuthAppList(AccountView):
    query_parameters: ClassVar = {"GET": (*PAGE, "provider", "health.status", "metadata", "environment")}

    def get(self, request: Request) -> Response:
        oauth_apps = filtered(OAuthApp.objects.of(self.account(request)), request)
        pages = CursorPagination()
        rows = pages.paginate_queryset(oauth_apps, request)
        return pages.get_paginated_response(OAuthAppSerializer(rows, many=True).data)

    def post(self, request: Request) -> Response:
        return self.once(request, lambda: self.create(request))

    def create(self, request: Request) -> Response:
        serializer = OAuthAppSerializer(data=body(request))
        serializer.is_valid(raise_exception=True)
        oauth_app = OAuthApp(account=self.account(request), **serializer.validated_data)
        registration.begin_health(oauth_app)
        oauth_app.save(force_insert=True)
        audit.record("oauth_app.created", account=oauth_app.account_id, to=oauth_app)
        return Response(OAuthAppSerializer(oauth_app).data, status=201)


class OAuthAppDetail(AccountView):
    query_parameters: ClassVar = {"DELETE": ("cascade",)}

    def get(self, request: Request, oauth_app_id: UUID) -> Response:
        oauth_app = get_object_or_404(OAuthApp.objects.of(self.account(request)), pk=oauth_app_id)
        return Response(OAuthAppSerializer(oauth_app).data)

    def patch(self, request: Request, oauth_app_id: UUID) -> Response:
        data = body(request)  # read before the row is locked
        with transaction.atomic():
            oauth_app = get_object_or_404(
                OAuthApp.objects.of(self.account(request)).select_for_update(), pk=oauth_app_id
            )
            serializer = OAuthAppSerializer(oauth_app, data=data, partial=True)
            serializer.is_valid(raise_exception=True)
            changed = self.apply(oauth_app, serializer.validated_data)
            audit.record("oauth_app.changed", account=oauth_app.account_id, to=oauth_app, detail=", ".join(changed))
        return Response(OAuthAppSerializer(oauth_app).data)

    def apply(self, oauth_app: OAuthApp, values: dict[str, Any]) -> list[str]:
        """The names of what was changed. Raises Conflict."""
        secret = {"client_secret": values.pop("client_secret")} if "client_secret" in values else {}
        changes = secret | {name: value for name, value in values.items() if value != getattr(oauth_app, name)}
        moves = bool(changes.keys() & {"variables", "environment"})
        if moves:
            try:
                registration.demand_freedom_to_move(oauth_app)
            except registration.MustStay as exc:
                raise Conflict(str(exc), code=exc.code) from exc
        for name, value in changes.items():
            setattr(oauth_app, name, value)
        is_untried = moves or bool(secret)  # what was observed was observed of another place, or another secret
        if is_untried:
            registration.begin_health(oauth_app)
        oauth_app.save(update_fields=[*changes, *(HEALTH if is_untried else ()), "updated_at"])
        return list(changes)

    def delete(self, request: Request, oauth_app_id: UUID) -> Response:
        cascade = read_flag(request, "cascade")
        try:
            with transaction.atomic():
                oauth_app = get_object_or_404(
                    OAuthApp.objects.of(self.account(request)).select_for_update(), pk=oauth_app_id
                )
                events = [audit.event("oauth_app.deleted", account=oauth_app.account_id, to=oauth_app)]
                if cascade:
                    events += dependants_gone(oauth_app)
                    events += [
                        audit.event("credential.deleted", account=oauth_app.account_id, to=credential)
                        for credential in oauth_app.credentials.only("name", "kind")
                    ]
                    oauth_app.credentials.all().delete()
                oauth_app.delete()
                audit.write(events)
        except (ProtectedError, RestrictedError) as exc:
            raise Conflict(
                "Credentials were made with this OAuth app: delete them first, or with it by ?cascade=true.",
                code="has_credentials",
            ) from exc
        return deleted(oauth_app_id)


class OAuthAppCheck(AccountView):
    """Asks the provider, without any end user, whether it knows this client."""

    def post(self, request: Request, oauth_app_id: UUID) -> Response:
        oauth_app = get_object_or_404(OAuthApp.objects.of(self.account(request)), pk=oauth_app_id)
        checked = health.check(oauth_app)
        audit.record("oauth_app.checked", account=oauth_app.account_id, to=oauth_app, detail=checked.health_status)
        return Response(OAuthAppSerializer(checked).data)


class RedirectURIList(AccountView):
    query_parameters: ClassVar = {"GET": PAGE}

    def get(self, request: Request) -> Response:
        pages = CursorPagination()
        rows = pages.paginate_queryset(RedirectURI.objects.of(self.account(request)), request)
        return pages.get_paginated_response(RedirectURISerializer(rows, many=True).data)

    def post(self, request: Request) -> Response:
        return self.once(request, lambda: self.create(request))

    def create(self, request: Request) -> Response:
        serializer = RedirectURISerializer(data=body(request))
        serializer.is_valid(raise_exception=True)
        row, created = RedirectURI.objects.get_or_create(account=self.account(request), **serializer.validated_data)
        if not created:
            raise Conflict("This redirect URI is registered already.", code="already_registered")
        audit.record("redirect_uri.created", account=row.account_id, to=row)
        return Response(RedirectURISerializer(row).data, status=201)


class RedirectURIDetail(AccountView):
    def delete(self, request: Request, redirect_uri_id: UUID) -> Response:
        with transaction.atomic():
            mine = RedirectURI.objects.of(self.account(request)).select_for_update()
            row = get_object_or_404(mine, pk=redirect_uri_id)
            event = audit.event("redirect_uri.deleted", account=row.account_id, to=row)
            row.delete()
            audit.write([event])
        return deleted(redirect_uri_id)


def filtered(oauth_apps: OAuthAppQuerySet, request: Request) -> QuerySet[OAuthApp]:
    """Raises Invalid."""
    query = request.query_params
    for name, column, choices in (
        ("health.status", "health_status", HealthStatus.values),
        ("environment", "environment", OAuthApp.Environment.values),
        ("provider", "provider", None),
    ):
        if name not in query:
            continue
        if choices is not None and query[name] not in choices:
            raise Invalid({name: [f"Must be one of {', '.join(choices)}."]})
        oauth_apps = oauth_apps.filter(**{column: query[name]})
    return with_metadata(oauth_apps, query.get("metadata"))


def deleted(row_id: UUID) -> Response:
    return Response({"id": str(row_id), "deleted": True})
