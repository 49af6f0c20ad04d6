"""A credential's page: what is known of it, and what can be done with it."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.db.models import Max, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from rest_framework.exceptions import ValidationError as NotAccepted

from credentials import health
from credentials.api.representation import masks, properties
from credentials.console import words
from credentials.console.identity import called, crumb_of, identity_of
from credentials.models import Authorization, Credential, Expiry, Failure, ReadCount
from credentials.reconnect import NotReconnectable, knows_whose, reconnectable
from credentials.refresh.prospects import is_renewable
from oauth_apps.console.health_badge import is_unchecked
from oauth_apps.console.oauth_app_form import StrictJSONField
from oauth_apps.models import ApiToken
from providers import kinds
from sequin_auth.lib.api.fields import MetadataField

MOST_TRIPS = 10
MOST_READERS = 10
DAYS_OF_READS = timedelta(days=7)
NEVER_SINCE = timedelta()  # its health begins at the moment of its making; a check right after it is an observation
REFUSED = {Failure.REFRESH_TOKEN_REFUSED, Failure.ROTATION_INTERRUPTED}


class CredentialForm(forms.Form):
    """What a PATCH may change."""

    name = forms.CharField(max_length=200, required=False, help_text="For you alone. No provider sees it.")
    metadata = StrictJSONField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="A JSON object of your own, at most 16 KiB: your customer's id, say.",
    )

    def clean_metadata(self) -> dict[str, Any]:
        given = self.cleaned_data["metadata"]
        try:
            return MetadataField().to_internal_value({} if given is None else given)
        except NotAccepted as exc:
            raise forms.ValidationError([str(reason) for reason in exc.args[0]] if exc.args else "") from exc


@dataclass(frozen=True)
class Shown:
    """What the page says of one credential. No seal is opened for it."""

    credential: Credential
    form: CredentialForm

    @property
    def provider_name(self) -> str:
        return health.provider_name(self.credential.provider)

    @property
    def called(self) -> str:
        return called(self.credential)

    @property
    def identity(self) -> str:
        return identity_of(self.credential)

    @property
    def kind_label(self) -> str:
        kind = kinds.load().get(self.credential.kind)
        return kind.label if kind else "not in the catalogue any more"

    @property
    def has_scopes(self) -> bool:
        """Whether its owner was asked for scopes: what somebody has typed may do what it may."""
        kind = kinds.load().get(self.credential.kind)
        return kind is None or kind.declared is None

    @property
    def health(self) -> dict[str, Any]:
        """For parts/health.html."""
        row = self.credential
        notes = [words.in_the_console(note) for note in row.health_notes]
        return {"health_status": row.health_status, "health_time": row.health_time, "health_notes": notes}

    @property
    def missing(self) -> list[str]:
        return health.missing_of(self.credential)

    @property
    def properties(self) -> list[tuple[str, str]]:
        shown = properties(self.credential, masks(self.credential))
        return [(name, as_text(value)) for name, value in shown.items() if name != "kind"]

    @property
    def metadata(self) -> str:
        return json.dumps(self.credential.metadata, indent=2, ensure_ascii=False) if self.credential.metadata else ""

    @property
    def has_access_token(self) -> bool:
        return words.has_access_token(self.credential)

    @property
    def has_refresh_token(self) -> bool:
        return self.credential.token.has_refresh_token

    @property
    def ends(self) -> str:
        return words.ends(self.credential, self.credential.token)

    @property
    def known_from(self) -> str:
        return words.KNOWN_FROM[Expiry(self.credential.token.expiry_source)]

    @property
    def events(self) -> list[Any]:
        return [{"time": time, "words": told, "is_well": is_well} for time, told, is_well in words.events(self.token)]

    @property
    def reads(self) -> list[dict[str, Any]]:
        """How often which API token read its access token within the last days."""
        since = timezone.now() - DAYS_OF_READS
        counts = ReadCount.objects.filter(credential=self.credential.pk, minute__gte=since).values("api_token")
        rows = list(counts.annotate(times=Sum("number"), last=Max("minute")).order_by("-times")[:MOST_READERS])
        tokens = ApiToken.objects.in_bulk([row["api_token"] for row in rows]) if rows else {}
        return [row | {"name": str(tokens.get(row["api_token"], "an API token that was deleted"))} for row in rows]

    @property
    def token(self) -> Any:
        return self.credential.token

    @property
    def is_refreshable(self) -> bool:
        return self.has_access_token and is_renewable(self.credential, self.credential.token)

    @property
    def not_reconnectable(self) -> str:
        """Why there can be no reconnect link; empty if there can."""
        try:
            reconnectable(self.credential)
        except NotReconnectable as exc:
            return str(exc)
        return ""

    @property
    def knows_whose(self) -> bool:
        """Whether a reconnect link may be sent to somebody."""
        return not self.not_reconnectable and knows_whose(self.credential)

    @property
    def is_to_reconnect(self) -> bool:
        """Whether there is nothing better to do with it."""
        if self.not_reconnectable:
            return False
        is_said = any("reconnect" in note for note in self.credential.health_notes)
        return self.token.needs_reauthorization or is_said

    @property
    def refresh_token_refused(self) -> Any:
        """Since when the provider does not accept it; None if that is not known."""
        return self.token.failed_at if self.token.failure in REFUSED else None

    @property
    def use(self) -> str:
        """The curl for a present access token, with the API token left to the shell's environment."""
        url = f"{settings.PUBLIC_URL}/v1/credentials/{self.credential.pk}/access-token"
        return f'curl {url} \\\n  -H "Authorization: Bearer $API_TOKEN"'

    @property
    def trips(self) -> list[Any]:
        """The reconnections, and the trip that its tokens are of."""
        its_own = Q(credential=self.credential)
        if self.credential.oauth_app_id:
            its_own |= Q(oauth_app=self.credential.oauth_app_id, granted_at=self.credential.token.granted_at)
        return list(Authorization.objects.filter(its_own).order_by("-created_at")[:MOST_TRIPS])


def page(
    console: Any, request: HttpRequest, credential: Credential, form: CredentialForm | None = None
) -> HttpResponse:
    form = form or CredentialForm(initial={"name": credential.name, "metadata": credential.metadata})
    context = {
        **console.admin_site.each_context(request),
        "opts": console.opts,
        "original": crumb_of(credential),
        "title": f"Credential at {health.provider_name(credential.provider)}",
        "credential": credential,
        "shown": Shown(credential, form),
        "form": form,
        "unchecked": is_unchecked(credential, NEVER_SINCE),
        "can_reveal": settings.CONSOLE_REVEAL and bool(masks(credential)),
    }
    return TemplateResponse(request, "console/credential/detail.html", context)


def as_text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return ", ".join(map(str, value))
    return str(value)
