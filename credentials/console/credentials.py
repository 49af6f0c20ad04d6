"""Connections › Credentials: the list, and the address of everything that can be done with one."""

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import NestedObjects
from django.contrib.admin.views.main import SEARCH_VAR
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import RestrictedError
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from credentials import checks, health, reconnect
from credentials.console import connect, detail, export, listing, occurring, reveal, words
from credentials.console.detail import NEVER_SINCE
from credentials.console.identity import called, crumb_of, identity_of
from credentials.deletion import is_revocable
from credentials.errors import CredentialGone, NoAccessToken
from credentials.link.forms import canonical_uuid
from credentials.link.start_links import Link
from credentials.models import Credential, End
from credentials.reconnect import NotReconnectable
from credentials.refresh import note_unreadable, refreshed
from credentials.refresh.prospects import is_too_early
from oauth_apps import audit
from oauth_apps.console.base import LookedAt, actor_of
from oauth_apps.console.health_badge import badge, is_unchecked
from oauth_apps.console.own_password import user_of
from oauth_apps.models import HealthStatus
from providers import kinds
from sequin_auth.lib.encryption import Unreadable

LEVELS = {HealthStatus.OK: messages.SUCCESS, HealthStatus.WARN: messages.WARNING, HealthStatus.ERROR: messages.ERROR}
NOTHING_TO_REFRESH = "There is nothing to refresh: this credential holds nothing that a new access token is given for."

ANYBODYS = (
    "It is not known whose account this is, so a link that somebody is sent could bring another's. Reconnect it in this"
    " browser instead."
)


