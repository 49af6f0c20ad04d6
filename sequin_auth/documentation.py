"""`/v1/openapi.json` and `/docs/`: the interface as a document, and that document as a page. Open to everybody."""

import functools

from csp.constants import SELF
from csp.decorators import csp_replace
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from sequin_auth.lib.api.errors import MethodNotAllowed
from sequin_auth.lib.api.views import answering_in_json

# Swagger UI, from our own origin, asks our own origin alone
POLICY = {"script-src": [SELF], "connect-src": [SELF]}


@csrf_exempt
@answering_in_json
def openapi(request: HttpRequest) -> HttpResponse:
    """As `manage.py openapi` has written it."""
    if request.method not in {"GET", "HEAD"}:
        raise MethodNotAllowed(headers={"Allow": "GET, HEAD"})
    return HttpResponse(document(), content_type="application/json")


@functools.cache
def document() -> bytes:
    found: bytes = (settings.BASE_DIR / "docs" / "openapi.json").read_bytes()
    return found


@require_safe
@csp_replace(POLICY)
def page(request: HttpRequest) -> HttpResponse:
    return render(request, "documentation.html")
