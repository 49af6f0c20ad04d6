"""An access token of the simulator, without the trip to it."""

import uuid
from collections.abc import Sequence

from django.utils import timezone

from providers.sandbox.models import Grant, Registration, Token
from sequin_auth.lib.encryption import digest


def by_hand(slug: str, token: str, scopes: Sequence[str] = ()) -> Grant:
    """The account whose API `token` opens at the simulated provider."""
    grant = Grant.objects.create(
        registration=Registration.objects.create(id=uuid.uuid4(), slug=slug, client_id="by-hand"),
        ticket_hash=digest(f"ticket of {slug}"),
        code_hash=digest(f"code of {slug}"),
        scopes=[*scopes],
        parts={},
        offers_refresh_token=False,
        outcome="approve",
        account="1",
        code_expires_at=timezone.now(),
    )
    Token.objects.create(grant=grant, access_hash=digest(token))
    return grant
