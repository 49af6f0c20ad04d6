"""`manage.py providers new` and `try`: a file from a few answers, checked and tried out (adding-a-provider.md)."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from pytest_django import Settings
from responses import RequestsMock

from credentials.models import Authorization
from credentials.trial import TrialFailed, try_out
from oauth_apps.models import Account
from providers import catalogue, kinds
from providers.catalogue import reading
from providers.provider import Provider
from providers.sandbox import script
from sequin_auth.lib import schema

ISSUER = "https://login.acme.example/eu"
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "jwks_uri": f"{ISSUER}/keys",
    "token_endpoint_auth_methods_supported": ["tls_client_auth", "client_secret_post"],
    "code_challenge_methods_supported": ["plain", "S256"],
    "scopes_supported": ["email", "openid", "calendars"],
    "service_documentation": "https://docs.acme.example/oauth",
}
PLAIN = {
    "docs": "https://docs.acme.example/oauth",
    "authorization_endpoint": "https://acme.example/authorize",
    "token_endpoint": "https://acme.example/token",
    "identity_from": "token_response",
}


BESIDE = [
    "apple",
    "checkout-champ",
    "discogs",
    "google",
    "marketo",
    "sendgrid",
    "shopify",
    "startgg",
    "stripe",
    "trakt",
    "yahoo",
    "zendesk",
]


@pytest.fixture
def own(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An operator's folder, beside a few of the built-in files: each new one has the catalogue read again."""
    few, own = tmp_path / "few", tmp_path / "own"
    for folder in (few, own):
        folder.mkdir()
    for slug in BESIDE:
        (few / f"{slug}.toml").write_text((catalogue.FOLDER / f"{slug}.toml").read_text())
    monkeypatch.setattr(reading, "FOLDER", few)
    settings.PROVIDERS_DIR = str(own)
    yield own
    for module in (catalogue, kinds, script):
        module.forget()


def printed(*arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command("providers", *arguments, stdout=out, **options)
    return out.getvalue()


def said(**answers: str) -> list[str]:
    return [f"--{option.replace('_', '-')}={value}" for option, value in (PLAIN | answers).items()]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["new", "Acme_1", "--no-input"], "The slug must be lower-case words joined by dashes."),
        (["new", "stripe", "--no-input"], "Stripe has this slug or alias already."),
        (["new", "acme", "--no-input"], "--docs must be an https URL"),
        (["new", "acme", "--no-input", "--docs=https://x.example"], "--authorization-endpoint is needed"),
        (
            ["new", "acme", "--no-input", *said(token_endpoint="http://acme.example")],
            "--token-endpoint must be an https",
        ),
        (["new", "acme", "--no-input", *said(pkce="plain")], "--pkce must be one of supported, required, none."),
        (["new", "acme", "--no-input", *said(scope_separator=";")], "--scope-separator must be one of space, comma"),
        (["new", "acme", "--no-input", *said(token_request_format="xml")], "--token-request-format must be one of"),
        (
            ["new", "acme", "--no-input", *said(identity_name="access_token")],
            "--identity-name must not be access_token",
        ),
        (["new", "acme", "--no-input", *said(identity_from="id_token")], "--issuer is needed: there is no default"),
        (
            ["new", "acme", "--no-input", *said(token_endpoint="https://{state}.acme.example/token")],
            "Nothing was written: these answers make no sound file.",
        ),
        (
            ["new", "acme", "--no-input", *said(identity_name="sub", token_endpoint="https://{shop}/token")],
            "Nothing was written: these answers make no sound file.",
        ),
        (["try", "sendgrid"], "start: There is no trip: the provider has no code flow"),
        (["try", "nobody-at-all"], "No provider has this slug."),
    ],
)
@pytest.mark.django_db
def test_it_refuses(own: Path, arguments: list[str], says: str) -> None:
    with pytest.raises(CommandError) as caught:
        printed(*arguments)

    assert str(caught.value).startswith(says)
    assert list(own.iterdir()) == []


def database_is_down(*_: Any) -> NoReturn:
    raise OperationalError


@pytest.mark.parametrize("is_behind", [database_is_down, lambda: True])
@pytest.mark.django_db
def test_nothing_is_asked_or_written_without_a_migrated_database(
    own: Path, monkeypatch: pytest.MonkeyPatch, is_behind: Any
) -> None:
    monkeypatch.setattr(schema, "is_behind", is_behind)

    with pytest.raises(CommandError, match="A trip needs a migrated database"):
        printed("new", "acme")

    assert list(own.iterdir()) == []


@pytest.mark.django_db
def test_what_is_unsound_about_the_answers_is_told(own: Path) -> None:
    out = StringIO()

    with pytest.raises(CommandError):
        call_command(
            "providers", "new", "acme", "--no-input", *said(token_endpoint="https://{state}.acme.example/t"), stdout=out
        )

    assert out.getvalue().startswith("variable state is a parameter of the start URL")
    assert str(own) not in out.getvalue()


