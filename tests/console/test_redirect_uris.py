"""Redirect URIs in the console."""

import pytest
from django.test import Client
from django.urls import reverse

from oauth_apps.models import Account, AuditEvent, OAuthApp, RedirectURI

LIST = "/admin/oauth_apps/redirecturi/"
ADD = f"{LIST}add/"


def url(row: RedirectURI, page: str) -> str:
    return reverse(f"admin:oauth_apps_redirecturi_{page}", args=[row.pk])


@pytest.fixture
def theirs(other_account: Account) -> RedirectURI:
    return RedirectURI.objects.create(account=other_account, redirect_uri="https://spice.example.com/melange")


@pytest.mark.parametrize("page", ["change", "delete", "history"])
def test_a_member_reaches_no_page_of_another_accounts_redirect_uri(
    member: Client, theirs: RedirectURI, page: str
) -> None:
    """H07"""
    for response in (member.get(url(theirs, page)), member.post(url(theirs, page), {"post": "yes"})):
        assert response.status_code in {302, 403, 404}
        assert "melange" not in response.content.decode()
    assert "melange" not in member.get(LIST, {"q": "spice"}).content.decode()
    assert RedirectURI.objects.filter(pk=theirs.pk).exists()


def test_a_member_adds_none_to_another_account(member: Client, account: Account, other_account: Account) -> None:
    """H07"""
    response = member.post(ADD, {"account": str(other_account.pk), "redirect_uri": "https://app.example.com/"})

    assert response.status_code == 200
    assert not RedirectURI.objects.exists()
    assert "Harkonnen" not in member.get(ADD).content.decode()


@pytest.mark.parametrize(
    "redirect_uri", ["javascript:alert(1)", "http://app.example.com/", "https://a/#x", "myapp://x", "", "https://a/*"]
)
def test_a_redirect_uri_is_judged_as_in_the_api(member: Client, account: Account, redirect_uri: str) -> None:
    """A05"""
    response = member.post(ADD, {"account": str(account.pk), "redirect_uri": redirect_uri})

    assert response.status_code == 200
    assert 'class="problem"' in response.content.decode()
    assert not RedirectURI.objects.exists()


def test_a_duplicate_is_refused_in_words(member: Client, redirect_uri: RedirectURI) -> None:
    response = member.post(ADD, {"account": str(redirect_uri.account_id), "redirect_uri": redirect_uri.redirect_uri})

    assert "This account has registered this redirect URI already." in response.content.decode()
    assert RedirectURI.objects.count() == 1


def test_a_redirect_uri_is_added(member: Client, account: Account) -> None:
    form = member.get(ADD, {"redirect_uri": "https://app.example.com/callback/:provider"}).content.decode()
    assert 'value="https://app.example.com/callback/:provider"' in form
    assert f'<input type="hidden" name="account" value="{account.pk}"' in form

    response = member.post(ADD, {"account": str(account.pk), "redirect_uri": "https://app.example.com/:provider"})

    assert response["Location"] == LIST
    row = RedirectURI.objects.get()
    assert (row.account, row.redirect_uri) == (account, "https://app.example.com/:provider")
    event = AuditEvent.objects.get()
    assert (event.action, event.object_id) == ("redirect_uri.created", str(row.pk))


def test_it_shows_what_it_becomes(member: Client, stripe_app: OAuthApp, redirect_uri: RedirectURI) -> None:
    for page in (LIST, url(redirect_uri, "change")):
        text = member.get(page).content.decode()
        assert "https://app.example.com/callback/stripe" in text, page
        assert "Stripe" in text, page


def test_deleting_one_tells_the_consequence(member: Client, redirect_uri: RedirectURI) -> None:
    assert "every start link that names it is refused" in member.get(url(redirect_uri, "delete")).content.decode()

    response = member.post(url(redirect_uri, "delete"), {"post": "yes"})

    assert response["Location"] == LIST
    assert not RedirectURI.objects.exists()
    assert AuditEvent.objects.get().action == "redirect_uri.deleted"


def test_it_never_changes(member: Client, redirect_uri: RedirectURI) -> None:
    response = member.post(url(redirect_uri, "change"), {"redirect_uri": "https://evil.example.com/"})

    assert response.status_code == 403
    assert RedirectURI.objects.get().redirect_uri == redirect_uri.redirect_uri


def test_what_is_given_in_the_url_is_escaped(member: Client, account: Account) -> None:
    """H08"""
    assert "<b>x" not in member.get(ADD, {"redirect_uri": '"><b>x'}).content.decode()


def test_an_empty_list_leads_to_the_first_one(member: Client, account: Account) -> None:
    assert f'href="{ADD}">Add the first redirect URI' in member.get(LIST).content.decode()
