"""What a catalogue file may not change about the requests of the code flow, told at the start with its line."""

from pathlib import Path

import pytest
from pytest_django import Settings

from providers import catalogue
from tests.providers.acme_file import ACME, NEXT, told_at_the_start

KIND = '[kinds.acme_key]\nlabel = "K"\nauth = "key"\nproperties.secret = { secret = true, identity = true }\n'
APP = "[variables.app]\nlabel = 'App'\nkind = 'text'\nexample = 'a'\n"
NOT_LEFT_OUT = "which is no parameter that may be left out"
NO_PARAMETER = "is no parameter of such a request"
SAID = "is said by the request itself"
NO_SCOPES = "must be scopes of RFC 6749, 3.3, one each, without the scope_separator"
NO_HEADERS = "must be headers of printable ASCII characters"


@pytest.fixture
def own(tmp_path: Path, settings: Settings) -> Path:
    """The folder of an operator's own files."""
    settings.PROVIDERS_DIR = str(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        *(
            (f'authorization_params_left_out = ["{name}"]', f"authorization_params_left_out has {name}, {NOT_LEFT_OUT}")
            for name in ["state", "clientid", "code_challenge", "nonce", "prompt", ""]
        ),
        (
            'state_returned = false\nauthorization_params_left_out = ["state"]',
            f"authorization_params_left_out has state, {NOT_LEFT_OUT}",
        ),
        (
            'authorization_params_left_out = ["client_id"]',
            "authorization_params_left_out has client_id, and no variable of the app names the client otherwise",
        ),
        (
            'authorization_params_left_out = ["client_id"]\nauthorization_params = { a = "{app}" }\n' + APP,
            "authorization_params_left_out has client_id, and no variable of the app names the client otherwise",
        ),
        *(
            (f'{field} = ["{name}"]', f"{field} has {name}, which is no parameter of a token request")
            for field in ["token_params_left_out", "refresh_params_left_out"]
            for name in ["clientsecret", "state", "response_type"]
        ),
        ('authorization_param_names = { clientid = "a" }', f"authorization_param_names.clientid {NO_PARAMETER}"),
        ('authorization_param_names = { code = "a" }', f"authorization_param_names.code {NO_PARAMETER}"),
        (
            'authorization_param_names = { client_id = "a", scope = "a" }',
            "authorization_param_names must give each parameter a name of its own",
        ),
        (
            'authorization_param_names = { client_id = "" }',
            "authorization_param_names must give each parameter a name of its own",
        ),
        (
            'authorization_param_names = { client_id = "state" }',
            "authorization_param_names.client_id is state, which is another parameter's name",
        ),
        ('token_param_names = { client_token = "a" }', f"token_param_names.client_token {NO_PARAMETER}"),
        ('token_param_names = { code_challenge = "a" }', f"token_param_names.code_challenge {NO_PARAMETER}"),
        (
            'token_param_names = { client_id = "a", code = "a" }',
            "token_param_names must give each parameter a name of its own",
        ),
        (
            'token_param_names = { client_secret = "code" }',
            "token_param_names.client_secret is code, which is another parameter's name",
        ),
        *(
            (f'authorization_params = {{ {name} = "a" }}', f"authorization_params.{name} {SAID}")
            for name in ["state", "redirect_uri", "response_type", "scope", "code_challenge", "code_challenge_method"]
        ),
        (
            'authorization_params_left_out = ["response_type"]\nauthorization_params = { redirect_uri = "a" }',
            f"authorization_params.redirect_uri {SAID}",
        ),
        (
            'authorization_param_names = { state = "s" }\nauthorization_params = { s = "a" }',
            f"authorization_params.s {SAID}",
        ),
        ('scope_param = "rights"\nauthorization_params = { rights = "a" }', f"authorization_params.rights {SAID}"),
        *(
            (f'{field} = {{ {name} = "a" }}', f"{field}.{name} {SAID}")
            for field in ["token_params", "refresh_params"]
            for name in ["grant_type", "client_assertion_type"]
        ),
        (
            'token_param_names = { code_verifier = "v" }\ntoken_params = { v = "a" }',
            f"token_params.v {SAID}",
        ),
        (
            'token_params_left_out = ["grant_type"]\ntoken_params = { grant_type = "a" }',
            f"token_params.grant_type {SAID}",
        ),
        (
            'refresh_with = "access_token"\n[refresh_params]\na = "{access_token}"\nclient_assertion_type = "b"',
            f"refresh_params.client_assertion_type {SAID}",
        ),
        (
            'token_params = { redirect_uri = "a" }',
            "token_params.redirect_uri must be that of authorization_params (RFC 6749, 4.1.3)",
        ),
        *(
            (f'callback_code_param = "{name}"', "callback_code_param must be a parameter that carries nothing else")
            for name in ["state", "error", "iss", ""]
        ),
        ('default_scopes = ["read write"]', f"default_scopes {NO_SCOPES}"),
        ('scope_separator = ","\ndefault_scopes = ["read,write"]', f"default_scopes {NO_SCOPES}"),
        ('scope_separator = ","\nrequired_scopes = ["read write"]', f"required_scopes {NO_SCOPES}"),
        ('required_scopes = [""]', f"required_scopes {NO_SCOPES}"),
        ("default_scopes = ['\"read\"']", f"default_scopes {NO_SCOPES}"),
        ('scopes = { "read all" = "Read." }', f"scopes {NO_SCOPES}"),
        ('scope_separator = ";"\nscopes = { "read;all" = "Read." }', f"scopes {NO_SCOPES}"),
        ('scope_separator = ""', "scope_separator must not be empty"),
        ('token_request_method = "GET"', "token_request_method is GET, so token_request_format must be query"),
        ('refresh_request_method = "GET"', "refresh_request_method is GET, so refresh_request_format must be query"),
        (
            'refresh_request_method = "GET"\nrefresh_request_format = "json"',
            "refresh_request_method is GET, so refresh_request_format must be query",
        ),
        (
            'token_request_format = "query"\nrefresh_request_method = "GET"\nrefresh_request_format = "form"',
            "refresh_request_method is GET, so refresh_request_format must be query",
        ),
        ('revocation = { method = "GET" }', "revocation.method is GET, so revocation.format must be query or none"),
        (
            'revocation = { method = "GET", format = "json" }',
            "revocation.method is GET, so revocation.format must be query or none",
        ),
        (
            "authorization_response_iss_parameter_supported = true",
            "authorization_response_iss_parameter_supported needs issuer (RFC 9207, 2.4)",
        ),
        ('token_headers = { Accept = "a\\r\\nb" }', f"token_headers {NO_HEADERS}"),
        ('token_headers = { "Ac cept" = "a" }', f"token_headers {NO_HEADERS}"),
        ('token_headers = { "" = "a" }', f"token_headers {NO_HEADERS}"),
        ('api = { base_url = "https://acme.com", scheme = "a\\nb" }', f"api {NO_HEADERS}"),
        ('api = { base_url = "https://acme.com", header = "a:b" }', f"api {NO_HEADERS}"),
        ('follow_up = { url = "https://acme.com", headers = { a = "\\u0000" } }', f"follow_up.headers {NO_HEADERS}"),
        ('check = { url = "https://acme.com", headers = { a = "é" } }', f"check.headers {NO_HEADERS}"),
        (KIND + 'token_headers = { a = "\\u007f" }', f"kinds.acme_key.token_headers {NO_HEADERS}"),
        (
            KIND + 'check = { url = "https://acme.com", headers = { a = "\\t" } }',
            f"kinds.acme_key.check.headers {NO_HEADERS}",
        ),
    ],
)
def test_what_cannot_be_changed_is_refused_on_its_line(own: Path, text: str, problem: str) -> None:
    field = problem.split()[0].removeprefix("kinds.acme_key.").split(".")[0]
    line = next((n for n, line in enumerate(text.splitlines()) if line.startswith((f"{field} =", f"[{field}]"))), 0)

    [(told_line, told)] = told_at_the_start(own, f"{ACME}{text}\n")

    within = text.splitlines()[line].startswith("[")  # a table, whose key stands below
    assert told == problem
    assert told_line == NEXT + line + (2 if within else 0)


