"""A provider at one customer's address, and who may choose that address."""

import datetime
from typing import Any

import msgspec
import pytest

from providers.placeholders import fill, in_sandbox
from providers.provider import Provider
from providers.variables import Variable, VariableNotAccepted
from providers.vocabulary import Addresses, Api, FollowUp, Kind, Property

SANDBOX = "https://auth.example.net/sandbox/acme"


def acme(**fields: Any) -> Provider:
    """A provider whose customers have labels under acme.com, unless `fields` say otherwise."""
    usual: dict[str, Any] = {
        "slug": "acme",
        "name": "Acme",
        "docs": "https://docs.acme.com/oauth",
        "checked": datetime.date(2026, 11, 22),
        "authorization_endpoint": "https://{shop}.acme.com/authorize",
        "token_endpoint": "https://{shop}.acme.com/token",
        "variables": {"shop": Variable(label="Shop", example="arrakis")},
    }
    return Provider(**usual | fields)


def hosted(**fields: Any) -> Provider:
    """A provider that has a host of its own, and sells servers to customers who have others."""
    domain = Variable(
        label="Domain", kind="host", example="acme.com", default="acme.com", host_suffixes=[".cloud.acme.com"]
    )
    usual: dict[str, Any] = {
        "authorization_endpoint": "https://{domain}/authorize",
        "token_endpoint": "https://{domain}/token",
        "variables": {"domain": domain},
    }
    return acme(**usual | fields)


# ---- accept_variables ------------------------------------------------------------------------------------------------


def test_a_browser_may_not_choose_a_host_that_is_not_the_providers() -> None:
    """F01, F02."""
    with pytest.raises(VariableNotAccepted, match=r"^domain must be fixed on the OAuth app"):
        hosted().accept_variables({"domain": "evil.com"}, fixed={})


def test_a_browser_may_not_change_what_the_oauth_app_fixes() -> None:
    with pytest.raises(VariableNotAccepted, match=r"^domain is fixed on the OAuth app to another value$"):
        hosted().accept_variables({"domain": "other.cloud.acme.com"}, fixed={"domain": "our.server.net"})


def test_a_browser_may_not_say_what_only_the_oauth_app_may() -> None:
    audience = Variable(label="Audience", kind="text", example="api", required=False, sources=["app"])
    provider = acme(variables={"audience": audience})

    assert provider.accept_variables({"audience": "theirs"}, fixed={}) == {}
    assert provider.accept_variables({"audience": "theirs"}, fixed={"audience": "ours"}) == {"audience": "ours"}


def test_what_the_oauth_app_fixes_is_checked_too() -> None:
    with pytest.raises(VariableNotAccepted):
        acme().accept_variables({}, fixed={"shop": "a/b"})


def test_names_that_are_no_variables_are_passed_over() -> None:
    assert acme().accept_variables({"shop": "arrakis", "evil": "1"}, fixed={"worse": "2"}) == {"shop": "arrakis"}


def test_the_same_value_in_another_spelling_is_the_same() -> None:
    assert acme().accept_variables({"shop": "ARRAKIS"}, fixed={"shop": "arrakis"}) == {"shop": "arrakis"}


def test_a_developer_may_fix_any_host_and_a_browser_the_providers_own() -> None:
    assert hosted().accept_variables({}, fixed={"domain": "our.server.net"}) == {"domain": "our.server.net"}
    assert hosted().accept_variables({"domain": "x.cloud.acme.com"}, fixed={}) == {"domain": "x.cloud.acme.com"}


def test_a_default_stands_in_and_a_missing_value_is_told() -> None:
    assert hosted().accept_variables({}, fixed={}) == {"domain": "acme.com"}
    assert acme().accept_variables({"shop": ""}, fixed={}) == {}
    assert acme().missing_variables({}) == ["shop"]
    assert acme().missing_variables({"shop": "arrakis"}) == []


# ---- needs_own_callback ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "variables", "has_secret", "needs"),
    [
        (acme(), {"shop": "arrakis"}, True, False),
        (acme(), {"shop": "arrakis"}, False, True),
        (acme(tenant_hosted=True), {"shop": "arrakis"}, True, True),
        (hosted(), {"domain": "acme.com"}, True, False),
        (hosted(), {"domain": "x.cloud.acme.com"}, True, False),
        (hosted(), {"domain": "our.server.net"}, True, True),
        (hosted(), {}, True, False),
    ],
)
def test_the_callback_names_the_app_without_a_secret_or_at_a_customers_host(
    provider: Provider, variables: dict[str, str], has_secret: bool, needs: bool
) -> None:
    """B05, B06."""
    assert provider.needs_own_callback(variables, has_secret=has_secret) is needs


# ---- bound -----------------------------------------------------------------------------------------------------------


def test_values_are_checked_again_before_they_are_used() -> None:
    """F01: a row that somebody wrote into the database is no better than a browser's word."""
    with pytest.raises(VariableNotAccepted):
        acme().bound({"shop": "evil.com/"})


