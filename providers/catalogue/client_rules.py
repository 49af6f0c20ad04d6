"""What an OAuth app may say of its registration at the provider, by variables that are named as client metadata is.

Part of `rules.lint`. Sources: RFC 7591, 2; RFC 9126, 6; RFC 9449, 5.2.
"""

from collections.abc import Iterator

from providers.provider import Provider
from providers.variables import Variable

YES_OR_NO = ["true", "false"]
SETTINGS = {
    "token_endpoint_auth_method",
    "require_pushed_authorization_requests",
    "dpop_bound_access_tokens",
    "key_id",
}
SIGNING = {"private_key_jwt", "client_secret_jwt"}
ALGORITHMS = {"RS256", "PS256", "ES256", "HS256"}


def of_client_settings(provider: Provider) -> Iterator[str]:
    for name in sorted(SETTINGS & provider.variables.keys()):
        variable = provider.variables[name]
        if variable.sources != ["app"]:
            yield f'variable {name} is the OAuth app\'s alone: from = ["app"]'
        if variable.required and not variable.default and name != "key_id":
            yield f"variable {name} is a setting with a usual value: required = false"
    yield from _of_authentication(provider)
    for name, field in (
        ("require_pushed_authorization_requests", "pushed_authorization_request_endpoint"),
        ("dpop_bound_access_tokens", "dpop_signing_alg_values_supported"),
    ):
        yield from _of_a_switch(name, provider.variables.get(name), field, is_there=bool(getattr(provider, field)))


def _of_authentication(provider: Provider) -> Iterator[str]:
    supported = provider.token_endpoint_auth_methods_supported
    if variable := provider.variables.get("token_endpoint_auth_method"):
        if variable.kind != "choice":
            yield "variable token_endpoint_auth_method must be a choice"
        for value in variable.values:
            if value not in supported:
                yield f"variable token_endpoint_auth_method offers {value}, which the provider does not take"
    algorithms = provider.token_endpoint_auth_signing_alg_values_supported
    if algorithms and not SIGNING & {*supported}:
        yield "token_endpoint_auth_signing_alg_values_supported needs private_key_jwt or client_secret_jwt"
    if algorithms and not ALGORITHMS & {*algorithms}:
        known = ", ".join(sorted(ALGORITHMS))
        yield f"token_endpoint_auth_signing_alg_values_supported has none of those that we sign with: {known}"
    by_secret = [method for method in supported if method not in {"none", "private_key_jwt"}]
    if "client_secret_jwt" in by_secret[1:] and "token_endpoint_auth_method" not in provider.variables:
        yield "client_secret_jwt is never used unless the variable token_endpoint_auth_method can say so"


def _of_a_switch(name: str, variable: Variable | None, field: str, *, is_there: bool) -> Iterator[str]:
    if variable is None:
        if is_there:
            yield f"{field} is never used unless the variable {name} can say so"
        return
    if variable.kind != "choice" or sorted(variable.values) != sorted(YES_OR_NO):
        yield f"variable {name} must be a choice of true and false"
    if not is_there:
        yield f"variable {name} needs {field}"
