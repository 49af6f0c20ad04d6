"""
The client half of OAuth 1.0a: temporary credentials, the end user's consent, a token, and signed calls (RFC 5849).

What is sent stands here, and how it is read: an answer is a form, whatever its content type says. There is no bearer
token, no refresh and no scope of the protocol's own. All raise `ProviderError`s, and nothing here knows a provider by
name.
"""

import hmac
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlencode

import msgspec
from django.views.decorators.debug import sensitive_variables
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA1, SIGNATURE_HMAC_SHA256, SIGNATURE_PLAINTEXT
from oauthlib.oauth1 import Client as Signer

from providers import oauth2, wire
from providers.answers import PRINTABLE, REFUSALS, TOKEN_ERRORS, at, read_document, read_form
from providers.client import Client
from providers.client_authentication import secret_to_send
from providers.errors import AnswerNotUnderstood, CallbackNotAccepted, ProviderError, TokenRequestRejected
from providers.measured import measured
from providers.provider import FollowUp, Provider
from providers.tokens import TokenResponse
from sequin_auth.lib import http

Method = Literal["GET", "POST"]
SignatureMethod = Literal["HMAC-SHA1", "HMAC-SHA256", "PLAINTEXT"]
FORM = "application/x-www-form-urlencoded"
SIGNATURE_METHODS: dict[SignatureMethod, str] = {
    "HMAC-SHA1": SIGNATURE_HMAC_SHA1,
    "HMAC-SHA256": SIGNATURE_HMAC_SHA256,
    "PLAINTEXT": SIGNATURE_PLAINTEXT,
}
# The words of the Problem Reporting extension (https://wiki.oauth.net/w/page/12238543/ProblemReporting), as RFC 6749's
PROBLEMS = {
    "consumer_key_unknown": "invalid_client",
    "consumer_key_rejected": "invalid_client",
    "consumer_key_refused": "invalid_client",
    "signature_invalid": "invalid_client",
    "signature_method_rejected": "invalid_request",
    "version_rejected": "invalid_request",
    "parameter_absent": "invalid_request",
    "parameter_rejected": "invalid_request",
    "token_used": "invalid_grant",
    "token_expired": "invalid_grant",
    "token_revoked": "invalid_grant",
    "token_rejected": "invalid_grant",
    "verifier_invalid": "invalid_grant",
    "permission_denied": "access_denied",
    "permission_unknown": "access_denied",
    "user_refused": "access_denied",
}


class Token(msgspec.Struct, frozen=True):
    """A token with its shared secret: the temporary credentials of one trip, or what came of them."""

    value: str
    secret: str

    def __repr__(self) -> str:
        return "Token(…)"

    @property
    def text(self) -> str:
        """How temporary credentials are kept until the end user is back: a secret."""
        return urlencode({"oauth_token": self.value, "oauth_token_secret": self.secret})

    @classmethod
    @sensitive_variables()
    def of(cls, text: str) -> Self:
        """Raises CallbackNotAccepted if there are none."""
        kept = dict(parse_qsl(text))
        if kept.keys() != {"oauth_token", "oauth_token_secret"}:
            raise CallbackNotAccepted("This trip has no temporary credentials, so it was not begun in this way.")
        return cls(kept["oauth_token"], kept["oauth_token_secret"])


# ---- temporary credentials (RFC 5849, 2.1) ---------------------------------------------------------------------------


@sensitive_variables()
def request_token(provider: Provider, client: Client, *, callback_url: str) -> Token:
    """Ask for temporary credentials. `callback_url`: where the end user comes back to, with the state in its query.

    Raises TokenRequestRejected, with the reason `invalid_client` if consumer key or secret is wrong;
    ProviderUnavailable; AnswerNotUnderstood, also if the callback URL is not confirmed: the end user would come back to
    another one.
    """
    method, url = provider.request_token_method, provider.request_token_endpoint
    signer = _signer(provider, client, callback_uri=callback_url)
    answer = _sent(provider, client, method, url, signer)
    document = _document(provider, answer, of_the_client="invalid_client")
    if str(document.get("oauth_callback_confirmed", "true")).lower() != "true":
        raise AnswerNotUnderstood("The provider did not confirm the callback URL.")
    return Token(str(document["oauth_token"]), str(document["oauth_token_secret"]))


