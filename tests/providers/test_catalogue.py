"""The files: how they are read, laid over each other and refused, and that ours are sound."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.conf import settings as product
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from providers import catalogue, vocabulary
from providers.catalogue.rules import leaks, lint
from providers.placeholders import names_in
from providers.provider import Provider
from providers.variables import Variable, VariableNotAccepted

BUILT_IN = sorted(catalogue.FOLDER.glob("*.toml"))
ACME = """
slug = "acme"
name = "Acme"
docs = "https://docs.acme.com/oauth"
checked = 2026-11-22
authorization_endpoint = "https://acme.com/authorize"
token_endpoint = "https://acme.com/token"
"""
SHOP = """
[credential]
shop = { variable = "shop", identity = true }
[variables.shop]
label = "Shop"
example = "arrakis"
"""
UNUSED = """
[variables.shop]
label = "Shop"
example = "arrakis"
"""


@pytest.fixture
def own(tmp_path: Path, settings: Settings) -> Path:
    """The folder of an operator's own files."""
    settings.PROVIDERS_DIR = str(tmp_path)
    return tmp_path


def acme(text: str = "") -> Provider:
    """Acme's file, with `text` laid over it."""
    return msgspec.convert({**tomllib.loads(ACME), **tomllib.loads(text)}, Provider)


