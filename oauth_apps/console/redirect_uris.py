"""Accounts › Redirect URIs."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from oauth_apps.console.account_field import account_field
from oauth_apps.console.base import OfMyAccounts
from oauth_apps.console.choice import my_accounts
from oauth_apps.console.provider_picker import in_order, name_of
from oauth_apps.models import OAuthApp, RedirectURI
from oauth_apps.redirect_uris import MAX_LENGTH, validate_redirect_uri


class RedirectURIForm(forms.ModelForm[RedirectURI]):
    redirect_uri = forms.CharField(
        label="Redirect URI",
        max_length=MAX_LENGTH,
        validators=[validate_redirect_uri],
        widget=forms.TextInput(
            attrs={
                "placeholder": "https://app.example.com/callback/:provider",
                "autocomplete": "off",
                "inputmode": "url",
            }
        ),
        help_text="Where your application takes end users back. Start links must name it exactly, byte by byte.",
    )

    class Meta:
        model = RedirectURI
        fields = ("account", "redirect_uri")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        account, text = data.get("account"), data.get("redirect_uri")
        if account and text and RedirectURI.objects.of(account).filter(redirect_uri=text).exists():
            raise ValidationError({"redirect_uri": "This account has registered this redirect URI already."})
        return data


@admin.register(RedirectURI)
class RedirectURIAdmin(OfMyAccounts):
    list_display = ("redirect_uri", "account", "created_at")
    list_select_related = ("account",)
    search_fields = ("redirect_uri",)
    search_help_text = "Part of the redirect URI"
    ordering = ("-created_at", "-id")
    actions = None
    change_list_template = "console/redirect_uri/list.html"
    add_form_template = "console/redirect_uri/add.html"
    change_form_template = "console/redirect_uri/change.html"
    delete_confirmation_template = "console/redirect_uri/delete.html"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request)  # another URI is another registration

    def get_list_display(self, request: HttpRequest) -> Any:
        """The example is one of the user's own providers, so the column is made for the request."""
        slug = example_of(request)

        @admin.display(description=f"at {name_of(slug)}, for example")
        def becomes(row: RedirectURI) -> str:
            return row.for_provider(slug)

        first, *others = super().get_list_display(request)
        return [first, becomes, *others]

    # ---- a new one, and one of them ----------------------------------------------------------------------------------

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return super().add_view(request, form_url, {**(extra_context or {}), "example": example_of(request)})

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[RedirectURIForm]:
        class Form(RedirectURIForm):
            def __init__(self, *args: Any, **rest: Any) -> None:
                super().__init__(*args, **rest)
                self.fields["account"] = account_field(request)

        return Form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The page lays the fields out itself."""
        return [(None, {"fields": []})]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        given = request.GET.get("redirect_uri", "")[:MAX_LENGTH]
        return {"redirect_uri": given} if given else {}

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        messages.success(request, f"End users may now come back to {obj.redirect_uri}.")
        return HttpResponseRedirect(reverse("admin:oauth_apps_redirecturi_changelist"))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        context = {**(extra_context or {}), "expansions": expansions(row) if row else []}
        return super().change_view(request, object_id, form_url, context)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """The page says in words what goes."""
        return [str(row) for row in objs], {}, set(), []


def expansions(row: RedirectURI) -> list[tuple[str, str]]:
    """What it becomes at each provider that the account has an OAuth app at: the provider's name and the URI."""
    slugs = OAuthApp.objects.of(row.account_id).order_by("provider").values_list("provider", flat=True).distinct()
    return [(name_of(slug), row.for_provider(slug)) for slug in slugs]


def example_of(request: HttpRequest) -> str:
    """The slug of a provider that the user knows: of one of his OAuth apps, else of a well-known one."""
    mine = (
        OAuthApp.objects.filter(account__in=my_accounts(request))
        .order_by("provider")
        .values_list("provider", flat=True)
    )
    return mine.first() or in_order()[0].slug
