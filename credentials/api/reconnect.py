"""`POST /v1/credentials/{id}/reconnect`: a start link that keeps this credential's id, name and metadata."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from credentials import reconnect
from credentials.api.start_auth import StartLinkSerializer, made, refuse_unregistered
from credentials.link import start_links
from credentials.models import Credential, End
from credentials.reconnect import NotReconnectable
from oauth_apps import audit
from oauth_apps.api.account_view import AccountView
from sequin_auth.lib.api.errors import Conflict, Invalid
from sequin_auth.lib.api.fields import TextField
from sequin_auth.lib.api.views import body

IDENTITIES = ("same_account", "any")


class ReconnectSerializer(StartLinkSerializer):
    """Where the account is, and by which OAuth app, the credential knows.

    Without a redirect URI the trip ends on a page of ours, and its tokens take their place by themselves.
    """

    identity = TextField(max_length=20, required=False, default="same_account")

    def validate_identity(self, value: str) -> str:
        if value not in IDENTITIES:
            raise serializers.ValidationError(f"Must be {' or '.join(IDENTITIES)}.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.keys() & {"redirect_url", "redirect_uri"}:
            return super().validate(attrs)
        if attrs["identity"] == "any":
            raise serializers.ValidationError({"redirect_url": "Is required where any account may take the place."})
        return {**attrs, "redirect_uri": ""}


class Reconnect(AccountView):
    @transaction.atomic
    def post(self, request: Request, credential_id: UUID) -> Response:
        mine = Credential.objects.of(self.account(request)).select_related("oauth_app")
        credential = get_object_or_404(mine, pk=credential_id)
        serializer = ReconnectSerializer(data=body(request))
        serializer.is_valid(raise_exception=True)
        wanted = serializer.validated_data
        try:
            oauth_app = reconnect.reconnectable(credential)
        except NotReconnectable as exc:
            raise Conflict(str(exc), code=exc.code) from exc
        if wanted["redirect_uri"]:
            refuse_unregistered(oauth_app, wanted["redirect_uri"])
        elif not reconnect.knows_whose(credential):
            raise Invalid({"redirect_url": ["Is required: it is not known yet whose account this credential is."]})
        link = reconnect.link(
            credential,
            oauth_app,
            redirect_uri=wanted["redirect_uri"],
            scope=wanted.get("scope", ""),
            state=wanted.get("state", start_links.NOT_SENT),
            any_identity=wanted["identity"] == "any",
            ends_at=End.REDIRECT_URI if wanted["redirect_uri"] else End.PAGE,
        )
        audit.record("credential.reconnect_link_made", account=credential.account_id, to=credential)
        return made(link)
