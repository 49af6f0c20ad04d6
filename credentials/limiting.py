"""
What is asked before anything is done for a request: whether there were too many of its sort. Source: RFC 6585, 4.

It stands before sessions, forms and the database, so that a refusal costs next to nothing. The token endpoint asks by
itself, once it has read who calls (link/flow/caller.py), and an account is known when its API token is found
(oauth_apps/api/authentication.py).
"""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

from credentials.link.forms import Query, canonical_uuid, query_of
from oauth_apps.api.authentication import shown
from oauth_apps.limits import Refusal, counter, network_of, tell
from sequin_auth.lib.api.errors import OAUTH_PATHS, TooManyRequests, Unauthorized, error_json
from sequin_auth.lib.api.requests import client_address, leave_out_of_log

READ = re.compile(r"/v1/credentials/[0-9a-f-]{36}/access-token/?")
START = re.compile(r"/link/oauth2/start/?")


class LimitsMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith("/v1/"):
            return self.of_the_api(request)
        if request.path.startswith("/link/") and request.path.rstrip("/") not in OAUTH_PATHS:
            return self.of_a_trip(request)
        return self.get_response(request)

    def of_the_api(self, request: HttpRequest) -> HttpResponseBase:
        """By API token; and what shows none that is good, by address. It is looked up all the same: a good one is let
        in, whatever its neighbours do.
        """
        kind = "token_reads" if READ.fullmatch(request.path) else "token_calls"
        text = text_shown(request)
        if text and (refusal := counter.count(kind, text)):
            return refused(request, refusal)
        response = self.get_response(request)
        if response.status_code != Unauthorized.status:
            return response
        if refusal := counter.count("unauthorized", network_of(client_address(request))):
            counter.shut(kind, text)
            return refused(request, refusal)
        return response

    def of_a_trip(self, request: HttpRequest) -> HttpResponseBase:
        refusal = counter.count("pages", network_of(client_address(request)))
        if refusal is None and START.fullmatch(request.path):
            refusal = refusal_of_start(request, query_of(request))
        return refused(request, refusal) if refusal else self.get_response(request)


def refusal_of_start(request: HttpRequest, query: Query) -> Refusal | None:
    """Count a start of the OAuth app that `query` names, from this address; unless there were too many.

    For that of a form, whose query is in its body, its view asks.
    """
    app_id = canonical_uuid(query.text("client_id"))
    return counter.count("starts", f"{app_id} {network_of(client_address(request))}") if app_id else None


def text_shown(request: HttpRequest) -> str:
    """The API token; empty for what cannot be one, which is refused without being looked up."""
    try:
        return shown(request)
    except Unauthorized:
        return ""


def refused(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    tell(refusal, client_address(request))
    leave_out_of_log(request)
    if request.path.startswith("/v1/"):
        return error_json(request, TooManyRequests(retry_after=refusal.seconds))
    context = {
        "seconds": refusal.seconds,
        "can_reload": request.method in {"GET", "HEAD"},
        "request_id": getattr(request, "request_id", ""),
    }
    headers = {"Retry-After": str(refusal.seconds), "X-Frame-Options": "DENY"}
    return HttpResponse(render_to_string("429.html", context), status=TooManyRequests.status, headers=headers)
