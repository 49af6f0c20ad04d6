"""The policy of nearly every answer is the same text: put together once, not twice for each answer as the library does.

The library goes on to make those of views that have a policy of their own, and of pages with a nonce.
"""

import functools

from csp.constants import HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

OWN_POLICY = {"_csp_config", "_csp_update", "_csp_replace", "_csp_exempt"}  # what its decorators put on an answer


class ContentSecurityMiddleware(CSPMiddleware):
    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        is_ordinary = OWN_POLICY.isdisjoint(vars(response)) and getattr(request, "_csp_nonce", None) is None
        if not is_ordinary or settings.DEBUG:
            return super().process_response(request, response)
        response.headers.setdefault(HEADER, ordinary_policy())
        return response


@functools.cache
def ordinary_policy() -> str:
    """Of settings.CONTENT_SECURITY_POLICY."""
    return str(build_policy())
