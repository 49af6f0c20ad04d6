"""
What the link endpoints refuse, and whether the refusal may travel to the redirect URI.

* LinkError
  - PageError                 the browser stays on a page with status 400
    - ClientNotAccepted       unknown, malformed or disabled client_id: one and the same page
    - RedirectURINotRegistered
    - StateNotAccepted        unknown, used, expired, or of another browser, provider or OAuth app
  - RequestRefused            back to the redirect URI (RFC 6749, 4.1.2.1)
  - TokenError                JSON (RFC 6749, 5.2)
    - InvalidRequest  InvalidGrant  UnsupportedGrantType  UnsupportedTokenType  ProviderRefused     400
    - InvalidClient           401
    - UnsupportedMediaType    415
    - TooManyFailures         429
    - Unavailable             503
"""


class LinkError(Exception):
    """A request to one of the link endpoints is refused; `str()` is for people, `error` for machines."""

    error = "invalid_request"
    status = 400


class PageError(LinkError):
    """Must not become a redirect: nobody has proven yet where the browser may be sent."""

    title = "This link does not work"


class ClientNotAccepted(PageError):
    error = "invalid_client"

    def __init__(self) -> None:
        super().__init__("The client_id of this link is not one of an OAuth app that can be connected.")


class RedirectURINotRegistered(PageError):
    error = "invalid_redirect_uri"

    def __init__(self) -> None:
        super().__init__("The redirect_uri of this link is missing or is not registered.")


class StateNotAccepted(PageError):
    """`error` tells why: `invalid_state`, `session_mismatch`, `context_mismatch`, `link_expired`."""

    title = "This link has expired or was already used"

    def __init__(self, message: str, *, error: str = "invalid_state", title: str = "") -> None:
        super().__init__(message)
        self.error = error
        self.title = title or self.title


class RequestRefused(LinkError):
    """A fault of the authorization request that the developer is told at his redirect URI."""

    def __init__(self, message: str, *, error: str = "invalid_request", parameter: str = "") -> None:
        super().__init__(message)
        self.error = error
        self.parameter = parameter
        self.location = ""  # where the developer is told; the journey knows it once it knows the redirect URI


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

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many failures of this client from this address.")
        self.retry_after = retry_after


class Unavailable(TokenError):
    error = "temporarily_unavailable"
    status = 503

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after
