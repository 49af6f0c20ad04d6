"""The access token of an API call: where it is, and what it opens."""

from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from providers.sandbox import proofs
from providers.sandbox.models import Grant, Token
from providers.sandbox.reading import Refuse, body, clean, single
from providers.sandbox.script import Simulated
from providers.sandbox.signatures import signed
from sequin_auth.lib.encryption import digest


@sensitive_variables()
def token_in(request: HttpRequest, player: Simulated, where: str, params: dict[str, str]) -> str:
    """The token at the place `where` (see Call); empty if there is none. `params`: of the query or the body."""
    place, _, name = where.partition(":")
    if place in {"query", "form", "json", "body"}:
        return params.get(name, "")
    if place == "header":
        return clean({name: request.headers.get(name, "")})[name]
    if place == "oauth1" and player.script.oauth1:
        return signed(request, player, player.script.oauth1).token
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return clean({"token": token})["token"] if scheme.lower() == (name or "bearer").lower() else ""


@sensitive_variables()
def bearer_of(
    request: HttpRequest, player: Simulated, where: str, parts: dict[str, str]
) -> tuple[Grant, dict[str, str]]:
    """The grant whose live access token comes with the request, and `parts` with the key it proves. Raises Refuse."""
    parts, proven = proofs.of_call(request, player, where, parts)
    given = proven or token_in(request, player, where, _params(request, where))
    token = Token.objects.with_grant(player.slug).filter(access_hash=digest(given)).first() if given else None
    if token is None or not token.is_live or not token.grant.is_at(parts):
        raise Refuse("bad_access_token", "The token is unknown, expired, revoked, or another customer's.")
    return token.grant, parts


def _params(request: HttpRequest, where: str) -> dict[str, str]:
    place = where.partition(":")[0]
    if place == "query":
        return single(request.GET)
    return body(request, ["form", "json"] if place == "body" else [place]) if place in {"form", "json", "body"} else {}