@pytest.mark.parametrize("name", ["client_id", "code", "code_verifier", "client_secret", "client_assertion"])
@pytest.mark.parametrize("field", ["token_params", "refresh_params"])
def test_what_the_grant_and_the_client_say_is_not_said_by_a_file(own: Path, field: str, name: str) -> None:
    path = own / "acme.toml"
    path.write_text(f'{ACME}{field} = {{ {name} = "a" }}\n')

    told = [(problem.line, problem.message) for problem in catalogue.problems_of(path)]

    assert (NEXT, f"{field}.{name} {SAID}") in told


@pytest.mark.parametrize("with_it", ["refresh_token", "access_token"])
def test_a_refresh_token_is_not_said_by_a_file(own: Path, with_it: str) -> None:
    path = own / "acme.toml"
    path.write_text(f'{ACME}refresh_with = "{with_it}"\nrefresh_params = {{ refresh_token = "{{access_token}}" }}\n')

    told = [(problem.line, problem.message) for problem in catalogue.problems_of(path)]

    assert told == ([(NEXT + 1, f"refresh_params.refresh_token {SAID}")] if with_it == "refresh_token" else [])


@pytest.mark.parametrize(
    "text",
    [
        'authorization_params_left_out = ["client_id", "redirect_uri", "response_type", "scope"]\n'
        'authorization_params = { a = "{app}" }\n' + APP + 'from = ["app"]\n',
        'authorization_params_left_out = ["redirect_uri"]\nauthorization_params = { redirect_uri = "a" }\n'
        'token_params = { redirect_uri = "a" }\n',
        'scope_param = ""\nauthorization_params = { scope = "a b" }\n',
        'token_params_left_out = ["grant_type", "redirect_uri"]\nrefresh_params_left_out = ["client_secret"]\n',
        'token_param_names = { code = "auth_code", client_secret = "secret" }\n',
        'refresh_with = "access_token"\nrefresh_params = { grant_type = "a", token = "{access_token}" }\n',
        'token_params = { scope = "{scope}" }\nrefresh_params = { redirect_uri = "{redirect_uri}" }\n',
        'scope_separator = ","\ndefault_scopes = ["https://acme.com/read", "a:b"]\nscopes = { "a;b" = "A." }\n',
        'token_request_method = "GET"\ntoken_request_format = "query"\n',
        'refresh_request_method = "GET"\nrefresh_request_format = "query"\n',
        'token_request_format = "query"\nrefresh_request_method = "GET"\n',
        'revocation_endpoint = "https://acme.com/r"\nrevocation = { method = "GET", format = "none", params = {} }\n',
        'issuer = "https://acme.com"\nauthorization_response_iss_parameter_supported = true\n',
        'token_headers = { Accept = "application/vnd.acme+json; v=1" }\n',
    ],
)
def test_what_may_be_changed_is_sound(own: Path, text: str) -> None:
    (own / "acme.toml").write_text(ACME + text)

    assert catalogue.problems_of(own / "acme.toml") == []
