"""Credentials leave the console with their secrets: after the password, and written down first."""

from typing import Any
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from credentials.api import export
from credentials.api.ndjson_import import MEDIA_TYPE
from credentials.console.identity import called, crumb_of
from credentials.models import Credential
from oauth_apps import audit
from oauth_apps.console.base import actor_of
from oauth_apps.console.choice import choice_of
from oauth_apps.console.own_password import OwnPasswordForm


@sensitive_variables()
def export_rows(console: Any, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Those of the list, with the filters of its query. `console`: the ModelAdmin."""
    try:
        rows: QuerySet[Credential] = console.get_changelist_instance(request).queryset
    except IncorrectLookupParameters as exc:
        raise BadRequest from exc
    counts = of_accounts(rows)
    count = sum(counts.values())
    account = choice_of(request).chosen
    form = OwnPasswordForm(request.POST or None, request=request, account=account)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():  # committed before the first byte
            for account_id, number in counts.items():
                audit.record(
                    "credential.exported",
                    by=actor_of(request),
                    account=account_id,
                    named=number_of(number),
                    detail=", ".join(f"{name}={value}" for name, value in request.GET.items()),
                )
        return streamed(rows.filter(account__in=counts), f"credentials-{timezone.now():%Y-%m-%d}.ndjson")
    query = request.GET.urlencode()
    which = f" of {account}" if account else " of all accounts that you see"
    if query:
        which = ", as the list was filtered"
    context = {
        **console.admin_site.each_context(request),
        "title": "Export credentials",
        "opts": console.opts,
        "form": form,
        "what": f"{number_of(count)}{which}",
        "query": query,
        "back": f"{reverse('admin:credentials_credential_changelist')}{'?' if query else ''}{query}",
    }
    return TemplateResponse(request, "console/credential/export.html", context, headers={"Cache-Control": "no-store"})


@sensitive_variables()
def export_one(console: Any, request: HttpRequest, credential: Credential) -> HttpResponse | StreamingHttpResponse:
    form = OwnPasswordForm(request.POST or None, request=request, account=credential.account)
    if request.method == "POST" and form.is_valid():
        console.record(request, "exported", credential, detail="this one")
        rows = Credential.objects.filter(pk=credential.pk)
        return streamed(rows, f"credential-{credential.pk}.ndjson")
    context = {
        **console.admin_site.each_context(request),
        "title": "Export a credential",
        "opts": console.opts,
        "original": crumb_of(credential),
        "form": form,
        "what": f"{number_of(1)}: {called(credential)}",
        "back": console.url_of(credential),
    }
    return TemplateResponse(request, "console/credential/export.html", context, headers={"Cache-Control": "no-store"})


def of_accounts(rows: QuerySet[Credential]) -> dict[UUID, int]:
    """How many there are of each account: everybody finds in his audit log what left of his."""
    return dict(rows.order_by().values_list("account").annotate(Count("pk")))


def number_of(count: int) -> str:
    return f"{count} credential{'' if count == 1 else 's'}"


def streamed(rows: QuerySet[Credential], name: str) -> StreamingHttpResponse:
    """NDJSON to be saved, in constant memory."""
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(export.lines(rows), content_type=MEDIA_TYPE, headers=headers)