def probe(provider: Provider, client: Client, *, redirect_uri: str) -> None:
    """Find out whether consumer key and secret are sound, by temporary credentials that nobody will use.

    Raises what `request_token` raises.
    """
    request_token(provider, client, callback_url=redirect_uri)


# ---- the end user's consent (RFC 5849, 2.2) --------------------------------------------------------------------------


def authorization_url(provider: Provider, temporary: Token, *, scopes: Iterable[str]) -> str:
    """Where the end user's browser is sent. The callback URL is known there already, the secret stays here."""
    params = {"oauth_token": temporary.value}
    scope = provider.scope_separator.join(scopes)
    if provider.scope_param and scope:
        params[provider.scope_param] = scope
    return wire.with_query(provider.authorization_endpoint, oauth2.authorization_params(provider, params))


@sensitive_variables()
def read_callback(
    provider: Provider, answer: Mapping[str, str], temporary: Token, *, repeated: Iterable[str] = ()
) -> str:
    """The verifier. `answer`: the callback's query; `repeated`: names that it had more than once.

    Raises AuthorizationDenied; CallbackNotAccepted, also for the token of another trip.
    """
    token, verifier = answer.get("oauth_token", ""), answer.get("oauth_verifier", "")
    if [*repeated]:
        raise CallbackNotAccepted("The provider's answer has a parameter twice.")
    if not verifier and (error := _error_of(provider, answer)):
        raise oauth2.denial(provider, error)
    if not token or not verifier:
        raise CallbackNotAccepted("The provider sent neither a token with its verifier nor an error.")
    if not hmac.compare_digest(token.encode(), temporary.value.encode()):
        raise CallbackNotAccepted("The provider's answer is that of another trip.")
    return verifier


def _error_of(provider: Provider, answer: Mapping[str, str]) -> str:
    """What went wrong, as `callback_errors` has it; that may also name a parameter which stands for the error, and by
    the empty name an answer that has nothing.
    """
    said = answer.get("oauth_problem") or answer.get("error")
    if said:
        return said if said in provider.callback_errors else PROBLEMS.get(said, said)
    named = [name for name in provider.callback_errors if name and name in answer]
    return named[0] if named else provider.callback_errors.get("", "")


# ---- the token (RFC 5849, 2.3) ---------------------------------------------------------------------------------------


@measured("exchange")
@sensitive_variables()
def exchange(
    provider: Provider, client: Client, answer: Mapping[str, str], *, kept: str, repeated: Iterable[str] = ()
) -> TokenResponse:
    """The token that the end user's consent is good for. `kept`: `Token.text` of this trip.

    The token's secret is the member `oauth_token_secret` of the answer. Raises what `read_callback` raises, before
    anything is sent; TokenRequestRejected, ProviderUnavailable, AnswerNotUnderstood.
    """
    temporary = Token.of(kept)
    verifier = read_callback(provider, answer, temporary, repeated=repeated)
    signer = _signer(provider, client, temporary, verifier=verifier)
    received = _sent(provider, client, provider.token_request_method, provider.token_endpoint, signer)
    document = _document(provider, received, of_the_client="invalid_grant")
    access_token = at(document, provider.token_response_names.get("access_token", "oauth_token"))
    if not isinstance(access_token, str) or not PRINTABLE.fullmatch(access_token):
        raise AnswerNotUnderstood("The provider's token answer holds no usable access token.")
    return TokenResponse(access_token=access_token, token_type="OAuth", answer=document)


@sensitive_variables()
def _document(provider: Provider, answer: http.Response, *, of_the_client: str) -> dict[str, Any]:
    """An answer that holds a token and its secret. `of_the_client`: what a 401 without a reason stands for."""
    if 300 <= answer.status < 400:
        raise AnswerNotUnderstood("The provider redirects a request that must be answered.")
    document = _read(answer)
    names = ["oauth_token", "oauth_token_secret"]
    if answer.status < 300 and all(PRINTABLE.fullmatch(str(document.get(name, ""))) for name in names):
        return document
    said = str(at(document, provider.token_response_error.code) or document.get("oauth_problem") or "")
    reason = provider.token_response_error.codes.get(said) or PROBLEMS.get(said, said)
    reason = "invalid_grant" if reason == "access_denied" else reason
    if answer.status < 300 and not said:
        raise AnswerNotUnderstood("The provider's answer holds no token with its secret.")
    if reason not in TOKEN_ERRORS:
        reason = of_the_client if answer.status == 401 else "server_error"
    raise TokenRequestRejected(REFUSALS.get(reason, "The provider refused the request."), reason=reason)


