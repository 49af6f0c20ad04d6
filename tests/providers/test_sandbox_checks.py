"""What a trip yields can be imported as it is, and checked: each provider is asked in its own simulator."""

from typing import Any

import pytest

from oauth_apps.models import OAuthApp
from providers import access, kinds
from providers.errors import TokenRequestRejected
from providers.provider import Provider
from tests.providers.test_trips import SLUGS, browser, oauth_app, provider
from tests.providers.trip import Browser

__all__ = ["browser", "oauth_app", "provider"]  # fixtures

CHECKED = [slug for slug in SLUGS if (found := kinds.get(f"{slug}_oauth2").provider).check or found.follow_up]

CHECKED.remove("atlassian")  # whose simulator says 403 of a bad token, as of one that may not do just this


@pytest.fixture
def properties(browser: Browser) -> dict[str, Any]:
    """Of the credential that the token endpoint hands over, with its own kind named."""
    found: dict[str, Any] = browser.token(code=browser.chooses("approve")["code"]).json()["credential"]["properties"]
    return found


def test_what_the_token_endpoint_hands_over_is_accepted_as_it_is(
    properties: dict[str, Any], provider: Provider, oauth_app: OAuthApp
) -> None:
    kind = kinds.find(properties.pop("kind"), with_oauth_app=True)

    values = kind.accept(properties, fixed=oauth_app.variables)

    assert kind.provider is kinds.get(provider.kind).provider
    assert {name: values[name] for name in properties} == properties
    assert kind.identity(values)
    variables = kind.variables(values, fixed=oauth_app.variables, own_hosts=oauth_app.own_callback)
    assert variables == {**variables, **oauth_app.variables}
    assert kind.provider.missing_variables(variables) == []


@pytest.mark.parametrize("provider", CHECKED, indirect=True)
def test_a_check_tells_a_good_token_from_a_bad_one(
    properties: dict[str, Any], provider: Provider, oauth_app: OAuthApp
) -> None:
    kind = kinds.get(properties.pop("kind"))
    bound = provider.bound(oauth_app.variables, sandbox_url=oauth_app.sandbox_url)
    client = oauth_app.client(oauth_app.variables)
    values = kind.accept(properties, fixed=oauth_app.variables)

    document = access.check(kind, bound, client, values, values["access_token"])

    assert document
    with pytest.raises(TokenRequestRejected) as caught:
        access.check(kind, bound, client, values, "nobodys-token")
    assert caught.value.reason == "invalid_token"
