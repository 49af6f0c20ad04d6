"""`/v1/credentials/start-auth`: a start link for one end user."""

import json
import secrets
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from credentials.api.serializers import StartAuthSerializer
from credentials.link.errors import RedirectURINotRegistered
from credentials.link.flow.start import requested_redirect_uri
from credentials.link.forms import Query
from credentials.models import StartLink
from oauth_apps.api.account_view import AccountView
from oauth_apps.models import OAuthApp
from providers.variables import VariableNotAccepted
from sequin_auth.lib.api.errors import Invalid
from sequin_auth.lib.api.fields import TimestampField
from sequin_auth.lib.api.views import body
from sequin_auth.lib.encryption import digest


class StartAuth(AccountView):
    """POST: a link of single use; nothing of what it was made with can be changed by whoever opens it."""

    def post(self, request: Request) -> Response:
        serializer = StartAuthSerializer(data=body(request))
        serializer.is_valid(raise_exception=True)
        wanted = serializer.validated_data
        oauth_app = self.oauth_app(request, wanted["oauth_app_id"])
        token = secrets.token_urlsafe(32)
        link = StartLink.objects.create(
            oauth_app=oauth_app,
            token_hash=digest(token),
            query=start_query(oauth_app, wanted),
            variables=accepted_variables(oauth_app, wanted),
            client_state_json=json.dumps(wanted["state"]) if "state" in wanted else None,
            expires_at=timezone.now() + StartLink.LIFETIME,
        )
        answer = {
            "start_url": f"{settings.PUBLIC_URL}/link/oauth2/start/{token}",
            "expires_at": TimestampField().to_representation(link.expires_at),
        }
        return Response(answer, status=201)

    def oauth_app(self, request: Request, oauth_app_id: str) -> OAuthApp:
        oauth_app = OAuthApp.objects.of(self.account(request)).enabled().filter(pk=oauth_app_id).first()
        if oauth_app is None:
            raise Invalid({"oauth_app_id": ["There is no enabled OAuth app with this id."]})
        return oauth_app


def start_query(oauth_app: OAuthApp, wanted: dict[str, Any]) -> str:
    """The parameters of the start URL that the link stands for. Raises Invalid."""
    kind = wanted.get("credential_kind")
    if kind is not None and kind not in {oauth_app.definition.kind, oauth_app.provider}:
        raise Invalid({"credential_kind": [f"Must be {oauth_app.definition.kind}, which this OAuth app yields."]})
    params = {"client_id": str(oauth_app.pk), "redirect_uri": wanted["redirect_uri"], "scope": wanted.get("scope", "")}
    if isinstance(wanted.get("state"), str):
        params["state"] = wanted["state"]
    query = urlencode(params)
    try:
        requested_redirect_uri(Query(query), oauth_app)
    except RedirectURINotRegistered as exc:
        raise Invalid({"redirect_url": ["Is not registered: POST /v1/redirect-uris."]}) from exc
    return query


def accepted_variables(oauth_app: OAuthApp, wanted: dict[str, Any]) -> dict[str, str]:
    """The developer's own word for where his user is. Raises Invalid."""
    provider = oauth_app.definition
    accepted: dict[str, str] = {}
    for name, value in wanted["variables"].items():
        if name not in provider.variables:
            known = ", ".join(provider.variables) or "none"
            raise Invalid({"variables": [f"There is one that this provider does not have. It has: {known}."]})
        try:
            accepted[name] = provider.variables[name].accept(name, value)
        except VariableNotAccepted as exc:
            raise Invalid({"variables": [f"{exc}."]}) from exc
        if oauth_app.variables.get(name, accepted[name]) != accepted[name]:
            raise Invalid({"variables": [f"{name} is fixed on the OAuth app to another value."]})
    if provider.needs_own_callback(accepted, has_secret=True) and not oauth_app.own_callback:
        raise Invalid({"variables": ["A customer's own host needs an OAuth app with own_callback."]})
    return accepted
