"""
What can go wrong between us and a provider.

* ProviderError            error = "server_error"
  - AuthorizationDenied    the end user or the provider said no (RFC 6749, 4.1.2.1)
  - CallbackNotAccepted    what the browser brought back is not an answer to our request
    - IssuerMismatch       it is the answer of another server (RFC 9207)
    - SignatureMismatch    it is not signed with the client secret that we have
  - TokenRequestRejected   the token endpoint said no, and would say it again (RFC 6749, 5.2)
  - ParameterMissing       a request cannot be made with what is known
  - AnswerNotUnderstood    an answer came, and it is not what the provider's documentation promises
    - AccessTokenMissing   half of it came: a refresh token that must be kept, and no access token
  - ProviderUnavailable    no readable answer in time; worth another try

`error` is the RFC 6749 code that the developer gets. Messages are our own words: nothing a provider wrote is in them.
"""


class ProviderError(Exception):
    """Something went wrong at the provider, or on the way to it."""

    error = "server_error"


class AuthorizationDenied(ProviderError):
    """The provider sent the browser back with an error. `error` is one that RFC 6749, 4.1.2.1 knows."""

    def __init__(self, message: str, *, error: str) -> None:
        super().__init__(message)
        self.error = error


class CallbackNotAccepted(ProviderError):
    """The callback's parameters are ambiguous, incomplete, or fail the provider's own integrity check."""


class IssuerMismatch(CallbackNotAccepted):
    """The answer names another issuer than the one that was asked, or none although it always does."""


class SignatureMismatch(CallbackNotAccepted):
    """Somebody has changed the answer, or the OAuth app's client secret is not the provider's."""


class TokenRequestRejected(ProviderError):
    """The token endpoint refused. `reason` is its error code if RFC 6749, 5.2 has it, else `server_error`."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ParameterMissing(ProviderError):
    """The provider wants something that nobody has given; `name` is ours for it."""

    error = "invalid_request"

    def __init__(self, name: str) -> None:
        super().__init__(f"The parameter {name} is missing: the provider asks for it.")
        self.name = name


class AnswerNotUnderstood(ProviderError):
    """The answer is no token answer: not JSON or a form, no usable access token, a wrong id_token, no identity."""


class AccessTokenMissing(AnswerNotUnderstood):
    """The answer holds a refresh token and no usable access token. The one that was used may be dead: keep this one."""

    def __init__(self, message: str, *, refresh_token: str) -> None:
        super().__init__(message)
        self.refresh_token = refresh_token


class ProviderUnavailable(ProviderError):
    """No whole answer within the deadline, 429 or 5xx. `retry_after`: seconds, if the provider named them.

    `is_uncertain`: the request may have been carried out, and the answer lost.
    """

    error = "temporarily_unavailable"

    def __init__(self, message: str, *, retry_after: int | None = None, is_uncertain: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.is_uncertain = is_uncertain
