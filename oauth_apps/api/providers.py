"""`/v1/providers`: what the catalogue says, for developers."""

from typing import Any, ClassVar

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from oauth_apps.api.account_view import AccountView
from providers import catalogue, kinds
from providers.kinds import CredentialKind
from providers.provider import Provider
from providers.variables import HOST, LABEL, Variable
from sequin_auth.lib.api.errors import NotFound
from sequin_auth.lib.api.pagination import read_limit, seal, unseal

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
    pkce = "supported" if provider.code_challenge_methods_supported else "none"
    refreshes = provider.has_code_flow and provider.refresh_with != "none"
    return {
        "slug": provider.slug,
        "name": provider.name,
        "docs": provider.docs,
        "kinds": [of_kind(kind) for kind in kinds.of(provider)],
        "variables": {name: of_variable(variable) for name, variable in provider.variables.items()},
        "takes_oauth_apps": provider.has_code_flow,
        "default_scopes": provider.default_scopes,
        "pkce": "required" if provider.pkce_required else pkce,
        "public_clients": provider.takes_public_clients,
        "refreshes": refreshes,
        "rotates": refreshes and provider.refresh_token_rotates != "never",
        "revokes": provider.revokes,
        "setup": provider.setup,
        "callback_url": callback_url(provider),
    }


def callback_url(provider: Provider) -> str | None:
    """The shared one; where it has to name the app, `:oauth_app_id` stands for the app's id. None: there is no trip."""
    if not provider.has_code_flow:
        return None
    shared = f"{settings.PUBLIC_URL}/link/oauth2/callback/{provider.slug}"
    return f"{shared}/:oauth_app_id" if provider.tenant_hosted else shared


def of_kind(kind: CredentialKind) -> dict[str, Any]:
    return {
        "kind": kind.name,
        "label": kind.label,
        "auth": kind.auth,
        "needs_oauth_app": kind.needs_oauth_app,
        "schema": json_schema(kind),
    }


def json_schema(kind: CredentialKind) -> dict[str, Any]:
    """JSON Schema of an import's properties; `kind` and `name` may stand among them.

    `writeOnly` marks the secrets, `x-identity` what tells two upstream accounts apart.
    """
    schema: dict[str, Any] = {
        "type": "object",
        "required": [name for demand in kind.demands if len(demand) == 1 for name in demand[0]],
        "properties": {
            name: {
                "type": prop.type,
                **({"items": {"type": "string"}} if prop.type == "array" else {}),
                **({"writeOnly": True} if prop.secret else {}),
                **({"x-identity": True} if prop.identity else {}),
            }
            for name, prop in kind.properties.items()
        },
    }
    alternatives = [{"anyOf": [{"required": group} for group in demand]} for demand in kind.demands if len(demand) > 1]
    return schema | ({"allOf": alternatives} if alternatives else {})


def of_variable(variable: Variable) -> dict[str, Any]:
    return {
        "label": variable.label,
        "required": variable.required,
        "example": variable.example,
        "pattern": variable.pattern or PATTERNS.get(variable.kind, ANY_TEXT),
        "values": variable.values,
    }
