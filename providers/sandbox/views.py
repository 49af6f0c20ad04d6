"""One view for every address of every provider: the path says whose part is played."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET

from providers.sandbox import consent, oauth1, pushed, tokens
from providers.sandbox.answers import document
from providers.sandbox.api.answer import serve
from providers.sandbox.api.asking import is_meant
from providers.sandbox.calls import call
from providers.sandbox.script import Endpoint, Simulated, simulated
from providers.sandbox.signing import public_keys


@csrf_exempt  # no session: whoever calls brings a code, a token or the client's secret
def simulate(request: HttpRequest, slug: str, address: str) -> HttpResponse:
    """Answer as the provider `slug` does at `https://{address}`."""
    player = _player(slug)
    if player is None:
        return nothing_here("The sandbox is switched off, or does not play this provider.")
    found = list(player.at(address))
    if not found:
        return nothing_here(f"{player.name} documents no endpoint at this address.")
    answering = [(endpoint, parts) for endpoint, parts in found if request.method in endpoint.methods]
    if answering:
        meant = (one for one in answering if _is_meant(request, *one))
        return _perform(request, player, *next(meant, answering[0]))
    response = document({"error": "method_not_allowed"}, status=405)
    response["Allow"] = ", ".join(sorted({method for endpoint, _ in found for method in endpoint.methods}))
    return response


@require_GET
def choose(request: HttpRequest, slug: str) -> HttpResponse:
    """A link of the consent page."""
    player = _player(slug)
    if player is None:
        return nothing_here("The sandbox is switched off, or does not play this provider.")
    return consent.choose(request, player)


def _is_meant(request: HttpRequest, endpoint: Endpoint, parts: dict[str, str]) -> bool:
    if endpoint.call is not None:
        return all(text.encode() in request.body for text in endpoint.call.body_contains)
    return endpoint.listing is None or is_meant(request, parts, endpoint.listing)


def _player(slug: str) -> Simulated | None:
    return simulated(slug) if settings.SANDBOX else None


def _perform(request: HttpRequest, player: Simulated, endpoint: Endpoint, parts: dict[str, str]) -> HttpResponse:
    if endpoint.call is not None:
        return call(request, player, endpoint.call, parts)
    if endpoint.listing is not None:
        return serve(request, player, endpoint.collection, endpoint.listing, parts)
    if endpoint.role == "authorize":
        return consent.ask(request, player, parts)
    if wanted_oauth1 := player.script.oauth1:
        answer = oauth1.token if endpoint.role == "token" else oauth1.request_token
        return answer(request, player, wanted_oauth1, parts)
    if endpoint.role == "token":
        return tokens.token(request, player, parts)
    if endpoint.role == "refresh":
        return tokens.token(request, player, parts, grant_types=["refresh_token"])
    if endpoint.role == "pushed":
        return pushed.push(request, player, parts)
    wanted = player.script.id_token
    return document(public_keys(wanted.algorithm if wanted else "RS256"))


def nothing_here(why: str) -> HttpResponse:
    return document({"error": "not_found", "error_description": why}, status=404)