@admin.register(Credential)
class CredentialAdmin(LookedAt):
    """What is kept, and how it is. No field here is a secret; deleting one revokes it."""

    list_display = ("who", "what", "by", "well", "ends", "account")
    list_filter = listing.FILTERS
    list_filter_sheet = False
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER  # each number would be counted among all rows
    list_before_template = "console/credential/list_before.html"
    search_fields = ("name", "provider", "kind")
    search_help_text = "Name, provider, identity or id"
    ordering = ("-created_at", "-id")
    sortable_by = ()  # another order would read and sort every row
    paginator = listing.PagesOfIds
    actions = None
    nothing_yet = "A credential is one connected account: yours, or one of your users'."
    first_step = ("Connect an account", "admin:connect")
    fields = readonly_fields = ("id", "account", "kind", "name")  # of Django's own page, which nobody is led to

    # ---- the list ----------------------------------------------------------------------------------------------------

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return listing.Rows

    def get_paginator(self, request: HttpRequest, *args: Any, **kwargs: Any) -> listing.PagesOfIds:
        pages = listing.PagesOfIds(*args, **kwargs)
        pages.is_search = bool(request.GET.get(SEARCH_VAR, "").strip())
        return pages

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        if not search_term.strip():
            return queryset, False
        return listing.found(queryset, search_term, [kind for kind, _ in occurring.mine(request).kinds]), False

    def is_list(self, request: HttpRequest) -> bool:
        match = request.resolver_match
        return super().is_list(request) or (match is not None and match.url_name == "credentials_credential_export")

    @admin.display(description="credential")
    def who(self, credential: Credential) -> SafeString:
        identity = identity_of(credential)
        beside = identity if credential.name else ""
        return format_html(
            '<span class="sq-who"><img class="sq-logo" src="{}" alt="" width="28" height="28" loading="lazy">'
            "<span>{}<small>{}</small></span></span>",
            reverse("logo", args=[credential.provider]),
            called(credential),
            " · ".join(part for part in (health.provider_name(credential.provider), beside) if part),
        )

    @admin.display(description="OAuth app", empty_value="none")
    def by(self, credential: Credential) -> str | None:
        return credential.oauth_app.name if credential.oauth_app else None

    @admin.display(description="kind")
    def what(self, credential: Credential) -> str:
        kind = kinds.load().get(credential.kind)
        return kind.label if kind else credential.kind

    @admin.display(description="health")
    def well(self, credential: Credential) -> SafeString:
        return badge(credential, unchecked=is_unchecked(credential, NEVER_SINCE))

    @admin.display(description="access token ends")
    def ends(self, credential: Credential) -> Any:
        told, token = words.ends(credential, credential.token), credential.token
        if token.expires_at is None:
            return told
        return format_html('<time datetime="{0}" title="{0}">{1}</time>', f"{token.expires_at:%Y-%m-%dT%H:%MZ}", told)

    # ---- the addresses -----------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("connect/", self.page(partial(connect.connect, self)), name="connect"),
            path("export/", self.page(partial(export.export_rows, self)), name="credentials_credential_export"),
        ]
        deeds = {
            "refresh": require_POST(self.refresh_now),
            "check": require_POST(self.check_now),
            "reconnect": require_POST(self.reconnect),
            "reconnect_here": require_POST(self.reconnect_here),
            "rename": require_POST(self.rename),
            "export_one": partial(export.export_one, self),
            "reveal": partial(reveal.reveal, self),
        }
        for name, view in deeds.items():
            route = f"<uuid:credential_id>/{name.replace('_', '-')}/"
            own.append(path(route, self.page(self.with_mine(view)), name=f"credentials_credential_{name}"))
        return [*own, *super().get_urls()]

    def page(self, view: Any) -> Any:
        """`view` for whoever is signed in; what is typed there may be a secret, and is in no report of an error."""
        return self.admin_site.admin_view(
            sensitive_post_parameters()(require_http_methods(["GET", "HEAD", "POST"])(view))
        )

    def with_mine(self, view: Any) -> Any:
        """`view` with the credential in the place of its id, if it is one of the user's accounts."""

        def wrapped(request: HttpRequest, credential_id: UUID) -> HttpResponse | StreamingHttpResponse:
            return view(request, self.mine(request, credential_id))

        return wrapped

    def mine(self, request: HttpRequest, credential_id: UUID) -> Credential:
        """Raises Http404, the same for one that is not there and for another account's."""
        rows = self.get_queryset(request).select_related("token", "oauth_app", "account")
        found: Credential | None = rows.filter(pk=credential_id).first()
        if found is None:
            raise Http404
        return found

    def url_of(self, credential: Credential) -> str:
        return reverse("admin:credentials_credential_change", args=[credential.pk])

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Nothing is changed here: what can be done with a credential has addresses of its own."""
        credential_id = canonical_uuid(object_id)
        if credential_id is None:
            raise Http404
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        return detail.page(self, request, self.mine(request, credential_id))

    # ---- what can be done with one -----------------------------------------------------------------------------------

    def back(self, request: HttpRequest, credential: Credential, level: int, told: str) -> HttpResponse:
        messages.add_message(request, level, told)
        return HttpResponseRedirect(self.url_of(credential))

    def check_now(self, request: HttpRequest, credential: Credential) -> HttpResponse:
        with audit.acting_as(actor_of(request)):
            checks.check(credential)
        self.record(request, "checked", credential)
        found = self.mine(request, credential.pk)
        status = HealthStatus(found.health_status)
        name = health.provider_name(found.provider)
        notes = [words.in_the_console(note) for note in found.health_notes]
        told = notes[-1] if notes else f"{name} accepts this credential."
        return self.back(request, credential, LEVELS[status], told)

    def refresh_now(self, request: HttpRequest, credential: Credential) -> HttpResponse:
        version = credential.token.version
        if not detail.Shown(credential, detail.CredentialForm()).is_refreshable:
            return self.back(request, credential, messages.WARNING, NOTHING_TO_REFRESH)
        try:
            with audit.acting_as(actor_of(request)):
                token = refreshed(credential, force=True)
        except Unreadable:
            note_unreadable(credential)
            return self.back(request, credential, messages.ERROR, reveal.UNREADABLE)
        except NoAccessToken as exc:
            return self.back(request, credential, messages.ERROR, str(exc))
        except CredentialGone as exc:
            raise Http404 from exc
        if token.version == version and is_too_early(credential, token):
            name = health.provider_name(credential.provider)
            told = f"{name} gives no new access token while the present one lasts that long. It is good."
            return self.back(request, credential, messages.WARNING, told)
        return self.back(request, credential, messages.SUCCESS, "There is a new access token.")

    def rename(self, request: HttpRequest, credential: Credential) -> HttpResponse:
        form = detail.CredentialForm(request.POST, initial={"name": credential.name, "metadata": credential.metadata})
        if not form.is_valid():
            return detail.page(self, request, credential, form)
        with transaction.atomic():
            Credential.objects.filter(pk=credential.pk).update(**form.cleaned_data, updated_at=timezone.now())
            self.record(request, "changed", credential, detail=", ".join(form.changed_data))
        return self.back(request, credential, messages.SUCCESS, "Saved.")

    def reconnect(self, request: HttpRequest, credential: Credential) -> HttpResponse:
        """The page with the link, which is shown this once."""
        try:
            link = self.link(request, credential, End.PAGE)
        except NotReconnectable as exc:
            return self.back(request, credential, messages.ERROR, str(exc))
        context = {
            **self.admin_site.each_context(request),
            "title": "Reconnect link",
            "opts": self.opts,
            "original": crumb_of(credential),
            "credential": credential,
            "called": called(credential),
            "link": link,
            "words": words_to_send(credential, link),
        }
        headers = {"Cache-Control": "no-store"}
        return TemplateResponse(request, "console/credential/reconnect_link.html", context, headers=headers)

    def reconnect_here(self, request: HttpRequest, credential: Credential) -> HttpResponse:
        try:
            link = self.link(request, credential, End.CONSOLE)
        except NotReconnectable as exc:
            return self.back(request, credential, messages.ERROR, str(exc))
        return connect.onward(request, link)

    def link(self, request: HttpRequest, credential: Credential, ends_at: End) -> Link:
        """Raises NotReconnectable."""
        oauth_app = reconnect.reconnectable(credential)
        if ends_at == End.PAGE:
            if not reconnect.knows_whose(credential):
                raise NotReconnectable(ANYBODYS, code="identity_unknown")
            link = reconnect.link(credential, oauth_app, ends_at=ends_at, lifetime=connect.SENT_ALONG)
        else:
            link = reconnect.link(credential, oauth_app, ends_at=ends_at, started_by=user_of(request))
        self.record(request, "reconnect_link_made", credential)
        return link

    # ---- deletion ----------------------------------------------------------------------------------------------------

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: int) -> HttpResponse:
        messages.success(request, f"{obj_display} is deleted.")
        return HttpResponseRedirect(reverse("admin:credentials_credential_changelist"))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        try:
            with transaction.atomic():
                return super().delete_view(request, object_id, extra_context)
        except RestrictedError:  # by something that came while somebody confirmed
            return HttpResponseRedirect(request.path)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Its tokens and trips go with it, which the page says in words, as it says what keeps it."""
        going = NestedObjects(using=DEFAULT_DB_ALIAS, origin=objs)
        going.collect(objs)
        return [str(credential) for credential in objs], {}, set(), sorted(str(user) for user in going.protected)

    def render_delete_form(self, request: HttpRequest, context: dict[str, Any]) -> Any:
        credential: Credential = context["object"]
        kind = kinds.load().get(credential.kind)
        shown = {
            **self.admin_site.each_context(request),
            "title": "Revoke and delete",
            "opts": self.opts,
            "original": crumb_of(credential),
            "credential": credential,
            "called": called(credential),
            "provider_name": health.provider_name(credential.provider),
            "kept_by": context["protected"],
            "is_revocable": is_revocable(credential),
            "is_typed": kind is not None and kind.declared is not None,
        }
        return TemplateResponse(request, "console/credential/delete.html", shown)


def words_to_send(credential: Credential, link: Link) -> str:
    """What the owner of the account may be told with the link."""
    name, identity = health.provider_name(credential.provider), identity_of(credential)
    whose = f", for the account {identity}" if identity else ""
    return (
        f"Our access to your {name} account has to be renewed. Please open this link and agree once more. It works"
        f" until {link.expires_at:%Y-%m-%d %H:%M} UTC{whose}: {link.url}"
    )
