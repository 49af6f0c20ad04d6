"""Where the URLs of a catalogue file may lead: each is refused at the start, with file and line."""

from pathlib import Path

import pytest
from pytest_django import Settings

from providers import catalogue
from tests.providers.acme_file import ACME, NEXT, told_at_the_start

KIND = '[kinds.acme_key]\nlabel = "K"\nauth = "key"\nproperties.secret = { secret = true, identity = true }\n'
# A base URL at each place that has one, but for what it is
BASE_URLS = {
    "api": ('[api]\nbase_url = "URL"\n', "api.base_url", NEXT + 1),
    "own host": ('[own_host]\napi_base_url = "URL"\n', "own_host.api_base_url", NEXT + 1),
    "deployment": ('[deployments.test]\napi_base_url = "URL"\n', "deployments.test.api_base_url", NEXT + 1),
    "kind": (KIND + 'api.base_url = "URL"\n', "kinds.acme_key.api.base_url", NEXT + 4),
}
PLACES = pytest.mark.parametrize("place", BASE_URLS)
STEP = ('[second_step]\nendpoint = "URL"\nparams = {}\n', "second_step.endpoint", NEXT + 1)
# A variable `h`, which is kept, and a property `p` that is read
TEXT = (
    '[credential]\nh = { variable = "h", identity = true }\n[variables.h]\nlabel = "H"\nexample = "a"\nkind = "text"\n'
)
LABEL = TEXT.replace('kind = "text"\n', "")
HOST = TEXT.replace('"a"', '"a.com"').replace('"text"', '"host"\nhost_suffixes = [".acme.com"]')
CHOICE = TEXT.replace('"text"', '"choice"\nvalues = ["a_b"]').replace('example = "a"\n', "")
PROPERTY = '[credential]\np = { token_response = "p", identity = true }\n'


@pytest.fixture
def own(tmp_path: Path, settings: Settings) -> Path:
    """The folder of an operator's own files."""
    settings.PROVIDERS_DIR = str(tmp_path)
    return tmp_path


def at(place: tuple[str, str, int], url: str) -> str:
    return place[0].replace("URL", url)


# ---- base URLs, and the second step ----------------------------------------------------------------------------------


@PLACES
@pytest.mark.parametrize("url", ["http://api.acme.com", "api.acme.com", "https://", "https://a b.com", "https://..."])
def test_an_api_is_called_over_https(own: Path, place: str, url: str) -> None:
    _, name, line = BASE_URLS[place]

    assert told_at_the_start(own, ACME + at(BASE_URLS[place], url)) == [(line, f"{name} must be an https URL")]


@PLACES
@pytest.mark.parametrize(
    ("host", "variable", "problem"),
    [
        ("{h}", TEXT, "h stands in the host, so it must be a label, a host or a choice"),
        ("api.{h}.acme.com", TEXT, "h stands in the host, so it must be a label, a host or a choice"),
        ("{h}", LABEL, "the label h must stand under a fixed domain"),
        ("api.{h}", LABEL, "the label h must stand under a fixed domain"),
        ("api.{h}", HOST, "h is a whole host, so nothing may stand beside it"),
        ("{h}.acme.com", CHOICE, "h stands in the host, so each of its values must be a host or a label"),
    ],
)
def test_what_a_customer_says_leads_no_api_call_elsewhere(
    own: Path, place: str, host: str, variable: str, problem: str
) -> None:
    """F01."""
    _, name, line = BASE_URLS[place]
    text = at(BASE_URLS[place], f"https://{host}") + variable
    text = text.replace("api.base_url", 'properties.h = { variable = "h" }\napi.base_url')

    told = told_at_the_start(own, ACME + text)

    assert told == [(line + (place == "kind"), f"{name}: {problem}")]


