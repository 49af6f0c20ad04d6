"""One secret of one credential, looked at: where the operator allows it, after the password, and written down first."""

from typing import Any

from django import forms
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.debug import sensitive_variables

from credentials.api.representation import masks, secrets
from credentials.console.identity import called, crumb_of
from credentials.models import Credential
from oauth_apps.console.own_password import OwnPasswordForm
from sequin_auth.lib.encryption import Unreadable

UNREADABLE = "What is stored does not open: it was changed in the database, or its key is missing from ENCRYPTION_KEYS."


class RevealForm(OwnPasswordForm):
    field_order = ("value", "password")
    value = forms.ChoiceField(label="Which value")

    def __init__(self, *args: Any, names: list[str], **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.fields["value"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]


@sensitive_variables()
def reveal(console: Any, request: HttpRequest, credential: Credential) -> HttpResponse:
    """Raises Http404 where it is not allowed, and where there is nothing secret."""
    names = list(masks(credential))
    if not settings.CONSOLE_REVEAL or not names:
        raise Http404
    form = RevealForm(request.POST or None, request=request, account=credential.account, names=names)
    shown = ""
    if request.method == "POST" and form.is_valid():
        name = form.cleaned_data["value"]
        try:
            shown = str(secrets(credential)[name])
        except Unreadable:
            form.add_error("value", UNREADABLE)
        else:
            console.record(request, "revealed", credential, detail=name)
    context = {
        **console.admin_site.each_context(request),
        "title": "Reveal a value",
        "opts": console.opts,
        "original": crumb_of(credential),
        "credential": credential,
        "called": called(credential),
        "form": form,
        "shown": shown,
    }
    return TemplateResponse(request, "console/credential/reveal.html", context, headers={"Cache-Control": "no-store"})
