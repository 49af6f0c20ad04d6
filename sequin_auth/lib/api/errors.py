"""
How `/v1` says no.

* ApiError                400 bad_request
  - LengthRequired        400 length_required
  - Unauthorized          401 unauthorized            with `WWW-Authenticate: Bearer` (RFC 6750, 3)
  - Forbidden             403 forbidden
  - NotFound              404 not_found
  - MethodNotAllowed      405 method_not_allowed
  - Conflict              409 conflict
    - DeletedMeanwhile
  - TooLarge              413 body_too_large
  - URLTooLong            414 url_too_long
  - NotJSON               415 unsupported_media_type
  - Invalid               422 validation_failed       with `validation_errors`
  - TooManyRequests       429 too_many_requests       with `Retry-After`
  - BadGateway            502 bad_gateway
  - Unavailable           503 unavailable             with `Retry-After`

`code` is stable and for machines, `summary` for people: our own words, nothing that came from outside is in them.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from math import ceil
from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.template.loader import render_to_string
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response

from sequin_auth.lib.postgres.faults import is_of_row_deleted_meanwhile

FIELD = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
MOST_FIELDS = 100  # that an answer names, of a body that has many more
OAUTH_PATHS = ("/link/oauth2/token", "/link/oauth2/revoke")
JSON_PATHS = ("/v1", "/.well-known", *OAUTH_PATHS)
STREAMED = "/v1/credentials/import"  # the one body that may be of any length, and come in chunks
CALLBACK = "/link/oauth2/callback/"  # what comes there is good once


class ApiError(Exception):
    """The base, and what is wrong with a request in no special way."""

    status: ClassVar[int] = 400
    code = "bad_request"
    summary = "The request could not be understood."

    def __init__(
        self, summary: str = "", *, code: str = "", headers: Mapping[str, str] | None = None, **members: object
    ) -> None:
        self.summary = summary or self.summary
        self.code = code or self.code
        self.headers = dict(headers or {})
        self.members = members
        super().__init__(self.summary)

    @property
    def reason(self) -> str:
        """What is wrong, in one sentence, for surfaces that have no fields to name."""
        return self.summary

    def envelope(self, request_id: str) -> dict[str, object]:
        return {"summary": self.summary, "code": self.code, "request_id": request_id, **self.members}


class LengthRequired(ApiError):
    code = "length_required"
    summary = "Send the length of the body in Content-Length."


class Unauthorized(ApiError):
    status = 401
    code = "unauthorized"
    summary = "Send an API token: `Authorization: Bearer sqa_…`."

    def __init__(self, summary: str = "", *, challenge: str = "Bearer", **rest: Any) -> None:
        super().__init__(summary, headers={"WWW-Authenticate": challenge}, **rest)


class Forbidden(ApiError):
    status = 403
    code = "forbidden"
    summary = "This is not allowed."


class NotFound(ApiError):
    status = 404
    code = "not_found"
    summary = "There is nothing here."


class MethodNotAllowed(ApiError):
    status = 405
    code = "method_not_allowed"
    summary = "This method is not allowed here; the header Allow names those that are."


class Conflict(ApiError):
    status = 409
    code = "conflict"
    summary = "This conflicts with what there is."


class DeletedMeanwhile(Conflict):
    summary = "Something that this belongs to was deleted or changed at the same time: look what there is now."


class TooLarge(ApiError):
    status = 413
    code = "body_too_large"
    summary = "A body has at most 1 MiB."


class URLTooLong(ApiError):
    status = 414
    code = "url_too_long"
    summary = "A URL has at most 8,190 bytes."


class NotJSON(ApiError):
    status = 415
    code = "unsupported_media_type"
    summary = "Send JSON in UTF-8: `Content-Type: application/json`."


class Invalid(ApiError):
    """`errors`: the reasons for each field, none of which repeats a value. A field with an odd name is the `body`."""

    status = 422
    code = "validation_failed"
    summary = "Some fields were not accepted; validation_errors says which, and why."

    def __init__(self, errors: Mapping[str, Sequence[str]], **rest: Any) -> None:
        self.errors: dict[str, list[str]] = {}
        for field, texts in islice(errors.items(), MOST_FIELDS):
            self.errors.setdefault(field if FIELD.fullmatch(field) else "body", []).extend(texts)
        super().__init__(validation_errors=self.errors, **rest)

    @property
    def reason(self) -> str:
        return next((text for texts in self.errors.values() for text in texts), self.summary)


class TooManyRequests(ApiError):
    """`retry_after`: seconds."""

    status = 429
    code = "too_many_requests"
    summary = "Too many requests; wait for the seconds that Retry-After says."

    def __init__(self, summary: str = "", *, retry_after: float, **rest: Any) -> None:
        super().__init__(summary, headers={"Retry-After": str(max(1, ceil(retry_after)))}, **rest)


class BadGateway(ApiError):
    status = 502
    code = "bad_gateway"
    summary = "The provider does not answer as it should."


class Unavailable(ApiError):
    status = 503
    code = "unavailable"
    summary = "The database does not answer; try again in a moment."

    def __init__(self, summary: str = "", *, retry_after: int = 5, **rest: Any) -> None:
        super().__init__(summary, headers={"Retry-After": str(retry_after)}, **rest)


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> Response | None:
    """Django REST framework's hook. What is no refusal goes on up, to be logged and answered by `server_error`."""
    error = refusal(exc)
    if error is None:
        return None
    request = context["request"]
    return Response(error.envelope(_request_id(request)), status=error.status, headers=error.headers)


