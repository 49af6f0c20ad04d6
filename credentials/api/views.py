"""`/v1/credentials`, but for what has a file of its own: access tokens, start links, reconnections."""

import re
from typing import ClassVar, cast
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import QuerySet, RestrictedError
from django.http import StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework.response import Response

from credentials import checks, imports
from credentials.api import export
from credentials.api.ndjson_import import MEDIA_TYPE, Upload, import_lines
from credentials.api.representation import representation, representations
from credentials.api.serializers import NO_SUCH_APP, ChangesSerializer, CredentialSerializer, OAuthAppsOf, fields_of
from credentials.deletion import in_use_by
from credentials.link.forms import canonical_uuid
from credentials.models import Credential, CredentialQuerySet
from oauth_apps import audit
from oauth_apps.api.account_view import AccountView
from oauth_apps.deletion import dependants_gone
from oauth_apps.models import ApiToken, HealthStatus
from providers.kinds import PropertiesNotAccepted
from sequin_auth.lib.api import CursorPagination, client_address
from sequin_auth.lib.api.errors import Conflict, Invalid
from sequin_auth.lib.api.fields import with_metadata
from sequin_auth.lib.api.views import body, read_flag

log = structlog.get_logger("credentials")

FILTERS = ("provider", "kind", "health.status", "metadata", "oauth_app_id")
NAME = re.compile(r"[a-z0-9_-]{1,120}", re.ASCII)  # of a provider or a kind, be it in the catalogue or no longer


class CredentialView(AccountView):
    def credentials(self, request: Request) -> CredentialQuerySet:
        return Credential.objects.of(self.account(request)).whole()

    def credential(self, request: Request, credential_id: UUID) -> Credential:
        return get_object_or_404(self.credentials(request), pk=credential_id)

    def locked(self, request: Request, credential_id: UUID) -> Credential:
        return get_object_or_404(self.credentials(request).select_for_update(of=("self",)), pk=credential_id)


class CredentialList(CredentialView):
    query_parameters: ClassVar = {"GET": ("limit", "cursor", *FILTERS)}

    def get(self, request: Request) -> Response:
        pages = CursorPagination()
        credentials = Credential.objects.of(self.account(request)).page()
        rows = pages.paginate_queryset(filtered(credentials, request), request)
        return pages.get_paginated_response(representations(rows))

    def post(self, request: Request) -> Response:
        try:
            return self.once(request, lambda: self.create(request))
        except IntegrityError as exc:  # told by the commit
            if body(request).get("oauth_app_id") is None:
                raise
            raise Invalid({"oauth_app_id": [NO_SUCH_APP]}) from exc

    @sensitive_variables()
    def create(self, request: Request) -> Response:
        account = self.account(request)
        serializer = CredentialSerializer(data=body(request), context={"oauth_apps": OAuthAppsOf(account)})
        serializer.is_valid(raise_exception=True)
        try:
            credential, is_new = imports.keep(account, serializer.validated_data)
        except PropertiesNotAccepted as exc:
            raise Invalid(fields_of(exc)) from exc
        deed = "credential.created" if is_new else "credential.replaced"
        audit.record(deed, account=account, to=credential, detail=credential.kind)
        return Response(representation(credential), status=201 if is_new else 200)


class CredentialDetail(CredentialView):
    query_parameters: ClassVar = {"DELETE": ("cascade",)}

    def get(self, request: Request, credential_id: UUID) -> Response:
        return Response(representation(self.credential(request, credential_id)))

    def patch(self, request: Request, credential_id: UUID) -> Response:
        data = body(request)  # read before the row is locked
        with transaction.atomic():
            credential = self.locked(request, credential_id)
            serializer = ChangesSerializer(data=data)
            serializer.is_valid(raise_exception=True)
            for name, value in serializer.validated_data.items():
                setattr(credential, name, value)
            credential.updated_at = timezone.now()
            credential.save(update_fields=[*serializer.validated_data, "updated_at"])
            changed = ", ".join(serializer.validated_data)
            audit.record("credential.changed", account=credential.account_id, to=credential, detail=changed)
        return Response(representation(credential))

    def delete(self, request: Request, credential_id: UUID) -> Response:
        cascade = read_flag(request, "cascade")
        try:
            with transaction.atomic():
                credential = self.locked(request, credential_id)
                events = [audit.event("credential.deleted", account=credential.account_id, to=credential)]
                if cascade:
                    events += dependants_gone(credential)
                credential.delete()
                audit.write(events)
        except RestrictedError as exc:
            users = in_use_by(exc.restricted_objects)
            told = f"This credential is used by {users}: delete what uses it first, or with it by ?cascade=true."
            raise Conflict(told, code="credential_in_use") from exc
        return Response({"id": str(credential_id), "deleted": True})


class CredentialCheck(CredentialView):
    """Asks the provider; what it says is in the health of the answer."""

    def post(self, request: Request, credential_id: UUID) -> Response:
        credential = self.credential(request, credential_id)
        checks.check(credential)
        audit.record("credential.checked", account=credential.account_id, to=credential)
        return Response(representation(self.credential(request, credential_id)))


class CredentialExport(CredentialView):
    scope = "reveal"
    http_method_names = ["get"]  # HEAD would open every seal for nothing
    query_parameters: ClassVar = {"GET": FILTERS}

    def get(self, request: Request) -> StreamingHttpResponse:
        credentials = filtered(self.credentials(request), request)
        token = cast(ApiToken, request.auth)
        client = client_address(request)
        log.info("credentials_exported", account=str(token.account_id), api_token=str(token.pk), client=client)
        sifted = ", ".join(f"{name}={request.query_params[name]}" for name in FILTERS if name in request.query_params)
        named = export.number_of(credentials)
        audit.record("credential.exported", account=token.account_id, named=named, detail=sifted)
        return StreamingHttpResponse(export.lines(credentials), content_type=MEDIA_TYPE)


class CredentialImport(AccountView):
    def post(self, request: Request) -> Response:
        return Response(import_lines(self.account(request), Upload(request)))


def filtered(credentials: CredentialQuerySet, request: Request) -> QuerySet[Credential]:
    """Raises Invalid."""
    query = request.query_params
    errors: dict[str, list[str]] = {}
    for name in ("provider", "kind"):
        if not NAME.fullmatch(query.get(name, "any")):
            errors[name] = [f"Must be the name of a {name}: GET /v1/providers lists them."]
    if query.get("health.status", "ok") not in HealthStatus.values:
        errors["health.status"] = [f"Must be one of {', '.join(HealthStatus.values)}."]
    if "oauth_app_id" in query and canonical_uuid(query["oauth_app_id"]) is None:
        errors["oauth_app_id"] = ["Must be the id of an OAuth app: a UUID in lower case."]
    if errors:
        raise Invalid(errors)
    columns = {"health.status": "health_status"}
    wanted = {columns.get(name, name): query[name] for name in FILTERS if name in query and name != "metadata"}
    return with_metadata(credentials.filter(**wanted), query.get("metadata"))
