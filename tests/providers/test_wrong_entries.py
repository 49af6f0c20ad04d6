"""
A wrong entry of the catalogue fails its trip: one field of a provider is changed, and its simulator refuses.

So the simulator's part is no copy of what the engine reads.
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.test import Client
from responses import RequestsMock

from oauth_apps.models import Account
from providers import catalogue
from tests.providers.test_every_trip import TripFailed, travel


class Wrong(NamedTuple):
    """`step`: where the trip ends. `why`: part of what is said there, by the simulator or by us.

    `variables`, `yields`: see travel().
    """

    slug: str
    entry: str
    step: str
    why: str
    variables: dict[str, str] = {}
    yields: frozenset[str] = frozenset()


AT_ZOHO = "values = ['accounts.zoho.com', 'accounts.zoho.eu'], default = 'accounts.zoho.com'"
NO_REFRESH_TOKEN = "where True = offers_refresh_tokens("
SCOPES = "scope names no scopes that this provider has."
BASIC = "client_secret_basic is not taken here, but client_secret_post."
POST = "client_secret_post is not taken here, but client_secret_basic"
WRONG = [
    Wrong("airtable", "token_endpoint_auth_methods_supported = ['client_secret_post']", "exchange", POST),
    Wrong("amazon-selling-partner", "callback_code_param = 'code'", "exchange", "neither a code nor an error"),
    Wrong("atlassian", "[authorization_params]\naudience = 'elsewhere'", "consent", "audience must be api"),
    Wrong("dingtalk", "[token_param_names]\nclient_id = 'client_id'", "exchange", "There is no such client."),
    Wrong("dropbox", "[authorization_params]\ntoken_access_type = 'online'", "refresh", NO_REFRESH_TOKEN),
    Wrong("exact-online", "refresh_only_in_last = 0", "refresh", "has more than 30 seconds left"),
    Wrong("figma", "refresh_endpoint = ''", "refresh", "This provider has no such grant type."),
    Wrong("google", "[authorization_params]\naccess_type = 'online'", "refresh", NO_REFRESH_TOKEN),
    Wrong(
        "hubspot",
        "credential.hub_id = { token_response = 'hubId', type = 'integer', identity = true }",
        "exchange",
        "hub_id is missing",
    ),
    Wrong("instagram", "[second_step]\nmethod = 'POST'", "exchange", "status 405"),
    Wrong("linkedin", "token_endpoint_auth_methods_supported = ['client_secret_basic']", "exchange", BASIC),
    Wrong("mixcloud", "state_returned = true", "exchange", "<!doctype html>"),  # nobody knows whose callback it is
    Wrong("notion", "token_request_format = 'form'", "exchange", "The body must be json"),
    Wrong("quickbooks", "token_endpoint_auth_methods_supported = ['client_secret_post']", "exchange", POST),
    Wrong("reddit", "[authorization_params]\nduration = 'temporary'", "refresh", NO_REFRESH_TOKEN),
    Wrong("shopify", "[token_params]\nexpiring = '0'", "refresh", NO_REFRESH_TOKEN),
    Wrong("slack", "scope_separator = ' '", "consent", SCOPES),
    Wrong(
        "slack",
        "[authorization_params]\nuser_scope = ''\nuser_scopes = '{user_scope}'",
        "import",
        "user_access_token",
        variables={"user_scope": "users:read,chat:write"},
        yields=frozenset({"user_access_token"}),
    ),
    Wrong("stripe", "token_endpoint_auth_methods_supported = ['client_secret_basic']", "exchange", BASIC),
    Wrong("tiktok", "[authorization_param_names]\nclient_id = 'client_id'", "consent", "client_key and redirect_uri"),
    Wrong("todoist", "scope_separator = ' '", "consent", SCOPES),
    Wrong("twitch", "scope_separator = ','", "consent", SCOPES),
    Wrong(
        "twitter",
        "pkce_required = false\ncode_challenge_methods_supported = []",
        "consent",
        "code_challenge must be there.",
    ),
    Wrong("vk", "[refresh_params]\ndevice_id = ''", "refresh", "device_id must be there."),
    Wrong("wechat", "token_request_method = 'POST'", "exchange", "status 405"),
    Wrong("withings", "[token_response_names]\naccess_token = 'access_token'", "exchange", "a refresh token alone"),
    Wrong("zendesk", "[revocation]\nmethod = 'POST'", "revocation", "status 405"),
    Wrong(
        "zoho",
        f"variables.accounts_server = {{ label = 'Data centre', kind = 'choice', {AT_ZOHO} }}",
        "exchange",
        "status 404",
    ),
]


def at_production(slug: str, deployment: str, name: str) -> str:
    """The entry of a deployment, one of whose addresses is production's."""
    document = tomllib.loads(catalogue.path_of(slug).read_text())
    addresses = document["deployments"][deployment] | {name: document[name]}
    return "\n".join([f"[deployments.{deployment}]", *(f"{key} = {json.dumps(addresses[key])}" for key in addresses)])


def wrong_addresses() -> Iterator[Wrong]:
    for slug, deployment, name, step, why in [
        ("clover", "sandbox", "refresh_endpoint", "refresh", "There is no such refresh token"),
        ("docusign", "demo", "token_endpoint", "exchange", "There is no such code"),
        ("docusign", "demo", "follow_up", "exchange", "another client's or customer's"),
        ("ebay", "sandbox", "authorization_endpoint", "exchange", "There is no such code"),
        ("ebay", "sandbox", "token_endpoint", "exchange", "There is no such code"),
        ("orcid", "sandbox", "revocation_endpoint", "revocation", "another client's or customer's"),
    ]:
        yield Wrong(slug, at_production(slug, deployment, name), step, why, variables={"deployment": deployment})


@pytest.mark.parametrize("wrong", [*WRONG, *wrong_addresses()], ids=lambda wrong: f"{wrong.slug}-{wrong.step}")
def test_a_wrong_field_fails_the_trip(
    wrong: Wrong,
    tmp_path: Path,
    settings: Any,
    client: Client,
    account: Account,
    network: RequestsMock,
    django_capture_on_commit_callbacks: Any,
) -> None:
    (tmp_path / f"{wrong.slug}.toml").write_text(wrong.entry)
    settings.PROVIDERS_DIR = str(tmp_path)

    with pytest.raises(TripFailed) as caught:
        travel(
            catalogue.get(wrong.slug),
            client,
            account,
            lambda: django_capture_on_commit_callbacks(execute=True),
            variables=wrong.variables,
            yields=wrong.yields,
        )

    assert caught.value.step == wrong.step
    assert wrong.why in f"{caught.value} {last_said(network)}"


def last_said(network: RequestsMock) -> str:
    """How the simulator answered us in the end."""
    if not len(network.calls):
        return ""
    answer: Any = network.calls[-1].response
    return f"status {answer.status_code}: {answer.headers.get('Sandbox-Reason', '')}"