def refusal(exc: BaseException | None) -> ApiError | None:
    """`exc` as one of ours; None for what nobody foresaw."""
    if isinstance(exc, ApiError):
        return exc
    if isinstance(exc, exceptions.APIException):
        return _of_rest_framework(exc)
    for kind, error in _FOREIGN:
        if isinstance(exc, kind):
            return error()
    return DeletedMeanwhile() if is_of_row_deleted_meanwhile(exc) else None


_FOREIGN: tuple[tuple[type[Exception], type[ApiError]], ...] = (
    (Http404, NotFound),
    (PermissionDenied, Forbidden),
    (RequestDataTooBig, TooLarge),
    (SuspiciousOperation, ApiError),
    (UnreadablePostError, ApiError),  # the client hung up in the middle of its body
    (OperationalError, Unavailable),
    (InterfaceError, Unavailable),
)


def _of_rest_framework(exc: exceptions.APIException) -> ApiError:
    if isinstance(exc, exceptions.ValidationError):
        return Invalid(reasons(exc.detail))
    if isinstance(exc, exceptions.Throttled):
        return TooManyRequests(retry_after=getattr(exc, "wait", None) or 1)
    plain = (Forbidden, NotFound, MethodNotAllowed, NotJSON)
    return next((error() for error in plain if error.status == exc.status_code), ApiError())


def reasons(detail: Any, field: str = "") -> dict[str, list[str]]:
    """A serializer's tree of errors, flat: `default_scopes.2` is the third item of that list."""
    if isinstance(detail, Mapping):
        parts = [(name, value) for name, value in detail.items()]
    elif isinstance(detail, list) and any(isinstance(item, Mapping | list) for item in detail):
        parts = [(index, value) for index, value in enumerate(detail) if value]
    else:
        return {field or "body": [str(reason) for reason in (detail if isinstance(detail, list) else [detail])]}
    flat: dict[str, list[str]] = {}
    for name, value in parts:
        name = "body" if name == "non_field_errors" else str(name)
        flat |= reasons(value, f"{field}.{name}" if field else name)
    return flat


# ---- Django's own handlers: what never reached a view of `/v1`, and every other page -----------------------------


def wants_json(path: str) -> bool:
    """Whether programs, not browsers, ask for `path`."""
    return any(path == start or path.startswith(f"{start}/") for start in JSON_PATHS)


def error_json(request: HttpRequest, error: ApiError) -> JsonResponse:
    """`error` in the envelope, and below the OAuth endpoints with RFC 6749's members too (5.2)."""
    body = error.envelope(_request_id(request))
    if request.path.rstrip("/") in OAUTH_PATHS:
        oauth_error = {500: "server_error", 503: "temporarily_unavailable"}.get(error.status, "invalid_request")
        body |= {"error": oauth_error, "error_description": error.summary}
    return JsonResponse(body, status=error.status, headers={"Cache-Control": "no-store", **error.headers})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if wants_json(request.path):
        return error_json(request, refusal(exception) or ApiError())
    return HttpResponse(page(request, "400.html"), status=400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if wants_json(request.path):
        return error_json(request, Forbidden())
    return defaults.permission_denied(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if wants_json(request.path):
        return error_json(request, NotFound())
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """500, with nothing in it; 503 if it was the database that went away, 409 if it was what somebody else deleted."""
    error = refusal(sys.exc_info()[1])
    if not isinstance(error, Unavailable | DeletedMeanwhile):
        error = None
    if wants_json(request.path):
        return error_json(request, error or InternalError())
    if error is None:
        return HttpResponse(page(request, "500.html"), status=500)
    if isinstance(error, DeletedMeanwhile):
        return HttpResponse(page(request, "409.html"), status=error.status, headers={"Cache-Control": "no-store"})
    headers = {"Cache-Control": "no-store", **error.headers}
    return HttpResponse(page(request, "503.html"), status=503, headers=headers)


def page(request: HttpRequest, template: str) -> str:
    """Without the context of a request: that would ask a database which may be gone.

    A view that knows where else to go has put it on the request, as `way_back`: a URL, and a host for its name.
    """
    is_callback = request.path.startswith(CALLBACK)
    back, back_to = getattr(request, "way_back", ("", ""))
    context = {
        "is_callback": is_callback,
        "can_reload": request.method in {"GET", "HEAD"} and not is_callback,
        "back": back,
        "back_to": back_to,
        "request_id": _request_id(request),
    }
    return render_to_string(template, context)


class InternalError(ApiError):
    """Never raised: the answer to whatever nobody foresaw."""

    status = 500
    code = "internal_error"
    summary = "Something went wrong here. The log has more under this request_id."


def _request_id(request: Any) -> str:
    return str(getattr(request, "request_id", ""))