# ---- files that are refused ------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_stops_the_start(settings: Settings, tmp_path: Path) -> None:
    settings.PROVIDERS_DIR = str(tmp_path / "nowhere")

    with pytest.raises(ImproperlyConfigured, match=r"^PROVIDERS_DIR is not a folder\.$"):
        catalogue.load()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("slug = ", "(at end of document)"),
        (ACME.replace('name = "Acme"\n', ""), "missing required field `name`"),
        (ACME.replace("checked = 2026-11-22", 'checked = "soon"'), "checked"),
        (ACME + "pkce = true\n", "unknown field `pkce`"),
        (ACME + "[api]\nbase_url = 'https://acme.com'\nhost = 'x'\n", "unknown field `host`"),
        (ACME + 'code_challenge_methods_supported = ["plain"]\n', "plain"),
        (ACME.replace('"acme"', '"ajax"'), "slug must be the file's name"),
        (ACME.replace("https://acme.com/token", "http://acme.com/token"), "token_endpoint must be an https URL"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_problem(own: Path, text: str, says: str) -> None:
    (own / "acme.toml").write_text(text)

    with pytest.raises(ImproperlyConfigured) as caught:
        catalogue.load()

    assert str(caught.value).startswith(f"{own / 'acme.toml'}: ")
    assert says in str(caught.value)


def test_a_file_that_is_not_utf_8_is_named(own: Path) -> None:
    (own / "acme.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(ImproperlyConfigured, match=r"acme\.toml"):
        catalogue.load()


def test_an_unknown_slug_is_a_lookup_error() -> None:
    with pytest.raises(catalogue.UnknownProvider):
        catalogue.get("nobody")


# ---- an operator's own files -----------------------------------------------------------------------------------------


def test_two_providers_cannot_have_the_same_kind_of_credential(own: Path) -> None:
    (own / "stripe-key.toml").write_text(ACME.replace('"acme"', '"stripe-key"'))
    (own / "stripe.toml").write_text(
        '[kinds.stripe_key_oauth2]\nlabel = "X"\nauth = "key"\nproperties.a = { identity = true, secret = true }\n'
    )

    with pytest.raises(ImproperlyConfigured, match=r"stripe-key\.toml: kinds\.stripe_key_oauth2 is stripe's already$"):
        catalogue.load()


def test_a_provider_without_a_code_flow_is_loaded_and_offered_to_no_oauth_app(own: Path) -> None:
    endpoints = ACME.index("authorization_endpoint")
    (own / "acme.toml").write_text(
        ACME[:endpoints]
        + '[kinds.acme_key]\nlabel = "K"\nauth = "key"\nproperties.a = { identity = true, secret = true }\n'
    )

    assert not catalogue.get("acme").has_code_flow
    assert ("acme", "Acme") not in catalogue.choices()


def test_a_new_file_adds_a_provider(own: Path) -> None:
    (own / "acme.toml").write_text(ACME)

    assert catalogue.get("acme").token_endpoint == "https://acme.com/token"
    assert ("acme", "Acme") in catalogue.choices()
    assert len(catalogue.load()) == len(BUILT_IN) + 1


def test_a_file_with_a_built_ins_name_is_laid_over_it(own: Path, settings: Settings) -> None:
    settings.PROVIDERS_DIR = ""
    ours = catalogue.get("stripe")
    settings.PROVIDERS_DIR = str(own)
    (own / "stripe.toml").write_text(
        'token_endpoint = "https://stripe.example/token"\n[credential]\nregion = { token_response = "region" }\n'
    )

    theirs = catalogue.get("stripe")

    assert list(theirs.credential) == [*ours.credential, "region"]
    assert theirs == msgspec.structs.replace(
        ours, token_endpoint="https://stripe.example/token", credential=theirs.credential
    )


def test_what_is_laid_over_a_built_in_is_checked_as_a_whole(own: Path) -> None:
    (own / "zendesk.toml").write_text('token_endpoint = "https://{tenant}.zendesk.com/token"\n')

    with pytest.raises(ImproperlyConfigured, match=r"token_endpoint uses \{tenant\}, which is no variable"):
        catalogue.load()


def test_plain_http_is_for_addresses_that_the_egress_guard_lets_through(own: Path, settings: Settings) -> None:
    """F22."""
    settings.EGRESS_ALLOW = ["127.0.0.1:9000"]
    (own / "acme.toml").write_text(ACME.replace("https://acme.com", "http://127.0.0.1:9000"))

    assert catalogue.get("acme").token_endpoint == "http://127.0.0.1:9000/token"


# ---- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('slug = "Acme_1"', "slug must be lower-case words joined by dashes"),
        ('name = " "', "name must not be empty"),
        ('docs = "docs.acme.com"', "docs must be an https URL"),
        ('authorization_endpoint = ""', "authorization_endpoint must not be empty"),
        ('token_endpoint = ""', "token_endpoint must not be empty"),
        (
            'authorization_endpoint = ""\ntoken_endpoint = ""',
            "authorization_endpoint and token_endpoint, or [kinds], must say what it offers",
        ),
        ('token_endpoint = "http://acme.com/token"', "token_endpoint must be an https URL"),
        ('token_endpoint = "https://me@acme.com/token"', "token_endpoint must be an https URL"),
        ('follow_up = "ftp://acme.com/me"', "follow_up must be an https URL"),
        ('follow_up = { url = "/me" }', "follow_up must be an https URL"),
        ('own_host = { follow_up = "http://acme.com" }', "own_host.follow_up must be an https URL"),
        ('jwks_uri = "https://acme.com/{shop}"', "jwks_uri uses {shop}, which is no variable"),
        ('authorization_params = { a = "{b}" }', "authorization_params.a uses {b}, which is no variable"),
        ('token_params = { a = "{b}" }', "token_params.a uses {b}, which is no variable"),
        ('refresh_params = { a = "{token}" }', "refresh_params.a uses {token}, which is no variable"),
        ('revocation = { params = { a = "{b}" } }', "revocation.params.a uses {b}, which is no variable"),
        ('api = { base_url = "{instance}" }', "api.base_url uses {instance}, which is no variable"),
        (
            'follow_up = { url = "https://acme.com", form = { a = "{refresh_token}" } }',
            "follow_up.form.a uses {refresh_token}, which is no variable",
        ),
        ("pkce_required = true", "pkce_required needs code_challenge_methods_supported"),
        ("token_endpoint_auth_methods_supported = []", "token_endpoint_auth_methods_supported must not be empty"),
        ('token_response_names = { token = "t" }', "token_response_names.token is no member of a token answer"),
        ('callback_check = "nothing"', "callback_check names nothing, which is not in quirks.py"),
        ('client_secret_from = "nothing"', "client_secret_from names nothing, which is not in quirks.py"),
        ("[credential]\na = { identity = true }", "credential.a: a property is read in exactly one place of"),
        ('[credential]\na = { callback = "a" }', "no property of [credential] is an identity"),
        (
            '[credential]\nscope = { callback = "a", identity = true }',
            "credential.scope is a member of every credential",
        ),
        ('[credential]\na = { variable = "b", identity = true }', "credential.a reads the variable b, which is not"),
        ('[credential]\na = { follow_up = "b", identity = true }', "credential.a reads follow_up, and there is none"),
        ('[credential]\na = { id_token = "sub", identity = true }', "credential.a reads the id_token, which needs"),
        (
            '[credential]\na = { callback = "a", identity = true, type = "array" }',
            "credential.a is a list, which is no identity",
        ),
        ('[credential]\na = { callback = "a", identity = true, pattern = "(" }', "credential.a: its pattern must be"),
        ('[credential]\na = { callback = "a", identity = true, pattern = "x" }', "credential.a: its pattern must be"),
        (
            '[credential]\na = { callback = "a", identity = true, default = "x" }',
            "credential.a is read from what the provider says, so nothing goes without saying",
        ),
        ('api = { base_url = "ftp://acme.com" }', "api.base_url must be an https URL"),
        ('check = "/me"', "check is below the API's base URL, and there is no api"),
        ('check = "http://acme.com/me"', "check must be an https URL"),
        ('check = { url = "https://acme.com/{shop}" }', "check uses {shop}, which is no variable"),
        (
            'check = { url = "https://acme.com", form = { a = "{secret}" } }',
            "check.form.a uses {secret}, which is no variable",
        ),
        (
            'api = { base_url = "https://acme.com", params = { a = "b" } }',
            "api.params are for passwords, and the code flow yields access tokens",
        ),
        (
            'token_endpoint = "https://{shop}.acme.com/token"\n[variables]\nshop = { label = "Shop", example = "a" }',
            "variable shop stands in an address, so a property of [credential] must keep it",
        ),
    ],
)
def test_a_rule_is_told_in_words(text: str, problem: str) -> None:
    problems = lint(acme(text))

    assert len(problems) == 1
    assert problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("host", "variable", "problem"),
    [
        ("{v}.acme.com", 'kind = "text"\nexample = "a"', "v stands in the host, so it must be a label"),
        ("acme.{v}", 'example = "a"', "the label v must stand under a fixed domain"),
        ("{v}.com", 'example = "a"', "the label v must stand under a fixed domain"),
        ("{v}", 'example = "a"', "the label v must stand under a fixed domain"),
        ("api.{v}", 'kind = "host"\nexample = "a.com"', "v is a whole host, so nothing may stand beside it"),
        ("{v}.acme.com", 'example = "a.b"', "the example of v breaks its own rule"),
        ("{v}.acme.com", 'pattern = "("\nexample = "a"', "variable v: its pattern is no regular expression"),
        ("{v}.acme.com", 'kind = "choice"\nexample = "a"', "variable v is a choice of no values"),
        ("{v}.acme.com", 'default = "A"\nexample = "a"', "the default or a value of v breaks its own rule"),
        ("{v}.acme.com", 'kind = "choice"\nvalues = ["a", "B"]', "the default or a value of v breaks its own rule"),
    ],
)
def test_what_a_customer_says_cannot_lead_elsewhere(host: str, variable: str, problem: str) -> None:
    """F01."""
    kept = '[credential]\nv = { variable = "v", identity = true }\n'
    problems = lint(acme(f'token_endpoint = "https://{host}/token"\n{kept}[variables.v]\nlabel = "V"\n{variable}\n'))

    assert len(problems) == 1
    assert problem in problems[0]