def test_no_placeholder_is_taken_for_a_format_string() -> None:
    provider = acme(authorization_endpoint="https://acme.com/{shop.__class__}/{0}/{unknown}")

    bound = provider.bound({"shop": "arrakis"})

    assert bound.authorization_endpoint == "https://acme.com/{shop.__class__}/{0}/{unknown}"


def test_every_address_and_parameter_is_filled_in() -> None:
    provider = acme(
        refresh_endpoint="https://{shop}.acme.com/refresh",
        revocation_endpoint="https://{shop}.acme.com/apps/{client_id}/revoke",
        issuer="https://{shop}.acme.com/{tid}",
        jwks_uri="https://{shop}.acme.com/keys",
        follow_up=FollowUp(url="https://{shop}.acme.com/me", method="POST"),
        api=Api(base_url="https://{shop}.acme.com/{region}"),
        authorization_params={"resource": "https://{shop}.acme.com", "prompt": "consent"},
        token_params={"shop": "{shop}"},
        refresh_params={"shop": "{shop}"},
    )

    bound = provider.bound({"shop": "Arrakis"})

    assert bound == msgspec.structs.replace(
        provider,
        authorization_endpoint="https://arrakis.acme.com/authorize",
        token_endpoint="https://arrakis.acme.com/token",
        refresh_endpoint="https://arrakis.acme.com/refresh",
        revocation_endpoint="https://arrakis.acme.com/apps/{client_id}/revoke",
        issuer="https://arrakis.acme.com/{tid}",
        jwks_uri="https://arrakis.acme.com/keys",
        follow_up=FollowUp(url="https://arrakis.acme.com/me", method="POST"),
        api=Api(base_url="https://arrakis.acme.com/{region}"),
        authorization_params={"resource": "https://arrakis.acme.com", "prompt": "consent"},
        token_params={"shop": "arrakis"},
        refresh_params={"shop": "arrakis"},
    )


def test_a_parameter_whose_variable_has_no_value_is_left_out() -> None:
    audience = Variable(label="Audience", kind="text", example="api", required=False)
    provider = acme(
        variables={"shop": Variable(label="Shop", example="arrakis"), "audience": audience},
        authorization_params={"audience": "{audience}", "prompt": "consent"},
        token_params={"audience": "{audience}"},
    )

    without, with_it = provider.bound({"shop": "arrakis"}), provider.bound({"shop": "arrakis", "audience": "api"})

    assert (without.authorization_params, without.token_params) == ({"prompt": "consent"}, {})
    assert with_it.authorization_params == {"audience": "api", "prompt": "consent"}
    assert with_it.token_params == {"audience": "api"}


def test_other_addresses_hold_at_a_customers_own_host() -> None:
    provider = hosted(
        revocation_endpoint="https://api.acme.com/revoke",
        follow_up="https://api.acme.com/me",
        api=Api(base_url="https://api.acme.com", scheme="Token"),
        own_host=Addresses(follow_up="https://{domain}/api/me", api_base_url="https://{domain}/api"),
    )

    ours, theirs = provider.bound({"domain": "acme.com"}), provider.bound({"domain": "our.server.net"})

    assert (ours.follow_up, ours.api) == (
        "https://api.acme.com/me",
        Api(base_url="https://api.acme.com", scheme="Token"),
    )
    assert theirs.follow_up == "https://our.server.net/api/me"
    assert theirs.api == Api(base_url="https://our.server.net/api", scheme="Token")
    assert theirs.revocation_endpoint == "https://api.acme.com/revoke"


def keys(**fields: Any) -> Kind:
    return Kind(**{"label": "Key", "auth": "key", "properties": {"secret": Property(secret=True)}} | fields)


def test_a_kind_of_credential_moves_with_the_providers_hosts() -> None:
    minted = keys(token_endpoint="https://{shop}.acme.com/token/{id}", check="/me", token_params={"id": "{id}"})
    elsewhere = keys(api=Api(base_url="https://{shop}.keys.com"), check=FollowUp(url="https://{shop}.keys.com/{id}"))
    provider = acme(kinds={"acme_minted": minted, "acme_key": elsewhere})

    bound = provider.bound({"shop": "arrakis"})

    assert bound.kinds == {
        "acme_minted": msgspec.structs.replace(minted, token_endpoint="https://arrakis.acme.com/token/{id}"),
        "acme_key": msgspec.structs.replace(
            elsewhere,
            api=Api(base_url="https://arrakis.keys.com"),
            check=FollowUp(url="https://arrakis.keys.com/{id}"),
        ),
    }


def test_a_check_below_the_api_is_where_the_api_is() -> None:
    kinds = {"acme_key": keys(check="/me"), "acme_token": keys(api=Api(base_url="https://b.com"), check="/me")}
    provider = hosted(
        api=Api(base_url="https://api.acme.com/"),
        check="/v1/me",
        own_host=Addresses(api_base_url="https://{domain}/api"),
        kinds=kinds,
    )

    urls = dict(provider.urls())

    assert urls["check"] == "https://api.acme.com/v1/me"
    assert urls["kinds.acme_key.check"] == "https://api.acme.com/me"
    assert urls["kinds.acme_token.check"] == "https://b.com/me"
    bound = provider.bound({"domain": "our.server.net"})
    assert (bound.check, bound.api) == ("/v1/me", Api(base_url="https://our.server.net/api"))
    assert dict(bound.urls())["kinds.acme_key.check"] == "https://our.server.net/api/me"


