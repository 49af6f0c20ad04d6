"""What the `[kinds]` of a catalogue file are refused for, and that a sound one is not."""

import tomllib

import msgspec
import pytest

from providers.catalogue.rules import lint
from providers.provider import Provider

HEAD = """
slug = "acme"
name = "Acme"
docs = "https://docs.acme.com"
checked = 2026-11-22
"""
FLOW = 'authorization_endpoint = "https://acme.com/authorize"\ntoken_endpoint = "https://acme.com/token"\n'
API = 'api = { base_url = "https://api.acme.com" }\n'
SHOP = '[variables]\nshop = { label = "Shop", example = "a" }\n'

# What a kind of each sort consists of, at least
KEY = 'auth = "key"\n[kinds.acme_key.properties]\nsecret = { secret = true, identity = true }\n'
PASSWORD = """auth = "password"
[kinds.acme_key.properties]
user = { identity = true, pattern = '[^:]+' }
password = { secret = true }
"""
MINTED = """auth = "client_credentials"
token_endpoint = "https://acme.com/token"
[kinds.acme_key.properties]
client_id = { identity = true }
client_secret = { secret = true }
"""
SIGNED = """auth = "oauth1"
[kinds.acme_key.properties]
consumer_key = {}
consumer_secret = { secret = true }
token_id = { identity = true }
token_secret = { secret = true }
"""
APP = """auth = "app_jwt"
oauth_app = true
token_endpoint = "https://acme.com/installations/{id}/token"
[kinds.acme_key.properties]
id = { identity = true }
"""


def problems(head: str, kind: str, name: str = "acme_key") -> list[str]:
    """Of a file that has one kind; `kind`: its table, which may be followed by others."""
    text = f'{HEAD}{head}[kinds.{name}]\nlabel = "K"\n{kind.replace("acme_key", name)}'
    return lint(msgspec.convert(tomllib.loads(text), Provider))


@pytest.mark.parametrize("kind", [KEY, PASSWORD, MINTED, SIGNED])
def test_each_sort_of_kind_is_sound_without_a_code_flow(kind: str) -> None:
    assert problems("", kind) == []


def test_an_apps_installation_is_sound_beside_a_code_flow() -> None:
    assert problems(FLOW, APP) == []


def test_a_kind_is_at_home_below_the_providers_api() -> None:
    variable = SHOP + "[kinds.acme_key.properties.shop]\nvariable = 'shop'\n"
    api = 'api = { base_url = "https://{shop}.acme.com" }\n'

    assert problems(api, KEY.replace("[kinds", 'check = "/me"\n[kinds', 1) + variable) == []


