"""What anybody may see of the providers: their logos."""

import hashlib

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from django.views.decorators.http import require_safe

from providers import catalogue
from providers.showing import logo

A_WEEK = 604_800  # seconds


@require_safe
def logo_svg(request: HttpRequest, slug: str) -> HttpResponse | HttpResponseNotModified:
    """GET /providers/<slug>/logo.svg"""
    provider = catalogue.find(slug)
    if provider is None:
        raise Http404
    svg = logo.svg_of(provider.slug, provider.name)
    etag = quote_etag(hashlib.sha256(svg).hexdigest()[:32])
    response = HttpResponse(svg, content_type="image/svg+xml")
    response["ETag"] = etag
    answer = get_conditional_response(request, etag=etag, response=response) or response
    answer["Cache-Control"] = f"public, max-age={A_WEEK}"
    answer["Content-Security-Policy"] = "default-src 'none'"
    answer["X-Content-Type-Options"] = "nosniff"
    if hasattr(request, "session"):
        del request.session  # else its middleware would send the cookie of whoever is signed in, for caches to keep
    return answer