def _read(answer: http.Response) -> dict[str, Any]:
    """A form, as RFC 5849 has it whatever its content type, or what else a refusal may be; {} for what is neither."""
    try:
        return read_form(answer.content)
    except AnswerNotUnderstood:
        pass
    try:
        document = read_document(answer)
    except AnswerNotUnderstood:
        return {}
    return document if isinstance(document, dict) else {}


# ---- signed calls (RFC 5849, 3) --------------------------------------------------------------------------------------


@sensitive_variables()
def follow_up(provider: Provider, client: Client, tokens: TokenResponse) -> Any:
    """The answer of the one further call that names the upstream account. Raises ProviderError."""
    if not provider.follow_up or not provider.signs_calls:
        return oauth2.follow_up(provider, client, tokens)
    call = provider.follow_up if isinstance(provider.follow_up, FollowUp) else FollowUp(url=provider.follow_up)
    token = Token(tokens.access_token, str(tokens.answer["oauth_token_secret"]))
    signature = api_authorization(provider, client, call.method, call.url, token=token, form=call.form)
    headers = {"Accept": "application/json", **call.headers, **signature}
    answer = wire.send(client, call.method, call.url, headers=headers, form=call.form)
    if answer.status != 200:
        raise AnswerNotUnderstood("The provider did not say whose tokens these are.")
    return read_document(answer)


@sensitive_variables()
def api_authorization(
    provider: Provider,
    client: Client,
    method: Method,
    url: str,
    *,
    token: Token,
    form: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The header that signs one call of the provider's API. `form`: its body, which is signed too."""
    return {"Authorization": _signed(_signer(provider, client, token), method, url, form)}


@sensitive_variables()
def authorization(
    method: Method,
    url: str,
    *,
    keys: Mapping[str, str],
    realm: str = "",
    form: Mapping[str, str] | None = None,
) -> str:
    """The `Authorization` header of one call, with a nonce and a time of its own; signed with HMAC-SHA256.

    `keys`: `consumer_key`, `consumer_secret`, `token_id` and `token_secret`.
    """
    signer = Signer(
        keys["consumer_key"],
        client_secret=keys["consumer_secret"],
        resource_owner_key=keys["token_id"],
        resource_owner_secret=keys["token_secret"],
        signature_method=SIGNATURE_HMAC_SHA256,
        realm=realm or None,
    )
    return _signed(signer, method, url, form)


@sensitive_variables()
def _signer(
    provider: Provider,
    client: Client,
    token: Token | None = None,
    *,
    callback_uri: str | None = None,
    verifier: str | None = None,
) -> Signer:
    return Signer(
        client.client_id,
        client_secret=secret_to_send(provider, client),
        resource_owner_key=token and token.value,
        resource_owner_secret=token and token.secret,
        callback_uri=callback_uri,
        verifier=verifier,
        signature_method=SIGNATURE_METHODS[provider.signature_method],
    )


@sensitive_variables()
def _signed(signer: Signer, method: Method, url: str, form: Mapping[str, str] | None = None) -> str:
    headers = {"Content-Type": FORM} if form else {}
    try:
        _, signed, _ = signer.sign(url, http_method=method, body=dict(form) if form else None, headers=headers)
    except ValueError as exc:
        raise ProviderError("The request cannot be signed: its address or a parameter is not well-formed.") from exc
    return str(signed["Authorization"])


@sensitive_variables()
def _sent(provider: Provider, client: Client, method: Method, url: str, signer: Signer) -> http.Response:
    """One request with nothing but its signed header: no body, and no parameter elsewhere."""
    headers = {**provider.token_headers, "Authorization": _signed(signer, method, url)}
    return wire.send(client, method, url, headers=headers)
