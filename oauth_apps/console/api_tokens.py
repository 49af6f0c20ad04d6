"""Accounts › API Tokens: made and shown once, told apart by their beginning, revoked for good."""

import secrets
from datetime import datetime, timedelta
from datetime import time as time_of_day
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db import IntegrityError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil

from oauth_apps import api_tokens
from oauth_apps.console.account_field import account_field
from oauth_apps.console.base import OfMyAccounts
from oauth_apps.models import ApiToken, AuditEvent

SOON = timedelta(days=14)
NO_DAY, CHOSEN_DAY = "never", "date"
LIFETIMES = {
    "30": "30 days",
    "90": "90 days",
    "365": "1 year",
    NO_DAY: "Never: until somebody revokes it",
    CHOSEN_DAY: "At the end of the day below (UTC)",
}


class Ours:
    """A widget whose template is among those of the pages."""

    def _render(self, template_name: str, context: dict[str, Any], renderer: Any = None) -> SafeString:
        return render_to_string(template_name, context)


class Scopes(Ours, forms.CheckboxSelectMultiple):
    """Each with a sentence that says what it allows."""

    template_name = "console/api_tokens/scopes.html"

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *args, **kwargs)
        return option | {"sentence": api_tokens.SCOPES_IN_WORDS[str(value)]}


class Lifetimes(Ours, forms.RadioSelect):
    template_name = "console/api_tokens/lifetimes.html"


class NewTokenForm(forms.ModelForm[ApiToken]):
    scopes = forms.MultipleChoiceField(
        label="Scopes",
        choices=[(scope, scope) for scope in api_tokens.SCOPES],
        initial=api_tokens.DEFAULT_SCOPES,
        widget=Scopes,
        help_text="What the token may do. Tick no more than its user needs.",
        error_messages={"required": "Tick at least one scope: a token without any can do nothing."},
    )
    lifetime = forms.ChoiceField(label="Expires after", choices=list(LIFETIMES.items()), initial="90", widget=Lifetimes)
    last_day = forms.DateField(
        label="Last day",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="Only if the token expires at the end of a day of your choice.",
    )
    once = forms.CharField(widget=forms.HiddenInput, required=False, max_length=64)

    class Meta:
        model = ApiToken
        fields = ("account", "name")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].initial = ""
        self.fields["name"].help_text = "Who or what uses it, for example “billing service”."
        self.initial.setdefault("once", secrets.token_urlsafe(16))

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("lifetime") == CHOSEN_DAY and "last_day" in data:
            if data["last_day"] is None:
                self.add_error("last_day", "Choose the last day.")
            elif data["last_day"] < timezone.now().date():
                self.add_error("last_day", "This day is over. Choose today or a later one.")
        return data

    def expires_at(self) -> datetime | None:
        lifetime, day = self.cleaned_data["lifetime"], self.cleaned_data["last_day"]
        if lifetime == NO_DAY:
            return None
        if lifetime == CHOSEN_DAY:
            return datetime.combine(day, time_of_day(23, 59, 59), tzinfo=timezone.get_default_timezone())
        return timezone.now() + timedelta(days=int(lifetime))


