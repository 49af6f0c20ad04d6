"""`/v1/providers`: what the catalogue says, for developers."""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from oauth_apps.api.account_view import AccountView
from providers import catalogue, kinds
from providers.kinds import CredentialKind
from providers.provider import Provider
from providers.showing import facts
from providers.variables import Variable
from sequin_auth.lib.api.errors import NotFound
from sequin_auth.lib.api.pagination import read_limit, seal, unseal_text


class ProviderList(AccountView):
    query_parameters: ClassVar = {"GET": ("limit", "cursor")}

    def get(self, request: Request) -> Response:
        limit = read_limit(request.query_params.get("limit"))
        cursor = request.query_params.get("cursor")
        last_seen = unseal_text(cursor) if cursor is not None else ""
        every = representations(settings.PROVIDERS_DIR, settings.PUBLIC_URL)
        left = [slug for slug in every if slug > last_seen]
        page = left[:limit]
        return Response(
            {
                "data": [every[slug] for slug in page],
                "next_cursor": seal(page[-1].encode()) if len(left) > limit else None,
            }
        )


class ProviderDetail(AccountView):
    """By the slug or an alias; the answer says the slug."""

    def get(self, request: Request, slug: str) -> Response:
        provider = catalogue.find(slug)
        if provider is None:
            raise NotFound
        return Response(representations(settings.PROVIDERS_DIR, settings.PUBLIC_URL)[provider.slug])


@functools.cache
def representations(_own_folder: str, public_url: str) -> Mapping[str, dict[str, Any]]:
    """Every provider by its slug, in order. Made once: none of it changes while the process lives."""
    return {slug: representation(provider, public_url) for slug, provider in sorted(catalogue.load().items())}


def representation(provider: Provider, public_url: str) -> dict[str, Any]:
    return {
        "slug": provider.slug,
        "name": provider.name,
        "aliases": provider.aliases,
        "category": provider.category,
        "logo": facts.logo_url(provider, public_url),
        "docs": provider.docs,
        "checked": provider.checked.isoformat(),
        "extends": provider.extends or None,
        "kinds": [of_kind(kind) for kind in kinds.of(provider)],
        "variables": {name: of_variable(variable) for name, variable in provider.variables.items()},
        "deployments": list(provider.deployments),
        "takes_oauth_apps": provider.has_code_flow,
        "scopes": facts.known_scopes(provider),
        "default_scopes": provider.default_scopes,
        "required_scopes": provider.required_scopes,
        "pkce": facts.pkce(provider),
        "public_clients": provider.takes_public_clients,
        "refreshes": facts.refreshes(provider),
        "rotates": facts.rotates(provider),
        "revokes": provider.revokes,
        "many_accounts": provider.many_accounts,
        "setup": facts.setup(provider, public_url),
        "callback_url": facts.callback_url(provider, public_url),
    }


def of_kind(kind: CredentialKind) -> dict[str, Any]:
    return {
        "kind": kind.name,
        "label": kind.label,
        "auth": kind.auth,
        "needs_oauth_app": kind.needs_oauth_app,
        "needs": msgspec.to_builtins(facts.needs_of(kind)),
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
        "kind": variable.kind,
        "required": variable.required,
        "default": variable.default,
        "example": variable.example,
        "pattern": facts.pattern_of(variable),
        "values": variable.values,
        "from": variable.sources,
    }
