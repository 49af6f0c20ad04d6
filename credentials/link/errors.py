"""
What the link endpoints refuse, and whether the refusal may travel to the redirect URI.

* LinkError
  - PageError                 the browser stays on a page with status 400
    - ClientNotAccepted       unknown, malformed or disabled client_id: one and the same page
    - RedirectURINotRegistered
    - StateNotAccepted        unknown, used, expired, or of another browser, provider or OAuth app
      - OpenedByAnother       of somebody else's console
  - RequestRefused            back to the redirect URI (RFC 6749, 4.1.2.1); a page, where the trip has none
  - TokenError                JSON (RFC 6749, 5.2)
    - InvalidRequest  InvalidGrant  UnsupportedGrantType  UnsupportedTokenType  ProviderRefused     400
    - InvalidClient           401
    - UnsupportedMediaType    415
    - TooManyFailures         429
      - LimitReached        one of settings.LIMITS
        - TooManyOfOneClient  TooManyUnknownCodes  TooManyStrangers
    - Unavailable             503
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credentials.models import Authorization, StartLink


class LinkError(Exception):
    """A request to one of the link endpoints is refused; `str()` is for people, `error` for machines."""

    error = "invalid_request"
    status = 400
    reference = ""  # the id of the trip, where one is known: by it the console finds it


class PageError(LinkError):
    """Must not become a redirect: nobody has proven yet where the browser may be sent. What it says, pages.py knows."""

    leads_back_to = ""  # the redirect URI of a trip that is known: the page may name its host


class ClientNotAccepted(PageError):
    error = "invalid_client"

    def __init__(self) -> None:
        super().__init__("The client_id of this link is not one of an OAuth app that can be connected.")


class RedirectURINotRegistered(PageError):
    """Missing, repeated or not registered: one and the same page, but for the developer whose link says `debug`."""

    error = "invalid_redirect_uri"

    def __init__(self, *, is_missing: bool = False, is_repeated: bool = False) -> None:
        fault = "is repeated" if is_repeated else "is missing" if is_missing else "is not registered"
        super().__init__(f"The redirect_uri of this link {fault}.")
        self.is_missing = is_missing


class StateNotAccepted(PageError):
    """`error` tells why: `invalid_state`, `session_mismatch`, `context_mismatch`, `link_expired`, …

    `authorization`: the trip, if the state is one of ours; `link`: the start link, if it is one of ours.
    """

    def __init__(
        self,
        message: str,
        *,
        error: str = "invalid_state",
        authorization: "Authorization | None" = None,
        link: "StartLink | None" = None,
        leads_back_to: str = "",
    ) -> None:
        super().__init__(message)
        self.error = error
        self.authorization = authorization
        self.link = link
        self.leads_back_to = leads_back_to
        if authorization:
            self.reference = str(authorization.pk)
        if authorization and not authorization.leads_nowhere:
            self.leads_back_to = authorization.redirect_uri


class OpenedByAnother(StateNotAccepted):
    """A link, or a trip, of the console, in the browser of somebody who has not begun it there."""

    def __init__(self, message: str, *, authorization: "Authorization | None" = None) -> None:
        super().__init__(message, error="session_mismatch", authorization=authorization)


class RequestRefused(LinkError):
    """A fault of the authorization request that the developer is told at his redirect URI."""

    def __init__(
        self, message: str, *, error: str = "invalid_request", parameter: str = "", reference: str = ""
    ) -> None:
        super().__init__(message)
        self.error = error
        self.parameter = parameter
        self.reference = reference
        self.location = ""  # where the developer is told; the journey knows it once it knows the redirect URI
        self.can_try_again = False  # of an outage: whether the link is as good as before
        self.back = ""  # where no developer is told: the page of the console that the link was made on, if any


class TokenError(LinkError):
    """A refusal of the token or revocation endpoint."""


class InvalidRequest(TokenError):
    """A parameter is missing, repeated or malformed."""


class UnsupportedMediaType(TokenError):
    status = 415


class InvalidClient(TokenError):
    """Client authentication failed. Unknown id and wrong secret are told alike."""

    error = "invalid_client"
    status = 401

    def __init__(self, *, scheme: str = "") -> None:
        super().__init__("The client is unknown, or its secret or API token is wrong.")
        self.scheme = scheme  # of the Authorization header, to be named in WWW-Authenticate


class InvalidGrant(TokenError):
    error = "invalid_grant"


class UnsupportedGrantType(TokenError):
    error = "unsupported_grant_type"


class UnsupportedTokenType(TokenError):
    error = "unsupported_token_type"


class ProviderRefused(TokenError):
    """The provider said no to a request that was sound with us: `error` is what it said, in RFC 6749's words."""

    def __init__(self, message: str, *, error: str) -> None:
        super().__init__(message)
        self.error = error


class TooManyFailures(TokenError):
    error = "slow_down"
    status = 429
    message = "Too many failures of this client from this address."

    def __init__(self, retry_after: int) -> None:
        super().__init__(self.message)
        self.retry_after = retry_after


class LimitReached(TooManyFailures):
    """One of settings.LIMITS; the log has its line."""


class TooManyOfOneClient(LimitReached):
    message = "Too many requests of this client; wait for the seconds that Retry-After says."


class TooManyUnknownCodes(LimitReached):
    message = "Too many unknown codes of this client; wait for the seconds that Retry-After says."


class TooManyStrangers(LimitReached):
    message = "Too many requests from this address without a good secret; wait for the seconds that Retry-After says."


class Unavailable(TokenError):
    error = "temporarily_unavailable"
    status = 503

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after