@pytest.mark.parametrize(
    ("host", "variable", "problem"),
    [
        ("{h}", TEXT, ": h stands in the host, so it must be a label, a host or a choice"),
        ("{h}", LABEL, ": the label h must stand under a fixed domain"),
        ("{h}.acme.com", CHOICE, ": h stands in the host, so each of its values must be a host or a label"),
        ("{p}.acme.com", PROPERTY, " uses {p}, which is no variable"),
    ],
)
def test_what_a_customer_says_leads_no_second_step_elsewhere(own: Path, host: str, variable: str, problem: str) -> None:
    """F01."""
    told = told_at_the_start(own, ACME + at(STEP, f"https://{host}") + variable)

    assert told == [(STEP[2], f"{STEP[1]}{problem}")]


def test_a_second_step_is_made_over_https(own: Path) -> None:
    told = told_at_the_start(own, ACME + at(STEP, "http://acme.com"))

    assert told == [(STEP[2], "second_step.endpoint must be an https URL")]


@PLACES
@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://{p}", ": the property p must stand under a fixed domain, or say its values"),
        ("https://api.{p}", ": the property p must stand under a fixed domain, or say its values"),
        ("https://{p}.com", ": the property p must stand under a fixed domain, or say its values"),
        ("https://{p}.acme.com.{p}", ": the property p must stand under a fixed domain, or say its values"),
        ("{p}.acme.com", " has more than a path behind {p}, which is a whole origin"),
        ("{p}@acme.com", " has more than a path behind {p}, which is a whole origin"),
        ("{p}/a b", " must be an https URL"),
        ("{q}", " uses {q}, which is no variable"),
    ],
)
def test_what_is_read_stands_under_a_fixed_domain_or_is_a_whole_origin(
    own: Path, place: str, url: str, problem: str
) -> None:
    """F01."""
    _, name, line = BASE_URLS[place]
    text = at(BASE_URLS[place], url).replace("api.base_url", "properties.p = {}\napi.base_url") + PROPERTY

    told = told_at_the_start(own, ACME + text)

    assert {*told} == {(line + (place == "kind"), f"{name}{problem}")}


@PLACES
def test_a_variable_is_no_whole_origin(own: Path, place: str) -> None:
    """F01."""
    _, name, line = BASE_URLS[place]
    text = at(BASE_URLS[place], "{h}").replace("api.base_url", 'properties.h = { variable = "h" }\napi.base_url')

    told = told_at_the_start(own, ACME + text + TEXT)

    assert told == [(line + (place == "kind"), f"{name} begins with the variable h, which is no whole origin")]


@PLACES
@pytest.mark.parametrize("url", ["{p}", "{p}/v1", "https://{p}.api.acme.com", "https://api-{p}.acme.com:8443/v1"])
def test_a_base_url_with_what_was_read_is_sound(own: Path, place: str, url: str) -> None:
    text = at(BASE_URLS[place], url).replace("api.base_url", "properties.p = {}\napi.base_url")
    (own / "acme.toml").write_text(ACME + text + PROPERTY)

    assert catalogue.problems_of(own / "acme.toml") == []


@pytest.mark.parametrize(("values", "count"), [(["acme.com", "eu"], 0), (["acme.com", "evil.com/"], 1), (["A"], 1)])
def test_a_property_with_values_may_stand_anywhere_in_a_host(own: Path, values: list[str], count: int) -> None:
    declared = PROPERTY.replace(" }", f", values = {values} }}")
    (own / "acme.toml").write_text(ACME + at(BASE_URLS["api"], "https://api.{p}") + declared)

    told = [(problem.line, problem.message) for problem in catalogue.problems_of(own / "acme.toml")]

    says = "api.base_url: p stands in the host, so each of its values must be a host or a label"
    assert told == [(NEXT + 1, says)] * count


def test_a_token_endpoint_does_not_begin_with_a_variable(own: Path) -> None:
    """F01."""
    text = ACME.replace("https://acme.com/token", "{h}/token") + TEXT

    assert told_at_the_start(own, text) == [(NEXT - 1, "token_endpoint must be an https URL")]