@pytest.mark.parametrize(
    "name", ["client_id", "redirect_uri", "state", "scope", "debug", "response_type", "environment"]
)
def test_a_variable_does_not_hide_a_parameter_of_the_start_url(name: str) -> None:
    shop = SHOP.replace("shop = {", "kept = {").replace("shop", name)
    provider = acme(f'token_endpoint = "https://{{{name}}}.acme.com/token"\n{shop}')

    assert lint(provider) == [f"variable {name} is a parameter of the start URL"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (UNUSED, "variable shop is used nowhere"),
        (UNUSED + 'from = ["app"]\n', "variable shop is used nowhere"),
        (
            'follow_up = "https://{shop}.acme.com/me"\n' + SHOP.replace('example = "arrakis"\n', ""),
            "variable shop needs an example",
        ),
        ('token_endpoint_auth_methods_supported = ["none"]\n', "an app without a secret is safe with PKCE alone"),
    ],
)
def test_what_is_unsound_is_told_and_does_not_stop_the_start(own: Path, text: str, problem: str) -> None:
    (own / "acme.toml").write_text(ACME + text)

    problems = catalogue.problems_of(own / "acme.toml")

    assert [told.startswith(problem) for told in problems] == [True]
    assert catalogue.get("acme").slug == "acme"


