"""`manage.py providers`: what it prints, and how it ends."""

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings as product
from django.core.management import CommandError, call_command
from pytest_django import Settings

from providers import catalogue


def printed(*arguments: str) -> str:
    out = StringIO()
    call_command("providers", *arguments, stdout=out)
    return out.getvalue()


def test_an_unknown_slug_is_refused_with_the_nearest() -> None:
    with pytest.raises(CommandError, match=r"^No provider has this slug\. Did you mean checkout-champ\?$"):
        printed("show", "chekout-chanp")


def test_lint_tells_every_problem_of_every_file_and_fails(tmp_path: Path, settings: Settings) -> None:
    settings.PROVIDERS_DIR = str(tmp_path)
    (tmp_path / "broken.toml").write_text("slug = ")
    (tmp_path / "stripe.toml").write_text('docs = "x"\ntoken_endpoint = "http://stripe.com/token"\n')
    out = StringIO()

    with pytest.raises(CommandError, match=r"^3 problems in the catalogue\.$"):
        call_command("providers", "lint", stdout=out)

    assert out.getvalue().splitlines() == [
        f"{tmp_path / 'broken.toml'}:1: string values must be quoted, expected literal string",
        f"{tmp_path / 'stripe.toml'}:1: docs must be an https URL",
        f"{tmp_path / 'stripe.toml'}:2: token_endpoint must be an https URL",
    ]


def test_lint_reads_the_part_of_the_sandbox_too(tmp_path: Path) -> None:
    (tmp_path / "stripe.toml").write_text("[sandbox]\nsurprise = 1\n")
    out = StringIO()

    with pytest.raises(CommandError, match=r"^1 problem in the catalogue\.$"):
        call_command("providers", "lint", str(tmp_path / "stripe.toml"), stdout=out)

    assert out.getvalue() == f"{tmp_path / 'stripe.toml'}:2: [sandbox]: unknown field `surprise`\n"


def test_lint_tells_who_has_a_name_already(tmp_path: Path) -> None:
    (tmp_path / "stripe.toml").write_text('aliases = ["github"]\n')
    out = StringIO()

    with pytest.raises(CommandError, match=r"^1 problem in the catalogue\.$"):
        call_command("providers", "lint", str(tmp_path / "stripe.toml"), stdout=out)

    assert out.getvalue().startswith(f"{tmp_path / 'stripe.toml'}:1: aliases: github is github's already (")


def test_lint_fails_without_a_folder(settings: Settings, tmp_path: Path) -> None:
    settings.PROVIDERS_DIR = str(tmp_path / "nowhere")

    with pytest.raises(CommandError, match=r"^PROVIDERS_DIR is not a folder: .*/nowhere$"):
        printed("lint")


