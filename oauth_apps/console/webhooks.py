"""Accounts › Webhooks: where a developer is told what happens, how that goes, and the secret, shown once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from oauth_apps.console.account_field import account_field
from oauth_apps.console.base import OfMyAccounts
from oauth_apps.models import WebhookDelivery, WebhookEndpoint
from oauth_apps.webhooks import endpoints, events
from oauth_apps.webhooks.urls import MAX_LENGTH, validate_url

LATEST = 15  # deliveries that the page of an endpoint shows
LIST = "admin:oauth_apps_webhookendpoint_changelist"
PAGE = "admin:oauth_apps_webhookendpoint_change"


class Events(forms.CheckboxSelectMultiple):
    """Each with a sentence that says when it comes."""

    def _render(self, template_name: str, context: dict[str, Any], renderer: Any = None) -> SafeString:
        return render_to_string("console/api_tokens/scopes.html", context)

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *args, **kwargs)
        return option | {"sentence": events.EVENTS[str(value)]}


class EndpointForm(forms.ModelForm[WebhookEndpoint]):
    url = forms.CharField(
        label="URL",
        max_length=MAX_LENGTH,
        validators=[validate_url],
        widget=forms.TextInput(
            attrs={
                "placeholder": "https://app.example.com/hooks/sequin",
                "autocomplete": "off",
                "inputmode": "url",
            }
        ),
        help_text="Where your application is called, by POST. It is https, and its host has a public address.",
    )
    events = forms.MultipleChoiceField(
        label="Events",
        choices=[(name, name) for name in events.EVENTS],
        widget=Events,
        required=False,
        help_text="Choose events; none means all.",
    )

    class Meta:
        model = WebhookEndpoint
        fields = ("account", "url", "description", "events", "enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["description"].help_text = "What it is for, for example “billing service”."
        if "enabled" in self.fields:
            self.fields["enabled"].help_text = "Events that happen while it is disabled are not sent later."

    def clean_events(self) -> list[str]:
        return endpoints.accept_events(self.cleaned_data["events"], events.EVENTS)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        account = data.get("account")
        if account and self.instance._state.adding and endpoints.of(account).count() >= endpoints.MOST:
            raise ValidationError(str(endpoints.TooMany()))
        return data

    def _post_clean(self) -> None:
        """The model's instance stays as it was read: `endpoints` makes and changes rows."""


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(OfMyAccounts):
    list_display = ("url", "told", "state", "description", "account", "created_at")
    list_select_related = ("account",)
    search_fields = ("url", "description")
    search_help_text = "Part of the URL or of the description"
    ordering = ("-created_at", "-id")
    actions = None
    change_list_template = "console/webhooks/list.html"
    add_form_template = "console/webhooks/add.html"
    change_form_template = "console/webhooks/change.html"
    delete_confirmation_template = "console/webhooks/delete.html"

    def get_urls(self) -> list[URLPattern]:
        rotate = self.admin_site.admin_view(self.rotate)
        ping = self.admin_site.admin_view(require_POST(self.ping))
        return [
            path("<uuid:webhookendpoint_id>/rotate/", rotate, name="rotate_webhook_secret"),
            path("<uuid:webhookendpoint_id>/ping/", ping, name="ping_webhook"),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return endpoints.with_last_attempts(super().get_queryset(request))

    # ---- to look at --------------------------------------------------------------------------------------------------

    @admin.display(description="events")
    def told(self, endpoint: Any) -> SafeString | str:
        if not endpoint.events:
            return "all"
        chips = format_html_join("", "<li><code>{}</code></li>", ((name,) for name in endpoint.events))
        return format_html('<ul class="sq-chips words">{}</ul>', chips)

    @admin.display(description="health")
    def state(self, endpoint: Any) -> SafeString:
        kind, words = state_of(endpoint)
        return format_html('<span class="sq-badge {}">{}</span>', kind, words)

    # ---- to make and to change ---------------------------------------------------------------------------------------

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[EndpointForm]:
        class Form(EndpointForm):
            def __init__(self, *args: Any, **rest: Any) -> None:
                super().__init__(*args, **rest)
                if obj is None:
                    self.fields["account"] = account_field(request)
                    del self.fields["enabled"]
                else:
                    del self.fields["account"]

        return Form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The pages lay the fields out themselves."""
        return [(None, {"fields": []})]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        values = dict(form.cleaned_data)
        if change:
            endpoints.change(obj, **values)
            return
        row = endpoints.create(values.pop("account"), **values)
        vars(obj).update(vars(row))  # Django goes on with this one

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except endpoints.TooMany as exc:  # the form was sent twice at the same time
            messages.warning(request, str(exc))
            return redirect(LIST)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self.shown_once(request, obj, obj.secret, title="Copy the secret now")

    def shown_once(self, request: HttpRequest, endpoint: Any, secret: str, *, title: str) -> HttpResponse:
        """A message would keep it in a cookie or the session table."""
        context = {**self.admin_site.each_context(request), "title": title, "endpoint": endpoint, "secret": secret}
        response = TemplateResponse(request, "console/webhooks/secret.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        messages.success(request, "Saved.")
        return redirect(PAGE, obj.pk)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        found = self.get_object(request, object_id)
        shown = {"shown": page_of(found)} if found else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """The page says in words what goes."""
        return [row.url for row in objs], {}, set(), []

    # ---- to do -------------------------------------------------------------------------------------------------------

    def rotate(self, request: HttpRequest, webhookendpoint_id: UUID) -> HttpResponse:
        """Asks first, as receivers have to be given the new one."""
        endpoint = self.get_object(request, str(webhookendpoint_id))
        if endpoint is None:
            return self.unknown(request)
        if request.method != "POST":
            context = {**self.admin_site.each_context(request), "title": "Change the secret?", "endpoint": endpoint}
            return render(request, "console/webhooks/rotate.html", context)
        overlap = endpoints.OVERLAP if request.POST.get("overlap") == "yes" else timedelta()
        with transaction.atomic():
            secret = endpoints.rotate_secret(endpoint, overlap=overlap)
            self.record(request, "secret_rotated", endpoint)
        return self.shown_once(request, endpoint, secret, title="Copy the new secret now")

    def ping(self, request: HttpRequest, webhookendpoint_id: UUID) -> HttpResponse:
        endpoint = self.get_object(request, str(webhookendpoint_id))
        if endpoint is None:
            return self.unknown(request)
        if not endpoint.enabled:
            messages.warning(request, "The webhook is disabled. Enable it, then send a ping.")
            return redirect(PAGE, endpoint.pk)
        try:
            events.ping(endpoint)
        except events.TooManyPings as exc:
            messages.warning(request, str(exc))
            return redirect(PAGE, endpoint.pk)
        messages.success(request, "A ping is on its way. Load this page again in a moment to see what came of it.")
        return redirect(PAGE, endpoint.pk)

    def unknown(self, request: HttpRequest) -> HttpResponse:
        messages.warning(request, "There is no such webhook.")
        return redirect(LIST)


@dataclass(frozen=True)
class Page:
    """What the page of one endpoint shows beside its form."""

    badge: str
    state: str
    notes: list[str]
    deliveries: list[tuple[WebhookDelivery, str, str]]  # with the badge's colour and word
    signs_until: datetime | None  # the secret before the present one


def page_of(endpoint: Any) -> Page:
    kind, words = state_of(endpoint)
    until = endpoint.previous_secret_until
    rows = endpoint.deliveries.order_by("-created_at", "-id")[:LATEST]
    return Page(
        badge=kind,
        state=words,
        notes=endpoints.health(endpoint)[1],
        deliveries=[(row, *outcome_of(row)) for row in rows],
        signs_until=until if until and until > timezone.now() else None,
    )


def state_of(endpoint: Any) -> tuple[str, str]:
    """The badge's colour and word."""
    if not endpoint.enabled:
        return ("error", "disabled after failures") if endpoint.disabled_because else ("", "disabled")
    if endpoint.failing_since:
        return "warn", "deliveries fail"
    return ("ok", "ok") if endpoint.last_delivered_at else ("", "not called yet")


def outcome_of(delivery: WebhookDelivery) -> tuple[str, str]:
    if delivery.delivered_at:
        return "ok", "delivered"
    if delivery.due_at is None:
        return "error", "given up"
    return ("warn", "waiting to retry") if delivery.last_failure else ("", "on its way")
