"""What holds for every answer below /link, whoever gives it: a view, a refusal of Django's, a page for a fault."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

View = Callable[[HttpRequest], HttpResponseBase]


def private_link_pages(get_response: View) -> View:
    """Meant for one pair of eyes: kept nowhere, and named to nobody. Source: RFC 9700, 4.2."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if request.path.startswith("/link/"):
            response["Cache-Control"] = "no-store"
            response["Referrer-Policy"] = "no-referrer"
        return response

    return middleware
