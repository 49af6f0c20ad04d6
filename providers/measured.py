"""How long token endpoints take, and what comes of it, by provider: for `GET /metrics` and for traces."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeVar

from providers.errors import (
    AccessTokenMissing,
    AnswerNotUnderstood,
    AuthorizationDenied,
    CallbackNotAccepted,
    ParameterMissing,
    ProviderError,
    ProviderUnavailable,
    TokenRequestRejected,
)
from providers.kinds import CredentialKind
from providers.provider import Provider
from sequin_auth.lib import measures, reporting
from sequin_auth.lib.measures import Name

# The first that fits; whatever is none of them was not sent
OUTCOMES: Final[tuple[tuple[type[ProviderError], str], ...]] = (
    (TokenRequestRejected, "refused"),
    (ProviderUnavailable, "unavailable"),
    (AccessTokenMissing, "not_understood"),
    (AnswerNotUnderstood, "not_understood"),
    (AuthorizationDenied, "denied"),
    (CallbackNotAccepted, "not_sent"),
    (ParameterMissing, "not_sent"),
)
NOT_SENT: Final = "not_sent"

Rest = ParamSpec("Rest")
Asked = TypeVar("Asked", bound=Provider | CredentialKind)
Answer = TypeVar("Answer")
Call = Callable[Concatenate[Asked, Rest], Answer]


def measured(call: str) -> Callable[[Call[Asked, Rest, Answer]], Call[Asked, Rest, Answer]]:
    """A decorator of a function that calls a token endpoint. `call`: `exchange`, `refresh` or `mint`."""

    def decorator(function: Call[Asked, Rest, Answer]) -> Call[Asked, Rest, Answer]:
        @wraps(function)
        def counted(asked: Asked, /, *args: Rest.args, **kwargs: Rest.kwargs) -> Answer:
            provider = asked.slug if isinstance(asked, Provider) else asked.provider.slug
            started, outcome = time.perf_counter(), "crashed"
            try:
                with span(call, provider):
                    answer = function(asked, *args, **kwargs)
                outcome = "ok"
            except ProviderError as exc:
                outcome = outcome_of(exc)
                raise
            finally:
                measures.count(Name.PROVIDER_CALLS, call, provider, outcome)
                if outcome != NOT_SENT:
                    measures.observe(Name.PROVIDER_SECONDS, time.perf_counter() - started, call, provider)
            return answer

        return counted

    return decorator


def span(call: str, provider: str) -> AbstractContextManager[object]:
    return reporting.span(call, call=call, provider=provider)


def outcome_of(problem: ProviderError) -> str:
    return next((word for kind, word in OUTCOMES if isinstance(problem, kind)), NOT_SENT)
