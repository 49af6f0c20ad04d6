"""The ground of every view that acts for an account."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from rest_framework.request import Request
from rest_framework.response import Response

from oauth_apps import api_tokens, audit
from oauth_apps.models import Account, ApiToken, IdempotencyRecord
from sequin_auth.lib.api.idempotency import once
from sequin_auth.lib.api.views import ApiView, after_answer


class AccountView(ApiView):
    """For one account: the one whose API token was shown."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        audit.identify_by(cast(ApiToken, request.auth))

    def account(self, request: Request) -> Account:
        return cast(ApiToken, request.auth).account

    def once(self, request: Request, create: Callable[[], Response]) -> Response:
        """What `create()` answers; a request that repeats an `Idempotency-Key` gets the first one's answer."""
        token = cast(ApiToken, request.auth)
        claim = partial(IdempotencyRecord.objects.claim, token.account)
        return once(request, create, caller=str(token.pk), claim=claim)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        token = getattr(request, "_auth", None)  # `auth` would authenticate once more, and raise once more
        if token is not None and api_tokens.is_use_worth_noting(token):
            after_answer(response, lambda: api_tokens.note_use(token))
        return response