@pytest.mark.django_db
def test_it_never_writes_over_a_file(own: Path) -> None:
    printed("new", "acme", "--no-input", *said())
    written = (own / "acme.toml").read_text()

    with pytest.raises(CommandError, match=r"^Acme has this slug or alias already\.$"):
        printed("new", "acme", "--no-input", *said(name="Other"))

    assert (own / "acme.toml").read_text() == written


@pytest.mark.django_db
def test_a_new_provider_is_written_checked_and_tried_out(own: Path) -> None:
    out = printed("new", "acme", "--no-input", *said(default_scopes="read, write", rotates="never"))

    lines = out.splitlines()
    assert lines[:2] == [f"{own / 'acme.toml'} is written.", "1 file, no problems."]
    assert [line.split()[0] for line in lines[2:8]] == ["start", "consent", "callback", "token", "refresh", "revoke"]
    assert lines[8:10] == ["", "What to do next"]
    provider = catalogue.get("acme")
    assert (provider.name, provider.default_scopes, provider.refresh_token_rotates) == (
        "Acme",
        ["read", "write"],
        "never",
    )
    assert provider.identity_properties() == ["user_id"]
    assert not Account.objects.exists()
    assert not Authorization.objects.exists()


@pytest.mark.parametrize(
    "answers",
    [
        {"identity_from": "follow_up", "follow_up": "https://api.acme.example/me", "identity_path": "data.0.id"},
        {"identity_from": "callback", "identity_path": "account"},
        {
            "identity_from": "id_token",
            "issuer": "https://acme.example",
            "jwks_uri": "https://acme.example/keys",
            "default_scopes": "openid",
        },
        {
            "authorization_endpoint": "https://acme.example/a?x=1",
            "token_endpoint": "https://acme.example/t?x=1",
            "identity_from": "follow_up",
            "follow_up": "https://api.acme.example?me=1",
            "revocation_endpoint": "https://acme.example/r?x=1",
        },
        {"default_scopes": "read write", "scope_separator": "comma", "token_request_format": "json"},
        {"default_scopes": "read write", "scope_separator": "pipe", "token_request_format": "query"},
        {"rotates": "none", "pkce": "required", "client_authentication": "client_secret_post"},
        {"rotates": "sometimes", "revocation_endpoint": "https://acme.example/revoke"},
        {
            "authorization_endpoint": "https://{shop}.acme.example/authorize",
            "token_endpoint": "https://{shop}.acme.example/token",
            "name": 'Acme "quoted" \\ 日本',
        },
    ],
)
@pytest.mark.django_db
def test_whatever_is_answered_the_trip_is_made(own: Path, answers: dict[str, str]) -> None:
    out = printed("new", "acme", "--no-input", *said(**answers))

    assert "\nrevoke " in out
    assert catalogue.problems_of(own / "acme.toml") == []


@pytest.mark.django_db
def test_the_answers_stand_in_the_file(own: Path) -> None:
    endpoint = "https://{shop}.acme.example/token"
    printed(
        "new",
        "acme",
        "--no-input",
        *said(scope_separator="comma", token_request_format="json", token_endpoint=endpoint),
    )

    provider = catalogue.get("acme")
    assert (provider.scope_separator, provider.token_request_format) == (",", "json")
    assert provider.setup[-1] == "Set `shop` on the OAuth app, or leave it to the end user."
    played = script.load()["acme"].script
    assert (played.scopes.separators, played.token_body) == (",", ["json"])


@pytest.mark.parametrize(("is_built_in", "is_told"), [(True, True), (False, False)])
@pytest.mark.django_db
def test_the_pages_are_told_of_where_there_are_any(
    own: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, is_built_in: bool, is_told: bool
) -> None:
    if is_built_in:
        monkeypatch.setattr(catalogue, "FOLDER", own)  # in a checkout, where the built-in ones are

    out = printed("new", "acme", "--no-input", *said())

    assert "  4. manage.py providers try acme\n" in out
    assert ("\n  6. manage.py providers docs\n" in out) == is_told


@pytest.mark.django_db
def test_a_bad_answer_is_asked_again(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["", "acme.example", "https://docs.acme.example", "nonsense", "", *[""] * 20])
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return next(typed)

    monkeypatch.setattr("builtins.input", answer)
    given = {name: value for name, value in PLAIN.items() if name != "docs"}
    out = printed("new", "acme", *[f"--{name.replace('_', '-')}={value}" for name, value in given.items()])

    assert [prompt.partition("?")[0] for prompt in asked[:3]] == [
        "What is it called",
        "Which page of its documentation describes OAuth",
        "Which page of its documentation describes OAuth",
    ]
    assert asked[3:5] == ["Category [other]: ", "Category [other]: "]
    assert "  It must be an https URL" in out


