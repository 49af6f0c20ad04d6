"""What stands in the way of an access token, told to the developer's backend."""

from typing import Any

from credentials.errors import (
    ClientRefused,
    CredentialGone,
    KindHasNone,
    NeedsReauthorization,
    NoAccessToken,
    ProviderUnknown,
)
from credentials.models import Credential
from credentials.reconnect import reconnect_url
from sequin_auth.lib.api.errors import ApiError, BadGateway, Conflict, NotFound, Unavailable
from sequin_auth.lib.encryption import Unreadable


class CredentialUnreadable(ApiError):
    status = 500
    code = "credential_unreadable"
    summary = (
        "What is stored of this credential does not open: it was changed in the database, or its key is missing from"
        " ENCRYPTION_KEYS."
    )


def as_api_error(exc: NoAccessToken | CredentialGone | Unreadable, credential: Credential) -> ApiError:
    """`exc` as `/v1` tells it; with a reconnect link, made now, where the account's owner has to come again."""
    match exc:
        case NeedsReauthorization():
            members: dict[str, Any] = {"reconnect_url": url} if (url := reconnect_url(credential)) else {}
            return Conflict(str(exc), code=exc.code, **members)
        case KindHasNone() | ProviderUnknown():
            return Conflict(str(exc), code=exc.code)
        case ClientRefused():
            return BadGateway(str(exc), code=exc.code, headers={"Retry-After": str(exc.retry_after or 1)})
        case NoAccessToken():
            return Unavailable(str(exc), code=exc.code, retry_after=exc.retry_after or 1)
        case CredentialGone():
            return NotFound()
        case _:
            return CredentialUnreadable()