class RenameForm(forms.ModelForm[ApiToken]):
    class Meta:
        model = ApiToken
        fields = ("name",)


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("active", "active"), ("expired", "expired"), ("revoked", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        over = Q(expires_at__lte=timezone.now())
        match self.value():
            case "active":
                return queryset.filter(~over | Q(expires_at__isnull=True), revoked_at__isnull=True)
            case "expired":
                return queryset.filter(over, revoked_at__isnull=True)
            case "revoked":
                return queryset.filter(revoked_at__isnull=False)
        return queryset


@admin.register(ApiToken)
class ApiTokenAdmin(OfMyAccounts):
    list_display = ("name", "begins_with", "may", "state", "last_used", "account", "created_at")
    list_select_related = ("account",)
    list_filter = (StateFilter,)
    search_fields = ("name", "prefix")
    ordering = ("-created_at", "-pk")
    actions = ("revoke_chosen",)
    add_form_template = "console/api_tokens/add.html"
    change_form_outer_after_template = "console/api_tokens/revoke_here.html"

    def get_urls(self) -> list[URLPattern]:
        revoke = self.admin_site.admin_view(self.revoke)
        return [path("<uuid:token_id>/revoke/", revoke, name="revoke_api_token"), *super().get_urls()]

    # ---- to look at --------------------------------------------------------------------------------------------------

    @admin.display(description="begins with", ordering="prefix")
    def begins_with(self, token: Any) -> SafeString:
        return format_html("<code>{}…</code>", token.prefix)

    @admin.display(description="scopes")
    def may(self, token: Any) -> SafeString:
        chips = format_html_join("", "<li><code>{}</code></li>", ((scope,) for scope in token.scopes))
        return format_html('<ul class="sq-chips words">{}</ul>', chips)

    @admin.display(description="state", ordering="expires_at")
    def state(self, token: Any) -> SafeString:
        kind, words = state_of(token)
        return format_html('<span class="sq-badge {}">{}</span>', kind, words)

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, token: Any) -> str:
        return f"{in_one_word(timesince(token.last_used_at, depth=1))} ago" if token.last_used_at else "never"

    # ---- to make -----------------------------------------------------------------------------------------------------

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if change:
            return super().get_form(request, obj, change, form=RenameForm, **kwargs)

        class Form(NewTokenForm):
            def __init__(self, *args: Any, **rest: Any) -> None:
                super().__init__(*args, **rest)
                self.fields["account"] = account_field(request)

        return Form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The page that makes one lays the fields out itself."""
        return super().get_fieldsets(request, obj) if obj else [(None, {"fields": []})]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Of one that there is."""
        shown = ("begins_with", "may", "state", "last_used", "expires_at", "revoked_at", "created_at")
        return ("name", "whose", *shown)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return tuple(name for name in self.get_fields(request, obj) if name != "name") if obj else ()

    @admin.display(description="account")
    def whose(self, token: Any) -> str:
        """As text: the account's own page is the superusers'."""
        return str(token.account)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Revoking is enough, and leaves a trace in the list."""
        return False

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """A form makes one token, however often and however fast it is sent: the token's id comes from it."""
        if object_id is None and self.is_made(request):
            return self.made_before(request)
        plain = {"show_save_and_add_another": False, "show_save_and_continue": False}
        try:
            return super().changeform_view(request, object_id, form_url, {**plain, **(extra_context or {})})
        except IntegrityError:
            if object_id is None and self.is_made(request):  # by the same form, sent at the same time
                return self.made_before(request)
            raise

    def is_made(self, request: HttpRequest) -> bool:
        once = request.POST.get("once")
        # nosemgrep: row-without-account - the id is computed from who asks, so it names his own tokens alone
        return bool(once) and ApiToken.objects.filter(pk=id_from(once, request)).exists()

    def made_before(self, request: HttpRequest) -> HttpResponse:
        messages.warning(
            request,
            "This form has made its token already, which was shown then. Revoke it if nobody has copied it, and make"
            " another.",
        )
        return redirect("admin:oauth_apps_apitoken_changelist")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=["name"])
            return
        once = form.cleaned_data.get("once")
        row, text = api_tokens.issue(
            obj.account,
            scopes=form.cleaned_data["scopes"],
            name=obj.name,
            expires_at=form.expires_at(),
            token_id=id_from(once, request) if once else None,
        )
        obj.pk, obj._state.adding, obj.prefix, obj.shown_once = row.pk, False, row.prefix, text
        obj.scopes, obj.expires_at = row.scopes, row.expires_at

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The page that shows the token. A message would keep it in a cookie or the session table."""
        context = {**self.admin_site.each_context(request), "title": "Copy the token now", "api_token": obj}
        context |= {
            "text": obj.shown_once,
            "command": f'curl -H "Authorization: Bearer {obj.shown_once}" {settings.PUBLIC_URL}/v1/oauth-apps',
        }
        response = TemplateResponse(request, "console/api_token_made.html", context)
        response["Cache-Control"] = "no-store"
        return response

    # ---- to revoke ---------------------------------------------------------------------------------------------------

    def revoke(self, request: HttpRequest, token_id: UUID) -> HttpResponse:
        """Asks first, as there is no way back."""
        token = self.get_object(request, str(token_id))
        if token is None:
            messages.warning(request, "There is no such API token.")
            return redirect("admin:oauth_apps_apitoken_changelist")
        if request.method != "POST":
            context = {**self.admin_site.each_context(request), "title": "Revoke this API token?", "api_token": token}
            return render(request, "console/api_tokens/revoke.html", context)
        if self.revoke_one(request, token):
            messages.success(request, f"{token.name} is revoked: whoever uses it is refused from now on.")
        else:
            messages.warning(request, f"{token.name} was revoked before.")
        return redirect(reverse("admin:oauth_apps_apitoken_changelist"))

    @admin.action(description="Revoke the chosen tokens, for good")
    def revoke_chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        revoked = sum(self.revoke_one(request, token) for token in queryset.select_related("account"))
        messages.success(request, f"Revoked {revoked} API token{'' if revoked == 1 else 's'}.")

    def event(self, request: HttpRequest, deed: str, obj: Any, *, detail: str = "") -> AuditEvent:
        """What a new token may do is told with it."""
        return super().event(request, deed, obj, detail=", ".join(obj.scopes) if deed == "created" else detail)

    def revoke_one(self, request: HttpRequest, token: Any) -> bool:
        if not api_tokens.revoke(token):
            return False
        self.record(request, "revoked", token)
        return True


def id_from(once: Any, request: HttpRequest) -> UUID:
    """The id of the token that a form of this user makes."""
    made = salted_hmac(__name__, f"{request.user.pk} {once}", algorithm="sha256").digest()
    return UUID(bytes=made[:16], version=4)


def state_of(token: ApiToken) -> tuple[str, str]:
    """The badge's colour and word."""
    now = timezone.now()
    if token.revoked_at is not None:
        return "error", "revoked"
    if token.expires_at is None:
        return "ok", "active"
    if token.expires_at <= now:
        return "error", "expired"
    left = in_one_word(timeuntil(token.expires_at, depth=1))
    return ("warn" if token.expires_at - now < SOON else "ok"), f"expires in {left}"


def in_one_word(duration: str) -> str:
    """Django separates number and unit by a space that does not break, and says "0 minutes" for less."""
    words = duration.replace("\xa0", " ")
    return "less than a minute" if words == "0 minutes" else words
