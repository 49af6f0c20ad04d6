"""The files: how they are read, laid over each other and refused, and that ours are sound."""

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.conf import settings as product
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from providers import catalogue, collection, vocabulary
from providers.catalogue.rules import leaks, lint
from providers.placeholders import names_in
from providers.provider import Provider
from providers.sandbox import script
from providers.sandbox.api import records
from providers.sandbox.api.problems import PAGE_VALUES
from providers.showing.pages import descriptions, rows
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

    with pytest.raises(ImproperlyConfigured, match=rf"^PROVIDERS_DIR is not a folder: {tmp_path}/nowhere$"):
        catalogue.load()


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a = 1\nslug = ", 2, "string values must be quoted, expected literal string"),
        ("a = 1\na = 2\n", 2, "duplicate key"),
        (ACME.replace('name = "Acme"\n', ""), 1, "missing required field `name`"),
        (ACME.replace("2026-11-22", '"soon"'), 5, "checked: invalid RFC3339 encoded date"),
        (ACME.replace("2026-11-22", "2026-11-22T10:00:00Z"), 5, "checked: expected `date`, got `datetime`"),
        (ACME + "pkce = true\n", 8, "unknown field `pkce`"),
        (ACME + "[api]\nbase_url = 'https://acme.com'\nhost = 'x'\n", 10, "api: unknown field `host`"),
        (ACME + "[api]\nscheme = 'x'\n", 8, "api: missing required field `base_url`"),
        (ACME + SHOP.replace('"Shop"', "1"), 12, "variables.shop.label: expected `str`, got `int`"),
        (ACME + "[credential]\na = { callback = 'a' }\nb = { identity = 1 }\n", 10, "credential.b.identity: expected"),
        (ACME + 'scopes = ["read"]\n', 8, "scopes: expected `object`, got `array`"),
        (ACME + 'code_challenge_methods_supported = ["plain"]\n', 8, "code_challenge_methods_supported: invalid enum"),
        (ACME.replace('"acme"', '"ajax"'), 2, "slug must be the file's name"),
        (ACME.replace("https://acme.com/token", "http://acme.com/token"), 7, "token_endpoint must be an https URL"),
        (ACME.replace("https://acme.com/token", "https://[acme"), 7, "token_endpoint must be an https URL"),
        (ACME.replace("https://acme.com/token", "https://acme.com/a b"), 7, "token_endpoint must be an https URL"),
        (ACME + 'aliases = ["A_1"]\n', 8, "aliases must be lower-case words joined by dashes, like slugs"),
        (ACME + 'extends = "nobody"\n', 8, "extends 'nobody', which no other file of the catalogue is"),
        (ACME + 'extends = "acme"\n', 8, "extends 'acme', which no other file of the catalogue is"),
        (ACME + 'extends = "../acme"\n', 8, "extends '../acme', which no other file of the catalogue is"),
        (ACME + "extends = 1\n", 8, "extends 1, which no other file of the catalogue is"),
        (ACME + 'extends = "stripe"\nsandbox = 1\n', 9, "sandbox: expected `object`, got `int`"),
        (ACME + "confirmed_by = -1\n", 8, "confirmed_by: expected `int` >= 0"),
        (ACME + "expiry = { seconds = 0 }\n", 8, "expiry.seconds: expected `int` >= 1"),
        (ACME + "expiry = { seconds = 315360001 }\n", 8, "expiry.seconds: expected `int` <= 315360000"),
        (ACME + "refresh_token_lifetime = { idle = 0 }\n", 8, "refresh_token_lifetime.idle: expected `int` >= 1"),
        (ACME + "[refresh_token_lifetime]\nhard = -1\n", 9, "refresh_token_lifetime.hard: expected `int` >= 1"),
        (ACME + "refresh_only_in_last = -1\n", 8, "refresh_only_in_last: expected `int` >= 0"),
        (ACME + "refresh_only_in_last = 3601\n", 8, "refresh_only_in_last: expected `int` <= 3600"),
        (ACME.replace('"Acme"', r'"Ac\u0000me"'), 3, "name must be printable"),
        (ACME + UNUSED + 'kind = "host"\n', 9, "variable shop is a whole host: host_suffixes or default must say"),
        (
            ACME + UNUSED + 'kind = "host"\nhost_suffixes = ["evil.com"]\n',
            9,
            "variable shop: its host_suffixes must be",
        ),
        (ACME + "[deployments.test]\ntoken_endpoint = 'http://x'\n", 9, "deployments.test.token_endpoint must be"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_line_and_problem(own: Path, text: str, line: int, says: str) -> None:
    (own / "acme.toml").write_text(text)

    with pytest.raises(ImproperlyConfigured) as caught:
        catalogue.load()

    told = str(caught.value).splitlines()[0]
    assert told.startswith(f"{own / 'acme.toml'}:{line}: {says}")
    assert str(catalogue.problems_of(own / "acme.toml")[0]) == told


def test_the_first_problems_are_told_at_the_start_and_how_to_hear_of_the_rest(own: Path) -> None:
    for number in range(4):
        (own / f"acme-{number}.toml").write_text("slug = 1\nnames = 2\n" + ACME.replace('slug = "acme"\n', ""))

    with pytest.raises(ImproperlyConfigured) as caught:
        catalogue.load()

    told = str(caught.value).splitlines()
    assert told[:2] == [
        f"{own / 'acme-0.toml'}:1: slug: expected `str`, got `int`",
        f"{own / 'acme-0.toml'}:2: unknown field `names`",
    ]
    assert told[5:] == ["… and 3 more: `manage.py providers lint` tells them all."]


def test_what_is_wrong_in_the_file_below_is_told_of_that_file(own: Path) -> None:
    (own / "acme.toml").write_text(ACME.replace("https://acme.com/token", "http://acme.com"))
    (own / "acme-mail.toml").write_text('slug = "acme-mail"\nname = "Mail"\nextends = "acme"\n')

    problems = catalogue.problems_of(own / "acme-mail.toml")

    assert list(map(str, problems)) == [f"{own / 'acme.toml'}:7: token_endpoint must be an https URL"]


@pytest.mark.parametrize("alias", ["stripe", "other", "acme"])
def test_two_providers_cannot_have_one_name(own: Path, alias: str) -> None:
    (own / "acme.toml").write_text(ACME + f'aliases = ["{alias}"]\n')
    (own / "acme-2.toml").write_text(ACME.replace('"acme"', '"acme-2"') + 'aliases = ["other"]\n')
    other = {"stripe": catalogue.FOLDER / "stripe.toml", "other": own / "acme-2.toml"}.get(alias)

    with pytest.raises(ImproperlyConfigured) as caught:
        catalogue.load()

    says = str(caught.value)
    assert says.endswith(f":8: aliases: {alias} is {other.stem}'s already ({other})" if other else "the slug itself")
    assert str(own) in says


def test_an_alias_is_understood_where_a_slug_is(own: Path) -> None:
    (own / "acme.toml").write_text(ACME + 'aliases = ["roadrunner"]\n')

    assert catalogue.get("roadrunner").slug == "acme"
    assert "roadrunner" not in catalogue.load()


def test_a_deployment_is_chosen_by_a_variable_that_no_file_has_to_declare(own: Path) -> None:
    (own / "acme.toml").write_text(ACME + "[deployments.test]\ntoken_endpoint = 'https://test.acme.com/token'\n")

    assert catalogue.get("acme").variables == {
        "deployment": Variable(label="Deployment", kind="choice", values=["test"], required=False, sources=["app"])
    }
    assert catalogue.problems_of(own / "acme.toml") == []


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ('values = ["test", "live"]\nkind = "choice"\nfrom = ["app"]', "must have the names of [deployments]"),
        ('values = ["test"]\nkind = "choice"', "picks one of [deployments]: a choice, from the app alone"),
    ],
)
def test_a_variable_that_picks_no_deployment_is_refused(own: Path, declared: str, problem: str) -> None:
    text = (
        f"{ACME}[deployments.test]\napi_base_url = 'https://a.com'\n[variables.deployment]\nlabel = 'D'\n{declared}\n"
    )
    (own / "acme.toml").write_text(text)

    assert [problem in told.message for told in catalogue.problems_of(own / "acme.toml")] == [True]