def test_in_the_sandbox_every_call_goes_to_the_simulator() -> None:
    """F02: no sandbox token reaches a real host, and the simulator still sees which URL was meant."""
    provider = acme(
        check="/me",
        api=Api(base_url="https://api.acme.com"),
        introspection_endpoint="https://acme.com/introspect",
        kinds={"acme_minted": keys(token_endpoint="https://{shop}.acme.com/mint", check="https://acme.com/{id}")},
        refresh_endpoint="https://refresh.acme.com/token",
        revocation_endpoint="https://acme.com/revoke",
        jwks_uri="https://keys.acme.com/jwks",
        follow_up="https://api.acme.com/me?fields=id",
        issuer="https://acme.com",
    )

    bound = provider.bound({"shop": "arrakis"}, sandbox_url=SANDBOX)

    assert dict(bound.urls()) == {
        "authorization_endpoint": f"{SANDBOX}/arrakis.acme.com/authorize",
        "token_endpoint": f"{SANDBOX}/arrakis.acme.com/token",
        "refresh_endpoint": f"{SANDBOX}/refresh.acme.com/token",
        "revocation_endpoint": f"{SANDBOX}/acme.com/revoke",
        "introspection_endpoint": f"{SANDBOX}/acme.com/introspect",
        "jwks_uri": f"{SANDBOX}/keys.acme.com/jwks",
        "follow_up": f"{SANDBOX}/api.acme.com/me?fields=id",
        "check": f"{SANDBOX}/api.acme.com/me",
        "kinds.acme_minted.token_endpoint": f"{SANDBOX}/arrakis.acme.com/mint",
        "kinds.acme_minted.check": f"{SANDBOX}/acme.com/{{id}}",
    }
    assert bound.issuer == "https://acme.com"


def test_what_is_not_there_stays_away_in_the_sandbox() -> None:
    bound = acme().bound({"shop": "arrakis"}, sandbox_url=SANDBOX)

    assert (bound.refresh_endpoint, bound.revocation_endpoint, bound.jwks_uri, bound.follow_up) == ("", "", "", "")
    assert bound.api is None
    assert not bound.revokes


# ---- fill ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["evil.com/", "evil.com?", "evil.com#"])
def test_a_value_cannot_end_the_host(value: str) -> None:
    """F01: whatever the rules for values overlooked."""
    with pytest.raises(VariableNotAccepted):
        fill("https://{shop}.acme.com/token", {"shop": value})


def test_a_value_cannot_leave_its_segment_of_the_path() -> None:
    filled = fill("https://acme.com/{tenant}/token", {"tenant": "../x?y#z"})

    assert filled == "https://acme.com/..%2Fx%3Fy%23z/token"


def test_the_scheme_and_the_port_stay() -> None:
    assert fill("http://{domain}:8443/token", {"domain": "localhost"}) == "http://localhost:8443/token"


@pytest.mark.parametrize("url", ["/me", "{instance_url}/me", f"{SANDBOX}/acme.com/me", "ftp://acme.com/me"])
def test_what_is_there_already_or_no_web_address_is_not_moved_to_the_sandbox(url: str) -> None:
    assert in_sandbox(url, SANDBOX) == url


def test_without_a_simulator_an_address_stays() -> None:
    assert in_sandbox("https://acme.com/me", "") == "https://acme.com/me"


# ---- what it says of itself ------------------------------------------------------------------------------------------


def test_a_property_is_read_in_one_place() -> None:
    with pytest.raises(ValueError, match="exactly one place"):
        _ = Property().source
    with pytest.raises(ValueError, match="exactly one place"):
        _ = Property(token_response="id", callback="id").source
    assert Property(id_token="sub").source == ("id_token", "sub")


def test_a_dash_in_the_slug_is_an_underscore_in_the_kind() -> None:
    assert acme(slug="acme-shops").kind == "acme_shops_oauth2"


def test_public_clients_are_taken_where_the_file_says_so() -> None:
    assert not acme().takes_public_clients
    assert acme(token_endpoint_auth_methods_supported=["client_secret_basic", "none"]).takes_public_clients


def test_private_keys_are_taken_where_something_is_signed_with_them() -> None:
    app = keys(auth="app_jwt", oauth_app=True, token_endpoint="https://acme.com/mint")

    assert not acme(kinds={"acme_key": keys()}).takes_private_keys
    assert acme(kinds={"acme_app": app}).takes_private_keys
    assert acme(client_secret_from="apple_client_secret").takes_private_keys


def test_without_an_authorization_endpoint_there_is_no_code_flow() -> None:
    assert acme().has_code_flow
    assert not acme(authorization_endpoint="", token_endpoint="").has_code_flow


def test_the_identity_is_what_the_file_marks() -> None:
    credential = {"org": Property(callback="org", identity=True), "email": Property(callback="email")}

    assert acme(credential=credential).identity_properties() == ["org"]