def test_a_variable_that_a_function_reads_is_used(own: Path) -> None:
    text = 'client_secret_from = "apple_client_secret"\n' + UNUSED + 'from = ["app"]\n'
    (own / "acme.toml").write_text(ACME + text)

    assert catalogue.problems_of(own / "acme.toml") == []


@pytest.mark.parametrize(
    "text",
    [
        'setup = ["Use sk_live_canary."]',
        'authorization_params = { client_id = "x" }',
        'token_params = { client_secret = "x" }',
        'token_headers = { Authorization = "Basic eA==" }',
        'authorization_params = { app = "00000000-0000-4000-8000-00000000000a" }',
        'refresh_params = { x = "eyJjYW5hcnljYW5hcnki.e30.c2ln" }',
        'setup = ["Send c4naryc4naryc4naryc4naryc4nary."]',
        '[sandbox]\nanswer = [{ access_token = "xoxb-canary-canary" }]',
    ],
)
def test_somebodys_secret_or_sample_value_is_found_and_not_repeated(own: Path, text: str) -> None:
    (own / "acme.toml").write_text(ACME + text + "\n")

    [problem] = catalogue.problems_of(own / "acme.toml")

    assert problem.endswith(" looks like a secret, a client id or a sample value")
    assert "canary" not in problem
    assert "c4nary" not in problem


def test_placeholders_and_long_addresses_are_no_secrets() -> None:
    document = {
        "revocation": {"params": {"client_id": "{client_id}", "token": "{token}"}},
        "docs": "https://docs.oracle.com/en/cloud/saas/netsuite/ns-online-help/section_158081944642.html",
        "sandbox": {"access_token_format": "xoxb-sandbox_{random}"},
    }

    assert leaks(document) == []


def test_every_problem_of_a_file_is_told(own: Path) -> None:
    (own / "ajax.toml").write_text(ACME.replace("https://docs", "docs") + "pkce_required = true\n")

    assert catalogue.problems_of(own / "ajax.toml") == [
        "slug must be the file's name",
        "docs must be an https URL",
        "pkce_required needs code_challenge_methods_supported",
    ]


# ---- the built-in files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
def test_a_built_in_file_is_sound(path: Path) -> None:
    provider = catalogue.parsed(path)

    assert catalogue.problems_of(path) == []
    assert 2 <= len(provider.setup) <= 5
    assert any("callback URL" in step for step in provider.setup) == provider.has_code_flow
    assert bool(provider.credential) == provider.has_code_flow


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
def test_a_built_in_file_says_nothing_that_goes_without_saying(path: Path) -> None:
    said = tomllib.loads(path.read_text())
    written = {name: getattr(catalogue.parsed(path), name) for name in said}

    assert [name for name, value in written.items() if value == default(Provider, name)] == []
    for variable in catalogue.parsed(path).variables.values():
        assert variable.sources != default(Variable, "sources") or "from" not in said["variables"]


def default(struct: type[msgspec.Struct], field: str) -> Any:
    [found] = [info for info in msgspec.structs.fields(struct) if info.name == field]
    return found.default_factory() if found.default_factory is not msgspec.NODEFAULT else found.default


