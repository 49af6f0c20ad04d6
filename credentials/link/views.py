"""HTTP in, HTTP out. Each view makes one call into the journey."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt

from credentials.link import cookies, diagnosis, flow
from credentials.link.errors import (
    InvalidClient,
    PageError,
    RequestRefused,
    StateNotAccepted,
    TokenError,
    TooManyFailures,
    Unavailable,
)
from credentials.link.flow.start import flow_of
from credentials.link.forms import body_of, client_authentication, query_of
from providers import catalogue
from providers.provider import Provider
from sequin_auth.lib.api import client_address


@csrf_exempt
def start(request: HttpRequest, token: str = "") -> HttpResponse:
    """GET /link/oauth2/start, or …/start/<token> for a link that the developer's backend made"""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET"])
    if request.method == "HEAD" or "prefetch" in request.headers.get("Sec-Purpose", request.headers.get("Purpose", "")):
        return HttpResponse(status=HTTPStatus.NO_CONTENT)  # looking at a link begins no trip
    query = query_of(request)
    try:
        step = flow.start_by_link(token, query) if token else flow.start(query)
    except (PageError, RequestRefused) as exc:
        if query.wants_debug and not token:
            return diagnostics(request, diagnosis.of_start(query, exc))
        return redirect_to(exc.location) if isinstance(exc, RequestRefused) else error_page(request, exc)
    if isinstance(step, flow.VariablesWanted):
        context = {"step": step, "fields": diagnosis.fields_of(step), "by_link": token}
        return render(request, "link/variables.html", context)
    response = hosted_redirect(request, step.url) if query.raw("hosted") else redirect_to(step.url)
    cookies.bind(request, response, flow=step.flow, nonce=step.nonce)
    return response


@csrf_exempt
def callback(request: HttpRequest, slug: str, oauth_app_id: str = "") -> HttpResponse:
    """GET /link/oauth2/callback/:provider[/:oauth_app_id]; POST where the provider answers by form_post."""
    provider = catalogue.load().get(slug)
    allowed = provider.callback_methods if provider else ["GET"]
    if request.method not in allowed and request.method != "GET":
        return HttpResponseNotAllowed(allowed)
    if provider and request.method == "POST":
        return to_get_form(request, provider)
    query = query_of(request)
    shared = f"{settings.PUBLIC_URL}/link/oauth2/callback/{slug}"
    opened_flow = flow_of(query.text("state"))
    try:
        arrival = flow.callback(
            callback_url=f"{shared}/{oauth_app_id}" if oauth_app_id else shared,
            browser=cookies.nonce_of(request, flow=opened_flow),
            query=query,
        )
    except StateNotAccepted as exc:
        response = error_page(request, exc)
        cookies.release(response, flow=opened_flow)
        return response
    if arrival.problem and arrival.authorization.debug:
        response = diagnostics(request, diagnosis.of_callback(arrival))
    else:
        response = redirect_to(arrival.location)
    cookies.release(response, flow=opened_flow)
    return response


def to_get_form(request: HttpRequest, provider: Provider) -> HttpResponse:
    """A cross-site POST carries no Lax cookie: its parameters go on to the GET form, where the cookie is looked at.

    Those are RFC 6749's and RFC 9207's, and what the provider's credential is read from.
    """
    known = ["code", "state", "error", "error_description", "iss", "scope"]
    known += [prop.callback for prop in provider.credential.values() if prop.callback]
    pairs = [(name, value) for name in dict.fromkeys(known) for value in request.POST.getlist(name)]
    return redirect_to(f"{request.path}?{urlencode(pairs)}", status=HTTPStatus.SEE_OTHER)


def json_endpoint(journey: Callable[[HttpRequest], dict[str, Any]]) -> Callable[[HttpRequest], HttpResponse]:
    """A POST endpoint that answers JSON, whatever happens. Source: RFC 6749, 5."""

    @csrf_exempt
    def view(request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            response = error_json("invalid_request", "The method must be POST.", HTTPStatus.METHOD_NOT_ALLOWED)
            response["Allow"] = "POST"
            return response
        try:
            return JsonResponse(journey(request))
        except TokenError as exc:
            return refusal(exc)
        except RequestDataTooBig:
            return error_json("invalid_request", "The body is too large.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    return view


@json_endpoint
def token(request: HttpRequest) -> dict[str, Any]:
    """POST /link/oauth2/token"""
    body = body_of(request)
    return flow.token(client_authentication(request, body), body, address=client_address(request))


@json_endpoint
def revoke(request: HttpRequest) -> dict[str, Any]:
    """POST /link/oauth2/revoke. Source: RFC 7009."""
    body = body_of(request)
    flow.revoke(client_authentication(request, body), body, address=client_address(request))
    return {}


def metadata(request: HttpRequest) -> HttpResponse:
    """GET /.well-known/oauth-authorization-server. Source: RFC 8414, 2."""
    base = f"{settings.PUBLIC_URL}/link/oauth2"
    methods = ["client_secret_basic", "client_secret_post"]
    return JsonResponse(
        {
            "issuer": settings.PUBLIC_URL,
            "authorization_endpoint": f"{base}/start",
            "token_endpoint": f"{base}/token",
            "revocation_endpoint": f"{base}/revoke",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_methods_supported": methods,
            "code_challenge_methods_supported": ["S256"],
        }
    )


# ---- answers ---------------------------------------------------------------------------------------------------------


def redirect_to(location: str, *, status: HTTPStatus = HTTPStatus.FOUND) -> HttpResponse:
    """Not HttpResponseRedirect: that one refuses what is longer than 16,384 characters, at the end of a trip."""
    response = HttpResponse(status=status)
    response["Location"] = location
    return response


def hosted_redirect(request: HttpRequest, url: str) -> HttpResponse:
    """From a form of ours to the provider, by a page that moves on by itself.

    A browser applies `form-action` to wherever a form's answer redirects, and the provider redirects further.
    """
    return render(request, "link/onward.html", {"url": url})


def error_page(request: HttpRequest, exc: PageError) -> HttpResponse:
    context = {"title": exc.title, "message": str(exc), "code": exc.error, "request_id": request_id_of(request)}
    return render(request, "link/error.html", context, status=exc.status)


def diagnostics(request: HttpRequest, found: diagnosis.Diagnosis) -> HttpResponse:
    context = {"found": found, "request_id": request_id_of(request)}
    return render(request, "link/diagnostics.html", context, status=HTTPStatus.BAD_REQUEST)


def refusal(exc: TokenError) -> HttpResponse:
    response = error_json(exc.error, str(exc), exc.status)
    if isinstance(exc, TooManyFailures | Unavailable):
        response["Retry-After"] = str(exc.retry_after)
    if isinstance(exc, InvalidClient) and exc.scheme:
        response["WWW-Authenticate"] = f'{exc.scheme} realm="link"'
    return response


def error_json(error: str, description: str, status: int) -> HttpResponse:
    body = {"error": error, "error_description": description, "summary": description}
    return JsonResponse(body, status=status)


def request_id_of(request: HttpRequest) -> str:
    return str(getattr(request, "request_id", ""))
