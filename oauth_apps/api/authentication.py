"""Who asks: an API token in the header `Authorization`, and nothing else. Source: RFC 6750, 2.1 and 3.

settings.py names these classes, so Django REST framework imports them before its own views.
"""

import re
from collections.abc import Container
from typing import cast
from uuid import UUID

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from oauth_apps import api_tokens
from oauth_apps.limits import counter, tell
from oauth_apps.models import ApiToken
from sequin_auth.lib.api.errors import Forbidden, TooManyRequests, Unauthorized
from sequin_auth.lib.api.requests import client_address

BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE | re.ASCII)
READING_METHODS = {"GET", "HEAD"}


def authenticate(request: HttpRequest | Request) -> ApiToken:
    """The API token that `request` shows, with its account. Raises Unauthorized, TooManyRequests.

    A token in the query or in the body counts for nothing, and no session stands in for one.
    """
    token = api_tokens.find(shown(request))
    if token is None:
        raise refused()
    demand_within_limit(request, token.account_id, "calls")
    return token


def demand_within_limit(request: HttpRequest | Request, account_id: UUID, what: str) -> None:
    """`what`: "calls" or "reads". Raises TooManyRequests; then the API token itself is shut out, without being looked
    up, until the window ends.
    """
    if refusal := counter.count(f"account_{what}", str(account_id)):
        counter.shut(f"token_{what}", shown(request))
        tell(refusal, client_address(request))
        raise TooManyRequests(retry_after=refusal.seconds)


def shown(request: HttpRequest | Request) -> str:
    """The text that is shown as an API token. Raises Unauthorized if there is none, or it cannot be one."""
    header = request.META.get("HTTP_AUTHORIZATION", "")
    if not header:
        raise Unauthorized
    bearer = BEARER.fullmatch(header.strip())
    if bearer is None or not api_tokens.is_well_formed(bearer[1]):
        raise refused()
    return bearer[1]


def refused() -> Unauthorized:
    return Unauthorized(
        "The API token is unknown, expired or revoked.", code="invalid_token", challenge='Bearer error="invalid_token"'
    )


def demand_scope(needed: str, scopes: Container[str]) -> None:
    """Raises Forbidden. Source: RFC 6750, 3.1."""
    if needed not in scopes:
        raise Forbidden(
            f"This needs an API token with the scope {needed}.",
            code="insufficient_scope",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'},
        )


class ApiTokenAuthentication(BaseAuthentication):
    """`request.auth` is the ApiToken; there is no user."""

    def authenticate(self, request: Request) -> tuple[None, ApiToken]:
        return None, authenticate(request)

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasScope(BasePermission):
    """GET needs the scope `read`, all else `write`, unless the view names another: `scope = "reveal"`."""

    def has_permission(self, request: Request, view: object) -> bool:
        needed = getattr(view, "scope", None) or ("read" if request.method in READING_METHODS else "write")
        demand_scope(needed, cast(ApiToken, request.auth).scopes)
        return True