# ---- braces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        (ACME.replace("/token", "/{tenantId}"), "token_endpoint", NEXT - 1),
        (ACME.replace("/token", "/{Tenant}"), "token_endpoint", NEXT - 1),
        (ACME.replace("/token", "/{tenant1}"), "token_endpoint", NEXT - 1),
        (ACME.replace("/token", "/{tenant/t"), "token_endpoint", NEXT - 1),
        (ACME.replace("/token", "/tenant}/t"), "token_endpoint", NEXT - 1),
        (ACME.replace("//acme.com/token", "//{tenantId}.acme.com/token"), "token_endpoint", NEXT - 1),
        (ACME + 'issuer = "https://acme.com/{tenantId}"\n', "issuer", NEXT),
        (ACME + 'authorization_params = { a = "{appId}" }\n', "authorization_params.a", NEXT),
        (ACME + 'token_headers = { a = "{clientId}" }\n', "token_headers.a", NEXT),
        (ACME + 'follow_up = { url = "https://acme.com/me", form = { a = "{" } }\n', "follow_up.form.a", NEXT),
        *((ACME + at(place, "https://acme.com/{appId}"), *place[1:]) for place in [*BASE_URLS.values(), STEP]),
        (ACME + KIND + 'token_headers = { a = "{appId}" }\n', "kinds.acme_key.token_headers.a", NEXT + 4),
    ],
)
def test_a_brace_that_nothing_fills_in_is_refused(own: Path, text: str, name: str, line: int) -> None:
    says = f"{name} has a brace that is no part of a {{name}}, a word of small letters and underscores"

    assert told_at_the_start(own, text) == [(line, says)]


def test_a_query_of_graphql_has_braces(own: Path) -> None:
    (own / "acme.toml").write_text(
        ACME + 'follow_up = { url = "https://acme.com", method = "POST", json = { query = "{ me { id } }" } }\n'
    )

    assert catalogue.problems_of(own / "acme.toml") == []


# ---- endpoints -------------------------------------------------------------------------------------------------------

PRIVATE = "must not be at an address of a private network, or of this machine"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://acme.com/token#a", " must have no fragment (RFC 6749, 3.1 and 3.2)"),
        ("https://acme.com#", " must have no fragment (RFC 6749, 3.1 and 3.2)"),
        ("https://acme.com:0/token", ": its port must be one of 1 to 65535"),
        ("https://acme.com:65536/token", ": its port must be one of 1 to 65535"),
        ("https://acme.com:/token", " must be an https URL"),
        ("https://.../token", " must be an https URL"),
        ("https://acme..com/token", " must be an https URL"),
        ("https://.acme.com/token", " must be an https URL"),
        ("https://[::1]/token", " must be an https URL"),
        ("https://127.0.0.1/token", f" {PRIVATE}"),
        ("https://10.0.0.1:443/token", f" {PRIVATE}"),
        ("https://169.254.169.254/latest", f" {PRIVATE}"),
        ("https://127.1/token", f" {PRIVATE}"),
        ("https://2130706433/token", f" {PRIVATE}"),
        ("https://0x7f.0x1/token", f" {PRIVATE}"),
    ],
)
def test_an_endpoint_can_be_called(own: Path, url: str, problem: str) -> None:
    text = ACME.replace("https://acme.com/token", url)

    assert told_at_the_start(own, text) == [(NEXT - 1, f"token_endpoint{problem}")]


@pytest.mark.parametrize("url", ["https://acme.com:65535/t", "https://93.184.216.34/t", "https://10.0.0.1:8443/t"])
def test_an_endpoint_at_a_port_or_a_public_or_allowed_address_is_sound(own: Path, settings: Settings, url: str) -> None:
    settings.EGRESS_ALLOW = ["10.0.0.1:8443"]
    (own / "acme.toml").write_text(ACME.replace("https://acme.com/token", url))

    assert catalogue.problems_of(own / "acme.toml") == []
