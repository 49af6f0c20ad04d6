"""One request to a provider, and the error that stands for what came of it."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from providers.client import Client
from providers.errors import AnswerNotUnderstood, ProviderError, ProviderUnavailable
from sequin_auth.lib import http

DEADLINE = 10.0  # seconds for one request in all, its second try included
HANGS = 1.0  # seconds without a connection after which there is no second try: it would hang as the first did
LAST_MOMENT = 1.5  # seconds that a request has which must not be left out, though a deadline is shared and over

shared_end: ContextVar[float] = ContextVar("shared_end", default=math.inf)  # by time.monotonic()


@contextmanager
def one_deadline(seconds: float = DEADLINE) -> Iterator[None]:
    """All requests in this block have together the time that one has elsewhere: somebody waits for all of them."""
    before = shared_end.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        shared_end.reset(before)


@contextmanager
def last_moment() -> Iterator[None]:
    """In this block there is a little time in any case, whatever the requests before have taken."""
    before = shared_end.set(max(shared_end.get(), time.monotonic() + LAST_MOMENT))
    try:
        yield
    finally:
        shared_end.reset(before)


@sensitive_variables()
def send(client: Client, method: str, url: str, *, deadline: float = DEADLINE, **content: Any) -> http.Response:
    """One request through the egress guard, once; twice only if nothing of the first had left the machine.

    A client of the sandbox reaches the simulator and nothing else. Raises ProviderUnavailable for 429 and 5xx too.
    """
    within = f"{settings.PUBLIC_URL}/sandbox/" if client.sandbox else None
    begun_at = time.monotonic()
    ends_at = min(begun_at + deadline, shared_end.get())
    try:
        try:
            left = max(0.0, ends_at - begun_at)
            answer = http.request(method, url, within=within, deadline=left, **content)
        except http.Unreachable:
            if time.monotonic() - begun_at > HANGS:
                raise
            left = max(0.0, ends_at - time.monotonic())
            answer = http.request(method, url, within=within, deadline=left, **content)
    except http.EgressBlocked as exc:
        raise ProviderError("The provider's address is not one that this gateway may call.") from exc
    except http.AnswerTooLarge as exc:
        raise AnswerNotUnderstood("The provider's answer is too large.") from exc
    except http.EgressError as exc:
        is_uncertain = isinstance(exc, http.NoAnswer)
        raise ProviderUnavailable(
            "The provider could not be reached, or did not answer in time.", is_uncertain=is_uncertain
        ) from exc
    if answer.status == 429 or answer.status >= 500:
        raise ProviderUnavailable(
            "The provider is not available just now.",
            retry_after=answer.retry_after,
            is_uncertain=answer.status != 429,
        )
    return answer


def with_query(url: str, params: Mapping[str, str]) -> str:
    """`url`, with `params` behind the query that it has."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(params)}" if params else url
