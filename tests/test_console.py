"""The console as it stands: each page opens, shows no secret, and a member finds his accounts' rows alone."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from credentials.models import Authorization, Credential
from oauth_apps import api_tokens
from oauth_apps.models import Account, ApiToken, Membership, OAuthApp, RedirectURI
from tests.credentials.stored import keep
from tests.link.trip import Trip

CANARIES = ("canary-client-secret", "canary-access-token", "canary-refresh-token")
MODELS = (
    "oauth_apps_oauthapp", "oauth_apps_redirecturi", "oauth_apps_apitoken", "credentials_authorization",
    "credentials_credential",
)  # fmt: skip


@pytest.fixture
def superuser(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="x"))
    return client


@pytest.fixture
def member(account: Account) -> Client:
    user = User.objects.create_user("paul", password="x", is_staff=True)
    Membership.objects.create(account=account, user=user)
    client = Client()
    client.force_login(user)
    return client


def test_a_member_finds_nothing_of_another_account(member: Client, trip: Trip, other_account: Account) -> None:
    """H07"""
    theirs = OAuthApp.objects.create(
        account=other_account, provider="stripe", name="Spice", client_id="ca_2", client_secret="x"
    )
    RedirectURI.objects.create(account=other_account, redirect_uri="https://spice.example.com/")
    api_tokens.issue(other_account, name="Spice token")
    keep(other_account, "stripe_key", None, secret="sk_test_spice")
    Credential.objects.update(name="Spice")

    for model in MODELS:
        page = member.get(reverse(f"admin:{model}_changelist"))
        assert page.status_code == 200
        assert "pice" not in page.content.decode()
    assert member.get(reverse("admin:oauth_apps_oauthapp_change", args=[theirs.pk])).status_code == 302
    assert "Harkonnen" not in member.get(reverse("admin:oauth_apps_oauthapp_add")).content.decode()


def test_no_page_shows_a_secret(superuser: Client, trip: Trip) -> None:
    """E04, H04"""
    trip.code(state="s1")
    api_tokens.issue(trip.oauth_app.account)
    tokens = {"access_token": "canary-access-token", "refresh_token": "canary-refresh-token"}
    keep(trip.oauth_app.account, "stripe_oauth2", trip.oauth_app, stripe_user_id="acct_1", livemode=True, **tokens)
    pages = [reverse("admin:index"), reverse("admin:oauth_apps_oauthapp_add")]
    pages += [
        reverse(f"admin:{model}_changelist") for model in (*MODELS, "oauth_apps_account", "oauth_apps_membership")
    ]
    rows = [model.objects.get() for model in (OAuthApp, ApiToken, Authorization, RedirectURI, Credential)]
    pages += [reverse(f"admin:{row._meta.db_table}_change", args=[row.pk]) for row in rows]
    pages.append(reverse("admin:oauth_apps_oauthapp_delete", args=[rows[0].pk]))
    pages.append(reverse("admin:credentials_credential_delete", args=[rows[-1].pk]))
    pages.append(reverse("admin:oauth_apps_oauthapp_history", args=[rows[0].pk]))

    for path in pages:
        page = superuser.get(path)
        assert page.status_code == 200, path
        for canary in CANARIES:
            assert canary not in page.content.decode(), path


@pytest.mark.parametrize("name", ["admin:index", "admin:login"])
def test_the_console_has_a_policy_of_its_own(superuser: Client, client: Client, name: str) -> None:
    """H04"""
    page = (client if name == "admin:login" else superuser).get(reverse(name))

    policy = page["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    assert "frame-ancestors 'none'" in policy
    assert "<title>" in page.content.decode()
    assert "Sequin Auth" in page.content.decode()


def test_accounts_and_oauth_apps_are_called_so(superuser: Client) -> None:
    page = superuser.get(reverse("admin:index")).content.decode()

    assert "Accounts" in page
    assert "OAuth Apps" in page


def test_a_filter_with_a_nul_is_a_bad_request(superuser: Client) -> None:
    page = superuser.get(reverse("admin:oauth_apps_oauthapp_changelist") + "?health_status__exact=%00")

    assert page.status_code == 400
