"""HTTP in, HTTP out. Each view makes one call into the journey."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError, IntegrityError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse, UnreadablePostError
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from credentials import limiting
from credentials.link import cookies, diagnosis, ending, flow, pages
from credentials.link.errors import (
    ClientNotAccepted,
    InvalidClient,
    LimitReached,
    PageError,
    RedirectURINotRegistered,
    RequestRefused,
    StateNotAccepted,
    TokenError,
    TooManyFailures,
    Unavailable,
)
from credentials.link.flow.start import flow_of
from credentials.link.forms import (
    ClientAuthentication,
    Query,
    body_of,
    canonical_uuid,
    client_authentication,
    is_prefetch,
    query_of,
    scheme_of,
)
from credentials.models import Authorization, End, StartLink
from oauth_apps.console.choice import my_accounts
from providers import catalogue
from providers.provider import Provider
from providers.showing.facts import known_scopes
from sequin_auth.lib.api import client_address, errors
from sequin_auth.lib.api.requests import leave_out_of_log
from sequin_auth.lib.postgres.faults import is_of_row_deleted_meanwhile


@csrf_exempt
def start(request: HttpRequest, token: str = "") -> HttpResponse:
    """GET /link/oauth2/start, or …/start/<token> for a link that has a row of its own"""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET"])
    if request.method == "HEAD" or is_prefetch(request):
        return HttpResponse(status=HTTPStatus.NO_CONTENT)  # looking at a link begins no trip
    text = request.META.get("QUERY_STRING", "")
    return started(request, token, text, is_form=bool(Query(text).raw("hosted")), agreed=False)


@require_POST
def go_on(request: HttpRequest) -> HttpResponse:
    """POST /link/oauth2/continue: from the page that asks first. What its form brings is as untrusted as a link."""
    token, text = request.POST.get("link", ""), request.POST.get("query", "")
    if not token and (refusal := limiting.refusal_of_start(request, Query(text))):
        return limiting.refused(request, refusal)
    return started(request, token, text, is_form=True, agreed=True)


def started(request: HttpRequest, token: str, text: str, *, is_form: bool, agreed: bool) -> HttpResponse:
    """`text`: the query, as it was sent; `is_form`: whether the answer goes to a form of ours."""
    query = Query(text)
    try:
        if token:
            step = flow.start_by_link(token, query, visitor=visitor_of(request), agreed=agreed)
        else:
            step = flow.start(query, agreed=agreed)
    except IntegrityError as exc:
        if not is_of_row_deleted_meanwhile(exc):
            raise
        return error_page(request, ClientNotAccepted())  # as the next one is told
    except (PageError, RequestRefused) as exc:
        if query.wants_debug and not token:
            return diagnostics(request, diagnosis.of_start(query, exc, insider=insider(request)))
        if isinstance(exc, RequestRefused) and exc.location:
            return hosted_redirect(request, exc.location, is_refused=True) if is_form else redirect_to(exc.location)
        return error_page(request, exc, again=token and f"{reverse('start')}/{token}{text and '?'}{text}")
    if isinstance(step, flow.VariablesWanted):
        action = reverse("start_by_link", args=[token]) if token else reverse("start")
        context = {"step": step, "fields": diagnosis.fields_of(step), "by_link": token, "action": action}
        return render(request, "link/variables.html", context)
    if isinstance(step, flow.ConsentWanted):
        return consent_page(request, step, token=token, text=text)
    response = hosted_redirect(request, step.url) if is_form else redirect_to(step.url)
    cookies.bind(request, response, flow=step.flow, nonce=step.nonce)
    return response


def visitor_of(request: HttpRequest) -> int | None:
    """Who is signed in to the console in this browser."""
    return None if request.user.pk is None else int(request.user.pk)


def insider(request: HttpRequest) -> diagnosis.Insider:
    """What whoever looks at the page may know beyond what everybody may: what is his own account's."""
    is_signed_in = request.user.is_active and request.user.is_staff
    return diagnosis.Insider(accounts=my_accounts(request) if is_signed_in else None)


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
            visitor=visitor_of(request),
            query=query,
        )
    except StateNotAccepted as exc:
        response = error_page(request, exc)
        cookies.release(response, flow=opened_flow)
        return response
    except Exception as exc:
        if is_of_row_deleted_meanwhile(exc):
            response = error_page(request, StateNotAccepted("What this trip belongs to was deleted meanwhile."))
            cookies.release(response, flow=opened_flow)
            return response
        request.way_back = way_back_of(query.text("state"))  # type: ignore[attr-defined]
        raise
    if arrival.problem and arrival.authorization.debug:
        response = diagnostics(request, diagnosis.of_callback(arrival))
    else:
        response = redirect_to(arrival.location)
    cookies.release(response, flow=opened_flow)
    return response


def way_back_of(state: str) -> tuple[str, str]:
    """For the page of a fault of ours, which knows nothing of trips; and what has failed may be the database."""
    try:
        return pages.way_back_of(Authorization.objects.of_state(state) if state else None)
    except DatabaseError:
        return "", ""


