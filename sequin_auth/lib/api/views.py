"""The ground of every view below `/v1`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sequin_auth.lib.api.errors import ApiError, Invalid, MethodNotAllowed, error_json, refusal
from sequin_auth.lib.api.parsing import NOT_TEXT


class AlwaysJSON(DefaultContentNegotiation):
    """Answers JSON whatever `Accept` says: a browser that looks in gets JSON too, and nobody gets a 406."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class ApiView(APIView):
    """JSON in and out, never kept by a cache; a query says nothing twice, and nothing that nobody knows."""

    content_negotiation_class = AlwaysJSON
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]  # OPTIONS would let browsers in
    query_parameters: ClassVar[Mapping[str, Sequence[str]]] = {}  # by method

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if request.method not in self.allowed_methods:
            raise MethodNotAllowed
        super().initial(request, *args, **kwargs)
        method = "GET" if request.method == "HEAD" else str(request.method)
        _check_query(request, self.query_parameters.get(method, ()))

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


def answering_in_json(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """What Django REST framework's views do with errors, for one that is none of them."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except Exception as exc:
            if error := refusal(exc):
                return error_json(request, error)
            raise

    return wrapped


def body(request: Request) -> dict[str, Any]:
    """The object that was sent. Raises ApiError or Invalid."""
    data = request.data
    if request.stream is None:
        raise ApiError("The body is empty: send a JSON object, and its length in Content-Length.", code="empty_body")
    if not isinstance(data, dict):
        raise Invalid({"body": ["Must be a JSON object."]})
    return data


def after_answer(response: HttpResponseBase, action: Callable[[], object]) -> None:
    """Does `action` when the answer is on its way, in the same thread. Its errors reach nobody."""
    response._resource_closers.append(action)  # type: ignore[attr-defined]  # what Django's own close() works through


def read_flag(request: HttpRequest | Request, name: str) -> bool:
    """`?name=true`. Raises Invalid for anything but true and false."""
    text = request.GET.get(name, "false")
    if text not in {"true", "false"}:
        raise Invalid({name: ["Must be true or false."]})
    return text == "true"


def _check_query(request: Request, known: Sequence[str]) -> None:
    errors: dict[str, list[str]] = {}
    for name, values in request.query_params.lists():
        if name not in known:
            errors[name] = [f"Is no parameter here. There are: {', '.join(known) or 'none'}."]
        elif len(values) > 1:
            errors[name] = ["Must be given once."]
        elif NOT_TEXT.search(values[0]):
            errors[name] = ["Must not hold NUL."]
    if errors:
        raise Invalid(errors)
