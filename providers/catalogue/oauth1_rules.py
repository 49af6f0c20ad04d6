"""What a catalogue file must keep to if its code flow is OAuth 1.0a; part of `rules.lint`."""

import datetime
from collections.abc import Iterator

from providers.provider import Provider

UNSAID = Provider(slug="", name="", docs="", checked=datetime.date.min)
OF_OAUTH1 = ("request_token_method", "signature_method")
# What that protocol does not know, so that nothing would come of it
OF_OAUTH2 = (
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "dpop_signing_alg_values_supported",
    "code_challenge_methods_supported",
    "pkce_required",
    "authorization_response_iss_parameter_supported",
    "pushed_authorization_request_endpoint",
    "refresh_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "issuer",
    "jwks_uri",
    "own_host",
    "deployments",
    "state_returned",
    "callback_methods",
    "callback_code_param",
    "callback_check",
    "token_request_format",
    "token_params",
    "token_param_names",
    "token_params_left_out",
    "client_secret_from",
    "token_response_success",
    "second_step",
    "refresh_params",
    "refresh_token_rotates",
    "refresh_token_lifetime",
)


def of_oauth1(provider: Provider) -> Iterator[str]:
    if provider.auth == "oauth2":
        for name in _said(provider, OF_OAUTH1):
            yield f"{name} is OAuth 1.0a's, and there is no request_token_endpoint"
        return
    for name in _said(provider, OF_OAUTH2):
        yield f"{name} is OAuth 2.0's, and request_token_endpoint makes the code flow OAuth 1.0a's"
    if provider.refresh_with != "none":
        yield 'refresh_with must be "none": OAuth 1.0a has no refresh'
    if provider.expiry.source != "never":
        yield 'expiry.source must be "never": OAuth 1.0a tells no lifetime'
    if provider.api and provider.api.query:
        yield "api.query is where OAuth 2.0 sends a token; a call is signed, or carries it in a header"
    if "token_secret" in provider.credential:
        yield "credential.token_secret is a member of every OAuth 1.0a credential"


def _said(provider: Provider, names: tuple[str, ...]) -> Iterator[str]:
    yield from (name for name in names if getattr(provider, name) != getattr(UNSAID, name))
