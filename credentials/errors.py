"""
Why a credential has no access token to give.

* NoAccessToken
  - NeedsReauthorization     its owner has to agree again, or enter what he changed
  - ClientRefused            the provider does not accept the OAuth app: the developer's turn
  - ProviderTrouble          the provider does not answer, or not sensibly; it is tried again by itself
  - RefreshInProgress        somebody else's refresh takes its time
  - KindHasNone              there are no access tokens for credentials of this kind
  - ProviderUnknown          an operator has taken the provider out of the catalogue
* CredentialGone             it was deleted meanwhile
"""


class NoAccessToken(Exception):
    """`retry_after`: seconds, where another try makes sense. `code`: for machines."""

    code = "no_access_token"

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NeedsReauthorization(NoAccessToken):
    code = "needs_reauthorization"


class ClientRefused(NoAccessToken):
    code = "oauth_app_refused"


class ProviderTrouble(NoAccessToken):
    code = "provider_unavailable"


class RefreshInProgress(NoAccessToken):
    code = "refresh_in_progress"


class KindHasNone(NoAccessToken): ...


class ProviderUnknown(NoAccessToken):
    code = "provider_unknown"


class CredentialGone(Exception): ...
