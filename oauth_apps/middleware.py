"""Who sends a request, for the audit log: nobody who is known, until he proves who he is."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from oauth_apps import audit
from sequin_auth.lib.api import client_address


def acting(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    def middleware(request: HttpRequest) -> HttpResponseBase:
        request_id = str(getattr(request, "request_id", ""))
        with audit.acting_as(audit.Actor(audit.END_USER, address=client_address(request), request_id=request_id)):
            return get_response(request)

    return middleware
