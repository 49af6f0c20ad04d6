"""`/v1/credentials/start-auth`: a start link for one end user."""

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from credentials.link import start_links
from credentials.link.forms import canonical_uuid
from oauth_apps import audit
from oauth_apps.api.account_view import AccountView
from oauth_apps.models import OAuthApp
from oauth_apps.redirect_uris import MAX_LENGTH
from oauth_apps.registration import accept_scopes
from providers.variables import VariableNotAccepted
from sequin_auth.lib.api.errors import Invalid
from sequin_auth.lib.api.fields import StrictSerializer, TextField, TimestampField
from sequin_auth.lib.api.views import body

MOST_STATE = 5_000  # bytes of JSON


class StateField(serializers.Field[Any, Any, Any, Any]):
    """Any JSON. The parser has seen to its depth and its characters."""

    default_error_messages = {"too_large": f"Has at most {MOST_STATE} bytes as JSON."}

    def to_internal_value(self, data: Any) -> Any:
        if len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()) > MOST_STATE:
            self.fail("too_large")
        return data


class StartLinkSerializer(StrictSerializer):
    """What every link is made with. `redirect_url` is Sequin's name for `redirect_uri`."""

    redirect_url = TextField(max_length=MAX_LENGTH, required=False)
    redirect_uri = TextField(max_length=MAX_LENGTH, required=False)
    state = StateField(required=False, allow_null=True)
    scope = TextField(max_length=4096, required=False)

    def validate_scope(self, value: str) -> str:
        try:
            return " ".join(accept_scopes([scope for scope in value.replace(",", " ").split(" ") if scope]))
        except ValidationError as exc:
            raise serializers.ValidationError(exc.messages) from exc

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = [attrs.pop(name) for name in ("redirect_url", "redirect_uri") if name in attrs]
        if len(given) != 1:
            raise serializers.ValidationError(
                {"redirect_url": "Is required, once: as redirect_url or as redirect_uri."}
            )
        return {**attrs, "redirect_uri": given[0]}


class StartAuthSerializer(StartLinkSerializer):
    oauth_app_id = TextField()
    credential_kind = TextField(max_length=120, required=False)
    variables = serializers.DictField(child=TextField(max_length=253), required=False, default=dict)

    def validate_oauth_app_id(self, value: str) -> str:
        if canonical_uuid(value) is None:
            raise serializers.ValidationError("Must be the id of an OAuth app: a UUID in lower case.")
        return value


class StartAuth(AccountView):
    """POST: a link of single use; nothing of what it was made with can be changed by whoever opens it."""

    @transaction.atomic
    def post(self, request: Request) -> Response:
        serializer = StartAuthSerializer(data=body(request))
        serializer.is_valid(raise_exception=True)
        wanted = serializer.validated_data
        oauth_app = self.oauth_app(request, wanted["oauth_app_id"])
        refuse_another_kind(oauth_app, wanted.get("credential_kind"))
        refuse_unregistered(oauth_app, wanted["redirect_uri"])
        link = start_links.make(
            oauth_app,
            redirect_uri=wanted["redirect_uri"],
            variables=accepted_variables(oauth_app, wanted["variables"]),
            scope=wanted.get("scope", ""),
            state=wanted.get("state", start_links.NOT_SENT),
        )
        audit.record("oauth_app.start_link_made", account=oauth_app.account_id, to=oauth_app)
        return made(link)

    def oauth_app(self, request: Request, oauth_app_id: str) -> OAuthApp:
        oauth_app = OAuthApp.objects.of(self.account(request)).enabled().filter(pk=oauth_app_id).first()
        if oauth_app is None:
            raise Invalid({"oauth_app_id": ["There is no enabled OAuth app with this id."]})
        return oauth_app


def made(link: start_links.Link) -> Response:
    expires_at = TimestampField().to_representation(link.expires_at)
    return Response({"start_url": link.url, "expires_at": expires_at}, status=201)


def refuse_unregistered(oauth_app: OAuthApp, redirect_uri: str) -> None:
    """Raises Invalid."""
    if not start_links.is_registered(oauth_app, redirect_uri):
        raise Invalid({"redirect_url": ["Is not registered: POST /v1/redirect-uris."]})


def refuse_another_kind(oauth_app: OAuthApp, kind: str | None) -> None:
    """Raises Invalid."""
    if kind is not None and kind not in {oauth_app.definition.kind, oauth_app.provider}:
        raise Invalid({"credential_kind": [f"Must be {oauth_app.definition.kind}, which this OAuth app yields."]})


def accepted_variables(oauth_app: OAuthApp, variables: dict[str, str]) -> dict[str, str]:
    """The developer's own word for where his user is. Raises Invalid."""
    provider = oauth_app.definition
    accepted: dict[str, str] = {}
    for name, value in variables.items():
        if name not in provider.variables:
            known = ", ".join(provider.variables) or "none"
            raise Invalid({"variables": [f"There is one that this provider does not have. It has: {known}."]})
        if provider.variables[name].sources == ["app"]:
            raise Invalid({"variables": [f"{name} can be set on the OAuth app alone."]})
        try:
            accepted[name] = provider.variables[name].accept(name, value)
        except VariableNotAccepted as exc:
            raise Invalid({"variables": [f"{exc}."]}) from exc
        if oauth_app.variables.get(name, accepted[name]) != accepted[name]:
            raise Invalid({"variables": [f"{name} is fixed on the OAuth app to another value."]})
    if provider.needs_own_callback(accepted, has_secret=True) and not oauth_app.own_callback:
        raise Invalid({"variables": ["A customer's own host needs an OAuth app with own_callback."]})
    return accepted
