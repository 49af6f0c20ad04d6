"""What `make run` puts into an empty database, and leaves alone in any other."""

import json
import stat
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import override_settings

from oauth_apps import api_tokens, audit
from oauth_apps.models import Account, ApiToken, AuditEvent, OAuthApp
from providers.sandbox.models import Registration
from sequin_auth import demo

pytestmark = pytest.mark.django_db
URL = "http://127.0.0.1:8001"


def test_it_is_made_once() -> None:
    first = demo.create()
    again = demo.create()

    assert first is not None
    assert again is None
    assert Account.objects.count() == 1
    assert OAuthApp.objects.count() == 4


def test_all_that_it_makes_is_written_down(tmp_path: Path) -> None:
    demo.create()
    for _ in range(2):
        demo.configure_example(tmp_path / "example.json", url=URL)

    by = f"manage.py run ({audit.whoever_runs_this()})"
    rows = AuditEvent.objects.filter(actor=by).order_by("chain", "number")
    assert [(event.action, event.object_name, event.detail) for event in rows] == [
        ("account.created", "Demo", ""),
        ("member.created", "admin in Demo", ""),
        ("api_token.created", str(ApiToken.objects.get()), "read, write, reveal"),
        ("oauth_app.created", "Stripe (sandbox)", ""),
        ("oauth_app.created", "Salesforce (sandbox)", ""),
        ("oauth_app.created", "HubSpot (sandbox)", ""),
        ("oauth_app.created", "Slack (sandbox)", ""),
        ("redirect_uri.created", f"{URL}/callback/:provider", ""),
        ("user.created", "admin", ""),
    ]


def test_it_leaves_a_user_who_was_there_his_password() -> None:
    user = get_user_model().objects.create_user(username="admin", password="his own")

    shown = demo.create()

    assert shown is not None
    assert shown.password == ""
    user.refresh_from_db()
    assert user.check_password("his own")
    assert not user.is_superuser


def test_what_it_shows_is_what_lets_in() -> None:
    shown = demo.create()

    assert shown is not None
    assert get_user_model().objects.get(username="admin").check_password(shown.password)
    token = api_tokens.find(shown.api_token)
    assert token is not None
    assert token.account.name == "Demo"
    assert token.scopes == ["read", "write", "reveal"]
    assert shown.api_token not in repr(shown)
    assert shown.password not in repr(shown)


@override_settings(SANDBOX=False)
def test_without_the_sandbox_it_has_no_apps() -> None:
    demo.create()

    assert OAuthApp.objects.count() == 0


def test_each_provider_knows_its_app_by_a_secret_of_its_own() -> None:
    demo.create()

    registered = {registration.slug: registration.client_secret for registration in Registration.objects.all()}
    assert registered.keys() == {"stripe", "salesforce", "hubspot", "slack"}
    assert len(set(registered.values())) == 4
    assert {app.provider: app.client_secret for app in OAuthApp.objects.all()} == registered


def test_the_example_app_is_told_of_the_sandbox_apps_alone(tmp_path: Path) -> None:
    demo.create()
    account = Account.objects.get()
    OAuthApp.objects.create(account=account, provider="stripe", name="Live", client_id="ca_1", client_secret="live-1")
    OAuthApp.objects.filter(provider="slack").update(enabled=False)
    other = Account.objects.create(name="Harkonnen")
    OAuthApp.objects.create(
        account=other, provider="stripe", name="Other", client_id="o", client_secret="other-1", environment="sandbox"
    )
    path = tmp_path / "example.json"

    demo.configure_example(path, url=URL)
    demo.configure_example(path, url=URL)  # by a later start

    told = json.loads(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (told["gateway"], told["url"]) == ("http://127.0.0.1:8000", URL)
    assert [app["provider"] for app in told["apps"]] == ["stripe", "salesforce", "hubspot"]
    stripe = OAuthApp.objects.get(account=account, provider="stripe", environment="sandbox")
    assert told["apps"][0] == {
        "provider": "stripe",
        "name": "Stripe",
        "client_id": str(stripe.pk),
        "client_secret": stripe.client_secret,
    }
    assert [row.redirect_uri for row in account.redirect_uris.all()] == [f"{URL}/callback/:provider"]


def test_the_sandbox_moves_with_public_url() -> None:
    demo.create()
    before = dict(OAuthApp.objects.values_list("pk", "updated_at"))

    demo.move_sandbox()
    untouched = dict(OAuthApp.objects.values_list("pk", "updated_at"))
    with override_settings(PUBLIC_URL="http://127.0.0.1:9000"):
        demo.move_sandbox()

    assert untouched == before
    assert set(Registration.objects.filter(slug="stripe").values_list("redirect_uri", flat=True)) == {
        "http://127.0.0.1:9000/link/oauth2/callback/stripe"
    }