def test_lint_runs_where_nothing_else_starts(tmp_path: Path) -> None:
    """A broken file stops every process but the one that tells what is wrong with it."""
    (tmp_path / "stripe.toml").write_text('docs = "x"\ntoken_endpoint = "http://stripe.com/token"\n')
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "sequin_auth.settings",
        "PROVIDERS_DIR": str(tmp_path),
    }
    command = [sys.executable, "manage.py", "providers", "lint"]

    ended = subprocess.run(command, cwd=product.BASE_DIR, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stdout.count(f"{tmp_path / 'stripe.toml'}:") == 2
    assert "Traceback" not in ended.stderr


def test_whatever_else_is_started_ends_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "stripe.toml").write_text('docs = "https://x.example"\ntoken_endpoint = "http://stripe.com/token"\n')
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "sequin_auth.settings",
        "PROVIDERS_DIR": str(tmp_path),
    }
    command = [sys.executable, "manage.py", "check"]

    ended = subprocess.run(command, cwd=product.BASE_DIR, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr == f"manage.py: {tmp_path / 'stripe.toml'}:2: token_endpoint must be an https URL\n"


def test_lint_finds_nothing_in_the_built_in_files() -> None:
    assert printed("lint") == f"{len(catalogue.built_in())} files, no problems.\n"


def test_list_has_a_line_for_each_provider() -> None:
    lines = [line.split() for line in printed("list").splitlines()]

    assert lines[0] == ["SLUG", "NAME", "PKCE", "REFRESH", "ROTATES", "REVOKES", "CHECKED"]
    assert ["airtable", "Airtable", "required", "yes", "always", "no", "2026-11-22"] in lines
    assert ["vercel", "Vercel", "no", "no", "-", "no", "2026-11-22"] in lines
    assert ["sendgrid", "SendGrid", "-", "-", "-", "-", "2026-11-22"] in lines
    assert len(lines) == len(catalogue.built_in()) + 1


def test_show_prints_what_a_developer_needs_to_register_an_app() -> None:
    shown = printed("show", "stripe")

    assert f"\nCallback URL\n  {product.PUBLIC_URL}/link/oauth2/callback/stripe\n\n" in shown
    assert f"\n  2. Paste the callback URL ({product.PUBLIC_URL}/link/oauth2/callback/stripe) into the list" in shown
    assert "https://connect.stripe.com/oauth/token\n" in shown
    assert shown.partition("\nCredentials\n")[2].partition("\n\n")[0].splitlines() == [
        "  stripe_oauth2: OAuth 2.0 (with an OAuth app)",
        "    access_token (secret), refresh_token (secret), expires_at, refresh_token_expires_at, scope, token_type,"
        " stripe_user_id (identity), livemode (identity), stripe_publishable_key",
        "    OAuth app needs  Client ID, Client secret",
        "  stripe_key: API key (without an OAuth app)",
        "    secret (identity, secret), test",
        "    to be entered  Secret, Test (optional)",
    ]


@pytest.mark.parametrize(
    ("count", "says"),
    [
        (0, "the documentation alone"),
        (1, "the documentation and 1 independent source"),
        (4, "the documentation and 4 independent sources"),
    ],
)
def test_show_says_who_agrees_on_the_endpoints(tmp_path: Path, settings: Settings, count: int, says: str) -> None:
    settings.PROVIDERS_DIR = str(tmp_path)
    (tmp_path / "stripe.toml").write_text(f"confirmed_by = {count}\n")

    assert re.search(rf"^  confirmed by +{says}$", printed("show", "stripe"), re.MULTILINE)


def test_show_does_without_a_code_flow() -> None:
    shown = printed("show", "marketo")

    assert "\nWhat to do there\n  1. Create a role" in shown
    assert "\n  munchkin_id: Munchkin account ID (label, required)\n" in shown
    assert "\n  marketo_client_credentials: Custom service (without an OAuth app)\n" in shown
    assert "https://{munchkin_id}.mktorest.com/identity/oauth/token\n" in shown
    for title in ("Callback URL", "Requests"):
        assert f"\n{title}\n" not in shown


def test_show_prints_the_apps_own_callback_where_the_servers_are_a_tenants() -> None:
    shown = printed("show", "auth0")

    assert f"\nCallback URL\n  {product.PUBLIC_URL}/link/oauth2/callback/auth0/<id of the OAuth app>\n\n" in shown
    assert "domain: Auth0 domain (host, required, from start, app, page)\n" in shown


def test_show_understands_an_alias() -> None:
    assert printed("show", "konnektive") == printed("show", "checkout-champ")
    assert printed("show", "konnektive").startswith("Checkout Champ (checkout-champ, konnektive)\n")


def test_show_tells_scopes_in_a_sentence_each(tmp_path: Path, settings: Settings) -> None:
    settings.PROVIDERS_DIR = str(tmp_path)
    (tmp_path / "stripe.toml").write_text(
        'required_scopes = ["basic"]\n[scopes]\nread_only = "Read."\n[deployments.test]\ntoken_endpoint = "https://t.example"\n'
    )

    shown = printed("show", "stripe").partition("\nScopes\n")[2]

    assert shown.startswith("  basic       (always)\n  read_only   Read. (by default)\n")
    assert "\nDeployments\n  test: token_endpoint https://t.example\n" in shown
    assert "\n  deployment: Deployment (choice, optional, from app)\n" in shown