@pytest.mark.django_db
def test_without_anybody_to_ask_it_ends(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)

    with pytest.raises(CommandError, match="nobody to ask"):
        printed("new", "acme")


# ---- discovery -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({**METADATA, "issuer": "https://evil.example"}, "speaks of another issuer (RFC 8414, 3.3)"),
        ({"issuer": ISSUER}, "Is no metadata of an authorization server."),
        ([], "Is no metadata of an authorization server."),
    ],
)
@pytest.mark.django_db
def test_a_document_of_somebody_else_is_refused(own: Path, responses: RequestsMock, metadata: Any, says: str) -> None:
    responses.get(f"{ISSUER}/.well-known/openid-configuration", json=metadata)
    responses.get("https://login.acme.example/.well-known/oauth-authorization-server/eu", status=404)

    with pytest.raises(CommandError) as caught:
        printed("new", "acme", "--discover", ISSUER, "--no-input")

    assert says in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"{ISSUER}/.well-known/openid-configuration",
        "https://login.acme.example/.well-known/oauth-authorization-server/eu",
    ],
)
@pytest.mark.parametrize("issuer", [..., "https://evil.example", "https://login.acme.example"])
@pytest.mark.django_db
def test_a_document_of_somebody_else_is_refused_by_its_own_url_too(
    own: Path, responses: RequestsMock, url: str, issuer: Any
) -> None:
    """F20"""
    said = {**METADATA, "issuer": issuer}
    responses.get(url, json={name: value for name, value in said.items() if value is not ...})

    with pytest.raises(CommandError, match="speaks of another issuer"):
        printed("new", "acme", "--discover", url, "--no-input")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"token_endpoint": ' + b"9" * 5000 + b"}", b"\xff\xfe{", b""])
@pytest.mark.django_db
def test_a_hostile_document_is_refused(own: Path, responses: RequestsMock, body: bytes) -> None:
    url = f"{ISSUER}/.well-known/openid-configuration"
    responses.get(url, body=body, content_type="application/json")

    with pytest.raises(CommandError, match=r"^Nothing was discovered\.\nIs no JSON document\.$"):
        printed("new", "acme", "--discover", url, "--no-input")


@pytest.mark.django_db
def test_what_a_terminal_would_obey_is_not_shown(
    own: Path, responses: RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{ISSUER}/.well-known/openid-configuration"
    escape = "https://x.example/\x1b]0;mine\x07"
    responses.get(url, json={**METADATA, "service_documentation": escape, "scopes_supported": ["openid", escape]})
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        if len(asked) > 30:
            raise EOFError
        return ""

    monkeypatch.setattr("builtins.input", answer)

    with pytest.raises(CommandError, match="nobody to ask"):
        printed("new", "acme", "--discover", url)

    assert "\x1b" not in "".join(asked)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "https://10.0.0.1/.well-known/openid-configuration", "https://[x", "nonsense"]
)
@pytest.mark.django_db
def test_discovery_goes_through_the_egress_guard(own: Path, url: str) -> None:
    with pytest.raises(CommandError, match="Nothing was discovered"):
        printed("new", "acme", "--discover", url, "--no-input")


