"""An OAuth app's page in the console: what it shows, what can be changed, and how one gets rid of it."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from responses import RequestsMock

from credentials.models import Credential
from oauth_apps.models import Account, AuditEvent, HealthStatus, OAuthApp, RedirectURI
from tests.credentials.stored import keep
from tests.link.trip import TOKEN_ENDPOINT, Trip

LIST = "/admin/oauth_apps/oauthapp/"
SECRET = "canary-client-secret"


@pytest.fixture
def theirs(other_account: Account) -> OAuthApp:
    return OAuthApp.objects.create(
        account=other_account, provider="linear", name="Spice melange", client_id="lin_9", client_secret="canary-theirs"
    )


def url(oauth_app: OAuthApp, page: str = "change") -> str:
    return reverse(f"admin:oauth_apps_oauthapp_{page}", args=[oauth_app.pk])


def text_of(client: Client, oauth_app: OAuthApp) -> str:
    response = client.get(url(oauth_app))
    assert response.status_code == 200
    return response.content.decode()


def save(client: Client, oauth_app: OAuthApp, **fields: Any) -> Any:
    form: dict[str, Any] = {
        "name": oauth_app.name,
        "enabled": "on",
        "new_client_secret": "",
        "other_scopes": "",
        "metadata": "{}",
    }
    form |= {"scopes": oauth_app.default_scopes or oauth_app.definition.default_scopes}
    form |= {f"variable_{name}": value for name, value in oauth_app.variables.items()}
    return client.post(url(oauth_app), {name: value for name, value in (form | fields).items() if value is not None})


def problems(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(re.findall(r'class="problem">(.*?)</p>', response.content.decode()))


@pytest.mark.parametrize("page", ["change", "delete", "history", "check"])
def test_a_member_reaches_no_page_of_another_accounts_app(
    member: Client, account: Account, theirs: OAuthApp, page: str
) -> None:
    """H07"""
    before = list(OAuthApp.objects.values())

    for response in (member.get(url(theirs, page)), member.post(url(theirs, page), {"post": "yes", "name": "Mine"})):
        assert response.status_code in {302, 404, 405}
        assert "melange" not in response.content.decode()
        assert "melange" not in str(response.headers)

    assert list(OAuthApp.objects.values()) == before
    assert not AuditEvent.objects.exists()


def test_a_member_finds_nothing_of_another_account_in_the_list(
    member: Client, stripe_app: OAuthApp, theirs: OAuthApp
) -> None:
    """H07"""
    for query in ({}, {"q": "Spice"}, {"q": "linear"}, {"q": "lin_9"}, {"provider": "linear"}, {"o": "1"}):
        text = member.get(LIST, query).content.decode()
        assert "melange" not in text, query
        assert not re.search("(?i)>linear<", text), query  # nor as a filter


def test_the_rows_cannot_be_sifted_by_a_secret(member: Client, stripe_app: OAuthApp) -> None:
    """E04"""
    assert member.get(LIST, {"client_secret__startswith": "a"}).status_code == 400


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["Aa", "Bb"]),
        ({"q": "aa"}, ["Aa"]),
        ({"q": "lin_2"}, ["Bb"]),
        ({"q": "Stripe"}, ["Aa"]),
        ({"provider": "linear"}, ["Bb"]),
        ({"provider": "nothing"}, []),
        ({"environment": "sandbox"}, ["Bb"]),
        ({"enabled": "no"}, ["Bb"]),
        ({"enabled": "yes"}, ["Aa"]),
        ({"enabled": "perhaps"}, ["Aa", "Bb"]),
        ({"health": "error"}, ["Bb"]),
        ({"health": "odd"}, []),
    ],
)
def test_the_list_is_searched_and_filtered(
    member: Client, account: Account, query: dict[str, str], found: list[str]
) -> None:
    OAuthApp.objects.create(account=account, provider="stripe", name="Aa", client_id="ca_1", client_secret="x")
    two = OAuthApp.objects.create(
        account=account, provider="linear", name="Bb", client_id="lin_2", client_secret="x", enabled=False,
        environment="sandbox",
    )  # fmt: skip
    two.observe(HealthStatus.ERROR, "<b>It is refused.</b>")

    text = member.get(LIST, query).content.decode()

    assert sorted(re.findall(r'loading="lazy">\s*(Aa|Bb)', text)) == found
    assert ("&lt;b&gt;It is refused." in text) is ("Bb" in found)
    assert "<b>It" not in text


def test_the_list_takes_few_statements_however_long_it_is(
    superuser: Client, account: Account, other_account: Account, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(40):
        owner = account if number % 2 else other_account
        OAuthApp.objects.create(account=owner, provider="stripe", name=f"{number}", client_id="c", client_secret="x")

    with django_assert_max_num_queries(10):
        assert superuser.get(LIST).status_code == 200


def test_an_empty_list_leads_to_the_first_app(member: Client, account: Account) -> None:
    assert f'href="{LIST}add/">Register the first OAuth app' in member.get(LIST).content.decode()


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_page_shows_what_is_needed_and_no_secret(member: Client, trip: Trip) -> None:
    """E04, H04"""
    trip.code(state="s1")
    oauth_app = trip.oauth_app

    text = text_of(member, oauth_app)

    assert f"/link/oauth2/start?client_id={oauth_app.pk}&amp;" in text
    assert "redirect_uri=https%3A%2F%2Fapp.example.com%2Fcallback%2Fstripe&amp;state=" in text
    assert f'id="callback-url">{oauth_app.callback_url}<' in text
    assert "$CLIENT_SECRET" in text
    assert "$API_TOKEN" in text
    assert f'action="{reverse("admin:try_out", args=[oauth_app.pk])}" target="_blank"' in text
    assert f'{reverse("admin:credentials_authorization_changelist")}?oauth_app={oauth_app.pk}"' in text
    for canary in (SECRET, "canary-access-token", "canary-refresh-token"):
        assert canary not in text


@pytest.mark.parametrize(("status", "classes"), [("ok", ""), ("warn", "attention warn"), ("error", "attention")])
def test_an_app_that_needs_somebody_stands_out(
    member: Client, stripe_app: OAuthApp, status: HealthStatus, classes: str
) -> None:
    OAuthApp.objects.update(health_status=status)

    assert f'<section class="sq-card {classes}" aria-labelledby="app-name">' in text_of(member, stripe_app)


def test_without_a_redirect_uri_it_says_so(member: Client, stripe_app: OAuthApp) -> None:
    RedirectURI.objects.all().delete()

    text = text_of(member, stripe_app)

    assert f'href="{reverse("admin:oauth_apps_redirecturi_add")}">Add a redirect URI' in text
    assert 'id="start-link"' not in text


def test_an_app_without_a_secret_asks_for_its_tokens_with_an_api_token(member: Client, account: Account) -> None:
    oauth_app = OAuthApp.objects.create(
        account=account, provider="twitter", name="X", client_id="x", client_secret=None, own_callback=True
    )

    text = text_of(member, oauth_app)

    assert "$CLIENT_SECRET" not in text
    assert "Your secret stays" not in text
    assert f'scope <code>reveal</code>:\n<a href="{reverse("admin:oauth_apps_apitoken_add")}">' in text
    assert oauth_app.callback_url in text


def test_an_app_of_which_nothing_was_observed_is_not_said_to_be_well(member: Client, stripe_app: OAuthApp) -> None:
    assert '<span class="sq-badge">not checked yet</span>' in text_of(member, stripe_app)
    assert '<span class="sq-badge">not checked yet</span>' in member.get(LIST).content.decode()

    OAuthApp.objects.update(health_time=timezone.now() + timedelta(minutes=1))

    assert "not checked yet" not in text_of(member, stripe_app) + member.get(LIST).content.decode()


def test_a_name_that_is_the_providers_stands_there_once(member: Client, stripe_app: OAuthApp) -> None:
    assert '<p class="sq-soft">Stripe</p>' not in text_of(member, stripe_app)

    OAuthApp.objects.update(name="Payments")

    assert '<p class="sq-soft">Stripe</p>' in text_of(member, stripe_app)


def test_a_redirect_uri_cannot_break_out_of_the_shell(member: Client, stripe_app: OAuthApp) -> None:
    RedirectURI.objects.update(redirect_uri="https://app.example.com/'$(id)'")

    text = text_of(member, stripe_app)

    assert "'&quot;'&quot;'" in text.replace("&#x27;", "'")


def test_names_and_notes_are_escaped(member: Client, stripe_app: OAuthApp) -> None:
    """H08"""
    stripe_app.name, stripe_app.purpose, stripe_app.metadata = "<b>x", '"><b>x', {"a": "</textarea><b>x"}
    stripe_app.client_id, stripe_app.default_scopes = "<b>x", ["<b>x"]
    stripe_app.save()
    stripe_app.observe(HealthStatus.WARN, "<b>x")
    credential = keep(
        stripe_app.account, "stripe_oauth2", stripe_app, access_token="a", stripe_user_id="acct_1", livemode=True
    )
    Credential.objects.filter(pk=credential.pk).update(name="<b>x")

    for page in (url(stripe_app), url(stripe_app, "delete"), url(stripe_app, "history"), LIST):
        assert "<b>x" not in member.get(page).content.decode(), page


def test_a_check_asks_the_provider_and_is_written_down(
    member: Client, stripe_app: OAuthApp, responses: RequestsMock
) -> None:
    responses.post(TOKEN_ENDPOINT, status=401, json={"error": "invalid_client"})

    response = member.post(url(stripe_app, "check"))

    assert response["Location"] == url(stripe_app)
    stripe_app.refresh_from_db()
    assert stripe_app.health_status == "error"
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.object_id) == ("oauth_app.checked", "paul", str(stripe_app.pk))
    assert "does not accept the client id" in text_of(member, stripe_app)


def test_a_check_is_no_link(member: Client, stripe_app: OAuthApp) -> None:
    assert member.get(url(stripe_app, "check")).status_code == 405


@pytest.mark.parametrize("object_id", ["x", "00000000-0000-0000-0000-000000000000", "a/b"])
def test_what_is_not_there_is_not_found(member: Client, account: Account, object_id: str) -> None:
    assert member.post(f"{LIST}{object_id}/check/").status_code == 404
    assert member.get(f"{LIST}{object_id}/change/").status_code == 302


# ---- changing it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["", "   ", None])
def test_a_secret_that_is_not_replaced_stays(member: Client, stripe_app: OAuthApp, secret: str | None) -> None:
    """D04"""
    response = save(member, stripe_app, name="Stripe 2", new_client_secret=secret)

    assert response["Location"] == url(stripe_app)
    stripe_app = OAuthApp.objects.get()
    assert (stripe_app.name, stripe_app.client_secret) == ("Stripe 2", SECRET)
    event = AuditEvent.objects.get()
    assert (event.action, event.detail) == ("oauth_app.changed", "Name")


def test_a_new_secret_begins_with_a_clean_bill(member: Client, stripe_app: OAuthApp) -> None:
    stripe_app.observe(HealthStatus.ERROR, "The provider does not accept the client id or the client secret.")

    save(member, stripe_app, new_client_secret="another-secret")

    stripe_app.refresh_from_db()
    assert (stripe_app.health_status, stripe_app.health_notes) == ("ok", [])


def test_a_secret_is_replaced(member: Client, stripe_app: OAuthApp) -> None:
    save(member, stripe_app, new_client_secret="canary-new")

    assert OAuthApp.objects.get().client_secret == "canary-new"
    assert "canary-new" not in text_of(member, stripe_app)
    assert "canary" not in str(list(AuditEvent.objects.values()))


@pytest.mark.parametrize("secret", ["**********", "a\r\nb"])
def test_a_mask_is_refused(member: Client, stripe_app: OAuthApp, secret: str) -> None:
    """D04"""
    response = save(member, stripe_app, new_client_secret=secret, name="Stripe 2")

    assert problems(response)
    stripe_app = OAuthApp.objects.get()
    assert (stripe_app.name, stripe_app.client_secret) == ("Stripe", SECRET)


def test_provider_client_id_account_and_environment_stay(
    member: Client, stripe_app: OAuthApp, other_account: Account
) -> None:
    save(
        member, stripe_app, provider="slack", client_id="x", environment="sandbox", account=str(other_account.pk),
        health_status="warn",
    )  # fmt: skip

    changed = OAuthApp.objects.get()
    for name in ("provider", "client_id", "environment", "account", "health_status"):
        assert getattr(changed, name) == getattr(stripe_app, name)


def test_all_that_may_change_changes(member: Client, stripe_app: OAuthApp) -> None:
    save(
        member, stripe_app, name="Pay", enabled=None, asks_first="on", purpose="to pay", own_callback="on",
        metadata='{"a": 1}', scopes=[], other_scopes="read_write",
    )  # fmt: skip

    changed = OAuthApp.objects.get()
    assert (changed.name, changed.enabled, changed.asks_first, changed.purpose) == ("Pay", False, True, "to pay")
    assert (changed.own_callback, changed.metadata, changed.default_scopes) == (True, {"a": 1}, ["read_write"])
    assert changed.client_secret == SECRET


def test_an_app_does_not_move_while_credentials_depend_on_it(member: Client, account: Account) -> None:
    shop = OAuthApp.objects.create(
        account=account, provider="shopify", name="Shop", client_id="c", client_secret="x", variables={"shop": "acme"}
    )
    assert save(member, shop, variable_shop="spice").status_code == 302
    shop.refresh_from_db()
    assert shop.variables == {"shop": "spice"}
    keep(account, "shopify_oauth2", shop, access_token="a", shop="spice")

    refused = save(member, shop, variable_shop="acme")
    renamed = save(member, shop, name="Shop 2")

    assert "Credentials were made with this OAuth app as it is" in problems(refused)
    assert renamed.status_code == 302
    shop.refresh_from_db()
    assert (shop.name, shop.variables) == ("Shop 2", {"shop": "spice"})


def test_an_app_does_not_move_while_an_end_user_is_on_his_way(
    member: Client, account: Account, redirect_uri: RedirectURI
) -> None:
    shop = OAuthApp.objects.create(
        account=account, provider="shopify", name="Shop", client_id="c", client_secret="x", variables={"shop": "acme"}
    )
    link = {"client_id": str(shop.pk), "redirect_uri": "https://app.example.com/callback/shopify"}
    assert Client().get("/link/oauth2/start", link).status_code == 302

    assert "on their way" in problems(save(member, shop, variable_shop="spice"))


def test_an_app_whose_provider_is_gone_can_still_be_seen_and_deleted(member: Client, stripe_app: OAuthApp) -> None:
    OAuthApp.objects.update(provider="gone")

    assert "no longer in this server" in text_of(member, stripe_app)
    assert member.get(LIST).status_code == 200
    assert member.post(url(stripe_app, "check")).status_code == 302
    assert member.post(url(stripe_app), {"name": "Gone", "metadata": "{}"}).status_code == 302
    assert member.post(url(stripe_app, "delete"), {"post": "yes"}).status_code == 302
    assert not OAuthApp.objects.exists()


# ---- deleting --------------------------------------------------------------------------------------------------------


def test_an_app_with_credentials_is_not_deleted_and_the_page_says_why(member: Client, stripe_app: OAuthApp) -> None:
    keep(stripe_app.account, "stripe_oauth2", stripe_app, access_token="a", stripe_user_id="acct_1", livemode=True)

    asked = member.get(url(stripe_app, "delete")).content.decode()
    confirmed = member.post(url(stripe_app, "delete"), {"post": "yes"})

    assert "cannot be deleted yet" in asked
    assert f'{reverse("admin:credentials_credential_changelist")}?oauth_app={stripe_app.pk}"' in asked
    assert confirmed.status_code == 200
    assert "cannot be deleted yet" in confirmed.content.decode()
    assert OAuthApp.objects.exists()


def test_a_credential_that_comes_while_somebody_confirms_keeps_the_app(
    member: Client, stripe_app: OAuthApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    from oauth_apps.console.oauth_apps import OAuthAppAdmin

    keep(stripe_app.account, "stripe_oauth2", stripe_app, access_token="a", stripe_user_id="acct_1", livemode=True)
    monkeypatch.setattr(OAuthAppAdmin, "get_deleted_objects", lambda *_: ([], {}, set(), []))

    response = member.post(url(stripe_app, "delete"), {"post": "yes"})

    assert response["Location"] == url(stripe_app, "delete")
    assert OAuthApp.objects.exists()
    assert not AuditEvent.objects.filter(action="oauth_app.deleted").exists()


def test_an_app_is_deleted_with_its_trips(member: Client, trip: Trip) -> None:
    trip.started(state="s1")

    assert "Delete Stripe?" in member.get(url(trip.oauth_app, "delete")).content.decode()
    response = member.post(url(trip.oauth_app, "delete"), {"post": "yes"})

    assert response["Location"] == LIST
    assert not OAuthApp.objects.exists()
    assert AuditEvent.objects.get().action == "oauth_app.deleted"
