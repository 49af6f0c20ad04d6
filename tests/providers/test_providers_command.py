"""`manage.py providers`: what it prints, and how it ends."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings as product
from django.core.management import CommandError, call_command
from pytest_django import Settings


def printed(*arguments: str) -> str:
    out = StringIO()
    call_command("providers", *arguments, stdout=out)
    return out.getvalue()


def test_an_unknown_slug_is_refused_with_the_nearest() -> None:
    with pytest.raises(CommandError, match=r"^No provider has this slug\. Did you mean github\?$"):
        printed("show", "githb")


def test_lint_tells_every_problem_of_every_file_and_fails(tmp_path: Path, settings: Settings) -> None:
    settings.PROVIDERS_DIR = str(tmp_path)
    (tmp_path / "broken.toml").write_text("slug = ")
    (tmp_path / "stripe.toml").write_text('docs = "x"\ntoken_endpoint = "http://stripe.com/token"\n')
    out = StringIO()

    with pytest.raises(CommandError, match=r"^3 problems in the catalogue\.$"):
        call_command("providers", "lint", stdout=out)

    assert out.getvalue().splitlines() == [
        f"{tmp_path / 'broken.toml'}: Invalid value (at end of document)",
        f"{tmp_path / 'stripe.toml'}: docs must be an https URL",
        f"{tmp_path / 'stripe.toml'}: token_endpoint must be an https URL",
    ]


def test_lint_reads_the_part_of_the_sandbox_too(tmp_path: Path) -> None:
    (tmp_path / "stripe.toml").write_text("[sandbox]\nsurprise = 1\n")
    out = StringIO()

    with pytest.raises(CommandError, match=r"^1 problem in the catalogue\.$"):
        call_command("providers", "lint", str(tmp_path / "stripe.toml"), stdout=out)

    assert out.getvalue().startswith(f"{tmp_path / 'stripe.toml'}: [sandbox]: ")


def test_lint_fails_without_a_folder(settings: Settings, tmp_path: Path) -> None:
    settings.PROVIDERS_DIR = str(tmp_path / "nowhere")

    with pytest.raises(CommandError, match=r"^PROVIDERS_DIR is not a folder\.$"):
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
    assert ended.stdout.count(f"{tmp_path / 'stripe.toml'}: ") == 2
    assert "Traceback" not in ended.stderr


def test_lint_finds_nothing_in_the_built_in_files() -> None:
    assert printed("lint") == "27 files, no problems.\n"


def test_list_has_a_line_for_each_provider() -> None:
    lines = [line.split() for line in printed("list").splitlines()]

    assert lines[0] == ["SLUG", "NAME", "PKCE", "REFRESH", "ROTATES", "REVOKES", "CHECKED"]
    assert ["airtable", "Airtable", "required", "yes", "always", "no", "2026-11-22"] in lines
    assert ["vercel", "Vercel", "no", "no", "-", "no", "2026-11-22"] in lines
    assert ["sendgrid", "SendGrid", "-", "-", "-", "-", "2026-11-22"] in lines
    assert len(lines) == 28


def test_show_prints_what_a_developer_needs_to_register_an_app() -> None:
    shown = printed("show", "stripe")

    assert f"\nCallback URL\n  {product.PUBLIC_URL}/link/oauth2/callback/stripe\n\n" in shown
    assert "\n  2. Paste the callback URL into the list of redirect URIs" in shown
    assert "https://connect.stripe.com/oauth/token\n" in shown
    assert shown.partition("\nCredentials\n")[2].partition("\n\n")[0].splitlines() == [
        "  stripe_oauth2: OAuth 2.0 (with an OAuth app)",
        "    access_token (secret), refresh_token (secret), expires_at, refresh_token_expires_at, scope, token_type,"
        " stripe_user_id (identity), livemode (identity), stripe_publishable_key",
        "  stripe_key: API key (without an OAuth app)",
        "    secret (identity, secret), test",
    ]


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
