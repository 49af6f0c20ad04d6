"""The console as it stands: each page opens, shows no secret, and a member finds his accounts' rows alone."""

import re

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
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


def test_nobody_comes_in_without_a_login(client: Client, db: None) -> None:
    response = client.get(reverse("admin:oauth_apps_oauthapp_changelist"))

    assert response.status_code == 302
    assert response["Location"].startswith(reverse("admin:login"))


@pytest.mark.parametrize(
    "target", ["//evil.example.com", "/\\evil.example.com", "https:evil.example.com", "///evil.example.com"]
)
def test_the_login_leads_nowhere_else(client: Client, db: None, target: str) -> None:
    """H02"""
    User.objects.create_superuser("root", password="right")

    response = client.post(reverse("admin:login"), {"username": "root", "password": "right", "next": target})

    assert response.status_code == 302
    assert response["Location"].startswith("/admin/")


def test_guessing_a_password_is_stopped(client: Client, db: None) -> None:
    """H01"""
    User.objects.create_superuser("root", password="right")
    login = reverse("admin:login")

    statuses = [client.post(login, {"username": "root", "password": f"guess-{n}"}).status_code for n in range(10)]

    assert statuses[-1] in {403, 429}
    assert client.post(login, {"username": "root", "password": "right"}).status_code in {403, 429}


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


@pytest.mark.parametrize("model", ["auth_user", "auth_group", "oauth_apps_account", "oauth_apps_membership"])
def test_a_member_does_not_reach_the_platform(member: Client, model: str) -> None:
    """H07"""
    assert member.get(reverse(f"admin:{model}_changelist")).status_code == 403


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


def test_an_app_is_registered_and_its_secret_stays_when_it_is_left_empty(member: Client, account: Account) -> None:
    """D04"""
    fields = {
        "account": str(account.pk), "provider": "stripe", "name": "Stripe", "client_id": "ca_1", "environment": "live",
        "new_client_secret": "canary-client-secret", "enabled": "on", "default_scopes": "[]", "variables": "{}",
        "metadata": "{}",
    }  # fmt: skip
    added = member.post(reverse("admin:oauth_apps_oauthapp_add"), fields)
    assert added.status_code == 302, re.findall(r"errorlist.*?</ul>", added.content.decode())
    oauth_app = OAuthApp.objects.get()

    changed = member.post(
        reverse("admin:oauth_apps_oauthapp_change", args=[oauth_app.pk]),
        fields | {"name": "Stripe 2", "new_client_secret": ""},
    )

    assert changed.status_code == 302, re.findall(r"errorlist.*?</ul>", changed.content.decode())
    oauth_app = OAuthApp.objects.get()
    assert (oauth_app.name, oauth_app.client_secret) == ("Stripe 2", "canary-client-secret")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("new_client_secret", ""),
        ("new_client_secret", "**********"),
        ("new_client_secret", "a\r\nb"),
        ("variables", '{"shop": "x"}'),
        ("variables", "[]"),
        ("variables", '{"shop": 7}'),
        ("default_scopes", '"read"'),
        ("default_scopes", "[7]"),
        ("metadata", "[]"),
        ("metadata", "[" * 5000),
        ("variables", "[" * 5000),
        ("default_scopes", "[" * 5000),
        ("metadata", '{"a": ' + "9" * 5000 + "}"),
        ("metadata", '{"a": "\\u0000"}'),
        ("default_scopes", '["a b"]'),
        ("environment", "moon"),
    ],
)
def test_the_form_obeys_the_rules_of_the_api(member: Client, account: Account, field: str, value: str) -> None:
    """A05, D04"""
    fields = {
        "account": str(account.pk), "provider": "stripe", "name": "Stripe", "client_id": "ca_1", "environment": "live",
        "new_client_secret": "s", "enabled": "on", "default_scopes": "[]", "variables": "{}", "metadata": "{}",
    }  # fmt: skip

    response = member.post(reverse("admin:oauth_apps_oauthapp_add"), fields | {field: value})

    assert response.status_code == 200
    assert OAuthApp.objects.count() == 0


@pytest.mark.parametrize(
    "redirect_uri", ["javascript:alert(1)", "http://app.example.com/", "https://a/#x", "myapp://x"]
)
def test_a_redirect_uri_is_judged_in_the_form_too(member: Client, account: Account, redirect_uri: str) -> None:
    """A05"""
    response = member.post(
        reverse("admin:oauth_apps_redirecturi_add"), {"account": str(account.pk), "redirect_uri": redirect_uri}
    )

    assert response.status_code == 200
    assert RedirectURI.objects.count() == 0


def test_a_new_api_token_is_shown_once(member: Client, account: Account) -> None:
    response = member.post(
        reverse("admin:oauth_apps_apitoken_add"),
        {"account": str(account.pk), "name": "CI", "scopes": '["read"]', "expires_at_0": "", "expires_at_1": ""},
    )

    shown = re.findall(r"sqa_[0-9A-Za-z]{49}", response.content.decode())
    assert len(set(shown)) == 1
    assert api_tokens.find(shown[0]) is not None
    assert "no-store" in response["Cache-Control"]
    assert shown[0] not in member.get(reverse("admin:oauth_apps_apitoken_changelist")).content.decode()
    assert shown[0] not in member.cookies.output()
    assert shown[0] not in str([session.get_decoded() for session in Session.objects.all()])


def test_a_filter_with_a_nul_is_a_bad_request(superuser: Client) -> None:
    page = superuser.get(reverse("admin:oauth_apps_oauthapp_changelist") + "?health_status__exact=%00")

    assert page.status_code == 400