@pytest.mark.parametrize("provider", catalogue.load().values(), ids=lambda provider: provider.slug)
def test_a_built_in_provider_has_an_address_for_each_customer(provider: Provider) -> None:
    given = {name: variable.example for name, variable in provider.variables.items()}
    variables = provider.accept_variables(given, fixed=given)

    bound = provider.bound(variables, sandbox_url=f"{product.PUBLIC_URL}/sandbox/{provider.slug}")

    for where, url in bound.urls():
        kind = bound.kinds.get(where.split(".")[1]) if where.startswith("kinds.") else None
        assert set(names_in(url)) <= {"client_id", *(kind.properties if kind else bound.credential)}
        assert url.startswith((f"{product.PUBLIC_URL}/sandbox/{provider.slug}/", "{"))
    assert names_in(str([*bound.authorization_params.values(), *bound.token_params.values()])) == []


@pytest.mark.parametrize(
    ("slug", "properties", "identity"),
    [
        ("airtable", {"airtable_uid"}, ["airtable_uid"]),
        ("auth0", {"domain", "sub"}, ["domain", "sub"]),
        ("github", {"github_user_id", "login"}, ["github_user_id", "domain"]),
        ("hubspot", {"hub_id", "hub_domain", "hubspot_user", "hubspot_user_id", "scopes"}, ["hub_id"]),
        ("linear", {"linear_org_id", "linear_org_name"}, ["linear_org_id"]),
        ("netsuite", {"account_id", "role_id", "entity_id"}, ["account_id", "role_id", "entity_id"]),
        ("quickbooks", {"realm_id"}, ["realm_id"]),
        ("salesforce", {"instance_url", "organization_id", "user_id"}, ["organization_id", "user_id"]),
        ("servicenow", {"instance", "user_id"}, ["instance", "user_id"]),
        ("shopify", {"shop", "associated_user_id"}, ["shop", "associated_user_id"]),
        ("stripe", {"stripe_user_id", "livemode", "stripe_publishable_key"}, ["stripe_user_id", "livemode"]),
        ("workday", {"tenant", "authorization_domain", "token_domain"}, ["tenant", "token_domain"]),
    ],
)
def test_a_credential_has_the_published_properties(slug: str, properties: set[str], identity: list[str]) -> None:
    provider = catalogue.get(slug)

    assert properties <= provider.credential.keys()
    assert provider.identity_properties() == identity


@pytest.mark.parametrize("slug", ["auth0", "clerk", "servicenow", "workday"])
def test_a_tenants_servers_get_a_callback_of_the_apps_own(slug: str) -> None:
    """B05."""
    assert catalogue.get(slug).needs_own_callback({}, has_secret=True)


@pytest.mark.parametrize(
    ("slug", "variable", "host"),
    [
        ("salesforce", "domain", "evil.com"),
        ("salesforce", "domain", "login.salesforce.com.evil.com"),
        ("okta", "domain", "evilokta.com"),
        ("auth0", "domain", "login.acme.com"),
        ("servicenow", "instance", "help.acme.com"),
        ("workday", "token_domain", "evil.com"),
        ("clerk", "domain", "clerk.acme.com"),
    ],
)
def test_a_customers_host_is_taken_from_the_oauth_app_alone(slug: str, variable: str, host: str) -> None:
    """F01, B05."""
    with pytest.raises(VariableNotAccepted):
        catalogue.get(slug).accept_variables({variable: host}, fixed={})

    assert catalogue.get(slug).accept_variables({}, fixed={variable: host})[variable] == host


def test_github_enterprise_has_its_api_on_its_own_host() -> None:
    """A token of a customer's server is shown to no other server."""
    bound = catalogue.get("github").bound({"domain": "github.acme.com"})

    assert bound.follow_up == "https://github.acme.com/api/v3/user"
    assert bound.revocation_endpoint == "https://github.acme.com/api/v3/applications/{client_id}/token"
    assert bound.api == vocabulary.Api(base_url="https://github.acme.com/api/v3")


# ---- the documentation -----------------------------------------------------------------------------------------------


def test_the_documentation_names_every_word_of_the_vocabulary() -> None:
    page = (product.BASE_DIR / "docs" / "adding-a-provider.md").read_text()
    structs = [
        struct
        for struct in {**vars(vocabulary), "Provider": Provider, "Variable": Variable}.values()
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct)
    ]

    words = {field.encode_name for struct in structs for field in msgspec.structs.fields(struct)}
    documented = {row.split("`")[1] for row in page.splitlines() if row.startswith("| `")}

    assert documented == words