@pytest.mark.parametrize(
    ("asked", "at"),
    [
        (ISSUER, f"{ISSUER}/.well-known/openid-configuration"),
        (ISSUER, "https://login.acme.example/.well-known/oauth-authorization-server/eu"),
        (f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/.well-known/openid-configuration"),
    ],
)
@pytest.mark.django_db
def test_what_a_server_says_of_itself_is_not_asked(own: Path, responses: RequestsMock, asked: str, at: str) -> None:
    responses.get(f"{ISSUER}/.well-known/openid-configuration", status=404)
    responses.replace("GET", at, json=METADATA) if at.endswith("openid-configuration") else responses.get(
        at, json=METADATA
    )

    printed("new", "acme", "--discover", asked, "--no-input")

    provider = catalogue.get("acme")
    assert provider.authorization_endpoint == METADATA["authorization_endpoint"]
    assert provider.revocation_endpoint == METADATA["revocation_endpoint"]
    assert provider.token_endpoint_auth_methods_supported == ["client_secret_post"]
    assert provider.code_challenge_methods_supported == ["S256"]
    assert provider.default_scopes == ["openid", "email"]
    assert (provider.issuer, provider.credential["sub"].id_token) == (ISSUER, "sub")


# ---- the trip --------------------------------------------------------------------------------------------------------


BUILT_IN = sorted(slug for slug, found in catalogue.built_in().items() if found.has_code_flow)


@pytest.mark.parametrize("slug", BUILT_IN[::10])  # all of them make more of a trip in test_every_trip.py
@pytest.mark.django_db
def test_a_built_in_one_can_be_tried_out(slug: str) -> None:
    steps = dict(try_out(catalogue.get(slug)))

    assert list(steps) == ["start", "consent", "callback", "token", "refresh", "revoke"]
    assert "" not in steps.values()


@pytest.mark.parametrize("slug", ["stripe", "apple", "discogs", "startgg", "trakt", "yahoo"])
@pytest.mark.django_db
def test_the_command_prints_a_line_for_each_step(slug: str) -> None:
    steps = [line.split()[0] for line in printed("try", slug).splitlines()]

    assert steps == ["start", "consent", "callback", "token", "refresh", "revoke"]
    assert not Account.objects.exists()


@pytest.mark.parametrize(
    ("replaced", "by", "step"),
    [
        ('pkce = "ignored"', 'pkce = "required"', "consent"),
        (
            'client_authentication = ["client_secret_basic"]',
            'client_authentication = ["client_secret_post"]',
            "callback",
        ),
        ('user_id = { token_response = "user_id"', 'user_id = { token_response = "id"', "callback"),
        ('default_scopes = ["read"]', 'default_scopes = ["read"]\nscope_separator = ","', "consent"),
        ('policy = "rotates"', 'policy = "none"', "refresh"),
        ('default_scopes = ["read"]', 'default_scopes = ["read"]\nrefresh_with = "none"', "refresh"),
        ('refresh_token = "{refresh_token}"', 'renewal_token = "{refresh_token}"', "refresh"),
        ('policy = "rotates"', 'policy = "rotates"\nneeds_authorization_param = { offline = "1" }', "refresh"),
        ('policy = "rotates"', 'policy = "rotates"\n[sandbox.refresh_params]\nredirect_uri = ""', "refresh"),
        (
            '\nrevocation_endpoint = "https://acme.example/r"',
            '\nrevocation_endpoint = "https://acme.example/a"',
            "revoke",
        ),
        ("\nrevokes = true", "\nrevokes = false", "revoke"),
    ],
)
@pytest.mark.django_db
def test_a_wrong_entry_ends_the_trip_at_its_step(own: Path, replaced: str, by: str, step: str) -> None:
    printed("new", "acme", "--no-input", *said(default_scopes="read", revocation_endpoint="https://acme.example/r"))
    text = (own / "acme.toml").read_text()
    assert replaced in text
    text = text.replace(replaced, by)
    if "scope_separator" in by:
        text = text.replace('["read"]', '["read", "write"]')
    (own / "acme.toml").write_text(text)
    catalogue.forget()
    script.forget()

    with pytest.raises(TrialFailed) as caught:
        try_out(catalogue.get("acme"))

    assert caught.value.step == step
    assert not Account.objects.exists()


@pytest.mark.parametrize(
    ("replaced", "by", "says"),
    [
        (
            'example = "acme"',
            "",
            "variables.shop has no example, default or values, so there is nothing to try it with.",
        ),
        ("[variables.shop]", '[variables.other]\nlabel = "Other"\n[variables.shop]', "variables.other has no example"),
    ],
)
@pytest.mark.django_db
def test_a_variable_that_nothing_is_told_of_cannot_be_tried(own: Path, replaced: str, by: str, says: str) -> None:
    printed("new", "acme", "--no-input", *said(token_endpoint="https://{shop}.acme.example/token"))
    text = (own / "acme.toml").read_text()
    assert replaced in text
    (own / "acme.toml").write_text(text.replace(replaced, by))
    catalogue.forget()
    script.forget()

    with pytest.raises(CommandError) as caught:
        printed("try", "acme")

    assert str(caught.value).startswith(f"start: {says}")


@pytest.mark.parametrize(
    ("replaced", "by", "says"),
    [
        ('policy = "rotates"', 'policy = "rotates"\nneeds_scope = ["offline"]', "only with the scope offline"),
        ('policy = "rotates"', 'policy = "none"\n[sandbox.rotation]', "only where the client is set so"),
    ],
)
@pytest.mark.django_db
def test_why_there_is_no_refresh_token_is_told(own: Path, replaced: str, by: str, says: str) -> None:
    printed("new", "acme", "--no-input", *said(default_scopes="read"))
    text = (own / "acme.toml").read_text()
    assert replaced in text
    (own / "acme.toml").write_text(text.replace(replaced, by))
    catalogue.forget()
    script.forget()

    assert dict(try_out(catalogue.get("acme")))["refresh"].endswith(says)


@pytest.mark.django_db
def test_there_is_no_trip_without_a_simulator(settings: Settings) -> None:
    settings.SANDBOX = False

    with pytest.raises(TrialFailed, match="SANDBOX is switched off"):
        try_out(stripe())


def stripe() -> Provider:
    return catalogue.get("stripe")
