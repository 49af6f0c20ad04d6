"""What holds for the console as a whole: whose rows a member finds, its policy, its names."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from credentials.models import Credential
from oauth_apps import api_tokens
from oauth_apps.models import Account, Membership, OAuthApp, RedirectURI
from oauth_apps.webhooks import endpoints
from tests.credentials.stored import keep
from tests.link.trip import Trip

MODELS = (
    "oauth_apps_oauthapp", "oauth_apps_redirecturi", "oauth_apps_apitoken", "oauth_apps_webhookendpoint",
    "credentials_authorization", "credentials_credential",
)  # fmt: skip


def test_a_member_finds_nothing_of_another_account(member: Client, trip: Trip, other_account: Account) -> None:
    """H07"""
    theirs = OAuthApp.objects.create(
        account=other_account, provider="stripe", name="Spice", client_id="ca_2", client_secret="x"
    )
    RedirectURI.objects.create(account=other_account, redirect_uri="https://spice.example.com/")
    api_tokens.issue(other_account, name="Spice token")
    endpoints.create(other_account, url="https://spice.example.com/")
    keep(other_account, "stripe_key", None, secret="sk_test_spice")
    Credential.objects.update(name="Spice")

    for model in MODELS:
        page = member.get(reverse(f"admin:{model}_changelist"))
        assert page.status_code == 200
        assert "pice" not in page.content.decode()
    assert member.get(reverse("admin:oauth_apps_oauthapp_change", args=[theirs.pk])).status_code == 302
    assert "Harkonnen" not in member.get(reverse("admin:oauth_apps_oauthapp_add")).content.decode()


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


@pytest.mark.parametrize(
    "path",
    [
        "/link/oauth2/start",
        "/link/oauth2/start?client_id=x&debug=true",
        "/link/oauth2/ended",
        "/link/oauth2/callback/stripe",
        "/sandbox/stripe/connect.stripe.com/oauth/authorize",
        "/providers/stripe/logo.svg",
        "/nowhere",
    ],
)
def test_no_other_page_may_evaluate_or_run_anything(client: Client, db: None, path: str) -> None:
    """H04"""
    policy = client.get(path)["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy


# ---- which account is worked in --------------------------------------------------------------------------------------


def choose(client: Client, account: str, onward: str = "/admin/oauth_apps/oauthapp/") -> str:
    answer = client.post(reverse("admin:choose_account"), {"account": account, "next": onward})
    return str(answer.headers.get("Location", answer.status_code))


def test_nobody_works_in_an_account_that_is_not_his(member: Client, trip: Trip, other_account: Account) -> None:
    """H07"""
    OAuthApp.objects.create(account=other_account, provider="stripe", name="Spice", client_id="ca_2", client_secret="x")

    choose(member, str(other_account.pk))

    page = member.get(reverse("admin:oauth_apps_oauthapp_changelist")).content.decode()
    assert "Spice" not in page
    assert "ca_1" in page or "Stripe" in page


@pytest.mark.parametrize("onward", ["//evil.example.com", "https://evil.example.com/", "/\\evil.example.com", ""])
def test_the_switch_leads_nowhere_else(member: Client, account: Account, onward: str) -> None:
    """H02"""
    assert choose(member, str(account.pk), onward) == "/admin/"


def test_what_is_no_account_is_a_bad_request_and_a_link_switches_nothing(member: Client, account: Account) -> None:
    assert choose(member, "x") == "400"
    assert member.get(reverse("admin:choose_account")).status_code == 405


def test_somebody_in_two_accounts_sees_the_rows_of_the_one_that_he_works_in(
    member: Client, paul: User, trip: Trip, other_account: Account
) -> None:
    Membership.objects.create(account=other_account, user=paul)
    OAuthApp.objects.create(account=other_account, provider="stripe", name="Spice", client_id="ca_2", client_secret="x")
    url = reverse("admin:oauth_apps_oauthapp_changelist")

    seen = []
    for chosen in ("", str(other_account.pk), str(trip.oauth_app.account_id)):
        choose(member, chosen)
        rows = member.get(url).context["cl"].queryset
        seen.append(sorted(row.name for row in rows))

    assert seen == [["Spice", "Stripe"], ["Spice"], ["Stripe"]]
