"""Where a credential's provider is: what its OAuth app says, what its properties may say, and what has to be known."""

from typing import Any

import pytest

from providers import kinds
from providers.kinds import PropertiesNotAccepted
from tests.providers.imports import IMPORTS


def variables(name: str, values: dict[str, Any], **rest: Any) -> dict[str, str]:
    return kinds.get(name).variables(values, **{"fixed": {}} | rest)


def not_variables(name: str, values: dict[str, Any], **rest: Any) -> dict[str, list[str]]:
    with pytest.raises(PropertiesNotAccepted) as caught:
        variables(name, values, **rest)
    return caught.value.errors


@pytest.mark.parametrize("host", ["evil.com", "acme.auth0.com.evil.com", "evilauth0.com"])
def test_an_oauth_apps_secret_is_not_sent_where_an_import_says(host: str) -> None:
    """F01, B05."""
    assert not_variables("auth0_oauth2", {"domain": host}) == {
        "domain": ["It must be fixed on the OAuth app, since it is not the provider's own host."]
    }
    assert variables("auth0_oauth2", {"domain": host}, fixed={"domain": host}) == {"domain": host}
    assert variables("auth0_oauth2", {"domain": host}, own_hosts=True) == {"domain": host}


def test_a_developers_own_password_may_go_to_a_host_of_his_own() -> None:
    assert variables("servicenow_password", {"instance": "help.acme.com"}) == {"instance": "help.acme.com"}


@pytest.mark.parametrize("own_hosts", [False, True])
def test_an_import_may_not_contradict_its_oauth_app(own_hosts: bool) -> None:
    theirs = {"domain": "other.eu.auth0.com"}

    errors = not_variables("auth0_oauth2", theirs, fixed={"domain": "acme.eu.auth0.com"}, own_hosts=own_hosts)

    assert errors.keys() == {"domain"}


def test_what_only_the_oauth_app_may_say_is_not_taken_from_an_import() -> None:
    assert not_variables("github_oauth2", {"domain": "github.acme.com"}) == {
        "domain": ["Is not what the OAuth app says."]
    }
    assert variables("github_oauth2", {}, fixed={"domain": "github.acme.com"}) == {"domain": "github.acme.com"}
    assert variables("github_oauth2", {}) == {"domain": "github.com"}


@pytest.mark.parametrize("value", ["evil.com/x", "a b", "", "a\x00"])
def test_a_value_is_judged_again_before_it_is_an_address(value: str) -> None:
    """F01: a row that somebody wrote into the database is no better than a request."""
    assert not_variables("zendesk_oauth2", {"subdomain": value}).keys() == {"subdomain"}
    assert not_variables("servicenow_password", {"instance": value}).keys() == {"instance"}


def test_a_broken_value_of_the_oauth_app_is_named_too() -> None:
    assert not_variables("apple_oauth2", {}, fixed={"team_id": "x", "key_id": "FGHIJ67890"}).keys() == {"team_id"}


def test_an_address_that_is_not_known_is_asked_for() -> None:
    required = ["Is required, here or on the OAuth app."]

    assert not_variables("zendesk_oauth2", {}) == {"subdomain": required}
    assert not_variables("servicenow_password", {}) == {"instance": required}
    assert not_variables("apple_oauth2", {}, fixed={"team_id": "ABCDE12345"}) == {"key_id": required}
    assert not_variables("workday_oauth2", {}) == {"tenant": required, "token_domain": required}


def test_what_only_a_browser_is_sent_to_is_not_asked_for() -> None:
    given = {"tenant": "acme", "token_domain": "wd2-impl-services1.workday.com"}

    assert variables("workday_oauth2", given) == given
    assert variables("workday_oauth2", kinds.get("workday_oauth2").accept(given | {"refresh_token": "r"})) == given


def test_a_shops_variable_is_its_label() -> None:
    assert variables("shopify_oauth2", {"shop": "acme.myshopify.com"}) == {"shop": "acme"}


@pytest.mark.parametrize("name", ["auth0_oauth2", "okta_oauth2", "shopify_oauth2"])
def test_what_the_oauth_app_fixes_completes_an_import(name: str) -> None:
    kind = kinds.get(name)
    [variable] = [name for name, variable in kind.provider.variables.items() if variable.required]
    fixed = {variable: kind.provider.variables[variable].example}
    whole = kind.accept(IMPORTS[name])

    assert kind.accept({key: v for key, v in IMPORTS[name].items() if key != variable}, fixed=fixed) == whole
    assert kind.variables(whole, fixed=fixed) == kind.variables(whole, fixed={})