def test_a_file_that_is_not_utf_8_is_named(own: Path) -> None:
    (own / "acme.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(ImproperlyConfigured, match=r"acme\.toml"):
        catalogue.load()


def said_at_the_start(own: Path) -> list[str]:
    """What is told at the start, without the folder; lint tells the same."""
    with pytest.raises(ImproperlyConfigured) as caught:
        catalogue.load()
    says = str(caught.value).splitlines()
    assert says == [str(problem) for path in catalogue.files() for problem in catalogue.problems_of(path)]
    return [line.removeprefix(f"{own}/") for line in says]


def test_a_pipe_is_named_and_not_waited_for(own: Path) -> None:
    os.mkfifo(own / "acme.toml")

    assert said_at_the_start(own) == ["acme.toml:1: is no regular file"]


def test_a_device_is_named_and_not_read(own: Path) -> None:
    (own / "acme.toml").symlink_to("/dev/zero")

    assert said_at_the_start(own) == ["acme.toml:1: is no regular file"]


def test_a_folder_in_a_files_place_is_named(own: Path) -> None:
    (own / "acme.toml").mkdir()

    assert said_at_the_start(own) == ["acme.toml:1: is no regular file"]


def test_a_link_that_leads_nowhere_is_named(own: Path) -> None:
    (own / "acme.toml").symlink_to(own / "nowhere")

    [says] = said_at_the_start(own)

    assert says.startswith("acme.toml:1: [Errno 2] No such file or directory")


def test_a_file_that_is_too_large_is_named(own: Path) -> None:
    (own / "acme.toml").write_text(ACME + "#" * (1_048_577 - len(ACME)))

    assert said_at_the_start(own) == ["acme.toml:1: is larger than 1048576 bytes"]


def test_a_file_as_large_as_it_may_be_is_read(own: Path) -> None:
    (own / "acme.toml").write_text(ACME + "#" * (1_048_576 - len(ACME)))

    assert catalogue.get("acme").name == "Acme"


@pytest.mark.parametrize("name", ["acme.TOML", "acme.Toml"])
def test_a_file_whose_name_is_spelled_otherwise_is_named(own: Path, name: str) -> None:
    (own / name).write_text(ACME)

    assert said_at_the_start(own) == [f"{name}:1: the name of a catalogue file must end in .toml"]


@pytest.mark.parametrize("folder", ["more", "more/and/more"])
def test_a_file_in_a_folder_below_is_named(own: Path, folder: str) -> None:
    (own / folder).mkdir(parents=True)
    (own / folder / "acme.toml").write_text(ACME)

    assert said_at_the_start(own) == [
        f"{folder}/acme.toml:1: a catalogue file must stand in {own} itself, not in a folder below it"
    ]


def test_hidden_folders_are_passed_over(own: Path) -> None:
    """Such as those in which Kubernetes keeps the files that the folder's own are links to."""
    (own / "..2026_11_22").mkdir()
    (own / "..2026_11_22" / "acme.toml").write_text(ACME)
    (own / "..data").symlink_to("..2026_11_22")
    (own / "acme.toml").symlink_to("..data/acme.toml")

    assert catalogue.get("acme").name == "Acme"
    assert catalogue.problems_of(own / "acme.toml") == []


def test_an_unknown_slug_is_a_lookup_error() -> None:
    with pytest.raises(catalogue.UnknownProvider):
        catalogue.get("nobody")


# ---- an operator's own files -----------------------------------------------------------------------------------------


def test_two_providers_cannot_have_the_same_kind_of_credential(own: Path) -> None:
    (own / "stripe-key.toml").write_text(ACME.replace('"acme"', '"stripe-key"'))
    (own / "stripe.toml").write_text(
        '[kinds.stripe_key_oauth2]\nlabel = "X"\nauth = "key"\nproperties.a = { identity = true, secret = true }\n'
    )

    with pytest.raises(
        ImproperlyConfigured,
        match=r"stripe-key\.toml:1: kinds\.stripe_key_oauth2 is stripe's already \(.*/stripe\.toml\)$",
    ):
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
        ('[credential]\na = { callback = "a", identity = true, pattern = "(" }', "credential.a: its pattern is no"),
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
        (
            "api.{v}",
            'kind = "host"\nexample = "a.com"\ndefault = "b.com"',
            "v is a whole host, so nothing may stand beside it",
        ),
        ("{v}.acme.com", 'example = "a.b"', "the example of v breaks its own rule"),
        ("{v}.acme.com", 'pattern = "("\nexample = "a"', "variable v: its pattern is no regular expression"),
        ("{v}.acme.com", 'kind = "choice"\nexample = "a"', "variable v is a choice of no values"),
        ("{v}.acme.com", 'default = "A"\nexample = "a"', "the default or a value of v breaks its own rule"),
        ("{v}.acme.com", 'kind = "choice"\nvalues = ["a"]\ndefault = "b"', "the default or a value of v breaks"),
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

    assert [told.message.startswith(problem) for told in problems] == [True]
    assert catalogue.get("acme").slug == "acme"


def test_a_file_that_was_checked_in_the_future_is_told_and_does_not_stop_the_start(own: Path) -> None:
    """A machine whose clock is behind would not start with the built-in files."""
    (own / "acme.toml").write_text(ACME.replace("2026-11-22", "9999-12-31"))

    assert [str(told) for told in catalogue.problems_of(own / "acme.toml")] == [
        f"{own / 'acme.toml'}:5: checked must not be in the future"
    ]
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

    [*others, problem] = [problem.message for problem in catalogue.problems_of(own / "acme.toml")]

    assert [told.endswith(" is said by the request itself") for told in others] == [True] * len(others)
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

    assert [(told.line, told.message) for told in catalogue.problems_of(own / "ajax.toml")] == [
        (2, "slug must be the file's name"),
        (4, "docs must be an https URL"),
        (8, "pkce_required needs code_challenge_methods_supported"),
    ]


# ---- the built-in files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
def test_a_built_in_file_is_sound(path: Path) -> None:
    provider = catalogue.parsed(path)

    assert catalogue.problems_of(path) == []
    assert 2 <= len(provider.setup) <= 5
    assert any("callback URL" in step for step in provider.setup) == provider.has_code_flow
    assert provider.has_code_flow or not provider.credential
    assert provider.category != "other"


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
def test_a_built_in_file_says_nothing_that_goes_without_saying(path: Path) -> None:
    said = tomllib.loads(path.read_text())
    written = {name: getattr(catalogue.parsed(path), name) for name in said}

    assert [name for name, value in written.items() if value == default(Provider, name)] == []
    for variable in catalogue.parsed(path).variables.values():
        assert variable.sources != default(Variable, "sources") or "from" not in said.get("variables", {})


def default(struct: type[msgspec.Struct], field: str) -> Any:
    [found] = [info for info in msgspec.structs.fields(struct) if info.name == field]
    return found.default_factory() if found.default_factory is not msgspec.NODEFAULT else found.default


@pytest.mark.parametrize("provider", catalogue.load().values(), ids=lambda provider: provider.slug)
def test_a_built_in_provider_has_an_address_for_each_customer(provider: Provider) -> None:
    given = {
        name: variable.example or variable.default or variable.values[0]
        for name, variable in provider.variables.items()
    }
    variables = provider.accept_variables(given, fixed=given)

    bound = provider.bound(variables, sandbox_url=f"{product.PUBLIC_URL}/sandbox/{provider.slug}")

    for where, url in bound.urls():
        kind = bound.kinds.get(where.split(".")[1]) if where.startswith("kinds.") else None
        assert set(names_in(url)) <= {"client_id", *(kind.properties if kind else bound.credential)}
        assert url.startswith((f"{product.PUBLIC_URL}/sandbox/{provider.slug}/", "{"))
    told = {"scope", *(name for name, prop in bound.credential.items() if prop.callback)}
    assert {*names_in(str([*bound.authorization_params.values(), *bound.token_params.values()]))} <= told


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
    assert bound.api
    assert bound.api.base_url == "https://github.acme.com/api/v3"


# ---- the documentation -----------------------------------------------------------------------------------------------


def test_the_documentation_names_every_word_of_the_vocabulary() -> None:
    page = (product.BASE_DIR / "docs" / "adding-a-provider.md").read_text()
    structs = [
        struct
        for struct in {
            **vars(vocabulary),
            **vars(collection),
            **vars(script),
            "Provider": Provider,
            "Variable": Variable,
        }.values()
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct) and struct is not msgspec.Struct
    ]

    words = {(struct.__name__, field.encode_name) for struct in structs for field in msgspec.structs.fields(struct)}

    assert set(descriptions(page)) == words
    told = [(heading, key) for heading, _, key, _ in rows(page)]
    assert [row for row in told if told.count(row) > 1] == []


def test_the_documentation_names_every_value_of_an_answer() -> None:
    page = (product.BASE_DIR / "docs" / "adding-a-provider.md").read_text()
    _, _, section = page.partition("#### What answers may hold")
    section, _, _ = section.partition("\n#")
    first_columns = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `{")]

    told = script.PLACEHOLDER.findall(" ".join(first_columns))

    assert sorted(told) == sorted(script.VALUES)


def test_the_documentation_names_every_value_of_a_record_and_a_page() -> None:
    page = (product.BASE_DIR / "docs" / "adding-a-provider.md").read_text()
    _, _, section = page.partition("#### What records and pages may hold")
    section, _, _ = section.partition("\n#")
    first_columns = [line.split("` |")[0] for line in section.splitlines() if line.startswith("| `{")]

    told = {name for name, _ in records.PLACEHOLDER.findall(" ".join(first_columns))}

    assert told == {*records.VALUES, *PAGE_VALUES, "parent", "event", "object"}
