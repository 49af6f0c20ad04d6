"""`/v1/providers`: what the catalogue says, for developers."""

from typing import Any, ClassVar

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from oauth_apps.api.account_view import AccountView
from providers import catalogue
from providers.provider import Property, Provider
from providers.variables import HOST, LABEL, Variable
from sequin_auth.lib.api.errors import NotFound
from sequin_auth.lib.api.pagination import read_limit, seal, unseal

TOKENS = {
    "access_token": Property(token_response="access_token", secret=True),
    "refresh_token": Property(token_response="refresh_token", secret=True, required=False),
    "expires_at": Property(token_response="expires_in", required=False),
    "scope": Property(token_response="scope", required=False),
    "token_type": Property(token_response="token_type", required=False),
}
PATTERNS = {"label": LABEL, "host": HOST}
ANY_TEXT = "[A-Za-z0-9._~-]{1,253}"


class ProviderList(AccountView):
    query_parameters: ClassVar = {"GET": ("limit", "cursor")}

    def get(self, request: Request) -> Response:
        limit = read_limit(request.query_params.get("limit"))
        cursor = request.query_params.get("cursor")
        last_seen = unseal(cursor).decode() if cursor is not None else ""
        left = [slug for slug in sorted(catalogue.load()) if slug > last_seen]
        page = left[:limit]
        return Response(
            {
                "data": [representation(catalogue.get(slug)) for slug in page],
                "next_cursor": seal(page[-1].encode()) if len(left) > limit else None,
            }
        )


class ProviderDetail(AccountView):
    def get(self, request: Request, slug: str) -> Response:
        provider = catalogue.load().get(slug)
        if provider is None:
            raise NotFound
        return Response(representation(provider))


def representation(provider: Provider) -> dict[str, Any]:
    kinds = {provider.kind: TOKENS | provider.credential} | {
        name: kind.properties for name, kind in provider.kinds.items()
    }
    pkce = "supported" if provider.code_challenge_methods_supported else "none"
    return {
        "slug": provider.slug,
        "name": provider.name,
        "docs": provider.docs,
        "kinds": [{"kind": name, "schema": json_schema(properties)} for name, properties in kinds.items()],
        "variables": {name: of_variable(variable) for name, variable in provider.variables.items()},
        "default_scopes": provider.default_scopes,
        "pkce": "required" if provider.pkce_required else pkce,
        "public_clients": provider.takes_public_clients,
        "refreshes": provider.refresh_with != "none",
        "rotates": provider.refresh_with != "none" and provider.refresh_token_rotates != "never",
        "revokes": provider.revokes,
        "setup": provider.setup,
        "callback_url": callback_url(provider),
    }


def callback_url(provider: Provider) -> str:
    """The shared one; where it has to name the app, `:oauth_app_id` stands for the app's id."""
    shared = f"{settings.PUBLIC_URL}/link/oauth2/callback/{provider.slug}"
    return f"{shared}/:oauth_app_id" if provider.tenant_hosted else shared


def json_schema(properties: dict[str, Property]) -> dict[str, Any]:
    """JSON Schema; `writeOnly` marks the secrets, `x-identity` what tells two upstream accounts apart."""
    return {
        "type": "object",
        "required": [name for name, prop in properties.items() if prop.required],
        "properties": {
            name: {
                "type": prop.type,
                **({"writeOnly": True} if prop.secret else {}),
                **({"x-identity": True} if prop.identity else {}),
            }
            for name, prop in properties.items()
        },
    }


def of_variable(variable: Variable) -> dict[str, Any]:
    return {
        "label": variable.label,
        "required": variable.required,
        "example": variable.example,
        "pattern": variable.pattern or PATTERNS.get(variable.kind, ANY_TEXT),
        "values": variable.values,
    }
