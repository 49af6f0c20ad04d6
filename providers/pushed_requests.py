"""Authorization requests that the browser does not carry: the provider has them before it comes. Source: RFC 9126."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.views.decorators.debug import sensitive_variables

from providers import oauth2, wire
from providers.answers import PRINTABLE, read_document, refusal_of
from providers.client import Client
from providers.client_authentication import authenticated
from providers.errors import AnswerNotUnderstood, ProviderError, TokenRequestRejected
from providers.provider import Provider

LONGEST = 2048  # characters of a request_uri


def is_wanted(provider: Provider, client: Client) -> bool:
    """Whether the OAuth app's requests are pushed: `require_pushed_authorization_requests` (RFC 9126, 6)."""
    is_said = client.variables.get("require_pushed_authorization_requests") == "true"
    return is_said and bool(provider.pushed_authorization_request_endpoint)


@sensitive_variables()
def pushed(provider: Provider, client: Client, authorization_url: str) -> str:
    """Push what `authorization_url` asks for; returns the URL that the browser is sent to instead.

    `authorization_url`: what `oauth2.authorization_url` returns; it stays as it is where nothing is pushed. Raises
    ProviderError: TokenRequestRejected with its `reason`, AuthorizationDenied for a scope that is refused,
    ProviderUnavailable, AnswerNotUnderstood.
    """
    if not is_wanted(provider, client):
        return authorization_url
    query = authorization_url.removeprefix(provider.authorization_endpoint)
    params, headers = authenticated(provider, client, dict(parse_qsl(query[1:], keep_blank_values=True)))
    answer = wire.send(
        client,
        "POST",
        provider.pushed_authorization_request_endpoint,
        headers={"Accept": "application/json", **headers},
        form=params,
    )
    if answer.status >= 300:
        raise _refusal(provider, refusal_of(provider, answer))
    names = {"client_id": client.client_id, "request_uri": _request_uri(read_document(answer))}
    theirs = {provider.authorization_param_names.get(name, name): value for name, value in names.items()}
    return f"{provider.authorization_endpoint}{query[:1]}{urlencode(theirs)}"


def _refusal(provider: Provider, refusal: ProviderError) -> ProviderError:
    """A scope is refused here as it would have been in the browser."""
    is_of_scope = isinstance(refusal, TokenRequestRejected) and refusal.reason == "invalid_scope"
    return oauth2.denial(provider, "invalid_scope") if is_of_scope else refusal


def _request_uri(document: Any) -> str:
    request_uri = document.get("request_uri") if isinstance(document, Mapping) else None
    if not isinstance(request_uri, str) or not PRINTABLE.fullmatch(request_uri) or len(request_uri) > LONGEST:
        raise AnswerNotUnderstood("The provider did not say where the pushed request is.")
    return request_uri