@pytest.mark.parametrize(
    ("head", "kind", "problem"),
    [
        ("", KEY.replace(", identity = true", ""), "acme_key has no identity; of a secret, it is the fingerprint"),
        ("", KEY + "other = { secret = true }\n", "acme_key is a key, so it has exactly one secret"),
        ("", KEY.replace("secret = true, ", ""), "acme_key is a key, so it has exactly one secret"),
        ("", PASSWORD + "other = {}\n", "acme_key is a password, so it has exactly one secret, and one property"),
        ("", PASSWORD + "other = { secret = true }\n", "acme_key is a password, so it has exactly one secret"),
        ("", PASSWORD.replace(", pattern = '[^:]+'", ""), "acme_key is sent as HTTP Basic, so the pattern of the user"),
        ("", PASSWORD.replace("[^:]+", ".+"), "acme_key is sent as HTTP Basic, so the pattern of the user"),
        ("", KEY.replace("[", 'token_endpoint = "https://acme.com/t"\n[', 1), "acme_key has a token_endpoint if its"),
        ("", MINTED.replace('token_endpoint = "https://acme.com/token"\n', ""), "acme_key has a token_endpoint if its"),
        (FLOW, APP.replace("oauth_app = true\n", ""), "acme_key is opened by an app's key, so it belongs to an OAuth"),
        ("", KEY.replace("[", "oauth_app = true\n[", 1), "acme_key belongs to an OAuth app, and the provider takes"),
        ("", SIGNED.replace("consumer_key", "key"), "acme_key signs with consumer_key, consumer_secret, token_id and"),
        ("", SIGNED.replace("token_secret = { secret = true }", "token_secret = {}"), "acme_key signs with consumer_k"),
        ("", KEY.replace("[", 'check = "/me"\n[', 1), "acme_key has a URL below the API's base URL, and there is no"),
        ("", KEY.replace("[", 'check = "http://acme.com/me"\n[', 1), "acme_key.check must be an https URL"),
        (
            "",
            KEY.replace("[", 'check = "https://acme.com/{id}"\n[', 1),
            "acme_key.check uses {id}, which is no variable",
        ),
        ("", MINTED.replace("/token", "/{id}"), "acme_key.token_endpoint uses {id}, which is no variable"),
        (
            "",
            MINTED.replace("[", 'token_params = { a = "{b}" }\n[', 1),
            "acme_key.token_params.a uses {b}, which is no",
        ),
        ("", SIGNED.replace("[", 'realm = "{b}"\n[', 1), "acme_key.realm uses {b}, which is no variable"),
        ("", KEY.replace("[", 'api = { base_url = "http:/x" }\n[', 1), "acme_key.api.base_url must be an https URL"),
        (
            "",
            KEY.replace("[", 'api = { base_url = "https://{a}.b.com" }\n[', 1),
            "acme_key.api.base_url uses {a}, which is no variable",
        ),
        (
            API.replace(" }", ', params = { a = "{secret}" } }'),
            KEY,
            "acme_key sends no password, so its api has no params",
        ),
        (
            API.replace(" }", ', params = { a = "{password}" } }'),
            PASSWORD.replace("[", 'check = "/me"\n[', 1),
            "acme_key sends a password with each call, so its check must be a POST",
        ),
        (
            API.replace(" }", ', params = { a = "{pass}" } }'),
            PASSWORD,
            "api.params.a uses {pass}, which is no variable",
        ),
        (
            "",
            MINTED.replace("https://acme", "https://{shop}.acme") + SHOP,
            "acme_key does not say what {shop} is: no property is that variable",
        ),
        ("", KEY + "scope = {}\n", "acme_key.scope is a member of every credential"),
        ("", KEY + 'a = { callback = "a" }\n', "acme_key.a is imported, so it is read nowhere"),
        ("", KEY + "a = { fallback_identity = true }\n", "acme_key.a is a fallback for an identity that the code flow"),
        ("", KEY + "a = { pattern = '(' }\n", "acme_key.a has a pattern that is no regular expression"),
        ("", KEY + "a = { identity = true, type = 'array' }\n", "acme_key.a is a list, which is no identity"),
        ("", KEY + "a = { variable = 'b' }\n", "acme_key.a keeps to the variable b, which is not declared"),
        ("", KEY + "a = { default = 'b' }\n", "acme_key.a is required, so nothing goes without saying"),
        (
            "",
            KEY + "a = { required = false, default = '{b}' }\n",
            "acme_key.a has a default that uses {b}, which is no property",
        ),
        (
            "",
            KEY + "a = { required = false, told_by = { property = 'b', prefixes = {} } }\n",
            "acme_key.a is told by b, which is no property",
        ),
        ("[credential]\na = { callback = 'a', identity = true }\n", KEY, "[credential] is what a code flow yields"),
    ],
)
def test_a_rule_is_told_in_words(head: str, kind: str, problem: str) -> None:
    [told] = problems(head, kind)

    assert told.removeprefix("kinds.").startswith(problem)


@pytest.mark.parametrize("name", ["ajax_key", "acme_oauth2", "acme"])
def test_a_kind_is_named_after_its_provider(name: str) -> None:
    assert problems(FLOW, KEY, name) == [f"kinds.{name} must begin with the slug, and not be the code flow's"]


@pytest.mark.parametrize("url", ["https://{client_id}.acme.com/token", "https://acme.{client_id}.com/token"])
def test_no_property_but_a_variable_stands_in_a_host(url: str) -> None:
    """F01: what a developer imports can lead to no other host."""
    told = problems("", MINTED.replace("https://acme.com/token", url))

    assert told == ["kinds.acme_key.token_endpoint: client_id stands in the host, so it must be a variable"]


def test_a_variable_of_any_text_does_not_stand_in_a_host() -> None:
    """F01."""
    variable = "[kinds.acme_key.properties.shop]\nvariable = 'shop'\n" + SHOP.replace("}", ', kind = "text" }')
    told = problems("", MINTED.replace("https://acme", "https://{shop}.acme") + variable)

    assert told == ["kinds.acme_key.token_endpoint: shop stands in the host, so it must be a label, a host or a choice"]