@require_safe
def ended(request: HttpRequest, authorization_id: str) -> HttpResponse:
    """GET /link/oauth2/ended/:authorization: how the trip of a link went that leads to no redirect URI.

    It holds nothing secret, so it may be opened again, and anywhere.
    """
    here = Authorization.objects.filter(ends_at=End.PAGE).select_related("oauth_app__account")
    authorization = get_object_or_404(here, pk=UUID(authorization_id))
    words = ending.in_words(ending.of(authorization), authorization.oauth_app)
    return render(request, "link/ended.html", words | {"reference": str(authorization.pk)})


@require_safe
def cancelled(request: HttpRequest) -> HttpResponse:
    """GET /link/oauth2/ended: of a link that leads to no redirect URI, before there was a trip."""
    link = link_of(request.GET.get("link", ""))
    page = pages.cancelled(link)
    provider = catalogue.load().get(link.oauth_app.provider) if link else None
    context = {"title": page.title, "message": page.message, "turn": page.turn, "is_neutral": True}
    return render(request, "link/ended.html", context | {"provider": provider})


def link_of(text: str) -> StartLink | None:
    """The link of the page on which somebody has cancelled. Its id opens nothing: what is secret is its token."""
    wanted = canonical_uuid(text)
    links = StartLink.objects.select_related("oauth_app__account").filter(ends_at=End.PAGE)
    return links.filter(pk=wanted).first() if wanted else None


def to_get_form(request: HttpRequest, provider: Provider) -> HttpResponse:
    """A cross-site POST carries no Lax cookie: its parameters go on to the GET form, where the cookie is looked at.

    Those are RFC 6749's and RFC 9207's, and what the provider's credential is read from.
    """
    known = ["code", "state", "error", "error_description", "iss", "scope"]
    known += [prop.callback for prop in provider.credential.values() if prop.callback]
    pairs = [(name, value) for name in dict.fromkeys(known) for value in request.POST.getlist(name)]
    # nosemgrep: redirect-to-request-data - its own path: where it leads was routed, what it carries is quoted
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
        except LimitReached as exc:
            leave_out_of_log(request)
            return refusal(exc)
        except TokenError as exc:
            return refusal(exc)
        except IntegrityError as exc:
            if not is_of_row_deleted_meanwhile(exc):
                raise
            return refusal(InvalidClient(scheme=scheme_of(request)))  # as the next one is told
        except UnreadablePostError:
            return error_json("invalid_request", "The body ended before its end.", HTTPStatus.BAD_REQUEST)
        except RequestDataTooBig:
            return error_json("invalid_request", "The body is too large.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    return view


@json_endpoint
def token(request: HttpRequest) -> dict[str, Any]:
    """POST /link/oauth2/token"""
    body = body_of(request)
    return flow.token(caller_of(request, body), body, address=client_address(request))


@json_endpoint
def revoke(request: HttpRequest) -> dict[str, Any]:
    """POST /link/oauth2/revoke. Source: RFC 7009."""
    body = body_of(request)
    flow.revoke(caller_of(request, body), body, address=client_address(request))
    return {}


def caller_of(request: HttpRequest, body: Mapping[str, str]) -> ClientAuthentication:
    """Raises what `client_authentication` raises, and TooManyStrangers."""
    try:
        return client_authentication(request, body)
    except InvalidClient:
        flow.count_stranger(client_address(request))
        raise


@csrf_exempt
def metadata(request: HttpRequest) -> HttpResponse:
    """GET /.well-known/oauth-authorization-server. Source: RFC 8414, 2."""
    if request.method not in {"GET", "HEAD"}:
        return errors.error_json(request, errors.MethodNotAllowed(headers={"Allow": "GET, HEAD"}))
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


def hosted_redirect(request: HttpRequest, url: str, *, is_refused: bool = False) -> HttpResponse:
    """From a form of ours to the provider or back to the app, by a page that moves on by itself.

    A browser applies `form-action` to wherever a form's answer redirects, and the provider redirects further.
    """
    return render(request, "link/onward.html", {"url": url, "is_refused": is_refused})


def consent_page(request: HttpRequest, step: flow.ConsentWanted, *, token: str, text: str) -> HttpResponse:
    sentences = known_scopes(step.provider)
    context = {
        "step": step,
        "account": step.oauth_app.account.name,
        "scopes": [(scope, sentences.get(scope, "")) for scope in step.scopes],
        "host": urlsplit(settings.PUBLIC_URL).netloc,
        "query": text,
        "by_link": token,
    }
    return render(request, "link/consent.html", context)


def error_page(request: HttpRequest, exc: PageError | RequestRefused, *, again: str = "") -> HttpResponse:
    """A refusal that no redirect URI is told: of a page error, or of a link that leads to none.

    `again`: the link, which the page offers once more if that can help.
    """
    page = pages.of(exc)
    context: dict[str, Any] = {"page": page, "code": exc.error, "reference": exc.reference}
    context["again"] = again if page.can_try_again else ""
    if isinstance(exc, RequestRefused):
        context |= {"detail": str(exc), "back": exc.back}
    else:
        context["back"], context["back_to"] = pages.origin(exc.leads_back_to)
        context["explains_more"] = isinstance(exc, ClientNotAccepted | RedirectURINotRegistered)
    return render(request, "link/error.html", context, status=exc.status)


def diagnostics(request: HttpRequest, found: diagnosis.Diagnosis) -> HttpResponse:
    context = {"found": found, "reference": found.reference}
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
